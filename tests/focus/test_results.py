"""What a headline has to know of a look: its cost, what it left out, and if the query is there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from affine import Affine
from colour_words import colour_words
from looks import RED, Sized, colour_model, land, look, red_query
from odc.geo.geobox import GeoBox

from foveate import focus
from foveate.errors import DataError
from foveate.focus.config import GOALS
from foveate.focus.question import FocusQuestion
from foveate.focus.refine import EQUAL
from foveate.raster.sources import ArraySource

KEYS = {
    "passes", "passes_tiling", "passes_budget", "tiling_advised", "cells_scoring_higher",
    "distinct_parents", "seen_native", "epsilon_form", "epsilon_relative_to",
}  # fmt: skip


def summary(result):
    return result.stored().summary()


def test_regions_out_of_one_cell_are_counted_as_such():
    # 12 passes: 16 squeezed cells take 4 and the overview 1; one cell is opened, into four crops.
    image = land(512, 512, patch=(200, 70, 60, 60), spread=40)
    goal = GOALS["rare"].with_options(coarse="whole")
    result = look(image, Sized(64), goal=goal, passes=9, search={"regions": 4})
    found = summary(result)
    assert found.keys() >= KEYS
    state = result.result.state
    assert found["distinct_parents"] == 1
    assert len({(w.y // 128, w.x // 128) for w in result.windows}) == 1
    score, rows = state.scorer.single_importance, state.chosen.rows
    others = [s for i, s in enumerate(score) if i not in rows]
    assert found["cells_scoring_higher"] == sum(s > score[rows].min() + EQUAL for s in others)
    assert found["seen_native"]
    assert found["passes_tiling"] == 64


@pytest.mark.parametrize("placed", [False, True])
def test_a_look_is_a_table_of_its_cells(placed):
    image = land(256, 256, patch=(100, 40, 24, 24))
    box = GeoBox((256, 256), Affine(1, 0, 500_000, 0, -1, 4_000_000), "EPSG:32633")
    source = ArraySource(image, geobox=box if placed else None)
    found = focus.look(source, colour_model()[0], mode="window", budget={"regions": 2})
    cells = len(found.result.state.tiles)
    assert (
        repr(found)
        == f"Look(image: {len(found.windows)} of {cells} cells, {found.passes:g} passes)"
    )
    table = pa.table(found)
    assert table.num_rows == cells
    assert ("geometry" in table.column_names) is placed
    ranked = table.filter(table["rank"].is_valid()).sort_by("rank")
    shown = zip(*(ranked[name].to_pylist() for name in ("y", "x", "h", "w")), strict=True)
    assert list(shown) == [tuple(window) for window in found.windows]
    pytest.importorskip("geopandas")
    assert found.to_pandas()["importance"].notna().all()
    if placed:
        outlines = found.to_geopandas().to_crs("EPSG:32633").geometry
        assert np.allclose(outlines.area, table["h"].to_numpy() * table["w"].to_numpy(), rtol=1e-3)
    else:
        with pytest.raises(DataError, match="without outlines"):
            found.to_geopandas()


def test_nothing_scores_higher_where_all_may_be_chosen():
    image = land(256, 256, patch=(100, 40, 24, 24))
    result = look(image, colour_model()[0], goal="balanced", mode="window")
    found = summary(result)
    assert found["cells_scoring_higher"] == 0
    assert not found["seen_native"]
    # Cells that were not cut stand for themselves.
    flat = look(image, colour_model()[0], mode="window", search={"depth": 0, "regions": 5})
    assert summary(flat)["distinct_parents"] == 5


def test_the_area_leaves_better_cells_out():
    image = land(512, 512, patch=(200, 70, 60, 60))
    result = look(image, Sized(64), goal="balanced", passes=0, search={"area": 0.02, "regions": 8})
    found = summary(result)
    assert found["area_share"] <= 0.02
    assert len(result.windows) == 1
    assert found["cells_scoring_higher"] >= 0


@pytest.mark.parametrize("there", [True, False])
def test_a_query_among_classes_is_there_or_not(there):
    image = land(512, 512, patch=(200, 70, 64, 64) if there else None)
    result = focus.look(
        image, colour_words(), labels=["green", "blue"], query="red", templates="none", crop=64,
        budget={"passes": 0},
    )  # fmt: skip
    assert result.query_found is there
    assert summary(result)["query_found"] is there


def test_a_query_that_the_whole_image_is():
    image = np.empty((3, 256, 256), np.uint8)
    image[:] = np.array(RED)[:, None, None]
    image[:, :40, :40] = 60
    result = focus.look(
        image, colour_words(), labels=["green", "blue"], query="red", templates="none", crop=64,
        budget={"passes": 0},
    )  # fmt: skip
    assert result.query_found is True


def test_query_found_by_cosine_needs_a_margin():
    given = {"goal": "query", "question": red_query(), "mode": "zoom", "crop": 32, "passes": 0,
             "search": {"regions": 2}}  # fmt: skip
    there = look(land(512, 512, patch=(192, 64, 40, 40)), colour_model()[0], **given)
    assert there.query_found is True
    # All alike but for noise: no region says more than the others.
    none = look(land(512, 512), colour_model()[0], **given)
    assert none.query_found is None
    # Red and green halves: only the whole is yellow.
    image = np.zeros((3, 256, 256), np.uint8)
    image[0, :, :128] = image[1, :, 128:] = 200
    yellow = FocusQuestion(query="yellow", text=np.array([0.5, 0.5, 0], np.float32) * 2**0.5)
    worse = look(image, colour_model()[0], **{**given, "mode": "window", "question": yellow})
    assert worse.query_found is False
    assert look(image, colour_model()[0], goal="rare", crop=32).query_found is None


def test_cells_that_are_alike_are_noted():
    image = np.tile(np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8), (1, 32, 32))
    found = summary(look(image, colour_model()[0], mode="window"))
    assert any("features of all cells are equal" in note for note in found["notes"])


def test_which_check_epsilon_is():
    image = land(256, 256, patch=(100, 40, 24, 24))
    given = {"goal": "balanced", "mode": "window"}
    plain = summary(look(image, colour_model()[0], **given))
    assert plain["epsilon_form"] == "set"
    assert plain["epsilon_relative_to"] == 0.05  # without classes L(X) is 0
    assert any("relative to 0.05" in note for note in plain["notes"])
    sample = summary(look(image, colour_model()[0], **given, search={"method": "importance"}))
    assert sample["epsilon_form"] == "weighted"
    gap = sample["loss_set"] - sample["loss_full"]
    assert sample["epsilon"] == pytest.approx(gap / sample["epsilon_relative_to"])
