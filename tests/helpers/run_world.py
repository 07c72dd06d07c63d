"""A world in memory for histories of a run directory: scenes, an encoder, a disk that fails.

Pools are real, of scenes without pixels; vectors say which row of which version of which scene
they are. The disk of a process can fail or the process be killed at any moment that it touches it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pyarrow.parquet as pq

from foveate import files
from foveate.embeddings import EncoderSpec
from foveate.errors import DataError
from foveate.grid import Tiles
from foveate.models import shard_loop
from foveate.models.shard_encoder import Encoded, rows_of_scenes
from foveate.models.shard_loop import PartDone, ShardLoop
from foveate.pool.pool import Pool, Scene
from foveate.raster import SourceInfo
from foveate.run import Placement, Run
from foveate.run.locks import LOCK

NAMES = "abcde"
SPECS = {name: EncoderSpec(name="m", dim=2, fingerprint=name) for name in ("one", "two")}
SIZE = {"return_value": 3}  # rows of a shard


@dataclass
class Archive:
    """Scenes by name: their version and their number of rows; in an order that may change."""

    scenes: dict[str, tuple[int, int]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    in_turn: bool = False  # whether the rows of scenes alternate

    def pool(self):
        tables, at = [], []
        for place, (name, (_, rows)) in enumerate(self.scenes.items()):
            tables.append(Tiles.of(name, [(4 * i, 0, 4, 4) for i in range(rows)]))
            at += [(i, place) if self.in_turn else (place, i) for i in range(rows)]
        tiles = Tiles.concat(tables).take(sorted(range(len(at)), key=at.__getitem__))
        scenes = tuple(
            Scene(name, SimpleNamespace(info=SourceInfo((n, 1), 1, "uint8", fingerprint=f"{v}")))
            for name, (v, n) in self.scenes.items()
        )
        return Pool(tiles.tile_id, scenes, tiles)

    def rows(self):
        return {(name, vn, i) for name, vn in self.scenes.items() for i in range(vn[1])}

    def expected(self, pool, spec, failed=()):
        """The ids and vectors of an embedding of the pool."""
        ids, found = [], []
        for tile, scene, y in zip(pool.ids, pool.tiles.scene, pool.tiles.y, strict=True):
            if scene not in failed:
                ids.append(str(tile))
                found.append(vector(str(scene), self.scenes[scene], int(y) // 4, spec))
        return ids, np.array(found, np.float16)


def vector(scene, state, row, spec):
    """Name a row: of another number of windows, the pixels of a scene are others."""
    (version, rows), sign = state, 1 if spec == "one" else -1
    return [sign * ord(scene), 128 * version + 8 * rows + row]


def named(scene, vector):
    """The row that a vector names."""
    version, rest = divmod(int(vector[1]), 128)
    return scene, (version, rest // 8), rest % 8


class Encoder:
    """Encodes rows of an archive, and notes which."""

    def __init__(self, archive, spec, skip, noted, between):
        self.archive, self.spec, self.skip = archive, spec, skip
        self.pool, self.noted, self.between = archive.pool(), noted, between
        self.failed = {}

    def __call__(self, parts):
        self.between()
        self.failed, rows, found = {}, [np.empty(0, np.int64)], []
        scenes = rows_of_scenes(self.pool)
        for part in parts:
            if part.scene in self.archive.broken:
                if not self.skip:
                    raise DataError(f"cannot read the scene {part.scene}")
                self.failed[part.scene] = "cannot read it"
        for scene, _, start, stop in parts:
            if scene not in self.failed:
                state = self.archive.scenes[scene]
                rows.append(scenes[scene][start:stop])
                found += [vector(scene, state, i, self.spec) for i in range(start, stop)]
                self.noted += [(scene, state, i) for i in range(start, stop)]
        every = np.concatenate(rows)
        vectors = np.array(found, np.float32).reshape(-1, 2)
        return Encoded(every, vectors, np.zeros(every.size, bool))


def embed(path, archive, spec, *, part=None, skip=False, noted=None, between=lambda: None):
    """Embed an archive into a run; return what came of it, or `PartDone`."""
    noted = [] if noted is None else noted

    def encoder():
        return Encoder(archive, spec, skip, noted, between)

    loop = ShardLoop(archive.pool(), SPECS[spec], encoder, Placement(part=part), None)
    with Run.create(path, job={"spec": spec}, shared=part is not None) as run:
        try:
            return loop.in_run(run)
        except PartDone as done:
            return done


# --- what lies on the disk, read without foveate --------------------------------------------------


def folders(path):
    """The rows that are in the files of each folder of embeddings."""
    return {file.parent: held(file.parent) for file in path.glob("embeddings/*/manifest.json")}


def held(folder):
    found = set()
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        file = folder / f"part-{shard['number']:05d}.parquet"
        footer, vectors = shard_of(file.read_bytes() if file.exists() else b"")
        if footer.get("key") == shard["key"]:
            left = iter(vectors)
            for scene, _, start, stop in shard["parts"]:
                if scene not in footer.get("failed", {}):
                    found |= {named(scene, next(left)) for _ in range(start, stop)}
    return found


@functools.cache
def shard_of(data):
    """Footer and vectors of a file; nothing of one that was cut off."""
    try:
        file = pq.ParquetFile(io.BytesIO(data), pre_buffer=False)
        vectors = file.read(use_threads=False)["embedding"].to_pylist()
        return json.loads(file.schema_arrow.metadata[b"foveate"]), vectors
    except (OSError, ValueError):
        return {}, []


@functools.cache
def in_one_go(spec, scenes, in_turn):
    """The files of an embedding of scenes that are all there from the beginning."""
    with tempfile.TemporaryDirectory() as home:
        embed(Path(home), Archive(dict(scenes), in_turn=in_turn), spec)
        (folder,) = Path(home).glob("embeddings/*")
        return content(folder, ["receipts"])


def content(path, but=()):
    """The bytes of each file, by its name; without locks and what a killed process left."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and not file.name.startswith(".") and file.parent.name not in but
    }


# --- a disk that fails ----------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


class Disk:
    """Counts the moments at which the run is written, and lets one of them be the last.

    A process that is killed is an exception, after which the folder is put back to what it was
    when it came: what handlers do on their way up has not happened. `forked` lets a process of its
    own do the work, and the system kill it.
    """

    def __init__(self, path, *, forked=False):
        self.path, self.forked = path, forked
        self.at = self.count = 0
        self.errno = None
        self._saved = path.with_name("saved")
        self._patches = contextlib.ExitStack()
        self._watch(files, "_new_file", 0)
        self._watch(files, "_sync", 0, silent=True)
        self._watch(pq, "write_table", 1)
        self._watch(Path, "replace", 0)
        self._watch(Path, "unlink", 0, may_fail=False)
        self._patches.enter_context(mock.patch.object(shard_loop, "_shard_size", **SIZE))

    def close(self):
        self._patches.close()

    def _watch(self, owner, name, place, *, silent=False, may_fail=True):
        does = getattr(owner, name)

        def watched(*args, **kwargs):
            where = args[place]
            file = where if isinstance(where, Path) else Path(where.name)
            ours = file.is_relative_to(self.path)
            if ours:
                self._moment(may_fail=may_fail)
            answer = None if silent else does(*args, **kwargs)
            if ours:
                self._moment(may_fail=False)
            return answer

        self._patches.enter_context(mock.patch.object(owner, name, watched))

    def _moment(self, *, may_fail):
        if not self.at or (self.errno and not may_fail):
            return
        self.count += 1
        if self.count == self.at:
            self.at = 0
            if self.errno:
                raise OSError(self.errno, os.strerror(self.errno))
            if self.forked:
                os.kill(os.getpid(), 9)
            if self.path.exists():
                shutil.copytree(self.path, self._saved)
            raise Killed

    @contextlib.contextmanager
    def failing(self, at, errno):
        """Let a moment fail."""
        self.at, self.count, self.errno = at, 0, errno
        try:
            yield
        finally:
            self.at, self.errno = 0, None

    def kill(self, at, work):
        """Do some work and be killed at a moment; return whether it came to that."""
        self.count, self.at = 0, at
        if self.forked:
            return self._kill_forked(work)
        try:
            work()
        except Killed:
            shutil.rmtree(self.path, ignore_errors=True)
            if self._saved.exists():
                self._saved.rename(self.path)
            self._free_locks()
            return True
        finally:
            self.at = 0
        return False

    def _kill_forked(self, work):
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                work()
                status = 0
            os._exit(status)
        self.at = 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9

    def _free_locks(self):
        """Close what the process that is gone had open."""
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()).startswith(str(self.path / LOCK)):
                    os.close(int(link.name))
