"""Match high-resolution files to the tiles of a run, and compare them with the training.

A file is matched, in this order,

1. to a whole scene, if it has the name of a scene (and the same extent, if both are
   georeferenced): its R x C split gives the windows;
2. to one tile, if its name is SCENE_r03_c07 or the id of the tile (and the same extent, if both
   are georeferenced);
3. to all tiles that it covers, if it is georeferenced in the CRS of the overviews.

Pixels are never warped.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from foveate.errors import DataError
from foveate.grid import Grid, Window
from foveate.location import URL, Location
from foveate.observe.data.pairs import open_pairs
from foveate.observe.selection.overviews import MAX_FACTOR, check_bands
from foveate.pool.find import find, need_paths
from foveate.pool.names import Names
from foveate.pool.notes import warn
from foveate.pool.roles import plain_images
from foveate.raster import FileSource, crop_geobox, read_ahead
from foveate.raster.ground import common_ground, one_crs, onto, other_ground, same_extent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.observe.observer import Observer
    from foveate.observe.observer_config import ObserverConfig
    from foveate.observe.selection.selections import Selected
    from foveate.raster import Raster, Source, SourceInfo
    from foveate.remote import Ahead

_TILE = re.compile(r"(?P<scene>.+)[/_.-]r0*(?P<row>\d+)[/_.-]?c0*(?P<col>\d+)", re.IGNORECASE)
_ASPECT = 0.02  # tolerance of aspect ratios of images without a georeference
_MAX_SHEAR = 1e-6  # pixels per pixel
_GIVE = "Use --tiles with the folder of the acquired tiles, or omit it to observe no tile."


@dataclass(frozen=True)
class View:
    """A window of a raster that may contain the pixels of a tile.

    Attributes:
        source: The raster.
        window: The window; it may extend beyond the raster.
        name: File name, for messages.
    """

    source: Source
    window: Window
    name: str

    def fingerprint(self) -> Any:
        """Return a JSON-ready fingerprint of raster and window."""
        info = self.source.info
        return [info.fingerprint, info.nodata, list(self.window)]


@dataclass(eq=False)
class MatchedHR:
    """High-resolution files matched to tiles.

    Attributes:
        views: Row of a tile -> candidate windows, best first.
        unused: Names of files that match no tile of the run.
        misnamed: Names of files that do not cover the tile that their name states, and were matched
            by their ground.
    """

    views: dict[int, list[View]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)

    def of(self, rows: NDArray[np.integer]) -> MatchedHR:
        """Return the matches of a subset of tiles."""
        subset = set(rows.tolist())
        views = {row: views for row, views in self.views.items() if row in subset}
        return MatchedHR(views, self.unused, self.misnamed)

    def sources(self) -> dict[str, Source]:
        """Return name -> raster of all matched files."""
        return {view.name: view.source for views in self.views.values() for view in views}

    def ahead(self, rows: Sequence[int], bands: Sequence[int]) -> Ahead:
        """Return the prefetcher of the pixels of tiles that are read in the order of `rows`."""

        def windows(number: int) -> list[tuple[Source, Window]]:
            return [(view.source, view.window) for view in self.views.get(rows[number], ())[:1]]

        return read_ahead(self.sources().values(), len(rows), windows, bands or None)

    def read(self, row: int, bands: Sequence[int], min_valid: float) -> Raster | None:
        """Read the HR pixels of a tile.

        Args:
            row: The tile.
            bands: 1-based bands.
            min_valid: Smallest share of valid pixels.

        Returns:
            The first view with enough valid pixels, or None.
        """
        for view in self.views.get(row, ()):
            raster = view.source.read(view.window, bands=bands or None)
            if raster.valid.any() and raster.valid_share >= min_valid:
                return raster
        return None


def match_hr_tiles(given: Sequence[str | Path], selected: Selected) -> MatchedHR:
    """Match high-resolution files to tiles by their headers.

    Args:
        given: Folders and files; the scenes of a folder of pairs are used. Empty: no tile matches.
        selected: The tiles.

    Raises:
        DataError: A path does not exist, no file matches a tile, two files match the same tile, a
            raster has another CRS, or is not finer than the overview.
    """
    if not given:
        return MatchedHR()
    matcher = _Matcher(selected)
    files = _files(given)
    for key, name, source in files:
        matcher.add(key, name, source)
    if not matcher.matched.views:
        _no_match(given, len(files), selected, matcher.elsewhere)
    for row, views in matcher.matched.views.items():
        views.sort(key=lambda view: matcher.order[row, view.name])
        scene = selected.place[row, 0]
        overview = selected.target.overviews[scene].source.info
        low = math.prod(overview.shape) / math.prod(selected.target.shapes[scene])
        for view in views:
            if view.window.h * view.window.w <= low:
                raise DataError(
                    f"{view.name!r} has {view.window.h} x {view.window.w} pixels of the tile "
                    f"{str(selected.ids[row])!r}",
                    f"It must have more pixels than the overview ({low:.0f}).",
                    "Move the file out of the folder.",
                )
    return matcher.matched


def _files(given: Sequence[str | Path]) -> list[tuple[str, str, Source]]:
    """Return key, name and source of all rasters."""
    found: list[tuple[str, str, Source]] = []
    plain: list[Location] = []
    for path in need_paths([str(p) for p in given], "high-resolution image"):
        if isinstance(path, URL):
            plain.append(path)
        elif (path / "pairs.parquet").is_file():
            found += [(s.scene_id, s.uri, s.source) for s in open_pairs(path).pool.scenes]
        elif path.is_dir() and not any(path.iterdir()):
            continue
        else:
            plain.append(path)
    if plain:
        files = plain_images(find([str(p) for p in plain], "image"))
        warn(files.notes())
        found += [(file.key, str(file.path), FileSource(str(file.path))) for file in files.files]
    return found


class _Matcher:
    """Matches files to tiles; see the module docstring."""

    def __init__(self, selected: Selected) -> None:
        self._selected = selected
        self.matched = MatchedHR()
        self.order: dict[tuple[int, str], tuple[float, ...]] = {}
        self.elsewhere: list[str] = []  # descriptions of files with a fitting name only
        scenes = selected.target.pool.scenes
        self._number = {scene.scene_id: i for i, scene in enumerate(scenes)}
        self._infos = [scene.source.info for scene in scenes]
        self._names = Names(self._number, "--tiles")
        self._rows = {tuple(place): row for row, place in enumerate(selected.place.tolist())}
        self._ids: dict[str, int] = {}
        for row, name in enumerate(selected.ids.tolist()):
            self._ids[name] = self._ids[name.replace("/", "_")] = row

    def add(self, key: str, name: str, source: Source) -> None:
        """Match a file to a scene, a tile or the tiles that it covers."""
        scene = self._names.look_up(key)
        if scene is not None and self._scene(self._number[scene], name, source):
            return
        row = self._tile(key)
        named = None if scene is None else self._infos[self._number[scene]]
        if row is not None:
            named = self._ground(row)
        if row is not None and named is not None and same_extent(named, source.info):
            height, width = source.info.shape
            self._put(row, View(source, Window(0, 0, height, width), name), 0)
        elif not self._located(name, source):
            self.matched.unused.append(name)
            if named is not None:
                self.elsewhere.append(f"{name!r} {other_ground(named, source.info)}")
        elif row is not None and (row, name) not in self.order:
            self.matched.misnamed.append(name)

    def _scene(self, number: int, name: str, source: Source) -> bool:
        """Match a whole scene; return False if the file has another extent."""
        scene, info = self._infos[number], source.info
        if scene.geobox is not None and info.geobox is not None:
            if not same_extent(info, scene):
                return False
        elif abs(math.log(_aspect(info.shape) / _aspect(scene.shape))) > math.log1p(_ASPECT):
            raise DataError(
                f"{name!r} has {info.shape[0]} x {info.shape[1]} pixels, the scene "
                f"{self._selected.name(number)!r} {scene.shape[0]} x {scene.shape[1]}",
                "Without a georeference of both, their aspect ratios must be equal within 2 %.",
                "Crop the image to the extent of the scene, or rename it.",
            )
        split = Grid.split(info.shape, *self._selected.target.shapes[number]).tiles()
        windows = {
            (row, col): split.window(i)
            for i, (row, col) in enumerate(zip(split.row.tolist(), split.col.tolist(), strict=True))
        }
        for row in self._selected.target.rows[number].tolist():
            _, i, j = self._selected.place[row].tolist()
            self._put(row, View(source, windows[i, j], name), 1)
        return True

    def _tile(self, key: str) -> int | None:
        """Return the row of the tile with a name, or None."""
        if key in self._ids:
            return self._ids[key]
        match = _TILE.fullmatch(key)
        scene = None if match is None else self._names.look_up(match["scene"])
        if match is None or scene is None:
            return None
        return self._rows.get((self._number[scene], int(match["row"]), int(match["col"])))

    def _ground(self, row: int) -> SourceInfo:
        """Return the extent of a tile: its part of the overview."""
        tiles, info = self._selected.target.pool.tiles, self._infos[self._selected.place[row, 0]]
        assert tiles is not None  # noqa: S101  (targets are cut from scenes)
        window = tiles.window(row)
        return replace(info, shape=(window.h, window.w), geobox=crop_geobox(info.geobox, window))

    def _located(self, name: str, source: Source) -> bool:
        """Match a georeferenced file to the tiles that it covers; return whether there are any."""
        info = source.info
        if info.geobox is None:
            return False
        same = []
        for number, scene in enumerate(self._infos):
            if scene.geobox is None:
                continue
            if one_crs(info.geobox, scene.geobox):
                same.append((number, scene.geobox))
            elif common_ground(info, scene) is not False:
                crs = str(scene.geobox.crs)
                _warp(name, f"is in {info.geobox.crs}", f"in {crs}", crs)
        before = len(self.order)
        for number, box in same:
            self._cover(number, onto(box, info.geobox), name, source)
        return len(self.order) > before

    def _cover(
        self, number: int, transform: NDArray[np.float64], name: str, source: Source
    ) -> None:
        """Match the tiles of a scene that a raster covers.

        `transform` maps pixels of the scene to pixels of the raster.
        """
        info, selected = source.info, self._selected
        rows, tiles = selected.target.rows[number], selected.target.pool.tiles
        assert tiles is not None  # noqa: S101  (targets are cut from scenes)
        rotated = max(abs(transform[0, 1]), abs(transform[1, 0])) > _MAX_SHEAR
        edges = []
        for start, size, axis in ((tiles.x, tiles.w, 0), (tiles.y, tiles.h, 1)):
            ends = np.stack([start[rows], start[rows] + size[rows]]).astype(np.float64)
            # Sorted, since the raster may be flipped.
            pixels = np.sort(ends * transform[axis, axis] + transform[axis, 2], axis=0)
            edges.append(np.rint(pixels).astype(np.int64))
        (left, right), (top, bottom) = edges
        height, width = info.shape
        inside = np.maximum(0, np.minimum(right, width) - np.maximum(left, 0)) * np.maximum(
            0, np.minimum(bottom, height) - np.maximum(top, 0)
        )
        pixels = (right - left) * (bottom - top)
        share = inside / np.maximum(pixels, 1)
        fits = (share > 0) & (share >= selected.job.min_valid)
        if fits.any() and (rotated or min(transform[0, 0], transform[1, 1]) <= 0):
            _warp(
                name,
                "is rotated or flipped",
                "north-up like the overview",
                str(info.geobox and info.geobox.crs),
            )
        for i in np.flatnonzero(fits).tolist():
            window = Window(
                int(top[i]), int(left[i]), int(bottom[i] - top[i]), int(right[i] - left[i])
            )
            self._put(int(rows[i]), View(source, window, name), 2, -float(share[i]))

    def _put(self, row: int, view: View, kind: int, after: float = 0.0) -> None:
        views = self.matched.views.setdefault(row, [])
        order = (kind, after, len(self.order))
        for other in views:
            if kind < 2 and self.order[row, other.name][0] == kind:
                raise DataError(
                    f"two files match the tile {str(self._selected.ids[row])!r}: {other.name!r} "
                    f"and {view.name!r}",
                    "A tile or scene must be one file.",
                    "Move one of them out of the folder.",
                )
        views.append(view)
        self.order[row, view.name] = order


def _aspect(shape: tuple[int, int]) -> float:
    return shape[0] / shape[1]


def _warp(name: str, what: str, required: str, crs: str) -> NoReturn:
    raise DataError(
        f"{name!r} {what}",
        f"High resolution must be {required}; pixels are not warped.",
        f"Warp it first: gdalwarp -t_srs {shlex.quote(crs)} {shlex.quote(Path(name).name)} "
        "warped.tif",
    )


def _no_match(
    given: Sequence[str | Path], files: int, selected: Selected, elsewhere: Sequence[str]
) -> NoReturn:
    """Raise the error with examples of the expected names."""
    row = int(np.flatnonzero(selected.chosen)[0]) if selected.chosen.any() else 0
    scene, i, j = selected.place[row].tolist()
    name = selected.name(scene)
    expected = (f"{name}.tif", f"{name}_r{i:02d}_c{j:02d}.tif", f"{selected.ids[row]}.tif")
    raise DataError(
        f"no file in {', '.join(map(str, given))!r} matches a tile of the run: "
        + (
            elsewhere[0]
            if elsewhere
            else f"{files} rasters with other names, on other ground"
            if files
            else "there are no rasters"
        ),
        f"Expected names such as {', '.join(map(repr, expected))}, or georeferenced rasters that "
        "cover tiles.",
        _GIVE,
    )


def check_like(observer: Observer, matched: MatchedHR, chosen: Sequence[int]) -> None:
    """Check that matched files have the bands and dtype of the training.

    Raises:
        DataError: Bands or dtype differ.
        ParameterError: The choice of bands is ambiguous.
    """
    encoder = observer.record.encoders["hr"]
    infos = {name: source.info for name, source in matched.sources().items()}
    named = {repr(name): info for name, info in infos.items()}
    check_bands(named, encoder, chosen, of=" of high resolution")
    for name, info in infos.items():
        if (info.dtype == "uint8") != (encoder.dtype == "uint8"):
            raise DataError(
                f"dtype mismatch: {name!r} has the dtype {info.dtype}",
                f"The observer was trained on high resolution of {encoder.dtype}.",
                f"Convert it: gdal_translate -ot Byte -scale LOW HIGH 0 255 {Path(name).name} "
                "out.tif"
                if encoder.dtype == "uint8"
                else "Use the product level of the training.",
            )


def hr_cautions(record: ObserverConfig, matched: MatchedHR, selected: Selected) -> list[str]:
    """Return cautions (sentences) about the ground and the pixel sizes of acquired tiles.

    Args:
        record: Configuration of the observer.
        matched: The tiles.
        selected: The tiles of the run, with their overviews.
    """
    return [*_misnamed(matched), *_pixel_sizes(record, matched, selected)]


def _misnamed(matched: MatchedHR) -> list[str]:
    if not matched.misnamed:
        return []
    first, more = repr(Path(matched.misnamed[0]).name), len(matched.misnamed) - 1
    files = f"The files {first} and {more} more lie" if more else f"The file {first} lies"
    text = f"{files} on other ground than the tile that the name states. Files are used where they "
    return [f"{text}lie: rename them, or correct their georeference."]


def _pixel_sizes(record: ObserverConfig, matched: MatchedHR, selected: Selected) -> list[str]:
    """Return a caution about acquired tiles with other pixel sizes than in training.

    The pixel size of a tile is that of its overview divided by the ratio of their pixels, so it is
    also known for files without a georeference.

    Args:
        record: Configuration of the observer.
        matched: The tiles.
        selected: The tiles of the run, with their overviews.
    """
    target, different = selected.target, {}
    for row, views in matched.views.items():
        scene = int(selected.place[row, 0])
        low = math.prod(target.overviews[scene].source.info.shape) / math.prod(target.shapes[scene])
        usual = record.ratio
        if record.gsd is not None and target.gsd is not None:
            usual = target.gsd[scene] / record.gsd[1]
        for view in views:
            factor = usual / math.sqrt(view.window.h * view.window.w / low)
            # Windows are rounded to whole pixels.
            if not 0.98 / MAX_FACTOR <= factor <= MAX_FACTOR / 0.98:
                different.setdefault(view.name, factor)
    if not different:
        return []
    name = max(different, key=lambda name: abs(math.log(different[name])))
    factor = different[name]
    size = f"{factor:.2g} times as large as in training"
    if record.gsd is not None and target.gsd is not None:
        size = f"{factor * record.gsd[1]:.2g} m wide, not {record.gsd[1]:g} m as in training"
    files = "1 file" if len(different) == 1 else f"{len(different)} files"
    text = (
        f"The pixel size of {files} of high resolution differs from that of the training by more "
        f"than a factor {MAX_FACTOR:g}: pixels of {Path(name).name!r} are {size}. Features of "
        "observed tiles may be meaningless. Use imagery of the resolution of the training."
    )
    return [text]
