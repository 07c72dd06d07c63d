"""The selections of a run against random ones of their sizes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import numbers
from foveate.report.chance import against, judged, random_picks
from foveate.report.words.curate import Picks, kept, side_by_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.chance import Against
    from foveate.report.data import MethodData, RunData
    from foveate.report.words import Headline

RANDOM = "random"  # the method that draws


def picked(run: RunData, degree: NDArray[np.int64]) -> list[Picks]:
    """Compare the selection of each method with random ones.

    Args:
        run: The run.
        degree: (n,) `numbers.overlaps` of the whole pool.
    """
    even, rare = _classes(run)
    balance = None if run.counts is None else numbers.balance(run.counts, np.arange(run.n))
    found, bound = [], run.record.get("summary", {}).get("max_overlap")
    bound = 1.0 if bound is None else float(bound)
    for i, method in enumerate(run.methods):
        shared = numbers.overlaps(run.scene[method.picks], run.windows[method.picks]) > 0
        found.append(
            Picks(
                short_title(method), method.picks.size, run.n, method.name == RANDOM,
                even[i], math.nan if balance is None else balance.entropy_pool, rare[i],
                run.classes[balance.rarest] if balance is not None and even[i] else "",
                float(shared.mean()) if method.picks.size else 0.0,
                numbers.overlap_by_chance(degree, method.picks.size),
                method.put_back,
                method.repeats,
                bound,
            )
        )  # fmt: skip
    return found


def headlines(run: RunData, found: list[Picks]) -> dict[str, Headline]:
    """Return what is said of each method, by its name.

    Args:
        run: The run.
        found: Its selections, see `picked`.
    """
    summary = run.record.get("summary", {})
    reason = summary.get("default_reason") or ""
    said = {}
    for method, one in zip(run.methods, found, strict=True):
        headline = kept(one)
        if reason and summary.get("default_method") == method.name:
            headline = headline._replace(notes=(reason, *headline.notes))
        said[method.name] = headline
    return said


def together(run: RunData, found: list[Picks]) -> str:
    """Return what is said of all methods beside each other; "" of one."""
    if len(found) < 2:
        return ""
    names = [one.method for one in found]
    same = [
        (names[i], names[j])
        for i in range(len(found)) for j in range(i + 1, len(found))
        if np.array_equal(np.sort(run.methods[i].picks), np.sort(run.methods[j].picks))
    ]  # fmt: skip
    verdicts = [
        (one.method, one.evenness.verdict if one.evenness else "")
        for one in found if not one.drawn
    ]  # fmt: skip
    return side_by_side(verdicts, same)


def short_title(method: MethodData) -> str:
    """Return the abbreviation that the title of a method ends in, else the title: "Random"."""
    found = re.search(r"\(([^()]{1,16})\)\s*$", method.title)
    return found.group(1) if found else method.title


def _classes(run: RunData) -> tuple[list[Against | None], list[Against | None]]:
    """Return the evenness and the share of the rarest class of each selection.

    All methods are one family of comparisons; that which draws at random is chance itself.
    """
    nothing: list[Against | None] = [None] * len(run.methods)
    if run.counts is None or not run.counts.any() or len(run.classes) < 2:
        return nothing, nothing
    balances = [numbers.balance(run.counts, method.picks) for method in run.methods]
    baselines = {k: random_picks(run.counts, k) for k in {m.picks.size for m in run.methods} if k}
    rows, family = [], []
    for i, (method, own) in enumerate(zip(run.methods, balances, strict=True)):
        drawn = baselines.get(method.picks.size)
        if drawn is None or not math.isfinite(own.entropy_kept):
            continue
        rows.append(i)
        usual = drawn.share[:, own.rarest] / own.pool[own.rarest]
        family += [
            against(own.entropy_kept, drawn.entropy), against(float(own.factor[own.rarest]), usual)
        ]  # fmt: skip
    even, rare = [*nothing], [*nothing]
    if family:
        known = judged(family)
        for i, row in enumerate(rows):
            even[row], rare[row] = known[2 * i], known[2 * i + 1]
    return even, rare
