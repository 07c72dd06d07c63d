"""`ClassifyJob`: the only configuration of a classify run."""

from __future__ import annotations

from pydantic import Field

from foveate.models.settings import ClassSettings


class ClassifyJob(ClassSettings):
    """Everything that a classify run depends on; stored in ``run.json``.

    Masks are not needed; where they are given, the most frequent class of a tile is its truth.

    Attributes:
        tile: Side of a tile in pixels; None or 0 for each image as it is.
        head: "cosine": probabilities are shares among the labels; "sigmoid", for models trained
            so: each label is judged alone, and none may fit. None is "cosine".
        truth_from_folders: Whether the folder of an image names its class.

    Raises:
        ParameterError: No such setting, or a value of another type or out of range.
    """

    absent = frozenset({"seed"})
    tile: int | None = Field(None, ge=0)
    head: str | None = None
    truth_from_folders: bool = False
