"""Ridge regression in closed form, from sums over rows that need not be there at once."""

from __future__ import annotations

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
        self._inputs = inputs
        self._sums = torch.zeros(inputs + outputs + 1, inputs + outputs + 1, dtype=torch.float64)

    @property
    def weight(self) -> float:
        """Total weight of the rows."""
        return float(self._sums[-1, -1])

    def add(self, x: torch.Tensor, y: torch.Tensor, weight: float = 1.0) -> None:
        """Add rows.

        Args:
            x: (n, inputs).
            y: (n, outputs).
            weight: Of each of them.
        """
        x, y = x.double().cpu(), y.double().cpu()
        row = torch.cat([x, y, x.new_ones(len(x), 1)], dim=1)
        self._sums += weight * row.T @ row

    def __add__(self, other: Self) -> Self:
        """Return the sums of both."""
        found = type(self)(self._inputs, len(self._sums) - 1 - self._inputs)
        found._sums += self._sums + other._sums
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
        mean = self._sums[-1, :-1] / self.weight
        cov = self._sums[:-1, :-1] / self.weight - torch.outer(mean, mean)
        k = self._inputs
        variance = cov.diagonal()[:k].clamp(min=_LEAST)
        if penalty == "even":
            variance = variance.mean().expand_as(variance)
        weight = torch.linalg.solve(cov[:k, :k] + strength * torch.diag(variance), cov[:k, k:])
        return weight.T, mean[k:] - mean[:k] @ weight

    def error(self, weight: torch.Tensor, bias: torch.Tensor) -> float:
        """Return the sum of squared errors that weights and biases make on these rows."""
        outputs = len(bias)
        miss = torch.cat([-weight.T, torch.eye(outputs).to(weight), -bias[None]])
        return float((miss * (self._sums @ miss)).sum())


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
    whole = [
        _total([*parts[:i], *parts[i + 1 :]]) for i in range(len(parts))
    ]  # fmt: skip
    errors = {
        s: sum(p.error(*rest.solve(s, penalty)) for p, rest in zip(parts, whole, strict=True))
        for s in strengths
    }
    return min(errors, key=lambda s: errors[s])


def _total(parts: Sequence[Ridge]) -> Ridge:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
