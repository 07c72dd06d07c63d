"""Run each contender in a process of its own; measure CPU seconds and extra memory.

CPU seconds are user plus system time of the call, by all its threads. Extra memory is the peak
resident set during the call less the resident set before it, so neither the data nor the imports
count. Wall time is not reported: it says more about the neighbours than about the code.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Measured:
    """CPU seconds (median of the runs), extra bytes (largest), and what the call returned."""

    cpu: float
    extra: int
    rows: np.ndarray
    notes: dict[str, Any]


class _Peak(threading.Thread):
    """Peak resident set: the kernel's high-water mark where it can be reset, else sampled."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process()
        self._stop_asked = threading.Event()
        self.before = self.peak = self._process.memory_info().rss
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._kernel = True
        except OSError:
            self._kernel = False

    def run(self) -> None:
        while not self._kernel and not self._stop_asked.wait(0.005):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def extra(self) -> int:
        """Stop and return the extra bytes."""
        self._stop_asked.set()
        if self._kernel:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            mark = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            self.peak = int(mark.split()[1]) * 1024
        return max(self.peak - self.before, 0)


def call(function: Callable[[], tuple[np.ndarray, dict[str, Any]]], out: str) -> None:
    """In the worker: measure one call and write the result to the file `out`."""
    peak = _Peak()
    peak.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    rows, notes = function()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    extra = peak.extra()
    np.save(f"{out}.npy", rows)
    Path(out).write_text(json.dumps({"cpu": cpu, "extra": extra, "notes": notes}), "utf-8")


def measure(script: str, arguments: list[str], runs: int = 1) -> Measured:
    """Run ``python script --worker OUT arguments`` `runs` times."""
    results = []
    rows = np.empty(0, np.int64)
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "result.json")
        for _ in range(runs):
            command = [sys.executable, script, "--worker", out, *arguments]
            subprocess.run(command, check=True, env=os.environ)
            results.append(json.loads(Path(out).read_text("utf-8")))
            rows = np.load(f"{out}.npy")
    return Measured(
        statistics.median(r["cpu"] for r in results),
        max(r["extra"] for r in results),
        rows,
        results[-1]["notes"],
    )


def anonymous() -> int:
    """Return the bytes of this process that the system cannot drop; not those of mapped files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(s for s in status.splitlines() if s.startswith("RssAnon")).split()[1]) * 1024


def watched(function: Callable[[], Any]) -> tuple[Any, float, int]:
    """Return what a call returns, its CPU seconds, and its extra anonymous memory."""
    before, over = anonymous(), threading.Event()
    peak = [before]

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start = time.process_time()
    found = function()
    cpu = time.process_time() - start
    over.set()
    thread.join()
    return found, cpu, peak[0] - before


def table(head: list[str], lines: list[list[str]]) -> None:
    """Print a table with aligned columns: names to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, ["-" * w for w in widths], *lines]:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(cells), flush=True)


def machine() -> str:
    """Describe what the numbers depend on."""
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return (
        f"{os.cpu_count()} cores, OMP_NUM_THREADS {threads}, numpy {np.__version__}; "
        "CPU s = user + system; extra = peak resident set less that before the call"
    )
