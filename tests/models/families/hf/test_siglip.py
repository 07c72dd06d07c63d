"""SigLIP and SigLIP 2 from a folder: the numbers of transformers itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models import capabilities, load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import hf as tiny

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
KINDS = ["siglip", "siglip2"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in folders.items():
        getattr(tiny, kind)(folder)
    return folders


def build(folder, name="hf"):
    handle = load_model(name, weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def direct(folder):
    """The network and the image inputs by transformers alone."""
    net = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    return net, dict(processor(list(BATCH), return_tensors="pt"))


def near(found, expected):
    expected = np.asarray(expected.detach())
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_it_passes_the_suite(folders, kind):
    check_model(load_model("hf", weights=folders[kind], device="cpu"), tolerance=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_and_tokens(folders, kind):
    net, inputs = direct(folders[kind])
    model = build(folders[kind])
    output = net.get_image_features(**inputs)
    near(model.embed(BATCH), output.pooler_output)
    near(model.tokens(BATCH), output.last_hidden_state.unflatten(1, (8, 8)))
    assert capabilities(model) == ("embed", "tokens", "parts", "text", "sizes")


def test_patches_of_naflex_are_those_of_the_image_processor(folders):
    model = build(folders["siglip2"])
    _, expected = direct(folders["siglip2"])
    found = model._patches(model._runner.preprocess(BATCH, torch.device("cpu")))
    assert set(found) == set(expected)
    for name in expected:
        torch.testing.assert_close(
            found[name].to(expected[name].dtype), expected[name], atol=1e-5, rtol=0
        )


def test_patches_keep_rows_and_columns_apart(folders):
    model = build(folders["siglip2"])
    x = torch.arange(3 * 16 * 24, dtype=torch.float32).view(1, 3, 16, 24)
    found = model._patches(x)
    assert found["spatial_shapes"].tolist() == [[2, 3]]
    second = found["pixel_values"][0, 1].view(8, 8, 3)
    torch.testing.assert_close(second, x[0, :, :8, 8:16].permute(1, 2, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_another_size(folders, kind):
    model = build(folders[kind], "hf?size=96")
    assert model.tokens(BATCH).shape == (2, 12, 12, 32)
    assert np.isfinite(model.embed(BATCH)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_lower_case_and_of_one_length(folders, kind):
    net, _ = direct(folders[kind])
    model = build(folders[kind])
    ids = model._tokenizer(
        ["a lake"], padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )["input_ids"]
    alone = net.get_text_features(ids).pooler_output
    near(model.embed_text([" A  Lake"]), alone / alone.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("kind", KINDS)
def test_logits(folders, kind):
    net, inputs = direct(folders[kind])
    model = build(folders[kind])
    spec, texts = model.text_spec, ["sea", "sand"]
    ids = model._tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt")
    expected = net(input_ids=ids["input_ids"], **inputs).logits_per_image
    x = model.embed(BATCH)
    cosine = x / np.linalg.norm(x, axis=1, keepdims=True) @ model.embed_text(texts).T
    near(spec.scale * cosine + spec.bias, expected)
    assert (spec.head, spec.bias, spec.context) == ("sigmoid", -10, 16)


def test_the_first_siglip_read_no_punctuation(folders, tmp_path):
    folder = shutil.copytree(folders["siglip"], tmp_path / "copy")
    plain = build(folder).embed_text(["a lake", "A lake, (blue)!", "a lake blue"])
    assert (plain[1] != plain[2]).any()
    path = folder / "tokenizer_config.json"
    kind = {**json.loads(path.read_text()), "tokenizer_class": "SiglipTokenizer"}
    path.write_text(json.dumps(kind))
    first = build(folder).embed_text(["a lake", "A lake, (blue)!", "a lake blue"])
    near(first[1], torch.from_numpy(first[2]))


def test_a_model_without_a_vector_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["siglip"], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["vision_use_head"] = False
    net = transformers.SiglipModel(transformers.SiglipConfig(**config))
    net.save_pretrained(folder)
    with pytest.raises(DataError, match="no pooling head"):
        build(folder)
