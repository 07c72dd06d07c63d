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


def unknown_name(
    kind: str, name: str, known: Iterable[str], listed: str = "Known"
) -> UnknownNameError:
    """Return the error of an unknown name.

    Args:
        kind: What the name should be ("method").
        name: The name.
        known: The known names.
        listed: The word before them.
    """
    names = list(known)
    return UnknownNameError(
        f"unknown {kind} {name!r}", f"{listed}: {', '.join(names)}.", suggest(name, names)
    )


def check_choice(option: str, given: object, allowed: Iterable[str], hint: str = "") -> None:
    """Check that an option has one of its allowed values.

    Args:
        option: Name of the option.
        given: Its value.
        allowed: The allowed values.
        hint: What to type instead if no allowed value is similar.

    Raises:
        ParameterError: The value is not allowed; the message suggests a similar one.
    """
    names = list(allowed)
    if given not in names:
        raise ParameterError(
            f"{option}={given!r}", f"Allowed: {', '.join(names)}.",
            suggest(str(given), names) or hint,
        )  # fmt: skip


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
            raise unknown_name(self.kind, name, self._entries)
        target: Any = self._entries[name]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = getattr(importlib.import_module(module), attribute)
            self._entries[name] = target
        return target
