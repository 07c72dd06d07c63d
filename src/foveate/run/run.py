"""`Run`: a directory that another person can open without foveate.

``run.json`` holds the job, versions, inputs and the steps that are done. A step has a key made
of everything it depends on; a step whose key is on record, and whose outputs are there, is not
repeated. A view (the report) is drawn from the run alone: it has the record itself as its key, and
stands apart from the steps that it shows. A lock keeps two processes from writing one run; the
operating system frees it when a process dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from foveate.errors import DataError, StorageError
from foveate.files import as_json, as_storage_error, digest, read_json, refuse_empty, write_json
from foveate.remote import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Work = Callable[[], Iterable[str]]

SCHEMA = 1
_LOCK, _RECORD = ".lock", "run.json"
_REPORTED = (
    "foveate", "numpy", "scipy", "scikit-learn", "rasterio", "pyarrow", "torch", "timm",
    "open_clip_torch", "transformers", "torchgeo", "obstore",
)  # fmt: skip


class Run:
    """An open run directory.

    Args:
        path: The directory.
        record: Content of ``run.json``.

    Use `create` to write into a run and `load` to read one.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self.worked = False
        self.fetched = Traffic()  # of remote files, since it was opened
        self._lock: int | None = None
        self._fresh = False  # whether there was no record before
        self._opening: dict[str, Any] = {}  # what goes on record once there is work
        self._made: list[Path] = []  # folders that did not exist before, the deepest first

    @classmethod
    def create(
        cls, path: str | Path, *, job: dict[str, Any] | None = None, command: str = ""
    ) -> Self:
        """Open a run for writing; go on with it if it exists.

        Args:
            path: An empty or new directory, or an earlier run.
            job: The job, JSON-ready; None leaves the job and the command on record as they are.
            command: The command that repeats the job.

        Raises:
            StorageError: The directory holds something else, cannot be written, or is in use.
        """
        refuse_empty(path, "path of the run (--out)")
        path = Path(path)
        _refuse_foreign(path)
        made = [p for p in (path, *path.parents) if not p.exists()]
        run = cls(path, {"schema": SCHEMA, "steps": {}})
        try:
            path.mkdir(parents=True, exist_ok=True)
            run._made = made
            run._lock = _take_lock(path)
            run._fresh = not (path / _RECORD).exists()
            if not run._fresh:  # read under the lock: nobody else writes it now
                run.record = cls.load(path).record
            for litter in path.rglob(".*.tmp"):  # left by a process that was killed
                litter.unlink(missing_ok=True)
        except OSError as error:
            run.close()
            raise as_storage_error(error, path) from error
        except BaseException:
            run.close()
            raise
        # Recorded with the first step: a job that fails at once, or does nothing, changes nothing.
        run._opening = {"environment": environment()}
        if job is not None:
            run._opening |= {"job": as_json(job), "command": command}
        return run

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open a run for reading.

        Raises:
            DataError: There is no run, or it was written by a newer foveate.
        """
        path = Path(path)
        if not (path / _RECORD).is_file():
            raise DataError(
                f"{str(path)!r} holds no run",
                "A run is a folder with a file run.json.",
                "Give the folder that --out named.",
            )
        record = read_json(path / _RECORD)
        if record.get("schema") != SCHEMA:
            raise DataError(
                f"the run {str(path)!r} has schema {record.get('schema')!r}",
                f"This foveate reads schema {SCHEMA}.",
                "Use the foveate that wrote it, or run the job again.",
            )
        return cls(path, record)

    def __enter__(self) -> Self:
        """Return the run."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Free the lock."""
        self.close()

    def close(self) -> None:
        """Free the lock; the run can be read on."""
        if self._lock is None and not self._made:
            return
        with contextlib.suppress(OSError):
            if self._fresh and not self.record["steps"] and _names(self.path) <= {_LOCK, _RECORD}:
                (self.path / _RECORD).unlink(missing_ok=True)  # nothing was written
            if self._lock is not None:
                (self.path / _LOCK).unlink()
            for folder in self._made:
                folder.rmdir()  # only if it is empty
        if self._lock is not None:
            os.close(self._lock)
        self._lock, self._made = None, []

    def save(self) -> None:
        """Write ``run.json``: the record, and under which job and versions it has changed."""
        self.record |= self._opening
        write_json(self.path / _RECORD, self.record)

    def describe(self, **content: Any) -> None:
        """Put further content on record, e.g. a summary; nothing is written if it is there."""
        new = as_json(content)
        # As text, for the order of names counts too: it is that in which people read them.
        if json.dumps({name: self.record.get(name) for name in new}) != json.dumps(new):
            self.record |= new
            self.save()

    def key(self, step: str) -> str:
        """Return the key under which `step` was done last; empty if it never was."""
        return self.record["steps"].get(step, {}).get("key", "")

    def done(self, step: str, key: str) -> bool:
        """Say whether `step` is on record under `key` and everything that it wrote is there."""
        return self._holds("steps", step, key)

    def do(self, step: str, key: str, work: Work) -> bool:
        """Do the work of a step unless it is done, then put it on record.

        Args:
            step: Name of the step.
            key: Hash of everything that the step depends on.
            work: Writes the outputs and returns their names, relative to the run: without one of
                them the step is not done.

        Returns:
            Whether work was done.
        """
        return self._do("steps", step, key, work)

    def draw(self, view: str, work: Work) -> bool:
        """Draw a view of the run unless it shows the record as it is; see `do`.

        A view reads the run directory and nothing else, so the record is its key.
        """
        if self._holds("views", view, self._state()):
            return False
        self._environment()
        self.save()  # it reads the file, and what is put on record now is among what it shows
        return self._do("views", view, self._state(), work)

    def _state(self) -> str:
        return digest({name: value for name, value in self.record.items() if name != "views"})

    def _holds(self, section: str, name: str, key: str) -> bool:
        entry = self.record.get(section, {}).get(name)
        return (
            entry is not None
            and entry["key"] == key
            and all((self.path / output).exists() for output in entry["outputs"])
        )

    def _do(self, section: str, name: str, key: str, work: Work) -> bool:
        if self._holds(section, name, key):
            return False
        if not (self.path / _RECORD).exists():
            self.save()  # whatever happens to the first step, this folder is a run
        start = time.perf_counter()
        outputs = list(work())
        self.worked = True
        self.record.setdefault(section, {})[name] = {
            "key": key,
            "seconds": round(time.perf_counter() - start, 3),
            "outputs": outputs,
            "environment": self._environment(),
        }
        self.save()
        return True

    def _environment(self) -> str:
        """Put the versions of now on record and return their key there.

        A run outlives an update: each step says under which versions it was done.
        """
        now = environment()
        key = digest(now)[:8]
        self.record.setdefault("environments", {})[key] = now
        return key


def _names(path: Path) -> set[str]:
    """Names in a folder, but for what a process leaves that is killed before its first record."""
    return {p.name for p in path.iterdir() if not p.match(f".{_RECORD}.*.tmp")}


def _refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds something other than a run."""
    try:
        foreign = path.is_dir() and _names(path) - {_LOCK} and not (path / _RECORD).exists()
    except OSError as error:
        raise as_storage_error(error, path) from error
    if foreign:
        raise StorageError(
            f"the folder {str(path)!r} is not empty and holds no run",
            "--out is a new or empty folder, or an earlier run.",
            "Choose another --out.",
        )


def _take_lock(path: Path) -> int:
    """Lock a run and return the handle of the lock.

    Raises:
        StorageError: Another process has it.
    """
    lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The process before removes its lock file: what was locked here may be gone already.
        ours = os.path.samestat(os.fstat(lock), (path / _LOCK).stat())
    except FileNotFoundError:
        ours = False
    except OSError as error:
        os.close(lock)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise StorageError(
            f"the run {str(path)!r} is being written by another process",
            "One process writes a run.",
            "Wait for it, or choose another --out.",
        ) from error
    if ours:
        return lock
    os.close(lock)
    return _take_lock(path)


@functools.cache
def environment() -> dict[str, Any]:
    """Return the versions that a result may depend on; they are read once, being slow to find."""
    versions = {}
    for name in _REPORTED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}
