"""CLIP from a folder: the numbers of transformers itself."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.models import capabilities, load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import hf as tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
TEXTS = ["a  forest", "Water beside a road"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    tiny.clip(folder)
    return folder


@pytest.fixture(scope="module")
def net(folder):
    return transformers.CLIPModel.from_pretrained(folder).eval()


def build(folder, name="hf"):
    handle = load_model(name, weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def pixels(size=64):
    """What the published preprocessing makes of square tiles."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (tiny._MEAN, tiny._STD))
    x = torch.from_numpy(BATCH.astype(np.float32))
    if size != 64:
        x = torch.nn.functional.interpolate(x, (size, size), mode="bicubic", antialias=True)
    return (x / 255 - mean) / std


def near(found, expected):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_it_passes_the_suite(folder):
    check_model(load_model("hf", weights=folder, device="cpu"), tolerance=1e-5)


def test_pixels_are_those_of_the_image_processor(folder):
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    expected = processor(list(BATCH), return_tensors="pt")["pixel_values"]
    model = build(folder)
    found = model._runner.preprocess(BATCH, torch.device("cpu"))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [64, 96])
def test_vectors_and_tokens(folder, net, size):
    model = build(folder, f"hf?size={size}")
    other = size != 64
    output = net.get_image_features(pixels(size), interpolate_pos_encoding=other)
    near(model.embed(BATCH), output.pooler_output)
    near(model.tokens(BATCH), output.last_hidden_state[:, 1:].unflatten(1, (size // 8, size // 8)))
    assert (model.token_spec.space, model.token_spec.pooled) == ("backbone", False)


def test_texts(folder, net):
    model = build(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(TEXTS, model.embed_text(TEXTS), strict=True):
        ids = tokenizer(" ".join(text.split()), truncation=True, max_length=16, return_tensors="pt")
        alone = net.get_text_features(**ids).pooler_output
        near(vector[None], alone / alone.norm(dim=1, keepdim=True))


def test_cosines_are_the_logits(folder, net):
    model = build(folder)
    spec = model.text_spec
    x = model.embed(BATCH)
    cosine = x / np.linalg.norm(x, axis=1, keepdims=True) @ model.embed_text(["sea", "sand"]).T
    ids = model._tokenizer(["sea", "sand"], padding=True, return_tensors="pt")
    expected = net(pixel_values=pixels(), **ids).logits_per_image
    near(spec.scale * cosine + spec.bias, expected)
    assert (spec.head, spec.bias, spec.context) == ("cosine", 0, 16)


def test_what_it_can(folder):
    assert capabilities(build(folder)) == ("embed", "tokens", "parts", "text", "sizes")
