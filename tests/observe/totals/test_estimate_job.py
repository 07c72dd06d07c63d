"""The estimate job on small pairs."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from tests.helpers.observed import prepared_water

from foveate.errors import BudgetError, DataError, FoveateError, ParameterError
from foveate.observe.totals.estimation import EstimateJob, draw_tiles, estimate_totals, from_labels
from foveate.raster import write_cog


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs with masks, of 2 x 48 tiles, water in the lower half."""
    return prepared_water(tmp_path_factory.mktemp("estimating"), tiles=(6, 8))


@pytest.fixture
def wet(tmp_path):
    """A raster that knows where the water is, but for the last 20 m."""
    values = np.repeat([0.1, 0.1, 0.1, 1, 1, 1], 7).reshape(6, 7).astype(np.float32)
    box = GeoBox(values.shape, Affine(10, 0, 500000, 0, -10, 6e6), "EPSG:32633")
    write_cog(tmp_path / "wet.tif", values, geobox=box)
    return tmp_path / "wet.tif"


def job(folder, **more):
    return EstimateJob(**({"pairs": str(folder), "concept": "water", "budget": "24"} | more))


def test_the_same_job_draws_the_same_tiles(folder):
    first, same, other = (draw_tiles(job(folder, seed=s), labelled=True) for s in (0, 0, 1))
    assert np.array_equal(first.tiles, same.tiles)
    assert not np.array_equal(first.tiles, other.tiles)
    assert from_labels(first) == from_labels(same)
    assert (first.by, len(first.rows)) == ("nothing", 24)


def test_a_covariate_says_where_to_look(folder, wet):
    drawn = draw_tiles(job(folder, covariate=str(wet)), labelled=True)
    assert drawn.by == "covariate"
    assert drawn.uncovered == 2 * 6  # the last column of tiles
    row, col = drawn.pairs.place[:, 1], drawn.pairs.place[:, 2]
    pi = drawn.design.probabilities
    assert pi[(row >= 3) & (col < 7)].min() > 2 * pi[(row < 3) & (col < 7)].max()
    assert pi.min() >= 0.3 * 24 / 96
    assert np.unique(pi[col == 7].round(9)).size == 1  # not known: like the others
    found = from_labels(drawn, repeats=50)
    assert found["repeats"]["design"]["coverage"] > 0.85
    assert found["truth"] == pytest.approx(2 * 30 * 79, rel=0.01)


def test_a_covariate_below_nothing_is_refused(folder, tmp_path):
    box = GeoBox((6, 8), Affine(10, 0, 500000, 0, -10, 6e6), "EPSG:32633")
    write_cog(tmp_path / "cold.tif", np.full((6, 8), -2, np.float32), geobox=box)
    with pytest.raises(DataError, match="is -2 over a tile"):
        draw_tiles(job(folder, covariate=str(tmp_path / "cold.tif")), labelled=True)


def test_nothing_was_found(folder, capsys):
    drawn = draw_tiles(job(folder, quantity="tiles", concept="water", budget="100%"), labelled=True)
    assert from_labels(drawn)["estimate"]["standard_error"] == 0
    blank = draw_tiles(job(folder, concept="unicorns"), labelled=False)
    assert len(blank.rows) == 24  # a plan needs no labels
    with pytest.raises(ParameterError, match="no concept 'unicorns'"):
        draw_tiles(job(folder, concept="unicorns"), labelled=True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"quantity": "volume"}, ParameterError, "Allowed: area, tiles, count"),
        ({"quantity": "count"}, DataError, "no object is of a kind"),
        ({"budget": "120%"}, BudgetError, "at most 100%"),
        ({"budget": "area=5%"}, BudgetError, "share of tiles. Use --budget 5%"),
        ({"budget": "area=1e6"}, BudgetError, "share of tiles. Use --budget 200, or a share"),
        ({"confidence": "95"}, ParameterError, r"confidence=95\. .*write 95% or 0\.95"),
        ({"confidence": 900}, ParameterError, "For example 12% or 0.12"),
        ({"budget": "1"}, ParameterError, "at least 2"),
        ({"confidence": 1.0}, ParameterError, "confidence=1.0"),
        ({"floor": 0.0}, ParameterError, "floor=0.0"),
        ({"covariate": "none.tif"}, DataError, "cannot read"),
        ({"covariate": "c.tif", "observer": "m"}, ParameterError, "Omit one of them"),
        ({"observer": "none"}, DataError, "does not contain a trained observer"),
        ({"pairs": "none"}, DataError, "holds no run"),
    ],
)
def test_jobs_that_cannot_be(folder, change, error, message):
    with pytest.raises(error, match=message):
        from_labels(draw_tiles(job(folder, **change), labelled=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repeats": -1}, "-1 repeats"),
        ({"repeats": 2, "plan": "p.csv"}, "Omit --repeats"),
        ({"plan": "p.csv", "answers": "a.csv"}, "written first"),
        ({"answers": "none.csv"}, "cannot read"),
        ({"plan": "p.txt"}, "--plan plan.csv"),
    ],
)
def test_options_that_exclude_each_other(folder, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FoveateError, match=message):
        estimate_totals(job(folder), **change)
    assert not list(tmp_path.iterdir())


def test_an_estimate_from_labels(folder):
    asked = EstimateJob(pairs=str(folder), concept="water", budget="30%", confidence="90%")
    found = estimate_totals(asked, repeats=3)
    assert (found["unit"], found["confidence"], found["by"]) == ("m2", 0.9, "nothing")
    assert (found["drawn"], found["tiles"]) == (28, 96)
    assert found["estimate"]["low"] < found["estimate"]["high"]
    assert found["truth"] > 0
    assert found["repeats"]["design"]["repeats"] == 3
