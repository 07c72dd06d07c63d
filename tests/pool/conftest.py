"""Small imagery written by hand."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    """Write an (h, w), (h, w, 3) or (h, w, 4) array as a picture below the test's folder."""

    def write(name, array=None, palette=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if array is None:
            array = np.random.default_rng(len(name)).integers(0, 255, (16, 16, 3))
        image = Image.fromarray(np.asarray(array, np.uint8))
        if palette is not None:
            image = image.convert("P")
            image.putpalette([v for colour in palette for v in colour] + [0] * 3)
        image.save(path)
        return path

    return write
