"""Numbers with their nouns in messages: 1 tile, 2 tiles."""

from __future__ import annotations


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    Args:
        number: The number, formatted without separators.
        one: The noun in the singular; it may include words around it ("tile has").
        many: The noun for other numbers; by default `one` with an s.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
