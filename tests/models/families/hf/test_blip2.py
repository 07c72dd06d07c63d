"""BLIP-2: queries for the embedding, patches for the tokens, answers as in transformers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.files import read_json, write_json
from foveate.models import Question, load_model
from foveate.models.answer_head import answer_classes
from foveate.models.load import FAMILIES
from foveate.models.weights import random_weights
from foveate.testing import check_model
from foveate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DRAW = np.random.default_rng(0)
BATCH = DRAW.integers(0, 255, (2, 3, 32, 32), np.uint8)
SCALE = ((0.0, 255.0),) * 3
QUESTION = Question([BATCH[0]], "What is shown?")


def build(folder, options=""):
    handle = load_model(f"hf{options}", weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), SCALE)


class Direct:
    """The model by transformers alone, with its own processor."""

    def __init__(self, folder):
        self.net = transformers.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.images = transformers.BlipImageProcessor.from_pretrained(folder)
        self.processor = transformers.Blip2Processor(
            self.images, self.tokenizer, num_query_tokens=self.net.config.num_query_tokens
        )

    def inputs(self, question, answer=""):
        text = f"Question: {question.prompt} Answer:{answer}"
        return self.processor(images=question.images[0], text=text, return_tensors="pt")

    def answer(self, question, most):
        inputs = self.inputs(question)
        found = self.net.generate(**inputs, max_new_tokens=most, do_sample=False)[0]
        start = 0 if self.net.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return self.tokenizer.decode(found[start:], skip_special_tokens=True).strip()


def loss_of(logits, ids):
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model("hf_blip2", tmp_path_factory.mktemp("blip2"))[1]


@pytest.fixture(scope="module")
def model(folder):
    return build(folder)


@pytest.fixture(scope="module")
def direct(folder):
    return Direct(folder)


@pytest.fixture(scope="module")
def seq2seq(folder, tmp_path_factory):
    """The same with a T5, which reads the question and writes the answer."""
    target = tmp_path_factory.mktemp("t5")
    shutil.copytree(folder, target, dirs_exist_ok=True)
    config = transformers.Blip2Config.from_pretrained(folder)
    config.text_config = transformers.T5Config(
        vocab_size=260, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=258, eos_token_id=257, pad_token_id=258, initializer_factor=3.0,
    )  # fmt: skip
    config = transformers.Blip2Config(**config.to_dict())
    net = random_weights(lambda: transformers.Blip2ForConditionalGeneration(config))
    net.save_pretrained(target)
    return target


def test_all_that_it_can_do_keeps_the_rules(folder):
    check_model(load_model("hf", weights=folder, device="cpu"), tolerance=1e-5)


def test_the_embedding_is_the_mean_of_the_queries_and_tokens_are_patches(model, direct):
    pixels = direct.images(list(BATCH), return_tensors="pt")
    with torch.inference_mode():
        found = direct.net.get_image_features(**pixels)
    queries = found.qformer_outputs.last_hidden_state.numpy()
    np.testing.assert_allclose(model.embed(BATCH), queries.mean(axis=1), rtol=1e-5, atol=1e-4)
    patches = found.last_hidden_state[:, 1:].numpy()
    assert model.tokens(BATCH).shape == (2, 4, 4, 32)
    np.testing.assert_allclose(
        model.tokens(BATCH).reshape(2, 16, 32), patches, rtol=1e-5, atol=1e-4
    )
    assert (model.token_spec.space, model.token_spec.pooled) == ("backbone", False)


def test_it_says_what_transformers_says(model, direct):
    assert model.generate([QUESTION], max_tokens=8) == [direct.answer(QUESTION, 8)]
    inputs = direct.inputs(QUESTION, " two")
    with torch.inference_mode():
        logits = direct.net(**inputs).logits[0, -5:-1]
    expected = loss_of(logits, inputs["input_ids"][0, -4:].tolist())
    np.testing.assert_allclose(model.answer_loss([QUESTION], ["two"]), expected, rtol=1e-5)


def test_a_language_model_of_two_parts_says_the_same_too(seq2seq):
    model, direct = build(seq2seq), Direct(seq2seq)
    assert model.generate([QUESTION], max_tokens=8) == [direct.answer(QUESTION, 8)]
    answer = direct.tokenizer("two", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        found = direct.net(**direct.inputs(QUESTION), labels=torch.tensor([answer]))
    expected = loss_of(found.logits[0], answer)
    np.testing.assert_allclose(model.answer_loss([QUESTION], ["two"]), expected, rtol=1e-5)


def test_answers_of_two_parts_are_judged_one_by_one(seq2seq):
    model, answers = build(seq2seq), ["two", "a harbor"]
    assert not model.shares_questions
    found = model.answer_losses([QUESTION], answers)[0]
    expected = model.answer_loss([QUESTION] * 2, answers)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert answer_classes(model, answers)[0].passes_each == 2


def test_every_image_of_a_question_counts(model):
    pairs = [Question([BATCH[0], other], "What has changed?") for other in BATCH]
    same, changed = model.answer_loss(pairs, ["nothing", "nothing"])
    assert same != changed


def test_positions_are_interpolated_to_another_size(folder, direct):
    model = build(folder, "?size=48")
    image = DRAW.integers(0, 255, (1, 3, 48, 48), np.uint8)
    pixels = direct.images(list(image), return_tensors="pt", do_resize=False)["pixel_values"]
    with torch.inference_mode():
        found = direct.net.vision_model(pixels, interpolate_pos_encoding=True)
    expected = found.last_hidden_state[:, 1:].reshape(1, 6, 6, 32).numpy()
    np.testing.assert_allclose(model.tokens(image), expected, rtol=1e-5, atol=1e-4)
    asked = Question(list(image), "What is shown?")
    assert model.generate([asked], max_tokens=3)
    assert model.answer_loss([asked], ["no"]) > 0


# --- what cannot be ------------------------------------------------------------------------


def test_a_size_that_patches_do_not_fill(folder):
    with pytest.raises(ParameterError, match="must be a multiple of"):
        build(folder, "?size=30")


def test_a_config_from_before_there_was_a_placeholder(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = read_json(folder / "config.json")
    config.pop("image_token_index")
    write_json(tmp_path / "config.json", config)
    with pytest.raises(DataError, match="image_token_index"):
        build(tmp_path)


def test_a_prompt_with_the_placeholder(model):
    with pytest.raises(ParameterError, match="'<image>'"):
        model.generate([Question(QUESTION.images, "What is <image>?")])
