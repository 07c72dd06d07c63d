"""Zero-shot classification of whole data sets, by the LR branch of an observer or a plain model.

To an observer an image is an overview: cut into tiles as large on the ground as in training,
completed from its LR tokens with nothing observed, and compared by its mean token with the names of
the classes. A model of images and texts sees it whole. Data sets lie in a folder, as torchgeo reads
them or as folders of pictures; nothing is fetched.
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
from foveate.observe.features import OverviewTokens
from foveate.observe.match_hr import built
from foveate.observe.observer import Observer
from foveate.observe.searching import need_texts
from foveate.pool.folder import open_pool
from foveate.progress import Meter
from foveate.registry import suggest
from foveate.stats import mean_average_precision, top1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

_SENTINEL = 10.0  # metres of a pixel
_RGB = ("B04", "B03", "B02")
_COLOURS = ("red", "green", "blue")
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
        rgb: Names of the bands red, green and blue.
        gsd: Metres of a pixel; None where it is not known.
        torchgeo: Whether torchgeo reads it.
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
    """Pictures in folders that are named after their class, as samples like those of torchgeo.

    Raises:
        DataError: There are no such folders, or an image is no picture.
    """

    def __init__(self, root: str, split: str) -> None:
        folder = Path(root) / split
        there = folder.is_dir()
        self.classes = sorted(p.name for p in folder.iterdir() if p.is_dir()) if there else []
        if len(self.classes) < 2:
            raise DataError(
                f"{str(folder)!r} does not hold two classes or more",
                f"Expected {_FOLDERS}.",
                "Put the images of each class into a folder of its name.",
            )
        self._pool = open_pool(folder, split=(1, 1), measure=False)
        assert self._pool.tiles is not None  # noqa: S101  (cut from images)
        self._scenes = self._pool.tiles.scene.tolist()
        for scene in self._scenes:
            if scene.partition("/")[0] not in self.classes:
                raise DataError(
                    f"the image {scene!r} in {str(folder)!r} is in no folder of a class",
                    f"Expected {_FOLDERS}.",
                    "Put it into one, or elsewhere.",
                )

    def __len__(self) -> int:
        return len(self._pool)

    def __getitem__(self, row: int) -> dict[str, Any]:
        raster = next(iter(self._pool.read([row])))
        scene = self._scenes[row]
        if raster.data.shape[0] != len(_COLOURS) or raster.data.dtype != np.uint8:
            raise DataError(
                f"the image {scene!r} has {raster.data.shape[0]} bands of {raster.data.dtype}",
                "Images in folders are pictures: three bands, red, green and blue, of uint8.",
                "Convert them to PNG or JPEG.",
            )
        return {"image": raster.data, "label": self.classes.index(scene.partition("/")[0])}


_FOLDERS = "a folder of pictures for each class in one for each split: test/forest/1.png"


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
    "folders": Preset(
        _COLOURS,
        _Folders,
        lambda found: [_words(name) for name in found.classes],
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
    """Classify a data set by the names of its classes.

    Args:
        model: A trained observer that reads texts, or its folder; or a model of images and texts.
        name: "eurosat" (one class an image: top-1 accuracy), "bigearthnet" (several, 19 classes:
            mean average precision) or "folders" (pictures in folders, one class an image).
        root: Folder of the data set: as torchgeo reads it, or with "SPLIT/CLASS/*.png".
        split: "train", "val" or "test".
        bands: Names of bands in the order of the training; red, green, blue for a model of
            three bands, all for one of as many as there are, when empty.
        scale: Values that are 0 and 255 for a model of pictures (uint8).
        templates: Sentences around names; those of the training when None, "rs" for a plain model.
        device: Of models and networks; a plain model has its own.
        progress: Called with ticks.

    Returns:
        JSON-ready: "dataset", "split", "images", "classes", "bands", "tiles", and "top1" with the
        recall of each class, or "map" with the average precision of each.

    Raises:
        UnknownNameError: No such data set or band.
        ParameterError: No such split, or bands that are not stated.
        DataError: The folder does not hold the data set.
        MissingExtraError: torchgeo is not installed.
        MissingCapabilityError: The model reads no texts.
    """
    check_dataset(name, root)
    if split not in SPLITS:
        raise ParameterError(f"split = {split!r}", f"Allowed: {', '.join(SPLITS)}.")
    preset = PRESETS[name]
    if isinstance(model, ModelHandle):
        branch: _Branch | _Plain = _Plain(model, scale)
        text, sentences = branch.model, templates or "rs"
    else:
        observer = model if isinstance(model, Observer) else Observer.load(model, device=device)
        need_texts(observer, name)
        branch = _Branch(observer, scale, device, preset.gsd)
        text, sentences = built(observer, "text", device), templates or observer.record.templates
    used = _bands(branch.wanted, name, preset, bands)
    data = _opened(name, preset, root, split)
    names = preset.names(data)
    head = text_head(text, names, templates=sentences)
    at = [preset.bands.index(band) for band in used]
    logits, truth = [], []
    with Meter(progress, f"classifying {name}", len(data)) as meter:
        for images, labels in _batches(data, at):
            logits.append(head.logits(branch(images)))
            truth += labels
            meter.advance(len(labels))
    found = np.concatenate(logits)
    judged = _several(found, truth, names) if preset.several else _single(found, truth, names)
    return {
        "dataset": name, "split": split, "images": len(data), "classes": len(names),
        "bands": list(used), "tiles": list(branch.shape),
        "scale": list(scale) if branch.pictures else None, **judged,
    }  # fmt: skip


def check_dataset(name: str, root: str | Path) -> None:
    """Check that a data set is one that is read here, and that its folder is there.

    Raises:
        UnknownNameError: No such data set.
        DataError: No such folder.
        MissingExtraError: torchgeo is not installed.
    """
    if name not in PRESETS:
        raise UnknownNameError(
            f"unknown data set {name!r}", f"Known: {', '.join(PRESETS)}.", suggest(name, PRESETS)
        )
    if PRESETS[name].torchgeo:
        need_extra(EXTRAS["torchgeo"], f"the data set {name!r}")
    if not Path(root).is_dir():
        raise DataError(
            f"there is no folder {str(root)!r}",
            f"Expected the folder of {name}: {PRESETS[name].layout}.",
            "Nothing is fetched: put it there first.",
        )


def _batches(data: Any, at: Sequence[int]) -> Iterator[tuple[NDArray[Any], list[NDArray[Any]]]]:
    """Yield images of one size, (b, c, h, w), and what they show, in the order of the data."""
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    for i in range(len(data)):
        sample = data[i]
        image = np.asarray(sample["image"])[list(at)]
        if images and (len(images) == _AT_ONCE or image.shape != images[0].shape):
            yield np.stack(images), labels
            images, labels = [], []
        images.append(image)
        labels.append(np.asarray(sample["label"]))
    yield np.stack(images), labels


def _as_pictures(images: NDArray[Any], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """Bring values to 0 to 255; pictures stay as they are."""
    if images.dtype == np.uint8:
        return images
    low, high = scale
    return np.rint(np.clip((images - low) / (high - low), 0, 1) * 255).astype(np.uint8)


class _Plain:
    """From images to vectors by a model of images and texts, which sees each as a whole."""

    shape = (1, 1)

    def __init__(self, handle: ModelHandle, scale: tuple[float, float]) -> None:
        self.wanted = handle.channels or len(_COLOURS)
        self.pictures = handle.native_scale is None  # weights for physical values read those
        self._scale = scale
        limits = handle.native_scale or ((0.0, 255.0),) * self.wanted
        bands = range(1, self.wanted + 1)
        self.model = need(build_model(handle, bands, limits), "text", "zero-shot classification")

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Turn (b, c, h, w) images into (b, e) vectors."""
        return self.model.embed(_as_pictures(images, self._scale) if self.pictures else images)


class _Branch:
    """From images to vectors in the space of texts, through overviews alone."""

    def __init__(
        self, observer: Observer, scale: tuple[float, float], device: str,
        gsd: float | None = _SENTINEL,
    ) -> None:  # fmt: skip
        self._observer, self._scale, self._gsd = observer, scale, gsd
        self._encoder = observer.record.encoders["lr"]
        self._model = built(observer, "lr", device)
        self._adapters: dict[tuple[int, int], OverviewTokens] = {}
        self.shape = (0, 0)  # tiles of the first image
        self.wanted = len(self._encoder.spec.bands)
        self.pictures = self._encoder.dtype == "uint8"

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Turn (b, c, h, w) images into (b, e) vectors."""
        observer = self._observer
        assert observer.to_text is not None  # noqa: S101  (need_texts has looked)
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
        nothing = np.zeros((len(lr), rows * k, cols * k, d), np.float32)
        done = observer.complete(lr, nothing, np.zeros((len(lr), rows, cols), bool))
        return observer.to_text(done.tokens.mean(axis=(1, 2)))

    def _tiles(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return how an image is cut: tiles as large as in training, on the ground if known."""
        record = self._observer.record
        ground = record.tile_metres is not None and self._gsd is not None
        own = record.tile_metres / self._gsd if ground else record.lr_tile
        rows, cols = (min(n, max(1, round(n / own))) for n in shape)
        return rows, cols

    def _native(self, images: NDArray[Any]) -> NDArray[Any]:
        """Bring values to the type that the observer was trained on."""
        if not self.pictures:
            return images.astype(self._encoder.dtype)
        return _as_pictures(images, self._scale)


def _bands(wanted: int, name: str, preset: Preset, given: Sequence[str]) -> tuple[str, ...]:
    """Return the bands to read, in the order of the training."""
    for band in given:
        if band not in preset.bands:
            raise UnknownNameError(
                f"{name} has no band {band!r}", f"Bands: {', '.join(preset.bands)}.",
                suggest(band, preset.bands),
            )  # fmt: skip
    used = tuple(given) or {len(preset.bands): preset.bands, 3: preset.rgb}.get(wanted, ())
    if len(used) != wanted:
        raise ParameterError(
            f"{len(used) or 'no'} bands of {name} for a model of {wanted}",
            "Which bands it should see is stated in the order of the training.",
            f"--bands {','.join(preset.bands[:wanted])}, for example.",
        )
    return used


def _opened(name: str, preset: Preset, root: str | Path, split: str) -> Any:
    """Open a data set, or say what its folder lacks."""
    if not preset.torchgeo:
        return preset.open(os.fspath(root), split)
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
