"""Policies rank tiles by their value in high resolution; `apply_policy` applies a policy.

A policy is a function ``(*, ids, seed, progress, <needed arrays>, <options>) -> Ranking`` wrapped
in a `Policy`, the `Method` of this verb. Most policies are a `ColumnPolicy`, which sorts tiles by
one column: the prediction of a network, or the ground truth. The networks read LR only and are
trained elsewhere: a sampler regresses a target (`targets.TARGETS`), PatchDrop is
trained by reinforcement. The oracle uses HR and is the upper bound of policies that read LR only,
for the value that it sorts by.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.observe._check import finite
from foveate.observe.scoring.targets import TARGETS
from foveate.pool.pool import Pool
from foveate.registry import check_choice, suggest
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
    """Specification of an array over the n tiles that policies can require.

    Attributes:
        what: Description of the values, in the plural.
        how: Hint on how to compute them.
        width: None for shape (n,); width for (n, width), or 0 for (n, K) with any K.
        low: Smallest allowed value, or None.
        high: Largest allowed value, or None.
        whole: Whether values must be integers.
    """

    what: str
    how: str
    width: int | None = None
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def check(self, name: str, values: Any, ids: NDArray[np.str_]) -> NDArray[Any]:
        """Return the array as float64, or int64 for integers, in C order.

        Raises:
            DataError: The shape does not match the tiles, or a value is out of range; the message
                contains the tile.
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
                f"{name} must be {self.what}: {self._allowed()}.",
                "Remove tiles with missing values.",
            )
        checked = finite(array, name, shape)
        return checked.astype(np.int64) if self.whole else checked

    def _allowed(self) -> str:
        kind = "integers" if self.whole else "finite numbers"
        if self.low is None:
            return kind
        upper = "or more" if self.high is None else f"to {self.high:g}"
        return f"{kind}, {self.low:g} {upper}"


_PREDICTED = "Train a sampler on this target, and pass its predictions from LR, (n,)."

NEEDS: Mapping[str, Need] = {
    "place": Need(
        "number of the scene, row and column", "Pass pairs.place, (n, 3).", 3, 0, whole=True
    ),
    "probabilities": Need(
        "probabilities of the concepts from LR", "Classify the LR fill of each tile, (n, K).",
        0, 0, 1,
    ),
    "student": Need(
        "probabilities from LR by a student of the HR model",
        "Distil the HR model into a model that reads LR, (n, K).", 0, 0, 1,
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
        "Order the tiles by Observer.design with the predictions of a sampler, (n,).",
    ),
    "greedy": Need(
        "gains of a design", "Order the tiles by Observer.design with the true gain, (n,); "
        "available in benchmarks only.",
    ),
    "learned": Need("predictions", "Train a sampler, and pass its predictions from LR, (n,)."),
    "patchdrop": Need(
        "probabilities of acquisition", "Train a PatchDrop policy, and apply it to LR, (n,).",
        None, 0, 1,
    ),
    "gain": Need(
        "true values", "Compute the supervision target from HR, (n,); available in benchmarks only."
    ),
}  # fmt: skip
"""Name -> specification; hyphens of policy names are underscores in array names."""

TRAINED = ("learned", "design")  # use the trained sampler
SIMPLE = ("random", "uniform", "lr-entropy")  # untrained baselines on the overview
_BASELINES = "foveate.observe.scoring.baselines"
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
"""All policies; column policies are registered at the end of this file."""


class Policy(Method):
    """A `Method` of `observe` that ranks tiles by their value in HR.

    It can require the arrays of `NEEDS`, and cannot be composed of other policies.

    Raises:
        ParameterError: The policy has parts or an unknown need, or its function does not accept its
            needs.
    """

    registry = POLICIES

    def __post_init__(self) -> None:
        """Check that the policy has no parts, and run the checks of `Method`."""
        if self.parts:
            raise ParameterError(
                f"the policy {self.name!r} with the parts {', '.join(self.parts)}",
                "A policy cannot have parts.",
                f"Use needs instead: {', '.join(NEEDS)}.",
            )
        super().__post_init__()

    def rank(
        self, ids: NDArray[np.str_], arrays: Mapping[str, NDArray[Any]], seed: int,
        options: Mapping[str, Any], progress: ProgressFn | None = None,
    ) -> Ranking:  # fmt: skip
        """Rank tiles sorted by id; `apply_policy` accepts any order.

        Args:
            ids: (n,) str, sorted.
            arrays: The needed arrays, in the order of `ids`.
            seed: Seed of random choices and ties.
            options: All options.
            progress: Progress callback.
        """
        return self.call({"progress": progress}, ids=ids, seed=seed, **arrays, **options)


def rank_by(column: NDArray[np.float64], ids: NDArray[np.str_], seed: int) -> Ranking:
    """Rank by a column, highest first; ties by the seed.

    Args:
        column: (n,) scores of the ranking.
        ids: (n,) str.
        seed: Seed of the order of ties.
    """
    rows = order_by_score(column, tie_keys(ids, seed))
    return Ranking(rows, column[rows], len(ids))


@dataclass(frozen=True)
class ColumnPolicy(Policy):
    """A policy that ranks by one column, its only need, highest first; it has no options."""

    function: Callable[..., Ranking] = field(default_factory=lambda: rank_by, init=False)

    def __post_init__(self) -> None:
        """Check the need only; the function takes the column by position, not by name."""
        check_choice("needs", self.needs[0], NEEDS)

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
    """Return a policy by name; a `Policy` is returned unchanged.

    Raises:
        UnknownNameError: The policy is unknown; the message suggests a similar name.
        ParameterError: A method of another verb is given.
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
    """Rank tiles by their value in high resolution, highest first.

    The result depends on ids, evidence, seed and options only, not on the order of the rows.

    Args:
        tiles: A pool, or (n,) unique ids.
        policy: Name ("random", "uniform", "covariate", "lr-entropy", "sar", "structural",
            "semantic", "additive", "product", "task-delta", "surprise", "blend", "learned",
            "design", "patchdrop", "oracle-gain", "oracle-greedy") or `Policy`.
        evidence: Name -> array over the tiles, rows in the order of `tiles`. See `NEEDS`; names may
            have hyphens instead of underscores, and arrays that the policy does not need are
            ignored.
        costs: Unit -> (n,) cost of each tile; None: the costs of the pool.
        seed: Seed of all random choices and of the order of ties.
        preset: "default", "paper" or "released".
        progress: Called with ticks.
        options: Options of the policy, e.g. ``weights=[1, 2]``.

    Returns:
        The ranking; its rows are rows of `tiles`. ``ranking.at({"area": "12%"})`` never exceeds a
        budget.

    Raises:
        UnknownNameError: The policy is unknown.
        DataError: Required evidence is missing or does not match the tiles; ids are not unique.
        ParameterError: An option is unknown or out of range; the name of evidence is unknown.

    >>> apply_policy(["a", "b", "c"], "learned", {"learned": [0.2, 0.9, 0.4]}).at(2).values.tolist()
    ['b', 'c']
    """
    pool = tiles if isinstance(tiles, Pool) else Pool.from_arrays(ids=np.asarray(tiles, np.str_))
    chosen = get_policy(policy)
    arguments = chosen.options(preset, options)
    arrays = _needed(pool, chosen, evidence or {})
    order = np.argsort(pool.ids, kind="stable")
    in_order = {name: array[order] for name, array in arrays.items()}
    ranking = chosen.rank(pool.ids[order], in_order, seed, arguments, progress)
    meta = {
        **ranking.meta, "method": chosen.name, "options": _plain(arguments), "seed": seed,
        "preset": preset,
    }  # fmt: skip
    return replace(
        ranking,
        rows=order[ranking.rows],
        ids=pool.ids,
        costs=pool.costs() if costs is None else costs,
        meta=meta,
    )


def _needed(pool: Pool, policy: Policy, evidence: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    given = {name.replace("-", "_"): array for name, array in evidence.items()}
    for name in given:
        if name not in NEEDS:
            raise ParameterError(
                f"unknown evidence {name!r}",
                f"Allowed: {', '.join(NEEDS)}.",
                suggest(name, NEEDS),
            )
    arrays = {}
    for name in policy.needs:
        if given.get(name) is None:
            raise DataError(
                f"the policy {policy.name!r} needs {name}: {NEEDS[name].what}",
                f"Given evidence: {', '.join(given) or 'nothing'}.",
                NEEDS[name].how,
            )
        arrays[name] = NEEDS[name].check(name, given[name], pool.ids)
    return arrays


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON-ready values."""
    return {
        name: np.asarray(value).tolist() if isinstance(value, np.ndarray | tuple) else value
        for name, value in options.items()
    }


def _predicted(target: str) -> ColumnPolicy:
    """Return the policy that ranks by the predictions of a sampler trained on a target."""
    definition = TARGETS[target]
    return ColumnPolicy(
        target, f"{definition.title}, predicted", definition.source, (target.replace("-", "_"),)
    )


_BOUND = "not in the paper; upper bound in benchmarks"

for _policy in (
    *(_predicted(target) for target in TARGETS),
    ColumnPolicy("learned", "Learned sampler", "cross-scale paper, section 4.2", ("learned",)),
    ColumnPolicy(
        "design", "Learned sampler with experimental design",
        "Krause, Singh and Guestrin 2008, section 3", ("design",),
    ),
    ColumnPolicy(
        "patchdrop", "Reinforced policy (PatchDrop)",
        "Uzkent and Ermon 2020, PatchDrop, section 4", ("patchdrop",),
    ),
    ColumnPolicy("oracle-gain", "Oracle: true gain", _BOUND, ("gain",)),
    ColumnPolicy(
        "oracle-greedy", "Oracle: true gain with experimental design", _BOUND, ("greedy",)
    ),
):  # fmt: skip
    POLICIES.register(_policy.name, _policy)
