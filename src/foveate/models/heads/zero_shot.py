"""Classes from texts: the zero-shot recipe of CLIP.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
section 3.1.4: a class is put into several sentences; their vectors, each of norm 1, are averaged,
and the mean is normalised again. What stands closest to an image is its class. Deviations: a
class may have several names, all of which count alike; and models trained with a sigmoid (SigLIP)
judge each class alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from foveate.errors import ParameterError
from foveate.models.capabilities import need
from foveate.models.heads.base import check_dim, unit
from foveate.models.heads.prompts import labels_of, prompts, templates_from

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.models.capabilities import EmbedsText
    from foveate.models.heads.base import Inputs
    from foveate.models.heads.prompts import LabelsGiven

Kind = Literal["cosine", "sigmoid"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_AT_ONCE = 256  # texts per call of the model


@dataclass(frozen=True)
class TextHead:
    """Classes as directions in the space of the images; see `foveate.models.heads.base.Head`.

    Attributes:
        names: The C classes.
        weight: (C, d) float32, rows of norm 1.
        scale: Logits are ``scale * cosine + bias``.
        bias: See `scale`.
        head: "cosine": the probabilities of all classes sum to 1. "sigmoid": each class has its
            own, and all of them may be small.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    scale: float
    bias: float
    head: Kind

    @property
    def inputs(self) -> Inputs:
        """Texts are compared by cosine: "unit"."""
        return "unit"

    def logits(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of embeddings of any norm: (..., d) to (..., C) float32.

        Raises:
            DataError: They have another length than the texts' vectors.
        """
        check_dim(z, self.weight.shape[1], "texts")
        return np.float32(self.scale) * (unit(z) @ self.weight.T) + np.float32(self.bias)

    def probabilities(self, z: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the probabilities of embeddings: (..., d) to (..., C) float32.

        Raises:
            DataError: They have another length than the texts' vectors.
        """
        from scipy.special import expit, softmax

        logits = self.logits(z)
        return softmax(logits, axis=-1) if self.head == "cosine" else expit(logits)


def text_head(
    model: EmbedsText,
    labels: LabelsGiven,
    *,
    templates: str | Path | Sequence[str] = "rs",
    head: Kind | None = None,
) -> TextHead:
    """Make a classifier of class names.

    Args:
        model: Embeds images and text in one space.
        labels: Names, or name -> what the class is called in prompts; see `labels_of`.
        templates: See `templates_from`; "none" where the labels are whole sentences.
        head: "cosine" or "sigmoid"; None for what the model was trained with.

    Raises:
        MissingCapabilityError: The model cannot embed text.
        ParameterError: Labels or templates cannot be used; see `labels_of`, `templates_from`.
        UnknownNameError: No such set of templates.
    """
    able: EmbedsText = need(model, "text", "zero-shot classification")
    known, sentences = labels_of(labels), templates_from(templates)
    spec = able.text_spec
    kind = check_kind(head) or spec.head
    if kind == "sigmoid" and spec.head != "sigmoid":
        raise ParameterError(
            "head='sigmoid' for a model that was trained with a softmax",
            "It has no bias: each label alone would have a probability near 1.",
            "Use cosine, and add a label such as 'something else'.",
        )
    # All prompts in a few calls: text models are fast in batches.
    groups = [prompts(texts, sentences) for texts in known.values()]
    vectors = unit(_embed(able, [prompt for group in groups for prompt in group]))
    ends = np.cumsum([len(group) for group in groups])
    means = [part.mean(axis=0) for part in np.split(vectors, ends[:-1])]
    return TextHead(tuple(known), unit(np.stack(means)), spec.scale, spec.bias, kind)


def check_kind(head: str | None) -> Kind | None:
    """Return the head, or None where it is left to the model.

    Raises:
        ParameterError: There is no such head.
    """
    if head is not None and head not in KINDS:
        raise ParameterError(
            f"head={head!r}",
            "Allowed: cosine (probabilities over all labels), sigmoid (each label alone).",
            "Leave it out for what the model was trained with.",
        )
    return head


def _embed(model: EmbedsText, texts: list[str]) -> NDArray[np.float32]:
    starts = range(0, len(texts), _AT_ONCE)
    return np.concatenate([model.embed_text(texts[i : i + _AT_ONCE]) for i in starts])
