"""High resolution of tiles: matching files to the tiles of a run, and encoding them.

A file is taken, in this order,

1. as a whole scene, where it has the name of one (and its ground, where both are georeferenced):
   its R x C split gives the windows;
2. as one tile, where it is called SCENE_r03_c07, or by the id of the tile;
3. as a piece of ground, where it is georeferenced in the coordinates of the overviews: the windows
   of all tiles that it covers.

Pixels are never warped.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from foveate.errors import DataError
from foveate.files import fingerprint
from foveate.grid import Grid, Window
from foveate.location import URL, Location
from foveate.models.embed import fill_invalid
from foveate.models.load import build_model
from foveate.observe.features import TileTokens
from foveate.observe.observer import WEIGHTS, Observer, Scenes
from foveate.observe.overviews import check_bands
from foveate.observe.pairs import open_pairs
from foveate.pool.find import find, need_paths
from foveate.pool.names import Names
from foveate.pool.notes import warn
from foveate.pool.roles import plain_images
from foveate.raster import FileSource, read_ahead
from foveate.raster.ground import one_crs, onto, same_extent
from foveate.run.shards import to_half

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.observe.selections import Selected
    from foveate.raster import Raster, Source
    from foveate.remote import Ahead

WHOLE = 1024  # tiles of a scene that are completed at once; the memory of attention and kriging


def weights_print(observer: Observer) -> str:
    """Return what tells an observer from others, wherever it lies: a hash of its weights."""
    return fingerprint(Path(observer.folder) / WEIGHTS)


def built(observer: Observer, role: str, device: str = "auto") -> Any:
    """Build an encoder of an observer, for the bands and values of its training.

    Raises:
        DataError: The observer has no such encoder.
    """
    handle = observer.handle(role, device)
    spec = observer.record.encoders[role].spec
    return build_model(handle, spec.bands, spec.scale or ())


@dataclass(eq=False)
class HighTokens:
    """Reads tiles that were bought with the HR encoder of an observer.

    Attributes:
        observer: The observer.
        bought: Where the tiles are.
        ids: (n,) names of all tiles.
        bands: 1-based bands to read; empty for those of the training.
        min_valid: Smallest share of valid pixels of a tile that counts as observed.
        batch_size: Tiles per call of the encoder.
        device: Of the encoder.
    """

    observer: Observer
    bought: MatchedHR
    ids: NDArray[np.str_]
    bands: Sequence[int] = ()
    min_valid: float = 0.5
    batch_size: int = 32
    device: str = "auto"

    @cached_property
    def _encoder(self) -> TileTokens:
        """Reads HR tiles, as in training; built when the first one is read.

        Raises:
            DataError: The encoder is another one by now.
        """
        spec = self.observer.record.encoders["hr"].spec
        model: Any = built(self.observer, "hr", self.device)
        if model.spec.fingerprint != spec.fingerprint:
            raise DataError(
                f"the HR encoder {spec.name!r} is another one than in training",
                "Features of two encoders do not mix.",
                "Put the weights of the training back, or train again.",
            )
        return TileTokens(model, self.observer.record.shape.hr_side)

    def read(self, rows: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the reduced HR tokens, (k * k, d), of the tiles that can be read."""
        waiting: dict[tuple[int, ...], list[tuple[int, NDArray[Any]]]] = {}
        bands = self.bands or self.observer.record.encoders["hr"].spec.bands
        order = list(rows)
        ahead = self.bought.ahead(order, bands)
        for number, row in enumerate(order):
            ahead.at(number)
            raster = self.bought.read(row, bands, self.min_valid)
            if raster is None:
                continue
            tile = fill_invalid(raster)
            batch = waiting.setdefault(tile.shape, [])
            batch.append((row, tile))
            if len(batch) == self.batch_size:
                yield from self._encode(waiting.pop(tile.shape))
        for batch in waiting.values():
            yield from self._encode(batch)

    def _encode(
        self, batch: list[tuple[int, NDArray[Any]]]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        tokens, _, _ = self._encoder.unpack(self._encoder.embed(np.stack([t for _, t in batch])))
        # In half precision, as features are kept that the reduction was fitted to.
        half = to_half(self.ids[[row for row, _ in batch]], tokens)
        for i, (row, _) in enumerate(batch):
            # Each by itself: the bits of a product depend on how many rows it has.
            yield row, self.observer.hr(half[i : i + 1])[0]


def in_blocks(
    observer: Observer, lr: NDArray[np.floating], hr: NDArray[np.floating],
    seen: NDArray[np.bool_], whole: int = WHOLE,
) -> Scenes:  # fmt: skip
    """Complete one scene; a large one in blocks of about as many tiles as in training.

    Attention and kriging look at all pairs of tiles. In a block what was observed in others has no
    effect.

    Args:
        observer: Who completes.
        lr: (R * r, C * r, lr_dim) reduced LR tokens.
        hr: (R * k, C * k, hr_dim) reduced HR tokens of observed tiles.
        seen: (R, C) bool.
        whole: Most tiles that are completed at once.

    Returns:
        Arrays of one scene.
    """
    if seen.size <= whole:
        return observer.complete(lr[None], hr[None], seen[None])
    r, k = observer.record.shape.lr_side, observer.record.shape.hr_side
    edges = [
        np.arange(parts + 1) * n // parts
        for n, own in zip(seen.shape, observer.record.tiles, strict=True)
        for parts in (-(-n // own),)
    ]
    tokens, fill = np.empty((2, *hr.shape), np.float32)
    doubt = np.empty(seen.shape, np.float32)
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            own, low, high = (np.s_[top * n : bottom * n, left * n : right * n] for n in (1, r, k))
            part = observer.complete(lr[low][None], hr[high][None], seen[own][None])
            tokens[high], fill[high], doubt[own] = part.tokens[0], part.fill[0], part.doubt[0]
    return Scenes(tokens[None], fill[None], doubt[None])


def check_like(observer: Observer, bought: MatchedHR, chosen: Sequence[int]) -> None:
    """Check bands and dtype of what was bought.

    Raises:
        DataError: They are not those of the training.
        ParameterError: It is not clear which bands are meant.
    """
    encoder = observer.record.encoders["hr"]
    infos = {name: source.info for name, source in bought.sources().items()}
    named = {repr(name): info for name, info in infos.items()}
    check_bands(named, encoder, chosen, of=" of high resolution")
    for name, info in infos.items():
        if (info.dtype == "uint8") != (encoder.dtype == "uint8"):
            raise DataError(
                f"dtype mismatch: {name!r} holds {info.dtype}",
                f"The observer was trained on high resolution of {encoder.dtype}.",
                f"Convert it: gdal_translate -ot Byte -scale LOW HIGH 0 255 {Path(name).name} "
                "out.tif"
                if encoder.dtype == "uint8"
                else "Give the product level of the training.",
            )


_TILE = re.compile(r"(?P<scene>.+)[/_.-]r0*(?P<row>\d+)[/_.-]?c0*(?P<col>\d+)", re.IGNORECASE)
_ASPECT = 0.02  # of two pictures without a georeference
_TURNED = 1e-6  # pixels askew per pixel
_GIVE = "Give --tiles the folder of what was bought; or leave it out to observe nothing."


@dataclass(frozen=True)
class View:
    """Pixels that may show a tile.

    Attributes:
        source: Where.
        window: Which ones; it may reach beyond the raster.
        name: The file, for people.
    """

    source: Source
    window: Window
    name: str

    def prints(self) -> Any:
        """Return what tells these pixels from others, JSON-ready."""
        info = self.source.info
        return [info.fingerprint, info.nodata, list(self.window)]


@dataclass(eq=False)
class MatchedHR:
    """What was found.

    Attributes:
        views: Row of a tile -> where its pixels may be, the best place first.
        unused: Names of files that show no tile of the run.
    """

    views: dict[int, list[View]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def of(self, rows: NDArray[np.integer]) -> MatchedHR:
        """Return what was found for some tiles alone."""
        kept = set(rows.tolist())
        views = {row: views for row, views in self.views.items() if row in kept}
        return MatchedHR(views, self.unused)

    def sources(self) -> dict[str, Source]:
        """Return the rasters in use by their names."""
        return {view.name: view.source for views in self.views.values() for view in views}

    def ahead(self, rows: Sequence[int], bands: Sequence[int]) -> Ahead:
        """Return what fetches the pixels of tiles, which are read one after the other."""

        def wanted(number: int) -> list[tuple[Source, Window]]:
            return [(view.source, view.window) for view in self.views.get(rows[number], ())[:1]]

        return read_ahead(self.sources().values(), len(rows), wanted, bands or None)

    def read(self, row: int, bands: Sequence[int], min_valid: float) -> Raster | None:
        """Read the HR pixels of a tile.

        Args:
            row: The tile.
            bands: 1-based bands.
            min_valid: Smallest share of valid pixels.

        Returns:
            The first view with enough valid pixels; None where there is none.
        """
        for view in self.views.get(row, ()):
            raster = view.source.read(view.window, bands=bands or None)
            if raster.valid.any() and raster.valid_share >= min_valid:
                return raster
        return None


def match_hr_tiles(given: Sequence[str | Path], selected: Selected) -> MatchedHR:
    """Find the HR of tiles; headers only.

    Args:
        given: Folders and files; a folder of pairs stands for its scenes.
        selected: The tiles.

    Raises:
        DataError: A path does not exist, nothing fits any tile, two files are the same tile, a
            raster is in other coordinates, or it is no finer than the overview.
    """
    search = _Search(selected)
    found = _files(given)
    for key, name, source in found:
        search.add(key, name, source)
    if not search.bought.views:
        _nothing(given, len(found), selected)
    for row, views in search.bought.views.items():
        views.sort(key=lambda view: search.order[row, view.name])
        scene = selected.place[row, 0]
        overview = selected.target.overviews[scene].source.info
        low = math.prod(overview.shape) / math.prod(selected.target.shapes[scene])
        for view in views:
            if view.window.h * view.window.w <= low:
                raise DataError(
                    f"{view.name!r} has {view.window.h} x {view.window.w} pixels of the tile "
                    f"{str(selected.ids[row])!r}",
                    f"Its overview has {low:.0f} of them already: this is no high resolution.",
                    "Move the file out of the folder.",
                )
    return search.bought


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


class _Search:
    """Takes one file after another; see the head of this file."""

    def __init__(self, selected: Selected) -> None:
        self._selected = selected
        self.bought = MatchedHR()
        self.order: dict[tuple[int, str], tuple[float, ...]] = {}
        scenes = selected.target.pool.scenes
        self._number = {scene.scene_id: i for i, scene in enumerate(scenes)}
        self._grounds = [scene.source.info for scene in scenes]
        self._names = Names(self._number, "--tiles")
        self._rows = {tuple(place): row for row, place in enumerate(selected.place.tolist())}
        self._ids: dict[str, int] = {}
        for row, name in enumerate(selected.ids.tolist()):
            self._ids[name] = self._ids[name.replace("/", "_")] = row

    def add(self, key: str, name: str, source: Source) -> None:
        """Take a file for what it is."""
        scene = self._names.look_up(key)
        if scene is not None and self._scene(self._number[scene], name, source):
            return
        row = self._tile(key)
        if row is not None:
            height, width = source.info.shape
            self._put(row, View(source, Window(0, 0, height, width), name), 0)
        elif not self._located(name, source):
            self.bought.unused.append(name)

    def _scene(self, number: int, name: str, source: Source) -> bool:
        """Take a whole scene, unless it shows other ground."""
        ground, info = self._grounds[number], source.info
        if ground.geobox is not None and info.geobox is not None:
            if not same_extent(info, ground):
                return False
        elif abs(math.log(_aspect(info.shape) / _aspect(ground.shape))) > math.log1p(_ASPECT):
            raise DataError(
                f"{name!r} has {info.shape[0]} x {info.shape[1]} pixels, the scene "
                f"{self._selected.name(number)!r} {ground.shape[0]} x {ground.shape[1]}",
                "Without a georeference of both, their sides have one ratio (to 2 %).",
                "Cut the image to the ground of the scene, or rename it.",
            )
        split = Grid.split(info.shape, *self._selected.target.shapes[number]).tiles()
        windows = {
            (row, col): split.window(i)
            for i, (row, col) in enumerate(zip(split.row.tolist(), split.col.tolist(), strict=True))
        }
        for row in self._selected.rows(number).tolist():
            _, down, across = self._selected.place[row].tolist()
            self._put(row, View(source, windows[down, across], name), 1)
        return True

    def _tile(self, key: str) -> int | None:
        """Return the tile that a name means."""
        if key in self._ids:
            return self._ids[key]
        told = _TILE.fullmatch(key)
        scene = None if told is None else self._names.look_up(told["scene"])
        if told is None or scene is None:
            return None
        return self._rows.get((self._number[scene], int(told["row"]), int(told["col"])))

    def _located(self, name: str, source: Source) -> bool:
        """Take a piece of ground."""
        info = source.info
        boxes = [(i, g.geobox) for i, g in enumerate(self._grounds) if g.geobox is not None]
        if info.geobox is None or not boxes:
            return False
        same = [(i, box) for i, box in boxes if one_crs(info.geobox, box)]
        if not same:
            crs = str(boxes[0][1].crs)
            _warp(name, f"is in {info.geobox.crs}", f"in {crs}", crs)
        before = len(self.order)
        for number, box in same:
            self._cover(number, onto(box, info.geobox), name, source)
        return len(self.order) > before

    def _cover(self, number: int, way: NDArray[np.float64], name: str, source: Source) -> None:
        """Take the tiles of one scene that a raster covers; `way` leads to its pixels."""
        info, selected = source.info, self._selected
        rows, tiles = selected.rows(number), selected.target.pool.tiles
        assert tiles is not None  # noqa: S101  (targets are cut from scenes)
        turned = max(abs(way[0, 1]), abs(way[1, 0])) > _TURNED
        edges = []
        for start, size, axis in ((tiles.x, tiles.w, 0), (tiles.y, tiles.h, 1)):
            at = np.stack([start[rows], start[rows] + size[rows]]).astype(np.float64)
            there = np.sort(at * way[axis, axis] + way[axis, 2], axis=0)  # flipped ones, too
            edges.append(np.rint(there).astype(np.int64))
        (left, right), (top, bottom) = edges
        height, width = info.shape
        inside = np.maximum(0, np.minimum(right, width) - np.maximum(left, 0)) * np.maximum(
            0, np.minimum(bottom, height) - np.maximum(top, 0)
        )
        pixels = (right - left) * (bottom - top)
        share = inside / np.maximum(pixels, 1)
        fits = (share > 0) & (share >= selected.job.min_valid)
        if fits.any() and (turned or min(way[0, 0], way[1, 1]) <= 0):
            _warp(
                name,
                "is turned or flipped",
                "north-up like the overview",
                str(info.geobox and info.geobox.crs),
            )
        for i in np.flatnonzero(fits).tolist():
            window = Window(
                int(top[i]), int(left[i]), int(bottom[i] - top[i]), int(right[i] - left[i])
            )
            self._put(int(rows[i]), View(source, window, name), 2, -float(share[i]))

    def _put(self, row: int, view: View, kind: int, after: float = 0.0) -> None:
        views = self.bought.views.setdefault(row, [])
        order = (kind, after, len(self.order))
        for other in views:
            if kind < 2 and self.order[row, other.name][0] == kind:
                raise DataError(
                    f"two files show the tile {str(self._selected.ids[row])!r}: {other.name!r} and "
                    f"{view.name!r}",
                    "A tile, or a scene, is one file.",
                    "Move one of them out of the folder.",
                )
        views.append(view)
        self.order[row, view.name] = order


def _aspect(shape: tuple[int, int]) -> float:
    return shape[0] / shape[1]


def _warp(name: str, what: str, wanted: str, crs: str) -> NoReturn:
    raise DataError(
        f"{name!r} {what}",
        f"High resolution comes {wanted}: pixels are not warped here.",
        f"Warp it first: gdalwarp -t_srs {shlex.quote(crs)} {shlex.quote(Path(name).name)} "
        "warped.tif",
    )


def _nothing(given: Sequence[str | Path], files: int, selected: Selected) -> NoReturn:
    """Say what was looked for."""
    row = int(np.flatnonzero(selected.chosen)[0]) if selected.chosen.any() else 0
    scene, down, across = selected.place[row].tolist()
    name = selected.name(scene)
    looked = (f"{name}.tif", f"{name}_r{down:02d}_c{across:02d}.tif", f"{selected.ids[row]}.tif")
    raise DataError(
        f"nothing in {', '.join(map(str, given))!r} shows a tile of the run: "
        + (f"{files} rasters of other names" if files else "it holds no raster"),
        f"Looked for {', '.join(map(repr, looked))} and the like, and for georeferenced rasters "
        "over the tiles.",
        _GIVE,
    )
