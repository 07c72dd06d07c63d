"""In-memory training set: encoder features, labels and grouped splits of pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foveate.errors import DataError, MissingCapabilityError, ParameterError
from foveate.models.capabilities import capabilities
from foveate.models.embed import bind, embed
from foveate.models.families.features import FEATURES
from foveate.models.heads import templates_from, text_head
from foveate.observe import dense
from foveate.observe.data.labels import check_texts, labels_of_pairs
from foveate.observe.data.pairs import check_same_bands, split_scenes
from foveate.observe.familiarity import Familiarity
from foveate.observe.features import (
    Encoder,
    encode_overviews,
    encode_tiles,
    overview_pool,
    rows_by_scene,
)
from foveate.observe.networks.heads import LabelHead, TextConcepts, ToText, fit_labels
from foveate.observe.networks.sizes import SIZES, architecture_of, shape_of
from foveate.observe.networks.tasks import Data
from foveate.observe.projection import Projection
from foveate.observe.training.crossfit import Evidence, crossfitted
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle
    from foveate.models.heads import Head
    from foveate.observe.data.concepts import Concept
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.features import TileFeatures
    from foveate.observe.jobs import Role, TrainJob
    from foveate.observe.networks.sizes import Shape
    from foveate.observe.observer import Observer
    from foveate.progress import ProgressFn


def check_warm_start(
    start: Observer, job: TrainJob, shape: Shape, encoders: Mapping[str, Encoder]
) -> None:
    """Check that the weights of an observer can initialise a training.

    Args:
        start: The observer to start from.
        job: Options of the training.
        shape: Network sizes of the training.
        encoders: Encoders of the training by role.

    Raises:
        ParameterError: Sizes, architecture, fill or encoders differ, or the training has a target
            model.
    """
    record = start.record
    if job.target_model is not None:
        raise ParameterError(
            f"--init {job.init} with --target-model {job.target_model}",
            "An observer stores the linear map to its target space, not the target encoder.",
            "Omit --target-model; the training uses the target space of the observer.",
        )
    fill = "conv" if record.conv_fill else "linear"
    for what, initial, required in (
        ("the sizes", _predictor_sizes(record.shape), _predictor_sizes(shape)),
        ("the architecture", record.form, architecture_of(job.architecture)),
        ("the fill", fill, job.fill),
        *(
            (f"the {role.upper()} encoder", _label(record.encoders[role]), _label(encoders[role]))
            for role in ("lr", "hr")
        ),
    ):
        if initial != required:
            raise ParameterError(
                f"--init {job.init} has {what} {initial}",
                f"This training has {required}.",
                "Use an observer of the same size and architecture with the same encoders.",
            )


def _predictor_sizes(shape: Shape) -> Shape:
    """Return sizes without the fields of the sampler, which is always trained from scratch."""
    return replace(shape, concepts=0, ensemble=0, plain=False)


def _label(encoder: Encoder) -> str:
    return f"{encoder.name} ({encoder.spec.fingerprint})"


class FeatureExtractor:
    """Extracts features of pairs with the encoders of a job, cached in the folder of the pairs.

    Args:
        job: Job with the encoders.
        pairs: The pairs.
        store: Open run of the folder of the pairs.
        progress: Progress callback.

    Attributes:
        encoders: Role -> encoder that has been used.
        handles: Role -> model handle, for the encoders that an observer needs.

    Raises:
        MissingCapabilityError: The text model cannot embed texts.
    """

    def __init__(
        self, job: TrainJob, pairs: Pairs, store: Run, progress: ProgressFn | None
    ) -> None:
        self._job, self._pairs, self._store, self._progress = job, pairs, store, progress
        self.encoders: dict[str, Encoder] = {}
        self.handles: dict[str, ModelHandle] = {}
        self._text: Any = None
        handle = job.handle("text")
        if handle is not None:
            self._text = bind(handle, pairs.pool, run=store)
            if not {"text", "embed"} <= set(capabilities(self._text)):
                raise MissingCapabilityError(
                    f"the text model {handle}",
                    "A text model must embed images and texts in one space.",
                    "See foveate models for models with this capability.",
                )
            self._keep("text", handle, self._text, pairs.pool.scenes)

    def overviews(self, side: int) -> NDArray[np.floating]:
        """Return (s, R * r, C * r, D) LR tokens."""
        handle = self._need("lr")
        if handle.family != FEATURES:
            check_same_bands(self._pairs)
        pool = overview_pool(self._pairs.overviews)
        model: Any = bind(handle, pool)
        self._keep("lr", handle, model, pool.scenes)
        return encode_overviews(
            self._pairs,
            model,
            side,
            run=self._store,
            progress=self._progress,
        )

    def tiles(self, side: int) -> TileFeatures:
        """Return HR tokens of the tiles, with their embeddings if the model embeds texts."""
        handle = self._need("hr")
        model: Any = bind(handle, self._pairs.pool, run=self._store)
        self._keep("hr", handle, model, self._pairs.pool.scenes)
        if self._text is None and "text" in capabilities(model):
            self._text = model
            self._keep("text", handle, model, self._pairs.pool.scenes)
        return self._encode(model, side, vector=self._text is model)

    def target(self, side: int) -> TileFeatures | None:
        """Return tokens of the tiles by the target model; None if the job has no target model.

        They are needed in training only, not by the observer.
        """
        handle = self._job.handle("target")
        if handle is None:
            return None
        model: Any = bind(handle, self._pairs.pool, run=self._store)
        self._note("target", handle, model, self._pairs.pool.scenes)
        return self._encode(model, side, vector=False)

    def saliency(self, features: TileFeatures, side: int) -> NDArray[np.floating]:
        """Return (n,) structural saliency by the saliency model, or else of `features`."""
        handle = self._job.handle("saliency")
        if handle is None:
            return features.saliency
        model = bind(handle, self._pairs.pool, run=self._store)
        return self._encode(model, side, vector=False).saliency

    def vectors(self, features: TileFeatures) -> tuple[NDArray[np.floating] | None, Any]:
        """Return (n, e) embeddings of tiles by the text model, and the model; None without one.

        Raises:
            ParameterError: Options need a text model, and there is none.
        """
        if self._text is None:
            check_texts(self._job.stated_concepts(), self._pairs, self._job.templates)
        if self._text is None or features.vectors is not None:
            return features.vectors, self._text
        return self._encode(self._text, 1, vector=True).vectors, self._text

    def overview_vectors(self) -> NDArray[np.floating]:
        """Return (s, e) embeddings of whole overviews by the text model.

        Raises:
            DataError: There is no text model.
        """
        if self._text is None:
            raise DataError(
                "--reference overview without a text model",
                "Tiles and overviews are compared with texts in one space (Eq. 5).",
                "Add --text-model MODEL; see foveate models.",
            )
        handle = self._job.handle("text") or self._need("hr")
        pool = overview_pool(self._pairs.overviews)
        model: Any = bind(handle, pool)
        embeddings = embed(pool, model, run=self._store, progress=self._progress)
        return embeddings.x[rows_by_scene(pool, self._pairs.overviews)]

    def _encode(self, model: Any, side: int, *, vector: bool) -> TileFeatures:
        return encode_tiles(
            self._pairs, model, side, vector=vector, run=self._store,
            batch_size=self._job.batch_size, progress=self._progress,
        )  # fmt: skip

    def _need(self, role: Role) -> ModelHandle:
        handle = self._job.handle(role)
        assert handle is not None  # noqa: S101  (these roles have defaults)
        return handle

    def _keep(self, role: str, handle: ModelHandle, model: Any, scenes: Sequence[Any]) -> None:
        self._note(role, handle, model, scenes)
        self.handles[role] = handle

    def _note(self, role: str, handle: ModelHandle, model: Any, scenes: Sequence[Any]) -> None:
        dtype = scenes[0].source.info.dtype
        self.encoders[role] = Encoder(str(handle), handle.weights, model.spec, dtype)


_STRENGTH = 0.1  # ridge strength of the fills that the concept classifiers are trained on
_FILL_WEIGHT = 0.3  # sample weight of a tile's LR fill; the weight of its HR tokens is 1


@dataclass(frozen=True, eq=False)
class TrainingData:
    """In-memory training and evaluation set: features, labels, splits.

    Attributes:
        pairs: The s scenes and n tiles.
        split: (s,) "train", "val" or "test".
        data: Projected features of all scenes.
        saliency: (n,) structural saliency of each HR tile.
        concepts: The K concepts.
        known: (n, K) bool labels: concepts present in each tile, or None.
        lr: Projection of LR tokens, fitted on the training scenes.
        hr: Projection of HR tokens, fitted on the training scenes; with a target model, the linear
            map to its projected tokens.
        labels: Concept classifiers trained on labels, or None.
        texts: Concept classifiers from texts, or None.
        shape: Network sizes for these features.
        encoders: Role -> encoder.
        handles: Role -> model handle, for the encoders that an observer needs.
        vectors: (n, e) embeddings of the tiles and (s, e) of the overviews by the text model; None
            if the gain does not need them.
        familiarity: Distribution of the LR tokens; None if they are not known.
    """

    pairs: Pairs
    split: NDArray[np.str_]
    data: Data
    saliency: NDArray[np.floating]
    concepts: tuple[Concept, ...]
    known: NDArray[np.bool_] | None
    lr: Projection
    hr: Projection
    labels: LabelHead | None
    texts: TextConcepts | None
    shape: Shape
    encoders: dict[str, Encoder]
    handles: dict[str, ModelHandle]
    vectors: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None
    familiarity: Familiarity | None = None

    @property
    def head(self) -> Head | None:
        """The concept classifiers of the gain: from texts if available, else from labels."""
        return self.texts or self.labels

    def describe(self) -> dict[str, Any]:
        """Return the number of scenes and tiles, and the concepts, JSON-ready."""
        return {
            "scenes": {s: int((self.split == s).sum()) for s in ("train", "val", "test")},
            "tiles": len(self.pairs),
            "concepts": [concept.name for concept in self.concepts],
        }

    def scenes(self, split: str) -> NDArray[np.int64]:
        """Return the numbers of the scenes of a split."""
        return np.flatnonzero(self.split == split)

    def tiles(self, scenes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the rows of the tiles of scenes, in the order of the pool."""
        return np.flatnonzero(np.isin(self.pairs.place[:, 0], scenes))

    def places(self, scenes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the (n, 3) grid index of tiles of scenes: position in `scenes`, row, column."""
        place = self.pairs.place[self.tiles(scenes)].copy()
        place[:, 0] = np.searchsorted(scenes, place[:, 0])
        return place

    def weights(self) -> NDArray[np.float64]:
        """Return (K,) weights of the concepts in the gain.

        The weight is 0 for concepts that are visible in the overviews (`min_gsd`), and for novel
        concepts, which are held out.
        """
        gsd = self.pairs.gsd
        visible = [
            gsd is not None and c.min_gsd is not None and gsd[0] <= c.min_gsd for c in self.concepts
        ]
        return np.array(
            [
                0.0 if in_lr or c.novel else c.weight
                for in_lr, c in zip(visible, self.concepts, strict=True)
            ]
        )

    def concept_probe(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weights and biases of the linear concept probe of the sampler; no novel concepts.

        Raises:
            DataError: There are no labels.
        """
        if self.labels is None:
            raise DataError(
                "a concept probe without labels", "The concept probe is trained on labels."
            )
        base = [i for i, concept in enumerate(self.concepts) if not concept.novel]
        return self.labels.weight[base], self.labels.bias[base]

    def evidence(
        self, scenes: NDArray[np.integer], fill: torch.Tensor, *, reference: str = "tile"
    ) -> Evidence:
        """Return the inputs of supervision targets of scenes.

        Args:
            scenes: (m,) numbers of scenes.
            fill: (m, R * k, C * k, d) LR fill of the scenes.
            reference: Reference of the gain: "tile" or "scene" (the LR fill), or "overview".
        """
        rows = self.tiles(scenes)
        place = self.places(scenes)
        side = self.shape.hr_side
        filled = dense.to_tiles(fill.float().numpy(), side)
        tiles = dense.from_grids(filled, place)
        means = tiles.mean(axis=1)
        if reference == "scene":
            sums = np.zeros((len(scenes), means.shape[1]))
            np.add.at(sums, place[:, 0], means)
            means = sums[place[:, 0]] / np.bincount(place[:, 0])[place[:, 0], None]
        vectors = None
        if reference == "overview" and self.vectors is not None:
            high, low = self.vectors
            vectors = high[rows], low[self.pairs.place[rows, 0]]
        at = torch.from_numpy(np.asarray(scenes, np.int64))
        hr = dense.from_grids(dense.to_tiles(self.data.hr[at].float().numpy(), side), place)
        labels = None if self.known is None else self.known[rows]
        return Evidence(self.saliency[rows], hr, tiles, means, place[:, 0], labels, vectors)

    def means(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (m, d) mean HR tokens of tiles."""
        place = self.pairs.place[rows]
        hr = self.data.hr.numpy()
        side = self.shape.hr_side
        out = np.empty((len(rows), hr.shape[-1]), np.float32)
        for i, (scene, row, col) in enumerate(place.tolist()):
            cut = hr[scene, row * side : (row + 1) * side, col * side : (col + 1) * side]
            out[i] = cut.reshape(-1, hr.shape[-1]).astype(np.float32).mean(axis=0)
        return out


def build_dataset(
    job: TrainJob, pairs: Pairs, progress: ProgressFn | None = None, *,
    start: Observer | None = None,
) -> TrainingData:  # fmt: skip
    """Extract features, split the scenes, project the features, and fit the concept classifiers.

    Args:
        job: Job with encoders and concepts.
        pairs: The pairs; features are cached in their folder.
        progress: Progress callback.
        start: Observer to initialise the weights from; its projections are used.

    Raises:
        DataError: There is no HR, or there are too few scenes.
        ParameterError: `start` has other sizes, another architecture or other encoders.
        MissingCapabilityError: A model does not have the capabilities of its role.
        StorageError: The folder of the pairs cannot be written.
    """
    if not pairs.has_hr:
        raise DataError(
            "pairs without high resolution",
            "Training needs overviews and high resolution.",
            "Prepare the pairs from high resolution.",
        )
    split = split_scenes(pairs.groups, val=job.val, test=job.test, seed=job.seed)
    concepts, known = labels_of_pairs(job.stated_concepts(), pairs)
    with Run.create(job.pairs) as store:
        extractor = FeatureExtractor(job, pairs, store, progress)
        size = SIZES[job.size]
        lr = extractor.overviews(size.lr_side)
        tiles = extractor.tiles(size.hr_side)
        target = extractor.target(size.hr_side)
        saliency = extractor.saliency(tiles, size.hr_side)
        overview_vectors = extractor.overview_vectors() if job.reference == "overview" else None
        vectors, text = extractor.vectors(tiles)
    target_tokens = (tiles if target is None else target).tokens
    shape = shape_of(job.size, lr.shape[-1], target_tokens.shape[-1])
    if start is not None:
        check_warm_start(start, job, shape, extractor.encoders)
    place, full = pairs.place, (len(pairs.overviews), *pairs.shape)
    train = np.flatnonzero(split == "train")
    rows = np.flatnonzero(np.isin(place[:, 0], train))

    def on_grids(tokens: NDArray[np.floating]) -> torch.Tensor:
        grids = dense.to_grids(tokens.astype(np.float16), place, full)
        return torch.from_numpy(dense.to_tokens(grids, shape.hr_side))

    projected_target = None
    if start is not None:
        lr_projection, hr_projection = start.lr, start.hr
    else:
        lr_projection = Projection.fit(_flat(lr[train]), shape.lr_dim, seed=job.seed)
        hr_projection = Projection.fit(_flat(target_tokens[rows]), shape.hr_dim, seed=job.seed)
    if target is not None:
        projected_target = hr_projection(target.tokens)
        hr_projection = Projection.toward(
            _flat(tiles.tokens[rows]), _flat(projected_target[rows]), seed=job.seed
        )
    hr = on_grids(hr_projection(tiles.tokens))
    data = Data(
        torch.from_numpy(lr_projection(lr).astype(np.float16)), hr,
        hr if projected_target is None else on_grids(projected_target), dense.valid(place, full),
    )  # fmt: skip
    dataset = TrainingData(
        pairs, split, data, np.asarray(saliency, np.float64), concepts, known, lr_projection,
        hr_projection, None, None, shape, extractor.encoders, extractor.handles,
    )  # fmt: skip
    means = dataset.means(rows)
    names = tuple(concept.name for concept in concepts)
    labels = texts = None
    if known is not None and known[rows].any():
        x, y, weight = _classifier_samples(dataset, train, rows, known, job.seed)
        labels = fit_labels(x, y, names, weight)
    if text is not None and vectors is not None:
        text_projection = ToText.fit(means, np.asarray(vectors[rows], np.float32))
        if concepts:
            prompts = {concept.name: concept.texts for concept in concepts}
            head = text_head(text, prompts, templates=templates_from(job.templates))
            texts = TextConcepts(head, text_projection)
    shape = _sampler_sizes(shape, job, () if labels is None else concepts)
    both = None if overview_vectors is None or vectors is None else (vectors, overview_vectors)
    return replace(
        dataset, labels=labels, texts=texts, shape=shape, vectors=both,
        familiarity=_familiarity(dataset, lr),
    )  # fmt: skip


def _sampler_sizes(shape: Shape, job: TrainJob, concepts: Sequence[Concept]) -> Shape:
    if job.sampler == "plain":
        return replace(shape, ensemble=1, plain=True)
    return replace(shape, concepts=sum(not concept.novel for concept in concepts))


def _familiarity(dataset: TrainingData, lr: NDArray[np.floating]) -> Familiarity:
    """Return the distribution of the (s, R * r, C * r, D) LR tokens of the training."""
    train, val = dataset.scenes("train"), dataset.scenes("val")
    held_out = dense.to_tiles(lr[val], dataset.shape.lr_side)[dataset.data.valid[val]]
    return Familiarity.fit(dataset.lr, _flat(lr[train]), held_out)


def _flat(tokens: NDArray[np.floating]) -> NDArray[np.floating]:
    return tokens.reshape(-1, tokens.shape[-1])


def _classifier_samples(
    dataset: TrainingData, train: NDArray[np.integer], rows: NDArray[np.integer],
    known: NDArray[np.bool_], seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:  # fmt: skip
    """Return training samples of the concept classifiers: HR tokens and cross-fitted LR fill.

    A classifier of HR tokens alone is overconfident on them. Observed and completed tiles are
    ranked together, so their probabilities must be comparable. The LR fill is less accurate, so its
    sample weight is lower.

    Returns:
        (2 n, d) mean tokens, (2 n, K) labels, (2 n,) sample weights.
    """
    groups = [dataset.pairs.groups[i] for i in train]
    filled = crossfitted(dataset.shape, dataset.data.take(train), groups, _STRENGTH, seed)
    fill = dataset.evidence(train, filled).fill.mean(axis=1)
    weight = np.repeat([1.0, _FILL_WEIGHT], len(rows))
    return np.concatenate([dataset.means(rows), fill]), np.concatenate([known[rows]] * 2), weight
