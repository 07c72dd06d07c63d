"""The towers and the loss."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from foveate.models.tune_text.network import Pair, Shape, siglip_loss  # noqa: E402
from foveate.models.tune_text.texts import encode  # noqa: E402
from foveate.models.weights import random_weights  # noqa: E402


@pytest.fixture(scope="module")
def pair():
    shape = Shape(image_dim=6, dim=16, width=32, layers=1)
    mean, std = torch.arange(6.0), torch.arange(6.0) + 1
    return random_weights(lambda: Pair(shape, mean, std, bias=-3.0)).eval()


def test_the_loss_is_that_of_the_paper_pair_by_pair():
    """Eq. 1 of SigLIP, written out, with two matches in a row."""
    logits = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    match = np.array([[True, False, True], [False, True, False]])
    expected = 0.0
    for i in range(2):
        for j in range(3):
            z = 1 if match[i, j] else -1
            expected += np.log(1 / (1 + np.exp(-z * logits[i, j])))
    found = siglip_loss(torch.from_numpy(logits), torch.from_numpy(match))
    assert float(found) == pytest.approx(-expected / 2)


def test_texts_have_norm_1_and_do_not_depend_on_their_neighbours(pair):
    long = "a very long text about many things that lie on the ground " * 3
    with torch.no_grad():
        alone = pair.text(torch.from_numpy(encode(["a river"])))
        beside = pair.text(torch.from_numpy(encode(["a river", long])))
    torch.testing.assert_close(alone[0], beside[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(beside.norm(dim=1), torch.ones(2))


def test_the_order_of_words_matters(pair):
    with torch.no_grad():
        x = pair.text(torch.from_numpy(encode(["dog bites man", "man bites dog"])))
    assert float((x[0] - x[1]).abs().max()) > 1e-4


def test_the_image_head_is_affine(pair):
    x = torch.randn(10, 6)
    with torch.no_grad():
        torch.testing.assert_close(pair.image(x).mean(0), pair.image(x.mean(0)), atol=1e-5, rtol=0)


def test_the_temperature_starts_at_ten_and_the_bias_as_told(pair):
    with torch.no_grad():
        logits = pair.logits(torch.eye(2, 16), torch.eye(3, 16))
    expected = 10 * np.eye(2, 3) - 3
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)
