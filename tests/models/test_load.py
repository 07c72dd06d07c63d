"""Names of models, and what is refused before anything is built."""

from __future__ import annotations

import pickle

import pytest

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models import ModelHandle, load_model, parse_name


@pytest.mark.parametrize(
    ("text", "family", "name", "tag", "options"),
    [
        ("builtin", "builtin", "", "", {}),
        ("timm:resnet18", "timm", "resnet18", "", {}),
        ("timm:resnet18@a1_in1k", "timm", "resnet18", "a1_in1k", {}),
        (" timm:x@random?size=96&pad_type=same ", "timm", "x", "random",
         {"size": 96, "pad_type": "same"}),
        ("timm:x?a=true&b=None&c=0.5&d=[1,2]&e=", "timm", "x", "",
         {"a": True, "b": None, "c": 0.5, "d": [1, 2], "e": ""}),
    ],
)  # fmt: skip
def test_names_are_read(text, family, name, tag, options):
    found = parse_name(text)
    assert (found.family, found.name, found.tag, found.options) == (family, name, tag, options)


@pytest.mark.parametrize("text", ["", ":resnet18", "@random", "timm:resnet18?size"])
def test_what_is_no_name_says_what_the_form_is(text):
    with pytest.raises(ParameterError, match="Expected family"):
        parse_name(text)


def test_a_handle_is_printed_as_it_was_typed_and_can_be_pickled():
    handle = load_model("timm:resnet18@random?size=96", bands=[3, 2, 1])
    assert str(handle) == "timm:resnet18@random?size=96"
    assert pickle.loads(pickle.dumps(handle)) == handle  # noqa: S301  (made here)
    assert handle.bands == (3, 2, 1)
    assert handle.channels == 3


def test_an_option_is_given_once():
    with pytest.raises(ParameterError, match="option 'size' twice"):
        parse_name("timm:resnet18?size=64&mean=0.5&size=32")


@pytest.mark.parametrize("option", ["size=abc", "size=7", "mean=x", "std=0"])
def test_invalid_options_are_refused_before_weights_are_fetched(option):
    with pytest.raises(ParameterError, match=option.partition("=")[0]):
        load_model(f"timm:resnet18?{option}")


def test_the_folder_of_a_tuned_model_may_hold_an_at_sign():
    found = parse_name("tuned:me@work/t?precision=float32")
    assert (found.name, found.tag, found.options) == ("me@work/t", "", {"precision": "float32"})


def test_what_a_query_gives_a_meaning_to_is_escaped():
    handle = ModelHandle("timm", "x", options={"a": "b&c=d+e%f", "g": [1, 2], "h": True})
    assert parse_name(str(handle)).options == handle.options


def test_unknown_names_come_with_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"unknown model family 'tim'.*Did you mean 'timm'"):
        load_model("tim:resnet18")
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        load_model("timm:resnet_18")
    with pytest.raises(ParameterError, match="the name of the timm model is missing"):
        load_model("timm")


def test_a_bare_name_of_timm_finds_its_family():
    with pytest.raises(UnknownNameError, match="Did you mean 'timm:resnet18'"):
        load_model("resnet18")


def test_the_builtin_model_has_no_variants(tmp_path):
    for name in ("builtin:large", "builtin@v2", "builtin?size=3"):
        with pytest.raises(ParameterError, match="no variants, options or weights"):
            load_model(name)


def test_a_weights_file_that_is_not_there():
    with pytest.raises(DataError, match="does not exist"):
        load_model("timm:resnet18", weights="nowhere.safetensors")


@pytest.mark.parametrize("device", ["meta", "hpu", "abacus", "cuda:x", ""])
def test_a_device_that_no_model_runs_on_is_refused_at_once(device):
    with pytest.raises(ParameterError, match=r"not supported.*cuda:N"):
        load_model("builtin", device=device)
