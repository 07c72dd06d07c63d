"""Texts as a person writes them: what is taken, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


def clean_texts(texts: Sequence[str]) -> list[str]:
    """Return texts as a list, each with single spaces and none around it.

    Args:
        texts: One text or more, as `foveate.models.capabilities.EmbedsText` takes them.

    Raises:
        DataError: It is no list of texts, or an empty one.
    """
    listed = [] if isinstance(texts, str) else list(texts)
    if not listed or not all(isinstance(text, str) for text in listed):
        raise DataError(
            f"{texts!r:.80} for texts",
            "Expected a list of one text or more.",
            "For example ['a dense forest', 'a river'].",
        )
    return [" ".join(text.split()) for text in listed]
