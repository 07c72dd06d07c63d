"""`foveate demo`: curate, focus and observe on a procedural world, offline."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate import METHODS, CurateJob
from foveate.demo.observed import draw_once, run_observe
from foveate.focus import LookJob
from foveate.grid import Window
from foveate.models.extras import EXTRAS
from foveate.models.families.builtin import Builtin
from foveate.models.probe import fit_probe
from foveate.raster import write_cog
from foveate.report import write_report
from foveate.seeds import rng
from foveate.world import WorldSpec, make_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.models.probe import Probe
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.world import Object, WorldScene

logger = logging.getLogger("foveate")

TILE = 128
BUDGET = "10%"
WANTED = "storage tank"
NOTHING = "nothing special"
_TOWN, _WIDE = 3, 2048  # theme of the wide scene, and its side in pixels
_LESSONS, _LESSON = 4, 1024  # number of training scenes of the probe, and their side in pixels
_VIEWS, _PLAIN = 12, 40  # crops around each object, and background crops of each scene


@dataclass(frozen=True)
class Demo:
    """The runs of the demo.

    Attributes:
        curate: The run that selects the best tiles of four scenes.
        focus: The run that searches for storage tanks in a wide scene.
        train: The run that trains and evaluates an observer on pairs; None if the packages for
            training are not installed.
        observe: The run that selects the tiles to acquire of an overview; None as `train`.
        left_out: The skipped part and what to install for it; empty if nothing was skipped.
    """

    curate: Run
    focus: Run
    train: Run | None
    observe: Run | None
    left_out: str = ""


def run_demo(
    out: str | Path, *, seed: int = 0, command: str = "", progress: ProgressFn | None = None
) -> Demo:
    """Run curate, focus and observe on procedural scenes.

    The observe part requires torch; without it, it is skipped with a warning.

    Args:
        out: Folder for ``world/`` (images, masks, classes), ``run/`` (tiles and report),
            ``wide-SEED.tif``, ``probe-SEED.safetensors``, ``focus/`` (regions and report), and the
            files of `foveate.demo.observed`.
        seed: Seed of the world, the methods and the looks.
        command: The command line, for the record.
        progress: Called with ticks.

    Returns:
        All runs.

    Raises:
        StorageError: `out` cannot be written.
    """
    folder = Path(out)
    # Warn before the first part about missing packages of the last part.
    missing = EXTRAS["observe"].why_not()
    left_out = f"The observe part is skipped: {missing}" if missing else ""
    if left_out:
        logger.warning(left_out)
    root = folder / "world"
    draw_once(root, WorldSpec(scenes=4, size=1024, seed=seed), progress)
    job = CurateJob(
        images=[str(root / "images")],
        masks=[str(root / "masks")],
        classes=str(root / "classes.yaml"),
        methods=METHODS.ready(),
        budget=BUDGET,
        tile=TILE,
        min_labelled=0.5,  # exclude tiles that are mostly covered by clouds
        seed=seed,
    )
    kept = job.run(folder / "run", command=command, report=write_report, progress=progress)
    # The seed is part of the names, so that another seed does not reuse these files.
    wide, probe = folder / f"wide-{seed}.tif", folder / f"probe-{seed}.safetensors"
    if not wide.exists():
        scene = make_scene(_spec(_WIDE, seed + 1), _TOWN)
        write_cog(wide, scene.image, geobox=scene.geobox, nodata=0)
    if not probe.exists():
        learn_objects(seed=seed).save(probe)
    look = LookJob(
        images=[str(wide)], probe=str(probe), goal="query", query=WANTED, crop=TILE, seed=seed
    )
    found = look.run(folder / "focus", command=command, report=write_report, progress=progress)
    if left_out:
        return Demo(kept, found, None, None, left_out)
    return Demo(kept, found, *run_observe(folder, seed=seed, command=command, progress=progress))


def learn_objects(*, seed: int = 0) -> Probe:
    """Fit a probe to the rare objects of small towns and background crops.

    Args:
        seed: Seed of the towns and the crops; none of the towns is the wide scene.
    """
    crops: list[NDArray[Any]] = []
    names: list[str] = []
    for town in range(_LESSONS):
        scene = make_scene(_spec(_LESSON, seed + 2 + town), _TOWN)
        draw = rng(seed, f"demo/crops/{town}")
        for name, window in _examples(scene, draw):
            crops.append(scene.image[:, *np.s_[window.y :, window.x :]][:, :TILE, :TILE])
            names.append(name)
    bands = range(1, len(crops[0]) + 1)
    model = Builtin(bands, ((0.0, 255.0),) * len(bands))
    x = np.concatenate([model.embed(np.stack(crops[i : i + 32])) for i in range(0, len(crops), 32)])
    classes = sorted(set(names))
    labels = np.array([classes.index(name) for name in names])
    return fit_probe(x, labels, classes, seed=seed, spec=model.spec)


def _examples(scene: WorldScene, draw: np.random.Generator) -> Iterator[tuple[str, Window]]:
    """Yield named windows of a scene: several around each object, and background windows."""
    shape = (scene.image.shape[1], scene.image.shape[2])
    for item in scene.objects:
        middle = np.array([item.y + item.h / 2, item.x + item.w / 2])
        for _ in range(_VIEWS):
            corner = middle + draw.uniform(-0.3, 0.3, 2) * TILE - TILE / 2
            yield item.kind.replace("_", " "), _inside(corner, shape)
    for _ in range(_PLAIN):
        window = _inside(draw.uniform(0, shape[0], 2), shape)
        if not any(_touches(window, item) for item in scene.objects):
            yield NOTHING, window


def _inside(corner: NDArray[np.float64], shape: tuple[int, int]) -> Window:
    y, x = (int(np.clip(c, 0, side - TILE)) for c, side in zip(corner, shape, strict=True))
    return Window(y, x, TILE, TILE)


def _touches(window: Window, item: Object) -> bool:
    down = min(window.y + window.h, item.y + item.h) - max(window.y, item.y)
    across = min(window.x + window.w, item.x + item.w) - max(window.x, item.x)
    return down > 0 and across > 0


def _spec(size: int, seed: int) -> WorldSpec:
    return WorldSpec(scenes=_TOWN + 1, size=size, seed=seed, cloud=0.0, nodata_border=0.0)
