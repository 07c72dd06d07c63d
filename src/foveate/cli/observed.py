"""From what was typed after `foveate observe` to jobs, and what is printed of their runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from foveate.cli.parse import imagery
from foveate.cli.show import count, result
from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.observe.prepare import PrepareJob
    from foveate.run import Run


def prepare_job(
    *, tiles: str, lr: Sequence[Path] | None, concepts: str, snr: float, **rest: Any
) -> PrepareJob:
    """Make a prepare job from what was typed.

    Raises:
        ParameterError: Something cannot be read, or a value is out of range.
        DataError: The file of concepts cannot be read.
    """
    from foveate.observe.concepts import concepts_from
    from foveate.observe.prepare import PrepareJob

    given = imagery(bands="", scale="", **rest)
    del given["scale"]
    return PrepareJob(
        tiles=grid_shape(tiles),
        lr=[str(path) for path in lr or ()],
        concepts=[concept.to_dict() for concept in concepts_from(concepts)] if concepts else [],
        snr=snr or None,
        **given,
    )


def grid_shape(text: str) -> tuple[int, int]:
    """Read ``ROWSxCOLS``.

    Raises:
        ParameterError: Another form.
    """
    found = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", text)
    if found is None:
        raise ParameterError(f"--tiles {text!r}", "The form is ROWSxCOLS.", "--tiles 10x10")
    return (int(found[1]), int(found[2]))


def prepared(run: Run, *, as_json: bool) -> None:
    """Print what a prepare run came to."""
    summary = run.record["summary"]
    pool, pairs = summary["pool"], summary["pairs"]
    rows, cols = pairs["tiles"]
    lines = [] if run.worked else ["Nothing to do: these pairs are complete."]
    lines.append(
        f"Pairs: {count(pool['scenes'], 'scene')} in {count(pairs['groups'], 'group')}, "
        f"{rows} x {cols} tiles each: {count(pool['tiles'], 'tile')}"
        + (f"; {pool['excluded']} left out as empty" if pool["excluded"] else "")
    )
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
    lines.append(f"Table: {run.path / pairs['file']}")
    content = {"run": str(run.path), "worked": run.worked, **summary}
    result(content, "\n".join(lines), as_json=as_json)


def _span(pair: Sequence[float]) -> str:
    low, high = pair
    return f"{low:g}" if f"{low:g}" == f"{high:g}" else f"{low:g} to {high:g}"
