"""The tune-text job: from images with texts to a model loaded as ``tuned:FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from foveate.errors import ParameterError, StorageError
from foveate.files import digest, read_json, write_json
from foveate.models.base import ModelHandle
from foveate.models.embed import bind, embed
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.fit import FitSettings, fit
from foveate.models.heads import text_head, unit
from foveate.models.runtime import resolve_device
from foveate.models.settings import ModelJob
from foveate.models.tune_text import store
from foveate.models.tune_text.data import Dataset, Sources, gather, read
from foveate.pool.find import need_paths
from foveate.pool.step import measured_pool
from foveate.run.options import Option, PathText
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.embeddings import Embeddings
    from foveate.models.families.tuned import TunedModel
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 2  # increased if the same inputs lead to other weights or measures
MODEL, CHECKPOINT = "model", "training/checkpoint.pt"
HISTORY, EVALUATION = "training/history.json", "tables/evaluation.json"


class _Ready(NamedTuple):
    sources: Sources
    handle: ModelHandle


class TuneTextJob(ModelJob):
    """Align a frozen image encoder with text, from captions or class folders."""

    absent = frozenset({
        "masks", "mask_suffix", "classes", "min_labelled", "coordinates", "tile", "stride", "edge",
    })  # fmt: skip
    renamed: ClassVar = {"lr": "learning_rate"}
    tile: None = None  # captions describe whole images
    captions: Annotated[PathText | None, Option("Input")] = None
    """Captions: JSON (as in UCM-captions, RSICD), JSONL or CSV."""
    classes_from_folders: Annotated[bool, Option("Input")] = False
    """Use the names of the folders of the images as texts."""
    split: Annotated[
        PathText | None, Option("Input", default="from the captions, or random: 80, 10 and 10 %")
    ] = None
    """File with the split of each image: train, val or test."""
    pair: Annotated[Literal["name", "order"], Option("Input")] = "name"
    """Match captions and images by name or order."""
    labels: Annotated[PathText | None, Option("Input", default="the readable folder names")] = None
    """File with texts of the folders: folder -> name, or several names."""
    templates: Annotated[str, Option("Input")] = "rs"
    """Prompt templates: rs, plain, none, ..., a file, or a sentence with {}."""
    dim: Annotated[int, Option("Training")] = Field(256, ge=8)
    """Dimension of the common embedding."""
    width: Annotated[int, Option("Training")] = Field(128, ge=16, multiple_of=4)
    """Width of the text transformer."""
    layers: Annotated[int, Option("Training")] = Field(2, ge=1)
    """Number of layers of the text transformer."""
    epochs: Annotated[int, Option("Training")] = Field(30, ge=1)
    """Passes over the training images."""
    train_batch: Annotated[int, Option("Training")] = Field(128, ge=2)
    """Images per training step."""
    learning_rate: Annotated[float, Option("Training")] = Field(1e-3, gt=0)
    """Highest learning rate."""
    patience: Annotated[int, Option("Training")] = Field(10, ge=0)
    """Epochs without improvement of the validation score after which training stops; 0: never."""
    precision: Annotated[Literal["float32", "bfloat16"], Option("Training")] = "float32"
    """Precision of the training: float32 or bfloat16."""
    replace: Annotated[bool, Option("Output")] = False
    """Replace a model of the run that was tuned with other options."""

    def check(self) -> _Ready:
        """Return the text files and the frozen encoder."""
        need_paths(self.images, "image")
        need_extra(EXTRAS["tuned"], "tuning")
        if self.pair != "name" and self.captions is None and self.split is None:
            raise ParameterError(
                f"--pair {self.pair} without --captions and --split",
                "The option matches the rows of these files and the images.",
                "Omit --pair.",
            )
        sources = read(
            captions=self.captions, folders=self.classes_from_folders, split=self.split,
            labels=self.labels, templates=self.templates,
        )  # fmt: skip
        handle = self.handle()
        if handle.family == "tuned":  # its folder would have to be copied into the new one
            raise ParameterError(
                f"tune-text with the model {handle}",
                "The model already has a text encoder.",
                "Use the image encoder that it was tuned on.",
            )
        resolve_device(self.device)
        return _Ready(sources, handle)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Embed the images, train the towers, and evaluate the stored model."""
        sources, handle = ready
        pool, _ = measured_pool(self, run, progress)
        data = gather(sources, *_scenes(pool), pair_by=self.pair, seed=self.seed)
        embeddings = embed(
            pool, handle, run=run, batch_size=self.batch_size, workers=self.workers,
            progress=progress,
        )  # fmt: skip
        settings = FitSettings(
            epochs=self.epochs, batch_size=self.train_batch, learning_rate=self.learning_rate,
            patience=self.patience, seed=self.seed, precision=self.precision,
        )  # fmt: skip
        vectors = run.key(step_name(embeddings.spec.name))
        # The texts of class folders already include the templates.
        templates = None if sources.captions is None else sources.templates
        sizes = [self.dim, self.width, self.layers, templates]
        key = digest([VERSION, store.FORMAT, vectors, data.key(), settings.key(), sizes])
        if not self.replace:
            _refuse_other(run.path, key)

        def train() -> list[str]:
            return _train(
                run.path, embeddings, data, handle, settings,
                dtype=pool.scenes[0].source.info.dtype,
                sizes=(self.dim, self.width, self.layers), templates=templates, key=key,
                about={
                    "captions": (
                        Path(self.captions).name if self.captions else "names of class folders"
                    ),
                    "scenes": _fingerprints(pool, np.union1d(data.rows("train"), data.rows("val"))),
                },
                device=self.device, progress=progress,
            )  # fmt: skip

        def evaluate() -> list[str]:
            spec = embeddings.spec
            tuned = ModelHandle(
                "tuned", str(run.path / MODEL), bands=spec.bands, scale=spec.scale,
                device=self.device,
            )  # fmt: skip
            model: Any = bind(tuned, pool, run=run)
            found = {
                split: _measure(model, data, embeddings, split, sources.templates)
                for split in ("val", "test")
                if data.rows(split).size
            }
            write_json(run.path / EVALUATION, found)
            return [EVALUATION]

        run.do("train", key, train)
        run.do("evaluate", digest([VERSION, key, sources.templates]), evaluate)
        history = read_json(run.path / HISTORY)
        return {
            "pool": pool.describe(),
            "model": embeddings.spec.to_dict(),
            "data": data.describe(),
            "called": {name: list(texts) for name, texts in data.called.items()},
            "training": {
                "epochs": len(history["epochs"]),
                "best_epoch": history["best"],
                "score": history["epochs"][history["best"] - 1]["score"],
                "threads": history["threads"],
            },
            "evaluation": read_json(run.path / EVALUATION),
            "tuned": str(run.path),
            "seed": self.seed,
        }


def _scenes(pool: Pool) -> tuple[list[str], list[str]]:
    assert pool.tiles is not None  # noqa: S101  (a measured pool has scenes)
    return pool.tiles.scene.tolist(), [str(tile).rsplit("/", 1)[0] for tile in pool.excluded]


def _fingerprints(pool: Pool, rows: NDArray[np.int64]) -> list[str]:
    """Return the sorted fingerprints of the images of tiles; see `store.tuned_on`."""
    known = {scene.scene_id: scene.source.info.fingerprint for scene in pool.scenes}
    assert pool.tiles is not None  # noqa: S101  (cut from images)
    return sorted({known[scene] for scene in pool.tiles.scene[rows].tolist()})


def _refuse_other(path: Path, key: str) -> None:
    """Refuse to overwrite a model that was tuned with other options.

    Raises:
        StorageError: Such a model exists.
    """
    folder = path / MODEL
    if (folder / store.MODEL).exists() and store.read_record(folder).training.get("key") != key:
        raise StorageError(
            f"the run {str(path)!r} contains a model that was tuned with other options",
            "It is only overwritten with --replace.",
            "Use another --out, or add --replace; the embeddings are reused.",
        )


def _train(
    path: Path, embeddings: Embeddings, data: Dataset, handle: ModelHandle, settings: FitSettings,
    *, dtype: str, sizes: tuple[int, int, int], templates: Sequence[str] | None,
    key: str, about: dict[str, Any], device: str, progress: ProgressFn | None,
) -> list[str]:  # fmt: skip
    from foveate.models.tune_text.network import CaptionTask, Shape

    shape = Shape(embeddings.spec.dim, *sizes)
    train, val = data.rows("train"), data.rows("val")
    texts = data.texts.take(train)
    task = CaptionTask(
        _vectors(embeddings, train), texts, _vectors(embeddings, val), data.texts.take(val),
        shape=shape, batch_size=settings.batch_size, seed=settings.seed, templates=templates,
        device=resolve_device(device),
    )  # fmt: skip
    history = fit(
        task, settings, checkpoint=path / CHECKPOINT, key=key, title="tuning text",
        progress=progress,
    )  # fmt: skip
    record = store.Record(
        **store.copy_base(handle, embeddings.spec, path / MODEL),
        base_spec=embeddings.spec,
        dtype=dtype,
        shape=shape,
        training={
            **about,
            "images": int(train.size),
            "texts": len(texts.texts),
            "epochs": len(history.epochs),
            "best_epoch": history.best,
            "seed": settings.seed,
            "key": key,
        },
    )
    files = store.save(path / MODEL, task.net, record)
    write_json(path / HISTORY, vars(history))
    (path / CHECKPOINT).unlink(missing_ok=True)
    return [*(str(f.relative_to(path)) for f in files), HISTORY]


def _measure(
    model: TunedModel, data: Dataset, embeddings: Embeddings, split: str, templates: Sequence[str]
) -> dict[str, Any]:
    from foveate.models.tune_text.network import accuracy, recalls

    rows = data.rows(split)
    images = unit(model.project(_vectors(embeddings, rows)))
    texts = data.texts.take(rows)
    similarity = images @ model.embed_text(texts.texts).T
    found: dict[str, Any] = {
        "images": int(rows.size),
        "texts": len(texts.texts),
        "retrieval": recalls(similarity, texts.match.toarray()),
    }
    if data.classes:
        head = text_head(model, data.called, templates=templates)
        found["zero_shot"] = accuracy(head.logits(images), data.truth[rows], data.classes)
    return found


def _vectors(embeddings: Embeddings, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(embeddings.x[rows], np.float32)
