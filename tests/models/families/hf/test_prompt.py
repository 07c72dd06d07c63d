"""Prompts as chat templates and plain forms write them, with one placeholder per image token."""

from __future__ import annotations

import pytest

from foveate.errors import DataError
from foveate.models.families.hf.prompt import Plain, Writer
from foveate.testing.tiny import tiny_model

transformers = pytest.importorskip("transformers")

PLAIN = Plain("USER: {images}{prompt} ASSISTANT:", "<image>\n")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tiny_model("hf_llava", tmp_path_factory.mktemp("llava"))[1]
    return transformers.AutoTokenizer.from_pretrained(folder)


def written(tokenizer, template, *lengths, prompt="What?", plain=PLAIN):
    mark = tokenizer.convert_tokens_to_ids("<image>")
    return tokenizer.decode(Writer(tokenizer, mark, plain, template)(prompt, lengths))


def test_images_stand_before_the_text_once_per_token(tokenizer):
    assert written(tokenizer, None, 1, 3) == (
        "<s>USER: <image>\n<image><image><image>\nWhat? ASSISTANT:"
    )


def test_a_template_that_writes_the_start_itself_gets_no_second_one(tokenizer):
    template = (
        "<s>{% for part in messages[0].content %}"
        "{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}"
    )
    assert written(tokenizer, template, 2) == "<s><image><image>What?"


def test_without_a_template_the_documented_form_is_used(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    assert written(tokenizer, None, 2) == "<s>USER: <image><image>\nWhat? ASSISTANT:"


def test_braces_in_a_prompt_are_text(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    assert "{x} {images}?" in written(tokenizer, None, 1, prompt="{x} {images}?")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content[1].text }}{% endfor %}", "shows 0 of 1 images"),
        ("{% for m in messages %}{{ 'A: ' + m.content }}{% endfor %}", "cannot be filled in"),
        ("{{ raise_exception('no system') }}", "cannot be filled in: no system"),
    ],
)
def test_templates_of_other_models_are_refused(tokenizer, template, message):
    with pytest.raises(DataError, match=message):
        written(tokenizer, template, 1)


def test_a_tokenizer_that_has_another_token_there(tokenizer):
    with pytest.raises(DataError, match="not the placeholder of an image"):
        Writer(tokenizer, 3, PLAIN)
