"""STAC: catalogues, collections, item collections, stac-geoparquet and APIs as imagery.

An item is a scene. Its id is the scene's, the assets that are asked for are its bands, its plain
properties are columns of its tiles, and what it says of scale, offset, nodata, size and place holds
for its files. `sources` says what is STAC, `items` reads items, `search` which of them are meant,
`assets` what is said of a file, `asset_source` reads it, and `rows` makes scenes of all that.
"""

from foveate.pool.stac.search import Search
from foveate.pool.stac.sources import stac_paths

__all__ = ["Search", "stac_paths"]
