"""Exceptions with three parts: the given value, the allowed values, and a hint.

All errors for users are a `FoveateError`. The command line prints the three parts as one paragraph,
and ``--json`` prints them as an object. Each subclass also derives from the corresponding built-in
exception.
"""

from __future__ import annotations


class FoveateError(Exception):
    """Base class of all errors that foveate raises.

    Args:
        given: The given or found value.
        allowed: The allowed or expected values.
        hint: What to type or do instead; empty if it is clear from `allowed`.
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
        """Return the error as a dict of strings, for ``--json``."""
        return {
            "error": type(self).__name__,
            "given": self.given,
            "allowed": self.allowed,
            "hint": self.hint,
            "message": str(self),
        }


class ParameterError(FoveateError, ValueError):
    """The value of an option or argument is invalid."""


class UnknownNameError(FoveateError, LookupError):
    """A name (method, model, export target, class) is unknown."""


class BudgetError(FoveateError, ValueError):
    """A budget is malformed, is less than one tile, or would be exceeded."""


class DataError(FoveateError, ValueError):
    """A file or array of the user cannot be read or does not match the others."""


class UnavailableError(DataError):
    """A file cannot be accessed now (network, server, permissions, credentials); it may exist."""


class StorageError(FoveateError, OSError):
    """A result cannot be written: full disk, missing permission, run directory in use."""

    def __init__(self, given: str, allowed: str = "", hint: str = "") -> None:
        super().__init__(given, allowed, hint)
        # OSError interprets three arguments as errno, its text and a file name.
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
    """A model has no such capability (tokens, text embeddings, answers, segmentation)."""


class MemoryLimitError(FoveateError, MemoryError):
    """A single image does not fit into the memory of the device."""
