"""The procedural landscape: demo data, test data and ground truth with nothing to download.

`make_scene` makes one scene with exact labels and object boxes, `write_world` writes a whole
world as GeoTIFFs. The way there, one file each: `themes` (the character of a scene), `terrain`
and `network` (its plan), `cover`, `parcels`, `town`, `trees` and `objects` (what is painted),
`spectra`, `light` and `sensor` (how it is seen).
"""

from foveate.world.scene import make_scene
from foveate.world.spec import (
    CLASSES,
    NODATA_LABEL,
    OBJECT_KINDS,
    THEMES,
    Object,
    WorldScene,
    WorldSpec,
)
from foveate.world.spectra import band_names
from foveate.world.write import WorldFiles, write_world

__all__ = [
    "CLASSES",
    "NODATA_LABEL",
    "OBJECT_KINDS",
    "THEMES",
    "Object",
    "WorldFiles",
    "WorldScene",
    "WorldSpec",
    "band_names",
    "make_scene",
    "write_world",
]
