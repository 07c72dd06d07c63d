"""Search in completed scenes: the tiles, or the scenes, that show most of a text or a concept.

A tile is as good as the cosine of its mean completed token, taken to the space of the texts, with
the text; or, for a concept that the observer has learnt from labels, its probability. A scene is as
good as its best tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError, MissingCapabilityError, ParameterError, UnknownNameError
from foveate.models.heads import same_name, text_head
from foveate.observe.heads import TextConcepts
from foveate.observe.match_hr import built, weights_print
from foveate.observe.observer import Observer
from foveate.registry import suggest
from foveate.seeds import tie_keys
from foveate.tables import GEOMETRY, Tabular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.completing import Completed

Within = Literal["tiles", "scenes"]


@dataclass(frozen=True, eq=False, repr=False)
class Hits(Tabular):
    """What was found, best first.

    Attributes:
        scenes: The completed tiles.
        rows: (m,) rows of the completed tiles; of a scene its best tile.
        score: (m,) float64.
    """

    scenes: Completed
    rows: NDArray[np.int64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of hits."""
        return self.rows.size

    def __repr__(self) -> str:
        """Return a line: how many, and the best of them."""
        if not len(self):
            return "Hits(none)"
        return f"Hits({len(self):,}, first {self.scenes.ids[self.rows[0]]}: {self.score[0]:.3g})"

    def to_arrow(self) -> pa.Table:
        """Return a row for each hit: rank, scene, row, col, score, and what `Completed` has."""
        ranks = np.arange(1, len(self) + 1)
        table = self.scenes.table(self.rows, {"rank": ranks, "score": self.score})
        names = ["rank", "scene", "row", "col", "score", "observed", "doubt", "tile_id"]
        return table.select([*names, *([GEOMETRY] if GEOMETRY in table.column_names else [])])


def search(
    scenes: Completed, *, text: str = "", concept: str = "", model: str | None = None,
    within: Within = "tiles", top: int = 20, device: str = "auto", seed: int = 0,
) -> Hits:  # fmt: skip
    """Search completed scenes.

    Args:
        scenes: From `open_completed`.
        text: What to look for, in words.
        concept: Or a concept that the observer has learnt from labels.
        model: The observer; the one that has completed the scenes when None.
        within: What is ranked.
        top: Most hits.
        device: Of the model that reads texts.
        seed: Of the order of equal scores.

    Raises:
        ParameterError: Not one of text and concept, or a number out of range.
        UnknownNameError: The observer knows no such concept.
        MissingCapabilityError: The observer has no model that reads texts, or no labels.
        DataError: There is no such observer, or it did not complete these scenes.
    """
    if bool(text.strip()) == bool(concept.strip()):
        raise ParameterError(
            "a search for nothing" if not text.strip() else "a search for a text and for a concept",
            "One of them is looked for.",
            '--text "storage tank", or --concept NAME for what the observer learnt from labels.',
        )
    if top < 1:
        raise ParameterError(f"top = {top}", "At least 1.", "--top 20")
    if within not in ("tiles", "scenes"):
        raise ParameterError(f"--in {within!r}", "Allowed: tiles, scenes.", "--in tiles")
    observer = observer_of(scenes, model)
    if concept.strip():
        scores = concept_scores(scenes, observer, concept)
    else:
        scores = text_scores(scenes, observer, {text: (text,)}, device=device)[:, 0]
    return best(scenes, scores, within=within, top=top, seed=seed)


def observer_of(scenes: Completed, model: str | None) -> Observer:
    """Load the observer of completed scenes, on the CPU: nothing is completed any more.

    Raises:
        DataError: There is none, or it did not complete these scenes.
    """
    observer = Observer.load(model or scenes.model, device="cpu")
    if weights_print(observer) != scenes.record["summary"]["observe"]["trained"]:
        raise DataError(
            f"the observer {observer.folder!r} did not complete {str(scenes.path)!r}",
            "Features of two observers have nothing in common.",
            "Leave --observer out, or complete the scenes with this one.",
        )
    return observer


def concept_scores(scenes: Completed, observer: Observer, concept: str) -> NDArray[np.float64]:
    """Return (n,) the probability of a concept that was learnt from labels.

    Raises:
        UnknownNameError: There is no such concept.
        MissingCapabilityError: The observer has learnt none.
    """
    head = observer.head
    if head is None:
        raise MissingCapabilityError(
            f"the concept {concept!r} of an observer without labels",
            "It has learnt from no labels what a concept is.",
            f'Search by text: --text "{concept}".',
        )
    names = [same_name(name) for name in head.names]
    if same_name(concept) not in names:
        raise UnknownNameError(
            f"the observer knows no concept {concept!r}",
            f"It has learnt: {', '.join(head.names)}.",
            suggest(concept, head.names) or f'Search by text: --text "{concept}".',
        )
    from scipy.special import expit

    # In double precision: in single, all sure tiles have 1.
    return expit(head.logits(scenes.x)[:, names.index(same_name(concept))].astype(np.float64))


def text_scores(
    scenes: Completed, observer: Observer, texts: Mapping[str, Sequence[str]], *,
    templates: str | None = None, device: str = "auto",
) -> NDArray[np.float64]:  # fmt: skip
    """Return (n, K) cosines of tiles and texts.

    Args:
        scenes: The tiles.
        observer: Who has completed them.
        texts: K names, and what each is called.
        templates: Sentences around texts; those of the training when None.
        device: Of the model that reads texts.

    Raises:
        MissingCapabilityError: The observer has no model that reads texts.
    """
    need_texts(observer, next(iter(texts)))
    model = built(observer, "text", device)
    head = text_head(model, texts, templates=templates or observer.record.templates)
    assert observer.to_text is not None  # noqa: S101  (need_texts has looked)
    return np.asarray(TextConcepts(head, observer.to_text).cosines(scenes.x), np.float64)


def need_texts(observer: Observer, text: str) -> None:
    """Check that an observer reads texts.

    Raises:
        MissingCapabilityError: It does not.
    """
    if observer.to_text is None or "text" not in observer.record.encoders:
        known = observer.head.names if observer.head is not None else ()
        close = [name for name in known if same_name(name) == same_name(text)]
        raise MissingCapabilityError(
            f"the text {text!r} for an observer that reads none",
            "It was trained without a model of images and texts"
            + (f"; from labels it has learnt: {', '.join(known)}." if known else "."),
            f"--concept {(close or list(known))[0]}, or train it with --text-model MODEL."
            if known
            else "Train it with --text-model MODEL.",
        )


def best(
    scenes: Completed, scores: NDArray[np.floating], *, within: Within = "tiles", top: int = 20,
    seed: int = 0,
) -> Hits:  # fmt: skip
    """Return the best tiles, or the best tile of each of the best scenes.

    Args:
        scenes: The n tiles.
        scores: (n,) the higher, the earlier; equal ones in a seeded order.
        within: What is ranked.
        top: Most hits.
        seed: Of the order of equal scores.
    """
    keys = tie_keys(scenes.ids, seed, "observe/search")
    order = np.lexsort((keys, -np.asarray(scores, np.float64)))
    if within == "scenes":
        _, numbers = scenes.by_scene()
        _, first = np.unique(numbers[order], return_index=True)
        order = order[np.sort(first)]
    rows = order[:top].astype(np.int64)
    return Hits(scenes, rows, np.asarray(scores, np.float64)[rows])
