"""The whole job on the procedural world: what `foveate demo` runs, offline."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveate import curate, focus
from foveate.curate import METHODS, CurateJob
from foveate.files import read_json
from foveate.focus import LookJob
from foveate.grid import Window
from foveate.models import bind, load_model
from foveate.models.heads import fit_probe
from foveate.pool import open_pool
from foveate.raster import write_cog
from foveate.report import write_report
from foveate.seeds import rng
from foveate.world import WorldSpec, make_scene, write_world

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.heads.probe import Probe
    from foveate.progress import ProgressFn
    from foveate.run import Run

TILE = 128
BUDGET = "10%"
WANTED = "storage tank"
NOTHING = "nothing special"
_TOWN, _WIDE = 3, 2048  # which theme the wide scene has, and its side in pixels
_VIEWS, _PLAIN = 6, 60  # crops around each object, and of each scene without one


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        curate: The run that keeps the best tiles of four scenes.
        focus: The run that looks for storage tanks in a wide scene.
    """

    curate: Run
    focus: Run


def run_demo(
    out: str | Path, *, seed: int = 0, command: str = "", progress: ProgressFn | None = None
) -> Demo:
    """Draw scenes, keep the best tiles, find what is rare in a wide scene, write two reports.

    Args:
        out: Folder for ``world/`` (images, masks, classes), ``run/`` (tiles, with report.html),
            ``wide-SEED.tif``, ``probe-SEED.safetensors`` and ``focus/`` (regions, with report.html).
        seed: Seed of the world, the methods and the looks.
        command: The command that repeats it, for the record.
        progress: Called with ticks.

    Returns:
        Both runs.

    Raises:
        StorageError: `out` cannot be written.
    """
    folder = Path(out)
    root = folder / "world"
    _draw_once(root, WorldSpec(scenes=4, size=1024, seed=seed), progress)
    job = CurateJob(
        images=[str(root / "images")],
        masks=[str(root / "masks")],
        classes=str(root / "classes.yaml"),
        methods=list(METHODS),
        budget=BUDGET,
        tile=TILE,
        min_labelled=0.5,  # not what peeps out from under a cloud
        seed=seed,
    )
    kept = curate.run(job, folder / "run", command=command, report=write_report, progress=progress)
    # Named by the seed: another one must not meet the scene of this one.
    wide, probe = folder / f"wide-{seed}.tif", folder / f"probe-{seed}.safetensors"
    _draw_wide_once(wide, seed)
    if not probe.exists():
        learn_objects(root, seed=seed).save(probe)
    look = LookJob(
        images=[str(wide)], probe=str(probe), goal="query", query=WANTED, crop=TILE, seed=seed
    )
    found = focus.run(
        look, folder / "focus", command=command, report=write_report, progress=progress
    )
    return Demo(kept, found)


def learn_objects(root: Path, *, seed: int = 0) -> Probe:
    """Fit a probe that tells the rare objects of a world, and places without one.

    Args:
        root: Folder of `write_world`.
        seed: Of the crops.
    """
    pool = open_pool(root / "images", measure=False)
    model = bind(load_model("builtin"), pool)
    places = read_json(root / "objects.geojson")["features"]
    crops: list[NDArray[np.generic]] = []
    names: list[str] = []
    for scene in pool.scenes:
        draw = rng(seed, f"demo/crops/{scene.scene_id}")
        boxes = [p["properties"] for p in places if p["properties"]["scene"] == scene.scene_id]
        for name, window in _examples(scene.source.info.shape, boxes, draw):
            raster = scene.source.read(window)
            if raster.valid.all():
                crops.append(raster.data)
                names.append(name)
    x = np.concatenate([model.embed(np.stack(crops[i : i + 32])) for i in range(0, len(crops), 32)])
    classes = sorted(set(names))
    labels = np.array([classes.index(name) for name in names])
    return fit_probe(x, labels, classes, seed=seed, spec=model.spec)


def _examples(
    shape: tuple[int, int], boxes: list[dict[str, int]], draw: np.random.Generator
) -> list[tuple[str, Window]]:
    """Return named windows of one scene: several around each object, many without any."""
    found: list[tuple[str, Window]] = []
    for box in boxes:
        middle = np.array([box["y"] + box["h"] / 2, box["x"] + box["w"] / 2])
        for _ in range(_VIEWS):
            corner = middle + draw.uniform(-0.3, 0.3, 2) * TILE - TILE / 2
            found.append((str(box["kind"]).replace("_", " "), _inside(corner, shape)))
    for _ in range(_PLAIN):
        window = _inside(draw.uniform(0, shape[0], 2), shape)
        if not any(_touches(window, box) for box in boxes):
            found.append((NOTHING, window))
    return found


def _inside(corner: NDArray[np.float64], shape: tuple[int, int]) -> Window:
    y, x = (int(np.clip(c, 0, side - TILE)) for c, side in zip(corner, shape, strict=True))
    return Window(y, x, TILE, TILE)


def _touches(window: Window, box: dict[str, int]) -> bool:
    down = min(window.y + window.h, box["y"] + box["h"]) - max(window.y, box["y"])
    across = min(window.x + window.w, box["x"] + box["w"]) - max(window.x, box["x"])
    return down > 0 and across > 0


def _draw_once(root: Path, spec: WorldSpec, progress: ProgressFn | None) -> None:
    """Draw the world unless this very one is there: world.json is written last."""
    written = root / "world.json"
    wanted = json.loads(json.dumps(asdict(spec)))
    if written.exists() and read_json(written).get("spec") == wanted:
        return
    write_world(root, spec, progress=progress)


def _draw_wide_once(path: Path, seed: int) -> None:
    """Draw a wide scene of another world than the one that was learnt from."""
    if path.exists():
        return
    spec = WorldSpec(scenes=_TOWN + 1, size=_WIDE, seed=seed + 1, cloud=0.0, nodata_border=0.0)
    scene = make_scene(spec, _TOWN)
    write_cog(path, scene.image, geobox=scene.geobox, nodata=0)
