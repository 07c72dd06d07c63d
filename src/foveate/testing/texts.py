"""Rules of `EmbedsText`: one vector per text in the space of the images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.testing.rules import need, need_refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.testing.trial import Trial

TEXTS = ["a dense forest", "water", "an airport with two runways and a river beside it"]
_SPACED = ["  a  dense forest ", "\twater\n", "an airport with two  runways and a river beside it"]


def check_texts(trial: Trial, batch: NDArray[Any]) -> None:  # noqa: ARG001
    """Check the vectors of texts.

    They are float32 of norm 1 and of the length of image vectors; the same alone or with texts of
    any length; spaces are ignored; anything but a list of texts is rejected; and a text longer than
    the context is truncated.

    Args:
        trial: The model.
        batch: Ignored.

    Raises:
        CheckFailed: A rule is violated.
    """
    model, name = trial.model, trial.name
    _check_spec(trial)
    x = model.embed_text(TEXTS)
    trial.need_array(x, (len(TEXTS), model.spec.dim), "float32", "embed_text")
    norms = np.linalg.norm(x, axis=1)
    need(np.allclose(norms, 1, atol=1e-4), f"{name}: texts must have norm 1", "", str(norms))
    need(
        all((x[i] != x[j]).any() for i in range(3) for j in range(i)),
        f"{name}: different texts have the same vector",
    )
    need((model.embed_text(TEXTS) == x).all(), f"{name}: a second call returns other vectors")

    rule = "the vector of a text depends on the other texts"
    alone = np.concatenate([model.embed_text([text]) for text in TEXTS])
    trial.near(alone, x, rule, "one by one")
    trial.near(model.embed_text(TEXTS[::-1])[::-1], x, rule, "reversed")
    trial.near(
        model.embed_text(tuple(_SPACED)), x, "spaces around and between words have an effect"
    )

    words = 2 * model.text_spec.context
    long, longer = "field " * words + "of wheat", "field " * words + "and a long row of trees"
    cut = model.embed_text([*TEXTS, long, longer])
    trial.near(cut[:3], x, rule, "beside texts beyond the context")
    trial.near(
        cut[3], cut[4], "a text must be truncated to the context", "words beyond it have an effect"
    )
    _check_refusals(trial)


def _check_spec(trial: Trial) -> None:
    spec = trial.model.text_spec
    need(
        math.isfinite(spec.scale) and spec.scale > 0 and math.isfinite(spec.bias),
        f"{trial.name}: text_spec has scale {spec.scale} and bias {spec.bias}",
    )
    need(spec.head in {"cosine", "sigmoid"}, f"{trial.name}: text_spec.head is {spec.head!r}")
    need(
        spec.head == "sigmoid" or spec.bias == 0,
        f"{trial.name}: a softmax over texts has no bias, text_spec.bias is {spec.bias}",
    )
    need(spec.context >= 1, f"{trial.name}: text_spec.context is {spec.context}")


def _check_refusals(trial: Trial) -> None:
    wrong: dict[str, Any] = {
        "an empty list of texts": [],
        "one text without a list": "water",
        "a number among texts": ["water", 3],
        "None among texts": [None],
    }
    for what, texts in wrong.items():
        need_refusal(lambda given=texts: trial.model.embed_text(given), f"{trial.name}: {what}")
