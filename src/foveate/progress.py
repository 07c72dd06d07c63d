"""Progress as a callback: the library counts, the caller draws.

A long function takes ``progress: ProgressFn | None`` and opens a `Meter`. The callback gets a
`Tick` at most every `Meter.interval` seconds, and always at the start and at the end.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Self

_WIDE = 32  # characters of a step's name beside its bar


@dataclass(frozen=True, slots=True)
class Tick:
    """One report of a step.

    Attributes:
        step: What is being done, for a person ("embedding", "k-center").
        done: Units finished.
        total: Units in all, or None when unknown.
        seconds: Since the step began.
        skipped: Units of `done` that an earlier run had finished.
    """

    step: str
    done: int
    total: int | None
    seconds: float
    skipped: int = 0

    @property
    def eta(self) -> float | None:
        """Seconds left at the mean speed so far; None when it cannot be said."""
        now = self.done - self.skipped
        if self.total is None or now == 0:
            return None
        return self.seconds / now * (self.total - self.done)


ProgressFn = Callable[[Tick], None]


@dataclass
class Meter:
    """Counts the units of one step and calls back at a bearable rate.

    Attributes:
        progress: The callback, or None.
        step: What is being done.
        total: Units in all, or None.
        interval: Seconds between two reports.
        skipped: Units that an earlier run has finished: they count as done, not as speed.
        done: Units finished.

    >>> ticks = []
    >>> with Meter(ticks.append, "reading", 2) as meter:
    ...     meter.advance(2)
    >>> ticks[-1].done
    2
    """

    progress: ProgressFn | None
    step: str
    total: int | None = None
    interval: float = 0.1
    skipped: int = 0
    done: int = field(init=False)
    _start: float = field(default_factory=time.perf_counter)
    _last: float = 0.0

    def __post_init__(self) -> None:
        """Begin after the units that were there already."""
        self.done = self.skipped

    def __enter__(self) -> Self:
        """Report the start."""
        self._report()
        return self

    def __exit__(self, *exc: object) -> None:
        """Report the end, wherever it came."""
        self._report()

    def advance(self, n: int = 1) -> None:
        """Count `n` more units."""
        self.done += n
        if self.progress is not None and time.perf_counter() - self._last >= self.interval:
            self._report()

    def _report(self) -> None:
        if self.progress is not None:
            self._last = time.perf_counter()
            seconds = self._last - self._start
            self.progress(Tick(self.step, self.done, self.total, seconds, self.skipped))


@contextlib.contextmanager
def bars() -> Generator[ProgressFn]:
    """Yield a callback that draws a bar for each step on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    drawn = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    tasks: dict[str, Any] = {}

    def show(tick: Tick) -> None:
        if tick.step not in tasks:
            # A long name would leave no room for the bar.
            short = tick.step if len(tick.step) <= _WIDE else tick.step[: _WIDE - 3] + "..."
            tasks[tick.step] = drawn.add_task(short, total=tick.total)
        drawn.update(tasks[tick.step], completed=tick.done, total=tick.total)

    with drawn:
        yield show


@contextlib.contextmanager
def watched(progress: ProgressFn | bool | None) -> Generator[ProgressFn | None]:  # noqa: FBT001
    """Yield the callback of a function that a person may have called.

    Args:
        progress: A callback; True for bars, False for none, None for bars in interactive use
            (a prompt or a notebook).
    """
    if progress is None:
        progress = hasattr(sys, "ps1") or "ipykernel" in sys.modules
    if not isinstance(progress, bool):
        yield progress
    elif progress:
        with bars() as show:
            yield show
    else:
        yield None
