"""Model names, picklable model handles, and the protocol of model families."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.files import read_json
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.models.capabilities import Embeds

Scale = tuple[tuple[float, float], ...]

_FOLDERS = ("tuned",)  # families whose names are paths
_MARKS = "%&+;#"  # characters with a meaning in a query


def check_bands(batch: NDArray[Any], spec: EncoderSpec) -> None:
    """Check that a batch has the bands of the spec; a single band would be broadcast otherwise.

    Raises:
        DataError: The batch has another shape.
    """
    if batch.ndim != 4 or batch.shape[1] != len(spec.bands):
        raise DataError(
            f"the batch for {spec.name!r} has shape {batch.shape}",
            f"Expected (b, {len(spec.bands)}, h, w), bands {', '.join(map(str, spec.bands))}.",
        )


def model_folder(path: str | Path, name: str, what: str, command: str, hint: str) -> Path:
    """Return the folder of a trained model: `path`, or "model" in it.

    Args:
        path: A folder.
        name: File that identifies the folder.
        what: Kind of model, for the message: "tuned model".
        command: Command that writes it.
        hint: Command to type.

    Raises:
        DataError: There is no such model.
    """
    for folder in (Path(path), Path(path) / "model"):
        if (folder / name).is_file():
            return folder
    raise DataError(
        f"{str(path)!r} does not contain a {what}",
        f"Expected a folder with {name}, written by '{command}'.",
        f"{hint} To resume an interrupted training, run the same command again.",
    )


def read_format(path: str | Path, number: int, again: str) -> dict[str, Any]:
    """Read a JSON object with a format number.

    Args:
        path: The file.
        number: The supported format.
        again: Verb for writing the file anew, for the message: "train".

    Raises:
        DataError: The file has another format.
    """
    content = read_json(path)
    stated = content.get("format") if isinstance(content, dict) else None
    if stated != number:
        raise DataError(
            f"{str(path)!r} has format {stated!r}",
            f"This version of foveate supports format {number}.",
            f"Use the version of foveate that wrote the file, or {again} again.",
        )
    return content


def unknown_model(package: str, name: str, known: Sequence[str]) -> UnknownNameError:
    """Return the error of a name that is not in ``list_models()`` of a package."""
    return UnknownNameError(
        f"{package} has no model {name!r}",
        f"It has {len(known)} models; list them with: "
        f"python -c 'import {package}; print({package}.list_models())'.",
        suggest(name, known),
    )


class Family(Protocol):
    """A family of models: validates names early, builds models for given bands and scale."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Return the handle with the properties that are known without building the model.

        These are `channels`, `native_scale` for weights trained on physical values, and `commit`
        for a model of the hub.

        Raises:
            FoveateError: The model cannot be built.
        """
        ...

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Embeds:
        """Build the model with all its capabilities (see `foveate.models.capabilities`)."""
        ...


@dataclass(frozen=True)
class ModelHandle:
    """A model by name, not yet bound to the bands of a pool; small and picklable.

    Attributes:
        family: "builtin", "timm", ...
        name: Name within the family; empty if the family has a single model.
        tag: Tag of the pretrained weights ("pretrained", "a1_in1k"), or empty.
        options: Keyword arguments for the model.
        weights: Local weights (a file, or a folder for families that read folders), or empty.
        bands: 1-based bands selected by the user; empty to decide in `bind`.
        scale: ``(low, high)`` per band given by the user, or None.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        channels: Number of bands of the model; None for any.
        native_scale: ``(low, high)`` per band that the weights were trained with, for imagery in
            physical values (reflectance times 10,000); None if not known.
        pooling: "dense" for vectors with the mean and standard deviation of tokens; see
            `DensePooling`.
        commit: Commit of `tag` on the hub, resolved once, so that all processes use the same
            weights; empty if the family does not resolve it.
    """

    family: str
    name: str = ""
    tag: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    bands: tuple[int, ...] = ()
    scale: Scale | None = None
    device: str = "auto"
    channels: int | None = None
    native_scale: Scale | None = None
    commit: str = ""
    pooling: str = ""

    def __str__(self) -> str:
        """Return the name as a user would type it."""
        options = self.options | ({"pooling": self.pooling} if self.pooling else {})
        query = "&".join(f"{k}={_format_value(v)}" for k, v in options.items())
        text = self.family + (f":{self.name}" if self.name else "")
        return text + (f"@{self.tag}" if self.tag else "") + (f"?{query}" if query else "")


def parse_name(text: str) -> ModelHandle:
    """Parse ``family[:name][@tag][?key=value&key=value]``.

    Values that are valid JSON (numbers, true, false, null) are parsed as JSON, others are text. The
    name of a tuned model is a folder, in which "@" does not start a tag.

    Raises:
        ParameterError: The text is not of this form.
    """
    head, _, query = text.strip().partition("?")
    family, _, name = head.partition(":")
    tag = ""
    if family not in _FOLDERS:
        head, _, tag = head.partition("@")
        family, _, name = head.partition(":")
    if not family or (query and "=" not in query):
        raise ParameterError(
            f"{text!r} is not a valid model name",
            "Expected family[:name][@tag][?key=value&key=value].",
            "For example builtin, timm:resnet18 or timm:mobilenetv2_100?pad_type=same.",
        )
    given = parse_qsl(query, keep_blank_values=True)
    options = {key: _value(value) for key, value in given}
    if len(options) < len(given):
        twice = next(key for key in options if sum(key == other for other, _ in given) > 1)
        raise ParameterError(
            f"{text!r} has the option {twice!r} twice",
            "Every option is given once.",
            f"For several values, use commas: ?{twice}=0.4,0.5,0.6.",
        )
    pooling = str(options.pop("pooling", ""))
    return ModelHandle(family, name, tag, options, pooling=pooling)


def _format_value(value: Any) -> str:
    """Format the value of an option so that `parse_name` restores it."""
    text = str(value)
    return "".join(f"%{ord(c):02X}" if c in _MARKS else c for c in text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
