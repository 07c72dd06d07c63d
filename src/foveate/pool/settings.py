"""What every job on a pool can state, and how a job says that a setting cannot be.

pydantic takes a fifth of a second to load: only jobs import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from foveate.errors import ParameterError
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Collection


class JobSettings(BaseModel):
    """Everything that a run depends on; stored in ``run.json``.

    Attributes:
        absent: Settings of its parents that this kind of job does not have: they cannot be stated,
            stay at their defaults, and are not stored.

    Raises:
        ParameterError: No such setting, or a value of another type or out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    absent: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **given: Any) -> None:
        for name in sorted(self.absent & given.keys()):
            # The default is let pass: it is in records of earlier versions.
            if given[name] != type(self).model_fields[name].get_default():
                raise ParameterError(
                    f"{name}={given[name]!r}",
                    f"A {type(self).__name__} has no such setting: it would change nothing.",
                    "Leave it out.",
                )
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise _refused(error, self.settings()) from error

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Return the names of all settings that this kind of job has."""
        return tuple(name for name in cls.model_fields if name not in cls.absent)

    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if k not in self.absent}


class ImagerySettings(JobSettings):
    """Which imagery.

    Attributes:
        images: Folders or files.
        masks: Folders or files; empty without masks.
        classes: Classes file.
        extra: Further bands alongside.
        stack: File name endings that are bands of one scene.
        bands: 1-based bands to use; empty for all.
        nodata: Overrides the files' nodata value.
        min_valid: Smallest valid share of a tile that stays.
        min_labelled: Smallest labelled share of a tile that stays, where there are masks.
        skip_empty: Whether scenes of nothing but nodata are left out instead of refused.
    """

    images: list[str] = Field(min_length=1)
    masks: list[str] = []
    classes: str | None = None
    extra: list[str] = []
    stack: list[str] = []
    bands: list[int] = []
    nodata: float | None = None
    min_valid: float = Field(0.5, ge=0, le=1)
    min_labelled: float = Field(0.0, ge=0, le=1)
    skip_empty: bool = False


class PoolSettings(ImagerySettings):
    """Which imagery, and how it is cut.

    Attributes:
        coordinates: Coordinate list to take the patches from.
        tile: Side of a tile in pixels; 0 or None for each image as it is.
        stride: Step in pixels; None for the tile's side.
        edge: "shift", "drop", "pad" or "clip".
    """

    coordinates: str | None = None
    tile: int | None = Field(256, ge=0)
    stride: int | None = None
    edge: Literal["drop", "shift", "pad", "clip"] = "shift"


def _refused(error: ValidationError, known: Collection[str]) -> ParameterError:
    """Say which setting was refused and why."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    allowed, hint = f"{first['msg']}.", ""
    if first["type"] == "extra_forbidden":
        allowed = "A job has no such setting."
        hint = suggest(name, known)
    elif first["type"] == "missing":
        return ParameterError(f"a job without {name!r}", "This setting has no default.")
    return ParameterError(f"{name}={first['input']!r}", allowed, hint)
