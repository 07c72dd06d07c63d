"""`Run`: a run directory, readable without foveate.

``run.json`` records the job, versions, inputs and completed steps. The key of a step is a hash of
everything it depends on; a step is skipped if its key is recorded and its outputs exist. A view
(the report) is rendered from the run directory only: its key is the record itself, and it is
recorded separately from the steps. A lock prevents two processes from running steps of one run;
several processes may write shards at the same time (`run.locks`).
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
_RETRY = 0.2  # seconds between attempts to lock
_LOG_AFTER = 5.0  # seconds of waiting before a log message
logger = logging.getLogger("foveate")
_PACKAGES = (
    "foveate", "numpy", "scipy", "scikit-learn", "rasterio", "pyarrow", "torch", "timm",
    "open_clip_torch", "transformers", "torchgeo", "obstore",
)  # fmt: skip


class Run:
    """An open run directory.

    Args:
        path: The directory.
        record: Content of ``run.json``.

    Attributes:
        shared: Whether other processes may write shards of the run at the same time; every other
            step is run by one of them only.
        worked: Whether any step or view was run.
        fetched: Traffic of remote files since the run was opened.
        part: If this process makes only some shards: how many it made, and how many are left.

    Use `create` to write to a run and `load` to read one.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.shared = False
        self.record = record
        self.worked = False
        self.fetched = Traffic()
        self.part: dict[str, Any] | None = None
        self._lock: int | None = None
        self._fresh = False  # whether no record existed before
        self._opening: dict[str, Any] = {}  # recorded with the first step
        self._created: list[Path] = []  # folders that did not exist before, deepest first

    @classmethod
    def create(
        cls, path: str | Path, *, job: dict[str, Any] | None = None, command: str = "",
        shared: bool = False,
    ) -> Self:  # fmt: skip
        """Open a run for writing; resume it if it exists.

        Args:
            path: An empty or new directory, or an earlier run.
            job: The job as JSON-serialisable dict; None keeps the recorded job and command.
            command: The command that repeats the job.
            shared: Whether to share the run with other processes that write shards, see `shared`.
                Waits while another process runs steps.

        Raises:
            StorageError: The directory is not empty and not a run, cannot be written, or is in use.
            ParameterError: The path is empty or a URL.
        """
        refuse_empty(path, "path of the run (--out)")
        refuse_url(path, "a run is a folder")
        path = Path(path)
        _refuse_foreign(path)
        created = [p for p in (path, *path.parents) if not p.exists()]
        run = cls(path, {"schema": SCHEMA, "steps": {}})
        try:
            path.mkdir(parents=True, exist_ok=True)
            run._created = created
            run.shared = shared
            run._lock = run._wait_shared() if shared else take_lock(path)
            run._fresh = not (path / _RECORD).exists()
            run._reload()  # under the lock, so no other process writes it
            if not shared:  # other writers of shards may be using their temporary files
                for leftover in path.rglob(".*.tmp"):  # of a killed process
                    leftover.unlink(missing_ok=True)
        except OSError as error:
            run.close()
            raise as_storage_error(error, path) from error
        except BaseException:
            run.close()
            raise
        # Recorded with the first step, so that a job without a completed step changes nothing.
        run._opening = {"environment": environment()}
        if job is not None:
            run._opening |= {"job": as_json(job), "command": command}
        return run

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open a run for reading.

        Raises:
            DataError: The folder is not a run, or has another schema version.
            ParameterError: The path is a URL.
        """
        refuse_url(path, "a run is a folder")
        path = Path(path)
        if not (path / _RECORD).is_file():
            raise DataError(
                f"{str(path)!r} holds no run",
                "A run is a folder with a file run.json.",
                "Give the folder that was passed to --out.",
            )
        record = read_json(path / _RECORD)
        known = isinstance(record, dict)
        if known and record.get("schema") != SCHEMA:
            raise DataError(
                f"the run {str(path)!r} has schema {record.get('schema')!r}",
                f"This version of foveate reads schema {SCHEMA}.",
                "Use the version of foveate that wrote it, or run the job again.",
            )
        if not known or not isinstance(record.get("steps"), dict):
            raise DataError(
                f"the record of the run {str(path)!r} is damaged, or is that of another program",
                f"{_RECORD} must be a JSON object with the steps of the run.",
                "Use another folder, or delete the file and run the job again.",
            )
        return cls(path, record)

    def __enter__(self) -> Self:
        """Return the run."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Release the lock."""
        self.close()

    def close(self) -> None:
        """Release the lock; the run remains readable.

        Removes the folders that `create` made if nothing was written to them.
        """
        if self._lock is None and not self._created:
            return
        with contextlib.suppress(OSError):
            empty = self._fresh and not self.record["steps"] and not self.shared
            if empty and _names(self.path) <= {LOCK, _RECORD}:
                (self.path / _RECORD).unlink(missing_ok=True)  # it lists no step
        if self._lock is not None:
            free_lock(self.path, self._lock)
        with contextlib.suppress(OSError):
            for folder in self._created:
                folder.rmdir()  # fails unless empty
        self._lock, self._created = None, []

    def alone(self, done: Callable[[], bool], work: Callable[[], object]) -> None:
        """Call `work` under an exclusive lock unless `done` returns True.

        A run that is not shared is locked exclusively in any case.

        Args:
            done: Checks the record and the files.
            work: The work.

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
            assert self._lock is not None  # noqa: S101  (the run is open)
            if try_lock(self._lock, shared=False) and is_current(self.path, self._lock):
                break
            # The failed conversion may have released the shared lock.
            os.close(self._lock)
            time.sleep(_RETRY)
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
            self.save()  # the folder is a run even if the first step fails
        work()

    def _wait_shared(self) -> int:
        start: float | None = time.monotonic()
        while True:
            with contextlib.suppress(StorageError):
                return take_lock(self.path, shared=True)
            if start is not None and time.monotonic() - start > _LOG_AFTER:
                logger.info("Waiting for another process that writes the run %s", self.path)
                start = None
            time.sleep(_RETRY)

    def _reload(self) -> None:
        if (self.path / _RECORD).exists():
            self.record = type(self).load(self.path).record

    def save(self) -> None:
        """Write ``run.json`` with the current job and versions."""
        self.record |= self._opening
        write_json(self.path / _RECORD, self.record)

    def describe(self, **content: Any) -> None:
        """Add content to the record, for example a summary, unless it is equal already."""
        new = as_json(content)
        # Compared as text, because a changed order of names is a change for readers, too.
        if json.dumps({name: self.record.get(name) for name in new}) != json.dumps(new):
            self.record |= new
            self.save()

    def key(self, step: str) -> str:
        """Return the key of the last completion of `step`, or "" if there is none."""
        return self.record["steps"].get(step, {}).get("key", "")

    def done(self, step: str, key: str) -> bool:
        """Return whether `step` is recorded with `key` and all of its outputs exist."""
        return self._is_done("steps", step, key)

    def do(self, step: str, key: str, work: Work) -> bool:
        """Run a step and record it, unless it is done.

        Args:
            step: Name of the step.
            key: Hash of everything that the step depends on.
            work: Writes the outputs and returns their paths relative to the run. If one of them is
                missing later, the step is repeated.

        Returns:
            Whether `work` was called.
        """
        worked: list[bool] = []
        self.alone(
            lambda: self.done(step, key),
            lambda: worked.append(self._execute("steps", step, key, work)),
        )  # fmt: skip
        return any(worked)

    def draw(self, view: str, work: Work) -> bool:
        """Render a view of the run unless it shows the current record; see `do`.

        A view must depend on the run directory only, so the record is its key.
        """
        if self._is_done("views", view, self._record_key()):
            return False
        self._record_environment()
        self.save()  # before rendering: the view reads run.json and shows the environment
        return self._execute("views", view, self._record_key(), work)

    def _record_key(self) -> str:
        return digest({name: value for name, value in self.record.items() if name != "views"})

    def _is_done(self, section: str, name: str, key: str) -> bool:
        entry = self.record.get(section, {}).get(name)
        return (
            entry is not None
            and entry["key"] == key
            and "begun" not in entry
            and all((self.path / output).exists() for output in entry["outputs"])
        )

    def _execute(self, section: str, name: str, key: str, work: Work) -> bool:
        if self._is_done(section, name, key):
            return False
        if (entry := self.record.get(section, {}).get(name)) is not None:
            # If the work is interrupted, the outputs may be a mixture of both keys.
            entry["begun"] = key
            write_json(self.path / _RECORD, self.record)
        start = time.perf_counter()
        outputs = list(work())
        self.worked = True
        self.record.setdefault(section, {})[name] = {
            "key": key,
            "seconds": round(time.perf_counter() - start, 3),
            "outputs": outputs,
            "environment": self._record_environment(),
        }
        self.save()
        return True

    def _record_environment(self) -> str:
        """Record the current versions and return their key.

        Packages may be updated between the steps of a run, so each step refers to its versions.
        """
        versions = environment()
        key = digest(versions)[:8]
        self.record.setdefault("environments", {})[key] = versions
        return key


def _names(path: Path) -> set[str]:
    """Return the names in a folder, without temporary files of an interrupted first record."""
    return {p.name for p in path.iterdir() if not p.match(f".{_RECORD}.*.tmp")}


def _refuse_foreign(path: Path) -> None:
    """Raise a StorageError if a folder is neither empty nor a run."""
    try:
        foreign = path.is_dir() and _names(path) - {LOCK} and not (path / _RECORD).exists()
    except OSError as error:
        raise as_storage_error(error, path) from error
    if foreign:
        raise StorageError(
            f"the folder {str(path)!r} is not empty and holds no run",
            "--out must be a new or empty folder, or an earlier run.",
            "Choose another --out.",
        )


@functools.cache
def environment() -> dict[str, Any]:
    """Return versions of Python, the platform and packages. Cached, because look-ups are slow."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}
