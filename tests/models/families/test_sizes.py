"""Other sizes of input: the numbers of a model built for that size, with the weights held once."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.files import write_json
from foveate.models import from_callable, load_model
from foveate.models.capabilities import TakesSizes, need
from foveate.models.load import FAMILIES
from foveate.testing.networks import networks
from foveate.testing.tiny import KINDS, tiny_model

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from foveate.models.families._sizes import find_sizes, reduction, share_weights  # noqa: E402
from foveate.models.preprocess import Preprocess  # noqa: E402
from foveate.models.runtime import InferenceRunner  # noqa: E402

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 64), np.uint8)
SCALE = ((0.0, 255.0),) * 3
STEPS = {
    "open_clip": 8, "timm_vit": 8, "timm_swin": 32, "timm_cnn": 32, "torchgeo": 32, "tuned": 32,
    "hf_clip": 8, "hf_siglip": 8, "hf_siglip2": 8,
}  # fmt: skip


def build(name, weights=None):
    handle = load_model(name, weights=weights, device="cpu")
    return FAMILIES.get(handle.family).build(handle, (1, 2, 3), SCALE)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """From a kind to the name and weights of a tiny model."""
    return {kind: tiny_model(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def near(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", list(KINDS))
def test_who_takes_other_sizes_and_in_which_steps(tiny, kind):
    model = build(*tiny[kind])
    assert isinstance(model, TakesSizes) == (kind in STEPS)
    assert getattr(model, "size_step", None) == STEPS.get(kind)


def test_who_does_not_is_told_who_does():
    mine = from_callable(lambda x: x, name="mine", dim=1, bands=[1], fingerprint="1")
    for model in (build("builtin"), mine):
        with pytest.raises(MissingCapabilityError, match=r"capability 'sizes'.*supported by timm"):
            need(model, "sizes")


@pytest.mark.parametrize("kind", ["timm_cnn", "torchgeo", "hf_clip", "hf_siglip", "hf_siglip2"])
def test_it_is_the_model_that_is_built_with_the_option_size(tiny, kind):
    name, weights = tiny[kind]
    name = name.replace("size=64&", "").replace("?size=128", "")
    at_once = build(f"{name}{'&' if '?' in name else '?'}size=32", weights)
    resized = build(*tiny[kind]).at_size(32)
    near(resized.embed(BATCH), at_once.embed(BATCH))
    near(resized.tokens(BATCH), at_once.tokens(BATCH))


def test_a_transformer_of_open_clip_is_what_is_loaded_for_the_size(tiny, tmp_path):
    name = tiny["open_clip"][0]
    torch.save(networks(build(name))[0].state_dict(), tmp_path / "w.pt")
    name = name.removesuffix("@random")
    at_once = build(f"{name}?size=32", tmp_path / "w.pt")
    resized = build(name, tmp_path / "w.pt").at_size(32)
    near(resized.embed(BATCH), at_once.embed(BATCH))
    near(resized.tokens(BATCH), at_once.tokens(BATCH))
    near(resized.embed_text(["a field"]), at_once.embed_text(["a field"]))


@pytest.mark.parametrize(
    ("tower", "side", "grid"),
    [("test_vit", 64, (4, 6)), ("test_resnet", 64, (2, 3)), ("mixer_s32_224", 224, None)],
)
def test_a_tower_of_timm_takes_sizes_if_its_network_does(tower, side, grid, tmp_path):
    vision = {"image_size": side, "timm_model_name": tower, "timm_pool": "avg"}
    text = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}
    parts = {"embed_dim": 16, "vision_cfg": {**vision, "timm_proj": "linear"}, "text_cfg": text}
    write_json(tmp_path / "c.json", parts)
    model = build(f"open_clip:{tmp_path / 'c.json'}@random")
    assert isinstance(model, TakesSizes) == (grid is not None)
    if grid is not None:
        assert model.at_size((64, 96)).tokens(BATCH).shape[1:3] == grid


@pytest.mark.filterwarnings("ignore:.*:UserWarning:timm")  # about its own interpolation
@pytest.mark.parametrize("kind", ["timm_vit", "timm_swin"])
def test_a_transformer_of_timm_is_what_timm_makes_of_it(tiny, kind):
    model = build(tiny[kind][0])
    net = share_weights(networks(model)[0])
    net.set_input_size(img_size=(64, 32))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.spec.mean, model.spec.std))
    batch = BATCH[:, :, :, :32]
    with torch.inference_mode():
        expected = net((torch.from_numpy(batch.astype(np.float32)) / 255 - mean) / std).numpy()
    near(model.at_size((64, 32)).embed(batch), expected)


def test_only_what_is_resampled_is_held_twice(tiny):
    model = build(tiny["timm_vit"][0])
    held = dict(networks(model)[0].named_parameters())
    resized = dict(networks(model.at_size(32))[0].named_parameters())
    assert [name for name in held if held[name] is not resized[name]] == ["pos_embed"]
    cnn = build(tiny["timm_cnn"][0])
    assert networks(cnn.at_size(64))[0] is networks(cnn)[0]


def test_what_is_trained_over_an_encoder_is_the_same_at_every_size(tiny):
    model = build(*tiny["tuned"])
    resized = model.at_size(32)
    tokens = resized.tokens(BATCH)
    assert resized.token_spec.pooled
    near(tokens.mean(axis=(1, 2)), resized.embed(BATCH))
    np.testing.assert_array_equal(resized.embed_text(["a field"]), model.embed_text(["a field"]))


def test_tiles_of_any_size_may_be_given_one():
    model = build("timm:test_resnet@random?size=native")
    small = model.at_size(32)
    assert (model.spec.input_size, small.spec.input_size) == (None, (32, 32))
    near(small.embed(BATCH), build("timm:test_resnet@random?size=32").embed(BATCH))


@pytest.mark.parametrize("name", ["mixer_s32_224", "levit_128s"])
def test_a_network_of_timm_that_is_made_for_one_size_does_not_take_others(name):
    assert not isinstance(build(f"timm:{name}@random"), TakesSizes)


# --- any network -----------------------------------------------------------------------------

INPUTS = Preprocess(scale=((0, 255),), mean=(0.0,), std=(1.0,), size=(128, 128))


def sizes_of(*layers, resize=None):
    frozen = InferenceRunner(torch.nn.Sequential(*layers), INPUTS, device="cpu")
    dim = frozen.net(torch.zeros(1, 1, 128, 128)).shape[1]
    return find_sizes(frozen, step=32, dim=dim, forward=lambda net, x: net(x), resize=resize)


def pooled(side):
    """A network whose filter is so wide."""
    return torch.nn.Conv2d(1, 4, side), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()


def test_a_size_that_is_too_small_is_named_with_what_the_network_says():
    sizes = sizes_of(*pooled(40))
    assert sizes.at(64, "net").preprocess.size == (64, 64)
    with pytest.raises(
        ParameterError,
        match=r"net does not support images of 32 x 32: .*Kernel size.*at_size\(64\)",
    ):
        sizes.at(32, "net")


def test_vectors_that_grow_with_the_image_have_no_other_size():
    assert sizes_of(torch.nn.Flatten()) is None


@pytest.mark.parametrize("error", [ValueError, AssertionError, ZeroDivisionError, AttributeError])
def test_a_network_that_cannot_be_resized_does_not_have_it(error):
    def resize(net, size):
        raise error("no")

    assert sizes_of(*pooled(3), resize=resize) is None


def test_buffers_are_copied_and_weights_shared():
    net = torch.nn.BatchNorm2d(3)
    copy = share_weights(net)
    copy.running_mean.add_(1)
    assert copy.weight is net.weight
    assert not net.running_mean.any()


def test_the_step_is_what_timm_says_of_the_last_layer():
    assert reduction(timm.create_model("test_vit")) == 16
    assert reduction(torch.nn.Flatten()) == 32
