"""`ObserverConfig`: the configuration of a trained observer, observer.json in its folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError
from foveate.files import write_json
from foveate.models.base import model_folder, read_format
from foveate.observe.data.concepts import Concept, concepts_of
from foveate.observe.features import Encoder
from foveate.observe.networks.sizes import Architecture, Shape
from foveate.observe.options import RATIO
from foveate.observe.scoring.calibration import Calibration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT = 2  # increased when the meaning of the file changes
RECORD = "observer.json"


@dataclass(frozen=True)
class ObserverConfig:
    """Configuration of a trained observer.

    Attributes:
        encoders: "lr" and "hr"; "text" if there is a text model.
        shape: Sizes of the networks.
        form: Architecture of the predictor.
        conv_fill: Whether the LR fill has a convolutional part.
        tiles: ``(R, C)`` of a training scene.
        lr_tile: Side of a tile in pixels of an overview, mean over the training pairs.
        gsd: GSD of LR and HR in metres, or None.
        concepts: The K concepts.
        supervision: Supervision target of the sampler.
        obr: Observed ratio of the training.
        calibration: Calibration of raw scores to quantiles of the validation scenes.
        templates: Prompt templates.
        training: Facts of the training, informational.
        ratio: Side of an LR pixel divided by the side of an HR pixel.
        held_out: Comparison of policies with random tiles on scenes that no network was fitted to:
            "split", "scenes", "measure", "shares" and "against_random", see
            `training.evaluate.choose_policy`. None for an observer of an earlier version.
        tile_size: Side of a tile in metres, or None if tiles were given as rows and columns.
    """

    encoders: dict[str, Encoder]
    shape: Shape
    form: Architecture
    conv_fill: bool
    tiles: tuple[int, int]
    lr_tile: float
    gsd: tuple[float, float] | None
    concepts: tuple[Concept, ...]
    supervision: str
    obr: float
    calibration: Calibration
    templates: str
    training: dict[str, Any]
    ratio: float = RATIO
    held_out: dict[str, Any] | None = None
    tile_size: float | None = None

    @property
    def policy(self) -> str:
        """The default policy: a trained policy if it was better than random tiles.

        "learned" for an observer of an earlier version, which has no comparison.
        """
        against = (self.held_out or {}).get("against_random", {})
        return against.get("policy", "learned")

    @property
    def tile_metres(self) -> float | None:
        """Side of a tile of the training in metres; None without a georeference."""
        if self.tile_size is not None or self.gsd is None:
            return self.tile_size
        return self.lr_tile * self.gsd[0]

    def write(self, folder: Path) -> Path:
        """Write the configuration into a folder, and return the file."""
        content = {**vars(self)}
        content["encoders"] = {
            role: {**vars(encoder), "spec": encoder.spec.to_dict()}
            for role, encoder in self.encoders.items()
        }
        content["shape"], content["form"] = asdict(self.shape), asdict(self.form)
        content["concepts"] = [concept.to_dict() for concept in self.concepts]
        content["calibration"] = self.calibration.to_dict()
        write_json(folder / RECORD, {"format": FORMAT, **content})
        return folder / RECORD

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the configuration from a folder.

        Raises:
            DataError: The file has another format.
        """
        content = read_format(folder / RECORD, FORMAT, "train")
        fields = {k: v for k, v in content.items() if k != "format"}
        encoders: dict[str, dict[str, Any]] = content["encoders"]
        fields["encoders"] = {
            role: Encoder(**{**stored, "spec": EncoderSpec.from_dict(stored["spec"])})  # ty: ignore[invalid-argument-type]
            for role, stored in encoders.items()
        }
        fields["shape"], fields["form"] = Shape(**content["shape"]), Architecture(**content["form"])
        fields["concepts"] = concepts_of(content["concepts"]) if content["concepts"] else ()
        fields["calibration"] = Calibration.from_dict(content["calibration"])
        fields["tiles"] = _pair(content["tiles"])
        fields["gsd"] = None if content["gsd"] is None else _pair(content["gsd"])
        return cls(**fields)


def find_observer(path: str | Path) -> Path:
    """Return the folder of a trained observer: the given folder, or its subfolder "model".

    Raises:
        DataError: There is no observer in the folder.
    """
    command = "foveate observe train ... --out MODEL"
    hint = "Use the --out folder of the training."
    return model_folder(path, RECORD, "trained observer", command, hint)


def recorded_observer(folder: str, run: str | Path) -> str:
    """Return the folder of the observer that a run was made with.

    Args:
        folder: The folder in the record of the run.
        run: The run directory, for the message.

    Raises:
        DataError: There is no observer in the folder.
    """
    try:
        find_observer(folder)
    except DataError as error:
        raise DataError(
            f"the observer of the run {str(run)!r} is not in {folder!r}",
            "The run names this folder; the observer was moved, renamed or deleted.",
            "Give its present folder: --observer FOLDER",
        ) from error
    return folder


def _pair(values: Sequence[Any]) -> tuple[Any, Any]:
    return (values[0], values[1])
