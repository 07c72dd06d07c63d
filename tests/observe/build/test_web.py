"""Pairs of an archive behind a web server, read by ranges."""

import json

import pyarrow.parquet as pq
import pytest
from command import here
from pair_archive import EXPECTED, KEPT, OPTIONS, write_archive
from trees import digest_tree
from web_files import serving

from foveate import remote

pytest.importorskip("osmium")
pytest.importorskip("obstore")
pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture(autouse=True)
def _forget():
    remote.forget()
    yield
    remote.forget()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    root = tmp_path_factory.mktemp("local")
    archive = write_archive(root / "archive")
    answer = here("observe", "build", *archive.sources, *OPTIONS, "--out", root / "pairs")
    assert answer.status == 0, answer.err
    return root / "pairs"


def _served(root, web):
    """Write the archive with addresses on a server, and serve its files."""
    archive = write_archive(root, base=web.url)
    for folder in ("hr", "lr"):
        for file in (root / folder).iterdir():
            web.files[f"/{folder}/{file.name}"] = file.read_bytes()
    return archive


def _build(archive, out, *options):
    return here("observe", "build", *archive.sources, *OPTIONS, "--out", out, *options)


def test_pairs_over_the_web_are_those_of_the_files(local, tmp_path):
    with serving(latency=0.002) as web:
        archive = _served(tmp_path / "archive", web)
        answer = _build(archive, tmp_path / "pairs")
        assert answer.status == 0, answer.err
        gets = [(path, start, end) for _, path, start, end, status in web.gets() if status < 400]
    for folder in ("hr", "lr"):
        assert digest_tree(tmp_path / "pairs" / folder) == digest_tree(local / folder)
    rows = pq.read_table(tmp_path / "pairs/manifest.parquet").to_pylist()
    assert {row["anchor"]: row["why"] for row in rows if row["why"]} == EXPECTED
    assert sum(row["kept"] for row in rows) == len(KEPT)
    assert not any("cloudy" in path or "old" in path for path, _, _ in gets)
    assert len(set(gets)) == len(gets)  # no range twice
    assert "Nothing to do" in _build(archive, tmp_path / "pairs").out


def test_a_server_that_fails_stops_the_build_and_drops_no_pair(local, tmp_path):
    with serving() as web:
        archive = _served(tmp_path / "archive", web)
        web.faults += [("/hr/F-2023.tif", 403)] * 40
        out = tmp_path / "pairs"
        answer = _build(archive, out)
        assert answer.status == 1
        assert "F-2023.tif" in answer.err
        assert "permission denied" in answer.err
        assert not (out / "manifest.parquet").exists()
        assert {file.suffix for file in out.rglob("*.tif*")} <= {".tif"}
        web.faults.clear()
        remote.forget()
        answer = _build(archive, out)
        assert answer.status == 0, answer.err
    for folder in ("hr", "lr"):
        assert digest_tree(out / folder) == digest_tree(local / folder)


def test_a_busy_server_is_asked_again(local, tmp_path):
    with serving() as web:
        archive = _served(tmp_path / "archive", web)
        web.faults += [("/hr/A-2023.tif", 503), ("/lr/near-red.tif", "cut")]
        assert _build(archive, tmp_path / "pairs").status == 0
    for folder in ("hr", "lr"):
        assert digest_tree(tmp_path / "pairs" / folder) == digest_tree(local / folder)


def test_credentials_of_addresses_enter_no_run(tmp_path):
    with serving() as web:
        archive = _served(tmp_path / "archive", web)
        for file in (tmp_path / "archive/hr").glob("*.json"):
            content = file.read_text().replace(".tif", ".tif?sig=OPENSESAME")
            file.write_text(content)
        answer = _build(archive, tmp_path / "pairs")
        assert answer.status == 0, answer.err
        assert any("OPENSESAME" in query for query in web.queries)
    for file in (tmp_path / "pairs").rglob("*"):
        assert not file.is_file() or b"OPENSESAME" not in file.read_bytes()
    items = json.loads((tmp_path / "pairs/work/items.json").read_text())
    assert items["hr"]
