"""Process shards in actors of a Ray cluster (extra ``dist``).

Uses Ray Core only. Each actor creates the worker function once and has at most two shards in
flight, so that it never waits for the next one. Every node must be able to read and write the run
directory and the imagery under the same paths.
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

_IN_FLIGHT = 2  # shards of an actor: the current one and the next
_CONNECT_TIMEOUT = 5.0  # seconds
_OBJECT_STORE = 300 << 20  # bytes of shared memory of a local cluster: only receipts are stored


def check_ray(address: str = "") -> None:
    """Check that Ray is installed and that a cluster address accepts connections.

    Raises:
        MissingExtraError: Ray is not installed.
        ParameterError: The address is malformed or refuses connections.
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
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT).close()
    except OSError as error:
        raise ParameterError(
            f"no Ray cluster responds at {address!r} ({error.strerror or error})",
            "--address is the address printed by ray start --head.",
            "Start a cluster there, or omit --address to start one on this machine.",
        ) from error


class _Worker:
    """Actor that runs the worker function in its own process."""

    def __init__(self, make_worker: Any, threads: int) -> None:
        start_worker(make_worker, threads)

    def call(self, shard: int) -> Any:
        """Process a shard; return a FoveateError, which Ray would wrap if it were raised."""
        try:
            return call_worker(shard)
        except FoveateError as error:
            return error


@contextlib.contextmanager
def _cluster(address: str, workers: int, gpus: float) -> Generator[Any]:
    """Yield ray, connected to a cluster."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address:
        options |= {"address": address}
    else:
        # All workers must start, even on a machine with fewer cores.
        options |= {
            "num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECT_STORE
        }  # fmt: skip
    initialized = ray.is_initialized()
    try:
        if not initialized:
            ray.init(**options)
    except Exception as error:  # Ray raises no narrower class if nodes fail to start
        raise _no_cluster(address, str(error)) from error
    try:
        available = float(ray.cluster_resources().get("GPU", 0))
        if gpus > available:
            raise ParameterError(
                f"{gpus:g} GPUs for each worker, and the cluster has {available:g}",
                "A worker that needs more GPUs would wait forever.",
                "Lower --gpus-per-worker.",
            )
        yield ray
    finally:
        if not initialized:
            ray.shutdown()


def _no_cluster(address: str, reason: str) -> FoveateError:
    first_line = (reason.splitlines() or [""])[0].rstrip(".")
    if address:
        return ParameterError(
            f"no Ray cluster at {address!r}: {first_line}",
            "--address is the address printed by ray start --head.",
            "Omit --address to start a cluster on this machine.",
        )
    return StorageError(
        f"Ray cannot be started on this machine: {first_line}",
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
    """Yield ``(shard, result)`` as shards finish.

    Args:
        make_worker: See `map_shards`; must be picklable.
        todo: Shard numbers.
        workers: Number of actors, each with one CPU.
        address: Address of a cluster; "" to start a local one.
        gpus: Fraction of a GPU for each actor.

    Raises:
        MissingExtraError: Ray is not installed.
        ParameterError: No cluster responds, or it has fewer GPUs than one actor needs.
        StorageError: Actors were lost repeatedly while processing one shard.
        Exception: Any error of a shard.
    """
    check_ray(address)
    with _cluster(address, workers, gpus) as ray:
        factory = ray.put(make_worker)
        # One thread for each actor: the results equal those of other drivers byte for byte.
        actor = ray.remote(num_cpus=1, num_gpus=gpus)(_Worker)
        yield from _ActorPool(ray, lambda: actor.remote(factory, 1), workers).work(todo)


class _ActorPool:
    """Actors and their shards in flight."""

    def __init__(self, ray: Any, start_actor: Callable[[], Any], size: int) -> None:
        self.ray, self.start_actor, self.size = ray, start_actor, size
        self.attempts = Attempts()
        self.actors: list[Any] = []
        self.in_flight: dict[Any, tuple[Any, int]] = {}  # future -> actor, shard

    def work(self, todo: list[int]) -> Iterator[tuple[int, Any]]:
        """Distribute shards and yield their results as they finish."""
        left = list(reversed(todo))
        retried: set[int] = set()  # shards that failed in one actor
        while left or self.in_flight:
            self._submit(left)
            ready, _ = self.ray.wait(list(self.in_flight), num_returns=1)
            actor, shard = self.in_flight.pop(ready[0])
            try:
                result = self.ray.get(ready[0])
            except self.ray.exceptions.RayActorError as error:
                left += self._recover(actor, shard, error)
                continue
            if isinstance(result, FoveateError):
                # Retry in another actor: one node may be at fault, for example by a missing mount.
                if shard in retried or self.size == 1:
                    raise result
                retried.add(shard)
                left.append(shard)
                self._stop(actor, left)
                continue
            result, fetched = result
            count(fetched)
            yield shard, result

    def _submit(self, left: list[int]) -> None:
        while len(self.actors) < min(self.size, len(left) + len(self.in_flight)):
            self.actors.append(self.start_actor())
        for depth in range(1, _IN_FLIGHT + 1):  # one shard for every actor before a second one
            for actor in self.actors:
                busy = sum(other is actor for other, _ in self.in_flight.values())
                if left and busy < depth:
                    shard = left.pop()
                    self.in_flight[actor.call.remote(shard)] = (actor, shard)

    def _stop(self, actor: Any, left: list[int]) -> None:
        """Kill an actor, and append its shards in flight to `left`."""
        futures = [future for future, (other, _) in self.in_flight.items() if other is actor]
        left += [self.in_flight.pop(future)[1] for future in futures]
        self.actors = [other for other in self.actors if other is not actor]
        self.ray.kill(actor)

    def _recover(self, actor: Any, shard: int, error: Exception) -> list[int]:
        """Return all shards of a lost actor.

        Raises:
            StorageError: Too many actors were lost while processing `shard`.
        """
        shards: list[int] = [shard]
        self._stop(actor, shards)
        self.attempts.lost([shard], str(error).splitlines()[0].rstrip("."))
        return shards
