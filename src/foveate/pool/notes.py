"""`Note`: something about imagery that its reader should know and that is no reason to stop.

Opening and scanning a pool collect notes. They are printed as warnings, kept with the run,
shown in its report, and listed by ``foveate inspect``.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Topic = Literal["files", "pairing", "validity", "values", "place", "classes"]

logger = logging.getLogger("foveate")


@dataclass(frozen=True)
class Note:
    """One warning about imagery.

    Attributes:
        topic: What it is about: which files are read, how they pair, which pixels are valid,
            what stored values mean, where a raster lies, or what the classes are.
        text: What was found, with its numbers and the first name: one sentence without the
            full stop.
        hint: What to type or do, or "".
        items: Names of the files or scenes that it is about, for lists; may be empty.
    """

    topic: Topic
    text: str
    hint: str = ""
    items: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return text and hint as sentences."""
        sentences = (part.strip() for part in (self.text, self.hint))
        return " ".join(s if s[-1] in ".?!:" else f"{s}." for s in sentences if s)

    def to_dict(self) -> dict[str, Any]:
        """Return the note JSON-ready."""
        return {**asdict(self), "items": list(self.items)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the note that `to_dict` was made of."""
        return cls(content["topic"], content["text"], content["hint"], tuple(content["items"]))


def warn(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Log notes as warnings, and return them."""
    notes = tuple(notes)
    for note in notes:
        logger.warning("%s", note)
    return notes
