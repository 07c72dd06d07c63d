"""Scenes from overviews and the tiles that were bought."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from completing import completing  # noqa: F401
from observing import observing  # noqa: F401

from foveate.errors import DataError, ParameterError
from foveate.files import read_parquet
from foveate.observe import dense
from foveate.observe.completion import completing as module
from foveate.observe.completion.completing import open_completed
from foveate.observe.completion.match_hr import MatchedHR
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import CompleteJob, SelectJob
from foveate.observe.observer import Observer
from foveate.observe.selection.selections import load_selected
from foveate.raster import FileSource, write_cog
from foveate.run import Run


def bytes_of(path):
    """Hashes of all files but the record, which has times."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "run.json"
    }


def job(completing, *tiles, **more):  # noqa: F811
    given = {"selection": str(completing.run), "tiles": [str(t) for t in tiles], "device": "cpu"}
    return CompleteJob(**given, **more)


@pytest.fixture(scope="module")
def whole(completing, tmp_path_factory):  # noqa: F811
    """What was chosen, bought as whole scenes."""
    out = tmp_path_factory.mktemp("complete") / "scenes"
    job(completing, completing.world / "images", only_chosen=True).run(out)
    return out


def table(path):
    found = read_parquet(path / "tables/completed.parquet")
    return {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}


def test_scenes_are_what_the_predictor_makes_of_the_observed_tiles(completing, whole):  # noqa: F811
    observer = Observer.load(completing.model, device="cpu")
    selected = load_selected(completing.run, observer)
    pairs = open_pairs(completing.pairs)
    side, full = observer.record.shape.hr_side, (8, *pairs.shape)
    seen = dense.to_grids(selected.chosen, pairs.place, full)
    hr = dense.to_tokens(dense.to_grids(completing.hr, pairs.place, full), side)
    lr = np.zeros((8, *(n * observer.record.shape.lr_side for n in pairs.shape), 128), np.float32)
    with Run.create(completing.run) as kept:
        for scene, tokens, _ in selected.tokens(observer, kept):
            lr[scene] = tokens
    expected = observer.complete(lr, hr, seen)
    means = dense.from_grids(dense.to_tiles(expected.tokens, side).mean(axis=3), pairs.place)
    found = open_completed(whole)
    assert np.abs(np.asarray(found.x, np.float32) - means[np.argsort(pairs.pool.ids)]).max() < 5e-3
    assert found.ids.tolist() == pairs.pool.ids.tolist()
    assert np.array_equal(found.observed, selected.chosen)
    assert found.observed.sum() == 24
    doubt = np.where(seen, 0, expected.doubt)
    assert np.allclose(found.doubt, dense.from_grids(doubt, pairs.place), atol=1e-5)
    observed = found.x[found.observed]
    assert np.allclose(observed, completing.hr[selected.chosen].mean(axis=1), atol=5e-3)


def test_files(completing, whole):  # noqa: F811
    summary = json.loads((whole / "run.json").read_text())["summary"]["observe"]
    wanted = {"task": "complete", "scenes": 8, "tiles": 200, "chosen": 24, "observed": 24,
              "missing": 0, "not_chosen_but_given": 0, "empty": 0, "texts": True,
              "concepts": ["forest", "road", "cropland"]}  # fmt: skip
    assert wanted.items() <= summary.items()
    concepts = read_parquet(whole / "tables/concepts.parquet")
    assert concepts.column_names == ["tile_id", "forest", "road", "cropland"]
    assert ((concepts["road"].to_numpy() >= 0) & (concepts["road"].to_numpy() <= 1)).all()
    found = open_completed(whole)
    name = str(found.scene[0])
    with (
        rasterio.open(whole / f"maps/{name}.tif") as picture,
        rasterio.open(completing.pairs / f"overviews/{name}.tif") as overview,
    ):
        assert picture.crs == overview.crs
        assert np.allclose(picture.bounds, overview.bounds)
        assert picture.descriptions == ("axis 1", "axis 2", "axis 3", "doubt")
        own = found.scene == name
        side = picture.height // 5
        doubt = picture.read(4)[found.row[own] * side, found.col[own] * side]
        assert np.allclose(doubt, found.doubt[own])
        if side == 1:
            axes = picture.read([1, 2, 3])[:, found.row[own], found.col[own]].T
            assert np.allclose(axes, found.x[own, :3], rtol=2e-3, atol=2e-3)
    assert (whole / f"thumbs/{name}.jpg").is_file()


def test_only_windows_of_observed_tiles_are_read(completing, tmp_path, monkeypatch):  # noqa: F811
    read, plain = [], FileSource.read

    def watched(self, window=None, **more):
        read.append((self.path, window))
        return plain(self, window, **more)

    monkeypatch.setattr(FileSource, "read", watched)
    job(completing, completing.pairs, only_chosen=True).run(tmp_path / "out")
    images = [window for path, window in read if "/images/" in path]
    assert len(images) == 24
    assert {(window.h, window.w) for window in images} == {(32, 32)}
    done = len(read)
    again = job(completing, completing.pairs, only_chosen=True).run(tmp_path / "out")
    assert not again.worked
    assert len(read) == done


def test_all_that_is_given_is_used_and_what_is_missing_is_named(completing, tmp_path):  # noqa: F811
    bought = tmp_path / "bought"
    bought.mkdir()
    chosen = load_selected(completing.run, Observer.load(completing.model, device="cpu"))
    first = int(chosen.place[np.flatnonzero(chosen.chosen)[0], 0])
    name = chosen.name(first)
    shutil.copy(completing.world / f"images/{name}.tif", bought)
    shutil.copy(completing.world / f"images/{name}.tif", bought / "another.png.tif")
    found = job(completing, bought / f"{name}.tif").run(tmp_path / "out").record["summary"]
    own = int(chosen.chosen[chosen.target.rows[first]].sum())
    assert found["observe"]["observed"] == 25
    assert found["observe"]["not_chosen_but_given"] == 25 - own
    assert found["observe"]["missing"] == 24 - own
    assert all(not tile.startswith(name + "/") for tile in found["observe"]["missing_tiles"])


def test_nothing_bought_is_nothing_observed(completing, whole, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    found = job(completing).run(out).record["summary"]["observe"]
    assert (found["observed"], found["missing"]) == (0, 24)
    before, after = open_completed(out), open_completed(whole)
    assert (before.doubt > 0).all()
    changed = np.abs(np.asarray(before.x - after.x)).max(axis=1) > 0
    assert changed[after.observed].all()


def test_more_tiles_change_their_scenes_alone(completing, tmp_path, monkeypatch):  # noqa: F811
    out, made, plain = tmp_path / "out", [], module.Completion._scene

    def watched(self, number, *more):
        made.append(number)
        return plain(self, number, *more)

    monkeypatch.setattr(module.Completion, "_scene", watched)
    job(completing).run(out)
    assert sorted(made) == list(range(8))
    made.clear()
    picture = next((completing.world / "images").glob("*.tif"))
    job(completing, picture).run(out)
    assert len(made) == 1
    assert table(out)["observed"].sum() == 25
    assert len(open_completed(out).x) == 200


def test_a_stopped_run_goes_on_to_the_same_bytes(completing, whole, tmp_path, monkeypatch):  # noqa: F811
    out, made, plain = tmp_path / "out", [], module.Completion._scene

    def watched(self, number, *more):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(number)
        return plain(self, number, *more)

    asked = job(completing, completing.world / "images", only_chosen=True)
    with monkeypatch.context() as patch:
        patch.setattr(module.Completion, "_scene", watched)
        with pytest.raises(KeyboardInterrupt):
            asked.run(out)
    with pytest.raises(DataError, match="contains no completed scenes"):
        open_completed(out)
    made.clear()
    monkeypatch.setattr(module.Completion, "_scene", lambda *a: made.append(a[1]) or plain(*a))
    asked.run(out)
    assert len(made) == 5
    assert bytes_of(out) == bytes_of(whole)


def test_a_policy_that_looks_at_nothing_keeps_no_tokens(completing, tmp_path):  # noqa: F811
    chosen = SelectJob(
        images=[str(completing.pairs / "overviews")], observer=str(completing.model), budget="10",
        policy="random", device="cpu",
    )  # fmt: skip
    chosen.run(tmp_path / "run")
    asked = CompleteJob(
        selection=str(tmp_path / "run"), tiles=[str(completing.world / "images")], only_chosen=True
    )
    found = asked.run(tmp_path / "out").record["summary"]["observe"]
    assert (found["tiles"], found["observed"]) == (200, 10)
    assert not asked.run(tmp_path / "out").worked
    overview = next((completing.pairs / "overviews").glob("*.tif"))
    with pytest.raises(DataError, match="more pixels than the overview"):
        asked.model_copy(update={"tiles": [str(overview)]}).run(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_large_scenes_are_completed_in_blocks(completing):  # noqa: F811
    observer = Observer.load(completing.model, device="cpu")
    shape, rng = observer.record.shape, np.random.default_rng(0)
    rows, cols = 7, 11
    lr = rng.normal(size=(rows * shape.lr_side, cols * shape.lr_side, shape.lr_dim))
    hr = rng.normal(size=(rows * shape.hr_side, cols * shape.hr_side, shape.hr_dim))
    seen = rng.random((rows, cols)) < 0.3
    given = (lr.astype(np.float32), hr.astype(np.float32), seen)
    one = observer.complete_scene(*given)
    expected = observer.complete(*(x[None] for x in given))
    assert np.array_equal(one.tokens, expected.tokens)
    many = observer.complete_scene(*given, whole=30)
    assert many.tokens.shape == one.tokens.shape
    assert np.isfinite(many.tokens).all()
    assert np.isfinite(many.doubt).all()
    visible = seen.repeat(shape.hr_side, 0).repeat(shape.hr_side, 1)
    assert np.array_equal(many.tokens[0][visible], given[1][visible])


@pytest.mark.parametrize(
    ("bands", "dtype", "said"),
    [
        (1, np.uint8, "has 1 band"),
        (4, np.uint8, "--bands 1,2,3"),
        (3, np.uint16, "has the dtype uint16"),
    ],
)
def test_other_imagery_is_refused(completing, tmp_path, bands, dtype, said):  # noqa: F811
    name = next((completing.world / "images").glob("*.tif"))
    with rasterio.open(name) as source:
        data = source.read()
    image = np.resize(data, (bands, *data.shape[1:])).astype(dtype)
    write_cog(tmp_path / f"in/{name.name}", image, geobox=FileSource(str(name)).info.geobox)
    with pytest.raises((DataError, ParameterError), match=said):
        job(completing, tmp_path / "in").run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if bands == 4:
        job(completing, tmp_path / "in", bands=[1, 2, 3]).run(tmp_path / "out")
        with pytest.raises(ParameterError, match="the same number of bands"):
            job(completing, tmp_path / "in", bands=[1, 2]).run(tmp_path / "more")


def test_runs_that_cannot_be_completed(completing, whole, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match="a run of 'complete'"):
        CompleteJob(selection=str(whole)).run(tmp_path / "out")
    with pytest.raises(DataError, match="a run of 'observe prepare'"):
        CompleteJob(selection=str(completing.pairs)).run(tmp_path / "out")
    with pytest.raises(ParameterError, match="is the run directory of the selection"):
        job(completing).run(completing.run)
    observer = Observer.load(completing.model, device="cpu")
    lr = observer.record.encoders["lr"]
    other = replace(lr, spec=replace(lr.spec, name="other", fingerprint="2"))
    record = replace(observer.record, encoders={**observer.record.encoders, "lr": other})
    with pytest.raises(DataError, match="LR encoder 'builtin', not 'other'"):
        load_selected(completing.run, replace(observer, record=record))


def test_an_observer_that_was_moved_is_asked_for(completing, tmp_path):  # noqa: F811
    selection, model = tmp_path / "selection", tmp_path / "model"
    shutil.copytree(completing.run, selection)
    record = json.loads((selection / "run.json").read_text())
    record["job"]["observer"] = str(tmp_path / "gone")
    (selection / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"is not in '.*gone'.*--observer FOLDER"):
        CompleteJob(selection=str(selection)).check()
    shutil.copytree(completing.model, model)
    _, observer, _ = CompleteJob(selection=str(selection), observer=str(model)).check()
    assert observer.folder.startswith(str(model))


def test_tiles_that_are_mostly_nodata_are_not_observed(completing, tmp_path):  # noqa: F811
    source = FileSource(str(next((completing.world / "images").glob("*.tif"))))
    data = np.array(source.read().data)
    data[:, :32, :64] = 0
    data[:, 32:64, :10] = 0  # less than a half
    name = source.path.rsplit("/", 1)[-1]
    write_cog(tmp_path / f"in/{name}", data, geobox=source.info.geobox, nodata=0)
    found = job(completing, tmp_path / "in").run(tmp_path / "out").record["summary"]["observe"]
    assert (found["empty"], found["observed"]) == (2, 23)


def test_views_of_some_tiles():
    bought = MatchedHR({1: [], 2: []}, ["x"])
    assert list(bought.of(np.array([2, 5])).views) == [2]
