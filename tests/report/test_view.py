import numpy as np
import pytest

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import human, write_report
from foveate.report.chance import against, judged, random_picks
from foveate.report.data import read_run
from foveate.report.pictures import Album
from foveate.report.view import build


def plain(text):
    return text.replace(human.GAP, " ")


def view_of(run):
    return build(read_run(run))


def test_headline_and_figures_by_hand(make_run):
    # 8 patches of 100 pixels: water is 10 of 800 in all, all of it in patch 0.
    counts = np.tile([0, 100], (8, 1))
    counts[0] = [10, 90]
    panel = view_of(make_run(counts=counts)).panels[0]
    assert panel.headline == "2 of 8 patches kept: classes no more even than in random picks"
    values = {f.label: (plain(f.value), plain(f.note)) for f in panel.figures}
    # 10 of 200 pixels in the selection are water, 10 of 800 in the pool: four times the share.
    assert values["Rarest class: water"][0] == "\u00d74.0"
    assert values["Rarest class: water"][1].startswith("1.2 % of the pool \u2192 5.0 %")
    entropy = [-(p * np.log2(p) + (1 - p) * np.log2(1 - p)) for p in (1 / 80, 1 / 20)]
    assert values["Class entropy"][0] == f"{entropy[0]:.2f} \u2192 {entropy[1]:.2f}"
    assert values["Scenes reached"][0] == "1"
    assert values["Overlapping picks"][0] == "0 %"
    rows = {r.name: (plain(r.pool), plain(r.kept), r.factor, r.trend) for r in panel.classes}
    assert rows["water"] == ("1.2 %", "5.0 %", "\u00d74.0", "up")
    assert list(rows) == ["land", "water"]  # by share of the pool


def test_overlapping_picks_by_hand(make_run):
    # Windows of 10 pixels every 5: patches 0, 1 of scene a overlap, patch 7 is alone.
    run = make_run(step=5, kept=3, methods={"m": [0, 1, 7, 2, 3, 4, 5, 6]})
    assert plain(view_of(run).panels[0].overlap_text) == "67 %"


def test_best_and_worst(make_run):
    panel = view_of(make_run(kept=3)).panels[0]
    assert [t.rank for t in panel.best] == ["1", "2", "3"]
    assert [t.rank for t in panel.worst] == ["8", "7", "6", "5", "4"]  # no pick among them
    assert panel.best[0].name == "a/y000000_x000000_10x10"
    assert panel.best[1].score == "0.875"


def test_partial_ranking_has_no_last_place(make_run):
    methods = {"cb": np.arange(8), "lc": np.arange(8)[::-1]}
    view = view_of(make_run(depth=4, methods=methods))
    assert view.panels[0].worst == []
    assert "first 4 of 8" in view.panels[0].order_note
    assert "ranked 4 of 8" in view.panels[0].histogram_note
    assert [h.title for h in view.heats] == ["Same patches"]


def test_agreement(make_run):
    methods = {"a": np.arange(8), "b": np.arange(8)[::-1], "c": [0, 7, 1, 2, 3, 4, 5, 6]}
    view = view_of(make_run(methods=methods))
    overlap, order = view.heats
    assert [plain(c.text) for c in overlap.rows[0]] == ["", "0 %", "50 %"]
    assert order.rows[0][1].text == "\u22121.00"
    assert order.rows[0][1].tint == "h10 neg"
    # a: 0, 1; b: 7, 6; c: 0, 7. Four patches are chosen by nobody, two by one, two by two.
    assert view.votes_note.startswith("4 patches (50\u202f%) were chosen by no method")
    assert [(v.label, v.tiles) for v in view.votes] == [("1 method", "2"), ("2 methods", "2")]
    assert [a.votes for a in view.agreed] == ["2 of 3", "2 of 3"]


def test_one_method_no_masks(make_run):
    view = view_of(make_run(classes=None))
    assert not view.has_classes
    assert view.heats == []
    assert view.votes == []
    assert view.panels[0].classes == []
    assert view.script["thumbs"]["0"]["shares"] is None


def test_usual_method_leads(make_run):
    order = np.arange(8)
    view = view_of(make_run(methods={"lc": order, "fa-cb": order[::-1]}))
    assert view.panels[view.lead].name == "fa-cb"
    assert view.scenes[0].name == "b"  # the scene with its picks comes first
    assert view.script["scenes"][view.scenes[0].index]["picks"][0] == []


def test_many_scenes_are_counted(make_run):
    names = [f"s{i:04d}" for i in range(60)]
    run = make_run(scenes=names, per_scene=1, kept=40, methods={"m": np.arange(60)})
    view = view_of(run)
    assert len(view.scenes) == 24
    assert "16 scenes with picks are not" in view.scenes_note
    assert "20 scenes had no pick" in view.scenes_note


def test_excluded_are_named(make_run):
    view = view_of(make_run(excluded={f"a/{i}": "10 % valid" for i in range(600)}))
    assert dict(view.facts)["Excluded"].startswith("600 patches")
    assert len(view.origin.excluded) == 500
    assert view.origin.excluded_more == "and 100 more"


def test_class_that_was_lost_is_named(make_run):
    counts = np.tile([0, 100], (8, 1))
    counts[5] = [10, 90]
    panel = view_of(make_run(counts=counts)).panels[0]
    assert (
        "The rarest class, water, is not in the selection; random picks may lack it, too."
        in panel.verdicts[1]
    )
    assert "Not in the selection: water." in panel.classes_note


def test_masks_without_a_counted_pixel(make_run):
    view = view_of(make_run(counts=np.zeros((8, 2))))
    assert not view.has_classes


def test_missing_thumb_is_cut_from_the_overview(make_run):
    run = make_run()
    (run / "thumbs/tiles/0.jpg").unlink()
    view = view_of(run)
    shot = view.shots["a/y000000_x000000_10x10"]
    assert shot == (f"scene{view.scenes[0].index}", "0 0 10 10")
    assert view.pictures_note.startswith("1 picture")


def test_pictures_outside_of_the_run_are_not_shown(make_run, tmp_path):
    run = make_run()
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff secret")
    (run / "thumbs/tiles/0.jpg").unlink()
    (run / "thumbs/tiles/0.jpg").symlink_to(tmp_path / "secret.jpg")
    assert "a/y000000_x000000_10x10" not in read_run(run).tile_files


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
    panel = view_of(run).panels[0]
    assert panel.headline.endswith("drawn at random: the baseline for other methods")
    assert panel.verdicts[0] == "No masks: drawn at random."
    assert panel.verdicts[1].startswith(
        "1 of the 2 picks share more than 50\u202f% of their ground"
    )


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
