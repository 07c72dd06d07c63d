"""The networks of locked-image tuning: a small text transformer and an affine image head.

The image encoder itself is not here: it is frozen, and its embeddings are computed once (Zhai et
al. 2022, LiT: Zero-Shot Transfer with Locked-image text Tuning, setting "Lu"). The image head is
affine on purpose. Where the encoder's embedding is the mean of its tokens, the mean of the
projected tokens is then the projected embedding too, so that leaving out a part of an image needs
no further pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from foveate.models.tune_text.words import BUCKETS, CONTEXT


@dataclass(frozen=True)
class Shape:
    """Sizes of the networks.

    Attributes:
        image_dim: Length of the frozen encoder's embedding.
        dim: Length of the common embedding.
        width: Width of the transformer.
        layers: Its depth.
        heads: Its attention heads.
        dropout: In the transformer.
        image_dropout: Of the components of the frozen embedding.
    """

    image_dim: int
    dim: int = 256
    width: int = 128
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    image_dropout: float = 0.2


class TextTower(nn.Module):
    """Words -> transformer -> mean over the words -> linear.

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.parts = nn.EmbeddingBag(BUCKETS + 1, shape.width, mode="mean", padding_idx=0)
        self.place = nn.Parameter(torch.randn(CONTEXT, shape.width) * 0.02)
        block = nn.TransformerEncoderLayer(
            shape.width, shape.heads, 4 * shape.width, shape.dropout, "gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(block, shape.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(shape.width)
        self.out = nn.Linear(shape.width, shape.dim, bias=False)
        nn.init.normal_(self.parts.weight, std=0.15)
        with torch.no_grad():
            self.parts.weight[0].zero_()

    def forward(self, parts: torch.Tensor) -> torch.Tensor:
        """Embed texts.

        Args:
            parts: (n, words, parts) int64 from `words.encode`; a text has at least one word.

        Returns:
            (n, dim) of norm 1.
        """
        n, words, _ = parts.shape
        padding = parts[:, :, 0].eq(0)
        x = self.parts(parts.reshape(n * words, -1)).reshape(n, words, -1)
        x = self.blocks(x + self.place[:words], src_key_padding_mask=padding)
        weight = (~padding).unsqueeze(2).to(x.dtype)
        mean = (self.norm(x) * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return functional.normalize(self.out(mean), dim=-1)


class ImageHead(nn.Module):
    """Standardise, then linear: affine from the frozen embedding to the common one.

    Args:
        shape: Sizes.
        mean: (image_dim,) of the training embeddings.
        std: (image_dim,) of the training embeddings.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, shape: Shape, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.dropout = nn.Dropout(shape.image_dropout)
        self.linear = nn.Linear(shape.image_dim, shape.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Project (..., image_dim) embeddings or tokens to (..., dim), not normalised."""
        return self.linear(self.dropout((x - self.mean) / self.std))


class Pair(nn.Module):
    """Both towers with the temperature and the bias of the sigmoid loss.

    Args:
        shape: Sizes.
        mean: (image_dim,) of the training embeddings.
        std: (image_dim,) of the training embeddings.
        bias: Where the bias starts: the log-odds of a pair being a match.
    """

    def __init__(
        self, shape: Shape, mean: torch.Tensor, std: torch.Tensor, bias: float = -10.0
    ) -> None:
        super().__init__()
        self.text = TextTower(shape)
        self.image = ImageHead(shape, mean, std)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(bias))

    def logits(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Return (b, n) logits of (b, dim) unit images and (n, dim) unit texts."""
        return self.log_scale.exp() * images @ texts.T + self.bias


def siglip_loss(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Return the sigmoid loss of image-text pairs, with any number of matches of an image.

    Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training, eq. 1, summed over all pairs
    and divided by the number of images. There only the diagonal matches; here a text matches each
    image that it was written for, for captions repeat, and a repeated caption is no negative.

    Args:
        logits: (b, n).
        match: (b, n) bool.

    Returns:
        Scalar.
    """
    sign = 2.0 * match.to(logits.dtype) - 1.0
    return -functional.logsigmoid(sign * logits).sum() / len(logits)
