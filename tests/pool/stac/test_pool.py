"""Pools from STAC catalogues: pixels of the files, metadata of the items."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from stac_files import (
    BANDS,
    SIDE,
    box,
    outline,
    pixels,
    write_catalogue,
    write_item,
    write_json,
    write_list,
    write_table,
)

from foveate.errors import DataError, MissingExtraError, ParameterError
from foveate.pool import open_pool
from foveate.pool.quality import Quality
from foveate.pool.stac import Search, stac_paths
from foveate.pool.stac.asset_source import AssetSource
from foveate.raster import FileSource, write_cog
from foveate.remote import stores

SEARCH = Search(BANDS)


def opened(path, search=SEARCH, **more):
    return open_pool(str(path), search=search, tile=32, **more)


def same(pool, other):
    assert pool.ids.tolist() == other.ids.tolist()
    for raster, expected in zip(pool.read(), other.read(), strict=True):
        assert np.array_equal(raster.data, expected.data)
        assert np.array_equal(raster.valid, expected.valid)


def test_catalogue_equals_folder_of_its_files(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    pool = opened(catalogue)
    assert [scene.scene_id for scene in pool.scenes] == ["S0", "S1", "S2"]
    plain = open_pool(str(tmp_path), stack=BANDS, tile=32, nodata=0)
    for raster, expected in zip(pool.read(), plain.read(), strict=True):
        assert np.array_equal(raster.data, expected.data)
        assert np.array_equal(raster.valid, expected.valid)
    assert pool.georeferenced
    assert np.array_equal(
        shapely.area(pool.footprints()).round(9), shapely.area(plain.footprints()).round(9)
    )


def test_all_stac_formats_give_the_same_pool(tmp_path):
    catalogue, items = write_catalogue(tmp_path)
    whole = opened(catalogue)
    listed = write_list(tmp_path, items)
    table = write_table(tmp_path / "items.parquet", json.loads(listed.read_text())["features"])
    same(opened(tmp_path / "collection.json"), whole)
    same(opened(listed), whole)
    same(opened(table), whole)
    same(
        open_pool([str(tmp_path / f"S{i}/item.json") for i in range(3)], search=SEARCH, tile=32),
        whole,
    )
    assert stac_paths([str(table)]) is not None


def test_table_written_by_rustac_is_read(tmp_path):
    rustac = pytest.importorskip("rustac")
    catalogue, items = write_catalogue(tmp_path)
    listed = json.loads(write_list(tmp_path, items).read_text())["features"]
    del listed[1]["assets"]["thumbnail"]  # null in this row
    rustac.write_sync(str(tmp_path / "r.parquet"), listed)
    same(opened(tmp_path / "r.parquet"), opened(catalogue))


def test_complete_metadata_defer_headers_until_pixels_are_read(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    for file in tmp_path.glob("*/*.tif"):
        file.write_bytes(b"no raster")
    pool = opened(catalogue, measure=False)
    assert len(pool) == 12
    with pytest.raises(DataError, match="the asset 'red' of the item 'S0': cannot read"):
        list(pool.read([0]))


def test_incomplete_metadata_are_taken_from_the_header(tmp_path):
    item = write_item(tmp_path, 0)
    for asset in item["assets"].values():
        asset.pop("proj:transform", None)
    path = write_json(tmp_path / "S0/item.json", item)
    source = opened(path).scenes[0].source
    assert source.info.geobox.affine == box().affine
    assert source.info.nodata == 0  # still from the item
    assert source.info.rules == ("nodata 0",)


def test_metadata_before_stac_1_1_are_equivalent(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    new, _ = write_catalogue(tmp_path / "new", offset=-0.1)
    old, _ = write_catalogue(tmp_path / "old", offset=-0.1, old=True)
    new, old = (opened(path, measure=False).scenes[1].source.info for path in (new, old))
    assert new.scaling == old.scaling == ((0.0001, -0.1),) * 2
    assert new.geobox == old.geobox
    assert (new.dtype, new.nodata) == (old.dtype, old.nodata) == ("uint16", 0)


def test_different_offsets_are_converted_to_physical_values(tmp_path):
    items = [write_item(tmp_path, i, offset=-0.1 * i) for i in range(2)]
    pool = opened(write_list(tmp_path, items))
    for scene in pool.scenes:
        i = int(scene.scene_id[1])
        raster = scene.source.read()
        assert raster.data.dtype == np.float32
        expected = pixels(i, "red")[0] * 0.0001 - 0.1 * i
        assert np.allclose(raster.data[0][raster.valid], expected[raster.valid], atol=1e-6)
    assert any("2 different scales and offsets" in str(note) for note in pool.notes)


def test_offset_already_applied_to_pixels_is_ignored(tmp_path):
    items = [write_item(tmp_path, i, offset=-0.1) for i in range(2)]
    items[1]["properties"]["earthsearch:boa_offset_applied"] = True
    pool = opened(write_list(tmp_path, items), measure=False)
    assert [s.source.info.scaling[0] for s in pool.scenes] == [(0.0001, -0.1), (0.0001, 0.0)]


def test_file_that_contradicts_its_item_raises(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    moved = box(7)
    for data, geobox, says in (
        (pixels(0, "red")[:, :32], box(side=32), "64 x 64"),
        (pixels(0, "red").astype(np.float32), box(), "uint16"),
        (pixels(0, "red"), moved, "proj:transform"),
        (np.repeat(pixels(0, "red"), 2, axis=0), box(), "describes 1"),
    ):
        write_cog(tmp_path / "S0/red.tif", data, geobox=geobox)
        with pytest.raises(DataError, match="the asset 'red' of the item 'S0'") as failed:
            opened(catalogue)
        assert says in str(failed.value)


def test_internal_mask_applies_although_items_do_not_state_it(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    import rasterio

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        tmp_path / "S0/red.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=1,
        dtype="uint16", crs="EPSG:32633", transform=box().affine,
    ) as file:  # fmt: skip
        file.write(pixels(0, "red"))
        mask = np.full((SIDE, SIDE), 255, np.uint8)
        mask[32:, 32:] = 0
        file.write_mask(mask)
    pool = opened(catalogue, min_valid=0.0)
    share = dict(zip(pool.ids.tolist(), pool.tiles.valid_share.tolist(), strict=True))
    assert share["S0/y000032_x000032_32x32"] == 0


def test_scalar_properties_become_columns(tmp_path):
    items = [write_item(tmp_path, i) for i in range(3)]
    items[1]["properties"] |= {"start_datetime": "2024-06-01T00:00:00Z",
                               "end_datetime": "2024-06-30T00:00:00Z"}  # fmt: skip
    items[2]["properties"].pop("platform")
    items[2]["properties"] |= {"datetime": None, "start_datetime": "2024-07-01T00:00:00Z",
                               "end_datetime": "2024-07-31T00:00:00Z", "list": [1, 2]}  # fmt: skip
    pool = opened(write_list(tmp_path, items))
    scene = pool.tiles.scene
    assert pool.attributes["eo:cloud_cover"][scene == "S1"].tolist() == [10.0] * 4
    assert set(pool.attributes["platform"][scene == "S2"]) == {""}
    assert set(pool.attributes["datetime"][scene == "S2"]) == {"2024-07-01T00:00:00Z"}
    assert set(pool.attributes["datetime"][scene == "S0"]) == {"2024-05-01T10:00:00Z"}
    assert set(pool.attributes["datetime"][scene == "S1"]) == {"2024-06-01T10:00:00Z"}
    assert "list" not in pool.attributes
    assert not any(name.startswith("proj:") for name in pool.attributes)


def test_search_selects_items_and_counts_the_others(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    pool = opened(catalogue, Search(BANDS, datetime="2024-06/..", max_cloud=10))
    assert [scene.scene_id for scene in pool.scenes] == ["S1"]
    assert "1 of 3 items are read" in str(pool.notes[0])
    west, south, east, north = outline(box(2)).bounds
    inner = (west + 0.001, south, east, north)
    assert [s.scene_id for s in opened(catalogue, Search(BANDS, bbox=inner)).scenes] == ["S2"]


def test_quality_rasters_are_found_in_items(tmp_path):
    items = [write_item(tmp_path, i) for i in range(2)]
    clouded = Quality([], most=0.2)(opened(write_list(tmp_path, items)))
    assert clouded.attributes["bad"].tolist() == [0.0] * 6
    assert sorted(clouded.excluded) == [f"S{i}/y000000_x000032_32x32" for i in range(2)]
    files = Quality(str(tmp_path / "*/SCL.tif"), most=0.2)
    del items[1]["assets"]["scl"]
    half = opened(write_list(tmp_path, items))
    masked = Quality([], most=0.2)(half)
    assert sorted(masked.excluded) == ["S0/y000000_x000032_32x32"]
    assert np.isnan(masked.attributes["bad"]).sum() == 4
    assert "1 of 2 items has no quality raster" in " ".join(map(str, half.notes))
    none = opened(write_list(tmp_path, items), Search(BANDS, quality=("none",)))
    assert Quality([])(none) is none
    assert files.most == 0.2


def test_assets_are_found_by_key_and_by_band_name(tmp_path):
    item = write_item(tmp_path, 0)
    item["assets"]["B04"] = item["assets"].pop("red")
    item["assets"]["B04"]["bands"][0] |= {"name": "b4", "eo:common_name": "red"}
    path = write_json(tmp_path / "S0/item.json", item)
    for names in (("B04", "nir"), ("red", "nir"), ("b4", "nir")):
        assert opened(path, Search(names)).scenes[0].source.sources[0].asset == "B04"
    with pytest.raises(DataError, match="no asset 'rad'") as failed:
        opened(path, Search(("rad",)))
    assert "B04" in str(failed.value)


def test_single_image_asset_is_the_default(tmp_path):
    item = write_item(tmp_path, 0)
    path = tmp_path / "S0/item.json"
    with pytest.raises(ParameterError, match=r"2 image assets.*--assets red,nir"):
        opened(path, Search())
    del item["assets"]["nir"]
    source = opened(write_json(path, item), Search()).scenes[0].source
    assert isinstance(source, AssetSource)
    assert source.asset == "red"
    item["assets"] = {"thumbnail": item["assets"]["thumbnail"]}
    with pytest.raises(DataError, match="no image asset"):
        opened(write_json(path, item), Search())


def test_ids_shared_by_collections_are_prefixed(tmp_path):
    items = [write_item(tmp_path, 0)]
    other = json.loads(json.dumps(items[0])) | {"collection": "naip"}
    other["assets"]["red"]["title"] = "another"
    pool = opened(write_list(tmp_path, [*items, other, items[0]]), measure=False)
    assert [scene.scene_id for scene in pool.scenes] == ["naip/S0", "s2/S0"]
    assert pool.notes[0].text == "1 item is listed more than once and read once; it is 'S0'"


def test_items_listed_more_than_once_are_counted(tmp_path):
    items = [write_item(tmp_path, i) for i in range(3)]
    pool = opened(write_list(tmp_path, [*items, items[0], items[0], items[2]]), measure=False)
    assert len(pool.scenes) == 3
    assert (
        pool.notes[0].text == "2 items are listed more than once and read once; the first is 'S0'"
    )
    assert pool.notes[0].items == ("S0", "S2")


def test_masks_are_paired_with_items_by_name(tmp_path):
    for name in ("scenes", "masks"):
        (tmp_path / name).mkdir()
    catalogue, _ = write_catalogue(tmp_path / "scenes")
    for i in range(3):
        data = np.zeros((1, SIDE, SIDE), np.uint8)
        data[:, i:] = 1
        write_cog(tmp_path / f"masks/S{i}_mask.tif", data, geobox=box(i))
    pool = opened(catalogue, masks=str(tmp_path / "masks"))
    assert pool.counts.sum() == 3 * (SIDE * SIDE - 64)


# --- errors


def test_missing_asset_raises_with_the_name_of_its_item(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    (tmp_path / "S1/nir.tif").unlink()
    with pytest.raises(DataError, match="the asset 'nir' of the item 'S1' does not exist"):
        opened(catalogue)
    (tmp_path / "S1/SCL.tif").unlink()
    pool = opened(catalogue, Search(("red",)))  # neither of them is read
    with pytest.raises(DataError, match="the asset 'scl' of the item 'S1' does not exist"):
        Quality([])(pool)


def test_broken_link_raises_with_the_file_that_contains_it(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    (tmp_path / "S1/item.json").unlink()
    with pytest.raises(DataError, match=r"item.json', linked from .*collection.json': No such"):
        opened(catalogue)


def test_search_without_matches_raises_with_the_reason(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    with pytest.raises(DataError, match=r"none of 3 items in .* excluded: 3 by --datetime"):
        opened(catalogue, Search(BANDS, datetime="1999"))
    empty = write_json(tmp_path / "empty.json", {"type": "FeatureCollection", "features": []})
    with pytest.raises(DataError, match="no item in"):
        opened(empty)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot read"),
        ("[1]", "is not STAC: it is not a JSON object"),
        ('{"a": 1}', "is not STAC: it has no type"),
        ('{"type": "Topology"}', "its type is 'Topology'"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "a"}]}', "assets"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature"}]}', "no id"),
        ('{"type": "Feature", "id": "a", "assets": {"a": {"type": "image/tiff"}}}', "has no href"),
        ('{"type": "Feature", "id": "a", "assets": {"a": {"href": "ftp://h/a.tif"}}}', "ftp://"),
    ],
)  # fmt: skip
def test_invalid_stac_raises(tmp_path, text, says):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises((DataError, ParameterError)) as failed:
        opened(path, Search())
    assert says in str(failed.value)


def test_stac_options_require_stac_and_others_refuse_it(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    with pytest.raises(ParameterError, match="--assets is given for images that are not STAC"):
        opened(tmp_path)
    with pytest.raises(ParameterError, match="beside a STAC catalogue"):
        open_pool([str(catalogue), str(tmp_path)])
    with pytest.raises(ParameterError, match="It stacks files by the endings of their names"):
        open_pool(str(catalogue), stack=["red"])


def test_circular_links_terminate(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    content = json.loads(catalogue.read_text())
    content["links"].append({"rel": "child", "href": "./catalog.json"})
    write_json(catalogue, content)
    assert len(opened(catalogue).scenes) == 1


def test_sources_are_file_sources(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    source = opened(catalogue, Search(("red",))).scenes[0].source
    assert isinstance(source, FileSource)
    assert source.stored().data.shape == (1, SIDE, SIDE)
    assert Path(source.path).is_file()


def test_remote_assets_without_packages_raise_when_the_pool_is_opened(tmp_path, monkeypatch):
    item = write_item(tmp_path, 0)
    for name in BANDS:
        item["assets"][name]["href"] = f"s3://bucket/{name}.tif"
    monkeypatch.setattr(stores.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveate\[cloud\]'"):
        opened(write_json(tmp_path / "item.json", item))
