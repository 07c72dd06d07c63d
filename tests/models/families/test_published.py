"""Files in the layout of published checkpoints, with tiny random weights."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models import load_model
from foveate.models.checkpoint_file import check_state, read_state
from foveate.models.load import FAMILIES

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), np.uint8)
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
NAME = "timm:vit_tiny_patch16_224?size=32&" + "&".join(f"{k}={v}" for k, v in VIT.items())


def build(name, weights):
    handle = load_model(name, weights=str(weights), device="cpu")
    return FAMILIES.get(handle.family).build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def vit():
    torch.manual_seed(3)
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT).state_dict()


def decoder():
    """A decoder of one block of width 16, as MAE and SatMAE have it."""
    block = timm.models.vision_transformer.Block(16, 2, qkv_bias=True).state_dict()
    return {
        "mask_token": torch.zeros(1, 1, 16),
        "decoder_pos_embed": torch.zeros(1, 17, 16),
        "decoder_embed.weight": torch.zeros(16, 32), "decoder_embed.bias": torch.zeros(16),
        "decoder_norm.weight": torch.ones(16), "decoder_norm.bias": torch.zeros(16),
        "decoder_pred.weight": torch.zeros(192, 16), "decoder_pred.bias": torch.zeros(192),
    }, block  # fmt: skip


def satmae():
    more, block = decoder()
    return vit() | more | {f"decoder_blocks.0.{k}": v for k, v in block.items()}


def cross_scale():
    """Blocks are called encoder.N and decoder.N; a predictor lies between the scales."""
    more, block = decoder()
    names = {"pos_embed": "encoder_pos_embed", "norm.": "encoder_norm.", "blocks.": "encoder."}

    def renamed(name):
        for old, new in names.items():
            if name.startswith(old):
                return new + name.removeprefix(old)
        return name

    return (
        {renamed(k): v for k, v in vit().items()}
        | more
        | {f"decoder.0.{k}": v for k, v in block.items()}
        | {"predictor.net.0.weight": torch.zeros(8, 16), "predictor.net.0.bias": torch.zeros(8)}
    )


@pytest.mark.parametrize("layout", [satmae, cross_scale])
def test_a_masked_autoencoder_is_read_as_it_was_published(layout, tmp_path):
    torch.save(vit(), tmp_path / "encoder.pt")
    whole = {
        "model": layout(), "optimizer": {"state": {}, "param_groups": []}, "epoch": 799,
        "args": argparse.Namespace(blr=1e-3, model="mae"),
    }  # fmt: skip
    torch.save(whole, tmp_path / "published.pth")
    check_state(tmp_path / "published.pth")
    own, found = (build(NAME, tmp_path / f) for f in ("encoder.pt", "published.pth"))
    np.testing.assert_array_equal(found.embed(BATCH), own.embed(BATCH))
    assert found.spec.fingerprint == own.spec.fingerprint


def test_a_layout_of_another_network_is_an_error(tmp_path):
    state = satmae()
    state["channel_embed"] = torch.zeros(1, 3, 8)  # SatMAE of groups of bands
    torch.save({"model": state}, tmp_path / "groups.pth")
    with pytest.raises(DataError, match=r"do not match the architecture.*channel_embed"):
        build(NAME, tmp_path / "groups.pth")
    state = {k: v for k, v in satmae().items() if not k.startswith("blocks.1.")}
    torch.save({"model": state}, tmp_path / "short.pth")
    with pytest.raises(DataError, match=r"missing.*blocks\.1"):
        build(NAME, tmp_path / "short.pth")


def test_nothing_but_arguments_is_unpickled(tmp_path):
    torch.save({"model": vit(), "args": pytest.Item}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="other objects than tensors"):
        read_state(tmp_path / "w.pth")


def clip():
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    shared = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2,
              "num_attention_heads": 4, "projection_dim": 16}  # fmt: skip
    torch.manual_seed(1)
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config={**shared, "vocab_size": 49408, "max_position_embeddings": 16},
            vision_config={**shared, "image_size": 32, "patch_size": 8}, projection_dim=16,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def graft(tmp_path_factory):
    """A GRAFT of another vision tower than that of the CLIP whose texts it meets."""
    folder = tmp_path_factory.mktemp("graft")
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 8
        },
        "text_cfg": {"context_length": 16, "width": 32, "heads": 4, "layers": 2},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    texts = clip().state_dict()
    torch.save(texts, folder / "clip.pt")
    vision = {
        k: v + 0.01 for k, v in texts.items()
        if k.startswith(("vision_model.", "visual_projection.")) and v.is_floating_point()
    }  # fmt: skip
    whole = {k: v for k, v in texts.items() if not k.startswith("vis")} | vision
    torch.save(whole, folder / "expected.pt")
    state = {f"satellite_image_backbone.{k}": v for k, v in vision.items()}
    state |= {
        "projector.0.weight": torch.ones(32), "projector.0.bias": torch.zeros(32),
        "projector.1.weight": torch.zeros(16, 32), "logit_scale": torch.tensor(2.0),
    }  # fmt: skip
    torch.save({"state_dict": state, "epoch": 3, "global_step": 9}, folder / "graft.ckpt")
    return folder


def test_graft_is_read_with_the_texts_of_clip(graft):
    name = f"open_clip:{graft}/config.json"
    found = build(f"{name}?text_weights={graft}/clip.pt", graft / "graft.ckpt")
    expected = build(name, graft / "expected.pt")
    np.testing.assert_allclose(found.embed(BATCH), expected.embed(BATCH), atol=1e-6)
    words = ["a forest", "a road"]
    np.testing.assert_allclose(found.embed_text(words), expected.embed_text(words), atol=1e-6)


def test_graft_without_texts_says_what_to_type(graft):
    name = f"open_clip:{graft}/config.json"
    with pytest.raises(DataError, match=r"no text tower.*\?text_weights=FILE"):
        build(name, graft / "graft.ckpt")
    with pytest.raises(DataError, match="format of transformers"):
        build(f"{name}?text_weights={graft}/graft.ckpt", graft / "graft.ckpt")
