"""`ClassifyJob`: the only configuration of a classify run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from foveate.errors import ParameterError
from foveate.models.heads.prompts import labels_from, labels_of
from foveate.models.settings import EncodeSettings

if TYPE_CHECKING:
    from foveate.models.heads.prompts import Labels


class ClassifyJob(EncodeSettings):
    """Everything that a classify run depends on; stored in ``run.json``.

    Masks are not needed; where they are given, the most frequent class of a tile is its truth.

    Attributes:
        tile: Side of a tile in pixels; None for each image as it is.
        labels: Names of the classes, or name -> what the class is called in prompts.
        labels_file: File with the same; see `foveate.models.heads.prompts.labels_from`.
        probe: File of a linear probe, in the place of labels.
        templates: Sentences around a name; see `foveate.models.heads.prompts.templates_from`.
        head: "cosine": probabilities are shares among the labels; "sigmoid", for models trained
            so: each label is judged alone, and none may fit. None is "cosine".
        truth_from_folders: Whether the folder of an image names its class.

    Raises:
        ParameterError: No such setting, or a value of another type or out of range.
    """

    tile: int | None = None
    labels: list[str] | dict[str, list[str]] = Field([])
    labels_file: str | None = None
    probe: str | None = None
    templates: str = "rs"
    head: str | None = None
    truth_from_folders: bool = False

    def known_labels(self) -> Labels | None:
        """Return the labels; None for a job with a probe.

        Raises:
            ParameterError: Not exactly one of labels, file and probe is given, or the labels
                cannot be used.
            DataError: The file cannot be read.
        """
        given = {
            "--labels": bool(self.labels),
            "--labels-file": self.labels_file is not None,
            "--probe": self.probe is not None,
        }
        stated = [name for name, there in given.items() if there]
        if len(stated) != 1:
            raise ParameterError(
                f"{' and '.join(stated)} together" if stated else "no labels and no probe",
                "Classes come from one of --labels, --labels-file and --probe.",
                "" if stated else "For example --labels forest,water,town.",
            )
        if self.probe is not None:
            return None
        return labels_of(self.labels) if self.labels else labels_from(Path(self.labels_file or ""))
