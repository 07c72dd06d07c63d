"""PatchDrop as a baseline: a policy that is trained by reward on the scenes of a material.

See `foveate.observe.networks.policy`. What it gives is used like any sampler: its probabilities
rank tiles, and the policy "patchdrop" takes them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.models.fit import FitSettings, fit
from foveate.observe import dense
from foveate.observe.networks.policy import PolicyTask, Scenes, new_policy
from foveate.observe.stages import fill_of, scores_of
from foveate.observe.targets import crossfitted

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from foveate.models.fit import History
    from foveate.observe.material import Material
    from foveate.observe.networks.fill import Fill
    from foveate.observe.networks.policy import Policy, RewardKind
    from foveate.observe.networks.sampler import Sampler
    from foveate.progress import ProgressFn

SETTINGS = FitSettings(epochs=60, batch_size=8, learning_rate=3e-3, weight_decay=0.0)


def train_patchdrop(
    material: Material,
    obr: float,
    device: torch.device,
    seed: int = 0,
    *,
    fill: Fill,
    strength: float = 0.1,
    reward: RewardKind = "tiles",
    alpha: float = 0.8,
    settings: FitSettings = SETTINGS,
    checkpoint: Path | None = None,
    progress: ProgressFn | None = None,
) -> tuple[Sampler, History]:
    """Train a policy on the training scenes; the validation scenes choose the epoch.

    Args:
        material: Features, labels and concepts.
        obr: Share of the tiles that may be acquired, above 0 and below 1.
        device: Where to train.
        seed: Of weights, order and actions.
        fill: The trained LR fill.
        strength: Of the ridge of the fills that tell training scenes without knowing them.
        reward: "tiles" or "scene"; see `PolicyTask`.
        alpha: Exploration, above 0.5 up to 1; see `PolicyTask`.
        settings: Of the training; the seed is set here.
        checkpoint: Keeps the state: a training that was killed goes on to the same weights.
        progress: Called with ticks.

    Returns:
        A sampler with one head, and how the training went: its epochs have "share", "gain" and
        "price".

    Raises:
        DataError: There are no labels, which make the reward.
        ParameterError: An impossible share or exploration.
    """
    if not 0 < obr < 1:
        raise ParameterError(f"obr={obr}", "It is a share above 0 and below 1.", "obr=0.12")
    if not 0.5 < alpha <= 1:
        raise ParameterError(f"alpha={alpha}", "It is above 0.5 and up to 1.", "alpha=0.8")
    if material.labels is None or material.known is None:
        raise DataError(
            "a reward without labels",
            "PatchDrop is rewarded for concepts that are told right.",
            "Prepare the pairs with labels: --masks MASKS --concepts FILE.",
        )
    train, val = (material.scenes(split) for split in ("train", "val"))
    groups = [material.pairs.groups[i] for i in train]
    crossed = crossfitted(material.shape, material.data.take(train), groups, strength, seed)
    net: Policy = new_policy(material.shape, seed, obr)
    task = PolicyTask(
        net, _scenes(material, train, crossed),
        _scenes(material, val, fill_of(fill, material.data.take(val).lr)), device,
        obr=obr, weights=material.weights(), reward=reward, alpha=alpha,
    )  # fmt: skip
    history = fit(
        task, replace(settings, seed=seed), checkpoint=checkpoint,
        key=f"patchdrop/{obr}/{reward}/{alpha}/{strength}", title="training PatchDrop",
        progress=progress,
    )  # fmt: skip
    return net.sampler.eval(), history


def patchdrop_scores(net: Sampler, fill: Fill, lr: torch.Tensor) -> NDArray[np.float64]:
    """Return the probabilities of acquisition, (s, R, C).

    Args:
        net: Of `train_patchdrop`.
        fill: The LR fill that it was trained with.
        lr: (s, R * r, C * r, lr_dim) reduced LR tokens.
    """
    return scores_of(net, fill, lr, next(net.parameters()).device)


def _scenes(material: Material, numbers: NDArray[np.int64], fill: torch.Tensor) -> Scenes:
    labels, known = material.labels, material.known
    assert labels is not None  # noqa: S101  (asked by the caller)
    assert known is not None  # noqa: S101
    data, side = material.data.take(numbers), material.shape.hr_side
    place = material.places(numbers)
    present = dense.to_grids(known[material.tiles(numbers)], place, data.here.shape)
    low, high = (
        labels.probabilities(dense.gather(tokens.float().numpy(), side).mean(axis=3))
        for tokens in (fill, data.hr)
    )
    return Scenes(data.lr, fill, low, high, present, data.here)
