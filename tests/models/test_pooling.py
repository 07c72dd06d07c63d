"""Vectors with the mean and spread of tokens."""

import numpy as np
import pytest
from labelled import write_labelled

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.models import embed, load_model
from foveate.models.base import parse_name
from foveate.models.load import build_model
from foveate.models.pooling import DensePooling
from foveate.pool import open_pool

SCALE = ((0.0, 255.0),) * 3


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("timm")
    handle = load_model("timm:resnet10t@random?size=native&token_stride=8&pooling=dense")
    return build_model(handle, (1, 2, 3), SCALE)


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).integers(0, 255, (3, 3, 64, 64), np.uint8)


def test_a_vector_has_three_parts_of_norm_1(model, batch):
    found = model.embed(batch)
    own = found.shape[1] - 2 * model.token_spec.dim
    assert found.shape == (3, model.spec.dim)
    parts = (found[:, :own], *np.split(found[:, own:], 2, axis=1))
    for part in parts:
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, rtol=1e-4)


def test_mean_and_spread_are_those_of_the_tokens(model, batch):
    tokens = model.tokens(batch)
    found = model.embed(batch)[:, -2 * model.token_spec.dim :]
    mean, spread = tokens.mean(axis=(1, 2)), tokens.std(axis=(1, 2))
    for part, own in zip(np.split(found, 2, axis=1), (mean, spread), strict=True):
        cosine = (part * own).sum(axis=1) / np.linalg.norm(own, axis=1)
        np.testing.assert_allclose(cosine, 1, rtol=1e-4)


def test_tokens_join_all_stages_on_one_grid(model, batch):
    assert model.tokens(batch).shape[1:3] == (8, 8)
    assert model.token_spec.space == "backbone"


def test_the_pooling_is_part_of_the_name_and_of_the_vectors(tmp_path):
    pytest.importorskip("timm")
    text = "timm:resnet10t@random?size=native&pooling=dense"
    assert str(parse_name(text)) == text
    write_labelled(tmp_path, n=2, side=32)
    pool = open_pool(tmp_path / "images", tile=32)
    plain, dense = (embed(pool, load_model(t)) for t in (text.split("&", maxsplit=1)[0], text))
    assert dense.x.shape[1] == dense.spec.dim > plain.spec.dim
    assert "pooling=dense" in dense.spec.name


def test_an_unknown_pooling_raises_with_hint():
    with pytest.raises(ParameterError, match="pooling='dens'") as caught:
        load_model("timm:resnet10t@random?pooling=dens")
    assert "dense" in caught.value.hint


def test_a_model_without_tokens_raises():
    with pytest.raises(MissingCapabilityError, match="pooling=dense"):
        build_model(load_model("builtin?pooling=dense"), (1, 2, 3), SCALE)


@pytest.mark.parametrize(
    "name",
    [
        "timm:vit_tiny_patch16_224@random?token_stride=8",
        "timm:resnet10t@random?size=32&token_stride=64",
    ],
)
def test_a_stride_that_cannot_be_raises_with_hint(name):
    pytest.importorskip("timm")
    with pytest.raises(ParameterError, match="token_stride") as caught:
        build_model(load_model(name), (1, 2, 3), SCALE)
    assert "token_stride" in caught.value.hint


def test_dense_pooling_of_plain_statistics_of_cells(batch):
    from foveate.models.cells import CellStatistics

    model = DensePooling(CellStatistics((1, 2, 3), SCALE))
    assert model.tokens(batch).shape == (3, 8, 8, 21)
    alone = np.concatenate([model.embed(batch[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(model.embed(batch), alone, rtol=1e-4, atol=1e-6)
