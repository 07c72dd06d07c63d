"""The same bytes wherever shards are made: in one process, in parts, by several, after a kill."""

from __future__ import annotations

import errno
import functools
import shutil
import signal

import numpy as np
import pytest
from trees import digest_tree

from foveate.curate import CurateJob
from foveate.errors import DataError, ParameterError, StorageError
from foveate.models.job import EmbedJob
from foveate.raster import write_cog
from foveate.run import Placement, map_shards


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spread")
    draw = np.random.default_rng(0)
    for name in "abc":
        write_cog(folder / f"{name}.tif", draw.integers(0, 255, (3, 128, 96), np.uint8))
    return folder


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    job(images).run(out)
    return digest_tree(out)


def job(images, **given):
    return EmbedJob(images=[str(images)], tile=16, **given)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_make_what_one_process_makes(images, whole, tmp_path, parts):
    out, left = tmp_path / "run", []
    for i in range(parts, 0, -1):  # in any order
        run = job(images, shard=f"{i}/{parts}").run(out)
        left.append(run.part["left"])
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    again = job(images, shard=f"1/{parts}").run(out)
    assert (again.part["made"], again.worked) == (0, False)
    assert job(images).run(out).worked  # the record of the step, and the matrix
    assert digest_tree(out) == whole
    assert not job(images).run(out).worked


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3, 7])
def test_processes_make_what_one_makes(images, whole, tmp_path, workers):
    job(images, workers=workers).run(tmp_path / "run")
    assert digest_tree(tmp_path / "run") == whole


@pytest.mark.slow
def test_processes_make_what_one_makes_with_a_network_at_one_thread(images, whole, tmp_path):
    timm = "timm:resnet10t@random?size=32"
    one = job(images, model=timm, device="cpu").run(tmp_path / "run")
    made = digest_tree(one.path)
    job(images, model=timm, device="cpu", workers=2).run(tmp_path / "two")
    assert digest_tree(tmp_path / "two") == made
    for i in (2, 1):
        job(images, model=timm, device="cpu", shard=f"{i}/2").run(tmp_path / "parts")
    job(images, model=timm, device="cpu").run(tmp_path / "parts")
    assert digest_tree(tmp_path / "parts") == made

    job(images).run(one.path)  # a shard of one model among those of another
    first, second = sorted((one.path / "embeddings").iterdir())
    shutil.copy(first / "part-00001.parquet", second / "part-00001.parquet")
    for placed in ({"shard": "1/2"}, {}):
        with pytest.raises(DataError, match=r"part-00001.parquet' belongs to another embedding"):
            job(images, model=timm, device="cpu", **placed).run(one.path)
    (second / "part-00001.parquet").unlink()
    job(images, model=timm, device="cpu").run(one.path)
    assert digest_tree(second) == digest_tree(next((tmp_path / "two/embeddings").iterdir()))


def test_a_run_begun_in_parts_is_finished_by_another_driver(images, whole, tmp_path):
    job(images, shard="2/2").run(tmp_path / "run")
    job(images, workers=2).run(tmp_path / "run")
    assert digest_tree(tmp_path / "run") == whole


def test_a_job_that_embeds_nothing_has_no_parts(images, tmp_path):
    random = CurateJob(images=[str(images)], tile=16, methods=["random"], shard="1/2")
    with pytest.raises(ParameterError, match="it embeds nothing"):
        random.run(tmp_path / "run")


def test_a_ranking_follows_its_parts(images, tmp_path):
    given = {"images": [str(images)], "tile": 16, "methods": ["kcenter"], "budget": "9"}
    CurateJob(**given).run(tmp_path / "one")
    for i in (1, 2):
        run = CurateJob(**given, shard=f"{i}/2").run(tmp_path / "parts")
        assert not (run.path / "selection").exists()
    CurateJob(**given).run(tmp_path / "parts")
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "parts")


@pytest.mark.parametrize("shard", ["3/2", "0/2", "2", "a/b", "-1/2", "1/0"])
def test_a_part_that_is_none(images, shard):
    with pytest.raises(ParameterError, match="Expected i/n"):
        job(images, shard=shard)


def test_a_task_of_an_array_knows_its_part(images, monkeypatch):
    with pytest.raises(ParameterError, match="a task of a SLURM job array"):
        job(images, shard="array")
    for name, value in {"MIN": 1, "ID": 3, "COUNT": 8}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert job(images, shard="array").shard == "3/8"


@pytest.mark.parametrize("setting", [{"address": "auto"}, {"gpus_per_worker": 0.5}])
def test_settings_of_ray_are_of_ray(images, tmp_path, setting):
    with pytest.raises(ParameterError, match="Add --driver ray"):
        job(images, **setting).run(tmp_path / "run")


def test_an_address_where_nobody_listens(images, tmp_path):
    pytest.importorskip("ray")
    for address, text in (("nowhere", "The form is HOST:PORT"), ("h:70000", "The form is")):
        with pytest.raises(ParameterError, match=text):
            job(images, driver="ray", address=address).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_in_the_middle_loses_one_shard(images, whole, tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    writes, write = [], pq.write_table

    def full(table, where, *args, **kwargs):
        if "embedding" in table.column_names:
            writes.append(where)
            if len(writes) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(table, where, *args, **kwargs)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="disk is full"):
        job(images).run(tmp_path / "run")
    parts = list(tmp_path.rglob("part-*.parquet"))
    assert len(parts) == 2
    monkeypatch.undo()
    job(images).run(tmp_path / "run")
    assert digest_tree(tmp_path / "run") == whole


def test_workers_that_are_killed_over_a_shard_again_and_again_end_the_run():
    # Of the standard library: a test file is no module of a worker's.
    kill = functools.partial(functools.partial, signal.raise_signal)
    with pytest.raises(StorageError, match="3 workers were lost while processing shard 9"):
        dict(map_shards(kill, [signal.SIGKILL, 0], Placement(2)))
