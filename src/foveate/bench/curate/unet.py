"""The thorough judge: a U-Net (Ronneberger et al. 2015) that is trained on the selected tiles.

Encoder: any timm backbone with stages, with weights loaded by `foveate.models`; decoder: that of
segmentation-models-pytorch. AdamW, cross-entropy over labelled pixels, random flips. By default
every set is trained for the same number of steps, so that sets differ in content only; with
epochs, as in the core-set paper, a set of 1 % also gets 1 % of the steps.

Samplers: "none" shuffles the tiles in each pass; "balanced" first draws a class of the set, then a
tile in proportion to its pixels of that class.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from foveate.bench.curate.measure import Judged
from foveate.errors import DataError, ParameterError
from foveate.models.families.timm import make_network, network_options
from foveate.models.fit import FitSettings, fit
from foveate.models.preprocess import Preprocess
from foveate.models.runtime import resolve_device
from foveate.models.weights import random_weights
from foveate.seeds import rng
from foveate.stats import confusion, mean_iou

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.bench.curate.conditions import Sampler
    from foveate.bench.curate.design import Fold
    from foveate.embeddings import EncoderSpec
    from foveate.models.base import ModelHandle
    from foveate.progress import ProgressFn

_DECODER = (256, 128, 64, 32, 16)  # channels, those of segmentation-models-pytorch
_STRIDES = (2, 4, 8, 16, 32)
_TEST_BATCH = 32
_IGNORED = -1


@dataclass(frozen=True)
class Tiles:
    """Pixels and labels of the tiles of a pool; arrays may be memory maps.

    Attributes:
        pixels: (n, c, h, w) in the native dtype.
        codes: (n, h, w) int16 class numbers, -1 for ignored.
        once: (n, h, w) bool, pixels that are in no earlier tile of the scene.
        counts: (n, C) labelled pixels by class.
    """

    pixels: NDArray[Any]
    codes: NDArray[np.int16]
    once: NDArray[np.bool_]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class UNetSettings:
    """Training settings of a U-Net.

    Attributes:
        steps: Number of steps; not used if `epochs` is positive.
        epochs: Number of passes over the selected tiles; the epoch with the best validation score
            is kept. 0 to use `steps`.
        batch_size: Tiles per step.
        learning_rate: Learning rate of AdamW.
        schedule: Learning-rate schedule, see `FitSettings`.
        device: See `resolve_device`.
    """

    steps: int = 200
    epochs: int = 0
    batch_size: int = 16
    learning_rate: float = 1e-3
    schedule: Any = "cosine"
    device: str = "auto"


class StagedEncoder(nn.Module):
    """A timm backbone as the encoder of a U-Net: feature maps of strides 1 to 32.

    Maps of strides that the backbone skips (a stem of stride 4) have no channels.

    Args:
        net: A timm model with ``forward_intermediates``.
        channels: Number of bands of the image.

    Raises:
        ParameterError: The backbone has no stages.
    """

    def __init__(self, net: Any, channels: int) -> None:
        super().__init__()
        self.net = net
        info = {f["reduction"]: f["num_chs"] for f in list(net.feature_info)}
        if not {16, 32} <= set(info) <= set(_STRIDES):
            raise ParameterError(
                f"a backbone with feature maps of the strides {sorted(info)}",
                "A U-Net needs a backbone with stages that halve the image, down to 1/32.",
                "Use --model timm:resnet18",
            )
        self._has_stride = [s in info for s in _STRIDES]
        self.channels = [channels, *(info.get(s, 0) for s in _STRIDES)]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return maps of the strides 1, 2, 4, 8, 16 and 32."""
        features = self.net.forward_intermediates(x, intermediates_only=True)
        # Some backbones also return the map of their stem.
        maps = iter(features[len(features) - sum(self._has_stride) :])
        found = [x]
        for stride, present in zip(_STRIDES, self._has_stride, strict=True):
            size = (len(x), 0, x.shape[2] // stride, x.shape[3] // stride)
            found.append(next(maps) if present else x.new_zeros(size))
        return found


class UNet(nn.Module):
    """Encoder, decoder and a head of one convolution: (b, c, h, w) to (b, C, h, w) logits.

    Inputs are padded to multiples of 32 by edge replication, and the padding is removed from the
    output.
    """

    def __init__(self, encoder: StagedEncoder, classes: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.base import SegmentationHead
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        self.encoder = encoder
        self.decoder = UnetDecoder(encoder.channels, _DECODER)
        self.head = SegmentationHead(_DECODER[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (b, C, h, w) logits."""
        h, w = x.shape[2:]
        down, right = -h % _STRIDES[-1], -w % _STRIDES[-1]
        if down or right:
            x = functional.pad(x, (0, right, 0, down), mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        return self.head(self.decoder(self.encoder(x)))[:, :, :h, :w]


class _Training:
    """See `foveate.models.fit.Task`."""

    def __init__(
        self, net: UNet, tiles: Tiles, rows: NDArray[np.int64], *, val: NDArray[np.int64],
        prepare: Preprocess, sampler: Sampler, items: int, device: torch.device,
    ) -> None:  # fmt: skip
        # Channels last: on CPUs a step takes a quarter less time than with contiguous tensors.
        self.net = net.to(device).to(memory_format=torch.channels_last)
        self.rows = items
        self._tiles, self._chosen, self._val = tiles, rows, val
        self._prepare, self._device, self._sampler = prepare, device, sampler
        # (k, C') cumulative pixels of the classes in the set, for the balanced sampler.
        counts = tiles.counts[rows].astype(np.float64)
        self._by_class = np.cumsum(counts[:, counts.any(axis=0)], axis=0)
        self.validating = 0.0  # seconds

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the cross-entropy of a batch; `rows` are positions in the sequence of draws."""
        tiles = self._drawn(rows, draw)
        if tiles.size == 1 and max(self._tiles.codes.shape[1:]) <= _STRIDES[-1]:
            tiles = tiles.repeat(2)  # batch norm needs two values per channel: use two copies
        x = self._prepare(self._tiles.pixels[tiles], self._device)
        y = torch.from_numpy(self._tiles.codes[tiles].astype(np.int64)).to(self._device)
        x, y = _flipped(x, y, draw)
        if bool((y == _IGNORED).all()):
            return self.net(x).sum() * 0  # without labelled pixels the mean would be NaN
        return functional.cross_entropy(self.net(x), y, ignore_index=_IGNORED)

    def validate(self) -> dict[str, float]:
        """Return the mIoU on validation tiles; 0 without these, so that the last epoch is kept."""
        if not self._val.size:
            return {"score": 0.0}
        begun = time.perf_counter()
        classes = self._tiles.counts.shape[1]
        matrix = np.zeros((classes, classes))
        for batch, predicted in predictions(self.net, self._tiles, self._val, self._prepare,
                                            self._device):  # fmt: skip
            truth = np.where(self._tiles.once[batch], self._tiles.codes[batch], _IGNORED)
            matrix += confusion(truth, predicted, classes)
        self.validating += time.perf_counter() - begun
        score = float(mean_iou(matrix))
        return {"score": score if np.isfinite(score) else 0.0}

    def _drawn(self, rows: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        if self._sampler == "none":
            return self._chosen[rows % self._chosen.size]
        found = []
        for _ in rows:
            column = self._by_class[:, draw.integers(self._by_class.shape[1])]
            found.append(int(np.searchsorted(column, draw.random() * column[-1], side="right")))
        return self._chosen[np.minimum(found, self._chosen.size - 1)]


class UNetJudge:
    """Trains U-Nets on sets of one fold; see the module docstring.

    Args:
        tiles: Pixels and labels.
        fold: The fold; its validation tiles choose the epoch.
        scene: (n,) scene of each tile.
        handle: The encoder, with its weights.
        spec: Scaling of the input of the encoder.
        settings: Training settings.
        progress: Called with ticks.
    """

    def __init__(
        self, tiles: Tiles, fold: Fold, scene: NDArray[np.str_], *, handle: ModelHandle,
        spec: EncoderSpec, settings: UNetSettings, progress: ProgressFn | None = None,
    ) -> None:  # fmt: skip
        self._tiles, self._fold, self._scene = tiles, fold, scene
        self._handle, self._settings, self._progress = handle, settings, progress
        bands = len(spec.bands)
        self._prepare = Preprocess(
            spec.scale or ((0.0, 1.0),) * bands, spec.mean or (0.0,) * bands,
            spec.std or (1.0,) * bands, None,
        )  # fmt: skip

    def judge(self, rows: NDArray[np.int64], sampler: Sampler, seed: int) -> Judged:
        """Train on selected tiles, and test; see `ProbeJudge.judge`."""
        if not self._tiles.counts[rows].any():
            raise DataError(
                "the selected tiles have no labelled pixel", "Training needs labels.",
                "Raise the budget, or --min-labelled.",
            )  # fmt: skip
        device = resolve_device(self._settings.device)
        net = self._net(seed)
        settings, items = self._plan(rows.size)
        order = rng(seed, "bench/unet/order").permutation(rows)
        task = _Training(
            net,
            self._tiles,
            order,
            val=self._fold.val,
            prepare=self._prepare,
            sampler=sampler,
            items=items,
            device=device,
        )
        begun = time.perf_counter()
        fit(task, replace(settings, seed=seed), title="training a U-Net", progress=self._progress)
        seconds = time.perf_counter() - begun
        # Seconds of one pass over the selected tiles, even if the training is longer or shorter.
        passes = settings.epochs * -(-items // settings.batch_size)
        epoch = (seconds - task.validating) / passes * -(-rows.size // settings.batch_size)
        found: dict[str, NDArray[np.float64]] = {}
        classes = self._tiles.counts.shape[1]
        for batch, predicted in predictions(
            task.net, self._tiles, self._fold.test, self._prepare, device
        ):
            truth = np.where(self._tiles.once[batch], self._tiles.codes[batch], _IGNORED)
            for name in np.unique(self._scene[batch]):
                part = self._scene[batch] == name
                matrix = confusion(truth[part], predicted[part], classes)
                found[str(name)] = found.get(str(name), 0) + matrix.astype(np.float64)
        return Judged(found, {"fit": seconds, "epoch": epoch})

    def _plan(self, selected: int) -> tuple[FitSettings, int]:
        """Return the settings of `fit`, and the number of rows in one of its epochs."""
        unet = self._settings
        given = FitSettings(
            epochs=unet.epochs or 1, batch_size=unet.batch_size, learning_rate=unet.learning_rate,
            weight_decay=0.01, warmup=0.0, betas=(0.9, 0.999), clip=0.0, schedule=unet.schedule,
        )  # fmt: skip
        return given, selected if unet.epochs else unet.steps * unet.batch_size

    def _net(self, seed: int) -> UNet:
        channels = self._tiles.pixels.shape[1]
        options = network_options(self._handle)
        encoder = StagedEncoder(make_network(self._handle, options, channels)[0], channels)
        return random_weights(lambda: UNet(encoder, self._tiles.counts.shape[1]), seed)


def predictions(
    net: UNet, tiles: Tiles, rows: NDArray[np.int64], prepare: Preprocess, device: torch.device
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows and their (b, h, w) predicted classes, batch by batch."""
    was_training = net.training
    net.eval()
    with torch.inference_mode():
        for start in range(0, rows.size, _TEST_BATCH):
            batch = rows[start : start + _TEST_BATCH]
            logits = net(prepare(tiles.pixels[batch], device))
            yield batch, logits.argmax(dim=1).cpu().numpy()
    net.train(was_training)


def _flipped(
    x: torch.Tensor, y: torch.Tensor, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip each tile at random, along each axis."""
    flips = draw.random((len(x), 2)) < 0.5
    for axis in (0, 1):
        rows = torch.from_numpy(flips[:, axis])
        x[rows], y[rows] = x[rows].flip(axis + 2), y[rows].flip(axis + 1)
    return x, y
