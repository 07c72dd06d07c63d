"""A page: what every report is made of, and nothing about how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.report.blocks import Block
    from foveate.report.origin import Origin


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        id: Address on the page.
        title: Heading.
        blocks: What it shows.
        note: A sentence below the heading.
        nav: Short name at the top of the page; "" where it is not listed.
    """

    id: str
    title: str
    blocks: Sequence[Block]
    note: str = ""
    nav: str = ""


class Option(NamedTuple):
    """One option of the whole page, such as a method: its key in the address, and its names."""

    key: str
    short: str
    title: str


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: Name of the run.
        kind: What the page is of.
        headline: What the run came to, in one sentence.
        facts: What the run was of, in few words each.
        sections: The rest of the page, the most important first; empty ones are left out.
        origin: How the run was made.
        verdicts: Figures behind the headline, and its caveats.
        warnings: What makes the results doubtful.
        lead: Blocks between the verdicts and the facts: pictures and large numbers.
        pictures: Id -> data URI of pictures that blocks refer to.
        options: Options between which a reader can switch; empty for none.
        option: The one that the page opens with.
    """

    title: str
    kind: str
    headline: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    origin: Origin
    verdicts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    lead: Sequence[Block] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[Option] = ()
    option: int = 0

    @property
    def filled(self) -> list[Section]:
        """The sections that hold something."""
        return [section for section in self.sections if section.blocks]
