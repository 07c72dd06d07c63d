"""Shards in actors of a local Ray cluster: `make test-ray`."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from trees import digest_tree

from foveate.errors import DataError, ParameterError, StorageError
from foveate.models import load_model
from foveate.models.embed import embed_at
from foveate.models.job import EmbedJob
from foveate.pool import open_pool
from foveate.raster import write_cog
from foveate.run import Placement, map_shards
from foveate.run.drivers import actors

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """A cluster with two CPUs, used by jobs of this process."""
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=300 << 20, log_to_driver=False,
        logging_level="error",
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    draw = np.random.default_rng(0)
    for name in "abcd":
        write_cog(folder / f"{name}.tif", draw.integers(0, 255, (3, 160, 160), np.uint8))
    return folder


def embed(images, out, **options):
    return EmbedJob(images=[str(images)], tile=16, **options).run(out)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    return digest_tree(embed(images, tmp_path_factory.mktemp("whole") / "run").path)


@pytest.mark.parametrize("workers", [1, 2])
def test_actors_write_the_same_bytes_as_one_process(cluster, images, whole, tmp_path, workers):
    run = embed(images, tmp_path / "run", driver="ray", workers=workers)
    assert digest_tree(run.path) == whole
    assert not embed(images, tmp_path / "run", driver="ray", workers=workers).worked
    assert not embed(images, tmp_path / "run").worked


def test_run_of_one_driver_is_resumed_by_another(cluster, images, whole, tmp_path):
    embed(images, tmp_path / "run", shard="1/3")
    run = embed(images, tmp_path / "run", driver="ray", workers=2)
    assert digest_tree(run.path) == whole


def test_killed_actor_is_replaced(cluster, images, whole, tmp_path, monkeypatch):
    killed, submit = [], actors._ActorPool._submit

    def killing(self, left):
        submit(self, left)
        if not killed:
            killed.append(self.actors[0])
            cluster.kill(self.actors[0])

    monkeypatch.setattr(actors._ActorPool, "_submit", killing)
    run = embed(images, tmp_path / "run", driver="ray", workers=2)
    assert killed
    assert digest_tree(run.path) == whole


def test_shard_that_always_kills_its_worker_ends_the_run(cluster):
    kill = functools.partial(functools.partial, signal.raise_signal)
    with pytest.raises(StorageError, match="3 workers were lost while processing shard 9"):
        dict(map_shards(kill, [signal.SIGKILL], Placement(2, "ray")))


def test_unreadable_scene_raises_with_its_name_and_other_shards_are_kept(
    cluster, images, whole, tmp_path
):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    pool = open_pool(folder, tile=16)
    (folder / "c.tif").write_bytes(b"no raster")
    place = Placement(2, "ray")
    with pytest.raises(DataError, match=r"cannot read .*c\.tif"):
        embed_at(pool, load_model("builtin"), place, run=tmp_path / "run")
    shutil.copy(images / "c.tif", folder / "c.tif")
    result = embed_at(pool, load_model("builtin"), place, run=tmp_path / "run")
    assert len(result.embeddings) == len(pool)


def test_scene_unreadable_on_one_node_is_read_on_another(cluster, tmp_path):
    def make():
        def work(shard):
            with contextlib.suppress(FileExistsError):
                (tmp_path / f"{shard}").mkdir()
                (tmp_path / f"{shard}/{os.getpid()}").touch()  # only in the first process
            if shard == 4 and (tmp_path / f"{shard}/{os.getpid()}").exists():
                raise DataError("cannot read '/mnt/c.tif': Transport endpoint is not connected")
            return shard**2

        return work

    assert dict(map_shards(make, range(8), Placement(2, "ray"))) == {n: n**2 for n in range(8)}
    shutil.rmtree(tmp_path / "4")
    with pytest.raises(DataError, match="Transport endpoint"):  # no other node
        dict(map_shards(make, [4], Placement(1, "ray")))


def test_more_gpus_than_the_cluster_has_raise(cluster, images, tmp_path):
    with pytest.raises(ParameterError, match="the cluster has 0"):
        embed(images, tmp_path / "run", driver="ray", gpus_per_worker=1.0)


def test_address_without_cluster_raises(images, tmp_path):
    with pytest.raises(ParameterError, match=r"no Ray cluster responds at '127\.0\.0\.1:1'"):
        embed(images, tmp_path / "run", driver="ray", address="127.0.0.1:1")
    assert not (tmp_path / "run").exists()


def test_killed_driver_is_resumed_with_the_same_bytes(cluster, images, whole, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "foveate", "embed", str(images), "--tile", "16", "--driver",
             "ray", "--workers", "2", "--out", str(out), "--json"]  # fmt: skip
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list(out.rglob("part-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert list(out.rglob("part-*.parquet"))
    time.sleep(2)  # until its actors have ended
    embed(images, out, driver="ray", workers=2)
    files = {k: v for k, v in digest_tree(out).items() if not k.endswith(".tmp")}
    assert files == whole
