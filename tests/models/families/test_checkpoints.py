"""Checkpoints of all families that read local files: prefixes, and not select weights are taken."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.models import load_model
from foveate.models.load import FAMILIES
from foveate.testing.tiny import hf as tiny

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")
safetensors = pytest.importorskip("safetensors.torch")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
VISION = {"image_size": 64, "patch_size": 8, "layers": 2, "width": 32, "head_width": 8}
TEXT = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}
PREFIXES = ["module.", "_orig_mod.module.", "teacher.backbone."]


def build(name, weights):
    handle = load_model(name, weights=weights, device="cpu")
    return FAMILIES.get(handle.family).build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make().state_dict()


def from_timm(folder):
    return "timm:test_resnet", seeded(lambda: timm.create_model("test_resnet", num_classes=10))


def from_torchgeo(folder):
    pytest.importorskip("torchgeo")
    return "torchgeo:resnet18@random", seeded(lambda: timm.create_model("resnet18", num_classes=10))


def from_open_clip(folder):
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
    (folder / "config.json").write_text(json.dumps(config))
    return f"open_clip:{folder}/config.json", seeded(lambda: open_clip.CLIP(**config))


def older_open_clip(folder):
    """Published without "text." before the names of the text tower, which the network has."""
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
    (folder / "config.json").write_text(json.dumps({**config, "custom_text": True}))
    return f"open_clip:{folder}/config.json", seeded(lambda: open_clip.CLIP(**config))


@pytest.mark.parametrize("make", [from_timm, from_torchgeo, from_open_clip, older_open_clip])
def test_a_prefix_changes_nothing(make, tmp_path):
    name, state = make(tmp_path)
    torch.save(state, tmp_path / "plain.pt")
    expected = build(name, tmp_path / "plain.pt").embed(BATCH)
    for prefix in PREFIXES:
        wrapped = {f"{prefix}{k}": tensor for k, tensor in state.items()}
        torch.save({"state_dict": wrapped}, tmp_path / "w.pt")
        np.testing.assert_array_equal(build(name, tmp_path / "w.pt").embed(BATCH), expected)


@pytest.mark.parametrize("make", [from_timm, from_open_clip])
def test_the_key_takes_the_other_weights(make, tmp_path):
    name, state = make(tmp_path)
    other = {k: t * 2 if t.is_floating_point() else t for k, t in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": other}, tmp_path / "w.pt")
    found = [
        build(name + key, tmp_path / "w.pt").spec.fingerprint
        for key in ("", "?checkpoint_key=state_dict", "?checkpoint_key=state_dict_ema")
    ]
    assert found[0] == found[1] != found[2]
    with pytest.raises(DataError, match="state_dict_ema"):
        load_model(f"{name}?checkpoint_key=nothing", weights=tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["timm:test_resnet", "torchgeo:resnet18@random"])
def test_a_key_without_a_file_is_refused(name):
    with pytest.raises(ParameterError, match="checkpoint_key"):
        load_model(f"{name}?checkpoint_key=state_dict")


def test_folders_of_transformers_lose_their_prefix_and_have_no_key(tmp_path):
    pytest.importorskip("transformers")
    tiny.clip(tmp_path)
    expected = build("hf", tmp_path).embed(BATCH)
    path = tmp_path / "model.safetensors"
    state = safetensors.load_file(path)
    for prefix in PREFIXES:
        wrapped = {f"{prefix}{k}": tensor for k, tensor in state.items()}
        safetensors.save_file(wrapped, path, {"format": "pt"})
        np.testing.assert_array_equal(build("hf", tmp_path).embed(BATCH), expected)
    safetensors.save_file({f"a.{k}.b": t for k, t in state.items()}, path, {"format": "pt"})
    with pytest.raises(DataError, match=r"prefix 'a.'"):
        build("hf", tmp_path)
    with pytest.raises(ParameterError, match="checkpoint_key"):
        build("hf?checkpoint_key=a", tmp_path)
