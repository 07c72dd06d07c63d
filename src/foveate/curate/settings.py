"""`CurateJob`: the only configuration of a curate run, and what its presets set."""

from __future__ import annotations

from typing import Any, Self, cast

from pydantic import Field

from foveate.curate.methods.base import Preset, check_preset
from foveate.models.settings import EncodeSettings


class CurateJob(EncodeSettings):
    """Everything that a curate run depends on; stored in ``run.json``.

    Attributes:
        methods: Names of methods; None for `DEFAULT`: "fa-cb" with masks, "random" without.
        options: Method -> option -> value.
        budget: As `Budget.parse` reads it.
        max_overlap: A tile of which an earlier pick covers more than this share is put back to
            the end of the ranking; 1 for never. None for 0.5, and for 1 with the presets "paper"
            and "released".
        preset: "default", "paper" or "released".

    Raises:
        ParameterError: No such setting, or a value of another type or out of range.
    """

    methods: list[str] | None = Field(None, min_length=1)
    options: dict[str, dict[str, Any]] = Field({})
    budget: str = "10%"
    max_overlap: float | None = Field(None, ge=0, le=1)
    preset: Preset = "default"

    def chosen_methods(self) -> list[str]:
        """Return the methods, each once; the default where none is stated."""
        return list(dict.fromkeys(self.methods or [DEFAULT[bool(self.masks)]]))

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


# The method where none is stated: with masks, and without. None of the methods that read no masks
# is above random in every measurement, and each is below it in some; see "Without masks" in
# docs/methods.md.
DEFAULT = {True: "fa-cb", False: "random"}

# What a preset fixes besides the options of the methods; what the user states wins.
PRESET_SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    # Section IV-B: non-overlapping 256 x 256 patches, ResNet-18 with ImageNet weights. No patch
    # may overlap another, so what is left at the edges is dropped.
    "paper": {"tile": 256, "stride": 256, "edge": "drop", "model": "timm:resnet18?size=256"},
    # The public lists: stride 200, the last patch shifted to the edge.
    "released": {"tile": 256, "stride": 200, "edge": "shift", "model": "timm:resnet18?size=256"},
}
