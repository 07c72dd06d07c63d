"""Rows of several encoders in one table, each read alone: what LR, and what HR tells by it.

Supervised: classifiers on LR tokens (of a tile, its neighbours and its scene), or on all HR tokens.
Zero-shot, where the encoder reads text: tiles, and whole overviews or the mean of all tiles, by the
cosine of their embeddings with the texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.claims import best
from foveate.bench.conditions import Claim, Row, Skipped, Table
from foveate.bench.observe.baselines import distil, lr_features
from foveate.bench.observe.observing import Condition
from foveate.bench.observe.retrieval import Judged
from foveate.errors import ParameterError
from foveate.models.heads import read_names
from foveate.models.load import load_model
from foveate.observe.dataset import build_dataset
from foveate.stats.measures import group_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.bench.compare import Comparison
    from foveate.bench.observe.job import BenchJob
    from foveate.observe.jobs import TrainJob
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.stats.measures import Measure

_FIELDS = {"model", "weights"}


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder of a table.

    Attributes:
        name: Of its rows.
        model: For `load_model`.
        weights: Local weights, or None.
    """

    name: str
    model: str
    weights: str | None = None


def read_encoders(path: str) -> tuple[NamedEncoder, ...]:
    """Read a file of encoders: YAML, TOML or JSON, ``NAME: MODEL`` or ``NAME: {model, weights}``.

    Raises:
        ParameterError: An entry of another form, an unknown model, or no entry.
        DataError: The file cannot be read, or weights cannot.
    """

    def read(content: Any) -> tuple[NamedEncoder, ...]:
        if not isinstance(content, dict) or not content:
            raise ParameterError("no encoders", "An encoder is a name and a model.", "A: builtin")
        return tuple(_encoder(str(name), value) for name, value in content.items())

    return read_names(
        Path(path), read, "encoders", "'NAME: MODEL' or 'NAME: {model: M, weights: FILE}'"
    )


def _encoder(name: str, value: Any) -> NamedEncoder:
    given = value if isinstance(value, dict) else {"model": value}
    if not set(given) <= _FIELDS or not isinstance(given.get("model"), str):
        raise ParameterError(f"the encoder {name!r} is {value!r}", "It has a model, and weights.")
    load_model(given["model"], weights=given.get("weights"))
    return NamedEncoder(name, given["model"], given.get("weights"))


def encoder_measures(
    job: TrainJob, pairs: Pairs, encoder: NamedEncoder, *, depths: Sequence[int],
    progress: ProgressFn | None = None,
) -> dict[str, dict[str, Measure]]:  # fmt: skip
    """Return what "LR" and "HR" tell by an encoder: measures by name each.

    Args:
        job: Of the seed.
        pairs: The pairs; features are kept in their folder.
        encoder: The encoder, of overviews and of tiles.
        depths: K of mAP@K.
        progress: Called with ticks.

    Raises:
        Skipped: The pairs have no labels.
    """
    given = {
        "model": encoder.model, "weights": encoder.weights, "lr_model": None, "lr_weights": None,
        "target_model": None, "text_model": None, "saliency_model": None, "preset": None,
    }  # fmt: skip
    own = job.model_copy(update={**given, "reference": "tile"})
    data = build_dataset(own, pairs, progress)
    if data.labels is None or data.known is None:
        raise Skipped("no labels to fit classifiers to, and to judge by")
    if data.texts is not None:
        data = build_dataset(own.model_copy(update={"reference": "overview"}), pairs, progress)
    test = data.scenes("test")
    rows, place = data.tiles(test), data.places(test)
    known = data.known
    assert known is not None  # noqa: S101  (as above)
    judged = Judged(
        known[rows], place, np.array(group_names(pairs.groups))[test][place[:, 0]],
        np.array([concept.novel for concept in data.concepts]), depths, job.seed,
    )  # fmt: skip
    x = lr_features(data.data.take(test).lr.float().numpy(), data.shape, place)
    nothing, everything = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    labels: Any = data.labels
    found = {
        "LR": judged.by_classifiers(distil(data).teacher.logits(x), nothing),
        "HR": judged.by_classifiers(labels.logits(data.means(rows)), everything),
    }
    if data.texts is not None and data.vectors is not None:
        tiles, overviews = data.vectors
        tiles = np.asarray(tiles[rows], np.float32)
        found["LR"] |= judged.pooled(data.texts.own_cosines(np.asarray(overviews[test], float)))
        found["HR"] |= judged.by_texts(data.texts.own_cosines(tiles))
        found["HR"] |= judged.pooled(data.texts.own_cosines(judged.scene_means(tiles)))
    return found


def encoder_rows(job: BenchJob) -> list[Row]:
    """Return the rows: LR and HR by each encoder of a file."""
    names = [one.name for one in read_encoders(job.encoders)] if job.encoders else ["builtin"]
    return [
        Row(f"{name}, {part}", (Condition("encoder", part == "HR", f"{name} {part}"),), part)
        for part in ("LR", "HR")
        for name in names
    ]


def encoder_claims(_: BenchJob, found: Mapping[str, Comparison]) -> list[Claim]:
    """Say which encoder is best on LR, and on HR."""
    lines = []
    for block in dict.fromkeys(row.block for row in found.values()):
        first = best([row for row in found.values() if row.block == block], "tiles")
        if first is not None:
            value = first.means["tiles"]
            lines.append(Claim(f"{block}: the best is {first.label}, tile mAP {value:.3f}"))
    return lines


ENCODERS = Table(
    "Encoders", "tiles",
    (
        "tiles", "regions", "scenes max @20", "scenes mean @20", "pooled base @20",
        "pooled novel @20",
    ),
    encoder_rows, (), encoder_claims,
    note="LR: classifiers on the tokens of a tile of the overview, its neighbours and its scene. "
    "HR: classifiers on the tokens of all tiles. pooled: by texts, for encoders that read them. "
    "Rows are compared with the first of their block.",
)  # fmt: skip
