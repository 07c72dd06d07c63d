"""Jobs of `observe`: each field is an option of the command line, its docstring the help.

This module imports torch, scipy and rasterio only after a job is checked. Paths are checked first.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from foveate.budget import Budget
from foveate.errors import ParameterError
from foveate.files import digest
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.families.features import FEATURES
from foveate.models.load import load_model
from foveate.models.settings import ModelName, Weights  # noqa: TC001  (pydantic reads it)
from foveate.observe.data.concepts import Concept, concepts_of
from foveate.observe.networks.sizes import ArchitectureName, Size  # noqa: TC001  (as above)
from foveate.observe.options import (
    AUTO,
    GRID,
    RATIO,
    Concepts,
    Mode,
    ObserverFolder,
    PolicyOrAuto,
    Role,
    Share,
    TargetName,
    TestSplit,
    ValSplit,
    check_folders,
    check_roles,
    chosen_mode,
    grid_shape,
    metres,
    signal_to_noise,
)  # fmt: skip
from foveate.observe.presets import FormulaOptions, PresetName, select_options, train_options
from foveate.pool.find import need_paths
from foveate.pool.settings import ImageryJob
from foveate.run.job import Job
from foveate.run.options import AbsolutePath, Bands, Option, PathText, Scale

if TYPE_CHECKING:
    from foveate.models.base import ModelHandle
    from foveate.progress import ProgressFn
    from foveate.run import Run

logger = logging.getLogger("foveate")


class PrepareJob(ImageryJob):
    """Options of `observe prepare`: scenes, overviews and labels."""

    absent = frozenset({"bands"})  # overviews keep all bands; `observe train` selects bands
    images: Annotated[list[AbsolutePath], Option("Input", argument=True)] = Field(min_length=1)
    """Folders, files or globs of high-resolution images."""
    masks: Annotated[list[AbsolutePath], Option("Input", repeated=True)] = Field([])
    """Folder or glob of masks, paired by name; repeatable."""
    classes: Annotated[AbsolutePath | None, Option("Input")] = None
    """Classes file: YAML, TOML or JSON."""
    extra: Annotated[list[AbsolutePath], Option(repeated=True)] = Field([])
    """Further bands alongside (surface model), paired by name; repeatable."""
    tiles: Annotated[
        tuple[int, int] | None, BeforeValidator(grid_shape),
        Option("Input", metavar="ROWSxCOLS", default="10x10"),
    ] = None  # fmt: skip
    """Number of tiles of each scene: rows x columns."""
    tile_size: Annotated[
        float | None, BeforeValidator(metres), Option("Input", metavar="METRES")
    ] = Field(None, gt=0)  # fmt: skip
    """Side of a tile on the ground (60m), instead of --tiles; for scenes of different size or
    resolution."""
    ratio: Annotated[float | None, Option("Method", default="10")] = None
    """Pixel side of simulated overviews, in pixels of the scene."""
    mtf: Annotated[float | None, Option("Method")] = 0.25
    """MTF of simulated overviews at their Nyquist frequency, 0 to 1."""
    snr: Annotated[
        float | None, BeforeValidator(signal_to_noise), Option("Method")
    ] = Field(100.0, gt=0)  # fmt: skip
    """Signal-to-noise ratio of simulated overviews; 0: no noise."""
    lr: Annotated[list[AbsolutePath], Option("Input", repeated=True)] = Field([])
    """Real overviews, paired by name, instead of simulated overviews; repeatable."""
    concepts: Annotated[
        Concepts, Option("Input", default="classes of the masks, kinds of the objects")
    ] = Field([])
    """Concepts to label: forest,water,road; or a file (YAML, TOML, JSON) with their classes."""
    objects: Annotated[AbsolutePath | None, Option("Input")] = None
    """GeoJSON file of objects with a property "kind"."""
    seed: int = Field(0, ge=0)
    """Seed of the simulated noise."""

    @property
    def scale(self) -> float:
        """Pixel side of simulated overviews, in pixels of the scene."""
        return RATIO if self.ratio is None else self.ratio

    @property
    def cuts(self) -> tuple[int, int] | float:
        """Rows and columns of tiles of each scene, or the side of a tile in metres."""
        return self.tile_size if self.tile_size is not None else self.tiles or GRID

    @property
    def labelled(self) -> bool:
        """Whether the job has masks or objects to label tiles from."""
        return bool(self.masks or self.objects)

    def stated_concepts(self) -> tuple[Concept, ...]:
        """Return the concepts of the job; empty: those of masks and objects are used."""
        return concepts_of(self.concepts) if self.concepts else ()

    def check(self) -> Any:
        """Return the opened scenes, the real overviews, the objects and the concepts."""
        need_paths(self.images, "image")
        need_paths(self.masks, "mask")
        need_paths(self.lr, "overview")
        from foveate.observe.data import preparation
        from foveate.observe.data.labels import check_known, read_objects
        from foveate.observe.data.pairs import open_headers

        preparation.check_options(self, real=bool(self.lr))
        stated = self.stated_concepts()
        objects = read_objects(self.objects) if self.objects else None
        headers, real = open_headers(self)
        if stated and self.labelled and (headers.legend is not None or not self.masks):
            classes = headers.legend.names if headers.legend else ()
            check_known(stated, classes, objects.kinds if objects else ())
        return headers, real, objects, stated

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Scan the scenes, simulate overviews, label the tiles, and write the pairs."""
        from foveate.observe.data import preparation
        from foveate.pool.step import measure

        headers, real, objects, stated = ready
        pool, pool_key = measure(
            headers, self, run, progress, also=preparation.valid_overviews(real, self.min_valid)
        )
        files = [scene.uri for scene in real] or preparation.simulate_overviews(
            run, pool, ratio=self.scale, mtf=self.mtf, snr=self.snr, seed=self.seed,
            progress=progress,
        )  # fmt: skip
        preparation.remove_other_overviews(run.path, [] if real else files)
        concepts = stated
        if self.labelled:
            concepts = preparation.label(run, pool, pool_key, stated, objects)
        noise = None if real else (self.mtf, self.snr)
        rows = preparation.pair_rows(pool, files, run.path, noise, self.cuts)
        settings = digest(self.model_dump(mode="json"))
        key = digest([preparation.VERSION, pool_key, rows, settings, run.key("labels")])
        run.do("pairs", key, lambda: preparation.save_pairs(run.path, rows, settings))
        counts = preparation.concept_counts(run.path, concepts) if self.labelled else None
        return {
            "pool": pool.describe(),
            "pairs": preparation.describe_pairs(rows),
            "concepts": counts or dict.fromkeys((concept.name for concept in concepts), None),
            "seed": self.seed,
        }


class TrainJob(FormulaOptions):
    """Options of `observe train`."""

    renamed = {  # noqa: RUF012
        "lr": "learning_rate", "text": "text_model", "form": "architecture",
        "norm": "norm_weight", "over": "aggregate",
    }  # fmt: skip
    pairs: Annotated[PathText, Option("Input", argument=True)]
    """Folder of pairs, the output of foveate observe prepare."""
    preset: Annotated[PresetName | None, Option("Method")] = None
    """Preset of options: paper uses the published equations (requires a text model; size full)."""
    model: ModelName = "builtin"
    """Encoder of high-resolution tiles; see foveate models."""
    weights: Weights = None
    """Local weights of the encoder."""
    lr_model: Annotated[ModelName | None, Option("Model", default="--model")] = None
    """Encoder of overviews; features: overviews are feature maps, e.g. an embedding product."""
    lr_weights: Weights = None
    """Local weights of the encoder of overviews."""
    target_model: Annotated[ModelName | None, Option("Model", default="--model")] = None
    """Encoder whose tokens are predicted; a linear map from the tokens of --model is fitted."""
    target_weights: Weights = None
    """Local weights of the target encoder."""
    saliency_model: Annotated[ModelName | None, Option("Model", default="--model")] = None
    """Encoder for structural saliency."""
    saliency_weights: Weights = None
    """Local weights of the saliency encoder."""
    text_model: Annotated[
        ModelName | None, Option("Model", default="--model, if it embeds texts")
    ] = None
    """Vision-language model for the semantic gain and for search."""
    text_weights: Weights = None
    """Local weights of the text model."""
    scale: Annotated[Scale, Option("Model", default="automatic")] = Field([])
    """Raw values for 0 and 1, one pair for all bands or one each."""
    bands: Annotated[Bands, Option("Model", default="all")] = Field([])
    """Bands to use, from 1."""
    concepts: Annotated[Concepts, Option("Input", default="those of the pairs")] = Field([])
    """Concepts: forest,water,road; or a file (YAML, TOML, JSON) with weights."""
    templates: Annotated[str, Option("Model")] = "rs"
    """Prompt templates: rs, plain, none, a file, or one sentence with {}."""
    size: Annotated[Size, Option("Model")] = "tiny"
    """Size of the networks: nano, tiny, small or full."""
    architecture: Annotated[ArchitectureName, Option("Model")] = "kriged"
    """Predictor: kriged, residual, cross, plain or literal."""
    fill: Annotated[Literal["linear", "conv"], Option("Model")] = "linear"
    """LR fill: linear (ridge), or conv for a small CNN on its residual."""
    supervision: Annotated[TargetName | Literal["auto"], Option("Method")] = "blend"
    """Target of the sampler: blend, semantic, surprise, structural, additive, product, task-delta;
    auto: the target that captures the most gain on the validation scenes."""
    align: Annotated[Literal["dense", "siglip", "siglip-alone"], Option("Method")] = "dense"
    """Loss: dense (Eq. 8); siglip (Eq. 8, and image-text alignment in stage II); or siglip-alone
    (Eq. 9 instead of Eq. 8)."""
    obr: Annotated[Share, Option("Method")] = Field(0.12, gt=0, lt=1)
    """Observed ratio (OBR) for training and evaluation: 12% or 0.12."""
    init: Annotated[PathText | None, Option("Training", metavar="FOLDER")] = None
    """Trained observer to initialise the weights from."""
    val: ValSplit = 0.15
    """Validation split: share of the scene groups, or names of groups (WA,OR)."""
    test: TestSplit = 0.2
    """Test split: share of the scene groups, or names of groups (AZ,ME); 0: no test split."""
    epochs: Annotated[int, Option("Training")] = Field(40, ge=1)
    """Maximum number of epochs of each stage."""
    train_batch: Annotated[int, Option("Training")] = Field(8, ge=1)
    """Scenes per training step."""
    learning_rate: Annotated[float, Option("Training")] = Field(1e-3, gt=0)
    """Maximum learning rate."""
    patience: Annotated[int, Option("Training")] = Field(8, ge=0)
    """Early stopping: epochs without improvement before a stage stops; 0: disabled."""
    precision: Annotated[Literal["float32", "bfloat16"], Option("Training")] = "float32"
    """Precision of training: float32 or bfloat16."""
    batch_size: int = Field(32, ge=1)
    """Tiles per batch of the encoder."""
    device: str = "auto"
    """Device of encoders and training: auto, cpu, cuda, cuda:N or mps."""
    seed: int = Field(0, ge=0)
    """Random seed."""
    replace: Annotated[bool, Option("Output")] = False
    """Overwrite an observer in the output folder that was trained with other options."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**train_options(given))

    def check_models(self) -> None:
        """Raise an error for models with an unknown name, or with weights and without a name."""
        check_roles(self)
        for role in get_args(Role):
            self.handle(role)

    def handle(self, role: Role) -> ModelHandle | None:
        """Return the model of a role; None if the job has no such model."""
        name, weights = {
            "hr": (self.model, self.weights),
            "lr": (self.lr_model or self.model, self.lr_weights if self.lr_model else self.weights),
            "target": (self.target_model, self.target_weights),
            "saliency": (self.saliency_model, self.saliency_weights),
            "text": (self.text_model, self.text_weights),
        }[role]
        if name is None:
            return None
        if name.partition(":")[0] == FEATURES:  # feature maps: `bands` and `scale` do not apply
            return load_model(name, weights=weights, device=self.device)
        return load_model(
            name, weights=weights, bands=self.bands, scale=tuple(self.scale) or None,
            device=self.device,
        )  # fmt: skip

    def stated_concepts(self) -> tuple[Concept, ...]:
        """Return the concepts of the job; empty: those of the pairs are used."""
        return concepts_of(self.concepts) if self.concepts else ()

    def check(self) -> Any:
        """Return the device, the initial observer or None, and the pairs."""
        check_folders(self.pairs, self.init)
        need_extra(EXTRAS["observe"], "training an observer")
        from foveate.models.runtime import resolve_device
        from foveate.observe.data.pairs import open_pairs
        from foveate.observe.observer import Observer

        self.check_models()
        device = resolve_device(self.device)
        self.stated_concepts()
        start = Observer.load(self.init, device="cpu") if self.init is not None else None
        return device, start, open_pairs(self.pairs)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Extract features, train all stages, evaluate on test scenes, and write the observer."""
        from foveate.observe.training import steps as training
        from foveate.observe.training.dataset import build_dataset

        device, start, pairs = ready
        data = build_dataset(self, pairs, progress, start=start)
        key = training.training_key(self, data, start)
        request = training.request_key(self, key)
        training.refuse_other(run.path, request, replace=self.replace)
        trainer = training.Trainer(
            data, self, device, run, training.TRAINING, key, start=start, progress=progress
        )
        trained = training.train(trainer, training={"key": key, "asked": request})
        training.remove_checkpoints(run.path)
        observer = training.finish(run, trainer, trained, key)
        return {
            "observer": {
                "folder": str(run.path),
                "size": self.size,
                "form": self.architecture,
                "supervision": observer.record.supervision,
                "captured": observer.record.training["captured"],
                **data.describe(),
            },
            "pool": pairs.pool.describe(),
            "model": data.encoders["hr"].spec.to_dict(),
            "seed": self.seed,
        }


class SelectJob(ImageryJob):
    """Options of `observe select`; exactly one of budget, threshold and obr is required."""

    absent = frozenset({"masks", "mask_suffix", "classes", "min_labelled"})
    renamed = {"model": "observer"}  # noqa: RUF012
    images: Annotated[list[AbsolutePath], Option("Input", argument=True)] = Field(min_length=1)
    """Overviews: folders, files or globs; or one folder of pairs."""
    extra: Annotated[list[AbsolutePath], Option(repeated=True)] = Field([])
    """Further bands alongside, paired by name; repeatable."""
    bands: Annotated[Bands, Option("Model", default="those of the training")] = Field([])
    """Bands of the overviews in the order of the training, from 1."""
    observer: ObserverFolder
    """Folder of a trained observer."""
    budget: Annotated[str | None, Option("Method", default="")] = None
    """Budget, never exceeded: 12%, 500 (tiles), area=25%, area=2e6."""
    threshold: Annotated[float | None, Option("Method")] = Field(None, ge=0, le=1)
    """Select tiles with a calibrated score above this value, 0 (all) to 1 (no tile)."""
    obr: Annotated[Share | None, Option("Method")] = Field(None, gt=0, le=1)
    """Observed ratio: share of the area to select, 12% or 0.12; the threshold is set on the scores
    of this pool."""
    preset: Annotated[PresetName | None, Option("Method")] = None
    """Preset of options: paper applies a threshold to raw scores, scaled to [0, 1] over the
    validation tiles of the training (default --threshold 0.55)."""
    policy: Annotated[PolicyOrAuto, Option("Method")] = AUTO
    """Policy: learned, design, or a baseline: random, uniform, lr-entropy, covariate; auto: learned
    or design if it was better than random in training, otherwise a baseline."""
    covariate: Annotated[AbsolutePath | None, Option("Method")] = None
    """Raster for the policy covariate, such as night lights or population."""
    tile: Annotated[float | None, Option("Input", default="as in training")] = Field(None, ge=1)
    """Side of a tile in pixels of the overviews."""
    lr_cost: Annotated[float, Option("Method")] = Field(0.0, ge=0)
    """Cost of the overview per area, as a share of the cost of high resolution."""
    device: str = "auto"
    """Device of the encoder and the networks: auto, cpu, cuda, cuda:N or mps."""
    seed: int = Field(0, ge=0)
    """Seed of ties and random policies."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**select_options(given))

    @property
    def mode(self) -> Mode:
        """The given option: "budget", "threshold" or "obr"; see `chosen_mode`."""
        return chosen_mode(self.budget, self.threshold, self.obr, self.policy)

    def check(self) -> Any:
        """Return the budget, the observer and the opened overviews or pairs."""
        need_paths(self.images, "overview")
        budget = None if self.budget is None else Budget.parse(self.budget)
        from foveate.observe.observer import Observer
        from foveate.observe.selection import selecting
        from foveate.observe.selection.overviews import cautions, check_reads
        from foveate.observe.selection.ranking import check_policy

        check_policy(self.policy, self.covariate)
        if self.covariate is not None:
            need_paths(self.covariate, "covariate")
        observer = Observer.load(self.observer, device=self.device)
        headers = selecting.open_overviews(self, observer.record)
        check_reads(headers.overviews, observer.record.encoders["lr"], self.bands)
        if budget is not None:
            selecting.check_units(budget, headers.pool)
        for caution in cautions(headers, observer.record):  # logged before the long work starts
            logger.warning("%s", caution)
        return budget, observer, headers

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Scan the pool, rank its tiles, cut the ranking, and write the selection."""
        from foveate.observe.selection import blank, selecting
        from foveate.observe.selection.ranking import policy_of

        budget, observer, headers = ready
        record = observer.record
        policy = policy_of(self.policy, record, self.mode)
        target, pool_key = selecting.measured(headers, self, run, progress)
        pool = target.pool
        if budget is not None:
            budget.resolve(pool.costs())
        scores, rank_key = selecting.score_step(
            run, target, observer, pool_key, policy=policy, covariate=self.covariate,
            bands=self.bands, seed=self.seed, device=self.device, progress=progress,
        )  # fmt: skip
        selection, threshold, expected = selecting.cut_ranking(
            scores, pool, record.calibration, budget=budget, obr=self.obr,
            threshold=self.threshold, raw=self.preset == "paper",
        )  # fmt: skip
        for note in (notes := blank.doubts(target, scores, selection)):
            logger.warning("%s", note)
        selecting.save_results(
            run, target, scores, selection, budget=budget, spec=record.encoders["lr"].spec,
            bands=self.bands,
            key=digest([
                rank_key, self.mode, str(budget), self.threshold, self.obr,
                *([self.preset] if self.preset else []),
            ]),
            maps_key=rank_key,
        )  # fmt: skip
        description = selecting.describe_selection(
            target, record, selection, notes=notes, budget=budget, threshold=threshold,
            expected=expected, lr_cost=self.lr_cost,
        )  # fmt: skip
        return {
            "observe": {
                "task": "select", "mode": self.mode, "policy": policy, "asked": self.policy,
                **description, "observer": self.observer,
            },
            "training": selecting.training_evidence(record, policy, self.policy),
            "pool": pool.describe(),
            "model": record.encoders["lr"].spec.to_dict(),
            "seed": self.seed,
        }  # fmt: skip


class CompleteJob(Job):
    """Options of `observe complete`."""

    renamed = {"run": "selection", "model": "observer"}  # noqa: RUF012
    selection: Annotated[AbsolutePath, Option("Input", argument=True)]
    """Run directory of foveate observe select."""
    observer: Annotated[
        ObserverFolder | None, Option("Model", default="the observer of the selection")
    ] = None
    """Folder of a trained observer."""
    tiles: Annotated[list[AbsolutePath], Option("Input", repeated=True)] = Field([])
    """High-resolution imagery: scenes or pairs, files SCENE_r03_c07.tif, or georeferenced rasters;
    repeatable. Without it no tile is observed."""
    only_chosen: Annotated[bool, Option("Input")] = False
    """Observe selected tiles only, even if high resolution of other tiles is available."""
    bands: Annotated[Bands, Option("Model", default="those of the training")] = Field([])
    """Bands of the high resolution in the order of the training, from 1."""
    batch_size: int = Field(32, ge=1)
    """Tiles per batch of the encoder."""
    device: str = "auto"
    """Device of the encoder and the networks: auto, cpu, cuda, cuda:N or mps."""

    def check(self) -> Any:
        """Return the opened selection, the observer and the matched high-resolution tiles."""
        from foveate.observe.selection.selections import load_selected, open_selected

        root, _, chosen = open_selected(self.selection)
        import numpy as np

        from foveate.observe.completion.match_hr import check_like, hr_cautions, match_hr_tiles
        from foveate.observe.observer import Observer
        from foveate.observe.observer_config import recorded_observer

        folder = self.observer or recorded_observer(chosen.observer, root)
        observer = Observer.load(folder, device=self.device)
        selected = load_selected(root, observer)
        matched = match_hr_tiles(self.tiles, selected)
        if self.only_chosen:
            matched = matched.of(np.flatnonzero(selected.chosen))
        check_like(observer, matched, self.bands)
        for caution in hr_cautions(observer.record, matched, selected):  # before the long work
            logger.warning("%s", caution)
        return selected, observer, matched

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Complete each scene, and join the tables."""
        from foveate.observe.completion.completing import Completion

        selected, observer, matched = ready
        completion = Completion(
            run, selected, observer, matched, bands=self.bands, batch_size=self.batch_size,
            device=self.device,
        )  # fmt: skip
        completion.complete(progress)
        return completion.summary()

    def run(self, out: str | Path, **more: Any) -> Run:
        """Run the job; see `Job.run`."""
        if Path(out).resolve() == Path(self.selection).resolve():
            raise ParameterError(
                f"--out {str(out)!r} is the run directory of the selection",
                "Completed scenes are written to a separate run directory.",
                "Choose another --out.",
            )
        return super().run(out, **more)
