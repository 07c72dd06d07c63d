"""Zero-shot classification of whole datasets, by the LR branch of an observer or a plain model.

For an observer an image is an overview: it is cut into tiles of the ground size of the training,
completed from its LR tokens without observed tiles, and its mean token is compared with the names
of the classes. A vision-language model embeds the whole image. Datasets are in a local folder, in
the layout of torchgeo or as folders of images; there are no downloads.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.base import ModelHandle
from foveate.models.capabilities import need
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.heads import text_head
from foveate.models.load import build_model
from foveate.observe.completion.searching import need_texts
from foveate.observe.features import OverviewTokens
from foveate.observe.observer import Observer
from foveate.pool.folder import open_pool
from foveate.progress import Meter
from foveate.registry import suggest
from foveate.stats import mean_average_precision, top1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

_SENTINEL = 10.0  # GSD in metres
_RGB = ("B04", "B03", "B02")
_COLOURS = ("red", "green", "blue")
_AT_ONCE = 64  # images
_BRIGHT = (0.0, 3000.0)  # reflectance times 10,000 that is mapped to 0 and 255
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Preset:
    """Description of a dataset.

    Attributes:
        bands: Names of the bands, in the order of the images.
        open: Function that opens a split of a root folder.
        names: Function that returns the class names of an open dataset, as texts.
        several: Whether the dataset is multi-label.
        layout: Layout of the folder, for error messages.
        rgb: Names of the bands red, green and blue.
        gsd: GSD in metres; None if unknown.
        torchgeo: Whether the dataset is read by torchgeo.
    """

    bands: tuple[str, ...]
    open: Callable[[str, str], Any]
    names: Callable[[Any], list[str]]
    several: bool
    layout: str
    rgb: tuple[str, ...] = _RGB
    gsd: float | None = _SENTINEL
    torchgeo: bool = True


class _Folders:
    """Images in one folder per class, as samples in the format of torchgeo.

    Raises:
        DataError: There are no folders of classes, or an image is not uint8 RGB.
    """

    def __init__(self, root: str, split: str) -> None:
        folder = Path(root) / split
        exists = folder.is_dir()
        self.classes = sorted(p.name for p in folder.iterdir() if p.is_dir()) if exists else []
        if len(self.classes) < 2:
            raise DataError(
                f"{str(folder)!r} has fewer than two classes",
                f"Expected {_FOLDERS}.",
                "Move the images of each class to a folder of its name.",
            )
        self._pool = open_pool(folder, split=(1, 1), measure=False)
        assert self._pool.tiles is not None  # noqa: S101  (cut from images)
        self._scenes = self._pool.tiles.scene.tolist()
        for scene in self._scenes:
            if scene.partition("/")[0] not in self.classes:
                raise DataError(
                    f"the image {scene!r} in {str(folder)!r} is not in the folder of a class",
                    f"Expected {_FOLDERS}.",
                    "Move it to the folder of its class, or out of the dataset.",
                )

    def __len__(self) -> int:
        return len(self._pool)

    def __getitem__(self, row: int) -> dict[str, Any]:
        raster = next(iter(self._pool.read([row])))
        scene = self._scenes[row]
        if raster.data.shape[0] != len(_COLOURS) or raster.data.dtype != np.uint8:
            raise DataError(
                f"the image {scene!r} has {raster.data.shape[0]} bands of {raster.data.dtype}",
                "Images in folders must have three bands (red, green, blue) of uint8.",
                "Convert them to PNG or JPEG.",
            )
        return {"image": raster.data, "label": self.classes.index(scene.partition("/")[0])}


_FOLDERS = "folders SPLIT/CLASS of images, such as test/forest/1.png"


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
        lambda dataset: [_words(name) for name in dataset.classes],
        several=False,
        layout="eurosat-test.txt (and -train, -val) and the folder 'ds' of EuroSATallBands.zip",
    ),
    "bigearthnet": Preset(
        ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
        _bigearthnet,
        lambda dataset: list(dataset.class_sets[dataset.num_classes]),
        several=True,
        layout="bigearthnet-test.csv (and -train, -val) and the folder 'BigEarthNet-v1.0'",
    ),
    "folders": Preset(
        _COLOURS,
        _Folders,
        lambda dataset: [_words(name) for name in dataset.classes],
        several=False,
        layout=_FOLDERS,
        rgb=_COLOURS,
        gsd=None,
        torchgeo=False,
    ),
}


def zero_shot_dataset(
    model: Observer | ModelHandle | str | Path, name: str, root: str | Path, *, split: str = "test",
    bands: Sequence[str] = (), scale: tuple[float, float] = _BRIGHT, templates: str | None = None,
    device: str = "auto", progress: ProgressFn | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Classify a dataset zero-shot by its class names.

    Args:
        model: A trained observer with a text model, or its folder; or a vision-language model.
        name: "eurosat" (single-label: top-1 accuracy), "bigearthnet" (multi-label, 19 classes: mean
            average precision) or "folders" (images in folders, single-label).
        root: Folder of the dataset, in the layout of torchgeo, or "SPLIT/CLASS/*.png".
        split: "train", "val" or "test".
        bands: Names of bands in the order of the training. If empty: red, green, blue for a model
            of three bands; all bands if the number of bands matches.
        scale: Values that are mapped to 0 and 255 for a model of uint8 images.
        templates: Prompt templates; None: those of the training, or "rs" for a plain model.
        device: Device of models and networks; the handle of a plain model has its own device.
        progress: Progress callback.

    Returns:
        JSON-ready: "dataset", "split", "images", "classes", "bands", "tiles", and "top1" with the
        recall of each class, or "map" with the average precision of each class.

    Raises:
        UnknownNameError: The dataset or a band is unknown.
        ParameterError: The split is unknown, or bands are required.
        DataError: The folder does not contain the dataset.
        MissingExtraError: torchgeo is not installed.
        MissingCapabilityError: The model cannot embed texts.
    """
    check_dataset(name, root)
    if split not in SPLITS:
        raise ParameterError(f"split = {split!r}", f"Allowed: {', '.join(SPLITS)}.")
    preset = PRESETS[name]
    if isinstance(model, ModelHandle):
        branch: _Branch | _Plain = _Plain(model, scale)
        text, templates = branch.model, templates or "rs"
    else:
        observer = model if isinstance(model, Observer) else Observer.load(model, device=device)
        need_texts(observer, name)
        branch = _Branch(observer, scale, device, preset.gsd)
        text, templates = observer.build("text", device), templates or observer.record.templates
    used = _bands(branch.channels, name, preset, bands)
    data = _opened(name, preset, root, split)
    names = preset.names(data)
    head = text_head(text, names, templates=templates)
    indices = [preset.bands.index(band) for band in used]
    batches, truth = [], []
    with Meter(progress, f"classifying {name}", len(data)) as meter:
        for images, labels in _batches(data, indices):
            batches.append(head.logits(branch(images)))
            truth += labels
            meter.advance(len(labels))
    logits = np.concatenate(batches)
    metrics = (_multi_label if preset.several else _single_label)(logits, truth, names)
    return {
        "dataset": name, "split": split, "images": len(data), "classes": len(names),
        "bands": list(used), "tiles": list(branch.shape),
        "scale": list(scale) if branch.uint8 else None, **metrics,
    }  # fmt: skip


def check_dataset(name: str, root: str | Path) -> None:
    """Check that a dataset is known, and that its folder exists.

    Raises:
        UnknownNameError: The dataset is unknown.
        DataError: The folder does not exist.
        MissingExtraError: torchgeo is not installed.
    """
    if name not in PRESETS:
        raise UnknownNameError(
            f"unknown dataset {name!r}", f"Known: {', '.join(PRESETS)}.", suggest(name, PRESETS)
        )
    if PRESETS[name].torchgeo:
        need_extra(EXTRAS["torchgeo"], f"the dataset {name!r}")
    if not Path(root).is_dir():
        raise DataError(
            f"there is no folder {str(root)!r}",
            f"Expected the folder of {name}: {PRESETS[name].layout}.",
            "Download the dataset to this folder first.",
        )


def _batches(
    data: Any, indices: Sequence[int]
) -> Iterator[tuple[NDArray[Any], list[NDArray[Any]]]]:
    """Yield (b, c, h, w) images of one size and their labels, in the order of the data."""
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    for i in range(len(data)):
        sample = data[i]
        image = np.asarray(sample["image"])[list(indices)]
        if images and (len(images) == _AT_ONCE or image.shape != images[0].shape):
            yield np.stack(images), labels
            images, labels = [], []
        images.append(image)
        labels.append(np.asarray(sample["label"]))
    yield np.stack(images), labels


def _to_uint8(images: NDArray[Any], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """Scale values to 0 to 255; uint8 images are returned unchanged."""
    if images.dtype == np.uint8:
        return images
    low, high = scale
    return np.rint(np.clip((images - low) / (high - low), 0, 1) * 255).astype(np.uint8)


class _Plain:
    """Embeddings of whole images by a vision-language model."""

    shape = (1, 1)

    def __init__(self, handle: ModelHandle, scale: tuple[float, float]) -> None:
        self.channels = handle.channels or len(_COLOURS)
        self.uint8 = handle.native_scale is None  # other models are given physical values
        self._scale = scale
        limits = handle.native_scale or ((0.0, 255.0),) * self.channels
        bands = range(1, self.channels + 1)
        self.model = need(build_model(handle, bands, limits), "text", "zero-shot classification")

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, e) embeddings of (b, c, h, w) images."""
        return self.model.embed(_to_uint8(images, self._scale) if self.uint8 else images)


class _Branch:
    """Embeddings of images in the text embedding space by the LR branch of an observer."""

    def __init__(
        self, observer: Observer, scale: tuple[float, float], device: str,
        gsd: float | None = _SENTINEL,
    ) -> None:  # fmt: skip
        self._observer, self._scale, self._gsd = observer, scale, gsd
        self._encoder = observer.record.encoders["lr"]
        self._model = observer.build("lr", device)
        self._adapters: dict[tuple[int, int], OverviewTokens] = {}
        self.shape = (0, 0)  # tiles of the first image
        self.channels = len(self._encoder.spec.bands)
        self.uint8 = self._encoder.dtype == "uint8"

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return (b, e) embeddings of (b, c, h, w) images."""
        observer = self._observer
        assert observer.to_text is not None  # noqa: S101  (checked by need_texts)
        rows, cols = self._tiles(images.shape[2:])
        if not self._adapters:
            self.shape = (rows, cols)
        if (rows, cols) not in self._adapters:
            side = observer.record.shape.lr_side
            self._adapters[rows, cols] = OverviewTokens(self._model, (rows, cols), side)
        adapter = self._adapters[rows, cols]
        tokens = adapter.unpack(adapter.embed(self._native(images)).astype(np.float16))
        lr = observer.lr(tokens)
        k, d = observer.record.shape.hr_side, observer.record.shape.hr_dim
        unobserved = np.zeros((len(lr), rows * k, cols * k, d), np.float32)
        completed = observer.complete(lr, unobserved, np.zeros((len(lr), rows, cols), bool))
        return observer.to_text(completed.tokens.mean(axis=(1, 2)))

    def _tiles(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return rows and columns of tiles of the size of the training, in metres if known."""
        record = self._observer.record
        in_metres = record.tile_metres is not None and self._gsd is not None
        side = record.tile_metres / self._gsd if in_metres else record.lr_tile
        rows, cols = (min(n, max(1, round(n / side))) for n in shape)
        return rows, cols

    def _native(self, images: NDArray[Any]) -> NDArray[Any]:
        """Convert values to the dtype of the training."""
        if not self.uint8:
            return images.astype(self._encoder.dtype)
        return _to_uint8(images, self._scale)


def _bands(channels: int, name: str, preset: Preset, given: Sequence[str]) -> tuple[str, ...]:
    """Return the bands to read, in the order of the training."""
    for band in given:
        if band not in preset.bands:
            raise UnknownNameError(
                f"{name} has no band {band!r}", f"Bands: {', '.join(preset.bands)}.",
                suggest(band, preset.bands),
            )  # fmt: skip
    used = tuple(given) or {len(preset.bands): preset.bands, 3: preset.rgb}.get(channels, ())
    if len(used) != channels:
        raise ParameterError(
            f"{len(used) or 'no'} bands of {name} for a model of {channels} bands",
            "The bands must be given in the order of the training.",
            f"For example --bands {','.join(preset.bands[:channels])}.",
        )
    return used


def _opened(name: str, preset: Preset, root: str | Path, split: str) -> Any:
    """Open a dataset; raise an error with the expected layout if the folder is invalid."""
    if not preset.torchgeo:
        return preset.open(os.fspath(root), split)
    from torchgeo.datasets import DatasetNotFoundError

    try:
        dataset = preset.open(os.fspath(root), split)
    except (DatasetNotFoundError, OSError) as error:
        raise DataError(
            f"{str(root)!r} does not contain {name}",
            f"Expected {preset.layout}.",
            "Download the dataset to this folder first.",
        ) from error
    if not len(dataset):
        raise DataError(f"the split {split!r} of {name} in {str(root)!r} is empty")
    return dataset


def _single_label(
    logits: NDArray[np.floating], truth: Sequence[NDArray[Any]], names: Sequence[str]
) -> dict[str, Any]:
    labels = np.array([int(label) for label in truth])
    each = {
        name: top1(logits[labels == k], labels[labels == k]) if (labels == k).any() else None
        for k, name in enumerate(names)
    }
    return {
        "top1": top1(logits, labels), "each": each, "chance": 1 / len(names),
        "majority": float(np.bincount(labels).max() / labels.size),
    }  # fmt: skip


def _multi_label(
    logits: NDArray[np.floating], truth: Sequence[NDArray[Any]], names: Sequence[str]
) -> dict[str, Any]:
    labels = np.stack(truth).astype(bool)
    result = mean_average_precision(logits, labels)
    each = [None if np.isnan(value) else float(value) for value in result.per_concept]
    present = labels.any(axis=0)
    return {
        "map": result.mean if present.any() else None,
        "each": dict(zip(names, each, strict=True)),
        "chance": float(labels.mean(axis=0)[present].mean()) if present.any() else None,
    }


def _words(name: str) -> str:
    """Split a camel-case class name into words: "SeaLake" to "sea lake"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
