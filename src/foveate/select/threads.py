"""Threads of linear algebra: how many may be used, and the limit to one.

The number of threads changes the last bits of a product, so loops whose result must not depend on
the machine use one, or divide their rows among holders of one thread each.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

from threadpoolctl import ThreadpoolController, threadpool_info

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["one_thread", "usable_threads"]


def one_thread() -> AbstractContextManager[object]:
    """Limit linear algebra to one thread."""
    return _libraries().limit(limits=1)


def usable_threads() -> int:
    """Return how many threads linear algebra uses: what the environment and the machine allow."""
    used = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min([*used, allowed]))


@functools.cache
def _libraries() -> ThreadpoolController:
    # Finding the loaded libraries takes some milliseconds, so it is done once.
    import sklearn.cluster  # noqa: F401

    return ThreadpoolController()
