"""A model by name: the handle that any process can open, and the families that build it."""

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
_MARKS = "%&+;#"  # what a query gives a meaning to


def check_bands(batch: NDArray[Any], spec: EncoderSpec) -> None:
    """Check that a batch has the bands of the spec: arithmetic would broadcast a single one.

    Raises:
        DataError: It has another shape.
    """
    if batch.ndim != 4 or batch.shape[1] != len(spec.bands):
        raise DataError(
            f"a batch of shape {batch.shape} for {spec.name!r}",
            f"Expected (b, {len(spec.bands)}, h, w): the bands {', '.join(map(str, spec.bands))}.",
        )


def model_folder(path: str | Path, name: str, what: str, command: str, hint: str) -> Path:
    """Return the folder of a trained model: the one given, or "model" in it.

    Args:
        path: A folder.
        name: File that such a folder has.
        what: What it holds, for the message: "tuned model".
        command: What writes it.
        hint: What to type instead.

    Raises:
        DataError: There is none.
    """
    for folder in (Path(path), Path(path) / "model"):
        if (folder / name).is_file():
            return folder
    raise DataError(
        f"{str(path)!r} holds no {what}",
        f"That is a folder with {name}, as '{command}' writes it.",
        f"{hint} A training that was stopped goes on with the same command.",
    )


def read_format(path: str | Path, number: int, again: str) -> dict[str, Any]:
    """Read a JSON object that says of which format it is.

    Args:
        path: The file.
        number: The format that is read here.
        again: What makes such a file anew, for the message: "train".

    Raises:
        DataError: It is of another format.
    """
    content = read_json(path)
    if content.get("format") != number:
        raise DataError(
            f"{str(path)!r} has format {content.get('format')!r}",
            f"This foveate reads format {number}.",
            f"Use the foveate that wrote it, or {again} again.",
        )
    return content


def unknown_model(package: str, name: str, known: Sequence[str]) -> UnknownNameError:
    """Return the error of a name that a package with a function ``list_models`` does not list."""
    return UnknownNameError(
        f"{package} has no model {name!r}",
        f"It knows {len(known)}; list them with: "
        f"python -c 'import {package}; print({package}.list_models())'.",
        suggest(name, known),
    )


class Family(Protocol):
    """A module of models: checks a name early, builds the model for given bands and scale."""

    def check(self, handle: ModelHandle) -> ModelHandle:
        """Return the handle with what the family knows of the model without building it.

        That is `channels`, `native_scale` where the weights were trained on physical values, and
        `commit` of a model of the hub.

        Raises:
            FoveateError: The model cannot be built.
        """
        ...

    def build(self, handle: ModelHandle, bands: Sequence[int], scale: Scale) -> Embeds:
        """Build the model with all that it can do (see `foveate.models.capabilities`)."""
        ...


@dataclass(frozen=True)
class ModelHandle:
    """A model by name, not yet tied to the bands of a pool; small, and picklable.

    Attributes:
        family: "builtin", "timm", ...
        name: Name inside the family; empty where the family is one model.
        tag: Which pretrained weights ("pretrained", "a1_in1k"), or empty.
        options: Keyword arguments for the model.
        weights: Local weights (a file, or a folder where the family reads folders), or empty.
        bands: 1-based bands that the user chose; empty for a decision at `bind`.
        scale: ``(low, high)`` per band that the user chose, or None.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        channels: Number of bands that the model takes; None for any.
        native_scale: ``(low, high)`` per band that the weights were trained with, for imagery in
            physical values (reflectance times 10,000); None where they do not say.
        pooling: "dense" for vectors with the mean and spread of tokens; see `DensePooling`.
        commit: What `tag` stands for on the hub, looked up once, so that every process builds the
            same; empty where the family does not look it up.
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
        """Write the name as a user would type it."""
        options = self.options | ({"pooling": self.pooling} if self.pooling else {})
        query = "&".join(f"{k}={_format_value(v)}" for k, v in options.items())
        text = self.family + (f":{self.name}" if self.name else "")
        return text + (f"@{self.tag}" if self.tag else "") + (f"?{query}" if query else "")


def parse_name(text: str) -> ModelHandle:
    """Read ``family[:name][@tag][?key=value&key=value]``.

    Values are read as JSON where they are JSON (numbers, true, false, null), else as text. The
    name of a tuned model is a folder, in which an "@" is no tag.

    Raises:
        ParameterError: The text has another form.
    """
    head, _, query = text.strip().partition("?")
    family, _, name = head.partition(":")
    tag = ""
    if family not in _FOLDERS:
        head, _, tag = head.partition("@")
        family, _, name = head.partition(":")
    if not family or (query and "=" not in query):
        raise ParameterError(
            f"{text!r} is no model name",
            "The form is family[:name][@tag][?key=value&key=value].",
            "For example builtin, timm:resnet18 or timm:mobilenetv2_100?pad_type=same.",
        )
    options = {key: _value(value) for key, value in parse_qsl(query, keep_blank_values=True)}
    pooling = str(options.pop("pooling", ""))
    return ModelHandle(family, name, tag, options, pooling=pooling)


def _format_value(value: Any) -> str:
    """Write the value of an option so that it is read as itself."""
    text = str(value)
    return "".join(f"%{ord(c):02X}" if c in _MARKS else c for c in text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
