"""Images with masks for `foveate.bench.focus.segmentation`, and their splits.

A data set is a folder with the layout::

    ROOT/images/[VIDEO/]NAME.png       any raster
    ROOT/masks/[VIDEO/]NAME.png        class numbers in its first band
    ROOT/classes.yaml                  name: number, or name: [number, number]

Numbers without a class are background. Images of one subfolder are frames of one video and belong
to the same split, training or test, with half of the videos each. The three data sets of the paper
are converted as follows. TikTok dances: masks of 0 and 255 (``person: 255``). TrashCan: the
instances of its COCO file drawn with the numbers of their categories, images in one folder, as no
videos are given. GTEA: masks of hands and objects, a subfolder for each of the 7 videos.
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

_SQUARES = 14  # hidden squares along the shorter side of an image
IGNORED = -1  # mask value of ignored pixels


@dataclass(frozen=True)
class SegmentationData:
    """Images with masks.

    Attributes:
        name: Name of the folder.
        images: n files.
        masks: n files.
        videos: n names of videos; files of one video belong to the same split.
        classes: Name -> numbers in the masks.
    """

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    videos: tuple[str, ...]
    classes: Numbers

    @cached_property
    def present(self) -> list[frozenset[int]]:
        """Class numbers in each mask; every mask is read once.

        Raises:
            DataError: The sizes of a mask and its image differ.
        """
        return [frozenset(np.unique(self.mask(row)).tolist()) for row in range(len(self.images))]

    def image(self, row: int) -> NDArray[Any]:
        """Return an image: (c, h, w) in its dtype."""
        return _read(self.images[row])

    def mask(self, row: int) -> NDArray[np.int64]:
        """Return the class numbers of an image: (h, w).

        Raises:
            DataError: The sizes of mask and image differ.
        """
        mask = _read(self.masks[row])[0].astype(np.int64)
        shape = FileSource(str(self.images[row])).info.shape
        if mask.shape != shape:
            raise DataError(
                f"the mask {self.masks[row].name!r} of {mask.shape[0]} x {mask.shape[1]} pixels",
                f"Its size must be that of the image, {shape[0]} x {shape[1]} pixels.",
            )
        return mask


def _read(path: Path) -> NDArray[Any]:
    source = FileSource(str(path))
    return source.read(Window(0, 0, *source.info.shape)).data


def read_data(root: str | Path) -> SegmentationData:
    """Read a data set in the layout of this module.

    Args:
        root: Its folder.

    Raises:
        DataError: There are no images, a mask is missing, or the classes cannot be read.
    """
    folder = Path(root)
    images = sorted(
        path for path in (folder / "images").rglob("*") if path.suffix.lower() in SUFFIXES
    )
    if not images:
        raise DataError(
            f"no images in {str(folder / 'images')!r}",
            "The folder must contain images/, masks/ and classes.yaml.",
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
        f"the mask of {str(inside)!r} is missing",
        f"It must be masks/{inside} with one of {', '.join(SUFFIXES)}.",
    )


def _classes(path: Path) -> Numbers:
    content = read_document(path, "classes", "Expected name: number.")
    classes = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(n, int) and n > 0 for n in numbers):
            raise DataError(
                f"the class {name!r} has the numbers {value!r}", "They must be positive integers."
            )
        classes[str(name)] = tuple(numbers)
    if not classes:
        raise DataError(
            f"no classes in {str(path)!r}", "It must contain name: number, one class per line."
        )
    return classes


@dataclass(frozen=True)
class Split:
    """Split of classes and images.

    Attributes:
        base: Names of the training classes.
        target: Names of the test classes; those of `base` if there is one class only.
        train: Rows of training images, with a base class.
        test: Rows of test images, with a target class.
    """

    base: tuple[str, ...]
    target: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]


def split_data(data: SegmentationData, seed: int = 0) -> Split:
    """Split classes and images, each 1 : 1.

    Args:
        data: Images with masks.
        seed: Seed of both draws.

    Raises:
        DataError: No training or test image contains its classes, or the sizes of a mask and its
            image differ.
    """
    names = rng(seed, "bench/focus/classes").permutation(sorted(data.classes)).tolist()
    half = (len(names) + 1) // 2
    base, target = tuple(sorted(names[:half])), tuple(sorted(names[half:] or names))
    videos = rng(seed, "bench/focus/videos").permutation(sorted(set(data.videos))).tolist()
    training = set(videos[: (len(videos) + 1) // 2])

    def rows(classes: tuple[str, ...], *, trained: bool) -> tuple[int, ...]:
        numbers = {number for name in classes for number in data.classes[name]}
        return tuple(
            row for row, numbers_in in enumerate(data.present)
            if (data.videos[row] in training) == trained and numbers_in & numbers
        )  # fmt: skip

    split = Split(base, target, rows(base, trained=True), rows(target, trained=False))
    for part, names, given in (("training", base, split.train), ("test", target, split.test)):
        if not given:
            raise DataError(
                f"{data.name!r} has no {part} image",
                f"Half of its {len(videos)} videos contain none of {', '.join(names)}.",
                "Use another seed, or add images.",
            )
    return split


def truth(data: SegmentationData, row: int, wanted: Sequence[str]) -> NDArray[np.int64]:
    """Return the binary mask of some classes together.

    Args:
        data: Images with masks.
        row: Row of the image.
        wanted: Names of the foreground classes.

    Returns:
        (h, w) int64: 1 for them, 0 for the background, `IGNORED` for other classes.
    """
    mask = data.mask(row)
    binary = np.zeros(mask.shape, np.int64)
    for name, numbers in data.classes.items():
        binary[np.isin(mask, numbers)] = 1 if name in wanted else IGNORED
    return binary


def hide(image: NDArray[Any], share: float, seed: int, name: str) -> NDArray[Any]:
    """Set a share of an image to 0, in squares.

    Args:
        image: (c, h, w).
        share: Hidden share, 0 to 1.
        seed: Seed of the draw.
        name: Name of the image, on which the draw depends too.

    Raises:
        ParameterError: The share is not 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ParameterError(f"a hidden share of {share:g}", "It must be 0 to 1.")
    side = max(1, min(image.shape[1:]) // _SQUARES)
    rows, columns = (-(-length // side) for length in image.shape[1:])
    count = round(share * rows * columns)
    drawn = rng(seed, f"bench/focus/hide/{name}").permutation(rows * columns)[:count]
    hidden = np.zeros(rows * columns, bool)
    hidden[drawn] = True
    whole = hidden.reshape(rows, columns).repeat(side, axis=0).repeat(side, axis=1)
    return np.where(whole[: image.shape[1], : image.shape[2]], 0, image).astype(image.dtype)
