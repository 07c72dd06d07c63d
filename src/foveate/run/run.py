"""`Run`: a directory that another person can open without foveate.

``run.json`` holds the job, versions, inputs and the steps that are done. A step has a key made
of everything it depends on; a step whose key is on record is not repeated. A lock keeps two
processes from writing one run; the operating system frees it when a process dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from foveate.errors import DataError, StorageError
from foveate.files import as_storage_error, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = 1
_LOCK, _RECORD = ".lock", "run.json"
_REPORTED = ("foveate", "numpy", "scipy", "scikit-learn", "rasterio", "pyarrow", "torch", "timm")


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
        self._lock: int | None = None
        self._fresh = False  # whether there was no record before
        self._made: list[Path] = []  # folders that did not exist before, the deepest first

    @classmethod
    def create(cls, path: str | Path, *, job: dict[str, Any], command: str = "") -> Self:
        """Open a run for writing; go on with it if it exists.

        Args:
            path: An empty or new directory, or an earlier run.
            job: The job, JSON-ready.
            command: The command that repeats it.

        Raises:
            StorageError: The directory holds something else, cannot be written, or is in use.
        """
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
        # Saved with the first step: a job that fails at once leaves nothing behind.
        run.record |= {"job": job, "command": command, "environment": environment()}
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
        """Write ``run.json``."""
        write_json(self.path / _RECORD, self.record)

    def done(self, step: str, key: str, *outputs: str) -> bool:
        """Say whether `step` is on record under `key` and its output files are there."""
        entry = self.record["steps"].get(step)
        return (
            entry is not None
            and entry["key"] == key
            and all((self.path / name).exists() for name in outputs)
        )

    def do(self, step: str, key: str, work: Callable[[], Any], *outputs: str) -> bool:
        """Do the work of a step unless it is done, then put it on record.

        Args:
            step: Name of the step.
            key: Hash of everything that the step depends on.
            work: Writes the outputs. What it returns is ignored.
            outputs: Files of the run (relative) without which the step is not done.

        Returns:
            Whether work was done.
        """
        if self.done(step, key, *outputs):
            return False
        if not (self.path / _RECORD).exists():
            self.save()  # whatever happens to the first step, this folder is a run
        start = time.perf_counter()
        work()
        self.worked = True
        seconds = round(time.perf_counter() - start, 3)
        self.record["steps"][step] = {"key": key, "seconds": seconds, "outputs": list(outputs)}
        self.save()
        return True


def _names(path: Path) -> set[str]:
    return {p.name for p in path.iterdir()}


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


def environment() -> dict[str, Any]:
    """Return the versions that a result may depend on."""
    versions = {}
    for name in _REPORTED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}
