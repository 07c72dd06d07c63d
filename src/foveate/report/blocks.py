"""The blocks that pages are made of: plain values, which the template draws one macro a block.

All text is plain and is escaped by the template; drawings are markup from `svg` and `marks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup


@dataclass(frozen=True)
class Text:
    """A paragraph; `look` is "about", "note", "quote", "code" or "large"."""

    kind: ClassVar[str] = "text"

    text: str
    look: str = "about"
    title: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section; `id` is its address on the page."""

    kind: ClassVar[str] = "heading"

    text: str
    note: str = ""
    id: str = ""


@dataclass(frozen=True)
class Points:
    """Sentences below each other: "verdicts", "warnings", "plain".

    Each may have a mark before it, with a style: `marks` are pairs of a style and a text.
    """

    kind: ClassVar[str] = "points"

    items: Sequence[str]
    look: str = "verdicts"
    marks: Sequence[tuple[str, str]] = ()


class Figure(NamedTuple):
    """A number that people ask for first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """Large numbers, beside each other; `tall` puts them below each other."""

    kind: ClassVar[str] = "figures"

    items: Sequence[Figure]
    tall: bool = False


@dataclass(frozen=True)
class Pairs:
    """Names with texts; `look` is "pairs" for short values or "guide" for sentences."""

    kind: ClassVar[str] = "pairs"

    items: Sequence[tuple[str, str]]
    look: str = "pairs"


class Shot(NamedTuple):
    """Where a picture is on the page: an element, and the part of it to cut out."""

    element: str
    box: str = "0 0 1 1"


class Cell(NamedTuple):
    """A cell of a table that is more than its text."""

    text: str
    look: str = ""
    tip: str = ""


class Row(NamedTuple):
    """A row of a table."""

    name: str  # its head
    cells: Sequence[str | Markup | Cell]  # texts, drawings or `Cell`
    note: str = ""  # in small letters behind the name
    lead: bool = False  # whether it is the one that the page is about
    mark: Markup | None = None  # A drawing before the name
    link: str = ""  # address that the name leads to, or ""
    shot: Shot | None = None  # A small picture before the name
    group: str = ""  # rows of a group stand below its title
    option: int = -1  # number of the option of a `Choice` that it belongs to, -1 for none


class Column(NamedTuple):
    """A column: "number", "text" or "bar"."""

    title: str
    look: str = "number"


BAR = Column("", "bar")


@dataclass(frozen=True)
class Table:
    """A table; the first column holds the heads of the rows."""

    kind: ClassVar[str] = "table"

    label: str
    columns: Sequence[Column | str]
    rows: Sequence[Row]
    wide: bool = False
    caption: str = ""

    @property
    def heads(self) -> list[Column]:
        """The columns; those that are given by their title hold numbers."""
        return [Column(c) if isinstance(c, str) else c for c in self.columns]


@dataclass(frozen=True)
class Matrix:
    """A square table of tinted cells; one of many names shows no numbers."""

    kind: ClassVar[str] = "matrix"

    title: str
    note: str
    names: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def dense(self) -> bool:
        """Whether there are too many cells to write into."""
        return len(self.names) > 12


@dataclass(frozen=True)
class Chart:
    """A drawing with its caption.

    Attributes:
        ends: What stands at the left end, in the middle and at the right end below it.
        look: "plain", or "axes" or "small" for a chart whose axes stand outside of its box.
    """

    kind: ClassVar[str] = "chart"

    svg: Markup  # the drawing
    caption: str = ""  # what is drawn
    ends: Sequence[str] = ()
    legend: Sequence[tuple[Markup, str]] = ()  # samples of lines or marks with their names
    look: str = "plain"


@dataclass(frozen=True)
class Legend:
    """Samples of colours or marks with their names."""

    kind: ClassVar[str] = "legend"

    items: Sequence[tuple[Markup, str]]
    title: str = ""


class Line(NamedTuple):
    """A named number with a bar."""

    name: str
    bar: Markup | None
    value: str
    lead: bool = False


@dataclass(frozen=True)
class Lines:
    """Named numbers with bars below each other; `title` and `note` stand above them."""

    kind: ClassVar[str] = "lines"

    items: Sequence[Line]
    title: str = ""
    note: str = ""
    lead: bool = False


class Picture(NamedTuple):
    """A small picture."""

    shot: Shot | None  # where it is on the page; None where there is none
    alt: str  # the picture for those who cannot see it
    title: str = ""  # in bold letters below it
    value: str = ""  # beside the title
    note: str = ""  # in small letters below both
    strip: Markup | None = None  # A bar below the picture
    badge: str = ""  # on the picture
    style: str = ""  # style class: "right", "wrong"
    about: Sequence[tuple[str, str]] = ()  # facts that are listed where the picture is enlarged


@dataclass(frozen=True)
class Pictures:
    """Small pictures side by side; `look` is "thumbs" or, with more text each, "cards"."""

    kind: ClassVar[str] = "pictures"

    items: Sequence[Picture]
    look: str = "thumbs"


@dataclass(frozen=True)
class Overlay:
    """A picture with marks over it.

    Attributes:
        ramp: Lowest and highest value of the colours, and their drawing; empty for none.
    """

    kind: ClassVar[str] = "overlay"

    title: str  # stands below it
    width: float  # units; the longer side has 1000
    height: float  # units
    alt: str  # the picture for those who cannot see it
    picture: str = ""  # data URI, or ""
    element: str = ""  # id of the picture, unique on the page; "" if nothing refers to it
    marks: Markup | str = ""  # what is drawn over it
    tint: Markup | str = ""  # what is drawn between picture and marks, and can be switched off
    note: Markup | str = ""  # beside the title
    ramp: tuple[str, str, Markup] | tuple[()] = ()
    fine: bool = False  # whether each pixel of the picture is a value, not to be blurred
    switch: str = ""  # name for switching between picture, marks and tint; "" for no switch
    key: str = ""  # what the marks mean


@dataclass(frozen=True)
class Grid:
    """Blocks side by side; `columns` is their number, or "aside" for a wide and a narrow one."""

    kind: ClassVar[str] = "grid"

    blocks: Sequence[Block | Sequence[Block]]
    columns: int | str = 2


@dataclass(frozen=True)
class Fold:
    """Blocks that are opened by a click."""

    kind: ClassVar[str] = "fold"

    title: str
    blocks: Sequence[Block]
    open: bool = False


@dataclass(frozen=True)
class Choice:
    """Blocks for each option of a page, of which the script shows one; without it all are there."""

    kind: ClassVar[str] = "choice"

    panels: Sequence[Sequence[Block]] = field(default_factory=list)


type Block = (
    Text | Heading | Points | Figures | Pairs | Table | Matrix | Chart | Legend | Lines | Pictures
    | Overlay | Grid | Fold | Choice
)  # fmt: skip


def shots(album: Mapping[str, str], prefix: str = "p") -> dict[str, Shot]:
    """Return the element of each picture of an album, in its order."""
    return {name: Shot(f"{prefix}{i}") for i, name in enumerate(album)}


def left_out(count: int) -> list[Block]:
    """Say that some pictures are not on the page; nothing where all of them are."""
    are = "picture is" if count == 1 else "pictures are"
    text = f"{count} {are} missing: not stored with the run, or left out to keep this page small."
    return [Text(text, "note")] if count else []
