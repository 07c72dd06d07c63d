"""Any function as a model, and what it must return."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models import from_callable

BATCH = np.random.default_rng(0).integers(0, 255, (3, 2, 8, 8), np.uint8)


def model(function, dim=2, **options):
    return from_callable(function, name="mine", dim=dim, bands=(1, 2), fingerprint="v1", **options)


def test_the_function_gets_raw_pixels_and_the_result_is_float32():
    seen = []

    def function(batch):
        seen.append(batch)
        return batch.mean(axis=(2, 3))

    x = model(function).embed(BATCH)
    assert x.dtype == np.float32
    assert seen[0].dtype == np.uint8
    np.testing.assert_array_equal(seen[0], BATCH)


@pytest.mark.parametrize(
    "result", [np.zeros((3, 5)), np.zeros(3), np.zeros((2, 2)), np.zeros((3, 2, 1)), 0.0]
)
def test_a_wrong_shape_says_what_is_expected(result):
    with pytest.raises(DataError, match=r"'mine' returned shape .* batch of 3.*\(3, 2\)"):
        model(lambda _: result).embed(BATCH)


def test_the_input_size_is_what_the_function_sees():
    shapes = []

    def function(batch):
        shapes.append((batch.shape, batch.dtype))
        return batch.mean(axis=(2, 3))

    x = model(function, input_size=(4, 6)).embed(BATCH)
    assert shapes == [((3, 2, 4, 6), np.uint8)]
    np.testing.assert_allclose(x, BATCH.mean(axis=(2, 3)), rtol=0.2)


def test_other_bands_than_promised_are_refused():
    with pytest.raises(DataError, match=r"Expected \(b, 2, h, w\): the bands 1, 2"):
        model(lambda batch: batch.mean(axis=(2, 3))).embed(BATCH[:, :1])


def test_the_spec_says_where_the_model_comes_from():
    spec = model(lambda batch: batch, input_size=(4, 4), licence="MIT").spec
    assert (spec.name, spec.source, spec.fingerprint) == ("mine", "callable", "v1")
    assert (spec.input_size, spec.licence, spec.bands) == ((4, 4), "MIT", (1, 2))
