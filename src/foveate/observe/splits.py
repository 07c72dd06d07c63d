"""Which scenes train, which choose, and which judge; a group is never divided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Split = Literal["train", "val", "test"]


def split_scenes(
    groups: Sequence[str], *, val: float = 0.15, test: float = 0.2, seed: int = 0
) -> NDArray[np.str_]:
    """Divide scenes by their groups.

    Args:
        groups: (s,) group of each scene.
        val: Share of the groups to choose epochs and forms by; at least one group.
        test: Share of the groups that nothing is fitted to; 0 for none, else at least one group.
        seed: Of the draw.

    Returns:
        (s,) "train", "val" or "test".

    Raises:
        DataError: There are too few groups.
    """
    names = sorted(set(groups))
    counts = {"test": max(1, round(test * len(names))) if test else 0}
    counts["val"] = max(1, round(val * len(names)))
    if len(names) - sum(counts.values()) < 1:
        raise DataError(
            f"{len(names)} group{'s' if len(names) > 1 else ''} of scenes to train, validate "
            "and test with",
            "Scenes of one folder are neighbours, and never divided; each part needs a group.",
            "Put scenes of different places into different folders, or leave out the test: "
            "--test 0.",
        )
    order = [names[i] for i in rng(seed, "observe/split").permutation(len(names))]
    part = dict.fromkeys(order, "train")
    part |= dict.fromkeys(order[: counts["test"]], "test")
    part |= dict.fromkeys(order[counts["test"] :][: counts["val"]], "val")
    return np.array([part[group] for group in groups])


def folds_of(groups: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """Return (s,) numbers of folds for cross-fitting, by group: at least two folds.

    Where all scenes are of one group they are divided themselves.
    """
    names = sorted(set(groups))
    own = list(groups) if len(names) > 1 else [str(i) for i in range(len(groups))]
    names = sorted(set(own))
    order = rng(seed, "observe/folds").permutation(len(names))
    number = {names[i]: int(k) % min(count, len(names)) for k, i in enumerate(order)}
    return np.array([number[group] for group in own])
