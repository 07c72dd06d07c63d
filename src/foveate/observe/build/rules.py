"""Rules: which tags of a polygon make which concept.

A rule is stated in TOML (or YAML, JSON)::

    min_area = 50                      # square metres, of every concept that states none

    [concepts.parking]
    texts = ["parking lot"]            # what a model reads; the name by default
    tags = [{ amenity = "parking" }]   # one entry suffices, all tags of an entry must be there
    unless = [{ parking = ["multi-storey", "underground"] }]
    min_area = 200
    min_share = 0.02                   # of a tile, from which the tile shows the concept

A value is a text, a list of texts, or true for any value but "no". Tags are those of OpenStreetMap,
or the columns of a vector file.
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
_FREQUENT = 40  # the last of the file: Figure 6 of the paper has the most frequent ones last
_KEYS = ("texts", "tags", "unless", "min_area", "min_share", "weight", "novel")
_ANY = None  # any value but "no"
_FORM = 'Tags are written [{ natural = "wood" }, { landuse = ["forest", "wood"], access = true }].'

type Entry = tuple[tuple[str, frozenset[str] | None], ...]


@dataclass(frozen=True)
class Rule:
    """What makes a polygon show a concept.

    Attributes:
        concept: The concept.
        tags: Entries; the tags of one of them must all be there. A value of None: any but "no".
        unless: Entries none of which may be there.
        min_area: Square metres below which a polygon is too small.
    """

    concept: Concept
    tags: tuple[Entry, ...]
    unless: tuple[Entry, ...] = ()
    min_area: float = 0.0


@dataclass(frozen=True)
class Rules:
    """The rules of all concepts.

    Attributes:
        rules: K of them, each of another concept.
    """

    rules: tuple[Rule, ...]

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The K concepts."""
        return tuple(rule.concept for rule in self.rules)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The tags that rules ask for; one without any of them matches nothing."""
        return frozenset(self._by_key)

    @cached_property
    def _by_key(self) -> dict[str, list[tuple[int, Entry]]]:
        found: dict[str, list[tuple[int, Entry]]] = {}
        for number, rule in enumerate(self.rules):
            for entry in rule.tags:
                found.setdefault(entry[0][0], []).append((number, entry))
        return found

    def match(self, tags: Mapping[str, str]) -> list[int]:
        """Return the numbers of the concepts that tags make, ascending."""
        found = set()
        for key in self._by_key.keys() & tags.keys():
            found |= {number for number, entry in self._by_key[key] if _holds(entry, tags)}
        return sorted(
            number
            for number in found
            if not any(_holds(entry, tags) for entry in self.rules[number].unless)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as plain values."""
        return {
            rule.concept.name: {
                **rule.concept.to_dict(), "min_area": rule.min_area,
                "tags": [_plain(entry) for entry in rule.tags],
                "unless": [_plain(entry) for entry in rule.unless],
            }
            for rule in self.rules
        }  # fmt: skip


def _holds(entry: Entry, tags: Mapping[str, str]) -> bool:
    for key, values in entry:
        value = tags.get(key)
        if value is None or (value == "no" if values is _ANY else value not in values):
            return False
    return True


def _plain(entry: Entry) -> dict[str, Any]:
    return {key: True if values is _ANY else sorted(values) for key, values in entry}


def read_rules(given: str | Path) -> Rules:
    """Read rules by the name of a set ("osm-66", "osm-40"), or from a file.

    Raises:
        UnknownNameError: No such set.
        DataError: The file cannot be read, or states something that cannot be (named).
    """
    text = str(given)
    if text not in SETS and Path(text).suffix.lower() not in SUFFIXES:
        raise UnknownNameError(
            f"unknown rules {text!r}", f"Known: {', '.join(SETS)}, or a file.",
            suggest(text, SETS) or f"A file ends in {', '.join(SUFFIXES)}.",
        )  # fmt: skip
    path = _FILE if text in SETS else Path(text)
    found = rules_of(read_document(path, "rules", _FORM), path)
    return Rules(found.rules[-_FREQUENT:]) if text == "osm-40" else found


def rules_of(content: Any, path: str | Path = "rules") -> Rules:
    """Return the rules of a document that was read.

    Args:
        content: See the head of this module.
        path: Where it is from, for messages.

    Raises:
        DataError: It states something that cannot be.
    """
    where = f"the rules {printable(str(path))!r}"
    concepts = content.get("concepts") if isinstance(content, Mapping) else None
    if not isinstance(concepts, Mapping) or not concepts:
        raise DataError(
            f"{where} have no concepts", "A concept is a table [concepts.NAME] with tags.", _FORM
        )
    least = _area(content.get("min_area", 0), where)
    _refuse_others(content, ("concepts", "min_area"), where)
    return Rules(tuple(_rule(name, value, least, where) for name, value in concepts.items()))


def _rule(name: str, value: Any, least: float, where: str) -> Rule:
    what = f"{where}: the concept {name!r}"
    if not isinstance(value, Mapping):
        raise DataError(f"{what} is {value!r}", "A concept is a table with tags.", _FORM)
    _refuse_others(value, _KEYS, what)
    texts = value.get("texts", ())
    own = {k: value[k] for k in ("min_share", "weight", "novel") if k in value}
    try:
        concept = Concept(name, tuple([texts] if isinstance(texts, str) else texts), **own)
    except FoveateError as error:
        raise DataError(f"{where}: {error.given}", error.allowed, error.hint) from error
    return Rule(
        concept, _entries(value.get("tags"), what), _entries(value.get("unless", []), what),
        _area(value.get("min_area", least), what),
    )  # fmt: skip


def _entries(given: Any, what: str) -> tuple[Entry, ...]:
    entries = [given] if isinstance(given, Mapping) else given
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) and e for e in entries):
        raise DataError(f"{what} has tags = {given!r}", "Tags are a list of tables.", _FORM)
    return tuple(tuple((key, _values(v, key, what)) for key, v in e.items()) for e in entries)


def _values(given: Any, key: str, what: str) -> frozenset[str] | None:
    if given is True:
        return _ANY
    values = [given] if isinstance(given, str) else given
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise DataError(
            f"{what} has the tag {key} = {given!r}",
            "A value is a text, a list of texts, or true for any value but 'no'.", _FORM,
        )  # fmt: skip
    return frozenset(values)


def _area(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1e15:
        raise DataError(f"{what} has min_area = {given!r}", "It is square metres, from 0.")
    return float(given)


def _refuse_others(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    for key in given:
        if key not in known:
            raise DataError(
                f"{what} states {key!r}", f"Known: {', '.join(known)}.", suggest(key, known)
            )
