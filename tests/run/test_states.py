"""Histories of a run directory: whatever happens to it, it ends as a run made in one go.

Steps, shards, several writers, kills and a disk that fails at any moment, inputs that change, files
that are lost or spoiled, against a model in memory. `make nightly` takes ten thousand histories,
and a thousand where the system kills processes. Mended faults stand in `test_revisions.py`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from run_world import (
    NAMES,
    SPECS,
    Archive,
    Disk,
    content,
    embed,
    folders,
    in_one_go,
    named,
    shard_of,
)

from foveate.errors import DataError, StorageError
from foveate.files import write_bytes
from foveate.run import Run, load_embeddings
from foveate.run.locks import LOCK, take_lock

MOMENTS = st.integers(1, 90)
FULL = st.sampled_from([errno.ENOSPC, errno.EIO, errno.EDQUOT])
PARTS = st.sampled_from([(1, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 3)])
STEPS, KEYS = st.sampled_from(["pool", "rank"]), st.sampled_from(["k1", "k2"])


class SpoiledError(RuntimeError):
    """Something that went wrong inside a step."""


class Histories(RuleBasedStateMachine):
    """A run, and what must be true of it."""

    forked = False

    def __init__(self):
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.path = self.home / "run"
        self.disk = Disk(self.path, forked=self.forked)
        self.archive = Archive({"a": (0, 4), "b": (0, 2)})
        self.spec = "one"
        self.steps = {}  # name -> key and text of a step that is done; None where a kill hid it
        self._spoiled = {}  # shards that were cut off or replaced, with their bytes
        self.lost = set()  # shards that were removed, or may be, not their receipts
        self.pure = True  # whether one pool was embedded here and no other
        self.fresh = False  # whether the last thing was an embedding that succeeded

    def teardown(self):
        self.disk.close()
        shutil.rmtree(self.home)

    @property
    def spoiled(self):
        """Shards that are still as they were spoiled."""
        known = self._spoiled.items()
        return {file for file, data in known if file.exists() and file.read_bytes() == data}

    def _lose(self, file):
        self.lost.add(file)
        file.unlink()

    def _spoil(self, file):
        self._spoiled[file] = file.read_bytes()
        self.lost.add(file)  # the error says to remove it, and a process may be killed after that
        self.fresh = False

    # --- steps ------------------------------------------------------------------------------------

    def _step(self, name, key, *, fail=False):
        """Do a step; the file that it writes says under which key."""
        worked = []

        def work():
            worked.append(name)
            write_bytes(self.path / f"{name}.txt", key.encode())
            if fail:
                raise SpoiledError
            return [f"{name}.txt"]

        with Run.create(self.path, job={"step": name}) as run:
            run.do(name, key, work)
        assert (self.path / f"{name}.txt").read_text() == key
        return bool(worked)

    def _done(self, name, key):
        return self.steps.get(name) == key and (self.path / f"{name}.txt").exists()

    @rule(name=STEPS, key=KEYS)
    def do_a_step(self, name, key):
        done = self._done(name, key)
        worked = self._step(name, key)
        assert not (done and worked)
        self.steps[name] = key

    @precondition(lambda self: self.steps)
    @rule()
    def repeat_steps(self):
        for name, key in self.steps.items():
            if self._done(name, key):
                before = content(self.path)
                assert not self._step(name, key)
                assert content(self.path) == before

    @rule(name=STEPS, key=KEYS)
    def fail_in_a_step(self, name, key):
        done = self._done(name, key)
        try:
            assert not self._step(name, key, fail=True)  # it may be done since before a failure
        except SpoiledError:
            assert not done
            self.steps.pop(name, None)

    @rule(name=STEPS, key=KEYS, at=st.integers(1, 40))
    def be_killed_in_a_step(self, name, key, at):
        if self.disk.kill(at, lambda: self._step(name, key)):
            self.steps.pop(name, None)
        else:
            self.steps[name] = key

    @rule(name=STEPS, key=KEYS, at=st.integers(1, 20), number=FULL)
    def have_a_full_disk_in_a_step(self, name, key, at, number):
        try:
            with self.disk.failing(at, number):
                self._step(name, key)
            self.steps[name] = key
        except StorageError:
            self.steps.pop(name, None)

    @rule(name=STEPS)
    def lose_what_a_step_wrote(self, name):
        (self.path / f"{name}.txt").unlink(missing_ok=True)

    @precondition(lambda self: self.steps)
    @rule(number=st.integers(0, 2))
    def describe(self, number):
        with Run.create(self.path) as run:
            run.describe(summary={"number": number})
        assert Run.load(self.path).record["summary"] == {"number": number}

    @precondition(lambda self: self.steps)
    @rule(at=st.integers(0, 20))
    def draw_a_view(self, at):
        def draw():
            with Run.create(self.path) as run:
                run.draw("page", lambda: self._page(run))

        if not self.disk.kill(at, draw):
            page = json.loads((self.path / "page.html").read_text())
            assert page == Run.load(self.path).record["steps"]

    def _page(self, run):
        """Write what the record says of the steps, as a report does."""
        steps = Run.load(run.path).record["steps"]
        write_bytes(run.path / "page.html", json.dumps(steps).encode())
        return ["page.html"]

    # --- shards -----------------------------------------------------------------------------------

    def _embed(self, part=None, *, skip=False, between=lambda: None):
        """Embed the archive as it is now, and compare with an embedding in one go."""
        noted, before, self.fresh = [], folders(self.path), False
        try:
            found = embed(self.path, self.archive, self.spec, part=part, skip=skip, noted=noted,
                          between=between)  # fmt: skip
        except DataError as error:
            self._explain(error, skip=skip)
            return None
        if part is None:
            self._check(found, noted, before)
            self.fresh = True
        return found

    def _explain(self, error, *, skip):
        """An error is one that had to come; do what it says."""
        named = [file for file in self.spoiled if str(file) in str(error)]
        for file in named:
            self._lose(file)
        broken = self.archive.broken & set(self.archive.scenes)
        stopped = any(f"the scene {name}" in str(error) for name in broken) and not skip
        none = "scenes can be read" in str(error) and broken == set(self.archive.scenes) and skip
        assert named or stopped or none, error

    def _check(self, found, noted, before):
        folder = self._folder()
        pool, failed = self.archive.pool(), set(found.failed)
        assert failed <= self.archive.broken
        ids, vectors = self.archive.expected(pool, self.spec, failed)
        assert found.embeddings.ids.tolist() == ids
        np.testing.assert_array_equal(found.embeddings.x, vectors)
        # Nothing was done twice, nothing is left of what is not wanted any more.
        assert len(noted) == len(set(noted))
        assert not set(noted) & before.get(folder, set())
        rows = self.archive.rows()
        assert {row for row in rows if row[0] not in failed} <= folders(self.path)[folder] <= rows
        manifest = json.loads((folder / "manifest.json").read_text())
        numbers = {f"{shard['number']:05d}" for shard in manifest["shards"]}
        assert {file.stem[5:] for file in folder.glob("part-*")} == numbers
        assert {file.stem for file in folder.glob("receipts/*")} <= numbers
        self.pure &= not failed
        self._compare(folder)

    def _compare(self, folder):
        if self.archive.broken:
            return
        archive = self.archive
        whole = in_one_go(self.spec, tuple(archive.scenes.items()), archive.in_turn)
        assert (folder / "matrix.npy").read_bytes() == whole["matrix.npy"]
        if self.pure:
            assert content(folder, ["receipts"]) == whole

    def _folder(self):
        step = Run.load(self.path).record["steps"]["embed m"]
        return self.path / Path(step["outputs"][0]).parent

    @rule()
    def embed(self):
        self._embed()

    @precondition(lambda self: self.fresh)
    @rule(skip=st.booleans())
    def embed_once_more(self, skip):
        if not self.archive.broken:
            before, noted = content(self.path), []
            embed(self.path, self.archive, self.spec, skip=skip, noted=noted)
            assert not noted
            assert content(self.path) == before

    @rule(part=PARTS)
    def embed_a_part(self, part):
        self._embed(part)

    @rule(of=st.integers(1, 4))
    def embed_all_parts(self, of):
        found = [self._embed((i, of)) for i in range(of, 0, -1)]
        if all(found):
            assert found[-1].left == 0

    @rule(first=PARTS, second=PARTS, at=st.integers(0, 2))
    def embed_by_two_writers(self, first, second, at):
        calls = []

        def between():
            calls.append(first)
            if len(calls) == at + 1:
                self._embed(second)

        self._embed(first, between=between)

    @rule(part=st.none() | PARTS, at=MOMENTS, skip=st.booleans())
    def be_killed(self, part, at, skip):
        before, self.fresh = folders(self.path), False
        self.pure &= not (skip and self.archive.broken)
        self.disk.kill(at, lambda: self._embed(part, skip=skip))
        self._lost_nothing(before)

    @rule(part=st.none() | PARTS, at=st.integers(1, 40), number=FULL)
    def have_a_full_disk(self, part, at, number):
        before = folders(self.path)
        with contextlib.suppress(StorageError), self.disk.failing(at, number):
            self._embed(part)
        self._lost_nothing(before)

    @rule(part=st.none() | PARTS, at=st.integers(0, 3))
    def fail_in_the_encoder(self, part, at):
        calls, before = [], folders(self.path)

        def between():
            calls.append(at)
            if len(calls) > at:
                raise SpoiledError

        with contextlib.suppress(SpoiledError):
            self._embed(part, between=between)
        self._lost_nothing(before)

    def _lost_nothing(self, before):
        now, wanted = folders(self.path), self.archive.rows()
        for folder, rows in before.items():
            if not any(file.parent == folder for file in self.spoiled):
                assert rows & wanted <= now[folder]

    @rule(part=st.none() | PARTS)
    def skip_what_is_broken(self, part):
        self._embed(part, skip=True)

    @rule(pick=st.integers(0, 99))
    def lose_a_shard(self, pick):
        if file := self._pick("part-*.parquet", pick):
            self._lose(file)
            self.fresh = False

    @rule(what=st.sampled_from(["matrix.npy", "rows.npy", "receipts/*"]), pick=st.integers(0, 99))
    def lose_what_can_be_made_again(self, what, pick):
        if file := self._pick(what, pick):
            file.unlink()
            self.fresh = False

    @rule(pick=st.integers(0, 99))
    def lose_a_manifest(self, pick):
        if file := self._pick("manifest.json", pick):
            file.unlink()
            self.fresh = False

    @rule(pick=st.integers(0, 99), share=st.sampled_from([0.0, 0.5, 0.99]))
    def cut_off_a_shard(self, pick, share):
        if file := self._pick("part-*.parquet", pick):
            os.truncate(file, int(share * file.stat().st_size))
            self._spoil(file)

    @rule(pick=st.integers(0, 99), other=st.integers(0, 99))
    def mix_up_shards(self, pick, other):
        file, foreign = self._pick("part-*.parquet", pick), self._pick("part-*.parquet", other)
        if (
            file
            and foreign not in self.spoiled
            and shard_of(file.read_bytes()) != shard_of(foreign.read_bytes())
        ):
            shutil.copy(foreign, file)
            self._spoil(file)

    @rule(pick=st.integers(0, 99))
    def cut_off_the_matrix(self, pick):
        if file := self._pick("matrix.npy", pick):
            os.truncate(file, file.stat().st_size - 3)
            self.fresh = False

    def _pick(self, pattern, pick):
        there = sorted(self.path.glob(f"embeddings/*/{pattern}"))
        return there[pick % len(there)] if there else None

    # --- what changes -----------------------------------------------------------------------------

    def _changed(self):
        self.fresh, self.pure = False, self.pure and not folders(self.path)

    @rule(name=st.sampled_from(NAMES), rows=st.integers(1, 7))
    def add_a_scene(self, name, rows):
        if name not in self.archive.scenes:
            self.archive.scenes[name] = (0, rows)
            self._changed()

    @precondition(lambda self: len(self.archive.scenes) > 1)
    @rule(pick=st.integers(0, 99))
    def remove_a_scene(self, pick):
        del self.archive.scenes[sorted(self.archive.scenes)[pick % len(self.archive.scenes)]]
        self._changed()

    @rule(pick=st.integers(0, 99), rows=st.integers(1, 7), version=st.integers(0, 2))
    def change_a_scene(self, pick, rows, version):
        self.archive.scenes[sorted(self.archive.scenes)[pick % len(self.archive.scenes)]] = (
            version, rows,
        )  # fmt: skip
        self._changed()

    @rule(order=st.permutations(NAMES), in_turn=st.booleans())
    def order_otherwise(self, order, in_turn):
        scenes = self.archive.scenes
        self.archive.scenes = {name: scenes[name] for name in order if name in scenes}
        self.archive.in_turn = in_turn
        self._changed()

    @rule(name=st.sampled_from(NAMES))
    def break_a_scene(self, name):
        self.archive.broken.add(name)

    @rule()
    def mend_all_scenes(self):
        self.archive.broken.clear()
        self.fresh = False

    @rule(spec=st.sampled_from(sorted(SPECS)))
    def take_a_model(self, spec):
        self.fresh &= spec == self.spec
        self.spec = spec

    # --- who else is there ------------------------------------------------------------------------

    @precondition(lambda self: self.steps)
    @rule(shared=st.booleans(), name=STEPS, key=KEYS)
    def find_it_locked(self, shared, name, key):
        lock = take_lock(self.path, shared=shared)
        before = content(self.path)
        with pytest.raises(StorageError, match="written by another process"):
            self._step(name, key)
        with pytest.raises(StorageError, match="written by another process"):
            self._embed()
        assert content(self.path) == before
        os.close(lock)

    @precondition(lambda self: self.steps)
    @rule()
    def find_litter(self):
        (self.path / ".part-00000.parquet.0123abcd.tmp").write_text("half")
        (self.path / LOCK).touch()

    @rule()
    def read_it(self):
        try:
            found = load_embeddings(self.path)
        except DataError:
            assert not self.fresh
            return
        for tile, row in zip(found.ids, found.x.tolist(), strict=True):
            scene, _, place = named(chr(int(abs(row[0]))), row)
            assert (scene, place) == (tile[0], int(tile[3:9]) // 4)
        if self.fresh and not self.archive.broken:
            assert found.ids.tolist() == self.archive.pool().ids.tolist()

    @invariant()
    def nothing_is_half_written(self):
        for file in self.path.rglob("*.json"):
            json.loads(file.read_text())
        for file in self.path.rglob("part-*.parquet"):
            assert file in self.spoiled or shard_of(file.read_bytes())[0]
        for file in self.path.rglob("receipts/*.json"):
            shard = file.parents[1] / f"part-{file.stem}.parquet"
            assert shard.exists() or shard in self.lost


class HistoriesOfProcesses(Histories):
    """The same where the system kills processes."""

    forked = True

    def __init__(self):
        super().__init__()
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


def test_rules_that_chance_draws_seldom():
    history = Histories()
    try:
        history.do_a_step("pool", "k1")
        history.repeat_steps()
        for shared in (False, True):
            history.find_it_locked(shared=shared, name="rank", key="k1")
        history.find_litter()
        history.embed()
        history.embed_once_more(skip=False)
        history.take_a_model("two")
        history.embed()
        history.read_it()
        history.be_killed(None, 30, skip=False)
        history.nothing_is_half_written()
        history.embed()
        history.draw_a_view(20)
        history.nothing_is_half_written()
    finally:
        history.teardown()


def test_a_step_that_ends_early_under_another_key_is_done_again():
    history = Histories()
    try:
        for at in range(1, 13):
            history.do_a_step("pool", "k1")
            history.be_killed_in_a_step("pool", "k2", at)
    finally:
        history.teardown()


def as_test(machine, share):
    """Return a test of so many times the examples of the profile."""
    machine.TestCase.settings = settings(
        max_examples=int(share * settings.default.max_examples), stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return machine.TestCase


TestHistories = as_test(Histories, 1)
TestHistoriesOfProcesses = pytest.mark.slow(as_test(HistoriesOfProcesses, 0.1))
