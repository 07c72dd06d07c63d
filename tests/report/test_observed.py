"""The pages of observe runs, made of run directories written by hand."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest
from observe_runs import (
    HOSTILE,
    picture,
    unlabelled,
    write_completed,
    write_selected,
    write_trained,
)
from PIL import Image
from report_pages import blocks, figures, ids, note, overlays, pictures, rows, table, text, walk

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import page_of, write_report
from foveate.report.blocks import Chart, Heading, Text
from foveate.report.pages.train_tables import training


def text_of(path):
    return write_report(path).read_text(encoding="utf-8")


def test_a_trained_observer_opens_with_what_it_is_worth(tmp_path):
    page = page_of(write_trained(tmp_path / "run"))
    assert page.headline == (
        "With 12\u202f% of the tiles observed, tile mAP 0.65 (0.50 from overviews alone, "
        "0.80 from all tiles); its selection is better than random tiles"
    )
    assert [(label, f.value) for label, f in figures(page).items()] == [
        ("Completed scenes", "0.650"), ("Overviews alone", "0.500"), ("Random tiles", "0.580"),
        ("All tiles observed", "0.800"), ("Completion adds", "+0.050"),
    ]  # fmt: skip
    observing, chance, completion, absent = page.verdicts
    assert observing == (
        "Observing 12\u202f% of the tiles scores +0.150 over the overviews alone, 50\u202f% of "
        "the gain of observing all tiles."
    )
    assert chance == (
        "Over the observed shares, mean tile mAP 0.650, random tiles 0.580; difference +0.070, "
        "95\u202f% interval +0.020 to +0.120 over 9 groups of scenes."
    )
    assert completion == (
        "Completion scores +0.050 over the LR fill, a difference without an interval."
    )
    assert absent == "No test tile shows tank: not part of the mAP."
    assert dict(page.facts)["Evaluated on"] == "1,140 tiles of 12 test scenes"


def test_without_labels_the_cosine_stands_for_precision(tmp_path):
    run = write_trained(tmp_path / "run")
    write_json(run / "tables/evaluation.json", unlabelled())
    page = page_of(run)
    assert "a centred cosine of 0.61 on the unobserved tiles; its selection" in page.headline
    assert table(page, "Budget curve").heads[0].title == "centred cosine"
    assert page.verdicts[0].startswith("There are no labels")
    assert "Random tiles" not in figures(page)
    assert "concepts" not in ids(page)
    page = text_of(run)
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    assert 'id="concepts"' not in page


def test_maps_share_a_scale_and_grids_keep_their_holes(tmp_path):
    page = page_of(write_trained(tmp_path / "run"))
    assert blocks(page, Heading, "maps")[0].note == "2 of 5 tiles observed"
    board, *heats = overlays(page, "maps")
    assert [h.title for h in heats] == ["Predicted", "True", "Uncertainty (sd)"]
    assert {h.ramp[:2] for h in heats[:2]} == {("0.00", "1.00")}
    assert [h.marks.count("<title>") for h in heats] == [5, 5, 5]
    assert "strongly correlated" in note(page, "maps")
    assert re.search(r'class="outline" d="([^"]+)"', board.marks).group(1).count("z") == 2
    first, second = overlays(page, "features")
    assert first.marks.count("z") == 4  # what was not observed
    assert second.marks.count("z") == 1  # no tile
    assert "image-rendering: pixelated" in text_of(tmp_path / "run")


def test_the_curve_draws_policies_and_dashes_what_is_filled(tmp_path):
    page = page_of(write_trained(tmp_path / "run"))
    (curve,) = blocks(page, Chart, "budget")
    assert str(curve.svg).count("<path") == 6  # four policies, two of them dashed too
    assert str(curve.svg).count("dashed") == 2
    assert list(rows(table(page, "Budget curve")))[:2] == ["learned", "learned, LR fill"]
    assert next(iter(rows(table(page, "Efficiency")))) == "learned"
    assert note(page, "budget").startswith("Learned tiles score higher than random tiles at 5")


def test_search_failures_and_neighbours(tmp_path):
    page = page_of(write_trained(tmp_path / "run"))
    assert blocks(page, Heading, "search")[0].note == "1 of 2 right; 30\u202f% of the tiles show it"
    assert [p.alt for p in pictures(page, "search")[0]] == [
        "a/1: right, observed", "a/2: wrong, completed",
    ]  # fmt: skip
    cases = blocks(page, Text, "failures")
    assert "a, row 1, column 2" in cases[0].text
    (case,) = overlays(page, "failures")  # the other is of a scene that is not drawn
    assert 'class="outline"' in case.marks
    assert "share more concepts than those of the LR fill" in text(page, "completions")
    assert "have 0.900 by their mean" in note(page, "completions")
    assert "hides errors of tiles" in note(page, "completions")


def test_training_tells_phases_and_collapse(tmp_path):
    page = page_of(write_trained(tmp_path / "run"))
    assert [h.text for h in blocks(page, Heading, "training")] == [
        "Stage I, kriging", "Stage I, blocks", "Sampler: blend", "Stage II",
    ]  # fmt: skip
    texts = [b.text for b in blocks(page, Text, "training")]
    assert texts[0].startswith("Best of 3 epochs: 2, centred cosine 0.520")
    assert "discarded" in texts[3]
    low = training({"predictor": {"epochs": [{"score": 0.1, "spread": 0.05}], "best": 1}})
    assert any("Collapse" in b.text for b in walk(low) if isinstance(b, Text))


def test_a_selection_says_how_much_where_and_what_next(tmp_path):
    page = page_of(write_selected(tmp_path / "run"))
    assert page.headline == (
        "2 of 12 tiles to observe, in 2 scenes; in training, this policy was better than random "
        "tiles"
    )
    assert page.verdicts[0] == "Within a budget of 17%: 17\u202f% of the area."
    assert "1 scene has no selected tile." in page.verdicts
    assert blocks(page, Text, "next")[1].text == (
        "foveate observe complete 'runs/one two' --observer 'my model' --tiles DIR --out SCENES"
    )
    assert [h.note for h in blocks(page, Heading, "scenes")] == [
        "2 of 6 tiles selected", "0 of 6 tiles selected",
    ]  # fmt: skip
    assert overlays(page)[0].picture.startswith("data:image/jpeg")
    tiles = rows(table(page, "Selected tiles"))
    assert list(tiles) == ["1", "2"]
    assert tiles["2"][:3] == ["a", "1", "1"]
    assert "last selected tile at" in str(blocks(page, Chart, "scores")[0].svg)
    assert sum(int(cells[0]) for cells in rows(table(page, "Tiles per scene")).values()) == 2


def test_a_threshold_that_does_not_carry_over_is_said(tmp_path):
    page = page_of(write_selected(
        tmp_path / "run", mode="threshold", budget=None, threshold=0.55, expected_obr=0.45,
        drift=-0.28, notes=["The GSD differs."], policy="random", obr=0.32,
        area={"unit": "pixels", "chosen": 118867, "all": 368226},
    ))  # fmt: skip
    assert "above 0.550: 32\u202f% of the area, 45\u202f% expected" in page.verdicts[0]
    assert any("differ from those of the calibration" in text for text in page.verdicts)
    assert page.headline.endswith(", drawn at random")
    assert page.warnings == ["The GSD differs."]
    assert "threshold at 0.550" in str(blocks(page, Chart, "scores")[0].svg)
    assert figures(page)["Selected area"].value == "118,867\u202fpx"


def test_nothing_chosen_and_no_pictures_still_make_a_page(tmp_path):
    run = write_selected(tmp_path / "run", chosen=(), thumbs=False, scenes=("only",))
    page = page_of(run)
    assert page.headline.startswith("None of 6 tiles to observe")
    assert "1 picture is missing" in text(page, "scenes")
    assert "tiles" not in ids(page)
    assert "<svg" in text_of(run)


def test_choices_within_their_sd_are_counted(tmp_path):
    page = page_of(write_selected(tmp_path / "run", chosen=(0, 1, 2)))
    # Raw scores fall by 0.045 a tile, the sd is 0.05: the last two cannot be told apart.
    start = "The scores of 1 of the other 2 exceed that of the last selected tile by less than"
    assert any(verdict.startswith(start) for verdict in page.verdicts)


def test_completed_scenes_show_features_doubt_and_what_was_missing(tmp_path):
    page = page_of(write_completed(tmp_path / "run"))
    assert page.headline == "2 scenes completed from 2 observed tiles of 12"
    assert "1 scene has no observed tile and is predicted from its overview alone." in page.verdicts
    assert any("1 selected tile had no high-resolution image and was completed: a/3" in t
               for t in page.verdicts)  # fmt: skip
    _, feature, uncertainty = overlays(page, "scenes")[:3]
    with Image.open(io.BytesIO(base64.b64decode(feature.picture.partition(",")[2]))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (4, 6, 4)
    assert not pixels[:2, :2, 3].any()  # nothing there
    assert uncertainty.title == "Uncertainty"
    assert uncertainty.ramp[1] == "1.00"
    assert list(rows(table(page, "Concepts"))) == ["road"]
    assert figures(page)["Mean uncertainty"].value == "0.40"


def test_completion_of_nothing_or_of_everything(tmp_path):
    none = page_of(write_completed(tmp_path / "none", observed=(), concepts=False))
    assert none.headline.endswith("without observed tiles, predicted from the overviews alone")
    assert "concepts" not in ids(none)
    every = page_of(write_completed(tmp_path / "all", observed=range(12), missing=0))
    assert every.headline.endswith(": all of them, so nothing had to be completed")


WRITERS = (write_trained, write_selected, write_completed)


@pytest.mark.parametrize("write", WRITERS)
def test_pages_are_complete_offline_and_the_same_each_time(tmp_path, write):
    run = write(tmp_path / "run")
    one, two = (write_report(run, tmp_path / name).read_bytes() for name in ("1.html", "2.html"))
    assert one == two
    page = one.decode()
    assert "script-src 'none'" in html.unescape(page)
    assert "<script" not in page
    assert " style=" not in page  # the policy would drop it
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert page.count("<h1") == 1
    assert not re.findall(r"<svg(?![^>]*(?:aria-|class|preserve|width=))[^>]*>", page)


def test_hostile_names_stay_text(tmp_path):
    bad = HOSTILE.replace("/", "")
    trained = text_of(write_trained(
        tmp_path / "t", scene=HOSTILE, concept=HOSTILE, command=HOSTILE,
        failures=[{"kind": HOSTILE, "scene": HOSTILE, "row": 0, "col": 0, "value": 1.0}],
        efficiency={HOSTILE: 0.9, "learned": 0.1},
        concepts={HOSTILE: {"prevalence": 0.5, "ours": 0.5, "fill": 0.5}},
        neighbours={HOSTILE: 0.1},
    ))  # fmt: skip
    selected = text_of(write_selected(
        tmp_path / "s", scenes=(bad, "b"), command=HOSTILE, notes=[HOSTILE], policy=HOSTILE,
        observer=HOSTILE, lr_suffices=[HOSTILE], budget=HOSTILE,
    ))  # fmt: skip
    completed = text_of(write_completed(tmp_path / "c", scenes=(bad,), missing_tiles=[HOSTILE]))
    for page in (trained, selected, completed):
        assert "<img" not in page
        assert "&lt;img" in page


def test_nothing_outside_of_the_run_is_shown(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(picture(shade=7))
    run = write_trained(tmp_path / "run")
    shown = read_json(run / "tables/shown.json")
    shown["scenes"][0]["overview"] = "../secret.jpg"
    shown["search"][0]["tiles"][0]["picture"] = str(tmp_path / "secret.jpg")
    write_json(run / "tables/shown.json", shown)
    secret = base64.b64encode(picture(shade=7)).decode()
    assert secret not in text_of(run)
    assert "missing" in text(page_of(run), "reading")
    chosen = write_selected(tmp_path / "run2", scenes=("../../secret",), thumbs=False)
    assert secret not in text_of(chosen)


def test_unfinished_and_other_runs_are_refused(tmp_path):
    run = write_trained(tmp_path / "t")
    (run / "tables/evaluation.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        write_report(run)
    run = write_selected(tmp_path / "s")
    (run / "tables/scores.parquet").unlink()
    with pytest.raises(DataError, match="not finished"):
        write_report(run)
    run = write_selected(tmp_path / "x", task="dream")
    with pytest.raises(DataError, match="task 'dream'"):
        write_report(run)
    write_json(run / "run.json", {"schema": 1, "steps": {}, "summary": {"pairs": {}}})
    with pytest.raises(DataError, match="contains pairs"):
        write_report(run)


def test_tables_that_contradict_each_other_are_refused(tmp_path):
    run, other = write_selected(tmp_path / "a"), write_selected(tmp_path / "b", scenes=("c", "d"))
    (run / "tables/scores.parquet").write_bytes((other / "tables/scores.parquet").read_bytes())
    with pytest.raises(DataError, match="inconsistent"):
        write_report(run)
