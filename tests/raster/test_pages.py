import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.raster import write_cog
from foveate.raster.pages import pages


def write(path, order, kinds, *, big=False):
    """Write the directories of a TIFF, by hand: one tag each, what kind of image it is."""
    mark, head = ("II" if order == "<" else "MM").encode(), 16 if big else 8
    size = (8 + 20 + 8) if big else (2 + 12 + 4)
    data = mark + struct.pack(*((f"{order}HHHQ", 43, 8, 0, head) if big else (f"{order}HI", 42, 8)))
    for i, kind in enumerate(kinds):
        after = head + (i + 1) * size if i + 1 < len(kinds) else 0
        if big:
            data += struct.pack(f"{order}QHHQIIQ", 1, 254, 4, 1, kind, 0, after)
        else:
            data += struct.pack(f"{order}HHHIII", 1, 254, 4, 1, kind, after)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@given(kinds=st.lists(st.sampled_from([0, 1, 2, 4, 5]), min_size=1, max_size=6))
def test_pages_are_neither_overviews_nor_masks(tmp_path_factory, order, big, kinds):
    path = tmp_path_factory.getbasetemp() / "a.tif"
    shown = sum(kind in (0, 2) for kind in kinds)
    assert pages(write(path, order, kinds, big=big)) == max(1, shown)


def test_files_of_other_programs(tmp_path):
    images = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(4)]
    images[0].save(tmp_path / "four.tif", save_all=True, append_images=images[1:])
    assert pages(tmp_path / "four.tif") == 4
    write_cog(tmp_path / "cog.tif", np.ones((1, 1200, 1200), np.uint8))
    assert pages(tmp_path / "cog.tif") == 1


@given(data=st.binary(max_size=64), cut=st.integers(0, 60))
def test_damaged_files_have_a_page(tmp_path_factory, data, cut):
    path = tmp_path_factory.getbasetemp() / "a.tif"
    write(path, "<", [0, 0, 0])
    path.write_bytes(path.read_bytes()[:cut] + data)
    assert pages(path) >= 1


def test_a_chain_that_leads_in_a_circle_ends(tmp_path):
    path = write(tmp_path / "a.tif", "<", [0, 0])
    data = bytearray(path.read_bytes())
    data[-4:] = struct.pack("<I", 8)  # back to the first
    path.write_bytes(data)
    assert pages(path) == 2
