"""Training data of `tune_text`: captions of images, their splits, and class folders.

The format of a captions file is detected by suffix and content. Supported are the JSON of
captioning data sets (Karpathy and Fei-Fei 2015; used by UCM-captions, Sydney-captions, RSICD and
RSITMD), the JSON of COCO captions, JSON Lines, and tables with a header (CSV, TSV).
"""

from __future__ import annotations

import csv
import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.documents import parse_json
from foveate.errors import DataError, ParameterError
from foveate.files import digest, read_text
from foveate.models.heads import labels_from, prompts, same_name, templates_from
from foveate.models.tune_text.texts import (
    Texts,
    readable,
    words_of,
)
from foveate.pool.names import Names
from foveate.registry import check_choice
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


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
    """Content of a captions file.

    Attributes:
        images: n image names, as written in the file, in its order.
        texts: Texts of each image; empty in a file with splits only.
        split: "train", "val", "test" or "" for each image.
        source: Name of the file, for messages.
    """

    images: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    split: tuple[str, ...]
    source: str


def read_captions(path: str | Path, *, need_texts: bool = True) -> Captions:
    """Read a captions file, or a file that only contains the splits of images.

    Args:
        path: ``.json`` (Karpathy's format, a list of records, or image -> texts or split),
            ``.jsonl``, ``.csv`` or ``.tsv`` with a header. A record has an image (``image``,
            ``filename``, ``filepath``), one or several texts (``caption``, ``text``, ``title``,
            ``sentences``) and optionally a ``split``; an image may have several records.
        need_texts: Whether an image without a text is an error.

    Raises:
        DataError: The file cannot be read, has another format, or a text is missing or empty.
    """
    path = Path(path)
    images: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for where, record in _records(path):
        name = _field(record, _IMAGE)
        if not isinstance(name, str) or not name.strip():
            raise DataError(
                f"{where} has no image name", f"Expected one of: {', '.join(_IMAGE)}.",
                f"Its fields: {', '.join(map(str, record)) or 'none'}.",
            )  # fmt: skip
        texts = images.setdefault(name, [])
        found = list(_texts(_field(record, _TEXT), where))
        if need_texts and not found:
            raise DataError(
                f"{where} has no text for {name!r}", f"Expected one of: {', '.join(_TEXT)}."
            )
        texts += found
        split = _field(record, _SPLIT)
        if split is not None:
            splits[name] = _split(split, where)
    if not images:
        raise DataError(f"{str(path)!r} contains no records", "At least one image is required.")
    return Captions(
        tuple(images),
        tuple(tuple(dict.fromkeys(texts)) for texts in images.values()),
        tuple(splits.get(name, "") for name in images),
        path.name,
    )


def pair(captions: Captions, scene_ids: Sequence[str], by: str = "name") -> dict[str, int]:
    """Match records to images.

    Args:
        captions: Content of the file.
        scene_ids: The images.
        by: "name" matches names; "order" matches the k-th image of the file and the k-th image of
            the folder, both in natural order (2 before 10), for captions with image numbers instead
            of file names.

    Returns:
        Scene id -> index of the record, without images that have no record.

    Raises:
        DataError: The file names missing images, or, by order, has another number of images.
        ParameterError: `by` is invalid.
    """
    check_choice("pair", by, ("name", "order"))
    count, given = len(captions.images), len(scene_ids)
    if by == "order":
        if count != given:
            raise DataError(
                f"{captions.source} describes {count} images, but there are {given}",
                "Pairing by order requires equal numbers.",
                "Pair by name, or use the complete folder.",
            )
        order = sorted(range(count), key=lambda k: _natural(captions.images[k]))
        return dict(zip(sorted(scene_ids, key=_natural), order, strict=True))
    names = Names(scene_ids, captions.source, folders=True)
    found = [names.look_up(name) for name in captions.images]
    if lost := [n for n, f in zip(captions.images, found, strict=True) if f is None]:
        example = f"for example {lost[0]!r}; image names: {', '.join(sorted(scene_ids)[:2])}"
        raise DataError(
            f"{len(lost)} of {count} images of {captions.source} are missing, {example}",
            "Each record must have an image.",
            "The numbers are equal: if the order is, too, use --pair order."
            if count == given
            else "Use the folder of the captions, or remove the records.",
        )
    meant: dict[str, int] = {}
    for k, image in enumerate(found):
        other = meant.setdefault(image or "", k)
        if other != k:
            raise DataError(
                f"{captions.source} has two records of the image {image!r}: "
                f"{captions.images[other]!r} and {captions.images[k]!r}",
                "Names in different folders refer to different images.",
                "Use the folder of the captions, or remove one of the records.",
            )
    return meant


def _records(path: Path) -> Iterable[tuple[str, dict[Any, Any]]]:
    text = read_text(path)
    readers = {".csv": _table, ".tsv": _table, ".jsonl": _lines, ".json": _document}
    if path.suffix.lower() not in readers:
        raise DataError(f"{str(path)!r} is not a captions file", f"Allowed: {', '.join(readers)}.")
    for where, record in readers[path.suffix.lower()](text, path):
        if not isinstance(record, dict):
            raise DataError(
                f"{path.name}, {where} is {type(record).__name__}",
                "A record must be an object with an image and texts.",
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
            f"{str(path)!r}, line {rows.line_num} is not a valid row: {error}",
            "Quotation marks must be balanced.",
        ) from error


def _lines(text: str, path: Path) -> Iterable[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):  # texts may contain other line separators
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
            f"{str(path)!r} contains {type(content).__name__}",
            'Expected records, or {"images": [{"filename": ..., "sentences": [...]}]}.',
        )
    for number, record in enumerate(content, 1):
        yield f"record {number}", record


def _coco(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        return [
            {"image": names[note["image_id"]], "caption": note["caption"]}
            for note in content["annotations"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{str(path)!r} has inconsistent images and annotations: {error!r}",
            "In COCO format an image has id and file_name, an annotation image_id and caption.",
        ) from error


def _json(text: str, path: Path, line: int) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        at = f", line {line}" if line else ""
        raise DataError(f"{str(path)!r}{at} is not JSON: {error}") from error


def _meaning(value: Any) -> dict[str, Any]:
    """Return the record of an entry of a plain mapping: a split or texts."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value.strip().lower() in _SPLIT_WORDS:
        return {"split": value}
    return {"caption": value}


def _field(record: dict[Any, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) not in (None, "")), None)


def _texts(value: Any, where: str) -> Iterable[str]:
    """Yield the texts of a field: one, several, or objects that contain them."""
    if value is None:
        return
    for item in value if isinstance(value, list) else [value]:
        text = _field(item, _TEXT) if isinstance(item, dict) else item
        if not isinstance(text, str) or not words_of(text):
            raise DataError(f"{where} has a text without words: {text!r}", "Expected words.")
        yield " ".join(text.split())


def _split(value: Any, where: str) -> str:
    word = str(value).strip().lower()
    if word not in _SPLIT_WORDS:
        raise DataError(f"{where}: invalid split {value!r}", f"Allowed: {', '.join(_SPLIT_WORDS)}.")
    return _SPLIT_WORDS[word]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return the sort key of a name in natural order: 2 before 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(k % 2 == 1, int(p) if k % 2 else 0, p) for k, p in enumerate(parts)]


logger = logging.getLogger("foveate")

_SHARES = {"test": 0.1, "val": 0.1}  # shares of randomly drawn splits


@dataclass(frozen=True)
class Dataset:
    """The images of a pool with their texts, splits and classes.

    Attributes:
        texts: Texts of the n images; an image may have none.
        split: (n,) "train", "val", "test" or "" for an unused image.
        classes: Names of the C folders, if all images are in at least two folders; else empty.
        truth: (n,) class numbers; all -1 without classes.
        called: Texts of each class in prompts.
    """

    texts: Texts
    split: NDArray[np.str_]
    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    called: Mapping[str, tuple[str, ...]]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of a split with at least one text."""
        has_text = np.diff(self.texts.match.indptr) > 0
        return np.flatnonzero((self.split == split) & has_text)

    def key(self) -> str:
        """Return a hash of texts, matches, splits and class texts."""
        match = self.texts.match
        matches = [match.indptr.tolist(), match.indices.tolist()]
        classes = [list(self.classes), self.truth.tolist(), list(self.called.items())]
        return digest([self.texts.texts, matches, self.split.tolist(), classes])

    def describe(self) -> dict[str, int]:
        """Return the numbers of images, texts and classes, JSON-ready."""
        found = {split: int(self.rows(split).size) for split in SPLITS}
        return {**found, "texts": len(self.texts.texts), "classes": len(self.classes)}


@dataclass(frozen=True)
class Sources:
    """The text files of a job, read before the imagery.

    Attributes:
        captions: Captions; None with class folders.
        split: Splits; None to use those of the captions, or random splits.
        labels: Texts of folders, by `same_name` of the folder; None for their names.
        templates: Prompt templates of class names.
    """

    captions: Captions | None
    split: Captions | None
    labels: Mapping[str, tuple[str, ...]] | None
    templates: tuple[str, ...]


def read(
    *, captions: str | None, folders: bool, split: str | None, labels: str | None, templates: str
) -> Sources:
    """Read the files of a job.

    Args:
        captions: Captions file, or None.
        folders: Whether the texts are the names of the folders of the images.
        split: File with the split of each image, or None.
        labels: File with the texts of folders, or None.
        templates: Prompt templates of class names; see `templates_from`.

    Raises:
        DataError: A file cannot be read, or contains no split.
        ParameterError: Neither captions nor folders are given, or both; labels or templates
            are invalid.
    """
    if (captions is None) == (not folders):
        raise ParameterError(
            "--captions and --classes-from-folders are both given"
            if captions
            else "--captions and --classes-from-folders are missing",
            "Exactly one is required; with captions, class folders are used for zero-shot "
            "evaluation automatically.",
            "Use --captions FILE or --classes-from-folders.",
        )
    stated = None if split is None else read_captions(split, need_texts=False)
    if stated is not None and not any(stated.split):
        raise DataError(
            f"{stated.source} contains no split", f"Allowed: {', '.join(SPLITS)}.",
            "A table must have the columns image and split.",
        )  # fmt: skip
    names = None if labels is None else labels_from(Path(labels))
    return Sources(
        captions=None if captions is None else read_captions(captions),
        split=stated,
        labels=None if names is None else {same_name(n): texts for n, texts in names.items()},
        templates=templates_from(templates),
    )


def gather(
    sources: Sources, scene_ids: Sequence[str], left_out: Sequence[str] = (), *, pair_by: str,
    seed: int,
) -> Dataset:  # fmt: skip
    """Match the images of a pool with their texts, splits and classes.

    Args:
        sources: The files of the job.
        scene_ids: The images, in the order of the pool.
        left_out: Images that were excluded from the pool as mostly invalid; their records are
            ignored.
        pair_by: How captions are matched to images; see `pair`.
        seed: Seed of random splits.

    Raises:
        DataError: A file does not match the images, or there is no training data.
        ParameterError: There are no class folders, or labels do not match them.
    """
    known_ids = [*scene_ids, *left_out]
    classes, truth = _class_folders(scene_ids)
    split = None
    if sources.captions is None:
        if not classes:
            raise ParameterError(
                "--classes-from-folders, but the images are not in at least two folders",
                "Each image must be in the folder of its class.",
                "Use the parent of the class folders, or --captions FILE.",
            )
        called = _class_texts(sources, classes, {})
        per_class = [prompts(called[name], sources.templates) for name in classes]
        texts = Texts.of([per_class[c] for c in truth])
    else:
        captions = sources.captions
        found = pair(captions, known_ids, pair_by)
        texts = Texts.of([captions.texts[found[s]] if s in found else () for s in scene_ids])
        if bare := sum(s not in found for s in scene_ids):
            logger.warning("%d of %d images have no captions", bare, len(scene_ids))
        called = _class_texts(sources, classes, texts.word_counts()) if classes else {}
        split = _stated_splits(captions, found, scene_ids)
    if sources.split is not None:
        split = _stated_splits(sources.split, pair(sources.split, known_ids, pair_by), scene_ids)
    return _check_splits(
        Dataset(texts, _draw_splits(split, scene_ids, seed), classes, truth, called)
    )


def _class_folders(scene_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the folders of the images, and the folder number of each image."""
    parents = [s.rsplit("/", 2)[-2] if "/" in s else "" for s in scene_ids]
    names = sorted(set(parents))
    if len(names) < 2 or "" in names:
        return (), np.full(len(scene_ids), -1)
    index = {name: c for c, name in enumerate(names)}
    return tuple(names), np.array([index[p] for p in parents], dtype=np.int64)


def _class_texts(
    sources: Sources, classes: tuple[str, ...], known: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Return the texts of each folder: from the labels file, or its readable name."""
    if sources.labels is None:
        return {name: (readable(name, known),) for name in classes}
    labels = sources.labels
    if lost := [name for name in classes if same_name(name) not in labels]:
        raise ParameterError(
            f"the folder {lost[0]!r} is missing from the labels file",
            "The file must contain every folder.",
            f"Add a line: {lost[0]}: NAME",
        )
    return {name: labels[same_name(name)] for name in classes}


def _stated_splits(
    captions: Captions, found: Mapping[str, int], scene_ids: Sequence[str]
) -> list[str] | None:
    if not any(captions.split):
        return None
    split = [captions.split[found[s]] if s in found else "" for s in scene_ids]
    if out := split.count(""):
        logger.warning("%d of %d images are in no split and are not used", out, len(split))
    return split


def _draw_splits(split: list[str] | None, scene_ids: Sequence[str], seed: int) -> NDArray[np.str_]:
    """Draw missing splits: all splits, or a validation split from the training images."""
    shares = _SHARES if split is None else {"val": 0.1}
    found = np.array(["train"] * len(scene_ids) if split is None else split, dtype="U5")
    # Sorted by name, so that the draw does not depend on the order of the images.
    order = sorted(range(len(scene_ids)), key=lambda k: scene_ids[k])
    for name, share in shares.items():
        if not (found == name).any():
            free = [k for k in order if found[k] == "train"]
            draw = rng(seed, f"tune/split/{name}").permutation(len(free))
            found[[free[k] for k in draw[: max(1, round(share * len(free)))]]] = name
    return found


def _check_splits(data: Dataset) -> Dataset:
    for split in ("train", "val"):
        if not data.rows(split).size:
            raise DataError(
                f"no image in the split {split!r} has a text",
                f"The data set has {data.describe()}.",
                "Add images, or use another --split.",
            )
    train = data.rows("train")
    if train.size < 2 or len(data.texts.take(train).texts) < 2:
        raise DataError(
            f"{train.size} training image(s) with "
            f"{len(data.texts.take(train).texts)} different text(s)",
            "At least two images and two texts are required.",
        )
    return data
