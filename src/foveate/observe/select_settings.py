"""`SelectJob`: the only configuration of a selection of `observe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from foveate.errors import ParameterError
from foveate.observe.ranking import LEARNED
from foveate.pool.settings import ImagerySettings, PathText

Mode = Literal["budget", "threshold", "obr"]


class SelectJob(ImagerySettings):
    """Which tiles are chosen, and by what; stored in ``run.json``.

    Paths are kept absolute, so that the run goes on from any folder. Of budget, threshold and obr
    one is given.

    Attributes:
        images: Files or folders of overviews; or one folder of pairs, of which no HR is read.
        model: Folder of a trained observer.
        budget: What is bought at most, over all scenes: "12%", "500", "area=2e6".
        threshold: Calibrated score, 0 to 1, above which a tile is chosen.
        obr: Share of the area, 0 to 1: the threshold is set on the scores of this target.
        policy: "learned", "design", or a baseline: "random", "uniform", "lr-entropy",
            "covariate"; see `rank`.
        covariate: A raster, for that policy; see `covered`.
        tile: Side of a tile in pixels of the overviews; as large on the ground as in training when
            None, or as many pixels where that is not known.
        lr_cost: Price of LR per area, as a share of that of HR.
        device: Of the encoder and the networks.
        seed: Of ties, and of policies that draw.
    """

    absent = frozenset({"masks", "mask_suffix", "classes", "min_labelled"})
    model: str
    budget: str | None = None
    threshold: float | None = Field(None, ge=0, le=1)
    obr: float | None = Field(None, gt=0, le=1)
    policy: str = LEARNED
    covariate: PathText | None = None
    tile: float | None = Field(None, ge=1)
    lr_cost: float = Field(0.0, ge=0)
    device: str = "auto"
    seed: int = Field(0, ge=0)

    @field_validator("images", "extra")
    @classmethod
    def _absolute(cls, paths: list[str]) -> list[str]:
        return [str(Path(path).absolute()) for path in paths]

    @field_validator("model", "covariate")
    @classmethod
    def _absolute_file(cls, path: str | None) -> str | None:
        return None if path is None else str(Path(path).absolute())

    @property
    def mode(self) -> Mode:
        """What decides how many tiles are chosen.

        Raises:
            ParameterError: Not one of budget, threshold and obr is given, or the policy has no
                threshold.
        """
        given: dict[Mode, Any] = {
            "budget": self.budget, "threshold": self.threshold, "obr": self.obr
        }  # fmt: skip
        stated: list[Mode] = [name for name, value in given.items() if value is not None]
        if len(stated) != 1:
            typed = [f"--{name}" for name in stated]
            raise ParameterError(
                f"{' and '.join(typed)} together"
                if typed
                else "no budget, no threshold and no obr",
                "One of --budget, --threshold and --obr says how much is chosen.",
                "" if typed else "For example --budget 12%.",
            )
        if stated[0] != "budget" and self.policy != LEARNED:
            raise ParameterError(
                f"--{stated[0]} with the policy {self.policy!r}",
                "Scores of the trained sampler are calibrated, those of other policies are not.",
                "Use --budget.",
            )
        return stated[0]
