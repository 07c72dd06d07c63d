"""Headline of a core-set benchmark: the recommended method and budget, or none beats random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = Mapping[str, Any]  # results at one budget: "share", "rows", "floor", "balance"

REFERENCE, ALL = "random", "all tiles"
SAMPLERS = {"none": "a uniform sampler", "balanced": "a class-balanced sampler"}


class Choice(NamedTuple):
    """A method that is significantly better than random at a budget."""

    method: str
    sampler: str
    share: float
    value: float
    chance: float


def judged(found: Mapping[str, Any]) -> Headline:
    """Return the headline of a benchmark of `curate`.

    Args:
        found: Results as the benchmark stores them: "entries" (one per budget), "samplers",
            "seeds", "clusters", "cautions".
    """
    entries = [entry for entry in found["entries"] if entry["share"] < 1]
    notes = [_balance(entries, found["samplers"]), _whole(entries)]
    if "paper" in found:
        notes += [as_the_paper(found["paper"], entries), claim(found["paper"]["table2"])]
    notes += found["cautions"]
    text = _sentence(entries)
    return Headline(text, tuple(note for note in notes if note))


def as_the_paper(paper: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """Return how many cells are above random by the test of the paper, and how many by ours."""
    cells = [
        cell for row in paper["table1"] for cell in row["cells"]
        if row["method"] not in ("random", "kcenter") and cell["p"].get(REFERENCE) is not None
    ]  # fmt: skip
    if not cells:
        return ""
    above = sum(cell["above"] for cell in cells)
    ours = sum(
        r["verdict"] == "better" for e in entries for r in e["rows"]
        if r["block"] == paper["sampler"] and r["label"] not in (ALL, REFERENCE, "kcenter")
    )  # fmt: skip
    usual = human.decimal(0.025 * len(cells), 1)
    return (
        f"By the paper\u2019s test (t-test over {human.count(paper['runs'])} runs, not corrected) "
        f"{human.count(above)} of {human.plural(len(cells), 'cell')} of Table I "
        f"{'is' if above == 1 else 'are'} above random ({usual} expected by chance alone); by "
        f"the tests of this page, {human.count(ours)}."
    )


def claim(times: Mapping[str, Any]) -> str:
    """Return whether a selection takes at most about as long as an epoch with all tiles."""
    if times["holds"] is None:
        return ""
    slowest = f"the slowest takes {human.decimal(times['most'], 2)} epochs"
    if times["holds"]:
        return (
            "As in the paper, no selection takes much longer than one epoch with all tiles: "
            f"{slowest}."
        )
    return f"Unlike in the paper, selections take much longer than one epoch: {slowest}."


def winners(entries: Sequence[Entry]) -> list[Choice]:
    """Return, for each budget and sampler, the best method that is above random."""
    chosen = []
    for entry in entries:
        for sampler in dict.fromkeys(row["block"] for row in entry["rows"]):
            rows = [r for r in entry["rows"] if r["block"] == sampler and r["label"] != ALL]
            chance = next((r for r in rows if r["label"] == REFERENCE), None)
            above = [r for r in rows if r["verdict"] == "better"]
            if chance and above:
                best = max(above, key=lambda r: r["means"]["miou"])
                chosen.append(Choice(
                    best["label"], sampler, entry["share"], best["means"]["miou"],
                    chance["means"]["miou"],
                ))  # fmt: skip
    return chosen


def counted(entries: Sequence[Entry]) -> list[Choice]:
    """Return the `winners` that justify a recommendation.

    If both samplers were measured, a method must be above random with the balanced sampler: a gain
    without it may be available at no cost by balancing alone.
    """
    samplers = {row["block"] for e in entries for row in e["rows"]}
    best = winners(entries)
    return [c for c in best if c.sampler == "balanced"] if len(samplers) > 1 else best


def foremost(found: Sequence[Choice]) -> Choice | None:
    """Return the choice with the largest gain over random; None if `found` is empty."""
    return max(found, key=lambda c: c.value - c.chance, default=None)


def _sentence(entries: Sequence[Entry]) -> str:
    if not entries:
        return "Only all tiles were measured"
    best, strict = winners(entries), counted(entries)
    if strict:
        return _take(strict, entries)
    where = "at the measured budget" if len(entries) == 1 else "at any budget"
    if not best:
        return f"No method is significantly better than random {where}"
    first, shares = _foremost_at(best)
    return (
        f"With a class-balanced sampler, no method is significantly better than random {where}; "
        f"without one, {first.method} is at {shares} ({_values(first)})"
    )


def _take(found: Sequence[Choice], entries: Sequence[Entry]) -> str:
    best, shares = _foremost_at(found)
    text = f"Use {best.method} at {shares}: with {SAMPLERS[best.sampler]}, {_values(best)}"
    tied = [e["share"] for e in entries if e["share"] not in {c.share for c in found}]
    if tied:
        shares = ", ".join(human.share(s) for s in tied)
        text += f"; at {shares} no method is significantly better than random"
    return text


def _foremost_at(found: Sequence[Choice]) -> tuple[Choice, str]:
    """Return the choice with the largest gain, and all shares at which its method is chosen."""
    best = foremost(found)
    assert best is not None  # noqa: S101  (callers pass at least one choice)
    held = [c for c in found if (c.method, c.sampler) == (best.method, best.sampler)]
    return best, ", ".join(human.share(c.share) for c in held)


def _values(choice: Choice) -> str:
    return (
        f"mIoU {human.decimal(choice.value, 3)} at {human.share(choice.share)}, "
        f"random {human.decimal(choice.chance, 3)}"
    )


def _balance(entries: Sequence[Entry], samplers: Sequence[str]) -> str:
    """Return the effect of a balanced sampler alone on random tiles."""
    rows = [(e["share"], e["balance"]) for e in entries if e["balance"]]
    known = [(share, row) for share, row in rows if row["difference"] is not None]
    if not known:
        one = "Only one sampler was measured: the effect of balancing alone is not known."
        return "" if len(samplers) > 1 else one
    parts = [
        f"{human.signed(row['difference']['mean'], 3)} at {human.share(share)}"
        for share, row in known
    ]
    return f"A class-balanced sampler alone changes the mIoU of random tiles by {', '.join(parts)}."


def _whole(entries: Sequence[Entry]) -> str:
    """Return the mIoU of a training with all tiles, per sampler."""
    parts = []
    for sampler in dict.fromkeys(row["block"] for e in entries for row in e["rows"]):
        rows = [r for r in entries[0]["rows"] if r["block"] == sampler and r["label"] == ALL]
        if rows and "miou" in rows[0]["means"]:
            value = human.decimal(rows[0]["means"]["miou"], 3)
            parts.append(f"{value} with {SAMPLERS[sampler]}")
    return f"mIoU with all tiles: {', '.join(parts)}." if parts else ""
