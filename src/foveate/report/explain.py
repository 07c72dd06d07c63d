"""Explanations of terms, methods, goals and modes, from ``explain.yaml``."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from foveate.report.blocks import Pairs


def terms(*names: str) -> Pairs:
    """Return a block that explains some terms."""
    found = _explained()["terms"]
    return Pairs([(found[name]["title"], found[name]["text"]) for name in names], "guide")


def method(name: str) -> tuple[str, str] | None:
    """Return the criterion and the limitations of a method of `curate`; None if not known."""
    found = _explained()["methods"].get(name)
    return (found[0], found[1]) if found else None


def goal(name: str) -> str:
    """Return the regions that a goal of `focus` selects; "" if not known."""
    return _explained()["goals"].get(name, "")


def mode(name: str) -> str:
    """Return the resolution and limitations of a mode of `focus`; "" if not known."""
    return _explained()["modes"].get(name, "")


@functools.cache
def _explained() -> dict[str, Any]:
    import yaml

    file = resources.files("foveate.report") / "explain.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))
