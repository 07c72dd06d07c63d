"""Shards in this process, or in a pool of processes of this machine."""

from __future__ import annotations

import atexit
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from foveate.raster import close_files
from foveate.remote import Traffic, traffic
from foveate.remote.traffic import count
from foveate.run.drivers.attempts import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    MakeWorker = Callable[[], Callable[[int], Any]]

# What this process does with a shard: one function, once it has been made.
_made: list[Callable[[int], Any]] = []


def in_this_process(make_worker: MakeWorker, todo: list[int]) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` one after the other."""
    work = make_worker()
    for shard in todo:
        yield shard, work(shard)


def in_processes(
    make_worker: MakeWorker, todo: list[int], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` as they come; a process that was killed is replaced.

    Each process gets cores / workers threads for linear algebra, and no more than OMP_NUM_THREADS
    says: the last bits of a network depend on them.

    Raises:
        StorageError: Processes were killed over one shard again and again.
    """
    attempts, left = Attempts(), list(todo)
    while left:
        try:
            for shard, result in _in_pool(make_worker, list(left), workers):
                left.remove(shard)
                yield shard, result
        except BrokenProcessPool as error:
            attempts.lost(left[:workers], str(error).rstrip("."))


def _in_pool(make_worker: MakeWorker, todo: list[int], workers: int) -> Iterator[tuple[int, Any]]:
    cores = max(1, (os.cpu_count() or 1) // workers)
    stated = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(cores, int(stated)) if stated.isdigit() and int(stated) else cores
    # A forked process would inherit locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(todo)), context, initializer=start_worker, initargs=(make_worker, threads)
    ) as pool:
        futures = {pool.submit(call_worker, shard): shard for shard in todo}
        try:
            for future in as_completed(futures):
                result, fetched = future.result()
                count(fetched)
                yield futures[future], result
        finally:
            pool.shutdown(cancel_futures=True)


def start_worker(make_worker: MakeWorker, threads: int) -> None:
    """Make the function of this process, with so many threads for linear algebra."""
    from threadpoolctl import threadpool_limits

    # The variable is for libraries that the worker is yet to load (torch), the call for the rest.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)
    atexit.register(close_files)  # GDAL complains of files that outlive the interpreter
    _made[:] = [make_worker()]


def call_worker(shard: int) -> tuple[Any, Traffic]:
    """Do a shard with the function of this process; say what was fetched of remote files for it."""
    before = traffic()
    return _made[0](shard), traffic() - before
