"""What a selection comes to, in sentences that rules choose, and the command that goes on."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import human
from foveate.report import observed_said as said
from foveate.report.stage import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.observed_data import Gridded


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


def verdicts(run: Gridded, picks: NDArray[np.int64], per_scene: NDArray[np.int64]) -> list[str]:
    """Say what was chosen, by what, and how far to trust it.

    Args:
        run: The run.
        picks: (k,) the chosen tiles.
        per_scene: (s,) how many of them lie in each scene.
    """
    about = run.about
    obr, expected = number(about.get("obr")), number(about.get("expected_obr"))
    drift = number(about.get("drift"))
    mode, budget = str(about.get("mode", "")), about.get("budget")
    if not picks.size:
        found = [
            "Nothing was chosen: the budget is below one tile, or no score above the threshold."
        ]
    elif budget:
        found = [f"The best tiles within a budget of {budget}: {human.share(obr)} of the area."]
    elif math.isfinite(expected):
        text = f"The tiles that score above {human.decimal(number(about.get('threshold')), 3)}: "
        text += f"{human.share(obr)} of the area, {human.share(expected)} expected."
        found = [text]
    else:
        found = [f"Chosen by mode {mode}: {human.share(obr)} of the area."]
    policy = str(about.get("policy") or "learned")
    if policy != "learned":
        found.append(
            f"The policy is {policy}, a baseline: the observer\u2019s scores were not used."
        )
    if abs(drift) > said.OFF:
        found.append(
            f"The share is off by {human.share(abs(drift))} of the expected one: these overviews "
            "are unlike those of the calibration. Choose by --budget or --obr instead."
        )
    empty = int((per_scene == 0).sum())
    if picks.size and empty:
        found.append(f"{human.plural(empty, 'scene gives', 'scenes give')} no tile.")
    return [*found, *_unsure(run, picks)]


def _unsure(run: Gridded, picks: NDArray[np.int64]) -> list[str]:
    """Say how many choices the heads of the sampler leave open."""
    raw, sd = run.columns["raw"], run.columns["sd"]
    if not picks.size or picks.size == run.n or not np.isfinite(raw[picks]).all():
        return []
    lead = raw[picks] - raw[picks].min()
    open_ = int((lead < sd[picks]).sum())
    if not np.isfinite(sd[picks]).any() or not open_:
        return []
    text = f"{human.count(open_)} of the {human.count(picks.size)} lie less than their sd above "
    return [f"{text}the last: others could as well stand in their place."]
