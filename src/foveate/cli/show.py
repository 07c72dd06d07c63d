"""Output of the command line: progress bars on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from foveate.progress import bars
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Generator

    from foveate.progress import ProgressFn
    from foveate.report.words import Headline
    from foveate.run import Run


@contextlib.contextmanager
def progress_bars(*, quiet: bool) -> Generator[ProgressFn | None]:
    """Yield a progress callback that draws bars on stderr; None without a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with bars() as show:
        yield show


def result(content: dict[str, Any] | list[Any], text: str, *, as_json: bool) -> None:
    """Print a result as JSON or as text."""
    sys.stdout.write((as_json_text(content) if as_json else text) + "\n")


def as_json_text(content: dict[str, Any] | list[Any]) -> str:
    """Return JSON, ASCII-escaped if stdout cannot encode it otherwise."""
    text = json.dumps(content, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(content)
    return text


def finished(run: Run, *, as_json: bool) -> None:
    """Print the result of a curate run."""
    result(*finished_text(run), as_json=as_json)


def finished_text(run: Run) -> tuple[dict[str, Any], str]:
    """Return the result of a curate run as JSON-ready content and as text."""
    from foveate.report import headlines

    summary = run.record["summary"]
    report = run.path / "report.html"
    said = headlines(run.path)
    together = said.pop("")
    content = {
        "run": str(run.path), "report": str(report), "worked": run.worked, **summary,
        "headlines": {name: said_json(one) for name, one in said.items()},
    }  # fmt: skip
    lines = [*_opening(run), f"Budget: {summary['budget']}"]
    for name, found in summary["methods"].items():
        left = ", ".join(f"{v:g} {_UNITS.get(u, u)} left" for u, v in found["unspent"].items() if v)
        near = found["report"].get("near_ties")
        lines.append(
            f"  {name:<8} {plural(found['selected'], 'tile')} -> {run.path / found['file']}"
            + (f" ({left})" if left else "")
            + (f" ({near} near-ties)" if near else "")
        )
        # Notes of a single method only; for several methods they are in the report.
        text = said[name].lines
        lines += [f"    {line}" for line in (text if len(said) == 1 else text[:1])]
    if together.text:
        lines += together.lines
    if changes := summary.get("changes"):
        moved = [
            f"{name}: {one['in']} newly selected, {one['out']} no longer selected"
            for name, one in changes["methods"].items()
        ]
        pool = f"{plural(changes['added'], 'tile')} added, {changes['gone']} removed"
        lines.append(f"Changes: {'; '.join([pool, *moved])} -> {changes['file']}")
    return content, "\n".join([*lines, f"Report: {report}"])


def part_made(run: Run, *, as_json: bool) -> None:
    """Print the progress of the shards of a run."""
    part = run.part or {}
    lines = [f"Shards: {part['made']} computed, {part['left']} of {part['shards']} remaining"]
    if not part["left"]:
        lines.append("All shards exist: run the same command without --shard to finish the run.")
    result({"run": str(run.path), "worked": run.worked, **part}, "\n".join(lines), as_json=as_json)


def list_failed(failed: dict[str, str]) -> None:
    """Print the skipped scenes and the reasons on stderr."""
    what = f"{plural(len(failed), 'scene')} skipped; the same command retries"
    lines = [f"foveate: {what}:", *(f"  {scene}: {reason}" for scene, reason in failed.items())]
    sys.stderr.write("\n".join(lines) + "\n")


def core_sets(run: Run, *, as_json: bool) -> None:
    """Print the result of a benchmark of `curate`; as JSON, a list of measurements."""
    from foveate.bench.curate.paper_files import TABLES as PAPER
    from foveate.bench.curate.write import FILES, text_table
    from foveate.report import headlines

    found = run.record["summary"]["core_sets"]
    lines = [*_opening(run), *headlines(run.path)[""].lines, "", text_table(found), ""]
    if "paper" in found:
        lines += [f"{name}: {run.path / file}" for name, file in PAPER]
    lines += [f"Measurements: {run.path / FILES[1]}", f"Report: {run.path / 'report.html'}"]
    result(found["cells"], "\n".join(lines), as_json=as_json)


def said_json(headline: Headline) -> dict[str, Any]:
    """Return a headline, JSON-ready."""
    return {"text": headline.text, "notes": list(headline.notes)}


def compared(run: Run, *, as_json: bool) -> None:
    """Print the result of a comparison of rankings: Kendall's tau and the agreement."""
    from foveate.report import headlines, human
    from foveate.report.words import plain

    found, report = run.record["summary"]["compare"], run.path / "report.html"
    said = headlines(run.path)[""]
    content = {
        "run": str(run.path), "report": str(report), "worked": run.worked, **found,
        "headline": said_json(said),
    }  # fmt: skip
    names = [one["name"] for one in found["rankings"]]
    width = max(map(len, names))
    lines = [*said.lines, "Kendall's tau:"]
    for i, name in enumerate(names, 1):
        taus = (found["kendall"][name].get(other) for other in names)
        cells = "".join(f"{'' if tau is None else plain(human.decimal(tau)):>7}" for tau in taus)
        lines.append(f"  {i:>2} {plain(name):<{width}}{cells}")
    lines += [f"Tables: {run.path / 'tables'}", f"Report: {report}"]
    result(content, "\n".join(lines), as_json=as_json)


def embedded(run: Run, *, as_json: bool) -> None:
    """Print the result of an embed run."""
    summary = run.record["summary"]
    folder = run.path / summary["embeddings"]["folder"]
    content = {"run": str(run.path), "worked": run.worked, **summary}
    shape = " x ".join(map(str, summary["embeddings"]["shape"]))
    lines = [*_opening(run), f"Embeddings: {shape}, {summary['embeddings']['dtype']} -> {folder}"]
    result(content, "\n".join(lines), as_json=as_json)


def classified(run: Run, *, as_json: bool) -> None:
    """Print the result of a classify run."""
    from foveate.report import headlines

    summary = run.record["summary"]
    report, file = run.path / "report.html", run.path / summary["file"]
    said = headlines(run.path)[""]
    content = {
        "run": str(run.path), "report": str(report), "worked": run.worked, **summary,
        "headline": said_json(said),
    }  # fmt: skip
    lines = [*_opening(run), *said.lines, *_labels(summary)]
    lines += [f"Predictions: {file}", f"Report: {report}"]
    result(content, "\n".join(lines), as_json=as_json)


def tuned(run: Run, *, as_json: bool) -> None:
    """Print the result of a tune-text run."""
    from foveate.report.words.labels import tuned as words

    summary = run.record["summary"]
    data, training = summary["data"], summary["training"]
    said = words(summary["evaluation"])
    content = {"run": str(run.path), "worked": run.worked, **summary, "headline": said_json(said)}
    images = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test"))
    lines = [
        *_opening(run),
        *said.lines,
        f"Images: {images}; {data['texts']:,} different texts",
        f"Training: {plural(training['epochs'], 'epoch')}, best epoch {training['best_epoch']}",
        _columns("", ["R@1", "@5", "@10", "R@1", "@5", "@10"], "zero-shot top-1"),
    ]
    for split, found in summary["evaluation"].items():
        zero = found.get("zero_shot")
        right = f"{zero['top1']:.1%} (chance {zero['chance']:.1%})" if zero else "no class folders"
        lines.append(_columns(split, [f"{v:.1%}" for v in found["retrieval"].values()], right))
    lines.append(f"Usage: --model tuned:{run.path}")
    result(content, "\n".join(lines), as_json=as_json)


def _columns(name: str, recalls: list[str], right: str) -> str:
    to_text, to_image = ("".join(f"{v:>7}" for v in part) for part in (recalls[:3], recalls[3:]))
    return f"  {name:<5} image to text {to_text}   text to image {to_image}   {right}"


_UNITS = {"area": "m2"}
_LISTED = 20  # maximum number of listed labels


def _opening(run: Run) -> list[str]:
    """Return the first lines of all jobs: pool and model."""
    summary = run.record["summary"]
    pool, model = summary["pool"], summary["model"]
    lines = []
    if not run.worked:
        lines.append("Nothing to do: this run is complete, and nothing has changed.")
    text = f"Pool: {plural(pool['tiles'], 'tile')}"
    if pool["scenes"]:
        text += f" of {plural(pool['scenes'], 'scene')}, {plural(pool['bands'], 'band')}, "
        text += pool["dtype"]
    elif pool["georeferenced"]:
        text += ", with coordinates"
    if pool["excluded"]:
        text += f"; {pool['excluded']} excluded"
    lines.append(text)
    if model and not model["bands"]:
        lines.append(f"Embeddings: {model['name']} of {model['source']}, {model['dim']} features")
        return lines
    if model:
        used = ",".join(map(str, model["bands"]))
        ranges = ", ".join(
            f"{low:g} to {high:g}" for low, high in dict.fromkeys(map(tuple, model["scale"] or ()))
        )
        lines.append(
            f"Model: {model['name']}, {model['dim']} features of band(s) {used}"
            + (f", raw values scaled from {ranges}" if ranges else "")
        )
    return lines


def _labels(summary: dict[str, Any]) -> list[str]:
    """Return a line per label, most frequent first; with ground truth, also the recall."""
    order = sorted(summary["labels"].items(), key=lambda pair: -pair[1])
    classes = summary["truth"]["classes"] if summary["truth"] else {}
    width = max(len(name) for name, _ in order)
    lines = []
    for name, tiles in order[:_LISTED]:
        found = classes.get(name, {})
        right = f"   {found['right']} of {found['tiles']} correct" if found.get("tiles") else ""
        lines.append(
            f"  {name:<{width}} {tiles:>8}  {tiles / summary['pool']['tiles']:>6.1%}{right}"
        )
    more = order[_LISTED:]
    if more:
        lines.append(f"  and {len(more)} more with {plural(sum(n for _, n in more), 'tile')}")
    return lines
