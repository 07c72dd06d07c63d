"""Rules that map the tags of polygons to concepts.

Rules are written in TOML (or YAML, JSON)::

    min_area = 50                      # square metres, default of all concepts

    [concepts.parking]
    texts = ["parking lot"]            # input of text encoders; default: the name
    tags = [{ amenity = "parking" }]   # any entry must match; an entry matches if all its tags do
    unless = [{ parking = ["multi-storey", "underground"] }]
    min_area = 200
    min_share = 0.02                   # minimum share of a tile that shows the concept

A value is a string, a list of strings, or true for any value except "no". Tags are OpenStreetMap
tags or columns of a vector file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.documents import read_document
from foveate.errors import DataError, FoveateError, UnknownNameError
from foveate.files import printable
from foveate.observe.data.concepts import Concept
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

SETS = ("osm-66", "osm-40")
SUFFIXES = (".toml", ".yaml", ".yml", ".json")
_FILE = Path(__file__).with_name("osm-66.toml")
_FREQUENT = 40  # the last 40 of the file, which are the most frequent (Figure 6 of the paper)
_KEYS = ("texts", "tags", "unless", "min_area", "min_share", "weight", "novel")
_ANY = None  # any value but "no"
_FORM = 'Tags are written [{ natural = "wood" }, { landuse = ["forest", "wood"], access = true }].'

type Entry = tuple[tuple[str, frozenset[str] | None], ...]


@dataclass(frozen=True)
class Rule:
    """Condition for a polygon to show a concept.

    Attributes:
        concept: The concept.
        tags: Entries of which at least one must match. An entry matches if all of its tags do. The
            value None matches any value except "no".
        unless: Entries of which none may match.
        min_area: Minimum area of a polygon in square metres.
    """

    concept: Concept
    tags: tuple[Entry, ...]
    unless: tuple[Entry, ...] = ()
    min_area: float = 0.0


@dataclass(frozen=True)
class Rules:
    """The rules of all concepts.

    Attributes:
        rules: K rules, one for each concept.
    """

    rules: tuple[Rule, ...]

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The K concepts."""
        return tuple(rule.concept for rule in self.rules)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of `tags` of all rules; a polygon without any of them matches no rule."""
        return frozenset(self._by_key)

    @cached_property
    def _by_key(self) -> dict[str, list[tuple[int, Entry]]]:
        entries: dict[str, list[tuple[int, Entry]]] = {}
        for number, rule in enumerate(self.rules):
            for entry in rule.tags:
                entries.setdefault(entry[0][0], []).append((number, entry))
        return entries

    def match(self, tags: Mapping[str, str]) -> list[int]:
        """Return the indices of the concepts that match tags, ascending."""
        candidates = set()
        for key in self._by_key.keys() & tags.keys():
            candidates |= {number for number, entry in self._by_key[key] if _matches(entry, tags)}
        return sorted(
            number
            for number in candidates
            if not any(_matches(entry, tags) for entry in self.rules[number].unless)
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-serialisable dict."""
        return {
            rule.concept.name: {
                **rule.concept.to_dict(), "min_area": rule.min_area,
                "tags": [_to_dict(entry) for entry in rule.tags],
                "unless": [_to_dict(entry) for entry in rule.unless],
            }
            for rule in self.rules
        }  # fmt: skip


def _matches(entry: Entry, tags: Mapping[str, str]) -> bool:
    for key, values in entry:
        value = tags.get(key)
        if value is None or (value == "no" if values is _ANY else value not in values):
            return False
    return True


def _to_dict(entry: Entry) -> dict[str, Any]:
    return {key: True if values is _ANY else sorted(values) for key, values in entry}


def read_rules(given: str | Path) -> Rules:
    """Read a named set of rules ("osm-66", "osm-40") or a file.

    Raises:
        UnknownNameError: The name is neither a set nor a supported file name.
        DataError: The file cannot be read or is invalid.
    """
    text = str(given)
    if text not in SETS and Path(text).suffix.lower() not in SUFFIXES:
        raise UnknownNameError(
            f"unknown rules {text!r}", f"Known: {', '.join(SETS)}, or a file.",
            suggest(text, SETS) or f"File names end in {', '.join(SUFFIXES)}.",
        )  # fmt: skip
    path = _FILE if text in SETS else Path(text)
    rules = rules_of(read_document(path, "rules", _FORM), path)
    return Rules(rules.rules[-_FREQUENT:]) if text == "osm-40" else rules


def rules_of(content: Any, path: str | Path = "rules") -> Rules:
    """Parse the content of a rules document.

    Args:
        content: See the module docstring.
        path: Path of the document, for messages.

    Raises:
        DataError: The content is invalid.
    """
    where = f"the rules {printable(str(path))!r}"
    concepts = content.get("concepts") if isinstance(content, Mapping) else None
    if not isinstance(concepts, Mapping) or not concepts:
        raise DataError(
            f"{where} have no concepts", "A concept is a table [concepts.NAME] with tags.", _FORM
        )
    min_area = _area(content.get("min_area", 0), where)
    _check_keys(content, ("concepts", "min_area"), where)
    return Rules(tuple(_rule(name, value, min_area, where) for name, value in concepts.items()))


def _rule(name: str, value: Any, min_area: float, where: str) -> Rule:
    what = f"{where}: the concept {name!r}"
    if not isinstance(value, Mapping):
        raise DataError(f"{what} is {value!r}", "A concept is a table with tags.", _FORM)
    _check_keys(value, _KEYS, what)
    texts = value.get("texts", ())
    options = {k: value[k] for k in ("min_share", "weight", "novel") if k in value}
    try:
        concept = Concept(name, tuple([texts] if isinstance(texts, str) else texts), **options)
    except FoveateError as error:
        raise DataError(f"{where}: {error.given}", error.allowed, error.hint) from error
    return Rule(
        concept, _entries(value.get("tags"), what), _entries(value.get("unless", []), what),
        _area(value.get("min_area", min_area), what),
    )  # fmt: skip


def _entries(value: Any, what: str) -> tuple[Entry, ...]:
    entries = [value] if isinstance(value, Mapping) else value
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) and e for e in entries):
        raise DataError(f"{what} has tags = {value!r}", "Tags are a list of tables.", _FORM)
    return tuple(tuple((key, _values(v, key, what)) for key, v in e.items()) for e in entries)


def _values(value: Any, key: str, what: str) -> frozenset[str] | None:
    if value is True:
        return _ANY
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise DataError(
            f"{what} has the tag {key} = {value!r}",
            "A value is a string, a list of strings, or true for any value except 'no'.", _FORM,
        )  # fmt: skip
    return frozenset(values)


def _area(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise DataError(f"{what} has min_area = {value!r}", "An area is in square metres, from 0.")
    return float(value)


def _check_keys(table: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for key in table:
        if key not in known:
            raise DataError(
                f"{what} states {key!r}", f"Known: {', '.join(known)}.", suggest(key, known)
            )
