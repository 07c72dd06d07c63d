"""Parsing of methods, their options, quotas and lists."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from foveate.curate.methods import METHODS
from foveate.errors import ParameterError
from foveate.run.options import assignments, split


def _methods(given: Any) -> Any:
    """Split names at commas; "all" is all methods without required options or extra inputs."""
    names = split(given)
    if not isinstance(names, list) or "all" not in names:
        return names
    every = METHODS.ready()
    return [*every, *(name for name in names if name not in ("all", *every))]


def _method_options(given: Any) -> Any:
    """Parse ``METHOD.OPTION=VALUE`` to method -> option -> value."""
    if isinstance(given, dict):
        return given
    form, example = "METHOD.OPTION=VALUE", "fd.max_k=20"
    found: dict[str, dict[str, Any]] = {}
    for name, value in assignments(given, form, example).items():
        method, dot, option = name.partition(".")
        if not (dot and method and option):
            raise ParameterError(repr(name), f"Expected {form}.", f"For example {example}.")
        found.setdefault(method, {})[option] = value
    return found


def _quotas(given: Any) -> Any:
    """Parse ``COLUMN=AMOUNT``."""
    if isinstance(given, dict):
        return {str(name): str(amount) for name, amount in given.items()}
    found = assignments(given, "COLUMN=SHARE or COLUMN=NUMBER", "scene=20%")
    return _quotas(found) if isinstance(found, dict) else found


def _lists(given: Any) -> Any:
    """Parse ``NAME=FILE``."""
    if isinstance(given, dict):
        return {str(name): str(path) for name, path in given.items()}
    found = assignments(given, "NAME=FILE", "lightly=picks-{fold}.csv")
    return _lists(found) if isinstance(found, dict) else found


MethodNames = Annotated[list[str], BeforeValidator(_methods)]
MethodOptions = Annotated[dict[str, dict[str, Any]], BeforeValidator(_method_options)]
Quotas = Annotated[dict[str, str], BeforeValidator(_quotas)]
Lists = Annotated[dict[str, str], BeforeValidator(_lists)]
