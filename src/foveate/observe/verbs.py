"""The verbs of `observe` as functions; the jobs of the same names write resumable runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.budget import Budget
from foveate.observe.build.job import BuildJob
from foveate.observe.completion.classifying import classify
from foveate.observe.completion.completing import Completed, open_completed
from foveate.observe.completion.searching import search
from foveate.observe.data.pairs import Pairs, open_pairs
from foveate.observe.jobs import CompleteJob, PrepareJob, TrainJob
from foveate.observe.observer import Observer
from foveate.observe.options import AUTO, chosen_mode
from foveate.observe.selection.ranking import check_policy, open_tiles, policy_of, score_tiles
from foveate.observe.selection.selecting import cut_ranking
from foveate.observe.totals.estimation import EstimateJob, estimate_totals

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
        progress: Progress callback.
        options: Fields of `PrepareJob`.

    Raises:
        FoveateError: The input is invalid.
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
        lr: STAC catalogue of the overviews.
        hr: STAC catalogue of the high resolution.
        out: Folder of the pairs; an interrupted build resumes.
        progress: Progress callback.
        options: Fields of `BuildJob`.

    Raises:
        FoveateError: The input is invalid, or no pair is left.
    """
    job = BuildJob(anchors=str(anchors), lr=str(lr), hr=str(hr), **options)
    return open_pairs(job.run(out, progress=progress).path)


def train(
    pairs: str | Path, out: str | Path, *, progress: ProgressFn | None = None, **options: Any
) -> Observer:
    """Train an observer on pairs, and evaluate it on test scenes.

    Args:
        pairs: Folder of pairs; extracted features are cached there.
        out: Run directory; an interrupted training resumes.
        progress: Progress callback.
        options: Fields of `TrainJob`.

    Raises:
        FoveateError: The input is invalid.
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
    """Select the tiles of overviews to acquire in high resolution.

    Args:
        overviews: See `rank`.
        observer: A trained observer, or its folder.
        budget: Budget: 12%, 500 (tiles), area=25%.
        threshold: Alternatively, the calibrated score, 0 to 1, above which tiles are selected.
        obr: Alternatively, the share of the area to select, 0 to 1; the threshold is set on the
            scores of this pool.
        policy: Name of a policy, or "auto".
        covariate: Raster for the policy "covariate".
        bands: 1-based bands in the order of the training.
        tile: Side of a tile in pixels of the overviews.
        seed: Seed of ties and random policies.
        device: Device of the encoder, and of an observer loaded from a folder.
        progress: Progress callback.

    Raises:
        ParameterError: None or several of budget, threshold and obr are given.
        FoveateError: See `rank`.
    """
    mode = chosen_mode(budget, threshold, obr, policy)
    check_policy(policy, covariate)
    if not isinstance(observer, Observer):
        observer = Observer.load(observer, device=device)
    record = observer.record
    target = open_tiles(overviews, observer, bands=bands, tile=tile, progress=progress)
    scores = score_tiles(
        target, observer, policy=policy_of(policy, record, mode), covariate=covariate,
        bands=bands, seed=seed, device=device, progress=progress,
    )  # fmt: skip
    parsed = None if budget is None else Budget.parse(budget)
    return cut_ranking(
        scores, target.pool, record.calibration, budget=parsed, obr=obr, threshold=threshold
    )[0]


def complete(
    selection: str | Path, out: str | Path, *, tiles: Sequence[str | Path] = (),
    progress: ProgressFn | None = None, **options: Any,
) -> Completed:  # fmt: skip
    """Complete the scenes of a selection from overviews and observed tiles.

    Args:
        selection: Run directory of a `SelectJob`.
        out: Run directory.
        tiles: Folders and files of high resolution; empty: no tile is observed.
        progress: Progress callback.
        options: Fields of `CompleteJob`.

    Raises:
        FoveateError: The input is invalid.
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
        concept: Name of the concept.
        repeats: Number of repeated draws to compare with the ground truth and with simple random
            sampling.
        plan: Output file of the drawn tiles, to be annotated.
        answers: CSV with the annotations of the drawn tiles.
        progress: Progress callback.
        options: Fields of `EstimateJob`.

    Raises:
        FoveateError: Options exclude each other, or the input is invalid.
    """
    job = EstimateJob(pairs=str(pairs), concept=concept, **options)
    return estimate_totals(job, repeats=repeats, plan=plan, answers=answers, progress=progress)
