"""Tuned models: what their folders must hold, and tokens in the common space."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.models import load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import tiny_model

pytest.importorskip("torch")

SCALE = ((0.0, 255.0),) * 3


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A tuned model over a tiny convolutional network of timm with local weights."""
    return tiny_model("tuned", tmp_path_factory.mktemp("tuned"))[0].removeprefix("tuned:")


def build(folder, **options):
    handle = load_model(f"tuned:{folder}", device="cpu", **options)
    return FAMILIES.get("tuned").build(handle, (1, 2, 3), SCALE)


def test_it_passes_the_suite(tuned):
    check_model(load_model(f"tuned:{tuned}", device="cpu"), tolerance=1e-5)


def test_tokens_stand_in_the_common_space_and_their_mean_is_the_embedding(tuned):
    model = build(tuned)
    batch = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
    assert model.token_spec.pooled
    assert model.token_spec.space == "embedding"
    tokens = model.tokens(batch)
    np.testing.assert_allclose(
        tokens.mean(axis=(1, 2)), model.embed(batch), atol=1e-4 * np.abs(tokens).max()
    )


def test_the_folder_is_checked_before_anything_is_built(tmp_path, tuned):
    with pytest.raises(DataError, match=r"does not contain a tuned model.*tuned:MODEL"):
        load_model(f"tuned:{tmp_path}")
    with pytest.raises(ParameterError, match="folder of the tuned model is missing"):
        load_model("tuned")
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match=r"has format 99.*supports format 1"):
        load_model(f"tuned:{tmp_path}")


def test_other_weights_for_the_encoder_are_refused(tuned, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    from pathlib import Path

    state = safetensors.load_file(Path(tuned) / "model" / "base.safetensors")
    first = next(name for name in sorted(state) if state[name].is_floating_point())
    state[first] = state[first] + 1
    safetensors.save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"is not the one that .* was tuned over"):
        build(tuned, weights=tmp_path / "other.safetensors")


def test_a_text_without_a_word_is_refused(tuned):
    with pytest.raises(ParameterError, match=r"'\.\.\.' contains no word"):
        build(tuned).embed_text(["water", "..."])
