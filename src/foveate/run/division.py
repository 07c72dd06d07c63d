"""Divide the rows of a pool into shards such that the pool can grow.

A shard consists of parts: each is a scene, a key derived from its pixels and windows, and a range
of its rows. Shards are immutable. New scenes get new shards, and existing shards keep their files
byte for byte. A shard with rows that are no longer in the pool is rewritten without them from its
own vectors, under a new number. So the files of a folder contain exactly the vectors of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from foveate.files import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class SceneRows(NamedTuple):
    """The rows of a pool that belong to one scene.

    Attributes:
        scene: Name of the scene.
        key: Hash of all inputs of the vectors except the model: pixels and windows.
        rows: Number of rows.
    """

    scene: str
    key: str
    rows: int


class Part(NamedTuple):
    """A contiguous range of rows of one scene.

    Attributes:
        scene: Name of the scene.
        key: Key of its `SceneRows`.
        start: First row within the scene.
        stop: Row after the last.
    """

    scene: str
    key: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


@dataclass(frozen=True)
class Shard:
    """One file of vectors.

    Attributes:
        number: Number in the file name.
        key: Hash of the content, also stored in the footer of the file.
        parts: Rows of the shard, in order; empty if only the number of shards is known.
    """

    number: int
    key: str
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, number: int, folder: str, parts: Iterable[Part]) -> Self:
        """Create a shard of `parts`; `folder` is the key of the embedding."""
        parts = tuple(parts)
        return cls(number, digest([folder, parts]), parts)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-serialisable dict."""
        return {"number": self.number, "key": self.key, "parts": [list(p) for p in self.parts]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Create from the dict of `to_dict`."""
        return cls(stored["number"], stored["key"], tuple(Part(*p) for p in stored["parts"]))


def divide(spans: Iterable[Part], size: int) -> list[tuple[Part, ...]]:
    """Split spans into pieces of `size` rows, in order; the last piece may be smaller."""
    pieces: list[tuple[Part, ...]] = []
    piece: list[Part] = []
    free = size
    for span in spans:
        rest = span
        while rest.rows > free:
            piece.append(rest._replace(stop=rest.start + free))
            rest = rest._replace(start=rest.start + free)
            pieces.append(tuple(piece))
            piece, free = [], size
        if rest.rows:
            piece.append(rest)
            free -= rest.rows
    return [*pieces, tuple(piece)] if piece else pieces


def lacking(scenes: Sequence[SceneRows], held: Iterable[Part]) -> list[Part]:
    """Return the spans of rows of `scenes` that no part of `held` contains."""
    ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for part in held:
        ranges.setdefault((part.scene, part.key), []).append((part.start, part.stop))
    spans = []
    for scene, key, rows in scenes:
        at = 0
        for start, stop in sorted(ranges.get((scene, key), ())):
            if start > at:
                spans.append(Part(scene, key, at, start))
            at = max(at, stop)
        if at < rows:
            spans.append(Part(scene, key, at, rows))
    return spans
