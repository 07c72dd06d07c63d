import math

import pytest

from foveate.report import human


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 %"), (1, "100 %"), (0.1, "10 %"), (0.0312, "3.1 %"), (0.0046, "0.46 %"),
     (0.00001, "<0.01 %"), (math.nan, "\u2013")],
)  # fmt: skip
def test_share(value, text):
    assert human.share(value).replace(human.GAP, " ") == text


@pytest.mark.parametrize(
    ("value", "whole", "text"),
    [(40_518, None, "40,518 m\u00b2"), (306_000, None, "0.306 km\u00b2"),
     (40_518, 2.6e6, "0.0405 km\u00b2"), (0, 2.6e6, "0 km\u00b2"), (20, 2.6e6, "<0.0001 km\u00b2"),
     (800, 9e4, "800 m\u00b2")],
)  # fmt: skip
def test_parts_of_an_area_have_the_unit_of_the_whole(value, whole, text):
    assert human.area(value, metres=True, whole=whole).replace(human.GAP, " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.44, "\u00d72.4"),
        (6.0, "\u00d76.0"),
        (0.676, "\u00d70.68"),
        (41.2, "\u00d741"),
        (0, "\u00d70.00"),
    ],
)
def test_factor(value, text):
    assert human.factor(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "<0.01 s"), (0.046, "0.05 s"), (3.44, "3.4 s"), (26.2, "26 s"), (200, "3 min 20 s"),
     (7500, "2 h 05 min")],
)  # fmt: skip
def test_seconds(value, text):
    assert human.seconds(value).replace(human.GAP, " ") == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1, "tiles", "1 patch"), (12345, "tiles", "12,345 patches"), (15.53e6, "bytes", "15.5 MB"),
     (0, "bytes", "0 B"), (2, "minutes", "2 min 00 s"), (5.18e6, "pixels", "5.2 million pixels"),
     (0.25, "money", "0.25 money")],
)  # fmt: skip
def test_amount(value, unit, text):
    assert human.amount(value, unit).replace(human.GAP, " ") == text


def test_zero_has_no_sign_and_minus_is_a_minus():
    assert human.decimal(-0.001) == "0.00"
    assert human.decimal(-0.07) == "\u22120.07"
