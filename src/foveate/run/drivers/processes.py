"""Process shards in this process, or in a process pool of this machine."""

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

_worker: list[Callable[[int], Any]] = []  # the worker function of this process, if created


def in_this_process(make_worker: MakeWorker, todo: list[int]) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` in order."""
    work = make_worker()
    for shard in todo:
        yield shard, work(shard)


def in_processes(
    make_worker: MakeWorker, todo: list[int], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` as shards finish; killed processes are replaced.

    Each process uses cores / workers threads for linear algebra, at most OMP_NUM_THREADS. The last
    bits of the output of a network depend on the number of threads.

    Raises:
        StorageError: Processes were killed repeatedly while processing one shard.
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
    limit = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(cores, int(limit)) if limit.isdigit() and int(limit) else cores
    # A forked process would inherit locks held by threads that do not exist in it.
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
    """Create the worker function of this process and set its number of threads."""
    from threadpoolctl import threadpool_limits

    # The variable applies to libraries loaded later (torch), the call to those already loaded.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)
    atexit.register(close_files)  # GDAL reports files that are still open at exit
    _worker[:] = [make_worker()]


def call_worker(shard: int) -> tuple[Any, Traffic]:
    """Process a shard; return its result and the traffic of remote files."""
    before = traffic()
    return _worker[0](shard), traffic() - before
