"""Zero-shot accuracy on stitched mosaics: looks against the same number of tiles without a plan.

Mosaics of 8 x 8 patches of UC Merced (`foveate.world.stitch`), of which the model has not seen
any in training: the class is that of all patches, of most, of one, or of most blocks. "Aligned":
cells and tiles lie on the grid of the patches; "shifted": the window is cut half a patch off it,
so that every tile shows parts of four patches. A baseline gets as many tiles as the look has
passes, its overview included. Differences are paired by mosaic, with 95 % bootstrap intervals.

    OMP_NUM_THREADS=1 python benchmarks/focus_mosaics.py --model tuned:FOLDER \
        [--data FOLDER] [--mosaics 40] [--seeds 3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import foveate as fv
from _measure import table
from foveate.budget import Ledger
from foveate.focus.config import GOALS, FocusConfig, SearchConfig
from foveate.focus.encode import CropEncoder
from foveate.focus.look import look_at
from foveate.focus.losses import LossInputs, novelty
from foveate.focus.partition import membership
from foveate.focus.question import FocusQuestion
from foveate.grid import Grid, Window
from foveate.models.heads import unit
from foveate.raster import ArraySource
from foveate.seeds import rng
from foveate.select.kcenter import kcenter_greedy
from foveate.world import MOSAIC_KINDS, stitch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.models.heads import Head

DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "ucmerced"
SIDE = 8  # patches and tiles along a mosaic
BUDGETS = (16, 24, 48)
GRIDS = ("aligned", "shifted")
# What the captions call the folders.
SAYS = {
    "agricultural": "farmland", "baseballdiamond": "baseball diamond",
    "denseresidential": "dense residential area", "golfcourse": "golf course",
    "mediumresidential": "medium residential area", "mobilehomepark": "mobile home park",
    "parkinglot": "parking lot", "sparseresidential": "sparse residential area",
    "storagetanks": "storage tanks", "tenniscourt": "tennis court",
}  # fmt: skip


class Remembered:
    """What was seen of any image, by its pixels: stands in for `foveate.focus.encode.FeatureCache`.

    Looks book their passes all the same, so that no result changes.
    """

    vectors: dict[tuple[bytes, tuple[int, int]], NDArray[np.float32]] = {}  # noqa: RUF012

    def __init__(self, image: NDArray[Any]) -> None:
        self._image = image
        self._names: dict[Window, bytes] = {}

    def _name(self, window: Window) -> bytes:
        if window not in self._names:
            y, x, h, w = window
            pixels = np.ascontiguousarray(self._image[:, y : y + h, x : x + w])
            self._names[window] = hashlib.blake2b(pixels, digest_size=16).digest()
        return self._names[window]

    def get(self, window: Window, shape: tuple[int, int], _: bool) -> NDArray[np.float32] | None:  # noqa: FBT001
        """Return the vector of a window, or None."""
        return self.vectors.get((self._name(window), shape))

    def put(
        self,
        window: Window,
        shape: tuple[int, int],
        _: bool,  # noqa: FBT001
        vector: NDArray[np.float32],
    ) -> None:
        """Keep the vector of a window."""
        self.vectors[self._name(window), shape] = vector


def held_out(data: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Return class -> images that are not in the training split of the captions."""
    classes = sorted(p for p in (data / "images").iterdir() if p.is_dir())
    files = [
        path
        for folder in classes
        for path in sorted(
            folder.iterdir(), key=lambda p: int("".join(c for c in p.stem if c.isdigit()))
        )
    ]
    records = json.loads((data / "ucm_captions.json").read_text("utf-8"))["images"]
    found: dict[str, list[pathlib.Path]] = {folder.name: [] for folder in classes}
    for path, record in zip(files, records, strict=True):
        if record["split"] in ("val", "test"):
            found[path.parent.name].append(path)
    return found


def mosaics(
    patches: Mapping[str, Sequence[NDArray[Any]]], kind: str, grid: str, count: int, seed: int
) -> Iterator[tuple[NDArray[Any], str]]:
    """Yield images of SIDE x SIDE tiles and their classes."""
    index = 0
    while count:
        if grid == "aligned":
            found = stitch(patches, kind, rows=SIDE, cols=SIDE, seed=seed, index=index)
            image, planted = found.image, found.planted
        else:  # two rows more, because blocks want an even number
            found = stitch(patches, kind, rows=SIDE + 2, cols=SIDE + 2, seed=seed, index=index)
            first, size = found.tile // 2, SIDE * found.tile
            image = np.ascontiguousarray(found.image[:, first : first + size, first : first + size])
            inside = (found.tile, SIDE * found.tile)  # planted patches are to be seen whole
            planted = tuple(
                w for w in found.planted if inside[0] <= min(w.y, w.x) and max(w.y, w.x) < inside[1]
            )
        index += 1
        if len(planted) == len(found.planted):
            count -= 1
            yield image, found.label


def tile_rows(count: int, draw: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """Return tiles that are drawn without looking: (count,) numbers of the SIDE**2."""
    n = SIDE**2
    # Along a Z-order curve, one of each of `count` stretches of equal length.
    curve = np.argsort([int("".join(f"{i:03b}"[k] + f"{j:03b}"[k] for k in range(3)), 2)
                        for i in range(SIDE) for j in range(SIDE)])  # fmt: skip
    edges = np.arange(count) * (n / count) + draw.uniform(0, n / count, count)
    return {
        "random": draw.choice(n, count, replace=False),
        "stratified": curve[np.unique(np.minimum(edges, n - 1).astype(int))],
    }


def verdicts(head: Head, x: NDArray[np.floating], label: str) -> dict[str, bool]:
    """Say which ways of joining the answers of tiles (n, d) give the label."""
    chances = head.probabilities(np.asarray(x, np.float32)).astype(np.float64)
    votes = np.bincount(chances.argmax(axis=1), minlength=chances.shape[1])
    new = novelty(LossInputs(x.astype(np.float64), np.ones(len(x))))(x.astype(np.float64))
    mean = head.probabilities(x.mean(axis=0)[None].astype(np.float32))[0]
    found = {
        "features": mean.argmax(),
        "probabilities": chances.mean(axis=0).argmax(),
        "vote": (votes + 1e-3 * chances.mean(axis=0)).argmax(),
        "surest": chances[chances.max(axis=1).argmax()].argmax(),
        "newest": chances[new.argmin()].argmax(),
        "query": chances[chances[:, head.names.index(label)].argmax()].argmax(),
    }
    return {name: head.names[int(number)] == label for name, number in found.items()}


def baselines(
    encoder: CropEncoder, head: Head, label: str, *, seed: int, draws: int
) -> dict[str, float]:
    """Return name -> share of draws in which it gives the label."""
    shape = encoder.source.info.shape
    tiles = Grid.split(shape, SIDE, SIDE).tiles()
    x = encoder.embed([tiles.window(i) for i in range(len(tiles))])
    whole = head.probabilities(encoder.embed([Window(0, 0, *shape)]))[0]
    tokens = encoder.tokens(Window(0, 0, *shape))
    found: dict[str, list[float]] = {"whole image": [head.names[int(whole.argmax())] == label]}
    share = membership(tiles, shape, tokens.shape[:2]).reshape(len(tiles), -1)
    coarse = unit(share @ tokens.reshape(share.shape[1], -1) / share.sum(axis=1, keepdims=True))
    ties = np.arange(len(tiles), dtype=np.uint64)
    for passes in BUDGETS:
        for number in range(draws):
            draw = rng(seed, f"focus_mosaics/{passes}/{number}")
            picked = tile_rows(passes, draw)
            # k-center needs to see before it chooses: the tokens of the overview, one pass.
            start = int(draw.integers(len(tiles)))
            picked["k-center"] = kcenter_greedy(
                coarse.astype(np.float32), passes - 1, ties=ties, start=start
            ).rows
            for how, rows in picked.items():
                said = verdicts(head, x[rows], label)
                for name, right in said.items():
                    found.setdefault(f"{passes} {how}, {name}", []).append(right)
    return {name: float(np.mean(right)) for name, right in found.items()}


def looks(
    source: ArraySource, model: Any, head: Head, label: str, *, seed: int, cache: Any
) -> dict[str, float]:
    """Return name -> whether a look with that goal and budget gives the label."""
    found = {}
    for name, goal in GOALS.items():
        query = label if name == "query" else ""
        question = FocusQuestion(head, query, head.names.index(label) if query else None)
        for passes in BUDGETS:
            cells = 4 if passes > 16 else 2  # 16 passes do not hold an overview and 4 x 4 cells
            config = FocusConfig(goal, passes=passes, cells=cells, search=SearchConfig(seed=seed))
            look = look_at(source, model, question, config, cache=cache)
            found[f"{passes} look, {name}"] = float(look.prediction == label)
            if name == "balanced":
                wide = replace(config, search=replace(config.search, explore=1.0))
                other = look_at(source, model, question, wide, cache=cache)
                found[f"{passes} look, {name}, explore 1"] = float(other.prediction == label)
            # The other answers cost nothing more: which would have been right?
            for answer in ("vote", "fused", "confident", "first"):
                found[f"{passes} answer, {name}/{answer}"] = float(
                    look.predictions[answer].label == label
                )
    return found


def interval(gaps: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean of paired differences (n,) and its 95 % bootstrap interval."""
    draw = rng(0, "focus_mosaics/bootstrap")
    means = gaps[draw.integers(gaps.size, size=(10_000, gaps.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gaps.mean()), float(low), float(high)


def show(found: dict[str, dict[str, NDArray[np.float64]]], grid: str) -> None:
    """Print accuracies by kind, then looks against the best baseline of each kind."""
    kinds = list(found)
    names = [name for name in found[kinds[0]] if " answer, " not in name]
    cells = {name: [found[kind][name].mean() for kind in kinds] for name in names}
    print(f"\n{grid}: accuracy in %, {len(found[kinds[0]][names[0]])} mosaics of each kind\n")
    table(
        ["passes and method", *kinds],
        [[name, *(f"{100 * v:.0f}" for v in cells[name])] for name in names],
    )
    print("\npaired difference from baselines with the same passes, points [95 % interval]\n")
    lines = []
    for name in (n for n in names if " look, " in n):
        passes = name.split()[0]
        rivals = [
            n for n in names
            if n.split()[0] == passes and "look" not in n
            and ("query" in n) == ("query" in name)
        ]  # fmt: skip
        line = [name]
        for kind in kinds:
            best = max(rivals, key=lambda n, k=kind: found[k][n].mean())
            mean, low, high = interval(found[kind][name] - found[kind][best])
            line.append(f"{100 * mean:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}] {best[3:]}")
        lines.append(line)
    table(["look", *(f"{kind}: best baseline" for kind in kinds)], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="an image-text model: tuned:FOLDER")
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--mosaics", type=int, default=40, help="of each kind, grid and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=4, help="of random tiles, for each mosaic")
    parser.add_argument("--kinds", nargs="+", default=list(MOSAIC_KINDS), choices=MOSAIC_KINDS)
    parser.add_argument("--grids", nargs="+", default=GRIDS, choices=GRIDS)
    parser.add_argument("--out", type=pathlib.Path, help="write all outcomes there, as JSON")
    options = parser.parse_args()
    files = held_out(options.data)
    model: Any = fv.bind(
        fv.load_model(options.model),
        fv.open_pool(options.data / "images", split=(1, 1), measure=False),
    )
    head = fv.text_head(model, {name: [SAYS.get(name, name)] for name in files})
    outcomes: dict[str, Any] = {}
    for grid in options.grids:
        rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in options.kinds}
        for seed in range(options.seeds):
            for kind in options.kinds:
                for image, label in mosaics(files, kind, grid, options.mosaics, seed):
                    source, cache = ArraySource(image), Remembered(image)
                    encoder = CropEncoder(source, model, Ledger({}), cache=cache)  # ty: ignore[invalid-argument-type]
                    rows[kind].append(
                        baselines(encoder, head, label, seed=seed, draws=options.draws)
                        | looks(source, model, head, label, seed=seed, cache=cache)
                    )
            outcomes[grid] = rows
            print(f"{grid}: seed {seed} done", file=sys.stderr, flush=True)
            if options.out:
                options.out.write_text(json.dumps(outcomes), "utf-8")
        found = {k: {n: np.array([row[n] for row in r]) for n in r[0]} for k, r in rows.items()}
        show(found, grid)


if __name__ == "__main__":
    main()
