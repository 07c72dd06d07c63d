"""`Run`: a directory that another person can open without foveate.

``run.json`` holds the job, versions, inputs and the steps that are done. A step has a key made
of everything it depends on; a step whose key is on record, and whose outputs are there, is not
repeated. A view (the report) is drawn from the run alone: it has the record itself as its key, and
stands apart from the steps that it shows. A lock keeps two processes from doing steps of one run;
any number may write shards of it at a time (`run.locks`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from foveate.errors import DataError, StorageError
from foveate.files import as_json, as_storage_error, digest, read_json, refuse_empty, write_json
from foveate.location import refuse_url
from foveate.remote import Traffic
from foveate.run.locks import LOCK, free_lock, is_current, take_lock, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Work = Callable[[], Iterable[str]]

SCHEMA = 1
_RECORD = "run.json"
_PATIENCE = 0.2  # seconds between two tries to get a lock
_SPEAK_UP = 5.0  # seconds of waiting that are worth a line
logger = logging.getLogger("foveate")
_REPORTED = (
    "foveate", "numpy", "scipy", "scikit-learn", "rasterio", "pyarrow", "torch", "timm",
    "open_clip_torch", "transformers", "torchgeo", "obstore",
)  # fmt: skip


class Run:
    """An open run directory.

    Args:
        path: The directory.
        record: Content of ``run.json``.

    Attributes:
        shared: Whether other processes may write shards of the run at the same time; each step
            that is yet to be done is done by one of them alone.
        worked: Whether anything was done.
        part: Of a process that makes some of the shards: how many were made, and are left.

    Use `create` to write into a run and `load` to read one.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.shared = False
        self.record = record
        self.worked = False
        self.fetched = Traffic()  # of remote files, since it was opened
        self.part: dict[str, Any] | None = None
        self._lock: int | None = None
        self._fresh = False  # whether there was no record before
        self._opening: dict[str, Any] = {}  # what goes on record once there is work
        self._made: list[Path] = []  # folders that did not exist before, the deepest first

    @classmethod
    def create(
        cls, path: str | Path, *, job: dict[str, Any] | None = None, command: str = "",
        shared: bool = False,
    ) -> Self:  # fmt: skip
        """Open a run for writing; go on with it if it exists.

        Args:
            path: An empty or new directory, or an earlier run.
            job: The job, JSON-ready; None leaves the job and the command on record as they are.
            command: The command that repeats the job.
            shared: Whether to write shards beside other processes that do; see `shared`. It waits
                for one that does steps.

        Raises:
            StorageError: The directory holds something else, cannot be written, or is in use.
        """
        refuse_empty(path, "path of the run (--out)")
        refuse_url(path, "a run is a folder")
        path = Path(path)
        _refuse_foreign(path)
        made = [p for p in (path, *path.parents) if not p.exists()]
        run = cls(path, {"schema": SCHEMA, "steps": {}})
        try:
            path.mkdir(parents=True, exist_ok=True)
            run._made = made
            run.shared = shared
            run._lock = run._wait_shared() if shared else take_lock(path)
            run._fresh = not (path / _RECORD).exists()
            run._reload()  # under the lock: nobody else writes it now
            if not shared:  # it may be what another writes just now
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
            ParameterError: An address.
        """
        refuse_url(path, "a run is a folder")
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
            empty = self._fresh and not self.record["steps"] and not self.shared
            if empty and _names(self.path) <= {LOCK, _RECORD}:
                (self.path / _RECORD).unlink(missing_ok=True)  # nothing was written
        if self._lock is not None:
            free_lock(self.path, self._lock)
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()  # only if it is empty
        self._lock, self._made = None, []

    def alone(self, done: Callable[[], bool], work: Callable[[], object]) -> None:
        """Do what only one process may do at a time, unless it is done.

        Of a run that is not shared nobody else writes anything anyway.

        Args:
            done: Whether it is done, by the record and the files.
            work: Does it.

        Raises:
            StorageError: The folder cannot be written.
        """
        if not self.shared:
            if not done():
                self._work_alone(work)
            return
        while True:
            self._reload()
            if done():
                return
            assert self._lock is not None  # noqa: S101  (a run is open while it is written)
            if try_lock(self._lock, shared=False) and is_current(self.path, self._lock):
                break
            # The try may have cost us the lock that we had.
            os.close(self._lock)
            time.sleep(_PATIENCE)
            self._lock = self._wait_shared()
        try:
            self._reload()
            if not done():
                self._work_alone(work)
        finally:
            if not (try_lock(self._lock, shared=True) and is_current(self.path, self._lock)):
                os.close(self._lock)
                self._lock = self._wait_shared()

    def _work_alone(self, work: Callable[[], object]) -> None:
        if not (self.path / _RECORD).exists():
            self.save()  # whatever happens to the first work, this folder is a run
        work()

    def _wait_shared(self) -> int:
        said = time.monotonic()
        while True:
            with contextlib.suppress(StorageError):
                return take_lock(self.path, shared=True)
            if said is not None and time.monotonic() - said > _SPEAK_UP:
                logger.info("Waiting for another process that writes the run %s", self.path)
                said = None
            time.sleep(_PATIENCE)

    def _reload(self) -> None:
        if (self.path / _RECORD).exists():
            self.record = type(self).load(self.path).record

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
        worked: list[bool] = []
        self.alone(
            lambda: self.done(step, key),
            lambda: worked.append(self._do("steps", step, key, work)),
        )  # fmt: skip
        return any(worked)

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
            and "begun" not in entry
            and all((self.path / output).exists() for output in entry["outputs"])
        )

    def _do(self, section: str, name: str, key: str, work: Work) -> bool:
        if self._holds(section, name, key):
            return False
        if (entry := self.record.get(section, {}).get(name)) is not None:
            # Should this end here, its outputs may be those of neither key.
            entry["begun"] = key
            write_json(self.path / _RECORD, self.record)
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
        foreign = path.is_dir() and _names(path) - {LOCK} and not (path / _RECORD).exists()
    except OSError as error:
        raise as_storage_error(error, path) from error
    if foreign:
        raise StorageError(
            f"the folder {str(path)!r} is not empty and holds no run",
            "--out is a new or empty folder, or an earlier run.",
            "Choose another --out.",
        )


@functools.cache
def environment() -> dict[str, Any]:
    """Return the versions that a result may depend on; they are read once, being slow to find."""
    versions = {}
    for name in _REPORTED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}
