"""Heads over mean tokens: classifiers of labels, and the way to the space of texts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from foveate.errors import DataError
from foveate.models.heads import TextHead
from foveate.observe.networks.heads import LabelHead, TextConcepts, ToText, fit_labels


@pytest.fixture(scope="module")
def tiles():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 3)).astype(np.float32)
    present = np.stack(
        [x[:, 0] + 0.5 * draw.normal(size=200) > 0.3, np.arange(200) < 4, np.arange(200) >= 3],
        axis=1,
    )
    return x, present


def test_a_concept_is_a_logistic_regression(tiles):
    x, present = tiles
    head = fit_labels(x, present, ("a", "rare", "common"))
    expected = LogisticRegression(C=0.1, max_iter=500).fit(x, present[:, 0])
    np.testing.assert_allclose(
        head.probabilities(x)[:, 0], expected.predict_proba(x)[:, 1], atol=1e-5
    )
    np.testing.assert_allclose(head.logits(x)[:, 0], expected.decision_function(x), atol=1e-5)


def test_a_rare_concept_has_its_prevalence_everywhere(tiles):
    x, present = tiles
    p = fit_labels(x, present, ("a", "rare", "common")).probabilities(x.reshape(20, 10, 3))
    assert p.shape == (20, 10, 3)
    np.testing.assert_allclose(p[..., 1], 4.5 / 201, rtol=1e-5)
    np.testing.assert_allclose(p[..., 2], 197.5 / 201, rtol=1e-5)


def test_a_row_that_weighs_two_counts_twice(tiles):
    x, present = tiles
    weight = np.where(np.arange(200) % 3, 1.0, 2.0)
    once = fit_labels(x, present[:, :1], ("a",), weight)
    rows = np.repeat(np.arange(200), weight.astype(int))
    twice = fit_labels(x[rows], present[rows, :1], ("a",))
    np.testing.assert_allclose(once.weight, twice.weight, atol=1e-3)
    assert not np.allclose(once.weight, fit_labels(x, present[:, :1], ("a",)).weight, atol=1e-3)


def test_nothing_to_learn_from_is_refused(tiles):
    x, present = tiles
    with pytest.raises(DataError, match="no training tile has any of the concepts a, b") as raised:
        fit_labels(x, np.zeros_like(present[:, :2]), ("a", "b"))
    assert "min_share" in raised.value.hint


def test_tokens_of_another_length_are_refused(tiles):
    head = fit_labels(*tiles, ("a", "b", "c"))
    way = ToText(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    for function in (head.logits, head.probabilities, way):
        with pytest.raises(DataError):
            function(np.zeros((5, 4)))


def test_a_planted_affine_map_is_found():
    draw = np.random.default_rng(1)
    x = draw.normal(size=(400, 5)) + 3
    weight, bias = draw.normal(size=(7, 5)), draw.normal(size=7)
    way = ToText.fit(x, x @ weight.T + bias)
    assert way.weight.dtype == way.bias.dtype == np.float32
    np.testing.assert_allclose(way.weight, weight, atol=0.05)
    new = draw.normal(size=(50, 5)) + 3
    np.testing.assert_allclose(way(new), new @ weight.T + bias, atol=0.15)
    assert np.isfinite(ToText.fit(np.ones((6, 3)), np.ones((6, 2)))(np.ones((1, 3)))).all()


def test_concepts_of_texts_read_tokens_through_the_way():
    head = TextHead(("a", "b"), np.eye(2, 4, dtype=np.float32), scale=5.0, bias=0.0, head="cosine")
    draw = np.random.default_rng(2)
    way = ToText(draw.normal(size=(4, 3)).astype(np.float32), np.ones(4, np.float32))
    both, z = TextConcepts(head, way), draw.normal(size=(6, 3)).astype(np.float32)
    assert both.names == ("a", "b")
    assert both.directions is head.weight
    np.testing.assert_array_equal(both.logits(z), head.logits(way(z)))
    np.testing.assert_array_equal(both.probabilities(z), head.probabilities(way(z)))


def test_a_head_is_a_line_and_a_sigmoid():
    head = LabelHead(("a",), np.array([[2.0, -1.0]], np.float32), np.array([0.5], np.float32))
    assert head.logits(np.array([1.0, 3.0])).tolist() == [-0.5]
    assert logit(head.probabilities(np.array([1.0, 3.0]))) == pytest.approx(-0.5)
    assert head.probabilities(np.array([1.0, 3.0])) == pytest.approx(expit(-0.5))
