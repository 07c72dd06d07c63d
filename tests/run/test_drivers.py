"""Shards in this process and in several give the same results and the same errors."""

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


# Workers import functions by name, so the ones below are the standard library's or foveate's:
# a test file is no module of theirs.
def square():
    return functools.partial(pow, exp=2)


def failing():
    def work(shard):
        if shard == 1:
            raise DataError("the file is broken")
        return shard

    return work


def test_shards_run_in_order_in_one_process():
    assert list(map_shards(square, [3, 1, 2])) == [(3, 9), (1, 1), (2, 4)]


def test_nothing_to_do_makes_no_worker():
    assert list(map_shards(pytest.fail, [], Placement(4))) == []


def test_no_process_is_no_number_of_processes():
    with pytest.raises(ParameterError, match="workers = 0"):
        Placement(0)


def test_what_was_finished_before_an_error_is_kept():
    done, found = [], map_shards(failing, [0, 1, 2])
    with pytest.raises(DataError, match="broken"):
        done.extend(shard for shard, _ in found)
    assert done == [0]


def test_two_processes_return_everything_and_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    make = functools.partial(functools.partial, os.getenv, "OMP_NUM_THREADS")
    assert dict(map_shards(make, [0, 1, 2], Placement(2))) == {0: "3", 1: "3", 2: "3"}


@pytest.mark.parametrize("error", [DataError("a", "b", "c"), StorageError("a", "b", "c")])
def test_errors_survive_the_way_back_from_a_process(error):
    import pickle

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (made here)
    assert type(again) is type(error)
    assert str(again) == str(error) == "a. b. c."


@pytest.fixture
def scenes(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        write_cog(tmp_path / f"images/{name}.tif", draw.integers(0, 255, (3, 80, 160), np.uint8))
    return tmp_path / "images"


def test_two_processes_embed_to_the_same_bytes(scenes, tmp_path):
    pool = open_pool(scenes, tile=16)  # 100 tiles: two shards
    for workers in (1, 2):
        embed(pool, load_model("builtin"), run=tmp_path / f"run{workers}", workers=workers)
    one, two = digest_tree(tmp_path / "run1"), digest_tree(tmp_path / "run2")
    assert len(one) >= 4
    assert one == two


def test_an_error_in_a_process_comes_back_as_it_is(scenes):
    pool = open_pool(scenes, tile=16)
    (scenes / "b.tif").write_bytes(b"no raster")
    with pytest.raises(DataError, match=r"cannot read .*b\.tif"):
        embed(pool, load_model("builtin"), workers=2)


def test_a_model_object_stays_in_its_process(scenes):
    from foveate.models import bind

    pool = open_pool(scenes, tile=16)
    with pytest.raises(ParameterError, match="workers = 2 with a model object"):
        embed(pool, bind(load_model("builtin"), pool), workers=2)
