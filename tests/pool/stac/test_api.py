"""Pools from STAC API collections, with a local test server."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("pystac_client")

from stac_files import BANDS, write_catalogue, write_list
from stac_server import CONFORMS, stac_api

from foveate.errors import DataError, MissingExtraError
from foveate.pool import open_pool
from foveate.pool.stac import Search
from foveate.pool.stac import api as api_module
from foveate.pool.stac.items import resolve

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def served(tmp_path):
    """A catalogue, and its items with absolute hrefs, as an API returns them."""
    catalogue, items = write_catalogue(tmp_path, 5)
    listed = json.loads(write_list(tmp_path, items).read_text())["features"]
    for item in listed:
        for asset in item["assets"].values():
            asset["href"] = resolve(asset["href"], str(tmp_path / "items.json"))
    return catalogue, listed


def opened(path, **search):
    return open_pool(str(path), search=Search(BANDS, **search), tile=64, measure=False)


@pytest.mark.parametrize("methods", [("POST", "GET"), ("GET",), ("POST",)])
def test_collection_search_follows_pages(served, methods):
    catalogue, items = served
    with stac_api(items, methods=methods) as (root, asked):
        pool = opened(f"{root}/collections/s2")
    assert pool.ids.tolist() == opened(catalogue).ids.tolist()
    assert len(asked) == 3  # pages of two
    assert {method for method, _ in asked} == {"POST" if "POST" in methods else "GET"}


def test_api_filters_by_date_and_by_cloud_cover_if_supported(served):
    _, items = served
    with stac_api(items) as (root, asked):
        pool = opened(f"{root}/collections/s2/", datetime="2024-06/..", max_cloud=20)
    assert [s.scene_id for s in pool.scenes] == ["S1", "S2"]
    query = asked[0][1]
    assert query["datetime"].startswith("2024-06-01T00:00:00")
    assert query["query"] == {"eo:cloud_cover": {"lte": 20}}
    with stac_api(items, conforms=CONFORMS) as (root, asked):  # without the query extension
        pool = opened(f"{root}/collections/s2", max_cloud=20)
    assert [s.scene_id for s in pool.scenes] == ["S0", "S1", "S2"]
    assert "query" not in asked[0][1]


def test_empty_search_and_missing_collection_raise_different_errors(served):
    _, items = served
    with stac_api(items) as (root, _):
        with pytest.raises(DataError, match="no item in"):
            opened(f"{root}/collections/s2", datetime="1999")
        with pytest.raises(DataError, match="has no collection 's3'"):
            opened(f"{root}/collections/s3")


def test_failing_or_closed_server_raises(served):
    _, items = served
    with (
        stac_api(items, fail=500) as (root, _),
        pytest.raises(DataError, match="it responds with 500"),
    ):
        opened(f"{root}/collections/s2")
    with pytest.raises(DataError, match="it does not respond") as failed:
        opened(f"{root}/collections/s2")  # the server is closed
    assert "Traceback" not in str(failed.value)
    with stac_api(items, conforms=CONFORMS[:1]) as (root, _), pytest.raises(
        DataError, match="does not support item search"
    ):  # fmt: skip
        opened(f"{root}/collections/s2")


def test_url_that_is_not_a_stac_api_raises(served):
    _, items = served
    with stac_api(items) as (root, _), pytest.raises(DataError, match="responds with 404"):
        opened(f"{root}/else/collections/s2")


def test_too_many_items_raise_with_hint_to_restrict_search(served, monkeypatch):
    _, items = served
    monkeypatch.setattr(api_module, "MAX_ITEMS", 3)
    with (
        stac_api(items) as (root, _),
        pytest.raises(DataError, match=r"finds over 3 items.*--bbox"),
    ):
        opened(f"{root}/collections/s2")


def test_missing_extra_raises_with_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    with pytest.raises(MissingExtraError, match=r"foveate\[stac\]"):
        opened("https://127.0.0.1:9/collections/s2")


def test_key_in_url_does_not_appear_in_errors_or_logs(caplog):
    with pytest.raises(DataError, match="does not respond") as failed:
        opened("http://127.0.0.1:9/catalog.json?api_key=planted")
    assert "planted" not in str(failed.value)
    assert "planted" not in caplog.text
