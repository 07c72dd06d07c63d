"""Numbers with their nouns in messages: 1 tile, 2 tiles."""

from __future__ import annotations


def plural(number: int, one: str, many: str = "", *, separators: bool = False) -> str:
    """Return a number with its noun.

    Args:
        number: The number.
        one: The noun in the singular; it may include words around it ("tile has").
        many: The noun for other numbers; by default `one` with an s.
        separators: Whether thousands are separated: 12,345.
    """
    digits = f"{number:,}" if separators else str(number)
    return f"{digits} {one if number == 1 else many or one + 's'}"


def part(number: int, total: int, noun: str, one: str, many: str) -> str:
    """Return a number of a total with a verb: 1 of 4 tiles has, 2 of 4 tiles have.

    Args:
        number: Number of things with a property.
        total: Number of all things.
        noun: Their name in the singular.
        one: The verb, and what follows, of one thing.
        many: The same of several.
    """
    return f"{number} of {plural(total, noun)} {one if number == 1 else many}"
