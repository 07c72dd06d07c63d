"""Weights: what is read, what must fit, and how two are told apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foveate.errors import DataError
from foveate.models.checkpoint_file import check_state, read_state
from foveate.models.weights import (
    load_state,
    put_state,
    random_weights,
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


KINDS = ["state_dict", "model", "state_dict_ema", "model_state_dict", "net", "anything"]


@pytest.mark.parametrize("wrapper", KINDS)
def test_wrappers_are_taken_off(wrapper, tmp_path):
    torch.save({wrapper: make().state_dict(), "epoch": 3}, tmp_path / "w.pt")
    assert set(read_state(tmp_path / "w.pt")) == {"0.weight", "0.bias"}


def two(tmp_path, first, second, **more):
    """A checkpoint of two sets, the second of zeros."""
    zeros = {name: torch.zeros_like(t) for name, t in make().state_dict().items()}
    torch.save({second: zeros, first: make().state_dict(), **more}, tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.mark.parametrize("first", ["state_dict", "model"])
@pytest.mark.parametrize("second", ["state_dict_ema", "model_ema", "ema", "teacher"])
def test_of_two_sets_the_weights_as_trained_are_taken_and_it_is_said(
    first, second, tmp_path, caplog
):
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
    path = two(tmp_path, first, second, optimizer=optimizer)
    with caplog.at_level("INFO", "foveate"):
        check_state(path)
        assert not caplog.text
        assert read_state(path)["0.weight"].abs().sum() > 0
    assert f"'{first}', not '{second}'" in caplog.text
    assert f"?checkpoint_key={second}" in caplog.text
    assert read_state(path, second)["0.weight"].abs().sum() == 0
    check_state(path, second)
    with pytest.raises(DataError, match=rf"'other'.*{first}"):
        read_state(path, "other")


def test_where_no_set_is_the_usual_one_it_is_asked_for(tmp_path):
    path = two(tmp_path, "student", "teacher")
    with pytest.raises(DataError, match=r"'teacher', 'student'.*\?checkpoint_key=teacher"):
        check_state(path)
    assert read_state(path, "student")["0.weight"].abs().sum() > 0


PREFIXES = [
    "module.", "_orig_mod.", "model.", "module.model.", "encoder.", "backbone.", "net.",
    "student.", "teacher.backbone.", "0.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_of_all_names_is_taken_off(prefix, caplog):
    net = make()
    torch.nn.init.zeros_(net[0].weight)
    state = {f"{prefix}{name}": tensor for name, tensor in make().state_dict().items()}
    with caplog.at_level("INFO", "foveate"):
        put_state(net, state, "w.pt", "linear")
    assert weights_hash(net) == weights_hash(make())
    assert repr(prefix) in caplog.text


def test_a_prefix_that_the_network_has_itself_stays(caplog):
    nested = random_weights(lambda: torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2))))
    with caplog.at_level("INFO", "foveate"):
        put_state(nested, nested.state_dict(), "w.pt", "nested")
    assert not caplog.text


def test_names_that_do_not_fit_are_named_with_their_prefix():
    state = {f"module.net.{name}": t for name, t in make(4).state_dict().items()}
    with pytest.raises(DataError, match=r"2 of another shape \(first '0.bias'\)"):
        put_state(make(), state, "w.pt", "linear")
    state = {"module.a.x": torch.ones(1), "module.b.y": torch.ones(1)}
    with pytest.raises(DataError, match=r"first '0.bias'.*first 'module.a.x'.*prefix 'module.'"):
        put_state(make(), state, "w.pt", "linear")


def test_a_part_that_fits_is_offered_and_can_be_taken(tmp_path):
    parts = {
        f"{prefix}.{name}": tensor
        for prefix in ("student.backbone", "teacher.backbone")
        for name, tensor in make().state_dict().items()
    }
    with pytest.raises(DataError, match=r"append \?checkpoint_key=student.backbone "):
        put_state(make(), parts, "w.pt", "linear")
    torch.save({"state_dict": parts}, tmp_path / "w.pt")
    safetensors.save_file(parts, tmp_path / "w.safetensors")
    for name, key in (
        ("w.pt", "state_dict.teacher.backbone"), ("w.safetensors", "teacher.backbone"),
    ):  # fmt: skip
        check_state(tmp_path / name, key)
        assert set(read_state(tmp_path / name, key)) == {"0.weight", "0.bias"}
        with pytest.raises(DataError, match="contain no tensors under"):
            check_state(tmp_path / name, f"{key}.other")


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


@pytest.mark.parametrize(("content", "suffix"), [("torch", "safetensors"), ("safetensors", "bin")])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_content_of_a_file_decides_not_its_suffix(content, suffix, legacy, tmp_path):
    path = tmp_path / f"w.{suffix}"
    if content == "torch":
        torch.save(make().state_dict(), path, _use_new_zipfile_serialization=not legacy)
    else:
        safetensors.save_file(make().state_dict(), path)
    check_state(path)
    assert set(read_state(path)) == {"0.weight", "0.bias"}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_pointers_to_weights_are_named(suffix, tmp_path):
    path = tmp_path / f"w.{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for read in (check_state, read_state):
        with pytest.raises(DataError, match=r"have not been fetched.*git lfs pull"):
            read(path)


def test_what_holds_no_tensors_does_not_pass_the_check(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="not named tensors"):
        check_state(tmp_path / "w.pt")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}])
def test_other_values_beside_the_tensors_are_left_out(wrap, tmp_path):
    state = {**make().state_dict(), "epoch": 5, "note": None}
    torch.save(wrap(state), tmp_path / "w.pt")
    check_state(tmp_path / "w.pt")
    assert set(read_state(tmp_path / "w.pt")) == {"0.weight", "0.bias"}


def test_metrics_beside_a_set_are_no_set(tmp_path, caplog):
    callbacks = {"checkpoint": {"best": torch.ones(()), "path": "a"}}
    torch.save({"ema": make().state_dict(), "callbacks": callbacks}, tmp_path / "w.pt")
    with caplog.at_level("INFO", "foveate"):
        assert set(read_state(tmp_path / "w.pt")) == {"0.weight", "0.bias"}
    assert not caplog.text


def test_an_index_joins_its_files(tmp_path):
    state = make().state_dict()
    for i, (name, tensor) in enumerate(state.items(), 1):
        safetensors.save_file({name: tensor}, tmp_path / f"model-0000{i}-of-00002.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    names = {name: f"model-0000{i}-of-00002.safetensors" for i, name in enumerate(state, 1)}
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    check_state(index)
    net = make()
    torch.nn.init.zeros_(net[0].weight)
    load_state(net, index, "linear")
    assert weights_hash(net) == weights_hash(make())
    with pytest.raises(DataError, match=r"00001-of-00002\).*'model.safetensors.index.json'"):
        load_state(net, tmp_path / names["0.weight"], "linear")
    (tmp_path / names["0.bias"]).unlink()
    for read in (check_state, read_state):
        with pytest.raises(DataError, match=r"1 of the 2 files .* missing \(first 'model-00002"):
            read(index)
    index.write_text("{}")
    with pytest.raises(DataError, match="not an index"):
        check_state(index)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_what_is_no_file_of_tensors_is_named(tmp_path):
    torch.save({"state_dict": make().state_dict(), "best": np.float64(0.5)}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"multiarray.scalar among them.*weights_only=False"):
        check_state(tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"is a folder. .* Files in it: w.pt"):
        check_state(tmp_path)
    torch.jit.save(torch.jit.script(make()), tmp_path / "script.pt")
    with pytest.raises(DataError, match=r"TorchScript archive.*torch.jit.load\('script.pt'\)"):
        read_state(tmp_path / "script.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(value):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    for name in ("0.weight", "1.running_var"):
        state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
        state[name].view(-1)[1] = value
        with pytest.raises(DataError, match=rf"NaN or infinity in 1 .*first '{name}'"):
            put_state(net, state, "w.pt", "x")


def test_a_mask_of_attention_may_be_infinite():
    net = make()
    net.register_buffer("mask", torch.full((2,), -torch.inf))
    put_state(net, net.state_dict(), "w.pt", "x")


def test_quantised_weights_are_refused():
    state = {name: (t * 127).to(torch.int8) for name, t in make().state_dict().items()}
    with pytest.raises(DataError, match=r"'0.weight' as int8.*quantised"):
        put_state(make(), state, "w.pt", "linear")


def test_shapes_that_differ_are_stated(path):
    with pytest.raises(DataError, match=r"'0.bias' is 3 in the file and 4 in the network"):
        load_state(make(4), path, "wide")


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
    other = {f"{name}.other": tensor for name, tensor in read_state(path).items()}
    with pytest.raises(DataError, match=r"2 parameters missing \(first '0.bias'\), 2 unknown"):
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
