"""Read a raster on another grid, in any CRS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import printable
from foveate.grid import Window
from foveate.raster.base import Raster
from foveate.raster.datasets import open_dataset
from foveate.raster.ground import one_crs, onto
from foveate.raster.place import in_degrees, transformer, turn
from foveate.raster.windows import clip, nothing, paste

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster.base import Source, SourceInfo

_FINER = 0.99  # source pixels smaller than this, in pixels of the grid, are averaged
_EDGE = 33  # points per side of a grid that are transformed to the source
_FAR = 1e12  # pixels; coordinates beyond are outside the valid area of a projection
_HALF = 0.5 - 1e-6  # minimum valid share of a pixel: 0.5, with the precision of GDAL's kernels
_WHOLE = 1e-3  # maximum offset in pixels at which a grid is cropped from the source


def read_onto(
    source: Source, grid: GeoBox, *, bands: Sequence[int] | None = None, nearest: bool = False
) -> Raster:
    """Read the extent of a grid from a raster in any CRS, at full resolution.

    The source is read at native resolution, never from overviews. If the pixels of grid and source
    coincide, it is cropped; otherwise finer pixels are averaged by their exact areas, others are
    interpolated (bilinear). Invalid pixels are excluded; a pixel is valid if at least half of its
    weight is valid, as for `Source.read`. Longitudes that differ by full turns are equal.

    Args:
        source: A raster with a CRS.
        grid: The grid, with a CRS.
        bands: 1-based band numbers; all if None.
        nearest: Whether to use nearest neighbours, for categorical values.

    Returns:
        The pixels of the grid in the dtype of the source; invalid outside the source.

    Raises:
        DataError: The source has no CRS, or cannot be read.
    """
    info = source.info
    wanted = list(bands) if bands is not None else list(range(1, info.bands + 1))
    window = window_onto(info, grid)
    if window is None:
        shape = (len(wanted), *grid.shape)
        return Raster(np.zeros(shape, info.dtype), np.zeros(grid.shape, bool))
    if cut := _aligned(info, grid):
        return _read_around(source, cut, wanted)
    found = _read_around(source, window, wanted)
    return _reproject(found, info, window, grid, nearest=nearest)


def window_onto(info: SourceInfo, grid: GeoBox) -> Window | None:
    """Return the window of a raster needed for a grid; None if they do not overlap.

    Its columns may extend beyond those of a raster of the whole Earth, which continue there.

    Raises:
        DataError: The raster has no CRS, or a CRS to which the grid cannot be transformed.
    """
    (x, y), columns = _lattice_on(info, grid), _columns(info.geobox)
    low, high = np.floor([y.min(), x.min()]).astype(int), np.ceil([y.max(), x.max()]).astype(int)
    if not _pieces(info, Window(*low.tolist(), *(high - low).tolist())):
        return None
    step = max(np.ptp(x) / grid.shape[1], np.ptp(y) / grid.shape[0], 1.0)
    margin = int(np.ceil(2 * step)) + 1  # radius of the kernel
    low, high = low - margin, high + margin
    window = Window(*low.tolist(), *(high - low).tolist())
    inside = clip(window, info.shape)
    if columns is None or window.w > columns or _pieces(info, window) == [(inside, inside.x)]:
        return inside
    return inside._replace(x=window.x, w=window.w)


def _lattice_on(info: SourceInfo, grid: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points of a grid in pixels of a raster, x and y: those on which the window depends.

    The border is not enough: a pole inside the grid is beyond it, and if the grid extends beyond
    the valid area of the projection of the raster, its border has no coordinates. Then points of
    the raster inside the grid are added, with their neighbours.
    """
    box = info.geobox
    if box is None or box.crs is None or transformer(str(grid.crs), str(box.crs)) is None:
        raise DataError(
            "the raster is not on the Earth: it has no suitable CRS",
            "Reading on another grid requires a georeference.",
            "Assign a CRS: gdal_edit.py -a_srs EPSG:32633 FILE",
        )
    x, y = _to_pixels(grid, box, *_lattice(grid))
    finite = (np.abs(x) < _FAR) & (np.abs(y) < _FAR)
    x, y = x[finite], y[finite]
    if not finite.all():
        own_x, own_y = _lattice(box)
        col, row = _to_pixels(box, grid, own_x, own_y)
        inside = (col >= 0) & (col <= grid.shape[1]) & (row >= 0) & (row <= grid.shape[0])
        near = np.array(box.shape) / (_EDGE - 1)
        for side in (-1, 1):
            x = np.concatenate([x, own_x[inside] + side * near[1]])
            y = np.concatenate([y, own_y[inside] + side * near[0]])
    if not x.size:
        return np.array([-1.0]), np.array([-1.0])  # no overlap
    columns = _columns(box)
    if columns is not None:  # a grid across the edge of the raster is at both of its ends
        one = x - columns * np.rint((x - x[x.size // 2]) / columns)
        if np.ptp(one) < np.ptp(x) and np.ptp(one) * (1 + 4 / grid.shape[1]) + 4 < columns:
            x = one
    return x, y


def _lattice(box: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y in pixels of a lattice of points over a grid, with its border."""
    x, y = np.meshgrid(*(np.linspace(0, n, _EDGE) for n in box.shape[::-1]))
    return x.ravel(), y.ravel()


def _to_pixels(
    grid: GeoBox, other: GeoBox, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert pixel coordinates of one grid to those of another, not finite where impossible.

    Longitudes are those next to the middle of the other grid, as in GDAL.
    """
    to_other = transformer(str(grid.crs), str(other.crs))
    assert to_other is not None  # noqa: S101  (checked by `_lattice_on`)
    a, back = grid.affine, ~other.affine
    east, north = to_other.transform(a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f)
    with np.errstate(invalid="ignore"):
        if in_degrees(str(other.crs)):
            middle = (other.affine @ (other.shape[1] / 2, other.shape[0] / 2))[0]
            length = turn(str(other.crs))
            east = east + length * np.rint((middle - east) / length)
        return back.a * east + back.b * north + back.c, back.d * east + back.e * north + back.f


def _columns(box: GeoBox | None) -> int | None:
    """Return the columns of a full turn of longitudes; None without a whole number of them."""
    assert box is not None  # noqa: S101  (checked by `_lattice_on`)
    a = box.affine
    if not in_degrees(str(box.crs)) or a.b or a.d:
        return None
    columns = turn(str(box.crs)) / abs(a.a)
    return round(columns) if abs(columns - round(columns)) <= _WHOLE else None


def _pieces(info: SourceInfo, window: Window) -> list[tuple[Window, int]]:
    """Return the parts of a raster in a window that may continue around the Earth.

    Returns:
        (window inside the raster, its first column counted as those of `window`) of each part.
    """
    columns = _columns(info.geobox)
    found = []
    for shift in (0,) if columns is None else (0, -columns, columns):
        part = clip(window._replace(x=window.x - shift), info.shape)
        if part.h > 0 and part.w > 0:
            found.append((part, part.x + shift))
    return found


def _read_around(source: Source, window: Window, bands: list[int]) -> Raster:
    """Read a window of a raster that may continue around the Earth."""
    pieces = _pieces(source.info, window)
    if pieces == [(window, window.x)]:
        return source.read(window, bands=bands)
    whole = nothing(len(bands), source.info.dtype, (window.h, window.w))
    for part, x in pieces:
        read = source.read(part, bands=bands)
        cut = np.s_[part.y - window.y :, x - window.x :]
        whole.data[:, *cut][:, : part.h, : part.w] = read.data
        whole.valid[cut][: part.h, : part.w] = read.valid
    return whole


def _aligned(info: SourceInfo, grid: GeoBox) -> Window | None:
    """Return the window of a raster that equals the grid; None if their pixels do not coincide."""
    box = info.geobox
    if box is None or not one_crs(box, grid):
        return None
    matrix = onto(grid, box)
    (x, y), (x_end, y_end) = (
        (matrix @ (*corner, 1))[:2] for corner in ((0, 0), (grid.shape[1], grid.shape[0]))
    )
    off = (x_end - x - grid.shape[1], y_end - y - grid.shape[0], x - round(x), y - round(y))
    if box.affine.b or box.affine.d or max(map(abs, off)) > _WHOLE:
        return None
    return Window(round(y), round(x), *grid.shape)


def _reproject(
    found: Raster, info: SourceInfo, window: Window, grid: GeoBox, *, nearest: bool
) -> Raster:
    from rasterio.enums import Resampling

    kernel = Resampling.nearest
    if not nearest:
        kernel = Resampling.average if _is_finer(info, grid) else Resampling.bilinear
    if kernel is Resampling.average:
        found, window = _framed(found, info, window, grid)
    wide = np.float32 if found.data.dtype.itemsize <= 2 else np.float64
    data = np.zeros((len(found.data), *grid.shape), found.data.dtype)
    weight = _warp(found.valid.astype(np.float64), info, window, grid, kernel, outside=0.0)
    valid = weight >= _HALF
    for band, values in enumerate(found.data):
        given = np.where(found.valid, values, np.nan).astype(wide)
        out = _warp(given, info, window, grid, kernel, outside=np.nan)
        finite = np.isfinite(out)
        valid &= finite
        whole = not np.issubdtype(data.dtype, np.floating)
        data[band][finite] = np.rint(out[finite]) if whole else out[finite]
    return Raster(data, valid)


def _is_finer(info: SourceInfo, grid: GeoBox) -> bool:
    """Return whether the pixels of a raster are finer than those of a grid."""
    x, y = _lattice_on(info, grid)
    return max(grid.shape[1] / np.ptp(x), grid.shape[0] / np.ptp(y)) < _FINER


def _framed(found: Raster, info: SourceInfo, window: Window, grid: GeoBox) -> tuple[Raster, Window]:
    """Add invalid pixels beyond the border of the raster: GDAL averages only pixels that exist."""
    x, y = _lattice_on(info, grid)
    down, across = (
        int(np.ceil(np.ptp(v) / n)) + 1 for v, n in zip((y, x), grid.shape, strict=True)
    )
    columns = _columns(info.geobox)
    if columns is not None:  # more than a full turn would be ambiguous
        across = max(0, min(across, (columns - window.w) // 2))
    whole = Window(window.y - down, window.x - across, window.h + 2 * down, window.w + 2 * across)
    return Raster(*paste(found.data, found.valid, window, whole)), whole


def _warp(
    values: NDArray[Any], info: SourceInfo, window: Window, grid: GeoBox, kernel: Any, *,
    outside: float,
) -> NDArray[Any]:  # fmt: skip
    """Warp (h, w) values of a window of a raster to a grid; `outside` is their nodata value."""
    from affine import Affine
    from rasterio.warp import reproject

    box = info.geobox
    assert box is not None  # noqa: S101  (checked by `window_onto`)
    out = np.full(grid.shape, outside, values.dtype)
    reproject(
        values, out, src_transform=box.affine @ Affine.translation(window.x, window.y),
        src_crs=str(box.crs), src_nodata=np.nan, dst_transform=grid.affine,
        dst_crs=str(grid.crs), dst_nodata=outside, num_threads=1, resampling=kernel,
    )  # fmt: skip
    return out


def bad_share(path: str, grid: GeoBox, windows: Sequence[Window]) -> NDArray[np.float64]:
    """Return the share of pixels of windows where a raster is not 0, (n,).

    Args:
        path: A raster of one band, besides alpha; longitudes may be from 0 to 360. Nodata, NaN,
            infinity and pixels outside the raster count as 0.
        grid: Grid of the windows, with a CRS.
        windows: n windows.

    Raises:
        DataError: The raster cannot be read, has no CRS or no geotransform, or several bands.
    """
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    share = np.zeros(len(windows))
    with open_dataset(path) as dataset:
        _check_excluding(dataset, path)
        crs = dataset.crs.to_wkt()
        turns = (0.0, -turn(crs), turn(crs)) if in_degrees(crs) else (0.0,)
        for shift in turns:  # a window across 180 degrees has parts at both ends of the raster
            with WarpedVRT(
                dataset, crs=str(grid.crs), transform=grid.affine, height=grid.shape[0],
                width=grid.shape[1], resampling=Resampling.nearest, add_alpha=False,
                src_crs=dataset.crs,
                src_transform=Affine.translation(shift, 0) @ dataset.transform,
            ) as warped:  # fmt: skip
                for i, window in enumerate(windows):
                    share[i] += _bad(warped, window)
    return np.minimum(share, 1)


def _bad(warped: Any, window: Window) -> float:
    """Return the share of pixels of a window, within the raster, that are neither 0 nor nodata."""
    from rasterio.windows import Window as RasterioWindow

    inside = clip(window, warped.shape)
    if inside.h < 1 or inside.w < 1:
        return 0.0
    offsets: tuple[Any, ...] = (inside.x, inside.y, inside.w, inside.h)
    values = warped.read(1, window=RasterioWindow(*offsets), masked=True).filled(0)
    return float(np.count_nonzero(np.where(np.isfinite(values), values, 0)) / values.size)


def _check_excluding(dataset: Any, path: str) -> None:
    """Check that a raster of excluded areas is georeferenced and has one band."""
    name, colours = repr(printable(path)), [c.name for c in dataset.colorinterp]
    allowed = "Excluded areas must be georeferenced."
    if dataset.crs is None and dataset.gcps[0]:
        raise DataError(
            f"the raster {name} is georeferenced by ground control points only", allowed,
            "Warp it to a grid: gdalwarp -r near IN OUT",
        )  # fmt: skip
    if dataset.crs is None or dataset.transform.is_identity:
        missing, edit = (
            ("CRS", "-a_srs EPSG:32633") if dataset.crs is None
            else ("geotransform", "-a_ullr ULX ULY LRX LRY")
        )  # fmt: skip
        raise DataError(
            f"the raster {name} has no {missing}", allowed,
            f"Assign {'it' if missing == 'geotransform' else 'a CRS'}: gdal_edit.py {edit} FILE",
        )  # fmt: skip
    if dataset.count - colours.count("alpha") != 1:
        raise DataError(
            f"the raster {name} has {dataset.count} bands",
            "Excluded areas are the pixels of one band that are neither 0 nor nodata.",
            "Select the band: gdal_translate -b 1 IN OUT",
        )
