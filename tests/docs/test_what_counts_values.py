"""Every row of the table of stored values: files are made, read, and compared with Pillow."""

import struct
import zlib

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image, ImageOps
from rasterio.enums import Resampling
from table_rows import Rows

import foveate as fv
from foveate.errors import DataError
from foveate.grid import Window
from foveate.labels import Legend
from foveate.raster import FileSource

row = Rows("What stored values mean")
PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
RNG = np.random.default_rng(4)
GDAL = {"uint8": "Byte", "uint16": "UInt16", "int32": "Int32", "float32": "Float32"}


def tif(path, data, **profile):
    """Write a GeoTIFF and return its path."""
    cube = data if data.ndim == 3 else data[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"count": cube.shape[0], "height": cube.shape[1], "width": cube.shape[2]}
    options = {"driver": "GTiff", "dtype": cube.dtype.name, **shape, **PLACE, **profile}
    with rasterio.open(path, "w", **options) as file:
        file.write(cube)
    return path


def gray_png(path, values, bits):
    """Write a gray PNG of few bits, which Pillow does not."""
    per = 8 // bits
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % per))).astype(np.uint8)
    weights = 1 << (bits * np.arange(per - 1, -1, -1))
    packed = (padded.reshape(len(padded), -1, per) * weights).sum(axis=2).astype(np.uint8)
    content = zlib.compress(b"".join(b"\0" + line.tobytes() for line in packed))
    size = struct.pack(">IIBBBBB", *values.shape[::-1], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", content), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def read(path):
    """Return the pixels and the notes of a pool of one image."""
    pool = fv.open_pool(path, split=(1, 1))
    return next(pool.read()).data, pool.notes


@row("plain")
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
)
def test_numbers_are_read_as_stored(tmp_path, dtype):
    data = RNG.integers(1, 120, (2, 9, 11)).astype(dtype)
    found, notes = read(tif(tmp_path / "a.tif", data))
    assert found.dtype == dtype
    assert np.array_equal(found, data)
    assert not notes


@row("few-bits")
@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("width", [16, 13])
def test_gray_of_few_bits_is_what_a_viewer_shows(tmp_path, bits, width):
    values = RNG.integers(0, 2**bits, (8, width))
    values[0, :2] = 0, 2**bits - 1
    path = gray_png(tmp_path / "a.png", values, bits)
    found, _ = read(path)
    assert np.array_equal(found[0], np.asarray(Image.open(path).convert("L")))
    tiff = tif(tmp_path / "a.tif", values.astype(np.uint8), nbits=bits)
    assert np.array_equal(read(tiff)[0], found)
    window = FileSource(str(path)).read(Window(2, 3, 4, 5)).data
    assert np.array_equal(window, found[:, 2:6, 3:8])


def labelled(tmp_path, mask, classes=None):
    """Open an image with one mask, and return the pool."""
    with Image.open(mask) as picture:
        size = picture.size
    (tmp_path / "images").mkdir(exist_ok=True)
    pixels = RNG.integers(1, 255, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / f"{mask.stem}.png")
    legend = Legend.from_dict({"classes": classes}) if classes else None
    return fv.open_pool(tmp_path / "images", masks=mask.parent, classes=legend, split=(1, 1))


@row("label-few-bits")
def test_a_mask_is_the_same_in_8_bits_and_in_1(tmp_path):
    values = RNG.integers(0, 2, (16, 16))
    pools = []
    for name, bits in (("eight", 8), ("one", 1)):
        root = tmp_path / name
        stored = values * 255 if bits == 8 else values
        pools.append(labelled(root, gray_png(root / "masks/a.png", stored, bits)))
    assert [pool.legend.names for pool in pools] == [("class 0", "class 255")] * 2
    assert np.array_equal(pools[0].counts, pools[1].counts)


@row("label-few-bits-named")
def test_values_that_fit_into_the_bits_are_the_stored_ones(tmp_path):
    values = RNG.integers(0, 4, (16, 16))
    mask = gray_png(tmp_path / "masks/a.png", values, 2)
    pool = labelled(tmp_path, mask, {"a": 0, "b": 1, "c": [2, 3]})
    counts = np.bincount(values.ravel(), minlength=4)
    assert pool.counts.tolist() == [[counts[0], counts[1], counts[2] + counts[3]]]
    shown = labelled(tmp_path, mask, {"a": 0, "b": 85, "c": [170, 255]})
    assert shown.counts.tolist() == pool.counts.tolist()


@row("few-bits-packed")
def test_12_bits_are_as_stored(tmp_path):
    data = RNG.integers(0, 4096, (1, 9, 11)).astype(np.uint16)
    assert np.array_equal(read(tif(tmp_path / "a.tif", data, nbits=12))[0], data)


@row("white-is-zero")
@pytest.mark.parametrize("bits", [1, 8])
def test_white_stored_as_0_is_white(tmp_path, bits):
    data = RNG.integers(0, 2**bits, (1, 16, 16)).astype(np.uint8)
    path = tif(tmp_path / "a.tif", data, nbits=bits, photometric="MINISWHITE")
    found, notes = read(path)
    assert np.array_equal(found, 255 - data * (255 // (2**bits - 1)))
    assert [n.topic for n in notes if "white" in n.text] == ["values"]


def palette_png(path):
    indices = RNG.integers(0, 3, (16, 16)).astype(np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path, indices


@row("palette")
def test_a_palette_image_is_its_colours(tmp_path):
    path, _ = palette_png(tmp_path / "a.png")
    found, _ = read(path)
    assert np.array_equal(found, np.moveaxis(np.asarray(Image.open(path).convert("RGB")), -1, 0))


@row("palette-overviews")
@pytest.mark.parametrize("kind", ["palette", "bits"])
def test_overviews_of_indices_and_packed_bits_are_not_read(tmp_path, kind):
    data = RNG.choice([0, 1], (256, 320)).astype(np.uint8)
    bits = {} if kind == "palette" else {"nbits": 1}
    files = []
    for name in ("plain", "reduced"):
        path = tif(tmp_path / f"{name}.tif", data, **bits)
        with rasterio.open(path, "r+") as file:
            if kind == "palette":
                file.write_colormap(1, {0: (10, 20, 30), 1: (250, 240, 230), 2: (130, 130, 130)})
            if name == "reduced":
                file.build_overviews([2, 4, 8], Resampling.average)
        files.append(FileSource(str(path)))
    plain, reduced = (file.read(out_shape=(20, 30)) for file in files)
    assert np.array_equal(reduced.data, plain.data)
    assert np.unique(plain.data[0]).size == 2 if kind == "palette" else 40 < plain.data.mean() < 200


@row("label-palette")
def test_a_palette_mask_is_its_indices_or_the_colours_that_are_named(tmp_path):
    path, indices = palette_png(tmp_path / "masks/a.png")
    counts = [np.bincount(indices.ravel()).tolist()]
    assert labelled(tmp_path, path).counts.tolist() == counts
    named = {"a": "#0A141E", "b": "#28323C", "c": "#46505A"}
    assert labelled(tmp_path, path, named).counts.tolist() == counts


@row("orientation")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_pictures_are_turned_upright(tmp_path, orientation, suffix):
    pixels = RNG.integers(0, 255, (24, 40, 3)).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        Image.fromarray(pixels).save(path, tiffinfo={274: orientation})
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, exif=exif, quality=95)
    upright = Image.open(path)
    upright.getexif()[0x0112] = orientation
    expected = np.moveaxis(np.asarray(ImageOps.exif_transpose(upright)), -1, 0)
    found, notes = read(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (3 if suffix == "jpg" else 0)
    assert len(notes) == (orientation != 1)
    source = FileSource(str(path))
    for window in (Window(3, 5, 12, 9), Window(-2, 10, 9, 60)):
        inside = source.read(window)
        rows = slice(max(0, window.y), window.y + window.h)
        cols = slice(max(0, window.x), window.x + window.w)
        part = found[:, rows, cols]
        y, x = rows.start - window.y, cols.start - window.x
        cut = inside.data[:, y : y + part.shape[1], x : x + part.shape[2]]
        assert np.array_equal(cut, part)
        assert inside.valid.sum() == part[0].size
    small = source.read(out_shape=(expected.shape[1] // 4, expected.shape[2] // 4)).data
    blocks = found.reshape(3, small.shape[1], 4, small.shape[2], 4).mean(axis=(2, 4))
    assert np.abs(small - blocks).max() <= 1


@row("orientation-placed")
def test_a_georeference_is_of_the_stored_rows(tmp_path):
    pixels = RNG.integers(1, 255, (24, 40, 3)).astype(np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, tiffinfo={274: 6})
    (tmp_path / "a.tfw").write_text("10\n0\n0\n-10\n500000\n5000000\n")
    found, notes = read(path)
    assert np.array_equal(found, np.moveaxis(pixels, -1, 0))
    assert any("orientation" in n.text for n in notes)


def scaled(path, data, scale, offset):
    """Write a raster with a scale and an offset."""
    tif(path, data)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (scale,) * file.count, (offset,) * file.count
    return path


@row("scale-alike")
def test_one_scale_for_all_leaves_values_as_stored(tmp_path):
    data = RNG.integers(500, 4000, (2, 16, 16)).astype(np.uint16)
    for name in "ab":
        scaled(tmp_path / f"{name}.tif", data, 1e-4, -0.1)
    pool = fv.open_pool(tmp_path, split=(1, 1))
    assert all(np.array_equal(raster.data, data) for raster in pool.read())
    assert not pool.notes


@row("scale-mixed")
@pytest.mark.parametrize("bare", [False, True])
def test_several_scales_are_applied(tmp_path, bare):
    ground = RNG.integers(500, 4000, (2, 16, 16)).astype(np.uint16)
    tif(tmp_path / "a.tif", ground) if bare else scaled(tmp_path / "a.tif", ground, 1e-4, 0.0)
    scaled(tmp_path / "b.tif", ground + 1000, 1e-4, -0.1)
    pool = fv.open_pool(tmp_path, split=(1, 1))
    first, second = (raster.data for raster in pool.read())
    assert first.dtype == np.float32
    np.testing.assert_allclose(second, ground * 1e-4, rtol=1e-5)
    np.testing.assert_allclose(first, ground if bare else ground * 1e-4, rtol=1e-5)
    assert "offset" in str(pool.notes[0])


@row("scale-broken")
@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_a_scale_that_cannot_be_is_ignored(tmp_path, scale):
    data = RNG.integers(1, 200, (1, 16, 16)).astype(np.uint8)
    found, notes = read(scaled(tmp_path / "a.tif", data, scale, 0.5))
    assert np.array_equal(found, data)
    assert [n.topic for n in notes] == ["values"]


def test_the_scale_that_cannot_be_is_named(tmp_path):
    path = tif(tmp_path / "a.tif", np.ones((3, 8, 8), np.uint8))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1.0, 1e40, 2.0), (0.0, 5.0, 0.0)
    (remark,) = FileSource(str(path)).info.remarks
    assert remark.value == "(1e+40, 5.0)"


@row("complex")
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_refused(tmp_path, dtype):
    path = tif(tmp_path / "a.tif", np.ones((1, 8, 8), dtype))
    with pytest.raises(DataError, match="complex") as caught:
        read(path)
    assert "abs(A)" in caught.value.hint


@row("types-in-file")
@pytest.mark.parametrize(
    ("dtypes", "common"),
    [(("uint8", "float32"), "float32"), (("int32", "float32"), "float64"),
     (("uint8", "uint16"), "uint16")],
)  # fmt: skip
def test_bands_of_different_types_are_read_in_their_common_type(tmp_path, dtypes, common):
    nodata = [float(np.finfo(d).min) if d == "float32" else np.iinfo(d).max for d in dtypes]
    bands = [RNG.integers(1, 99, (24, 24)).astype(d) for d in dtypes]
    for band, value in zip(bands, nodata, strict=True):
        band[:, 12:] = value
    bands[0][0] = nodata[0]  # in one band only
    parts = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{i}"><NoDataValue>{value!r}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">parts/{i}.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, (kind, value) in enumerate(zip(map(GDAL.get, dtypes), nodata, strict=True), 1)
    )
    for i, band in enumerate(bands, 1):
        tif(tmp_path / f"parts/{i}.tif", band)
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="24" rasterYSize="24">{parts}</VRTDataset>'
    )
    source = FileSource(str(tmp_path / "a.vrt"))
    found = source.read()
    assert (source.info.dtype, found.data.dtype.name) == (common, common)
    assert np.array_equal(found.data, np.stack([b.astype(common) for b in bands]))
    assert np.array_equal(found.valid, np.broadcast_to(np.arange(24) < 12, (24, 24)))
    assert np.array_equal(source.stored().data, found.data)


@row("types-differ")
def test_images_of_two_types_are_refused(tmp_path):
    for name, dtype in (("a", "uint8"), ("b", "uint16")):
        tif(tmp_path / f"{name}.tif", np.ones((1, 8, 8), dtype))
    with pytest.raises(DataError, match="uint16"):
        fv.open_pool(tmp_path)


def test_every_row_has_its_test():
    row.check()
