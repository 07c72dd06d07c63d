"""timm backbones with local weights: the numbers of timm itself, and nothing unpickled."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models import TokenSpec, load_model
from foveate.models.load import FAMILIES

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
safetensors = pytest.importorskip("safetensors.torch")

BATCH = np.random.default_rng(0).integers(0, 255, (2, 3, 40, 40), np.uint8)
SCALE = ((0.0, 255.0),) * 3


def build(name, **options):
    handle = load_model(name, device="cpu", **options)
    return FAMILIES.get("timm").build(handle, (1, 2, 3), SCALE)


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return timm.create_model("resnet18", num_classes=7).eval()


@pytest.fixture(scope="module")
def weights(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.save_file(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(weights):
    return build("timm:resnet18?size=40", weights=weights)


def direct(net, size):
    """The pooled features by timm alone."""
    cfg = net.pretrained_cfg
    x = torch.from_numpy(BATCH.astype(np.float32)) / 255
    if size != 40:
        x = torch.nn.functional.interpolate(
            x, (size, size), mode=cfg["interpolation"], align_corners=False, antialias=True
        )
    mean, std = (torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.inference_mode():
        return net.forward_head(net.forward_features((x - mean) / std), pre_logits=True).numpy()


@pytest.mark.parametrize("size", [40, 64])
def test_local_weights_give_the_features_of_timm(net, model, weights, size):
    found = model if size == 40 else build(f"timm:resnet18?size={size}", weights=weights)
    expected = direct(net, size)
    assert found.spec.dim == 512
    np.testing.assert_allclose(found.embed(BATCH), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_torch_files_are_read_too(net, model, tmp_path, wrap):
    state = {f"module.{k}": v for k, v in net.state_dict().items()}
    torch.save(wrap(state), tmp_path / "w.pth")
    found = build("timm:resnet18?size=40", weights=tmp_path / "w.pth")
    assert found.spec.fingerprint == model.spec.fingerprint
    np.testing.assert_array_equal(found.embed(BATCH), model.embed(BATCH))


def test_files_from_before_batch_norm_counted_are_read(net, model, tmp_path):
    state = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
    safetensors.save_file(state, tmp_path / "old.safetensors")
    found = build("timm:resnet18?size=40", weights=tmp_path / "old.safetensors")
    np.testing.assert_array_equal(found.embed(BATCH), model.embed(BATCH))


def test_random_weights_are_the_same_every_time_and_draw_nothing():
    before = torch.random.get_rng_state()
    a, b = (build("timm:resnet18@random?size=40") for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert a.spec == b.spec
    np.testing.assert_array_equal(a.embed(BATCH), b.embed(BATCH))


def test_the_fingerprint_is_that_of_the_weights(model):
    a = model.spec
    b = build("timm:resnet18@random?size=40").spec
    assert a.fingerprint != b.fingerprint
    assert "resnet18.safetensors" in a.source
    assert "random" in b.source


def saved(tmp_path, name="vit_tiny_patch16_224", **options):
    """A file of random weights, and its network."""
    from foveate.models.weights import random_weights

    net = random_weights(lambda: timm.create_model(name, num_classes=0, **options))
    torch.save(net.state_dict(), tmp_path / "w.pt")
    return str(tmp_path / "w.pt"), net


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"img_size": 32}, r"images of 32 x 32 pixels: append \?img_size=32&size=32"),
        ({"patch_size": 32}, r"Append \?patch_size=32"),
        ({"in_chans": 4}, r"images of 4 bands: append \?in_chans=4"),
    ],
)
def test_the_option_that_weights_need_is_named(options, hint, tmp_path):
    weights, _ = saved(tmp_path, **options)
    with pytest.raises(DataError, match=hint):
        build("timm:vit_tiny_patch16_224", weights=weights)


def test_local_position_embeddings_are_resampled_to_another_size(tmp_path):
    weights, _ = saved(tmp_path)
    found = build("timm:vit_tiny_patch16_224?img_size=64&size=64", weights=weights)
    expected = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64).eval()
    resample = timm.models.vision_transformer.checkpoint_filter_fn
    timm.models.load_checkpoint(expected, weights, filter_fn=resample)
    x = (torch.from_numpy(BATCH.astype(np.float32)) / 255 - 0.5) / 0.5
    x = torch.nn.functional.interpolate(x, (64, 64), mode="bicubic", antialias=True)
    with torch.inference_mode():
        near(found.embed(BATCH), expected(x).numpy())


# --- tokens --------------------------------------------------------------------------------


def expected_tokens(name, **options):
    """The features before the pooling by timm alone: of a seeded network, on `BATCH`."""
    from foveate.models.weights import random_weights

    net = random_weights(lambda: timm.create_model(name, num_classes=0, **options)).eval()
    mean, std = (torch.tensor(net.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    x = (torch.from_numpy(BATCH.astype(np.float32)) / 255 - mean) / std
    with torch.inference_mode():
        return net.forward_features(x).numpy()


def near(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("mobilenetv2_100", 1280)])
def test_tokens_of_a_convolutional_network_are_pooled_to_its_vector(name, dim):
    found = build(f"timm:{name}@random?size=40")
    near(found.tokens(BATCH), expected_tokens(name).transpose(0, 2, 3, 1))
    near(found.tokens(BATCH).mean(axis=(1, 2)), found.embed(BATCH))
    assert found.token_spec == TokenSpec(dim, "embedding", pooled=True)


@pytest.mark.parametrize(
    ("name", "prefix"), [("vit_tiny_patch16_224", 1), ("deit_tiny_distilled_patch16_224", 2)]
)
def test_tokens_of_a_transformer_are_its_patches_without_what_stands_before_them(name, prefix):
    found = build(f"timm:{name}@random?size=40&img_size=40&patch_size=8&depth=1")
    expected = expected_tokens(name, img_size=40, patch_size=8, depth=1)
    near(found.tokens(BATCH), expected[:, prefix:].reshape(2, 5, 5, -1))
    assert found.token_spec == TokenSpec(192, "backbone")


def test_tokens_of_a_transformer_that_averages_are_pooled():
    options = {"img_size": 40, "patch_size": 8, "depth": 1, "global_pool": "avg", "fc_norm": False}
    query = "&".join(f"{key}={str(value).lower()}" for key, value in options.items())
    found = build(f"timm:vit_tiny_patch16_224@random?size=40&{query}")
    assert found.token_spec == TokenSpec(192, "embedding", pooled=True)


def test_tokens_of_a_network_that_keeps_channels_last():
    options = {"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": [1, 1, 1, 1]}
    query = "&".join(f"{key}={value}".replace(" ", "") for key, value in options.items())
    found = build(f"timm:swin_tiny_patch4_window7_224@random?size=64&{query}")
    assert found.tokens(BATCH).shape == (2, 2, 2, 128)
    near(found.tokens(BATCH).mean(axis=(1, 2)), found.embed(BATCH))
    assert found.token_spec.pooled


def test_tokens_of_an_image_that_is_not_square():
    found = build("timm:resnet18@random?size=native")
    assert found.tokens(np.zeros((1, 3, 64, 160), np.uint8)).shape == (1, 2, 5, 512)
    options = "img_size=[32,48]&patch_size=8&depth=1&dynamic_img_size=true"
    found = build(f"timm:vit_tiny_patch16_224@random?size=native&{options}")
    assert found.tokens(np.zeros((1, 3, 32, 48), np.uint8)).shape == (1, 4, 6, 192)


# --- files that cannot be ------------------------------------------------------------------


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_is_refused_and_not_executed(tmp_path, protocol):
    sprung = tmp_path / "sprung"
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": Trap(sprung)}, protocol))
    torch.save({"a": Trap(sprung)}, tmp_path / "w.pth")
    for name in ("w.pkl", "w.pth"):
        with pytest.raises(DataError, match=r"foveate does not unpickle files.*safetensors"):
            load_model("timm:resnet18", weights=tmp_path / name)
    assert not sprung.exists()


def test_weights_of_another_architecture(weights):
    with pytest.raises(
        DataError, match=r"do not match the architecture 'resnet34'.*parameters missing"
    ):
        build("timm:resnet34", weights=weights)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "bin"])
@pytest.mark.parametrize("content", ["cut", "empty", "text", "zeros"])
def test_damaged_files_are_named(net, weights, tmp_path, suffix, content):
    path = tmp_path / f"w.{suffix}"
    if suffix == "safetensors":
        whole = weights.read_bytes()
    else:
        torch.save(net.state_dict(), path)
        whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:5000], "empty": b"", "text": b"<html>404</html>", "zeros": bytes(999)}[
            content
        ]
    )
    with pytest.raises(DataError, match=f"cannot read the weights .*w.{suffix}"):
        load_model("timm:resnet18", weights=path)


def test_a_file_that_holds_no_state_dict(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "w.pth")
    with pytest.raises(DataError, match="contain list, not named tensors"):
        load_model("timm:resnet18", weights=tmp_path / "w.pth")


# --- options -------------------------------------------------------------------------------


def test_size_and_normalisation_are_options():
    found = build("timm:resnet18@random?size=48&mean=0&std=[1,2,3]")
    assert found.spec.input_size == (48, 48)
    assert found.spec.mean == (0, 0, 0)
    assert found.spec.std == (1, 2, 3)
    assert build("timm:resnet18@random?size=native").spec.input_size is None
    assert build("timm:resnet18@random?mean=0.1,0.2,0.3").spec.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    "option", ["size=3", "size=big", "mean=dark", "std=", "std=0", "mean=0.1,0.9"]
)
def test_options_that_cannot_be(option):
    with pytest.raises(ParameterError, match=option.partition("=")[0]):
        build(f"timm:resnet18@random?{option}")


def test_options_of_timm_are_passed_on():
    same = build("timm:mobilenetv2_100@random?size=40&pad_type=same")
    usual = build("timm:mobilenetv2_100@random?size=40")
    assert same.spec.fingerprint != usual.spec.fingerprint
    assert (same.embed(BATCH) != usual.embed(BATCH)).any()


def test_options_that_timm_does_not_take():
    with pytest.raises(ParameterError, match=r"does not support these options.*wings"):
        build("timm:resnet18@random?wings=2")


def test_a_transformer_of_another_size_says_how():
    with pytest.raises(ParameterError, match=r"does not support images of 32 x 32.*img_size"):
        build("timm:vit_tiny_patch16_224@random?size=32")


def test_a_model_for_other_bands():
    handle = load_model("timm:resnet18@random?in_chans=5&size=40", device="cpu")
    found = FAMILIES.get("timm").build(handle, (5, 4, 3, 2, 1), ((0, 1000),) * 5)
    assert handle.channels == 5
    assert len(found.spec.mean) == 5
    assert found.embed(np.ones((1, 5, 20, 20), np.uint16)).shape == (1, 512)


def test_a_device_that_is_not_there():
    handle = load_model("timm:resnet18@random", device="cuda:99")
    with pytest.raises(ParameterError, match=r"device 'cuda:99' cannot be used.*--device auto"):
        FAMILIES.get("timm").build(handle, (1, 2, 3), SCALE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet18@nonsense", "has no weights 'nonsense'.*a1_in1k"),
        ("timm:resnet18?in_chans=abc", "in_chans='abc'"),
        ("timm:resnet18?in_chans=0", "in_chans=0"),
        ("timm:resnet18?in_chans=true", "in_chans=True"),
        ("timm:resnet18.nonsense", "has no weights 'nonsense'"),
        ("timm:resnet18.a1_in1k@a2_in1k", "has no weights 'a1_in1k.a2_in1k'"),
        ("timm:resnet18@random?features_only=true", "features_only"),
        ("timm:resnet18@random?num_classes=10", "num_classes"),
        ("timm:resnet18@random?checkpoint_path=w.pth", "checkpoint_path.*--weights PATH"),
        ("torchgeo:resnet18@random?checkpoint_path=w.pth", "checkpoint_path.*--weights PATH"),
    ],
)
def test_slips_in_names_are_seen_before_anything_is_built(name, message):
    with pytest.raises((ParameterError, UnknownNameError), match=message):
        load_model(name)


def test_an_output_that_is_no_vector_is_refused():
    with pytest.raises(ParameterError, match="does not return one vector"):
        build("timm:resnet18@random?size=40&global_pool=")


def test_a_size_that_a_transformer_cannot_take_is_refused_when_it_comes():
    name = "timm:vit_tiny_patch16_224@random?size=native&dynamic_img_size=true&img_size=64"
    model = build(name)
    with pytest.raises(ParameterError, match=r"tiles of 50 x 50 pixels.*divisible"):
        model.embed(np.zeros((1, 3, 50, 50), np.uint8))


def test_a_tile_that_is_too_small_is_named():
    model = build("timm:convnext_atto@random?size=native")
    with pytest.raises(ParameterError, match=r"tiles of 5 x 5 pixels.*Kernel size"):
        model.embed(np.zeros((1, 3, 5, 5), np.uint8))


def test_no_images_give_no_vectors(model):
    nothing = np.zeros((0, 3, 16, 16), np.uint8)
    assert model.embed(nothing).shape == (0, 512)
    assert model.tokens(nothing).shape == (0, 2, 2, 512)


def test_the_licence_of_a_local_file_is_not_known(model):
    assert model.spec.licence == ""
    assert build("timm:resnet18@random?size=40").spec.licence
