"""The whole job on the procedural world: what `foveate demo` runs, offline."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from foveate.curate import METHODS, CurateJob, run
from foveate.files import read_json
from foveate.report import write_report
from foveate.world import WorldSpec, write_world

if TYPE_CHECKING:
    from foveate.progress import ProgressFn
    from foveate.run import Run

TILE = 128
BUDGET = "10%"


def run_demo(
    out: str | Path, *, seed: int = 0, command: str = "", progress: ProgressFn | None = None
) -> Run:
    """Draw four scenes, rank their tiles by all methods, keep 10 %, write a report.

    Args:
        out: Folder for ``world/`` (images, masks, classes) and ``run/`` (with report.html).
        seed: Seed of the world and of the methods.
        command: The command that repeats it, for the record.
        progress: Called with ticks.

    Returns:
        The run.

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
    return run(job, folder / "run", command=command, report=write_report, progress=progress)


def _draw_once(root: Path, spec: WorldSpec, progress: ProgressFn | None) -> None:
    """Draw the world unless this very one is there: world.json is written last."""
    written = root / "world.json"
    wanted = json.loads(json.dumps(asdict(spec)))
    if written.exists() and read_json(written).get("spec") == wanted:
        return
    write_world(root, spec, progress=progress)
