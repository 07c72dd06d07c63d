"""The classify job: predictions of each image in a run directory.

The key of each step is a hash of all its inputs, so other labels reuse the embeddings, and a second
run of the same job repeats no work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from foveate.classify import results
from foveate.classify.predict import Predictions, predict
from foveate.classify.truth import folder_truth, mask_truth
from foveate.errors import ParameterError
from foveate.files import digest, fingerprint
from foveate.models import ModelHandle, bind
from foveate.models.answer_head import AnsweredClasses, AnswerHead, answer_classes, judges_names
from foveate.models.capabilities import need
from foveate.models.embed import embed_at
from foveate.models.heads import check_kind, templates_from, text_head
from foveate.models.probe import Probe
from foveate.models.settings import ClassJob, SpreadJob
from foveate.models.tune_text.store import tuned_on
from foveate.pool.find import need_paths
from foveate.pool.step import leave_out, measured_pool
from foveate.pool.thumbs import write_thumbs
from foveate.run.options import Option
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.models.heads import Head, Labels
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # increased when a step gives other outputs for the same inputs
_KIND = "cosine"  # single-label: labels are compared with each other
SHOWN = 6  # most and least confident tiles of each label with thumbnails
LABELS_SHOWN = 40  # most frequent labels with thumbnails


class _Ready(NamedTuple):
    """Inputs that are read before the run is opened: labels or a probe, and the model."""

    labels: Labels | None
    templates: tuple[str, ...]
    probe: Probe | None
    handle: ModelHandle

    @property
    def names(self) -> tuple[str, ...]:
        return self.probe.names if self.probe is not None else tuple(self.labels or ())


class ClassifyJob(ClassJob, SpreadJob):
    """Options of `classify`.

    Masks are optional; if they are given, the true class of a tile is its most frequent class.
    """

    absent = frozenset({"seed"})
    tile: Annotated[int | None, Option("Input", default="0")] = Field(None, ge=0)
    """Side of a tile in pixels; 0: whole images."""
    head: Annotated[str | None, Option("Method", default="cosine")] = None
    """cosine: softmax over the labels; sigmoid (for models with a sigmoid loss): independent
    probability of each label."""
    truth_from_folders: Annotated[bool, Option("Input")] = False
    """Use the folder name of each image as its true class."""

    def check(self) -> _Ready:
        """Return the labels or the probe, and the model."""
        need_paths(self.images, "image")
        need_paths(self.masks, "mask")
        labels = self.known_labels()
        self.check_texts(used=labels is not None)
        _check_combination(self, labels)
        templates = templates_from(self.templates)
        self.placement()
        probe = Probe.load(self.probe) if self.probe is not None else None
        return _Ready(labels, templates, probe, self.handle())

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Scan the pool, embed and classify the tiles, and write tables and thumbnails."""
        pool, pool_key = measured_pool(self, run, progress, on_error=self.on_error)
        truth = self._truth(pool, ready.names)
        model = self._model(bind(ready.handle, pool, run=run), ready)
        place = self.placement()
        by_name = place.elsewhere and not isinstance(model, AnsweredClasses)
        embeddings, failed = embed_at(
            pool, ready.handle if by_name else model, place, run=run,
            batch_size=self.batch_size, on_error=self.on_error, progress=progress,
        )  # fmt: skip
        if failed:
            pool, pool_key = leave_out(run, pool, pool_key, failed)
            truth = self._truth(pool, ready.names)
        head = self._head_facts(model, ready)
        about = {"head": head, "encoder": embeddings.spec.to_dict()}
        labels = None if truth is None else truth.tolist()
        vectors = run.key(step_name(embeddings.spec.name))

        def work() -> list[str]:
            predictions = predict(embeddings.align(pool.ids), self._head(model, ready))
            return results.save_predictions(run.path, pool, predictions, truth, about)

        run.do(
            "predict", digest([VERSION, pool_key, vectors, list(ready.names), about, labels]), work
        )  # fmt: skip
        # Always read from the file, so that resumed runs have identical values.
        predictions = results.load_predictions(run.path, ready.names)
        self._tables(run, pool, predictions, truth, progress)
        counts = predictions.counts().tolist()
        used = np.zeros(len(pool), bool)
        if truth is not None and ready.probe is not None:
            used |= ready.probe.was_fitted_to(embeddings.align(pool.ids))
        if truth is not None and ready.handle.family == "tuned":
            used |= _tuned_on(ready.handle, pool)
        return {
            "pool": pool.describe(),
            "model": embeddings.spec.to_dict(),
            **({"failed": dict(pool.failed)} if pool.failed else {}),
            "seed": self.seed,
            "head": head,
            "labels": dict(zip(ready.names, counts, strict=True)),
            "truth": None if truth is None else {
                "source": "folders" if self.truth_from_folders else "masks",
                **results.accuracy(predictions, truth),
                "fitted": int(used[truth >= 0].sum()),
            },
            "file": results.PREDICTIONS,
        }  # fmt: skip

    def _truth(self, pool: Pool, names: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Return the true class of each tile from folders or masks, or None."""
        if self.truth_from_folders:
            return folder_truth(pool, names)
        return None if pool.counts is None else mask_truth(pool, names)

    def _model(self, model: Any, ready: _Ready) -> Any:
        """Return the model that embeds tiles, or the answer classifier of a generative model."""
        answers = ready.probe is None and judges_names(model)
        self.check_asked(answers=answers)
        if answers:
            if check_kind(self.head) == "sigmoid":
                raise ParameterError(
                    "head='sigmoid' for a generative model",
                    "Answers of a generative model are compared with each other.",
                    "Omit --head.",
                )
            return answer_classes(
                model, ready.labels or {}, prompt=self.prompt, length=self.length
            )[0]
        need(model, "embed", "classification")
        if ready.probe is not None:
            ready.probe.check(model.spec)
        else:
            need(model, "text", "zero-shot classification")
        return model

    def _head(self, model: Any, ready: _Ready) -> Head:
        if ready.probe is not None:
            return ready.probe
        if isinstance(model, AnsweredClasses):
            return AnswerHead(ready.names)
        kind = check_kind(self.head) or _KIND
        return text_head(model, ready.labels or {}, templates=ready.templates, head=kind)

    def _head_facts(self, model: Any, ready: _Ready) -> dict[str, Any]:
        """Return the JSON-ready inputs of the head, besides the embeddings."""
        if self.probe is not None:
            return {"kind": "probe", "file": fingerprint(self.probe)}
        texts = {name: list(texts) for name, texts in (ready.labels or {}).items()}
        if isinstance(model, AnsweredClasses):
            return {
                "kind": "answers", "prompt": model.prompt, "length": self.length, "texts": texts,
                "passes_each": model.passes_each,
            }  # fmt: skip
        return {
            "kind": self.head or _KIND,
            "model": model.text_spec.fingerprint,
            "templates": list(ready.templates),
            "texts": texts,
        }

    def _tables(
        self, run: Run, pool: Pool, predictions: Predictions, truth: NDArray[np.int64] | None,
        progress: ProgressFn | None,
    ) -> None:  # fmt: skip
        """Write the tables and thumbnails of the report, and remove outdated files."""
        key = digest([VERSION, run.key("predict"), self.bands])
        if truth is None:
            (run.path / results.CONFUSION).unlink(missing_ok=True)
        else:
            run.do("confusion", key, lambda: results.save_confusion(run.path, predictions, truth))
        run.do(
            "thumbs", key,
            lambda: write_thumbs(
                run.path, pool, shown_rows(predictions), bands=self.bands, progress=progress
            ),
        )  # fmt: skip


def _tuned_on(handle: ModelHandle, pool: Pool) -> NDArray[np.bool_]:
    """Return which tiles are of images that a tuned model was trained on: (n,)."""
    known = tuned_on(handle.name, [scene.source.info.fingerprint for scene in pool.scenes])
    seen = {scene.scene_id for scene, is_known in zip(pool.scenes, known, strict=True) if is_known}
    assert pool.tiles is not None  # noqa: S101  (cut from images)
    return np.array([scene in seen for scene in pool.tiles.scene.tolist()], bool)


def _check_combination(job: ClassifyJob, labels: Labels | None) -> None:
    """Raise an error for options that exclude each other."""
    kind = check_kind(job.head)
    if job.masks and job.truth_from_folders:
        raise ParameterError(
            "--masks with --truth-from-folders",
            "The two options exclude each other.",
            "Omit one of them.",
        )
    if kind is not None and labels is None:
        raise ParameterError(
            f"head={kind!r} with a probe", "A probe includes its head.", "Omit --head."
        )
    if labels is not None and len(labels) == 1 and kind != "sigmoid":
        raise ParameterError(
            f"the only label {next(iter(labels))!r}",
            "Labels are compared with each other, so at least two are required.",
            "Add another label ('anything else'), or use --head sigmoid for a model with a sigmoid "
            "loss (SigLIP, tuned).",
        )


def shown_rows(predictions: Predictions) -> NDArray[np.int64]:
    """Return the most and least confident tiles of the most frequent labels."""
    common = np.argsort(-predictions.counts(), kind="stable")[:LABELS_SHOWN]
    parts = []
    for label in common:
        rows = np.flatnonzero(predictions.first == label)
        order = rows[np.argsort(-predictions.probability[rows], kind="stable")]
        parts += [order[:SHOWN], order[-SHOWN:]]
    return np.concatenate(parts)
