"""Every source passes the public suite, and the suite catches what it should."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.raster import ArraySource, FileSource, Raster, StackSource, write_cog
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
        ("sorts bands", "order asked for"),
        ("all valid", "outside the raster is invalid"),
        ("other dtype", "info.dtype"),
        ("shifts windows", "cut of the whole"),
    ],
)
def test_the_suite_names_the_broken_rule(rule, text):
    with pytest.raises(CheckFailed, match=text):
        check_source(Broken(pixels(), rule=rule))
