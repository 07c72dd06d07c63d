"""Search of completed scenes for the tiles or scenes that best match a text or a concept.

The score of a tile is the cosine of the text embedding and its mean completed token, projected to
the text embedding space; or the probability of a concept that the observer was trained on with
labels. The score of a scene is the score of its best tile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError, MissingCapabilityError, ParameterError, UnknownNameError
from foveate.models.heads import same_name, text_head
from foveate.observe.networks.heads import TextConcepts
from foveate.observe.observer import Observer
from foveate.observe.observer_config import recorded_observer
from foveate.registry import suggest
from foveate.seeds import tie_keys
from foveate.tables import GEOMETRY, Tabular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.completion.completing import Completed

Within = Literal["tiles", "scenes"]


@dataclass(frozen=True, eq=False, repr=False)
class Hits(Tabular):
    """Search results, best first.

    Attributes:
        scenes: The completed tiles.
        rows: (m,) rows of the completed tiles; for scenes, of their best tiles.
        score: (m,) float64 scores.
        expected: Sum of the probabilities of all tiles, the expected number of tiles that show the
            concept; None for a text.
    """

    scenes: Completed
    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    expected: float | None = None

    def __len__(self) -> int:
        """Return the number of hits."""
        return self.rows.size

    def __repr__(self) -> str:
        """Return one line: the number of hits and the best hit."""
        if not len(self):
            return "Hits(none)"
        return f"Hits({len(self):,}, first {self.scenes.ids[self.rows[0]]}: {self.score[0]:.3g})"

    def to_arrow(self) -> pa.Table:
        """Return a row for each hit, with its rank, score, tile and outline."""
        ranks = np.arange(1, len(self) + 1)
        table = self.scenes.table(self.rows, {"rank": ranks, "score": self.score})
        names = ["rank", "scene", "row", "col", "score", "observed", "doubt", "unfamiliar"]
        return table.select(
            [*names, "tile_id", *([GEOMETRY] if GEOMETRY in table.column_names else [])]
        )


def search(
    scenes: Completed, *, text: str = "", concept: str = "", model: str | None = None,
    within: Within = "tiles", top: int = 20, device: str = "auto", seed: int = 0,
) -> Hits:  # fmt: skip
    """Search completed scenes.

    Args:
        scenes: Completed scenes, from `open_completed`.
        text: Text query.
        concept: Alternatively, a concept that the observer was trained on with labels.
        model: The observer; None: the observer that completed the scenes.
        within: Unit of the ranking.
        top: Maximum number of hits.
        device: Device of the text model.
        seed: Seed of the order of equal scores.

    Raises:
        ParameterError: None or both of text and concept are given, or a number is out of range.
        UnknownNameError: The concept is unknown to the observer.
        MissingCapabilityError: The observer has no text model, or no labels.
        DataError: The observer is missing, or did not complete these scenes.
    """
    if bool(text.strip()) == bool(concept.strip()):
        raise ParameterError(
            "a search without a text or concept"
            if not text.strip()
            else "a search for a text and for a concept",
            "Exactly one of --text and --concept is required.",
            'Use --text "storage tank", or --concept NAME for a concept trained on labels.',
        )
    if top < 1:
        raise ParameterError(f"top = {top}", "`top` must be at least 1.", "For example --top 20.")
    if within not in ("tiles", "scenes"):
        raise ParameterError(
            f"--in {within!r}", "Allowed: tiles, scenes.", "For example --in tiles."
        )
    observer = observer_of(scenes, model)
    if concept.strip():
        scores = concept_scores(scenes, observer, concept)
    else:
        scores = text_scores(scenes, observer, {text: (text,)}, device=device)[:, 0]
    found = best(scenes, scores, within=within, top=top, seed=seed)
    return replace(found, expected=float(scores.sum())) if concept.strip() else found


def observer_of(scenes: Completed, model: str | None) -> Observer:
    """Load the observer of completed scenes, on the CPU since its networks are not run.

    Raises:
        DataError: The observer is missing, or did not complete these scenes.
    """
    observer = Observer.load(model or recorded_observer(scenes.model, scenes.path), device="cpu")
    if observer.fingerprint != scenes.record["summary"]["observe"]["trained"]:
        raise DataError(
            f"the observer {observer.folder!r} did not complete {str(scenes.path)!r}",
            "Features of different observers are not comparable.",
            "Omit --observer, or complete the scenes with this observer.",
        )
    return observer


def concept_scores(scenes: Completed, observer: Observer, concept: str) -> NDArray[np.float64]:
    """Return the (n,) probabilities of a concept that the observer was trained on with labels.

    Raises:
        UnknownNameError: The concept is unknown.
        MissingCapabilityError: The observer was trained without labels.
    """
    head = observer.head
    if head is None:
        raise MissingCapabilityError(
            f"the concept {concept!r} of an observer without labels",
            "Concepts need an observer that was trained with labels.",
            f'Search by text: --text "{concept}".',
        )
    names = [same_name(name) for name in head.names]
    if same_name(concept) not in names:
        raise UnknownNameError(
            f"the concept {concept!r} is unknown to the observer",
            f"Known: {', '.join(head.names)}.",
            suggest(concept, head.names) or f'Search by text: --text "{concept}".',
        )
    from scipy.special import expit

    # In double precision, since probabilities near 1 would tie in single precision.
    return expit(head.logits(scenes.x)[:, names.index(same_name(concept))].astype(np.float64))


def text_scores(
    scenes: Completed, observer: Observer, texts: Mapping[str, Sequence[str]], *,
    templates: str | None = None, device: str = "auto",
) -> NDArray[np.float64]:  # fmt: skip
    """Return (n, K) cosines of tiles and texts.

    Args:
        scenes: The tiles.
        observer: The observer that completed them.
        texts: K names -> texts.
        templates: Prompt templates; None: those of the training.
        device: Device of the text model.

    Raises:
        MissingCapabilityError: The observer has no text model.
    """
    need_texts(observer, next(iter(texts)))
    model = observer.build("text", device)
    head = text_head(model, texts, templates=templates or observer.record.templates)
    assert observer.to_text is not None  # noqa: S101  (checked by need_texts)
    return np.asarray(TextConcepts(head, observer.to_text).cosines(scenes.x), np.float64)


def need_texts(observer: Observer, text: str) -> None:
    """Check that an observer has a text model.

    Raises:
        MissingCapabilityError: The observer has no text model.
    """
    if observer.to_text is None or "text" not in observer.record.encoders:
        known = observer.head.names if observer.head is not None else ()
        close = [name for name in known if same_name(name) == same_name(text)]
        raise MissingCapabilityError(
            f"the text {text!r} for an observer without a text model",
            "The observer was trained without a text model"
            + (f"; its concepts trained on labels: {', '.join(known)}." if known else "."),
            f"Use --concept {(close or list(known))[0]}, or train with --text-model MODEL."
            if known
            else "Train with --text-model MODEL.",
        )


def best(
    scenes: Completed, scores: NDArray[np.floating], *, within: Within = "tiles", top: int = 20,
    seed: int = 0,
) -> Hits:  # fmt: skip
    """Return the best tiles, or the best tile of each of the best scenes.

    Args:
        scenes: The n tiles.
        scores: (n,) scores, highest first; equal scores in a seeded order.
        within: Unit of the ranking.
        top: Maximum number of hits.
        seed: Seed of the order of equal scores.
    """
    keys = tie_keys(scenes.ids, seed, "observe/search")
    order = np.lexsort((keys, -np.asarray(scores, np.float64)))
    if within == "scenes":
        _, numbers = scenes.by_scene()
        _, first = np.unique(numbers[order], return_index=True)
        order = order[np.sort(first)]
    rows = order[:top].astype(np.int64)
    return Hits(scenes, rows, np.asarray(scores, np.float64)[rows])
