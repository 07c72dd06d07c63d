"""Captions: reading the files they come in, and pairing them with images.

Told apart by suffix and content, these forms are read: the JSON of the captioning data sets
(Karpathy and Fei-Fei 2015; UCM-captions, Sydney-captions, RSICD and RSITMD come in it), the JSON of
COCO captions, JSON Lines, and tables with a header (CSV, TSV).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate.documents import parse_json
from foveate.errors import DataError, ParameterError
from foveate.files import read_text
from foveate.models.tune_text.words import words_of
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
    names = Names(scene_ids, captions.source, folders=True)
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
    meant: dict[str, int] = {}
    for k, image in enumerate(found):
        other = meant.setdefault(image or "", k)
        if other != k:
            raise DataError(
                f"{captions.source} has two records of the image {image!r}: "
                f"{captions.images[other]!r} and {captions.images[k]!r}",
                "Names that differ in their folders mean different images.",
                "Give the folder that the captions were written for, or take one record out.",
            )
    return meant


def _records(path: Path) -> Iterable[tuple[str, dict[Any, Any]]]:
    """Yield every record with its place in the file."""
    text = read_text(path)
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
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ","
    )
    try:
        for record in rows:
            known = {k.strip().lower(): v for k, v in record.items() if k and v is not None}
            yield f"line {rows.line_num}", known
    except csv.Error as error:
        raise DataError(
            f"{str(path)!r}, line {rows.line_num} is no row of a table: {error}",
            "A quotation mark that is opened must be closed.",
        ) from error


def _lines(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):  # a text may hold other line ends
        if line.strip():
            yield f"line {number}", _json(line, path, number)


def _document(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    content = _json(text, path, 0)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content = _coco(content, path) if "annotations" in content else content["images"]
    elif isinstance(content, dict):  # image -> texts or split
        content = [{"image": name, **_meaning(value)} for name, value in content.items()]
    if not isinstance(content, list):
        raise DataError(
            f"{str(path)!r} holds {type(content).__name__}",
            'Expected records, or {"images": [{"filename": ..., "sentences": [...]}]}.',
        )
    for number, record in enumerate(content, 1):
        yield f"record {number}", record


def _coco(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Join the captions of COCO's form to their images."""
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        return [
            {"image": names[note["image_id"]], "caption": note["caption"]}
            for note in content["annotations"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{str(path)!r} has images and annotations that do not fit: {error!r}",
            "In COCO's form an image has id and file_name, an annotation image_id and caption.",
        ) from error


def _json(text: str, path: Path, line: int) -> Any:
    try:
        return parse_json(text)
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
        if not isinstance(text, str) or not words_of(text):
            raise DataError(f"{where} has a text without a word: {text!r}", "Texts are words.")
        yield " ".join(text.split())


def _split(value: Any, where: str) -> str:
    word = str(value).strip().lower()
    if word not in _SPLIT_WORDS:
        raise DataError(f"{where}: the split {value!r}", f"Allowed: {', '.join(_SPLIT_WORDS)}.")
    return _SPLIT_WORDS[word]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key of names as people count: 2 before 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(k % 2 == 1, int(p) if k % 2 else 0, p) for k, p in enumerate(parts)]
