"""Procedural landscapes: demo data, test data and ground truth without downloads.

`make_scene` creates one scene with exact labels and object boxes, `write_world` writes a complete
world as GeoTIFFs. The stages, one file each: `themes` (composition of a scene), `terrain`
and `network` (its plan), `cover`, `parcels`, `town`, `trees` and `objects` (land cover),
`spectra`, `light` and `sensor` (imaging).

Wide scenes of real imagery with known content: `stitch` creates a mosaic of the patches of a data
set, `write_mosaics` writes many, `join` merges the parts of one scene.
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
