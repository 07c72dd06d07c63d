"""Imagery from STAC: catalogues, collections, item collections, stac-geoparquet and APIs.

An item becomes a scene with the id of the item. The requested assets are its bands, and its scalar
properties are columns of its tiles. Scale, offset, nodata, size and georeferencing stated by the
item replace those of its files.

`sources` recognises STAC paths, `items` reads items, `search` filters them, `assets` parses asset
metadata, `asset_source` reads asset files, and `rows` converts items to scenes.
"""

from foveate.pool.stac.search import Search
from foveate.pool.stac.sources import stac_paths

__all__ = ["Search", "stac_paths"]
