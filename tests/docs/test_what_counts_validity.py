"""Every row of the table of valid pixels: files are made, read, and compared with arrays."""

import struct
import zlib

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy
from table_rows import Rows

import foveate as fv
from foveate.errors import DataError, ParameterError
from foveate.raster import FileSource

row = Rows("Which pixels are valid")
PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
SIDE = 48
RNG = np.random.default_rng(3)
HALF = np.arange(SIDE)[None, :] * np.ones((SIDE, 1), int) < SIDE // 2  # the left half


def tif(path, data, *, mask=None, interpretation=None, **profile):
    """Write a GeoTIFF and return its path."""
    cube = data if data.ndim == 3 else data[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2]}
    options = {"driver": "GTiff", "dtype": cube.dtype.name, **shape, **PLACE, **profile}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **options) as file:
        if interpretation:
            file.colorinterp = interpretation
        file.write(cube)
        if mask is not None:
            file.write_mask(mask)
    return path


def ground(bands=3, dtype="uint8", low=1, high=250):
    return RNG.integers(low, high, (bands, SIDE, SIDE)).astype(dtype)


def check(path, valid, *, notes=0, **options):
    """Compare the valid pixels of a file, whole, by windows and in a pool, with an array."""
    pool = fv.open_pool(path, tile=SIDE, min_valid=0.0, **options)
    assert np.array_equal(next(pool.read()).valid, valid)
    assert len(pool.notes) == notes, pool.notes
    assert pool.costs()["pixels"][0] == valid.sum()
    source = pool.scenes[0].source
    window = fv.grid.Window(5, 9, 20, 30)
    assert np.array_equal(source.read(window).valid, valid[5:25, 9:39])
    assert source.info.masked == bool(source.info.rules)
    return pool


@row("nothing")
def test_all_pixels_are_valid_where_nothing_says_otherwise(tmp_path):
    pool = check(tif(tmp_path / "a.tif", ground()), np.ones((SIDE, SIDE), bool))
    assert pool.scenes[0].source.info.rules == ()


@row("nodata")
def test_nodata_holds_where_every_band_has_it(tmp_path):
    data = ground()
    data[:, HALF] = 0
    data[0, :, -1] = 0  # black in one band
    check(tif(tmp_path / "a.tif", data, nodata=0), ~HALF)


@row("nodata-per-band")
def test_each_band_has_its_own_nodata(tmp_path):
    data = ground(2)
    data[0, HALF], data[1, HALF] = 7, 9
    data[0, :, -1] = 7
    for i, value in enumerate((7, 9)):
        tif(tmp_path / "parts" / f"b{i}.tif", data[i], nodata=value)
    size = f'rasterXSize="{SIDE}" rasterYSize="{SIDE}"'
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i + 1}"><NoDataValue>{v}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">parts/b{i}.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, v in enumerate((7, 9))
    )
    (tmp_path / "a.vrt").write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
    check(tmp_path / "a.vrt", ~HALF)


@row("nodata-nan")
@pytest.mark.parametrize("declared", [None, -9999.0, float("nan")])
def test_values_that_are_not_finite_are_missing(tmp_path, declared):
    data = ground(dtype="float32")
    data[1, HALF] = np.nan
    data[2, 0, -1] = np.inf
    valid = ~HALF
    valid[0, -1] = False
    if declared == -9999.0:
        data[:, -1, -1] = declared
        valid[-1, -1] = False
    check(tif(tmp_path / "a.tif", data, nodata=declared), valid)


@row("nodata-64")
@pytest.mark.parametrize(
    ("dtype", "value"), [("int64", -(2**63)), ("int64", 2**53 + 1), ("uint64", 2**64 - 1)]
)
def test_whole_numbers_of_64_bits_are_compared_exactly(tmp_path, dtype, value):
    data = ground(1, dtype)
    beside = value + 1 if value < 0 else value - 1
    data[0, HALF], data[0, :, -1] = value, beside
    path = tif(tmp_path / "a.tif", data, nodata=77)
    text = str(value).encode() + b"\0"
    tag = struct.Struct("<HHII")
    content = path.read_bytes()
    at = content.index(struct.pack("<HH", 42113, 2))
    # The text of the nodata tag goes to the end of the file.
    entry = tag.pack(42113, 2, len(text), len(content))
    path.write_bytes(content[:at] + entry + content[at + tag.size :] + text)
    check(path, ~HALF)


@row("nodata-impossible")
def test_a_declared_value_that_cannot_be_is_noted(tmp_path):
    path = tif(tmp_path / "a.tif", ground())
    content = path.read_bytes()
    with rasterio.open(path, "r+") as file:
        file.nodata = 77
    path.write_bytes(path.read_bytes().replace(b"77\0", b"-9\0"))
    assert path.read_bytes() != content
    pool = check(path, np.ones((SIDE, SIDE), bool), notes=1)
    assert "-9, uint8" in pool.notes[0].text


@row("stated")
def test_a_stated_value_replaces_the_declared_one_alone(tmp_path):
    data = ground()
    data[:, HALF], data[:, -1] = 0, 9
    mask = np.ones((SIDE, SIDE), bool)
    mask[0] = False
    stated = mask.copy()
    stated[-1] = False
    pool = check(tif(tmp_path / "a.tif", data, nodata=0), np.arange(SIDE)[:, None] * np.ones(
        (1, SIDE), int) < SIDE - 1, notes=2, nodata=9)  # fmt: skip
    assert [n.topic for n in pool.notes] == ["validity"] * 2  # replaced; and 0 is a frame now
    check(tif(tmp_path / "b.tif", ground(high=200), mask=mask), mask, nodata=9)


@row("stated-overviews")
@pytest.mark.parametrize("kind", ["internal", "external", "vrt", "mask"])
def test_overviews_computed_without_a_stated_value_are_not_read(tmp_path, kind):
    data = RNG.choice([0, 200], (1, 400, 512)).astype(np.uint8)
    mask = RNG.random((400, 512)) < 0.8
    files = []
    for name in ("plain", "reduced"):
        options = {"mask": mask} if kind == "mask" else {}
        path = tif(tmp_path / f"{name}.tif", data, **options)
        if name == "reduced":
            external = rasterio.Env(TIFF_USE_OVR=kind == "external")
            with external, rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4, 8, 16], Resampling.average)
        if kind == "vrt":
            copy(path, path.with_suffix(".vrt"), driver="VRT")
            path = path.with_suffix(".vrt")
        files.append(FileSource(str(path), nodata=0))
    assert (tmp_path / "reduced.tif.ovr").exists() == (kind == "external")
    window = fv.grid.Window(31, 40, 300, 400)
    for size in ((25, 32), (40, 50), (250, 60)):
        plain, reduced = (file.read(window, out_shape=size) for file in files)
        assert np.array_equal(reduced.data, plain.data)
        assert np.array_equal(reduced.valid, plain.valid)
        assert set(reduced.data[:, reduced.valid].tolist()[0]) == {200}


@row("stated-impossible")
@pytest.mark.parametrize("value", [-9999, 256, 1.5, float("nan"), float("inf"), 1e300])
def test_a_stated_value_that_cannot_be_is_refused(tmp_path, value):
    path = tif(tmp_path / "a.tif", ground(), nodata=0)
    with pytest.raises(ParameterError, match=r"0 to 255|must be finite or NaN"):
        fv.open_pool(path, nodata=value)


@row("alpha")
def test_alpha_above_0_is_valid(tmp_path):
    alpha = np.where(HALF, 0, 255).astype(np.uint8)
    alpha[0, -2:] = 1, 128
    pixels = np.concatenate([ground(), alpha[None]])
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    pool = check(tif(tmp_path / "a.tif", pixels, interpretation=kinds, photometric="RGB"), ~HALF)
    assert pool.describe()["bands"] == 3
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(tmp_path / "b.png")
    check(tmp_path / "b.png", ~HALF)


@row("alpha-nodata")
def test_alpha_and_nodata_both_hold(tmp_path):
    pixels = ground(4)
    pixels[3] = np.where(HALF, 0, 255)
    pixels[:3, -1] = 0
    valid = ~HALF
    valid[-1] = False
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = tif(tmp_path / "a.tif", pixels, interpretation=kinds, photometric="RGB", nodata=0)
    pool = check(path, valid)
    assert pool.scenes[0].source.info.rules == ("alpha band 4", "nodata 0")


@row("alpha-many-values")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_band_of_many_values_is_no_alpha(tmp_path, dtype):
    pixels = ground(4, dtype, low=0)
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    path = tif(tmp_path / "a.tif", pixels, interpretation=kinds)
    pool = check(path, np.ones((SIDE, SIDE), bool), notes=1)
    assert pool.describe()["bands"] == 4
    assert "-mask 4" in pool.notes[0].hint


@row("alpha-all-0")
def test_alpha_of_0_everywhere_is_named(tmp_path):
    pixels = np.moveaxis(ground(4), 0, -1).copy()
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="alpha band 4") as caught:
        fv.open_pool(tmp_path / "a.png")
    assert "-b 1 -b 2 -b 3" in caught.value.hint


@row("mask-band")
def test_a_mask_inside_or_beside_the_file_holds(tmp_path):
    check(tif(tmp_path / "a.tif", ground(), mask=~HALF), ~HALF)
    path = tif(tmp_path / "b.tif", ground())
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(~HALF)
    assert (tmp_path / "b.tif.msk").exists()
    check(path, ~HALF)


@row("mask-nodata")
def test_a_mask_and_nodata_both_hold(tmp_path):
    data = ground()
    data[:, -1] = 0
    valid = ~HALF
    valid[-1] = False
    check(tif(tmp_path / "a.tif", data, mask=~HALF, nodata=0), valid)


@row("palette-transparent")
def test_transparent_entries_of_a_palette_are_missing(tmp_path):
    picture = Image.fromarray(np.where(HALF, 2, 1).astype(np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "a.png", transparency=bytes([255, 255, 0]))
    check(tmp_path / "a.png", ~HALF)


@row("colour-key")
def test_the_transparent_colour_of_a_png_is_missing(tmp_path):
    gray = np.where(HALF, 9, RNG.integers(20, 200, (SIDE, SIDE))).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "gray.png", transparency=9)
    check(tmp_path / "gray.png", ~HALF)
    colours = np.moveaxis(ground(low=20), 0, -1).copy()
    colours[HALF] = 1, 2, 3
    colours[0, -1] = 1, 2, 4
    Image.fromarray(colours).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    check(tmp_path / "rgb.png", ~HALF)


@row("stack")
def test_a_stack_is_valid_where_all_files_are(tmp_path):
    first, second = ground(1), ground(1)
    first[0, HALF], second[0, -1] = 0, 0
    tif(tmp_path / "s_B1.tif", first, nodata=0)
    tif(tmp_path / "s_B2.tif", second, nodata=0)
    valid = ~HALF
    valid[-1] = False
    check(tmp_path, valid, stack=["B1", "B2"])


@row("frame")
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 0), ("uint8", 255), ("uint16", 65535), ("int8", -128), ("int16", -32768),
        ("int16", -9999), ("uint64", 2**64 - 1), ("float32", 0), ("float32", -9999),
        ("float32", float(np.finfo("float32").min)), ("float64", 1e20),
    ],
)  # fmt: skip
def test_a_frame_is_noted_with_what_to_type(tmp_path, dtype, value):
    data = ground(dtype=dtype)
    data[:, HALF] = value
    path = tif(tmp_path / "a.tif", data)
    pool = check(path, np.ones((SIDE, SIDE), bool), notes=1)
    assert "50%" in pool.notes[0].text
    assert f"--nodata {value}" in pool.notes[0].hint
    check(path, ~HALF, nodata=value)


@row("frame-jpeg")
def test_a_frame_is_seen_through_jpeg(tmp_path):
    pixels = np.moveaxis(ground(low=60), 0, -1).copy()
    pixels[HALF] = 0
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=75)
    assert np.asarray(Image.open(tmp_path / "a.jpg"))[:, :20].max() > 0
    pool = check(tmp_path / "a.jpg", np.ones((SIDE, SIDE), bool), notes=1)
    assert "from the border" in pool.notes[0].text


@row("dark")
def test_dark_ground_is_ground(tmp_path):
    data = ground()
    data[:, 10:30, 10:30] = 0  # a lake in the middle
    data[0] = 0  # a band without light
    check(tif(tmp_path / "a.tif", data), np.ones((SIDE, SIDE), bool))


def labelled(tmp_path, labels, classes, **profile):
    """Open one image with a mask, and return the pool."""
    tif(tmp_path / "images/a.tif", ground())
    tif(tmp_path / "masks/a.tif", labels, **profile)
    return fv.open_pool(tmp_path / "images", masks=tmp_path / "masks", classes=classes, tile=SIDE)


@row("label-nodata")
def test_nodata_of_a_mask_is_in_no_class(tmp_path):
    labels = np.where(HALF, 255, 1).astype(np.uint8)
    labels[0, -1] = 0
    legend = fv.labels.Legend.from_dict({"classes": {"land": 0, "water": 1}})
    pool = labelled(tmp_path, labels, legend, nodata=255)
    assert pool.counts.tolist() == [[1, (~HALF).sum() - 1]]


@row("label-nodata-class")
@pytest.mark.parametrize("ignore", [[], ["land"]])
def test_nodata_that_is_a_class_is_counted_and_noted(tmp_path, ignore):
    labels = (~HALF).astype(np.uint8)
    content = {"classes": {"land": 0, "water": 1}, "ignore": ignore}
    pool = labelled(tmp_path, labels, fv.labels.Legend.from_dict(content), nodata=0)
    counts = [HALF.sum(), (~HALF).sum()]
    assert pool.counts.tolist() == [counts[len(ignore) :]]
    assert [n.topic for n in pool.notes] == ["classes"] * (1 - len(ignore))


def test_every_row_has_its_test():
    row.check()


def test_a_truncated_png_is_refused(tmp_path):
    head = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(DataError, match="truncated"):
        _ = FileSource(str(tmp_path / "a.png")).info
