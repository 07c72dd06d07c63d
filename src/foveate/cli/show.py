"""What the command line shows: bars on stderr while it works, a result on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from foveate.progress import ProgressFn, Tick
    from foveate.run import Run


@contextlib.contextmanager
def progress_bars(*, quiet: bool) -> Generator[ProgressFn | None]:
    """Yield a progress callback that draws bars on stderr; None where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    tasks: dict[str, Any] = {}

    def show(tick: Tick) -> None:
        if tick.step not in tasks:
            tasks[tick.step] = bars.add_task(tick.step, total=tick.total)
        bars.update(tasks[tick.step], completed=tick.done, total=tick.total)

    with bars:
        yield show


def result(content: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result: JSON for programs, text for people."""
    sys.stdout.write((json.dumps(content, ensure_ascii=False) if as_json else text) + "\n")


def finished(run: Run, *, as_json: bool) -> None:
    """Print what a run came to."""
    summary = run.record["summary"]
    report = run.path / "report.html"
    content = {"run": str(run.path), "report": str(report), "worked": run.worked, **summary}
    result(content, _text(run, summary, str(report)), as_json=as_json)


_UNITS = {"area": "m2"}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _text(run: Run, summary: dict[str, Any], report: str) -> str:
    pool, model = summary["pool"], summary["model"]
    lines = []
    if not run.worked:
        lines.append("Nothing to do: this run is complete, and nothing has changed.")
    lines.append(
        f"Pool: {_count(pool['tiles'], 'tile')} of {_count(pool['scenes'], 'scene')}, "
        f"{_count(pool['bands'], 'band')}, "
        f"{pool['dtype']}" + (f"; {pool['excluded']} left out as empty" if pool["excluded"] else "")
    )
    if model:
        used = ",".join(map(str, model["bands"]))
        ranges = ", ".join(
            f"{low:g} to {high:g}" for low, high in dict.fromkeys(map(tuple, model["scale"] or ()))
        )
        lines.append(
            f"Model: {model['name']}, {model['dim']} features of band(s) {used}"
            + (f", raw values scaled from {ranges}" if ranges else "")
        )
    lines.append(f"Budget: {summary['budget']}")
    for name, found in summary["methods"].items():
        left = ", ".join(f"{v:g} {_UNITS.get(u, u)} left" for u, v in found["unspent"].items() if v)
        near = found["report"].get("near_ties")
        lines.append(
            f"  {name:<8} {_count(found['selected'], 'tile')} -> {run.path / found['file']}"
            + (f" ({left})" if left else "")
            + (f" ({near} near-ties)" if near else "")
        )
    lines.append(f"Report: {report}")
    return "\n".join(lines)
