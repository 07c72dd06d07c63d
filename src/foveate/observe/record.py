"""What ``observer.json`` says: encoders, sizes, form, concepts, calibration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.observe.calibrate import Calibration
from foveate.observe.concepts import Concept, concepts_of
from foveate.observe.networks.sizes import Architecture, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 2  # raised when the same file comes to mean something else
RECORD = "observer.json"
RATIO = 10.0  # of resolutions, where nothing tells


@dataclass(frozen=True)
class Encoder:
    """A frozen model that an observer reads imagery with.

    Attributes:
        name: For `load_model`.
        weights: Its weights, relative to the observer's folder, or empty.
        spec: Its spec when the observer was trained.
        dtype: dtype of the imagery that it read.
    """

    name: str
    weights: str
    spec: EncoderSpec
    dtype: str


@dataclass(frozen=True)
class Record:
    """What a trained observer is.

    Attributes:
        encoders: "lr" and "hr"; "text" where there is a model that reads texts.
        shape: Sizes of the networks.
        form: What the predictor is made of.
        conv_fill: Whether the fill has a convolutional part.
        tiles: ``(R, C)`` of a training scene.
        lr_tile: Side of a tile in pixels of an overview, mean over the scenes of the training.
        gsd: Metres of an LR and of an HR pixel, or None.
        concepts: The K concepts.
        supervision: What the sampler has learnt.
        obr: Observed share that it was trained for.
        calibration: From its scores to places among those of the validation scenes.
        templates: Sentences around texts.
        training: For people.
        ratio: Side of an LR pixel over that of an HR pixel.
        held_out: How policies did against random tiles on scenes that nothing was fitted to:
            "split", "scenes", "measure", "shares" and "against_random", see
            `foveate.observe.judge.against_random`. None for an observer of an earlier version.
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

    def write(self, folder: Path) -> Path:
        """Write it into a folder, and return the file."""
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
        """Read it from a folder.

        Raises:
            DataError: It is of another format.
        """
        content = read_json(folder / RECORD)
        if content.get("format") != FORMAT:
            raise DataError(
                f"{str(folder / RECORD)!r} has format {content.get('format')!r}",
                f"This foveate reads format {FORMAT}.",
                "Use the foveate that wrote it, or train again.",
            )
        rest = {k: v for k, v in content.items() if k != "format"}
        encoders: dict[str, dict[str, Any]] = content["encoders"]
        rest["encoders"] = {
            role: Encoder(**{**given, "spec": EncoderSpec.from_dict(given["spec"])})  # ty: ignore[invalid-argument-type]
            for role, given in encoders.items()
        }
        rest["shape"], rest["form"] = Shape(**content["shape"]), Architecture(**content["form"])
        rest["concepts"] = concepts_of(content["concepts"]) if content["concepts"] else ()
        rest["calibration"] = Calibration.from_dict(content["calibration"])
        rest["tiles"] = _pair(content["tiles"])
        rest["gsd"] = None if content["gsd"] is None else _pair(content["gsd"])
        return cls(**rest)


def find_observer(path: str | Path) -> Path:
    """Return the folder of a trained observer: the one given, or "model" in it.

    Raises:
        DataError: There is none.
    """
    for folder in (Path(path), Path(path) / "model"):
        if (folder / RECORD).is_file():
            return folder
    raise DataError(
        f"{str(path)!r} holds no trained observer",
        f"That is a folder with {RECORD}, as 'foveate observe train ... --out MODEL' writes it.",
        "Give the folder that --out named. A training that was stopped goes on with the same "
        "command.",
    )


def _pair(values: Sequence[Any]) -> tuple[Any, Any]:
    return (values[0], values[1])
