"""A page is a function that returns blocks: a new one needs no template, style or script."""

from __future__ import annotations

import html
import re

import pytest
from report_pages import walk

from foveate.report import blocks, explain, origin, svg
from foveate.report.blocks import (
    Cell,
    Chart,
    Choice,
    Figure,
    Figures,
    Fold,
    Grid,
    Legend,
    Line,
    Lines,
    Matrix,
    Overlay,
    Pairs,
    Picture,
    Pictures,
    Points,
    Row,
    Table,
    Text,
)  # fmt: skip
from foveate.report.page import Option, Page, Section
from foveate.report.read import PoolData
from foveate.report.render import render

HOSTILE = "</b><img src=x onerror=alert(1)>"


def toy(run):
    """A page in a few lines."""
    line = svg.lines([svg.Line("loss", [1, 2, 3], [0.9, 0.5, 0.4], "k0")], "Loss over epochs")
    return Page(
        title=run.name,
        kind="Toy",
        headline="Three epochs halve the loss",
        facts=[("Epochs", "3")],
        lead=[Figures([Figure("Loss", "0.4", "of 0.9")])],
        sections=[
            Section("loss", "How it fell", [Chart(line), explain.terms("spread")], nav="Loss"),
            Section("table", "Epoch by epoch", [Table("Loss", ["Epoch", "Loss"], [
                Row("1", ["0.9"]), Row("2", ["0.5"]), Row("3", ["0.4"], lead=True)])]),
        ],
        origin=origin.origin(run),
    )  # fmt: skip


RUN = PoolData("run", {"job": {"epochs": 3}, "command": "foveate toy"})


def test_a_new_page_is_one_function():
    page = render(toy(RUN))
    assert "<h1>Three epochs halve the loss</h1>" in page
    assert '<nav class="chips" aria-label="Sections"><a href="#loss">Loss</a></nav>' in page
    assert "Variance of the completed features" in page
    assert "<dt>epochs</dt><dd>3</dd>" in page
    assert "script-src 'none'" in html.unescape(page)
    assert render(toy(RUN)) == page


def every_block(text):
    """Return a block of each kind that says `text` wherever it can."""
    drawn, shot = svg.bar(0.5, text), blocks.Shot("p0")
    found = [
        Text(text), Text(text, "quote", text), Text(text, "code"), blocks.Heading(text, text),
        Points([text], "claims", [("yes", text)]), Figures([Figure(text, text, text)]),
        Pairs([(text, text)], "guide"), Legend([(drawn, text)], text),
        Table(text, [text, text], [Row(text, [Cell(text, "", text)], text, group=text)]),
        Matrix(text, text, [text], [[Cell(text, "h1", text)]]),
        Chart(drawn, text, [text], [(drawn, text)]), Lines([Line(text, drawn, text)], text, text),
        Pictures([Picture(shot, text, text, text, text, drawn, text, about=[(text, text)])]),
        Overlay(text, 9, 9, text, note=text, ramp=(text, text, drawn), switch="s", key=text),
        Fold(text, [Text(text)]), Grid([Text(text), [Text(text)]]), Choice([[Text(text)]]),
    ]  # fmt: skip
    assert {type(b).__name__ for b in walk(found)} == {
        name for name, kind in vars(blocks).items() if hasattr(kind, "kind")
    }
    return found


@pytest.mark.parametrize("options", [[], [Option(HOSTILE, HOSTILE, HOSTILE)]])
def test_blocks_escape_all_text(options):
    page = Page(
        HOSTILE, HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)],
        [Section("s", HOSTILE, every_block(HOSTILE), HOSTILE, HOSTILE)], origin.origin(RUN),
        [HOSTILE], [HOSTILE], every_block(HOSTILE), {"p0": "data:image/png;base64,"}, options,
        script=bool(options),
    )  # fmt: skip
    text = render(page)
    assert "<img" not in text
    assert " style=" not in text  # the policy would drop it
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert text.count("<script") == len(options)
    assert "s-marks" in text


def test_headings_of_tables_and_descriptions_of_pictures_are_there():
    page = Page("t", "k", "h", [], [Section("s", "S", every_block("x"))], origin.origin(RUN))
    text = render(page)
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        assert '<th scope="col"' in table
        assert '<th scope="row"' in table
    for picture in re.findall(r"<svg[^>]*>", text):
        assert re.search(r'aria-hidden="true"|role="img" aria-label="[^"]|class="store"', picture)
