"""Blocks of pages: plain values, drawn by one template macro per kind of block.

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
    """A list of sentences; `look` is "verdicts", "warnings" or "plain".

    Each may have a mark before it: `marks` are pairs of a style and a text.
    """

    kind: ClassVar[str] = "points"

    items: Sequence[str]
    look: str = "verdicts"
    marks: Sequence[tuple[str, str]] = ()


class Figure(NamedTuple):
    """A key figure."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """Key figures side by side; with `tall`, one below the other."""

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
    """Reference to a picture on the page: an element, and the part to show."""

    element: str
    box: str = "0 0 1 1"


class Cell(NamedTuple):
    """A cell of a table with a style and a tooltip."""

    text: str
    look: str = ""
    tip: str = ""


class Row(NamedTuple):
    """A row of a table."""

    name: str  # row header
    cells: Sequence[str | Markup | Cell]  # texts, drawings or `Cell`
    note: str = ""  # small text after the name
    lead: bool = False  # whether the row is highlighted
    mark: Markup | None = None  # drawing before the name
    link: str = ""  # link target of the name, or ""
    shot: Shot | None = None  # small picture before the name
    group: str = ""  # title of the group of rows
    option: int = -1  # number of its option of a `Choice`, -1 for none


class Column(NamedTuple):
    """A column: "number", "text" or "bar"."""

    title: str
    look: str = "number"


BAR = Column("", "bar")


@dataclass(frozen=True)
class Table:
    """A table; the first column contains the row headers."""

    kind: ClassVar[str] = "table"

    label: str
    columns: Sequence[Column | str]
    rows: Sequence[Row]
    wide: bool = False
    caption: str = ""

    @property
    def heads(self) -> list[Column]:
        """The columns; those given by title only contain numbers."""
        return [Column(c) if isinstance(c, str) else c for c in self.columns]


@dataclass(frozen=True)
class Matrix:
    """A square table of tinted cells; with many names, without numbers."""

    kind: ClassVar[str] = "matrix"

    title: str
    note: str
    names: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def dense(self) -> bool:
        """Whether there are too many cells for numbers."""
        return len(self.names) > 12


@dataclass(frozen=True)
class Chart:
    """A drawing with its caption.

    Attributes:
        ends: Texts below the chart at the left end, in the middle and at the right end.
        look: "plain", or "axes" or "small" for a chart with axes outside of its box.
    """

    kind: ClassVar[str] = "chart"

    svg: Markup  # the drawing
    caption: str = ""
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
    """A list of named numbers with bars; `title` and `note` are shown above."""

    kind: ClassVar[str] = "lines"

    items: Sequence[Line]
    title: str = ""
    note: str = ""
    lead: bool = False


class Picture(NamedTuple):
    """A small picture."""

    shot: Shot | None  # reference to the picture; None if missing
    alt: str  # alternative text
    title: str = ""  # bold text below the picture
    value: str = ""  # text beside the title
    note: str = ""  # small text below both
    strip: Markup | None = None  # bar below the picture
    badge: str = ""  # text on the picture
    style: str = ""  # style class: "right", "wrong"
    about: Sequence[tuple[str, str]] = ()  # facts shown beside the enlarged picture


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
        ramp: Lowest and highest value of the colour bar, and its drawing; empty for none.
    """

    kind: ClassVar[str] = "overlay"

    title: str  # caption
    width: float  # units; the longer side has 1000
    height: float  # units
    alt: str  # alternative text
    picture: str = ""  # data URI, or ""
    element: str = ""  # id of the picture, unique on the page; "" if not referenced
    marks: Markup | str = ""  # drawing over the picture
    tint: Markup | str = ""  # drawing between picture and marks, can be switched off
    note: Markup | str = ""  # text beside the title
    ramp: tuple[str, str, Markup] | tuple[()] = ()
    fine: bool = False  # whether each pixel of the picture is a value, shown without smoothing
    switch: str = ""  # name for switching between picture, marks and tint; "" for no switch
    key: str = ""  # explanation of the marks


@dataclass(frozen=True)
class Grid:
    """Blocks side by side; `columns` is their number, or "aside" for a wide and a narrow one."""

    kind: ClassVar[str] = "grid"

    blocks: Sequence[Block | Sequence[Block]]
    columns: int | str = 2


@dataclass(frozen=True)
class Fold:
    """Collapsible blocks."""

    kind: ClassVar[str] = "fold"

    title: str
    blocks: Sequence[Block]
    open: bool = False


@dataclass(frozen=True)
class Choice:
    """Blocks for each option of a page; the script shows one, without it all are shown."""

    kind: ClassVar[str] = "choice"

    panels: Sequence[Sequence[Block]] = field(default_factory=list)


type Block = (
    Text | Heading | Points | Figures | Pairs | Table | Matrix | Chart | Legend | Lines | Pictures
    | Overlay | Grid | Fold | Choice
)  # fmt: skip


def shots(album: Mapping[str, str], prefix: str = "p") -> dict[str, Shot]:
    """Return the reference of each picture of an album, in order."""
    return {name: Shot(f"{prefix}{i}") for i, name in enumerate(album)}


def left_out(count: int) -> list[Block]:
    """Return a note on missing pictures; empty if there are none."""
    are = "picture is" if count == 1 else "pictures are"
    text = f"{count} {are} missing: not stored with the run, or omitted to limit the page size."
    return [Text(text, "note")] if count else []
