"""Names and what they stand for, imported only when asked for.

The one place that turns a wrong name into "did you mean ...".
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the nearest known name, or an empty string."""
    spelled = {entry.lower(): entry for entry in known}
    matches = difflib.get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.5)
    return f"Did you mean {spelled[matches[0]]!r}?" if matches else ""


class Registry[T]:
    """Maps names to objects or to lazy import strings ``"module:attribute"``.

    Args:
        kind: What the names stand for, as the error text calls it ("method", "model").
        entries: Name -> object, or ``"package.module:attribute"`` imported on first use.
    """

    def __init__(self, kind: str, entries: dict[str, T | str] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T | str] = dict(entries or {})

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of registration."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        """Say whether `name` is registered."""
        return name in self._entries

    def register(self, name: str, target: T | str) -> None:
        """Add an entry.

        Raises:
            ParameterError: The name is taken.
        """
        if name in self._entries:
            raise ParameterError(
                f"the {self.kind} {name!r} is registered already",
                hint="Choose another name.",
            )
        self._entries[name] = target

    def get(self, name: str) -> T:
        """Return what `name` stands for, importing it if need be.

        Raises:
            UnknownNameError: No such name; the message suggests the nearest one.
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
