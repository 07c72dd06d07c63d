"""The observe part of the demo: pairs of a small world, an observer, and a new scene."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from foveate.files import read_json
from foveate.observe import CompleteJob, PrepareJob, SelectJob, TrainJob
from foveate.raster import write_cog
from foveate.report import write_report
from foveate.world import WorldSpec, make_scene, write_world

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.progress import ProgressFn
    from foveate.run import Run

CONCEPTS = (
    "water", "forest", "cropland", "settlement", "building", "road", "pool", "boat",
)  # fmt: skip
BUDGET = "12%"
_SCENES, _SIDE, _TILES, _RATIO = 35, 480, 8, 10  # training world
_WIDE = 960  # side of the new scene in pixels: twice as many tiles per side


def run_observe(
    folder: Path, *, seed: int, command: str, progress: ProgressFn | None = None
) -> tuple[Run, Run]:
    """Prepare pairs, train an observer, select tiles of a new overview, and complete its scene.

    Args:
        folder: Folder for ``observe-world/``, ``pairs/``, ``observer/``, ``overview-SEED.tif``,
            ``observe/`` (selected tiles) and ``completed/``.
        seed: Seed of the world and the training.
        command: The command line, for the record.
        progress: Called with ticks.

    Returns:
        The runs of the training and of the selection.
    """
    root = folder / "observe-world"
    draw_once(root, _spec(_SCENES, _SIDE, seed + 20), progress)
    pairs, observer = folder / "pairs", folder / "observer"
    PrepareJob(
        images=[str(root / "images")], masks=[str(root / "masks")],
        classes=str(root / "classes.yaml"), objects=str(root / "objects.geojson"),
        concepts=[{"name": name} for name in CONCEPTS], tiles=(_TILES, _TILES), ratio=_RATIO,
    ).run(pairs, command=command, progress=progress)  # fmt: skip
    shared: Any = {"command": command, "report": write_report, "progress": progress}
    trained = TrainJob(pairs=str(pairs), size="nano", seed=seed).run(observer, **shared)
    overview, acquired = _unseen(folder, seed, progress)
    select = SelectJob(images=[str(overview)], observer=str(observer), budget=BUDGET, seed=seed)
    chosen = select.run(folder / "observe", **shared)
    complete = CompleteJob(
        selection=str(folder / "observe"), observer=str(observer), tiles=[str(acquired)],
        only_chosen=True,
    )  # fmt: skip
    complete.run(folder / "completed", **shared)
    return trained, chosen


def _unseen(folder: Path, seed: int, progress: ProgressFn | None) -> tuple[Path, Path]:
    """Return the overview and the high-resolution image of a new scene."""
    acquired = folder / f"acquired-{seed}.tif"
    if not acquired.exists():
        scene = make_scene(_spec(1, _WIDE, seed + 40), 3)
        write_cog(acquired, scene.image, geobox=scene.geobox, nodata=0)
    single = folder / f"overview-{seed}"
    prepare = PrepareJob(images=[str(acquired)], tiles=(2 * _TILES, 2 * _TILES), ratio=_RATIO)
    prepare.run(single, progress=progress)
    return single / "overviews" / f"{acquired.stem}.tif", acquired


def draw_once(root: Path, spec: WorldSpec, progress: ProgressFn | None) -> None:
    """Generate a world unless it exists; world.json is written last."""
    written = root / "world.json"
    expected = json.loads(json.dumps(asdict(spec)))
    if written.exists() and read_json(written).get("spec") == expected:
        return
    write_world(root, spec, progress=progress)


def _spec(scenes: int, size: int, seed: int) -> WorldSpec:
    return WorldSpec(scenes=scenes, size=size, bands=3, seed=seed, cloud=0.0, nodata_border=0.0)
