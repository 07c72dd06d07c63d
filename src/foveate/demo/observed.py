"""The part of the demo that observes: pairs of a small world, an observer, a scene to buy for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

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
_SCENES, _SIDE, _TILES, _RATIO = 35, 480, 8, 10  # of the world that is learnt from
_WIDE = 960  # side in pixels of the scene to buy for: its grid has twice as many tiles a side


def run_observe(
    folder: Path, *, seed: int, command: str, progress: ProgressFn | None = None
) -> tuple[Run, Run]:
    """Prepare pairs, train an observer, choose tiles of a new overview, and complete its scene.

    Args:
        folder: For ``observe-world/``, ``pairs/``, ``observer/``, ``overview-SEED.tif``,
            ``observe/`` (chosen tiles) and ``completed/``.
        seed: Of the world and the training.
        command: The command that repeats it, for the record.
        progress: Called with ticks.

    Returns:
        The runs of the training and of the choice.
    """
    root = folder / "observe-world"
    draw_once(root, _spec(_SCENES, _SIDE, seed + 20), progress)
    pairs, model = folder / "pairs", folder / "observer"
    prepare = PrepareJob(
        images=[str(root / "images")], masks=[str(root / "masks")],
        classes=str(root / "classes.yaml"), objects=str(root / "objects.geojson"),
        concepts=[{"name": name} for name in CONCEPTS], tiles=(_TILES, _TILES), ratio=_RATIO,
    )  # fmt: skip
    prepare.run(pairs, command=command, progress=progress)
    train = TrainJob(pairs=str(pairs), size="nano", seed=seed)
    trained = train.run(model, command=command, report=write_report, progress=progress)
    overview, bought = _unseen(folder, seed, progress)
    select = SelectJob(images=[str(overview)], observer=str(model), budget=BUDGET, seed=seed)
    chosen = select.run(folder / "observe", command=command, report=write_report, progress=progress)
    complete = CompleteJob(
        selection=str(folder / "observe"), observer=str(model), tiles=[str(bought)],
        only_chosen=True,
    )  # fmt: skip
    complete.run(folder / "completed", command=command, report=write_report, progress=progress)
    return trained, chosen


def _unseen(folder: Path, seed: int, progress: ProgressFn | None) -> tuple[Path, Path]:
    """Return the overview of a scene that nothing was learnt from, and its high resolution."""
    bought = folder / f"bought-{seed}.tif"
    if not bought.exists():
        scene = make_scene(_spec(1, _WIDE, seed + 40), 3)
        write_cog(bought, scene.image, geobox=scene.geobox, nodata=0)
    single = folder / f"overview-{seed}"
    job = PrepareJob(images=[str(bought)], tiles=(2 * _TILES, 2 * _TILES), ratio=_RATIO)
    job.run(single, progress=progress)
    return single / "overviews" / f"{bought.stem}.tif", bought


def draw_once(root: Path, spec: WorldSpec, progress: ProgressFn | None) -> None:
    """Draw a world unless this very one is there: world.json is written last."""
    written = root / "world.json"
    wanted = json.loads(json.dumps(asdict(spec)))
    if written.exists() and read_json(written).get("spec") == wanted:
        return
    write_world(root, spec, progress=progress)


def _spec(scenes: int, size: int, seed: int) -> WorldSpec:
    return WorldSpec(scenes=scenes, size=size, bands=3, seed=seed, cloud=0.0, nodata_border=0.0)
