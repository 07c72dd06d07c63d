"""Output of the command line for runs of `observe` and for benchmarks."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from foveate.cli.show import result, said_json
from foveate.files import read_json
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.demo import Demo
    from foveate.run import Run

EVALUATION = "tables/evaluation.json"


def prepared(run: Run, *, as_json: bool) -> None:
    """Print the result of a prepare run."""
    summary = run.record["summary"]
    lines = [] if run.worked else ["Nothing to do: these pairs are complete."]
    lines += pair_lines(summary)
    lines.append(f"Table: {run.path / summary['pairs']['file']}")
    content = {"run": str(run.path), "worked": run.worked, **summary}
    result(content, "\n".join(lines), as_json=as_json)


def pair_lines(summary: dict[str, Any]) -> list[str]:
    """Return the description of pairs: scenes, tiles, overviews and concepts."""
    pool, pairs = summary["pool"], summary["pairs"]
    rows, cols = pairs["tiles"]
    each = f"{rows} x {cols} tiles each" if pairs["grids"] == 1 else f"up to {rows} x {cols} tiles"
    lines = [
        f"Pairs: {plural(pool['scenes'], 'scene')} in {plural(pairs['groups'], 'group')}, "
        f"{each}: {plural(pool['tiles'], 'tile')}"
        + (f"; {pool['excluded']} excluded as empty" if pool["excluded"] else "")
    ]
    overviews = f"{pairs['overviews']}, ratio {_span(pairs['ratio'])}"
    if pairs["overviews"] == "simulated":
        noise = f"signal to noise {pairs['snr']:g}" if pairs["snr"] else "no noise"
        overviews += f", MTF {pairs['mtf']:g} at Nyquist, {noise}"
    if pairs["gsd"] and pairs["lr_gsd"]:
        overviews += f"; GSD {_span(pairs['lr_gsd'])} m and {_span(pairs['gsd'])} m"
    lines.append(f"Overviews: {overviews}")
    concepts = summary["concepts"]
    if concepts:
        width = max(len(name) for name in concepts)
        lines.append("Concepts, and the tiles that show them:")
        for name, n in concepts.items():
            text = "not known" if n is None else f"{n:>7} {n / pool['tiles']:>6.1%}"
            lines.append(f"  {name:<{width}} {text}")
    return lines


def _span(pair: Sequence[float]) -> str:
    low, high = pair
    return f"{low:g}" if f"{low:g}" == f"{high:g}" else f"{low:g} to {high:g}"


def trained(run: Run, *, as_json: bool) -> None:
    """Print the result of a training."""
    from foveate.report.words.observer import trained as words

    summary = run.record["summary"]
    evaluation = read_json(run.path / EVALUATION)
    result(
        {
            "run": str(run.path),
            "worked": run.worked,
            **summary,
            "evaluation": evaluation,
            "headline": said_json(words(evaluation)),
        },
        trained_text(run, evaluation),
        as_json=as_json,
    )


def trained_text(run: Run, evaluation: dict[str, Any]) -> str:
    """Return the result of a training as text."""
    from foveate.report.words.observer import trained as words

    observer = run.record["summary"]["observer"]
    scenes = observer["scenes"]
    lines = [] if run.worked else ["Nothing to do: this observer is trained."]
    lines.append(
        f"Observer {observer['folder']} ({observer['size']}, {observer['form']}, supervision "
        f"{observer['supervision']}), scenes: {scenes['train']} train, {scenes['val']} val, "
        f"{scenes['test']} test"
    )
    lines += words(evaluation).lines
    lines += _figures(evaluation)
    if run.record.get("views", {}).get("report"):
        lines.append(f"Report: {run.path / 'report.html'}")
    lines.append(
        f"Next: foveate observe select OVERVIEW --observer {run.path} --budget 12% --out RUN"
    )
    return "\n".join(lines)


def _figures(evaluation: dict[str, Any]) -> list[str]:
    """Return the measures at the observed share that the observer was trained for."""
    completions, obr = evaluation["completions"], evaluation["obr"]
    labelled = completions["full"]["tiles"] is not None
    key = "tiles" if labelled else "cosine"
    name = "tile mAP" if labelled else "centred cosine of unobserved tiles"
    shares = [one["prevalence"] for one in evaluation["concepts"].values() if one["prevalence"]]
    rows = [
        # The average precision of a random order is the share of tiles that show the concept.
        ("tiles in random order", sum(shares) / len(shares) if labelled and shares else None),
        ("overview alone (LR fill)", completions["LR only"][key]),
        ("random tiles, completed", evaluation["random"][key]),
        ("selected tiles, LR fill", completions["fill"][key]),
        ("selected tiles, completed", completions["ours"][key]),
        ("all tiles in HR", completions["full"][key]),
    ]
    tiles = plural(evaluation["tiles"], evaluation["split"] + " tile")
    lines = [f"At OBR {obr:g}, {name} of {tiles}:"]
    lines += [f"  {what:<26} {value:.3f}" for what, value in rows if value is not None]
    return lines


def selected(run: Run, *, as_json: bool) -> None:
    """Print the result of a select run."""
    result(selected_content(run), selected_text(run), as_json=as_json)


def selected_content(run: Run) -> dict[str, Any]:
    """Return the result of a select run, JSON-ready."""
    from foveate.report import headlines

    summary = run.record["summary"]
    others = {name: value for name, value in summary.items() if name != "observe"}
    report = str(run.path / "report.html")
    return {
        "run": str(run.path), "report": report, "worked": run.worked,
        **summary["observe"], **others,
        "headline": said_json(headlines(run.path)[""]),
    }  # fmt: skip


def selected_text(run: Run) -> str:
    """Return the result of a select run as text."""
    from foveate.report import headlines

    found, pool = run.record["summary"]["observe"], run.record["summary"]["pool"]
    lines = []
    if not run.worked:
        lines.append("Nothing to do: this run is complete, and nothing has changed.")
    lines += headlines(run.path)[""].lines
    lines.append(
        f"Tiles: {found['tiles']:,} of {plural(found['scenes'], 'scene')}, {_side(found['tile'])}"
        + (f"; {pool['excluded']} excluded as empty" if pool["excluded"] else "")
    )
    lines.append(
        f"Selected: {plural(found['chosen'], 'tile')} by {_by(found)} -> "
        f"{run.path / 'selection/tiles.parquet'}"
    )
    spread = found["per_scene"]
    lines.append(
        f"OBR {found['obr']:.2%} of the area, MOCR {found['mocr']:.4f}; OBR per scene "
        f"{spread['min']:.1%} to {spread['max']:.1%}, median {spread['median']:.1%}"
    )
    if found["expected_obr"] is not None:
        lines.append(f"Expected OBR {found['expected_obr']:.2%}: drift {found['drift']:+.1%}")
    if found["lr_suffices"]:
        lines.append(f"LR suffices for: {', '.join(found['lr_suffices'])}")
    lines += [f"Note: {note}" for note in found["notes"]]
    orders = "tiles.geojson" if pool["georeferenced"] else "selection/tiles.parquet"
    lines.append(f"Tiles to acquire: {run.path / orders}")
    lines.append(f"Report: {run.path / 'report.html'}")
    if found["chosen"]:
        folder, model = shlex.quote(str(run.path)), shlex.quote(found["observer"])
        lines.append(
            f"Next: foveate observe complete {folder} --observer {model} --tiles DIR --out SCENES"
        )
    return "\n".join(lines)


def _side(tile: dict[str, Any]) -> str:
    """Format the side length of a tile."""
    pixels = f"{tile['pixels']:.3g} pixels of the overview"
    if tile["metres"] is None:
        return f"side {pixels}"
    return f"side {tile['metres']:.4g} m ({pixels})"


def _by(found: dict[str, Any]) -> str:
    """Return the budget or threshold, and the policy."""
    policy = "" if found["policy"] == "learned" else f", policy {found['policy']}"
    if found["mode"] == "budget":
        return f"a budget of {found['budget']}{policy}"
    source = "" if found["mode"] == "threshold" else " computed from these scores"
    return f"a threshold of {found['threshold']:.4g}{source}{policy}"


def completed(run: Run, *, as_json: bool) -> None:
    """Print the result of a complete run."""
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


def benched(run: Run, *, as_json: bool) -> None:
    """Print the table of a benchmark."""
    from foveate.bench.write import markdown
    from foveate.report import headlines

    summary = run.record["summary"]
    found = summary["bench"]
    stem = run.path / "tables" / found["table"]
    files = [f"{stem}.{ending}" for ending in ("json", "csv", "md")]
    lines = [] if run.worked else ["Nothing to do: this table is complete.", ""]
    said = headlines(run.path)[""]
    lines += [*said.lines, "", markdown(found), f"Table: {', '.join(files)}"]
    content = {
        "run": str(run.path), "worked": run.worked, "files": files, **summary,
        "headline": said_json(said),
    }  # fmt: skip
    if run.record.get("views", {}).get("report"):
        content["report"] = str(run.path / "report.html")
        lines.append(f"Report: {content['report']}")
    result(content, "\n".join(lines), as_json=as_json)


def observed_text(made: Demo) -> tuple[dict[str, Any], str]:
    """Return the results of a training and of a selection, JSON-ready and as text."""
    trained, chosen = made.train, made.observe
    if trained is None or chosen is None:
        return {"left_out": made.left_out}, made.left_out
    evaluation = read_json(trained.path / EVALUATION)
    content = {
        "train": {"run": str(trained.path), **trained.record["summary"], "evaluation": evaluation},
        "observe": selected_content(chosen),
    }
    return content, f"{trained_text(trained, evaluation)}\n{selected_text(chosen)}"
