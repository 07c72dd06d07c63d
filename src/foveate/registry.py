"""Registries of named objects with lazy imports, and suggestions for misspelled names."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` for the most similar known name, or an empty string."""
    spelled = {entry.lower(): entry for entry in known}
    matches = difflib.get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.5)
    return f"Did you mean {spelled[matches[0]]!r}?" if matches else ""


class Registry[T]:
    """Mapping from names to objects or lazy import strings ``"module:attribute"``.

    Args:
        kind: Kind of the objects in error messages ("method", "model").
        entries: Name -> object, or ``"package.module:attribute"`` imported on first use.
    """

    def __init__(self, kind: str, entries: dict[str, T | str] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T | str] = dict(entries or {})

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of registration."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        """Return whether `name` is registered."""
        return name in self._entries

    def register(self, name: str, target: T | str) -> None:
        """Add an entry.

        Raises:
            ParameterError: The name is already registered.
        """
        if name in self._entries:
            raise ParameterError(
                f"the {self.kind} {name!r} is already registered",
                hint="Choose another name.",
            )
        self._entries[name] = target

    def get(self, name: str) -> T:
        """Return the object of a name, importing it if necessary.

        Raises:
            UnknownNameError: The name is unknown; the message suggests a similar name.
        """
        if name not in self._entries:
            raise UnknownNameError(
                f"unknown {self.kind} {name!r}",
                f"Known: {', '.join(self._entries)}.",
                suggest(name, self._entries),
            )
        target: Any = self._entries[name]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = getattr(importlib.import_module(module), attribute)
            self._entries[name] = target
        return target
