"""A raster seen in the pixels of another grid, whatever its own CRS: nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import printable
from foveate.raster.alias import gdal_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.grid import Window


def bad_share(path: str, grid: GeoBox, windows: Sequence[Window]) -> NDArray[np.float64]:
    """Return the share of pixels of windows where a raster holds another value than 0.

    Args:
        path: The raster; its first band is read. Its nodata, and what lies beyond it, counts as 0.
        grid: Grid of the windows, with a CRS.
        windows: n windows.

    Raises:
        DataError: It cannot be read, or has no CRS.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT
    from rasterio.windows import Window as RasterioWindow

    name = repr(printable(path))
    share = np.zeros(len(windows))
    try:
        with rasterio.open(gdal_name(path)) as dataset:
            if dataset.crs is None:
                raise DataError(
                    f"the raster {name} has no CRS", "It is compared with the images on the Earth.",
                    "State it: gdal_edit.py -a_srs EPSG:32633 FILE",
                )  # fmt: skip
            with WarpedVRT(
                dataset, crs=str(grid.crs), transform=grid.affine, height=grid.shape[0],
                width=grid.shape[1], resampling=Resampling.nearest, add_alpha=False,
            ) as there:  # fmt: skip
                for i, (y, x, h, w) in enumerate(windows):
                    right, bottom = min(x + w, grid.shape[1]), min(y + h, grid.shape[0])
                    left, top = max(x, 0), max(y, 0)
                    at: tuple[Any, ...] = (left, top, right - left, bottom - top)
                    cut = RasterioWindow(*at)
                    found = there.read(1, window=cut, masked=True).filled(0)
                    share[i] = np.count_nonzero(found) / max(found.size, 1)
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"cannot read the raster {name}: {error}", "Excluded ground is polygons or a raster.",
            "Check the path.",
        ) from error  # fmt: skip
    return share
