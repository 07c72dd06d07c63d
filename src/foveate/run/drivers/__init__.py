"""What runs the shards of a step: this process, a pool of processes, or actors of a Ray cluster.

The work is a plain function of the number of a shard, made once in each process. It writes a file
and returns a receipt; numbers and receipts are all that travels. So a run that one driver has
begun any other can finish.
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
    """Where shards are made.

    Attributes:
        workers: Processes, or actors.
        driver: "local" for processes of this machine, "ray" for actors of a cluster.
        address: Of a Ray cluster; empty for one that is started here, for as long as it takes.
        gpus: Share of a GPU that each actor takes.
        part: ``(i, n)``: of all shards only every n-th from the i-th on, counted from 1; others
            make the rest at the same time.

    Raises:
        ParameterError: No worker, or a part that is none.
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
            raise ParameterError(f"part {self.part}", "The i-th of n parts: 1 <= i <= n.")

    @property
    def elsewhere(self) -> bool:
        """Whether shards are made in other processes than this one."""
        return self.workers > 1 or self.driver == "ray"

    def share(self, shards: Sequence[Any]) -> Sequence[Any]:
        """Return those of the shards that are to be made here."""
        return shards if self.part is None else shards[self.part[0] - 1 :: self.part[1]]


def map_shards(
    make_worker: Callable[[], Callable[[int], Any]],
    shards: Iterable[int],
    place: Placement | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield ``(shard, result)`` as shards finish.

    Args:
        make_worker: Makes the function of a shard number; called once in each process, so that a
            model is loaded once. Must be picklable unless it is called in this process.
        shards: Shard numbers.
        place: Where; in this process when None.

    Raises:
        StorageError: A worker died again and again over one shard.
        MissingExtraError: Ray is not installed.
        Exception: Whatever a shard raises; the shards that were finished have been yielded.
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
