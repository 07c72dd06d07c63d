"""A page: what every report is made of, and nothing about how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.report.blocks import Block
    from foveate.report.origin import Origin
    from foveate.report.words import Headline


@dataclass(frozen=True)
class Section:
    """A part of a page."""

    id: str  # address on the page
    title: str  # heading
    blocks: Sequence[Block]  # what it shows
    note: str = ""  # A sentence below the heading
    nav: str = ""  # short name at the top of the page; "" where it is not listed


class Option(NamedTuple):
    """One option of the whole page, such as a method: its key in the address, and its names."""

    key: str
    short: str
    title: str


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        sections: The rest of the page, the most important first; empty ones are left out.
        lead: Blocks between the verdicts and the facts: pictures and large numbers.
        pictures: Id -> data URI of pictures that blocks refer to.
    """

    title: str  # name of the run
    kind: str  # what the page is of
    headline: str  # what the run came to, in one sentence
    facts: Sequence[tuple[str, str]]  # what the run was of, in few words each
    sections: Sequence[Section]
    origin: Origin  # how the run was made
    verdicts: Sequence[str] = ()  # figures behind the headline, and its caveats
    warnings: Sequence[str] = ()  # what makes the results doubtful
    lead: Sequence[Block] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[Option] = ()  # options between which a reader can switch; empty for none
    script: bool = False  # whether pictures can be enlarged, and options switched
    option: int = 0  # the one that the page opens with

    @classmethod
    def of(cls, name: str, kind: str, said: Headline, **rest: Any) -> Self:
        """Return the page of a run that a headline is said of.

        Args:
            name: Of the run.
            kind: What the page is of.
            said: The headline.
            rest: Other fields.
        """
        return cls(title=name, kind=kind, headline=said.text, verdicts=said.notes, **rest)

    @property
    def filled(self) -> list[Section]:
        """The sections that hold something."""
        return [section for section in self.sections if section.blocks]
