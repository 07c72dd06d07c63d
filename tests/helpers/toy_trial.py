"""Two small scenes and an observer by rule, to judge by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from planted import material_of

from foveate.observe.data.concepts import Concept
from foveate.observe.networks.heads import LabelHead
from foveate.observe.observer import Scenes, Scores
from foveate.observe.training.crossfit import Targets, TargetSettings
from foveate.observe.training.trial import Trial

HEAD = LabelHead(("a",), np.array([[4.0, 0.0]], np.float32), np.zeros(1, np.float32))


class Watcher:
    """An observer that fills with LR, completes half of what that lacks, and scores by it."""

    predictor = SimpleNamespace(mu=torch.zeros(2), kriging=None)
    record = SimpleNamespace(supervision="surprise")

    def scores(self, lr):
        score = lr[..., 0] - lr.min()
        return Scores(score / max(score.max(), 1), score, 0 * score)

    def filled(self, lr):
        return lr.astype(np.float32)

    def complete(self, lr, hr, seen, *, passthrough=True):
        fill = self.filled(lr)
        tokens = fill + (hr - fill) / 2
        if passthrough:
            tokens = np.where(seen[..., None], hr, tokens)
        return Scenes(tokens, fill, (~seen).astype(np.float32))


def toy(*, labelled=True):
    """Two scenes of 2 x 2 tiles, one of which is gone; two more to be neighbours."""
    # Concept a is where the first feature is above 0. The fill has the sign wrong at one tile.
    first = np.array([[[1.0, -1.0], [2.0, -2.0]], [[3.0, -3.0], [-1.0, 9.0]]])
    hr = np.stack([first, np.ones_like(first)], axis=-1)
    lr = hr.copy()
    lr[0, 0, 0, 0] = -1.5
    here = np.ones((2, 2, 2), bool)
    here[1, 1, 1] = False
    hr, lr, here = (np.concatenate([x, x]) for x in (hr, lr, here))
    material = material_of(
        lr, hr, here=here, known=hr[..., :1] > 0 if labelled else None,
        concepts=(Concept("a"),) if labelled else (), labels=HEAD if labelled else None,
        split=["train", "train", "test", "test"],
    )  # fmt: skip
    train = material.evidence(np.array([0, 1]), material.data.lr[:2])
    targets = Targets(train, material.head, material.weights(), TargetSettings())
    return Trial(material, Watcher(), np.array([2, 3]), targets=targets)
