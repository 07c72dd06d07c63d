"""Tiles are chosen from overviews alone, exactly to a budget, and again without work."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from observed import box
from observing import observing  # noqa: F401
from odc.geo.geobox import GeoBox
from pyproj import CRS

from foveate.errors import BudgetError, DataError, ParameterError
from foveate.files import read_json
from foveate.grid import Grid
from foveate.models.families.builtin import Builtin
from foveate.observe.data.pairs import open_pairs
from foveate.observe.features import Encoder, OverviewTokens
from foveate.observe.jobs import SelectJob
from foveate.observe.observer import Observer
from foveate.observe.projection import Projection
from foveate.observe.selection import overviews as parts
from foveate.observe.selection import selecting
from foveate.observe.selection.overviews import (
    cautions,
    check_reads,
    cut,
    overview_tiles,
    resolutions,
    tile_sides,
)
from foveate.observe.selection.ranking import bind_lr, check_policy, policy_of, rank
from foveate.observe.selection.selecting import training_evidence
from foveate.pool import open_pool
from foveate.pool.notes import Note
from foveate.pool.pool import Pool, Scene
from foveate.raster import ArraySource, FileSource, write_cog
from foveate.run import Run


@pytest.fixture(scope="module")
def observer(observing):  # noqa: F811
    return Observer.load(observing.model, device="cpu")


@pytest.fixture(scope="module")
def two(observing):  # noqa: F811
    """Two overviews of 40 x 40 pixels at 4 m."""
    return sorted(map(str, observing.overviews.glob("*.tif")))[:2]


@pytest.fixture(scope="module")
def done(observing, two, tmp_path_factory):  # noqa: F811
    """A finished run over two overviews with a budget."""
    out = tmp_path_factory.mktemp("select") / "run"
    job = SelectJob(
        images=two, observer=str(observing.model), budget="12%", policy="learned", device="cpu"
    )
    job.run(out)
    return SimpleNamespace(job=job, out=out)


def pool_of(shape=(3, 40, 40), geobox=None, dtype=np.uint8, name="a"):
    data = np.random.default_rng(0).integers(1, 200, shape).astype(dtype)
    scene = Scene(name, ArraySource(data, geobox=geobox))
    return Pool(np.array([], np.str_), (scene,))


def files(root):
    """Every file of a run with its bytes, but for the record and the receipts, which have times."""
    found = [
        p
        for p in root.rglob("*")
        if p.is_file() and p.name not in ("run.json", ".lock") and p.parent.name != "receipts"
    ]
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


def summary(out):
    return Run.load(out).record["summary"]["observe"]


@given(shape=st.tuples(st.integers(1, 60), st.integers(1, 60)), data=st.data())
def test_the_grid_of_a_pool_is_found_again(shape, data):
    rows, cols = (data.draw(st.integers(1, side)) for side in shape)
    tiles = Grid.split(shape, rows, cols).tiles("a")
    pool = Pool(tiles.tile_id, pool_of((1, *shape)).scenes, tiles)
    assert overview_tiles(pool).shapes == ((rows, cols),)
    kept = sorted(data.draw(st.sets(st.integers(0, len(tiles) - 1), min_size=1, max_size=9)))
    found = overview_tiles(pool.take(kept)).shapes[0]  # the others left as nodata
    again = Grid.split(shape, *found).tiles("a").tile_id
    assert set(tiles.tile_id[kept]) <= set(again)


def test_what_was_noted_of_the_files_stays_with_the_tiles(observer):
    note = Note("files", "1 link leads nowhere", items=("gone.tif",))
    pool = replace(pool_of(geobox=box((40, 40), 4)), notes=(note,))
    assert cut(pool, observer.record).notes == (note,)


def test_tiles_of_a_stated_size_on_the_ground(observer):
    record = replace(observer.record, tile_size=32.0)
    assert cut(pool_of((3, 40, 80), box((40, 80), 8)), record).tiles.row.max() == 9
    # At 60 degrees north a degree of longitude is half as long as one of latitude.
    step = 8 / 111_320
    degrees = GeoBox((40, 80), Affine(step, 0, 10, 0, -step, 60), "EPSG:4326")
    target = overview_tiles(cut(pool_of((3, 40, 80), degrees), record))
    assert target.shapes == ((10, 10),)
    assert cautions(target, record) == []
    with pytest.raises(DataError, match="pixel size of the overview") as caught:
        cut(pool_of((3, 40, 80)), record)
    assert "--tile PIXELS" in str(caught.value)
    assert overview_tiles(cut(pool_of((3, 40, 80)), record, tile=8)).shapes == ((5, 10),)


def test_tiles_keep_their_ground(observer):
    record = observer.record  # 8 pixels of 4 m
    assert record.lr_tile == 8
    for metres, side in ((4.0, 8), (2.0, 16), (None, 8)):
        geobox = None if metres is None else box((40, 80), metres)
        info = pool_of((3, 40, 80), geobox).scenes[0].source.info
        assert tile_sides(record, info) == pytest.approx((side, side))
    for geobox, shape in ((box((40, 80), 4), (5, 10)), (box((40, 80), 8), (10, 20)),
                          (None, (5, 10)), (box((40, 80), 400), (40, 80)),
                          (box((40, 80), 0.1), (1, 1))):  # fmt: skip
        target = overview_tiles(cut(pool_of((3, 40, 80), geobox), record))
        assert target.shapes == (shape,)
        assert len(target.pool) == shape[0] * shape[1]
    off = cautions(target, record)
    assert any("is 0.1 m, and was 4 m in training" in note for note in off)
    assert any("Tiles are" in note for note in off)
    assert not cautions(overview_tiles(cut(pool_of(geobox=box((40, 40), 4)), record)), record)
    silent = cautions(overview_tiles(cut(pool_of(), record)), record)
    assert silent == ["The pixel size of the overviews is unknown; it was 4 m in training."]


def test_high_resolution_is_no_overview(observer, tmp_path, observing, caplog):  # noqa: F811
    """Training: 5 x 5 tiles of 8 pixels, 4 m over 1 m: full resolution has 16 times as many."""
    record = observer.record
    assert record.ratio == 4
    low, full = pool_of((3, 112, 112)), pool_of((3, 120, 120))  # 14 x 14 tiles, 15 x 15
    assert overview_tiles(cut(low, record)).shapes == ((14, 14),)
    with pytest.raises(DataError, match=r"225 tiles of 8 pixels.*25 tiles.*--ratio 4.*--tile 8"):
        cut(full, record)
    assert overview_tiles(cut(full, record, 8)).shapes == ((15, 15),)
    assert overview_tiles(cut(full, record, 30)).shapes == ((4, 4),)
    assert overview_tiles(cut(pool_of((3, 120, 120), box((120, 120), 4)), record)).shapes == (
        (15, 15),
    )

    data = np.random.default_rng(0).integers(1, 200, (3, 64, 64), np.uint8)
    write_cog(tmp_path / "fine.tif", data, geobox=box((64, 64), 1))
    job = SelectJob(
        images=[str(tmp_path / "fine.tif")],
        observer=str(observing.model),
        budget="50%",
        device="cpu",
    )
    job.run(tmp_path / "run")
    assert "is 1 m, and was 4 m in training" in caplog.text
    assert "observe prepare IMAGE --tiles ROWSxCOLS --ratio 4" in caplog.text
    again = job.model_copy(update={"tile": 16})
    assert len(Run.load(again.run(tmp_path / "run").path).record["summary"]) > 0
    assert summary(tmp_path / "run")["tile"]["pixels"] == 16
    pairs = job.model_copy(update={"images": [str(observing.pairs)], "tile": 16.0})
    with pytest.raises(ParameterError, match="--tile with pairs"):
        pairs.run(tmp_path / "pairs")


def test_resolutions_say_where_they_are_from(observer, observing):  # noqa: F811
    record = observer.record
    pairs = open_pairs(observing.pairs)
    assert resolutions(overview_tiles(pairs), record) == (4.0, 1.0, "pairs")
    placed = overview_tiles(cut(pool_of(geobox=box((40, 40), 4)), record))
    assert resolutions(placed, record) == (4.0, 1.0, "observer")
    floating = overview_tiles(cut(pool_of(), record))
    assert resolutions(floating, record) == (4.0, 1.0, "observer, as a ratio")
    assert resolutions(floating, replace(record, gsd=None)) == (10.0, 1.0, "assumed")
    fine = overview_tiles(cut(pool_of(geobox=box((40, 40), 0.5)), record))
    assert resolutions(fine, record) == (4.0, 1.0, "observer, as a ratio")


def test_other_bands_and_values_are_refused(observer):
    encoder = observer.record.encoders["lr"]
    check_reads(pool_of().scenes, encoder)
    check_reads(pool_of((5, 9, 9)).scenes, encoder, (3, 2, 1))
    for bands, pool, chosen in ((DataError, pool_of((2, 9, 9)), ()),
                                (ParameterError, pool_of((4, 9, 9)), ()),
                                (ParameterError, pool_of((4, 9, 9)), (1, 2))):  # fmt: skip
        with pytest.raises(bands, match="band mismatch"):
            check_reads(pool.scenes, encoder, chosen)
    for dtype in (np.uint16, np.float32):
        with pytest.raises(DataError, match="dtype mismatch"):
            check_reads(pool_of(dtype=dtype).scenes, encoder)
    numbers = Encoder("builtin", "", encoder.spec, "int16")
    check_reads(pool_of(dtype=np.uint16).scenes, numbers)


def test_a_large_overview_is_shown_block_by_block():
    model = Builtin((1, 2, 3), [(0, 255)] * 3)
    image = pool_of((3, 50, 70)).scenes[0].source.data
    whole = OverviewTokens(model, (5, 7), 1, (3, 9))
    found = whole.unpack(whole.embed(image[None]))[0]
    one = OverviewTokens(model, (3, 7), 1)
    for first in (0, 2):  # the second is moved back inside
        rows = slice(first, first + 3)
        part = one.unpack(one.embed(image[None, :, first * 10 : first * 10 + 30]))[0]
        if first:
            assert np.array_equal(found[rows], part)
        else:
            assert np.array_equal(found[:2], part[:2])
    assert whole.spec.name == "builtin#blocks-3x7#overview-5x7"
    assert whole.spec.dim == found.size
    small = OverviewTokens(model, (3, 7), 1, (5, 7))
    assert small.spec == one.spec


def test_the_library_door(observer, two, observing, monkeypatch):  # noqa: F811
    pool = open_pool(two[0], split=(5, 5))
    ranking = rank(pool, observer, policy="learned")
    assert len(ranking.at("12%")) == 3
    assert sorted(ranking.rows) == list(range(25))
    assert ((ranking.score >= 0) & (ranking.score <= 1)).all()
    assert (np.diff(ranking.score) <= 0).all()
    limit = 0.12 * ranking.costs["area"].sum()
    assert ranking.at({"area": "12%"}).spent["area"] <= limit * (1 + 1e-9)  # sums are rounded
    # Files are cut as in training; a scene's scores are its own.
    both = rank(two, str(observing.model), policy="learned", device="cpu")
    own = [(i, s) for i, s in zip(both.ids[both.rows], both.score, strict=True)
           if i.startswith(Path(two[0]).stem)]  # fmt: skip
    assert [i for i, _ in own] == ranking.ids[ranking.rows].tolist()
    assert [s for _, s in own] == ranking.score.tolist()
    # Of pairs, no pixel of high resolution is read.
    read = FileSource.read
    asked = []

    def watched(self, *given, **more):
        asked.append(self.path)
        assert "overviews" in self.path, "HR was read"
        return read(self, *given, **more)

    monkeypatch.setattr(FileSource, "read", watched)
    from_pairs = rank(observing.pairs, observer, policy="learned")
    assert asked
    assert from_pairs.n == 200
    name = Path(two[0]).stem
    mine = [s for i, s in zip(from_pairs.ids[from_pairs.rows], from_pairs.score, strict=True)
            if i.startswith(name)]  # fmt: skip
    assert mine == ranking.score.tolist()


def test_parts_cover_every_tile_once(observer, two, monkeypatch):
    monkeypatch.setattr(parts, "_PART", 2)
    pool = open_pool(two[0], split=(5, 5))
    ranking = rank(pool, observer)
    assert sorted(ranking.rows) == list(range(25))
    assert np.isfinite(ranking.score).all()
    for policy in ("lr-entropy", "design"):
        assert np.isfinite(rank(pool, observer, policy=policy).score).all()


def test_more_tiles_than_in_training(observer, two):
    pool = open_pool(two[0], split=(3, 7))
    assert sorted(rank(pool, observer).rows) == list(range(21))
    for policy in ("lr-entropy", "design"):
        assert len(rank(pool, observer, policy=policy).at("10%")) == 2


def test_a_design_is_that_of_each_block(observer, two):
    pool = open_pool(two[0], split=(5, 10))  # two blocks of 5 x 5, as in training
    found = rank(pool, observer, policy="design")
    target = overview_tiles(pool)
    seen = parts.TiledInference(target, observer, bind_lr(target, observer, (), "cpu"))
    ((rows, at, tokens),) = list(seen)
    raw = observer.scores(tokens).raw
    gains = np.full(50, np.nan)
    for left in (0, 5):
        side = observer.record.shape.lr_side
        lr = tokens[:, :, left * side : (left + 5) * side]
        gains_ = observer.design(lr, raw[:, :, left : left + 5])[0]
        own = at[:, 1] // 5 == left // 5
        gains[rows[own]] = gains_[at[own, 0], at[own, 1] - left]
    np.testing.assert_allclose(found.score, gains[found.rows])


def test_pools_that_are_no_overviews(observer, two):
    with pytest.raises(DataError, match="do not cover it in rows and columns"):
        rank(open_pool(two[0], tile=16, edge="shift"), observer)
    with pytest.raises(DataError, match="pool of arrays"):
        rank(Pool.from_arrays(n=4), observer)


def test_a_run_holds_what_others_read(done, two):
    found, out = summary(done.out), done.out
    assert (found["tiles"], found["chosen"], found["scenes"]) == (50, 6, 2)
    assert found["obr"] == pytest.approx(6 / 50, rel=1e-3)
    assert found["mocr"] == pytest.approx(found["obr"])
    assert (found["mode"], found["budget"], found["threshold"]) == ("budget", "12%", None)
    assert found["lr_suffices"] == ["cropland"]  # 10 m would do, and there are 4 m
    assert found["tile"] == {"pixels": 8.0, "metres": 32.0}
    scores = pq.read_table(out / "tables/scores.parquet").to_pandas()
    chosen = scores[scores.chosen].sort_values("rank")
    assert chosen["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert chosen.score.min() >= scores[~scores.chosen].score.max()
    assert ((scores.sd >= 0) & (scores.raw > 0)).all()
    assert scores.area.sum() == pytest.approx(2 * 160 * 160, rel=2e-3)
    assert chosen.area.sum() / scores.area.sum() == pytest.approx(found["obr"])
    selection = pq.read_table(out / "selection/tiles.parquet")
    assert selection["tile_id"].to_pylist() == chosen.tile_id.tolist()
    features = json.loads((out / "tiles.geojson").read_text())["features"]
    assert [f["properties"]["tile_id"] for f in features] == chosen.tile_id.tolist()
    lon, lat = features[0]["geometry"]["coordinates"][0][0]
    assert abs(lon) <= 180
    assert abs(lat) <= 90
    natives = sorted(out.glob("tiles-native*.parquet"))
    outlines = 0
    for file in natives:
        geo = json.loads(pq.read_schema(file).metadata[b"geo"])["columns"]["geometry"]
        assert CRS.from_json_dict(geo["crs"]).is_projected
        table = pq.read_table(file)
        areas = shapely.area(shapely.from_wkb(table["geometry"].to_pylist()))
        assert np.allclose(areas, 32**2)
        outlines += len(table)
    assert outlines == 6
    for path in two:
        with rasterio.open(path) as image, rasterio.open(out / "maps" / Path(path).name) as drawn:
            assert drawn.shape == (5, 5)
            assert drawn.descriptions == ("score", "sd")
            assert drawn.bounds == pytest.approx(image.bounds)
            assert drawn.crs == image.crs
            own = scores[scores.scene == Path(path).stem]
            assert drawn.read(1)[own.row, own.col] == pytest.approx(own.score.to_numpy(), rel=1e-6)
        assert (out / "thumbs" / f"{Path(path).stem}.jpg").exists()


def test_the_summary_repeats_what_the_training_found(done, observing):  # noqa: F811
    found = Run.load(done.out).record["summary"]["training"]
    judged = read_json(observing.model / "tables/evaluation.json")
    own = judged["against_random"]["policies"]["learned"]
    assert found["known"]
    assert (found["split"], found["scenes"], found["groups"]) == ("validation and test", 3, 3)
    assert found["measure"] == "tile mAP"
    assert found["random"] == judged["against_random"]["random"]
    assert found["value"] == own["area"]
    assert found["verdict"] in ("tied", "open")  # three scenes prove nothing
    assert found["difference"]["mean"] == pytest.approx(own["area"] - found["random"])
    assert (found["policy"], found["fallback"], found["best"]) == ("learned", "", "")
    # Of random tiles, and by an observer of an earlier version, there is nothing to repeat.
    record = Observer.load(observing.model, device="cpu").record
    assert training_evidence(record, "random") == {"known": False}
    assert training_evidence(replace(record, held_out=None), "learned") == {"known": False}


def test_auto_takes_what_the_training_found(observer, two):
    def by(policy, verdict="better"):
        own = {"area": 0.6, "difference": None, "p": None, "verdict": verdict}
        against = {"policy": policy, "trained": "learned", "random": 0.5, "groups": 9,
                   "policies": {"learned": own}}  # fmt: skip
        held = {"against_random": against, "measure": "tile mAP", "shares": [], "split": "",
                "scenes": 9}  # fmt: skip
        return replace(observer, record=replace(observer.record, held_out=held))

    pool = open_pool(two[0], split=(5, 5))
    for policy in ("learned", "uniform"):
        found = rank(pool, by(policy))
        assert found.rows.tolist() == rank(pool, observer, policy=policy).rows.tolist()
    record = by("uniform", "open").record
    assert policy_of("auto", record, "obr") == policy_of("learned", record) == "learned"
    assert policy_of("auto", replace(record, held_out=None)) == "learned"
    told = training_evidence(record, "uniform", "auto")
    assert (told["policy"], told["fallback"], told["best"]) == ("learned", "uniform", "")
    assert training_evidence(record, "uniform", "uniform") == {"known": False}


def test_a_second_run_does_nothing_and_another_budget_little(done, tmp_path):
    before = files(done.out)
    assert not done.job.run(done.out).worked
    assert files(done.out) == before
    kept = {k: v["key"] for k, v in Run.load(done.out).record["steps"].items()}
    more = done.job.model_copy(update={"budget": "area=30%"})
    assert more.run(done.out).worked
    new = {k: v["key"] for k, v in Run.load(done.out).record["steps"].items()}
    assert {name for name in new if new[name] != kept.get(name)} == {"select"}
    found = summary(done.out)
    assert 0.26 < found["obr"] <= 0.3
    done.job.run(done.out)
    assert files(done.out) == before


@pytest.mark.parametrize("step", ["save_scores", "save_selected", "save_maps", "save_thumbs"])
def test_a_killed_run_goes_on_to_the_same_files(done, tmp_path, monkeypatch, step):
    out = tmp_path / "run"

    def killed(*given, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(selecting.results, step, killed)
        with pytest.raises(KeyboardInterrupt):
            done.job.run(out)
    assert "summary" not in Run.load(out).record
    assert done.job.run(out).worked
    assert files(out) == files(done.out)


def test_an_empty_budget_is_an_error(done, tmp_path):
    with pytest.raises(BudgetError, match="an empty budget"):
        done.job.model_copy(update={"budget": ""}).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_thresholds_are_nested_and_have_both_ends(done, tmp_path):
    base = done.job.model_copy(update={"budget": None})
    sets = []
    for tau in (0.0, 0.3, 0.55, 0.8, 1.0):
        base.model_copy(update={"threshold": tau}).run(done.out)
        found = summary(done.out)
        assert found["mode"] == "threshold"
        assert found["threshold"] == tau
        assert found["expected_obr"] == pytest.approx(1 - tau)
        if found["expected_obr"]:
            assert found["drift"] == pytest.approx(found["obr"] / (1 - tau) - 1)
        scores = pq.read_table(done.out / "tables/scores.parquet").to_pandas()
        assert (scores.chosen == ((scores.score > tau) & (tau < 1) | (tau == 0))).all()
        assert len(pq.read_table(done.out / "selection/tiles.parquet")) == scores.chosen.sum()
        sets.append(set(scores.tile_id[scores.chosen]))
    assert len(sets[0]) == 50
    assert not sets[-1]
    assert all(after <= before for before, after in itertools.pairwise(sets))
    assert json.loads((done.out / "tiles.geojson").read_text())["features"] == []
    base.model_copy(update={"obr": 0.2}).run(done.out)
    found = summary(done.out)
    assert found["mode"] == "obr"
    assert found["obr"] <= 0.2 + 1e-9
    assert found["chosen"] in (9, 10)  # a tile is 2 % of the area
    assert 0 <= found["threshold"] <= 1
    done.job.run(done.out)


def test_baselines_and_prices(done, observing, tmp_path):  # noqa: F811
    chosen = {}
    for policy in ("random", "uniform", "lr-entropy", "design", "learned"):
        job = done.job.model_copy(update={"policy": policy, "lr_cost": 0.05})
        job.run(done.out)
        found = summary(done.out)
        assert found["chosen"] == 6
        assert found["mocr"] == pytest.approx(found["obr"] + 0.05)
        table = pq.read_table(done.out / "tables/scores.parquet").to_pandas()
        assert table.sd.notna().all() == (policy == "learned")
        chosen[policy] = frozenset(table.tile_id[table.chosen])
    assert len(set(chosen.values())) >= 4
    with rasterio.open(done.out / "maps/scene-00.tif") as drawn:
        assert np.isfinite(drawn.read()).all()
    done.job.run(done.out)


def test_a_covariate_on_the_ground_and_on_the_picture(observer, tmp_path):
    bright = np.zeros((40, 40), np.float32)
    bright[8:16, 32:] = 7  # row 1, column 4
    for geobox, name in ((box((40, 40), 4), "placed"), (None, "picture")):
        write_cog(tmp_path / f"{name}.tif", bright, geobox=geobox)
        pool = cut(pool_of(geobox=geobox), observer.record)
        ranking = rank(pool, observer, policy="covariate", covariate=tmp_path / f"{name}.tif")
        assert ranking.at(1).values.tolist() == ["a/y000008_x000032_8x8"]
    pair = replace(pool, scenes=(*pool.scenes, *pool_of(name="b").scenes))
    with pytest.raises(DataError, match=r"one raster .* for 2 scenes"):
        rank(cut(pair, observer.record), observer, policy="covariate",
             covariate=tmp_path / "picture.tif")  # fmt: skip
    write_cog(tmp_path / "part.tif", bright[:, :20], geobox=box((40, 20), 4))
    placed = cut(pool_of(geobox=box((40, 40), 4)), observer.record)
    with pytest.raises(DataError, match="no valid pixel in 10 of 25 tiles"):
        rank(placed, observer, policy="covariate", covariate=tmp_path / "part.tif")


def test_pixel_space(observing, two, tmp_path):  # noqa: F811
    data = FileSource(two[0]).read().data
    write_cog(tmp_path / "in/a.tif", data)
    job = SelectJob(
        images=[str(tmp_path / "in")], observer=str(observing.model), budget="3", device="cpu"
    )
    job.run(tmp_path / "run")
    found = summary(tmp_path / "run")
    assert found["obr"] == pytest.approx(3 / 25)
    assert found["area"] == {"unit": "pixels", "chosen": 192.0, "all": 1600.0}
    assert any("Areas are in pixels" in note for note in found["notes"])
    assert found["gsd"] is None
    assert any("tiles.geojson is not written: the scene 'a'" in note for note in found["notes"])
    assert not list((tmp_path / "run").glob("tiles*.geojson"))  # pixels are no longitudes
    chosen = pq.read_table(tmp_path / "run/selection/tiles.parquet").to_pylist()
    assert [(row["y"], row["x"]) for row in chosen] == [
        (row["row"] * 8, row["col"] * 8) for row in chosen
    ]
    assert not list((tmp_path / "run").glob("tiles-native*"))
    with pytest.raises(BudgetError, match="This pool has costs in"):
        job.model_copy(update={"budget": "area=5%"}).run(tmp_path / "other")


def test_nodata_leaves_the_pool(observing, two, tmp_path):  # noqa: F811
    source = FileSource(two[0])
    data = source.read().data.copy()
    data[:, :, 24:] = 0
    write_cog(tmp_path / "in/a.tif", data, geobox=source.info.geobox, nodata=0)
    job = SelectJob(
        images=[str(tmp_path / "in")], observer=str(observing.model), budget="20%",
        policy="learned", device="cpu",
    )  # fmt: skip
    job.run(tmp_path / "run")
    found = summary(tmp_path / "run")
    assert (found["tiles"], found["chosen"]) == (15, 3)
    assert found["obr"] == pytest.approx(0.2, rel=1e-3)
    with rasterio.open(tmp_path / "run/maps/a.tif") as drawn:
        assert np.isnan(drawn.read()[:, :, 3:]).all()
        assert np.isfinite(drawn.read()[:, :, :3]).all()


def test_scenes_that_left_leave_no_pictures(done, tmp_path, two):
    done.job.run(tmp_path / "run")
    done.job.model_copy(update={"images": two[:1]}).run(tmp_path / "run")
    for folder in ("maps", "thumbs"):
        assert [p.stem for p in (tmp_path / "run" / folder).iterdir()] == [Path(two[0]).stem]


def test_one_mode_and_policies_of_overviews():
    for given_, match in (
        ({}, "no budget, no threshold and no obr"),
        ({"budget": "5%", "threshold": 0.5}, "--budget and --threshold together"),
        ({"threshold": 0.5, "policy": "random"}, "--threshold with the policy 'random'"),
    ):
        with pytest.raises(ParameterError, match=match):
            SelectJob(images=["a"], observer="m", **given_).mode  # noqa: B018
    for policy in ("sar", "oracle-gain", "semantic"):
        with pytest.raises(ParameterError, match="need overviews only"):
            check_policy(policy, None)
    with pytest.raises(ParameterError, match="without a raster"):
        check_policy("covariate", None)
    with pytest.raises(ParameterError, match="a covariate for the policy 'learned'"):
        check_policy("learned", "x.tif")


# --- overviews unlike the training ---------------------------------------------------------


@pytest.fixture(scope="module")
def noise(two, tmp_path_factory):
    """An overview, and another one whose pixels are replaced by saturated noise."""
    folder = tmp_path_factory.mktemp("noise")
    with rasterio.open(two[1]) as file:
        profile, shape = file.profile, (file.count, *file.shape)
    data = 255 * np.random.default_rng(0).integers(0, 2, shape).astype(profile["dtype"])
    with rasterio.open(folder / "noise.tif", "w", **profile) as file:
        file.write(data)
    return [two[0], str(folder / "noise.tif")]


@pytest.mark.parametrize("policy", ["learned", "design"])
def test_overviews_unlike_the_training_are_named(observing, noise, tmp_path, caplog, policy):  # noqa: F811
    job = SelectJob(
        images=noise, observer=str(observing.model), budget="12%", policy=policy, device="cpu"
    )
    job.run(tmp_path / "run")
    text = "1 of 2 overviews is unlike all overviews of the training. Scores may be meaningless."
    assert text in summary(tmp_path / "run")["notes"]
    assert text in caplog.text


def test_the_tokens_of_an_overview_are_projected_once(observer, two, monkeypatch):
    projected = []
    plain = Projection.__call__
    monkeypatch.setattr(
        Projection, "__call__", lambda self, x: projected.append(x.shape) or plain(self, x)
    )
    rank(two, observer, policy="learned")
    assert len(projected) == len(two)


def test_overviews_of_the_training_are_familiar(done):
    assert not [note for note in summary(done.out)["notes"] if "unlike" in note]


def test_an_observer_of_an_earlier_version_compares_nothing(observer, two):
    old = replace(observer, familiarity=None)
    assert not old.project(np.zeros((1, 4, 4, old.lr.mean.size), np.float32))[1].any()
    assert rank(two, old, policy="learned").depth == rank(two, observer, policy="learned").depth
