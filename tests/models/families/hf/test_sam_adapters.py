"""Med-SA and SAMed from files in the layouts of their repositories, over a tiny random SAM."""

from __future__ import annotations

import re

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.models import load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from foveate.models.families.hf._sam_published import transformers_name  # noqa: E402

SIDE, DIM, LAYERS, RANK = 64, 32, 2, 4
BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, SIDE, SIDE), np.uint8)
BOXES = np.float32([[[4, 8, 40, 60], [0, 0, 64, 64]], [[10, 10, 30, 30], [20, 0, 64, 33]]])

# From transformers' names to those of segment_anything, written on its own.
BACK = (
    ("vision_encoder.", "image_encoder."), (".patch_embed.projection.", ".patch_embed.proj."),
    (".neck.conv1.", ".neck.0."), (".neck.layer_norm1.", ".neck.1."),
    (".neck.conv2.", ".neck.2."), (".neck.layer_norm2.", ".neck.3."),
    ("shared_embedding.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (".mask_embed.conv1.", ".mask_downscaling.0."),
    (".mask_embed.layer_norm1.", ".mask_downscaling.1."),
    (".mask_embed.conv2.", ".mask_downscaling.3."),
    (".mask_embed.layer_norm2.", ".mask_downscaling.4."),
    (".mask_embed.conv3.", ".mask_downscaling.6."), (".point_embed.", ".point_embeddings."),
    (".upscale_conv1.", ".output_upscaling.0."), (".upscale_layer_norm.", ".output_upscaling.1."),
    (".upscale_conv2.", ".output_upscaling.3."), (".layer_norm", ".norm"),
)  # fmt: skip


def published(name):
    for there, here in BACK:
        name = name.replace(there, here)
    if name.startswith("image_encoder."):
        name = name.replace(".layers.", ".blocks.")
    if "iou_prediction_head" in name or "hypernetworks" in name:
        for there, here in (("layers.0.", "layers.1."), ("proj_in.", "layers.0."),
                            ("proj_out.", "layers.2.")):  # fmt: skip
            name = name.replace(there, here)
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model("hf_sam", tmp_path_factory.mktemp("sam"))[1]


@pytest.fixture(scope="module")
def plain(folder):
    return transformers.SamModel.from_pretrained(folder).eval()


def build(folder, options=""):
    handle = load_model(f"hf{options}", weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), ((0.0, 255.0),) * 3)


def draw(*shape, seed=0, scale=0.2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def shared(plain):
    return {
        published(name): tensor
        for name, tensor in plain.state_dict().items()
        if name != "shared_image_embedding.positional_embedding"
    }


def low_rank(plain, classes=3):
    """A file of SAMed over a SAM, with a decoder for some classes."""
    config = transformers.SamConfig(**plain.config.to_dict())
    config.mask_decoder_config.num_multimask_outputs = classes
    with torch.random.fork_rng():
        torch.manual_seed(5)
        decoder = transformers.SamModel(config).state_dict()
    state = {
        published(name): tensor
        for name, tensor in decoder.items()
        if name.startswith(("prompt_encoder.", "mask_decoder."))
    }
    for channel in range(classes + 1):  # far enough apart for each class to win somewhere
        name = f"mask_decoder.output_hypernetworks_mlps.{channel}.layers.2.bias"
        state[name] = draw(*state[name].shape, seed=20 + channel, scale=30)
    state |= {f"w_a_{i:03d}": draw(RANK, DIM, seed=i) for i in range(2 * LAYERS)}
    return state | {f"w_b_{i:03d}": draw(DIM, RANK, seed=9 + i) for i in range(2 * LAYERS)}


def adapted(plain, scale=0.3):
    """A checkpoint of Med-SA over a SAM."""
    state, seed = shared(plain), 0
    for block in range(LAYERS):
        for kind in ("MLP_Adapter", "Space_Adapter", "Depth_Adapter"):
            for part, shape in (("D_fc1", (DIM // 4, DIM)), ("D_fc2", (DIM, DIM // 4))):
                seed += 1
                start = f"image_encoder.blocks.{block}.{kind}.{part}"
                state[f"{start}.weight"] = draw(*shape, seed=seed, scale=scale)
                state[f"{start}.bias"] = draw(shape[0], seed=100 + seed, scale=scale)
    return {"epoch": 3, "model": "sam", "state_dict": state, "best_tol": 0.5}


def saved(tmp_path, state):
    path = tmp_path / "adapter.pth"
    torch.save(state, path)
    return path


def test_names_of_segment_anything_are_found():
    known = {
        "image_encoder.blocks.11.norm2.weight": "vision_encoder.layers.11.layer_norm2.weight",
        "image_encoder.neck.3.bias": "vision_encoder.neck.layer_norm2.bias",
        "mask_decoder.transformer.norm_final_attn.bias":
            "mask_decoder.transformer.layer_norm_final_attn.bias",
        "mask_decoder.transformer.layers.1.norm4.weight":
            "mask_decoder.transformer.layers.1.layer_norm4.weight",
        "mask_decoder.transformer.layers.0.mlp.lin1.weight":
            "mask_decoder.transformer.layers.0.mlp.lin1.weight",
        "mask_decoder.output_hypernetworks_mlps.3.layers.1.weight":
            "mask_decoder.output_hypernetworks_mlps.3.layers.0.weight",
        "mask_decoder.iou_prediction_head.layers.2.bias":
            "mask_decoder.iou_prediction_head.proj_out.bias",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix":
            "prompt_encoder.shared_embedding.positional_embedding",
        "prompt_encoder.mask_downscaling.6.weight": "prompt_encoder.mask_embed.conv3.weight",
        "prompt_encoder.point_embeddings.3.weight": "prompt_encoder.point_embed.3.weight",
    }  # fmt: skip
    assert {name: transformers_name(name) for name in known} == known


def test_every_parameter_is_renamed(plain):
    for name in plain.state_dict():
        if name != "shared_image_embedding.positional_embedding":
            assert transformers_name(published(name)) == name
    assert not [n for n in shared(plain) if re.search("layer_norm|vision_encoder|proj_in", n)]


def grid(net):
    x = torch.from_numpy(BATCH.astype(np.float32) / 255)
    with torch.inference_mode():
        return net.get_image_embeddings(x)


def test_samed_adds_its_matrices_to_queries_and_values(folder, plain, tmp_path):
    state = low_rank(plain)
    model = build(folder, f"?adapter={saved(tmp_path, state)}&size={SIDE}")
    hooks = []
    for i, layer in enumerate(plain.vision_encoder.layers):

        def add(module, given, found, i=i):
            q, v = (
                given[0] @ state[f"w_a_{n:03d}"].T @ state[f"w_b_{n:03d}"].T
                for n in (2 * i, 2 * i + 1)
            )
            return found + torch.cat([q, torch.zeros_like(q), v], dim=-1)

        hooks.append(layer.attn.qkv.register_forward_hook(add))
    try:
        expected = grid(plain)
    finally:
        for hook in hooks:
            hook.remove()
    assert model.tokens(BATCH) == pytest.approx(expected.permute(0, 2, 3, 1).numpy(), abs=1e-4)
    assert np.abs(model.tokens(BATCH) - grid(plain).permute(0, 2, 3, 1).numpy()).max() > 1e-3


def test_samed_gives_the_softmax_of_a_class_cut_to_boxes(folder, plain, tmp_path):
    path = saved(tmp_path, low_rank(plain))
    models = [build(folder, f"?adapter={path}&size={SIDE}&class={n}") for n in (1, 2, 3)]
    whole = np.float32([[[0, 0, SIDE, SIDE]]] * 2)
    masks = np.stack([model.segment(BATCH, whole)[:, 0] for model in models])
    assert masks.any()
    assert (masks.sum(axis=0) <= 1).all()  # only one class can have more than half
    for model, mask in zip(models, masks, strict=True):
        cut = model.segment(BATCH, BOXES)
        for i, own in enumerate(BOXES):
            for k, (x0, y0, x1, y1) in enumerate(own.astype(int)):
                inside = np.zeros((SIDE, SIDE), bool)
                inside[y0:y1, x0:x1] = True
                assert np.array_equal(cut[i, k], mask[i] & inside)
        quality = model.mask_quality(BATCH, BOXES)
        there = cut.any(axis=(2, 3))
        assert (quality[there] > 0.5).all()
        assert (quality[~there] == 0).all()
    assert len({model.spec.fingerprint for model in models}) == 3


def test_samed_at_another_size_resamples_its_places(folder, plain, tmp_path):
    model = build(folder, f"?adapter={saved(tmp_path, low_rank(plain))}&size=32")
    assert model.spec.input_size == (32, 32)
    assert model.tokens(BATCH).shape == (2, 4, 4, 16)


def test_med_sa_has_adapters_after_attention_and_beside_the_mlp(folder, plain, tmp_path):
    state = adapted(plain)
    model = build(folder, f"?adapter={saved(tmp_path, state)}")
    named = state["state_dict"]

    def adapter(x, block, kind):
        start = f"image_encoder.blocks.{block}.{kind}.D_fc"
        one, two = ((named[f"{start}{n}.weight"], named[f"{start}{n}.bias"]) for n in (1, 2))
        return torch.nn.functional.linear(
            torch.nn.functional.gelu(torch.nn.functional.linear(x, *one)), *two
        )

    hooks = []
    for i, layer in enumerate(plain.vision_encoder.layers):

        def space(module, given, found, i=i):
            return found[0] + adapter(found[0], i, "Space_Adapter"), found[1]

        def beside(module, given, found, i=i):
            return found + 0.5 * adapter(given[0], i, "MLP_Adapter")

        hooks += [layer.attn.register_forward_hook(space), layer.mlp.register_forward_hook(beside)]
    try:
        expected = grid(plain)
    finally:
        for hook in hooks:
            hook.remove()
    # The windows divide the grid: nothing is filled up, where Med-SA and SAM would differ.
    assert model.tokens(BATCH) == pytest.approx(expected.permute(0, 2, 3, 1).numpy(), abs=1e-4)
    assert "adapter.pth" in model.spec.source


def test_med_sa_without_effect_is_sam_with_its_first_mask(folder, plain, tmp_path):
    state = adapted(plain, scale=0.0)
    model = build(folder, f"?adapter={saved(tmp_path, state)}")
    with torch.inference_mode():
        logits = plain(
            image_embeddings=grid(plain), input_boxes=torch.from_numpy(BOXES),
            multimask_output=False,
        ).pred_masks[:, :, 0]  # fmt: skip
    whole = torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", antialias=True)
    masks = model.segment(BATCH, BOXES)
    sure = whole.abs().numpy() > 1e-3
    assert np.array_equal(masks[sure], (whole > 0).numpy()[sure])
    chance = torch.where(logits > 0, logits.sigmoid(), 0).sum((2, 3))
    expected = chance / (logits > 0).sum((2, 3)).clamp(min=1)
    assert model.mask_quality(BATCH, BOXES) == pytest.approx(expected.numpy(), abs=1e-4)


def test_windows_are_filled_up_before_the_norm(folder, plain, tmp_path):
    """With 5 x 5 tokens in windows of 4, what fills up is the norm of zeros: its bias."""
    net = transformers.SamModel(transformers.SamConfig(**plain.config.to_dict()))
    layer = net.vision_encoder.layers[0]
    from foveate.models.families.hf._sam_published import _AdaptedLayer

    torch.nn.init.normal_(layer.layer_norm1.bias)
    ours = _AdaptedLayer(layer, DIM, 8)
    for part in (ours.space_adapter, ours.mlp_adapter):
        torch.nn.init.zeros_(part.fc2.weight)
        torch.nn.init.zeros_(part.fc2.bias)
    layer.window_size = ours.window_size = 4
    x = draw(1, 5, 5, DIM)
    with torch.inference_mode():
        even = draw(1, 8, 8, DIM)
        assert torch.allclose(ours(even), layer(even), atol=1e-5)
        assert not torch.allclose(ours(x), layer(x), atol=1e-3)


@pytest.mark.parametrize("kind", [low_rank, adapted])
def test_they_are_models_like_any_other(kind, folder, plain, tmp_path):
    size = f"&size={SIDE}" if kind is low_rank else ""
    name = f"hf?adapter={saved(tmp_path, kind(plain))}{size}"
    # A batch of another size may be summed in another order.
    model = load_model(name, weights=folder, bands=[1, 2, 3], device="cpu")
    check_model(model, tolerance=1e-5)


def test_what_does_not_fit_is_refused(folder, plain, tmp_path):
    def refused(state, kind, says, options=f"&size={SIDE}"):
        with pytest.raises(kind, match=says):
            build(folder, f"?adapter={saved(tmp_path, state)}{options}")

    good = low_rank(plain)
    refused({n: t for n, t in good.items() if n != "w_a_003"}, DataError, "3 matrices w_a_NNN")
    refused({n: t for n, t in good.items() if "mask_tokens" not in n}, DataError, "mask_tokens")
    refused({n: t for n, t in good.items() if "no_mask" not in n}, DataError, "SAMed")
    refused({**good, "w_b_000": draw(RANK, RANK)}, DataError, "w_b_000 for 32 dimensions")
    refused(shared(plain), DataError, "neither adapters nor")
    refused(good, ParameterError, "1 to 3", options=f"&size={SIDE}&class=4")
    refused(good, ParameterError, "multiple of the patch size, 8", options="&size=63")
    refused(adapted(plain), ParameterError, "Med-SA is prompted")
    broken = adapted(plain)
    del broken["state_dict"]["image_encoder.blocks.1.Space_Adapter.D_fc1.bias"]
    refused(broken, DataError, "Med-SA", options="")
    with pytest.raises(DataError, match="no adapter file"):
        build(folder, "?adapter=none.pth")
