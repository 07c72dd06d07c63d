"""Presets of options, and the options of a training that only the paper's formulas need.

`paper` is the cross-scale paper as printed: an option that is stated beside it wins. What the
paper does not print is said here: lambda is 1, and gains of several texts are summed.
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
"""The default threshold (Table 6), on scores scaled to 0 to 1 over the validation tiles."""

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
    """Return the options of a training: those of its preset, and those that are stated."""
    return {**TRAIN.get(str(given.get("preset")), {}), **given}


def select_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a selection: those of its preset, and those that are stated.

    Raises:
        ParameterError: The paper's preset with another limit than its threshold.
    """
    if given.get("preset") != "paper":
        return dict(given)
    for other in ("budget", "obr"):
        if given.get(other) is not None:
            raise ParameterError(
                f"--preset paper with --{other}",
                "The paper selects by a threshold of scores, which keeps no budget.",
                f"Leave out --preset, or type --threshold {PAPER_TAU} instead.",
            )
    return {**given, "threshold": PAPER_TAU if (tau := given.get("threshold")) is None else tau}


class FormulaOptions(Job):
    """Options of the formulas: fields of `TrainJob`; options of `bench observe` alone."""

    similarity: Annotated[SimilarityKind, Option("Method")] = "lift"
    """Similarity s of Eq. 5: lift, z, cosine (needs texts) or logit."""
    reference: Annotated[Literal["tile", "scene", "overview"], Option("Method")] = "tile"
    """Reference of the gain: the LR fill of the tile, or of the scene; or overview: tile and
    overview as the text model itself embeds them (Eq. 5)."""
    lam: Annotated[float, Option("Method", name="lambda")] = Field(1.0, ge=0)
    """Weight of the reference (lambda of Eq. 5)."""
    aggregate: Annotated[Literal["sum", "max"], Option("Method")] = "sum"
    """Aggregation of the gain over concepts: sum or max."""
    factor_scale: Annotated[Literal["quantile", "none"], Option("Method")] = "quantile"
    """Scaling of the parts of a target before they are combined: quantile, or none (Eq. 6)."""
    target_scale: Annotated[
        Literal["quantile", "ecdf", "scene_minmax", "scene_sum"], Option("Method")
    ] = "quantile"
    """Scaling of targets to [0, 1]: quantile, ecdf, scene_minmax or scene_sum."""
    sampler: Annotated[Literal["linear", "plain"], Option("Model")] = "linear"
    """Sampler: linear (a ridge regression and what a network adds), or plain (a network alone)."""
    norm_weight: Annotated[float, Option("Training")] = Field(0.5, ge=0)
    """Weight of the token norm in the representation loss; 0: cosine alone (Eq. 8)."""
    observed_weight: Annotated[float, Option("Training")] = Field(OBSERVED_WEIGHT, ge=0, le=1)
    """Weight of observed tokens in the representation loss; 1: Eq. 8."""


FORMULA_OPTIONS = frozenset(FormulaOptions.model_fields)
