"""Catalogues as pools: the pixels, values and places of the files, in the words of the items."""

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
    for one, two in zip(pool.read(), other.read(), strict=True):
        assert np.array_equal(one.data, two.data)
        assert np.array_equal(one.valid, two.valid)


def test_a_catalogue_is_read_as_its_files_are(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    pool = opened(catalogue)
    assert [scene.scene_id for scene in pool.scenes] == ["S0", "S1", "S2"]
    plain = open_pool(str(tmp_path), stack=BANDS, tile=32, nodata=0)
    for one, two in zip(pool.read(), plain.read(), strict=True):
        assert np.array_equal(one.data, two.data)
        assert np.array_equal(one.valid, two.valid)
    assert pool.georeferenced
    assert np.array_equal(
        shapely.area(pool.footprints()).round(9), shapely.area(plain.footprints()).round(9)
    )


def test_all_forms_of_a_catalogue_are_one_pool(tmp_path):
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


def test_a_table_of_rustac_is_read(tmp_path):
    rustac = pytest.importorskip("rustac")
    catalogue, items = write_catalogue(tmp_path)
    listed = json.loads(write_list(tmp_path, items).read_text())["features"]
    del listed[1]["assets"]["thumbnail"]  # a column that a row has not
    rustac.write_sync(str(tmp_path / "r.parquet"), listed)
    same(opened(tmp_path / "r.parquet"), opened(catalogue))


def test_no_header_is_read_before_the_pixels(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    for file in tmp_path.glob("*/*.tif"):
        file.write_bytes(b"no raster")
    pool = opened(catalogue, measure=False)
    assert len(pool) == 12
    with pytest.raises(DataError, match="the asset 'red' of the item 'S0': cannot read"):
        list(pool.read([0]))


def test_without_such_facts_the_header_says(tmp_path):
    item = write_item(tmp_path, 0)
    for one in item["assets"].values():
        one.pop("proj:transform", None)
    path = write_json(tmp_path / "S0/item.json", item)
    source = opened(path).scenes[0].source
    assert source.info.geobox.affine == box().affine
    assert source.info.nodata == 0  # still by the item
    assert source.info.rules == ("nodata 0",)


def test_items_of_before_1_1_say_the_same(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    new, _ = write_catalogue(tmp_path / "new", offset=-0.1)
    old, _ = write_catalogue(tmp_path / "old", offset=-0.1, old=True)
    one, other = (opened(path, measure=False).scenes[1].source.info for path in (new, old))
    assert one.scaling == other.scaling == ((0.0001, -0.1),) * 2
    assert one.geobox == other.geobox
    assert (one.dtype, one.nodata) == (other.dtype, other.nodata) == ("uint16", 0)


def test_values_stored_in_two_ways_are_read_as_one_quantity(tmp_path):
    items = [write_item(tmp_path, i, offset=-0.1 * i) for i in range(2)]
    pool = opened(write_list(tmp_path, items))
    for scene in pool.scenes:
        i = int(scene.scene_id[1])
        raster = scene.source.read()
        assert raster.data.dtype == np.float32
        expected = pixels(i, "red")[0] * 0.0001 - 0.1 * i
        assert np.allclose(raster.data[0][raster.valid], expected[raster.valid], atol=1e-6)
    assert any("2 different scales and offsets" in str(note) for note in pool.notes)


def test_an_offset_that_has_been_applied_is_none(tmp_path):
    items = [write_item(tmp_path, i, offset=-0.1) for i in range(2)]
    items[1]["properties"]["earthsearch:boa_offset_applied"] = True
    pool = opened(write_list(tmp_path, items), measure=False)
    assert [s.source.info.scaling[0] for s in pool.scenes] == [(0.0001, -0.1), (0.0001, 0.0)]


def test_a_file_that_is_not_as_its_item_says_is_refused(tmp_path):
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


def test_a_mask_inside_a_file_counts_although_no_item_states_it(tmp_path):
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


def test_properties_become_columns(tmp_path):
    items = [write_item(tmp_path, i) for i in range(3)]
    items[2]["properties"].pop("platform")
    items[2]["properties"] |= {"datetime": None, "start_datetime": "2024-07-01T00:00:00Z",
                               "end_datetime": "2024-07-31T00:00:00Z", "list": [1, 2]}  # fmt: skip
    pool = opened(write_list(tmp_path, items))
    scene = pool.tiles.scene
    assert pool.attributes["eo:cloud_cover"][scene == "S1"].tolist() == [10.0] * 4
    assert set(pool.attributes["platform"][scene == "S2"]) == {""}
    assert set(pool.attributes["datetime"][scene == "S2"]) == {"2024-07-01T00:00:00Z"}
    assert set(pool.attributes["datetime"][scene == "S0"]) == {"2024-05-01T10:00:00Z"}
    assert "list" not in pool.attributes
    assert not any(name.startswith("proj:") for name in pool.attributes)


def test_what_is_searched_for_is_read_and_the_rest_is_counted(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    pool = opened(catalogue, Search(BANDS, datetime="2024-06/..", max_cloud=10))
    assert [scene.scene_id for scene in pool.scenes] == ["S1"]
    assert "1 of 3 items are read" in str(pool.notes[0])
    west, south, east, north = outline(box(2)).bounds
    inner = (west + 0.001, south, east, north)
    assert [s.scene_id for s in opened(catalogue, Search(BANDS, bbox=inner)).scenes] == ["S2"]


def test_quality_rasters_are_those_of_the_items(tmp_path):
    items = [write_item(tmp_path, i) for i in range(2)]
    clouded = Quality([], most=0.2)(opened(write_list(tmp_path, items)))
    assert clouded.attributes["bad"].tolist() == [0.0] * 6
    assert sorted(clouded.excluded) == [f"S{i}/y000000_x000032_32x32" for i in range(2)]
    files = Quality(str(tmp_path / "*/SCL.tif"), most=0.2)
    del items[1]["assets"]["scl"]
    half = opened(write_list(tmp_path, items))
    found = Quality([], most=0.2)(half)
    assert sorted(found.excluded) == ["S0/y000000_x000032_32x32"]
    assert np.isnan(found.attributes["bad"]).sum() == 4
    assert "1 of 2 items have no quality raster" in " ".join(map(str, half.notes))
    none = opened(write_list(tmp_path, items), Search(BANDS, quality=("none",)))
    assert Quality([])(none) is none
    assert files.most == 0.2


def test_assets_are_found_by_key_and_by_the_name_of_their_band(tmp_path):
    item = write_item(tmp_path, 0)
    item["assets"]["B04"] = item["assets"].pop("red")
    item["assets"]["B04"]["bands"][0] |= {"name": "b4", "eo:common_name": "red"}
    path = write_json(tmp_path / "S0/item.json", item)
    for names in (("B04", "nir"), ("red", "nir"), ("b4", "nir")):
        assert opened(path, Search(names)).scenes[0].source.sources[0].asset == "B04"
    with pytest.raises(DataError, match="no asset 'rad'") as failed:
        opened(path, Search(("rad",)))
    assert "B04" in str(failed.value)


def test_without_names_the_one_asset_of_imagery_is_read(tmp_path):
    item = write_item(tmp_path, 0)
    path = tmp_path / "S0/item.json"
    with pytest.raises(ParameterError, match=r"2 assets of imagery.*--assets red,nir"):
        opened(path, Search())
    del item["assets"]["nir"]
    source = opened(write_json(path, item), Search()).scenes[0].source
    assert isinstance(source, AssetSource)
    assert source.asset == "red"
    item["assets"] = {"thumbnail": item["assets"]["thumbnail"]}
    with pytest.raises(DataError, match="no asset of imagery"):
        opened(write_json(path, item), Search())


def test_ids_that_two_collections_share_get_their_names(tmp_path):
    items = [write_item(tmp_path, 0)]
    other = json.loads(json.dumps(items[0])) | {"collection": "naip"}
    other["assets"]["red"]["title"] = "another"
    pool = opened(write_list(tmp_path, [*items, other, items[0]]), measure=False)
    assert [scene.scene_id for scene in pool.scenes] == ["naip/S0", "s2/S0"]


def test_masks_pair_with_items_by_name(tmp_path):
    for name in ("scenes", "masks"):
        (tmp_path / name).mkdir()
    catalogue, _ = write_catalogue(tmp_path / "scenes")
    for i in range(3):
        data = np.zeros((1, SIDE, SIDE), np.uint8)
        data[:, i:] = 1
        write_cog(tmp_path / f"masks/S{i}_mask.tif", data, geobox=box(i))
    pool = opened(catalogue, masks=str(tmp_path / "masks"))
    assert pool.counts.sum() == 3 * (SIDE * SIDE - 64)


# --- what cannot be


def test_a_dangling_asset_is_named_with_its_item(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    (tmp_path / "S1/nir.tif").unlink()
    with pytest.raises(DataError, match="the asset 'nir' of the item 'S1' is not there"):
        opened(catalogue)
    (tmp_path / "S1/SCL.tif").unlink()
    pool = opened(catalogue, Search(("red",)))  # neither of them is read
    with pytest.raises(DataError, match="the asset 'scl' of the item 'S1' is not there"):
        Quality([])(pool)


def test_a_dangling_link_is_named_with_the_file_that_has_it(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    (tmp_path / "S1/item.json").unlink()
    with pytest.raises(DataError, match=r"item.json', which .*collection.json' leads to: No such"):
        opened(catalogue)


def test_a_search_without_items_says_what_has_left_them_out(tmp_path):
    catalogue, _ = write_catalogue(tmp_path)
    with pytest.raises(DataError, match="is left of 3: 3 by --datetime"):
        opened(catalogue, Search(BANDS, datetime="1999"))
    empty = write_json(tmp_path / "empty.json", {"type": "FeatureCollection", "features": []})
    with pytest.raises(DataError, match="no item in"):
        opened(empty)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot read"),
        ("[1]", "is no STAC: it is no object"),
        ('{"a": 1}', "is no STAC: it has no type"),
        ('{"type": "Topology"}', "its type is 'Topology'"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "a"}]}', "assets"),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature"}]}', "an id"),
        ('{"type": "Feature", "id": "a", "assets": {"a": {"type": "image/tiff"}}}', "has no href"),
        ('{"type": "Feature", "id": "a", "assets": {"a": {"href": "ftp://h/a.tif"}}}', "ftp://"),
    ],
)  # fmt: skip
def test_what_is_no_stac_is_refused(tmp_path, text, says):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises((DataError, ParameterError)) as failed:
        opened(path, Search())
    assert says in str(failed.value)


def test_settings_of_stac_are_for_stac(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    with pytest.raises(ParameterError, match="--assets is given for images that are not STAC"):
        opened(tmp_path)
    with pytest.raises(ParameterError, match="beside a STAC catalogue"):
        open_pool([str(catalogue), str(tmp_path)])
    with pytest.raises(ParameterError, match="It stacks files by the endings of their names"):
        open_pool(str(catalogue), stack=["red"])


def test_a_catalogue_that_leads_in_circles_ends(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    content = json.loads(catalogue.read_text())
    content["links"].append({"rel": "child", "href": "./catalog.json"})
    write_json(catalogue, content)
    assert len(opened(catalogue).scenes) == 1


def test_the_sources_are_files_for_all_that_asks(tmp_path):
    catalogue, _ = write_catalogue(tmp_path, 1)
    source = opened(catalogue, Search(("red",))).scenes[0].source
    assert isinstance(source, FileSource)
    assert source.stored().data.shape == (1, SIDE, SIDE)
    assert Path(source.path).is_file()


def test_assets_behind_urls_without_the_packages_are_refused_when_the_pool_is_opened(
    tmp_path, monkeypatch
):
    item = write_item(tmp_path, 0)
    for name in BANDS:
        item["assets"][name]["href"] = f"s3://bucket/{name}.tif"
    monkeypatch.setattr(stores.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveate\[cloud\]'"):
        opened(write_json(tmp_path / "item.json", item))
