"""The steps of a curate job that rank, select and describe."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import affordable
from foveate.curate.results import load_ranking, save_ranking, save_selection
from foveate.embeddings import Embeddings
from foveate.errors import DataError
from foveate.files import digest
from foveate.pool.attributes import Attributes
from foveate.pool.rules import check_quotas, check_strata
from foveate.select.forecast import forecast
from foveate.selection import without
from foveate.wording import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from foveate.budget import Budget
    from foveate.curate.methods import Method
    from foveate.curate.rank import Ranker
    from foveate.embeddings import EncoderSpec
    from foveate.pool import Pool
    from foveate.run import Run
    from foveate.selection import Ranking, Selection

logger = logging.getLogger("foveate")

VERSION = 6  # raised when the output of a step changes for the same inputs
FULL_DEPTH = 20_000  # greedy methods rank pools up to this size completely
SPEAK_UP = 10  # seconds: longer forecasts are logged
TOO_LONG = 7200  # seconds: for longer forecasts, an approximation is suggested
_BY_LABELS = ("lc", "cb")  # methods that read labels alone
EXACT = 1000  # number of first picks that the suggested approximation keeps exact


def rank(
    run: Run, ranker: Ranker, method: Method, options: Mapping[str, Any], budget: Budget, *,
    keys: tuple[str, str, str],
) -> Ranking:  # fmt: skip
    """Rank by one method, unless the ranking is in the run.

    Args:
        run: Open for writing.
        ranker: Ranks the pool; rankings are kept there for hybrids.
        method: The method.
        options: All of its options.
        budget: Limits the depth of greedy methods on large pools.
        keys: Hashes of the inputs of the pool, of the embeddings, and of tokens and cells.
    """
    pool, name, options = ranker.pool, method.name, dict(options)
    largest = min(FULL_DEPTH, method.full_depth)
    if method.greedy and options.get("depth") is None and len(pool) > largest:
        options["depth"] = _depth(ranker, budget)
    file = run.path / f"rankings/{name}.parquet"
    # Methods without embeddings or tokens do not depend on the model.
    vectors = keys[1] if "embeddings" in method.needs else ""
    dense = keys[2] if {"tokens", "cells"} & set(method.needs) else ""
    key = digest([
        VERSION, keys[0], vectors, dense, name, method.definition, options, ranker.seed,
        ranker.preset, ranker.bounds,
    ])  # fmt: skip

    def work() -> list[str]:
        _forecast(ranker, method, options)
        save_ranking(file, ranker.rank(method, **options))
        return [f"rankings/{name}.parquet"]

    run.do(f"rank {name}", key, work)
    # Also read after writing, so that new and resumed runs use the same object.
    found = load_ranking(file, pool, ranker.costs or pool.costs(), ranker.given)
    ranker.keep(method, options, found)
    return found


def check_labels(pool: Pool, methods: Collection[Method]) -> None:
    """Check that some pixel has a class if a method reads masks.

    Raises:
        DataError: All pixels of the masks are ignored or missing.
    """
    by_mask = [m.name for m in methods if {"counts", "cells"} & set(m.needs)]
    if by_mask and pool.counts is not None and not pool.counts.any():
        raise DataError(
            f"the method {by_mask[0]} needs masks, but no pixel of the masks has a class",
            "All their pixels are ignored or missing.",
            "Check the values in the classes file (--classes FILE): foveate inspect lists them.",
        )


def note_unlabelled(pool: Pool, methods: Mapping[str, tuple[Method, Mapping[str, Any]]]) -> None:
    """Log the number of tiles without labelled pixels if methods rank them last."""
    names = [n for n, (_, o) in methods.items() if n in _BY_LABELS or o.get("unlabelled") == "last"]
    count = 0 if pool.counts is None else int((~(pool.counts > 0).any(axis=1)).sum())
    if names and count:
        logger.warning(
            "%d of %s %s no labelled pixel; %s rank%s %s last. --min-labelled 0.01 leaves such "
            "tiles out.",
            count, plural(len(pool), "tile"), "has" if count == 1 else "have", ", ".join(names),
            "s" if len(names) == 1 else "", "it" if count == 1 else "them",
        )  # fmt: skip


def _forecast(ranker: Ranker, method: Method, options: Mapping[str, Any]) -> None:
    """Log the expected time of a method if it is long."""
    vectors = ranker.embeddings
    size = {
        "n": len(ranker.pool), "d": vectors.spec.dim if isinstance(vectors, Embeddings) else 0,
        "c": len(ranker.pool.legend or ()), "k": options.get("depth") or len(ranker.pool),
    }  # fmt: skip
    name = "recipe" if method.definition else method.name
    exact = options.get("exact") if name == "kcenter" else None
    expected = forecast(name, **size, exact=exact)
    ready = method.parts and all(
        ranker.knows(part, options[part], constrained=part in method.constrained_parts)
        for part in method.parts
    )
    if expected.seconds > SPEAK_UP and not ready:
        logger.info("%s: expected time %s", method.name, expected)
        if name == "kcenter" and exact is None and expected.seconds > TOO_LONG:
            logger.info(
                "--option kcenter.exact=%d reduces it to %s: the first %d picks are exact, later "
                "ones are selected inside cells of similar tiles", EXACT,
                forecast(name, **size, exact=EXACT), EXACT,
            )  # fmt: skip


def _depth(ranker: Ranker, budget: Budget) -> int:
    """Return the largest number of tiles within the budget: as many of the cheapest as fit."""
    costs = without(ranker.costs or ranker.pool.costs(), ranker.given)
    by_price = {unit: np.sort(costs[unit]) for unit in budget.limits}
    order = np.arange(len(ranker.pool) - ranker.given.size)
    return affordable(order, by_price, budget.resolve(costs))


def check_columns(pool: Pool, methods: Collection[Method]) -> None:
    """Check that the pool has the columns that methods need, and that they contain numbers.

    Raises:
        ParameterError: A column is missing or is not numeric.
    """
    for name in [name for method in methods for name in method.columns]:
        (Attributes.of({}) if pool.attributes is None else pool.attributes).number(name)


def check_rules(ranker: Ranker, budget: Budget) -> None:
    """Check that the budget allows at least one tile, and that the rules can be satisfied.

    Raises:
        BudgetError: No tile fits into the budget.
        DataError: A rule needs coordinates that the pool does not have, or ids to start from are
            missing from the pool.
        ParameterError: A quota or stratum cannot be satisfied, or a column is missing.
    """
    if ranker.given.size == len(ranker.pool):
        raise DataError(
            f"all {len(ranker.pool)} tiles of the pool are already selected",
            "At least one tile must be left to rank.",
            "Remove some of them from --start.",
        )
    budget.resolve(without(ranker.costs or ranker.pool.costs(), ranker.given))
    if not ranker.plain:
        picks = _depth(ranker, budget)
        check_quotas(ranker.constraint, picks)
        check_strata(ranker.constraint, picks)


def select(
    run: Run, pool: Pool, ranking: Ranking, budget: Budget, *, name: str, about: dict[str, Any],
    spec: EncoderSpec | None, key: str,
) -> Selection:  # fmt: skip
    """Cut a ranking at the budget, and write the selection."""
    selection = ranking.at(budget)
    file = f"selection/{name}.parquet"

    def work() -> list[str]:
        save_selection(run.path / file, pool, selection, budget, about=about, spec=spec)
        return [file]

    run.do(f"select {name}", key, work)
    return selection


def warn(name: str, selection: Selection, ranking: Ranking, ranker: Ranker) -> None:
    """Log warnings about picks that break rules, and about LC/FD at budgets of at most m."""
    blank = constant_picks(selection, ranking, ranker)
    if blank:
        logger.warning(
            "%s: %d of the %d picks %s the same value in all pixels of each band, because no "
            "other tiles are left. Lower the budget.",
            name, blank, len(selection), "has" if blank == 1 else "have",
        )  # fmt: skip
    distinct = ranking.first_put_back
    repeats, overlap = len(selection) - distinct - blank, ranker.overlap
    if repeats > 0 and not ranker.plain:
        logger.warning(
            "%s: %d of the %d picks break a rule (overlap, distance, groups, quota or strata), "
            "because no other tiles are left. Lower the budget, or relax the rules.",
            name, repeats, len(selection),
        )  # fmt: skip
    elif repeats > 0:
        logger.warning(
            "%s: %d of the %d picks share more than %g %% of their ground with an earlier pick. %s",
            name, repeats, len(selection), 100 * overlap,
            f"Lower the budget to {plural(distinct, 'tile')} to avoid them." if distinct
            else "No other tiles are left.",
        )  # fmt: skip
    cut = ranking.meta.get("m")
    if cut is not None and len(selection) <= cut:
        logger.warning(
            "%s takes the first %d tiles from FD; with a budget of %d tiles it equals FD. Lower m.",
            name, cut, len(selection),
        )  # fmt: skip


def note_constant(ranker: Ranker) -> None:
    """Log the number of constant tiles."""
    count = ranker.constant.size
    if count:
        logger.warning(
            "%s the same value in all pixels of each band (blank or filled areas); methods that "
            "read embeddings rank %s last.",
            *(("1 tile has", "it") if count == 1 else (f"{count} tiles have", "them")),
        )


def constant_picks(selection: Selection, ranking: Ranking, ranker: Ranker) -> int:
    """Return the number of constant tiles among the picks of a method that ranks them last."""
    known = "constant" in ranking.meta
    return int(np.isin(selection.rows, ranker.constant).sum()) if known else 0


def remove_others(run: Run, methods: Collection[str]) -> None:
    """Remove selections of methods that are not in this job.

    They are for the budget of an earlier job. Their rankings are kept, so that the method can be
    added again without ranking.
    """
    for file in (run.path / "selection").glob("*.parquet"):
        if file.stem not in methods:
            file.unlink()


def facts(name: str, selection: Selection, ranking: Ranking, ranker: Ranker) -> dict[str, Any]:
    """Return the summary of one method, JSON-ready."""
    blank = constant_picks(selection, ranking, ranker)
    return {
        "selected": len(selection),
        "put_back": int(selection.meta["put_back"]),
        "repeats": max(0, len(selection) - ranking.first_put_back),
        **({"constant_picks": blank} if blank else {}),
        "spent": dict(selection.spent),
        "unspent": dict(selection.unspent),
        "report": {k: v for k, v in selection.meta.items() if k not in ("options", "method")},
        "options": selection.meta.get("options", {}),
        "file": f"selection/{name}.parquet",
    }
