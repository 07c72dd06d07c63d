"""The classify job: from folders to a run directory with what each image shows.

Each step writes its outputs under a key made of everything it depends on, so other labels reuse
the embeddings, and a second run of the same job does no work.
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

VERSION = 1  # raised when a step writes something else for the same inputs
_KIND = "cosine"  # one label a tile: what counts is how the labels compare
SHOWN = 6  # surest and least sure tiles of each label that are drawn
LABELS_SHOWN = 40  # labels with pictures, the most common ones


class _Ready(NamedTuple):
    """What is read before the run is opened: labels or a probe, and the model."""

    labels: Labels | None
    templates: tuple[str, ...]
    probe: Probe | None
    handle: ModelHandle

    @property
    def names(self) -> tuple[str, ...]:
        return self.probe.names if self.probe is not None else tuple(self.labels or ())


class ClassifyJob(ClassJob, SpreadJob):
    """What a classify run is asked for: which class each image or tile shows.

    Masks are not needed; where they are given, the most frequent class of a tile is its truth.
    """

    absent = frozenset({"seed"})
    tile: Annotated[int | None, Option("Input", default="0")] = Field(None, ge=0)
    """Side of a tile in pixels; 0: each image as it is."""
    head: Annotated[str | None, Option("Method", default="cosine")] = None
    """cosine: probabilities are shares among the labels; sigmoid, for models trained so: each label
    alone, and none may fit."""
    truth_from_folders: Annotated[bool, Option("Input")] = False
    """Compare with the name of the folder that an image is in."""

    def check(self) -> _Ready:
        """Return the labels or the probe, and the model."""
        need_paths(self.images, "image")
        need_paths(self.masks, "mask")
        labels = self.known_labels()
        _check_combination(self, labels)
        templates = templates_from(self.templates)
        self.placement()
        probe = Probe.load(self.probe) if self.probe is not None else None
        return _Ready(labels, templates, probe, self.handle())

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Pool, truth, embeddings, predictions, tables and pictures."""
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
        known = None if truth is None else truth.tolist()
        vectors = run.key(step_name(embeddings.spec.name))

        def work() -> list[str]:
            found = predict(embeddings.align(pool.ids), self._head(model, ready))
            return results.save_predictions(run.path, pool, found, truth, about)

        run.do(
            "predict", digest([VERSION, pool_key, vectors, list(ready.names), about, known]), work
        )  # fmt: skip
        # Read back also when it was just made: a run that goes on gets the very same numbers.
        found = results.load_predictions(run.path, ready.names)
        self._tables(run, pool, found, truth, progress)
        counts = found.counts().tolist()
        return {
            "pool": pool.describe(),
            "model": embeddings.spec.to_dict(),
            **({"failed": dict(pool.failed)} if pool.failed else {}),
            "seed": self.seed,
            "head": head,
            "labels": dict(zip(ready.names, counts, strict=True)),
            "truth": None if truth is None else {
                "source": "folders" if self.truth_from_folders else "masks",
                **results.accuracy(found, truth),
            },
            "file": results.PREDICTIONS,
        }  # fmt: skip

    def _truth(self, pool: Pool, names: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Return the class of each tile where folders or masks tell it."""
        if self.truth_from_folders:
            return folder_truth(pool, names)
        return None if pool.counts is None else mask_truth(pool, names)

    def _model(self, model: Any, ready: _Ready) -> Any:
        """Return what embeds the tiles: the model, or its answers where the labels are such."""
        answers = ready.probe is None and judges_names(model)
        self.check_asked(answers=answers)
        if answers:
            if check_kind(self.head) == "sigmoid":
                raise ParameterError(
                    "head='sigmoid' for a generative model",
                    "Labels as its answers are compared with each other.",
                    "Leave --head out.",
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
        """Return what the classes depend on besides the embeddings, JSON-ready."""
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
        self, run: Run, pool: Pool, found: Predictions, truth: NDArray[np.int64] | None,
        progress: ProgressFn | None,
    ) -> None:  # fmt: skip
        """Write the tables and pictures of the report; remove what an earlier job knew."""
        key = digest([VERSION, run.key("predict"), self.bands])
        if truth is None:
            (run.path / results.CONFUSION).unlink(missing_ok=True)
        else:
            run.do("confusion", key, lambda: results.save_confusion(run.path, found, truth))
        run.do(
            "thumbs", key,
            lambda: write_thumbs(
                run.path, pool, shown_rows(found), bands=self.bands, progress=progress
            ),
        )  # fmt: skip


def _check_combination(job: ClassifyJob, labels: Labels | None) -> None:
    """Refuse settings that contradict each other."""
    kind = check_kind(job.head)
    if job.masks and job.truth_from_folders:
        raise ParameterError(
            "masks and truth from folders together", "The truth comes from one of them."
        )
    if kind is not None and labels is None:
        raise ParameterError(f"head={kind!r} with a probe", "A probe brings its own.")
    if labels is not None and len(labels) == 1 and kind != "sigmoid":
        raise ParameterError(
            f"the one label {next(iter(labels))!r}",
            "Labels are compared with each other: one alone always wins.",
            "Add another ('anything else'); models of a sigmoid loss (SigLIP, tuned) "
            "can judge it alone: --head sigmoid.",
        )


def shown_rows(found: Predictions) -> NDArray[np.int64]:
    """Return the surest and the least sure tiles of the most common labels."""
    common = np.argsort(-found.counts(), kind="stable")[:LABELS_SHOWN]
    parts = []
    for label in common:
        rows = np.flatnonzero(found.first == label)
        order = rows[np.argsort(-found.probability[rows], kind="stable")]
        parts += [order[:SHOWN], order[-SHOWN:]]
    return np.concatenate(parts)
