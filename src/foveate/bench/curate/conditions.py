"""Conditions of a benchmark of `curate`: method, budget and sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sampler = Literal["none", "balanced"]

ALL = "all tiles"
FLOOR = "same set"  # one random set, trained on with each seed: the noise floor


@dataclass(frozen=True)
class Condition:
    """One measurement, repeated with each seed.

    Attributes:
        method: A method of `curate`; `ALL`, or `FLOOR`.
        share: Share of the tiles that are selected, 0 to 1.
        sampler: Sampling of the selected tiles in training.
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
        """The share as a budget, such as "5%"."""
        return f"{100 * self.share:g}%"


def condition(method: str, share: float, sampler: Sampler) -> Condition:
    """Return a condition; at a share of 1 all methods are `ALL`."""
    return Condition(ALL if share >= 1 else method, min(share, 1.0), sampler)
