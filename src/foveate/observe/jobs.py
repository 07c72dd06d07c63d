"""The jobs of `observe`: every field is an option of the command line, with its help.

Nothing here imports torch, scipy or rasterio before a job is checked, and paths are checked first.
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
from foveate.observe.concepts import Concept, concepts_of
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
    check_folders,
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
    """Which scenes become pairs, and where their overviews and labels come from."""

    absent = frozenset({"bands"})  # overviews have all of them; a training chooses
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
    """Tiles of each scene: rows x columns."""
    tile_size: Annotated[
        float | None, BeforeValidator(metres), Option("Input", metavar="METRES")
    ] = Field(None, gt=0)  # fmt: skip
    """Side of a tile on the ground, 60m, instead: for scenes of any size and resolution."""
    ratio: Annotated[float | None, Option("Method", default="10")] = None
    """Side of a pixel of the simulated overviews, in pixels of the scene."""
    mtf: Annotated[float | None, Option("Method")] = 0.25
    """Modulation of the simulated overviews at their Nyquist frequency, 0 to 1."""
    snr: Annotated[
        float | None, BeforeValidator(signal_to_noise), Option("Method")
    ] = Field(100.0, gt=0)  # fmt: skip
    """Signal-to-noise ratio of the simulated overviews; 0: no noise."""
    lr: Annotated[list[AbsolutePath], Option("Input", repeated=True)] = Field([])
    """Real overviews, paired by name, instead of simulated ones; repeatable."""
    concepts: Annotated[
        Concepts, Option("Input", default="classes of the masks, kinds of the objects")
    ] = Field([])
    """Concepts to label: forest,water,road; or a file (YAML, TOML, JSON) with their classes."""
    objects: Annotated[AbsolutePath | None, Option("Input")] = None
    """GeoJSON of objects with a property "kind"."""
    seed: int = Field(0, ge=0)
    """Seed of the noise."""

    @property
    def scale(self) -> float:
        """Side of a pixel of the simulated overviews, in pixels of the scene."""
        return RATIO if self.ratio is None else self.ratio

    @property
    def cuts(self) -> tuple[int, int] | float:
        """Rows and columns of each scene, or the side of a tile in metres."""
        return self.tile_size if self.tile_size is not None else self.tiles or GRID

    @property
    def labelled(self) -> bool:
        """Whether masks or objects tell which tile has which concept."""
        return bool(self.masks or self.objects)

    def stated_concepts(self) -> tuple[Concept, ...]:
        """Return the concepts of the job; none where those of masks and objects count."""
        return concepts_of(self.concepts) if self.concepts else ()

    def check(self) -> Any:
        """Return the opened scenes, the real overviews, the objects and the concepts."""
        need_paths(self.images, "image")
        need_paths(self.masks, "mask")
        need_paths(self.lr, "overview")
        from foveate.observe import preparation
        from foveate.observe.labels import check_known, read_objects
        from foveate.observe.pairs import open_headers

        preparation.check_options(self, real=bool(self.lr))
        stated = self.stated_concepts()
        objects = read_objects(self.objects) if self.objects else None
        headers, real = open_headers(self)
        if stated and self.labelled and (headers.legend is not None or not self.masks):
            classes = headers.legend.names if headers.legend else ()
            check_known(stated, classes, objects.kinds if objects else ())
        return headers, real, objects, stated

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Measure the scenes, simulate overviews, label the tiles, and write the pairs."""
        from foveate.observe import preparation
        from foveate.pool.step import measure

        headers, real, objects, stated = ready
        pool, pool_key = measure(headers, self, run, progress)
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
    """Everything that a trained observer depends on."""

    renamed = {  # noqa: RUF012
        "lr": "learning_rate", "text": "text_model", "form": "architecture",
        "norm": "norm_weight", "over": "aggregate",
    }  # fmt: skip
    pairs: Annotated[PathText, Option("Input", argument=True)]
    """Folder of pairs that foveate observe prepare wrote."""
    preset: Annotated[PresetName | None, Option("Method")] = None
    """Preset of options: paper trains by the formulas as printed (needs texts; size full)."""
    model: ModelName = "builtin"
    """Encoder of high-resolution tiles; see foveate models."""
    weights: Weights = None
    """Local weights of the encoder."""
    lr_model: Annotated[ModelName | None, Option("Model", default="--model")] = None
    """Encoder of overviews; features: they are features already, an embedding product."""
    lr_weights: Weights = None
    """Local weights of the encoder of overviews."""
    target_model: Annotated[ModelName | None, Option("Model", default="--model")] = None
    """Encoder whose tokens are completed; a linear map from those of the model is fitted."""
    target_weights: Weights = None
    """Local weights of the target encoder."""
    saliency_model: Annotated[ModelName | None, Option("Model", default="--model")] = None
    """Encoder for structural saliency."""
    saliency_weights: Weights = None
    """Local weights of the saliency encoder."""
    text_model: Annotated[
        ModelName | None, Option("Model", default="--model, if it reads text")
    ] = None
    """Model of images and text, for the semantic gain and for search."""
    text_weights: Weights = None
    """Local weights of the text model."""
    scale: Annotated[Scale, Option("Model", default="automatic")] = Field([])
    """Raw values for 0 and 1, one pair for all bands or one each."""
    bands: Annotated[Bands, Option("Model", default="all")] = Field([])
    """Bands to use, from 1."""
    concepts: Annotated[Concepts, Option("Input", default="those of the pairs")] = Field([])
    """Concepts: forest,water,road; or a file (YAML, TOML, JSON) with weights."""
    templates: Annotated[str, Option("Model")] = "rs"
    """Sentences around a name: rs, plain, none, a file, or one sentence with {}."""
    size: Annotated[Size, Option("Model")] = "tiny"
    """Size of the networks: nano, tiny, small or full."""
    architecture: Annotated[ArchitectureName, Option("Model")] = "kriged"
    """Predictor: kriged, residual, cross, plain or literal."""
    fill: Annotated[Literal["linear", "conv"], Option("Model")] = "linear"
    """LR fill: linear (ridge), or conv for a small CNN on its residual."""
    supervision: Annotated[TargetName | Literal["auto"], Option("Method")] = "blend"
    """Target of the sampler: blend, semantic, surprise, structural, additive, product, task-delta;
    auto: the one that captures most gain on the validation scenes."""
    align: Annotated[Literal["dense", "siglip", "siglip-alone"], Option("Method")] = "dense"
    """Loss: dense (Eq. 8); siglip, which adds alignment with texts in stage II; or siglip-alone
    (Eq. 9 instead of Eq. 8)."""
    obr: Annotated[Share, Option("Method")] = Field(0.12, gt=0, lt=1)
    """Observed share to train and evaluate for: 12% or 0.12."""
    init: Annotated[PathText | None, Option("Training", metavar="FOLDER")] = None
    """Trained observer whose weights to start from."""
    val: Annotated[Share, Option("Training")] = Field(0.15, gt=0, lt=1)
    """Share of the groups of scenes for validation."""
    test: Annotated[Share, Option("Training")] = Field(0.2, ge=0, lt=1)
    """Share of the groups of scenes for testing; 0: none."""
    epochs: Annotated[int, Option("Training")] = Field(40, ge=1)
    """Maximum number of epochs of each stage."""
    train_batch: Annotated[int, Option("Training")] = Field(8, ge=1)
    """Scenes per training step."""
    learning_rate: Annotated[float, Option("Training")] = Field(1e-3, gt=0)
    """Maximum learning rate."""
    patience: Annotated[int, Option("Training")] = Field(8, ge=0)
    """Epochs without improvement after which a stage stops; 0: never."""
    precision: Annotated[Literal["float32", "bfloat16"], Option("Training")] = "float32"
    """Precision of training: float32 or bfloat16."""
    batch_size: int = Field(32, ge=1)
    """Tiles per call of the encoder."""
    device: str = "auto"
    """Device of encoders and training: auto, cpu, cuda, cuda:N or mps."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    replace: Annotated[bool, Option("Output")] = False
    """Replace an observer in the same folder that was trained with other options."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**train_options(given))

    def check_models(self) -> None:
        """Refuse models with an unknown name or missing weights."""
        for role in get_args(Role):
            self.handle(role)

    def handle(self, role: Role) -> ModelHandle | None:
        """Return the model of a role by name; None where none is stated."""
        name, weights = {
            "hr": (self.model, self.weights),
            "lr": (self.lr_model or self.model, self.lr_weights if self.lr_model else self.weights),
            "target": (self.target_model, self.target_weights),
            "saliency": (self.saliency_model, self.saliency_weights),
            "text": (self.text_model, self.text_weights),
        }[role]
        if name is None:
            return None
        if name.partition(":")[0] == FEATURES:  # no imagery: it has no bands to choose among
            return load_model(name, weights=weights, device=self.device)
        return load_model(
            name, weights=weights, bands=self.bands, scale=tuple(self.scale) or None,
            device=self.device,
        )  # fmt: skip

    def stated_concepts(self) -> tuple[Concept, ...]:
        """Return the concepts of the job; none where those of the pairs count."""
        return concepts_of(self.concepts) if self.concepts else ()

    def check(self) -> Any:
        """Return the device, the observer to start from, and the pairs."""
        check_folders(self.pairs, self.init)
        need_extra(EXTRAS["observe"], "training an observer")
        from foveate.models.runtime import resolve_device
        from foveate.observe.observer import Observer
        from foveate.observe.pairs import open_pairs

        self.check_models()
        device = resolve_device(self.device)
        self.stated_concepts()
        start = Observer.load(self.init, device="cpu") if self.init is not None else None
        return device, start, open_pairs(self.pairs)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Encode, train all stages, evaluate on held-out scenes, and write the observer."""
        from foveate.observe import training
        from foveate.observe.dataset import build_dataset

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
    """Which tiles are chosen, and by what; one of budget, threshold and obr is given."""

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
    """Choose tiles with a calibrated score above this, 0 (all) to 1 (none)."""
    obr: Annotated[Share | None, Option("Method")] = Field(None, gt=0, le=1)
    """Share of the area to choose, 12% or 0.12: sets the threshold on the scores of this pool."""
    preset: Annotated[PresetName | None, Option("Method")] = None
    """Preset of options: paper thresholds raw scores, scaled to 0 to 1 over the validation tiles
    of the training (--threshold 0.55 by default)."""
    policy: Annotated[PolicyOrAuto, Option("Method")] = AUTO
    """Policy: learned, design, or a baseline: random, uniform, lr-entropy, covariate; auto: learned
    or design if its training found that better than random tiles, else a baseline."""
    covariate: Annotated[AbsolutePath | None, Option("Method")] = None
    """Raster for the policy covariate: night lights, population."""
    tile: Annotated[float | None, Option("Input", default="as in training")] = Field(None, ge=1)
    """Side of a tile in pixels of the overviews."""
    lr_cost: Annotated[float, Option("Method")] = Field(0.0, ge=0)
    """Price of the overview per area, as a share of that of high resolution."""
    device: str = "auto"
    """Device of the encoder and the networks: auto, cpu, cuda, cuda:N or mps."""
    seed: int = Field(0, ge=0)
    """Seed of ties, and of random policies."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**select_options(given))

    @property
    def mode(self) -> Mode:
        """What decides how many tiles are chosen; see `chosen_mode`."""
        return chosen_mode(self.budget, self.threshold, self.obr, self.policy)

    def check(self) -> Any:
        """Return the budget, the observer and the opened overviews or pairs."""
        need_paths(self.images, "overview")
        budget = Budget.parse(self.budget) if self.mode == "budget" and self.budget else None
        from foveate.observe import selecting
        from foveate.observe.observer import Observer
        from foveate.observe.overviews import cautions, check_reads
        from foveate.observe.ranking import check_policy

        check_policy(self.policy, self.covariate)
        if self.covariate is not None:
            need_paths(self.covariate, "covariate")
        observer = Observer.load(self.observer, device=self.device)
        headers = selecting.open_overviews(self, observer.record)
        check_reads(headers.overviews, observer.record.encoders["lr"], self.bands)
        if budget is not None:
            selecting.check_units(budget, headers.pool)
        for caution in cautions(headers, observer.record):  # before the work, not only after it
            logger.warning("%s", caution)
        return budget, observer, headers

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Measure the pool, rank its tiles, cut the ranking, and write what was chosen."""
        from foveate.observe import selecting
        from foveate.observe.ranking import policy_of
        from foveate.observe.selecting import describe_selection, training_evidence

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
        selecting.save_results(
            run, target, scores, selection, budget=budget, spec=record.encoders["lr"].spec,
            bands=self.bands,
            key=digest([
                rank_key, self.mode, str(budget), self.threshold, self.obr,
                *([self.preset] if self.preset else []),
            ]),
            maps_key=rank_key,
        )  # fmt: skip
        found = describe_selection(
            target, record, selection, budget=budget, threshold=threshold, expected=expected,
            lr_cost=self.lr_cost,
        )  # fmt: skip
        return {
            "observe": {
                "task": "select", "mode": self.mode, "policy": policy, "asked": self.policy,
                **found, "observer": self.observer,
            },
            "training": training_evidence(record, policy, self.policy),
            "pool": pool.describe(),
            "model": record.encoders["lr"].spec.to_dict(),
            "seed": self.seed,
        }  # fmt: skip


class CompleteJob(Job):
    """Everything that completed scenes depend on."""

    renamed = {"run": "selection", "model": "observer"}  # noqa: RUF012
    selection: Annotated[AbsolutePath, Option("Input", argument=True)]
    """Run of foveate observe select."""
    observer: Annotated[ObserverFolder | None, Option("Model", default="the one that selected")] = (
        None
    )
    """Folder of a trained observer."""
    tiles: Annotated[list[AbsolutePath], Option("Input", repeated=True)] = Field([])
    """High resolution: scenes or pairs, files SCENE_r03_c07.tif, or georeferenced rasters;
    repeatable. Without it nothing is observed."""
    only_chosen: Annotated[bool, Option("Input")] = False
    """Observe none but the chosen tiles, though there is high resolution of others."""
    bands: Annotated[Bands, Option("Model", default="those of the training")] = Field([])
    """Bands of the high resolution in the order of the training, from 1."""
    batch_size: int = Field(32, ge=1)
    """Tiles per call of the encoder."""
    device: str = "auto"
    """Device of encoder and networks: auto, cpu, cuda, cuda:N or mps."""

    def check(self) -> Any:
        """Return the opened selection, the observer and the high resolution of tiles."""
        from foveate.observe.selections import load_selected, open_selected

        root, _, chosen = open_selected(self.selection)
        import numpy as np

        from foveate.observe.match_hr import MatchedHR, check_like, match_hr_tiles
        from foveate.observe.observer import Observer

        observer = Observer.load(self.observer or chosen.observer, device=self.device)
        selected = load_selected(root, observer)
        matched = match_hr_tiles(self.tiles, selected) if self.tiles else MatchedHR()
        if self.only_chosen:
            matched = matched.of(np.flatnonzero(selected.chosen))
        check_like(observer, matched, self.bands)
        return selected, observer, matched

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Complete scene by scene, and join their tables."""
        from foveate.observe.completing import Completion

        selected, observer, matched = ready
        completion = Completion(
            run, selected, observer, matched, bands=self.bands, batch_size=self.batch_size,
            device=self.device,
        )  # fmt: skip
        completion.complete(progress)
        return completion.summary()

    def run(self, out: str | Path, **more: Any) -> Run:
        """Do the job; see `Job.run`."""
        if Path(out).resolve() == Path(self.selection).resolve():
            raise ParameterError(
                f"--out {str(out)!r} is the run that is completed",
                "Completed scenes are a run of their own.",
                "Choose another --out.",
            )
        return super().run(out, **more)
