import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError
from foveate.observe.scoring.calibration import mocr, obr, price_by_resolution, two_scale_price

PAPER = two_scale_price(0.6, 10)
AREAS = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)


def test_obr_is_a_ratio_of_sums():
    assert obr(12, 100) == pytest.approx(0.12)
    # the mean of the ratios of the scenes would be 0.275
    assert obr([5, 5], [10, 100]) == pytest.approx(10 / 110)
    assert obr([], 5) == 0


def test_mocr_by_hand():
    price = price_by_resolution({10: 1, 3: 4, 0.5: 20})
    # the whole area at 10 m, a third of it at 3 m, two unequal tiles at 0.5 m
    areas, resolutions = [30, 10, 2, 1], [10, 3, 0.5, 0.5]
    expected = (30 * 1 + 10 * 4 + 2 * 20 + 1 * 20) / (30 * 20)
    assert mocr(areas, resolutions, price, 30, finest=0.5) == pytest.approx(expected)


def test_the_reference_is_the_finest_imagery_even_if_nobody_asked_for_it():
    price = price_by_resolution({10: 1, 0.5: 20})
    assert mocr([30], 10, price, 30, finest=0.5) == pytest.approx(1 / 20)


def test_ground_that_is_requested_twice_is_paid_twice():
    assert mocr([6, 6], 0.6, PAPER, 10, finest=0.6) == pytest.approx(1.2)
    assert mocr([10], 0.6, PAPER, 10, finest=0.6) == 1


def test_no_request_costs_nothing():
    assert mocr([], 0.6, PAPER, 10, finest=0.6) == 0
    assert mocr([], [], PAPER, 10, finest=0.6) == 0


def test_low_resolution_may_cost():
    price = two_scale_price(0.6, 10, lr_cost=0.05)
    areas, resolutions = [100, 12], [10, 0.6]
    assert mocr(areas, resolutions, price, 100, finest=0.6) == pytest.approx(0.12 + 0.05)


@given(AREAS, st.floats(0, 1))
def test_mocr_is_its_definition_and_is_obr_if_low_resolution_is_free(areas, lr_cost):
    whole = sum(areas) + 1
    asked, at = [*areas, whole], [0.6] * len(areas) + [10]
    price = {0.6: 1.0, 10: lr_cost}
    expected = sum(a * price[r] for a, r in zip(asked, at, strict=True)) / (whole * price[0.6])
    found = mocr(asked, at, two_scale_price(0.6, 10, lr_cost=lr_cost), whole, finest=0.6)
    assert found == pytest.approx(expected)
    free = mocr(asked, at, PAPER, [whole / 2, whole / 2], finest=0.6)
    assert free == pytest.approx(obr(areas, whole))


def test_a_price_is_any_function():
    assert mocr([4, 1], [2, 1], lambda r: 1 / r**2, 4, finest=1) == pytest.approx(0.5)


def test_a_gsd_that_was_rounded_finds_its_price():
    price = price_by_resolution({10: 0.5, 0.6: 8})
    assert price(np.array([np.float32(0.6), 10.000001])).tolist() == [8, 0.5]


def test_a_resolution_without_a_price_is_an_error():
    with pytest.raises(ParameterError, match=r"no price for 3 m.*0\.6, 10 m"):
        mocr([1, 1], [0.6, 3], PAPER, 10, finest=0.6)


def test_full_high_resolution_must_cost_something():
    with pytest.raises(ParameterError, match=r"price of 0 at 0\.6 m"):
        mocr([1], 0.6, lambda r: 0 * r, 10, finest=0.6)


def test_low_resolution_is_coarser():
    with pytest.raises(ParameterError, match="more metres per pixel"):
        two_scale_price(10, 0.6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"areas": [1, -1]}, "1 of them negative"),
        ({"areas": [np.nan, np.inf]}, "2 of them negative or not finite"),
        ({"areas": [[1, 2]]}, r"shape \(1, 2\)"),
        ({"resolutions": [0.6, 0.6, 0.6]}, "3 resolutions for 2 areas"),
        ({"resolutions": 0}, "resolution of 0 m"),
        ({"finest": 0}, "resolution of 0 m"),
        ({"target_area": 0}, "target area of 0"),
        ({"target_area": -1}, "target areas"),
        ({"price": lambda r: 1.0}, "1 prices for 2 resolutions"),
        ({"price": lambda r: -r}, "prices of shape"),
    ],
)
def test_costs_that_cannot_be_are_an_error(options, message):
    given = {
        "areas": [1, 2],
        "resolutions": [0.6, 10],
        "price": PAPER,
        "target_area": 5,
        "finest": 0.6,
    }
    with pytest.raises(DataError, match=message):
        mocr(**{**given, **options})


def test_an_empty_table_of_prices_is_an_error():
    with pytest.raises(DataError, match="empty table"):
        price_by_resolution({})


def test_obr_of_no_area_is_an_error():
    with pytest.raises(DataError, match="target area of 0"):
        obr([0], [0])
