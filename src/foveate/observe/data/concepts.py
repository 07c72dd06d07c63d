"""Concepts: names of things to find, with prompts and ground truth.

A concept has texts (prompts of a vision-language model), classes of masks or kinds of objects (its
ground truth), and rules that decide whether it is present in a tile.
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
_OWN_NAME = ("",)  # placeholder: the name of the concept is its class
_SUFFIXES = (".txt", ".yaml", ".yml", ".toml", ".json")


@dataclass(frozen=True)
class Concept:
    """A kind of thing to find in imagery.

    Attributes:
        name: Unique name.
        texts: Names in prompts; if empty, the name with spaces for underscores.
        weight: Weight of its gain, >= 0.
        classes: Classes of the masks, or kinds of the objects, of the concept; by default its
            name. Empty: the concept has no ground truth.
        min_share: Smallest share, in (0, 1], of a tile's labelled pixels with those classes for the
            concept to be present in the tile.
        min_gsd: Coarsest GSD in metres at which the concept is visible. None: it is visible in high
            resolution only.
        novel: Whether the concept is excluded from training and evaluated separately.

    Raises:
        ParameterError: A value is out of range.
    """

    name: str
    texts: tuple[str, ...] = ()
    weight: float = 1.0
    classes: tuple[str, ...] = _OWN_NAME
    min_share: float = 0.02
    min_gsd: float | None = None
    novel: bool = False

    def __post_init__(self) -> None:
        """Set default texts and classes, and validate the fields."""
        texts = tuple(self.texts) or (self.name.replace("_", " "),)
        object.__setattr__(self, "texts", texts)
        classes = (self.name,) if self.classes == _OWN_NAME else tuple(self.classes)
        object.__setattr__(self, "classes", classes)
        self._check("weight", "a number >= 0", ok=_is_number(self.weight) and self.weight >= 0)
        share = _is_number(self.min_share) and 0 < self.min_share <= 1
        self._check("min_share", "a share > 0 and <= 1", ok=share)
        gsd = self.min_gsd is None or (_is_number(self.min_gsd) and self.min_gsd > 0)
        self._check("min_gsd", "a number of metres > 0, or null", ok=gsd)
        self._check("novel", "true or false", ok=isinstance(self.novel, bool))
        names = all(isinstance(c, str) and c.strip() for c in self.classes)
        self._check("classes", "names of mask classes or kinds of objects", ok=names)

    def _check(self, field: str, allowed: str, *, ok: bool) -> None:
        if not ok:
            raise ParameterError(
                f"the concept {self.name!r} has {field} = {getattr(self, field)!r}",
                f"`{field}` must be {allowed}.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the concept as a JSON-ready dict, valid input of `concepts_of`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def concepts_of(
    given: Sequence[str | Mapping[str, Any]] | Mapping[str, Any],
) -> tuple[Concept, ...]:
    """Return concepts from names, entries or a mapping.

    Args:
        given: A list of names, or of mappings with a ``name``; or a mapping from each name to its
            texts (one or several), or to any of ``texts, weight, classes, min_share, min_gsd,
            novel``. By default ``classes`` is the name.

    Raises:
        ParameterError: No concept is given, names are duplicate, all weights are 0, or an entry is
            invalid (the message contains the entry).
    """
    entries = _entries(given)
    if not entries:
        raise ParameterError(
            "no concepts", "At least one concept is required.", f"For example {_EXAMPLE}."
        )
    names = [name for name, _ in entries]
    if len(names) == len(set(map(repr, names))):
        texts: Any = {name: _fields(name, value).get("texts") for name, value in entries}
        labels = labels_of(texts)
    else:
        labels = labels_of(names)  # raises an error that names the duplicates
    concepts = tuple(
        _concept(name, texts, _fields(raw, value))
        for (name, texts), (raw, value) in zip(labels.items(), entries, strict=True)
    )
    if not any(concept.weight for concept in concepts):
        raise ParameterError(
            "the concepts all have weight 0", "At least one weight must be positive."
        )
    return concepts


def concepts_from(source: str | Path) -> tuple[Concept, ...]:
    """Parse comma-separated concepts, or read them from a file.

    Args:
        source: Names separated by commas; or a file: one name per line (``#`` starts a comment), or
            YAML, TOML or JSON with an input of `concepts_of`.

    Raises:
        ParameterError: See `concepts_of`; the message contains the file and the entry.
        DataError: The file cannot be read.
    """
    typed = isinstance(source, str) and not source.endswith(_SUFFIXES) and not is_file(source)
    if typed:
        parts = [part.strip() for part in str(source).split(",")]
        return concepts_of(parts if any(parts) else [])
    path = Path(source)
    return read_names(path, concepts_of, "concepts", _FORM)


def _entries(given: Any) -> list[tuple[Any, Any]]:
    """Return (name, fields or texts) for each entry."""
    if isinstance(given, Mapping):
        return list(given.items())
    entries: list[tuple[Any, Any]] = []
    for number, entry in enumerate(given, 1):
        if isinstance(entry, str) and not entry.strip():
            raise ParameterError(
                f"the concept number {number} is empty",
                "A concept needs a name.",
                f"For example {_EXAMPLE}.",
            )
        if not isinstance(entry, Mapping):
            entries.append((entry, None))
            continue
        fields = dict(entry)
        name = fields.pop("name", None)
        if name is None:
            raise ParameterError(
                f"the concept number {number} has no name: {dict(entry)!r}",
                "An entry of a list must be a name or a mapping with a 'name'.",
                "For example - {name: forest, weight: 2}",
            )
        entries.append((name, fields))
    return entries


def _fields(name: Any, value: Any) -> dict[str, Any]:
    """Return the fields of an entry as field -> value.

    Raises:
        ParameterError: A field is unknown.
    """
    if not isinstance(value, Mapping):
        return {} if value is None else {"texts": value}
    for key in value:
        if key not in _FIELDS:
            raise ParameterError(
                f"the concept {name!r} has the unknown field {key!r}",
                f"Fields of a concept: {', '.join(_FIELDS)}.",
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
            "`classes` must be a name or a list of names.",
        )
    fields.pop("texts", None)
    return Concept(name, texts, classes=tuple(classes), **fields)


def _is_number(value: Any) -> bool:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return numeric and math.isfinite(value)
