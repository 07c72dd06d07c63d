"""Alignment with texts (Eq. 9): the pooled prediction of a scene meets its concepts' texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from foveate.observe.scoring import ToText

if TYPE_CHECKING:
    from foveate.observe.networks.predictor import Predictor

_SCALE, _BIAS = 10.0, -10.0  # where SigLIP starts (Zhai et al. 2023, section 3.2)


class Aligned(nn.Module):
    """A predictor with the way from its space to that of the texts.

    Args:
        predictor: The predictor.
        weight: (e, d) where the way starts.
        bias: (e,) where the way starts.
        texts: (K, e) unit vectors of the concepts.
    """

    texts: torch.Tensor

    def __init__(
        self, predictor: Predictor, weight: torch.Tensor, bias: torch.Tensor, texts: torch.Tensor
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.way = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.way.weight.copy_(weight)
            self.way.bias.copy_(bias)
        self.log_scale = nn.Parameter(torch.tensor(_SCALE).log())
        self.bias = nn.Parameter(torch.tensor(_BIAS))
        self.register_buffer("texts", texts)

    def text_map(self) -> ToText:
        """Return the way to the texts as it was learnt."""
        weight, bias = (x.detach().cpu().numpy() for x in (self.way.weight, self.way.bias))
        return ToText(weight, bias)

    def logits(self, tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return (b, K) logits of completed scenes.

        Args:
            tokens: (b, h, w, d) completed tokens.
            weight: (b, h, w) of each in the pooled scene.
        """
        share = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-6)
        pooled = (tokens * share[..., None]).sum((1, 2))
        scene = functional.normalize(self.way(pooled), dim=-1)
        return self.log_scale.exp() * scene @ self.texts.T + self.bias
