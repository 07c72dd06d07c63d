"""What overviews alone tell of tiles: the probability of a concept, by a trained observer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.models.embed import bind
from foveate.models.heads import same_name, templates_from, text_head
from foveate.observe import dense
from foveate.observe.concepts import Concept
from foveate.observe.features import encode_overviews, overview_pool
from foveate.observe.scoring import TextConcepts
from foveate.registry import suggest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.heads import Head
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

_AT_ONCE = 16  # scenes


def lr_probabilities(
    observer: Observer, pairs: Pairs, what: str, *, run: Run | None = None,
    device: str = "auto", progress: ProgressFn | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Say how likely each tile shows a concept, by its overview; no HR pixel is read.

    Args:
        observer: Fills tiles from the overview, and tells concepts from labels or by texts.
        pairs: n tiles.
        what: Name of a concept, or a text where the observer reads texts.
        run: Keeps the LR tokens.
        device: Of the LR encoder.
        progress: Called with ticks.

    Returns:
        (n,) float64, 0 to 1.

    Raises:
        DataError: The observer does not know the concept.
    """
    head, column = _head(observer, pairs, what, device)
    model: Any = bind(observer.handle("lr", device), overview_pool(pairs))
    side = observer.record.shape
    tokens = encode_overviews(pairs, model, side.lr_side, run=run, progress=progress)
    found = np.zeros((len(pairs.overviews), *pairs.shape))
    for start in range(0, len(tokens), _AT_ONCE):
        lr = observer.lr(tokens[start : start + _AT_ONCE])
        means = dense.gather(observer.filled(lr), side.hr_side).mean(axis=3)
        found[start : start + len(lr)] = head.probabilities(means)[..., column]
    return dense.from_grids(found, pairs.place)


def _head(observer: Observer, pairs: Pairs, what: str, device: str) -> tuple[Head, int]:
    """Return what tells a concept, and its column."""
    names = observer.head.names if observer.head is not None else ()
    for column, name in enumerate(names):
        if observer.head is not None and same_name(name) == same_name(what):
            return observer.head, column
    if observer.to_text is None:
        raise DataError(
            f"this observer does not know {what!r}",
            f"It knows {', '.join(names)}." if names else "It was trained without concepts.",
            suggest(what, names) or "Train it with that concept, or with --text-model MODEL.",
        )
    concepts = {c.name: c.texts for c in observer.record.concepts}
    own = [
        c
        for c in (*observer.record.concepts, *pairs.concepts)
        if same_name(c.name) == same_name(what)
    ]
    concept = own[0] if own else Concept(what)
    concepts[concept.name] = concept.texts
    model: Any = bind(observer.handle("text", device), pairs.pool)
    texts = text_head(model, concepts, templates=templates_from(observer.record.templates))
    if texts.head == "cosine" and len(concepts) < 2:
        raise DataError(
            f"{what!r} is the only concept there is",
            "This model of texts tells concepts from each other, not from nothing.",
            "Train the observer with several --concepts.",
        )
    return TextConcepts(texts, observer.to_text), list(concepts).index(concept.name)
