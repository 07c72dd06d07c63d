"""Every source passes the public suite, and the suite catches what it should."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.grid import Window
from foveate.raster import (
    ArraySource,
    FileSource,
    FlippedSource,
    Raster,
    StackSource,
    south_up,
    write_cog,
)
from foveate.testing import CheckFailed, check_source

SHAPE = (37, 53)
GEOBOX = GeoBox(SHAPE, Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32633")


def pixels(bands=3, dtype="uint8", seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(1, 250, (bands, *SHAPE)).astype(dtype)


def tif(folder, name, data, **options):
    write_cog(folder / name, data, **options)
    return FileSource(str(folder / name))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_geotiff(tmp_path, dtype):
    check_source(tif(tmp_path, "a.tif", pixels(dtype=dtype), geobox=GEOBOX))


def test_a_geotiff_from_south_to_north(tmp_path):
    data = pixels()
    turned = GEOBOX.affine @ Affine(1, 0, 0, 0, -1, SHAPE[0])
    stored = tif(tmp_path, "a.tif", data[:, ::-1], geobox=GeoBox(SHAPE, turned, GEOBOX.crs))
    source = FlippedSource(stored)
    check_source(source)
    assert south_up(stored.info)
    assert not south_up(source.info)
    assert source.info.geobox == GEOBOX
    np.testing.assert_array_equal(source.read().data, data)
    window = Window(3, 5, 9, 11)
    np.testing.assert_array_equal(source.read(window).data, data[:, 3:12, 5:16])


def test_a_geotiff_with_nodata(tmp_path):
    data = pixels(2, "uint16")
    data[:, 5:20, 9:30] = 0
    source = tif(tmp_path, "a.tif", data, nodata=0)
    check_source(source)
    check_source(replace(source, nodata=7.0))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp.png"])
def test_pictures(tmp_path, suffix):
    Image.fromarray(np.moveaxis(pixels(), 0, -1)).save(tmp_path / f"a{suffix}")
    check_source(FileSource(str(tmp_path / f"a{suffix}")))


def test_a_png_with_alpha(tmp_path):
    data = np.moveaxis(pixels(4), 0, -1)
    data[10:20, :, 3] = 0
    Image.fromarray(data).save(tmp_path / "a.png")
    check_source(FileSource(str(tmp_path / "a.png")))


@pytest.mark.parametrize("as_colours", [True, False])
def test_a_palette_png(tmp_path, as_colours):
    image = Image.fromarray(pixels(1)[0] % 4, mode=None).convert("P")
    image.putpalette([0, 0, 0, 226, 169, 41, 110, 193, 228, 60, 16, 152] + [0] * 756)
    image.save(tmp_path / "a.png")
    source = FileSource(str(tmp_path / "a.png"), palette=as_colours)
    check_source(source)
    assert source.info.bands == (3 if as_colours else 1)


def test_a_stack_of_files_on_one_grid(tmp_path):
    parts = [tif(tmp_path, f"{i}.tif", pixels(i, seed=i)) for i in (1, 2)]
    check_source(StackSource(tuple(parts)))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_an_array(dtype):
    check_source(ArraySource(pixels(4, dtype), geobox=GEOBOX))


def test_an_array_with_a_mask():
    check_source(ArraySource(pixels(), np.random.default_rng(1).random(SHAPE) < 0.7))


@dataclass(frozen=True)
class Broken(ArraySource):
    """An array whose reads break one rule."""

    rule: str = ""

    def read(self, window=None, *, bands=None, out_shape=None):
        if self.rule == "sorts bands":
            bands = bands and sorted(bands)
        raster = super().read(window, bands=bands, out_shape=out_shape)
        if self.rule == "all valid":
            return Raster(raster.data, np.ones_like(raster.valid))
        if self.rule == "other dtype":
            return Raster(raster.data.astype("float64"), raster.valid)
        if self.rule == "shifts windows" and window is not None:
            return Raster(np.roll(raster.data, 1, axis=2), raster.valid)
        return raster


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("sorts bands", "requested order"),
        ("all valid", "outside the raster is invalid"),
        ("other dtype", "info.dtype"),
        ("shifts windows", "part of the whole"),
    ],
)
def test_the_suite_names_the_broken_rule(rule, text):
    with pytest.raises(CheckFailed, match=text):
        check_source(Broken(pixels(), rule=rule))


COARSE = [((19, 27), 20.0), ((7, 9), 60.0), ((25, 36), 15.0), ((74, 106), 5.0)]


@pytest.mark.parametrize(("shape", "size"), COARSE)
@pytest.mark.parametrize("georeferenced", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_stack_with_another_resolution(tmp_path, shape, size, georeferenced, dtype):
    """A window of a 2:1, 6:1, 1.5:1 or 1:2 stack is the part of the whole: nothing moves."""
    boxes = (GEOBOX, GeoBox(shape, Affine(size, 0, 5e5, 0, -size, 4e6), "EPSG:32633"))
    fine, coarse = boxes if georeferenced else (None, None)
    data = np.random.default_rng(2).integers(1, 250, (2, *shape)).astype(dtype)
    if dtype == "float32":
        data[:, 2:4, 3:5] = np.nan
    stack = StackSource(
        (tif(tmp_path, "a.tif", pixels(), geobox=fine), tif(tmp_path, "b.tif", data, geobox=coarse))
    )
    check_source(stack)
    whole = stack.read()
    for y in range(0, 30, 3):
        window = Window(y, y + 1, 7, 11)
        part, cut = stack.read(window), np.s_[y : y + 7, y + 1 : y + 12]
        assert (part.valid == whole.valid[cut]).all()
        assert (part.data == whole.data[:, *cut])[:, part.valid].all()


@pytest.mark.parametrize("nodata", [0, 7])
def test_masked_sources_of_every_kind(tmp_path, nodata):
    data = pixels(2, "uint16")
    data[:, np.random.default_rng(3).random(SHAPE) < 0.3] = nodata
    plain = tif(tmp_path, "a.tif", data)
    check_source(replace(plain, nodata=float(nodata)))
    check_source(StackSource((replace(plain, nodata=float(nodata)), plain)))
