"""What the command line prints of runs of `observe` and of benchmarks."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from foveate.cli.show import count, result, said_json
from foveate.files import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.demo import Demo
    from foveate.run import Run

EVALUATION = "tables/evaluation.json"


def prepared(run: Run, *, as_json: bool) -> None:
    """Print what a prepare run came to."""
    summary = run.record["summary"]
    lines = [] if run.worked else ["Nothing to do: these pairs are complete."]
    lines += pair_lines(summary)
    lines.append(f"Table: {run.path / summary['pairs']['file']}")
    content = {"run": str(run.path), "worked": run.worked, **summary}
    result(content, "\n".join(lines), as_json=as_json)


def pair_lines(summary: dict[str, Any]) -> list[str]:
    """Say what pairs hold: scenes, tiles, overviews and concepts."""
    pool, pairs = summary["pool"], summary["pairs"]
    rows, cols = pairs["tiles"]
    each = f"{rows} x {cols} tiles each" if pairs["grids"] == 1 else f"up to {rows} x {cols} tiles"
    lines = [
        f"Pairs: {count(pool['scenes'], 'scene')} in {count(pairs['groups'], 'group')}, "
        f"{each}: {count(pool['tiles'], 'tile')}"
        + (f"; {pool['excluded']} left out as empty" if pool["excluded"] else "")
    ]
    how = f"{pairs['overviews']}, ratio {_span(pairs['ratio'])}"
    if pairs["overviews"] == "simulated":
        noise = f"signal to noise {pairs['snr']:g}" if pairs["snr"] else "no noise"
        how += f", MTF {pairs['mtf']:g} at Nyquist, {noise}"
    if pairs["gsd"] and pairs["lr_gsd"]:
        how += f"; {_span(pairs['lr_gsd'])} m over {_span(pairs['gsd'])} m"
    lines.append(f"Overviews: {how}")
    shown = summary["concepts"]
    if shown:
        width = max(len(name) for name in shown)
        lines.append("Concepts, and the tiles that show them:")
        for name, n in shown.items():
            told = "not known" if n is None else f"{n:>7} {n / pool['tiles']:>6.1%}"
            lines.append(f"  {name:<{width}} {told}")
    return lines


def _span(pair: Sequence[float]) -> str:
    low, high = pair
    return f"{low:g}" if f"{low:g}" == f"{high:g}" else f"{low:g} to {high:g}"


def trained(run: Run, *, as_json: bool) -> None:
    """Print what a training came to."""
    from foveate.report.words.observer import trained as words

    summary = run.record["summary"]
    judged = read_json(run.path / EVALUATION)
    result(
        {
            "run": str(run.path),
            "worked": run.worked,
            **summary,
            "evaluation": judged,
            "headline": said_json(words(judged)),
        },
        trained_text(run, judged),
        as_json=as_json,
    )


def trained_text(run: Run, judged: dict[str, Any]) -> str:
    """Return what a training came to, for people."""
    from foveate.report.words.observer import trained as words

    own = run.record["summary"]["observer"]
    scenes = own["scenes"]
    lines = [] if run.worked else ["Nothing to do: this observer is trained."]
    lines.append(
        f"Observer {own['folder']} ({own['size']}, {own['form']}, supervision "
        f"{own['supervision']}), from {count(scenes['train'], 'scene')}; "
        f"{scenes['val']} to choose by, {scenes['test']} to judge by"
    )
    lines += words(judged).lines
    lines += _worth(judged)
    if run.record.get("views", {}).get("report"):
        lines.append(f"Report: {run.path / 'report.html'}")
    lines.append(
        f"Next: foveate observe select OVERVIEW --observer {run.path} --budget 12% --out RUN"
    )
    return "\n".join(lines)


def _worth(judged: dict[str, Any]) -> list[str]:
    """Return the lines of what the observer is worth at the share it was trained for."""
    ways, obr = judged["completions"], judged["obr"]
    labelled = ways["full"]["tiles"] is not None
    key = "tiles" if labelled else "cosine"
    name = "tile mAP" if labelled else "centred cosine of unobserved tiles"
    rows = [
        ("overview alone (LR fill)", ways["LR only"][key]),
        ("random tiles, completed", judged["random"][key]),
        ("chosen tiles, LR fill", ways["fill"][key]),
        ("chosen tiles, completed", ways["ours"][key]),
        ("all tiles in HR", ways["full"][key]),
    ]
    lines = [f"At OBR {obr:g}, {name} of {count(judged['tiles'], judged['split'] + ' tile')}:"]
    lines += [f"  {what:<26} {value:.3f}" for what, value in rows if value is not None]
    return lines


def selected(run: Run, *, as_json: bool) -> None:
    """Print what a select run came to."""
    result(selected_content(run), selected_text(run), as_json=as_json)


def selected_content(run: Run) -> dict[str, Any]:
    """Return what a select run came to, JSON-ready."""
    from foveate.report import headlines

    summary = run.record["summary"]
    rest = {name: value for name, value in summary.items() if name != "observe"}
    report = str(run.path / "report.html")
    return {
        "run": str(run.path), "report": report, "worked": run.worked, **summary["observe"], **rest,
        "headline": said_json(headlines(run.path)[""]),
    }  # fmt: skip


def selected_text(run: Run) -> str:
    """Return what a select run came to, for people."""
    from foveate.report import headlines

    found, pool = run.record["summary"]["observe"], run.record["summary"]["pool"]
    lines = []
    if not run.worked:
        lines.append("Nothing to do: this run is complete, and nothing has changed.")
    lines += headlines(run.path)[""].lines
    lines.append(
        f"Tiles: {found['tiles']:,} of {count(found['scenes'], 'scene')}, {_side(found['tile'])}"
        + (f"; {pool['excluded']} left out as empty" if pool["excluded"] else "")
    )
    lines.append(
        f"Chosen: {count(found['chosen'], 'tile')} by {_by(found)} -> "
        f"{run.path / 'selection/tiles.parquet'}"
    )
    spread = found["per_scene"]
    lines.append(
        f"OBR {found['obr']:.2%} of the area, MOCR {found['mocr']:.4f}; of a scene "
        f"{spread['min']:.1%} to {spread['max']:.1%}, median {spread['median']:.1%}"
    )
    if found["expected_obr"] is not None:
        lines.append(f"Expected {found['expected_obr']:.2%}: a drift of {found['drift']:+.1%}")
    if found["lr_suffices"]:
        lines.append(f"LR suffices for: {', '.join(found['lr_suffices'])}")
    lines += [f"Note: {note}" for note in found["notes"]]
    orders = "tiles.geojson" if pool["georeferenced"] else "selection/tiles.parquet"
    lines.append(f"Orders: {run.path / orders}")
    lines.append(f"Report: {run.path / 'report.html'}")
    if found["chosen"]:
        folder, model = shlex.quote(str(run.path)), shlex.quote(found["observer"])
        lines.append(
            f"Go on: foveate observe complete {folder} --observer {model} --tiles DIR --out SCENES"
        )
    return "\n".join(lines)


def _side(tile: dict[str, Any]) -> str:
    """Write how large a tile is."""
    pixels = f"{tile['pixels']:.3g} pixels of the overview"
    if tile["metres"] is None:
        return f"{pixels} a side"
    return f"{tile['metres']:.4g} m a side ({pixels})"


def _by(found: dict[str, Any]) -> str:
    """Write what has chosen."""
    policy = "" if found["policy"] == "learned" else f", policy {found['policy']}"
    if found["mode"] == "budget":
        return f"a budget of {found['budget']}{policy}"
    told = "" if found["mode"] == "threshold" else " found on these scores"
    return f"a threshold of {found['threshold']:.4g}{told}{policy}"


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


def benched(run: Run, *, as_json: bool) -> None:
    """Print the table that a benchmark came to."""
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
    """Return the results of a training and of a choice, as JSON and for people."""
    trained, chosen = made.train, made.observe
    if trained is None or chosen is None:
        return {"left_out": made.left_out}, made.left_out
    judged = read_json(trained.path / EVALUATION)
    content = {
        "train": {"run": str(trained.path), **trained.record["summary"], "evaluation": judged},
        "observe": selected_content(chosen),
    }
    return content, f"{trained_text(trained, judged)}\n{selected_text(chosen)}"
