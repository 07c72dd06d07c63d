"""Vectors of earlier looks: there and back, and apart where they must be."""

from __future__ import annotations

import numpy as np

from foveate.focus.feature_cache import FeatureCache
from foveate.grid import Window

WINDOW = Window(1, 2, 30, 40)
PLAIN = (False,)  # not disturbed


def test_there_and_back(tmp_path):
    cache = FeatureCache.open(tmp_path, "pixels", "model", 0)
    draw = np.random.default_rng(0)
    keys = [
        (WINDOW, (8, 8), False), (WINDOW, (8, 8), True), (WINDOW, (8, 4), False),
        (Window(70000, 0, 1, 1), (8, 8), False),
    ]  # fmt: skip
    vectors = draw.standard_normal((4, 5)).astype(np.float32)
    for key, vector in zip(keys, vectors, strict=True):
        assert cache.get(*key) is None
        cache.put(*key, vector)
    cache.save()
    again = FeatureCache.open(tmp_path, "pixels", "model", 0)
    for key, vector in zip(keys, vectors, strict=True):
        found = again.get(*key)
        assert found.dtype == np.float32
        assert found.tolist() == vector.tolist()
    assert again.get(Window(0, 2, 30, 40), (8, 8), disturbed=False) is None


def test_another_image_or_model_has_its_own(tmp_path):
    one = FeatureCache.open(tmp_path, "pixels", "model")
    one.put(WINDOW, (8, 8), *PLAIN, np.ones(3, np.float32))
    one.save()
    assert (
        FeatureCache.open(tmp_path, "pixels", "other").get(WINDOW, (8, 8), disturbed=False) is None
    )
    assert (
        FeatureCache.open(tmp_path, "pixels", "model").get(WINDOW, (8, 8), disturbed=False)
        is not None
    )


def test_nothing_new_writes_nothing(tmp_path):
    cache = FeatureCache.open(tmp_path, "pixels")
    cache.save()
    assert not cache.path.exists()
    cache.put(WINDOW, (8, 8), *PLAIN, np.ones(3, np.float32))
    cache.save()
    before = cache.path.stat().st_mtime_ns
    cache.save()
    FeatureCache.open(tmp_path, "pixels").save()
    assert cache.path.stat().st_mtime_ns == before


def test_the_file_does_not_depend_on_the_order(tmp_path):
    windows = [Window(y, 0, 4, 4) for y in range(5)]
    contents = []
    for order in (windows, windows[::-1]):
        cache = FeatureCache.open(tmp_path, "pixels", len(contents))
        for window in order:
            cache.put(window, (8, 8), *PLAIN, np.full(3, window.y, np.float32))
        cache.save()
        contents.append(cache.path.read_bytes())
    assert contents[0] == contents[1]


def test_what_is_added_is_kept_with_the_rest(tmp_path):
    for y in range(3):
        cache = FeatureCache.open(tmp_path, "pixels")
        cache.put(Window(y, 0, 4, 4), (8, 8), *PLAIN, np.full(2, y, np.float32))
        cache.save()
    cache = FeatureCache.open(tmp_path, "pixels")
    for y in range(3):
        assert cache.get(Window(y, 0, 4, 4), (8, 8), disturbed=False).tolist() == [y, y]
