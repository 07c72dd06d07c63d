"""Holders: rows divided among threads, processes or Ray actors, and asked all at once.

A loop over rows that do not fit into memory is one part that decides and several that read. A
*holder* has a range of the rows and answers calls; a `Crew` sends a call to all holders and gathers
the answers: one round. What is decided does not depend on how many holders there are, nor on where
they run, because the ranges are made of whole blocks of rows and the order of answers is theirs.

Threads share the memory of the caller, and suffice on one machine: a memory map is read by all, and
numpy computes outside of the interpreter's lock. Processes and actors open the file of a memory map
themselves (`Mapped`), and what they are asked and what they answer is pickled.
"""

from __future__ import annotations

import multiprocessing
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args

import numpy as np

from foveate.errors import DataError, FoveateError, ParameterError, StorageError
from foveate.registry import suggest
from foveate.select.threads import one_thread, usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    Make = Callable[..., Any]  # makes a holder of its part
    Parts = Sequence[dict[str, Any]]  # its arguments, for each holder

__all__ = ["Crew", "Holders", "Kind", "Mapped", "opened"]

Kind = Literal["threads", "processes", "ray"]

_SHARED = 2**23  # values that are worth a holder of their own


@dataclass(frozen=True)
class Mapped:
    """Rows of a matrix in a file, for those who open it elsewhere.

    Attributes:
        path: The file.
        dtype: Type of its numbers.
        shape: (n, d) of the matrix.
        offset: Bytes before the first number.
        begin: First row.
        end: Row after the last.
    """

    path: str
    dtype: str
    shape: tuple[int, int]
    offset: int
    begin: int
    end: int

    @classmethod
    def of(cls, x: NDArray[Any], begin: int, end: int) -> Self:
        """Return rows `begin` to `end` of a memory map.

        Raises:
            DataError: It is none, or a part of one.
        """
        mapped = x if isinstance(x, np.memmap) else None
        path = None if mapped is None else getattr(mapped, "filename", None)
        part = mapped is None or isinstance(mapped.base, np.ndarray)
        if mapped is None or part or path is None or not x.flags.c_contiguous or x.ndim != 2:
            raise DataError(
                "a matrix in memory, for holders in other processes",
                "These open a file: a whole memory map, row by row.",
                "Use holders of the kind 'threads', or np.load(FILE, mmap_mode='r').",
            )
        offset = int(getattr(mapped, "offset", 0))
        return cls(
            str(Path(path).resolve()), x.dtype.str, (x.shape[0], x.shape[1]), offset, begin, end
        )

    def open(self) -> NDArray[Any]:
        """Map the rows.

        Raises:
            DataError: The file cannot be read here.
        """
        try:
            whole = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the matrix {self.path!r} cannot be read by a holder: {error}",
                "All holders read one file: its folder has to be shared by their machines.",
            ) from None
        return whole[self.begin : self.end]


def opened(x: NDArray[Any] | Mapped) -> NDArray[Any]:
    """Return rows, opened if they are in a file."""
    return x.open() if isinstance(x, Mapped) else x


class Crew(Protocol):
    """Holders at work."""

    ranges: list[slice]

    def each(self, name: str, *arguments: Any) -> list[Any]:
        """Call a method of all holders with the same arguments; return their answers in order."""
        ...

    def one(self, holder: int, name: str, *arguments: Any) -> Any:
        """Call a method of one holder."""
        ...


@dataclass(frozen=True)
class Holders:
    """How rows are divided.

    Attributes:
        count: How many holders; None for as many threads as linear algebra may use here, fewer
            where there is little to do.
        kind: "threads", "processes", or "ray" for actors of a Ray cluster.
        address: Of the cluster, where this process is not connected to one: None for a new one on
            this machine.

    Raises:
        ParameterError: No such kind, or no holders.
    """

    count: int | None = None
    kind: Kind = "threads"
    address: str | None = None

    def __post_init__(self) -> None:
        """Check what is stated."""
        if self.kind not in get_args(Kind):
            raise ParameterError(
                f"holders of the kind {self.kind!r}", f"Allowed: {', '.join(get_args(Kind))}.",
                suggest(str(self.kind), get_args(Kind)),
            )  # fmt: skip
        if self.count is not None and self.count < 1:
            raise ParameterError(f"{self.count} holders", "Allowed is 1 or more.")
        if self.address is not None and self.kind != "ray":
            raise ParameterError(
                f"an address for holders of the kind {self.kind!r}",
                "Only actors of Ray have one.", "Use the kind 'ray'.",
            )  # fmt: skip

    @property
    def remote(self) -> bool:
        """Whether holders are in other processes."""
        return self.kind != "threads"

    def ranges(self, n: int, d: int, block: int) -> list[slice]:
        """Divide n rows of d columns into ranges of whole blocks, at most one per holder."""
        blocks = -(-n // block)
        count = self.count
        if count is None:
            count = min(usable_threads(), max(1, n * d // _SHARED))
        edges = np.arange(count + 1) * blocks // count * block
        pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        return [slice(begin, min(end, n)) for begin, end in pairs if begin < end]

    def part(self, x: NDArray[Any], rows: slice) -> NDArray[Any] | Mapped:
        """Return rows of a matrix for a holder: a view, or where other processes find them.

        Raises:
            DataError: These need a file, and the matrix is not one.
        """
        return Mapped.of(x, rows.start, rows.stop) if self.remote else x[rows]

    def open(self, make: Make, ranges: list[slice], parts: Parts) -> AbstractContextManager[Crew]:
        """Set holders to work.

        Args:
            make: Makes a holder from its part; of other processes, it is importable there.
            ranges: What each has.
            parts: Keyword arguments of `make`.

        Raises:
            ParameterError: Ray is not installed.
            StorageError: A cluster cannot be reached.
        """
        if self.kind == "threads":
            return _Threads(make, ranges, parts)
        if self.kind == "processes":
            return _Processes(make, ranges, parts)
        return _Actors(make, ranges, parts, self.address)


class _Threads(ExitStack):
    """Holders in this process, a thread each; a single one without a thread."""

    def __init__(self, make: Make, ranges: list[slice], parts: Parts) -> None:
        super().__init__()
        self.ranges = ranges
        self._held = [make(**part) for part in parts]
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if len(self._held) > 1:
            self._pool = self.enter_context(ThreadPoolExecutor(len(self._held)))
            self.enter_context(one_thread())  # each
        return self

    def each(self, name: str, *arguments: Any) -> list[Any]:
        if self._pool is None:
            return [getattr(held, name)(*arguments) for held in self._held]
        asked = [self._pool.submit(getattr(held, name), *arguments) for held in self._held]
        return [answer.result() for answer in asked]

    def one(self, holder: int, name: str, *arguments: Any) -> Any:
        return getattr(self._held[holder], name)(*arguments)


class _Processes(ExitStack):
    """Holders in processes of this machine."""

    def __init__(self, make: Make, ranges: list[slice], parts: Parts) -> None:
        super().__init__()
        self.ranges = ranges
        self._make, self._parts = make, parts
        self._pipes: list[Connection] = []
        self.pids: list[int | None] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for _ in self._parts:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            there.close()
            self.pids.append(process.pid)
            self.callback(process.join)
            self.callback(here.close)  # first: it ends when its pipe does
            self._pipes.append(here)
        try:
            for number, part in enumerate(self._parts):
                self._send(number, (self._make, part))
        except BaseException:
            self.close()
            raise
        return self

    def each(self, name: str, *arguments: Any) -> list[Any]:
        for number in range(len(self._pipes)):
            self._send(number, (name, arguments))
        answers = [self._answer(number) for number in range(len(self._pipes))]
        return [_result(*answer) for answer in answers]

    def one(self, holder: int, name: str, *arguments: Any) -> Any:
        self._send(holder, (name, arguments))
        return _result(*self._answer(holder))

    def _send(self, number: int, message: tuple[Any, Any]) -> None:
        try:
            self._pipes[number].send(message)
        except OSError:
            raise _lost(number, self.ranges) from None

    def _answer(self, number: int) -> tuple[bool, Any]:
        try:
            return self._pipes[number].recv()
        except (EOFError, OSError):
            raise _lost(number, self.ranges) from None


def _lost(number: int, ranges: list[slice]) -> StorageError:
    rows = ranges[number]
    return StorageError(
        f"holder {number + 1} of {len(ranges)} (rows {rows.start} to {rows.stop - 1}) ended",
        "Its process was killed, or found no memory.",
        "Run it again, with more holders if memory is short.",
    )


def _result(fine: bool, answer: Any) -> Any:  # noqa: FBT001  (two parts of one message)
    if fine:
        return answer
    raise answer


def _serve(pipe: Connection) -> None:
    """Make a holder, and answer calls until the pipe is closed."""
    with one_thread():
        try:
            make, part = pipe.recv()
        except EOFError:
            return
        held = None
        while True:
            try:
                name, arguments = pipe.recv()
            except EOFError:
                return
            try:
                held = make(**part) if held is None else held
                pipe.send((True, getattr(held, name)(*arguments)))
            except FoveateError as error:
                pipe.send((False, error))
            except Exception:  # noqa: BLE001  (told where it is seen)
                pipe.send((False, RuntimeError(traceback.format_exc())))


class _Actor:
    """What a Ray actor is made of."""

    def __init__(self, make: Make, part: dict[str, Any]) -> None:
        self._make, self._part = make, part
        self._held: Any = None

    def ask(self, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        with one_thread():
            try:
                self._held = self._make(**self._part) if self._held is None else self._held
                return True, getattr(self._held, name)(*arguments)
            except FoveateError as error:
                return False, error


class _Actors(ExitStack):
    """Holders in actors of Ray Core, a processor each."""

    def __init__(self, make: Make, ranges: list[slice], parts: Parts, address: str | None) -> None:
        super().__init__()
        self.ranges = ranges
        self._make, self._parts, self._address = make, parts, address
        self._ray = _ray()
        self._actors: list[Any] = []

    def __enter__(self) -> Self:
        ray = self._ray
        if not ray.is_initialized():
            # As many as were asked for, also on a machine with fewer cores.
            here = {} if self._address else {"num_cpus": len(self._parts)}
            try:
                ray.init(
                    address=self._address, include_dashboard=False, log_to_driver=False,
                    logging_level="error", **here,
                )  # fmt: skip
            except Exception as error:  # nodes that do not come up raise no other class
                ray.shutdown()
                said = (str(error).splitlines() or [""])[0].rstrip(".")
                raise StorageError(
                    f"no Ray cluster at {self._address or 'this machine'}: {said}",
                    "Expected the address of a running one, host:port.",
                    "Start it with ray start --head, or leave the address out.",
                ) from error
            self.callback(ray.shutdown)
        there = int(ray.cluster_resources().get("CPU", 0))
        if there < len(self._parts):
            self.close()
            raise ParameterError(
                f"{len(self._parts)} holders in a cluster of {there} processors",
                "Each asks for one, and would wait for ever.", f"Use {max(there, 1)} at most.",
            )  # fmt: skip
        actor = ray.remote(num_cpus=1)(_Actor)
        for part in self._parts:
            self._actors.append(actor.remote(self._make, part))
            self.callback(ray.kill, self._actors[-1])
        return self

    def each(self, name: str, *arguments: Any) -> list[Any]:
        asked = [actor.ask.remote(name, arguments) for actor in self._actors]
        return [_result(*self._get(number, answer)) for number, answer in enumerate(asked)]

    def one(self, holder: int, name: str, *arguments: Any) -> Any:
        return _result(*self._get(holder, self._actors[holder].ask.remote(name, arguments)))

    def _get(self, number: int, answer: Any) -> tuple[bool, Any]:
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayActorError:
            raise _lost(number, self.ranges) from None


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ParameterError(
            "holders of the kind 'ray', and Ray is not installed",
            "",
            'pip install "foveate[dist]", or use the kind "processes".',
        ) from None
    return ray
