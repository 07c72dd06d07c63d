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
from foveate.observe.crossfit import Evidence, crossfitted
from foveate.observe.features import (
    Encoder,
    encode_overviews,
    encode_tiles,
    overview_pool,
    rows_by_scene,
)
from foveate.observe.heads import LabelHead, TextConcepts, ToText, fit_labels
from foveate.observe.labels import concept_shares, present
from foveate.observe.networks.sizes import SIZES, architecture_of, shape_of
from foveate.observe.networks.tasks import Data
from foveate.observe.pairs import check_same_bands, split_scenes
from foveate.observe.projection import Projection
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.models.base import ModelHandle
    from foveate.models.heads import Head
    from foveate.observe.concepts import Concept
    from foveate.observe.features import TileFeatures
    from foveate.observe.jobs import Role, TrainJob
    from foveate.observe.networks.sizes import Shape
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn


def check_warm_start(
    start: Observer, job: TrainJob, shape: Shape, encoders: Mapping[str, Encoder]
) -> None:
    """Check that the weights of an observer fit a training.

    Args:
        start: The observer to start from.
        job: The training.
        shape: Its sizes.
        encoders: Its encoders, role by role.

    Raises:
        ParameterError: Sizes, form, fill or encoders are others, or targets have one of their own.
    """
    own = start.record
    if job.target_model is not None:
        raise ParameterError(
            f"--init {job.init} with --target-model {job.target_model}",
            "An observer does not keep the encoder of its targets, only the way to their space.",
            "Leave out --target-model: the training goes on in the space of the observer.",
        )
    fill = "conv" if own.conv_fill else "linear"
    for what, theirs, wanted in (
        ("the sizes", _predictor_sizes(own.shape), _predictor_sizes(shape)),
        ("the form", own.form, architecture_of(job.architecture)),
        ("the fill", fill, job.fill),
        *(
            (f"the {role.upper()} encoder", _print(own.encoders[role]), _print(encoders[role]))
            for role in ("lr", "hr")
        ),
    ):
        if theirs != wanted:
            raise ParameterError(
                f"--init {job.init} has {what} {theirs}",
                f"This training has {wanted}.",
                "Start from an observer of the same size and form over the same encoders.",
            )


def _predictor_sizes(shape: Shape) -> Shape:
    """Return sizes without what only the sampler depends on, which is trained anew."""
    return replace(shape, concepts=0, ensemble=0, plain=False)


def _print(encoder: Encoder) -> str:
    return f"{encoder.name} ({encoder.spec.fingerprint})"


class FeatureExtractor:
    """Reads pairs with the encoders of a job; features are kept in their folder.

    Args:
        job: Which encoders.
        pairs: The pairs.
        store: The run of their folder, open.
        progress: Called with ticks.

    Attributes:
        encoders: Role -> what has read the imagery.
        handles: Role -> the same by name, for those that an observer needs.

    Raises:
        MissingCapabilityError: The model for texts cannot read them.
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
                    f"the model {handle} for texts",
                    "It has to embed images and texts in one space.",
                    "See foveate models for those that can.",
                )
            self._keep("text", handle, self._text, pairs.pool.scenes)

    def overviews(self, side: int) -> NDArray[np.floating]:
        """Return (s, R * r, C * r, D) LR tokens."""
        handle = self._need("lr")
        if handle.family != FEATURES:
            check_same_bands(self._pairs)
        pool = overview_pool(self._pairs)
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
        """Return HR tokens of the tiles, with their vectors where the model reads texts."""
        handle = self._need("hr")
        model: Any = bind(handle, self._pairs.pool, run=self._store)
        self._keep("hr", handle, model, self._pairs.pool.scenes)
        if self._text is None and "text" in capabilities(model):
            self._text = model
            self._keep("text", handle, model, self._pairs.pool.scenes)
        return self._encode(model, side, vector=self._text is model)

    def target(self, side: int) -> TileFeatures | None:
        """Return tokens of the tiles by the model whose tokens are completed, if it is another.

        Only its tokens are needed, and only for training: an observer does without.
        """
        handle = self._job.handle("target")
        if handle is None:
            return None
        model: Any = bind(handle, self._pairs.pool, run=self._store)
        self._note("target", handle, model, self._pairs.pool.scenes)
        return self._encode(model, side, vector=False)

    def saliency(self, seen: TileFeatures, side: int) -> NDArray[np.floating]:
        """Return (n,) structural saliency, by the model that was named for it."""
        handle = self._job.handle("saliency")
        if handle is None:
            return seen.saliency
        model = bind(handle, self._pairs.pool, run=self._store)
        return self._encode(model, side, vector=False).saliency

    def vectors(self, seen: TileFeatures) -> tuple[NDArray[np.floating] | None, Any]:
        """Return (n, e) embeddings in the space of the texts, and the model; None without one."""
        if self._text is None or seen.vectors is not None:
            return seen.vectors, self._text
        return self._encode(self._text, 1, vector=True).vectors, self._text

    def overview_vectors(self) -> NDArray[np.floating]:
        """Return (s, e) embeddings of whole overviews by the text model.

        Raises:
            DataError: There is none.
        """
        if self._text is None:
            raise DataError(
                "--reference overview without a model that reads text",
                "Tiles and overviews are compared with texts in one space (Eq. 5).",
                "Name one with --text-model; see foveate models.",
            )
        handle = self._job.handle("text") or self._need("hr")
        pool = overview_pool(self._pairs)
        model: Any = bind(handle, pool)
        found = embed(pool, model, run=self._store, progress=self._progress)
        return found.x[rows_by_scene(pool, self._pairs.overviews)]

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


_STRENGTH = 0.1  # of the ridge of the fills that concepts are learnt from
_TOLD = 0.3  # weight of a tile as LR tells it, where HR shows it with weight 1


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Everything that is learnt from, and judged by.

    Attributes:
        pairs: The s scenes and n tiles.
        split: (s,) "train", "val" or "test".
        data: Reduced features of all scenes.
        saliency: (n,) structural saliency of each HR tile.
        concepts: The K concepts.
        known: (n, K) bool which tile shows which concept, or None.
        lr: Projection of LR tokens, fitted on the training scenes.
        hr: Projection of HR tokens, fitted on the training scenes; the map to the target's where
            another encoder makes the targets.
        labels: Concepts from labels, or None.
        texts: Concepts from texts, or None.
        shape: Sizes for networks over these features.
        encoders: Role -> what read the imagery.
        handles: Role -> the same by name, for those that an observer needs.
        vectors: (n, e) embeddings of the tiles and (s, e) of the overviews by the text model; None
            where no gain asks for them.
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

    @property
    def head(self) -> Head | None:
        """What tells the concepts for the gain: texts where there are some, else labels."""
        return self.texts or self.labels

    def describe(self) -> dict[str, Any]:
        """Return how many scenes and tiles there are, and which concepts, JSON-ready."""
        return {
            "scenes": {s: int((self.split == s).sum()) for s in ("train", "val", "test")},
            "tiles": len(self.pairs),
            "concepts": [concept.name for concept in self.concepts],
        }

    def scenes(self, split: str) -> NDArray[np.int64]:
        """Return the numbers of the scenes of a split."""
        return np.flatnonzero(self.split == split)

    def tiles(self, scenes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the rows of the tiles of some scenes, in the order of the pool."""
        return np.flatnonzero(np.isin(self.pairs.place[:, 0], scenes))

    def places(self, scenes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return (n, 3) number among some scenes, row and column of each of their tiles."""
        place = self.pairs.place[self.tiles(scenes)].copy()
        place[:, 0] = np.searchsorted(scenes, place[:, 0])
        return place

    def weights(self) -> NDArray[np.float64]:
        """Return (K,) weights of the concepts in the gain.

        0 where the overviews are fine enough, and for novel concepts: those are held out.
        """
        gsd = self.pairs.gsd
        enough = [
            gsd is not None and c.min_gsd is not None and gsd[0] <= c.min_gsd for c in self.concepts
        ]
        return np.array(
            [
                0.0 if fine or c.novel else c.weight
                for fine, c in zip(enough, self.concepts, strict=True)
            ]
        )

    def concept_probe(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weights and biases of the classifiers that the sampler hears: none is novel.

        Raises:
            DataError: There are no labels.
        """
        if self.labels is None:
            raise DataError("classifiers without labels", "Concepts are learnt from labels.")
        base = [i for i, concept in enumerate(self.concepts) if not concept.novel]
        return self.labels.weight[base], self.labels.bias[base]

    def evidence(
        self, scenes: NDArray[np.integer], fill: torch.Tensor, *, reference: str = "tile"
    ) -> Evidence:
        """Return what targets of some scenes are made of.

        Args:
            scenes: (m,) numbers of scenes.
            fill: (m, R * k, C * k, d) what a fill makes of them.
            reference: Of the gain: "tile" or "scene", what the fill makes of them, or "overview".
        """
        rows = self.tiles(scenes)
        place = self.places(scenes)
        side = self.shape.hr_side
        filled = dense.to_tiles(fill.float().numpy(), side)
        tiles = dense.from_grids(filled, place)
        known = tiles.mean(axis=1)
        if reference == "scene":
            sums = np.zeros((len(scenes), known.shape[1]))
            np.add.at(sums, place[:, 0], known)
            known = sums[place[:, 0]] / np.bincount(place[:, 0])[place[:, 0], None]
        vectors = None
        if reference == "overview" and self.vectors is not None:
            high, low = self.vectors
            vectors = high[rows], low[self.pairs.place[rows, 0]]
        at = torch.from_numpy(np.asarray(scenes, np.int64))
        hr = dense.from_grids(dense.to_tiles(self.data.hr[at].float().numpy(), side), place)
        labels = None if self.known is None else self.known[rows]
        return Evidence(self.saliency[rows], hr, tiles, known, place[:, 0], labels, vectors)

    def means(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (m, d) mean HR tokens of some tiles."""
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
    """Encode, split, reduce, and fit the concepts.

    Args:
        job: Which encoders and concepts.
        pairs: The pairs; features are kept in their folder.
        progress: Called with ticks.
        start: An observer whose weights are trained on, with the reductions that they belong to.

    Raises:
        DataError: There is no HR, or too few scenes.
        ParameterError: `start` is of other sizes, form or encoders.
        MissingCapabilityError: A model cannot do what it is named for.
        StorageError: The folder of the pairs cannot be written.
    """
    if not pairs.has_hr:
        raise DataError(
            "pairs without high resolution", "A training needs both.", "Prepare them from HR."
        )
    split = split_scenes(pairs.groups, val=job.val, test=job.test, seed=job.seed)
    concepts, known = _concepts(job, pairs)
    with Run.create(job.pairs) as store:
        read = FeatureExtractor(job, pairs, store, progress)
        named = SIZES[job.size]
        lr = read.overviews(named.lr_side)
        seen = read.tiles(named.hr_side)
        aims = read.target(named.hr_side)
        saliency = read.saliency(seen, named.hr_side)
        whole = read.overview_vectors() if job.reference == "overview" else None
        vectors, text = read.vectors(seen)
    wanted = (seen if aims is None else aims).tokens
    shape = shape_of(job.size, lr.shape[-1], wanted.shape[-1])
    if start is not None:
        check_warm_start(start, job, shape, read.encoders)
    place, full = pairs.place, (len(pairs.overviews), *pairs.shape)
    train = np.flatnonzero(split == "train")
    rows = np.flatnonzero(np.isin(place[:, 0], train))

    def on_grids(tokens: NDArray[np.floating]) -> torch.Tensor:
        found = dense.to_grids(tokens.astype(np.float16), place, full)
        return torch.from_numpy(dense.to_tokens(found, shape.hr_side))

    aimed = None
    if start is not None:
        lr_reduction, hr_reduction = start.lr, start.hr
    else:
        lr_reduction = Projection.fit(_flat(lr[train]), shape.lr_dim, seed=job.seed)
        hr_reduction = Projection.fit(_flat(wanted[rows]), shape.hr_dim, seed=job.seed)
    if aims is not None:
        aimed = hr_reduction(aims.tokens)
        hr_reduction = Projection.toward(
            _flat(seen.tokens[rows]), _flat(aimed[rows]), seed=job.seed
        )
    hr = on_grids(hr_reduction(seen.tokens))
    data = Data(
        torch.from_numpy(lr_reduction(lr).astype(np.float16)), hr,
        hr if aimed is None else on_grids(aimed), dense.valid(place, full),
    )  # fmt: skip
    found = TrainingData(
        pairs, split, data, np.asarray(saliency, np.float64), concepts, known, lr_reduction,
        hr_reduction, None, None, shape, read.encoders, read.handles,
    )  # fmt: skip
    means = found.means(rows)
    names = tuple(concept.name for concept in concepts)
    labels = texts = None
    if known is not None and known[rows].any():
        x, shown, weight = _both(found, train, rows, known, job.seed)
        labels = fit_labels(x, shown, names, weight)
    if text is not None and vectors is not None:
        way = ToText.fit(means, np.asarray(vectors[rows], np.float32))
        if concepts:
            called = {concept.name: concept.texts for concept in concepts}
            head = text_head(text, called, templates=templates_from(job.templates))
            texts = TextConcepts(head, way)
    shape = _sampler_sizes(shape, job, () if labels is None else concepts)
    own = None if whole is None or vectors is None else (vectors, whole)
    return replace(found, labels=labels, texts=texts, shape=shape, vectors=own)


def _sampler_sizes(shape: Shape, job: TrainJob, concepts: Sequence[Concept]) -> Shape:
    if job.sampler == "plain":
        return replace(shape, ensemble=1, plain=True)
    return replace(shape, concepts=sum(not concept.novel for concept in concepts))


def _flat(tokens: NDArray[np.floating]) -> NDArray[np.floating]:
    return tokens.reshape(-1, tokens.shape[-1])


def _both(
    material: TrainingData, train: NDArray[np.integer], rows: NDArray[np.integer],
    known: NDArray[np.bool_], seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:  # fmt: skip
    """Return what concepts are learnt from: training tiles as HR shows them, and as LR tells them.

    A classifier of HR tokens alone is too sure of them: where observed and completed tiles stand in
    one ranking, their scores have to mean the same. What LR tells counts less, for it is less true.

    Returns:
        (2 n, d) mean tokens, (2 n, K) what they show, (2 n,) weights.
    """
    groups = [material.pairs.groups[i] for i in train]
    filled = crossfitted(material.shape, material.data.take(train), groups, _STRENGTH, seed)
    fill = material.evidence(train, filled).fill.mean(axis=1)
    weight = np.repeat([1.0, _TOLD], len(rows))
    return np.concatenate([material.means(rows), fill]), np.concatenate([known[rows]] * 2), weight


def _concepts(job: TrainJob, pairs: Pairs) -> tuple[tuple[Concept, ...], NDArray[np.bool_] | None]:
    """Return the concepts that count, and which tile shows which."""
    stated = job.stated_concepts()
    if not stated:
        return pairs.concepts, None if pairs.shares is None else pairs.present()
    shares = np.full((len(pairs), len(stated)), np.nan, np.float32)
    own = {concept.name: i for i, concept in enumerate(pairs.concepts)}
    classes = set(pairs.pool.legend.names) if pairs.pool.legend is not None else set()
    for k, concept in enumerate(stated):
        if pairs.shares is not None and concept.name in own:
            shares[:, k] = pairs.shares[:, own[concept.name]]
        elif pairs.pool.counts is not None and set(concept.classes) <= classes:
            shares[:, k] = concept_shares(pairs.pool, [concept])[:, 0]
    return stated, None if np.isnan(shares).all() else present(shares, stated)
