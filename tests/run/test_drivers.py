"""Drivers: one process and several give the same results and errors."""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest
from trees import digest_tree

from foveate.errors import DataError, ParameterError, StorageError
from foveate.models import embed, load_model
from foveate.pool import open_pool
from foveate.raster import write_cog
from foveate.run import Placement, map_shards


# Worker processes import functions by name and cannot import a test module, so the functions for
# them come from the standard library or foveate.
def square():
    return functools.partial(pow, exp=2)


def failing():
    def work(shard):
        if shard == 1:
            raise DataError("the file is broken")
        return shard

    return work


def test_one_process_runs_shards_in_order():
    assert list(map_shards(square, [3, 1, 2])) == [(3, 9), (1, 1), (2, 4)]


def test_no_shards_create_no_worker():
    assert list(map_shards(pytest.fail, [], Placement(4))) == []


def test_zero_workers_raise():
    with pytest.raises(ParameterError, match="workers = 0"):
        Placement(0)


def test_shards_finished_before_an_error_are_yielded():
    done, results = [], map_shards(failing, [0, 1, 2])
    with pytest.raises(DataError, match="broken"):
        done.extend(shard for shard, _ in results)
    assert done == [0]


def test_two_processes_return_all_results_and_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    make = functools.partial(functools.partial, os.getenv, "OMP_NUM_THREADS")
    assert dict(map_shards(make, [0, 1, 2], Placement(2))) == {0: "3", 1: "3", 2: "3"}


@pytest.mark.parametrize("error", [DataError("a", "b", "c"), StorageError("a", "b", "c")])
def test_errors_can_be_pickled(error):
    import pickle

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (pickled above)
    assert type(again) is type(error)
    assert str(again) == str(error) == "a. b. c."


@pytest.fixture
def scenes(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        write_cog(tmp_path / f"images/{name}.tif", draw.integers(0, 255, (3, 80, 160), np.uint8))
    return tmp_path / "images"


def test_two_processes_write_the_same_bytes_as_one(scenes, tmp_path):
    pool = open_pool(scenes, tile=16)  # 100 tiles: two shards
    for workers in (1, 2):
        embed(pool, load_model("builtin"), run=tmp_path / f"run{workers}", workers=workers)
    serial, parallel = digest_tree(tmp_path / "run1"), digest_tree(tmp_path / "run2")
    assert len(serial) >= 4
    assert serial == parallel


def test_error_in_a_process_is_raised(scenes):
    pool = open_pool(scenes, tile=16)
    (scenes / "b.tif").write_bytes(b"no raster")
    with pytest.raises(DataError, match=r"cannot read .*b\.tif"):
        embed(pool, load_model("builtin"), workers=2)


def test_model_object_with_several_workers_raises(scenes):
    from foveate.models import bind

    pool = open_pool(scenes, tile=16)
    with pytest.raises(ParameterError, match="workers = 2 with a model object"):
        embed(pool, bind(load_model("builtin"), pool), workers=2)
