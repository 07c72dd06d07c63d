import os
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.errors import DataError
from foveate.raster import FileSource, close_files, write_cog
from foveate.raster.alias import gdal_name


def latin(path, name):
    """Rename a file to what is no UTF-8."""
    there = os.fsencode(path.parent) + b"/" + name
    os.rename(path, there)  # noqa: PTH104
    return os.fsdecode(there)


def test_names_that_are_utf8_stay(tmp_path):
    for name in ("a.tif", "é.tif", "a b%20,'\n.tif"):
        assert gdal_name(str(tmp_path / name)) == str(tmp_path / name)


def test_a_file_whose_name_is_no_utf8_is_read_with_its_sidecars(tmp_path):
    data = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(data).save(tmp_path / "a.png")
    (tmp_path / "x.pgw").write_text("10\n0\n0\n-10\n500005\n5000005\n")
    path = latin(tmp_path / "a.png", b"caf\xe9.png")
    latin(tmp_path / "x.pgw", b"caf\xe9.pgw")
    source = FileSource(path)
    assert source.read().data[0].tolist() == data.tolist()
    assert source.info.geobox.affine == Affine(10, 0, 500000, 0, -10, 5000010)


def test_folders_and_virtual_rasters_whose_names_are_no_utf8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfcr"))
    folder.mkdir()
    write_cog(tmp_path / "a.tif", np.full((1, 8, 8), 7, np.uint8), geobox=None)
    (tmp_path / "a.tif").rename(folder / "a.tif")
    (folder / "v.vrt").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    for name in ("a.tif", "v.vrt"):
        assert (FileSource(str(folder / name)).read().data == 7).all()


def test_content_has_one_fingerprint_whatever_the_name(tmp_path):
    box = GeoBox((8, 8), Affine(10, 0, 500000, 0, -10, 5000000), "EPSG:32633")
    write_cog(tmp_path / "a.tif", np.ones((1, 8, 8), np.uint8), geobox=box)
    before = FileSource(str(tmp_path / "a.tif")).info.fingerprint
    close_files()
    assert FileSource(latin(tmp_path / "a.tif", b"\xe9.tif")).info.fingerprint == before


def test_a_missing_file_is_named_readably(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")
    with pytest.raises(DataError, match=r"caf\\+xe9.tif"):
        FileSource(path).info  # noqa: B018
