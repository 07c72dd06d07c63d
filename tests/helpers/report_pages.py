"""Finding blocks on the page of a report, so that tests can say what they expect there."""

from __future__ import annotations

from foveate.report.blocks import (
    Choice,
    Figures,
    Fold,
    Grid,
    Heading,
    Overlay,
    Pairs,
    Pictures,
    Points,
    Table,
    Text,
)  # fmt: skip


def walk(blocks):
    """Yield blocks with those inside of them, in the order of the page."""
    for block in blocks:
        if isinstance(block, list | tuple):
            yield from walk(block)
            continue
        yield block
        if isinstance(block, Grid | Fold):
            yield from walk(block.blocks)
        elif isinstance(block, Choice):
            yield from walk(block.panels)


def blocks(page, kind=object, section=None):
    """Return the blocks of a kind: of a section by its id, else of the whole page."""
    parts = [s.blocks for s in page.sections if section in {None, s.id}]
    found = walk([page.lead if section is None else [], *parts])
    return [block for block in found if isinstance(block, kind)]


def ids(page):
    """Return the addresses of the sections that the page shows."""
    return [section.id for section in page.filled]


def note(page, section):
    """Return the sentence below the heading of a section."""
    return next(s.note for s in page.sections if s.id == section)


def figures(page):
    """Return the large numbers of a page by their labels."""
    return {f.label: f for block in blocks(page, Figures) for f in block.items}


def table(page, label):
    """Return the first table of a label."""
    return next(t for t in blocks(page, Table) if t.label == label)


def rows(found):
    """Return the rows of a table as names with texts of their cells, drawings left out."""
    texts = {row.name: [str(getattr(cell, "text", cell)) for cell in row.cells]
             for row in found.rows}  # fmt: skip
    return {name: [t for t in cells if not t.startswith("<svg")] for name, cells in texts.items()}


def overlays(page, section=None):
    """Return the pictures with marks by their titles and descriptions."""
    return blocks(page, Overlay, section)


def pictures(page, section=None):
    """Return the small pictures, list by list."""
    return [block.items for block in blocks(page, Pictures, section)]


def text(page, section=None):
    """Return what a page says in sentences."""
    parts = []
    for block in blocks(page, (Text, Points, Pairs, Heading), section):
        if isinstance(block, Text):
            parts += [block.title, block.text]
        elif isinstance(block, Heading):
            parts += [block.text, block.note]
        else:
            flat = [item if isinstance(item, tuple) else (item,) for item in block.items]
            parts += [word for item in flat for word in item]
    return " ".join(parts)
