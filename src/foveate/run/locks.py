"""The lock of a run directory: exclusive for steps, shared for writing shards.

The operating system releases a lock when its process dies. Network file systems must support
`flock` (NFS 4, Lustre mounted with ``-o flock``, BeeGFS with locks enabled).
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
    """Lock a run without waiting, and return the file descriptor of the lock.

    Args:
        path: Run directory.
        shared: Whether other processes that only write shards may hold the lock, too.

    Raises:
        StorageError: Another process holds the lock.
        OSError: The lock file cannot be opened, or the file system does not support locks.
    """
    lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        free = try_lock(lock, shared=shared)
    except OSError:
        os.close(lock)
        raise
    # The previous holder removes its lock file, so the locked file may already be deleted.
    if free and is_current(path, lock):
        return lock
    os.close(lock)
    if not free:
        raise _in_use(path)
    return take_lock(path, shared=shared)


def is_current(path: Path, lock: int) -> bool:
    """Return whether a lock refers to the file that other processes would lock now."""
    try:
        return os.path.samestat(os.fstat(lock), (path / LOCK).stat())
    except FileNotFoundError:
        return False


def _in_use(path: Path) -> StorageError:
    return StorageError(
        f"the run {str(path)!r} is being written by another process",
        "Only one process can run the steps of a run; several can write shards (--shard i/n).",
        "Wait until it has finished, or choose another --out.",
    )


def try_lock(lock: int, *, shared: bool) -> bool:
    """Lock a file, or convert its lock; return whether that succeeded.

    A failed conversion may lose the previous lock, because `flock` releases it before locking.
    """
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _BUSY:
            raise
        return False
    return True


def free_lock(path: Path, lock: int) -> None:
    """Release a lock, and remove its file if no other process holds it."""
    with contextlib.suppress(OSError):
        if try_lock(lock, shared=False):
            (path / LOCK).unlink()
    os.close(lock)
