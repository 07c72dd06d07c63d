"""`rank_tiles`: the door to all policies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe.methods.base import NEEDS, Policy, get_policy
from foveate.pool.pool import Pool
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn
    from foveate.selection import Ranking


def rank_tiles(
    tiles: Pool | Sequence[str] | NDArray[np.str_],
    policy: str | Policy,
    evidence: Mapping[str, Any] | None = None,
    *,
    costs: Mapping[str, NDArray[np.floating]] | None = None,
    seed: int = 0,
    preset: str = "default",
    progress: ProgressFn | None = None,
    **options: Any,
) -> Ranking:
    """Rank tiles from most to least worth seeing in high resolution.

    The result depends on ids, evidence, seed and options only, not on the order of the rows.

    Args:
        tiles: A pool, or (n,) unique ids.
        policy: Name ("random", "uniform", "covariate", "lr-entropy", "sar", "structural",
            "semantic", "additive", "product", "task-delta", "surprise", "learned", "patchdrop",
            "oracle-gain") or `Policy`.
        evidence: Name -> array over the tiles, rows in their order: what is known of them. See
            `NEEDS`; a hyphen may stand for an underscore, and what the policy does not need is
            not looked at.
        costs: Unit -> (n,) cost of each tile; those of the pool when None.
        seed: Seed of all random choices and of the order of ties.
        preset: "default", "paper" or "released".
        progress: Called with ticks.
        options: Options of the policy, e.g. ``weights=[1, 2]``.

    Returns:
        The ranking; its rows are rows of `tiles`. ``ranking.at({"area": "12%"})`` keeps a budget
        exactly.

    Raises:
        UnknownNameError: No such policy.
        DataError: Evidence that the policy needs is not there or does not fit; ids repeat.
        ParameterError: Unknown or impossible option; evidence of an unknown name.

    >>> rank_tiles(["a", "b", "c"], "learned", {"learned": [0.2, 0.9, 0.4]}).at(2).values.tolist()
    ['b', 'c']
    """
    pool = tiles if isinstance(tiles, Pool) else Pool.from_arrays(ids=np.asarray(tiles, np.str_))
    chosen = get_policy(policy)
    arguments = chosen.options(preset, options)
    arrays = _needed(pool, chosen, evidence or {})
    order = np.argsort(pool.ids, kind="stable")
    found = chosen.function(
        ids=pool.ids[order],
        seed=seed,
        progress=progress,
        **{name: array[order] for name, array in arrays.items()},
        **arguments,
    )
    meta = {
        **found.meta, "method": chosen.name, "options": _plain(arguments), "seed": seed,
        "preset": preset,
    }  # fmt: skip
    return replace(
        found,
        rows=order[found.rows],
        ids=pool.ids,
        costs=pool.costs() if costs is None else costs,
        meta=meta,
    )


def _needed(pool: Pool, policy: Policy, evidence: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    given = {name.replace("-", "_"): array for name, array in evidence.items()}
    for name in given:
        if name not in NEEDS:
            raise ParameterError(
                f"evidence of the name {name!r}",
                f"Known: {', '.join(NEEDS)}.",
                suggest(name, NEEDS),
            )
    arrays = {}
    for name in policy.needs:
        if given.get(name) is None:
            raise DataError(
                f"the policy {policy.name!r} needs {name}: {NEEDS[name].what}",
                f"The evidence holds {', '.join(given) or 'nothing'}.",
                NEEDS[name].how,
            )
        arrays[name] = NEEDS[name].check(name, given[name], pool.ids)
    return arrays


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options ready for JSON."""
    return {
        name: np.asarray(value).tolist() if isinstance(value, np.ndarray | tuple) else value
        for name, value in options.items()
    }
