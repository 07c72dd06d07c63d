"""Zero-shot classification of whole data sets from the LR branch alone: nothing is observed.

An image is an overview: cut into tiles as large on the ground as in training, completed from its LR
tokens, and compared by its mean token with the names of the classes. Data sets are read by torchgeo
from a folder that is there; nothing is fetched.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.heads import text_head
from foveate.observe.features import OverviewTokens
from foveate.observe.match_hr import built
from foveate.observe.observer import Observer
from foveate.observe.searching import need_texts
from foveate.progress import Meter
from foveate.registry import suggest
from foveate.stats import mean_average_precision, top1

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

_GSD = 10.0  # metres of a pixel, both data sets
_RGB = ("B04", "B03", "B02")
_AT_ONCE = 64  # images
_BRIGHT = (0.0, 3000.0)  # reflectance times 10,000 that pictures show as black and white
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Preset:
    """A data set.

    Attributes:
        bands: Names of its bands, in the order of its images.
        open: Opens a split of a root folder.
        names: Names of the classes of an open one, as texts.
        several: Whether an image may show several classes.
        layout: What the folder holds, for the message.
    """

    bands: tuple[str, ...]
    open: Callable[[str, str], Any]
    names: Callable[[Any], list[str]]
    several: bool
    layout: str


def _eurosat(root: str, split: str) -> Any:
    from torchgeo.datasets import EuroSAT

    return EuroSAT(root, split=split)  # ty: ignore[invalid-argument-type]


def _bigearthnet(root: str, split: str) -> Any:
    from torchgeo.datasets import BigEarthNet

    return BigEarthNet(root, split=split, bands="s2")  # ty: ignore[invalid-argument-type]


PRESETS: dict[str, Preset] = {
    "eurosat": Preset(
        ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"),
        _eurosat,
        lambda found: [_words(name) for name in found.classes],
        several=False,
        layout="eurosat-test.txt (and -train, -val) and the folder 'ds' of EuroSATallBands.zip",
    ),
    "bigearthnet": Preset(
        ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
        _bigearthnet,
        lambda found: list(found.class_sets[found.num_classes]),
        several=True,
        layout="bigearthnet-test.csv (and -train, -val) and the folder 'BigEarthNet-v1.0'",
    ),
}


def zero_shot_dataset(
    model: Observer | str | Path, name: str, root: str | Path, *, split: str = "test",
    bands: Sequence[str] = (), scale: tuple[float, float] = _BRIGHT, templates: str | None = None,
    device: str = "auto", progress: ProgressFn | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Classify a data set by the names of its classes.

    Args:
        model: A trained observer that reads texts, or its folder.
        name: "eurosat" (one class an image: top-1 accuracy) or "bigearthnet" (several, 19 classes:
            mean average precision).
        root: Folder of the data set as torchgeo reads it.
        split: "train", "val" or "test".
        bands: Names of bands in the order of the training; red, green, blue for an observer of
            three bands, all for one of as many as there are, when empty.
        scale: Values that are 0 and 255 for an observer of pictures (uint8).
        templates: Sentences around names; those of the training when None.
        device: Of models and networks.
        progress: Called with ticks.

    Returns:
        JSON-ready: "dataset", "split", "images", "classes", "bands", "tiles", and "top1" with the
        recall of each class, or "map" with the average precision of each.

    Raises:
        UnknownNameError: No such data set or band.
        ParameterError: No such split, or bands that are not stated.
        DataError: The folder does not hold the data set.
        MissingExtraError: torchgeo is not installed.
        MissingCapabilityError: The observer reads no texts.
    """
    if name not in PRESETS:
        raise UnknownNameError(
            f"unknown data set {name!r}", f"Known: {', '.join(PRESETS)}.", suggest(name, PRESETS)
        )
    if split not in SPLITS:
        raise ParameterError(f"split = {split!r}", f"Allowed: {', '.join(SPLITS)}.")
    preset = PRESETS[name]
    need_extra(EXTRAS["torchgeo"], f"the data set {name!r}")
    observer = model if isinstance(model, Observer) else Observer.load(model, device=device)
    need_texts(observer, name)
    used = _bands(observer, name, preset, bands)
    data = _opened(name, preset, root, split)
    names = preset.names(data)
    head = text_head(
        built(observer, "text", device), names, templates=templates or observer.record.templates
    )
    branch = _Branch(observer, scale, device)
    at = [preset.bands.index(band) for band in used]
    logits, truth = [], []
    with Meter(progress, f"classifying {name}", len(data)) as meter:
        for start in range(0, len(data), _AT_ONCE):
            samples = [data[i] for i in range(start, min(len(data), start + _AT_ONCE))]
            images = np.stack([sample["image"].numpy()[at] for sample in samples])
            logits.append(head.logits(branch(images)))
            truth += [np.asarray(sample["label"]) for sample in samples]
            meter.advance(len(samples))
    found = np.concatenate(logits)
    judged = _several(found, truth, names) if preset.several else _single(found, truth, names)
    return {
        "dataset": name, "split": split, "images": len(data), "classes": len(names),
        "bands": list(used), "tiles": list(branch.shape),
        "scale": list(scale) if branch.pictures else None, **judged,
    }  # fmt: skip


class _Branch:
    """From images to vectors in the space of texts, through overviews alone."""

    def __init__(self, observer: Observer, scale: tuple[float, float], device: str) -> None:
        self._observer, self._scale = observer, scale
        self._encoder = observer.record.encoders["lr"]
        self._model = built(observer, "lr", device)
        self._adapter: OverviewTokens | None = None
        self.shape = (0, 0)
        self.pictures = self._encoder.dtype == "uint8"

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Turn (b, c, h, w) images into (b, e) vectors."""
        observer = self._observer
        assert observer.to_text is not None  # noqa: S101  (need_texts has looked)
        if self._adapter is None:
            self.shape = self._tiles(images.shape[2:])
            side = observer.record.shape.lr_side
            self._adapter = OverviewTokens(self._model, self.shape, side)
        adapter = self._adapter
        tokens = adapter.unpack(adapter.embed(self._native(images)).astype(np.float16))
        lr = observer.lr(tokens)
        k, d = observer.record.shape.hr_side, observer.record.shape.hr_dim
        rows, cols = self.shape
        nothing = np.zeros((len(lr), rows * k, cols * k, d), np.float32)
        done = observer.complete(lr, nothing, np.zeros((len(lr), rows, cols), bool))
        return observer.to_text(done.tokens.mean(axis=(1, 2)))

    def _tiles(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return how an image is cut: tiles as large on the ground as in training."""
        record = self._observer.record
        own = record.lr_tile if record.tile_metres is None else record.tile_metres / _GSD
        rows, cols = (min(n, max(1, round(n / own))) for n in shape)
        return rows, cols

    def _native(self, images: NDArray[Any]) -> NDArray[Any]:
        """Bring values to the type that the observer was trained on."""
        if not self.pictures:
            return images.astype(self._encoder.dtype)
        low, high = self._scale
        return np.rint(np.clip((images - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _bands(observer: Observer, name: str, preset: Preset, given: Sequence[str]) -> tuple[str, ...]:
    """Return the bands to read, in the order of the training."""
    wanted = len(observer.record.encoders["lr"].spec.bands)
    for band in given:
        if band not in preset.bands:
            raise UnknownNameError(
                f"{name} has no band {band!r}", f"Bands: {', '.join(preset.bands)}.",
                suggest(band, preset.bands),
            )  # fmt: skip
    used = tuple(given) or {3: _RGB, len(preset.bands): preset.bands}.get(wanted, ())
    if len(used) != wanted:
        raise ParameterError(
            f"{len(used) or 'no'} bands of {name} for an observer of {wanted}",
            "Which bands it should see is stated in the order of the training.",
            f"--bands {','.join(preset.bands[:wanted])}, for example.",
        )
    return used


def _opened(name: str, preset: Preset, root: str | Path, split: str) -> Any:
    """Open a data set, or say what its folder lacks."""
    if not Path(root).is_dir():
        raise DataError(
            f"there is no folder {str(root)!r}",
            f"--root is the folder of {name}: {preset.layout}.",
            "Nothing is fetched: put it there first.",
        )
    from torchgeo.datasets import DatasetNotFoundError

    try:
        found = preset.open(os.fspath(root), split)
    except (DatasetNotFoundError, OSError) as error:
        raise DataError(
            f"{str(root)!r} does not hold {name}",
            f"Expected {preset.layout}.",
            "Nothing is fetched: put it there first.",
        ) from error
    if not len(found):
        raise DataError(f"the split {split!r} of {name} in {str(root)!r} is empty")
    return found


def _single(
    logits: NDArray[np.floating], truth: Sequence[NDArray[Any]], names: Sequence[str]
) -> dict[str, Any]:
    labels = np.array([int(one) for one in truth])
    each = {
        name: top1(logits[labels == k], labels[labels == k]) if (labels == k).any() else None
        for k, name in enumerate(names)
    }
    return {
        "top1": top1(logits, labels), "each": each, "chance": 1 / len(names),
        "majority": float(np.bincount(labels).max() / labels.size),
    }  # fmt: skip


def _several(
    logits: NDArray[np.floating], truth: Sequence[NDArray[Any]], names: Sequence[str]
) -> dict[str, Any]:
    shown = np.stack(truth).astype(bool)
    found = mean_average_precision(logits, shown)
    each = [None if np.isnan(value) else float(value) for value in found.per_concept]
    there = shown.any(axis=0)
    return {
        "map": found.mean if there.any() else None,
        "each": dict(zip(names, each, strict=True)),
        "chance": float(shown.mean(axis=0)[there].mean()) if there.any() else None,
    }


def _words(name: str) -> str:
    """Write a class as people do: "SeaLake" is "sea lake"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
