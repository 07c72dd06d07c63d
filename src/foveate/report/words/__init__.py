"""Headlines: the results of a run in sentences, identical on the page and in the terminal.

A headline states the main result. "Better" and "worse" are used only for a difference from a
baseline whose interval excludes 0 after Holm's correction (`foveate.stats.verdict`). A headline
states when a trivial baseline (random tiles, tiling, the whole image, a constant answer) is not
significantly worse, and makes no claim when nothing was compared. All functions of this package
take results as plain numbers and return text.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Headline", "plain"]

# ASCII replacements of typographic characters, for terminals without Unicode.
_ASCII = str.maketrans({
    "\u202f": " ", "\u00a0": " ", "\u2013": "-", "\u2212": "-", "\u00d7": "x", "\u2026": "...",
    "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2192": "->", "\u00b2": "2",
    "\u00b7": "-",
})  # fmt: skip


class Headline(NamedTuple):
    """The main result of a run and its notes.

    Attributes:
        text: The result with its most important caveat: one sentence without a full stop.
        notes: Supporting figures and further caveats, as sentences, the most important first.
    """

    text: str
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """Text and notes in ASCII punctuation, one sentence per line."""
        return [plain(self.text), *map(plain, self.notes)]


def plain(text: str) -> str:
    """Return text with typographic characters replaced by ASCII, for a terminal."""
    return text.translate(_ASCII)
