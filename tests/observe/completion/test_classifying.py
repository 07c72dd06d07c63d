"""Concepts in completed scenes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from completing import completing  # noqa: F401
from observing import observing  # noqa: F401

from foveate.errors import (
    DataError,
    ParameterError,
    UnknownNameError,
)
from foveate.files import read_parquet, write_parquet
from foveate.observe.completion.classifying import SCENES, TILES, classify
from foveate.observe.completion.completing import COMPLETED
from foveate.observe.data.concepts import concepts_of
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import CompleteJob
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
