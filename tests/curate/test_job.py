"""The curate job: what a run holds, and what a second one repeats."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.curate import METHODS, CurateJob
from foveate.errors import BudgetError, DataError, FoveateError, ParameterError, StorageError
from foveate.models import embed, load_model
from foveate.pool import open_embeddings, open_pool
from foveate.raster import write_cog
from foveate.report import write_report
from foveate.run import Run

ALL = METHODS.ready()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two georeferenced scenes of 64 x 96 pixels (24 tiles of 16 each) with index masks."""
    root = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    for i, name in enumerate(("a", "b")):
        box = GeoBox((64, 96), Affine(10, 0, 4.6e5 + 960 * i, 0, -10, 5.2e6), "EPSG:32633")
        write_cog(root / f"images/{name}.tif", draw.integers(0, 255, (3, 64, 96), np.uint8),
                  geobox=box)  # fmt: skip
        blocks = draw.integers(0, 4, (16, 24)).repeat(4, axis=0).repeat(4, axis=1)
        write_cog(root / f"masks/{name}.tif", blocks.astype(np.uint8))
    return root


def job(data, *methods, **options):
    given = {
        "images": [str(data / "images")], "masks": [str(data / "masks")], "tile": 16,
        "methods": list(methods) or ["fa-cb"],
    }  # fmt: skip
    return CurateJob(**{**given, **options})


def files(folder):
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*")) if p.is_file()
    }  # fmt: skip


def steps(out):
    return Run.load(out).record["steps"]


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """A run of all methods."""
    out = tmp_path_factory.mktemp("out") / "run"
    job(data, *ALL, budget="25%").run(out)
    return out


def selection(out, name):
    return pq.read_table(out / f"selection/{name}.parquet")


def test_a_second_run_does_nothing(data, done):
    before = files(done)
    again = job(data, *ALL, budget="25%").run(done)
    assert not again.worked
    assert files(done) == before


def test_the_same_job_elsewhere_gives_the_same_bytes(data, done, tmp_path):
    job(data, "cb", "fd", budget="25%").run(tmp_path / "run")
    for name in ("cb", "fd"):
        for kind in ("rankings", "selection"):
            file = f"{kind}/{name}.parquet"
            assert (tmp_path / "run" / file).read_bytes() == (done / file).read_bytes()


def changed(before, after):
    return {name for name in after if before.get(name) != after[name]}


def test_a_new_budget_reuses_embeddings_and_rankings(data, tmp_path):
    job(data, "fa", budget="10%").run(tmp_path)
    before = files(tmp_path)
    assert job(data, "fa", budget="20%").run(tmp_path).worked
    new = changed(before, files(tmp_path))
    assert "selection/fa.parquet" in new
    assert not [f for f in new if f.startswith(("embeddings", "rankings", "tiles", "scenes"))]
    assert selection(tmp_path, "fa").num_rows == 9


def test_a_new_method_reuses_embeddings(data, tmp_path):
    job(data, "fa").run(tmp_path)
    before = files(tmp_path)
    job(data, "fa", "kcenter").run(tmp_path)
    new = changed(before, files(tmp_path))
    assert "rankings/kcenter.parquet" in new
    assert not [
        f for f in new if f.startswith(("embeddings", "rankings/fa", "selection/fa", "tiles"))
    ]


def test_another_seed_or_threshold_ranks_again(data, tmp_path):
    job(data, "random").run(tmp_path)
    first = selection(tmp_path, "random")["tile_id"].to_pylist()
    assert job(data, "random", seed=1).run(tmp_path).worked
    assert selection(tmp_path, "random")["tile_id"].to_pylist() != first


def test_other_pixels_are_noticed(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    job(tmp_path / "data", "lc").run(tmp_path / "run")
    before = selection(tmp_path / "run", "lc")["tile_id"].to_pylist()
    from foveate.raster import close_files

    close_files()
    flat = np.zeros((64, 96), np.uint8)
    write_cog(tmp_path / "data/masks/a.tif", flat)
    assert job(tmp_path / "data", "lc").run(tmp_path / "run").worked
    after = selection(tmp_path / "run", "lc")["tile_id"].to_pylist()
    assert before != after
    assert all(name.startswith("b/") for name in after)


def test_labels_are_enough_for_the_label_methods(data, tmp_path):
    job(data, "lc", "cb").run(tmp_path)
    assert not (tmp_path / "embeddings").exists()
    assert Run.load(tmp_path).record["summary"]["model"] is None


@pytest.mark.parametrize(
    "name",
    ["tables/agreement.parquet", "tables/classes.parquet", "tables/methods.parquet", "thumbs",
     "rankings/fa.parquet", "selection/fa.parquet", "tables/legend.json"],
)  # fmt: skip
def test_an_output_that_was_lost_comes_back(data, tmp_path, name):
    job(data, "fa", "cb").run(tmp_path)
    before = {file: content for file, (_, content) in files(tmp_path).items()}
    if (tmp_path / name).is_dir():
        shutil.rmtree(tmp_path / name)
    else:
        (tmp_path / name).unlink()
    assert job(data, "fa", "cb").run(tmp_path).worked
    after = {file: content for file, (_, content) in files(tmp_path).items()}
    del before["run.json"], after["run.json"]  # it tells how long the steps took
    assert after == before


def test_the_order_of_the_methods_is_noticed(data, tmp_path):
    for names in (["lc", "cb"], ["cb", "lc"]):
        assert job(data, *names).run(tmp_path).worked
        table = pq.read_table(tmp_path / "tables/methods.parquet")
        assert table["method"].to_pylist() == names
        assert list(Run.load(tmp_path).record["summary"]["methods"]) == names


def test_embeddings_that_were_made_before_the_job_are_used(data, tmp_path):
    pool = open_pool([str(data / "images")], masks=[str(data / "masks")], tile=16, bands=None)
    embed(pool, load_model("builtin"), run=tmp_path / "run")
    before = files(tmp_path / "run")
    job(data, "fa").run(tmp_path / "run")
    new = changed(before, files(tmp_path / "run"))
    assert not [name for name in new if name.startswith("embeddings")]
    record = Run.load(tmp_path / "run").record
    assert record["job"]["methods"] == ["fa"]
    assert len(list((tmp_path / "run/embeddings").iterdir())) == 1


def test_another_setting_of_a_model_keeps_the_embeddings_of_the_first(data, tmp_path):
    job(data, "fa").run(tmp_path)
    before = files(tmp_path / "embeddings")
    job(data, "fa", bands=[1, 2]).run(tmp_path)
    assert not changed(before, {k: v for k, v in files(tmp_path / "embeddings").items()
                                if k in before})  # fmt: skip
    assert before.keys() < files(tmp_path / "embeddings").keys()


# --- the report ------------------------------------------------------------------------------


def killed(*_, **__):
    raise KeyboardInterrupt


def test_a_report_shows_the_run_as_it_is_even_after_a_kill(data, tmp_path):
    out = tmp_path / "run"
    job(data, "lc", budget="50%").run(out, report=write_report)
    half = (out / "report.html").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        job(data, "lc", budget="25%").run(out, report=killed)
    assert (out / "report.html").read_bytes() == half
    assert job(data, "lc", budget="25%").run(out, report=write_report).worked
    quarter = (out / "report.html").read_bytes()
    assert quarter != half
    assert write_report(out, tmp_path / "again.html").read_bytes() == quarter
    assert not job(data, "lc", budget="25%").run(out, report=killed).worked


def test_a_report_is_drawn_under_the_lock(data, tmp_path):
    def report(path):
        with pytest.raises(StorageError, match="written by another process"):
            Run.create(path)
        return write_report(path)

    job(data, "lc").run(tmp_path / "run", report=report)


def test_a_summary_is_on_record_even_after_a_kill(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Run, "describe", killed)
        with pytest.raises(KeyboardInterrupt):
            job(data, "lc").run(tmp_path)
    assert "summary" not in Run.load(tmp_path).record
    assert not job(data, "lc").run(tmp_path).worked
    assert Run.load(tmp_path).record["summary"]["methods"]["lc"]["selected"] == 4


# --- what the run holds ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_selection_is_the_front_of_its_ranking(done, name):
    ranking, chosen = pq.read_table(done / f"rankings/{name}.parquet"), selection(done, name)
    assert ranking.num_rows == 48
    assert chosen.num_rows == 12
    for column in ("rank", "tile_id", "score"):
        assert chosen[column].to_pylist() == ranking[column].to_pylist()[:12]
    assert chosen["rank"].to_pylist() == list(range(1, 13))


@pytest.mark.parametrize("name", ALL)
def test_the_footer_says_how_it_was_made(done, name):
    footer = json.loads(selection(done, name).schema.metadata[b"foveate"])
    assert footer["schema"] == 1
    assert footer["meta"]["method"] == name
    assert footer["meta"]["seed"] == 0
    assert footer["meta"]["options"] == json.loads(json.dumps(METHODS.get(name).options("default")))
    assert footer["budget"] == "25%"
    assert footer["spent"]["tiles"] == 12
    assert footer["unspent"] == {"tiles": 0}
    assert footer["pool"]["tiles"] == 48
    assert footer["pool"]["cost"]["area"] == pytest.approx(48 * 256 * 100, rel=0.01)
    assert len(footer["pool"]["fingerprint"]) == 32
    assert footer["encoder"]["name"] == "builtin"


def test_a_selection_has_windows_costs_weights_and_outlines(done):
    table = selection(done, "cb")
    assert {"scene", "y", "x", "h", "w", "cost_tiles", "weight", "geometry"} <= set(
        table.column_names
    )
    row = table.slice(0, 1).to_pylist()[0]
    assert row["tile_id"] == f"{row['scene']}/y{row['y']:06d}_x{row['x']:06d}_16x16"


def test_the_tables_agree_with_selections_and_pool(done):
    scores = pq.read_table(done / "tables/scores.parquet").to_pylist()
    tiles = {r["tile_id"]: r for r in pq.read_table(done / "tiles.parquet").to_pylist()}
    assert [r["tile_id"] for r in scores] == sorted(tiles)
    classes = pq.read_table(done / "tables/classes.parquet").to_pydict()
    counts = np.array([t["counts"] for t in tiles.values()])
    assert classes["pool"] == counts.sum(axis=0).tolist()
    for name in ALL:
        chosen = selection(done, name)["tile_id"].to_pylist()
        by_rank = sorted(scores, key=lambda r: r[f"rank:{name}"])
        assert [r["tile_id"] for r in by_rank[:12]] == chosen
        assert (
            classes[f"picked:{name}"]
            == np.sum([tiles[i]["counts"] for i in chosen], axis=0).tolist()
        )
    methods = pq.read_table(done / "tables/methods.parquet").to_pylist()
    assert {(m["method"], m["selected"], m["pool"]) for m in methods} == {
        (name, 12, 48) for name in ALL
    }
    pairs = pq.read_table(done / "tables/agreement.parquet").to_pylist()
    assert len(pairs) == 13 * 12 // 2
    for pair in pairs:
        a, b = (set(selection(done, pair[k])["tile_id"].to_pylist()) for k in "ab")
        assert pair["overlap"] == pytest.approx(len(a & b) / 12)
        assert -1 <= pair["kendall"] <= 1


def test_hybrids_use_the_very_rankings_of_their_parts(done):
    score = {
        name: dict(zip(*pq.read_table(done / f"rankings/{name}.parquet").select(
            ["tile_id", "score"]).to_pydict().values(), strict=True))
        for name in ("fa", "cb", "fa-cb")
    }  # fmt: skip
    for tile, value in score["fa-cb"].items():
        assert value == pytest.approx(0.5 * score["fa"][tile] + 0.5 * score["cb"][tile])


def test_every_picture_that_is_listed_is_there(done):
    for row in pq.read_table(done / "tables/thumbs.parquet").to_pylist():
        with Image.open(done / row["file"]) as picture:
            assert picture.format == "JPEG"


def test_the_record_holds_job_and_summary(data, done):
    record = Run.load(done).record
    assert CurateJob(**record["job"]) == job(data, *ALL, budget="25%")
    assert record["summary"]["pool"]["tiles"] == 48
    assert record["summary"]["methods"]["cb"]["spent"]["tiles"] == 12


# --- budgets, warnings, refusals -------------------------------------------------------------


def test_a_budget_in_another_unit_is_kept(data, tmp_path):
    job(data, "cb", budget="area=100000, tiles=50%").run(tmp_path)
    footer = json.loads(selection(tmp_path, "cb").schema.metadata[b"foveate"])
    assert selection(tmp_path, "cb").num_rows == 3
    assert footer["spent"]["area"] <= 100000
    assert footer["unspent"]["tiles"] == 21


@pytest.mark.parametrize(("m", "warns"), [(4, False), (5, True), (40, True)])
def test_lc_fd_that_is_fd_is_said(data, tmp_path, caplog, m, warns):
    options = {"lc-fd": {"m": m, "fd": {"clusters": 4}}}
    with caplog.at_level(logging.WARNING, "foveate"):
        job(data, "lc-fd", budget="5", options=options).run(tmp_path)
    assert ("it equals FD" in caplog.text) == warns


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"methods": ["lc"], "masks": []}, ParameterError, "method lc needs masks"),
        ({"methods": ["lc", "cb"], "masks": []}, ParameterError, "methods lc, cb need masks"),
        ({"options": {"lc": {}}}, ParameterError, "options for 'lc'.*--method lc"),
        ({"options": {"fa-cb": {"lamda": 1}}}, ParameterError, "no option 'lamda'.*'lam'"),
        ({"options": {"fa-cb": {"lam": "half"}}}, ParameterError, "fa-cb.lam='half'.*float"),
        ({"options": {"fa-cb": {"fa": 3}}}, ParameterError, "Expected options of the method 'fa'"),
        ({"budget": "ten"}, BudgetError, "not a budget"),
        ({"budget": "0.1%"}, BudgetError, "less than one tile"),
        ({"budget": "money=5"}, BudgetError, "budget in 'money'"),
        ({"images": ["nowhere"]}, DataError, "'nowhere' does not exist"),
        ({"model": "timm:resnet19"}, LookupError, "resnet1"),
    ],
)
def test_a_job_that_cannot_be_says_why(data, tmp_path, options, error, text):
    with pytest.raises(error, match=text):
        job(data, **options).run(tmp_path / "run")


@pytest.mark.parametrize("options", [{"images": ["nowhere"]}, {"methods": ["lc"], "masks": []}])
def test_a_job_that_fails_at_once_leaves_nothing(data, tmp_path, options):
    with pytest.raises(FoveateError):
        job(data, **options).run(tmp_path / "deep/run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("preset", "tile", "stride", "edge"),
    [("paper", 256, 256, "drop"), ("released", 256, 200, "shift"), ("default", 256, None, "shift")],
)
def test_presets_cut_as_the_paper_and_the_lists_do(preset, tile, stride, edge):
    made = CurateJob.with_preset(preset, images=["x"])
    assert (made.tile, made.stride, made.edge, made.preset) == (tile, stride, edge, preset)
    assert CurateJob.with_preset(preset, images=["x"], tile=64, stride=64).tile == 64
    if preset != "default":
        assert made.model.startswith("timm:resnet18")


def test_a_preset_that_is_none():
    with pytest.raises(ParameterError, match="Did you mean 'released'"):
        CurateJob.with_preset("release", images=["x"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"images": []}, r"images=\[\]: .*at least 1 item"),
        ({}, "a job without 'images'"),
        ({"images": ["x"], "min_valid": 7}, "min_valid=7: .*less than or equal to 1"),
        ({"images": ["x"], "edge": "cut"}, "edge='cut'.*shift, drop"),
        ({"images": ["x"], "options": {"fd": 3}}, "options.fd=3"),
        ({"images": ["x"], "methd": ["fa"]}, "methd=.*no such setting.*Did you mean 'methods'"),
    ],
)
def test_a_setting_that_cannot_be_says_why(given, text):
    for make in (CurateJob, CurateJob.with_preset):
        with pytest.raises(ParameterError, match=text.replace(": ", r"\W+")):
            make(**given)


def test_selections_of_methods_that_the_job_no_longer_has_are_removed(data, tmp_path):
    job(data, "lc", "random").run(tmp_path)
    job(data, "random").run(tmp_path)
    assert [p.stem for p in (tmp_path / "selection").iterdir()] == ["random"]
    again = job(data, "lc", "random").run(tmp_path)
    assert sorted(p.stem for p in (tmp_path / "selection").iterdir()) == ["lc", "random"]
    assert again.worked


@pytest.mark.parametrize("method", ["lc", "cb", "fa-cb", "label-noise"])
def test_masks_without_a_labelled_pixel_rank_nothing(data, tmp_path, method):
    classes = tmp_path / "classes.yaml"
    classes.write_text("classes: {rock: 9}\nignore: [0, 1, 2, 3]\n")
    with pytest.raises(DataError, match="no pixel of the masks has a class"):
        job(data, method, classes=str(classes)).run(tmp_path / "run")
    job(data, "random", classes=str(classes)).run(tmp_path / "run")


def test_label_noise_ranks_scenes_without_labels_last(tmp_path):
    draw = np.random.default_rng(0)
    for i in range(6):
        image = draw.integers(0, 255, (3, 32, 32), np.uint8)
        write_cog(tmp_path / f"images/{i}.tif", image)
        labels = np.where(image[:1] > 127, 1, 2) if i < 3 else np.zeros((1, 32, 32))
        write_cog(tmp_path / f"masks/{i}.tif", labels.astype(np.uint8))
    (tmp_path / "classes.yaml").write_text("classes: {a: 1, b: 2}\nignore: [0]\n")
    run = job(
        tmp_path, "label-noise", classes=str(tmp_path / "classes.yaml"), tile=32, budget="100%"
    ).run(tmp_path / "run")
    table = pq.read_table(run.path / "selection/label-noise.parquet")
    assert set(table["scene"].to_pylist()[:3]) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("option", "value", "other"),
    [
        ("classes", "classes.yaml", "masks"), ("min_labelled", 0.5, "masks"),
        ("max_bad", 0.1, "quality"), ("quality_kind", "scl", "quality"),
        ("max_excluded", 0.1, "exclude"),
    ],
)  # fmt: skip
def test_options_without_effect_are_refused(data, tmp_path, option, value, other):
    with pytest.raises(ParameterError, match=f"no effect without --{other}"):
        job(data, "random", masks=[], **{option: value}).run(tmp_path / "run")


def test_blank_tiles_are_ranked_last_and_stated(tmp_path, caplog):
    for i in range(2):
        image = np.random.default_rng(i).integers(0, 255, (3, 64, 64), np.uint8)
        image[:, :16, : 16 * i] = 128
        image[:, -16:, : 16 * i] = 30
        write_cog(tmp_path / f"images/{i}.tif", image)
    made = CurateJob(images=[str(tmp_path / "images")], tile=16, methods=["kcenter", "random"])
    summary = made.run(tmp_path / "run").record["summary"]["methods"]
    assert "2 tiles have the same value in all pixels of each band" in caplog.text
    assert summary["kcenter"]["report"]["constant"] == 2
    assert "constant" not in summary["random"]["report"]
    again = made.model_copy(update={"budget": "31"}).run(tmp_path / "run")
    assert again.record["summary"]["methods"]["kcenter"]["constant_picks"] == 1
    assert "kcenter: 1 of the 31 picks has the same value" in caplog.text
    page = write_report(again.path).read_text()
    assert "1 of the 31 picks is such a patch" in page
    pool = open_pool([str(tmp_path / "images")], tile=16)
    embeddings = embed(pool, load_model("builtin"))
    stored, columns = open_embeddings(again.path)
    assert stored.ids[columns.constant].tolist() == embeddings.ids[embeddings.constant].tolist()


@pytest.mark.parametrize(
    ("option", "value"),
    [("weights", "w.safetensors"), ("model", "timm:resnet18"), ("scale", [(0, 255)])],
)
def test_options_of_a_model_for_methods_without_embeddings_are_refused(data, option, value):
    with pytest.raises(ParameterError, match=f"{option}=.*no effect: random, lc need no embed"):
        job(data, "random", "lc", **{option: value}).check()
    assert job(data, "random", preset="paper").check().handle is None


def test_tiles_without_labels_are_counted(data, tmp_path, caplog):
    classes = tmp_path / "classes.yaml"
    for name in "ab":
        blocks = np.zeros((64, 96), np.uint8)
        blocks[16:, :] = 1
        write_cog(tmp_path / f"masks/{name}.tif", blocks)
    classes.write_text("classes: {rock: 1}\nignore: [0]\n")
    given = {"masks": [str(tmp_path / "masks")], "classes": str(classes)}
    job(data, "fa-cb", "random", **given).run(tmp_path / "run")
    said = "12 of 48 tiles have no labelled pixel; fa-cb ranks them last. --min-labelled 0.01"
    assert said in caplog.text
    caplog.clear()
    job(data, "fa-cb", **given, options={"fa-cb": {"unlabelled": "score"}}).run(tmp_path / "run")
    assert "no labelled pixel" not in caplog.text
