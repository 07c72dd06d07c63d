"""Files named and laid out as those of DFC2022, Vaihingen and Potsdam, tiny and drawn."""

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.bench.curate.datasets import facts
from foveate.raster import write_cog

_COLOURS = np.array([[200, 200, 200], [90, 40, 40], [60, 160, 80], [20, 90, 30], [220, 60, 60],
                     [140, 120, 60]])  # fmt: skip


def _drawn(seed, side, classes):
    """Return an image, its class numbers, and heights: blocks of classes, with noise."""
    draw = np.random.default_rng(seed)
    blocks = draw.permutation(np.resize(np.arange(classes), 16)).reshape(4, 4)
    codes = np.kron(blocks, np.ones((side // 4, side // 4), int))
    pixels = _COLOURS[codes % 6] + draw.normal(0, 20, (side, side, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8).transpose(2, 0, 1), codes, draw


def write_dfc2022(root, *, side=64, each=5, cities=("Nantes_Saint-Nazaire", "Nice")):
    """Write `each` tiles of each city, side by side; elevation has half the resolution."""
    for c, city in enumerate(cities):
        for i in range(each):
            name = f"{44 - c}-2013-{295 + i:04d}-6713-LA93-0M50-E080"
            image, codes, draw = _drawn(100 * c + i, side, 14)
            corner = (300_000 + 100_000 * c + i * side / 2, 6_700_000)

            def box(step, corner=corner):
                n = int(side / 2 / step)
                return GeoBox((n, n), Affine(step, 0, corner[0], 0, -step, corner[1]), "EPSG:2154")

            home = root / "labeled_train" / city
            dem = draw.normal(80, 20, (1, side // 2, side // 2)).astype(np.float32)
            mask = (codes + 1).astype(np.uint8)[None]
            mask[:, :2], mask[:, -2:] = 0, 15
            write_cog(home / f"BDORTHO/{name}.tif", image, geobox=box(0.5))
            write_cog(home / f"RGEALTI/{name}_RGEALTI.tif", dem, geobox=box(1))
            write_cog(home / f"UrbanAtlas/{name}_UA2012.tif", mask, geobox=box(0.5))
    return root


def write_vaihingen(root, *, side=64, train=4, val=1, test=3):
    """Write the first images of each part; heights in metres."""
    return _write_isprs(root, "vaihingen", side, {"train": train, "val": val, "test": test})


def write_potsdam(root, *, side=64, train=4, val=1, test=3):
    """Write the first images of each part: four bands, and heights as 8-bit pictures."""
    return _write_isprs(root, "potsdam", side, {"train": train, "val": val, "test": test})


def _write_isprs(root, name, side, counts):
    known = facts(name)
    colours = [bytes.fromhex(colour[1:]) for colour in known.classes.values()]
    table = np.frombuffer(b"".join(colours), np.uint8).reshape(-1, 3)
    for part, count in counts.items():
        for one in getattr(known, part)[:count]:
            numbers = [int(text) for text in str(one).split("_")]
            image, codes, draw = _drawn(sum(n * 50**k for k, n in enumerate(numbers)), side, 6)
            paths = [root / text.format(*numbers)
                     for text in (known.image, known.mask, known.extra[0]["file"])]  # fmt: skip
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(table[codes]).save(paths[1])
            if name == "potsdam":
                near = draw.integers(0, 255, (1, side, side), np.uint8)
                write_cog(paths[0], np.concatenate([image, near]))
                Image.fromarray(draw.integers(0, 255, (side, side), np.uint8)).save(paths[2])
            else:
                Image.fromarray(image.transpose(1, 2, 0)).save(paths[0])
                heights = draw.normal(280, 8, (side, side)).astype(np.float32)
                Image.fromarray(heights).save(paths[2])
    return root
