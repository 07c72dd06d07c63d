"""Questions to generative models: prompts as trained, greedy answers, and what is refused."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest

from foveate.errors import DataError, MemoryLimitError, ParameterError
from foveate.files import read_json, write_json
from foveate.models import Question, load_model
from foveate.models.load import FAMILIES
from foveate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DRAW = np.random.default_rng(0)
IMAGE, OTHER = DRAW.integers(0, 255, (2, 3, 32, 32), np.uint8)
ASKED = Question([IMAGE], "What is shown?")


def build(folder, options="", scale=(0.0, 255.0)):
    handle = load_model(f"hf{options}", weights=folder, device="cpu")
    return FAMILIES.get("hf").build(handle, (1, 2, 3), (scale,) * 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model("hf_llava", tmp_path_factory.mktemp("llava"))[1]


@pytest.fixture(scope="module")
def model(folder):
    return build(folder)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_template_in_the_older_file_is_found(copy, model):
    text = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    without = build(copy)
    write_json(copy / "chat_template.json", {"chat_template": text.replace("ASSISTANT", "HELPER")})
    losses = [m.answer_loss([ASKED], ["no"])[0] for m in (model, without, build(copy))]
    assert losses[0] == losses[1]  # the documented form is that of the template
    assert losses[2] != losses[0]


# --- answers -------------------------------------------------------------------------------


def test_settings_for_sampling_neither_warn_nor_change_an_answer(copy, model):
    found = read_json(copy / "generation_config.json")
    sampling = {"do_sample": True, "temperature": 0.2, "top_p": 0.5, "top_k": 3}
    beams = {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0, "max_length": 9}
    write_json(copy / "generation_config.json", {**found, **sampling, **beams})
    said = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = said.append
    logger = logging.getLogger("transformers")
    logger.addHandler(listener)
    try:
        assert build(copy).generate([ASKED]) == model.generate([ASKED])
    finally:
        logger.removeHandler(listener)
    assert [record.getMessage() for record in said] == []


def test_an_answer_has_at_most_as_many_tokens_as_asked_for(model):
    short, long = (model.generate([ASKED], max_tokens=n)[0] for n in (2, 12))
    assert len(short) <= 2  # a token is a byte here
    assert long.startswith(short)


def test_raw_values_count_by_their_scale(folder, model):
    wide = build(folder, scale=(0.0, 2550.0))
    asked = [Question([IMAGE.astype(np.uint16) * 10], ASKED.prompt)]
    np.testing.assert_allclose(
        wide.answer_loss(asked, ["no"]), model.answer_loss([ASKED], ["no"]), rtol=1e-5
    )


def test_mixed_precision_is_near(folder, model):
    half = build(folder, "?precision=bfloat16")
    assert half.spec.precision == "bfloat16"
    np.testing.assert_allclose(
        half.answer_loss([ASKED], ["no"]), model.answer_loss([ASKED], ["no"]), rtol=0.05
    )


def test_weights_kept_in_half_precision_are_widened_on_the_cpu(copy, model):
    net = transformers.LlavaForConditionalGeneration.from_pretrained(copy)
    net.to(torch.bfloat16).save_pretrained(copy)
    found = build(copy)
    assert {p.dtype for p in found._chat.runner.net.parameters()} == {torch.float32}
    np.testing.assert_allclose(found.embed(IMAGE[None]), model.embed(IMAGE[None]), atol=0.2)


def test_no_question_has_no_answer(model):
    assert model.generate([]) == []
    assert model.answer_loss([], []).shape == (0,)


# --- what cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question([], "What is shown?"), "has no images"),
        (Question([IMAGE], "  "), "empty prompt"),
        (Question([IMAGE], "What is <image>?"), "the prompt contains '<image>'"),
        (Question([IMAGE], "Why? " * 500), "at most 2048"),
    ],
)
def test_questions_that_cannot_be_asked(model, question, message):
    with pytest.raises(ParameterError, match=message):
        model.generate([question])
    with pytest.raises(ParameterError, match=message):
        model.answer_loss([question], ["no"])


@pytest.mark.parametrize("image", [IMAGE[:1], IMAGE[0], np.zeros((3, 0, 5))])
def test_images_that_cannot_be_shown(model, image):
    with pytest.raises(DataError):
        model.generate([Question([image], "What is shown?")])


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["yes", "no"], "2 answers to 1 questions"),
        ([" "], "an empty answer"),
        (["<image>"], "placeholder"),
    ],
)
def test_answers_that_cannot_be_weighed(model, answers, message):
    with pytest.raises(ParameterError, match=message):
        model.answer_loss([ASKED], answers)


def test_an_answer_of_no_tokens(model):
    with pytest.raises(ParameterError, match="max_tokens=0"):
        model.generate([ASKED], max_tokens=0)


def test_a_question_that_memory_does_not_hold(folder, monkeypatch):
    model = build(folder)

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(model._chat.runner.net, "generate", full)
    asked = Question([IMAGE, OTHER], "What has changed?")
    with pytest.raises(MemoryLimitError, match="one question with 2 images does not fit"):
        model.generate([asked])
