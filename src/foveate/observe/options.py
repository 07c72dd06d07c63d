"""Field types of the jobs of `observe`: parsers of option texts, and allowed names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from foveate.budget import Budget
from foveate.errors import BudgetError, ParameterError
from foveate.observe.data.concepts import concepts_from
from foveate.run.options import AbsolutePath, Option
from foveate.run.run import Run

AUTO: Literal["auto"] = "auto"
RATIO = 10.0  # of the resolutions of HR and LR, if it is unknown
GRID = (10, 10)  # tiles of a scene
FLOOR = 0.3
Role = Literal["hr", "lr", "target", "saliency", "text"]
TargetName = Literal[
    "structural", "semantic", "additive", "product", "task-delta", "surprise", "blend"
]
SimilarityKind = Literal["lift", "z", "cosine", "logit"]
PolicyName = Literal["learned", "design", "random", "uniform", "lr-entropy", "covariate"]
PolicyOrAuto = PolicyName | Literal["auto"]
Mode = Literal["budget", "threshold", "obr"]
Quantity = Literal["area", "tiles", "count"]


def _concepts(given: Any) -> Any:
    """Parse comma-separated names, a list of names, or a file; mappings are kept."""
    if isinstance(given, str | Path):
        return [concept.to_dict() for concept in concepts_from(given)]
    if isinstance(given, list | tuple):
        return [{"name": entry} if isinstance(entry, str) else entry for entry in given]
    return given


def grid_shape(given: Any) -> Any:
    """Parse ``ROWSxCOLS``."""
    if not isinstance(given, str):
        return given
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", given)
    if match is None:
        raise ParameterError(repr(given), "Expected ROWSxCOLS.", "For example --tiles 10x10.")
    return (int(match[1]), int(match[2]))


def metres(given: Any) -> Any:
    """Parse a length on the ground: 60m, 0.5km or 60 (metres)."""
    if not isinstance(given, str):
        return given
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(m|km)?\s*", given)
    if match is None:
        raise ParameterError(
            repr(given), "Expected a length in metres.", "For example --tile-size 60m."
        )
    return float(match[1]) * (1000 if match[2] == "km" else 1)


def _share(given: Any) -> Any:
    """Parse a share: 12% or 0.12."""
    value = _number(given)
    if isinstance(value, int | float) and value > 1:
        raise ParameterError(
            f"{value:g}", "Expected a share of at most 1, or a percentage.",
            f"For {value:g} percent write {value:g}% or {value / 100:g}."
            if value <= 100
            else "For example 12% or 0.12.",
        )  # fmt: skip
    return value


def _number(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    number = given.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError as error:
        raise ParameterError(repr(given), "Expected a share such as 12% or 0.12.") from error
    return value / 100 if number != given.strip() else value


def _split(given: Any) -> Any:
    """Parse a share, or names of groups of scenes."""
    if not isinstance(given, str):
        return tuple(given) if isinstance(given, list) else given
    try:
        return _number(given)
    except ParameterError:
        return tuple(name.strip() for name in given.split(",") if name.strip())


def signal_to_noise(given: Any) -> Any:
    """Return None (no noise) for a signal-to-noise ratio of 0."""
    return None if str(given).strip() in ("0", "0.0") else given


Concepts = Annotated[
    list[dict[str, Any]], BeforeValidator(_concepts), Option("Input", metavar="NAMES|FILE")
]
Share = Annotated[float, BeforeValidator(_share)]
ValSplit = Annotated[
    Annotated[float, Field(gt=0, lt=1)] | tuple[str, ...],
    BeforeValidator(_split), Option("Training", metavar="SHARE|NAMES"),
]  # fmt: skip
TestSplit = Annotated[
    Annotated[float, Field(ge=0, lt=1)] | tuple[str, ...],
    BeforeValidator(_split), Option("Training", metavar="SHARE|NAMES"),
]  # fmt: skip
ObserverFolder = Annotated[AbsolutePath, Option("Model", metavar="FOLDER")]


def tile_budget(text: str) -> Budget:
    """Return a budget of a number or share of tiles.

    Raises:
        BudgetError: It is not a budget, or has another unit.
    """
    budget = Budget.parse(text)
    for unit, amount in budget.limits.items():
        if unit != "tiles":
            raise BudgetError(
                f"a budget in {unit!r}", "The budget of a sample is a number or a share of tiles.",
                f"Use --budget {amount if amount.share else '200, or a share of the tiles: 5%'}.",
            )  # fmt: skip
    return budget


def check_folders(pairs: str, init: str | None) -> None:
    """Raise an error for missing folders before heavy imports."""
    Run.load(pairs)
    if init is not None:
        from foveate.observe.observer_config import find_observer

        find_observer(init)


def check_roles(job: object) -> None:
    """Check that weights of further encoders are given with their model.

    Raises:
        ParameterError: Weights without their model.
    """
    for role in ("lr", "target", "saliency", "text"):
        if getattr(job, f"{role}_weights") and getattr(job, f"{role}_model") is None:
            raise ParameterError(
                f"--{role}-weights without --{role}-model",
                "The weights are those of the model of this option.",
                f"Add --{role}-model MODEL, or omit --{role}-weights.",
            )


def chosen_mode(
    budget: str | None, threshold: float | None, obr: float | None, policy: str
) -> Mode:
    """Return the name of the given option: "budget", "threshold" or "obr".

    Raises:
        ParameterError: None or several of them are given, or the scores of the policy are not
            calibrated.
    """
    given: dict[Mode, Any] = {
        "budget": budget, "threshold": threshold, "obr": obr
    }  # fmt: skip
    stated: list[Mode] = [name for name, value in given.items() if value is not None]
    if len(stated) != 1:
        typed = [f"--{name}" for name in stated]
        raise ParameterError(
            f"{' and '.join(typed)} together" if typed else "no budget, no threshold and no obr",
            "Exactly one of --budget, --threshold and --obr is required.",
            "" if typed else "For example --budget 12%.",
        )
    if stated[0] != "budget" and policy not in ("learned", AUTO):
        raise ParameterError(
            f"--{stated[0]} with the policy {policy!r}",
            "Only the scores of the trained sampler are calibrated.",
            "Use --budget.",
        )
    return stated[0]
