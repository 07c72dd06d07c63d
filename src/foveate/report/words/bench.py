"""What benchmarks came to: claims that were reached, of those that could have failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foveate.report import human
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = ("better", "tied", "open", "worse")


class Claim(NamedTuple):
    """What a table says.

    Attributes:
        text: In words, with its figures.
        reached: Whether what was hoped for came true; None where nothing was, or where it could
            not have failed.
        verdict: Of the comparison that it is about: "better", "tied", "open", "worse"; "equal"
            where all rows are alike in it, so that it could not have failed; "" for others.
    """

    text: str
    reached: bool | None
    verdict: str = ""


class Measured(NamedTuple):
    """A table: its title, what it says, and what makes it weak."""

    title: str
    claims: Sequence[Claim]
    cautions: Sequence[str] = ()


def benched(tables: Sequence[Measured]) -> Headline:
    """Say how many claims were reached: of the first table, and of all of them."""
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
        which = "it" if equal == 1 else "them"
        notes.append(f"{could} not have failed, as all rows are alike in {which}: not counted.")
    return Headline(text, (*notes, *first.cautions))


def reached(claims: Sequence[Claim]) -> str:
    """Return how many claims were reached, of those that could have failed; "" without any."""
    some = count(claims)
    return f"{some} claims reached" if some else ""


def count(claims: Sequence[Claim]) -> str:
    """Return "3 of 5", of the claims that could have failed; "" without any."""
    found = [claim.reached for claim in claims if claim.reached is not None]
    return f"{sum(found)} of {len(found)}" if found else ""


def _kinds(claims: Sequence[Claim]) -> str:
    """Say how the comparisons ended."""
    known = [c.verdict for c in claims if c.reached is not None and c.verdict in _WORDS]
    if not known:
        return ""
    names = {"open": "not settled"}
    parts = [f"{known.count(w)} {names.get(w, w)}" for w in _WORDS if w in known]
    return f"Of the comparisons with a reference: {', '.join(parts)}."


def claimed(claim: Claim) -> str:
    """Return a claim with whether it was reached, as a line of a list."""
    if claim.verdict == "equal":
        return f"Not counted, could not fail: {claim.text}"
    words = {True: "Reached: ", False: "Not reached: ", None: ""}
    return words[claim.reached] + claim.text
