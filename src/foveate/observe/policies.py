"""Policies: in which order tiles are worth seeing in high resolution; `apply_policy` applies one.

A policy is a function ``(*, ids, seed, progress, <needed arrays>, <options>) -> Ranking`` wrapped
in a `Policy`, the `Method` of this verb. Most are a `ColumnPolicy`, which sorts by one number of
each tile: what a network predicts, or the truth. The networks read LR alone, and are trained
elsewhere: a sampler regresses a target (`foveate.observe.targets.TARGETS`), PatchDrop learns by
reward. The oracle sees HR: no policy that reads LR can be expected to do better at the value that
it sorts by.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import choose, finite
from foveate.observe.targets import TARGETS
from foveate.pool.pool import Pool
from foveate.registry import suggest
from foveate.seeds import tie_keys
from foveate.select.method import Method, Methods
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn


@dataclass(frozen=True)
class Need:
    """An array over the n tiles that a policy can ask for.

    Attributes:
        what: What it holds, in the plural.
        how: How to get it.
        width: None for (n,); for (n, width), or 0 for (n, K) with any K.
        low: Smallest value that is allowed, or None.
        high: Largest value that is allowed, or None.
        whole: Whether they are whole numbers.
    """

    what: str
    how: str
    width: int | None = None
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def check(self, name: str, values: Any, ids: NDArray[np.str_]) -> NDArray[Any]:
        """Return the array as float64, or int64 for whole numbers, in C order.

        Raises:
            DataError: It does not fit the tiles, or holds a value that cannot be; the tile is
                named.
        """
        n = len(ids)
        shape = (n,) if self.width is None else (n, self.width or None)
        array = np.asarray(values)
        bad = np.zeros(array.shape, dtype=bool)
        if array.dtype.kind == "f":
            bad = ~np.isfinite(array)
        if array.dtype.kind in "fiu":
            if self.low is not None:
                bad |= array < self.low
            if self.high is not None:
                bad |= array > self.high
            if self.whole:
                bad |= array != np.floor(array)
        if bad.any() and array.shape[:1] == (n,):
            row = int(bad.reshape(n, -1).any(axis=1).argmax())
            raise DataError(
                f"{name} of {str(ids[row])!r} is {array[row].tolist()}",
                f"These are {self.what}: {self._allowed()}.",
                "Leave out tiles that are not known.",
            )
        found = finite(array, name, shape)
        return found.astype(np.int64) if self.whole else found

    def _allowed(self) -> str:
        kind = "whole numbers" if self.whole else "finite numbers"
        if self.low is None:
            return kind
        upper = "or more" if self.high is None else f"to {self.high:g}"
        return f"{kind}, {self.low:g} {upper}"


_PREDICTED = "Train a sampler of this form, and give what it predicts from LR, (n,)."

NEEDS: Mapping[str, Need] = {
    "place": Need(
        "number of the scene, row and column", "Give pairs.place, (n, 3).", 3, 0, whole=True
    ),
    "probabilities": Need(
        "probabilities of the concepts from LR", "Classify the LR fill of each tile, (n, K).",
        0, 0, 1,
    ),
    "student": Need(
        "probabilities from LR by a student of the HR model",
        "Distil the HR model into one that reads LR, (n, K).", 0, 0, 1,
    ),
    "teacher": Need(
        "probabilities by the LR model", "Train a model on LR and labels, (n, K).", 0, 0, 1
    ),
    "covariate": Need(
        "amounts", "Average a raster (night lights, population) over each tile, (n,).", None, 0
    ),
    **{target.replace("-", "_"): Need("predictions", _PREDICTED) for target in TARGETS},
    "design": Need(
        "gains of a design",
        "Order the tiles by Observer.design under what a sampler predicts, (n,).",
    ),
    "greedy": Need(
        "gains of a design", "Order the tiles by Observer.design under the true gain, (n,): only a "
        "benchmark has it.",
    ),
    "learned": Need("predictions", "Train a sampler, and give what it predicts from LR, (n,)."),
    "patchdrop": Need(
        "probabilities of acquisition", "Train a PatchDrop policy, and apply it to LR, (n,).",
        None, 0, 1,
    ),
    "gain": Need(
        "true values", "Compute the supervision target from HR, (n,): only a benchmark has it."
    ),
}  # fmt: skip
"""Name -> array; a column with a hyphen in the name of its policy has an underscore."""

TRAINED = ("learned", "design")  # by a trained sampler
SIMPLE = ("random", "uniform", "lr-entropy")  # from an overview alone, with no training of theirs
_BASELINES = "foveate.observe.baselines"
POLICIES: Methods[Policy] = Methods(
    "policy",
    NEEDS,
    {
        "random": f"{_BASELINES}:RANDOM",
        "uniform": f"{_BASELINES}:UNIFORM",
        "covariate": f"{_BASELINES}:COVARIATE",
        "lr-entropy": f"{_BASELINES}:LR_ENTROPY",
        "sar": f"{_BASELINES}:SAR",
    },
)
"""Those that sort by a column are added at the end of this file."""


class Policy(Method):
    """A `Method` of `observe`: it ranks tiles by what it is worth to see them in HR.

    It can need the arrays of `NEEDS`, and is not made of other policies.

    Raises:
        ParameterError: It has parts, an unknown need, or a function that does not take its needs.
    """

    registry = POLICIES

    def __post_init__(self) -> None:
        """Check that there are no parts, and what every method must keep."""
        if self.parts:
            raise ParameterError(
                f"the policy {self.name!r} with the parts {', '.join(self.parts)}",
                "A policy is made of arrays.",
                f"Give it needs, of {', '.join(NEEDS)}.",
            )
        super().__post_init__()

    def rank(
        self, ids: NDArray[np.str_], arrays: Mapping[str, NDArray[Any]], seed: int,
        options: Mapping[str, Any], progress: ProgressFn | None = None,
    ) -> Ranking:  # fmt: skip
        """Rank tiles that are sorted by id; `apply_policy` takes them in any order.

        Args:
            ids: (n,) str, sorted.
            arrays: The needed arrays, in that order.
            seed: Of random choices and ties.
            options: All options.
            progress: Called with ticks.
        """
        return self.function(ids=ids, seed=seed, progress=progress, **arrays, **options)


def rank_by(column: NDArray[np.float64], ids: NDArray[np.str_], seed: int) -> Ranking:
    """Rank by a column, highest first; ties by the seed.

    Args:
        column: (n,) what to sort by: the scores of the ranking.
        ids: (n,) str.
        seed: Breaks ties.
    """
    rows = order_by_score(column, tie_keys(ids, seed))
    return Ranking(rows, column[rows], len(ids))


@dataclass(frozen=True)
class ColumnPolicy(Policy):
    """A policy that ranks by the one column that it needs, highest first; it has no options."""

    function: Callable[..., Ranking] = field(default_factory=lambda: rank_by, init=False)

    def __post_init__(self) -> None:
        """Check the need; the function takes the column by no name."""
        choose(self.needs[0], NEEDS, "needs")

    @property
    def defaults(self) -> dict[str, Any]:
        """No options."""
        return {}

    def rank(
        self, ids: NDArray[np.str_], arrays: Mapping[str, NDArray[Any]], seed: int,
        options: Mapping[str, Any], progress: ProgressFn | None = None,  # noqa: ARG002
    ) -> Ranking:  # fmt: skip
        """Rank by the column; see `Policy.rank`."""
        return rank_by(arrays[self.needs[0]], ids, seed)


def get_policy(policy: str | Policy) -> Policy:
    """Return a policy by name; a `Policy` comes back as it is.

    Raises:
        UnknownNameError: No such policy, with a suggestion.
        ParameterError: A method of another verb.
    """
    return POLICIES.find(policy)


def apply_policy(
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
            "semantic", "additive", "product", "task-delta", "surprise", "blend", "learned",
            "design", "patchdrop", "oracle-gain", "oracle-greedy") or `Policy`.
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

    >>> apply_policy(["a", "b", "c"], "learned", {"learned": [0.2, 0.9, 0.4]}).at(2).values.tolist()
    ['b', 'c']
    """
    pool = tiles if isinstance(tiles, Pool) else Pool.from_arrays(ids=np.asarray(tiles, np.str_))
    chosen = get_policy(policy)
    arguments = chosen.options(preset, options)
    arrays = _needed(pool, chosen, evidence or {})
    order = np.argsort(pool.ids, kind="stable")
    in_order = {name: array[order] for name, array in arrays.items()}
    found = chosen.rank(pool.ids[order], in_order, seed, arguments, progress)
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


def _predicted(target: str) -> ColumnPolicy:
    """Return a policy that ranks by what a sampler of a form of supervision predicts."""
    about = TARGETS[target]
    return ColumnPolicy(
        target, f"{about.title}, predicted", about.source, (target.replace("-", "_"),)
    )


_BOUND = "not in the paper; the bound of a benchmark"

for _policy in (
    *(_predicted(target) for target in TARGETS),
    ColumnPolicy("learned", "Learned sampler", "cross-scale paper, section 4.2", ("learned",)),
    ColumnPolicy(
        "design", "Learned sampler, spread by a design",
        "Krause, Singh and Guestrin 2008, section 3", ("design",),
    ),
    ColumnPolicy(
        "patchdrop", "Reinforced policy (PatchDrop)",
        "Uzkent and Ermon 2020, PatchDrop, section 4", ("patchdrop",),
    ),
    ColumnPolicy("oracle-gain", "Oracle: true gain", _BOUND, ("gain",)),
    ColumnPolicy("oracle-greedy", "Oracle: true gain, spread by a design", _BOUND, ("greedy",)),
):  # fmt: skip
    POLICIES.register(_policy.name, _policy)
