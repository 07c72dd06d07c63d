"""Drawn images of cans and nets on the sea floor, with masks, as videos of two images each."""

import numpy as np

from foveate.raster import write_cog

SIDE = 64
COLOURS = {"can": (220, 40, 40), "net": (40, 40, 220)}
NUMBERS = {"can": 1, "net": 2}


def drawn(seed):
    """Return an image of a can and a net, and its mask."""
    draw = np.random.default_rng(seed)
    image = draw.integers(70, 110, (3, SIDE, SIDE)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for name, left in (("can", 2), ("net", 34)):
        y, x = draw.integers(2, 36), left + draw.integers(0, 6)
        image[:, y : y + 24, x : x + 20] = np.uint8(COLOURS[name])[:, None, None]
        mask[y : y + 24, x : x + 20] = NUMBERS[name]
    return image, mask


def write_trash(root, count=8):
    """Write images/, masks/ and classes.yaml, and return the folder."""
    for seed in range(count):
        image, mask = drawn(seed)
        for kind, pixels in (("images", image), ("masks", mask[None])):
            (root / kind / f"video{seed // 2}").mkdir(parents=True, exist_ok=True)
            write_cog(root / kind / f"video{seed // 2}" / f"{seed}.tif", pixels)
    (root / "classes.yaml").write_text("can: 1\nnet: [2]\n")
    return root
