"""Planted copies: how many of them `semdedup` ranks last, and how many other tiles.

    python benchmarks/duplicates.py --tiles 64,96,128,256 [--seeds 5,6] [--images FOLDER ...]
        [--model NAME --weights PATH] [--most 3000] [--found DIR]

Tiles are cut with some pixels between them, so that they share no ground: of drawn worlds (14
scenes of 560 px), or of the images in each folder (one tile of the middle of an image that holds no
two). Of every third tile there is a copy: the same pixels, a JPEG of quality 60 to 90, or what lies
1 to 4 pixels beside it. "removed" is the share of the copies that are ranked last, by kind, "false"
the share of tiles of which nothing is kept. By the pixels, and by the embeddings alone
(``chance=0.05``). ``--found`` writes the false pairs as pictures: images have copies of their own.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import foveate as fv
from foveate.curate import rank
from foveate.world import WorldSpec, make_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS, SHIFT, SCENES, SIZE = ("exact", "jpeg", "shift"), 4, 14, 560
ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def drawn(seed: int) -> Iterator[np.ndarray]:
    """Yield the scenes of a world, (h, w, 3) uint8."""
    spec = WorldSpec(scenes=SCENES, size=SIZE, bands=3, seed=seed, cloud=0, nodata_border=False)
    for index in range(SCENES):
        yield np.moveaxis(make_scene(spec, index).image, 0, -1)


def stored(folder: Path) -> Iterator[np.ndarray]:
    """Yield the images of a folder and those below it, masks left out, in a drawn order."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    for path in np.random.default_rng(0).permutation(np.array(paths, object)):
        if not {"masks", "labels"} & set(path.parts):
            yield np.asarray(Image.open(path).convert("RGB"))


def plant(root: Path, images: Iterator[np.ndarray], tile: int, most: int, seed: int) -> int:
    """Write tiles and copies of every third one; return the number of tiles."""
    draw, count = np.random.default_rng(seed), 0
    for image in images:
        ends = [side - tile - SHIFT + 1 for side in image.shape[:2]]
        few = min(image.shape[:2]) < 2 * (tile + 2 * SHIFT)
        rows, columns = (
            [max(SHIFT, end // 2)] if few and end > SHIFT else range(SHIFT, end, tile + 2 * SHIFT)
            for end in ends
        )
        for y in rows:
            for x in columns:
                if count == most:
                    return count
                own = image[y : y + tile, x : x + tile]
                write(root / f"t{count:05d}_first.png", own)
                if count % 3 == 0:
                    kind = KINDS[count // 3 % 3]
                    write(
                        root / f"t{count:05d}_{kind}.png", copy_of(image, (y, x), tile, kind, draw)
                    )
                count += 1
    return count


def copy_of(
    image: np.ndarray, place: tuple[int, int], tile: int, kind: str, draw: np.random.Generator
) -> np.ndarray:
    """Return a copy of a tile."""
    y, x = place
    own = np.ascontiguousarray(image[y : y + tile, x : x + tile])
    if kind == "jpeg":
        stream = io.BytesIO()
        Image.fromarray(own).save(stream, "JPEG", quality=int(draw.integers(60, 91)))
        return np.asarray(Image.open(stream))
    if kind == "shift":
        shifts = [(a, b) for a in range(-SHIFT, SHIFT + 1) for b in range(-SHIFT, SHIFT + 1)]
        down, across = draw.choice([s for s in shifts if s != (0, 0)])
        return image[y + down : y + down + tile, x + across : x + across + tile]
    return own


def write(path: Path, tile: np.ndarray) -> None:
    Image.fromarray(np.ascontiguousarray(tile)).save(path, compress_level=1)


def measure(ids: list[list[str]], rows: np.ndarray, kept: int) -> tuple[dict[str, float], float]:
    """Return the share of the copies that are ranked last, by kind, and that of false ones."""
    last = {tuple(ids[row]) for row in rows[kept:]}
    copies = [one for one in ids if one[1] != "first"]
    removed = {}
    for kind in KINDS:
        # Of the two either one may be kept; where both are last, that is no success but an error.
        own = [one[0] for one in copies if one[1] == kind]
        out = [((name, kind) in last) + ((name, "first") in last) for name in own]
        removed[kind] = float(np.mean([number >= 1 for number in out]))
    names = {one[0] for one in ids}
    return removed, 1 - len({ids[row][0] for row in rows[:kept]}) / len(names)


def show(out: Path, root: Path, ids: list[list[str]], rows: np.ndarray, kept: int) -> None:
    """Write each tile of which nothing is kept."""
    out.mkdir(parents=True, exist_ok=True)
    alive = {ids[row][0] for row in rows[:kept]}
    for name in sorted({one[0] for one in ids} - alive):
        (out / f"{name}.png").write_bytes((root / f"{name}_first.png").read_bytes())


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiles", default="64,96,128,256")
    parser.add_argument("--seeds", default="5,6")
    parser.add_argument("--images", nargs="+", type=Path, default=[])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--weights")
    parser.add_argument("--most", type=int, default=3000)
    parser.add_argument("--found", type=Path)
    given = parser.parse_args()
    model = fv.load_model(given.model, **({"weights": given.weights} if given.weights else {}))
    seeds = [int(seed) for seed in given.seeds.split(",")]
    sets = [("/".join(folder.parts[-2:]), 0, folder) for folder in given.images] or [
        (f"world {seed}", seed, None) for seed in seeds
    ]
    print(
        "| set | tile | tiles | by | exact | jpeg | shift | all | false | CPU s |\n"
        + "|---" * 10
        + "|"
    )
    for name, seed, folder in sets:
        for tile in map(int, given.tiles.split(",")):
            with tempfile.TemporaryDirectory() as place:
                root = Path(place)
                images = drawn(seed) if folder is None else stored(folder)
                count = plant(root, images, tile, given.most, seed)
                pool = fv.open_pool(root, tile=tile)
                ids = [str(one).split("/")[0].split("_") for one in pool.ids]
                vectors = fv.embed(pool, model)
                for by, options in (("pixels", {}), ("embeddings", {"chance": 0.05})):
                    begun = time.process_time()
                    found = rank(pool, "semdedup", embeddings=vectors, max_overlap=1, **options)
                    took = time.process_time() - begun
                    removed, lost = measure(ids, found.rows, found.meta["kept"])
                    if given.found and by == "pixels":
                        show(
                            given.found / f"{name.replace('/', '-')}-{tile}",
                            root,
                            ids,
                            found.rows,
                            found.meta["kept"],
                        )
                    every = np.mean([removed[kind] for kind in KINDS])
                    print(
                        f"| {name} | {tile} | {count} | {by} | "
                        + " | ".join(f"{removed[kind]:.3f}" for kind in KINDS)
                        + f" | {every:.3f} | {lost:.4f} | {took:.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
