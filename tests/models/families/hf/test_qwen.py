"""Qwen2-VL and Qwen2.5-VL: images at their own size, as transformers shows them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from foveate.errors import ParameterError
from foveate.files import read_json, write_json
from foveate.models import Question, load_model
from foveate.models.families.hf.qwen import Patches
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
reference = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl")

from direct_chat import DirectChat  # noqa: E402

DRAW = np.random.default_rng(0)
SCALE = ((0.0, 255.0),) * 3
KINDS = {
    "hf_qwen2_vl": transformers.Qwen2VLForConditionalGeneration,
    "hf_qwen2_5_vl": transformers.Qwen2_5_VLForConditionalGeneration,
}


def build(folder, options=""):
    handle = load_model(f"hf{options}", weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), SCALE)


def images(*shapes):
    return [DRAW.integers(0, 255, (3, *shape), np.uint8) for shape in shapes]


def direct(kind, folder):
    """The model by transformers alone, with its own processor."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    shown = reference.Qwen2VLImageProcessor.from_pretrained(folder)
    return DirectChat(KINDS[kind].from_pretrained(folder), tokenizer, shown,
        transformers.Qwen2VLProcessor(
            shown, tokenizer, chat_template=tokenizer.chat_template,
            video_processor=transformers.Qwen2VLVideoProcessor(),
    ))  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """The folder, the model in it, and the same by transformers alone."""
    _, folder = tiny_model(request.param, tmp_path_factory.mktemp(request.param))
    return folder, build(folder, "?size=32"), direct(request.param, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model("hf_qwen2_vl", tmp_path_factory.mktemp("qwen"))[1]


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_it_can_do_keeps_the_rules(kind, tmp_path):
    name, weights = tiny_model(kind, tmp_path)
    check_model(load_model(name, weights=weights, device="cpu"), tolerance=1e-5)


def test_bytes_of_the_exact_size_are_the_pixels_of_the_image_processor(pair):
    _, model, direct = pair
    shown = images((32, 32), (40, 24))
    expected = direct.images(shown, return_tensors="pt")
    found = model._chat.show(shown)
    assert found.tensors["image_grid_thw"].tolist() == expected["image_grid_thw"].tolist()
    np.testing.assert_allclose(
        found.tensors["pixel_values"], expected["pixel_values"], rtol=1e-5, atol=1e-4
    )


def test_tokens_are_merged_patches_on_their_grid(pair):
    _, model, direct = pair
    batch = np.stack(images((32, 32), (32, 32)))
    pixels = direct.images(list(batch), return_tensors="pt")
    with torch.inference_mode():
        found = torch.stack(list(direct.net.get_image_features(**pixels).pooler_output)).numpy()
    tokens = model.tokens(batch)
    assert tokens.shape == (2, 4, 4, 32)
    np.testing.assert_allclose(tokens.reshape(2, 16, 32), found, atol=1e-5 * np.abs(found).max())
    np.testing.assert_allclose(model.embed(batch), found.mean(axis=1), rtol=1e-5, atol=1e-4)


def test_a_token_lies_where_its_pixels_are():
    cut = Patches(side=4, merge=2, frames=2, least=64, most=4096).cut
    x = torch.arange(16 * 24.0).reshape(1, 1, 16, 24)
    patches, grid = cut(x)
    assert grid.tolist() == [[1, 4, 6]]
    token = patches.reshape(2, 3, 4, 2, 16)[1, 2]  # row, column; its patches, frames, pixels
    np.testing.assert_array_equal(token[0, 0], x[0, 0, 8:12, 16:20].reshape(-1))
    np.testing.assert_array_equal(token[3, 1], x[0, 0, 12:16, 20:24].reshape(-1))


SHAPES = [((32, 32),), ((40, 24), (64, 64)), ((200, 50), (9, 9), (33, 61))]


@pytest.mark.parametrize("shapes", SHAPES)
def test_it_says_what_transformers_says(pair, shapes):
    _, model, direct = pair
    asked = Question(images(*shapes), "What is shown?")
    assert model.generate([asked], max_tokens=8) == [direct.answer(asked, 8)]
    expected = [direct.loss(asked, "two bridges"), direct.loss(asked, "no")]
    found = model.answer_loss([asked, asked], ["two bridges", "no"])
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("least", "most"), [(3136, 1003520), (50176, 50176), (784, 1568)])
def test_sizes_are_those_of_the_image_processor(least, most):
    patches = Patches(side=14, merge=2, frames=2, least=least, most=most)
    for height, width in DRAW.integers(20, 3000, (200, 2)):
        expected = reference.smart_resize(height, width, 28, least, most)
        assert patches.fit(int(height), int(width)) == tuple(expected)


def test_the_area_of_an_image_is_an_option(folder):
    asked = images((64, 64))
    grids = {
        options: build(folder, options)._chat.show(asked).tensors["image_grid_thw"].tolist()[0]
        for options in ("", "?max_pixels=256", "?min_pixels=9000&max_pixels=10000")
    }
    assert grids == {
        "": [1, 16, 16],
        "?max_pixels=256": [1, 4, 4],
        "?min_pixels=9000&max_pixels=10000": [1, 24, 24],
    }


def test_limits_are_read_in_their_newer_form_too(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    settings = read_json(folder / "preprocessor_config.json")
    limits = {"shortest_edge": settings.pop("min_pixels"), "longest_edge": 1024}
    settings.pop("max_pixels")
    write_json(tmp_path / "preprocessor_config.json", {**settings, "size": limits})
    grid = build(tmp_path)._chat.show(images((64, 64))).tensors["image_grid_thw"]
    assert grid.tolist() == [[1, 8, 8]]


def test_tiles_may_keep_their_own_size(folder):
    model = build(folder, "?size=native")
    assert model.spec.input_size is None
    assert model.tokens(np.stack(images((24, 48)))).shape == (1, 3, 6, 32)
    tokens = model.tokens(np.stack(images((30, 50))))
    assert tokens.shape == (1, 4, 6, 32)


def test_the_size_of_embedded_tiles_does_not_change_the_answers(folder):
    asked = [Question(images((30, 50)), "What is shown?")]
    losses = [build(folder, f"?size={s}").answer_loss(asked, ["no"]) for s in (16, 32)]
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?size=30", "must be a multiple of"),
        ("?min_pixels=few", "number of pixels"),
        ("?min_pixels=true", "number of pixels"),
        ("?min_pixels=0", "min_pixels=0"),
        ("?max_pixels=9", "at least 64"),
        ("?min_pixels=900&max_pixels=800", "min_pixels=900 and max_pixels=800"),
    ],
)
def test_options_that_cannot_be(folder, options, message):
    with pytest.raises(ParameterError, match=message):
        build(folder, options)


def test_a_strip_is_refused(folder):
    with pytest.raises(ParameterError, match=r"2 x 500.*200 times the shorter"):
        build(folder).generate([Question(images((2, 500)), "What is shown?")])
