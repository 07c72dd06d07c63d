"""Concepts in completed scenes, and zero-shot classification of data sets."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
import rasterio
from completing import completing  # noqa: F401
from observing import observing  # noqa: F401

from foveate.errors import (
    DataError,
    MissingCapabilityError,
    ParameterError,
    UnknownNameError,
)
from foveate.files import read_parquet, write_parquet
from foveate.observe.completion.classifying import SCENES, TILES, classify, zero_shot_dataset
from foveate.observe.completion.completing import COMPLETED
from foveate.observe.completion.zero_shot import PRESETS
from foveate.observe.data.concepts import concepts_of
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import CompleteJob
from foveate.observe.observer import Observer
from foveate.stats import mean_average_precision


@pytest.fixture(scope="module")
def scenes(completing, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("recognise") / "scenes"
    tiles = [str(completing.world / "images")]
    job = CompleteJob(selection=str(completing.run), tiles=tiles, only_chosen=True, device="cpu")
    job.run(out)
    return out


def test_by_labels(completing, scenes):  # noqa: F811
    found = classify(scenes, concepts_of(["road", "forest"])).summary
    assert (found["by"], found["score"], found["worked"]) == ("labels", "probability", True)
    assert not classify(scenes, concepts_of(["road", "forest"])).summary["worked"]
    table = read_parquet(scenes / TILES)
    assert table.column_names == ["tile_id", "road", "forest"]
    own = read_parquet(scenes / "tables/concepts.parquet")
    assert np.allclose(table["road"].to_numpy(), own["road"].to_numpy(), atol=1e-5)
    pairs = open_pairs(completing.pairs)
    assert table["tile_id"].to_pylist() == pairs.pool.ids.tolist()
    scores = np.stack([table[name].to_numpy() for name in ("road", "forest")], axis=1)
    names = [concept.name for concept in pairs.concepts]
    present = pairs.present()[:, [names.index("road"), names.index("forest")]]
    expected = mean_average_precision(scores, present).per_concept
    truth = found["truth"]
    assert truth["tiles"]["base"] == pytest.approx(expected.mean(), abs=1e-3)
    assert truth["tiles"]["novel"] is None
    over = read_parquet(scenes / SCENES).to_pylist()
    assert len(over) == 8 * 2
    first = over[0]
    rows = [i for i, t in enumerate(table["tile_id"].to_pylist()) if t.startswith(first["scene"])]
    assert first["max"] == pytest.approx(scores[rows, 0].max())
    assert first["mean"] == pytest.approx(scores[rows, 0].mean(), abs=1e-5)


def test_by_texts_with_novel_concepts(scenes):
    asked = concepts_of({"forest": "green", "water": {"texts": "blue"}, "nowhere": "red"})
    found = classify(scenes, asked, templates="none").summary
    assert (found["by"], found["score"]) == ("texts", "cosine")
    assert [one["novel"] for one in found["concepts"].values()] == [False, True, True]
    truth = found["truth"]
    assert truth["concepts"] == ["forest", "water"]  # masks know no "nowhere"
    assert 0 < truth["tiles"]["novel"] <= 1
    again = classify(scenes, concepts_of(["forest", "road"]), by="texts").summary
    assert again["score"] == "cosine"
    about = json.loads(read_parquet(scenes / TILES).schema.metadata[b"foveate"])
    assert about["by"] == "texts"


def test_scores_are_a_table(scenes):
    found = classify(scenes, concepts_of(["road", "forest"]))
    assert repr(found) == "ConceptScores(road, forest: 200 tiles)"
    table = pa.table(found)
    assert table.column_names == [
        "tile_id", "scene", "row", "col", "observed", "doubt", "unfamiliar", "road", "forest",
        "geometry",
    ]  # fmt: skip
    assert np.allclose(table["road"].to_numpy(), found.values[:, 0])
    pytest.importorskip("geopandas")
    frame = found.to_geopandas()
    assert len(frame) == 200
    assert frame.geometry.is_valid.all()


def test_scenes_unlike_the_training_are_named(scenes, tmp_path, caplog):
    assert not classify(scenes, concepts_of(["road"])).summary["cautions"]
    copy = shutil.copytree(scenes, tmp_path / "scenes")
    table = read_parquet(copy / COMPLETED)
    unlike = pa.compute.equal(table["scene"], table["scene"][0])
    column = table.column_names.index("beyond")
    write_parquet(copy / COMPLETED, table.set_column(column, "beyond", unlike))
    found = classify(copy, concepts_of(["road"])).summary
    text = "1 of 8 overviews is unlike all overviews of the training. Scores may be meaningless."
    assert (found["scenes"], found["unfamiliar"], found["cautions"]) == (8, 1, [text])
    assert text in caplog.text


def test_what_cannot_be_told(scenes, observing):  # noqa: F811
    with pytest.raises(UnknownNameError, match="Did you mean 'forest'"):
        classify(scenes, concepts_of(["forst"]), by="labels")
    with pytest.raises(ParameterError, match="auto, texts, labels"):
        classify(scenes, concepts_of(["forest"]), by="heart")
    with pytest.raises(DataError, match="contains no completed scenes"):
        classify(observing.pairs, concepts_of(["forest"]))


def test_the_concepts_of_the_observer_are_the_default(scenes, monkeypatch):
    from foveate.observe.completion import classifying as recognise

    assert list(classify(scenes).summary["concepts"]) == ["forest", "road", "cropland"]
    own = recognise.observer_of

    def without(*given):
        observer = own(*given)
        return replace(observer, record=replace(observer.record, concepts=()))

    monkeypatch.setattr(recognise, "observer_of", without)
    with pytest.raises(ParameterError, match=r"no concepts, and an observer.*--concepts forest"):
        classify(scenes)


def test_without_the_selection_nothing_is_judged(scenes, monkeypatch):
    from foveate.observe.completion import classifying as recognise

    monkeypatch.setattr(recognise, "open_pairs", lambda _: (_ for _ in ()).throw(DataError("no")))
    assert classify(scenes, concepts_of(["road"])).summary["truth"] is None


def picture(path, bands, size=64):
    """Write bands as a GeoTIFF; `bands` are their values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.broadcast_to(np.array(bands, np.uint16)[:, None, None], (len(bands), size, size))
    profile = {"driver": "GTiff", "count": len(bands), "height": size, "width": size,
               "dtype": "uint16", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(data)


@pytest.fixture
def taught(completing):  # noqa: F811
    """The observer, for tiles of 32 pixels: few of them."""
    found = Observer.load(completing.model, device="cpu")
    return replace(found, record=replace(found.record, lr_tile=32.0, gsd=None))


CLASSES = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture",
           "PermanentCrop", "Residential", "River", "SeaLake")  # fmt: skip


@pytest.fixture
def eurosat(tmp_path):
    root = tmp_path / "eurosat"
    base = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
    names = []
    for i, name in enumerate(CLASSES):
        picture(base / name / f"{name}_1.tif", [300 + 200 * i] * 13)
        names.append(f"{name}_1.jpg")
    for split in ("train", "val", "test"):
        (root / f"eurosat-{split}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.mark.filterwarnings("ignore")  # what torchgeo and those that it imports have to say
def test_eurosat(taught, eurosat):
    found = zero_shot_dataset(taught, "eurosat", eurosat)
    assert (found["images"], found["classes"]) == (10, 10)
    assert found["bands"] == ["B04", "B03", "B02"]
    assert found["tiles"] == [2, 2]
    assert 0 <= found["top1"] <= 1
    assert "sea lake" in found["each"]
    assert np.mean(list(found["each"].values())) == pytest.approx(found["top1"])
    with pytest.raises(UnknownNameError, match="Did you mean 'B04'"):
        zero_shot_dataset(taught, "eurosat", eurosat, bands=["B4", "B03", "B02"])
    with pytest.raises(ParameterError, match="for a model of 3"):
        zero_shot_dataset(taught, "eurosat", eurosat, bands=["B04"])


@pytest.mark.filterwarnings("ignore")
def test_bigearthnet(taught, tmp_path):
    root = tmp_path / "ben"
    labels = {"one": ["Sea and ocean"], "two": ["Coniferous forest", "Pastures"]}
    order = PRESETS["bigearthnet"].bands
    for name, shown in labels.items():
        folder = root / "BigEarthNet-v1.0" / name
        for i, band in enumerate(order):
            picture(folder / f"{name}_{band}.tif", [100 * i], size=20 if i % 2 else 120)
        (folder / f"{name}_labels.json").write_text(json.dumps({"labels": shown}))
    for split in ("train", "val", "test"):
        (root / f"bigearthnet-{split}.csv").write_text("one,one_s1\ntwo,two_s1\n")
    found = zero_shot_dataset(taught, "bigearthnet", root, split="val")
    assert (found["images"], found["classes"]) == (2, 19)
    assert 0 < found["map"] <= 1
    known = {name for name, value in found["each"].items() if value is not None}
    assert known == {"Marine waters", "Coniferous forest", "Pastures"}


@pytest.mark.filterwarnings("ignore")
def test_data_sets_that_are_not_there(taught, observing, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match="there is no folder"):
        zero_shot_dataset(taught, "eurosat", tmp_path / "nowhere")
    with pytest.raises(DataError, match="does not contain eurosat"):
        zero_shot_dataset(taught, "eurosat", tmp_path)
    with pytest.raises(DataError, match="does not contain bigearthnet"):
        zero_shot_dataset(taught, "bigearthnet", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'eurosat'"):
        zero_shot_dataset(taught, "eurosatt", tmp_path)
    with pytest.raises(ParameterError, match="train, val, test"):
        zero_shot_dataset(taught, "eurosat", tmp_path, split="all")
    with pytest.raises(MissingCapabilityError, match="without a text model"):
        zero_shot_dataset(observing.model, "eurosat", tmp_path)


def test_values_of_sensors_and_of_pictures(taught):
    from foveate.observe.completion.zero_shot import _Branch

    branch = _Branch(taught, (0, 3000), "cpu")
    assert branch._native(np.array([-5.0, 0, 1500, 9000])).tolist() == [0, 0, 128, 255]
    lr = replace(taught.record.encoders["lr"], dtype="uint16")
    record = replace(taught.record, encoders={**taught.record.encoders, "lr": lr})
    raw = _Branch(replace(taught, record=record), (0, 3000), "cpu")._native(np.array([1234.0]))
    assert raw.dtype == np.uint16
    assert raw.tolist() == [1234]
    assert branch._tiles((64, 120)) == (2, 4)
    known = replace(taught, record=replace(taught.record, lr_tile=8.0, gsd=(4.0, 1.0)))
    assert _Branch(known, (0, 1), "cpu")._tiles((64, 64)) == (20, 20)  # 32 m, of 10 m a pixel
