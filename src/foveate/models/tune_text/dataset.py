"""What there is to learn from: the texts of each image, its split, and its class if it has one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest
from foveate.models.heads.base import same_name
from foveate.models.heads.prompts import labels_from, prompts, templates_from
from foveate.models.tune_text.captions import SPLITS, Captions, pair, read_captions
from foveate.models.tune_text.texts import Texts
from foveate.models.tune_text.words import readable
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

logger = logging.getLogger("foveate")

_SHARES = {"test": 0.1, "val": 0.1}  # of images whose split nobody states


@dataclass(frozen=True)
class Dataset:
    """The images of a pool, row for row, with what is known of them.

    Attributes:
        texts: Texts of the n images; an image may have none.
        split: (n,) "train", "val", "test" or "" for an image that is left out.
        classes: Names of the C folders, if all images lie in two or more; else empty.
        truth: (n,) class numbers; all -1 without classes.
        called: What each class is called in prompts.
    """

    texts: Texts
    split: NDArray[np.str_]
    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    called: Mapping[str, tuple[str, ...]]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the images of a split that have a text."""
        has_text = np.diff(self.texts.match.indptr) > 0
        return np.flatnonzero((self.split == split) & has_text)

    def key(self) -> str:
        """Hash of texts, matches, splits and what classes are called."""
        match = self.texts.match
        matches = [match.indptr.tolist(), match.indices.tolist()]
        classes = [list(self.classes), self.truth.tolist(), list(self.called.items())]
        return digest([self.texts.texts, matches, self.split.tolist(), classes])

    def describe(self) -> dict[str, int]:
        """Return how many there are, JSON-ready."""
        found = {split: int(self.rows(split).size) for split in SPLITS}
        return {**found, "texts": len(self.texts.texts), "classes": len(self.classes)}


@dataclass(frozen=True)
class Sources:
    """The files that a job names, read before any imagery is.

    Attributes:
        captions: None with class folders.
        split: None where the captions' own, or a draw, decides.
        labels: What folders are called, by `same_name` of the folder; None for their names.
        templates: Sentences for names of classes.
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
        folders: Whether the texts are the names of the folders that the images lie in.
        split: File with the split of each image, or None.
        labels: File with what to call the folders, or None.
        templates: Sentences for names of classes; see `templates_from`.

    Raises:
        DataError: A file cannot be read, or states no split.
        ParameterError: Neither captions nor folders are given, or both; labels or templates
            cannot be used.
    """
    if (captions is None) == (not folders):
        raise ParameterError(
            "both captions and --classes-from-folders" if captions else "no texts to learn from",
            "Either captions are learnt, or the names of folders; with captions, class folders "
            "become the zero-shot test by themselves.",
            "Give --captions FILE or --classes-from-folders.",
        )
    stated = None if split is None else read_captions(split, need_texts=False)
    if stated is not None and not any(stated.split):
        raise DataError(
            f"{stated.source} states no split", f"Allowed: {', '.join(SPLITS)}.",
            "A table has the columns image and split.",
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
    """Pair the images of a pool with what is said of them.

    Args:
        sources: The files of the job.
        scene_ids: The images, in the order of the pool.
        left_out: Images that were found and left the pool, as mostly empty: what is said of them
            is no error.
        pair_by: How captions find their images; see `pair`.
        seed: Of the splits that are drawn.

    Raises:
        DataError: A file does not fit the images, or nothing is left to train on.
        ParameterError: There are no class folders, or labels do not fit them.
    """
    there = [*scene_ids, *left_out]
    classes, truth = _folders(scene_ids)
    split = None
    if sources.captions is None:
        if not classes:
            raise ParameterError(
                "--classes-from-folders, and the images do not lie in two or more folders",
                "Each image lies in the folder of its class.",
                "Give the folder above the class folders, or --captions FILE.",
            )
        called = _called(sources, classes, {})
        per_class = [prompts(called[name], sources.templates) for name in classes]
        texts = Texts.of([per_class[c] for c in truth])
    else:
        captions = sources.captions
        found = pair(captions, there, pair_by)
        texts = Texts.of([captions.texts[found[s]] if s in found else () for s in scene_ids])
        if bare := sum(s not in found for s in scene_ids):
            logger.warning("%d of %d images have no captions", bare, len(scene_ids))
        called = _called(sources, classes, texts.word_counts()) if classes else {}
        split = _stated(captions, found, scene_ids)
    if sources.split is not None:
        split = _stated(sources.split, pair(sources.split, there, pair_by), scene_ids)
    return _checked(Dataset(texts, _complete(split, scene_ids, seed), classes, truth, called))


def _folders(scene_ids: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the folders that the images lie in, and which one each lies in."""
    parents = [s.rsplit("/", 2)[-2] if "/" in s else "" for s in scene_ids]
    names = sorted(set(parents))
    if len(names) < 2 or "" in names:
        return (), np.full(len(scene_ids), -1)
    place = {name: c for c, name in enumerate(names)}
    return tuple(names), np.array([place[p] for p in parents], dtype=np.int64)


def _called(
    sources: Sources, classes: tuple[str, ...], known: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Return what each folder is called: as the user's file says, or its name made readable."""
    if sources.labels is None:
        return {name: (readable(name, known),) for name in classes}
    labels = sources.labels
    if lost := [name for name in classes if same_name(name) not in labels]:
        raise ParameterError(
            f"the labels file says nothing of the folder {lost[0]!r}",
            "It names every folder, and what to call it.",
            f"Add a line: {lost[0]}: NAME",
        )
    return {name: labels[same_name(name)] for name in classes}


def _stated(
    captions: Captions, found: Mapping[str, int], scene_ids: Sequence[str]
) -> list[str] | None:
    """Return the split of each image as a file states it; None if it states none."""
    if not any(captions.split):
        return None
    split = [captions.split[found[s]] if s in found else "" for s in scene_ids]
    if out := split.count(""):
        logger.warning("%d of %d images are in no split and left out", out, len(split))
    return split


def _complete(split: list[str] | None, scene_ids: Sequence[str], seed: int) -> NDArray[np.str_]:
    """Draw what nobody states: all splits, or a validation split from the training images."""
    wanted = _SHARES if split is None else {"val": 0.1}
    found = np.array(["train"] * len(scene_ids) if split is None else split, dtype="U5")
    # By name, so that the draw does not depend on the order of the images.
    order = sorted(range(len(scene_ids)), key=lambda k: scene_ids[k])
    for name, share in wanted.items():
        if not (found == name).any():
            free = [k for k in order if found[k] == "train"]
            draw = rng(seed, f"tune/split/{name}").permutation(len(free))
            found[[free[k] for k in draw[: max(1, round(share * len(free)))]]] = name
    return found


def _checked(data: Dataset) -> Dataset:
    for split in ("train", "val"):
        if not data.rows(split).size:
            raise DataError(
                f"no image in the split {split!r} has a text",
                f"There are {data.describe()}.",
                "Give more images, or another --split.",
            )
    train = data.rows("train")
    if train.size < 2 or len(data.texts.take(train).texts) < 2:
        raise DataError(
            f"{train.size} training image(s) with "
            f"{len(data.texts.take(train).texts)} different text(s)",
            "At least two images and two texts are needed.",
        )
    return data
