"""Run the shards of a step in this process, in a process pool, or in actors of a Ray cluster.

A worker is a function of the shard number, created once in each process. It writes a file and
returns a receipt. Only shard numbers and receipts are transferred between processes, so another
driver can resume a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from foveate.errors import ParameterError
from foveate.run.drivers.processes import in_processes, in_this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["DriverName", "Placement", "map_shards"]

DriverName = Literal["local", "ray"]


@dataclass(frozen=True)
class Placement:
    """Where shards are processed.

    Attributes:
        workers: Number of processes or actors.
        driver: "local" for processes of this machine, "ray" for actors of a cluster.
        address: Address of a Ray cluster; "" starts a local cluster for the duration of the step.
        gpus: Fraction of a GPU reserved for each actor.
        part: ``(i, n)``: process only every n-th shard starting from the i-th, counted from 1;
            other processes make the others at the same time.

    Raises:
        ParameterError: `workers` is less than 1, or not 1 <= i <= n.
    """

    workers: int = 1
    driver: DriverName = "local"
    address: str = ""
    gpus: float = 0.0
    part: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.workers < 1:
            raise ParameterError(f"workers = {self.workers}", "At least one process is needed.")
        if self.part is not None and not 1 <= self.part[0] <= self.part[1]:
            raise ParameterError(f"part {self.part}", "A part is (i, n) with 1 <= i <= n.")

    @property
    def elsewhere(self) -> bool:
        """Whether shards are processed outside this process."""
        return self.workers > 1 or self.driver == "ray"

    def share(self, shards: Sequence[Any]) -> Sequence[Any]:
        """Return the shards that belong to `part`."""
        return shards if self.part is None else shards[self.part[0] - 1 :: self.part[1]]


def map_shards(
    make_worker: Callable[[], Callable[[int], Any]],
    shards: Iterable[int],
    place: Placement | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` as shards finish.

    Args:
        make_worker: Creates the function of a shard number. Called once in each process, so that a
            model is loaded once. Must be picklable unless it is called in this process.
        shards: Shard numbers.
        place: Where shards are processed; None for this process.

    Raises:
        StorageError: Workers died repeatedly while processing one shard.
        MissingExtraError: Ray is not installed.
        Exception: Any error of a shard; finished shards have been yielded before.
    """
    place, todo = place or Placement(), list(shards)
    if not todo:
        return iter(())
    if place.driver == "ray":
        from foveate.run.drivers.actors import in_actors

        return in_actors(make_worker, todo, place.workers, place.address, place.gpus)
    if place.workers == 1 or len(todo) < 2:
        return in_this_process(make_worker, todo)
    return in_processes(make_worker, todo, place.workers)
