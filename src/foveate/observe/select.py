"""The select job: from overviews to the tiles that are worth seeing in high resolution.

LR tokens and the ranking are steps of the run: another budget or threshold costs a cut.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.budget import Budget
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids, fingerprint
from foveate.observe import select_results as results
from foveate.observe.calibrate import over, threshold_for
from foveate.observe.observer import WEIGHTS, Observer
from foveate.observe.pairs import open_pairs
from foveate.observe.ranking import check_policy, ranked
from foveate.observe.record import RECORD
from foveate.observe.select_settings import SelectJob
from foveate.observe.select_summary import areas, observed, training
from foveate.observe.target import (
    Target,
    cautions,
    check_reads,
    cut,
    is_pairs,
    target_of,
)
from foveate.pool.find import need_paths
from foveate.pool.step import measure, opened_pool
from foveate.pool.store import FILES, save_pool
from foveate.run import Run
from foveate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

    from foveate.observe.ranking import Ranked
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn

VERSION = 1  # raised when the same job gives another result
logger = logging.getLogger("foveate")


def run(
    job: SelectJob,
    out: str | Path,
    *,
    command: str = "",
    report: Callable[[Path], Path] | None = None,
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        report: Draws a page of the run directory into it and returns the file: `write_report`.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input, before anything is written where
            that can be known; what was encoded before is kept.
    """
    need_paths(job.images, "overview")
    budget = Budget.parse(job.budget) if job.mode == "budget" and job.budget else None
    check_policy(job.policy, job.covariate)
    if job.covariate is not None:
        need_paths(job.covariate, "covariate")
    observer = Observer.load(job.model, device=job.device)
    headers = _headers(job, observer)
    check_reads(headers.overviews, observer.record.encoders["lr"], job.bands)
    if budget is not None:
        _check_units(budget, headers.pool)
    for caution in cautions(headers, observer.record):  # before the work, not only after it
        logger.warning("%s", caution)
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        work = _Work(job, observer, opened, budget, progress)
        work.open_pool(headers)
        work.rank()
        work.select()
        work.show()
        opened.describe(summary=work.summary())
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
    return opened


def _headers(job: SelectJob, observer: Observer) -> Target:
    """Open overviews or pairs; no pixel is read."""
    folders = [path for path in job.images if is_pairs(path)]
    if not folders:
        headers = opened_pool(job, split=(1, 1))
        return target_of(cut(headers, observer.record, job.tile))
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


def _check_units(budget: Budget, pool: Pool) -> None:
    """Refuse a budget that no pool of these headers can have.

    How much of a tile is valid is not known yet: what its ground costs is looked at later.
    """
    costs = pool.costs()
    for unit, amount in budget.limits.items():
        if unit == "tiles" or unit not in costs:
            Budget({unit: amount}).resolve(costs)


@dataclass
class _Work:
    """The job in progress."""

    job: SelectJob
    observer: Observer
    run: Run
    budget: Budget | None
    progress: ProgressFn | None

    def open_pool(self, headers: Target) -> None:
        """Measure what is valid of overviews; pairs are measured."""
        opened = self.run
        if headers.pairs is None:
            pool, self.pool_key = measure(headers.pool, self.job, opened, self.progress)
            self.target = replace(headers, pool=pool)
        else:
            pool = headers.pool
            assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
            shares = digest(pool.tiles.valid_share)
            prints = [s.source.info.fingerprint for s in (*pool.scenes, *headers.overviews)]
            self.pool_key = digest([VERSION, digest_ids(pool.ids), shares, prints])

            def work() -> tuple[str, ...]:
                save_pool(opened.path, pool)
                return FILES

            opened.do("pool", self.pool_key, work)
            self.target = headers
        self.pool = pool
        if self.budget is not None:
            self.budget.resolve(pool.costs())

    def rank(self) -> None:
        """Rank by the policy, or read how it was ranked."""
        job, file = self.job, f"rankings/{self.job.policy}.parquet"
        folder = Path(self.observer.folder)
        prints = [fingerprint(folder / name) for name in (RECORD, WEIGHTS)]
        raster = [
            fingerprint(path) for path in need_paths(job.covariate or [], "covariate")
            if path.is_file()
        ]  # fmt: skip
        self.rank_key = digest(
            [VERSION, self.pool_key, prints, job.policy, job.covariate, raster, job.bands, job.seed]
        )

        def work() -> list[str]:
            found = ranked(
                self.target, self.observer, policy=job.policy, covariate=job.covariate,
                bands=job.bands, seed=job.seed, device=job.device, run=self.run,
                progress=self.progress,
            )  # fmt: skip
            results.save_ranked(self.run.path / file, found)
            return [file]

        self.run.do(f"rank {job.policy}", self.rank_key, work)
        self.ranked: Ranked = results.load_ranked(self.run.path / file, self.pool)

    def select(self) -> None:
        """Cut the ranking, and write what was chosen."""
        job = self.job
        self.selection, self.threshold, self.expected = self._cut()
        key = digest([self.rank_key, job.mode, str(self.budget), job.threshold, job.obr])
        about = {
            "fingerprint": digest_ids(self.pool.ids),
            "tiles": len(self.pool),
            "cost": {unit: float(cost.sum()) for unit, cost in self.pool.costs().items()},
        }
        self.run.do(
            "select", key,
            lambda: results.save_selected(
                self.run.path, self.target, self.ranked, self.selection, budget=self.budget,
                about=about, spec=self.observer.record.encoders["lr"].spec,
            ),
        )  # fmt: skip

    def _cut(self) -> tuple[Selection, float | None, float | None]:
        """Return what is chosen, above which calibrated score, and the share that was expected."""
        job, ranking = self.job, self.ranked.ranking
        if self.budget is not None:
            return ranking.at(self.budget), None, None
        if job.obr is not None:
            # On raw scores: calibrated ones end at 1, and what lies above would be one tie.
            tau = threshold_for(job.obr, self.ranked.raw, costs=areas(self.pool))
            chosen = over(self.ranked.raw, tau)[ranking.rows]
            found = float(self.observer.record.calibration([tau])[0])
            expected = job.obr
        else:
            found = float(job.threshold or 0.0)
            chosen, expected = over(ranking.score, found), 1 - found
        rows = ranking.rows[chosen]
        spent = {unit: float(cost[rows].sum()) for unit, cost in self.pool.costs().items()}
        meta = {**ranking.meta, "mode": job.mode, "threshold": found}
        made = Selection(
            rows, ranking.n, ranking.score[chosen], None, ranking.ids, spent, {}, nested=True,
            meta=meta,
        )  # fmt: skip
        return made, found, expected

    def show(self) -> None:
        """Write maps and pictures of the scenes, and remove those of scenes that have left."""
        path, target = self.run.path, self.target
        self.run.do("maps", self.rank_key, lambda: results.save_maps(path, target, self.ranked))
        prints = [[s.scene_id, s.source.info.fingerprint] for s in target.overviews]
        self.run.do(
            "thumbs", digest([VERSION, prints, self.job.bands]),
            lambda: results.save_thumbs(path, target, self.job.bands),
        )  # fmt: skip
        results.prune(path, target)

    def summary(self) -> dict[str, Any]:
        """Return what came out, JSON-ready."""
        record = self.observer.record
        return {
            "observe": observed(
                self.job, self.target, record, self.selection, budget=self.budget,
                threshold=self.threshold, expected=self.expected,
            ),
            "training": training(record, self.job.policy),
            "pool": self.pool.describe(),
            "model": record.encoders["lr"].spec.to_dict(),
            "seed": self.job.seed,
        }  # fmt: skip


__all__ = ["SelectJob", "run"]
