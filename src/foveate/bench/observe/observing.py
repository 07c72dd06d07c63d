"""Conditions of a benchmark of `observe`: who chose the tiles, how many, and how it completed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from foveate.observe.networks.sizes import ARCHITECTURES, Architecture

CURVE = (0.02, 0.05, 0.12, 0.25, 0.5)  # observed shares, over which areas are taken
SHARES = (0.05, 0.12, 0.3)  # observed shares of the tables of completion
BLIND: dict[str, Architecture] = {
    "kriged-blind": replace(ARCHITECTURES["kriged"], lr_context=False),
    "plain-blind": replace(ARCHITECTURES["plain"], lr_context=False),
}
"""Architectures whose blocks do not see the LR tokens; "plain-blind" sees HR alone (Table 6)."""


@dataclass(frozen=True)
class Condition:
    """One measurement, under each seed: what was observed, and how it was completed.

    Attributes:
        policy: Who chose the tiles: a policy of `observe`; "none" or "all"; "learned:TARGET", the
            sampler of a target; "tau=TAU", all tiles above a threshold.
        share: Observed share of the tiles; 0 where the policy says it.
        completion: How the rest was completed: "none", "nearest", "fill", "conv" (convolutional
            fill), "kriging", "ours", "full"; "form:NAME" and "depth:N", predictors of their own;
            "init", "ours" trained from the weights of another observer; "head", concept
            classifiers on LR tokens, without any completion.
    """

    policy: str
    share: float
    completion: str

    @property
    def name(self) -> str:
        """Name in steps and files."""
        return f"{self.policy}@{self.share:g} {self.completion}"


def curve(policy: str, completion: str) -> tuple[Condition, ...]:
    """Return the conditions of a curve over observed shares."""
    return tuple(Condition(policy, share, completion) for share in CURVE)
