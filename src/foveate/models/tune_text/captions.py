"""Captions: reading the files they come in, and pairing them with images.

Three forms are read, told apart by their suffix and content: the JSON of the captioning data
sets (Karpathy and Fei-Fei 2015; UCM-captions, Sydney-captions, RSICD and RSITMD come in it), JSON
Lines, and tables with a header (CSV, TSV).
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, ParameterError
from foveate.files import reason
from foveate.pool.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {
    "train": "train", "restval": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test",
}  # fmt: skip
_IMAGE = ("image", "filename", "filepath", "file_name", "file", "path")
_TEXT = ("caption", "captions", "text", "title", "sentence", "sentences", "raw")
_SPLIT = ("split", "subset")


@dataclass(frozen=True)
class Captions:
    """What a file says of images.

    Attributes:
        images: n names, as the file writes them, in its order.
        texts: The texts of each; empty in a file that only splits.
        split: "train", "val", "test" or "" for each.
        source: Name of the file, for messages.
    """

    images: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    split: tuple[str, ...]
    source: str


def read_captions(path: str | Path, *, need_texts: bool = True) -> Captions:
    """Read a captions file, or a file that only says which image is in which split.

    Args:
        path: ``.json`` (Karpathy's form, a list of records, or image -> texts or split),
            ``.jsonl``, ``.csv`` or ``.tsv`` with a header. A record has an image (``image``,
            ``filename``, ``filepath``), one or several texts (``caption``, ``text``, ``title``,
            ``sentences``) and perhaps a ``split``; an image may have several records.
        need_texts: Whether an image without a text is an error.

    Raises:
        DataError: The file cannot be read, has another form, or a text is missing or empty.
    """
    path = Path(path)
    images: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for where, record in _records(path):
        name = _field(record, _IMAGE)
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                f"{where} names no image", f"Expected one of: {', '.join(_IMAGE)}.",
                f"It has: {', '.join(map(str, record)) or 'nothing'}.",
            )  # fmt: skip
        texts = images.setdefault(name, [])
        found = list(_texts(_field(record, _TEXT), where))
        if need_texts and not found:
            raise DataError(f"{where} has no text for {name!r}", f"One of: {', '.join(_TEXT)}.")
        texts += found
        split = _field(record, _SPLIT)
        if split is not None:
            splits[name] = _split(split, where)
    if not images:
        raise DataError(f"{str(path)!r} holds no records", "At least one image is needed.")
    return Captions(
        tuple(images),
        tuple(tuple(dict.fromkeys(texts)) for texts in images.values()),
        tuple(splits.get(name, "") for name in images),
        path.name,
    )


def pair(captions: Captions, scene_ids: Sequence[str], by: str = "name") -> dict[str, int]:
    """Return which record belongs to which image.

    Args:
        captions: What the file says.
        scene_ids: The images.
        by: "name" matches names; "order" takes the k-th image of the file for the k-th image of
            the folder, both sorted as a person would (2 before 10): for data sets whose captions
            number the images of a folder that has names of its own.

    Returns:
        Scene id -> number of the record; images without a record are missing.

    Raises:
        DataError: The file names images that are not there, or, by order, has another number.
        ParameterError: `by` is neither.
    """
    if by not in ("name", "order"):
        raise ParameterError(f"pair={by!r}", "Allowed: name, order.")
    count, given = len(captions.images), len(scene_ids)
    if by == "order":
        if count != given:
            raise DataError(
                f"{captions.source} describes {count} images, and there are {given}",
                "Pairing by order needs as many.",
                "Pair by name, or give the whole folder.",
            )
        order = sorted(range(count), key=lambda k: _natural(captions.images[k]))
        return dict(zip(sorted(scene_ids, key=_natural), order, strict=True))
    names = Names(scene_ids, captions.source)
    found = [names.look_up(name) for name in captions.images]
    if lost := [n for n, f in zip(captions.images, found, strict=True) if f is None]:
        example = f"e.g. {lost[0]!r}; the images are called {', '.join(sorted(scene_ids)[:2])}"
        raise DataError(
            f"{captions.source} describes {len(lost)} of {count} images that are not there, "
            f"{example}",
            "Each record needs its image.",
            "Their numbers agree: if their order does too, type --pair order."
            if count == given
            else "Give the folder that the captions were written for, or take the records out.",
        )
    return {f: k for k, f in enumerate(found) if f is not None}


def _records(path: Path) -> Iterable[tuple[str, dict[Any, Any]]]:
    """Yield every record with its place in the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {str(path)!r}: {reason(error)}") from error
    readers = {".csv": _table, ".tsv": _table, ".jsonl": _lines, ".json": _document}
    if path.suffix.lower() not in readers:
        raise DataError(f"{str(path)!r} is no captions file", f"Allowed: {', '.join(readers)}.")
    for where, record in readers[path.suffix.lower()](text, path):
        if not isinstance(record, dict):
            raise DataError(
                f"{path.name}, {where} is {type(record).__name__}",
                "A record is an object with an image and texts.",
            )
        yield f"{path.name}, {where}", record


def _table(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    rows = csv.DictReader(
        text.splitlines(keepends=True), delimiter="\t" if path.suffix.lower() == ".tsv" else ","
    )
    for record in rows:
        known = {k.strip().lower(): v for k, v in record.items() if k and v is not None}
        yield f"line {rows.line_num}", known


def _lines(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", _json(line, path, number)


def _document(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    content = _json(text, path, 0)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content = content["images"]
    elif isinstance(content, dict):  # image -> texts or split
        content = [{"image": name, **_meaning(value)} for name, value in content.items()]
    if not isinstance(content, list):
        raise DataError(
            f"{str(path)!r} holds {type(content).__name__}",
            'Expected records, or {"images": [{"filename": ..., "sentences": [...]}]}.',
        )
    for number, record in enumerate(content, 1):
        yield f"record {number}", record


def _json(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        at = f", line {line}" if line else ""
        raise DataError(f"{str(path)!r}{at} is not JSON: {error}") from error


def _meaning(value: Any) -> dict[str, Any]:
    """Tell a split from texts in a plain mapping of images."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value.strip().lower() in _SPLIT_WORDS:
        return {"split": value}
    return {"caption": value}


def _field(record: dict[Any, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) not in (None, "")), None)


def _texts(value: Any, where: str) -> Iterable[str]:
    """Yield the texts of a field: one, several, or objects that hold them."""
    if value is None:
        return
    for item in value if isinstance(value, list) else [value]:
        text = _field(item, _TEXT) if isinstance(item, dict) else item
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where} has an empty text, or one that is no text: {text!r}")
        yield " ".join(text.split())


def _split(value: Any, where: str) -> str:
    word = str(value).strip().lower()
    if word not in _SPLIT_WORDS:
        raise DataError(f"{where}: the split {value!r}", f"Allowed: {', '.join(_SPLIT_WORDS)}.")
    return _SPLIT_WORDS[word]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key of names as people count: 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]
