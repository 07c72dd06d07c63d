"""Ridge regression in closed form, from sums over rows that need not be there at once."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Literal, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

Penalty = Literal["even", "each"]
_LEAST = 1e-12  # a variance of inputs that are all equal


class Ridge:
    """Sums over rows of inputs and outputs.

    Args:
        inputs: Length of an input.
        outputs: Length of an output.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        # The last input is 1: its products are the sums themselves.
        self._xx = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self._xy = torch.zeros(inputs + 1, outputs, dtype=torch.float64)
        self._yy = torch.zeros((), dtype=torch.float64)

    @property
    def weight(self) -> float:
        """Total weight of the rows."""
        return float(self._xx[-1, -1])

    def add(self, x: torch.Tensor, y: torch.Tensor, weight: float = 1.0) -> None:
        """Add rows.

        Args:
            x: (n, inputs).
            y: (n, outputs).
            weight: Of each of them.
        """
        x, y = x.double().cpu(), y.double().cpu()
        x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        self._xx += weight * x.T @ x
        self._xy += weight * x.T @ y
        self._yy += weight * y.square().sum()

    def __add__(self, other: Self) -> Self:
        """Return the sums of both."""
        found = type(self)(len(self._xx) - 1, self._xy.shape[1])
        found._xx += self._xx + other._xx
        found._xy += self._xy + other._xy
        found._yy += self._yy + other._yy
        return found

    def solve(
        self, strength: float, penalty: Penalty = "even"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (outputs, inputs) weights and (outputs,) biases of least penalised error.

        Args:
            strength: Of the penalty.
            penalty: What a squared weight costs, times the strength: the mean variance of the
                inputs ("even", which respects their lengths), or the variance of its own input
                ("each", for inputs of different units).
        """
        mean_x, mean_y = self._xx[-1, :-1] / self.weight, self._xy[-1] / self.weight
        xx = self._xx[:-1, :-1] / self.weight - torch.outer(mean_x, mean_x)
        xy = self._xy[:-1] / self.weight - torch.outer(mean_x, mean_y)
        variance = xx.diagonal().clamp(min=_LEAST)
        if penalty == "even":
            variance = variance.mean().expand_as(variance)
        weight = torch.linalg.solve(xx + strength * torch.diag(variance), xy)
        return weight.T, mean_y - mean_x @ weight

    def error(self, weight: torch.Tensor, bias: torch.Tensor) -> float:
        """Return the sum of squared errors that weights and biases make on these rows."""
        whole = torch.cat([weight.T, bias[None]])
        return float(self._yy + (whole * (self._xx @ whole - 2 * self._xy)).sum())


def strength_of(
    parts: Sequence[Ridge], strengths: Sequence[float], penalty: Penalty = "even"
) -> float:
    """Return the strength with the least error on each part by a fit to the others.

    Args:
        parts: Sums of parts of the rows; of one part alone the first strength is returned.
        strengths: To choose among.
        penalty: See `Ridge.solve`.
    """
    if len(parts) < 2:
        return strengths[0]
    others = [reduce(operator.add, [*parts[:i], *parts[i + 1 :]]) for i in range(len(parts))]
    errors = {
        s: sum(p.error(*rest.solve(s, penalty)) for p, rest in zip(parts, others, strict=True))
        for s in strengths
    }
    return min(errors, key=lambda s: errors[s])
