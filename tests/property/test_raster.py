"""A window of a file is a slice of its array, whatever the file."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.grid import Window
from foveate.raster import ArraySource, FileSource, StackSource

H, W = 23, 31
WINDOWS = st.builds(
    Window, st.integers(-30, 40), st.integers(-30, 40), st.integers(1, 40), st.integers(1, 40)
)
# Numbers from 1 to any count of bands, by the remainder.
PICKS = st.lists(st.integers(0, 11), min_size=1, max_size=4)


class Cases(dict):
    """Kind of file -> (source, data, valid); hypothesis prints what it is given."""

    def __repr__(self):
        return "cases"


def tiff(path, data, **profile):
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=H, width=W, dtype=data.dtype.name,
        crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6), **profile,
    ) as dataset:  # fmt: skip
        dataset.write(data)


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rasters")
    rng = np.random.default_rng(0)
    every = np.ones((H, W), bool)
    made = {}

    data = rng.integers(0, 60_000, (3, H, W)).astype(np.uint16)
    tiff(folder / "uint16.tif", data, tiled=True, blockxsize=16, blockysize=16)
    made["uint16"] = (folder / "uint16.tif", data, every)

    data = rng.integers(-5, 5, (2, H, W)).astype(np.int16)
    data[:, rng.random((H, W)) < 0.2] = -9999
    tiff(folder / "nodata.tif", data, nodata=-9999)
    made["nodata"] = (folder / "nodata.tif", data, (data != -9999).any(axis=0))

    data = rng.random((2, H, W)).astype(np.float32)
    data[1, rng.random((H, W)) < 0.2] = np.nan
    tiff(folder / "float.tif", data, compress="deflate")
    made["float"] = (folder / "float.tif", data, np.isfinite(data))

    rgba = rng.integers(0, 256, (H, W, 4)).astype(np.uint8)
    rgba[..., 3] = np.where(rng.random((H, W)) < 0.2, 0, 255)
    Image.fromarray(rgba).save(folder / "rgba.png")
    made["rgba"] = (folder / "rgba.png", rgba[..., :3].transpose(2, 0, 1), rgba[..., 3] > 0)

    indices = rng.integers(0, 5, (H, W)).astype(np.uint8)
    table = rng.integers(0, 256, (5, 3)).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(table.ravel().tolist())
    image.save(folder / "palette.png")
    made["palette"] = (folder / "palette.png", table[indices].transpose(2, 0, 1), every)
    return Cases({k: (FileSource(str(p)), d, v) for k, (p, d, v) in made.items()})


def expected(data, valid, window, bands):
    """The window cut out of a canvas that is larger than any window."""
    margin = 80
    index = [b - 1 for b in bands]
    valid = valid[index].all(axis=0) if valid.ndim == 3 else valid
    canvas = np.pad(data[index], ((0, 0), (margin, margin), (margin, margin)))
    mask = np.pad(valid, margin)
    y, x = window.y + margin, window.x + margin
    cut = np.s_[y : y + window.h, x : x + window.w]
    return canvas[:, *cut], mask[cut]


@pytest.mark.parametrize("kind", ["uint16", "nodata", "float", "rgba", "palette"])
@given(window=WINDOWS, picks=PICKS)
def test_a_window_of_a_file_is_a_slice_of_its_array(cases, kind, window, picks):
    source, data, valid = cases[kind]
    bands = [pick % len(data) + 1 for pick in picks]
    part = source.read(window, bands=bands)
    pixels, mask = expected(data, valid, window, bands)
    assert part.data.shape == pixels.shape
    assert part.data.dtype == data.dtype
    assert (part.valid == mask).all()
    assert (part.data[:, mask] == pixels[:, mask]).all()


@given(window=WINDOWS, picks=PICKS)
def test_an_array_reads_like_the_file_of_it(cases, window, picks):
    source, data, _ = cases["float"]
    bands = [pick % len(data) + 1 for pick in picks]
    one, other = (s.read(window, bands=bands) for s in (source, ArraySource(data)))
    assert (one.valid == other.valid).all()
    assert (one.data[:, one.valid] == other.data[:, one.valid]).all()


@given(window=WINDOWS, picks=PICKS)
def test_a_stack_of_one_grid_is_the_bands_side_by_side(cases, window, picks):
    (a, one, _), (b, two, _) = cases["uint16"], cases["palette"]
    bands = [pick % 6 + 1 for pick in picks]
    part = StackSource((a, b)).read(window, bands=bands)
    both = np.concatenate([one, two.astype(np.uint16)])
    pixels, mask = expected(both, np.ones((H, W), bool), window, bands)
    assert (part.valid == mask).all()
    assert (part.data[:, mask] == pixels[:, mask]).all()


@given(window=WINDOWS, shape=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_a_resampled_window_has_the_shape_asked_for_and_stays_in_range(cases, window, shape):
    for source, data, _ in cases.values():
        part = source.read(window, out_shape=shape)
        assert part.data.shape == (len(data), *shape)
        assert part.valid.shape == shape
        assert part.data.dtype == data.dtype
