"""Concepts: what an observation is for, and how it is known that a tile shows it.

A concept has texts for a model that reads, classes of masks or kinds of objects for what is true,
and rules for which tiles it counts in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveate.errors import ParameterError
from foveate.models.heads import is_file, labels_of, read_names
from foveate.registry import suggest

_FIELDS = ("texts", "weight", "classes", "min_share", "min_gsd", "novel")
_FORM = "'name: text', 'name: [text, text]' or 'name: {texts: [...], weight: 2}'"
_EXAMPLE = "--concepts forest,water,road"
_OWN = ("",)  # stands for the name itself
_SUFFIXES = (".txt", ".yaml", ".yml", ".toml", ".json")


@dataclass(frozen=True)
class Concept:
    """One thing to be found.

    Attributes:
        name: Unique name.
        texts: What it is called in prompts; the name, with spaces for underscores, when empty.
        weight: Of its gain, >= 0.
        classes: Classes of the masks, or kinds of the objects, that make it; its own name when not
            given. Empty: it is not known where it is.
        min_share: Smallest share of a tile's labelled pixels under those classes at which the
            tile shows it, above 0 up to 1.
        min_gsd: Metres; imagery this fine or finer suffices to see it. None: only high resolution
            tells.
        novel: Whether it is held out from training and evaluated apart.

    Raises:
        ParameterError: A value out of range.
    """

    name: str
    texts: tuple[str, ...] = ()
    weight: float = 1.0
    classes: tuple[str, ...] = _OWN
    min_share: float = 0.02
    min_gsd: float | None = None
    novel: bool = False

    def __post_init__(self) -> None:
        """Fill in the texts, and check the numbers."""
        texts = tuple(self.texts) or (self.name.replace("_", " "),)
        object.__setattr__(self, "texts", texts)
        classes = (self.name,) if self.classes == _OWN else tuple(self.classes)
        object.__setattr__(self, "classes", classes)
        self._need("weight", "a number of at least 0", ok=_number(self.weight) and self.weight >= 0)
        share = _number(self.min_share) and 0 < self.min_share <= 1
        self._need("min_share", "a share above 0 and up to 1", ok=share)
        gsd = self.min_gsd is None or (_number(self.min_gsd) and self.min_gsd > 0)
        self._need("min_gsd", "metres above 0, or nothing", ok=gsd)
        self._need("novel", "true or false", ok=isinstance(self.novel, bool))
        words = all(isinstance(c, str) and c.strip() for c in self.classes)
        self._need("classes", "names of mask classes or kinds of objects", ok=words)

    def _need(self, field: str, allowed: str, *, ok: bool) -> None:
        if not ok:
            raise ParameterError(
                f"the concept {self.name!r} has {field} = {getattr(self, field)!r}",
                f"It is {allowed}.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the concept as plain values; `concepts_of` reads them back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def concepts_of(
    given: Sequence[str | Mapping[str, Any]] | Mapping[str, Any],
) -> tuple[Concept, ...]:
    """Return concepts from names, from entries, or from a mapping.

    Args:
        given: A list of names, or of mappings with a ``name``; or a mapping from each name to its
            texts (a text, or several), or to any of ``texts, weight, classes, min_share, min_gsd,
            novel``. Where ``classes`` is not given it is the name itself.

    Raises:
        ParameterError: There is none, two names are one, none of them weighs anything, or an
            entry cannot be read (named).
    """
    entries = _entries(given)
    if not entries:
        raise ParameterError("no concepts", "Say what is to be found.", _EXAMPLE)
    names = [name for name, _ in entries]
    if len(names) == len(set(map(repr, names))):
        texts: Any = {name: _fields(name, value).get("texts") for name, value in entries}
        labels = labels_of(texts)
    else:
        labels = labels_of(names)  # which says what the twins are
    found = tuple(
        _concept(name, texts, _fields(raw, value))
        for (name, texts), (raw, value) in zip(labels.items(), entries, strict=True)
    )
    if not any(concept.weight for concept in found):
        raise ParameterError(
            "the concepts all have weight 0", "One of them at least weighs something."
        )
    return found


def concepts_from(source: str | Path) -> tuple[Concept, ...]:
    """Read concepts as they are typed, or from a file.

    Args:
        source: Names separated by commas; or a file: one name a line (``#`` starts a comment), or
            YAML, TOML or JSON with what `concepts_of` takes.

    Raises:
        ParameterError: See `concepts_of`; the file and the entry are named.
        DataError: The file cannot be read.
    """
    typed = isinstance(source, str) and not source.endswith(_SUFFIXES) and not is_file(source)
    if typed:
        parts = [part.strip() for part in str(source).split(",")]
        return concepts_of(parts if any(parts) else [])
    path = Path(source)
    return read_names(path, concepts_of, "concepts", _FORM)


def _entries(given: Any) -> list[tuple[Any, Any]]:
    """Return (name, what is said of it) for each entry."""
    if isinstance(given, Mapping):
        return list(given.items())
    entries: list[tuple[Any, Any]] = []
    for number, entry in enumerate(given, 1):
        if isinstance(entry, str) and not entry.strip():
            raise ParameterError(
                f"the concept number {number} is empty", "A concept is a name.", _EXAMPLE
            )
        if not isinstance(entry, Mapping):
            entries.append((entry, None))
            continue
        rest = dict(entry)
        name = rest.pop("name", None)
        if name is None:
            raise ParameterError(
                f"the concept number {number} has no name: {dict(entry)!r}",
                "An entry of a list is a name, or a mapping with a 'name'.",
                "- {name: forest, weight: 2}",
            )
        entries.append((name, rest))
    return entries


def _fields(name: Any, value: Any) -> dict[str, Any]:
    """Return what an entry says as field -> value.

    Raises:
        ParameterError: It says something that a concept does not have.
    """
    if not isinstance(value, Mapping):
        return {} if value is None else {"texts": value}
    for key in value:
        if key not in _FIELDS:
            raise ParameterError(
                f"the concept {name!r} has {key!r}",
                f"A concept has {', '.join(_FIELDS)}.",
                suggest(str(key), _FIELDS),
            )
    return dict(value)


def _concept(name: str, texts: tuple[str, ...], fields: dict[str, Any]) -> Concept:
    classes = fields.pop("classes", None)
    if classes is None:
        classes = (name,)
    elif isinstance(classes, str):
        classes = (classes,)
    elif not isinstance(classes, list | tuple):
        raise ParameterError(
            f"the concept {name!r} has classes = {classes!r}",
            "Classes are a name or a list of names.",
        )
    fields.pop("texts", None)
    return Concept(name, texts, classes=tuple(classes), **fields)


def _number(value: Any) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and math.isfinite(value)
