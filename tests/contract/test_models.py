"""Every model family passes the public suite, and the suite catches what it should."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from foveate.models import from_callable, load_model
from foveate.models.families._sizes import share_weights
from foveate.models.preprocess import read_size
from foveate.testing import CheckFailed, check_model
from foveate.testing.tiny import KINDS, tiny_model


def spectra(batch):
    """Mean and spread of each band: a function of one image at a time."""
    values = batch.astype(np.float64) / 255
    return np.concatenate([values.mean(axis=(2, 3)), values.std(axis=(2, 3))], axis=1)


def model(function, dim=6, bands=(1, 2, 3), **options):
    return from_callable(function, name="mine", dim=dim, bands=bands, fingerprint="1", **options)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_builtin_passes_the_suite_to_the_byte(dtype):
    check_model(load_model("builtin"), dtype=dtype)


@pytest.mark.parametrize("bands", [(1,), (4, 2, 1, 3, 5)])
def test_builtin_takes_any_bands(bands):
    check_model(load_model("builtin", bands=bands, scale=((0, 200),)), shape=(32, 48))


@pytest.mark.parametrize(
    "name",
    [
        "timm:resnet18@random?size=64",
        "timm:vit_tiny_patch16_224@random?size=32&img_size=32",
        "timm:resnet18@random?size=native&in_chans=5",
    ],
)
def test_timm_passes_the_suite(name):
    check_model(load_model(name, device="cpu"), tolerance=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_tiny_model_passes_the_suite(kind, tmp_path):
    name, weights = tiny_model(kind, tmp_path)
    check_model(load_model(name, weights=weights, device="cpu"), tolerance=1e-5)


def test_bands_may_be_chosen_beforehand():
    name = "timm:mobilenetv3_small_050@random?size=64"
    check_model(load_model(name, bands=[4, 3, 2]), tolerance=1e-4)


def test_a_callable_passes_the_suite():
    check_model(model(spectra))


def test_a_callable_may_ask_for_a_size():
    # Resampled integers are rounded, floats are not.
    check_model(model(spectra, input_size=(16, 16)), tolerance=0.01)


def test_a_callable_may_skip_and_reorder_bands():
    check_model(model(spectra, bands=(5, 1, 2)))


def of_the_batch(batch):
    return spectra(batch) - spectra(batch).mean(axis=0) * 0.01


def random_projection(batch):
    return spectra(batch) + np.random.random(6)  # noqa: NPY002


def blind(batch):
    return np.ones((len(batch), 6))


def huge(batch):
    return spectra(batch) * 1e6


def undefined(batch):
    return spectra(batch) * np.nan


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (of_the_batch, "depends on the other images"),
        (random_projection, "second call"),
        (blind, "vector of a constant one"),
        (huge, "overflow"),
        (undefined, "NaN"),
    ],
)
def test_the_suite_names_the_broken_rule(function, rule):
    with pytest.raises(CheckFailed, match=rule):
        check_model(model(function))


def test_the_suite_asks_for_a_fingerprint():
    bare = from_callable(spectra, name="mine", dim=6, bands=(1, 2, 3), fingerprint="")
    with pytest.raises(CheckFailed, match="fingerprint"):
        check_model(bare)


# --- what must be left as it was -----------------------------------------------------------


class Held:
    """A network two attributes deep, and a model that does something to it."""

    def __init__(self, careless):
        torch = pytest.importorskip("torch")
        self.inner = {"net": torch.nn.Sequential(torch.nn.Linear(6, 6)).eval()}
        self.careless = careless
        self.spec = model(spectra).spec

    def embed(self, batch):
        self.careless(self.inner["net"])
        return model(spectra).embed(batch)


def train(net):
    net.train()


def hook(net):
    net[0].register_forward_hook(lambda *_: None)


def thaw(net):
    net[0].weight.requires_grad_(requires_grad=False)


def learn(net):
    net[0].weight.grad = net[0].weight.detach().clone()


def drift(net):
    net[0].weight.data += 0.001


def patch(net):
    net[0].forward = type(net[0]).forward.__get__(net[0])


def grow(net):
    net.add_module(f"more {len(net)}", type(net[0])(2, 2))


@pytest.mark.parametrize(
    ("careless", "rule"),
    [
        (train, "changes the train mode of network 0"),
        (hook, "changes the hooks of .*'0'"),
        (thaw, "changes requires_grad of .*'0.weight'"),
        (learn, "changes the gradient"),
        (drift, "changes the values"),
        (patch, "changes the forward method"),
        (grow, "adds network 0"),
    ],
)
def test_the_suite_sees_what_happens_to_a_network(careless, rule):
    check_model(Held(lambda net: net.eval()))
    with pytest.raises(CheckFailed, match=rule):
        check_model(Held(careless))


def test_the_suite_finds_a_network_in_a_function():
    net = pytest.importorskip("torch").nn.Linear(6, 6).eval()

    def careless(batch):
        net.train()
        return spectra(batch)

    with pytest.raises(CheckFailed, match="train mode"):
        check_model(model(careless))


class Resized(Held):
    """A network, and a copy of it at any other size, after something was done to the copy."""

    size_step = 8

    def embed(self, batch):
        return model(spectra).embed(batch) + np.float32(sum(self.spec.input_size or ()))

    def at_size(self, side):
        other = copy.copy(self)
        other.spec = replace(self.spec, input_size=read_size(side, 8, "resized"))
        other.inner = {"net": share_weights(self.inner["net"])}
        self.careless(other.inner["net"])
        return other


def double(net):
    net[0] = copy.deepcopy(net[0])


def wake(net):
    net[0].weight.requires_grad_(requires_grad=True)


@pytest.mark.parametrize(
    ("careless", "rule"),
    [
        (double, "'0.weight' is copied in memory"),
        (wake, "'0.weight' is not frozen|changes requires_grad"),
        (train, "in train mode"),
    ],
)
def test_the_suite_sees_what_another_size_does_to_a_network(careless, rule):
    model = Resized(lambda net: net)
    model.inner["net"].requires_grad_(requires_grad=False)
    check_model(model)
    model.careless = careless
    with pytest.raises(CheckFailed, match=rule):
        check_model(model)


def test_the_suite_sees_a_changed_grad_mode():
    torch = pytest.importorskip("torch")

    def careless(batch):
        torch.set_grad_enabled(False)
        return spectra(batch)

    try:
        with pytest.raises(CheckFailed, match="grad mode"):
            check_model(model(careless))
    finally:
        torch.set_grad_enabled(True)
