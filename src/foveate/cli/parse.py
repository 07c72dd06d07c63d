"""From the strings of the command line to a job."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.classify import ClassifyJob
    from foveate.curate import CurateJob


def curate_job(
    *, preset: str, methods: Sequence[str] | None, options: Sequence[str] | None, **rest: Any
) -> CurateJob:
    """Make a curate job from what was typed.

    Raises:
        ParameterError: Something cannot be read, or a value is out of range.
    """
    from foveate.curate import METHODS, CurateJob

    typed = [name.strip() for text in methods or () for name in text.split(",")]
    names = [name for name in typed if name]
    given = {
        "methods": list(METHODS) if "all" in names else names if methods else None,
        "options": method_options(options or ()),
    }
    return CurateJob.with_preset(preset, **given, **imagery(**rest))


def classify_job(*, labels: str, **rest: Any) -> ClassifyJob:
    """Make a classify job from what was typed.

    Raises:
        ParameterError: Something cannot be read, or a value is out of range.
    """
    from foveate.classify import ClassifyJob
    from foveate.models.heads import labels_from

    return ClassifyJob(labels=list(labels_from(labels)) if labels else [], **imagery(**rest))


def imagery(
    *, images: Sequence[Path], bands: str, scale: str, stack: str,
    masks: Sequence[Path] | None = None, extra: Sequence[Path] | None = None, **rest: Any,
) -> dict[str, Any]:  # fmt: skip
    """Read what all jobs have in common; what was not typed (None) is left out.

    Raises:
        ParameterError: Something cannot be read.
    """
    given: dict[str, Any] = {
        "images": [str(p) for p in images],
        "masks": [str(p) for p in masks or ()],
        "extra": [str(p) for p in extra or ()],
        "bands": [int(b) for b in numbers(bands, "bands", whole=True)],
        "scale": scale_pairs(scale),
        "stack": [part.strip() for part in stack.split(",") if part.strip()],
    }
    for name, value in rest.items():
        if value is not None:
            given[name] = value if isinstance(value, int | float | str) else str(value)
    return given


def numbers(text: str, name: str, *, whole: bool = False) -> list[float]:
    """Read numbers separated by commas.

    Raises:
        ParameterError: A part is no finite number, or not a whole one of at least 1 where asked.
    """
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(v) and (not whole or (v == int(v) and v >= 1)) for v in values):
        kind = "whole numbers from 1" if whole else "numbers"
        raise ParameterError(f"--{name} {text!r}", f"Expected {kind}, separated by commas.")
    return values


def scale_pairs(text: str) -> list[tuple[float, float]]:
    """Read ``LOW,HIGH`` or ``LOW,HIGH,LOW,HIGH,...``, a pair for each band.

    Raises:
        ParameterError: An odd number of values, or LOW is not below HIGH.
    """
    values = numbers(text, "scale")
    pairs = list(zip(values[::2], values[1::2], strict=False))
    if len(values) % 2 or any(low >= high for low, high in pairs):
        raise ParameterError(
            f"--scale {text!r}",
            "Expected LOW,HIGH with LOW below HIGH, once or once for each band.",
            "For example --scale 0,10000.",
        )
    return pairs


def method_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``method.option=value``, values as JSON where they are JSON.

    Raises:
        ParameterError: Another form.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        method, dot, option = name.partition(".")
        if not (equals and dot and method and option):
            raise ParameterError(
                f"--option {text!r}", "The form is METHOD.OPTION=VALUE.", "Example: fd.max_k=20"
            )
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None if value == "None" else value
        options.setdefault(method, {})[option] = parsed
    return options


def form_options(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` of a goal's forms and weights, values as JSON where they are JSON.

    Raises:
        ParameterError: Another form.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name and value):
            raise ParameterError(
                f"--option {text!r}", "The form is NAME=VALUE.", "Example: synergy=paper"
            )
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options
