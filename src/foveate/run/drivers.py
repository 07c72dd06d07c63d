"""Running the shards of a step: in this process, or in a pool of processes.

The work is a plain function of one shard, so any other engine can map it too.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from foveate.errors import ParameterError
from foveate.raster import close_files
from foveate.remote import Traffic, traffic
from foveate.remote.traffic import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# What this process does with a shard: one function, once it has been made.
_made: list[Callable[[int], Any]] = []


def map_shards(
    make_worker: Callable[[], Callable[[int], Any]], shards: Iterable[int], workers: int = 1
) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` as shards finish.

    Args:
        make_worker: Makes the function of a shard number; called once in each process, so that a
            model is loaded once. Must be picklable when `workers` > 1.
        shards: Shard numbers.
        workers: Processes. Each gets cores / workers threads for linear algebra.

    Raises:
        ParameterError: `workers` is below 1.
        Exception: Whatever a shard raises; the shards that were finished have been yielded.
    """
    todo = list(shards)
    if workers < 1:
        raise ParameterError(f"workers = {workers}", "At least one process is needed.")
    if workers == 1 or len(todo) < 2:
        if todo:
            work = make_worker()
            for shard in todo:
                yield shard, work(shard)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    # A forked process would inherit locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(todo)), context, initializer=_start, initargs=(make_worker, threads)
    ) as pool:
        futures = {pool.submit(_call, shard): shard for shard in todo}
        try:
            for future in as_completed(futures):
                result, fetched = future.result()
                count(fetched)
                yield futures[future], result
        finally:
            pool.shutdown(cancel_futures=True)


def _start(make_worker: Callable[[], Callable[[int], Any]], threads: int) -> None:
    from threadpoolctl import threadpool_limits

    # The variable is for libraries that the worker is yet to load (torch), the call for the rest.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)
    atexit.register(close_files)  # GDAL complains of files that outlive the interpreter
    _made[:] = [make_worker()]


def _call(shard: int) -> tuple[Any, Traffic]:
    before = traffic()
    return _made[0](shard), traffic() - before
