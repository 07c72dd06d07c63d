"""Fields of every job on imagery: which files, and how they are cut."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foveate.pool.stac.search import Search
from foveate.run.job import Job
from foveate.run.options import Bands, Box, Names, Option, PathText


class ImageryJob(Job):
    """Which imagery."""

    images: Annotated[list[PathText], Option("Input", argument=True, metavar="IMAGES")] = Field(
        min_length=1
    )
    """Folders, files or globs of images; or STAC: a catalogue, list of items or item in JSON, a
    table of items in Parquet, or the address of a collection of an API."""
    masks: Annotated[list[PathText], Option("Input", repeated=True)] = Field([])
    """Folder or glob of masks, paired by name; repeatable."""
    classes: Annotated[PathText | None, Option("Input")] = None
    """Classes file: YAML, TOML or JSON."""
    mask_suffix: Annotated[str, Option(default="usual words tell them", metavar="_truth")] = ""
    """How names of masks end, where the usual words do not tell them from images."""
    extra: Annotated[list[PathText], Option(repeated=True)] = Field([])
    """Further bands alongside (surface model), paired by name; repeatable."""
    stack: Annotated[Names, Option(metavar="B4,B3,B2")] = Field([])
    """File name endings that are bands of one scene."""
    bands: Annotated[Bands, Option("Model", default="all")] = Field([])
    """Bands to use, from 1."""
    nodata: Annotated[float | None, Option(default="as the files say")] = None
    """Value of missing pixels."""
    min_valid: float = Field(0.5, ge=0, le=1)
    """Smallest valid share of a tile that stays."""
    min_labelled: float = Field(0.0, ge=0, le=1)
    """Smallest labelled (not ignored) share of a tile that stays, where there are masks."""
    skip_empty: bool = False
    """Leave out scenes of nothing but nodata, instead of refusing them."""
    assets: Annotated[
        Names, Option("Input", default="the only one", metavar="red,green,blue")
    ] = Field([])  # fmt: skip
    """Of STAC: the assets that are bands of one scene, in order."""
    datetime: Annotated[str, Option("Input", default="any", metavar="A/B")] = ""
    """Of STAC: only items of this date (2024, 2024-05, 2024-05-31), or from A to B."""
    bbox: Annotated[Box, Option("Input", default="anywhere", metavar="W,S,E,N")] = Field([])
    """Of STAC: only items that touch this box, in degrees."""
    max_cloud: Annotated[
        float | None, Option("Input", default="any", metavar="PERCENT")
    ] = Field(None, ge=0, le=100)  # fmt: skip
    """Of STAC: only items with at most this cloud cover (eo:cloud_cover)."""

    def item_search(self) -> Search:
        """Return which items of STAC are meant, and which of their assets.

        Raises:
            ParameterError: Dates or a box that cannot be.
        """
        return Search(
            tuple(self.assets), self.datetime, tuple(self.bbox), self.max_cloud,
            quality=tuple(getattr(self, "quality", ())),
        )  # fmt: skip


class PoolJob(ImageryJob):
    """Which imagery, and how it is cut."""

    tile: Annotated[int | None, Option("Input")] = Field(256, ge=0)
    """Side of a tile in pixels; 0: each image as it is."""
    stride: Annotated[int | None, Option(default="the tile")] = None
    """Step between tiles in pixels."""
    edge: Literal["shift", "drop", "pad", "clip"] = "shift"
    """What becomes of tiles that reach over the edge."""
    coordinates: PathText | None = None
    """Coordinate list (5 or 6 columns) to take the tiles from, instead of a grid."""
