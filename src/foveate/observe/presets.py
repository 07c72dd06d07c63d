"""Presets of options, and the training options that only the published equations need.

The preset `paper` follows the published equations of the cross-scale paper. Options given with a
preset override it. Two values are not in the paper and are chosen here: lambda is 1, and the gains
of several texts are summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from foveate.errors import ParameterError
from foveate.observe.networks.sizes import OBSERVED_WEIGHT
from foveate.observe.options import SimilarityKind  # noqa: TC001  (pydantic reads it)
from foveate.run.job import Job
from foveate.run.options import Option

if TYPE_CHECKING:
    from collections.abc import Mapping

PresetName = Literal["paper"]
PAPER_TAU = 0.55
"""Default threshold (Table 6) of scores scaled to [0, 1] over the validation tiles."""

TRAIN: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "size": "full",
        "architecture": "literal",
        "supervision": "product",
        "factor_scale": "none",
        "target_scale": "scene_minmax",
        "similarity": "cosine",
        "reference": "overview",
        "lam": 1.0,
        "aggregate": "sum",
        "sampler": "plain",
        "norm_weight": 0.0,
        "observed_weight": 1.0,
    }
}


def train_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a training: the preset, overridden by the given options."""
    return {**TRAIN.get(str(given.get("preset")), {}), **given}


def select_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a selection: the preset, overridden by the given options.

    Raises:
        ParameterError: The preset "paper" is combined with a budget or an observed ratio.
    """
    if given.get("preset") != "paper":
        return dict(given)
    for other in ("budget", "obr"):
        if given.get(other) is not None:
            raise ParameterError(
                f"--preset paper with --{other}",
                "The paper selects by a score threshold, which does not respect a budget.",
                f"Omit --preset, or use --threshold {PAPER_TAU} instead.",
            )
    return {**given, "threshold": PAPER_TAU if (tau := given.get("threshold")) is None else tau}


class FormulaOptions(Job):
    """Options of the equations: fields of `TrainJob`, and options of `bench observe`."""

    similarity: Annotated[SimilarityKind, Option("Method")] = "lift"
    """Similarity s of Eq. 5: lift, z, cosine (requires a text model) or logit."""
    reference: Annotated[Literal["tile", "scene", "overview"], Option("Method")] = "tile"
    """Reference of the gain: tile or scene (the LR fill of the tile or the scene); or overview
    (Eq. 5: tile and overview embedded by the text model itself)."""
    lam: Annotated[float, Option("Method", name="lambda")] = Field(1.0, ge=0)
    """Weight of the reference (lambda of Eq. 5)."""
    aggregate: Annotated[Literal["sum", "max"], Option("Method")] = "sum"
    """Aggregation of the gain over concepts: sum or max."""
    factor_scale: Annotated[Literal["quantile", "none"], Option("Method")] = "quantile"
    """Scaling of the factors of a target before they are combined: quantile, or none (Eq. 6)."""
    target_scale: Annotated[
        Literal["quantile", "ecdf", "scene_minmax", "scene_sum"], Option("Method")
    ] = "quantile"
    """Scaling of targets to [0, 1]: quantile, ecdf, scene_minmax or scene_sum."""
    sampler: Annotated[Literal["linear", "plain"], Option("Model")] = "linear"
    """Sampler: linear (a ridge regression and a residual network), or plain (a network alone)."""
    norm_weight: Annotated[float, Option("Training")] = Field(0.5, ge=0)
    """Weight of the token norm in the representation loss; 0: cosine alone (Eq. 8)."""
    observed_weight: Annotated[float, Option("Training")] = Field(OBSERVED_WEIGHT, ge=0, le=1)
    """Weight of observed tokens in the representation loss; 1: Eq. 8."""


FORMULA_OPTIONS = frozenset(FormulaOptions.model_fields)
