"""`Note`: a warning about imagery.

Notes are collected when a pool is opened and scanned. They are printed as warnings, stored with the
run, shown in its report, and listed by ``foveate inspect``.
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
        topic: "files" (files that are read), "pairing", "validity" (valid pixels), "values"
            (meaning of stored values), "place" (georeference) or "classes".
        text: The observation, with numbers and the first name: one sentence without the full stop.
        hint: What to type or do, or "".
        items: Names of the files or scenes concerned, for lists; may be empty.
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
        """Create a note from the result of `to_dict`."""
        return cls(content["topic"], content["text"], content["hint"], tuple(content["items"]))


def warn(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Log notes as warnings, and return them."""
    notes = tuple(notes)
    for note in notes:
        logger.warning("%s", note)
    return notes
