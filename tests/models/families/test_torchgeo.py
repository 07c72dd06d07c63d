"""torchgeo backbones: bands, value ranges and weights as its enumerations say."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models import bind, load_model
from foveate.models.load import FAMILIES
from foveate.pool import Pool, Scene
from foveate.raster import ArraySource

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchgeo.models")
safetensors = pytest.importorskip("safetensors.torch")

RGB = "torchgeo:resnet18@SENTINEL2_RGB_MOCO"
REFLECTANCE = np.random.default_rng(0).integers(0, 10_000, (2, 3, 64, 64), np.uint16)


def build(name, scale=((0.0, 10_000.0),) * 3, **options):
    handle = load_model(name, device="cpu", **options)
    return FAMILIES.get("torchgeo").build(handle, range(1, len(scale) + 1), scale)


def saved(name, path, **options):
    """Save seeded weights of a network, and return it."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = models.get_model(name, **options).eval()
    safetensors.save_file(net.state_dict(), path)
    return net


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "resnet18.safetensors"


@pytest.fixture(scope="module")
def net(weights):
    return saved("resnet18", weights, in_chans=3)


def test_vectors_are_those_of_torchgeo_after_its_own_normalisation(net, weights):
    found = build(f"{RGB}?size=64", weights=weights)
    x = torch.from_numpy(REFLECTANCE.astype(np.float32))
    normalise = models.ResNet18_Weights.SENTINEL2_RGB_MOCO.transforms[2]
    with torch.inference_mode():
        expected = net.forward_head(net.forward_features(normalise(x)), pre_logits=True).numpy()
    np.testing.assert_allclose(found.embed(REFLECTANCE), expected, atol=1e-5 * expected.max())
    assert found.spec.name == f"{RGB}?size=64"
    assert "resnet18.safetensors" in found.spec.source
    assert found.token_spec.pooled


def test_the_weights_say_bands_and_range():
    handle = load_model(RGB)
    assert handle.channels == 3
    assert handle.native_scale == ((0, 10_000),) * 3
    assert load_model("torchgeo:resnet50@SENTINEL1_ALL_MOCO").channels == 2
    assert load_model("torchgeo:vit_small_patch16_224@LANDSAT_OLI_SR_MOCO").channels == 7


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("resnet18", "SENTINEL2_RGB_MOCO"),  # one scaling
        ("resnet50", "SENTINEL1_ALL_MOCO"),  # mean and deviation
        ("resnet50", "FMOW_RGB_GASSL"),  # one after the other
        ("resnet18", "SENTINEL2_RGB_SECO"),
        ("resnet50", "SENTINEL2_MI_MS_SATLAS"),  # bands of different ranges
        ("resnet50", "SENTINEL1_GRD_CLOSP"),  # raw values
    ],
)
def test_range_mean_and_deviation_together_are_the_transforms(name, tag):
    from foveate.models.families.torchgeo import _range, _steps

    entry = models.get_model_weights(name)[tag]
    found = _range(entry, entry.meta["in_chans"])
    raw = torch.linspace(-30, 9000, entry.meta["in_chans"] * 4).view(1, -1, 2, 2)
    expected = raw.clone()
    for step in _steps(entry.transforms):
        if type(step).__name__ == "Normalize":
            expected = step(expected)
    low, high, mean, std = (
        torch.tensor(v).view(1, -1, 1, 1)
        for v in (*zip(*found.scale, strict=True), found.mean, found.std)
    )
    torch.testing.assert_close(((raw - low) / (high - low) - mean) / std, expected, rtol=1e-4,
                               atol=1e-3)  # fmt: skip


def test_transforms_that_are_no_range_claim_nothing():
    from types import SimpleNamespace

    from foveate.models.families.torchgeo import _range

    assert _range(SimpleNamespace(transforms=torch.nn.ReLU()), 3) is None


def test_imagery_in_physical_values_gets_the_range_of_the_weights(weights, net):
    def pool(data):
        source = ArraySource(data)
        from foveate.grid import Grid

        tiles = Grid(source.info.shape, (64, 64)).tiles("s")
        return Pool(ids=tiles.tile_id, scenes=(Scene("s", source),), tiles=tiles)

    handle = load_model(f"{RGB}?size=64", weights=weights, device="cpu")
    assert bind(handle, pool(REFLECTANCE[0])).spec.scale == ((0, 10_000),) * 3
    pictures = (REFLECTANCE[0] % 256).astype(np.uint8)
    assert bind(handle, pool(pictures)).spec.scale == ((0, 255),) * 3


def test_a_transformer_gets_the_size_that_its_weights_say(tmp_path):
    tag = "vit_small_patch14_dinov2@SENTINEL2_ALL_SOFTCON"
    path = tmp_path / "w.safetensors"
    saved("vit_small_patch14_dinov2", path, in_chans=13, img_size=224, num_classes=0, depth=1)
    found = build(f"torchgeo:{tag}?depth=1", ((0.0, 1.0),) * 13, weights=path)
    assert found.spec.input_size == (224, 224)
    assert found.tokens(np.ones((1, 13, 64, 64), np.uint16)).shape == (1, 16, 16, 384)


def test_files_may_end_before_the_last_norm(tmp_path):
    with torch.random.fork_rng():
        vit = models.get_model("vit_small_patch16_224", in_chans=2, num_classes=0, depth=1)
    state = {k: v for k, v in vit.state_dict().items() if not k.startswith("norm.")}
    safetensors.save_file(state, tmp_path / "mae.safetensors")
    name = "torchgeo:vit_small_patch16_224@SENTINEL1_GRD_MAE?depth=1"
    found = build(name, ((-30.0, 0.0),) * 2, weights=tmp_path / "mae.safetensors")
    assert found.spec.dim == 384


def test_random_weights_take_any_bands():
    found = build("torchgeo:resnet18@random?size=64&in_chans=5", ((0.0, 1.0),) * 5)
    assert found.embed(np.ones((1, 5, 64, 64), np.float32)).shape == (1, 512)
    assert found.spec.source == "random weights, seed 0"


# --- what cannot be ------------------------------------------------------------------------


def test_unknown_names_come_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        load_model("torchgeo:resnet_18@random")
    with pytest.raises(UnknownNameError, match=r"no timm network 'swin_v2_b'.*resnet152"):
        load_model("torchgeo:swin_v2_b@random")
    with pytest.raises(UnknownNameError, match="Did you mean 'SENTINEL2_RGB_MOCO'"):
        load_model("torchgeo:resnet18@sentinel2_rgb_moc")
    with pytest.raises(ParameterError, match=r"not select weights.*SENTINEL2_ALL_MOCO"):
        load_model("torchgeo:resnet18")
    with pytest.raises(ParameterError, match="name of the"):
        load_model("torchgeo")


def test_bands_are_those_of_the_weights():
    with pytest.raises(ParameterError, match=r"in_chans=4.*require 3 bands: B4, B3, B2"):
        load_model(f"{RGB}?in_chans=4")
    with pytest.raises(ParameterError, match="number of bands"):
        load_model("torchgeo:resnet18@random?in_chans=many")


def test_options_that_timm_does_not_take():
    with pytest.raises(ParameterError, match=r"cannot create.*wings"):
        build("torchgeo:resnet18@random?wings=2")


def test_weights_of_another_architecture(net, weights):
    with pytest.raises(DataError, match="do not match the architecture 'resnet50'"):
        build("torchgeo:resnet50@SENTINEL2_RGB_MOCO", weights=weights)


def test_a_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"could not be loaded.*--weights PATH"):
        build(RGB)
