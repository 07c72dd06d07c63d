"""Rules of `Generates` and `JudgesAnswers`: questions are independent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.models import Question
from foveate.testing.rules import need, need_refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.testing.trial import Trial

_ANSWERS = ["yes", "a river and two bridges", "no"]
_MOST = 5  # tokens of an answer


def check_answers(trial: Trial, batch: NDArray[Any]) -> None:
    """Check answers.

    One text per question, greedy and therefore the same twice, alone or in a batch; and a
    question may show images of different sizes.

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands, b >= 4.

    Raises:
        CheckFailed: A rule is violated.
    """
    questions = _questions(batch)
    _check_generate(trial, questions)
    model, name = trial.model, trial.name
    if batch.shape[1] > 1:
        wrong = [Question([batch[0][:1]], "What is shown?")]
        need_refusal(lambda: model.generate(wrong), f"{name}: an image of one band")
    need_refusal(
        lambda: model.generate([Question([], "What is shown?")]),
        f"{name}: a question without an image",
    )


def check_answer_loss(trial: Trial, batch: NDArray[Any]) -> None:
    """Check the losses of given answers.

    One finite loss of at least 0 per question, which depends on the answer and on the image, and
    is the same alone or in a batch.

    Args:
        trial: The model.
        batch: (b, c, h, w) of its bands, b >= 4.

    Raises:
        CheckFailed: A rule is violated.
    """
    questions = _questions(batch)
    _check_loss(trial, questions)
    need_refusal(
        lambda: trial.model.answer_loss(questions, _ANSWERS[:2]),
        f"{trial.name}: another number of answers than questions",
    )


def _questions(batch: NDArray[Any]) -> list[Question]:
    half = batch[2][:, : batch.shape[2] // 2]
    return [
        Question([batch[1]], "What is shown?"),
        Question([batch[3], half], "What has changed from the first image to the second one?"),
        Question([half], "Is there water?"),
    ]


def _check_generate(trial: Trial, questions: list[Question]) -> None:
    generate, name = trial.model.generate, trial.name
    found = generate(questions, max_tokens=_MOST)
    need(
        isinstance(found, list)
        and len(found) == len(questions)
        and all(isinstance(text, str) for text in found),
        f"{name}: generate must return one text per question", "", repr(found),
    )  # fmt: skip
    again = generate(questions, max_tokens=_MOST)
    need(again == found, f"{name}: a second call returns other answers", "", f"{found}, {again}")
    alone = [generate([question], max_tokens=_MOST)[0] for question in questions]
    need(
        alone == found, f"{name}: an answer depends on the other questions", "",
        f"{found}, one by one {alone}",
    )  # fmt: skip


def _check_loss(trial: Trial, questions: list[Question]) -> None:
    loss, name = trial.model.answer_loss, trial.name
    found = loss(questions, _ANSWERS)
    trial.need_array(found, (len(questions),), "float32", "answer_loss")
    need((found >= 0).all(), f"{name}: a loss is negative", "", str(found))
    rule = "the loss of an answer depends on the other questions"
    pairs = zip(questions, _ANSWERS, strict=True)
    alone = np.concatenate([loss([question], [answer]) for question, answer in pairs])
    trial.near(alone, found, rule, "one by one")
    trial.near(loss(questions[::-1], _ANSWERS[::-1])[::-1], found, rule, "reversed")
    first = questions[0]
    need(
        (loss([first, first], _ANSWERS[:2]) != found[0]).any(),
        f"{name}: the loss does not depend on the answer",
    )
    image = np.full_like(first.images[0], first.images[0].max())
    need(
        loss([Question([image], first.prompt)], _ANSWERS[:1])[0] != alone[0],
        f"{name}: the loss does not depend on the image",
    )
