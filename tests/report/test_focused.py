"""The page of a focus run, made of a run directory written by hand."""

from __future__ import annotations

import html
import re

import numpy as np
import pyarrow as pa
import pytest
from focus_runs import HOSTILE, write_focus
from hypothesis import given
from hypothesis import strategies as st
from report_pages import blocks, figures, ids, note, overlays, pictures, rows, table, text

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import write_report
from foveate.report.assets import masks
from foveate.report.blocks import Fold, Lines, Text
from foveate.report.human import signed
from foveate.report.marks import places_of, size, tinted
from foveate.report.pages.focus import focus
from foveate.report.pages.focus_image import answers, tiling
from foveate.report.read import LookData, read_focused
from foveate.report.svg import UNITS
from foveate.report.words.focus import passes
from foveate.run import Run


def view(path):
    return focus(read_focused(path))


def text_of(path):
    return write_report(path).read_text(encoding="utf-8")


def test_the_headline_says_what_it_cost_and_what_it_changed(tmp_path):
    page = view(write_focus(tmp_path / "run"))
    assert page.headline == (
        "24 passes of the 100 that tiling the image takes: overpass; the answer of the whole "
        "image is "
        "meadow"
    )
    assert page.verdicts[0] == (
        "2 regions of 5 cells selected, 12\u202f% of an image of 2,048 \u00d7 2,048 pixels."
    )
    assert "images" not in ids(page)
    assert [(label, f.value) for label, f in figures(page).items()] == [
        ("With regions", "overpass"), ("Whole image", "meadow"), ("Passes", "24"),
        ("Regions", "2"),
    ]  # fmt: skip


def result(**facts):
    base = {"image": "a", "shape": [448, 448], "goal": "rare", "passes": 24.0, "regions": [{}] * 3}
    return {**base, "cells": 9, "prediction": None, "prediction_full": None, **facts}


def test_passes_and_tiles_are_counted_in_crops_of_the_model(tmp_path):
    assert tiling({"shape": [2048, 2048]}, 224) == 100
    assert tiling({"shape": [1, 225]}, 224) == 2
    assert tiling({"shape": [2048, 2048], "passes_tiling": 15.2}, 224) == 15.2
    assert [passes(v) for v in (1.0, 1.11, 23.94)] == ["1 pass", "1.1 passes", "24 passes"]
    run = write_focus(tmp_path / "run", job={"crop": 512})
    assert view(run).headline.startswith("24 passes, more than the 16 that tiling the image takes")


def test_answers_come_with_and_without_first(tmp_path):
    found = blocks(view(write_focus(tmp_path / "run")), Lines, "answers")
    assert [answer.title for answer in found] == [
        "Whole image", "With regions", "Vote of all tiles", "Best single tile",
    ]  # fmt: skip
    assert [answer.lead for answer in found] == [True, True, False, False]
    assert [(line.name, line.value, line.lead) for line in found[1].items] == [
        ("overpass", "89\u202f%", True), ("meadow", "<0.1\u202f%", False),
    ]  # fmt: skip
    assert "shares of the votes" in found[2].note


def look_at(fits=(), **facts):
    return LookData("a", result(**facts), {"fit": list(fits)}, None, {}, None)


def test_a_query_shows_the_fit_with_and_without(tmp_path):
    asked = {"text": "tank", "full": -0.2, "best": 0.1, "unit": "cosine"}
    (lines,) = answers(look_at([-0.3, 0.1], query=asked))
    assert [line.value for line in lines.items] == ["\u22120.200", "0.100"]
    assert "Cosine" in lines.note
    assert 'width="100.00%" height="100%" rx="2"/><title>Best region' in lines.items[1].bar
    (chance,) = answers(look_at(query={**asked, "full": 0.1, "best": 0.4, "unit": "probability"}))
    assert [line.value for line in chance.items] == ["10\u202f%", "40\u202f%"]
    run = write_focus(
        tmp_path / "run", goal="query", query=asked, prediction=None, prediction_full=None,
        answers={},
    )  # fmt: skip
    label, figure = next(iter(figures(view(run)).items()))
    assert (label, figure.value) == ("Best region", "0.10")
    assert "answers" in ids(view(run))


def test_texts_of_a_generative_model(tmp_path):
    run = write_focus(
        tmp_path / "run", task="ask", answers={}, prompt="What is <i>this</i>?",
        prediction="A <b>bridge</b>.", prediction_full="A field.", prediction_tile="",
        selector="clip", selector_passes=3.0, generated=3, judged=20,
    )  # fmt: skip
    page = view(run)
    quotes = [b for b in blocks(page, Text, "answers") if b.look == "quote"]
    assert [(t.title, t.text) for t in quotes] == [
        ("Whole image", "A field."), ("With regions", "A <b>bridge</b>."),
        ("First region alone", "\u2013"),
    ]  # fmt: skip
    assert "What is <i>this</i>?" in text(page, "answers")
    assert "3 answers were generated, 20 scored." in text(page, "search")
    assert "selected by clip, using 3 passes" in text(page, "search")
    page = text_of(run)
    assert "<b>bridge" not in page
    assert "<i>this" not in page


def test_masks_of_a_segmenter(tmp_path):
    run = write_focus(
        tmp_path / "run", task="segment", answers={}, mask=True,
        prediction={"masks": 2, "quality": 0.5}, prediction_full={"masks": 1, "quality": None},
    )  # fmt: skip
    page = view(run)
    assert rows(table(page, "Masks")) == {
        "Masks": ["1", "2"], "Quality, estimated by the model": ["\u2013", "0.50"],
    }  # fmt: skip
    assert 'class="masks" href="data:image/png;base64,' in overlays(page)[0].marks
    assert "quality 0.25" in pictures(page)[0][0].note  # what the task adds to its regions
    assert 'class="masks"' in text_of(run)


def test_thinned_masks_keep_their_numbers(tmp_path):
    import base64
    import io

    from PIL import Image

    from foveate.raster import write_cog

    mask = np.zeros((300, 200), np.uint16)
    mask[:, 100:] = 256  # beyond a byte
    write_cog(tmp_path / "m.tif", mask, nodata=0)
    data = masks(tmp_path / "m.tif", 100).partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (67, 100)
        assert set(np.unique(np.asarray(image))) == {0, 1}


def test_regions_show_their_scores_and_their_place(tmp_path):
    page = view(write_focus(tmp_path / "run", georeferenced=True))
    cards = pictures(page, "regions")[0]
    assert [card.title for card in cards] == ["overpass", "meadow"]
    assert cards[0].note.splitlines() == [
        "importance 1.31", "x 256, y 0, 256 \u00d7 256 px",
        "47.50000\u00b0 N, 98.25000\u00b0 W",
    ]  # fmt: skip
    assert cards[0].alt == "Region 1: overpass 89\u202f%, importance 1.31"
    scores = rows(table(page, "Scores of the regions"))["Region 1"]
    assert scores == ["1.31", "not computed", "not computed", "0.50, weight 0"]


def test_the_map_covers_the_image_and_can_be_read_without_its_tint(tmp_path):
    (drawn,) = overlays(view(write_focus(tmp_path / "run")))
    assert (drawn.width, drawn.height) == (UNITS, UNITS)
    assert re.findall(r'class="(h\d+)"', drawn.tint) == ["h0", "h2", "h3", "h5", "h10"]
    assert re.findall(r">(\d)</text>", drawn.marks) == ["1", "2"]
    last = drawn.marks.rindex('<g class="first">')  # the most important lies on top
    assert '<rect class="halo"' not in drawn.marks[drawn.marks.index("</g>", last) :]
    assert drawn.marks.count('class="edges"') == 1
    assert drawn.ramp[:2] == ("importance 0.31", "1.31")
    assert "#1 \u00b7 importance 1.310 \u00b7 overpass 89\u202f%" in drawn.marks
    assert (
        "1 cell scores higher than a selected cell but was encoded at reduced resolution only"
        in drawn.key
    )
    assert drawn.switch  # picture alone, regions, heat map


@given(
    st.lists(st.floats(-1e3, 1e3) | st.just(float("nan")), min_size=1, max_size=20),
)
def test_tints_keep_the_order(score):
    tints = np.array(tinted(np.array(score)))
    known = np.isfinite(score)
    assert tints.min() >= 0
    assert tints.max() <= 10
    if known.any():
        order = np.argsort(np.array(score)[known], kind="stable")
        assert (np.diff(tints[known][order]) >= 0).all()


boxes = st.tuples(*[st.floats(0, 900)] * 2, *[st.floats(1, 400)] * 2)


@given(st.lists(boxes, max_size=40), st.integers(20, 1000), st.integers(20, 1000))
def test_numbers_lie_in_the_picture_and_never_on_each_other(found, height, width):
    width, height = size((height, width))
    drawn = [b for b in found if b[0] < width and b[1] < height]
    places = places_of(drawn, list(range(1, len(drawn) + 1)), width, height)
    assert len(places) == len(drawn)
    known = [p for p in places if p is not None]
    for i, (x, y, w, h) in enumerate(known):
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 1e-6
        assert y + h <= height + 1e-6
        for a, b, c, d in known[:i]:
            assert x >= a + c or a >= x + w or y >= b + d or b >= y + h


def test_a_number_stands_in_the_corner_of_a_large_box_and_beside_a_small_one():
    large, small = (100.0, 100.0, 200.0, 200.0), (500.0, 500.0, 20.0, 20.0)
    inside, beside = places_of([large, small], [1, 2], 1000, 1000)
    assert inside[:2] == (100.0, 100.0)
    assert beside[0] == 520.0


def test_what_only_readers_of_the_paper_want_is_folded(tmp_path):
    one = {"epsilon": 0.19, "loss_full": 3.62, "loss_set": 4.29, "coreset_ok": True,
           "stop_reason": "done"}  # fmt: skip
    page = view(write_focus(tmp_path / "run", **one))
    assert "Stop reason Done." in text(page, "search")
    assert "lose 19\u202f% more than the whole image (4.29 against 3.62)" in text(page, "search")
    assert "limit of 0.98 is satisfied" in text(page, "search")
    folds = blocks(page, Fold, "search") + blocks(page, Fold, "regions")
    assert all(fold.title.startswith("Details: ") for fold in folds)
    plain = [b for b in next(s for s in page.sections if s.id == "search").blocks
             if not isinstance(b, Fold)]  # fmt: skip
    assert "\u03b5" not in str(plain)
    worse = view(write_focus(tmp_path / "b", **{**one, "coreset_ok": False, "epsilon": None}))
    assert "\u03b5 is undefined" in text(worse, "search")
    missed = view(write_focus(tmp_path / "c", **{**one, "coreset_ok": False}, job={"epsilon": 0.1}))
    assert "is exceeded" in text(missed, "search")
    assert [signed(v) for v in (0.001, -0.5)] == ["0.00", "\u22120.50"]


def test_the_record_may_lack_what_is_optional(tmp_path):
    run = write_focus(tmp_path / "run", answers={}, prediction=None, prediction_full=None)
    name = next((run / "looks").glob("*.json"))
    kept = {"image", "shape", "passes", "regions", "cells", "goal", "mode"}
    write_json(name, {k: v for k, v in read_json(name).items() if k in kept})
    for file in (*(run / "crops").iterdir(), *(run / "thumbs").iterdir()):
        file.unlink()
    page = view(run)
    assert "answers" not in ids(page)
    assert overlays(page)[0].picture == ""
    assert "3 pictures are missing" in text(page, "reading")
    assert "Reliability of the answers" in text(page, "reading")


def test_a_folder_lists_all_images_and_shows_the_first(tmp_path):
    names = [f"image {i}" for i in range(10)]
    run = write_focus(tmp_path / "run", names=names)
    page = view(run)
    assert page.headline == (
        "10 images in 240 passes of the 1,000 that tiling them takes: the answer differs from "
        "that of the whole image in 10 of 10 images"
    )
    listed = table(page, "All images").rows
    assert len(listed) == 10
    assert len(overlays(page)) == 8
    assert [row.link for row in listed[7:]] == ["#image7", "", ""]
    assert "The first 8 are shown below" in note(page, "images")
    assert all(row.shot for row in listed)
    html_ = text_of(run)
    assert html_.count('<section id="image') == 9  # the table, and eight
    found = re.findall(r' id="([^"]+)"', html_)
    assert len(set(found)) == len(found)
    assert {row.shot.element for row in listed} <= set(found)


def test_the_page_runs_no_script_and_hostile_names_stay_text(tmp_path):
    run = write_focus(
        tmp_path / "run", names=[HOSTILE, "b"], label=HOSTILE, prediction=HOSTILE,
        query={"text": HOSTILE, "full": 0.1, "best": 0.2, "unit": "probability"},
        notes=[HOSTILE], stop_reason=HOSTILE, command=HOSTILE,
    )  # fmt: skip
    page = text_of(run)
    assert "script-src 'none'" in html.unescape(page)
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape(HOSTILE, quote=False)[:20] in page.replace("&#34;", '"')
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert " style=" not in page  # the policy would drop it


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = write_focus(tmp_path / "run")
    one, two = (write_report(run, tmp_path / name).read_bytes() for name in ("1.html", "2.html"))
    assert one == two


def test_pixels_without_a_cell_are_named(tmp_path):
    page = view(write_focus(tmp_path / "run"))
    assert page.origin.excluded_text.startswith("Nothing")
    run = write_focus(tmp_path / "half", shape=(4096, 2048))
    assert view(run).origin.excluded_text.startswith("50\u202f% of the pixels")


def test_a_run_without_its_results_is_refused(tmp_path):
    run = write_focus(tmp_path / "run")
    next((run / "looks").glob("*.json")).unlink()
    with pytest.raises(DataError, match="has no result of the image"):
        read_focused(run)


def test_nothing_outside_of_the_run_is_shown(tmp_path):
    run = write_focus(tmp_path / "run")
    outside = tmp_path / "thumbs" / "x.jpg"
    outside.parent.mkdir()
    outside.write_bytes(b"\xff\xd8\xff secret")
    record = read_json(run / "run.json")
    outputs = record["steps"]["look scene"]["outputs"]
    outputs[:] = ["../thumbs/x.jpg" if file.startswith("thumbs/") else file for file in outputs]
    write_json(run / "run.json", record)
    look = read_focused(run).looks[0]
    assert isinstance(look, LookData)
    assert look.thumb is None
    assert Run.load(run).record["steps"]["look scene"]["outputs"] == outputs


def test_the_guide_names_goal_and_mode(tmp_path):
    found = text(view(write_focus(tmp_path / "run")), "reading")
    assert "least similar to the rest" in found
    assert "native resolution" in found
    assert "224 pixels" in found
    asked = write_focus(tmp_path / "b", task="ask", goal="x", answers={}, prediction="A.")
    assert "possibly wrong" in text(view(asked), "reading")


def test_tables_without_geometry_are_read(tmp_path):
    run = write_focus(tmp_path / "run", georeferenced=True)
    assert "geometry" in pa.parquet.read_schema(next((run / "looks").glob("*.parquet"))).names
    assert "geometry" not in read_focused(run).looks[0].columns
