"""Read a raster on another grid, in any CRS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import printable
from foveate.grid import Window
from foveate.raster.alias import gdal_name
from foveate.raster.base import Raster
from foveate.raster.place import in_degrees, transformer, turn
from foveate.raster.windows import clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.raster.base import Source, SourceInfo

_FINER = 0.99  # source pixels smaller than this, in pixels of the grid, are averaged
_EDGE = 33  # points per side of a grid that are transformed to the source
_WHOLE = 1e-3  # maximum offset in pixels at which a grid is cropped from the source


def read_onto(
    source: Source, grid: GeoBox, *, bands: Sequence[int] | None = None, nearest: bool = False
) -> Raster:
    """Read the extent of a grid from a raster in any CRS, at full resolution.

    The source is read at native resolution, never from overviews. If the pixels of grid and source
    coincide, it is cropped; otherwise finer pixels are averaged by their exact areas, others are
    interpolated (bilinear). Invalid pixels are excluded.

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
        return source.read(cut, bands=wanted)
    found = source.read(window, bands=wanted)
    return _reproject(found, info, window, grid, nearest=nearest)


def window_onto(info: SourceInfo, grid: GeoBox) -> Window | None:
    """Return the window of a raster needed for a grid; None if they do not overlap.

    Raises:
        DataError: The raster has no CRS, or a CRS to which the grid cannot be transformed.
    """
    x, y = _border(info, grid)
    step = max(np.ptp(x) / grid.shape[1], np.ptp(y) / grid.shape[0], 1.0)
    margin = int(np.ceil(2 * step)) + 1  # radius of the kernel
    left, top = int(np.floor(x.min())) - margin, int(np.floor(y.min())) - margin
    right, bottom = int(np.ceil(x.max())) + margin, int(np.ceil(y.max())) + margin
    inside = clip(Window(top, left, bottom - top, right - left), info.shape)
    height, width = info.shape
    outside = x.max() <= 0 or y.max() <= 0 or x.min() >= width or y.min() >= height
    return None if outside or inside.h < 1 or inside.w < 1 else inside


def _border(info: SourceInfo, grid: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the border of a grid in pixels of a raster, x and y."""
    box = info.geobox
    to_source = None
    if box is not None and box.crs is not None:
        to_source = transformer(str(grid.crs), str(box.crs))
    if box is None or to_source is None:
        raise DataError(
            "the raster is not on the Earth: it has no suitable CRS",
            "Reading on another grid requires a georeference.",
            "Assign a CRS: gdal_edit.py -a_srs EPSG:32633 FILE",
        )
    t = np.linspace(0, 1, _EDGE)
    zero, one = np.zeros(_EDGE), np.ones(_EDGE)
    col = np.concatenate([t, one, t, zero]) * grid.shape[1]
    row = np.concatenate([zero, t, one, t]) * grid.shape[0]
    a, back = grid.affine, ~box.affine
    east, north = to_source.transform(a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f)
    x, y = back.a * east + back.b * north + back.c, back.d * east + back.e * north + back.f
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return np.array([-2.0, -1.0]), np.array([-2.0, -1.0])  # outside the valid area: no overlap
    return x, y


def _aligned(info: SourceInfo, grid: GeoBox) -> Window | None:
    """Return the window of a raster that equals the grid; None if their pixels do not coincide."""
    from foveate.raster.ground import one_crs

    box = info.geobox
    if box is None or not one_crs(box, grid):
        return None
    own, other = box.affine, grid.affine
    x, y = ~own @ (other.c, other.f)
    x_end, y_end = ~own @ (other @ (grid.shape[1], grid.shape[0]))
    off = (x_end - x - grid.shape[1], y_end - y - grid.shape[0], x - round(x), y - round(y))
    if own.b or own.d or max(map(abs, off)) > _WHOLE:
        return None
    return Window(round(y), round(x), *grid.shape)


def _reproject(
    found: Raster, info: SourceInfo, window: Window, grid: GeoBox, *, nearest: bool
) -> Raster:
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    box = info.geobox
    assert box is not None  # noqa: S101  (checked by `window_onto`)
    x, y = _border(info, grid)
    finer = max(grid.shape[1] / np.ptp(x), grid.shape[0] / np.ptp(y)) < _FINER
    kernel = Resampling.average if finer else Resampling.bilinear
    wide = np.float32 if found.data.dtype.itemsize <= 2 else np.float64
    data = np.zeros((len(found.data), *grid.shape), found.data.dtype)
    valid = np.ones(grid.shape, bool)
    for band, values in enumerate(found.data):
        given = np.where(found.valid, values, np.nan).astype(wide)
        out = np.full(grid.shape, np.nan, wide)
        reproject(
            given, out, src_transform=box.affine @ Affine.translation(window.x, window.y),
            src_crs=str(box.crs), src_nodata=np.nan, dst_transform=grid.affine,
            dst_crs=str(grid.crs), dst_nodata=np.nan, num_threads=1,
            resampling=Resampling.nearest if nearest else kernel,
        )  # fmt: skip
        finite = np.isfinite(out)
        valid &= finite
        whole = np.issubdtype(data.dtype, np.integer)
        data[band][finite] = np.rint(out[finite]) if whole else out[finite]
    return Raster(data, valid)


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
    import rasterio
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    share = np.zeros(len(windows))
    try:
        with rasterio.open(gdal_name(path)) as dataset:
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
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"cannot read the raster {printable(path)!r}: {error}",
            "Excluded areas must be polygons or a raster.",
            "Check the path.",
        ) from error  # fmt: skip
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
