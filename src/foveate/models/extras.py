"""Which packages a family of models needs, and what to type where they are missing."""

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
    """Packages that a family of models needs.

    Attributes:
        name: The extra of foveate, or empty for the core.
        packages: What must be importable.
    """

    name: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the packages that are not installed here."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def why_not(self) -> str:
        """Say what is missing and how to install it; empty where nothing is."""
        missing = ", ".join(self.missing())
        return missing and f"not installed: {missing}. Type: pip install 'foveate[{self.name}]'"


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


# The smallest extra that has a package, for whatever is imported without having been declared.
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
    """Return the error that says what to install, where a package of an extra is missing."""
    package = (error.name or "").partition(".")[0]
    if package not in _OF_PACKAGE:
        return None
    return MissingExtraError(
        f"this needs {package}, which is not installed",
        "",
        f"Install with: pip install 'foveate[{_OF_PACKAGE[package]}]'.",
    )


def need_extra(extra: Extra, what: str = "this model") -> None:
    """Raise a clear error when an extra is not installed.

    Args:
        extra: Of `EXTRAS`, or made for the occasion.
        what: What needs it, for the message.

    Raises:
        MissingExtraError: A package is missing.
    """
    missing = extra.missing()
    if missing:
        raise MissingExtraError(
            f"{what} needs {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            "",
            f"Install with: pip install 'foveate[{extra.name}]'"
            + (", or use --model builtin." if what == "this model" else "."),
        )


def requires[**P, R](name: str, what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare what a function needs: it is checked before anything of it is done.

    Args:
        name: Of `EXTRAS`.
        what: What needs it, for the message.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            need_extra(EXTRAS[name], what)
            return function(*args, **kwargs)

        return checked

    return declare
