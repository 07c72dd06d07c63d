"""`Plan`: how to look at an image, whatever is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from foveate.errors import BudgetError, ParameterError
from foveate.focus.perturb import perturb
from foveate.focus.refine import Rules

if TYPE_CHECKING:
    from foveate.focus.goals import Goal
    from foveate.focus.perturb import Perturbation

Mode = Literal["zoom", "window", "feature"]
Partition = Literal["uniform", "significance"]
MODES: tuple[Mode, ...] = get_args(Mode)
PARTITIONS: tuple[Partition, ...] = get_args(Partition)


@dataclass(frozen=True)
class Plan:
    """How to look.

    Attributes:
        goal: What for.
        mode: "zoom" (crops at native resolution), "window" (cells at the overview's
            resolution) or "feature" (the tokens of one overview).
        rules: How the search goes, and how many regions it may choose.
        passes: Most passes of the model, the overview included; None for a third of those that
            tiling takes, 24 at least (see `foveate.focus.allowance`); 0 for no limit.
        cells: N_p, cells of the first partition along the longer side of the image; 4 in the paper.
        partition: "uniform", or "significance": finer where the overview's tokens stand out.
        crop: Side of a crop in pixels of the image; None for that of the model's input.
        robust: Whether to measure the robustness of Eq. 5. None for the modes in which it is
            cheap, "feature" and "window", and for the goal "paper".
        min_valid: Smallest valid share of a cell.
        batch_size: Images per call of the model; no result depends on it.
        disturb: The perturbation of Eq. 5.

    Raises:
        ParameterError: A value that cannot be.
        BudgetError: Less than one pass, or no region.
    """

    goal: Goal
    mode: Mode = "zoom"
    rules: Rules = field(default_factory=Rules)
    passes: float | None = None
    cells: int = 4
    partition: Partition = "uniform"
    crop: int | None = None
    robust: bool | None = None
    min_valid: float = 0.5
    batch_size: int = 32
    disturb: Perturbation = perturb

    def crop_side(self, shape: tuple[int, int]) -> int:
        """Return the side of a crop, for a model whose input has that ``(height, width)``."""
        return self.crop or max(shape)

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value, allowed in (
            ("mode", self.mode, MODES), ("partition", self.partition, PARTITIONS)
        ):  # fmt: skip
            if value not in allowed:
                raise ParameterError(f"{name}={value!r}", f"Allowed: {', '.join(allowed)}.")
        for name, least in (("cells", 1), ("crop", 8), ("batch_size", 1)):
            number = getattr(self, name)
            if number is not None and number < least:
                raise ParameterError(f"{name}={number}", f"It is {least} or more.")
        if not 0 <= self.min_valid <= 1:
            raise ParameterError(f"min_valid={self.min_valid}", "A share is 0 to 1.")
        if self.passes and not self.passes >= 1:
            raise BudgetError(
                f"a budget of {self.passes:g} passes",
                "The overview alone takes one; 0 stands for no limit.",
                "Type --passes 24, or leave it out: then it follows from the size of the image.",
            )
