"""The networks of locked-image tuning: a small text transformer and an affine image head.

The image encoder is not part of this module: it is frozen, and its embeddings are computed once
(Zhai et al. 2022, LiT: Zero-Shot Transfer with Locked-image text Tuning, setting "Lu"). The image
head is affine on purpose: if the embedding of the encoder is the mean of its tokens, the projected
embedding is the mean of the projected tokens, so that the embedding of a part of an image needs no
further pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from foveate.models.tune_text.texts import BUCKETS, CONTEXT, Texts, encode, vary
from foveate.models.weights import random_weights
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """Sizes of the networks.

    Attributes:
        image_dim: Dimension of the embedding of the frozen encoder.
        dim: Dimension of the common embedding.
        width: Width of the transformer.
        layers: Number of layers of the transformer.
        heads: Number of attention heads.
        dropout: Dropout in the transformer.
        image_dropout: Dropout of the components of the frozen embedding.
    """

    image_dim: int
    dim: int = 256
    width: int = 128
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    image_dropout: float = 0.2


class TextTower(nn.Module):
    """Text encoder: word vectors, transformer, mean over the words, linear layer.

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
    """Affine map from the frozen to the common embedding: standardisation and a linear layer.

    Args:
        shape: Sizes.
        mean: (image_dim,) mean of the training embeddings.
        std: (image_dim,) standard deviation of the training embeddings.
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
        mean: (image_dim,) mean of the training embeddings.
        std: (image_dim,) standard deviation of the training embeddings.
        bias: Initial bias: the log-odds of a pair being a match.
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
    """Return the sigmoid loss of image-text pairs, with any number of matches per image.

    Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training, eq. 1, summed over all pairs
    and divided by the number of images. Deviation: not only the diagonal matches, but all images of
    a text, because captions repeat and a repeated caption must not be a negative.

    Args:
        logits: (b, n).
        match: (b, n) bool.

    Returns:
        Scalar.
    """
    sign = 2.0 * match.to(logits.dtype) - 1.0
    return -functional.logsigmoid(sign * logits).sum() / len(logits)


_FLOOR = 1e-3  # smallest standard deviation, for constant components

_VALIDATED = 2000  # maximum number of validation images

_TEXTS_AT_ONCE = 256


class CaptionTask:
    """Training task, see `foveate.models.fit.Task`.

    Args:
        x: (n, image_dim) frozen embeddings of the training images.
        texts: Texts of the training images; each image has at least one.
        x_val: (k, image_dim) embeddings of the validation images.
        texts_val: Texts of the validation images.
        shape: Sizes of the networks.
        batch_size: Rows per step; determines the initial bias.
        seed: Seed of the initial weights.
        templates: Templates for augmentation of the texts (`vary`); None for no augmentation, for
            class names in templates, whose parts mostly do not contain the name.
        device: Device of the training.
    """

    def __init__(
        self,
        x: NDArray[np.floating],
        texts: Texts,
        x_val: NDArray[np.floating],
        texts_val: Texts,
        *,
        shape: Shape,
        batch_size: int,
        seed: int,
        templates: Sequence[str] | None,
        device: torch.device,
    ) -> None:
        self.rows = len(x)
        self._device = device
        self._texts = texts
        self._templates = templates
        self._x = torch.from_numpy(np.asarray(x, np.float32)).to(device)
        kept = np.arange(len(x_val))
        if len(kept) > _VALIDATED:
            kept = np.sort(rng(0, "tune/val").choice(kept, _VALIDATED, replace=False))
        self._x_val = torch.from_numpy(np.asarray(x_val, np.float32)[kept]).to(device)
        self._texts_val = texts_val.take(kept)
        mean, std = self._x.mean(dim=0), self._x.std(dim=0, correction=0).clamp(min=_FLOOR)
        bias = _log_odds(texts, batch_size, seed)
        net = random_weights(lambda: Pair(shape, mean.cpu(), std.cpu(), bias), seed)
        self.net: Pair = net.to(device)

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the sigmoid loss of some images with a random text of each."""
        chosen = np.unique(self._texts.draw(rows, draw))
        match = torch.from_numpy(self._texts.matches(rows, chosen)).to(self._device)
        written = [self._texts.texts[j] for j in chosen]
        if self._templates is not None:
            written = [vary(text, draw, self._templates) for text in written]
        texts = self.net.text(torch.from_numpy(encode(written)).to(self._device))
        images = functional.normalize(self.net.image(self._x[rows]), dim=-1)
        return siglip_loss(self.net.logits(images, texts), match)

    def validate(self) -> dict[str, float]:
        """Return the retrieval recalls of the validation images, and their mean as "score"."""
        images = functional.normalize(self.net.image(self._x_val), dim=-1).float().cpu().numpy()
        texts = embed_texts(self.net, self._texts_val.texts, self._device)
        found = recalls(images @ texts.T, self._texts_val.match.toarray())
        return {"score": float(np.mean(list(found.values()))), **found}


def embed_texts(net: Pair, texts: Sequence[str], device: torch.device) -> NDArray[np.float32]:
    """Return (n, dim) float32 unit vectors of texts."""
    parts = [
        net.text(torch.from_numpy(encode(texts[k : k + _TEXTS_AT_ONCE])).to(device)).float().cpu()
        for k in range(0, len(texts), _TEXTS_AT_ONCE)
    ]
    return torch.cat(parts).numpy()


def _log_odds(texts: Texts, batch_size: int, seed: int) -> float:
    """Return the initial bias: the log-odds of one match among the texts of a step.

    For the batches of 32,768 pairs of SigLIP this is -10.4, and SigLIP starts at -10. With a
    hundred texts per step, that initial value would have to be unlearned.
    """
    draw = rng(seed, "tune/bias")
    rows = draw.permutation(texts.match.shape[0])[:batch_size]
    return -float(np.log(max(2, np.unique(texts.draw(rows, draw)).size)))


DEPTHS = (1, 5, 10)


def recalls(similarity: NDArray[np.floating], match: NDArray[np.bool_]) -> dict[str, float]:
    """Return recall at 1, 5 and 10, from images to texts and back.

    Recall at k is the share of queries with a match among the first k results, as usual for
    captions (Karpathy and Fei-Fei 2015). Queries without a match are ignored.

    Args:
        similarity: (n, m) similarity of n images and m different texts.
        match: (n, m), whether text j belongs to image i.

    Returns:
        "image_text_r1" ... "text_image_r10".
    """
    found = {}
    for name, scores, hits in (
        ("image_text", similarity, match),
        ("text_image", similarity.T, match.T),
    ):
        asked = hits.any(axis=1)
        order = np.argsort(-scores[asked], axis=1, kind="stable")[:, : max(DEPTHS)]
        hit = np.take_along_axis(hits[asked], order, axis=1)
        for k in DEPTHS:
            found[f"{name}_r{k}"] = float(hit[:, :k].any(axis=1).mean()) if asked.any() else 0.0
    return found


def accuracy(
    logits: NDArray[np.floating], truth: NDArray[np.integer], names: Sequence[str]
) -> dict[str, Any]:
    """Return top-1 accuracy, overall and per class.

    Args:
        logits: (n, C).
        truth: (n,) class numbers.
        names: The C classes.

    Returns:
        "images", "top1", "chance" (accuracy of guessing), "majority" (accuracy of always predicting
        the most common class), "per_class" (name -> accuracy, without classes that have no images).
    """
    right = logits.argmax(axis=1) == truth
    times = np.bincount(truth[truth >= 0], minlength=len(names))
    per_class = {
        name: float(right[truth == c].mean()) for c, name in enumerate(names) if (truth == c).any()
    }
    return {
        "images": len(truth),
        "top1": float(right.mean()) if len(truth) else 0.0,
        "chance": 1 / len(names),
        "majority": float(times.max() / len(truth)) if len(truth) else 0.0,
        "per_class": per_class,
    }
