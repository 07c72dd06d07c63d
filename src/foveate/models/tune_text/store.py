"""Storage of tuned models: weights in safetensors, and a JSON file with their description.

A folder can be moved and shared: local weights of the frozen encoder are copied into it. Weights of
the hub are referenced by id.

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
    from collections.abc import Sequence

    from foveate.models.base import ModelHandle
    from foveate.models.tune_text.network import Pair, Shape

FORMAT = 1  # increased if the encoding of words or the towers change
MODEL, WEIGHTS = "model.json", "weights.safetensors"


@dataclass(frozen=True)
class Record:
    """Content of ``model.json``.

    Attributes:
        base: Name of the frozen encoder.
        base_weights: File name of its weights in the folder, or empty.
        base_spec: Its spec in training.
        dtype: dtype of the training imagery.
        shape: Sizes of the towers.
        training: Facts about the training.
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
        folder: Target folder.
        net: The towers.
        record: Their description.
    """
    from safetensors.torch import save as as_bytes

    state = {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}
    write_bytes(folder / WEIGHTS, as_bytes(state))  # save_file would set private permissions
    content = {"format": FORMAT, **asdict(record), "base_spec": record.base_spec.to_dict()}
    write_json(folder / MODEL, content)
    return [folder / WEIGHTS, folder / MODEL]


def copy_base(handle: ModelHandle, spec: EncoderSpec, folder: Path) -> dict[str, str]:
    """Copy local files of the frozen encoder into the folder.

    Args:
        handle: Handle of the encoder.
        spec: Its spec, which contains the commit on the hub.
        folder: Folder of the tuned model.

    Returns:
        "base" and "base_weights" of the record: a model name that refers to files in the folder,
        and to transformers models at their commit.

    Raises:
        StorageError: The files cannot be copied.
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
    """Copy a file or a folder under a new name with the same suffix; return the name."""
    path = Path(source)
    target = folder / (name + ("" if path.is_dir() else path.suffix))
    if not path.is_dir():
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
        return target.name
    try:
        if target.exists():  # of an earlier encoder
            shutil.rmtree(target)
        shutil.copytree(path, target)
    except OSError as error:
        raise as_storage_error(error, target) from error
    return target.name


def find(path: str | Path) -> Path:
    """Return the folder of a tuned model: `path`, or "model" in it.

    Raises:
        DataError: There is no tuned model.
    """
    command = "foveate tune-text ... --out MODEL"
    return model_folder(path, MODEL, "tuned model", command, "Use tuned:MODEL.")


def read_record(folder: Path) -> Record:
    """Read the description of a tuned model.

    Raises:
        DataError: The file has another format.
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


def tuned_on(folder: str | Path, fingerprints: Sequence[str]) -> list[bool]:
    """Return which images a tuned model was trained or validated on.

    Args:
        folder: See `find`.
        fingerprints: Fingerprints of image files (`SourceInfo.fingerprint`).

    Returns:
        One value per image; all False for a model of an earlier version, which did not store its
        images.
    """
    known = set(read_record(find(folder)).training.get("scenes", ()))
    return [fingerprint in known for fingerprint in fingerprints]


def load_towers(folder: Path, record: Record) -> Pair:
    """Build the towers with their weights.

    Raises:
        DataError: The weights cannot be read or do not match.
    """
    import torch

    from foveate.models.tune_text.network import Pair

    blank = torch.zeros(record.shape.image_dim)
    net: Pair = random_weights(lambda: Pair(record.shape, blank, blank + 1))
    load_state(net, folder / WEIGHTS, "a tuned model")
    return net
