"""Optional dependencies of model families, and the errors if they are missing."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveate.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Extra:
    """Packages required by a family of models.

    Attributes:
        name: Extra of foveate, or empty for the core.
        packages: Packages that must be importable.
    """

    name: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def why_not(self) -> str:
        """Return the missing packages and how to install them; empty if none is missing."""
        missing = ", ".join(self.missing())
        return missing and f"not installed: {missing}. Run: pip install 'foveate[{self.name}]'"


EXTRAS: dict[str, Extra] = {
    "builtin": Extra(),
    "timm": Extra("models", ("torch", "timm", "safetensors")),
    "open_clip": Extra("models", ("torch", "open_clip", "safetensors")),
    "hf": Extra("hf", ("torch", "transformers", "safetensors")),
    "torchgeo": Extra("torchgeo", ("torch", "timm", "torchgeo", "safetensors")),
    "tuned": Extra("models", ("torch", "safetensors")),
    "callable": Extra(),
    "features": Extra(),
    "observe": Extra("observe", ("torch",)),
    "unet": Extra("models", ("torch", "timm", "segmentation_models_pytorch")),
    "osm": Extra("osm", ("osmium",)),
    "vector": Extra("osm", ("pyogrio",)),
}


# The smallest extra with each package, for imports without a declared extra.
_OF_PACKAGE = {
    "torch": "observe",
    "torchvision": "models",
    "timm": "models",
    "open_clip": "models",
    "transformers": "hf",
    "tokenizers": "hf",
    "segmentation_models_pytorch": "models",
    "torchgeo": "torchgeo",
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error for a missing package of an extra; None for other packages."""
    package = (error.name or "").partition(".")[0]
    if package not in _OF_PACKAGE:
        return None
    return MissingExtraError(
        f"this requires {package}, which is not installed",
        "",
        f"Install it with: pip install 'foveate[{_OF_PACKAGE[package]}]'.",
    )


def need_extra(extra: Extra, what: str = "this model") -> None:
    """Raise an error if packages of an extra are not installed.

    Args:
        extra: An entry of `EXTRAS`, or another.
        what: Feature that requires it, for the message.

    Raises:
        MissingExtraError: A package is missing.
    """
    missing = extra.missing()
    if missing:
        raise MissingExtraError(
            f"{what} requires {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            "",
            f"Install with: pip install 'foveate[{extra.name}]'"
            + (", or use --model builtin." if what == "this model" else "."),
        )


def requires[**P, R](name: str, what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the extra that a function requires; it is checked before each call.

    Args:
        name: Key of `EXTRAS`.
        what: Feature that requires it, for the message.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            need_extra(EXTRAS[name], what)
            return function(*args, **kwargs)

        return checked

    return declare
