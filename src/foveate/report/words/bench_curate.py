"""What a benchmark of core-sets came to: take this method at this budget, or random is as good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Entry = Mapping[str, Any]  # of one budget: "share", "rows", "floor", "balance"

REFERENCE, ALL = "random", "all tiles"
SAMPLERS = {"none": "tiles drawn as they are", "balanced": "a class-balanced sampler"}


class Choice(NamedTuple):
    """A method at a budget that is above random."""

    method: str
    sampler: str
    share: float
    value: float
    chance: float


def judged(found: Mapping[str, Any]) -> Headline:
    """Return the headline of a benchmark of `curate`.

    Args:
        found: What the benchmark stores: "entries" (one a budget), "samplers", "seeds",
            "clusters", "cautions".
    """
    entries = [entry for entry in found["entries"] if entry["share"] < 1]
    notes = [_balance(entries, found["samplers"]), _whole(entries)]
    if "paper" in found:
        notes += [as_the_paper(found["paper"], entries), claim(found["paper"]["table2"])]
    notes += found["cautions"]
    text = _sentence(entries)
    return Headline(text, tuple(note for note in notes if note))


def as_the_paper(paper: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """Say how many cells the paper's test calls above random, and how many are by ours."""
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
        f"{'is' if above == 1 else 'are'} above random, and {usual} would be by chance alone; by "
        f"the tests of this page {human.count(ours)}."
    )


def claim(times: Mapping[str, Any]) -> str:
    """Say whether selecting takes of the order of an epoch with all tiles, or less."""
    if times["holds"] is None:
        return ""
    most = f"the slowest takes {human.decimal(times['most'], 2)}"
    if times["holds"]:
        return (
            "As the paper says, no selection takes longer than of the order of one epoch with all "
            f"tiles: {most}."
        )
    return f"Unlike in the paper, selections take more than of the order of one epoch: {most}."


def winners(entries: Sequence[Entry]) -> list[Choice]:
    """Return, for each budget and sampler, the best of the methods that are above random."""
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
    """Return those of `winners` that count.

    Where both samplers were measured, a method has to be above random with the balanced one: what
    it gains without, the sampler may give for nothing.
    """
    samplers = {row["block"] for e in entries for row in e["rows"]}
    found = winners(entries)
    return [c for c in found if c.sampler == "balanced"] if len(samplers) > 1 else found


def foremost(found: Sequence[Choice]) -> Choice | None:
    """Return the choice that gains most over random; None of none."""
    return max(found, key=lambda c: c.value - c.chance, default=None)


def _sentence(entries: Sequence[Entry]) -> str:
    """Say what to take."""
    if not entries:
        return "Only all tiles were measured"
    found, strict = winners(entries), counted(entries)
    if strict:
        return _take(strict, entries)
    where = "at the budget measured" if len(entries) == 1 else "at any budget"
    if not found:
        return f"Random is as good: no method is above it beyond the noise {where}"
    text = _take(found, entries, rest=False)
    return f"With a class-balanced sampler random is as good {where}; without one: {_lower(text)}"


def _take(found: Sequence[Choice], entries: Sequence[Entry], *, rest: bool = True) -> str:
    best = foremost(found)
    assert best is not None  # noqa: S101  (there is one)
    held = [c for c in found if (c.method, c.sampler) == (best.method, best.sampler)]
    shares = ", ".join(human.share(c.share) for c in held)
    text = (
        f"Take {best.method} at {shares}: with {SAMPLERS[best.sampler]} mIoU "
        f"{human.decimal(best.value, 3)} at {human.share(best.share)}, where random has "
        f"{human.decimal(best.chance, 3)}"
    )
    tied = [e["share"] for e in entries if e["share"] not in {c.share for c in found}]
    if rest and tied:
        text += f"; at {', '.join(human.share(s) for s in tied)} random is as good"
    return text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _balance(entries: Sequence[Entry], samplers: Sequence[str]) -> str:
    """Say what a balanced sampler alone gives to random tiles."""
    rows = [(e["share"], e["balance"]) for e in entries if e["balance"]]
    known = [(share, row) for share, row in rows if row["difference"] is not None]
    if not known:
        one = "Only one sampler was measured: what balance alone gives is not known."
        return "" if len(samplers) > 1 else one
    parts = [
        f"{human.signed(row['difference']['mean'], 3)} at {human.share(share)}"
        for share, row in known
    ]
    return f"A class-balanced sampler alone changes the mIoU of random tiles by {', '.join(parts)}."


def _whole(entries: Sequence[Entry]) -> str:
    """Say what all tiles reach, and which small sets are within the noise of that."""
    parts = []
    for sampler in dict.fromkeys(row["block"] for e in entries for row in e["rows"]):
        rows = [r for r in entries[0]["rows"] if r["block"] == sampler and r["label"] == ALL]
        if rows and "miou" in rows[0]["means"]:
            value = human.decimal(rows[0]["means"]["miou"], 3)
            parts.append(f"{value} with {SAMPLERS[sampler]}")
    return f"All tiles reach {', '.join(parts)}." if parts else ""
