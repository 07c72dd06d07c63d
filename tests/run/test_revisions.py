"""Faults of run directories that were mended, each as a short history (see `test_states.py`)."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from run_world import Archive, Disk, embed

from foveate.errors import DataError
from foveate.files import read_json, write_bytes
from foveate.run import Run


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "run")
    yield disk
    disk.close()


def archive(**scenes):
    return Archive({name: (0, rows) for name, rows in scenes.items()})


def check(path, wanted, spec="one"):
    found = embed(path, wanted, spec)
    ids, vectors = wanted.expected(wanted.pool(), spec)
    assert found.embeddings.ids.tolist() == ids
    np.testing.assert_array_equal(found.embeddings.x, vectors)
    (folder,) = (path / "embeddings").iterdir()
    listed = {shard["number"] for shard in read_json(folder / "manifest.json")["shards"]}
    assert {int(file.stem[5:]) for file in folder.glob("part-*")} == listed
    assert {int(file.stem) for file in folder.glob("receipts/*")} <= listed


def test_a_step_under_another_key_that_fails_leaves_no_step_that_is_done(tmp_path):
    def step(key, *, fail=False):
        def work():
            write_bytes(tmp_path / "run/a.txt", key.encode())
            if fail:
                raise OSError(errno.EIO, "gone")
            return ["a.txt"]

        with Run.create(tmp_path / "run") as run:
            return run.do("pool", key, work)

    assert step("k1")
    with pytest.raises(OSError, match="gone"):
        step("k2", fail=True)
    assert step("k1")
    assert (tmp_path / "run/a.txt").read_text() == "k1"
    assert not step("k1")


def test_a_pool_that_comes_back_after_a_larger_one_was_begun(disk):
    def fail():
        raise DataError("cannot read it")

    check(disk.path, archive(a=4))
    with pytest.raises(DataError):
        embed(disk.path, archive(a=4, b=2), "one", between=fail)
    check(disk.path, archive(a=4))


@pytest.mark.parametrize("at", range(20, 40))
def test_a_number_is_given_to_another_shard_after_a_kill(disk, at):
    """Between the manifest and the files that it lists no more, and before it."""
    check(disk.path, archive(a=3, b=2, c=2))
    disk.kill(at, lambda: embed(disk.path, archive(a=3, b=2), "one"))
    check(disk.path, archive(a=3, c=2, d=2))


def test_a_part_may_be_the_first_that_writes_into_a_folder(disk):
    embed(disk.path, archive(a=4, b=2), "one", part=(1, 2))
    check(disk.path, archive(a=4, b=2))
