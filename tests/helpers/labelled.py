"""A folder of images with masks whose classes have colours: what a judge can learn in seconds."""

import numpy as np
from PIL import Image

_COLOURS = np.array([[60, 60, 60], [200, 80, 60], [60, 180, 80], [60, 90, 210], [220, 220, 90]])


def write_labelled(root, n=4, *, side=32, classes=3, seed=0):
    """Write ``images/NAME.png`` and ``masks/NAME.png``: each class in each image, in blocks."""
    draw = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        blocks = draw.permutation(np.resize(np.arange(classes), 16)).reshape(4, 4)
        mask = np.kron(blocks, np.ones((side // 4, side // 4), int))
        pixels = _COLOURS[mask] + draw.normal(0, 25, (side, side, 3))
        name = f"s{seed}_{i}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / "images" / name)
        Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / name)
    return root
