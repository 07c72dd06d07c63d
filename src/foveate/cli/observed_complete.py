"""What was typed after `foveate observe complete`, `search` and `classify`, and what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.cli.parse import numbers
from foveate.cli.show import count, result, said_json
from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.observe.complete import CompleteJob
    from foveate.run import Run


def complete_job(
    *, selection: Path, model: Path | None, tiles: Sequence[Path] | None, bands: str, **rest: Any
) -> CompleteJob:
    """Make a complete job from what was typed.

    Raises:
        ParameterError: A value out of range.
    """
    from foveate.observe.complete import CompleteJob

    return CompleteJob(
        run=str(selection), model=None if model is None else str(model),
        tiles=[str(path) for path in tiles or ()],
        bands=[int(band) for band in numbers(bands, "bands", whole=True)], **rest,
    )  # fmt: skip


def completed(run: Run, *, as_json: bool) -> None:
    """Print what completed scenes came to."""
    from foveate.report import headlines

    summary = run.record["summary"]
    found = summary["observe"]
    lines = [] if run.worked else ["Nothing to do: these scenes are complete."]
    said = headlines(run.path)[""]
    lines += said.lines
    lines.append(f"Tokens: {run.path / found['embeddings']}; maps: {run.path / 'maps'}")
    if found["concepts"]:
        lines.append(f"Concepts: {run.path / 'tables/concepts.parquet'}")
    report = run.path / "report.html"
    lines.append(f"Report: {report}")
    content = {
        "run": str(run.path), "report": str(report), "worked": run.worked, **summary,
        "headline": said_json(said),
    }  # fmt: skip
    result(content, "\n".join(lines), as_json=as_json)


def searched(scenes: Path, *, within: str, out: Path | None, as_json: bool, **asked: Any) -> None:
    """Search, print the hits, and write them where that was asked for."""
    from foveate.observe.complete import open_completed
    from foveate.observe.search import hits_table, rows_of, search
    from foveate.report.words import scenes as words

    write = None if out is None else _writer(out)
    found = open_completed(scenes)
    hits = search(found, within=within, **asked)  # ty: ignore[invalid-argument-type]
    rows = rows_of(found, hits)
    if write is not None and out is not None:
        table = hits_table(found, hits)
        if out.suffix.lower() != ".csv" and "geometry" not in table.column_names:
            raise ParameterError(
                f"--out {str(out)!r} of scenes without a georeference",
                "GeoJSON has places.",
                "--out hits.csv",
            )
        write(table, out)
    wide = max(len("scene"), *(len(row["scene"]) for row in rows))
    said = words.searched(asked["concept"] or asked["text"], rows, probable=bool(asked["concept"]))
    lines = [*said.lines, f"{'rank':>4}  {'scene':<{wide}}  {'row':>4} {'col':>4}  {'score':>7}"]
    lines += [
        f"{row['rank']:>4}  {row['scene']:<{wide}}  {row['row']:>4} {row['col']:>4}  "
        f"{row['score']:>7.4f}  {'observed' if row['observed'] else 'completed'}"
        for row in rows
    ]
    if out is not None:
        lines.append(f"Hits: {out}")
    content = {
        "run": str(scenes), "text": asked["text"], "concept": asked["concept"], "in": within,
        "hits": rows, "file": None if out is None else str(out), "headline": said_json(said),
    }  # fmt: skip
    result(content, "\n".join(lines), as_json=as_json)


def _writer(out: Path) -> Any:
    """Return what writes a table to a file of this suffix."""
    from foveate.export import csv, geojson

    writers = {".csv": csv.write, ".geojson": geojson.write, ".json": geojson.write}
    if out.suffix.lower() not in writers:
        raise ParameterError(
            f"--out {str(out)!r}", f"Suffixes: {', '.join(writers)}.", "--out hits.geojson"
        )
    return writers[out.suffix.lower()]


def classified(
    *, scenes: Path | None, concepts: str | None, dataset: str, root: Path | None, as_json: bool,
    by: str | None, model: Path | None, templates: str, device: str, bands: str, scale: str,
    split: str | None,
) -> None:  # fmt: skip
    """Classify completed scenes, or a data set, and print what came out.

    Raises:
        ParameterError: Not one of the two, or a setting that belongs to the other.
    """
    if (scenes is None) == (not dataset):
        raise ParameterError(
            "completed scenes and a data set together" if dataset else "nothing to classify",
            "Give completed scenes with concepts, or a data set with its folder.",
            "foveate observe classify SCENES --concepts forest,water, or --dataset eurosat "
            "--root DIR --model MODEL",
        )
    others = (
        {"root": root, "split": split, "bands": bands, "scale": scale}
        if scenes is not None
        else {"concepts": concepts, "by": by}
    )
    stated = [f"--{name}" for name, value in others.items() if value]
    if stated:
        raise ParameterError(
            f"{stated[0]} {'of' if scenes is None else 'without'} a data set",
            "Classes of a data set are its own, and are told by their texts."
            if scenes is None
            else "It says how a data set is read.",
            f"Leave {stated[0]} out.",
        )
    shared = {"templates": templates or None, "device": device}
    if scenes is not None:
        _scenes(scenes, concepts, as_json=as_json, by=by or "auto", model=model, **shared)
        return
    if root is None or model is None:
        raise ParameterError(
            f"--dataset {dataset} without {'--root' if root is None else '--model'}",
            "A data set has a folder, and is classified by an observer.",
            f"--dataset {dataset} --root DIR --model MODEL",
        )
    _dataset(
        dataset, root, model, as_json=as_json, split=split or "test",
        bands=[part.strip() for part in bands.split(",") if part.strip()], scale=scale, **shared,
    )  # fmt: skip


def _scenes(
    scenes: Path, concepts: str | None, *, as_json: bool, by: str, model: Path | None, **rest: Any
) -> None:
    from foveate.observe.concepts import concepts_from
    from foveate.observe.classify import classify
    from foveate.report.words import scenes as words

    found = classify(
        scenes, () if concepts is None else concepts_from(concepts), by=by,  # ty: ignore[invalid-argument-type]
        model=None if model is None else str(model), **rest,
    )  # fmt: skip
    wide = max(len(name) for name in found["concepts"])
    lines = [] if found["worked"] else ["Nothing to do: these scores are there."]
    said = words.recognised(found)
    lines += said.lines
    lines.append(f"By {found['by']}; {found['score']} of the best tile, and the mean of all:")
    truth = found["truth"] or {}
    for name, one in found["concepts"].items():
        right = truth.get("tiles", {}).get("each", {}).get(name)
        known = f"   average precision {right:.3f}" if right is not None and right == right else ""  # noqa: PLR0124  (NaN)
        known += f" ({truth['prevalence'][name]:.3f} by chance)" if known else ""
        lines.append(
            f"  {name:<{wide}} {one['max']:>7.4f} {one['mean']:>7.4f}"
            f"{'   novel' if one['novel'] else ''}{known}"
        )
    for part, title in (("tiles", "tiles"), ("scenes_max", "scenes, by their best tile")):
        for kind in ("base", "novel"):
            value = truth.get(part, {}).get(kind)
            if value is not None:
                lines.append(f"Mean average precision, {kind} concepts, {title}: {value:.3f}")
    lines.append("Tables: " + ", ".join(str(scenes / file) for file in found["files"]))
    result({**found, "headline": said_json(said)}, "\n".join(lines), as_json=as_json)


def _dataset(name: str, root: Path, model: Path, *, as_json: bool, scale: str, **rest: Any) -> None:
    from foveate.cli.show import progress_bars
    from foveate.observe.classify import zero_shot_dataset
    from foveate.report.words import scenes as words

    if scale:
        limits = numbers(scale, "scale")
        if len(limits) != 2 or limits[0] >= limits[1]:
            raise ParameterError(f"--scale {scale!r}", "Expected LOW,HIGH.", "--scale 0,3000")
        rest["scale"] = (limits[0], limits[1])
    with progress_bars(quiet=as_json) as progress:
        found = zero_shot_dataset(str(model), name, root, progress=progress, **rest)
    said = words.dataset(name, found)
    what = "top1" if "top1" in found else "map"
    title = {"top1": "Top-1 accuracy", "map": "Mean average precision"}[what]
    wide = max(len(label) for label in found["each"])
    lines = [
        (
            f"{name}, {found['split']}: {count(found['images'], 'image')}, {found['tiles'][0]} x "
            f"{found['tiles'][1]} tiles each, bands {','.join(found['bands'])}"
        ),
        *said.lines,
        f"{title}: {found[what]:.1%} (chance {found['chance']:.1%})",
        *(
            f"  {label:<{wide}} {'not there' if value is None else f'{value:.1%}'}"
            for label, value in found["each"].items()
        ),
    ]
    result({**found, "headline": said_json(said)}, "\n".join(lines), as_json=as_json)
