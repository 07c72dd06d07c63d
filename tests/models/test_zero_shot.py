"""The text head against the recipe written out."""

from __future__ import annotations

import numpy as np
import pytest
from colour_words import colour_words

from foveate.errors import DataError, MissingCapabilityError, ParameterError
from foveate.models import from_callable
from foveate.models.heads import Head, templates_from, text_head

Z = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


def by_hand(model, labels, templates):
    """CLIP's recipe, class by class and prompt by prompt."""
    rows = []
    for texts in labels.values():
        total = np.zeros(3)
        for text in texts:
            for template in templates:
                v = model.embed_text([template.replace("{}", text)])[0]
                total += v / np.linalg.norm(v)
        rows.append(total / np.linalg.norm(total))
    return np.array(rows)


@pytest.mark.parametrize("templates", ["rs", "plain", "none"])
def test_a_class_is_the_normalised_mean_of_its_normalised_prompts(templates):
    model = colour_words()
    labels = {"fire": ("red", "a red thing"), "wood": ("green",)}
    head = text_head(model, labels, templates=templates)
    expected = by_hand(model, labels, templates_from(templates))
    np.testing.assert_allclose(head.weight, expected, atol=1e-6)
    assert head.names == ("fire", "wood")


def test_logits_are_scaled_cosines_of_any_norm():
    head = text_head(colour_words(scale=7.0, bias=-2.0), ["red", "blue"])
    cosine = Z @ head.weight.T / np.linalg.norm(Z, axis=-1, keepdims=True)
    logits = head.logits(Z)
    assert logits.dtype == np.float32
    assert logits.shape == (2, 5, 2)
    np.testing.assert_allclose(logits, 7 * cosine - 2, atol=1e-5)
    np.testing.assert_allclose(head.logits(Z * 1000), logits, atol=1e-4)


def test_half_precision_embeddings_do_not_overflow():
    head = text_head(colour_words(), ["red", "blue"])
    assert np.isfinite(head.probabilities(np.full((1, 3), 60000, np.float16))).all()


def test_cosine_probabilities_sum_to_one_and_sigmoid_ones_stand_alone():
    cosine = text_head(colour_words(), ["red", "blue"])
    np.testing.assert_allclose(cosine.probabilities(Z).sum(axis=-1), 1, atol=1e-6)
    sigmoid = text_head(colour_words(head="sigmoid", bias=-5.0), ["red", "blue"])
    expected = 1 / (1 + np.exp(-sigmoid.logits(Z).astype(np.float64)))
    np.testing.assert_allclose(sigmoid.probabilities(Z), expected, rtol=1e-4)


def test_the_head_may_be_chosen():
    pairs = colour_words(head="sigmoid", bias=-10.0)
    assert text_head(pairs, ["red"]).head == "sigmoid"
    assert text_head(pairs, ["red"], head="cosine").head == "cosine"
    with pytest.raises(ParameterError, match="near 1"):
        text_head(colour_words(), ["red"], head="sigmoid")
    with pytest.raises(ParameterError, match="Allowed: cosine"):
        text_head(colour_words(), ["red"], head="softmax")


def test_a_text_head_is_a_head():
    assert isinstance(text_head(colour_words(), ["red"]), Head)


def test_many_labels_take_several_calls_and_give_the_same():
    names = [f"green {i}" for i in range(100)]
    whole = text_head(colour_words(), names)
    alone = text_head(colour_words(), names[7:8])
    np.testing.assert_allclose(whole.weight[7:8], alone.weight, atol=1e-6)


def test_a_model_without_text_is_refused():
    silent = from_callable(lambda b: b.mean((2, 3)), name="mine", dim=3, bands=(1, 2, 3),
                           fingerprint="1")  # fmt: skip
    with pytest.raises(
        MissingCapabilityError, match="'text' required for zero-shot classification"
    ):
        text_head(silent, ["red"])


def test_embeddings_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"Expected \(..., 3\)"):
        text_head(colour_words(), ["red"]).logits(np.zeros((2, 4), np.float32))
