"""A folder of coloured patches with captions: what a tiny model can learn in seconds."""

from __future__ import annotations

import csv

import numpy as np
from PIL import Image

COLOURS = {
    "bare_soil": (170, 120, 80), "DenseForest": (30, 90, 40), "openwater": (30, 60, 150),
}  # fmt: skip
SENTENCES = {
    "bare_soil": ["Some bare soil .", "There is brown soil on the ground ."],
    "DenseForest": ["A dense forest with green trees .", "Lots of trees in the dense forest ."],
    "openwater": ["Open water .", "There is blue open water without ships ."],
}


def write_patches(root, per_class=12):
    """Write class folders of 24 x 24 PNGs, and a table of captions with splits beside them."""
    draw = np.random.default_rng(3)
    with_split = {"0": "val", "1": "test"}
    (root / "images").mkdir(parents=True)
    with (root / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "split"])
        for folder, colour in COLOURS.items():
            (root / "images" / folder).mkdir()
            for k in range(per_class):
                pixels = np.array(colour) + draw.normal(0, 12, (24, 24, 3))
                name = f"{folder}/{folder}{k:02d}.png"
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(root / "images" / name)
                split = with_split.get(name[-5], "train")
                table.writerows([name, text, split] for text in SENTENCES[folder])
    return root
