"""Chips hold the pixels of their windows as the source stores them, and what it says of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from foveate.curate import CurateJob
from foveate.errors import DataError, ParameterError, StorageError
from foveate.export import export_run
from foveate.export.chips import chip_names
from foveate.files import write_json, write_parquet
from foveate.grid import Window as Place
from foveate.raster import FileSource

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SIDE, TILE = 80, 32
COLOURS = {0: (0, 0, 0, 255), 1: (10, 200, 30, 255), 2: (7, 7, 250, 255)}
PLACED = {"crs": "EPSG:32633", "transform": rasterio.Affine(2, 0, 500_000, 0, -2, 4_000_000)}


def write(path, data, **profile):
    """Write a raster as another program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = profile.pop("descriptions", None)
    colours, palette = profile.pop("colorinterp", None), profile.pop("palette", None)
    count, height, width = data.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width,
        dtype=data.dtype.name, **profile,
    ) as file:  # fmt: skip
        if palette:
            file.write_colormap(1, palette)
        if colours:
            file.colorinterp = colours
        file.write(data)
        for i, name in enumerate(names or (), 1):
            file.set_band_description(i, name)


def pixels(dtype, count, draw):
    if dtype == "float32":
        return draw.normal(size=(count, SIDE, SIDE)).astype(np.float32)
    return draw.integers(1, np.iinfo(dtype).max, (count, SIDE, SIDE)).astype(dtype)


def curated(root, **given):
    job = {"images": [str(root / "images")], "masks": [str(root / "masks")], "tile": TILE,
           "methods": ["random"], "budget": "60%", **given}  # fmt: skip
    CurateJob(**job).run(root / "run")
    return root / "run"


def exported(root, run, **given):
    (path,) = export_run(run, "chips", root / "chips", **given)
    return path, pq.read_table(path / "manifest.parquet").to_pylist()


@pytest.mark.parametrize("placed", [PLACED, {}], ids=["placed", "nowhere"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_same_pixels(dtype, placed, tmp_path):
    draw = np.random.default_rng(0)
    nodata = {"uint8": None, "uint16": 0, "float32": -9999.0}[dtype]
    names = ("blue", "green", "red", "nir")
    bands = (ColorInterp.gray, *(ColorInterp.undefined,) * 3)
    for i in range(2):
        data = pixels(dtype, 4, draw)
        if nodata is not None:
            data[:, :40, :20] = nodata
        write(tmp_path / f"images/city/s{i}.tif", data, nodata=nodata, descriptions=names,
              colorinterp=bands, photometric="MINISBLACK", alpha="NO", **placed)  # fmt: skip
        labels = draw.integers(0, 3, (1, SIDE, SIDE)).astype(np.uint8)
        write(tmp_path / f"masks/city/s{i}.tif", labels, palette=COLOURS, nodata=255, **placed)
    run = curated(tmp_path, min_valid=0.1)
    path, rows = exported(tmp_path, run)
    assert len(rows) == len(list((path / "images").iterdir())) > 3
    for row in rows:
        window = Window(row["x"], row["y"], row["w"], row["h"])
        for kind in ("image", "mask"):
            source = tmp_path / f"{kind}s" / f"{row['scene']}.tif"
            with rasterio.open(source) as whole, rasterio.open(path / row[kind]) as chip:
                expected, found = whole.read(window=window), chip.read()
                assert found.dtype == expected.dtype == ("uint8" if kind == "mask" else dtype)
                assert found.tobytes() == expected.tobytes()
                assert chip.nodata == whole.nodata
                assert chip.crs == whole.crs
                assert chip.descriptions == whole.descriptions
                assert chip.colorinterp == whole.colorinterp
                assert chip.mask_flag_enums == whole.mask_flag_enums
                if placed:
                    assert chip.transform == whole.window_transform(window)
                else:
                    assert chip.transform.is_identity
                if kind == "mask":
                    assert chip.colormap(1) == whole.colormap(1)
    with (path / "manifest.csv").open() as file:
        assert len(file.readlines()) == len(rows) + 1
    geo = (pq.read_schema(path / "manifest.parquet").metadata or {}).get(b"geo")
    assert (geo is not None) == bool(placed)


def test_foveate_reads_its_chips_as_it_reads_the_scenes(tmp_path):
    """Also padded tiles, alpha, bits, scales, and pictures that are stored lying."""
    draw = np.random.default_rng(0)
    rgba = draw.integers(0, 255, (4, SIDE, SIDE)).astype(np.uint8)
    rgba[3] = 255 * (draw.random((SIDE, SIDE)) < 0.8)
    write(tmp_path / "images/alpha.tif", rgba, photometric="RGB", alpha="YES", **PLACED)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(tmp_path / "images/masked.tif", rgba[:3], photometric="RGB", **PLACED)
        with rasterio.open(tmp_path / "images/masked.tif", "r+") as file:
            file.write_mask(rgba[3] > 0)
    write(tmp_path / "images/plain.tif", rgba[:3], photometric="RGB", **PLACED)
    exif = Image.Exif()
    exif[274] = 6
    picture = Image.fromarray(np.moveaxis(rgba[:3, :60], 0, -1))
    picture.save(tmp_path / "images/lying.jpg", exif=exif)
    run = curated(tmp_path, masks=[], budget="100%", edge="pad", min_valid=0.0)
    path, rows = exported(tmp_path, run)
    assert {row["mask"] for row in rows} == {None}
    assert not (path / "masks").exists()
    for row in rows:
        (file,) = (tmp_path / "images").glob(f"{row['scene']}.*")
        expected = FileSource(str(file)).read(Place(*(row[k] for k in "yxhw")))
        chip = FileSource(str(path / row["image"]))
        found = chip.read()
        np.testing.assert_array_equal(found.valid, expected.valid)
        np.testing.assert_array_equal(found.data[:, found.valid], expected.data[:, found.valid])
    assert {row["scene"] for row in rows} == {"alpha", "lying", "masked", "plain"}


@pytest.mark.parametrize("kind", ["bits", "inverted", "scaled"])
def test_how_values_are_stored(kind, tmp_path):
    values = np.random.default_rng(0).integers(0, 2, (1, SIDE, SIDE)).astype(np.uint8)
    more = {"bits": {"nbits": 1}, "inverted": {"nbits": 1, "photometric": "MINISWHITE"}}
    file = tmp_path / "s.tif"
    write(file, values, **more.get(kind, {}), **PLACED)
    if kind == "scaled":
        with rasterio.open(file, "r+") as open_file:
            open_file.scales, open_file.offsets = (0.5,), (3.0,)
    run = curated(tmp_path, images=[str(file)], masks=[])
    path, rows = exported(tmp_path, run)
    for row in rows:
        chip = FileSource(str(path / row["image"]))
        window = Place(*(row[k] for k in "yxhw"))
        np.testing.assert_array_equal(chip.read().data, FileSource(str(file)).read(window).data)
        assert chip.info.scaling == FileSource(str(file)).info.scaling


def test_a_nodata_value_that_was_typed_is_written(tmp_path):
    data = np.random.default_rng(0).integers(1, 9, (1, SIDE, SIDE)).astype(np.uint16)
    write(tmp_path / "images/s.tif", data, **PLACED)
    run = curated(tmp_path, masks=[], nodata=7.0)
    path, rows = exported(tmp_path, run)
    with rasterio.open(path / rows[0]["image"]) as chip:
        assert chip.nodata == 7


def test_bands_in_files_of_their_own(tmp_path):
    draw = np.random.default_rng(0)
    bands = draw.integers(1, 900, (2, SIDE, SIDE)).astype(np.uint16)
    height = draw.normal(size=(1, SIDE, SIDE)).astype(np.float32)
    for i in range(2):
        write(tmp_path / f"images/s_B{i}.tif", bands[[i]], nodata=0, **PLACED)
    write(tmp_path / "dsm/s.tif", height, **PLACED)
    run = curated(tmp_path, masks=[], stack=["B1", "B0"], extra=[str(tmp_path / "dsm")])
    path, rows = exported(tmp_path, run)
    for row in rows:
        cut = np.s_[:, row["y"] : row["y"] + row["h"], row["x"] : row["x"] + row["w"]]
        with rasterio.open(path / row["image"]) as chip:
            assert chip.dtypes == ("float32",) * 3
            expected = np.concatenate([bands[[1, 0]].astype(np.float32), height])
            np.testing.assert_array_equal(chip.read(), expected[cut])
            assert chip.crs == "EPSG:32633"


@pytest.fixture
def scenes(tmp_path):
    """Two scenes with masks."""
    draw = np.random.default_rng(0)
    for i in range(2):
        write(tmp_path / f"images/s{i}.tif", pixels("uint8", 3, draw), photometric="RGB", **PLACED)
        labels = draw.integers(0, 3, (1, SIDE, SIDE)).astype(np.uint8)
        write(tmp_path / f"masks/s{i}.tif", labels)
    return tmp_path


def test_a_tile_of_several_methods_is_written_once_and_masks_lie_where_their_images_do(scenes):
    run = curated(scenes, methods=["cb", "random"], budget="70%")
    path, rows = exported(scenes, run, previews=True)
    assert len(rows) > len(list((path / "images").iterdir()))
    assert len({row["image"] for row in rows}) == len(list((path / "images").iterdir()))
    assert [row["method"] for row in rows] == sorted(row["method"] for row in rows)
    with rasterio.open(path / rows[0]["image"]) as image, rasterio.open(
        path / rows[0]["mask"]
    ) as mask, Image.open(path / rows[0]["preview"]) as preview:  # fmt: skip
        assert mask.transform == image.transform != rasterio.Affine.identity()
        assert mask.crs == image.crs
        assert preview.size == (TILE, TILE)
        assert preview.mode == "RGB"
    one = export_run(run, "chips", scenes / "one", ["cb"])[0]
    assert {r["method"] for r in pq.read_table(one / "manifest.parquet").to_pylist()} == {"cb"}


def test_the_folder_is_a_pool(scenes):
    path, rows = exported(scenes, curated(scenes))
    again = CurateJob(images=[str(path / "images")], masks=[str(path / "masks")], tile=TILE,
                      methods=["cb"], budget="50%").run(scenes / "again")  # fmt: skip
    assert again.record["summary"]["pool"]["tiles"] == len(rows)


def test_images_that_have_moved_or_changed_are_named(scenes):
    run = curated(scenes, masks=[], budget="100%")
    (scenes / "images/s0.tif").rename(scenes / "images/elsewhere.tif")
    with pytest.raises(DataError, match=r"1 of 2 images.*images/s0\.tif'.*Restore the files"):
        exported(scenes, run)
    draw = np.random.default_rng(9)
    write(scenes / "images/s0.tif", pixels("uint8", 3, draw), photometric="RGB", **PLACED)
    with pytest.raises(DataError, match=r"s0\.tif' has changed since"):
        exported(scenes, run)
    assert not (scenes / "chips").exists()


def test_masks_that_have_moved_are_named(scenes):
    run = curated(scenes)
    (scenes / "masks").rename(scenes / "gone")
    with pytest.raises(DataError, match=r"masks.* does not exist"):
        exported(scenes, run)


def test_where_it_cannot_be_written(scenes):
    run = curated(scenes)
    (scenes / "chips").mkdir()
    exported(scenes, run)  # an empty folder is as good as none
    with pytest.raises(ParameterError, match="is a folder that is not empty"):
        exported(scenes, run)
    with pytest.raises(ParameterError, match=r"is a file.*writes a folder"):
        export_run(run, "chips", scenes / "images/s0.tif")
    with pytest.raises(ParameterError, match="--previews with --to csv"):
        export_run(run, "csv", scenes / "x.csv", previews=True)
    with pytest.raises(StorageError):
        export_run(run, "chips", scenes / "images/s0.tif/chips")


KILL = """
import os, signal, sys
import foveate.export.chips as chips
whole, seen = chips.write_stored, []
def write(*args, **given):
    seen.append(1)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(*args, **given)
chips.write_stored = write
from foveate.export import export_run
export_run(sys.argv[1], "chips", sys.argv[2])
"""


def test_a_killed_export_leaves_no_folder_under_its_name(scenes, monkeypatch):
    run = curated(scenes)
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(run), str(scenes / "chips")], check=False,
        env=os.environ, capture_output=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (scenes / "chips").exists()
    before = sorted(p.name for p in scenes.iterdir())

    def fail(*_args, **_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foveate.export.chips.write_stored", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        exported(scenes, run)
    assert sorted(p.name for p in scenes.iterdir()) == before
    monkeypatch.undo()
    exported(scenes, run)


def test_regions_of_a_focus_run_with_their_masks(scenes):
    """As `focus segment` stores them: windows of several sizes, and a map of region numbers."""
    run = scenes / "look"
    uri = str(scenes / "images/s0.tif")
    write_parquet(run / "scenes.parquet", pa.Table.from_pylist(
        [{"scene": "s0", "uri": uri, "height": SIDE, "width": SIDE, "fingerprint": ""}]
    ))  # fmt: skip
    write_parquet(run / "regions.parquet", pa.table({
        "rank": [1, 2], "tile_id": ["s0/a", "s0/b"], "scene": ["s0", "s0"], "y": [0, 40],
        "x": [8, 40], "h": [40, 20], "w": [40, 20], "importance": [0.5, 0.1],
    }))  # fmt: skip
    regions = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(1, SIDE, SIDE)
    write(run / "masks/s0.tif", regions, **PLACED)
    write_json(run / "run.json", {
        "schema": 1, "job": {"images": [uri]}, "summary": {"focus": {"looks": []}},
        "steps": {"look s0": {"outputs": ["looks/s0.json", "masks/s0.tif"]}},
    })  # fmt: skip
    path, rows = exported(scenes, run)
    assert [row["importance"] for row in rows] == [0.5, 0.1]
    for row in rows:
        cut = np.s_[:, row["y"] : row["y"] + row["h"], row["x"] : row["x"] + row["w"]]
        with rasterio.open(path / row["mask"]) as mask, rasterio.open(path / row["image"]) as image:
            np.testing.assert_array_equal(mask.read(), regions[cut])
            assert image.shape == (row["h"], row["w"])


def test_tiles_of_observe_on_pairs_have_the_masks_of_the_pairs(scenes):
    """A selection names the run of the pairs, which names images and masks."""
    pairs, run = scenes / "pairs", scenes / "selected"
    job = {"images": [str(scenes / "images")], "masks": [str(scenes / "masks")]}
    write_json(pairs / "run.json", {"schema": 1, "job": job, "steps": {}})
    uri = str(scenes / "images/s1.tif")
    write_parquet(run / "scenes.parquet", pa.Table.from_pylist(
        [{"scene": "s1", "uri": uri, "height": SIDE, "width": SIDE, "fingerprint": ""}]
    ))  # fmt: skip
    write_parquet(run / "selection/learned.parquet", pa.table({
        "rank": [1], "tile_id": ["s1/t"], "score": [0.5], "scene": ["s1"], "y": [0], "x": [16],
        "h": [32], "w": [32],
    }))  # fmt: skip
    write_json(run / "run.json", {
        "schema": 1, "steps": {}, "job": {"images": [str(pairs)]}, "summary": {"observe": {}},
    })  # fmt: skip
    path, rows = exported(scenes, run)
    with rasterio.open(path / rows[0]["mask"]) as mask, rasterio.open(
        scenes / "masks/s1.tif"
    ) as whole:  # fmt: skip
        np.testing.assert_array_equal(mask.read(), whole.read()[:, :32, 16:48])


def test_runs_without_imagery(tmp_path):
    write_json(tmp_path / "run/run.json", {"schema": 1, "steps": {}, "summary": {}})
    write_parquet(tmp_path / "run/selection/fa.parquet",
                  pa.table({"rank": [1], "tile_id": ["a"], "score": [1.0]}))  # fmt: skip
    with pytest.raises(DataError, match=r"have no windows.*--to list"):
        exported(tmp_path, tmp_path / "run")


def test_names_are_safe_and_unique():
    window, other = Place(0, 0, 9, 9), Place(0, 9, 9, 9)
    places = [("a/b", window), ("a__b", window), ("A", window), ("a", window), ("a", other),
              ("../x", window), ("é*?", window), ("é?*", window), ("l" * 300, window)]  # fmt: skip
    names = chip_names(places)
    assert list(names) == places
    assert len({name.casefold() for name in names.values()}) == len(places)
    assert names["a", other] == "a_y000000_x000009_9x9"
    assert all(name.isascii() and "/" not in name and name[0] not in ".-"
               and len(name) < 150 for name in names.values())  # fmt: skip


def test_the_command(scenes, capsys):
    from foveate.cli.main import main

    run = curated(scenes)
    assert main(["export", str(run), "--to", "chips", "--out", str(scenes / "c"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [str(scenes / "c")]}
