"""Regression tests of run directories, as short histories (see `test_states.py`)."""

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


def check(path, expected, spec="one"):
    result = embed(path, expected, spec)
    ids, vectors = expected.expected(expected.pool(), spec)
    assert result.embeddings.ids.tolist() == ids
    np.testing.assert_array_equal(result.embeddings.x, vectors)
    (folder,) = (path / "embeddings").iterdir()
    listed = {shard["number"] for shard in read_json(folder / "manifest.json")["shards"]}
    assert {int(file.stem[5:]) for file in folder.glob("part-*")} == listed
    assert {int(file.stem) for file in folder.glob("receipts/*")} <= listed


def test_failed_step_with_another_key_invalidates_the_step(tmp_path):
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


def test_pool_is_restored_after_a_larger_one_failed(disk):
    def fail():
        raise DataError("cannot read it")

    check(disk.path, archive(a=4))
    with pytest.raises(DataError):
        embed(disk.path, archive(a=4, b=2), "one", between=fail)
    check(disk.path, archive(a=4))


@pytest.mark.parametrize("at", range(20, 40))
def test_shard_numbers_are_reused_after_a_kill(disk, at):
    """Kill before the manifest is written, and between it and the removal of unlisted files."""
    check(disk.path, archive(a=3, b=2, c=2))
    disk.kill(at, lambda: embed(disk.path, archive(a=3, b=2), "one"))
    check(disk.path, archive(a=3, c=2, d=2))


def test_part_can_be_the_first_writer_of_a_folder(disk):
    embed(disk.path, archive(a=4, b=2), "one", part=(1, 2))
    check(disk.path, archive(a=4, b=2))
