"""How methods and their options are typed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from foveate.curate.methods import METHODS
from foveate.errors import ParameterError
from foveate.run.options import assignments, split


def _methods(given: Any) -> Any:
    """Read names with commas; "all" is every method."""
    names = split(given)
    return list(METHODS) if isinstance(names, list) and "all" in names else names


def _method_options(given: Any) -> Any:
    """Read texts ``METHOD.OPTION=VALUE`` as method -> option -> value."""
    if isinstance(given, dict):
        return given
    form, example = "METHOD.OPTION=VALUE", "fd.max_k=20"
    found: dict[str, dict[str, Any]] = {}
    for name, value in assignments(given, form, example).items():
        method, dot, option = name.partition(".")
        if not (dot and method and option):
            raise ParameterError(repr(name), f"The form is {form}.", f"Example: {example}")
        found.setdefault(method, {})[option] = value
    return found


MethodNames = Annotated[list[str], BeforeValidator(_methods)]
MethodOptions = Annotated[dict[str, dict[str, Any]], BeforeValidator(_method_options)]
