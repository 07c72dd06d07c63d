"""Field types of jobs: parsers of option values, and their place in the help.

A field is ``name: Annotated[type, Option(...)] = default`` with a docstring. The same validators
parse command line options and Python arguments.
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
    """How a field appears on the command line.

    Attributes:
        panel: Section of the help.
        name: Name of the option if it differs from the field: ``method`` for the field ``methods``.
        default: Description of a computed default (None in the job) for the help.
        argument: Whether the field is a positional argument.
        metavar: Placeholder of the value in the help.
        repeated: Whether the option may be repeated.
    """

    panel: Panel = "Expert"
    name: str = ""
    default: str = ""
    argument: bool = False
    metavar: str = ""
    repeated: bool = False


class IsPath:
    """Marker for text fields that contain a path or a URL."""


def _path(value: Any) -> Any:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(text, str):
        refuse_empty(text, "path")  # "" would be the current folder
    if is_url(text):
        return str(locate(text))  # without credentials, because the job is stored
    return text


def split(value: Any) -> Any:
    """Split a string, or each string of a list, at commas; return other values unchanged."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        return value
    return [name.strip() for text in value for name in text.split(",") if name.strip()]


def _numbers(text: str, what: str) -> list[float]:
    try:
        values = [float(number) for number in text.split(",") if number.strip()]
    except ValueError:
        values = [math.nan]
    if not values or not all(math.isfinite(value) for value in values):
        raise ParameterError(repr(text), f"Expected {what}, separated by commas.")
    return values


def _bands(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    numbers = _numbers(value, "whole numbers from 1")
    if not all(number == int(number) and number >= 1 for number in numbers):
        raise ParameterError(repr(value), "Expected whole numbers from 1, separated by commas.")
    return [int(number) for number in numbers]


def read_scale(given: Any) -> Any:
    """Parse ``LOW,HIGH`` or ``LOW,HIGH,LOW,HIGH,...``, one pair for each band.

    Raises:
        ParameterError: The number of values is odd, or not LOW < HIGH.
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
    """Parse strings ``name=value`` to a dict; values that are valid JSON are decoded.

    Raises:
        ParameterError: A string has another form.
    """
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        return given
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = (piece.strip() for piece in text.partition("="))
        if not (equals and name and value):
            raise ParameterError(repr(text), f"The form is {form}.", f"Example: {example}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = None if value == "None" else value
    return values


def _box(value: Any) -> Any:
    return _numbers(value, "four numbers") if isinstance(value, str) else value


PathText = Annotated[str, BeforeValidator(_path), IsPath()]
AbsolutePath = Annotated[PathText, AfterValidator(absolute)]  # a run can be resumed from any folder
Names = Annotated[list[str], BeforeValidator(split)]
Bands = Annotated[list[int], BeforeValidator(_bands), Option("Model", metavar="4,3,2")]
Box = Annotated[list[float], BeforeValidator(_box)]
Scale = Annotated[
    list[tuple[float, float]], BeforeValidator(read_scale), Option("Model", metavar="LOW,HIGH")
]
