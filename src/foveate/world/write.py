"""A world on disk: images, masks, legend, objects and spec."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from foveate.errors import StorageError
from foveate.files import as_storage_error, write_bytes, write_geojson, write_json
from foveate.grid import Tiles
from foveate.pool.footprints import footprints
from foveate.progress import Meter
from foveate.raster import write_cog
from foveate.world.scene import make_scene
from foveate.world.spec import CLASSES, NODATA_LABEL, OBJECT_KINDS
from foveate.world.spectra import bands

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

    from foveate.progress import ProgressFn
    from foveate.world.spec import WorldScene, WorldSpec

_SCENE = re.compile(r"(images|masks)/\.?scene-\d+\.tif(\..*\.tmp)?")


@dataclass(frozen=True)
class WorldFiles:
    """Paths of a written world.

    Attributes:
        root: The folder.
        images: One GeoTIFF for each scene, nodata 0.
        masks: One single-band palette GeoTIFF for each scene, nodata 255.
        classes: classes.yaml, the legend.
        objects: objects.geojson, the rare objects in WGS84 with their pixel boxes.
        spec: world.json, the spec, the bands and the content of each scene.
    """

    root: Path
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    classes: Path
    objects: Path
    spec: Path


def write_world(out: str | Path, spec: WorldSpec, progress: ProgressFn | None = None) -> WorldFiles:
    """Create all scenes of a world and write them to `out`.

    Files are written atomically; scenes are created one by one, so that the memory
    does not grow with their number.

    Args:
        out: Folder: new, empty, or an earlier world, which is replaced.
        spec: The world.
        progress: Called as scenes are finished.

    Returns:
        The paths of the world.

    Raises:
        StorageError: The folder cannot be written, or contains other files.
    """
    import pyarrow as pa

    root = Path(out)
    _refuse_foreign(root)
    images, masks = [], []
    objects: list[pa.Table] = []
    scenes: list[dict[str, Any]] = []
    names = tuple(name for name, _ in bands(spec.bands))
    with Meter(progress, "making scenes", spec.scenes) as meter:
        for index in range(spec.scenes):
            scene = make_scene(spec, index)
            images.append(root / "images" / f"{scene.scene_id}.tif")
            masks.append(root / "masks" / f"{scene.scene_id}.tif")
            write_cog(images[-1], scene.image, geobox=scene.geobox, nodata=0, descriptions=names)
            write_cog(
                masks[-1],
                scene.labels[None],
                geobox=scene.geobox,
                nodata=NODATA_LABEL,
                descriptions=("land cover",),
                colormap=colormap(),
            )
            objects.append(_objects(scene))
            scenes.append(_summary(scene))
            meter.advance()
    _remove_others(root, {*images, *masks})
    files = WorldFiles(
        root=root,
        images=tuple(images),
        masks=tuple(masks),
        classes=root / "classes.yaml",
        objects=root / "objects.geojson",
        spec=root / "world.json",
    )
    write_bytes(files.classes, legend_yaml().encode())
    write_geojson(files.objects, pa.concat_tables(objects))
    what = {
        "spec": dataclasses.asdict(spec),
        "bands": [{"name": name, "wavelength_um": wave} for name, wave in bands(spec.bands)],
        "object_kinds": OBJECT_KINDS,
        "scenes": scenes,
    }
    write_json(files.spec, what)
    return files


def _refuse_foreign(root: Path) -> None:
    """Reject a folder with files not written by an earlier, possibly interrupted, world."""
    if (root / "world.json").exists() or not root.is_dir():
        return
    found = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
    foreign = [p for p in found if not _SCENE.fullmatch(p.as_posix())]
    if foreign:
        raise StorageError(
            f"the folder {str(root)!r} contains other files, for example {foreign[0].as_posix()!r}",
            "The folder must be new, empty, or contain an earlier world.",
            "Use another --out.",
        )


def _remove_others(root: Path, kept: Collection[Path]) -> None:
    """Remove the scenes of an earlier world that this one does not have."""
    for path in [p for folder in ("images", "masks") for p in (root / folder).iterdir()]:
        if path not in kept and _SCENE.fullmatch(path.relative_to(root).as_posix()):
            try:
                path.unlink()
            except OSError as error:
                raise as_storage_error(error, path) from error


def legend_yaml() -> str:
    """Return the legend in the format of classes.yaml."""
    legend = {
        "classes": {name: k for k, name in enumerate(CLASSES)},
        "ignore": ["cloud"],
        "colors": dict(CLASSES),
    }
    return yaml.safe_dump(legend, sort_keys=False)


def colormap() -> dict[int, tuple[int, int, int]]:
    """Palette of the masks: class index -> red, green, blue; nodata is black."""
    out = {
        k: (int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16))
        for k, c in enumerate(CLASSES.values())
    }
    out[NODATA_LABEL] = (0, 0, 0)
    return out


def _objects(scene: WorldScene) -> pa.Table:
    """Return the objects of a scene with their boxes in pixels, and on the ground (WKB, WGS84)."""
    import pyarrow as pa
    import shapely

    boxes = [(item.y, item.x, item.h, item.w) for item in scene.objects]
    outlines = footprints(Tiles.of(scene.scene_id, boxes), scene.geobox)
    columns = dict(zip("yxhw", np.array(boxes, np.int64).reshape(-1, 4).T, strict=True))
    return pa.table({
        "scene": pa.array([scene.scene_id] * len(boxes), pa.string()),
        "kind": pa.array([item.kind for item in scene.objects], pa.string()),
        **columns,
        "geometry": pa.array(shapely.to_wkb(outlines), pa.binary()),
    })  # fmt: skip


def _summary(scene: WorldScene) -> dict[str, Any]:
    return {
        "id": scene.scene_id,
        "theme": scene.theme,
        "valid_share": round(float(scene.valid.mean()), 6),
        "cloud_share": round(float(scene.cloud.mean()), 6),
        "objects": len(scene.objects),
    }
