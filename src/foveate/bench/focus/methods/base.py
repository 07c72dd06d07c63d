"""Interface of the methods of `bench focus`: from a scene and a budget to regions and a prediction.

A method is a function. It encodes windows of the scene with the encoder of its task, which books
the passes and enforces their limit, and returns the selected regions and the prediction for the
scene. Looks, tiling, random tiles and the baselines of the papers are such functions: see
`foveate.bench.focus.methods`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foveate.focus.encode import CropEncoder
    from foveate.focus.question import FocusQuestion
    from foveate.grid import Window


@dataclass(frozen=True)
class Task:
    """A scene, a model and a budget.

    Attributes:
        encoder: Encoder of the scene: ``encoder.embed(windows)`` returns (n, d),
            ``encoder.tokens(window)`` (gh, gw, d); ``encoder.work.passes`` are the passes spent,
            ``encoder.source`` is the scene. Its ledger has the limits.
        question: Classes (``question.head``), and the query for methods that need one.
        crop: Side of a crop at native resolution, pixels.
        passes: Maximum number of passes, including the overview; infinity for no limit.
        regions: Maximum number of selected regions.
        seed: Seed of all random choices.
    """

    encoder: CropEncoder
    question: FocusQuestion
    crop: int
    passes: float
    regions: int = 8
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` of the scene, pixels."""
        return self.encoder.source.info.shape


@dataclass(frozen=True)
class Outcome:
    """Result of a method on a scene.

    Attributes:
        windows: Selected regions, the most important first.
        probabilities: (C,) float64 class probabilities of the scene; None without classes.
        importance: (k,) float64 importance of `cells`; None for methods without a ranking.
        cells: k windows without overlap: a partition of the valid scene, or its encoded tiles.
    """

    windows: tuple[Window, ...]
    probabilities: NDArray[np.float64] | None
    importance: NDArray[np.float64] | None = None
    cells: tuple[Window, ...] = field(default=())


class Method(Protocol):
    """A method of the benchmark.

    Raises:
        BudgetError: The passes are too few.
        MissingCapabilityError: The model lacks a capability that the method needs.
    """

    def __call__(self, task: Task) -> Outcome:
        """Run the method on a scene."""
        ...
