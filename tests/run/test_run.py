"""The run directory: cached steps, records, clean-up and locks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from foveate.errors import DataError, StorageError
from foveate.run import Run

JOB = {"images": ["x"]}


def create(path):
    return Run.create(path, job=JOB, command="foveate curate x")


def write(run, name, text="hello"):
    def work():
        (run.path / name).write_text(text)
        return [name]

    return work


def nothing():
    return []


def test_run_records_job_command_versions_and_steps(tmp_path):
    with create(tmp_path / "run") as run:
        assert run.do("pool", "k1", write(run, "a.txt"))
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["job"] == JOB
    assert record["command"] == "foveate curate x"
    assert {"python", "numpy", "foveate"} <= set(record["environment"])
    step = record["steps"]["pool"]
    assert (step["key"], step["outputs"]) == ("k1", ["a.txt"])
    assert record["environments"] == {step["environment"]: record["environment"]}
    assert Run.load(tmp_path / "run").record == record


def test_step_is_repeated_only_if_its_key_changes_or_an_output_is_missing(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k1", write(run, "a.txt"))
    with create(tmp_path / "run") as run:
        assert not run.do("pool", "k1", pytest.fail)
        assert not run.worked
        assert run.do("pool", "k2", write(run, "a.txt"))
        (tmp_path / "run/a.txt").unlink()
        assert run.do("pool", "k2", write(run, "a.txt"))
        assert run.worked


def test_steps_record_their_versions(tmp_path, monkeypatch):
    for number in ("1", "2"):
        monkeypatch.setattr("foveate.run.run.environment", lambda n=number: {"foveate": n})
        with create(tmp_path / "run") as run:
            run.do("pool", "k", write(run, "a.txt"))
            run.do("rank", number, write(run, "b.txt"))
    record = Run.load(tmp_path / "run").record
    made = {
        name: record["environments"][step["environment"]]["foveate"]
        for name, step in record["steps"].items()
    }
    assert made == {"pool": "1", "rank": "2"}


def test_opening_without_work_keeps_the_record(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k", write(run, "a.txt"))
        run.describe(summary={"m": (1, float("nan"))})
    before = (tmp_path / "run/run.json").read_bytes()
    with Run.create(tmp_path / "run", job={"images": ["y"]}) as run:
        run.do("pool", "k", pytest.fail)
        run.describe(summary={"m": [1, None]})
    assert (tmp_path / "run/run.json").read_bytes() == before


def test_changed_description_is_written_and_does_not_count_as_work(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k", write(run, "a.txt"))
    with create(tmp_path / "run") as run:  # the previous one was killed before describe()
        run.describe(summary={"m": 1})
        assert not run.worked
        run.describe(summary={"m": 1, "a": 2})
        run.describe(summary={"a": 2, "m": 1})
    assert list(Run.load(tmp_path / "run").record["summary"]) == ["a", "m"]


def test_opening_without_a_job_keeps_the_recorded_job(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k", write(run, "a.txt"))
    with Run.create(tmp_path / "run") as run:
        run.do("embed", "k", nothing)
    record = Run.load(tmp_path / "run").record
    assert record["job"] == JOB
    assert record["command"] == "foveate curate x"
    assert list(record["steps"]) == ["pool", "embed"]


def test_view_is_rendered_if_the_record_changed_or_the_page_is_missing(tmp_path):
    def draw(run):
        return run.draw("page", write(run, "page.html"))

    with create(tmp_path / "run") as run:
        run.do("pool", "k1", write(run, "a.txt"))
        assert draw(run)
    with create(tmp_path / "run") as run:
        assert not draw(run)
        run.do("pool", "k2", write(run, "a.txt"))
    with create(tmp_path / "run") as run:  # the previous one was killed after the step
        assert draw(run)
        assert run.worked
        assert not draw(run)
        (tmp_path / "run/page.html").unlink()
        assert draw(run)
    assert list(Run.load(tmp_path / "run").record["steps"]) == ["pool"]


def test_run_killed_before_its_first_record_is_resumed(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.0123abcd.tmp").write_text("{")
    with create(tmp_path) as run:
        run.do("pool", "k", write(run, "a.txt"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "run.json"]


def test_failed_step_is_not_recorded(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("one", "k", write(run, "a.txt"))
        with pytest.raises(ZeroDivisionError):
            run.do("two", "k", lambda: 1 / 0)
    assert list(Run.load(tmp_path / "run").record["steps"]) == ["one"]


@pytest.mark.parametrize("existing", [None, "run", "run/deep"])
def test_job_that_fails_in_its_first_step_leaves_no_files(tmp_path, existing):
    if existing:
        (tmp_path / existing).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))

    def fail_at_once():
        raise DataError("no such image")

    with pytest.raises(DataError), create(tmp_path / "run/deep/er") as run:
        run.do("pool", "k", fail_at_once)
    with create(tmp_path / "run/deep/er"):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_first_step_that_fails_halfway_can_be_repeated(tmp_path):
    def half():
        (tmp_path / "run/part").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), create(tmp_path / "run") as run:
        run.do("pool", "k", half)
    with create(tmp_path / "run") as run:
        assert run.do("pool", "k", write(run, "part"))


def test_temporary_files_of_a_killed_process_are_removed(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k", write(run, "a.txt"))
    leftover = tmp_path / "run/tables/.x.parquet.abc.tmp"
    leftover.parent.mkdir()
    leftover.write_text("half")
    create(tmp_path / "run").close()
    assert not leftover.exists()
    assert (tmp_path / "run/a.txt").exists()


def test_folder_that_is_not_a_run_raises_and_is_not_changed(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(StorageError, match=r"not empty and holds no run.*Choose another --out"):
        create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_file_at_the_path_of_the_run_raises(tmp_path):
    (tmp_path / "run").write_text("file")
    with pytest.raises(StorageError, match="cannot write"):
        create(tmp_path / "run")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        create(tmp_path / "run/below")


def test_loading_a_folder_that_is_not_a_run_raises(tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        Run.load(tmp_path)


def test_run_with_another_schema_raises_for_reading_and_writing(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 99, "steps": {}}))
    for open_ in (Run.load, create):
        with pytest.raises(DataError, match="has schema 99"):
            open_(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("content", ["[]", "3", '{"schema": 1}', '{"schema": 1, "steps": []}'])
def test_a_record_that_is_none_raises_for_reading_and_writing(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    for open_ in (Run.load, create):
        with pytest.raises(DataError, match=r"record of the run .* is damaged"):
            open_(tmp_path)


# --- the lock ------------------------------------------------------------------------------


def test_second_writer_raises_and_readers_do_not(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k", write(run, "a.txt"))
        with pytest.raises(StorageError, match="being written by another process"):
            create(tmp_path / "run")
        assert Run.load(tmp_path / "run").record["steps"]
    create(tmp_path / "run").close()


HOLDER = """
import sys
from foveate.run import Run
run = Run.create(sys.argv[1], job={})
run.do("pool", "k", list)
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_of_a_killed_process_is_released(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="another process"):
            create(tmp_path / "run")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with create(tmp_path / "run") as run:
        assert not run.do("pool", "k", pytest.fail)


def test_closed_run_has_no_lock_file(tmp_path):
    with create(tmp_path / "run") as run:
        run.do("pool", "k", write(run, "a.txt"))
    assert not (tmp_path / "run/.lock").exists()
