"""Commands on an `s3://` pool, served by moto on loopback."""

import json
import logging

import boto3
import pytest
from cogs import pixels, write
from command import here

from foveate import remote
from foveate.files import read_parquet
from foveate.raster import close_files
from foveate.remote import stores

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
SECRET = "planted-s3cret"  # noqa: S105


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    root = tmp_path_factory.mktemp("pool")
    for k in range(3):
        data = pixels(k, 3, 128)
        write(root / f"images/s{k}.tif", data, compress="deflate")
        write(root / f"masks/s{k}.tif", (data[:1] > 99).astype("uint8"), compress="deflate")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        server.start()
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIDPLANTED", "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="pool")
        for file in root.rglob("*.tif"):
            client.upload_file(str(file), "pool", file.relative_to(root).as_posix())
        yield root
        server.stop()


@pytest.fixture(autouse=True)
def _fresh():
    remote.forget()
    yield
    close_files()
    remote.forget()
    stores._opened.cache_clear()


def test_curate_ranks_a_bucket_as_a_folder_and_no_secret_is_kept(bucket, tmp_path):
    common = ("--tile", 32, "--budget", "25%", "--method", "fd", "--seed", 1)
    far = here(
        "curate", "s3://pool/images/", "--masks", "s3://pool/masks/", *common,
        "--out", tmp_path / "far",
    )  # fmt: skip
    near = here(
        "curate",
        bucket / "images",
        "--masks",
        bucket / "masks",
        *common,
        "--out",
        tmp_path / "near",
    )
    assert (far.status, near.status) == (0, 0), far.err
    assert "Fetched of remote files" in far.err
    record = json.loads((tmp_path / "far/run.json").read_text())
    assert record["job"]["images"] == ["s3://pool/images/"]
    assert record["fetched"]["bytes"] > 0
    picks = [
        read_parquet(tmp_path / run / "selection/fd.parquet")["tile_id"] for run in ("far", "near")
    ]
    assert picks[0] == picks[1]
    files = [p.read_bytes() for p in (tmp_path / "far").rglob("*") if p.is_file()]
    assert not any(s in f for f in files for s in (SECRET.encode(), b"AKIDPLANTED"))
    assert SECRET not in far.out + far.err

    again = here(
        "curate", "s3://pool/images/", "--masks", "s3://pool/masks/", *common,
        "--out", tmp_path / "far",
    )  # fmt: skip
    assert again.status == 0
    assert "Fetched of remote files: 0 bytes" in again.err


@pytest.mark.parametrize(
    ("place", "said"),
    [("s3://pool/none/", "nothing under"), ("s3://nobody/x/", "bucket is not there"),
     ("s3://pool/none.tif", "it is not there")],
)  # fmt: skip
def test_place_that_is_not_there_is_named(bucket, tmp_path, place, said):
    answer = here("embed", place, "--tile", 32, "--out", tmp_path / "run")
    assert answer.status == 1
    assert said in answer.err
    assert place in answer.err
    assert SECRET not in answer.err
    assert not (tmp_path / "run").exists()
