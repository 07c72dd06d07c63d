"""Zero-shot classification with generative models, which score class names as answers.

A generative model is prompted with an image and a question, and each class name is scored as the
answer. The loss of a name is the mean negative log-likelihood of its tokens, each conditioned on
the image, the question and the previous tokens; class probabilities are the softmax of the negative
losses. This is the usual evaluation of generative vision-language models on closed sets of classes,
as in table 1 of "Advancing Complex Wide-Area Scene Understanding with Hierarchical Coresets
Selection" for LLaVA, LLaVA-NeXT and Qwen2-VL; the paper does not state its prompt.

Length normalisation: "mean" divides the log-likelihood of a name by its number of tokens, "sum"
does not. The sum favours short names; the mean favours long names, because tokens within a word are
easy to predict. The likelihood of a class with several names is the mean over its names.

The log-probabilities of the classes are used as the embedding of an image, with one dimension per
class. The mean over images is therefore the geometric mean of their probabilities.
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
from foveate.registry import check_choice

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
"""Default prompt; {classes} is replaced by the names, separated by commas."""

_SLOT = "{classes}"
_VERSION = "answers/1"


@dataclass(frozen=True)
class AnswerHead:
    """Head for embeddings that are log-probabilities; see `foveate.models.heads.Head`.

    Attributes:
        names: The C classes.
    """

    names: tuple[str, ...]

    @property
    def inputs(self) -> Inputs:
        """Inputs are not normalised: "raw"."""
        return "raw"

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (..., C) log-probabilities, or means of them, unchanged.

        Raises:
            DataError: The number of classes differs.
        """
        check_dim(z, len(self.names), "classes")
        return np.asarray(z, np.float32)

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities, which sum to 1: (..., C) to (..., C) float32.

        Raises:
            DataError: The number of classes differs.
        """
        from scipy.special import softmax

        return softmax(self.logits(z), axis=-1)


class AnsweredClasses:
    """A generative model whose embedding of an image is the log-probabilities of classes.

    Args:
        model: A bound model that scores answers.
        labels: Name -> its texts, the answers to score.
        prompt: Prompt; see `PROMPT`.
        length: "mean" or "sum" of the log-likelihoods of the tokens of an answer.

    Attributes:
        prompt: Prompt with the names inserted.
        spec: Spec of the model, with one dimension per class.
        passes_each: Passes per image: 1 if the model encodes image and question once for all
            answers, else the number of answers. The tokens of the answers are not counted.
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
        """Note on the prompt and the number of passes."""
        each = (
            "An image is encoded once for all class names, whose tokens are not counted."
            if self._shared
            else f"Each of the {len(self._answers)} class names takes a pass per image."
        )
        return f"Classes are scored as answers to {self.prompt!r}. {each}"

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Score the class names as answers about images.

        Args:
            batch: (b, c, h, w) in the native dtype. Images larger than the model input are
                downscaled to it, keeping the aspect ratio, so that an image takes one pass.

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
    """Return the model after checking that it can count the tokens of answers.

    Raises:
        MissingCapabilityError: The model cannot.
    """
    if isinstance(model, JudgesAnswerSets):
        return model
    name = getattr(getattr(model, "spec", None), "name", type(model).__name__)
    raise MissingCapabilityError(
        f"{name} cannot count the tokens of answers",
        "The length 'sum' requires their number.",
        "Use the length 'mean'.",
    )


def answer_classes(
    model: JudgesAnswers,
    labels: LabelsGiven,
    *,
    prompt: str | None = None,
    length: Length = "mean",
) -> tuple[AnsweredClasses, AnswerHead]:
    """Create a zero-shot classifier from a generative model, which scores class names as answers.

    Args:
        model: A bound model that scores answers.
        labels: At least two names, or name -> its answers; see `foveate.models.heads.labels_of`.
        prompt: Prompt for each image; None for `PROMPT`.
        length: "mean" or "sum"; see the module docstring.

    Returns:
        A model whose embeddings are log-probabilities of the classes, and its head:
        ``fv.look(image, model, head=head)``.

    Raises:
        MissingCapabilityError: The model does not score answers, or cannot count their tokens,
            which "sum" requires.
        ParameterError: An invalid length, an empty prompt, or invalid labels.
    """
    scorer = need(model, "answer_loss", "zero-shot classification by class names")
    check_choice("length", length, LENGTHS)
    asked = PROMPT if prompt is None else prompt.strip()
    if not asked:
        raise ParameterError(
            "the prompt is empty", "", "Remove it, or use a question: 'What is shown?'."
        )
    known = labels_of(labels)
    if len(known) < 2:
        raise ParameterError(
            f"only one label is given: {next(iter(known))!r}",
            "At least two labels are required, because they are compared with each other.",
            "Add another label, such as 'something else'.",
        )
    return AnsweredClasses(scorer, known, asked, length), AnswerHead(tuple(known))


def judges_names(model: object) -> bool:
    """Return whether a model classifies by answers: it scores answers and does not embed text."""
    return isinstance(model, JudgesAnswers) and not isinstance(model, EmbedsText)


def check_templates(templates: Sequence[str], usual: Sequence[str]) -> None:
    """Refuse templates for a generative model.

    Raises:
        ParameterError: The templates differ from the default.
    """
    if tuple(templates) != tuple(usual):
        raise ParameterError(
            "--templates with a generative model",
            "Its answers are the names themselves, and the question is set by --prompt.",
            "Remove --templates, or use --prompt 'Which is it: {classes}?'.",
        )
