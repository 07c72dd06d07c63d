"""The verbs of `observe` as functions; a job does the same in a run that can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.budget import Budget
from foveate.observe.build.job import BuildJob
from foveate.observe.classifying import classify
from foveate.observe.completing import Completed, open_completed
from foveate.observe.jobs import CompleteJob, PrepareJob, TrainJob
from foveate.observe.observer import Observer
from foveate.observe.options import AUTO, chosen_mode
from foveate.observe.pairs import Pairs, open_pairs
from foveate.observe.ranking import check_policy, open_tiles, policy_of, score_tiles
from foveate.observe.searching import search
from foveate.observe.selecting import cut_ranking
from foveate.observe.totals import EstimateJob, estimate_totals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.pool.find import Paths
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.selection import Selection

__all__ = [
    "build_pairs",
    "classify",
    "complete",
    "estimate",
    "prepare",
    "search",
    "select",
    "train",
]


def prepare(
    images: Sequence[str | Path], out: str | Path, *, progress: ProgressFn | None = None,
    **options: Any,
) -> Pairs:  # fmt: skip
    """Prepare pairs of overviews and high-resolution tiles.

    Args:
        images: Folders, files or globs of high-resolution images.
        out: Folder of the pairs.
        progress: Called with ticks.
        options: Fields of `PrepareJob`.

    Raises:
        FoveateError: Anything that is wrong with the input.
    """
    job = PrepareJob(images=[str(path) for path in images], **options)
    return open_pairs(job.run(out, progress=progress).path)


def build_pairs(
    anchors: str | Path, lr: str | Path, hr: str | Path, out: str | Path, *,
    progress: ProgressFn | None = None, **options: Any,
) -> Pairs:  # fmt: skip
    """Build pairs from map data and two catalogues of imagery.

    Args:
        anchors: OpenStreetMap extract, or a vector file of polygons.
        lr: STAC of the overviews.
        hr: STAC of the high resolution.
        out: Folder of the pairs; a build that was stopped goes on.
        progress: Called with ticks.
        options: Fields of `BuildJob`.

    Raises:
        FoveateError: Anything that is wrong with the input, or no pair is left.
    """
    job = BuildJob(anchors=str(anchors), lr=str(lr), hr=str(hr), **options)
    return open_pairs(job.run(out, progress=progress).path)


def train(
    pairs: str | Path, out: str | Path, *, progress: ProgressFn | None = None, **options: Any
) -> Observer:
    """Train an observer on pairs, and evaluate it on held-out scenes.

    Args:
        pairs: Folder of pairs; features are kept there.
        out: Run directory; a training that was stopped goes on.
        progress: Called with ticks.
        options: Fields of `TrainJob`.

    Raises:
        FoveateError: Anything that is wrong with the input.
    """
    run = TrainJob(pairs=str(pairs), **options).run(out, progress=progress)
    return Observer.load(run.path, device=options.get("device", "auto"))


def select(
    overviews: Pool | Pairs | Paths, observer: Observer | str | Path, *,
    budget: str | None = None, threshold: float | None = None, obr: float | None = None,
    policy: str = AUTO, covariate: str | None = None, bands: Sequence[int] = (),
    tile: float | None = None, seed: int = 0, device: str = "auto",
    progress: ProgressFn | None = None,
) -> Selection:  # fmt: skip
    """Select the tiles of overviews that are worth seeing in high resolution.

    Args:
        overviews: See `rank`; the other options, too.
        observer: A trained observer, or its folder.
        budget: Budget: 12%, 500 (tiles), area=25%.
        threshold: Or a calibrated score, 0 to 1, above which tiles are chosen.
        obr: Or a share of the area, 0 to 1: the threshold is set on these scores.
        policy: Policy.
        covariate: A raster, for the policy "covariate".
        bands: 1-based bands in the order of the training.
        tile: Side of a tile in pixels of the overviews.
        seed: Of ties, and of random policies.
        device: Of the encoder, and of an observer that is loaded.
        progress: Called with ticks.

    Raises:
        ParameterError: Not exactly one of budget, threshold and obr is given.
        FoveateError: See `rank`.
    """
    mode = chosen_mode(budget, threshold, obr, policy)
    check_policy(policy, covariate)
    own = observer if isinstance(observer, Observer) else Observer.load(observer, device=device)
    target = open_tiles(overviews, own, bands=bands, tile=tile, progress=progress)
    found = score_tiles(
        target, own, policy=policy_of(policy, own.record, mode), covariate=covariate,
        bands=bands, seed=seed, device=device, progress=progress,
    )  # fmt: skip
    limits = None if budget is None else Budget.parse(budget)
    return cut_ranking(
        found, target.pool, own.record.calibration, budget=limits, obr=obr, threshold=threshold
    )[0]


def complete(
    selection: str | Path, out: str | Path, *, tiles: Sequence[str | Path] = (),
    progress: ProgressFn | None = None, **options: Any,
) -> Completed:  # fmt: skip
    """Complete the scenes of a selection from overviews and the observed tiles.

    Args:
        selection: Run of a `SelectJob`.
        out: Run directory.
        tiles: Folders and files of high resolution; empty: nothing is observed.
        progress: Called with ticks.
        options: Fields of `CompleteJob`.

    Raises:
        FoveateError: Anything that is wrong with the input.
    """
    files = [str(path) for path in tiles]
    job = CompleteJob(selection=str(selection), tiles=files, **options)
    return open_completed(job.run(out, progress=progress).path)


def estimate(
    pairs: str | Path, concept: str, *, repeats: int = 0, plan: str | Path | None = None,
    answers: str | Path | None = None, progress: ProgressFn | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Estimate the total of a concept over all scenes of pairs; see `estimate_totals`.

    Args:
        pairs: Folder of pairs.
        concept: Its name.
        repeats: Draws to compare with the truth, and with even draws.
        plan: File for the drawn tiles, for a person who finds out.
        answers: CSV of what was found on them.
        progress: Called with ticks.
        options: Fields of `EstimateJob`.

    Raises:
        FoveateError: Options that exclude each other, or anything that is wrong with the input.
    """
    job = EstimateJob(pairs=str(pairs), concept=concept, **options)
    return estimate_totals(job, repeats=repeats, plan=plan, answers=answers, progress=progress)
