"""Fields of all jobs on imagery: files and tiling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foveate.pool.stac.search import Search
from foveate.run.job import Job
from foveate.run.options import Bands, Box, Names, Option, PathText


class ImageryJob(Job):
    """Imagery."""

    images: Annotated[list[PathText], Option("Input", argument=True, metavar="IMAGES")] = Field(
        min_length=1
    )
    """Folders, files or globs of images; or STAC: a catalogue, list of items or item in JSON, a
    table of items in Parquet, or the address of a collection of an API."""
    masks: Annotated[list[PathText], Option("Input", repeated=True)] = Field([])
    """Folder or glob of masks, paired by name; repeatable."""
    classes: Annotated[PathText | None, Option("Input")] = None
    """Classes file: YAML, TOML or JSON."""
    mask_suffix: Annotated[str, Option(default="words such as mask", metavar="_truth")] = ""
    """Ending of the names of masks, if words such as mask and label do not distinguish them."""
    extra: Annotated[list[PathText], Option(repeated=True)] = Field([])
    """Further bands (surface model), paired by name; repeatable."""
    stack: Annotated[Names, Option(metavar="B4,B3,B2")] = Field([])
    """Endings of file names that are bands of one scene."""
    bands: Annotated[Bands, Option("Model", default="all")] = Field([])
    """Bands to use, numbered from 1."""
    nodata: Annotated[float | None, Option(default="declared in the files")] = None
    """Value of missing pixels."""
    min_valid: float = Field(0.5, ge=0, le=1)
    """Minimum share of valid pixels of a tile."""
    min_labelled: float = Field(0.0, ge=0, le=1)
    """Minimum share of labelled (not ignored) pixels of a tile, with masks."""
    skip_empty: bool = False
    """Skip scenes that contain only nodata; otherwise they are an error."""
    assets: Annotated[
        Names, Option("Input", default="the only asset", metavar="red,green,blue")
    ] = Field([])  # fmt: skip
    """STAC: assets that are bands of one scene, in order."""
    datetime: Annotated[str, Option("Input", default="any", metavar="A/B")] = ""
    """STAC: only items of this date (2024, 2024-05, 2024-05-31), or from A to B."""
    bbox: Annotated[Box, Option("Input", default="anywhere", metavar="W,S,E,N")] = Field([])
    """STAC: only items that intersect this box, in degrees."""
    max_cloud: Annotated[
        float | None, Option("Input", default="any", metavar="PERCENT")
    ] = Field(None, ge=0, le=100)  # fmt: skip
    """STAC: only items with at most this cloud cover (eo:cloud_cover)."""

    def item_search(self) -> Search:
        """Return the selection of STAC items and of their assets.

        Raises:
            ParameterError: The dates or the box are invalid.
        """
        return Search(
            tuple(self.assets), self.datetime, tuple(self.bbox), self.max_cloud,
            quality=tuple(getattr(self, "quality", ())),
        )  # fmt: skip


class PoolJob(ImageryJob):
    """Imagery and its tiling."""

    tile: Annotated[int | None, Option("Input")] = Field(256, ge=0)
    """Side of a tile in pixels; 0: whole images."""
    stride: Annotated[int | None, Option(default="the tile")] = None
    """Step between tiles in pixels."""
    edge: Literal["shift", "drop", "pad", "clip"] = "shift"
    """Handling of tiles that extend beyond the edge of a scene."""
    coordinates: PathText | None = None
    """Coordinate list (5 or 6 columns) of tiles, instead of a grid."""
