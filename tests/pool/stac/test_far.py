"""Item collections and tables read over HTTP, with imagery beside them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from stac_files import BANDS, write_catalogue, write_list, write_table
from web_files import serving

from foveate import remote
from foveate.errors import DataError
from foveate.pool import open_pool
from foveate.pool.stac import Search
from foveate.raster import close_files

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """A catalogue, and its items as a collection and as a table, with relative hrefs."""
    root = tmp_path_factory.mktemp("near")
    catalogue, items = write_catalogue(root)
    listed = write_list(root, items)
    write_table(root / "items.parquet", json.loads(listed.read_text())["features"])
    return root, catalogue.name, listed.name


@pytest.fixture
def web(near):
    root = near[0]
    remote.forget()
    files = {f"/{p.relative_to(root)}": p.read_bytes() for p in root.rglob("*") if p.is_file()}
    with serving(files) as web:
        yield web
    close_files()
    remote.forget()


def opened(path):
    return open_pool(str(path), search=Search(BANDS), tile=32)


def test_remote_items_equal_local_items(near, web):
    root, *names = near
    whole = opened(root / names[0])
    for name in (*names, "items.parquet"):
        far = opened(f"{web.url}/{name}")
        assert far.ids.tolist() == whole.ids.tolist()
        assert far.scenes[0].uri.startswith(web.url)
        for remote_tile, local_tile in zip(far.read(), whole.read(), strict=True):
            assert np.array_equal(remote_tile.data, local_tile.data)
    asked = [entry[1:4] for entry in web.gets() if entry[1] == "/items.parquet"]
    assert len(asked) == len(set(asked)) == 1  # a small table is read once


def test_bad_remote_tables_raise_with_their_name(near, web):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["a"], "geometry": [shapely.Point(0, 0).wkb]}), sink)
    web.files["/vectors.parquet"] = sink.getvalue().to_pybytes()
    with pytest.raises(DataError, match=r"vectors\.parquet' is not a table of STAC items"):
        opened(f"{web.url}/vectors.parquet")
    web.files["/broken.parquet"] = b"PAR1 and no more"
    with pytest.raises(DataError, match=r"broken\.parquet' is not a Parquet file"):
        opened(f"{web.url}/broken.parquet")
    with pytest.raises(DataError, match=r"none\.parquet': it does not exist"):
        opened(f"{web.url}/none.parquet")
