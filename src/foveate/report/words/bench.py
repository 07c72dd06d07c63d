"""Headlines of benchmarks: the number of claims reached, of those that could have failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = ("better", "tied", "open", "worse")


class Claim(NamedTuple):
    """A statement about a table.

    Attributes:
        text: The statement with its figures.
        reached: Whether the hypothesis was confirmed; None if there is no hypothesis, or if it
            could not have failed.
        verdict: Verdict of the underlying comparison: "better", "tied", "open", "worse"; "equal"
            if all rows have the same value, so that the claim could not have failed; "" without a
            comparison.
    """

    text: str
    reached: bool | None
    verdict: str = ""


class Measured(NamedTuple):
    """A table: its title, its claims, and its cautions."""

    title: str
    claims: Sequence[Claim]
    cautions: Sequence[str] = ()


def benched(tables: Sequence[Measured]) -> Headline:
    """Return the headline of a benchmark: claims reached in the first table and in all tables."""
    first = tables[0]
    text = f"{first.title}: {reached(first.claims) or 'measured'}"
    if len(tables) > 1:
        every = [claim for table in tables for claim in table.claims]
        some = count(every)
        text += f"; in all {len(tables)} tables {some}" if some else ""
    notes = []
    if broken := _kinds(first.claims):
        notes.append(broken)
    if equal := sum(claim.verdict == "equal" for claim in first.claims):
        could = human.plural(equal, "claim could", "claims could")
        notes.append(f"{could} not have failed, because all rows have the same value: not counted.")
    return Headline(text, (*notes, *first.cautions))


def reached(claims: Sequence[Claim]) -> str:
    """Return "3 of 5 claims reached", of those that could have failed; "" without any."""
    some = count(claims)
    return f"{some} claims reached" if some else ""


def count(claims: Sequence[Claim]) -> str:
    """Return "3 of 5", of the claims that could have failed; "" without any."""
    counted = [claim.reached for claim in claims if claim.reached is not None]
    return f"{sum(counted)} of {len(counted)}" if counted else ""


def _kinds(claims: Sequence[Claim]) -> str:
    """Return the number of comparisons with each verdict, as a sentence."""
    known = [c.verdict for c in claims if c.reached is not None and c.verdict in _WORDS]
    if not known:
        return ""
    names = {"open": "inconclusive"}
    parts = [f"{known.count(w)} {names.get(w, w)}" for w in _WORDS if w in known]
    return f"Of the comparisons with a reference: {', '.join(parts)}."


def claimed(claim: Claim) -> str:
    """Return a claim as a list item that states whether it was reached."""
    if claim.verdict == "equal":
        return f"Not counted, could not have failed: {claim.text}"
    words = {True: "Reached: ", False: "Not reached: ", None: ""}
    return words[claim.reached] + claim.text
