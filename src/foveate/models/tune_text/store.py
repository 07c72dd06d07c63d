"""A tuned model on disk: weights in safetensors, and a JSON file that says what they are.

A folder can be moved and handed on: where the frozen encoder was read from local weights, they are
copied into it. What the hub has is named by its id.

    model/
      model.json            base (name, weights, bands, scale, fingerprint), shape, training
      weights.safetensors   both towers, temperature and bias
      base.safetensors      the weights of the frozen encoder, if they were local
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.embeddings import EncoderSpec
from foveate.files import (
    as_storage_error,
    atomic_path,
    write_bytes,
    write_json,
)
from foveate.models.base import model_folder, read_format
from foveate.models.weights import load_state, random_weights

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle
    from foveate.models.tune_text.network import Pair, Shape

FORMAT = 1  # raised when words become other numbers, or the towers others
MODEL, WEIGHTS = "model.json", "weights.safetensors"


@dataclass(frozen=True)
class Record:
    """Content of ``model.json``.

    Attributes:
        base: Name of the frozen encoder.
        base_weights: Its weights beside the file, or empty.
        base_spec: Its spec when the towers were trained.
        dtype: dtype of the imagery that they were trained on.
        shape: Sizes of the towers.
        training: How they were trained and on what, for people.
    """

    base: str
    base_weights: str
    base_spec: EncoderSpec
    dtype: str
    shape: Shape
    training: dict[str, Any]


def save(folder: Path, net: Pair, record: Record) -> list[Path]:
    """Write a tuned model and return the files; the JSON file comes last.

    Args:
        folder: Where to.
        net: The towers.
        record: What they are.
    """
    from safetensors.torch import save as as_bytes

    state = {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}
    write_bytes(folder / WEIGHTS, as_bytes(state))  # save_file would make it private
    content = {"format": FORMAT, **asdict(record), "base_spec": record.base_spec.to_dict()}
    write_json(folder / MODEL, content)
    return [folder / WEIGHTS, folder / MODEL]


def copy_base(handle: ModelHandle, spec: EncoderSpec, folder: Path) -> dict[str, str]:
    """Copy what the frozen encoder is read from into the folder, where it is local.

    Args:
        handle: The encoder as it was loaded.
        spec: Its spec, which says at which commit the hub had it.
        folder: Of the tuned model.

    Returns:
        "base" and "base_weights" of the record: a name in which local files are those of the
        folder, and models of transformers stand at their commit.

    Raises:
        StorageError: There is no space.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = _copy_into(handle.weights, folder, "base") if handle.weights else ""
    if handle.family == "hf" and not weights:
        handle = replace(handle, tag=spec.source.rpartition("@")[2])
    elif handle.family == "tuned":
        handle = replace(handle, name=_copy_into(str(find(handle.name)), folder, "tuned"))
    elif handle.name and Path(handle.name).is_file():  # an architecture in a file
        handle = replace(handle, name=_copy_into(handle.name, folder, "architecture"))
    return {"base": str(handle), "base_weights": weights}


def _copy_into(source: str, folder: Path, name: str) -> str:
    """Copy a file or a folder under a name that keeps its suffix; return the name."""
    place = Path(source)
    target = folder / (name + ("" if place.is_dir() else place.suffix))
    if not place.is_dir():
        with atomic_path(target) as temporary:
            shutil.copyfile(place, temporary)
        return target.name
    try:
        if target.exists():  # of an encoder that was tuned over here before
            shutil.rmtree(target)
        shutil.copytree(place, target)
    except OSError as error:
        raise as_storage_error(error, target) from error
    return target.name


def find(path: str | Path) -> Path:
    """Return the folder of a tuned model: the one given, or "model" in it.

    Raises:
        DataError: There is none.
    """
    command = "foveate tune-text ... --out MODEL"
    return model_folder(path, MODEL, "tuned model", command, "Type tuned:MODEL.")


def read_record(folder: Path) -> Record:
    """Read what a tuned model is.

    Raises:
        DataError: The file is of another format.
    """
    from foveate.models.tune_text.network import Shape

    content = read_format(folder / MODEL, FORMAT, "tune")
    return Record(
        base=content["base"],
        base_weights=content["base_weights"],
        base_spec=EncoderSpec.from_dict(content["base_spec"]),
        dtype=content["dtype"],
        shape=Shape(**content["shape"]),
        training=content["training"],
    )


def load_towers(folder: Path, record: Record) -> Pair:
    """Build the towers with their weights.

    Raises:
        DataError: The weights cannot be read or do not fit.
    """
    import torch

    from foveate.models.tune_text.network import Pair

    blank = torch.zeros(record.shape.image_dim)
    net: Pair = random_weights(lambda: Pair(record.shape, blank, blank + 1))
    load_state(net, folder / WEIGHTS, "a tuned model")
    return net
