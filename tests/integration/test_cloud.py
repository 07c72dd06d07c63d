"""Commands on an `s3://` pool, served by moto on loopback: as on the same files here."""

import json
import logging
import os
import shutil

import boto3
import numpy as np
import pytest
from affine import Affine
from command import here
from observing import observing  # noqa: F401
from odc.geo.geobox import GeoBox
from stac_files import write_catalogue
from web_files import serving

import foveate as fv
from foveate import remote
from foveate.files import read_parquet
from foveate.raster import close_files, write_cog
from foveate.remote import stores
from foveate.testing.tiny import tiny_model

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
SECRET = "planted-s3cret"  # noqa: S105
SIDE = 96


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """Scenes with masks."""
    root = tmp_path_factory.mktemp("near")
    assert here("world", "--out", root, "--scenes", 3, "--size", SIDE).status == 0
    return root


@pytest.fixture(scope="module")
def far(near):
    """The same in a bucket; credentials for it are in the environment."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIDPLANTED", "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="pool")
        write_catalogue(near / "stac")
        for file in (p for p in near.rglob("*") if p.is_file()):
            client.upload_file(str(file), "pool", file.relative_to(near).as_posix())
        yield "s3://pool"
    server.stop()


@pytest.fixture(scope="module")
def upload(far):
    """Puts a file into the bucket, under a key."""
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return lambda file, key: client.upload_file(str(file), "pool", key)


@pytest.fixture(scope="module")
def probe(near, tmp_path_factory):
    """A probe for tiles of the scenes."""
    found = fv.embed(fv.open_pool(str(near / "images"), tile=32), fv.load_model("builtin"))
    varied = found.x[:, found.x.astype(float).var(axis=0).argmax()]
    labels = (varied > np.median(varied)).astype(int)
    file = tmp_path_factory.mktemp("probe") / "probe.safetensors"
    fv.fit_probe(found.x, labels, ["dry", "wet"], spec=found.spec).save(file)
    return file


@pytest.fixture(autouse=True)
def _fresh():
    remote.forget()
    yield
    close_files()
    remote.forget()
    stores._cached_store.cache_clear()


def test_curate_ranks_a_bucket_as_a_folder_and_no_secret_is_kept(near, far, tmp_path):
    def curate(root, out):
        return here(
            "curate", f"{root}/images/", "--masks", f"{root}/masks/", "--tile", 32,
            "--budget", "25%", "--method", "fd", "--seed", 1, "--out", tmp_path / out,
        )  # fmt: skip

    answers = curate(far, "far"), curate(near, "near")
    assert [answer.status for answer in answers] == [0, 0], answers[0].err
    assert "Fetched from remote files" in answers[0].err
    record = json.loads((tmp_path / "far/run.json").read_text())
    assert record["job"]["images"] == ["s3://pool/images/"]
    assert record["fetched"]["bytes"] > 0
    picks = [
        read_parquet(tmp_path / run / "selection/fd.parquet")["tile_id"] for run in ("far", "near")
    ]
    assert picks[0] == picks[1]
    files = [p.read_bytes() for p in (tmp_path / "far").rglob("*") if p.is_file()]
    assert not any(s in f for f in files for s in (SECRET.encode(), b"AKIDPLANTED"))
    assert SECRET not in answers[0].out + answers[0].err

    again = curate(far, "far")
    assert again.status == 0
    assert "Fetched from remote files: 0 bytes" in again.err


def test_catalogue_in_a_bucket_and_behind_https_is_read_as_here(near, far):
    files = {f"/{p.relative_to(near)}": p.read_bytes() for p in (near / "stac").rglob("*.*")}
    seen = []
    with serving(files) as web:
        for root in (far, web.url, near):
            answer = here(
                "inspect",
                f"{root}/stac/catalog.json",
                "--assets",
                "red,nir",
                "--tile",
                32,
                "--json",
            )
            assert answer.status == 0, answer.err
            content = json.loads(answer.out)
            assert content["pool"]["scenes"] == 3
            seen.append([{**scene, "file": ""} for scene in content["scenes"]])
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0]["values"]


SMALL = "--cells 2 --crop 32 --regions 2"


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("classify {root}/images/ --tile 32 --probe {probe}", "predictions.parquet"),
        (f"focus look {{root}}/images/scene-00.tif --probe {{probe}} {SMALL}", "regions.parquet"),
    ],
)
def test_command_reads_a_bucket_as_a_folder(near, far, probe, tmp_path, line, file):
    _both(line, file, near, far, tmp_path, probe=probe)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "line", "file"),
    [
        ("hf_sam", "focus segment {root}/images/scene-00.tif --mode zoom", "masks/scene-00.tif"),
        (
            "hf_qwen2_vl",
            "focus ask {root}/images/scene-00.tif --prompt Ships? --max-tokens 4 --passes 14",
            "regions.parquet",
        ),
    ],
)
def test_command_with_a_large_model_reads_a_bucket(near, far, tmp_path, kind, line, file):
    (tmp_path / "model").mkdir()
    tiny_model(kind, tmp_path / "model")
    more = f" {SMALL} --bands 1,2,3 --model hf --weights {tmp_path / 'model'}"
    _both(line + more, file, near, far, tmp_path)


def _both(line, file, near, far, out, **more):
    """Run a command on the bucket and on the folder; a file that it writes is the same."""
    for root, name in ((far, "far"), (near, "near")):
        answer = here(*line.format(root=root, **more).split(), "--out", out / name)
        assert answer.status == 0, answer.err
        assert ("Fetched from remote files" in answer.err) == (root is far)
    assert (out / "far" / file).read_bytes() == (out / "near" / file).read_bytes()


@pytest.fixture(scope="module")
def observed(observing, upload, tmp_path_factory):  # noqa: F811
    """Two scenes and their overviews, and a raster around the globe: here and in the bucket."""
    root = tmp_path_factory.mktemp("observed")
    for name in ("scene-00.tif", "scene-01.tif"):
        for folder in (observing.world / "images", observing.overviews):
            (root / folder.name).mkdir(exist_ok=True)
            shutil.copy(folder / name, root / folder.name / name)
    values = np.random.default_rng(0).random((1, 180, 360)).astype(np.float32)
    globe = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    write_cog(root / "lights.tif", values, geobox=globe)
    for file in root.rglob("*.tif"):
        upload(file, f"observed/{file.relative_to(root)}")
    return root, observing.model


def _observe(line, out):
    remote.forget()
    answer = here("observe", *line.split(), "--out", out)
    assert answer.status == 0, answer.err
    assert ("Fetched from remote files" in answer.err) == ("s3://" in line), answer.err


def test_overviews_and_bought_tiles_lie_in_a_bucket(observed, far, tmp_path):
    near, model = observed
    for name, at in (("far", f"{far}/observed"), ("near", near)):
        _observe(
            f"select {at}/overviews/ --observer {model} --budget 8 --device cpu", tmp_path / name
        )
    files = [tmp_path / name / "selection/tiles.parquet" for name in ("far", "near")]
    assert files[0].read_bytes() == files[1].read_bytes()
    _observe(f"complete {tmp_path}/far --tiles {far}/observed/images/", tmp_path / "scenes")
    found = here("observe", "search", tmp_path / "scenes", "--concept", "road")
    assert found.status == 0, found.err


@pytest.mark.slow
def test_totals_are_estimated_by_a_covariate_in_a_bucket(observing, observed, far):  # noqa: F811
    near, _ = observed
    estimates = []
    for at in (f"{far}/observed", near):
        remote.forget()
        line = f"estimate {observing.pairs} --concept road --budget 20% --covariate {at}/lights.tif"
        answer = here("observe", *line.split(), "--json")
        assert answer.status == 0, answer.err
        estimates.append(answer.json["estimate"])
    assert estimates[0] == estimates[1]


@pytest.mark.slow
def test_covariates_lie_in_a_bucket(observed, far, tmp_path):
    near, model = observed
    select = f"select {near}/overviews/ --observer {model} --budget 8 --policy covariate"
    for kind in ("lights.tif", "overviews/"):
        for name, at in (("far", f"{far}/observed"), ("near", near)):
            _observe(f"{select} --covariate {at}/{kind}", tmp_path / kind / name)
        files = [tmp_path / kind / name / "selection/tiles.parquet" for name in ("far", "near")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_is_a_folder_of_this_machine(near, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in (
        "observe stats s3://pool/pairs",
        f"observe train s3://pool/pairs --out {tmp_path / 'x'}",
        f"curate {near / 'images'} --budget 1 --out s3://pool/run",
    ):
        answer = here(*line.split())
        assert answer.status in (1, 2)
        assert "'s3://pool/" in answer.err
        assert "of this machine" in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pairs_of_a_bucket_are_trained_on_and_a_benchmark_reads_it(near, far, tmp_path):
    remote.forget()
    pairs = "observe prepare {root}/images/ --masks {root}/masks/ --tiles 3x3 --ratio 8"
    _both(pairs, "tables/labels.parquet", near, far, tmp_path)
    for name, line in (
        ("observer", "observe train {out}/far --size nano --epochs 1"),
        (
            "bench",
            "bench curate --pool {root}/images/:{root}/masks/ --folds scene --quick --tile 16",
        ),
    ):
        remote.forget()
        answer = here(*line.format(root=far, out=tmp_path).split(), "--out", tmp_path / name)
        assert answer.status == 0, answer.err
        assert "Fetched from remote files" in answer.err
