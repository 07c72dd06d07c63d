"""`CurateJob`: the only configuration of a curate run, and what its presets set."""

from __future__ import annotations

from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foveate.curate.methods.base import Preset, check_preset
from foveate.errors import ParameterError
from foveate.registry import suggest


class CurateJob(BaseModel):
    """Everything that a curate run depends on; stored in ``run.json``.

    Attributes:
        images: Folders or files.
        masks: Folders or files; empty without masks.
        classes: Classes file.
        extra: Further bands alongside.
        stack: File name endings that are bands of one scene.
        coordinates: Coordinate list to take the patches from.
        methods: Names of methods.
        options: Method -> option -> value.
        budget: As `Budget.parse` reads it.
        model: Model name for `load_model`.
        weights: Local weights file.
        bands: 1-based bands to embed; empty for all.
        scale: ``(low, high)`` of raw values, one for all bands or one each; empty for automatic.
        tile: Side of a tile in pixels.
        stride: Step in pixels; None for the tile's side.
        edge: "shift", "drop", "pad" or "clip".
        nodata: Overrides the files' nodata value.
        min_valid: Smallest valid share of a tile that stays.
        min_labelled: Smallest labelled share of a tile that stays, where there are masks.
        skip_empty: Whether scenes of nothing but nodata are left out instead of refused.
        seed: Seed of everything random.
        preset: "default", "paper" or "released".
        workers: Processes that embed.
        batch_size: Tiles per call of the model.
        device: Device of the model.

    Raises:
        ParameterError: No such setting, or a value of another type or out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: list[str] = Field(min_length=1)
    masks: list[str] = []
    classes: str | None = None
    extra: list[str] = []
    stack: list[str] = []
    coordinates: str | None = None
    methods: list[str] = Field(["fa-cb"], min_length=1)
    options: dict[str, dict[str, Any]] = {}
    budget: str = "10%"
    model: str = "builtin"
    weights: str | None = None
    bands: list[int] = []
    scale: list[tuple[float, float]] = []
    tile: int = 256
    stride: int | None = None
    edge: Literal["drop", "shift", "pad", "clip"] = "shift"
    nodata: float | None = None
    min_valid: float = Field(0.5, ge=0, le=1)
    min_labelled: float = Field(0.0, ge=0, le=1)
    skip_empty: bool = False
    seed: int = 0
    preset: Preset = "default"
    workers: int = Field(1, ge=1)
    batch_size: int = Field(32, ge=1)
    device: str = "auto"

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise _refused(error) from error

    @classmethod
    def with_preset(cls, preset: str = "default", **given: Any) -> Self:
        """Make a job from the settings of a preset; what is given wins.

        Raises:
            ParameterError: No such preset, or a setting that cannot be.
        """
        check_preset(preset)
        settings = dict(PRESET_SETTINGS[preset])
        if "tile" in given:  # the stride of a preset is for its own tile
            settings.pop("stride", None)
        return cls(preset=cast("Preset", preset), **{**settings, **given})


def _refused(error: ValidationError) -> ParameterError:
    """Say which setting was refused and why."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    allowed, hint = f"{first['msg']}.", ""
    if first["type"] == "extra_forbidden":
        allowed = "A job has no such setting."
        hint = suggest(name, CurateJob.model_fields)
    elif first["type"] == "missing":
        return ParameterError(f"a job without {name!r}", "This setting has no default.")
    return ParameterError(f"{name}={first['input']!r}", allowed, hint)


# What a preset fixes besides the options of the methods; what the user states wins.
PRESET_SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    # Section IV-B: non-overlapping 256 x 256 patches, ResNet-18 with ImageNet weights. No patch
    # may overlap another, so what is left at the edges is dropped.
    "paper": {"tile": 256, "stride": 256, "edge": "drop", "model": "timm:resnet18?size=256"},
    # The public lists: stride 200, the last patch shifted to the edge.
    "released": {"tile": 256, "stride": 200, "edge": "shift", "model": "timm:resnet18?size=256"},
}
