"""Mosaics on disk: patches from class folders, mosaics with their truth, parts of one scene.

Public data sets often split scenes into files. `patches_in` and `write_mosaics` create wide scenes
of unrelated patches; `join` merges the parts of one scene.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError, StorageError
from foveate.files import as_storage_error, atomic_path, write_json
from foveate.progress import Meter
from foveate.raster import SUFFIXES, FileSource, write_cog
from foveate.raster.ground import one_crs, onto
from foveate.registry import check_choice
from foveate.world.mosaic import check_alike, check_counts, stitch, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.progress import ProgressFn
    from foveate.world.mosaic import Mosaic

FORMS = ("tif", "png")
_OURS = re.compile(r"truth\.json|images/mosaic-\d+\.(tif|png)|(images/)?\..*\.tmp")
_MODES = (1, 3)  # bands of a PNG: grey, red-green-blue
_BESIDE = 0.5  # tolerance of the position of a part, pixels


@dataclass(frozen=True)
class MosaicFiles:
    """Paths of written mosaics.

    Attributes:
        root: The folder.
        images: One image without georeference for each mosaic.
        truth: truth.json: the settings and, for each mosaic, the file, kind, label, class of every
            cell, and the pixel boxes of planted cells.
        labels: Label of each mosaic.
    """

    root: Path
    images: tuple[Path, ...]
    truth: Path
    labels: tuple[str, ...]


def patches_in(folder: str | Path) -> dict[str, list[Path]]:
    """Find the images of class folders: ``folder/CLASS/*.tif`` (or .png, .jpg, ...).

    Returns:
        Class -> its images, both by name; hidden files and folders are ignored.

    Raises:
        DataError: The folder is missing, has no subfolders, or one of them has no image.
    """
    root = Path(folder)
    hint = "Give the folder whose subfolders are the classes."
    if not root.is_dir():
        raise DataError(f"the folder {str(root)!r} does not exist", "", hint)
    found = {
        below.name: _images(below)
        for below in sorted(root.iterdir())
        if below.is_dir() and not below.name.startswith(".")
    }
    if not found:
        raise DataError(f"no class folders in {str(root)!r}", "", hint)
    empty = [name for name, images in found.items() if not images]
    if empty:
        raise DataError(
            f"there are no images in the class folder {str(root / empty[0])!r}",
            f"Expected files ending in {', '.join(SUFFIXES)}.",
            hint,
        )
    return found


def write_mosaics(  # noqa: PLR0913  (keyword-only options)
    folder: str | Path,
    out: str | Path,
    kind: str,
    count: int = 4,
    *,
    rows: int = 8,
    cols: int = 8,
    seed: int = 0,
    share: float = 0.25,
    label: str | None = None,
    tile: int | None = None,
    offset: float = 0.0,
    form: str = "tif",
    progress: ProgressFn | None = None,
) -> MosaicFiles:
    """Stitch mosaics from class folders and write them, with their truth, under `out`.

    Files are written atomically, truth.json last. Mosaic i does not depend on `count`.

    Args:
        folder: Class folders; see `patches_in`.
        out: Folder: new, empty, or of earlier mosaics, which are replaced.
        kind: See `stitch`, also for the options that are not listed here.
        count: Number of mosaics, >= 1.
        rows: Rows of cells.
        cols: Columns of cells.
        seed: Seed of all mosaics.
        share: Share of the label.
        label: The dominant or planted class; drawn randomly per scene if None.
        tile: Side of a cell, pixels.
        offset: Share of the first cells outside the scene.
        form: "tif", a GeoTIFF without georeference, or "png", for uint8 of 1 or 3 bands.
        progress: Called as mosaics are finished.

    Raises:
        UnknownNameError, ParameterError, DataError: See `stitch` and `patches_in`.
        StorageError: The folder cannot be written, or contains other files.
    """
    check_counts(count=count)
    check_choice("form", form, FORMS, "Use form='tif'.")
    root, patches = Path(out), patches_in(folder)
    _refuse_foreign(root)
    images: list[Path] = []
    scenes: list[dict[str, Any]] = []
    with Meter(progress, "stitching mosaics", count) as meter:
        for index in range(count):
            mosaic = stitch(
                patches, kind, rows=rows, cols=cols, seed=seed, index=index, share=share,
                label=label, tile=tile, offset=offset,
            )  # fmt: skip
            if index == 0:  # only now are all arguments validated
                _remove_earlier(root)
            images.append(root / "images" / f"mosaic-{index:03d}.{form}")
            write_image(images[-1], mosaic.image)
            scenes.append(_truth(mosaic, images[-1].relative_to(root).as_posix(), kind))
            meter.advance()
    truth = root / "truth.json"
    made = {"rows": rows, "cols": cols, "offset": offset, "seed": seed, "share": share}
    write_json(truth, made | {"classes": list(patches), "mosaics": scenes})
    return MosaicFiles(root, tuple(images), truth, tuple(scene["label"] for scene in scenes))


@dataclass(frozen=True, eq=False)
class Joined:
    """A scene merged from parts.

    Attributes:
        image: (c, h, w) pixels in the dtype of the parts.
        geobox: Georeference, or None where the parts have none.
    """

    image: NDArray[Any]
    geobox: GeoBox | None


def join(
    parts: str | Path | Sequence[str | Path],
    rows: int,
    cols: int,
    *,
    ignore_georeference: bool = False,
) -> Joined:
    """Merge the parts of one scene: a grid, row by row from the upper left.

    Parts are not resampled or cropped. If a scene does not divide evenly its parts differ by a
    pixel, but parts in one grid row have equal heights and parts in one grid column equal widths.
    Missing pixels become 0. Georeferenced parts must be at their grid positions, to half a
    pixel, and the scene gets their georeference; others are used in the given order.

    Args:
        parts: The image files in order, or a folder of them in the order of their names (numbers
            in a name sort numerically: part_2 before part_10).
        rows: Rows of the grid.
        cols: Columns of the grid.
        ignore_georeference: Whether to merge parts regardless of their georeference; the
            scene then has no georeference.

    Raises:
        ParameterError: Not ``rows * cols`` parts.
        DataError: A file cannot be read, the parts do not fit (sizes, bands or dtypes), or they do
            not adjacent on the ground.
    """
    check_counts(rows=rows, cols=cols)
    files = _images(Path(parts)) if isinstance(parts, str | Path) else [Path(p) for p in parts]
    if len(files) != rows * cols:
        where = f" in {str(parts)!r}" if isinstance(parts, str | Path) else ""
        raise ParameterError(
            f"{len(files)} image(s){where} for {rows} rows of {cols} parts",
            f"A grid of {rows} x {cols} requires {rows * cols}.",
            "Change the rows and columns, or list the files in order.",
        )
    sources = [FileSource(str(file)) for file in files]
    shapes = [source.info.shape for source in sources]
    heights = [shapes[row * cols][0] for row in range(rows)]
    widths = [shapes[col][1] for col in range(cols)]
    ends = np.cumsum(heights), np.cumsum(widths)
    corners = []
    for k, file in enumerate(files):
        row, col = divmod(k, cols)
        if shapes[k] != (heights[row], widths[col]):
            raise DataError(
                f"{str(file)!r} has {shapes[k][0]} x {shapes[k][1]} pixels (height x width)",
                f"In row {row + 1}, column {col + 1} the expected size is "
                f"{heights[row]} x {widths[col]}.",
                "Check the order of the parts, and the rows and columns.",
            )
        corners.append((int(ends[0][row] - heights[row]), int(ends[1][col] - widths[col])))
    shape = int(ends[0][-1]), int(ends[1][-1])
    geobox = None if ignore_georeference else _common(sources, corners, shape)
    first = sources[0].info
    image = np.empty((first.bands, *shape), first.dtype)
    for file, source, (y, x) in zip(files, sources, corners, strict=True):
        part = whole(source.read())
        check_alike(part, image, repr(str(file)))
        image[:, y : y + part.shape[1], x : x + part.shape[2]] = part
    return Joined(image, geobox)


def _common(
    sources: Sequence[FileSource], corners: Sequence[tuple[int, int]], shape: tuple[int, int]
) -> GeoBox | None:
    """Return the georeference of a scene whose parts start at `corners` (y, x), or None.

    Raises:
        DataError: A part is elsewhere, or only some are georeferenced.
    """
    from odc.geo.geobox import GeoBox

    boxes = [source.info.geobox for source in sources]
    told = "--ignore-georeference puts them together as they are ordered."
    for source, box, (y, x) in zip(sources, boxes, corners, strict=True):
        first = boxes[0]
        if box is None and first is None:
            continue
        if box is None or first is None:
            bare = source if box is None else sources[0]
            why = bare.info.unplaced or "has no georeference"
            raise DataError(
                f"{bare.path!r} {why}, other parts have one",
                "Either all parts or none must be georeferenced.",
                told,
            )
        if not one_crs(first, box) or (first.crs is None) != (box.crs is None):
            raise DataError(
                f"{source.path!r} is in {box.crs}, {sources[0].path!r} in {first.crs}",
                "All parts of a scene must have the same CRS.",
                told,
            )
        # Expected and actual corners of the part, in pixels of the first part.
        height, width = source.info.shape
        ends = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
        off = ends @ onto(box, first).T - ends - [x, y, 0]
        if np.abs(off).max() > _BESIDE:
            dx, dy = off[0, :2]
            raise DataError(
                f"{source.path!r} is not at its position in the grid: it is {dx:+.6g} pixels "
                f"to the right and {dy:+.6g} down of its place beside {sources[0].path!r}"
                if np.ptp(off, axis=0).max() <= _BESIDE
                else f"{source.path!r} has other pixels on the ground than {sources[0].path!r}: of "
                "another size, turned or flipped",
                "Georeferenced parts must be adjacent, to half a pixel.",
                f"Name the files in their order, row by row from the upper left. {told}",
            )
    first = boxes[0]
    return None if first is None else GeoBox(shape, first.affine, first.crs)


def write_image(path: str | Path, image: NDArray[Any], geobox: GeoBox | None = None) -> None:
    """Write an image, atomically.

    Args:
        path: Output file: .tif, or .png (without georeference).
        image: (c, h, w); for .png uint8 of 1 or 3 bands.
        geobox: Georeference, or None.

    Raises:
        ParameterError: The suffix is not supported, or PNG does not support the image.
        StorageError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        write_cog(path, image, geobox=geobox)
        return
    if path.suffix.lower() != ".png":
        raise ParameterError(f"the file {str(path)!r}", "Images must end in .tif or .png.")
    if image.dtype != np.uint8 or len(image) not in _MODES:
        raise ParameterError(
            f"{len(image)} band(s) of {image.dtype} in a PNG",
            "PNG supports uint8 with 1 or 3 bands.",
            "Use a .tif file.",
        )
    from PIL import Image

    pixels = np.ascontiguousarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1))
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def _images(folder: Path) -> list[Path]:
    """Return the images of a folder by name; numbers in a name sort numerically."""
    if not folder.is_dir():
        raise DataError(f"the folder {str(folder)!r} does not exist", "", "Check the path.")
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    return sorted(found, key=_by_numbers)


def _by_numbers(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Return a natural sort key, with the name as tie-break (01 and 1 are equal numbers)."""
    pieces = re.findall(r"(\D*)(\d*)", path.name)
    return [(text, int(number or -1)) for text, number in pieces], path.name


def _refuse_foreign(root: Path) -> None:
    """Reject a folder with files not written by earlier, possibly interrupted, mosaics."""
    if not root.is_dir():
        return
    found = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    foreign = [name for name in found if not _OURS.fullmatch(name)]
    if foreign:
        raise StorageError(
            f"the folder {str(root)!r} contains other files, for example {foreign[0]!r}",
            "The folder must be new, empty, or contain earlier mosaics.",
            "Use another --out.",
        )


def _remove_earlier(root: Path) -> None:
    """Remove earlier mosaics, truth.json first."""
    for path in (root / "truth.json", *sorted((root / "images").glob("mosaic-*"))):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise as_storage_error(error, path) from error


def _truth(mosaic: Mosaic, file: str, kind: str) -> dict[str, Any]:
    return {
        "file": file,
        "kind": kind,
        "label": mosaic.label,
        "tile": mosaic.tile,
        "offset": mosaic.offset,
        "cells": mosaic.names.tolist(),
        "planted": [box._asdict() for box in mosaic.planted],
    }
