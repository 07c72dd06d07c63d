"""The imagery of a benchmark of core-sets: opened before anything is written, then measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.curate.datasets import find_dataset
from foveate.bench.curate.design import check_alike, folds_of, joined_pools, split_pair
from foveate.errors import ParameterError
from foveate.models.load import load_model
from foveate.pool.folder import open_rows
from foveate.pool.pairing import pair_files
from foveate.pool.step import measure
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.bench.curate.design import Design
    from foveate.bench.curate.job import CurateBenchJob
    from foveate.models.base import ModelHandle, Scale
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

logger = logging.getLogger("foveate")

EITHER = "--train IMAGES:MASKS --test IMAGES:MASKS, or --pool IMAGES:MASKS --folds folder"


@dataclass(frozen=True)
class Headers:
    """Imagery whose headers were read.

    Attributes:
        pools: "pool"; or "train", "test" and, where there is one, "val".
        scale: (low, high) of each band, where the data set states it.
        absent: What a reader should know of images of the data set that are not there.
    """

    pools: Mapping[str, Pool]
    scale: Scale = ()
    absent: str = ""


def check_inputs(job: CurateBenchJob) -> None:
    """Refuse inputs that contradict each other or are not complete.

    Raises:
        ParameterError: They do.
    """
    pairs = [name for name in ("train", "test", "val", "pool", "folds") if getattr(job, name)]
    if bool(job.dataset) != bool(job.root):
        raise ParameterError(
            "--dataset without --root" if job.dataset else "--root without --dataset",
            "A data set lies in a folder: --dataset vaihingen --root FOLDER.",
        )
    if job.dataset and pairs:
        raise ParameterError(
            f"--dataset together with --{pairs[0]}", "The parts of a data set are its own.",
            f"Leave one of them out: --dataset {job.dataset} --root FOLDER",
        )  # fmt: skip
    if not job.dataset:
        _check_pairs(job)
    _check_training(job)


def _check_pairs(job: CurateBenchJob) -> None:
    parts = [name for name in ("train", "test", "val") if getattr(job, name)]
    if bool(job.pool) == bool(parts):
        raise ParameterError(
            f"--pool together with --{parts[0]}" if job.pool else "no imagery",
            "Either folders for each part, or one that is divided into folds.", EITHER,
        )  # fmt: skip
    lacking = [name for name in ("train", "test") if name not in parts]
    if not job.pool and lacking:
        raise ParameterError(
            f"--{parts[0]} without --{lacking[0]}", "One part is chosen from, the other tests.",
            f"--{lacking[0]} IMAGES:MASKS",
        )  # fmt: skip
    if bool(job.pool) != bool(job.folds) or (job.fold_count and not job.pool):
        raise ParameterError(
            "--pool without --folds" if job.pool else "--folds or --fold-count without --pool",
            "A pool is divided into folds of whole folders or scenes.",
            "--pool IMAGES:MASKS --folds folder",
        )


_TRAINING = (
    "val", "unet_bands", "steps_per_training", "epochs", "learning_rate", "schedule", "train_batch",
)  # fmt: skip


def _check_training(job: CurateBenchJob) -> None:
    """Refuse what would change nothing."""
    fields = type(job).model_fields
    stated = [n for n in _TRAINING if getattr(job, n) != fields[n].get_default()]
    names = {"steps_per_training": "steps"}
    if job.judge == "probe" and stated:
        name = names.get(stated[0], stated[0]).replace("_", "-")
        raise ParameterError(
            f"--{name} with the probe", "It is for the training of a U-Net.", "--judge unet"
        )
    if job.epochs and "steps_per_training" in stated:
        raise ParameterError(
            "--steps together with --epochs", "A training has as many steps, or as many epochs.",
            "Leave one of them out.",
        )  # fmt: skip
    if job.val and not job.epochs:
        raise ParameterError(
            "--val without --epochs", "Images of validation say which epoch is kept.",
            "--epochs 100",
        )  # fmt: skip


def check_model(job: CurateBenchJob) -> None:
    """Refuse a model that there is not, or that is no encoder of a U-Net.

    Raises:
        ParameterError: It is none.
    """
    handle = job.handle()
    if job.judge == "unet" and handle.family != "timm":
        raise ParameterError(
            f"--judge unet with --model {handle}", "Its encoder is a backbone of timm.",
            "--model timm:resnet18, with --weights PATH for local weights",
        )  # fmt: skip


def open_headers(job: CurateBenchJob) -> Headers:
    """Open the files, headers only.

    What tests and validates is cut so that no pixel is left out: where the edge is "drop", its
    tiles at the edge are shifted inside. Each pixel counts once.

    Raises:
        DataError: See `open_pool` and `find_dataset`; or parts that differ.
        ParameterError: A grid that cannot be.
    """
    found = None if job.dataset is None else find_dataset(job.dataset, str(job.root))
    by_epoch = ("val",) if job.epochs else ()  # nothing else looks at images of validation
    names = ("train", "test", *by_epoch) if found else ("pool", "train", "test", "val")
    pools = {}
    for name in names:
        if found:
            rows, notes = found.rows[name], ()
        elif getattr(job, name):
            images, masks = split_pair(getattr(job, name), f"--{name}")
            paired = pair_files([images], [masks])
            rows, notes = paired.rows, paired.notes
        else:
            continue
        judges = name in ("test", "val")
        pools[name] = open_rows(
            rows, classes=job.classes or (found.legend if found else None), tile=job.tile or 0,
            stride=job.stride, edge="shift" if judges and job.edge == "drop" else job.edge,
            nodata=job.nodata, bands=job.bands or None, notes=notes,
        )  # fmt: skip
    if "train" in pools:
        check_alike(pools)
    if found is None:
        return Headers(pools)
    if found.absent:
        logger.warning("%s", found.absent)
    return Headers(pools, found.scale, found.absent)


def handles(job: CurateBenchJob, headers: Headers) -> tuple[ModelHandle, ModelHandle]:
    """Return the model that embeds, and the one whose network a U-Net is trained with.

    They differ in their bands. Ranges of values that were stated belong to the bands of the U-Net,
    or to those of the model that embeds where these are as many.

    Raises:
        ParameterError: There is no such model.
    """
    first = next(iter(headers.pools.values())).scenes[0].source.info
    every = tuple(job.unet_bands or (range(1, first.bands + 1) if job.dataset else job.bands))
    known = dict(enumerate(headers.scale, 1)) if not job.scale else {}
    if job.scale and len(job.scale) == len(every):
        known = dict(zip(every, job.scale, strict=True))

    def scale(bands: Sequence[int]) -> Scale | None:
        each = tuple(known[band] for band in bands if band in known)
        return each if each and len(each) == len(bands) else tuple(job.scale) or None

    given = {"weights": job.weights, "device": job.device}
    encoder = load_model(job.model, bands=job.bands, scale=scale(job.bands), **given)
    if job.judge != "unet" or every == tuple(job.bands):
        return encoder, encoder
    return encoder, replace(encoder, bands=every, channels=len(every), scale=scale(every))


def design_of(
    job: CurateBenchJob, headers: Headers, run: Run, progress: ProgressFn | None
) -> Design:
    """Measure the pools and divide them; at most `max_tiles` of each stay."""
    pools = headers.pools
    first = "pool" if "pool" in pools else "train"
    chosen = _fewer(measure(pools[first], job, run, progress)[0], job.max_tiles)
    if first == "pool":
        assert job.folds is not None  # noqa: S101  (`check_inputs`)
        return folds_of(chosen, job.folds, job.fold_count)
    others = {
        name: _fewer(measure(pools[name], job, run, progress, part=name)[0], job.max_tiles)
        for name in ("test", "val")
        if name in pools
    }
    return joined_pools(chosen, others["test"], others.get("val"))


def _fewer(pool: Pool, most: int | None) -> Pool:
    if most is None or len(pool) <= most:
        return pool
    order = np.argsort(tie_keys(pool.ids, 0, "bench/tiles"), kind="stable")
    logger.warning("%d of %d tiles are drawn: --max-tiles.", most, len(pool))
    return pool.take(np.sort(order[:most]))
