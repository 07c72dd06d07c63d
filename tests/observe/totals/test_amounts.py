"""What tiles hold: areas by masks, things by objects, presence by either."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from tests.helpers.observed import write_objects, write_scenes

from foveate.errors import DataError, ParameterError
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import PrepareJob
from foveate.observe.totals.amounts import amounts, ground, known, objects_of, unit_of

CONCEPTS = [{"name": "water"}, {"name": "road"}, {"name": "boat"}]
PIXEL = 1e-5  # degrees


@pytest.fixture(params=["EPSG:32633", None])
def pairs(request, tmp_path):
    """Two scenes of 60 x 80 px in 3 x 4 tiles of 20 px, and boats."""
    folder = write_scenes(tmp_path / "in", names=("a", "b"), crs=request.param)
    boat = {"kind": "boat", "scene": "a"}
    file = write_objects(
        tmp_path / "objects.geojson",
        [
            {**boat, "y": 5, "x": 15, "h": 4, "w": 8},  # over an edge, its middle in column 0
            {**boat, "y": 2, "x": 2, "h": 2, "w": 2},
            {**boat, "y": 39, "x": 60, "h": 2, "w": 0},  # on an edge: to the tile that begins
            {**boat, "scene": "b", "y": 0, "x": -9, "h": 2, "w": 10},  # its middle is outside
            {"kind": "pool", "scene": "b", "y": 1, "x": 1, "h": 1, "w": 1},
        ],
    )
    job = PrepareJob(
        images=[str(folder / "images")], masks=[str(folder / "masks")], tiles=(3, 4), ratio=5,
        classes=str(folder / "classes.yaml"), concepts=CONCEPTS, objects=str(file),
    )  # fmt: skip
    job.run(tmp_path / "pairs")
    return tmp_path / "pairs"


def test_areas_are_shares_of_the_ground(pairs):
    p = open_pairs(pairs)
    rows = np.arange(len(p))
    metric = p.pool.georeferenced
    assert unit_of(p.pool, "area") == ("m2" if metric else "pixels")
    water, road = (amounts(p, name, "area")(rows) for name in ("water", "road"))
    # Half of the scene but for its first column, which is road all along.
    assert water.sum() / 2 == pytest.approx(30 * 79, rel=2e-3)
    assert road.sum() / 2 == pytest.approx(60, rel=2e-3)
    assert ground(p.pool).sum() / 2 == pytest.approx(60 * 80, rel=2e-3)
    place = p.place
    assert (road[place[:, 2] > 0] == 0).all()
    assert np.array_equal(amounts(p, "Water", "area")(rows[5:7]), water[5:7])


def test_a_thing_counts_once(pairs):
    p = open_pairs(pairs)
    rows = np.arange(len(p))
    held = amounts(p, "boat", "count", objects=objects_of(pairs))(rows)
    found = {tuple(p.place[i].tolist()): held[i] for i in np.flatnonzero(held)}
    assert found == {(0, 0, 0): 2, (0, 2, 3): 1}
    seen = amounts(p, "boat", "tiles")(rows)
    assert seen.sum() > 3  # one that lies in two tiles is present in both
    assert set(seen.tolist()) == {0.0, 1.0}
    assert np.array_equal(amounts(p, "water", "tiles")(rows) > 0, p.present()[:, 0])


def test_things_by_their_place_on_the_ground(tmp_path):
    folder = write_scenes(tmp_path / "in", names=("a",))
    from foveate.pool import open_pool

    outlines = open_pool(folder / "images", split=(3, 4)).footprints()
    spots = [o.centroid for o in outlines[[1, 1, 6]]]
    features = [{"kind": "boat", "geometry": s.buffer(PIXEL).__geo_interface__} for s in spots]
    away = outlines[0].centroid.buffer(PIXEL)
    features.append({"kind": "pool", "geometry": away.__geo_interface__})
    file = write_objects(tmp_path / "objects.geojson", features)
    job = PrepareJob(
        images=[str(folder / "images")], tiles=(3, 4), ratio=5, concepts=CONCEPTS[2:],
        objects=str(file),
    )  # fmt: skip
    job.run(tmp_path / "pairs")
    p = open_pairs(tmp_path / "pairs")
    held = amounts(p, "boat", "count", objects=objects_of(tmp_path / "pairs"))(np.arange(12))
    assert held.tolist() == [0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert isinstance(p.overviews[0].source.info.geobox, GeoBox)


def test_other_labels_are_not_looked_at(pairs):
    p = open_pairs(pairs)
    hidden = p.pool.counts.copy()
    hidden[3:] = -1
    blind = dataclasses.replace(p)
    object.__setattr__(blind.pool, "counts", hidden)
    look = amounts(blind, "water", "area")
    assert np.array_equal(
        look(np.arange(3)), amounts(open_pairs(pairs), "water", "area")(np.arange(3))
    )


def test_tiles_without_labels_are_not_known(pairs):
    p = open_pairs(pairs)
    counts, shares = p.pool.counts.copy(), p.shares.copy()
    counts[2], shares[2] = 0, np.nan
    p = dataclasses.replace(p, pool=dataclasses.replace(p.pool, counts=counts), shares=shares)
    rows = np.arange(len(p))
    for of in ("area", "tiles"):
        assert np.flatnonzero(~known(p, "water", of)).tolist() == [2]
        assert np.flatnonzero(np.isnan(amounts(p, "water", of)(rows))).tolist() == [2]
    assert known(p, "boat", "count").all()
    bare = dataclasses.replace(p, shares=None)
    assert not known(bare, "water", "tiles").any()
    with pytest.raises(DataError, match="no labels of concepts"):
        amounts(bare, "water", "tiles")


@pytest.mark.parametrize(
    ("what", "of", "error", "message"),
    [
        ("watre", "area", ParameterError, "no concept 'watre'.*Did you mean 'water'"),
        ("water", "volume", ParameterError, "of='volume'"),
        ("boat", "area", DataError, "no mask has a class of the concept 'boat'"),
        ("water", "count", DataError, "no object is of a kind of the concept 'water'"),
    ],
)
def test_amounts_that_nothing_tells(pairs, what, of, error, message):
    with pytest.raises(error, match=message):
        amounts(open_pairs(pairs), what, of, objects=objects_of(pairs))
