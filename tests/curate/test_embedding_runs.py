"""Curate runs on files of embeddings: no imagery, and everything that follows."""

from __future__ import annotations

import json
import re

import embedding_files as made
import numpy as np
import pyarrow.parquet as pq
import pytest

from foveate.curate import CurateJob, rank
from foveate.errors import DataError, ParameterError
from foveate.export import export_run
from foveate.pool.embedding_file import EmbeddingFile
from foveate.report import write_report
from foveate.select import forecast


def job(path, **given):
    given = {"methods": ["kcenter"], "budget": "20%"} | given
    return CurateJob(images=[str(path)], **given)


def picks(out, method="kcenter"):
    return pq.read_table(out / f"selection/{method}.parquet")["tile_id"].to_pylist()


@pytest.mark.parametrize("layout", made.LAYOUTS)
def test_each_layout_is_ranked_shown_and_exported(tmp_path, layout):
    path = made.write(tmp_path / "in", layout)
    column = "small" if layout == "table" else None
    out = tmp_path / "run"
    kind = job(path, column=column, methods=["kcenter", "fa", "random"])
    assert kind.run(out, report=write_report).worked
    assert not kind.run(out, report=write_report).worked
    file = EmbeddingFile.open([path], column)
    pool = file.pool()
    own = rank(pool, "kcenter", embeddings=file.vectors(pool)).at("20%")
    assert picks(out) == own.values.tolist()
    page = (out / "report.html").read_text("utf-8")
    assert "a file of embeddings" in page
    assert all(name in page for name in picks(out)[:3])
    export_run(out, "csv", tmp_path / "a.csv")
    if layout == "table":
        with pytest.raises(DataError, match=r"not georeferenced.*--to csv for the ids"):
            export_run(out, "geojson", tmp_path / "a.geojson")
        return
    export_run(out, "geoparquet", tmp_path / "a.parquet")
    rows = [
        r for r in pq.read_table(tmp_path / "a.parquet").to_pylist() if r["method"] == "kcenter"
    ]
    assert [r["tile_id"] for r in sorted(rows, key=lambda r: r["rank"])] == picks(out)
    export_run(out, "geojson", tmp_path / "a.geojson", methods=["kcenter"])
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert [f["properties"]["tile_id"] for f in features] == picks(out)
    assert {f["geometry"]["type"] for f in features} == {"Polygon"}


def test_the_order_and_the_type_of_the_file_do_not_matter(tmp_path):
    table = made.earth_index(40, np.random.default_rng(0))
    shuffled = table.take(np.random.default_rng(1).permutation(40))
    found = []
    for i, one in enumerate((table, shuffled)):
        pq.write_table(one, tmp_path / f"{i}.parquet", row_group_size=7)
        job(tmp_path / f"{i}.parquet").run(tmp_path / f"run{i}")
        found.append(picks(tmp_path / f"run{i}"))
    assert found[0] == found[1]


def test_a_run_of_embed_is_ranked_as_its_images_are(tmp_path):
    run = made.write(tmp_path, "shards")
    job(run).run(tmp_path / "a")
    job(tmp_path / "images", tile=16).run(tmp_path / "b")
    assert picks(tmp_path / "a") == picks(tmp_path / "b")


def test_settings_of_imagery_are_refused(tmp_path):
    path = made.write(tmp_path, "clay")
    for name, value in (("tile", 64), ("model", "colours"), ("bands", [1]), ("masks", ["m"])):
        with pytest.raises(ParameterError, match="has no pixels"):
            job(path, **{name: value}).check()
    job(path, preset="paper").check()
    CurateJob.with_preset("paper", images=[str(path)], methods=["random"]).check()
    (tmp_path / "images").mkdir()
    with pytest.raises(ParameterError, match="images have no columns"):
        job(tmp_path / "images", column="x").check()


@pytest.mark.parametrize(
    ("name", "value"), [("tile", 256), ("edge", "shift"), ("min_valid", 0.5), ("model", "builtin")]
)
def test_settings_of_imagery_that_are_typed_are_refused_also_with_the_default(
    tmp_path, name, value
):
    path = made.write(tmp_path, "clay")
    assert type(value)(CurateJob.model_fields[name].default) == value
    with pytest.raises(ParameterError, match="has no pixels"):
        CurateJob.typed(images=[str(path)], **{name: value})
    with pytest.raises(ParameterError, match="has no pixels"):
        CurateJob.typed(images=[str(path)], preset="paper", **{name: value})
    whole = CurateJob.typed(images=[str(path)], preset="paper", methods=["random"])
    CurateJob(**whole.model_dump(mode="json")).check()  # as stored in run.json


def test_settings_that_are_typed_without_those_that_they_need_are_refused(tmp_path):
    for images in (made.write(tmp_path, "clay"), tmp_path):
        with pytest.raises(ParameterError, match="no effect without --quality"):
            CurateJob.typed(images=[str(images)], max_bad=0.2)


def test_without_a_method_the_default_reads_the_vectors(tmp_path):
    path = made.write(tmp_path, "clay")
    CurateJob(images=[str(path)]).run(tmp_path / "run")
    assert len(picks(tmp_path / "run", "facility")) == 4


def test_random_reads_no_vectors(tmp_path):
    path = made.write(tmp_path, "clay")
    CurateJob(images=[str(path)], methods=["random"]).run(tmp_path / "run")
    assert len(picks(tmp_path / "run", "random")) == 4
    assert not (tmp_path / "run/embeddings").exists()


def test_points_are_exported(tmp_path):
    import pyarrow as pa
    import shapely

    table = pa.table({
        "e": made.fixed(np.random.default_rng(0).normal(size=(9, 3))),
        "geometry": pa.array(shapely.to_wkb(shapely.points(np.arange(9.0), 1))),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    job(tmp_path / "a.parquet", budget="3").run(tmp_path / "run", report=write_report)
    export_run(tmp_path / "run", "geojson", tmp_path / "a.geojson")
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert {f["geometry"]["type"] for f in features} == {"Point"}


def test_hours_of_k_center_are_said_with_what_spares_them(tmp_path, monkeypatch, caplog):
    path = made.write(tmp_path / "in", "earth-index")
    monkeypatch.setattr(forecast, "_speeds", lambda: (0.1, 0.1))
    with caplog.at_level("INFO", "foveate"):
        job(path).run(tmp_path / "exact")
        assert re.search(r"kcenter: expected time about \d+ (hours|days)", caplog.text)
        assert "--option kcenter.exact=1000 reduces it to about" in caplog.text
        caplog.clear()
        job(path, options={"kcenter": {"exact": 3}}).run(tmp_path / "cells")
        assert "kcenter.exact" not in caplog.text
    assert picks(tmp_path / "cells")[:3] == picks(tmp_path / "exact")[:3]
