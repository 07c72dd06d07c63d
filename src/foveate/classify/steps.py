"""The steps of a classify job: pool, truth, embeddings, predictions, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.classify import results
from foveate.classify.predict import Predictions, predict
from foveate.classify.truth import folder_truth, mask_truth
from foveate.files import digest, fingerprint
from foveate.models import bind, embed
from foveate.models.capabilities import need
from foveate.models.heads.zero_shot import check_kind, text_head
from foveate.pool.step import measured_pool
from foveate.pool.thumbs import write_thumbs
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.classify.settings import ClassifyJob
    from foveate.embeddings import Embeddings
    from foveate.models import ModelHandle
    from foveate.models.heads.base import Head
    from foveate.models.heads.probe import Probe
    from foveate.models.heads.prompts import Labels
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # raised when a step writes something else for the same inputs
_KIND = "cosine"  # one label a tile: what counts is how the labels compare
SHOWN = 6  # surest and least sure tiles of each label that are drawn
LABELS_SHOWN = 40  # labels with pictures, the most common ones


@dataclass
class Work:
    """The job in progress: each step reads what the earlier ones have put here."""

    job: ClassifyJob
    run: Run
    labels: Labels | None
    templates: tuple[str, ...]
    probe: Probe | None
    progress: ProgressFn | None
    pool: Pool = field(init=False)
    embeddings: Embeddings = field(init=False)
    found: Predictions = field(init=False)
    model: Any = None
    truth: NDArray[np.int64] | None = None
    pool_key: str = ""
    embeddings_key: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.probe.names if self.probe is not None else tuple(self.labels or ())

    def open_pool(self) -> None:
        """Open the files, measure them unless the run has done so, and learn the truth."""
        self.pool, self.pool_key = measured_pool(self.job, self.run, self.progress)
        if self.job.truth_from_folders:
            self.truth = folder_truth(self.pool, self.names)
        elif self.pool.counts is not None:
            self.truth = mask_truth(self.pool, self.names)

    def embed(self, handle: ModelHandle) -> None:
        """Embed the pool, or map the embeddings that are there.

        Raises:
            MissingCapabilityError: There are labels, and the model cannot embed text.
            DataError: The probe was fitted to another encoder.
        """
        job = self.job
        self.model = need(bind(handle, self.pool, run=self.run), "embed", "classification")
        if self.probe is not None:
            self.probe.check(self.model.spec)
        else:
            need(self.model, "text", "zero-shot classification")
        self.embeddings = embed(
            self.pool, handle if job.workers > 1 else self.model, run=self.run,
            batch_size=job.batch_size, workers=job.workers, progress=self.progress,
        )  # fmt: skip
        self.embeddings_key = self.run.key(step_name(self.embeddings.spec.name))

    def predict(self) -> None:
        """Find the class of each tile."""
        about = {"head": self.head_facts(), "encoder": self.embeddings.spec.to_dict()}
        truth = None if self.truth is None else self.truth.tolist()
        key = digest([VERSION, self.pool_key, self.embeddings_key, list(self.names), about, truth])

        def work() -> list[str]:
            found = predict(self.embeddings.align(self.pool.ids), self.head())
            return results.save_predictions(self.run.path, self.pool, found, self.truth, about)

        self.run.do("predict", key, work)
        # Read back also when it was just made: a run that goes on gets the very same numbers.
        self.found = results.load_predictions(self.run.path, self.names)

    def head(self) -> Head:
        """Return what turns embeddings into classes."""
        if self.probe is not None:
            return self.probe
        kind = check_kind(self.job.head) or _KIND
        return text_head(self.model, self.labels or {}, templates=self.templates, head=kind)

    def head_facts(self) -> dict[str, Any]:
        """Return what the classes depend on besides the embeddings, JSON-ready."""
        if self.job.probe is not None:
            return {"kind": "probe", "file": fingerprint(self.job.probe)}
        return {
            "kind": self.job.head or _KIND,
            "model": self.model.text_spec.fingerprint,
            "templates": list(self.templates),
            "texts": {name: list(texts) for name, texts in (self.labels or {}).items()},
        }

    def show(self) -> None:
        """Write the tables and pictures of the report; remove what an earlier job knew."""
        path, key = self.run.path, digest([VERSION, self.run.key("predict"), self.job.bands])
        if self.truth is None:
            (path / results.CONFUSION).unlink(missing_ok=True)
        else:
            truth = self.truth
            self.run.do(
                "confusion", key, lambda: results.save_confusion(path, self.found, truth)
            )  # fmt: skip
        self.run.do(
            "thumbs", key,
            lambda: write_thumbs(
                path, self.pool, shown_rows(self.found), bands=self.job.bands,
                progress=self.progress,
            ),
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return what came out, JSON-ready."""
        counts = self.found.counts().tolist()
        truth = None
        if self.truth is not None:
            source = "folders" if self.job.truth_from_folders else "masks"
            truth = {"source": source, **results.accuracy(self.found, self.truth)}
        return {
            "pool": self.pool.describe(),
            "model": self.embeddings.spec.to_dict(),
            "seed": self.job.seed,
            "head": self.head_facts(),
            "labels": dict(zip(self.names, counts, strict=True)),
            "truth": truth,
            "file": results.PREDICTIONS,
        }


def shown_rows(found: Predictions) -> NDArray[np.int64]:
    """Return the surest and the least sure tiles of the most common labels."""
    common = np.argsort(-found.counts(), kind="stable")[:LABELS_SHOWN]
    parts = []
    for label in common:
        rows = np.flatnonzero(found.first == label)
        order = rows[np.argsort(-found.probability[rows], kind="stable")]
        parts += [order[:SHOWN], order[-SHOWN:]]
    return np.concatenate(parts)
