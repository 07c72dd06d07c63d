"""Errors that say what was given, what is allowed and what to type instead.

Every error that a user can meet is a `FoveateError`. It carries three sentences; the command
line prints them as one paragraph, and ``--json`` prints them as an object. Each child also
derives from the built-in exception that a library user would catch.
"""

from __future__ import annotations


class FoveateError(Exception):
    """Base of all errors that foveate raises on purpose.

    Args:
        given: What was given or found, with its value.
        allowed: What is allowed, or what was expected.
        hint: What to type or do instead; empty when `allowed` already says it.
    """

    def __init__(self, given: str, allowed: str = "", hint: str = "") -> None:
        super().__init__(given, allowed, hint)
        self.given = given
        self.allowed = allowed
        self.hint = hint

    def __str__(self) -> str:
        """Join the three parts into one paragraph."""
        parts = (part.strip() for part in (self.given, self.allowed, self.hint))
        return " ".join(part if part[-1] in ".?!:" else f"{part}." for part in parts if part)

    def to_dict(self) -> dict[str, str]:
        """Return the error as plain strings, for ``--json``."""
        return {
            "error": type(self).__name__,
            "given": self.given,
            "allowed": self.allowed,
            "hint": self.hint,
            "message": str(self),
        }


class ParameterError(FoveateError, ValueError):
    """An option or argument has a value that cannot be used."""


class UnknownNameError(FoveateError, LookupError):
    """A name (method, model, export target, class) is not known."""


class BudgetError(FoveateError, ValueError):
    """A budget is malformed, buys nothing, or would be exceeded."""


class DataError(FoveateError, ValueError):
    """A file or array of the user's cannot be read or does not fit the others."""


class UnavailableError(DataError):
    """A file that may well be there cannot be had now: network, server, rights, credentials."""


class StorageError(FoveateError, OSError):
    """A result cannot be written: full disk, missing permission, run directory in use."""

    def __init__(self, given: str, allowed: str = "", hint: str = "") -> None:
        super().__init__(given, allowed, hint)
        # OSError takes three strings for an errno, its text and a file name.
        self.errno, self.strerror, self.filename = None, None, None

    def __str__(self) -> str:
        """Join the parts; OSError would format them as an errno pair."""
        return FoveateError.__str__(self)


class MissingExtraError(FoveateError, ImportError):
    """An optional dependency is not installed."""

    def __str__(self) -> str:
        """Join the parts; ImportError has its own formatting."""
        return FoveateError.__str__(self)


class MissingCapabilityError(FoveateError, TypeError):
    """A model cannot do what is asked of it (give tokens, embed text, answer, segment)."""


class MemoryLimitError(FoveateError, MemoryError):
    """A single image does not fit into the memory of the device."""
