"""Zero-shot recognition by texts (Tables 1 and 3): ours compared with image-text models.

Recognition is mean average precision over the test scenes, with one pooled vector per scene, and
top-1 accuracy or mean average precision on data sets. An image of a data set is an overview, which
a model embeds whole and ours completes without observed tiles.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.claims import present, reference_ahead_of
from foveate.bench.conditions import Claim, Row, Skipped, Table
from foveate.bench.observe.encoders import encoder_data, judged_by, read_encoders
from foveate.bench.observe.observing import MAIN_OWN, Condition
from foveate.bench.observe.timing import embedding_times
from foveate.models.load import load_model
from foveate.observe.completion.zero_shot import PRESETS, zero_shot_dataset
from foveate.stats.measures import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.bench.compare import Comparison
    from foveate.bench.observe.encoders import NamedEncoder
    from foveate.bench.observe.job import BenchJob
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.jobs import TrainJob
    from foveate.observe.observer import Observer
    from foveate.progress import ProgressFn

LR_ALONE = Condition("none", 0, "ours")
DATASETS = tuple(PRESETS)


def text_measures(
    job: TrainJob, pairs: Pairs, encoder: NamedEncoder, *, depths: Sequence[int], timed: bool,
    progress: ProgressFn | None = None,
) -> dict[str, dict[str, Measure]]:  # fmt: skip
    """Return the measures of an image-text model on "LR", whole overviews, and "HR", all tiles.

    Args:
        job: Training job of the seed.
        pairs: The pairs; embeddings are cached in their folder.
        encoder: An image-text model.
        depths: Values of K of mAP@K.
        timed: Whether to measure the time.
        progress: Called with ticks.

    Raises:
        Skipped: The model does not embed text, or the pairs have no labels.
    """
    data = encoder_data(job, pairs, encoder, progress)
    if data.texts is None or data.vectors is None:
        raise Skipped(f"{encoder.model} does not embed text; see foveate models.")
    test = data.scenes("test")
    rows, judged = data.tiles(test), judged_by(data, test, depths, job.seed)
    tiles, overviews = (np.asarray(v[part], np.float32) for v, part in zip(
        data.vectors, (rows, test), strict=True
    ))  # fmt: skip
    cosines = data.texts.own_cosines
    measures = {
        "LR": judged.pooled(cosines(overviews)),
        "HR": judged.by_texts(cosines(tiles)) | judged.pooled(cosines(judged.scene_means(tiles))),
    }
    if timed:
        overview, tile = embedding_times(data, rows, job.batch_size)
        for part, seconds in (("LR", len(test) * overview), ("HR", len(rows) * tile)):
            measures[part]["seconds"] = Measure(seconds, [seconds], {})
    return measures


def dataset_measures(
    model: Observer | NamedEncoder, datasets: Mapping[str, str], *, device: str,
    templates: str | None,
) -> dict[str, Measure]:  # fmt: skip
    """Return the top-1 accuracy or the mean average precision on data sets, by name.

    Args:
        model: A trained observer, or an image-text model.
        datasets: Name -> folder; see `zero_shot_dataset`.
        device: Device of models and networks.
        templates: Sentences around names.
    """
    measures = {}
    for name, root in datasets.items():
        if hasattr(model, "predictor"):
            value = _accuracy(model, name, root, device, templates)
        else:
            value = _of_model(model, name, root, device, templates)
        measures[name] = Measure(value, [value], {})
    return measures


@cache  # independent of the seed
def _of_model(
    encoder: NamedEncoder, name: str, root: str, device: str, templates: str | None
) -> float:
    handle = load_model(encoder.model, weights=encoder.weights, device=device)
    return _accuracy(handle, name, root, device, templates)


def _accuracy(model: Any, name: str, root: str, device: str, templates: str | None) -> float:
    measures = zero_shot_dataset(model, name, root, device=device, templates=templates)
    value = measures.get("top1", measures.get("map"))
    return float("nan") if value is None else value


_ZEROSHOT_COLUMNS = tuple(
    f"text {name}"
    for part in ("base", "novel")
    for name in (f"tiles {part}", f"scenes {part} @20", f"scenes {part} @100")
) + tuple(f"pooled {part} @{k}" for part in ("base", "novel") for k in (20, 100))


def zeroshot_rows(job: BenchJob) -> list[Row]:
    """Return the rows: ours, and LR and HR for each model of the file."""
    names = [one.name for one in read_encoders(job.encoders)] if job.encoders else []
    return [
        Row("full HR", (Condition("all", 1, "full"),)),
        Row("LR fill", (Condition("none", 0, "fill"),)),
        Row("ours, LR alone", (LR_ALONE,)),
        *(
            Row(f"{policy}, {completion}", (Condition(policy, job.obr, completion),))
            for policy in ("random", "learned")
            for completion in ("none", "fill", "ours")
        ),
        *(
            Row(f"{name}, {part}", (Condition("zero-shot", part == "HR", f"{name} {part}"),))
            for name in names
            for part in ("LR", "HR")
        ),
    ]


def zeroshot_claims(_: BenchJob, compared: Mapping[str, Comparison]) -> list[Claim]:
    """Compare ours with its parts and the image-text models, for base and novel concepts."""
    names = ["LR fill", "random, ours", "learned, none", "learned, fill"]
    plain = [name for name in compared if name.endswith((", LR", ", HR"))]
    lines = present([reference_ahead_of(compared, name) for name in (*names, *plain)])
    for part in ("base", "novel"):
        key = f"text scenes {part} @20"
        full, ours, fill = (compared[n].means.get(key) for n in ("full HR", MAIN_OWN, "LR fill"))
        if full is not None and ours is not None and fill is not None:
            text = f"scene mAP@20 of {part} concepts: full HR {full:.3f}, {MAIN_OWN} {ours:.3f}, "
            lines.append(Claim(text + f"LR fill {fill:.3f}"))  # without interval
    return lines


ZEROSHOT = Table(
    "Zero-shot recognition by texts", "recognition",
    ("obr", "recognition", *DATASETS, *_ZEROSHOT_COLUMNS), zeroshot_rows,
    (MAIN_OWN,), zeroshot_claims,
    note="scene mAP by texts: over all test scenes and concepts, with one pooled vector per scene; "
    "data sets: from the LR branch alone, without observed tiles. Models of --encoders embed whole "
    "overviews (LR), or average all tiles (HR). Tiles and scenes (mean over tiles) are ranked by "
    "the cosine of their embedding and that of the text; pooled @K: scenes by their mean feature, "
    "as in Eq. 9. Novel concepts are not used in any supervision of the sampler.",
)  # fmt: skip
