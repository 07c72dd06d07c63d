"""Texts as a person writes them, and the files that turn them into numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.files import digest, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# What save_pretrained and its predecessors call the parts of a tokenizer.
_TOKENIZER = ("tokenizer*", "vocab*", "merges*", "special_tokens*", "added_tokens*", "*.model")


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


def tokenizer_hash(folder: Path) -> str:
    """Return a hash of the files of a tokenizer, for `TextSpec.fingerprint`.

    Args:
        folder: Where they are, beside others or not.
    """
    files = sorted({file for pattern in _TOKENIZER for file in folder.glob(pattern)})
    return digest([[file.name, fingerprint(file)] for file in files])
