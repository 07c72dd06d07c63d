"""Weights of the hub: found in the cache without a network, each with its commit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models import load_model
from foveate.models.checkpoint_file import first_line
from foveate.models.families.torchgeo import _on_hub
from foveate.models.hub import described, fetch_file, hub_error
from foveate.models.load import FAMILIES
from foveate.models.weights import random_weights
from foveate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCALE = ((0.0, 255.0),) * 3


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub on a machine without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def keep(cache, repository, file, state, revision="main"):
    """Put a file into the cache as a download would."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / revision).write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    path = place / "snapshots" / COMMIT / file
    if path.suffix == ".safetensors":
        safetensors.save_file(state, path)
    else:
        torch.save(state, path)


def build(name):
    handle = load_model(name, device="cpu")
    return FAMILIES.get(handle.family).build(handle, (1, 2, 3), SCALE)


def test_a_timm_model_of_the_cache(cache):
    timm = pytest.importorskip("timm")
    net = random_weights(lambda: timm.create_model("mobilenetv3_small_050"), seed=4).eval()
    keep(cache, "timm/mobilenetv3_small_050.lamb_in1k", "model.safetensors", net.state_dict())
    model = build("timm:mobilenetv3_small_050@lamb_in1k?size=64")
    assert model.spec.source == f"hub: timm/mobilenetv3_small_050.lamb_in1k@{COMMIT}"
    x = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64), np.uint8)
    mean, std = (torch.tensor(net.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.inference_mode():
        pixels = (torch.from_numpy(x).float() / 255 - mean) / std
        expected = net.forward_head(net.forward_features(pixels), pre_logits=True).numpy()
    np.testing.assert_allclose(model.embed(x), expected, atol=1e-5 * np.abs(expected).max())


def test_an_open_clip_model_of_the_cache(cache, monkeypatch):
    open_clip = pytest.importorskip("open_clip")
    shape = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 32, "head_width": 8, "patch_size": 8,
                       "image_size": 32},
        "text_cfg": {"context_length": 16, "width": 32, "heads": 4, "layers": 1},
    }  # fmt: skip
    net = random_weights(lambda: open_clip.CLIP(**shape), seed=4)
    keep(cache, "laion/tiny", "open_clip_model.safetensors", net.state_dict())
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(shape))
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["t"])
    monkeypatch.setattr(
        open_clip, "get_pretrained_cfg", lambda name, tag: {"hf_hub": "laion/tiny/"}
    )
    model = build("open_clip:tiny@t")
    assert model.spec.source == f"hub: laion/tiny@{COMMIT}"
    assert model.spec.input_size == (32, 32)


def test_a_torchgeo_model_of_the_cache(cache):
    from torchgeo.models import ResNet18_Weights, resnet18

    entry = ResNet18_Weights.SENTINEL2_RGB_MOCO
    repository, commit, file = _on_hub(entry.url)
    net = random_weights(lambda: resnet18(in_chans=3, num_classes=0), seed=4)
    keep(cache, repository, file, net.state_dict(), revision=commit)
    place = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    (place / COMMIT).rename(place / commit)
    model = build("torchgeo:resnet18@SENTINEL2_RGB_MOCO")
    assert model.spec.dim == 512
    assert file in model.spec.source


def test_what_is_not_in_the_cache_names_the_way_out(cache):
    for name in ("timm:resnet18", "open_clip:ViT-B-32@openai"):
        with pytest.raises(DataError, match=r"could not be loaded.*hub.*--weights PATH"):
            build(name)


def test_a_repository_without_the_wanted_files(cache):
    keep(cache, "someone/else", "notes.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(DataError, match=r"has no model\.safetensors or a\.bin"):
        fetch_file("someone/else", ["model.safetensors", "a.bin"], name="x")


def test_errors_of_libraries_are_one_line_inside_ours():
    error = hub_error("timm:x", ConnectionError("no route\nto the hub"))
    assert "ConnectionError: no route" in str(error)
    assert "to the hub" not in error.given
    assert first_line(EOFError()) == "the file is damaged or of another format (EOFError)"
    assert first_line(KeyError(105)) == "the file is damaged or of another format (KeyError)"
    assert first_line(ValueError("105")) == "the file is damaged or of another format (ValueError)"
    assert first_line(AssertionError("Input height (65)\nx")) == "Input height (65)"


def test_the_commit_is_read_below_the_folder_that_the_cache_lies_in(tmp_path):
    folder = tmp_path / "snapshots" / "models--org--name" / "snapshots" / COMMIT
    assert described(folder / "model.safetensors") == f"hub: org/name@{COMMIT}"


def test_a_model_of_transformers_stays_at_the_commit_that_was_looked_at(cache, tmp_path):
    pytest.importorskip("transformers")
    place = cache / "models--org--tiny"
    tiny_model("hf_clip", place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    handle = load_model("hf:org/tiny", device="cpu")
    (place / "refs" / "main").write_text("f" * 40)  # the hub goes on
    model = FAMILIES.get("hf").build(pickle.loads(pickle.dumps(handle)), (1, 2, 3), SCALE)  # noqa: S301
    assert model.spec.source == f"hub: org/tiny@{COMMIT}"
    assert model.spec.name == "hf:org/tiny"
