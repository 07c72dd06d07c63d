"""Locks: one process runs steps of a run, or several write shards."""

from __future__ import annotations

import threading

import pytest

from foveate.errors import StorageError
from foveate.run import Run


def step(run, name, done):
    def work():
        done.append(name)
        (run.path / name).write_text("x")
        return [name]

    return run.do(name, "k", work)


def test_shard_writers_share_the_lock_and_exclude_steps(tmp_path):
    writers = [Run.create(tmp_path / "run", shared=True) for _ in range(2)]
    for writer in writers:
        with pytest.raises(StorageError, match="being written by another process"):
            Run.create(tmp_path / "run")
        writer.close()
    Run.create(tmp_path / "run").close()
    assert not list((tmp_path / "run").iterdir())  # nothing was written


def test_shard_writer_waits_while_another_process_runs_steps(tmp_path):
    first = Run.create(tmp_path / "run")
    opened = threading.Event()

    def wait():
        Run.create(tmp_path / "run", shared=True).close()
        opened.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not opened.wait(0.3)
    first.do("pool", "k", list)
    first.close()
    waiting.join(10)
    assert opened.is_set()


def test_step_is_run_by_only_one_of_several_writers(tmp_path):
    done, barrier = [], threading.Barrier(4)

    def write():
        with Run.create(tmp_path / "run", shared=True) as run:
            barrier.wait(10)
            step(run, "pool", done)
            assert run.record["steps"]["pool"]["key"] == "k"

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert done == ["pool"]
    assert not (tmp_path / "run/.lock").exists()
    with Run.create(tmp_path / "run") as run:
        assert not step(run, "pool", done)


def test_shard_writer_keeps_temporary_files_of_others(tmp_path):
    with Run.create(tmp_path / "run") as run:
        step(run, "pool", [])
    leftover = tmp_path / "run/.part-00000.parquet.1.tmp"
    leftover.write_text("half")
    Run.create(tmp_path / "run", shared=True).close()
    assert leftover.exists()
    Run.create(tmp_path / "run").close()
    assert not leftover.exists()
