"""Selection: from ranked overviews to the tiles that are worth seeing in high resolution.

LR tokens and the ranking are steps of the run: another budget or threshold costs a cut.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.budget import Budget
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids, fingerprint
from foveate.observe import select_results as results
from foveate.observe.calibrate import over, threshold_for
from foveate.observe.observer import WEIGHTS
from foveate.observe.pairs import open_pairs
from foveate.observe.ranking import ranked
from foveate.observe.record import RECORD
from foveate.observe.select_summary import areas
from foveate.observe.target import Target, cut, is_pairs, target_of
from foveate.pool.find import need_paths
from foveate.pool.step import measure, opened_pool
from foveate.pool.store import FILES, save_pool
from foveate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.observe.calibrate import Calibration
    from foveate.observe.jobs import SelectJob
    from foveate.observe.observer import Observer
    from foveate.observe.ranking import Ranked
    from foveate.observe.record import Record
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # raised when the same job gives another result


def open_overviews(job: SelectJob, record: Record) -> Target:
    """Open overviews or pairs, headers only.

    Args:
        job: Which imagery.
        record: Of the observer, which says how large a tile is.

    Raises:
        ParameterError: Pairs with other paths, or with options that say how imagery is read.
    """
    folders = [path for path in job.images if is_pairs(path)]
    if not folders:
        return target_of(cut(opened_pool(job, split=(1, 1)), record, job.tile))
    if len(job.images) > 1:
        raise ParameterError(
            f"{len(job.images)} paths, of which {folders[0]!r} is a run",
            "Pairs are given alone, overviews as files or folders of them.",
            "Give the folder of the pairs, or its folder 'overviews'.",
        )
    fields = ("nodata", "extra", "stack", "min_valid", "skip_empty", "tile")
    stated = [n for n in fields if getattr(job, n) != type(job).model_fields[n].get_default()]
    if stated:
        raise ParameterError(
            f"--{stated[0].replace('_', '-')} with pairs",
            "How pairs are read was said when they were prepared.",
            "Leave it out, or prepare them again.",
        )
    return target_of(open_pairs(folders[0]))


def check_units(budget: Budget, pool: Pool) -> None:
    """Refuse a budget that no pool of these headers can have.

    How much of a tile is valid is not known yet: the cost of its area is checked later.
    """
    costs = pool.costs()
    for unit, amount in budget.limits.items():
        if unit == "tiles" or unit not in costs:
            Budget({unit: amount}).resolve(costs)


def measured(
    headers: Target, job: SelectJob, run: Run, progress: ProgressFn | None
) -> tuple[Target, str]:
    """Measure what is valid of overviews (pairs are measured), and return a hash of the pool."""
    if headers.pairs is None:
        pool, key = measure(headers.pool, job, run, progress)
        return replace(headers, pool=pool), key
    pool = headers.pool
    assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
    shares = digest(pool.tiles.valid_share)
    prints = [s.source.info.fingerprint for s in (*pool.scenes, *headers.overviews)]
    key = digest([VERSION, digest_ids(pool.ids), shares, prints])

    def work() -> tuple[str, ...]:
        save_pool(run.path, pool)
        return FILES

    run.do("pool", key, work)
    return headers, key


def observer_files(observer: Observer) -> list[str]:
    """Return fingerprints of the files of an observer."""
    return [fingerprint(Path(observer.folder) / name) for name in (RECORD, WEIGHTS)]


def raster_files(covariate: str | None) -> list[str]:
    """Return fingerprints of the files of a covariate."""
    paths = need_paths(covariate or [], "covariate")
    return [fingerprint(path) for path in paths if path.is_file()]


def ranked_tiles(
    run: Run, target: Target, observer: Observer, key: str, *, policy: str,
    covariate: str | None, bands: Sequence[int], seed: int, device: str,
    progress: ProgressFn | None,
) -> Ranked:  # fmt: skip
    """Rank by a policy unless the run has done so; see `ranked`."""
    file = f"rankings/{policy}.parquet"

    def work() -> list[str]:
        found = ranked(
            target, observer, policy=policy, covariate=covariate, bands=bands, seed=seed,
            device=device, run=run, progress=progress,
        )  # fmt: skip
        results.save_ranked(run.path / file, found)
        return [file]

    run.do(f"rank {policy}", key, work)
    return results.load_ranked(run.path / file, target.pool)


def cut_ranking(
    found: Ranked, pool: Pool, calibration: Calibration, *, budget: Budget | None,
    obr: float | None, threshold: float | None,
) -> tuple[Selection, float | None, float | None]:  # fmt: skip
    """Choose tiles by a budget, an observed share or a threshold.

    Returns:
        The selection, the calibrated score above which tiles were chosen, and the share of the
        area that was expected; None with a budget.
    """
    ranking = found.ranking
    if budget is not None:
        return ranking.at(budget), None, None
    if obr is not None:
        # On raw scores: calibrated ones end at 1, and what lies above would be one tie.
        tau = threshold_for(obr, found.raw, costs=areas(pool))
        chosen = over(found.raw, tau)[ranking.rows]
        threshold, expected = float(calibration([tau])[0]), obr
    else:
        threshold = float(threshold or 0.0)
        chosen, expected = over(ranking.score, threshold), 1 - threshold
    rows = ranking.rows[chosen]
    spent = {unit: float(cost[rows].sum()) for unit, cost in pool.costs().items()}
    mode = "threshold" if obr is None else "obr"
    meta: dict[str, Any] = {**ranking.meta, "mode": mode, "threshold": threshold}
    selection = Selection(
        rows, ranking.n, ranking.score[chosen], None, ranking.ids, spent, {}, nested=True,
        meta=meta,
    )  # fmt: skip
    return selection, threshold, expected
