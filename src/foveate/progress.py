"""Progress reports through a callback: the library counts, the caller displays.

Long-running functions have an argument ``progress: ProgressFn | None`` and open a `Meter`. The
callback receives a `Tick` at most every `Meter.interval` seconds, and always at the start and at
the end.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Self

_WIDE = 32  # maximum characters of the name of a step next to its bar


@dataclass(frozen=True, slots=True)
class Tick:
    """A progress report of a step.

    Attributes:
        step: Name of the step for display ("embedding", "k-center").
        done: Number of finished units.
        total: Total number of units, or None if unknown.
        seconds: Seconds since the start of the step.
        skipped: Units of `done` that were finished by an earlier run.
    """

    step: str
    done: int
    total: int | None
    seconds: float
    skipped: int = 0

    @property
    def eta(self) -> float | None:
        """Estimated remaining seconds at the mean speed so far; None if unknown."""
        finished = self.done - self.skipped
        if self.total is None or finished == 0:
            return None
        return self.seconds / finished * (self.total - self.done)


ProgressFn = Callable[[Tick], None]


@dataclass
class Meter:
    """Counts the units of one step and reports progress at a limited rate.

    Attributes:
        progress: The callback, or None.
        step: Name of the step.
        total: Total number of units, or None if unknown.
        interval: Minimum seconds between two reports.
        skipped: Units finished by an earlier run: they count as done, but not for the speed.
        done: Number of finished units.

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
        """Start counting at the skipped units."""
        self.done = self.skipped

    def __enter__(self) -> Self:
        """Report the start."""
        self._report()
        return self

    def __exit__(self, *exc: object) -> None:
        """Report the end, also after an exception."""
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
            # Long names are truncated to leave space for the bar.
            short = tick.step if len(tick.step) <= _WIDE else tick.step[: _WIDE - 3] + "..."
            tasks[tick.step] = drawn.add_task(short, total=tick.total)
        drawn.update(tasks[tick.step], completed=tick.done, total=tick.total)

    with drawn:
        yield show


@contextlib.contextmanager
def watched(progress: ProgressFn | bool | None) -> Generator[ProgressFn | None]:  # noqa: FBT001
    """Yield the progress callback of a public function.

    Args:
        progress: A callback; True for bars, False for no progress, None for bars in interactive
            use (a prompt or a notebook).
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
