"""The tune-text job: from images with texts to a folder that ``tuned:FOLDER`` loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import ParameterError, StorageError
from foveate.files import digest, read_json, write_json
from foveate.models.base import ModelHandle
from foveate.models.binding import bind
from foveate.models.device import resolve_device
from foveate.models.embedding import embed
from foveate.models.extras import requires
from foveate.models.fit import FitSettings, fit
from foveate.models.heads.zero_shot import text_head
from foveate.models.tune_text import store
from foveate.models.tune_text.dataset import Dataset, Sources, gather, read
from foveate.models.tune_text.evaluate import accuracy, recalls
from foveate.pool.find import need_paths
from foveate.pool.step import measured_pool
from foveate.run import Run
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.embeddings import Embeddings
    from foveate.models.families.tuned import TunedModel
    from foveate.models.tune_text.settings import TuneTextJob
    from foveate.pool import Pool
    from foveate.progress import ProgressFn

VERSION = 2  # raised when the same inputs lead to other weights or measures
MODEL, CHECKPOINT = "model", "training/checkpoint.pt"
HISTORY, EVALUATION = "training/history.json", "tables/evaluation.json"


@requires("tuned", "tuning")
def run(
    job: TuneTextJob,
    out: str | Path,
    *,
    command: str = "",
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with. The model is in
            ``out/model``.
        command: The command that repeats the job, for the record.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input; what was embedded and trained before
            is kept.
    """
    need_paths(job.images, "image")
    sources = read(job)
    handle = _check_base(job.handle())
    resolve_device(job.device)
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        pool, _ = measured_pool(job, opened, progress)
        data = gather(job, sources, *_scenes(pool))
        found = embed(
            pool, handle, run=opened, batch_size=job.batch_size, workers=job.workers,
            progress=progress,
        )  # fmt: skip
        work = _Work(job, handle, opened, pool, sources, data, found, progress)
        work.train()
        work.evaluate()
        opened.describe(summary=work.summary())
    return opened


def _scenes(pool: Pool) -> tuple[list[str], list[str]]:
    """Return the image of each row, and the images that left the pool."""
    assert pool.tiles is not None  # noqa: S101  (a measured pool has scenes)
    return pool.tiles.scene.tolist(), [str(tile).rsplit("/", 1)[0] for tile in pool.excluded]


def _check_base(handle: ModelHandle) -> ModelHandle:
    """Refuse to tune over a tuned model: its folder would have to travel inside the new one."""
    if handle.family == "tuned":
        raise ParameterError(
            f"tuning text over {handle}",
            "It has a text tower already.",
            "Give the encoder that it was tuned over.",
        )
    return handle


@dataclass
class _Work:
    """The job in progress."""

    job: TuneTextJob
    handle: ModelHandle
    run: Run
    pool: Pool
    sources: Sources
    data: Dataset
    embeddings: Embeddings
    progress: ProgressFn | None

    def __post_init__(self) -> None:
        job = self.job
        self.settings = FitSettings(
            epochs=job.epochs, batch_size=job.train_batch, lr=job.lr, patience=job.patience,
            seed=job.seed, precision=job.precision,
        )  # fmt: skip
        vectors = self.run.key(step_name(self.embeddings.spec.name))
        # Of class folders the texts are in their templates already.
        self.templates = None if self.sources.captions is None else self.sources.templates
        sizes = [job.dim, job.width, job.layers, self.templates]
        self.key = digest(
            [VERSION, store.FORMAT, vectors, self.data.key(), self.settings.key(), sizes]
        )

    def train(self) -> None:
        """Train the towers and write the model.

        Raises:
            StorageError: There is a model of other settings, and it is not to be replaced.
        """
        there = self.run.path / MODEL
        other = (there / store.MODEL).exists() and (
            store.read_record(there).training.get("key") != self.key
        )
        if other and not self.job.replace:
            raise StorageError(
                f"the run {str(self.run.path)!r} holds a model that was tuned otherwise",
                "It is not overwritten unasked.",
                "Choose another --out, or type --replace: the embeddings are used again.",
            )
        self.run.do("train", self.key, self._train)

    def _train(self) -> list[str]:
        from foveate.models.tune_text.network import Shape
        from foveate.models.tune_text.task import CaptionTask

        job, path = self.job, self.run.path
        shape = Shape(self.embeddings.spec.dim, job.dim, job.width, job.layers)
        train, val = self.data.rows("train"), self.data.rows("val")
        task = CaptionTask(
            self._vectors(train), self.data.texts.take(train),
            self._vectors(val), self.data.texts.take(val),
            shape=shape, batch_size=job.train_batch, seed=job.seed,
            templates=self.templates, device=resolve_device(job.device),
        )  # fmt: skip
        history = fit(
            task, self.settings, checkpoint=path / CHECKPOINT, key=self.key, title="tuning text",
            progress=self.progress,
        )  # fmt: skip
        record = store.Record(
            **store.copy_base(self.handle, self.embeddings.spec, path / MODEL),
            base_spec=self.embeddings.spec,
            dtype=self.pool.scenes[0].source.info.dtype,
            shape=shape,
            training={
                "captions": Path(job.captions).name if job.captions else "names of class folders",
                "images": int(train.size),
                "texts": len(self.data.texts.take(train).texts),
                "epochs": len(history.epochs),
                "best_epoch": history.best,
                "seed": job.seed,
                "key": self.key,
            },
        )
        files = store.save(path / MODEL, task.net, record)
        write_json(path / HISTORY, vars(history))
        (path / CHECKPOINT).unlink(missing_ok=True)  # what is done needs no way back
        return [*(str(f.relative_to(path)) for f in files), HISTORY]

    def evaluate(self) -> None:
        """Measure the model as it was written: loaded anew, on the splits it was not fitted to."""
        key = digest([VERSION, self.key, self.sources.templates])
        self.run.do("evaluate", key, self._evaluate)

    def _evaluate(self) -> list[str]:
        spec = self.embeddings.spec
        handle = ModelHandle(
            "tuned", str(self.run.path / MODEL), bands=spec.bands, scale=spec.scale,
            device=self.job.device,
        )  # fmt: skip
        model: Any = bind(handle, self.pool, run=self.run)
        found = {s: self._measure(model, s) for s in ("val", "test") if self.data.rows(s).size}
        write_json(self.run.path / EVALUATION, found)
        return [EVALUATION]

    def _measure(self, model: TunedModel, split: str) -> dict[str, Any]:
        from foveate.models.heads.base import unit

        rows = self.data.rows(split)
        images = unit(model.project(self._vectors(rows)))
        texts = self.data.texts.take(rows)
        similarity = images @ model.embed_text(texts.texts).T
        found: dict[str, Any] = {
            "images": int(rows.size),
            "texts": len(texts.texts),
            "retrieval": recalls(similarity, texts.match.toarray()),
        }
        if self.data.classes:
            head = text_head(model, self.data.called, templates=self.sources.templates)
            truth = self.data.truth[rows]
            found["zero_shot"] = accuracy(head.logits(images), truth, self.data.classes)
        return found

    def _vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.asarray(self.embeddings.x[rows], np.float32)

    def summary(self) -> dict[str, Any]:
        """Return what came out, JSON-ready."""
        history = read_json(self.run.path / HISTORY)
        return {
            "pool": self.pool.describe(),
            "model": self.embeddings.spec.to_dict(),
            "data": self.data.describe(),
            "called": {name: list(texts) for name, texts in self.data.called.items()},
            "training": {
                "epochs": len(history["epochs"]),
                "best_epoch": history["best"],
                "score": history["epochs"][history["best"] - 1]["score"],
                "threads": history["threads"],
            },
            "evaluation": read_json(self.run.path / EVALUATION),
            "tuned": str(self.run.path),
            "seed": self.job.seed,
        }
