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

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import write_report
from foveate.report.focused import build, read_focused
from foveate.report.look_data import LookData
from foveate.report.look_guides import looking
from foveate.report.looked import tiling
from foveate.report.masks import picture
from foveate.report.said import said
from foveate.report.searched import passes, searched, signed
from foveate.report.stage import SIDE, stage, tinted
from foveate.run import Run


def view(path):
    return build(read_focused(path))


def text_of(path):
    return write_report(path).read_text(encoding="utf-8")


def test_the_headline_says_what_it_cost_and_what_it_changed(tmp_path):
    page = view(write_focus(tmp_path / "run"))
    assert page.headline == (
        "24 passes of the 100 that tiling the image takes: overpass, where the whole image said "
        "meadow"
    )
    assert page.verdicts[0] == (
        "2 regions of 5 cells chosen, 12\u202f% of an image of 2,048 \u00d7 2,048 pixels."
    )
    assert not page.rows
    assert [figure[:2] for figure in page.looks[0].figures] == [
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
    shown = view(write_focus(tmp_path / "run")).looks[0].said
    assert [answer.title for answer in shown.answers] == [
        "Whole image", "With regions", "Vote of all tiles", "Best single tile",
    ]  # fmt: skip
    assert [answer.lead for answer in shown.answers] == [True, True, False, False]
    first = shown.answers[1].classes
    assert [(c.name, c.value, c.top) for c in first] == [
        ("overpass", "89\u202f%", True), ("meadow", "<0.1\u202f%", False),
    ]  # fmt: skip
    assert "shares of the votes" in shown.answers[2].note


def test_a_query_shows_the_fit_with_and_without(tmp_path):
    asked = {"text": "tank", "full": -0.2, "best": 0.1, "unit": "cosine"}
    lines = said(result(query=asked), [-0.3, 0.1])
    assert [line.value for line in lines.query] == ["\u22120.200", "0.100"]
    assert "cosine" in lines.query_note
    assert 'width="100.00%" height="100%" rx="2"/><title>Best region' in lines.query[1].bar
    chance = said(result(query={**asked, "full": 0.1, "best": 0.4, "unit": "probability"}), [])
    assert [line.value for line in chance.query] == ["10\u202f%", "40\u202f%"]
    run = write_focus(
        tmp_path / "run", goal="query", query=asked, prediction=None, prediction_full=None,
        answers={},
    )  # fmt: skip
    assert view(run).looks[0].figures[0][:2] == ("Best region", "0.10")
    assert "The answer, with and without" in text_of(run)


def test_texts_of_a_generative_model(tmp_path):
    run = write_focus(
        tmp_path / "run", task="ask", answers={}, prompt="What is <i>this</i>?",
        prediction="A <b>bridge</b>.", prediction_full="A field.", prediction_tile="",
        selector="clip", selector_passes=3.0, generated=3, judged=20,
    )  # fmt: skip
    shown = view(run).looks[0]
    assert [(t.title, t.text) for t in shown.said.texts] == [
        ("Whole image", "A field."), ("With regions", "A <b>bridge</b>."),
        ("First region alone", "\u2013"),
    ]  # fmt: skip
    notes = dict(shown.search.notes)
    assert "3 answers were generated, 20 judged." in notes["Work"]
    assert "chosen by clip, which took 3 passes" in notes["Work"]
    page = text_of(run)
    assert "<b>bridge" not in page
    assert "<i>this" not in page


def test_masks_of_a_segmenter(tmp_path):
    run = write_focus(
        tmp_path / "run", task="segment", answers={}, mask=True,
        prediction={"masks": 2, "quality": 0.5}, prediction_full={"masks": 1, "quality": None},
    )  # fmt: skip
    shown = view(run).looks[0]
    assert shown.said.counts == [
        ("Masks", "1", "2"),
        ("Quality, by the model itself", "\u2013", "0.50"),
    ]
    assert shown.stage.masks.startswith("data:image/png;base64,")
    assert "quality 0.25" in shown.cards[0].place  # what the task adds to its regions
    assert 'class="masks"' in text_of(run)


def test_thinned_masks_keep_their_numbers(tmp_path):
    import base64
    import io

    from PIL import Image

    from foveate.raster import write_cog

    mask = np.zeros((300, 200), np.uint16)
    mask[:, 100:] = 256  # beyond a byte
    write_cog(tmp_path / "m.tif", mask, nodata=0)
    data = picture(tmp_path / "m.tif", 100).partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (67, 100)
        assert set(np.unique(np.asarray(image))) == {0, 1}


def test_regions_show_their_scores_and_their_place(tmp_path):
    cards = view(write_focus(tmp_path / "run", georeferenced=True)).looks[0].cards
    assert [card.title for card in cards] == ["overpass", "meadow"]
    parts = {line.name: line.value for line in cards[0].parts}
    assert parts["Utility"] == "1.31"
    assert parts["Robustness"] == "not measured"
    assert parts["Synergy, counts 0"] == "0.50"
    assert cards[0].place == [
        "x 256, y 0, 256 \u00d7 256 px", "47.50000\u00b0 N, 98.25000\u00b0 W",
    ]  # fmt: skip
    assert cards[0].alt == "Region 1: overpass 89\u202f%, importance 1.31"


def test_the_map_covers_the_image_and_numbers_lie_in_the_picture(tmp_path):
    drawn = view(write_focus(tmp_path / "run")).looks[0].stage
    assert (drawn.width, drawn.height) == (SIDE, SIDE)
    assert [cell.tint for cell in drawn.cells] == [0, 10, 5, 3, 2]
    assert [r.rank for r in drawn.regions] == [2, 1]  # the most important lies on top
    assert len(drawn.seen) == 3
    assert drawn.low == "0.31"
    assert drawn.cells[1].tip == "#1 \u00b7 importance 1.310 \u00b7 overpass 89\u202f%"
    assert "1 cell scores higher than a chosen one and was only seen squeezed" in drawn.note


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


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 4999), st.integers(0, 4999))
def test_numbers_of_tiny_regions_stand_beside_them(height, width, y, x):
    y, x = min(y, height - 1), min(x, width - 1)
    columns = {
        "importance": [1.0], "rank": [1], "x": [x], "y": [y], "w": [1], "h": [1],
        "cell_x": [x], "cell_y": [y], "cell_w": [1], "cell_h": [1],
    }  # fmt: skip
    drawn = stage("e", "n", (height, width), columns)
    assert max(drawn.width, drawn.height) == SIDE
    assert drawn.regions[0].text_x <= SIDE


def test_the_search_says_what_epsilon_means():
    one = result(epsilon=0.19, loss_full=3.62, loss_set=4.29, coreset_ok=True, stop_reason="done")
    notes = dict(searched(one, 100, 0.98).notes)
    assert notes["Why it stopped"] == "Done."
    assert "lose 19\u202f% more than the whole image (4.29 against 3.62)" in notes["\u03b5 = +0.19"]
    assert "limit of 0.98 is kept" in notes["\u03b5 = +0.19"]
    worse = dict(searched({**one, "coreset_ok": False, "epsilon": None}, 100, 0.98).notes)
    assert "nothing to lose" in worse["\u03b5 = \u2013"]
    missed = dict(searched({**one, "coreset_ok": False}, 100, 0.1).notes)
    assert "is missed" in missed["\u03b5 = +0.19"]
    assert [signed(v) for v in (0.001, -0.5)] == ["0.00", "\u22120.50"]


def test_the_record_may_lack_what_is_optional(tmp_path):
    run = write_focus(tmp_path / "run", answers={}, prediction=None, prediction_full=None)
    name = next((run / "looks").glob("*.json"))
    kept = {"image", "shape", "passes", "regions", "cells", "goal", "mode"}
    write_json(name, {k: v for k, v in read_json(name).items() if k in kept})
    for file in (*(run / "crops").iterdir(), *(run / "thumbs").iterdir()):
        file.unlink()
    page = view(run)
    assert "The answer, with and without" not in text_of(run)
    assert page.looks[0].stage.picture == ""
    assert "3 pictures left out" in page.pictures_note
    assert [title for title, _ in page.reading][-1] == "What the answers are worth"


def test_a_folder_lists_all_images_and_shows_the_first(tmp_path):
    names = [f"image {i}" for i in range(10)]
    run = write_focus(tmp_path / "run", names=names)
    page = view(run)
    assert page.headline == (
        "10 images in 240 passes of the 1,000 that tiling them takes: other answers than from the "
        "whole image in 10 of 10 images"
    )
    assert len(page.rows) == 10
    assert len(page.looks) == 8
    assert [row.anchor for row in page.rows[7:]] == ["#image7", "", ""]
    assert "The first 8 are shown below" in page.rows_note
    assert set(page.shots) >= set(names)
    text = text_of(run)
    assert text.count('<section id="image') == 9  # the table, and eight
    assert len(set(re.findall(r' id="([^"]+)"', text))) == len(re.findall(r' id="([^"]+)"', text))


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
    with pytest.raises(DataError, match="holds no result of the image"):
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


def test_the_guide_names_goal_and_mode():
    texts = dict(looking("look", "rare", "zoom", 224, classes=True))
    assert "least like the rest" in texts["What importance is"]
    assert "native resolution" in texts["What mode zoom can see"]
    assert "224 pixels" in texts["What the answers are worth"]
    assert (
        "made up" in dict(looking("ask", "x", "y", 9, classes=False))["What the answers are worth"]
    )


def test_tables_without_geometry_are_read(tmp_path):
    run = write_focus(tmp_path / "run", georeferenced=True)
    assert "geometry" in pa.parquet.read_schema(next((run / "looks").glob("*.parquet"))).names
    assert "geometry" not in read_focused(run).looks[0].columns
