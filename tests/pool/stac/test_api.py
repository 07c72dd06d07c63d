"""Collections of STAC APIs, on a server of the loopback."""

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
    """Items as an API gives them: with absolute addresses; and the catalogue that they are of."""
    catalogue, items = write_catalogue(tmp_path, 5)
    listed = json.loads(write_list(tmp_path, items).read_text())["features"]
    for item in listed:
        for one in item["assets"].values():
            one["href"] = resolve(one["href"], str(tmp_path / "items.json"))
    return catalogue, listed


def opened(where, **search):
    return open_pool(str(where), search=Search(BANDS, **search), tile=64, measure=False)


@pytest.mark.parametrize("methods", [("POST", "GET"), ("GET",), ("POST",)])
def test_a_collection_is_searched_page_by_page(served, methods):
    catalogue, items = served
    with stac_api(items, methods=methods) as (root, asked):
        pool = opened(f"{root}/collections/s2")
    assert pool.ids.tolist() == opened(catalogue).ids.tolist()
    assert len(asked) == 3  # pages of two
    assert {method for method, _ in asked} == {"POST" if "POST" in methods else "GET"}


def test_date_and_clouds_are_left_to_the_api(served):
    _, items = served
    with stac_api(items) as (root, asked):
        pool = opened(f"{root}/collections/s2/", datetime="2024-06/..", max_cloud=20)
    assert [s.scene_id for s in pool.scenes] == ["S1", "S2"]
    query = asked[0][1]
    assert query["datetime"].startswith("2024-06-01T00:00:00")
    assert query["query"] == {"eo:cloud_cover": {"lte": 20}}
    with stac_api(items, conforms=CONFORMS) as (root, asked):  # which cannot filter
        pool = opened(f"{root}/collections/s2", max_cloud=20)
    assert [s.scene_id for s in pool.scenes] == ["S0", "S1", "S2"]
    assert "query" not in asked[0][1]


def test_a_search_without_items_is_told_from_a_collection_that_is_not(served):
    _, items = served
    with stac_api(items) as (root, _):
        with pytest.raises(DataError, match="no item in"):
            opened(f"{root}/collections/s2", datetime="1999")
        with pytest.raises(DataError, match="has no collection 's3'"):
            opened(f"{root}/collections/s3")


def test_what_does_not_answer_is_an_error(served):
    _, items = served
    with stac_api(items, fail=500) as (root, _), pytest.raises(DataError, match="it answers 500"):
        opened(f"{root}/collections/s2")
    with pytest.raises(DataError, match="it does not answer") as failed:
        opened(f"{root}/collections/s2")  # which has been closed
    assert "Traceback" not in str(failed.value)
    with stac_api(items, conforms=CONFORMS[:1]) as (root, _), pytest.raises(
        DataError, match="has no search of items"
    ):  # fmt: skip
        opened(f"{root}/collections/s2")


def test_what_is_no_api_of_stac_is_an_error(served):
    _, items = served
    with stac_api(items) as (root, _), pytest.raises(DataError, match="answers 404"):
        opened(f"{root}/else/collections/s2")


def test_too_many_items_are_a_search_to_be_narrowed(served, monkeypatch):
    _, items = served
    monkeypatch.setattr(api_module, "MOST", 3)
    with (
        stac_api(items) as (root, _),
        pytest.raises(DataError, match=r"finds over 3 items.*--bbox"),
    ):
        opened(f"{root}/collections/s2")


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    with pytest.raises(MissingExtraError, match=r"foveate\[stac\]"):
        opened("https://127.0.0.1:9/collections/s2")


def test_a_key_in_an_address_is_in_no_error_and_no_log(caplog):
    with pytest.raises(DataError, match="does not answer") as failed:
        opened("http://127.0.0.1:9/catalog.json?api_key=planted")
    assert "planted" not in str(failed.value)
    assert "planted" not in caplog.text
