"""The content of a report page, independent of its rendering."""

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

    id: str  # anchor
    title: str  # heading
    blocks: Sequence[Block]  # content
    note: str = ""  # text below the heading
    nav: str = ""  # short name in the navigation; "" if not listed


class Option(NamedTuple):
    """One option of the whole page, such as a method: its key in the URL, and its names."""

    key: str
    short: str
    title: str


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        sections: Sections, the most important first; empty sections are omitted.
        lead: Blocks between the verdicts and the facts: pictures and key figures.
        pictures: Id -> data URI of pictures that blocks refer to.
    """

    title: str  # name of the run
    kind: str  # kind of the run
    headline: str  # main result, in one sentence
    facts: Sequence[tuple[str, str]]  # short facts about the inputs and the job
    sections: Sequence[Section]
    origin: Origin  # provenance
    verdicts: Sequence[str] = ()  # notes of the headline: figures and caveats
    warnings: Sequence[str] = ()  # reasons for doubt about the results
    lead: Sequence[Block] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[Option] = ()  # options that a reader can switch between; empty for none
    script: bool = False  # whether pictures can be enlarged, and options switched
    option: int = 0  # option shown first

    @classmethod
    def of(cls, name: str, kind: str, said: Headline, **rest: Any) -> Self:
        """Return the page of a run with a headline.

        Args:
            name: Name of the run.
            kind: Kind of the run.
            said: The headline.
            rest: Other fields.
        """
        return cls(title=name, kind=kind, headline=said.text, verdicts=said.notes, **rest)

    @property
    def filled(self) -> list[Section]:
        """The sections with content."""
        return [section for section in self.sections if section.blocks]
