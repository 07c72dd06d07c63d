"""`TuneTextJob`: the only configuration of a tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from foveate.models.settings import EncodeSettings


class TuneTextJob(EncodeSettings):
    """Everything that a tuned model depends on; stored in ``run.json``.

    Attributes:
        captions: Captions file; None with `classes_from_folders`.
        classes_from_folders: Whether the texts are the names of the folders that the images lie
            in, put into `templates`.
        labels: File with what to call the folders (folder: name, or several names), for training
            on folders and for the zero-shot test; by default their names are made readable.
        templates: Sentences for names of classes; see `templates_from` of the heads.
        pair: How captions find their images: "name" or "order".
        split: File with the split of each image; None for that of the captions, or 80 % train,
            10 % val and 10 % test, drawn under the seed.
        dim: Length of the common embedding.
        width: Width of the text transformer.
        layers: Its depth.
        epochs: Passes over the training images.
        train_batch: Images of a step of the training; `batch_size` is for the frozen encoder.
        lr: Highest learning rate.
        patience: Epochs without a better validation score after which to stop; 0 for never.
        precision: "float32" or "bfloat16" in training.
        replace: Whether a model that was tuned otherwise in the same run may be replaced.
    """

    absent = frozenset({"classes", "min_labelled", "stride", "edge"})
    tile: int | None = None  # each image is one: captions speak of whole images
    captions: str | None = None
    classes_from_folders: bool = False
    labels: str | None = None
    templates: str = "rs"
    pair: Literal["name", "order"] = "name"
    split: str | None = None
    dim: int = Field(256, ge=8)
    width: int = Field(128, ge=16, multiple_of=4)
    layers: int = Field(2, ge=1)
    epochs: int = Field(30, ge=1)
    train_batch: int = Field(128, ge=2)
    lr: float = Field(1e-3, gt=0)
    patience: int = Field(10, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    replace: bool = False
