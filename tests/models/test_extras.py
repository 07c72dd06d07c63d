"""What is missing is said with what to type."""

from __future__ import annotations

import pytest

from foveate.errors import MissingExtraError
from foveate.models import FAMILIES
from foveate.models.extras import EXTRAS, Extra, need_extra


def test_a_missing_package_says_what_to_type():
    lacking = Extra("hf", ("numpy", "no_such_package"))
    assert lacking.missing() == ["no_such_package"]
    assert "pip install 'foveate[hf]'" in lacking.why_not()
    assert EXTRAS["builtin"].why_not() == ""


def test_what_needs_a_missing_package_is_named():
    with pytest.raises(MissingExtraError, match=r"a probe requires no_such_package.*foveate\[hf\]"):
        need_extra(Extra("hf", ("numpy", "no_such_package")), "a probe")
    need_extra(EXTRAS["builtin"])


def test_every_family_has_its_extra():
    assert set(EXTRAS) >= {"builtin", "timm", "open_clip", "hf", "torchgeo", "tuned"} & {*FAMILIES}
