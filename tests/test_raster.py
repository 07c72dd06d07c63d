import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from foveate.errors import DataError, ParameterError, StorageError
from foveate.grid import Window
from foveate.raster import (
    ArraySource,
    FileSource,
    Raster,
    Source,
    StackSource,
    close_files,
    datasets,
    gdal,
    given_source,
    metres_per_pixel,
    resize,
    south_up,
    write_cog,
)

RNG = np.random.default_rng(0)
GEOBOX = GeoBox((40, 50), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")


def write(path, data, **profile):
    """Write a plain GeoTIFF."""
    c, h, w = data.shape
    profile = {"driver": "GTiff", "count": c, "height": h, "width": w, "dtype": data.dtype.name,
               "transform": GEOBOX.affine, "crs": "EPSG:32633"} | profile  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(data)
    return FileSource(str(path))


@pytest.fixture
def scene(tmp_path):
    """A GeoTIFF of 3 x 40 x 50 uint16 and its array."""
    data = RNG.integers(0, 5000, (3, 40, 50)).astype(np.uint16)
    return write(tmp_path / "a.tif", data), data


def test_info_is_what_the_header_says(scene):
    info = scene[0].info
    assert (info.shape, info.bands, info.dtype) == ((40, 50), 3, "uint16")
    assert info.geobox == GEOBOX
    assert (info.nodata, info.masked) == (None, False)
    assert len(info.fingerprint) == 32
    assert info.descriptions == ("", "", "")


def test_a_window_is_a_slice_and_bands_come_as_asked(scene):
    source, data = scene
    part = source.read(Window(3, 5, 10, 20), bands=[3, 1])
    assert (part.data == data[[2, 0], 3:13, 5:25]).all()
    assert part.data.dtype == np.uint16
    assert part.valid.all()
    assert part.valid_share == 1


@pytest.mark.parametrize("kind", ["file", "array", "stack"])
@pytest.mark.parametrize(
    "window", [Window(-5, -5, 5, 5), Window(0, -30, 4, 9), Window(99, 0, 5, 5), Window(9, 50, 1, 1)]
)
def test_a_window_outside_the_raster_is_empty(scene, kind, window):
    source, data = scene
    source = {"file": source, "array": ArraySource(data), "stack": StackSource((source,))}[kind]
    part = source.read(window)
    assert part.data.shape == (3, window.h, window.w)
    assert not part.valid.any()
    assert part.valid_share == 0
    assert not source.read(window, out_shape=(2, 3)).valid.any()


def test_a_window_partly_outside_is_padded_with_invalid_pixels(scene):
    source, data = scene
    part = source.read(Window(35, -4, 10, 10))
    assert (part.data[:, :5, 4:] == data[:, 35:, :6]).all()
    assert part.valid[:5, 4:].all()
    assert part.valid.sum() == 30
    small = source.read(Window(35, -4, 10, 10), out_shape=(5, 5))
    assert small.valid.shape == (5, 5)
    assert 0 < small.valid.sum() < 25


@pytest.mark.parametrize("bands", [[0], [4], [], [-1]])
def test_bands_are_counted_from_1(scene, bands):
    with pytest.raises(ParameterError, match="It has 3 bands, numbered from 1"):
        scene[0].read(bands=bands)
    with pytest.raises(ParameterError, match="It has 1 band, numbered from 1"):
        ArraySource(np.zeros((1, 2, 2))).read(bands=[2])


def test_smaller_is_averaged_and_larger_is_smooth(scene):
    source, data = scene
    small = source.read(out_shape=(20, 25)).data
    mean = data.reshape(3, 20, 2, 25, 2).mean(axis=(2, 4))
    assert np.abs(small - mean).max() <= 0.5
    flat = ArraySource(np.full((1, 4, 4), 7, np.uint8)).read(out_shape=(9, 9)).data
    assert (flat == 7).all()
    assert source.read(Window(0, 0, 4, 4), out_shape=(8, 8)).data.shape == (3, 8, 8)


@pytest.mark.parametrize(("b", "d"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_rotated_rows_do_not_run_from_south_to_north(b, d):
    box = GeoBox((4, 4), Affine(10, b, 5e5, d, 10, 5e6), "EPSG:32633")
    assert south_up(ArraySource(np.zeros((1, 4, 4)), geobox=box).info) == (b == d == 0)


@pytest.mark.parametrize("part", [0, 1, 2, 3, 4])
def test_booleans_are_rounded(part):
    cell = (np.arange(4) < part).reshape(1, 2, 2)
    small = ArraySource(np.tile(cell, (1, 3, 3))).read(out_shape=(3, 3)).data
    assert small.dtype == bool
    assert (small == (part > 2)).all()


def test_nodata_is_a_mask(tmp_path):
    data = RNG.integers(1, 9, (2, 8, 8)).astype(np.int16)
    data[:, 0, :3] = -1
    data[0, 1, 0] = -1
    part = write(tmp_path / "a.tif", data, nodata=-1).read()
    assert not part.valid[0, :3].any()
    assert part.valid_share == 61 / 64  # a pixel is missing when all its bands are
    plain = write(tmp_path / "b.tif", data)
    assert plain.read().valid.all()
    told = FileSource(plain.path, nodata=-1)
    assert (told.read().valid == part.valid).all()
    assert told.info.nodata == -1
    assert told.info.masked
    half = FileSource(plain.path, nodata=-1).read(out_shape=(4, 4))
    assert half.valid.shape == (4, 4)


@pytest.mark.parametrize("kind", ["override", "nodata", "array", "nan"])
@pytest.mark.parametrize("shape", [(8, 8), (5, 7), (32, 32), (1, 1)])
def test_what_is_invalid_never_blends_into_values(tmp_path, kind, shape):
    data = np.full((2, 16, 16), 500, np.float32 if kind == "nan" else np.uint16)
    holes = RNG.random((16, 16)) < 0.3
    data[:, holes] = np.nan if kind == "nan" else 0
    plain = write(tmp_path / "a.tif", data)
    source = {
        "override": FileSource(plain.path, nodata=0),
        "nodata": write(tmp_path / "b.tif", data, nodata=0),
        "array": ArraySource(data, ~holes),
        "nan": plain,
    }[kind]
    part = source.read(out_shape=shape)
    assert part.valid.any()
    assert (part.data[:, part.valid] == 500).all()


@pytest.mark.parametrize("kind", ["file", "array", "stack"])
def test_what_lies_outside_never_blends_into_values(tmp_path, kind):
    file = write(tmp_path / "a.tif", np.full((2, 16, 16), 500, np.uint16))
    array = ArraySource(np.full((2, 16, 16), 500, np.uint16))
    coarse = ArraySource(np.full((1, 6, 6), 500, np.uint16))
    source = {"file": file, "array": array, "stack": StackSource((array, coarse))}[kind]
    for shape in ((10, 10), (20, 20), (45, 45)):
        part = source.read(Window(-3, 5, 20, 20), out_shape=shape)
        assert 0.3 < part.valid_share < 0.6
        assert (part.data[:, part.valid] == 500).all()


def test_a_small_picture_of_a_large_masked_scene_reads_few_samples(tmp_path, monkeypatch):
    data = np.arange(400 * 400, dtype=np.float32).reshape(1, 400, 400)
    source = write(tmp_path / "a.tif", data)
    seen = []
    plain = gdal.resample
    monkeypatch.setattr(
        gdal, "resample", lambda r, s, **k: (seen.append(r.data.shape), plain(r, s, **k))[1]
    )
    small = source.read(out_shape=(10, 10)).data
    assert seen == [(1, 40, 40)]
    np.testing.assert_allclose(small[0], data.reshape(10, 40, 10, 40).mean((1, 3)), atol=3000)


def test_nan_is_invalid_in_files_and_arrays(tmp_path):
    data = RNG.random((2, 8, 8)).astype(np.float32)
    data[1, 2, 3] = np.nan
    data[0, 4, 4] = np.inf
    for source in (write(tmp_path / "a.tif", data), ArraySource(data)):
        part = source.read()
        assert source.info.masked
        assert (~part.valid).nonzero()[0].tolist() == [2, 4]
        assert part.data.dtype == np.float32
    told = FileSource(str(tmp_path / "a.tif"), nodata=float("nan"))
    assert told.read().valid.sum() == 62


def test_a_nodata_value_counts_in_all_bands_and_nan_in_any(tmp_path):
    # Black water: 0 is a measurement in one band and nodata in all.
    dark = np.full((2, 4, 4), 9, np.uint16)
    dark[0, 0, 0] = dark[:, 1, 1] = 0
    gap = np.full((2, 4, 4), 9, np.float32)
    gap[0, 0, 0] = gap[:, 1, 1] = np.nan
    for source, alone in (
        (write(tmp_path / "a.tif", dark, nodata=0), True),
        (FileSource(write(tmp_path / "b.tif", dark).path, nodata=0), True),
        (write(tmp_path / "c.tif", gap), False),
        (write(tmp_path / "d.tif", gap, nodata=np.nan), False),
        (ArraySource(gap), False),
    ):
        valid = source.read().valid
        assert valid[0, 0] == alone
        assert not valid[1, 1]
        assert valid.sum() == 14 + alone
        assert source.read(bands=[2]).valid.sum() == 15  # only bands that are read count


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_sidecars_are_read_fingerprinted_and_never_written(tmp_path):
    image = RNG.integers(1, 9, (40, 50)).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    bare = FileSource(str(path))
    assert (bare.info.geobox, bare.info.nodata) == (None, None)
    (tmp_path / "a.pgw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    placed = FileSource(str(path))
    close_files()
    assert placed.info.geobox.crs is None
    assert placed.info.geobox.affine == GEOBOX.affine
    (tmp_path / "a.png.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32633</SRS><PAMRasterBand band='1'>"
        "<NoDataValue>1</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    close_files()
    told = FileSource(str(path))
    assert told.info.geobox == GEOBOX
    assert told.info.nodata == 1
    assert (told.read().valid == (image != 1)).all()
    assert len({s.info.fingerprint for s in (bare, placed, told)}) == 3
    told.read(out_shape=(9, 9))
    close_files()
    assert names(tmp_path) == ["a.pgw", "a.png", "a.png.aux.xml"]


def test_a_mask_beside_a_file_counts_also_with_a_nodata_value(tmp_path):
    data = RNG.integers(2, 9, (1, 40, 50)).astype(np.uint8)
    source = write(tmp_path / "a.tif", data)
    mask = np.full((40, 50), 255, np.uint8)
    mask[:10] = 0
    bare = source.info.fingerprint
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(source.path, "r+") as dataset:
        dataset.write_mask(mask)
    assert names(tmp_path) == ["a.tif", "a.tif.msk"]
    close_files()
    for again in (FileSource(source.path), FileSource(source.path, nodata=1)):
        assert again.info.masked
        assert (again.read().valid == (mask > 0)).all()
        assert again.info.fingerprint != bare
    assert names(tmp_path) == ["a.tif", "a.tif.msk"]


def test_the_fingerprint_of_a_vrt_is_that_of_its_files(tmp_path):
    def vrt(name, source):
        (tmp_path / name).write_text(
            "<VRTDataset rasterXSize='50' rasterYSize='40'><VRTRasterBand dataType='Byte' band='1'>"
            f"<SimpleSource><SourceFilename relativeToVRT='1'>{source}</SourceFilename>"
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
        return str(tmp_path / name)

    write(tmp_path / "a.tif", np.full((1, 40, 50), 1, np.uint8))
    paths = [vrt("inner.vrt", "a.tif"), vrt("outer.vrt", "inner.vrt")]
    before = [FileSource(p).info.fingerprint for p in paths]
    close_files()
    write(tmp_path / "a.tif", np.full((1, 40, 50), 2, np.uint8))
    again = [FileSource(p) for p in paths]
    assert all(s.info.fingerprint != b for s, b in zip(again, before, strict=True))
    assert all((s.read().data == 2).all() for s in again)


def test_what_is_known_of_a_source_is_worked_out_once(tmp_path):
    array = ArraySource(np.ones((1, 8, 8), np.uint8))
    stack = StackSource((array, ArraySource(np.ones((1, 8, 8), np.uint8))))
    for source in (array, stack, write(tmp_path / "a.tif", array.data)):
        assert source.info is source.info
        assert pickle.loads(pickle.dumps(source)).info == source.info  # noqa: S301


def test_an_alpha_band_is_a_mask_and_no_data(tmp_path):
    rgba = RNG.integers(0, 256, (8, 8, 4)).astype(np.uint8)
    rgba[..., 3] = 255
    rgba[2:4, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    source = FileSource(str(tmp_path / "a.png"))
    assert source.info.bands == 3
    assert source.info.masked
    assert source.info.geobox is None
    part = source.read(Window(1, 0, 4, 8))
    assert (part.data == rgba[1:5, :, :3].transpose(2, 0, 1)).all()
    assert part.valid.all(axis=1).tolist() == [True, False, False, True]


def test_a_palette_image_is_colours_or_indices(tmp_path):
    indices = RNG.integers(0, 3, (8, 9)).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png")
    colours = FileSource(str(tmp_path / "a.png"))
    assert colours.info.bands == 3
    assert colours.info.descriptions == ("red", "green", "blue")
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    assert (colours.read(bands=[3, 1]).data == table[indices].transpose(2, 0, 1)[[2, 0]]).all()
    # Colours of a palette are classes: they are never blended.
    assert set(np.unique(colours.read(out_shape=(3, 3), bands=[1]).data)) <= {10, 40, 70}
    plain = FileSource(str(tmp_path / "a.png"), palette=False)
    assert (plain.info.bands, plain.info.dtype) == (1, "uint8")
    assert (plain.read().data[0] == indices).all()


def test_sources_are_picklable_and_open_again(scene):
    source, data = scene
    source.read()
    for thing in (source, StackSource((source,)), ArraySource(data)):
        assert isinstance(thing, Source)
        copy = pickle.loads(pickle.dumps(thing))  # noqa: S301
        assert (copy.read(Window(1, 1, 2, 2)).data == data[:, 1:3, 1:3]).all()


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png"])
def test_a_truncated_file_is_a_data_error_that_names_it(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = RNG.integers(0, 256, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(image).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    source = FileSource(str(path))
    with pytest.raises(DataError, match=f"cannot read '.*a.{suffix}': .*truncated"):
        source.read()
    with pytest.raises(DataError, match=f"cannot read '.*a.{suffix}'"):
        source.read(Window(150, 150, 50, 50))


def test_a_file_that_is_missing_or_no_raster_is_a_data_error(tmp_path):
    (tmp_path / "a.tif").write_text("no raster")
    for name in ("a.tif", "none.tif"):
        with pytest.raises(DataError, match=f"cannot read '.*{name}'"):
            _ = FileSource(str(tmp_path / name)).info


def test_many_files_do_not_keep_many_handles(tmp_path):
    for i in range(datasets._OPEN_FILES + 4):
        source = write(tmp_path / f"{i}.tif", np.full((1, 4, 4), i, np.uint8))
        assert (source.read().data == i).all()
    assert len(datasets._open.datasets) == datasets._OPEN_FILES
    close_files()
    assert not datasets._open.datasets


def test_local_and_remote_files_close_only_their_own_kind(monkeypatch):
    class Opened:
        def __init__(self, key):
            self.key = key

        def close(self):
            closed.append(self.key)

    closed = []
    close_files()
    monkeypatch.setattr(datasets, "_open_new", Opened)
    monkeypatch.setattr(datasets, "_stamp", lambda _: (1,))
    far = [f"https://example.org/{i}.tif" for i in range(datasets._OPEN_REMOTE)]
    near = [f"{i}.tif" for i in range(datasets._OPEN_FILES + 1)]
    for key in [*far, *near]:
        with datasets.open_dataset(key):
            pass
    assert closed == near[:1]
    close_files()


def test_a_file_that_was_replaced_is_opened_anew(tmp_path):
    path = tmp_path / "a.tif"
    old = write(path, np.full((1, 4, 4), 1, np.uint8))
    assert (old.read().data == 1).all()
    write(tmp_path / "new.tif", np.full((1, 6, 4), 2, np.uint8))
    (tmp_path / "new.tif").replace(path)
    new = FileSource(str(path))
    assert (new.read().data == 2).all()
    assert new.info.shape == (6, 4)
    assert len(datasets._open.datasets) == 1
    assert new.info.fingerprint != old.info.fingerprint


def test_a_thread_that_opens_many_files_closes_none_of_another(tmp_path):
    sources = [
        write(tmp_path / f"{i}.tif", np.full((1, 64, 64), i, np.uint8))
        for i in range(2 * datasets._OPEN_FILES)
    ]

    def read(start):
        order = np.random.default_rng(start).integers(0, len(sources), 300)
        return all((sources[i].read().data == i).all() for i in order)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(8)))


def test_a_stack_has_the_bands_of_all_on_the_grid_of_the_first(tmp_path):
    fine = RNG.integers(0, 99, (2, 40, 50)).astype(np.uint8)
    coarse = RNG.integers(0, 999, (1, 20, 25)).astype(np.uint16)
    a = write(tmp_path / "a.tif", fine)
    b = write(tmp_path / "b.tif", coarse, transform=Affine(20, 0, 500_000, 0, -20, 5_000_000))
    stack = StackSource((a, b))
    assert (stack.info.shape, stack.info.bands, stack.info.dtype) == ((40, 50), 3, "uint16")
    part = stack.read(Window(10, 10, 10, 20), bands=[3, 2])
    assert (part.data[1] == fine[1, 10:20, 10:30]).all()
    assert (part.data[0] == stack.read(bands=[3]).data[0, 10:20, 10:30]).all()
    # The first fine pixel's centre lies a quarter of a coarse pixel before its own.
    near = coarse[0].astype(float)[4:6, 4:6]
    assert part.data[0, 0, 0] == np.rint([0.25, 0.75] @ near @ [0.25, 0.75])
    assert stack.read(out_shape=(20, 25)).data[2].tolist() == coarse[0].tolist()
    assert stack.read(Window(0, 0, 8, 8), bands=[1]).data.shape == (1, 8, 8)


def test_a_stack_is_valid_where_every_raster_read_is(tmp_path):
    data = np.ones((1, 4, 4), np.float32)
    holes = data.copy()
    holes[0, 0, 0] = np.nan
    stack = StackSource((ArraySource(data), ArraySource(holes)))
    assert stack.read().valid.sum() == 15
    assert stack.read(bands=[1]).valid.all()
    assert stack.info.masked


def test_a_stack_of_different_ground_is_refused(tmp_path):
    data = np.zeros((1, 40, 50), np.uint8)
    a = write(tmp_path / "a.tif", data)
    moved = write(tmp_path / "b.tif", data, transform=Affine(10, 0, 500_100, 0, -10, 5_000_000))
    zone = write(tmp_path / "c.tif", data, crs="EPSG:32634")
    for other in (moved, zone):
        with pytest.raises(DataError, match=r"cover different ground: .*EPSG:32633.*gdalwarp"):
            StackSource((a, other))
    assert StackSource((a, ArraySource(data))).info.bands == 2


def test_an_array_knows_its_mask_and_its_content():
    data = RNG.integers(0, 9, (2, 4, 5))
    valid = np.ones((4, 5), bool)
    valid[0, 0] = False
    masked = ArraySource(data, valid)
    assert masked.read(Window(0, 0, 2, 2)).valid.tolist() == [[False, True], [True, True]]
    assert masked.info.fingerprint != ArraySource(data).info.fingerprint
    assert ArraySource(data).info.fingerprint == ArraySource(data.copy()).info.fingerprint
    assert ArraySource(data + 1).info.fingerprint != ArraySource(data).info.fingerprint
    masked.read().data[:] = 0
    masked.read().valid[:] = False
    assert masked.data.any()
    assert masked.valid.sum() == 19


def test_a_cog_round_trips_with_crs_nodata_names_and_overviews(tmp_path):
    data = RNG.integers(0, 5000, (2, 700, 900)).astype(np.uint16)
    geobox = GeoBox(data.shape[1:], GEOBOX.affine, "EPSG:32633")
    path = tmp_path / "new" / "a.tif"
    write_cog(path, data, geobox=geobox, nodata=0, descriptions=["red", "nir"])
    source = FileSource(str(path))
    assert source.info.geobox == geobox
    assert source.info.nodata == 0
    assert source.info.descriptions == ("red", "nir")
    assert (source.read().data == data).all()
    with rasterio.open(path) as dataset:
        assert dataset.profile["tiled"]
        assert dataset.overviews(1)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert [p.name for p in path.parent.iterdir()] == ["a.tif"]


def test_a_cog_of_one_band_may_have_colours(tmp_path):
    data = RNG.integers(0, 2, (20, 20)).astype(np.uint8)
    write_cog(tmp_path / "a.tif", data, colormap={0: (1, 2, 3), 1: (4, 5, 6)})
    colours = FileSource(str(tmp_path / "a.tif")).read().data
    assert (colours == np.array([[1, 2, 3], [4, 5, 6]])[data].transpose(2, 0, 1)).all()
    assert (FileSource(str(tmp_path / "a.tif"), palette=False).read().data[0] == data).all()


def test_a_cog_that_cannot_be_written_is_a_storage_error_and_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_text("old")

    def refuse(*_, **__):
        raise rasterio.errors.RasterioIOError("the driver is out of order")

    monkeypatch.setattr(rasterio, "open", refuse)
    with pytest.raises(StorageError, match=r"a.tif': the driver is out of order"):
        write_cog(path, np.zeros((1, 4, 4), np.uint8))

    def full(*_, **__):
        raise rasterio.errors.RasterioIOError("write failed: No space left on device")

    monkeypatch.setattr(rasterio, "open", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_cog(path, np.zeros((1, 4, 4), np.uint8))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_resize_keeps_a_constant_and_the_mean():
    image = RNG.random((32, 32))
    assert resize(np.full((5, 7), 3), (10, 2)).tolist() == [[3, 3]] * 10
    assert resize(image, (8, 8)).mean() == pytest.approx(image.mean(), abs=0.02)


def test_an_empty_raster_has_no_valid_share():
    assert Raster(np.zeros((1, 0, 0)), np.zeros((0, 0), bool)).valid_share == 0


@pytest.mark.realdata
def test_windows_of_real_photographs_are_slices(realdata):
    path = min((realdata / "dubai" / "tile1" / "images").glob("*.jpg"))
    source = FileSource(str(path))
    with Image.open(path) as image:
        pixels = np.asarray(image).transpose(2, 0, 1)
    assert source.info.shape == pixels.shape[1:]
    part = source.read(Window(100, 50, 64, 32)).data
    assert np.abs(part.astype(int) - pixels[:, 100:164, 50:82]).max() <= 2  # two JPEG decoders


@pytest.mark.parametrize(
    ("crs", "affine", "metres"),
    [
        ("EPSG:32633", Affine(10, 0, 5e5, 0, -10, 6e6), 10.0),
        ("EPSG:2263", Affine(1, 0, 984_000, 0, -1, 197_000), 0.304800610),  # US survey feet
        ("EPSG:3857", Affine(10, 0, 0, 0, -10, 8_399_738), 5.0),  # twice too large at 60 degrees
        ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60), 7.9),
        (None, Affine(10, 0, 5e5, 0, -10, 6e6), None),
    ],
)
def test_metres_of_a_pixel(crs: str | None, affine: Affine, metres: float | None) -> None:
    shape = (4, 6)
    info = ArraySource(np.zeros((1, *shape), np.uint8), geobox=GeoBox(shape, affine, crs)).info
    found = metres_per_pixel(info)
    assert found == (None if metres is None else pytest.approx(metres, rel=0.01))
    if metres == 10:
        assert found == 10
    assert metres_per_pixel(dataclasses.replace(info, geobox=None)) is None


def test_given_images_are_arrays_of_bands_first_or_sources():
    array = np.zeros((3, 20, 30), np.uint8)
    source = given_source(array)
    assert source.info.shape == (20, 30)
    assert given_source(source) is source
    assert given_source(np.zeros((200, 20, 30))).info.bands == 200
    with pytest.raises(DataError, match=r"\(c, h, w\).*transpose\(2, 0, 1\)"):
        given_source(np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match="must be"):
        given_source(np.zeros((20, 30)))
    with pytest.raises(DataError, match="an image of the type Image"):
        given_source(Image.new("RGB", (30, 20)))
