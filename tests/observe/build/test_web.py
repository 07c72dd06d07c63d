"""Pairs of an archive on a web server: catalogues, tables and imagery, read by ranges."""

import json

import pyarrow.parquet as pq
import pytest
from command import here
from pair_archive import EXPECTED, KEPT, OPTIONS
from stac_server import stac_api
from trees import digest_tree
from web_files import serving

from foveate import remote
from foveate.pool.stac import Search
from foveate.pool.stac.items import read_items, resolve

pytest.importorskip("osmium")
pytest.importorskip("obstore")
pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
PART = "part.osm.pbf"  # a smaller extract: six forests and two lakes


@pytest.fixture(autouse=True)
def _forget():
    remote.forget()
    yield
    remote.forget()


@pytest.fixture
def web(archive):
    """A server with all files of the archive."""
    root = archive.root
    files = [*root.glob("hr/*"), *root.glob("lr/*"), archive.lr]
    with serving({f"/{p.relative_to(root)}": p.read_bytes() for p in files}) as web:
        yield web


def _build(archive, out, hr, lr, *options, anchors="extract.osm.pbf"):
    return here(
        "observe", "build", "--anchors", archive.root / anchors, "--rules", archive.rules,
        "--hr", hr, "--lr", lr, *OPTIONS, "--out", out, *options,
    )  # fmt: skip


def _rows(out):
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    columns = ("why", "hr_items", "lr_items", "days", "cloud")
    return {row["anchor"]: [str(row[name]) for name in columns] for row in rows}


def test_remote_pairs_equal_local_pairs(archive, built, web, tmp_path):
    web.latency = 0.002
    arguments = (archive, tmp_path / "pairs", f"{web.url}/hr/catalog.json", f"{web.url}/lr.parquet")
    answer = _build(*arguments)
    assert answer.status == 0, answer.err
    gets = [entry[1:4] for entry in web.gets() if entry[4] < 400 and entry[1].endswith(".tif")]
    for folder in ("hr", "lr"):
        assert digest_tree(tmp_path / "pairs" / folder) == digest_tree(built[0] / folder)
    rows = pq.read_table(tmp_path / "pairs/manifest.parquet").to_pylist()
    assert {row["anchor"]: row["why"] for row in rows if row["why"]} == EXPECTED
    assert sum(row["kept"] for row in rows) == len(KEPT)
    assert not any("cloudy" in path or "old" in path for path, _, _ in gets)
    assert len(set(gets)) == len(gets)  # no range is requested twice
    assert "Nothing to do" in _build(*arguments).out


def test_server_error_stops_the_build_without_dropping_pairs(archive, built, web, tmp_path):
    out = tmp_path / "pairs"
    arguments = (archive, out, f"{web.url}/hr/catalog.json", f"{web.url}/lr.parquet")
    web.faults += [("/hr/F-2023.tif", 403)] * 40
    answer = _build(*arguments)
    assert answer.status == 1
    assert "F-2023.tif" in answer.err
    assert "permission denied" in answer.err
    assert not (out / "manifest.parquet").exists()
    assert {file.suffix for file in out.rglob("*.tif*")} <= {".tif"}
    # Temporary errors are retried: a busy server and a truncated response.
    web.faults[:] = [("/hr/F-2023.tif", 503), ("/lr/later-red.tif", "cut")]
    remote.forget()
    answer = _build(*arguments)
    assert answer.status == 0, answer.err
    assert not web.faults
    for folder in ("hr", "lr"):
        assert digest_tree(out / folder) == digest_tree(built[0] / folder)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_workers_write_the_same_pairs_and_no_credentials(archive, built, web, tmp_path, workers):
    for path in [path for path in web.files if path.startswith("/hr/") and "json" in path]:
        web.files[path] = web.files[path].replace(b'.tif"', b'.tif?sig=OPENSESAME"')
    out = tmp_path / "pairs"
    answer = _build(
        archive, out, f"{web.url}/hr/catalog.json", archive.lr, "--workers", workers, anchors=PART
    )
    assert answer.status == 0, answer.err
    assert "Fetched from remote files" in answer.err
    asked = [query for query in web.queries if query]
    assert "sig=OPENSESAME" in asked
    for file in out.rglob("*"):
        assert not file.is_file() or b"OPENSESAME" not in file.read_bytes()
    whole = _rows(built[0])
    assert _rows(out) == {anchor: whole[anchor] for anchor in _rows(out)}
    assert len(_rows(out)) == 8


def test_catalogues_can_be_api_collections(archive, built, web, tmp_path):
    items = []
    for name, path in (("hr", archive.hr), ("lr", archive.lr)):
        for item in read_items(str(path), Search()):
            base = f"{web.url}/{'hr/' if name == 'hr' else ''}items.json"
            assets = {
                key: {**asset, "href": resolve(asset["href"], base)}
                for key, asset in item.content["assets"].items()
            }
            items.append({**json.loads(json.dumps(item.content)), "collection": name,
                          "assets": assets, "links": []})  # fmt: skip
    out = tmp_path / "pairs"
    with stac_api(items) as (root, asked):
        catalogues = (f"{root}/collections/hr", f"{root}/collections/lr")
        answer = _build(archive, out, *catalogues, anchors=PART)
        assert answer.status == 0, answer.err
        assert len(asked) > 2  # several pages
        assert all(query["datetime"] for _, query in asked if "lr" in query["collections"])
    whole = _rows(built[0])
    assert _rows(out) == {anchor: whole[anchor] for anchor in _rows(out)}
    for file in out.glob("hr/**/*.tif"):
        assert file.read_bytes() == (built[0] / file.relative_to(out)).read_bytes()
