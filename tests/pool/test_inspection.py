"""`inspect`: what a run would read, and where it would stop."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine
from command import here
from PIL import Image

import foveate as fv
from foveate.errors import DataError
from foveate.pool.inspection import date_of


def raster(path, *, east=0.0, bands=3, low=1, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(1).integers(low, 200, (bands, 64, 64)).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5 + east, 0, -10, 5e6)}
    options = {"driver": "GTiff", "count": bands, "height": 64, "width": 64, "dtype": "uint8"}
    with rasterio.open(path, "w", **options, **place, **profile) as file:
        file.write(data)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two dates of one place and another place, with masks and with what is not read."""
    for name, east in (("a_20200101", 0.0), ("a_2021-06-30", 20.0), ("b", 5000.0)):
        raster(tmp_path / f"images/{name}.tif", east=east, nodata=0)
        raster(tmp_path / f"masks/{name}.tif", east=east, bands=1)
        labels = np.arange(64 * 64).reshape(1, 64, 64) % 3
        with rasterio.open(tmp_path / f"masks/{name}.tif", "r+") as file:
            file.write(labels.astype(np.uint8))
    (tmp_path / "images/gone.tif").symlink_to(tmp_path / "nowhere.tif")
    (tmp_path / "images/notes.txt").write_text("hello")
    return tmp_path


def test_what_is_read_paired_and_counted(folder):
    found = fv.inspect(folder / "images", masks=folder / "masks", tile=32)
    content = found.to_dict()
    json.dumps(content, allow_nan=False)
    assert content["images"]["read"] == 3
    assert content["images"]["reasons"] == {"link": 1, "other": 1}
    first = content["scenes"][0]
    assert first["valid_by"] == ["nodata 0"]
    assert (first["bands"], first["dtype"], first["metres_per_pixel"]) == (3, "uint8", 10.0)
    assert first["mask"].endswith("masks/a_20200101.tif")
    assert all(1 <= low <= high < 200 for low, high in first["values"])
    assert content["places"] == [
        {"scenes": ["a_20200101", "a_2021-06-30"], "dates": ["2020-01-01", "2021-06-30"]}
    ]
    pixels = [c["pixels"] for c in content["classes"]]
    assert [c["name"] for c in content["classes"]] == ["class 0", "class 1", "class 2"]
    assert sum(pixels) == 3 * 64 * 64
    assert content["pool"]["tiles"] == 12
    assert [n["topic"] for n in content["notes"]] == ["files"]
    assert content["stops"] is None


def test_it_says_what_the_run_says(folder):
    pool = fv.open_pool(folder / "images", masks=folder / "masks", tile=32)
    found = fv.inspect(folder / "images", masks=folder / "masks", tile=32)
    assert found.pool.describe() == pool.describe()
    assert found.pool.notes == pool.notes
    assert np.array_equal(found.pool.counts, pool.counts)


@pytest.mark.parametrize("spoil", ["pairing", "header", "pixels", "classes"])
def test_an_error_of_the_run_is_part_of_it(folder, spoil):
    classes = None
    if spoil == "pairing":
        (folder / "masks/b.tif").unlink()
    elif spoil == "header":
        (folder / "images/b.tif").write_bytes(b"no raster")
    elif spoil == "pixels":
        raster(folder / "images/b.tif", east=5000.0, low=199, nodata=199)
    else:
        classes = folder / "classes.yaml"
        classes.write_text("classes: {a: 0, b: 1}")
    with pytest.raises(DataError) as caught:
        fv.open_pool(folder / "images", masks=folder / "masks", classes=classes, tile=32)
    found = fv.inspect(folder / "images", masks=folder / "masks", classes=classes, tile=32)
    assert str(found.error) == str(caught.value)
    assert {s["scene"] for s in found.scenes} == {"a_20200101", "a_2021-06-30", "b"}
    broken = [s["scene"] for s in found.scenes if "error" in s]
    assert broken == (["b"] if spoil == "header" else [])


def test_the_command_prints_and_ends_as_the_run_would(folder):
    answer = here("inspect", folder / "images", "--masks", folder / "masks", "--tile", "32")
    assert answer.status == 0
    for text in (
        "Images: 3 files", "1 broken links", "valid by nodata 0",
        "Classes: 3", "a_20200101 (2020-01-01), a_2021-06-30 (2021-06-30)",
        "A run would start with 12 tiles of 3 images.",
    ):  # fmt: skip
        assert text in answer.out
    shutil.rmtree(folder / "masks")
    stopped = here("inspect", folder / "images", "--masks", folder / "images", "--json")
    assert stopped.status == 1
    assert stopped.json["stops"]["error"] == "DataError"


def test_pictures_without_a_place(tmp_path):
    for name in "ab":
        Image.new("L", (20, 10), 7).save(tmp_path / f"{name}.png")
    found = fv.inspect(tmp_path)
    assert found.places() == []
    assert found.classes() is None
    assert [s["place"] for s in found.scenes] == ["none", "none"]


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("x/m_4709963_se_14_1_20090818.tif", "2009-08-18"),
        ("S2A_MSIL2A_20180731T102021_N0500.tif", "2018-07-31"),
        ("2018-07-31/b4.tif", "2018-07-31"), ("a_2018.07.31_b.tif", "2018-07-31"),
        ("20181331.tif", ""), ("120180731.tif", ""), ("tile_2018.tif", ""), ("2018-0731.tif", ""),
    ],
)  # fmt: skip
def test_dates_in_names(name, date):
    assert date_of(name) == date


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "options", "said"),
    [
        ("geotiff/landsat8_fullscene_150m", ["--stack", "B4,B3,B2"], "--nodata 0"),
        ("geotiff/naip_nd_5m", [], "Locations with several images: 1"),
        ("dubai", [], "Read as 3 bands of uint8"),
    ],
)
def test_real_imagery(realdata, folder, options, said):
    answer = here("inspect", realdata / folder, *options)
    assert answer.status == 0
    assert said in answer.out
