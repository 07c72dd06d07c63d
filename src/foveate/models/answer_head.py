"""Class names as answers: classes without training for models that answer and judge answers.

A generative model is asked what an image shows, and each class name is judged as the answer. The
loss of a name is the mean negative log-likelihood of its tokens, each given the image, the
question and the tokens before; a class has the softmax of minus the loss over all classes. This
is how generative vision-language models are scored on closed sets of classes, as in table 1 of
"Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets Selection" for LLaVA,
LLaVA-NeXT and Qwen2-VL; the paper does not give its prompt.

Length normalisation: "mean" divides the log-likelihood of a name by its tokens, "sum" does not.
With the sum short names win; with the mean long ones gain, because the tokens in the middle of a
word are easy to guess. A class with several names has the mean of their likelihoods.

To the rest of the house the log-probabilities of the classes are the embedding of an image, of as
many numbers as there are classes. The mixture of images is the mean of these, that is, the
geometric mean of their probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from foveate.errors import MissingCapabilityError, ParameterError
from foveate.files import digest
from foveate.models.base import check_bands
from foveate.models.capabilities import (
    EmbedsText,
    JudgesAnswers,
    JudgesAnswerSets,
    Question,
    need,
)
from foveate.models.heads import check_dim, labels_of
from foveate.raster.windows import resize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.models.heads import Inputs, Labels, LabelsGiven

Length = Literal["mean", "sum"]

LENGTHS: tuple[Length, ...] = get_args(Length)

PROMPT = (
    "Which of these does this image from above show: {classes}? Answer with one of them, and "
    "nothing else."
)
"""What is asked; {classes} stands for the names, separated by commas."""

_SLOT = "{classes}"
_VERSION = "answers/1"


@dataclass(frozen=True)
class AnswerHead:
    """Classes whose log-probabilities are the embedding; see `foveate.models.heads.Head`.

    Attributes:
        names: The C classes.
    """

    names: tuple[str, ...]

    @property
    def inputs(self) -> Inputs:
        """Log-probabilities are taken as they are: "raw"."""
        return "raw"

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (..., C) log-probabilities, or means of such, as they are.

        Raises:
            DataError: There are not as many as classes.
        """
        check_dim(z, len(self.names), "classes")
        return np.asarray(z, np.float32)

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities, which sum to 1: (..., C) to (..., C) float32.

        Raises:
            DataError: There are not as many as classes.
        """
        from scipy.special import softmax

        return softmax(self.logits(z), axis=-1)


class AnsweredClasses:
    """A generative model whose embedding of an image is the log-probabilities of classes.

    Args:
        model: A bound model that judges answers.
        labels: Name -> its texts, the answers that are judged.
        prompt: What is asked; see `PROMPT`.
        length: "mean" or "sum" of the log-likelihoods of an answer's tokens.

    Attributes:
        prompt: What is asked, with the names in it.
        spec: As that of the model, of as many dimensions as there are classes.
        passes_each: Passes that an image takes: 1 where the model reads image and question once
            for all answers, else as many as there are answers. The tokens of the answers
            themselves are not counted.
    """

    def __init__(self, model: JudgesAnswers, labels: Labels, prompt: str, length: Length) -> None:
        self._model: Any = model
        self._answers = [text for texts in labels.values() for text in texts]
        self._counts = [len(texts) for texts in labels.values()]
        self.prompt = prompt.replace(_SLOT, ", ".join(texts[0] for texts in labels.values()))
        self._shared = isinstance(model, JudgesAnswerSets) and model.shares_questions
        self._tokens: NDArray[np.floating] = np.ones(len(self._answers), np.float64)
        if length == "sum":
            self._tokens = need_sets(model).answer_tokens(self._answers).astype(np.float64)
        self.passes_each = 1 if self._shared else len(self._answers)
        base = self._model.spec
        parts = [_VERSION, base.fingerprint, self.prompt, self._answers, self._counts, length]
        self.spec = replace(
            base, dim=len(labels), grid=None, non_negative=False, fingerprint=digest(parts)
        )

    @property
    def note(self) -> str:
        """What the reader of a result should know about passes."""
        each = (
            "An image is read once for all class names, whose tokens are not counted."
            if self._shared
            else f"Each of the {len(self._answers)} class names takes a pass for every image."
        )
        return f"Classes are judged as answers to {self.prompt!r}. {each}"

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Judge the class names as answers about images.

        Args:
            batch: (b, c, h, w) in the native dtype. What is larger than the model's input is
                shrunk to it, the shape kept, so that an image is a pass.

        Returns:
            (b, C) float32 log-probabilities of the classes.
        """
        from scipy.special import log_softmax, logsumexp

        check_bands(batch, self.spec)
        questions = [Question([self._shrunk(image)], self.prompt) for image in batch]
        scores = -self._losses(questions) * self._tokens
        parts = np.split(scores, np.cumsum(self._counts)[:-1], axis=1)
        classes = [logsumexp(part, axis=1) - np.log(part.shape[1]) for part in parts]
        return log_softmax(np.stack(classes, axis=1), axis=1).astype(np.float32)

    def _losses(self, questions: list[Question]) -> NDArray[np.float64]:
        """Return the mean loss per token of every answer: (b, answers)."""
        if self._shared:
            return self._model.answer_losses(questions, self._answers).astype(np.float64)
        count = len(self._answers)
        found = [self._model.answer_loss([one] * count, self._answers) for one in questions]
        return np.stack(found).astype(np.float64)

    def _shrunk(self, image: NDArray[Any]) -> NDArray[Any]:
        size = self.spec.input_size
        factor = 1.0 if size is None else max(size) / max(image.shape[1:])
        if factor >= 1:
            return image
        height, width = (max(1, round(side * factor)) for side in image.shape[1:])
        small = np.stack([resize(band, (height, width)) for band in image])
        return (np.rint(small) if image.dtype.kind in "iu" else small).astype(image.dtype)


def need_sets(model: JudgesAnswers) -> JudgesAnswerSets:
    """Return the model, after making sure that it can count the tokens of answers.

    Raises:
        MissingCapabilityError: It cannot.
    """
    if isinstance(model, JudgesAnswerSets):
        return model
    name = getattr(getattr(model, "spec", None), "name", type(model).__name__)
    raise MissingCapabilityError(
        f"{name} does not count the tokens of answers",
        "Without their number a mean loss cannot be made a sum.",
        "Use the length 'mean'.",
    )


def answer_classes(
    model: JudgesAnswers,
    labels: LabelsGiven,
    *,
    prompt: str | None = None,
    length: Length = "mean",
) -> tuple[AnsweredClasses, AnswerHead]:
    """Make classes for a generative model, which judges their names as answers.

    Args:
        model: A bound model that judges answers.
        labels: Two or more names, or name -> the answers that mean it; see
            `foveate.models.heads.labels_of`.
        prompt: What is asked of each image; `PROMPT` when None.
        length: "mean" or "sum"; see the head of this module.

    Returns:
        A model whose embeddings are log-probabilities of the classes, and the head that reads
        them: ``fv.look(image, model, head=head)``.

    Raises:
        MissingCapabilityError: The model does not judge answers, or "sum" for one that does not
            count their tokens.
        ParameterError: No such length, an empty prompt, or labels that cannot be used.
    """
    able = need(model, "answer_loss", "classes by their names")
    if length not in LENGTHS:
        raise ParameterError(f"length={length!r}", f"Allowed: {', '.join(LENGTHS)}.")
    asked = PROMPT if prompt is None else prompt.strip()
    if not asked:
        raise ParameterError("an empty prompt", "", "Leave it out, or ask: 'What is shown?'.")
    known = labels_of(labels)
    if len(known) < 2:
        raise ParameterError(
            f"the one label {next(iter(known))!r}",
            "Labels are compared with each other: one alone always wins.",
            "Add another, such as 'something else'.",
        )
    return AnsweredClasses(able, known, asked, length), AnswerHead(tuple(known))


def judges_names(model: object) -> bool:
    """Say whether classes of a model come from answers: it judges them, and embeds no text."""
    return isinstance(model, JudgesAnswers) and not isinstance(model, EmbedsText)


def check_templates(templates: Sequence[str], usual: Sequence[str]) -> None:
    """Refuse templates for a model that is asked.

    Raises:
        ParameterError: They are not the usual ones.
    """
    if tuple(templates) != tuple(usual):
        raise ParameterError(
            "templates for a generative model",
            "The names themselves are its answers; what is asked is the prompt.",
            "Leave --templates out, or write the question: --prompt 'Which is it: {classes}?'.",
        )
