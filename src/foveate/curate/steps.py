"""The steps of a curate job: pool, embeddings, rankings, selections, tables and pictures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Budget, affordable
from foveate.curate.rank import Ranker
from foveate.curate.results import (
    load_ranking,
    save_ranking,
    save_selection,
    write_tables,
)
from foveate.curate.thumbs import draw_picks
from foveate.files import digest, digest_ids
from foveate.models import embed
from foveate.pool.step import measured_pool
from foveate.run.shards import step_name
from foveate.select.forecast import forecast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.curate.methods import Method
    from foveate.curate.settings import CurateJob
    from foveate.embeddings import Embeddings
    from foveate.models import ModelHandle
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.selection import Ranking, Selection

logger = logging.getLogger("foveate")

VERSION = 3  # raised when a step writes something else for the same inputs
FULL_DEPTH = 20_000  # greedy methods rank pools up to this size completely
SPEAK_UP = 10  # seconds from which a forecast is worth a line
NO_MASKS = (
    "No masks: tiles are drawn at random. No method that reads images alone (--method kcenter, fa, "
    "fd) has been better than that throughout. With masks (--masks FOLDER) the default is fa-cb."
)


@dataclass
class Work:
    """The job in progress: each step reads what the earlier ones have put here."""

    job: CurateJob
    run: Run
    budget: Budget
    methods: dict[str, Method]
    options: dict[str, dict[str, Any]]
    progress: ProgressFn | None
    pool: Pool = field(init=False)
    costs: Mapping[str, NDArray[np.float64]] = field(init=False)
    ranker: Ranker = field(init=False)
    about: dict[str, Any] = field(init=False)
    pool_key: str = ""
    embeddings: Embeddings | None = None
    embeddings_key: str = ""
    rankings: dict[str, Ranking] = field(default_factory=dict)
    selections: dict[str, Selection] = field(default_factory=dict)

    def open_pool(self) -> None:
        """Open the files, and measure them unless the run has done so."""
        self.pool, self.pool_key = measured_pool(self.job, self.run, self.progress)
        self.costs = self.pool.costs()
        self.budget.resolve(self.costs)

    def embed(self, handle: ModelHandle) -> None:
        """Embed the pool, or map the embeddings that are there."""
        self.embeddings = embed(
            self.pool, handle, run=self.run, batch_size=self.job.batch_size,
            workers=self.job.workers, progress=self.progress,
        )  # fmt: skip
        self.embeddings_key = self.run.key(step_name(self.embeddings.spec.name))

    def ready(self) -> None:
        """Gather what all methods use: of ten million tiles, hashes and areas take a while."""
        self.ranker = Ranker(
            self.pool, self.embeddings, self.job.seed, self.job.preset, self.progress, self.costs,
            self.job.max_overlap,
        )  # fmt: skip
        self.about = {
            "fingerprint": digest_ids(self.pool.ids),
            "tiles": len(self.pool),
            "cost": {unit: float(cost.sum()) for unit, cost in self.costs.items()},
        }

    def rank(self, name: str) -> None:
        """Rank by one method."""
        method, options, n = self.methods[name], dict(self.options[name]), len(self.pool)
        if method.greedy and options.get("depth") is None and n > FULL_DEPTH:
            options["depth"] = self._depth()
        file = f"rankings/{name}.parquet"
        # Methods of labels alone do not depend on the model: another one leaves them as they are.
        vectors = self.embeddings_key if "embeddings" in method.needs else ""
        key = digest([
            VERSION, self.pool_key, vectors, name, options, self.job.seed, self.job.preset,
            self.ranker.overlap,
        ])  # fmt: skip

        def work() -> list[str]:
            expected = forecast(
                name, n=n, d=self.embeddings.spec.dim if self.embeddings else 0,
                c=len(self.pool.legend or ()), k=options.get("depth") or n,
            )  # fmt: skip
            ready = method.parts and all(
                self.ranker.knows(p, options[p], constrained=p in method.constrained_parts)
                for p in method.parts
            )
            if expected.seconds > SPEAK_UP and not ready:
                logger.info("%s will take %s", name, expected)
            save_ranking(self.run.path / file, self.ranker.rank(method, **options))
            return [file]

        self.run.do(f"rank {name}", key, work)
        # Read back also when it was just made: a run that goes on gets the very same object.
        self.rankings[name] = load_ranking(self.run.path / file, self.pool, self.costs)
        self.ranker.keep(method, options, self.rankings[name])

    def select(self, name: str) -> None:
        """Cut the ranking at the budget."""
        selection = self.rankings[name].at(self.budget)
        self.selections[name] = selection
        file = f"selection/{name}.parquet"
        spec = self.embeddings.spec if self.embeddings else None

        def work() -> list[str]:
            save_selection(
                self.run.path / file,
                self.pool,
                selection,
                self.budget,
                about=self.about,
                spec=spec,
            )
            return [file]

        key = self._key(name, self.rankings[name].meta, str(self.budget))
        self.run.do(f"select {name}", key, work)
        repeats = len(selection) - self.rankings[name].first_put_back
        if repeats > 0:
            logger.warning(
                "%s: %d of the %d picks share more than %g %% of their ground with an earlier one. "
                "Without those the pool has %d tiles: lower the budget.",
                name, repeats, len(selection), 100 * self.ranker.overlap,
                len(selection) - repeats,
            )  # fmt: skip
        cut = self.rankings[name].meta.get("m")
        if cut is not None and len(selection) <= cut:
            logger.warning(
                "%s takes its first %d tiles from FD: with %d tiles it is FD. Lower m.",
                name, cut, len(selection),
            )  # fmt: skip

    def tidy(self) -> None:
        """Remove selections of an earlier job by methods that this one does not have.

        They hold another budget's picks and would be taken for this one's. Their rankings stay:
        the method comes back at the price of a cut.
        """
        for file in (self.run.path / "selection").glob("*.parquet"):
            if file.stem not in self.methods:
                file.unlink()

    def show(self) -> None:
        """Write the tables and pictures of the report."""
        # Pairs, as an object has no order in a digest: tables and report keep that of the methods.
        path, key = self.run.path, self._key(list(self.options.items()), str(self.budget))
        self.run.do(
            "tables", key,
            lambda: write_tables(path, self.pool, self.methods, self.rankings, self.selections),
        )  # fmt: skip
        self.run.do(
            "thumbs", key,
            lambda: draw_picks(
                path, self.pool, self.rankings, self.selections,
                bands=self.job.bands, progress=self.progress,
            ),
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return what came out, JSON-ready."""
        automatic = self.job.methods is None
        return {
            "pool": self.pool.describe(),
            "budget": str(self.budget),
            "default_method": next(iter(self.methods)) if automatic else None,
            "default_reason": NO_MASKS if automatic and not self.job.masks else "",
            "max_overlap": self.ranker.overlap,
            "model": self.embeddings.spec.to_dict() if self.embeddings else None,
            "seed": self.job.seed,
            "preset": self.job.preset,
            "methods": {
                name: {
                    "selected": len(s),
                    "put_back": int(s.meta["put_back"]),
                    "repeats": max(0, len(s) - self.rankings[name].first_put_back),
                    "spent": dict(s.spent),
                    "unspent": dict(s.unspent),
                    "report": {k: v for k, v in s.meta.items() if k not in ("options", "method")},
                    "options": s.meta.get("options", {}),
                    "file": f"selection/{name}.parquet",
                }
                for name, s in self.selections.items()
            },
        }

    def _key(self, *parts: object) -> str:
        return digest([VERSION, self.pool_key, self.embeddings_key, self.job.seed, *parts])

    def _depth(self) -> int:
        """How many tiles the budget can buy at most: as many as fit of the cheapest."""
        by_price = {unit: np.sort(self.costs[unit]) for unit in self.budget.limits}
        return affordable(np.arange(len(self.pool)), by_price, self.budget.resolve(self.costs))
