"""Settings of a benchmark of core-sets by preset and data set; options given by the user win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from foveate.bench.curate.datasets import ENCODER_BANDS, DatasetName, facts
from foveate.curate.job import PRESET_SETTINGS
from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The methods of the paper, and the default methods.
STANDARD = ("lc", "fd", "lc-fd", "fa", "cb", "fa-cb", "kcenter", "random")
USUAL = (*STANDARD, "facility", "max-herding")
QUICK: dict[str, Any] = {
    "methods": ["fd", "facility", "max-herding", "cb", "fa-cb"], "budgets": "5%,10%,25%",
    "seeds": 3, "judge": "probe", "max_tiles": 1000,
}  # fmt: skip
# Section IV: training, number of runs, budgets; the grid and the model are those of `curate`.
PAPER: dict[str, Any] = {
    "judge": "unet", "methods": list(STANDARD), "budgets": "1%,5%,10%,25%,50%,75%,100%",
    "seeds": 3, "redraw": False, "samplers": "none",
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "epochs": 100, "train_batch": 32, "learning_rate": 1e-3, "schedule": "constant",
}  # fmt: skip


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that follow from ``quick``, ``preset`` and ``dataset``.

    Args:
        given: Field -> value given by the user.

    Returns:
        Field -> value; may contain fields of `given`.

    Raises:
        ParameterError: Both ``quick`` and the preset "paper" are given.
    """
    preset, dataset = given.get("preset", "default"), given.get("dataset")
    found = dict(PRESET_SETTINGS.get(preset, {}))
    if "tile" in given:  # the stride of a preset is for its own tile
        found.pop("stride", None)
    # Unknown data sets are rejected later, by pydantic.
    known = facts(str(dataset)) if dataset in get_args(DatasetName) else None
    if known:
        found["bands"] = ENCODER_BANDS
    if given.get("quick"):
        if preset == "paper":
            raise ParameterError(
                "--quick together with --preset paper",
                "Both set the judge, the budgets and the number of seeds.",
                "Leave one of them out, or use --preset paper --judge probe --budgets 5%,10% "
                "--seeds 3.",
            )
        return found | QUICK
    if preset != "paper":
        return found
    found |= PAPER
    if given.get("judge", "unet") == "unet":
        found |= TRAINING
        if known:
            found["train_batch"] = known.batch
        if "steps_per_training" in given and "epochs" not in given:
            found.pop("epochs")
    return found
