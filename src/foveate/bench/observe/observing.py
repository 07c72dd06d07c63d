"""Conditions of a benchmark of `observe`: policy, observed share, and completion."""

from __future__ import annotations

from dataclasses import dataclass, replace

from foveate.observe.networks.sizes import ARCHITECTURES, Architecture

CURVE = (0.02, 0.05, 0.12, 0.25, 0.5)  # observed shares of curves
SHARES = (0.05, 0.12, 0.3)  # observed shares of the tables of completion
MAIN_OWN = "learned, ours"
BLIND: dict[str, Architecture] = {
    "kriged-blind": replace(ARCHITECTURES["kriged"], lr_context=False),
    "plain-blind": replace(ARCHITECTURES["plain"], lr_context=False),
}
"""Architectures whose blocks have no LR tokens; "plain-blind" has HR tokens only (Table 6)."""


@dataclass(frozen=True)
class Condition:
    """One measurement under each seed: observed tiles and completion.

    Attributes:
        policy: Selection of tiles: a policy of `observe`; "none" or "all"; "learned:TARGET", the
            sampler of a target; "tau=TAU", all tiles above a threshold, "tau-raw=TAU" on the scale
            of the paper; "encoder", a single encoder, named in the completion, and "zero-shot", a
            single encoder by texts.
        share: Observed share of the tiles; 0 if the policy determines it.
        completion: Completion of the other tiles: "none", "nearest", "fill", "conv"
            (convolutional fill), "kriging", "ours", "full"; "form:NAME" and "depth:N", other
            predictors; "init", "ours" trained from the weights of another observer; "predicted"
            and "predicted:NAME", predictions for observed tiles too; "lr tile" and "lr scene", LR
            tokens instead of HR; "tuned", "ours" with classifiers fitted to it; "head", "sar hr"
            and "sar", classifiers without completion.
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


# Further methods of Tables 1, 2 and 4: label, policy, observed share (0: that of the job),
# completion.
PAPER_ROWS = (
    ("SAR (only HR)", "all", 1, "sar hr"),
    ("SAR (LR+HR)", "all", 1, "sar"),
    ("SAR (KD)", "none", 0, "sar"),
    ("SAR", "sar", 0, "sar"),
    ("N.L. sampling, SAR", "covariate", 0, "sar"),
    ("N.L. sampling, ours", "covariate", 0, "ours"),
    ("ours, all tiles", "all", 1, "predicted"),
    ("ours, all tiles without LR", "all", 1, "predicted:plain-blind"),
    ("ours, LR alone", "none", 0, "ours"),
    ("learned, no predictor (LR kept)", "learned", 0, "lr scene"),
    ("learned, direct LR filling", "learned", 0, "lr tile"),
    ("learned, ours, tuned heads", "learned", 0, "tuned"),
)
