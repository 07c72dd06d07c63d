"""Small labelled pools on disk."""

from __future__ import annotations

import shutil

import pytest

CLASSES = "classes: {water: '#0000FF', wood: '#00FF00', town: ['#FF0000', '#FF00FF']}\n"


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A procedural world on disk: two scenes of 256 px with index masks."""
    from foveate.world import WorldSpec, write_world

    root = tmp_path_factory.mktemp("world")
    write_world(root, WorldSpec(scenes=2, size=256, seed=3))
    return root


@pytest.fixture(scope="session")
def patches(tmp_path_factory):
    """Six RGB patches of 64 px as PNG, with colour masks and a classes file."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("patches")
    rng = np.random.default_rng(0)
    colours = np.array([(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 0, 255)], np.uint8)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for i in range(6):
        labels = (np.arange(64)[:, None] * (i + 1) // 64 + np.arange(64)[None] // 32) % 4
        pixels = colours[labels] // 2 + rng.integers(0, 100, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"p{i}.png")
        Image.fromarray(colours[labels]).save(root / "masks" / f"p{i}.png")
    (root / "classes.yaml").write_text(CLASSES)
    return root


@pytest.fixture
def copy(patches, tmp_path):
    """A copy of the patches that a test may spoil."""
    shutil.copytree(patches, tmp_path / "data")
    return tmp_path / "data"
