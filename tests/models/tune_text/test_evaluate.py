"""Recall and accuracy against a literal count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.models.tune_text.network import accuracy, recalls


@given(st.integers(0, 10_000))
def test_recall_is_what_a_count_says(seed):
    draw = np.random.default_rng(seed)
    n, m = draw.integers(1, 15, 2)
    similarity, match = draw.normal(size=(n, m)), draw.random((n, m)) < 0.2
    found = recalls(similarity, match)
    for name, s, hits in (("image_text", similarity, match), ("text_image", similarity.T, match.T)):
        for k in (1, 5, 10):
            right = [
                any(h[j] for j in sorted(range(len(row)), key=lambda j: -row[j])[:k])
                for row, h in zip(s, hits, strict=True)
                if h.any()
            ]
            assert found[f"{name}_r{k}"] == pytest.approx(np.mean(right) if right else 0)


def test_accuracy_by_class():
    logits = np.array([[2, 1, 0], [0, 1, 3], [5, 1, 0], [0, 9, 1.0]])
    found = accuracy(logits, np.array([0, 2, 1, 1]), ["a", "b", "c"])
    assert found == {
        "images": 4, "top1": 0.75, "chance": 1 / 3, "majority": 0.5,
        "per_class": {"a": 1.0, "b": 0.5, "c": 1.0},
    }  # fmt: skip
