"""Quality rasters of images: the share of each tile that is cloud, shadow or snow.

Three kinds are supported, as documented by their products:

- ``scl``: the scene classification of Sentinel-2 Level-2A. Bad values are 1 (saturated or
  defective), 3 (cloud shadow), 8 and 9 (cloud), 10 (thin cirrus) and 11 (snow or ice); 0 is no
  data.
- ``qa_pixel``: the bit flags of Landsat Collection 2. Bad bits are 1 (dilated cloud),
  2 (cirrus), 3 (cloud), 4 (cloud shadow) and 5 (snow); bit 0 is fill, no data.
- ``mask``: any raster; all values except 0 are bad. Another value that is declared as nodata is no
  data; 0 is data, even if it is declared as nodata.

A quality raster covers the ground of its image, at any resolution: a pixel of the image has the
value of the pixel that contains its centre. Shares refer to pixels with data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.grid import Window
from foveate.pool.attributes import Attributes
from foveate.pool.find import find, need_files
from foveate.pool.names import Names
from foveate.pool.notes import Note, warn
from foveate.pool.stac.asset_source import need_asset
from foveate.progress import Meter
from foveate.raster import FileSource, open_ahead, read_ahead
from foveate.raster.ground import onto, other_ground, warp
from foveate.wording import part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.pool.find import Paths
    from foveate.pool.found import File
    from foveate.pool.pool import Pool, Scene
    from foveate.progress import ProgressFn
    from foveate.raster import Source

Kind = Literal["auto", "scl", "qa_pixel", "mask"]
BAD = "bad"  # name of the attribute with the shares
SCL = (1, 3, 8, 9, 10, 11)
_LAST = 11  # last value of SCL
QA_PIXEL = 0b111110
_FILL = 1
_ENDING = re.compile(
    r"[_.\- ]*(scl|qa[_\-]?pixel|qa|quality|clouds?|cloud[_\-]?mask|masks?)"
    r"(?:[_\-]?(\d+m))?$",
    re.IGNORECASE,
)
_KIND = re.compile(r"(?:^|[_.\- /])(scl|qa_pixel)(?=$|[_.\- /])", re.IGNORECASE)


@dataclass(frozen=True)
class Quality:
    """Quality rasters, and the maximum share of bad pixels of a tile.

    Attributes:
        files: Folders, files or globs of quality rasters, paired with the images by name; [] for
            the quality assets of STAC items, which some items may not have.
        kind: Meaning of their values; "auto" for the kind in their names: SCL or QA_PIXEL.
        most: Maximum bad share of a tile that is kept, 0 to 1; 1 for no limit.
    """

    files: Paths
    kind: Kind = "auto"
    most: float = 0.2

    def __call__(self, pool: Pool, progress: ProgressFn | None = None) -> Pool:
        """Return the pool with the attribute ``bad``, without tiles above the maximum share.

        Raises:
            DataError: An image has no quality raster, a raster of different ground, or one with
                values beyond those of its kind; or no tile is left.
            ParameterError: The names of the rasters do not contain the kind.
        """
        tiles, share = pool.tiles, np.full(len(pool), np.nan)
        if tiles is None:
            raise DataError(
                "quality rasters for a pool without imagery", "Quality rasters require images.",
                "Use a column of a table: --attributes FILE.",
            )  # fmt: skip
        rasters = self._of_files(pool) if self.files else self._of_items(pool)
        if not rasters:
            return pool
        open_ahead(source for source, _ in rasters.values())
        with Meter(progress, "reading quality", len(pool)) as meter:
            for scene, rows in pool.per_scene():
                if scene.scene_id not in rasters:
                    share[rows] = np.nan
                    meter.advance(rows.size)
                    continue
                raster = _Raster(scene, *rasters[scene.scene_id])
                windows = [tiles.window(row) for row in rows.tolist()]
                for row, bad in zip(rows.tolist(), raster.shares(windows), strict=True):
                    share[row] = bad
                    meter.advance()
        attributes = Attributes.of({BAD: share})
        if pool.attributes is not None:
            attributes = pool.attributes.joined(attributes)
        return leave_out(
            replace(pool, attributes=attributes), share > self.most, share, self.most,
            "bad pixels in the quality raster", "--max-bad",
        )  # fmt: skip

    def _of_files(self, pool: Pool) -> dict[str, tuple[FileSource, str]]:
        """Return the raster of each scene and its kind, paired by name."""
        rasters = need_files(find(self.files, "quality raster"), "quality raster")
        files = pair(rasters.files, [scene.scene_id for scene in pool.scenes])
        return {
            name: (FileSource(str(file.path), palette=False), self.kind_of(file.key))
            for name, file in files.items()
        }

    def _of_items(self, pool: Pool) -> dict[str, tuple[FileSource, str]]:
        """Return the raster and its kind of each scene whose item has a quality asset."""
        rasters: dict[str, tuple[FileSource, str]] = {}
        for scene in pool.scenes:
            source = None if scene.item is None else scene.item.quality_source
            if scene.item is not None and source is not None:
                name = scene.item.quality_kind or source.asset
                rasters[scene.scene_id] = (need_asset(source), self.kind_of(name))
        return rasters

    def kind_of(self, name: str) -> str:
        """Return the kind of a raster: the meaning of its values.

        Raises:
            ParameterError: Its name does not contain the kind.
        """
        if self.kind != "auto":
            return self.kind
        match = _KIND.search(name)
        if match is None:
            raise ParameterError(
                f"the kind of the quality raster {name!r} is unknown",
                "It is inferred from names with SCL (Sentinel-2) or QA_PIXEL (Landsat).",
                "Give it: --quality-kind scl, qa_pixel, or mask (all values except 0 are bad).",
            )
        return match[1].lower()


def pair(files: Sequence[File], scenes: Sequence[str]) -> dict[str, File]:
    """Return the quality raster of each scene.

    Names match apart from an ending such as ``_SCL_20m``; scenes may have another ending
    (``_TCI_10m``).

    Raises:
        DataError: A scene has no quality raster, or several.
    """
    if len(files) == len(scenes) == 1:
        return {scenes[0]: files[0]}
    names, rasters = Names(scenes, "the folder of quality rasters"), dict[str, Any]()
    for file in files:
        stem = _ENDING.sub("", file.key)
        scene = names.look_up(stem)
        last = stem.rsplit("/", 1)[-1]
        if scene is None:
            longer = re.compile(re.escape(last) + r"[_.\- ]")
            matches = [key for key in scenes if longer.match(key.rsplit("/", 1)[-1])]
            scene = matches[0] if len(matches) == 1 else None
        if scene is None:
            continue
        if scene in rasters:
            raise DataError(
                f"two quality rasters may belong to the image {scene!r}: {rasters[scene].key!r} "
                f"and {file.key!r}",
                "An image must have one quality raster.",
                "Select by a glob: --quality 'DIR/*_SCL_20m.tif'.",
            )
        rasters[scene] = file
    missing = [scene for scene in scenes if scene not in rasters]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(scenes)} images have no quality raster, the first is "
            f"{missing[0]!r}",
            f"There are {len(files)} quality rasters, for example {files[0].key!r}.",
            "An image and its quality raster must have the same name, apart from endings such as "
            "_SCL, _QA_PIXEL or _mask.",
        )
    return rasters


def leave_out(  # noqa: PLR0917  (parts of the messages)
    pool: Pool, bad: NDArray[np.bool_], share: NDArray[np.float64], most: float, what: str,
    option: str,
) -> Pool:  # fmt: skip
    """Return a pool without bad tiles; `Pool.excluded` lists them and a note counts them.

    Raises:
        DataError: No tile is left.
    """
    if not bad.any():
        return pool
    if bad.all():
        raise DataError(
            f"all {len(pool)} tiles have over {most:.0%} {what}",
            "No tile is left in the pool.",
            f"Raise the limit ({option}), or check the files.",
        )
    excluded = {
        str(pool.ids[i]): f"{share[i]:.1%} {what}, over {most:.0%}" for i in np.flatnonzero(bad)
    }
    text = part(
        len(excluded), len(pool), "tile", f"has over {most:.0%} {what} and is excluded",
        f"have over {most:.0%} {what} and are excluded",
    )  # fmt: skip
    notes = warn([Note("validity", text, items=tuple(excluded))])
    kept = replace(pool, excluded={**pool.excluded, **excluded}, notes=(*pool.notes, *notes))
    return kept.take(np.flatnonzero(~bad))


def bad_pixels(
    values: NDArray[Any], valid: NDArray[np.bool_], kind: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the (h, w) bool masks of bad pixels and of pixels with data.

    Args:
        values: (h, w) values of a quality raster.
        valid: (h, w) bool, pixels that are not nodata in the file.
        kind: "scl", "qa_pixel" or "mask".
    """
    if kind == "scl":
        known = valid & (values != 0)
        return known & np.isin(values, SCL), known
    if kind == "qa_pixel":
        flags = values.astype(np.int64)
        known = valid & (flags & _FILL == 0)
        return known & (flags & QA_PIXEL != 0), known
    # Many masks declare 0, the value of good pixels, as nodata.
    return valid & (values != 0), valid | (values == 0)


class _Raster:
    """The quality raster of a scene, read in the pixels of the scene."""

    def __init__(self, scene: Scene, source: FileSource, kind: str) -> None:
        self.source, self.kind, self.scene = source, kind, repr(scene.scene_id)
        image, own = scene.source.info, self.source.info
        other = other_ground(image, own)
        if other:
            raise DataError(
                f"the quality raster of {scene.scene_id!r} and its image cover different ground: "
                f"the raster {other}",
                "A quality raster must cover the ground of its image, at any resolution.",
                warp(image, resampling="near", size=False),
            )
        (h, w), (oh, ow) = self.shape, self.own = image.shape, own.shape
        self.y, self.x = (oh / h, 0.0), (ow / w, 0.0)
        if image.geobox is not None and own.geobox is not None:
            there = onto(image.geobox, own.geobox)
            self.y = float(there[1, 1]), float(there[1, 2])
            self.x = float(there[0, 0]), float(there[0, 2])

    def shares(self, tiles: Sequence[Window]) -> Iterator[float]:
        """Yield the bad share of each tile; NaN for tiles without data."""
        pixels = [self._pixels(tile) for tile in tiles]

        def windows(number: int) -> list[tuple[Source, Window]]:
            rows, cols = pixels[number]
            return [(self.source, _around(rows, cols))] if rows.size and cols.size else []

        ahead = read_ahead([self.source], len(tiles), windows, [1])
        for number, (rows, cols) in enumerate(pixels):
            ahead.at(number)
            yield self._share(rows, cols) if rows.size and cols.size else np.nan

    def _pixels(self, tile: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows and columns of the quality raster that contain the pixels of a tile."""
        return (
            _nearest(tile.y, tile.h, self.shape[0], self.y, self.own[0]),
            _nearest(tile.x, tile.w, self.shape[1], self.x, self.own[1]),
        )

    def _share(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> float:
        window = _around(rows, cols)
        raster = self.source.read(window, bands=[1])
        index = np.ix_(rows - window.y, cols - window.x)
        values, valid = raster.data[0][index], raster.valid[index]
        if self.kind == "scl" and (values[valid] > _LAST).any():
            raise DataError(
                f"the quality raster of {self.scene} has the value {values[valid].max()}, and its "
                "kind is scl",
                f"Values of the scene classification of Sentinel-2 are integers from 0 to {_LAST}.",
                "State the kind: --quality-kind qa_pixel, or mask.",
            )
        bad, known = bad_pixels(values, valid, self.kind)
        return float(bad.sum() / known.sum()) if known.any() else np.nan


def _around(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Window:
    y, x = int(rows.min()), int(cols.min())
    return Window(y, x, int(rows.max()) + 1 - y, int(cols.max()) + 1 - x)


def _nearest(
    start: int, size: int, limit: int, transform: tuple[float, float], length: int
) -> NDArray[np.int64]:
    """Return the pixel of another grid that contains each pixel of a window, along one axis.

    Args:
        start: First pixel of the window.
        size: Number of its pixels.
        limit: Number of pixels of its raster.
        transform: Scale and offset from these pixels to those of the other grid.
        length: Number of pixels of the other grid.
    """
    pixels = np.arange(max(start, 0), min(start + size, limit))
    nearest = np.floor((pixels + 0.5) * transform[0] + transform[1]).astype(np.int64)
    return np.clip(nearest, 0, length - 1)
