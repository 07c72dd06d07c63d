"""What a selection comes to, and the command that goes on."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import human
from foveate.report.words.scenes import Chosen, selected, told

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.observed_data import Gridded
    from foveate.report.words import Headline


def as_area(value: float, *, metres: bool) -> str:
    """Return an area as people write it, in pixels where there are no metres."""
    if not math.isfinite(value):
        return human.NONE
    if not metres:
        return f"{human.count(value)}{human.GAP}px" if value < 1e7 else f"{value / 1e6:,.0f} Mpx"
    if value >= 1e5:
        return f"{value / 1e6:,.3g}{human.GAP}km\u00b2" if value < 1e9 else (
            f"{human.count(value / 1e6)}{human.GAP}km\u00b2"
        )  # fmt: skip
    return f"{human.count(value)}{human.GAP}m\u00b2"


def command(run: Gridded) -> str:
    """Return what to type next; the folder is the one that the run was told to write."""
    told, folder = str(run.record.get("command", "")), run.name
    try:
        parts = shlex.split(told)
    except ValueError:  # not of a shell
        parts = []
    for i, part in enumerate(parts):
        if part == "--out" and i + 1 < len(parts):
            folder = parts[i + 1]
        elif part.startswith("--out="):
            folder = part.removeprefix("--out=")
    model = str(run.about.get("observer") or run.record.get("job", {}).get("model") or "MODEL")
    return (
        f"foveate observe complete {shlex.quote(folder)} --model {shlex.quote(model)} "
        "--tiles DIR --out SCENES"
    )


def chosen(run: Gridded, picks: NDArray[np.int64]) -> Headline:
    """Return what is said of the choice.

    Args:
        run: The run.
        picks: (k,) the chosen tiles.
    """
    per_scene = np.bincount(run.scene[picks], minlength=len(run.scenes))
    training = told(run.record.get("summary", {}).get("training"))
    return selected(
        Chosen(
            run.about, run.n, picks.size, len(run.scenes), int((per_scene == 0).sum()),
            _unsure(run, picks), training,
        )
    )  # fmt: skip


def chosen_tiles(run: Gridded) -> NDArray[np.int64]:
    """Return (k,) the chosen tiles in their order."""
    picks = np.flatnonzero(run.columns["chosen"] > 0)  # NaN is not
    rank = run.columns["rank"][picks]
    return picks[np.argsort(np.where(np.isfinite(rank), rank, np.inf), kind="stable")]


def _unsure(run: Gridded, picks: NDArray[np.int64]) -> int:
    """Return how many choices the heads of the sampler leave open."""
    raw, sd = run.columns["raw"], run.columns["sd"]
    if not picks.size or picks.size == run.n or not np.isfinite(raw[picks]).all():
        return 0
    lead = raw[picks] - raw[picks].min()
    return int((lead < sd[picks]).sum())
