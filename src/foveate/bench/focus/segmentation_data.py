"""Images with masks for `foveate.bench.focus.segmentation`, and how they are split.

A data set is a folder, whatever it was published as::

    ROOT/images/[VIDEO/]NAME.png       any raster
    ROOT/masks/[VIDEO/]NAME.png        class numbers in its first band
    ROOT/classes.yaml                  name: number, or name: [number, number]

Numbers that no class names are background. Images of one subfolder are frames of one video, and
go together to the images that are trained on or to those that are tested, half of each. To bring
the three of the paper into it: TikTok dances, masks of 0 and 255 (``person: 255``); TrashCan, the
instances of its COCO file drawn as the numbers of their categories, its images in one folder, as
no videos are stated; GTEA, masks of hands and objects, a subfolder for each of the 7 videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.documents import read_document
from foveate.errors import DataError, ParameterError
from foveate.grid import Window
from foveate.raster import SUFFIXES, FileSource
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = Mapping[str, tuple[int, ...]]

_SQUARES = 14  # along the shorter side of an image, of what is hidden
IGNORED = -1  # what does not count in a mask


@dataclass(frozen=True)
class SegmentationData:
    """Images with masks.

    Attributes:
        name: Of the folder.
        images: n files.
        masks: n files.
        videos: n names: files of one name belong together.
        classes: Name -> its numbers in the masks.
    """

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    videos: tuple[str, ...]
    classes: Numbers

    @cached_property
    def shown(self) -> list[frozenset[int]]:
        """The class numbers in each mask; every mask is read once.

        Raises:
            DataError: A mask has another size than its image.
        """
        return [frozenset(np.unique(self.mask(row)).tolist()) for row in range(len(self.images))]

    def image(self, row: int) -> NDArray[Any]:
        """Return an image: (c, h, w) in its dtype."""
        return _read(self.images[row])

    def mask(self, row: int) -> NDArray[np.int64]:
        """Return the class numbers of an image: (h, w).

        Raises:
            DataError: It has another size than the image.
        """
        found = _read(self.masks[row])[0].astype(np.int64)
        shape = FileSource(str(self.images[row])).info.shape
        if found.shape != shape:
            raise DataError(
                f"the mask {self.masks[row].name!r} of {found.shape[0]} x {found.shape[1]} pixels",
                f"Its image has {shape[0]} x {shape[1]}.",
            )
        return found


def _read(path: Path) -> NDArray[Any]:
    source = FileSource(str(path))
    return source.read(Window(0, 0, *source.info.shape)).data


def read_data(root: str | Path) -> SegmentationData:
    """Read a data set in the layout of this module.

    Args:
        root: Its folder.

    Raises:
        DataError: There are no images, one has no mask, or the classes cannot be read.
    """
    folder = Path(root)
    images = sorted(
        path for path in (folder / "images").rglob("*") if path.suffix.lower() in SUFFIXES
    )
    if not images:
        raise DataError(
            f"there are no images in {str(folder / 'images')!r}",
            "Expected images/, masks/ and classes.yaml.",
        )
    masks = [_mask_of(path, folder) for path in images]
    names = [path.relative_to(folder / "images") for path in images]
    videos = tuple(str(n.parent) if len(n.parts) > 1 else str(n.with_suffix("")) for n in names)
    classes = _classes(folder / "classes.yaml")
    return SegmentationData(folder.resolve().name, tuple(images), tuple(masks), videos, classes)


def _mask_of(image: Path, folder: Path) -> Path:
    inside = image.relative_to(folder / "images").with_suffix("")
    for suffix in SUFFIXES:
        path = (folder / "masks" / inside).with_name(inside.name + suffix)
        if path.is_file():
            return path
    raise DataError(
        f"{str(inside)!r} has no mask", f"Looked for masks/{inside} with {', '.join(SUFFIXES)}."
    )


def _classes(path: Path) -> Numbers:
    content = read_document(path, "classes", "Expected name: number.")
    found = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(n, int) and n > 0 for n in numbers):
            raise DataError(f"the class {name!r} has the numbers {value!r}", "They are above 0.")
        found[str(name)] = tuple(numbers)
    if not found:
        raise DataError(f"no classes in {str(path)!r}", "Expected name: number, one a line.")
    return found


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is tested.

    Attributes:
        base: Names of the classes that a segmenter is trained on.
        target: Names of the others; those of `base` where there is one class only.
        train: Rows that show a base class.
        test: Other rows, that show a target class.
    """

    base: tuple[str, ...]
    target: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]


def split_data(data: SegmentationData, seed: int = 0) -> Split:
    """Split classes and images, each 1 : 1.

    Args:
        data: Images with masks.
        seed: Of both draws.

    Raises:
        DataError: One side has no image that shows its classes, or a mask has another size than
            its image.
    """
    names = rng(seed, "bench/focus/classes").permutation(sorted(data.classes)).tolist()
    half = (len(names) + 1) // 2
    base, target = tuple(sorted(names[:half])), tuple(sorted(names[half:] or names))
    videos = rng(seed, "bench/focus/videos").permutation(sorted(set(data.videos))).tolist()
    training = set(videos[: (len(videos) + 1) // 2])

    def rows(classes: tuple[str, ...], *, trained: bool) -> tuple[int, ...]:
        numbers = {number for name in classes for number in data.classes[name]}
        return tuple(
            row for row, own in enumerate(data.shown)
            if (data.videos[row] in training) == trained and own & numbers
        )  # fmt: skip

    found = Split(base, target, rows(base, trained=True), rows(target, trained=False))
    for what, names, given in (("train on", base, found.train), ("test", target, found.test)):
        if not given:
            raise DataError(
                f"{data.name!r} has no image to {what}",
                f"Half of its {len(videos)} videos show none of {', '.join(names)}.",
                "Take another seed, or more images.",
            )
    return found


def truth(data: SegmentationData, row: int, wanted: Sequence[str]) -> NDArray[np.int64]:
    """Return what a mask says of some classes together.

    Args:
        data: Images with masks.
        row: Of the image.
        wanted: Names of the classes.

    Returns:
        (h, w) int64: 1 for them, 0 for the background, `IGNORED` for other classes.
    """
    mask = data.mask(row)
    found = np.zeros(mask.shape, np.int64)
    for name, numbers in data.classes.items():
        found[np.isin(mask, numbers)] = 1 if name in wanted else IGNORED
    return found


def hide(image: NDArray[Any], share: float, seed: int, name: str) -> NDArray[Any]:
    """Set a share of an image to 0, in squares.

    Args:
        image: (c, h, w).
        share: From 0 to 1.
        seed: Of the draw.
        name: Of the image: each has a draw of its own.

    Raises:
        ParameterError: The share is none.
    """
    if not 0 <= share <= 1:
        raise ParameterError(f"a hidden share of {share:g}", "It is from 0 to 1.")
    side = max(1, min(image.shape[1:]) // _SQUARES)
    rows, columns = (-(-length // side) for length in image.shape[1:])
    count = round(share * rows * columns)
    drawn = rng(seed, f"bench/focus/hide/{name}").permutation(rows * columns)[:count]
    hidden = np.zeros(rows * columns, bool)
    hidden[drawn] = True
    whole = hidden.reshape(rows, columns).repeat(side, axis=0).repeat(side, axis=1)
    return np.where(whole[: image.shape[1], : image.shape[2]], 0, image).astype(image.dtype)
