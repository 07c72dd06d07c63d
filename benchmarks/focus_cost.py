"""What a look costs: in forwards of the same model, and in memory on a scene of 20,000 pixels.

Time: one forward is `model.embed` of the whole image read at the size that the model sees, one
image at a time. A forward and a look take turns; the ratios of such pairs do not depend on how
busy the machine is, and the table has their median with a 95 % bootstrap interval, of wall time
and of CPU time. Limit: mode "feature" stays below 1.3 forwards, the robustness included.

Memory: a GeoTIFF of 20,000 x 20,000 x 4 uint16, each look in a process of its own; peak resident
set less that with the model loaded and warm. Limit: 1.5 GB.

    OMP_NUM_THREADS=1 python benchmarks/focus_cost.py [--pairs 15] [--side 20000] [--only time]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _measure import call, machine, measure, table
from foveate.focus.config import GOALS, FocusConfig
from foveate.focus.look import look_at
from foveate.focus.question import FocusQuestion
from foveate.grid import Window
from foveate.models.load import FAMILIES, load_model
from foveate.raster import ArraySource, FileSource
from foveate.seeds import rng
from memory import write_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.focus.look import Look
    from foveate.raster import Raster, Source

LIMIT = 1.3  # forwards
MEMORY = 1.5e9  # bytes
SIDE = 1024  # of the image whose looks are timed, pixels
MODELS = (
    "timm:vit_base_patch16_224@random",
    "timm:vit_base_patch16_224@random?size=448&img_size=448",
    "timm:resnet50@random?size=224",
    "open_clip:ViT-B-16@random",
)
PLANS = {
    "feature, no robustness": FocusConfig(GOALS["balanced"], mode="feature", robust=False),
    "feature": FocusConfig(GOALS["balanced"], mode="feature"),
    "window, 16 cells, no robustness": FocusConfig(
        GOALS["balanced"], mode="window", robust=False, passes=2
    ),
    "window, 16 cells": FocusConfig(GOALS["balanced"], mode="window", passes=3),
    "zoom, 9 passes": FocusConfig(GOALS["balanced"], mode="zoom", cells=2, passes=9),
}
# Goals of the looks whose memory is measured: one reads crops, the other whole cells as well.
GOAL_NAMES = ("balanced", "rare")
SCENE_MODELS = ("builtin", "timm:mobilenetv2_100@random?size=224")


def built(name: str, bands: tuple[int, ...], top: float) -> Any:
    """Build a model for bands that go from 0 to `top`."""
    handle = load_model(name, device="cpu")
    return FAMILIES.get(handle.family).build(handle, bands, ((0.0, top),) * len(bands))


@dataclass
class Pairs:
    """Ratios of a look to a forward, pair by pair: wall and CPU time, and what was spent."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    look: Look | None = None

    def row(self, name: str) -> list[str]:
        """Return a line of the table."""
        assert self.look is not None  # noqa: S101
        wall, cpu = middle(self.wall), middle(self.cpu)
        passes = self.look.passes
        return [
            name, f"{passes:.2f}", str(len(self.look.result.state.tiles)),
            f"{wall[0]:.2f} [{wall[1]:.2f}, {wall[2]:.2f}]",
            f"{cpu[0]:.2f} [{cpu[1]:.2f}, {cpu[2]:.2f}]", f"{cpu[0] / passes:.2f}",
        ]  # fmt: skip


def middle(ratios: list[float]) -> tuple[float, float, float]:
    """Return the median of ratios and its 95 % bootstrap interval."""
    found = np.array(ratios)
    draw = rng(0, "focus_cost/bootstrap")
    medians = np.median(found[draw.integers(found.size, size=(10_000, found.size))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(found)), float(low), float(high)


def clock() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])


def forward(source: Source, model: Any) -> None:
    """Embed the whole image, read as a look reads it."""
    size = model.spec.input_size
    shape = (min(2 * size[0], source.info.shape[0]), min(2 * size[1], source.info.shape[1]))
    image = source.read(Window(0, 0, *source.info.shape), bands=model.spec.bands, out_shape=shape)
    model.embed(image.data[None])


def timed(name: str, looks: list[str], pairs: int) -> list[list[str]]:
    """Compare all ways of looking with a forward of one model."""
    from foveate.world import WorldSpec, make_scene

    scene = make_scene(WorldSpec(scenes=1, size=SIDE, dtype="uint8", seed=1, cloud=0.0), 0)
    source = ArraySource(np.ascontiguousarray(scene.image[:3]))
    model = built(name, (1, 2, 3), 255.0)
    forward(source, model)
    lines = []
    for title in looks:
        config = PLANS[title]
        found = Pairs()
        cheap = config.mode == "feature"
        for pair in range(-1, pairs if cheap else max(3, pairs // 3)):
            spent = {}
            for which in ("forward", "look") if pair % 2 == 0 else ("look", "forward"):
                before = clock()
                if which == "look":
                    found.look = look_at(source, model, FocusQuestion(), config)
                else:
                    forward(source, model)
                spent[which] = clock() - before
            if pair >= 0:  # the first pair warms both up
                wall, cpu = spent["look"] / spent["forward"]
                found.wall.append(float(wall))
                found.cpu.append(float(cpu))
        lines.append(found.row(title))
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


class Watched:
    """A source that keeps the time of its reads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.seconds, self.reads, self.pixels = 0.0, 0, 0

    @property
    def info(self) -> Any:
        """The source's."""
        return self._source.info

    def read(self, window: Window | None = None, **how: Any) -> Raster:
        """Read, and add up time and pixels."""
        before = time.process_time()
        found = self._source.read(window, **how)
        self.seconds += time.process_time() - before
        self.reads += 1
        area = window or Window(0, 0, *self.info.shape)
        self.pixels += area.h * area.w
        return found


def work(out: str, path: str, name: str, goal: str) -> None:
    """In a process of its own: load, warm up, and measure one look at the scene."""
    bands = (1, 2, 3, 4) if name == "builtin" else (3, 2, 1)
    model = built(name, bands, 10_000.0)
    model.embed(np.zeros((1, len(bands), 256, 256), np.uint16))
    source = Watched(FileSource(path))

    def look() -> tuple[NDArray[Any], dict[str, Any]]:
        start = time.perf_counter()
        found = look_at(source, model, FocusQuestion(), FocusConfig(GOALS[goal], passes=24))  # ty: ignore[invalid-argument-type]
        notes = {
            "wall": time.perf_counter() - start, "passes": found.passes,
            "model": found.work.seconds, "reading": source.seconds, "reads": source.reads,
            "pixels": source.pixels,
        }  # fmt: skip
        return np.array([tuple(w) for w in found.windows]), notes

    call(look, out)


def on_scene(side: int, scene: Path | None = None) -> None:
    """Print memory and time of looks at a large scene."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path = scene or Path(folder) / "scene.tif"
        if scene is None:
            write_scene(path, side)
        for name in SCENE_MODELS:
            for goal in GOAL_NAMES:
                found = measure(__file__, [str(path), name, goal])
                notes = found.notes
                lines.append(
                    [f"{name}, {goal}", f"{found.extra / 1e9:.2f}", f"{found.extra / MEMORY:.2f}",
                     f"{notes['passes']:.1f}", f"{found.cpu:.1f}", f"{notes['wall']:.1f}",
                     f"{notes['reading']:.1f}", str(notes["reads"]),
                     f"{notes['pixels'] / side**2:.2f}"]
                )  # fmt: skip
                print(lines[-1], file=sys.stderr, flush=True)
    print(f"\nscene of {side} x {side} x 4 uint16, mode zoom, 24 passes\n")
    table(
        ["model, goal", "extra GB", "of limit", "passes", "CPU s", "wall s", "reading, CPU s",
         "reads", "scenes read"],
        lines,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15, help="of cheap looks; others a third")
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--scene", type=Path, help="a scene that is there already")
    parser.add_argument("--only", choices=("time", "memory"))
    parser.add_argument("--model", action="append", help="timed models; timm with tokens")
    parser.add_argument("--look", action="append", choices=list(PLANS))
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    print(machine())
    if options.only != "memory":
        for name in options.model or MODELS:
            print(f"\n{name}: ratio to one forward, median of pairs [95 % interval]\n")
            table(
                ["look", "passes", "cells", "wall", "CPU", "CPU per pass"],
                timed(name, options.look or list(PLANS), options.pairs),
            )
        print(f"\nlimit of mode feature: {LIMIT} forwards")
    if options.only != "time":
        on_scene(options.side, options.scene)


if __name__ == "__main__":
    main()
