"""The procedural landscape: demo data, test data and ground truth with nothing to download.

`make_scene` makes one scene with exact labels and object boxes, `write_world` writes a whole
world as GeoTIFFs. The way there, one file each: `themes` (the character of a scene), `terrain`
and `network` (its plan), `cover`, `parcels`, `town`, `trees` and `objects` (what is painted),
`spectra`, `light` and `sensor` (how it is seen).

Wide scenes of real imagery with known content: `stitch` makes a mosaic of the patches of a data
set, `write_mosaics` writes many, `join` puts the parts of one scene together.
"""

from foveate.world.label_noise import flip_labels
from foveate.world.mosaic import MOSAIC_KINDS, Mosaic, stitch
from foveate.world.mosaic_files import (
    Joined,
    MosaicFiles,
    join,
    patches_in,
    write_image,
    write_mosaics,
)
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
    "MOSAIC_KINDS",
    "NODATA_LABEL",
    "OBJECT_KINDS",
    "THEMES",
    "Joined",
    "Mosaic",
    "MosaicFiles",
    "Object",
    "WorldFiles",
    "WorldScene",
    "WorldSpec",
    "band_names",
    "flip_labels",
    "join",
    "make_scene",
    "patches_in",
    "stitch",
    "write_image",
    "write_mosaics",
    "write_world",
]
