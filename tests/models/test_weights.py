"""Weights: what is read, what must fit, and how two are told apart."""

from __future__ import annotations

import pytest

from foveate.errors import DataError
from foveate.models.weights import (
    check_state,
    load_state,
    put_state,
    random_weights,
    read_state,
    source_of,
    weights_hash,
)

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


def make(width=3):
    return random_weights(lambda: torch.nn.Sequential(torch.nn.Linear(2, width)))


@pytest.fixture
def path(tmp_path):
    safetensors.save_file(make().state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_state_dict"])
def test_wrappers_and_prefixes_are_taken_off(wrapper, tmp_path):
    state = {f"module.{name}": tensor for name, tensor in make().state_dict().items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "w.pt")
    assert set(read_state(tmp_path / "w.pt")) == {"0.weight", "0.bias"}


@pytest.mark.parametrize("legacy", [False, True])
def test_checking_a_file_reads_no_tensors(legacy, path, tmp_path, monkeypatch):
    old = tmp_path / "w.pt"
    torch.save({"model": make().state_dict()}, old, _use_new_zipfile_serialization=not legacy)
    loaded = []
    plain = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loaded.append(k["mmap"]) or plain(*a, **k))
    monkeypatch.setattr(safetensors, "load_file", None)
    check_state(path)
    assert not loaded
    check_state(old)
    assert loaded == [not legacy]  # files of torch before 1.6 can only be read whole


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_what_is_damaged_does_not_pass_the_check(suffix, damage, tmp_path):
    path = tmp_path / f"w.{suffix}"
    save = safetensors.save_file if suffix == "safetensors" else torch.save
    save(make().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-10], "empty": b"", "text": b"<html>404</html>"}[damage])
    with pytest.raises(DataError, match="cannot read the weights"):
        check_state(path)


def test_what_holds_no_tensors_does_not_pass_the_check(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="not named tensors"):
        check_state(tmp_path / "w.pt")


def test_a_file_is_loaded_whole(path):
    net = make()
    torch.nn.init.zeros_(net[0].weight)
    load_state(net, path, "linear")
    assert weights_hash(net) == weights_hash(make())


def test_half_precision_becomes_the_network_s():
    net = make()
    put_state(net, {name: t.half() for name, t in net.state_dict().items()}, "w.pt", "linear")
    assert net[0].weight.dtype == torch.float32


def test_every_parameter_must_fit(path):
    with pytest.raises(DataError, match=r"'wide': 0 .* missing, 0 unknown, 2 of another shape"):
        load_state(make(4), path, "wide")
    other = {f"other.{name}": tensor for name, tensor in read_state(path).items()}
    with pytest.raises(DataError, match=r"2 parameters missing, 2 unknown.*'0.bias'"):
        put_state(make(), other, path, "linear")


def test_what_may_be_left_over_or_lacking_is_said(path):
    state = read_state(path)
    put_state(make(), {**state, "head": state["0.bias"]}, path, "x", spare=lambda n: n == "head")
    with pytest.raises(DataError, match="1 unknown"):
        put_state(make(), {**state, "head": state["0.bias"]}, path, "x")
    del state["0.bias"]
    put_state(make(), state, path, "x", optional=lambda name: name == "0.bias")
    with pytest.raises(DataError, match="1 parameters missing"):
        put_state(make(), state, path, "x")


def test_a_hash_tells_values_and_settings_apart():
    net = make()
    same = weights_hash(net, "a")
    assert same == weights_hash(make(), "a")
    assert same != weights_hash(net, "b")
    net[0].weight.data[0, 0] += 1e-3
    assert same != weights_hash(net, "a")


def test_random_weights_draw_nothing_from_the_global_generator():
    before = torch.random.get_rng_state()
    assert weights_hash(make()) == weights_hash(make())
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_source_is_a_file_with_its_content_or_the_hub(path):
    assert source_of(str(path)).startswith("w.safetensors (")
    assert source_of(str(path.parent)) == path.parent.name
    assert source_of("", "hub: org/name") == "hub: org/name"


def test_random_weights_leave_the_generators_of_other_devices_alone(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    make()
    assert not seeded
