"""The lock of a run directory: one process does steps, or any number write shards.

The operating system frees a lock when its process dies. On a network file system `flock` has to be
supported there (NFS 4, Lustre mounted with ``-o flock``, BeeGFS with its locks turned on).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from foveate.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

LOCK = ".lock"
_BUSY = (errno.EAGAIN, errno.EACCES)


def take_lock(path: Path, *, shared: bool = False) -> int:
    """Lock a run, at once, and return the handle of the lock.

    Args:
        path: Run directory.
        shared: Whether others may hold it, too, who write shards and nothing else.

    Raises:
        StorageError: Another process has it.
    """
    lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        free = try_lock(lock, shared=shared)
    except OSError:
        os.close(lock)
        raise
    # The process before removes its lock file: what was locked here may be gone already.
    if free and is_current(path, lock):
        return lock
    os.close(lock)
    if not free:
        raise _in_use(path)
    return take_lock(path, shared=shared)


def is_current(path: Path, lock: int) -> bool:
    """Say whether a lock is of the file that others would lock now."""
    try:
        return os.path.samestat(os.fstat(lock), (path / LOCK).stat())
    except FileNotFoundError:
        return False


def _in_use(path: Path) -> StorageError:
    return StorageError(
        f"the run {str(path)!r} is being written by another process",
        "One process does the steps of a run; any number write shards (--shard i/n).",
        "Wait for it, or choose another --out.",
    )


def try_lock(lock: int, *, shared: bool) -> bool:
    """Lock a file, or change the kind of its lock, and say whether that was possible.

    Where it was not, the lock that was held may be lost: a change is a release and a new lock.
    """
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _BUSY:
            raise
        return False
    return True


def free_lock(path: Path, lock: int) -> None:
    """Free a lock, and remove its file where nobody else holds it."""
    with contextlib.suppress(OSError):
        if try_lock(lock, shared=False):
            (path / LOCK).unlink()
    os.close(lock)
