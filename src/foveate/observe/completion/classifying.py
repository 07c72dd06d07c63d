"""Concept scores of completed scenes, from texts or from classifiers trained on labels.

Writes ``tables/classified.parquet``, the scores of each tile for each concept, and
``tables/classified-scenes.parquet``, the maximum and mean score of each scene. Scores are cosines
for texts (a softmax would make concepts mutually exclusive), and independent probabilities of each
concept for labels. If labels are available, the mean average precision over tiles and over scenes
is reported, separately for concepts of the training (base) and others (novel).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, FoveateError, ParameterError
from foveate.files import digest, write_parquet
from foveate.models.heads import same_name
from foveate.observe.completion.completing import open_completed
from foveate.observe.completion.searching import concept_scores, observer_of, text_scores
from foveate.observe.data.labels import present, shares_of_pairs
from foveate.observe.data.pairs import open_pairs
from foveate.observe.familiarity import caution
from foveate.run import Run
from foveate.stats import mean_average_precision
from foveate.tables import Tabular
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.completion.completing import Completed
    from foveate.observe.data.concepts import Concept
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.observer import Observer

logger = logging.getLogger("foveate")
VERSION = 1  # increased when the same inputs give other tables
TILES, SCENES = "tables/classified.parquet", "tables/classified-scenes.parquet"
By = Literal["auto", "texts", "labels"]
_FOOTER = b"foveate"


@dataclass(frozen=True, eq=False, repr=False)
class ConceptScores(Tabular):
    """Scores of completed tiles for concepts.

    Attributes:
        scenes: The n tiles.
        names: The K concepts.
        values: (n, K) float64 cosines or probabilities.
        summary: JSON-ready summary: "run", "worked", "by", "score", "concepts", "truth"; the number
            of "scenes", that of "unfamiliar" scenes, which are unlike the training, and "cautions".
    """

    scenes: Completed
    names: tuple[str, ...]
    values: NDArray[np.float64]
    summary: dict[str, Any]

    def __repr__(self) -> str:
        """Return one line: the concepts and the number of tiles."""
        tiles = plural(len(self.scenes), "tile", separators=True)
        return f"ConceptScores({', '.join(self.names)}: {tiles})"

    def to_arrow(self) -> pa.Table:
        """Return a row for each tile: the columns of `Completed`, and one for each concept."""
        columns = {name: self.values[:, k] for k, name in enumerate(self.names)}
        return self.scenes.table(np.arange(len(self.scenes)), columns)


def classify(
    path: str | Path, concepts: Sequence[Concept] = (), *, by: By = "auto",
    model: str | None = None, templates: str | None = None, device: str = "auto",
) -> ConceptScores:  # fmt: skip
    """Score the tiles and scenes of a run of `foveate observe complete` for concepts.

    Args:
        path: The run directory; the tables are written into it.
        concepts: Concepts to score; if empty, the concepts of the observer.
        by: "labels", "texts", or "auto": labels if the observer was trained with labels of all
            concepts, otherwise texts.
        model: The observer; None: the observer that completed the scenes.
        templates: Prompt templates; None: those of the training.
        device: Device of the text model.

    Returns:
        The scores of the tiles, and a summary.

    Raises:
        ParameterError: There are no concepts, or templates are given for concepts with labels.
        UnknownNameError: `by` is "labels", and a concept is unknown to the observer.
        MissingCapabilityError: The observer has no labels, or no text model.
        DataError: See `open_completed`.
    """
    scenes = open_completed(path)
    observer = observer_of(scenes, model)
    concepts = concepts or observer.record.concepts
    if not concepts:
        raise ParameterError(
            "no concepts, and an observer that was trained without concepts",
            "At least one concept is required.",
            "For example --concepts forest,water.",
        )
    source = _source(observer, concepts, by)
    if source == "labels" and templates is not None:
        raise ParameterError(
            f"templates {templates!r} for concepts with labels",
            "Templates apply to texts only.",
            "Omit --templates, or add --by texts for an observer with a text model.",
        )
    scores = _scores(scenes, observer, concepts, source=source, templates=templates, device=device)
    kind = "probability" if source == "labels" else "cosine"
    about = {"by": source, "score": kind, "concepts": [concept.to_dict() for concept in concepts]}
    step = scenes.record["steps"]["completed"]["key"]
    with Run.create(path) as opened:
        worked = opened.do(
            "classified", digest([VERSION, step, about, templates, scores]),
            lambda: _save(scenes, scores, concepts, about),
        )  # fmt: skip
    if unlike := caution(scenes.scene, scenes.unfamiliar):
        logger.warning("%s", unlike)
    best = [float(column.max()) for column in scores.T]
    summary = {
        "run": str(path),
        "worked": worked,
        "by": source,
        "score": kind,
        "tiles": len(scenes),
        "scenes": np.unique(scenes.scene).size,
        "unfamiliar": np.unique(scenes.scene[scenes.unfamiliar]).size,
        "cautions": [unlike] if unlike else [],
        "concepts": {
            concept.name: {"max": top, "mean": float(column.mean()), "novel": new}
            for concept, top, column, new in zip(
                concepts, best, scores.T, _novel(observer, concepts), strict=True
            )
        },
        "truth": _evaluated(scenes, scores, concepts, _novel(observer, concepts)),
        "files": [TILES, SCENES],
    }
    return ConceptScores(scenes, tuple(concept.name for concept in concepts), scores, summary)


def _source(observer: Observer, concepts: Sequence[Concept], by: By) -> Literal["texts", "labels"]:
    if by not in ("auto", "texts", "labels"):
        raise ParameterError(
            f"--by {by!r}", "Allowed: auto, texts, labels.", "For example --by auto."
        )
    if by != "auto":
        return by
    head = observer.head
    known = {same_name(name) for name in head.names} if head is not None else set()
    if all(same_name(concept.name) in known for concept in concepts):
        return "labels"
    return "labels" if observer.to_text is None and head is not None else "texts"


def _scores(
    scenes: Completed, observer: Observer, concepts: Sequence[Concept], *, source: str,
    templates: str | None, device: str,
) -> NDArray[np.float64]:  # fmt: skip
    """Return (n, K) scores."""
    if source == "labels":
        columns = [concept_scores(scenes, observer, concept.name) for concept in concepts]
        return np.stack(columns, axis=1)
    texts = {concept.name: concept.texts for concept in concepts}
    return text_scores(scenes, observer, texts, templates=templates, device=device)


def _novel(observer: Observer, concepts: Sequence[Concept]) -> list[bool]:
    """Return for each concept whether the observer was not trained on it."""
    base = {same_name(c.name) for c in observer.record.concepts if not c.novel}
    return [concept.novel or same_name(concept.name) not in base for concept in concepts]


def _save(
    scenes: Completed, scores: NDArray[np.float64], concepts: Sequence[Concept],
    about: dict[str, Any],
) -> list[str]:  # fmt: skip
    import pyarrow as pa

    names = [concept.name for concept in concepts]
    footer = {_FOOTER: json.dumps(about, sort_keys=True).encode()}
    tiles: dict[str, Any] = {"tile_id": pa.array(scenes.ids.tolist(), pa.string())}
    tiles |= {name: scores[:, k].astype(np.float32) for k, name in enumerate(names)}
    write_parquet(scenes.path / TILES, pa.table(tiles).replace_schema_metadata(footer))
    scene_names, maximum, mean = _over_scenes(scenes, scores)
    table = pa.table({
        "scene": pa.array(np.repeat(scene_names, len(names)).tolist(), pa.string()),
        "concept": pa.array(names * len(scene_names), pa.string()),
        "max": maximum.ravel().astype(np.float32), "mean": mean.ravel().astype(np.float32),
    })  # fmt: skip
    write_parquet(scenes.path / SCENES, table.replace_schema_metadata(footer))
    return [TILES, SCENES]


def _over_scenes(
    scenes: Completed, values: NDArray[np.floating]
) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Return scene names, and (s, K) maximum and mean values of the scenes."""
    names, numbers = scenes.by_scene()
    maximum = np.full((len(names), values.shape[1]), -np.inf)
    np.maximum.at(maximum, numbers, values)
    total = np.zeros_like(maximum)
    np.add.at(total, numbers, values)
    return names, maximum, total / np.bincount(numbers)[:, None]


def _evaluated(
    scenes: Completed, scores: NDArray[np.float64], concepts: Sequence[Concept],
    novel: Sequence[bool],
) -> dict[str, Any] | None:  # fmt: skip
    """Return the mean average precision, JSON-ready; None without labels."""
    labelled = _truth(scenes, concepts)
    if labelled is None:
        return None
    rows, columns, relevant = labelled
    kept = replace(
        scenes, **{
            name: getattr(scenes, name)[rows]
            for name in ("ids", "scene", "row", "col", "observed", "doubt", "x")
        }
    )  # fmt: skip
    values = scores[rows][:, columns]
    _, maximum, mean = _over_scenes(kept, values)
    _, in_scene, _ = _over_scenes(kept, relevant.astype(float))
    is_novel = np.array([novel[k] for k in columns])
    precisions = {
        "tiles": mean_average_precision(values, relevant).per_concept,
        "unobserved": mean_average_precision(
            values[~kept.observed], relevant[~kept.observed]
        ).per_concept,
        "scenes_max": mean_average_precision(maximum, in_scene > 0).per_concept,
        "scenes_mean": mean_average_precision(mean, in_scene > 0).per_concept,
    }
    return {
        "concepts": [concepts[k].name for k in columns],
        "prevalence": dict(
            zip([concepts[k].name for k in columns], relevant.mean(axis=0).tolist(), strict=True)
        ),
        **{
            name: {
                "base": _mean(each[~is_novel]), "novel": _mean(each[is_novel]),
                "each": dict(zip([concepts[k].name for k in columns], each.tolist(), strict=True)),
            }
            for name, each in precisions.items()
        },
    }  # fmt: skip


def _mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _truth(
    scenes: Completed, concepts: Sequence[Concept]
) -> tuple[NDArray[np.int64], list[int], NDArray[np.bool_]] | None:
    """Return labelled rows and columns, and their (rows, columns) bool labels; None without."""
    pairs = _pairs(scenes)
    if pairs is None:
        return None
    names = [scene.scene_id for scene in pairs.pool.scenes]
    index = {(names[s], row, col): i for i, (s, row, col) in enumerate(pairs.place.tolist())}
    keys = zip(scenes.scene.tolist(), scenes.row.tolist(), scenes.col.tolist(), strict=True)
    in_pairs = np.array([index.get(key, -1) for key in keys])
    columns: list[int] = []
    labels = []
    for k, concept in enumerate(concepts):
        shares = shares_of_pairs(concept, pairs)
        if shares is not None and np.isfinite(shares[in_pairs[in_pairs >= 0]]).any():
            columns.append(k)
            labels.append(present(shares[:, None], [concept])[:, 0])
    if not columns or not (in_pairs >= 0).any():
        return None
    rows = np.flatnonzero(in_pairs >= 0)
    return rows, columns, np.stack(labels, axis=1)[in_pairs[rows]]


def _pairs(scenes: Completed) -> Pairs | None:
    """Return the labelled pairs that the scenes were selected from, or None."""
    selection = scenes.record["summary"]["observe"]["selection"]
    try:
        job = Run.load(selection).record["job"]
    except FoveateError:  # the selection was moved, so its inputs are unknown
        return None
    for path in job.get("images", []):
        try:
            pairs = open_pairs(path)
        except DataError:  # overviews without pairs, or pairs that have changed
            continue
        if pairs.shares is not None or pairs.pool.counts is not None:
            return pairs
    return None
