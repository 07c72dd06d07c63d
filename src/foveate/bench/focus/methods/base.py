"""What a benchmark of `focus` compares: from a scene and a budget to regions and an answer.

A method is a function. It shows windows of the scene to the model through the encoder of its
task, which books the passes and refuses one too many, and says which regions it chose and what
the scene shows. Looks, whole tiling, random tiles and the baselines of the papers all are such
functions: see `foveate.bench.focus.methods`.
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
        encoder: Shows windows of the scene to the model: ``encoder.embed(windows)`` gives (n, d),
            ``encoder.tokens(window)`` (gh, gw, d), ``encoder.work.passes`` what was spent.
            ``encoder.source`` is the scene. Its ledger holds the budget.
        question: Classes (``question.head``), and what is looked for, where that is told.
        crop: Side of a crop at native resolution, pixels.
        passes: Most passes, the overview included; infinity for no limit.
        regions: Most regions that may be chosen.
        seed: Of everything random.
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
    """What a method made of a scene.

    Attributes:
        windows: Chosen regions, the most important first.
        probabilities: (C,) float64 of the classes, for the scene; None without classes.
        importance: (k,) float64 of `cells`, more is more important; None for methods that rank
            nothing.
        cells: k windows that `importance` is of, which do not overlap: a partition of the scene
            but for nodata, or the tiles of it that were seen.
    """

    windows: tuple[Window, ...]
    probabilities: NDArray[np.float64] | None
    importance: NDArray[np.float64] | None = None
    cells: tuple[Window, ...] = field(default=())


class Method(Protocol):
    """From a task to an outcome.

    Raises:
        BudgetError: The passes do not reach for anything.
        MissingCapabilityError: The model cannot do what the method needs.
    """

    def __call__(self, task: Task) -> Outcome:
        """Look at the scene."""
        ...
