"""Search in completed scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from completing import completing  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from observing import observing  # noqa: F401

from foveate.errors import (
    DataError,
    MissingCapabilityError,
    ParameterError,
    UnknownNameError,
)
from foveate.models.heads import unit
from foveate.observe.completion.completing import Completed, open_completed
from foveate.observe.completion.searching import best, need_texts, search
from foveate.observe.jobs import CompleteJob
from foveate.observe.observer import Observer


@pytest.fixture(scope="module")
def scenes(completing, tmp_path_factory):  # noqa: F811
    """All tiles observed: what is found is in the pixels."""
    out = tmp_path_factory.mktemp("search") / "scenes"
    tiles = [str(completing.world / "images")]
    CompleteJob(selection=str(completing.run), tiles=tiles, device="cpu").run(out)
    return open_completed(out)


def plain(n, groups=3):
    ids = np.array([f"t{i:03d}" for i in range(n)])
    scene = np.array([f"s{i % groups}" for i in range(n)])
    zero = np.zeros(n, np.int64)
    return Completed(
        None,
        {},
        ids,
        scene,
        zero,
        zero,
        zero > 0,
        zero.astype(np.float32),
        zero > 0,
        np.zeros((n, 2)),
    )


@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=30), top=st.integers(1, 40),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_the_best_come_first(values, top, seed):
    scenes, scores = plain(len(values)), np.array(values, float)
    hits = best(scenes, scores, top=top, seed=seed)
    assert len(hits.rows) == min(top, len(values))
    assert hits.score.tolist() == sorted(values, reverse=True)[:top]
    assert np.array_equal(scores[hits.rows], hits.score)
    found = best(scenes, scores, within="scenes", top=top, seed=seed)
    names = scenes.scene[found.rows].tolist()
    assert len(set(names)) == len(names) == min(top, len(set(scenes.scene.tolist())))
    for name, score in zip(names, found.score, strict=True):
        assert score == scores[scenes.scene == name].max()
    back = np.arange(len(values))[::-1]  # the order of rows makes no difference
    turned = replace(scenes, ids=scenes.ids[back], scene=scenes.scene[back])
    again = best(turned, scores[back], top=top, seed=seed)
    assert turned.ids[again.rows].tolist() == scenes.ids[hits.rows].tolist()


def test_a_text_is_compared_by_cosine(completing, scenes):  # noqa: F811
    observer = Observer.load(completing.model, device="cpu")
    hits = search(scenes, text="green", top=300)
    assert len(hits.rows) == len(scenes) == 200
    vectors = unit(observer.to_text(scenes.x))
    greens = vectors[hits.rows] @ np.array([0, 1, 0])
    assert np.corrcoef(greens, hits.score)[0, 1] > 0.9
    assert (np.diff(hits.score) <= 0).all()
    assert np.abs(hits.score).max() <= 1 + 1e-6
    other = search(scenes, text="red", top=300)
    assert other.rows.tolist() != hits.rows.tolist()


def test_scenes_and_hits_are_tables(scenes):
    assert repr(scenes) == "Completed(200 tiles of 8 scenes, 200 observed)"
    table = pa.table(scenes)
    assert table["tile_id"].to_pylist() == scenes.ids.tolist()
    hits = search(scenes, concept="road", top=3)
    assert repr(hits) == f"Hits(3, first {scenes.ids[hits.rows[0]]}: {hits.score[0]:.3g})"
    pytest.importorskip("geopandas")
    frame = hits.to_geopandas()
    assert frame["rank"].tolist() == [1, 2, 3]
    outlines = scenes.to_geopandas().geometry.iloc[hits.rows].reset_index(drop=True)
    assert frame.geometry.geom_equals(outlines).all()
    assert "geometry" not in hits.to_pandas()


def test_a_concept_is_one_that_was_learnt(scenes):
    hits = search(scenes, concept="Road", top=10)
    table = pa.table(hits)
    rows = table.drop_columns(["geometry"]).to_pylist()
    assert [row["rank"] for row in rows] == list(range(1, 11))
    assert set(rows[0]) == {
        "rank", "scene", "row", "col", "score", "observed", "doubt", "unfamiliar", "tile_id"
    }  # fmt: skip
    assert all(0 <= row["score"] <= 1 for row in rows)
    assert table.column_names[-1] == "geometry"
    assert table["tile_id"].to_pylist() == [row["tile_id"] for row in rows]


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({}, ParameterError, "a search without a text or concept"),
        ({"text": " "}, ParameterError, "a search without a text or concept"),
        ({"text": "a", "concept": "b"}, ParameterError, "Exactly one of"),
        ({"concept": "rod"}, UnknownNameError, "Did you mean 'road'"),
        ({"concept": "road", "top": 0}, ParameterError, "at least 1"),
        ({"concept": "road", "within": "regions"}, ParameterError, "tiles, scenes"),
    ],
)
def test_searches_that_cannot_be(scenes, asked, error, said):
    with pytest.raises(error, match=said):
        search(scenes, **asked)


def test_other_observers(completing, observing, scenes, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match="did not complete"):
        search(scenes, concept="road", model=str(observing.model))
    record = {
        **scenes.record,
        "summary": {
            "observe": {**scenes.record["summary"]["observe"], "observer": str(tmp_path / "gone")}
        },
    }
    with pytest.raises(DataError, match=r"is not in '.*gone'.*--observer FOLDER"):
        search(replace(scenes, record=record), concept="road")
    silent = Observer.load(observing.model, device="cpu")
    with pytest.raises(MissingCapabilityError, match="--concept road"):
        need_texts(silent, "Road")
    with pytest.raises(MissingCapabilityError, match="--text-model MODEL"):
        need_texts(replace(silent, head=None), "a road")
    with pytest.raises(DataError, match="a run of 'select'"):
        open_completed(completing.run)
