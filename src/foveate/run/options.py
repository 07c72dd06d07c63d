"""Types of the fields of jobs: how a text becomes a value, and where an option stands in the help.

A field is ``name: Annotated[type, Option(...)] = default`` with a docstring. What a person types
and what a program passes are parsed by the same validators.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from foveate.errors import ParameterError
from foveate.files import refuse_empty
from foveate.location import absolute, is_url, locate

Panel = Literal["Input", "Model", "Method", "Training", "Output", "Expert"]


@dataclass(frozen=True)
class Option:
    """How a field stands on the command line.

    Attributes:
        panel: Section of the help.
        name: Of the option, where it is not that of the field: ``--method`` of ``methods``.
        default: What the help says of a default that is computed (None in the job).
        argument: Whether it is given by position, without a name.
        metavar: What stands for the value in the help.
        repeated: Whether the option may be repeated.
    """

    panel: Panel = "Expert"
    name: str = ""
    default: str = ""
    argument: bool = False
    metavar: str = ""
    repeated: bool = False


class IsPath:
    """Mark of a text that is a path or a URL: an empty one would be the current folder."""


def _path(given: Any) -> Any:
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if isinstance(text, str):
        refuse_empty(text, "path")
    if is_url(text):
        return str(locate(text))  # without credentials: a job is stored
    return text


def split(given: Any) -> Any:
    """Split texts at commas: of one text, or of each of several; other values stay as they are."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple) or not all(isinstance(part, str) for part in given):
        return given
    return [part.strip() for text in given for part in text.split(",") if part.strip()]


def _numbers(text: str, what: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        raise ParameterError(repr(text), f"Expected {what}, separated by commas.")
    return values


def _bands(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    values = _numbers(given, "whole numbers from 1")
    if not all(value == int(value) and value >= 1 for value in values):
        raise ParameterError(repr(given), "Expected whole numbers from 1, separated by commas.")
    return [int(value) for value in values]


def read_scale(given: Any) -> Any:
    """Read ``LOW,HIGH`` or ``LOW,HIGH,LOW,HIGH,...``, a pair for each band.

    Raises:
        ParameterError: An odd number of values, or LOW is not below HIGH.
    """
    if not isinstance(given, str):
        return given
    values = _numbers(given, "numbers")
    pairs = list(zip(values[::2], values[1::2], strict=False))
    if len(values) % 2 or any(low >= high for low, high in pairs):
        raise ParameterError(
            repr(given),
            "Expected LOW,HIGH with LOW below HIGH, once or once for each band.",
            "For example --scale 0,10000.",
        )
    return pairs


def assignments(given: Any, form: str = "NAME=VALUE", example: str = "") -> Any:
    """Read texts ``name=value`` into a dict, values as JSON where they are JSON.

    Raises:
        ParameterError: Another form.
    """
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        return given
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name and value):
            raise ParameterError(repr(text), f"The form is {form}.", f"Example: {example}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = None if value == "None" else value
    return found


def _box(given: Any) -> Any:
    return _numbers(given, "four numbers") if isinstance(given, str) else given


PathText = Annotated[str, BeforeValidator(_path), IsPath()]
AbsolutePath = Annotated[PathText, AfterValidator(absolute)]  # a run goes on from any folder
Names = Annotated[list[str], BeforeValidator(split)]
Bands = Annotated[list[int], BeforeValidator(_bands), Option("Model", metavar="4,3,2")]
Box = Annotated[list[float], BeforeValidator(_box)]
Scale = Annotated[
    list[tuple[float, float]], BeforeValidator(read_scale), Option("Model", metavar="LOW,HIGH")
]
