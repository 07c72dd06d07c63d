"""The page of a curate run, made of a run directory written by hand."""

import re

import numpy as np
import pytest
from report_pages import blocks, figures, ids, note, overlays, pictures, rows, table, text

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import human, write_report
from foveate.report.assets import Album
from foveate.report.blocks import Matrix
from foveate.report.chance import against, judged, random_picks
from foveate.report.pages.curate import curate
from foveate.report.read import read_curated


def plain(value):
    return value.replace(human.GAP, " ")


def page_of(run):
    return curate(read_curated(run))


def test_headline_and_figures_by_hand(make_run):
    # 8 patches of 100 pixels: water is 10 of 800 in all, all of it in patch 0.
    counts = np.tile([0, 100], (8, 1))
    counts[0] = [10, 90]
    page = page_of(make_run(counts=counts))
    assert page.headline == "2 of 8 patches kept: classes no more even than in random picks"
    values = {label: (plain(f.value), plain(f.note)) for label, f in figures(page).items()}
    # 10 of 200 pixels in the selection are water, 10 of 800 in the pool: four times the share.
    assert values["Rarest class: water"][0] == "\u00d74.0"
    assert values["Rarest class: water"][1].startswith("1.2 % of the pool \u2192 5.0 %")
    entropy = [-(p * np.log2(p) + (1 - p) * np.log2(1 - p)) for p in (1 / 80, 1 / 20)]
    assert values["Evenness of the classes"][0] == f"{entropy[0]:.2f} \u2192 {entropy[1]:.2f}"
    assert values["Scenes with picks"][0] == "1"
    assert values["Overlapping picks"][0] == "0 %"
    classes = {name: [plain(c) for c in cells] for name, cells in
               rows(table(page, "Class balance")).items()}  # fmt: skip
    assert classes["water"] == ["1.2 %", "5.0 %", "\u00d74.0"]
    assert table(page, "Class balance").rows[1].cells[-1].look == "up"
    assert list(classes) == ["land", "water"]  # by share of the pool


def test_overlapping_picks_by_hand(make_run):
    # Windows of 10 pixels every 5: patches 0, 1 of scene a overlap, patch 7 is alone.
    run = make_run(step=5, kept=3, methods={"m": [0, 1, 7, 2, 3, 4, 5, 6]})
    page = page_of(run)
    assert plain(figures(page)["Overlapping picks"].value) == "67 %"
    assert "share pixels with another selected patch" in text(page, "repeats")


def test_best_and_worst(make_run):
    best, worst = pictures(page_of(make_run(kept=3)), "chosen")
    assert [p.title for p in best] == ["1", "2", "3"]
    assert [p.title for p in worst] == ["8", "7", "6", "5", "4"]  # no pick among them
    assert best[0].alt == "Rank 1: patch a/y000000_x000000_10x10"
    assert best[1].value == "0.875"
    assert best[1].about[-1] == ("FA-CB", "rank 2, selected")


def test_colours_of_classes_are_explained_above_the_pictures(make_run):
    section = next(s for s in page_of(make_run()).sections if s.id == "chosen")
    assert [name for _, name in section.blocks[0].items] == ["water", "land"]


def test_partial_ranking_has_no_last_place(make_run):
    methods = {"cb": np.arange(8), "lc": np.arange(8)[::-1]}
    page = page_of(make_run(depth=4, methods=methods))
    assert len(pictures(page, "chosen")) == 2  # the first of each method, and no last ones
    assert "first 4 of 8" in text(page, "chosen")
    assert "ranked 4 of 8" in text(page, "scores")
    assert [m.title for m in blocks(page, Matrix)] == ["Same patches"]


def test_agreement(make_run):
    methods = {"a": np.arange(8), "b": np.arange(8)[::-1], "c": [0, 7, 1, 2, 3, 4, 5, 6]}
    page = page_of(make_run(methods=methods))
    overlap, order = blocks(page, Matrix)
    assert [plain(c.text) for c in overlap.rows[0]] == ["", "0 %", "50 %"]
    assert order.rows[0][1].text == "\u22121.00"
    assert order.rows[0][1].look == "h10 neg"
    # a: 0, 1; b: 7, 6; c: 0, 7. Four patches are chosen by nobody, two by one, two by two.
    assert "4 patches (50\u202f%) were selected by no method" in text(page, "agreement")
    votes = rows(table(page, "Number of methods that selected a patch"))
    assert {name: cells[0] for name, cells in votes.items()} == {"1 method": "2", "2 methods": "2"}
    assert [p.title for p in pictures(page, "agreement")[0]] == ["2 of 3", "2 of 3"]


def test_one_method_no_masks(make_run):
    page = page_of(make_run(classes=None))
    assert ids(page) == ["chosen", "map", "scores", "repeats", "methods"]
    assert not page.options
    assert "water" not in dict(pictures(page)[0][0].about)


def test_usual_method_leads(make_run):
    order = np.arange(8)
    page = page_of(make_run(methods={"lc": order, "fd": order[::-1]}))
    assert page.options[page.option].key == "fd"
    assert [o.title for o in overlays(page)] == ["b", "a"]  # the scene with its picks comes first
    assert ">0 picks<" in overlays(page)[0].note


def test_each_method_has_its_own_layer_of_the_map(make_run):
    order = np.arange(8)
    scene = overlays(page_of(make_run(methods={"lc": order, "fa-cb": order[::-1]})))[0]
    assert re.findall(r'data-option="(\d)"', scene.marks) == ["0", "1"]
    assert scene.marks.count('class="on"') == 1
    assert scene.marks.count("<title>") == 2  # the picks of one of the methods


def test_many_scenes_are_counted(make_run):
    names = [f"s{i:04d}" for i in range(60)]
    run = make_run(scenes=names, per_scene=1, kept=40, methods={"m": np.arange(60)})
    page = page_of(run)
    assert len(overlays(page)) == 24
    assert "16 scenes with picks are not" in note(page, "map")
    assert "20 scenes have no picks" in note(page, "map")


def test_excluded_are_named(make_run):
    page = page_of(make_run(excluded={f"a/{i}": "10 % valid" for i in range(600)}))
    assert dict(page.facts)["Excluded"].startswith("600 patches")
    assert len(page.origin.excluded) == 500
    assert page.origin.excluded_more == "and 100 more"


def test_every_field_of_the_job_is_listed(make_run):
    run = make_run()
    record = read_json(run / "run.json")
    record["job"] |= {"new_option": [1.0, 2.5], "off": False, "on": True, "none": None,
                      "options": {"lam": 0.5}}  # fmt: skip
    write_json(run / "run.json", record)
    inputs = dict(page_of(run).origin.inputs)
    assert inputs["new option"] == "1 to 2.5"
    assert inputs["on"] == "yes"
    assert inputs["options"] == "lam=0.5"
    assert inputs["min valid"] == "0.5"
    assert not {"off", "none"} & set(inputs)


def test_class_that_was_lost_is_named(make_run):
    counts = np.tile([0, 100], (8, 1))
    counts[5] = [10, 90]
    page = page_of(make_run(counts=counts))
    assert (
        "The rarest class, water, is not in the selection; random picks may also miss it."
        in page.verdicts[1]
    )
    assert "Not in the selection: water." in text(page, "balance")


def test_masks_without_a_counted_pixel(make_run):
    page = page_of(make_run(counts=np.zeros((8, 2))))
    assert "balance" not in ids(page)


def test_missing_thumb_is_cut_from_the_overview(make_run):
    run = make_run()
    (run / "thumbs/tiles/0.jpg").unlink()
    page = page_of(run)
    scene = overlays(page)[0]
    # Windows of 10 x 10 pixels in a scene of 10 x 40: a quarter of 1000 units.
    assert pictures(page)[0][0].shot == (scene.element, "0 0 250 250")
    assert "1 picture is missing" in text(page, "chosen")


def test_pictures_outside_of_the_run_are_not_shown(make_run, tmp_path):
    run = make_run()
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff secret")
    (run / "thumbs/tiles/0.jpg").unlink()
    (run / "thumbs/tiles/0.jpg").symlink_to(tmp_path / "secret.jpg")
    assert "a/y000000_x000000_10x10" not in read_curated(run).tile_files


def test_album_keeps_to_its_budget(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"\xff\xd8\xff" + bytes(60))
    (tmp_path / "text").write_bytes(b"<svg onload=alert(1)>")
    album = Album(budget=100)
    assert album.add("a", tmp_path / "a")
    assert album.add("a", tmp_path / "a")
    assert not album.add("b", tmp_path / "b")
    assert not album.add("t", tmp_path / "text")
    assert album.left_out == {"b", "t"}


def test_errors(tmp_path, make_run):
    with pytest.raises(DataError, match="holds no run"):
        write_report(tmp_path)
    run = make_run()
    (run / "tables/methods.parquet").unlink()
    with pytest.raises(DataError, match="not finished"):
        write_report(run)


def test_near_duplicates_and_the_default_are_on_the_page(make_run):
    run = make_run(methods={"random": np.arange(8)[::-1]}, classes=None)
    record = read_json(run / "run.json")
    record["summary"] |= {
        "default_method": "random", "default_reason": "No masks: drawn at random.",
        "max_overlap": 0.5,
    }  # fmt: skip
    record["summary"]["methods"]["random"] |= {"put_back": 3, "repeats": 1}
    write_json(run / "run.json", record)
    page = page_of(run)
    assert page.headline.endswith("drawn at random: the baseline for other methods")
    assert page.verdicts[0] == "No masks: drawn at random."
    assert page.verdicts[1].startswith("1 of the 2 picks share more than 50\u202f% of their area")


def test_chance_is_what_random_picks_would_have():
    counts = np.random.default_rng(0).integers(0, 100, (60, 3)) * [1, 1, 0]
    counts[7, 2] = 50
    drawn = random_picks(counts, 12, draws=4000)
    # By hand: an odd patch is in a fifth of the selections, and shares are those of the pool.
    assert (drawn.share[:, 2] > 0).mean() == pytest.approx(0.2, abs=0.03)
    assert drawn.share[:, 0].mean() == pytest.approx(counts[:, 0].sum() / counts.sum(), abs=0.01)
    # The same where the totals are drawn from their distribution.
    many = np.tile(counts, (100, 1))
    rough, exact = (random_picks(many, 3000, draws=n) for n in (3000, 300))
    assert rough.share.std(axis=0) == pytest.approx(exact.share.std(axis=0), rel=0.25)
    assert rough.entropy.mean() == pytest.approx(exact.entropy.mean(), abs=0.002)


def test_a_figure_is_better_only_beyond_chance_and_after_holm():
    drawn = np.linspace(0, 1, 1999)
    inside, outside = against(0.5, drawn), against(1.5, drawn)
    assert [one.verdict for one in judged([inside, outside])] == ["tied", "better"]
    assert judged([against(-1.0, drawn)])[0].verdict == "worse"
    # Just outside the interval: alone it counts, among many it does not.
    edge = against(0.98, drawn)
    assert judged([edge])[0].verdict == "better"
    assert judged([edge, *[inside] * 15])[0].verdict == "open"
