"""Parts of an image pooled apart, against the networks themselves with masked keys."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foveate.models import capabilities, load_model
from foveate.models.capabilities import PoolsParts
from foveate.models.load import FAMILIES
from foveate.testing.tiny import hf as tiny

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

DRAW = np.random.default_rng(0)
BATCH = DRAW.integers(0, 255, (2, 3, 64, 64), np.uint8)
TEXT = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}
VIT = {"image_size": 64, "patch_size": 8, "layers": 2, "width": 32, "head_width": 8}


def built(family, name, weights=None):
    handle = load_model(name, device="cpu", weights=weights)
    return FAMILIES.get(family).build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def from_config(folder, vision):
    path = folder / "config.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT}))
    return built("open_clip", f"open_clip:{path}@random")


def scores(keep):
    """What is added to the scores of the keys: a share of a key is less by its logarithm."""
    return torch.log(keep).clamp(min=-1e30)


def with_class_token(keep):
    return torch.cat([torch.ones(1), keep])


def open_clip_masked(model, x, keep):
    """The class token of the last block, with keys masked."""
    visual = model._net.visual
    x = visual._embeds(x)
    for block in visual.transformer.resblocks[:-1]:
        x = block(x)
    mask = scores(with_class_token(keep)).expand(len(keep) + 1, -1)
    x = visual.transformer.resblocks[-1](x, attn_mask=mask)
    return visual.ln_post(x)[:, 0] @ visual.proj


def clip_masked(model, x, keep):
    tower = model._net.vision_model
    x = tower.pre_layrnorm(tower.embeddings(x))
    for layer in tower.encoder.layers[:-1]:
        x = layer(x, None)
    mask = scores(with_class_token(keep)).expand(1, 1, len(keep) + 1, -1)
    x = tower.encoder.layers[-1](x, mask)
    return model._net.visual_projection(tower.post_layernorm(x[:, 0]))


def siglip_masked(model, x, keep):
    """SigLIP's head, with keys masked."""
    head, tokens = model._net.vision_model.head, model._net.vision_model(x).last_hidden_state
    found = head.attention(head.probe, tokens, tokens, attn_mask=scores(keep)[None])[0]
    return (found + head.mlp(head.layernorm(found)))[:, 0]


@pytest.fixture(scope="module", params=["open_clip", "clip", "siglip"])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "open_clip":
        return from_config(folder, VIT), open_clip_masked
    getattr(tiny, request.param)(folder)
    model = built("hf", "hf", weights=folder)
    return model, clip_masked if request.param == "clip" else siglip_masked


def near(found, wanted, gap=1e-5):
    np.testing.assert_allclose(found, wanted, atol=gap * np.abs(wanted).max())


def pooled(model, of, keep):
    """Embed parts: (m, gh, gw) shares of the tokens to (m, d)."""
    return model.pool_sums(np.einsum("mhw,hwq->mq", keep, of.terms) + of.always, of)


def test_all_tokens_give_the_embedding(case):
    model, _ = case
    assert "parts" in capabilities(model)
    vectors = model.embed(BATCH)
    for of, vector in zip(model.token_sums(BATCH), vectors, strict=True):
        near(pooled(model, of, np.ones((1, *of.terms.shape[:2])))[0], vector)
        assert of.terms.shape[:2] == of.values.shape[:2] == model.tokens(BATCH).shape[1:3]


def expected(model, masked, keep):
    x = model._runner.preprocess(BATCH[:1], torch.device("cpu"))
    with torch.inference_mode():
        return masked(model, x, torch.from_numpy(keep.ravel().astype(np.float32))).numpy()


def test_a_part_is_the_network_with_the_other_keys_masked(case):
    model, masked = case
    of = model.token_sums(BATCH)[0]
    draw = np.random.default_rng(1)
    for share in (0.9, 0.5, 0.1):
        keep = (draw.random(of.terms.shape[:2]) < share).astype(float)
        near(pooled(model, of, keep[None]), expected(model, masked, keep), 2e-5)


def test_a_share_of_a_token_is_a_key_of_that_weight(case):
    model, masked = case
    of = model.token_sums(BATCH)[0]
    keep = np.random.default_rng(2).uniform(0.05, 1, of.terms.shape[:2])
    near(pooled(model, of, keep[None]), expected(model, masked, keep), 2e-5)


def test_another_size_pools_too(case):
    model, _ = case
    small = model.at_size(32)
    (of,) = small.token_sums(BATCH[:1])
    near(pooled(small, of, np.ones((1, *of.terms.shape[:2]))), small.embed(BATCH[:1]))


def test_nothing_is_left_behind(case):
    model, _ = case
    before = [len(module._forward_pre_hooks) for module in model._net.modules()]
    model.token_sums(BATCH)
    assert before == [len(module._forward_pre_hooks) for module in model._net.modules()]
    assert not any(p.requires_grad for p in model._net.parameters())


def test_nothing_kept_is_the_class_token_alone_or_zeros(case):
    model, masked = case
    of = model.token_sums(BATCH)[0]
    found = pooled(model, of, np.zeros((1, *of.terms.shape[:2])))
    if masked is siglip_masked:
        assert not found.any()
    else:
        near(found, expected(model, masked, np.zeros(of.terms.shape[:2])))


@pytest.mark.parametrize(
    "vision",
    [
        {**VIT, "pool_type": "avg"},
        {**VIT, "attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 4},
        {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
    ],
    ids=["mean of tokens", "pooler of CoCa", "ResNet"],
)
def test_towers_that_pool_otherwise_do_not_say_they_can(vision, tmp_path):
    assert not isinstance(from_config(tmp_path, vision), PoolsParts)
