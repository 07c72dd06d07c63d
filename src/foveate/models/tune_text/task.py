"""What `fit` trains here: the two towers, on stored embeddings and the texts of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from foveate.models.tune_text.evaluate import recalls
from foveate.models.tune_text.network import Pair, Shape, siglip_loss
from foveate.models.tune_text.texts import Texts, vary
from foveate.models.tune_text.words import encode
from foveate.models.weights import random_weights
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FLOOR = 1e-3  # of the standard deviation: a component that never varies says nothing
_VALIDATED = 2000  # images at most
_TEXTS_AT_ONCE = 256


class CaptionTask:
    """See `foveate.models.fit.Task`.

    Args:
        x: (n, image_dim) frozen embeddings of the training images.
        texts: Their texts; each image has at least one.
        x_val: (k, image_dim) of the validation images.
        texts_val: Their texts.
        shape: Sizes of the networks.
        batch_size: Rows of a step, from which the bias starts.
        seed: Of the first weights.
        templates: For variants of the texts (`vary`); None for the texts as they are: most parts
            of a class's name in a template would not name the class.
        device: Where to train.
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
        """Return the sigmoid loss of some images with a text of each."""
        chosen = np.unique(self._texts.draw(rows, draw))
        match = torch.from_numpy(self._texts.matches(rows, chosen)).to(self._device)
        written = [self._texts.texts[j] for j in chosen]
        if self._templates is not None:
            written = [vary(text, draw, self._templates) for text in written]
        texts = self.net.text(torch.from_numpy(encode(written)).to(self._device))
        images = functional.normalize(self.net.image(self._x[rows]), dim=-1)
        return siglip_loss(self.net.logits(images, texts), match)

    def validate(self) -> dict[str, float]:
        """Return how well images and texts of the validation images find each other."""
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
    """Return where the bias starts: the log-odds of the one match among the texts of a step.

    For the 32,768 pairs of SigLIP's batches that is -10.4, and SigLIP starts at -10. With a
    hundred texts a step, training would mostly unlearn that.
    """
    draw = rng(seed, "tune/bias")
    rows = draw.permutation(texts.match.shape[0])[:batch_size]
    return -float(np.log(max(2, np.unique(texts.draw(rows, draw)).size)))
