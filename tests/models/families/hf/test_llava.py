"""LLaVA 1.5 and LLaVA-NeXT: the numbers and the words of transformers itself."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.files import read_json, write_json
from foveate.models import Question, load_model
from foveate.models.load import FAMILIES
from foveate.testing import check_model
from foveate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from direct_chat import DirectChat  # noqa: E402

DRAW = np.random.default_rng(0)
BATCH = DRAW.integers(0, 255, (2, 3, 32, 32), np.uint8)
SCALE = ((0.0, 255.0),) * 3
KINDS = {
    "hf_llava": (
        transformers.LlavaForConditionalGeneration,
        transformers.LlavaProcessor,
        transformers.LlavaImageProcessor,
    ),
    "hf_llava_next": (
        transformers.LlavaNextForConditionalGeneration,
        transformers.LlavaNextProcessor,
        transformers.LlavaNextImageProcessor,
    ),
}


def build(folder, options=""):
    handle = load_model(f"hf{options}", weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), SCALE)


def direct(kind, folder):
    """The model by transformers alone, with its own processor."""
    network, processor, settings = KINDS[kind]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    images = settings.from_pretrained(folder)
    return DirectChat(network.from_pretrained(folder), tokenizer, images, processor(
        images, tokenizer, patch_size=8, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=tokenizer.chat_template,
    ))  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """The model, and the same by transformers alone."""
    _, folder = tiny_model(request.param, tmp_path_factory.mktemp(request.param))
    return build(folder), direct(request.param, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model("hf_llava", tmp_path_factory.mktemp("llava"))[1]


def question(*shapes):
    images = [DRAW.integers(0, 255, (3, *shape), np.uint8) for shape in shapes]
    return Question(images, "What is shown?")


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_it_can_do_keeps_the_rules(kind, tmp_path):
    name, weights = tiny_model(kind, tmp_path)
    check_model(load_model(name, weights=weights, device="cpu"), tolerance=1e-5)


def test_tokens_are_what_the_language_model_gets(pair):
    model, direct = pair
    pixels = direct.images(list(BATCH), return_tensors="pt")
    with torch.inference_mode():
        found = direct.net.get_image_features(**pixels).pooler_output
    # LLaVA-NeXT puts the tokens of the whole image before those of its tiles.
    expected = torch.stack([tokens[:16] for tokens in found]).numpy()
    tokens = model.tokens(BATCH)
    np.testing.assert_allclose(tokens.reshape(2, 16, 32), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(model.embed(BATCH), expected.mean(axis=1), rtol=1e-5, atol=1e-4)
    assert tokens.shape == (2, 4, 4, 32)


SHAPES = [((32, 32),), ((32, 32), (64, 64)), ((64, 64), (32, 32), (48, 48))]
STRIPS = [((40, 90),), ((90, 31), (64, 64)), ((10, 11),), ((33, 64), (70, 20))]


@pytest.mark.parametrize("shapes", SHAPES)
def test_it_says_what_transformers_says(pair, shapes):
    model, direct = pair
    asked = question(*shapes)
    assert model.generate([asked], max_tokens=8) == [direct.answer(asked, 8)]
    expected = [direct.loss(asked, "two bridges"), direct.loss(asked, "no")]
    found = model.answer_loss([asked, asked], ["two bridges", "no"])
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_bytes_of_the_exact_size_are_the_pixels_of_the_image_processor(pair):
    model, direct = pair
    side = 32 if "Next" not in type(direct.net).__name__ else 64
    image = DRAW.integers(0, 255, (3, side, side), np.uint8)
    expected = direct.images([image], return_tensors="pt")["pixel_values"]
    found = model._chat.show([image]).tensors["pixel_values"]
    # The whole image among the tiles is resampled, which the processor does in bytes.
    tiles = slice(1, None) if side == 64 else slice(None)
    expected, found = (x.reshape(-1, 3, 32, 32)[tiles] for x in (expected, found))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-4)


# --- tiles of LLaVA-NeXT -------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    _, folder = tiny_model("hf_llava_next", tmp_path_factory.mktemp("next"))
    return build(folder), direct("hf_llava_next", folder)


@pytest.mark.parametrize("shapes", STRIPS)
def test_images_of_any_shape_are_laid_out_as_the_processor_does(large, shapes):
    model, direct = large
    asked = question(*shapes)
    expected = direct.inputs(asked)
    shown = model._chat.show(asked.images)
    assert model._chat.write(asked.prompt, shown.lengths) == expected["input_ids"][0].tolist()
    for name, tensor in shown.tensors.items():
        np.testing.assert_allclose(tensor, expected[name], atol=1e-4)
    np.testing.assert_allclose(
        model.answer_loss([asked], ["no"]), direct.loss(asked, "no"), rtol=1e-4
    )


# --- what cannot be ------------------------------------------------------------------------


def test_a_size_that_the_tower_does_not_take(folder):
    with pytest.raises(ParameterError, match=r"size=64.*only supports images of 32 x 32"):
        build(folder, "?size=64")


def test_an_option_of_another_architecture(folder):
    with pytest.raises(ParameterError, match="min_pixels"):
        build(folder, "?min_pixels=99")


def test_a_tower_without_class_token_that_drops_one(folder, tmp_path):
    config = transformers.LlavaConfig.from_pretrained(folder)
    config.vision_config = transformers.SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        image_size=32, patch_size=8, vision_use_head=False,
    )  # fmt: skip
    transformers.LlavaForConditionalGeneration(config).save_pretrained(tmp_path)
    settings = read_json(folder / "preprocessor_config.json")
    write_json(tmp_path / "preprocessor_config.json", settings)
    with pytest.raises(DataError, match=r"first token.*vision_feature_select_strategy"):
        build(tmp_path)


def test_a_llama_3_is_asked_in_its_own_form(tmp_path):
    from foveate.models.families.hf.llava import _LLAMA3, _plain

    _, folder = tiny_model("hf_llava_next_llama3", tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    assert _plain(config, tokenizer) is _LLAMA3
    text = _LLAMA3("What is shown?", 2)
    start = text.index("<|start_header_id|>user")
    assert text[start:] == (
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\n<image>\nWhat is shown?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    ids = tokenizer(text)["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids("<|eot_id|>")) == 2
