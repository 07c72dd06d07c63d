"""How the rows of a pool are divided into shards, so that an archive can grow.

A shard holds parts of scenes: a scene, a key made of its pixels and windows, and a span of its
rows. What a shard holds never changes. Scenes that are new get new shards; the others keep theirs,
byte for byte. A shard with rows that are wanted no more is written again without them, under a new
number, from its own vectors: the files of a folder are the vectors of the pool, no more and no
fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from foveate.files import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class SceneRows(NamedTuple):
    """The rows of a pool that are tiles of one scene.

    Attributes:
        scene: Its name.
        key: Hash of everything that their vectors depend on but the model: pixels and windows.
        rows: How many they are.
    """

    scene: str
    key: str
    rows: int


class Part(NamedTuple):
    """A span of the rows of one scene.

    Attributes:
        scene: Name of the scene.
        key: That of its `SceneRows`.
        start: First row, counted within the scene.
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
        number: Its number, which is in the name of the file.
        key: Hash of everything that it holds; stands in the footer of the file.
        parts: Which rows it holds, in their order; empty where shards are counted and no more.
    """

    number: int
    key: str
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, number: int, folder: str, parts: Iterable[Part]) -> Self:
        """Make the shard of some parts in the folder of a key."""
        held = tuple(parts)
        return cls(number, digest([folder, held]), held)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {"number": self.number, "key": self.key, "parts": [list(p) for p in self.parts]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Read it back."""
        return cls(stored["number"], stored["key"], tuple(Part(*p) for p in stored["parts"]))


def divide(spans: Iterable[Part], size: int) -> list[tuple[Part, ...]]:
    """Cut spans of rows into pieces of `size` rows, in their order; the last may have fewer."""
    pieces: list[tuple[Part, ...]] = []
    held: list[Part] = []
    room = size
    for span in spans:
        rest = span
        while rest.rows > room:
            held.append(rest._replace(stop=rest.start + room))
            rest = rest._replace(start=rest.start + room)
            pieces.append(tuple(held))
            held, room = [], size
        if rest.rows:
            held.append(rest)
            room -= rest.rows
    return [*pieces, tuple(held)] if held else pieces


def lacking(scenes: Sequence[SceneRows], held: Iterable[Part]) -> list[Part]:
    """Return the spans of rows that are in none of the parts that are held."""
    there: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for part in held:
        there.setdefault((part.scene, part.key), []).append((part.start, part.stop))
    spans = []
    for scene, key, rows in scenes:
        at = 0
        for start, stop in sorted(there.get((scene, key), ())):
            if start > at:
                spans.append(Part(scene, key, at, start))
            at = max(at, stop)
        if at < rows:
            spans.append(Part(scene, key, at, rows))
    return spans
