"""Conditions of a benchmark of `curate`: which method, how many tiles, and which sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foveate.bench.curate.probe import Sampler

ALL = "all tiles"
FLOOR = "same set"  # one random set, trained on anew under each seed: the noise floor


@dataclass(frozen=True)
class Condition:
    """One measurement, under each seed.

    Attributes:
        method: A method of `curate`; `ALL`, or `FLOOR`.
        share: Share of the tiles that are chosen, 0 to 1.
        sampler: How the training draws from the chosen tiles.
    """

    method: str
    share: float
    sampler: Sampler

    @property
    def name(self) -> str:
        """Name in steps and files."""
        return f"{self.method} {self.percent} {self.sampler}"

    @property
    def percent(self) -> str:
        """The share as it is typed."""
        return f"{100 * self.share:g}%"


def condition(method: str, share: float, sampler: Sampler) -> Condition:
    """Return a condition; a method that may take everything is all the same."""
    return Condition(ALL if share >= 1 else method, min(share, 1.0), sampler)
