"""A folder of coloured patches with captions: what a tiny model can learn in seconds."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

COLOURS = {
    "bare_soil": (170, 120, 80), "DenseForest": (30, 90, 40), "openwater": (30, 60, 150),
}  # fmt: skip
SENTENCES = {
    "bare_soil": ["Some bare soil .", "There is brown soil on the ground ."],
    "DenseForest": ["A dense forest with green trees .", "Lots of trees in the dense forest ."],
    "openwater": ["Open water .", "There is blue open water without ships ."],
}


def write_images(root, per_class=12):
    """Write class folders of 24 x 24 PNGs; return the paths below the root."""
    draw = np.random.default_rng(3)
    names = []
    for folder, colour in COLOURS.items():
        (root / folder).mkdir(parents=True)
        for k in range(per_class):
            pixels = np.array(colour) + draw.normal(0, 12, (24, 24, 3))
            name = f"{folder}/{folder}{k:02d}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / name)
            names.append(name)
    return names


def split_of(name):
    return {"0": "val", "1": "test"}.get(name[-5], "train")


@pytest.fixture(scope="session")
def patches(tmp_path_factory):
    """The images, and a table of captions with splits beside them."""
    root = tmp_path_factory.mktemp("patches")
    names = write_images(root / "images")
    with (root / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "split"])
        for name in names:
            for text in SENTENCES[name.split("/")[0]]:
                table.writerow([name, text, split_of(name)])
    return root
