"""Runs as STAC: valid by the schemas, and what other programs and foveate read from it."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from command import here
from stac_files import box, outline, write_catalogue
from stac_schemas import check_core, check_embeddings, check_projection

from foveate.errors import DataError, ParameterError
from foveate.export import export_run
from foveate.export.stac_items import box_of
from foveate.geoparquet import spatial_order
from foveate.pool import open_pool
from foveate.pool.embedding_file import open_embeddings
from foveate.pool.stac import Search
from foveate.raster import write_cog
from foveate.run import load_embeddings


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of a catalogue, and one of plain files without dates."""
    root = tmp_path_factory.mktemp("runs")
    (root / "c").mkdir()
    catalogue, _ = write_catalogue(root / "c", 3, cloud=5)
    common = ("--tile", 32, "--budget", "4", "--quality", "none", "--method", "kcenter,random")
    answer = here("curate", catalogue, "--assets", "red,nir", *common, "--out", root / "run")
    assert answer.status == 0, answer.err
    (root / "plain").mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        data = rng.integers(1, 255, (3, 64, 64), np.uint8)
        write_cog(root / f"plain/p{i}.tif", data, geobox=box(i))
    answer = here("embed", root / "plain", "--tile", 24, "--out", root / "vectors")
    assert answer.status == 0, answer.err
    return root


def exported(runs, tmp_path, name="run", to="stac", **more):
    export_run(runs / name, to, tmp_path / to, **more)
    return tmp_path / to


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_item_and_the_collection_are_valid(runs, tmp_path):
    out = exported(runs, tmp_path)
    items = [read(path) for path in sorted((out / "items").iterdir())]
    assert len(items) == 8  # four of each method
    for item in items:
        check_core(item)
        check_projection(item)
    check_core(read(out / "collection.json"))
    listed = read(out / "items.json")["features"]
    for item in listed:
        check_core(item)
    assert sorted(i["id"] for i in listed) == sorted(i["id"] for i in items)


def test_an_item_says_where_when_and_why(runs, tmp_path):
    out = exported(runs, tmp_path, methods=["kcenter"])
    picks = pq.read_table(runs / "run/selection/kcenter.parquet").to_pylist()
    listed = read(out / "items.json")["features"]
    assert [i["properties"]["foveate:tile_id"] for i in listed] == [p["tile_id"] for p in picks]
    for item, pick in zip(listed, picks, strict=True):
        own = item["properties"]
        i = int(pick["scene"][1])
        assert own["datetime"] == f"2024-0{5 + i}-01T10:00:00Z"
        assert (own["foveate:rank"], own["foveate:method"]) == (pick["rank"], "kcenter")
        assert own["foveate:window"] == [pick[k] for k in ("y", "x", "h", "w")]
        assert own["eo:cloud_cover"] == 5
        assert own["proj:code"] == "EPSG:32633"
        affine = box(i).affine
        assert own["proj:transform"][2] == affine.c + 10 * pick["x"]
        assert own["proj:transform"][5] == affine.f - 10 * pick["y"]
        shape = shapely.geometry.shape(item["geometry"])
        assert outline(box(i)).buffer(1e-6).covers(shape)
        assert np.allclose(item["bbox"], shape.bounds, atol=1e-6)
        assert list(item["assets"]) == ["red", "nir"]
        for asset in item["assets"].values():
            assert (out / asset["href"]).resolve().is_file()
        came = next(link for link in item["links"] if link["rel"] == "derived_from")
        assert read((out / came["href"]).resolve())["id"] == pick["scene"]


def test_others_read_the_catalogue(runs, tmp_path):
    pystac = pytest.importorskip("pystac")
    out = exported(runs, tmp_path)
    catalogue = pystac.Collection.from_file(str(out / "collection.json"))
    items = list(catalogue.get_items())
    assert len(items) == 8
    assert all(Path(a.get_absolute_href()).is_file() for i in items for a in i.assets.values())
    rustac = pytest.importorskip("rustac")
    found = rustac.read_sync(str(out / "items.json"))["features"]
    rustac.write_sync(str(tmp_path / "t.parquet"), found)
    geopandas = pytest.importorskip("geopandas")
    assert len(geopandas.read_parquet(tmp_path / "t.parquet")) == 8


@pytest.mark.parametrize("name", ["collection.json", "items.json"])
def test_chosen_tiles_are_not_taken_for_whole_scenes(runs, tmp_path, name):
    out = exported(runs, tmp_path, methods=["kcenter"])
    with pytest.raises(DataError, match=r"is a tile that foveate selected.*--to chips"):
        open_pool(str(out / name), search=Search(("red", "nir")), tile=32)


def test_tiles_without_a_date_need_one(runs, tmp_path):
    with pytest.raises(ParameterError, match="the tiles have no date"):
        exported(runs, tmp_path, "vectors", "embeddings")
    assert not (tmp_path / "embeddings").exists()
    with pytest.raises(ParameterError, match="a start and an end"):
        exported(runs, tmp_path, "vectors", "embeddings", datetime="2024/..")
    out = exported(runs, tmp_path, "vectors", "embeddings", datetime="2024-05-01/2024-05-31")
    own = read(out / "item.json")["properties"]
    assert own["datetime"] is None
    assert own["start_datetime"] == "2024-05-01T00:00:00Z"
    with pytest.raises(ParameterError, match="--datetime with --to csv"):
        export_run(runs / "run", "csv", tmp_path / "a.csv", datetime="2024")


@pytest.mark.parametrize(("name", "date"), [("run", ""), ("vectors", "2024-05-31")])
def test_embeddings_are_described_as_the_extension_asks(runs, tmp_path, name, date):
    out = exported(runs, tmp_path, name, "embeddings", datetime=date)
    vectors = load_embeddings(runs / name)
    collection, item = read(out / "collection.json"), read(out / "item.json")
    for content in (collection, item):
        check_core(content)
        check_embeddings(content)
    assert collection["emb:type"] == "chip"
    assert collection["emb:dimensions"] == vectors.x.shape[1]
    assert (
        collection["data_type"]
        == item["properties"]["emb:quantization"]["quantized_dtype"]
        == "float16"
    )
    layout = collection["emb:chip_layout"]
    assert layout["layout_type"] == ("regular_grid" if name == "run" else "variable_grid")
    assert read(out / "model.json")["fingerprint"] == vectors.spec.fingerprint
    source = next(link for link in collection["links"] if link["rel"] == "emb:source-data")
    assert (out / source["href"]).resolve().exists()
    raw = pq.ParquetFile(out / "embeddings.parquet")
    emb = json.loads(raw.schema_arrow.metadata[b"emb"])
    assert {k: emb[k] for k in ("emb:type", "emb:dimensions", "data_type")} == {
        k: collection[k] for k in ("emb:type", "emb:dimensions", "data_type")
    }
    assert raw.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_schema_that_is_not_met_is_seen(runs, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    out = exported(runs, tmp_path, to="embeddings")
    item, collection = read(out / "item.json"), read(out / "collection.json")
    item["assets"]["vectors"] = item["assets"].pop("embeddings")
    collection["links"] = [k for k in collection["links"] if k["rel"] != "emb:model"]
    for content in (item, collection):
        with pytest.raises(jsonschema.ValidationError):
            check_embeddings(content)


def test_the_vectors_are_read_back_bit_for_bit(runs, tmp_path):
    out = exported(runs, tmp_path, to="embeddings")
    stored = load_embeddings(runs / "run")
    pool, found = open_embeddings(out / "embeddings.parquet")
    assert found.ids.tolist() == stored.ids.tolist()
    assert found.x.dtype == stored.x.dtype == np.float16
    assert np.array_equal(found.x.view(np.uint16), np.asarray(stored.x).view(np.uint16))
    assert pool.georeferenced
    answer = here(
        "curate", out, "--method", "kcenter", "--budget", "4",
        "--max-overlap", "1", "--out", tmp_path / "again",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    again, first = (
        pq.read_table(root / "selection/kcenter.parquet")["tile_id"].to_pylist()
        for root in (tmp_path / "again", runs / "run")
    )
    assert again == first


def test_rows_lie_along_the_curve(runs, tmp_path):
    out = exported(runs, tmp_path, to="embeddings")
    export_run(runs / "run", "geoparquet", tmp_path / "picks.parquet")
    for path in (out / "embeddings.parquet", tmp_path / "picks.parquet"):
        table = pq.read_table(path)
        assert spatial_order(table["geometry"]).tolist() == list(range(len(table)))
        assert "bbox" in table.column_names


def test_what_has_no_place_or_no_vectors_is_refused(tmp_path, runs):
    rng = np.random.default_rng(0)
    (tmp_path / "nowhere").mkdir()
    write_cog(tmp_path / "nowhere/a.tif", rng.integers(1, 255, (3, 64, 64), np.uint8))
    common = ("--tile", 32, "--budget", "2", "--method", "random", "--out", tmp_path / "run")
    assert here("curate", tmp_path / "nowhere", *common).status == 0
    with pytest.raises(DataError, match="not georeferenced"):
        export_run(tmp_path / "run", "stac", tmp_path / "out", datetime="2024")
    with pytest.raises(DataError, match="holds no embeddings"):
        export_run(tmp_path / "run", "embeddings", tmp_path / "out", datetime="2024")
    with pytest.raises(ParameterError, match="--method kcenter with --to embeddings"):
        export_run(runs / "run", "embeddings", tmp_path / "out", ["kcenter"])
    assert not (tmp_path / "out").exists()


def dated(runs, out, **columns):
    """Embed the plain images with a table of columns of their two scenes."""
    table = out.with_suffix(".parquet")
    pq.write_table(pa.table({"scene": ["p0", "p1"], **columns}), table)
    common = ("--tile", 64, "--method", "kcenter", "--budget", "100%")
    answer = here("curate", runs / "plain", "--attributes", table, *common, "--out", out)
    assert answer.status == 0, answer.err
    return out


def test_columns_of_dates_and_decimals_are_written(runs, tmp_path):
    run = dated(
        runs, tmp_path / "run",
        date=[dt.date(2024, 1, 2)] * 2,
        seen=pa.array([dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC)] * 2),
        fine=pa.array([dt.datetime(2024, 1, 2)] * 2, pa.timestamp("ns")),  # noqa: DTZ001
        clock=[dt.time(1, 2)] * 2, price=[Decimal("1.50")] * 2, wait=[dt.timedelta(minutes=1)] * 2,
    )  # fmt: skip
    export_run(run, "stac", tmp_path / "stac", datetime="2024-01-02")
    for item in read(tmp_path / "stac/items.json")["features"]:
        check_core(item)
        own = item["properties"]
        found = [own[name] for name in ("date", "seen", "fine", "clock", "price", "wait")]
        assert found == [
            "2024-01-02", "2024-01-02T03:00:00Z", "2024-01-02T00:00:00Z", "01:02:00", 1.5, 60.0,
        ]  # fmt: skip


def test_embeddings_have_the_period_of_their_dates_in_utc(runs, tmp_path):
    run = dated(
        runs, tmp_path / "run", datetime=["2024-05-31T23:00:00-05:00", "2024-06-01T02:00:00Z"]
    )
    export_run(run, "embeddings", tmp_path / "vectors")
    own = read(tmp_path / "vectors/item.json")["properties"]
    assert (own["start_datetime"], own["end_datetime"]) == (
        "2024-06-01T02:00:00Z", "2024-06-01T04:00:00Z",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("datetime", "date"),
    [(["2024-01-01T00:00:00Z"] * 2, None),  # the column of items without a date is their start
     (["2024-01-15T12:00:00Z"] * 2, "2024-01-15T12:00:00Z")],
)  # fmt: skip
def test_an_item_keeps_its_period(runs, tmp_path, datetime, date):
    period = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-31T00:00:00Z"}
    columns = {name: [text] * 2 for name, text in period.items()}
    run = dated(runs, tmp_path / "run", datetime=datetime, **columns)
    export_run(run, "stac", tmp_path / "stac")
    for item in read(tmp_path / "stac/items.json")["features"]:
        check_core(item)
        assert item["properties"].items() >= {"datetime": date, **period}.items()
    extent = read(tmp_path / "stac/collection.json")["extent"]["temporal"]["interval"]
    assert extent == [list(period.values())]
    export_run(run, "embeddings", tmp_path / "vectors")
    own = read(tmp_path / "vectors/item.json")["properties"]
    assert own.items() >= {"datetime": None, **period}.items()


@pytest.mark.parametrize("to", ["stac", "embeddings"])
def test_a_date_that_cannot_be_read_is_quoted(runs, tmp_path, to):
    run = dated(runs, tmp_path / "run", datetime=["31.05.2024", "2024-02-30"])
    with pytest.raises(ParameterError, match=r"31\.05\.2024', which is not a date"):
        export_run(run, to, tmp_path / "out")
    export_run(run, to, tmp_path / "out", datetime="2024-05-31")


def test_a_box_over_the_antimeridian():
    both = shapely.MultiPolygon([shapely.box(179, -5, 180, 5), shapely.box(-180, -5, -178, 5)])
    assert box_of(both) == [179, -5, -178, 5]
    assert box_of(shapely.box(-180, -5, 180, 5)) == [-180, -5, 180, 5]
    apart = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)])
    assert box_of(apart) == [0, 0, 3, 1]
