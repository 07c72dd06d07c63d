"""What a run came to, in words: one rule for all pages and prints.

A headline says what was shown. "Better" and "worse" stand only for a difference from a baseline
whose interval excludes 0 after Holm's correction (`foveate.stats.verdict`); where random tiles,
tiling, the whole image, a constant answer or nothing at all does as well, the headline says that;
where nothing was compared, it claims nothing. All functions here take results as plain numbers and
return text, and pages and the command line show the same text.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Headline", "plain"]

# Typographic marks, and what stands for them in a terminal that may know ASCII only.
_ASCII = str.maketrans({
    "\u202f": " ", "\u00a0": " ", "\u2013": "-", "\u2212": "-", "\u00d7": "x", "\u2026": "...",
    "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2192": "->", "\u00b2": "2",
    "\u00b7": "-",
})  # fmt: skip


class Headline(NamedTuple):
    """What a run came to.

    Attributes:
        text: What was shown, with its most important caveat: one sentence without a full stop.
        notes: The figures behind it and further caveats, as sentences, the most important first.
    """

    text: str
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The same for a terminal, a sentence a line."""
        return [plain(self.text), *map(plain, self.notes)]


def plain(text: str) -> str:
    """Return text with simple marks in place of typographic ones, for a terminal."""
    return text.translate(_ASCII)
