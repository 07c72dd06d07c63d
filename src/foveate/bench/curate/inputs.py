"""The imagery of a benchmark of core-sets: headers are opened first, then pixels are measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.curate.datasets import find_dataset
from foveate.bench.curate.design import check_alike, folds_of, joined_pools, split_pair
from foveate.errors import ParameterError
from foveate.models.load import load_model
from foveate.pool.folder import Cutting, open_rows
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
    """Pools whose headers were read.

    Attributes:
        pools: "pool"; or "train", "test" and optionally "val".
        scale: (low, high) of each band, if the data set defines it.
        absent: Caution about images that are missing from the data set; "" if none.
    """

    pools: Mapping[str, Pool]
    scale: Scale = ()
    absent: str = ""


def check_inputs(job: CurateBenchJob) -> None:
    """Check that the inputs are complete and do not contradict each other.

    Raises:
        ParameterError: They are incomplete or contradictory.
    """
    pairs = [name for name in ("train", "test", "val", "pool", "folds") if getattr(job, name)]
    if bool(job.dataset) != bool(job.root):
        raise ParameterError(
            "--dataset without --root" if job.dataset else "--root without --dataset",
            "A data set needs both its name and its folder.",
            "--dataset vaihingen --root FOLDER",
        )
    if job.dataset and pairs:
        raise ParameterError(
            f"--dataset together with --{pairs[0]}", "A data set has its own split.",
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
            "Give a training and a test part, or one pool that is divided into folds.", EITHER,
        )  # fmt: skip
    missing = [name for name in ("train", "test") if name not in parts]
    if not job.pool and missing:
        raise ParameterError(
            f"--{parts[0]} without --{missing[0]}",
            "Tiles are selected from --train, and models are tested on --test.",
            f"--{missing[0]} IMAGES:MASKS",
        )  # fmt: skip
    if bool(job.pool) != bool(job.folds) or (job.fold_count and not job.pool):
        raise ParameterError(
            "--pool without --folds" if job.pool else "--folds or --fold-count without --pool",
            "A pool is divided into folds that never split a folder or scene.",
            "--pool IMAGES:MASKS --folds folder",
        )


_TRAINING = (
    "val", "unet_bands", "steps_per_training", "epochs", "learning_rate", "schedule", "train_batch",
)  # fmt: skip


def _check_training(job: CurateBenchJob) -> None:
    """Reject options without effect."""
    fields = type(job).model_fields
    stated = [n for n in _TRAINING if getattr(job, n) != fields[n].get_default()]
    names = {"steps_per_training": "steps"}
    if job.judge == "probe" and stated:
        name = names.get(stated[0], stated[0]).replace("_", "-")
        raise ParameterError(
            f"--{name} with the probe", "It is an option of U-Net training.", "--judge unet"
        )
    if job.epochs and "steps_per_training" in stated:
        raise ParameterError(
            "--steps together with --epochs",
            "The length of a training is given in steps or in epochs.", "Leave one of them out.",
        )  # fmt: skip
    if job.val and not job.epochs:
        raise ParameterError(
            "--val without --epochs", "Validation images are used to choose the best epoch.",
            "--epochs 100",
        )  # fmt: skip


def check_model(job: CurateBenchJob) -> None:
    """Check that the model exists, and that it can be the encoder of a U-Net if one is trained.

    Raises:
        ParameterError: The model is unknown, or cannot be the encoder of a U-Net.
    """
    handle = job.handle()
    if job.judge == "unet" and handle.family != "timm":
        raise ParameterError(
            f"--judge unet with --model {handle}", "The encoder of a U-Net must be a timm model.",
            "--model timm:resnet18, with --weights PATH for local weights",
        )  # fmt: skip


def open_headers(job: CurateBenchJob) -> Headers:
    """Open the headers of all files.

    Test and validation tiles cover all pixels: if the edge is "drop", their tiles at the edge are
    shifted inside instead. Each pixel counts once.

    Raises:
        DataError: See `open_pool` and `find_dataset`; or the parts have different bands, data
            types or classes.
        ParameterError: The tile grid is invalid.
    """
    found = None if job.dataset is None else find_dataset(job.dataset, str(job.root))
    by_epoch = ("val",) if job.epochs else ()  # validation images only choose the epoch
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
        evaluates = name in ("test", "val")
        edge = "shift" if evaluates and job.edge == "drop" else job.edge
        pools[name] = open_rows(
            rows, Cutting(job.tile or 0, job.stride, edge),
            classes=job.classes or (found.legend if found else None), nodata=job.nodata,
            bands=job.bands or None, notes=notes,
        )  # fmt: skip
    if "train" in pools:
        check_alike(pools)
    if found is None:
        return Headers(pools)
    if found.absent:
        logger.warning("%s", found.absent)
    return Headers(pools, found.scale, found.absent)


def handles(job: CurateBenchJob, headers: Headers) -> tuple[ModelHandle, ModelHandle]:
    """Return the encoder for embeddings, and the one that a U-Net is trained with.

    They may have different bands. Ranges given by `scale` belong to the bands of the U-Net if
    there is one range for each of them, else to the bands of the encoder.

    Raises:
        ParameterError: The model is unknown.
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
    """Measure the pools and divide them into folds; each is reduced to at most `max_tiles`."""
    pools = headers.pools
    first = "pool" if "pool" in pools else "train"
    train = _subsampled(measure(pools[first], job, run, progress)[0], job.max_tiles)
    if first == "pool":
        assert job.folds is not None  # noqa: S101  (`check_inputs`)
        return folds_of(train, job.folds, job.fold_count)
    others = {
        name: _subsampled(measure(pools[name], job, run, progress, part=name)[0], job.max_tiles)
        for name in ("test", "val")
        if name in pools
    }
    return joined_pools(train, others["test"], others.get("val"))


def _subsampled(pool: Pool, max_tiles: int | None) -> Pool:
    if max_tiles is None or len(pool) <= max_tiles:
        return pool
    order = np.argsort(tie_keys(pool.ids, 0, "bench/tiles"), kind="stable")
    logger.warning("%d of %d tiles are used (--max-tiles).", max_tiles, len(pool))
    return pool.take(np.sort(order[:max_tiles]))
