"""Table of encoders: recognition from LR and from HR by each encoder alone.

Supervised: classifiers on LR tokens (of a tile, its neighbours and its scene), or on all HR tokens.
Zero-shot, if the encoder embeds text: tiles, and whole overviews or the mean of all tiles, by the
cosine of their embeddings with those of the texts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.claims import best_of_blocks
from foveate.bench.conditions import Claim, Row, Skipped, Table
from foveate.bench.observe.baselines import distil, lr_features
from foveate.bench.observe.observing import Condition
from foveate.bench.observe.retrieval import Judged
from foveate.bench.observe.timing import encoding_times
from foveate.errors import ParameterError
from foveate.models.heads import read_names
from foveate.models.load import load_model
from foveate.observe.training.dataset import build_dataset
from foveate.stats.measures import Measure, group_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.bench.compare import Comparison
    from foveate.bench.observe.job import BenchJob
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.jobs import TrainJob
    from foveate.observe.training.dataset import TrainingData
    from foveate.progress import ProgressFn

_FIELDS = {"model", "weights"}


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder of a table.

    Attributes:
        name: Name in the labels of rows.
        model: Name for `load_model`.
        weights: Local weights, or None.
    """

    name: str
    model: str
    weights: str | None = None


def read_encoders(path: str) -> tuple[NamedEncoder, ...]:
    """Read a file of encoders: YAML, TOML or JSON, ``NAME: MODEL`` or ``NAME: {model, weights}``.

    Raises:
        ParameterError: An entry is invalid, a model is unknown, or there is no entry.
        DataError: The file or weights cannot be read.
    """

    def read(content: Any) -> tuple[NamedEncoder, ...]:
        if not isinstance(content, dict) or not content:
            raise ParameterError(
                "no encoders", "An encoder must have a name and a model.", "Write NAME: builtin."
            )
        return tuple(_encoder(str(name), value) for name, value in content.items())

    return read_names(
        Path(path), read, "encoders", "'NAME: MODEL' or 'NAME: {model: M, weights: FILE}'"
    )


def _encoder(name: str, value: Any) -> NamedEncoder:
    given = value if isinstance(value, dict) else {"model": value}
    if not set(given) <= _FIELDS or not isinstance(given.get("model"), str):
        raise ParameterError(
            f"the encoder {name!r} is {value!r}", "Allowed: {model: MODEL, weights: FILE}."
        )
    load_model(given["model"], weights=given.get("weights"))
    return NamedEncoder(name, given["model"], given.get("weights"))


def encoder_data(
    job: TrainJob, pairs: Pairs, encoder: NamedEncoder, progress: ProgressFn | None = None
) -> TrainingData:
    """Return features of the pairs by an encoder, with embeddings if it embeds text.

    Args:
        job: Training job of the seed.
        pairs: The pairs; features are cached in their folder.
        encoder: The encoder.
        progress: Called with ticks.

    Raises:
        Skipped: The pairs have no labels.
    """
    given = {
        "model": encoder.model, "weights": encoder.weights, "lr_model": None, "lr_weights": None,
        "target_model": None, "text_model": None, "saliency_model": None, "preset": None,
    }  # fmt: skip
    with_encoder = job.model_copy(update={**given, "reference": "tile"})
    data = build_dataset(with_encoder, pairs, progress)
    if data.texts is not None:
        overviews = with_encoder.model_copy(update={"reference": "overview"})
        data = build_dataset(overviews, pairs, progress)
    if data.labels is None or data.known is None:
        raise Skipped("The pairs have no labels for training and evaluation of classifiers.")
    return data


def judged_by(
    data: TrainingData, test: NDArray[np.int64], depths: Sequence[int], seed: int
) -> Judged:
    """Return the labels of the tiles of test scenes."""
    assert data.known is not None  # noqa: S101  (`encoder_data` requires it)
    place = data.places(test)
    groups = np.array(group_names(data.pairs.groups))[test][place[:, 0]]
    novel = np.array([concept.novel for concept in data.concepts])
    return Judged(data.known[data.tiles(test)], place, groups, novel, depths, seed)


def encoder_measures(
    job: TrainJob, pairs: Pairs, encoder: NamedEncoder, *, depths: Sequence[int], timed: bool,
    progress: ProgressFn | None = None,
) -> dict[str, dict[str, Measure]]:  # fmt: skip
    """Return the measures of an encoder on "LR" and "HR", by name.

    Args:
        job: Training job of the seed.
        pairs: The pairs; features are cached in their folder.
        encoder: The encoder of overviews and tiles.
        depths: Values of K of mAP@K.
        timed: Whether to measure the time of encoding and classifiers.
        progress: Called with ticks.

    Raises:
        Skipped: The pairs have no labels.
    """
    data = encoder_data(job, pairs, encoder, progress)
    test = data.scenes("test")
    rows, judged = data.tiles(test), judged_by(data, test, depths, job.seed)
    teacher, labels = distil(data).teacher, data.labels
    assert labels is not None  # noqa: S101  (`encoder_data` requires it)
    nothing, everything = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    start = time.perf_counter()
    x = lr_features(data.data.take(test).lr.float().numpy(), data.shape, data.places(test))
    low = teacher.logits(x)
    middle = time.perf_counter()
    high = labels.logits(data.means(rows))
    end = time.perf_counter()
    measures = {
        "LR": judged.by_classifiers(low, nothing), "HR": judged.by_classifiers(high, everything),
    }  # fmt: skip
    if timed:
        overview, tile = encoding_times(data, rows, job.batch_size)
        for part, seconds in (
            ("LR", len(test) * overview + middle - start), ("HR", len(rows) * tile + end - middle),
        ):  # fmt: skip
            measures[part]["seconds"] = Measure(seconds, [seconds], {})
    if data.texts is not None and data.vectors is not None:
        tiles, overviews = data.vectors
        tiles = np.asarray(tiles[rows], np.float32)
        measures["LR"] |= judged.pooled(data.texts.own_cosines(np.asarray(overviews[test], float)))
        measures["HR"] |= judged.by_texts(data.texts.own_cosines(tiles))
        measures["HR"] |= judged.pooled(data.texts.own_cosines(judged.scene_means(tiles)))
    return measures


def encoder_rows(job: BenchJob) -> list[Row]:
    """Return the rows: LR and HR for each encoder of the file."""
    names = [one.name for one in read_encoders(job.encoders)] if job.encoders else ["builtin"]
    return [
        Row(f"{name}, {part}", (Condition("encoder", part == "HR", f"{name} {part}"),), part)
        for part in ("LR", "HR")
        for name in names
    ]


def encoder_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Return the best encoder on LR, and on HR."""
    return best_of_blocks(compared, "tiles", "tile mAP")


ENCODERS = Table(
    "Encoders", "tiles",
    (
        "tiles", "regions", "scenes max @20", "scenes mean @20", "pooled base @20",
        "pooled novel @20",
    ),
    encoder_rows, (), encoder_claims,
    note="LR: classifiers on the tokens of a tile of the overview, its neighbours and its scene. "
    "HR: classifiers on the tokens of all tiles. pooled: by texts, for encoders that embed text. "
    "Rows are compared with the first row of their block.",
)  # fmt: skip
