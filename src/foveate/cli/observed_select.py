"""From what was typed after `foveate observe select` to a job, and what is printed of its run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from foveate.cli.observed_estimate import share
from foveate.cli.parse import imagery
from foveate.cli.show import count, result, said_json

if TYPE_CHECKING:
    from foveate.observe.select import SelectJob
    from foveate.run import Run


def select_job(*, obr: str | None, **rest: Any) -> SelectJob:
    """Make a select job from what was typed.

    Raises:
        ParameterError: Something cannot be read, or a value is out of range.
    """
    from foveate.observe.select import SelectJob

    given = imagery(scale="", **rest)
    del given["scale"]
    if obr is not None:
        given["obr"] = share(obr, "obr")
    return SelectJob(**given)


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
            f"Go on: foveate observe complete {folder} --model {model} --tiles DIR --out SCENES"
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
