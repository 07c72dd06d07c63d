"""Shards in the actors of a Ray cluster (the extra ``dist``).

Ray Core only: an actor makes the function once and is handed the numbers of shards, at most two at
a time, so that it never waits for the next one. The files of the run and of the imagery lie where
every node finds them under the same paths.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from typing import TYPE_CHECKING, Any

from foveate.errors import FoveateError, MissingExtraError, ParameterError, StorageError
from foveate.remote.traffic import count
from foveate.run.drivers.attempts import Attempts
from foveate.run.drivers.processes import call_worker, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_IN_FLIGHT = 2  # shards of an actor: one that it works on, and the next
_LISTENING = 5.0  # seconds that a cluster has to answer
_STORE = 300 << 20  # bytes of shared memory of a cluster started here: only numbers travel


def check_ray(address: str = "") -> None:
    """Refuse what cannot be, before anything is written.

    Raises:
        MissingExtraError: Ray is not installed.
        ParameterError: Nobody listens at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError(
            "the driver ray needs ray, which is not installed", "",
            "Install with: pip install 'foveate[dist]', or use --workers N.",
        )  # fmt: skip
    if address and address != "auto":
        _check_listening(address)


def _check_listening(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit() and 0 < int(port) < 65536):
        raise ParameterError(
            f"the address {address!r} of a Ray cluster", "The form is HOST:PORT, or auto.",
            "For example --address 10.0.0.1:6379.",
        )  # fmt: skip
    try:
        socket.create_connection((host.strip("[]"), int(port)), _LISTENING).close()
    except OSError as error:
        raise ParameterError(
            f"no Ray cluster answers at {address!r} ({error.strerror or error})",
            "--address is what ray start --head prints.",
            "Start one there, or leave --address out: one is started on this machine.",
        ) from error


class _Worker:
    """An actor: the function of shard numbers in a process of its own."""

    def __init__(self, make_worker: Any, threads: int) -> None:
        start_worker(make_worker, threads)

    def call(self, shard: int) -> Any:
        """Do a shard. An error comes back as it is: Ray would wrap it into one of its own."""
        try:
            return call_worker(shard)
        except FoveateError as error:
            return error


@contextlib.contextmanager
def _cluster(address: str, workers: int, gpus: float) -> Generator[Any]:
    """Yield ray, connected to a cluster."""
    import ray

    here: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address:
        here |= {"address": address}
    else:
        # As many as were asked for, also on a machine with fewer cores.
        here |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE}
    joined = ray.is_initialized()
    try:
        if not joined:
            ray.init(**here)
    except Exception as error:  # what Ray raises where nodes do not come up is no other class
        raise _no_cluster(address, str(error)) from error
    try:
        there = float(ray.cluster_resources().get("GPU", 0))
        if gpus > there:
            raise ParameterError(
                f"{gpus:g} GPUs for each worker, and the cluster has {there:g}",
                "A worker that needs more would wait for ever.",
                "Lower --gpus-per-worker.",
            )
        yield ray
    finally:
        if not joined:
            ray.shutdown()


def _no_cluster(address: str, why: str) -> FoveateError:
    said = (why.splitlines() or [""])[0].rstrip(".")
    if address:
        return ParameterError(
            f"no Ray cluster at {address!r}: {said}",
            "--address is what ray start --head prints.",
            "Leave --address out: one is started on this machine.",
        )
    return StorageError(
        f"Ray cannot be started on this machine: {said}",
        "It needs memory and a few idle cores.",
        "Try again later, or use --workers N without --driver ray.",
    )


def in_actors(
    make_worker: Callable[[], Callable[[int], Any]],
    todo: list[int],
    workers: int,
    address: str = "",
    gpus: float = 0.0,
) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` as they come.

    Args:
        make_worker: See `map_shards`; picklable.
        todo: Numbers of shards.
        workers: Actors, each with one CPU.
        address: Of a cluster; empty to start one here.
        gpus: Share of a GPU of each actor.

    Raises:
        MissingExtraError: Ray is not installed.
        ParameterError: No cluster answers, or it has no such GPUs.
        StorageError: Actors were lost over one shard again and again.
        Exception: Whatever a shard raises.
    """
    check_ray(address)
    with _cluster(address, workers, gpus) as ray:
        made = ray.put(make_worker)
        # One thread each: the bytes are those of any other driver then.
        actor = ray.remote(num_cpus=1, num_gpus=gpus)(_Worker)
        yield from _Crew(ray, lambda: actor.remote(made, 1), workers).work(todo)


class _Crew:
    """Actors and the shards that they have in hand."""

    def __init__(self, ray: Any, hire: Callable[[], Any], size: int) -> None:
        self.ray, self.hire, self.size = ray, hire, size
        self.attempts = Attempts()
        self.hands: list[Any] = []
        self.given: dict[Any, tuple[Any, int]] = {}  # answer to come -> actor, shard

    def work(self, todo: list[int]) -> Iterator[tuple[int, Any]]:
        """Hand out shards and yield what comes back."""
        left = list(reversed(todo))
        second: set[int] = set()  # shards that another actor could not do
        while left or self.given:
            self._hand_out(left)
            ready, _ = self.ray.wait(list(self.given), num_returns=1)
            actor, shard = self.given.pop(ready[0])
            try:
                result = self.ray.get(ready[0])
            except self.ray.exceptions.RayActorError as error:
                left += self._replace(actor, shard, error)
                continue
            if isinstance(result, FoveateError):
                # It may be the fault of one node: a disk that is not mounted there.
                if shard in second or self.size == 1:
                    raise result
                second.add(shard)
                left.append(shard)
                self._dismiss(actor, left)
                continue
            result, fetched = result
            count(fetched)
            yield shard, result

    def _hand_out(self, left: list[int]) -> None:
        while len(self.hands) < min(self.size, len(left) + len(self.given)):
            self.hands.append(self.hire())
        for depth in range(1, _IN_FLIGHT + 1):  # everyone one shard before anyone two
            for actor in self.hands:
                busy = sum(one is actor for one, _ in self.given.values())
                if left and busy < depth:
                    shard = left.pop()
                    self.given[actor.call.remote(shard)] = (actor, shard)

    def _dismiss(self, actor: Any, left: list[int]) -> list[int]:
        """Let an actor go, and take back what it has in hand."""
        theirs = [answer for answer, (one, _) in self.given.items() if one is actor]
        back = [self.given.pop(answer)[1] for answer in theirs]
        left += back
        self.hands = [one for one in self.hands if one is not actor]
        self.ray.kill(actor)
        return back

    def _replace(self, actor: Any, shard: int, error: Exception) -> list[int]:
        """Return the shards of an actor that is gone."""
        back: list[int] = [shard]
        self._dismiss(actor, back)
        why = str(error).splitlines()[0].rstrip(".")
        self.attempts.lost([shard], why)
        return back
