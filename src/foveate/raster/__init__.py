"""Rasters: windowed reads in the native dtype, with a mask of valid pixels.

Nodata is represented by a mask, never by a value. A `Source` can be read by windows; it is opened
lazily in each process and can be pickled. `FileSource` reads files of GDAL, `StackSource` stacks
the bands of several files on one grid, `ArraySource` wraps an array.
"""

from foveate.raster.ahead import open_ahead, read_ahead, unplanned
from foveate.raster.base import Raster, Source, SourceInfo
from foveate.raster.datasets import close_files
from foveate.raster.frame import Frame, find_frame
from foveate.raster.gdal import SUFFIXES, FileSource
from foveate.raster.ground import check_ground, metres_per_pixel, pixel_size, south_up
from foveate.raster.place import crop_geobox, resize_geobox
from foveate.raster.reading import LabelValues
from foveate.raster.sources import ArraySource, FlippedSource, StackSource, given_source
from foveate.raster.stored import StoredPixels, stored_of
from foveate.raster.windows import resize
from foveate.raster.writing import write_cog, write_stored

__all__ = [
    "SUFFIXES",
    "ArraySource",
    "FileSource",
    "FlippedSource",
    "Frame",
    "LabelValues",
    "Raster",
    "Source",
    "SourceInfo",
    "StackSource",
    "StoredPixels",
    "check_ground",
    "close_files",
    "crop_geobox",
    "find_frame",
    "given_source",
    "metres_per_pixel",
    "open_ahead",
    "pixel_size",
    "read_ahead",
    "resize",
    "resize_geobox",
    "south_up",
    "stored_of",
    "unplanned",
    "write_cog",
    "write_stored",
]
