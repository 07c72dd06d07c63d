"""Commands of `foveate observe` without a run directory: stats, search, classify, and estimate.

Typer evaluates the annotations at start-up, so they must be importable.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveate.cli.options import Device, Json, Seed, path_argument, path_option, read_path
from foveate.cli.show import progress_bars, result, said_json
from foveate.errors import ParameterError
from foveate.tables import GEOMETRY
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

_BY = {
    "model": "with probabilities predicted from the overviews",
    "covariate": "in proportion to the covariate",
    "nothing": "uniformly",
}
Scenes = Annotated[Path, path_argument("A run of foveate observe complete.")]
Observer = Annotated[
    Path | None, path_option(help="Folder of a trained observer. [default: that of the run]")
]


def search(
    scenes: Scenes,
    text: Annotated[str, typer.Option(help="Text query.")] = "",
    concept: Annotated[
        str, typer.Option(help="Concept that the observer was trained on, instead of a text.")
    ] = "",
    within: Annotated[str, typer.Option("--in", help="Rank tiles or scenes.")] = "tiles",
    top: Annotated[int, typer.Option(help="Maximum number of hits.")] = 20,
    out: Annotated[Path | None, path_option(help="File for the hits: .csv or .geojson.")] = None,
    observer: Observer = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the tiles or scenes most similar to a text, or most likely to show a concept."""
    from foveate.observe.completion.completing import open_completed
    from foveate.observe.completion.searching import search as find
    from foveate.report.words import scenes as words

    write = None if out is None else _writer(out)
    found = open_completed(scenes)
    hits = find(
        found, text=text, concept=concept, within=within, top=top,  # ty: ignore[invalid-argument-type]
        model=None if observer is None else str(observer), seed=seed, device=device,
    )  # fmt: skip
    table = hits.to_arrow()
    located = GEOMETRY in table.column_names
    rows = (table.drop_columns([GEOMETRY]) if located else table).to_pylist()
    if write is not None and out is not None:
        if out.suffix.lower() != ".csv" and not located:
            raise ParameterError(
                f"--out {str(out)!r} for scenes without a georeference",
                "GeoJSON requires coordinates.",
                "Use --out hits.csv",
            )
        write(out, table)
    wide = max(len("scene"), *(len(row["scene"]) for row in rows))
    said = words.searched(
        concept or text, rows, probable=bool(concept), expected=hits.expected,
        tiles=len(hits.scenes.ids),
    )  # fmt: skip
    lines = [*said.lines, f"{'rank':>4}  {'scene':<{wide}}  {'row':>4} {'col':>4}  {'score':>7}"]
    lines += [
        f"{row['rank']:>4}  {row['scene']:<{wide}}  {row['row']:>4} {row['col']:>4}  "
        f"{row['score']:>7.4f}  {'observed' if row['observed'] else 'completed'}"
        for row in rows
    ]
    if out is not None:
        lines.append(f"Hits: {out}")
    content = {
        "run": str(scenes), "text": text, "concept": concept, "in": within,
        "hits": rows, "file": None if out is None else str(out), "headline": said_json(said),
    }  # fmt: skip
    result(content, "\n".join(lines), as_json=as_json)


def _writer(out: Path) -> "Callable[[Path, pa.Table], None]":
    """Return the writer of tables for the suffix of a file."""
    from foveate.export.csv import write_table as write_csv
    from foveate.export.geojson import write_table as write_geojson

    writers = {".csv": write_csv, ".geojson": write_geojson, ".json": write_geojson}
    if out.suffix.lower() not in writers:
        raise ParameterError(
            f"--out {str(out)!r} has an unsupported suffix",
            f"Supported: {', '.join(writers)}.",
            "Use --out hits.geojson",
        )
    return writers[out.suffix.lower()]


def classify(
    scenes: Annotated[
        Path | None,
        typer.Argument(help="A run of foveate observe complete; or --dataset.", parser=read_path),
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(
            help="Concepts: forest,water,road; or a file. [default: those of the observer]"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="auto, texts, or labels (the trained heads of the observer). [default: auto]"
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="Zero-shot classification of a data set instead: eurosat, bigearthnet, folders."
        ),
    ] = "",
    root: Annotated[Path | None, path_option(help="Folder of the data set.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split of the data set: train, val, test. [default: test]"),
    ] = None,
    bands: Annotated[
        str, typer.Option(help="Bands of the data set in the order of the training: B04,B03,B02.")
    ] = "",
    scale: Annotated[
        str, typer.Option(help="Values of the data set mapped to 0 and 255. [default: 0,3000]")
    ] = "",
    observer: Observer = None,
    templates: Annotated[
        str, typer.Option(help="Prompt templates. [default: those of the training]")
    ] = "",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score completed scenes for concepts, or classify a data set from overviews alone."""
    if (scenes is None) == (not dataset):
        raise ParameterError(
            "both SCENES and --dataset are given"
            if dataset
            else "SCENES and --dataset are missing",
            "Exactly one is required: completed scenes, or a data set with its folder.",
            "foveate observe classify SCENES --concepts forest,water, or --dataset eurosat "
            "--root DIR --observer OBSERVER",
        )
    others = (
        {"root": root, "split": split, "bands": bands, "scale": scale}
        if scenes is not None
        else {"concepts": concepts, "by": by}
    )
    stated = [f"--{name}" for name, value in others.items() if value]
    if stated:
        raise ParameterError(
            f"{stated[0]} {'with' if scenes is None else 'without'} --dataset",
            "The classes of a data set are fixed, and are classified by their texts."
            if scenes is None
            else "The option applies to data sets only.",
            f"Remove {stated[0]}.",
        )
    shared = {"templates": templates or None, "device": device}
    if scenes is not None:
        _scenes(scenes, concepts, as_json=as_json, by=by or "auto", observer=observer, **shared)
        return
    if root is None or observer is None:
        raise ParameterError(
            f"--dataset {dataset} without {'--root' if root is None else '--observer'}",
            "A data set requires its folder and an observer.",
            f"Use --dataset {dataset} --root DIR --observer OBSERVER",
        )
    _dataset(
        dataset, root, observer, as_json=as_json, split=split or "test",
        bands=[part.strip() for part in bands.split(",") if part.strip()], scale=scale, **shared,
    )  # fmt: skip


def _scenes(
    scenes: Path,
    concepts: str | None,
    *,
    as_json: bool,
    by: str,
    observer: Path | None,
    **options: Any,
) -> None:
    from foveate.observe.completion.classifying import classify as classify_scenes
    from foveate.observe.data.concepts import concepts_from
    from foveate.report.words import scenes as words

    found = classify_scenes(
        scenes, () if concepts is None else concepts_from(concepts), by=by,  # ty: ignore[invalid-argument-type]
        model=None if observer is None else str(observer), **options,
    ).summary  # fmt: skip
    wide = max(len(name) for name in found["concepts"])
    lines = [] if found["worked"] else ["Nothing to do: these scores exist."]
    said = words.recognised(found)
    lines += said.lines
    lines.append(f"By {found['by']}; {found['score']} of the best tile, and mean of all tiles:")
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


def _dataset(
    name: str, root: Path, observer: Path, *, as_json: bool, scale: str, **options: Any
) -> None:
    from foveate.observe.completion.zero_shot import zero_shot_dataset
    from foveate.report.words import scenes as words
    from foveate.run.options import read_scale

    if scale:
        limits = read_scale(scale)
        if len(limits) != 1:
            raise ParameterError(f"--scale {scale!r}", "Expected LOW,HIGH.", "Use --scale 0,3000")
        options["scale"] = limits[0]
    with progress_bars(quiet=as_json) as progress:
        found = zero_shot_dataset(str(observer), name, root, progress=progress, **options)
    said = words.dataset(name, found)
    what = "top1" if "top1" in found else "map"
    title = {"top1": "Top-1 accuracy", "map": "Mean average precision"}[what]
    wide = max(len(label) for label in found["each"])
    lines = [
        (
            f"{name}, {found['split']}: {plural(found['images'], 'image')}, {found['tiles'][0]} x "
            f"{found['tiles'][1]} tiles each, bands {','.join(found['bands'])}"
        ),
        *said.lines,
        f"{title}: {found[what]:.1%} (chance {found['chance']:.1%})",
        *(
            f"  {label:<{wide}} {'no images' if value is None else f'{value:.1%}'}"
            for label, value in found["each"].items()
        ),
    ]
    result({**found, "headline": said_json(said)}, "\n".join(lines), as_json=as_json)


def stats(
    job: Any,
    out: Annotated[Path | None, path_option(help="Run directory for tables and a report.")] = None,
    as_json: Json = False,
) -> None:
    """Count and print statistics; with a folder, also write tables and a report.

    Raises:
        FoveateError: The input is invalid.
    """
    from foveate.cli.options import command
    from foveate.report import write_report
    from foveate.report.words.scenes import counted

    if out is None:
        found, files = job.count(job.check()), []
    else:
        run = job.run(out, command=command(), report=write_report)
        found = run.record["summary"]["statistics"]
        files = [f"Tables: {run.path / 'tables'}", f"Report: {run.path / 'report.html'}"]
    said = counted(found)
    lines = [*said.lines, *_counts(found), *files]
    content = {**found, "run": None if out is None else str(out), "headline": said_json(said)}
    result(content, "\n".join(lines), as_json=as_json)


def _counts(found: dict[str, Any]) -> list[str]:
    """Return the lines of the tables of splits and of concepts, each after a blank line."""
    unit, factor = ("km2", 1e-6) if found["unit"] == "m2" else ("Mpx", 1e-6)
    splits = [*found["splits"]]
    whole = {**found, "regions": len(found["regions"]), "concepts": found["shown"]}
    parts = {**found["splits"], "all": whole}
    lines = ["", f"{'split':<8}{'scenes':>8}{'tiles':>10}{unit:>12}{'regions':>9}{'concepts':>10}"]
    lines += [
        f"{name:<8}{part['scenes']:>8,}{part['tiles']:>10,}{part['ground'] * factor:>12,.3f}"
        f"{part['regions']:>9,}{part['concepts']:>10,}"
        for name, part in parts.items()
    ]
    if not found["concepts"]:
        return lines
    wide = max(len("concept"), *map(len, found["concepts"])) + 2
    head = "".join(f"{name:>8}" for name in splits)
    lines += ["", f"{'concept':<{wide}}{'scenes':>8}{head}{'tiles':>10}{'share':>8}{unit:>12}"]
    rows = sorted(found["concepts"].items(), key=lambda item: (-item[1]["scenes"], item[0]))
    for name, row in rows:
        each = "".join(f"{row[split]:>8,}" for split in splits)
        area = "" if row["ground"] is None else f"{row['ground'] * factor:,.3f}"
        lines.append(
            f"{name:<{wide}}{row['scenes']:>8,}{each}{row['tiles']:>10,}"
            f"{row['tiles'] / found['tiles']:>8.1%}{area:>12}{'   novel' if row['novel'] else ''}"
        )
        lines[-1] = lines[-1].rstrip()
    return lines


def estimate(
    job: Any,
    repeats: Annotated[
        int,
        typer.Option(help="Repeated samples, compared with all labels and with uniform sampling."),
    ] = 0,
    plan: Annotated[
        Path | None,
        path_option(help="Write the sampled tiles for visual inspection: .csv or .geojson."),
    ] = None,
    answers: Annotated[
        Path | None, path_option(help="CSV of the values in the sampled tiles: tile_id, value.")
    ] = None,
    out: Annotated[Path | None, path_option(help="JSON file for the result.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a sample, write a plan or estimate a total, and print the result.

    Raises:
        FoveateError: Options exclude each other, or the input is invalid.
    """
    from foveate.files import write_json
    from foveate.observe.totals.estimation import estimate_totals

    with progress_bars(quiet=as_json) as progress:
        content = estimate_totals(
            job, repeats=repeats, plan=plan, answers=answers, progress=progress
        )
    text = f"{_drawn(content)}\nPlan: {plan}" if plan is not None else _text(content)
    if out is not None:
        write_json(out, content)
    result(content, text, as_json=as_json)


def _text(content: dict[str, Any]) -> str:
    from foveate.report.words import scenes as words

    unit = content["unit"]
    lines = [*words.estimated(content).lines]
    lines.append(f"{_drawn(content)}; {content['found']} of them are positive")
    if content["without_labels"]:
        lines.append(f"Not counted: {plural(content['without_labels'], 'tile')} without labels")
    if content["truth"] is not None:
        lines.append(f"True total of all labels: {words.quantity(content['truth'])} {unit}")
    if content["repeats"]:
        lines += _repeated(content["repeats"], uniform=content["by"] == "nothing")
    return "\n".join(lines)


def _repeated(found: dict[str, Any], *, uniform: bool) -> list[str]:
    head = f"Over {plural(found['design']['repeats'], 'sample')}"
    terms = "coverage: intervals that contain the true total; error: root mean square"
    lines = [f"{head} ({terms}):"]
    # Without an observer or a covariate the design is the uniform draw itself.
    titles = {"design": "this design", "even": "uniform"}
    for name, title in list(titles.items())[: 1 if uniform else 2]:
        one = found[name]
        line = f"  {title:<11} coverage {one['coverage']:.1%}"
        if one["relative_error"] is not None:
            line += f"   error {one['relative_error']:.1%}   bias {one['bias']:+.1%}"
        lines.append(line)
    return lines


def _drawn(content: dict[str, Any]) -> str:
    text = f"Sample: {content['drawn']} of {plural(content['tiles'], 'tile')}, {_BY[content['by']]}"
    if content["uncovered"]:
        text += f"; {content['uncovered']} without values of the covariate"
    return text
