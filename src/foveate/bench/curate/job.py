"""`CurateBenchJob`: train on the selection of each method, and test on other scenes.

DIR/
work/           labels, features and conditions of one setting, shared by all methods and budgets
tables/         curate.json, cells.csv; with --preset paper table1, table2, those of `compare`
report.html
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from foveate.bench.curate.datasets import DatasetName, facts
from foveate.bench.curate.inputs import (
    Headers,
    check_inputs,
    check_model,
    design_of,
    handles,
    open_headers,
)
from foveate.bench.curate.lists import check_lists, read_lists, write_folds
from foveate.bench.curate.settings import USUAL, settings
from foveate.curate.methods import METHODS, get_method
from foveate.curate.methods.base import Preset  # noqa: TC001  (fields are evaluated)
from foveate.curate.options import Lists, MethodNames, MethodOptions  # noqa: TC001
from foveate.curate.recipes.file import recipes_by_name
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids
from foveate.models.embed import bind, embed, pool_prints
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.settings import ModelJob
from foveate.run.options import Bands, Option, PathText, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from foveate.bench.curate.design import Design
    from foveate.bench.curate.lists import Listed
    from foveate.bench.curate.measure import Judge
    from foveate.curate.methods import Method
    from foveate.embeddings import Embeddings, EncoderSpec
    from foveate.models.base import ModelHandle
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 2  # raised when the results of a job change


def _shares(given: Any) -> Any:
    """Convert budgets in percent to sorted shares of the tiles."""
    if not isinstance(given, str | list | tuple):
        return given
    shares = []
    for text in split(given) if isinstance(given, str) else given:
        try:
            share = (
                float(str(text).removesuffix("%")) / 100 if isinstance(text, str) else float(text)
            )
        except ValueError:
            share = float("nan")
        if not 0 < share <= 1:
            raise ParameterError(
                repr(text), "Budgets must be percentages of the training pool, up to 100%.",
                "For example 1%,5%,10%,25%,100%.",
            )  # fmt: skip
        shares.append(share)
    return sorted(set(shares))


class CurateBenchJob(ModelJob):
    """Settings of a benchmark of core-sets."""

    absent = frozenset({
        "images", "masks", "mask_suffix", "extra", "stack", "coordinates", "skip_empty",
        "assets", "datetime", "bbox", "max_cloud",
    })  # fmt: skip
    images: list[str] = Field([])
    """Images of the pools."""
    train: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks to select from."""
    test: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks to test on, with --train."""
    val: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks to validate the epochs of a U-Net on, with --train and --epochs."""
    dataset: Annotated[DatasetName | None, Option("Input")] = None
    """Data set of the core-set paper, with its own split, instead of --train and --test."""
    root: Annotated[PathText | None, Option("Input")] = None
    """Folder of the --dataset; nothing is downloaded."""
    pool: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks for cross-validation, instead of --train and --test."""
    folds: Annotated[Literal["folder", "scene"] | None, Option("Input")] = None
    """Unit that is never split between folds of --pool."""
    fold_count: Annotated[
        int | None,
        Option("Input", default="one per folder or scene; 5 if there are more than 10"),
    ] = Field(None, ge=2)
    """Number of folds; each is the test set once."""
    methods: Annotated[
        MethodNames,
        Option(
            "Method", name="method", default="the paper's, facility, max-herding", repeated=True
        ),
    ] = Field(list(USUAL), min_length=1)
    """Methods of curate, or all; several with commas or repeated. random is always included."""
    recipes: Annotated[
        list[PathText], Option("Method", name="recipe", metavar="FILE|NAME", repeated=True)
    ] = Field([])
    """Recipe that is compared with the methods, as in curate; repeatable."""
    lists: Annotated[
        Lists, Option("Method", metavar="NAME=FILE", repeated=True)
    ] = Field({})  # fmt: skip
    """External ranking that is compared with the methods: a run, selection, coordinate list or
    list of ids, best first; {fold} and {seed} in the path are replaced by their numbers;
    repeatable."""
    budgets: Annotated[
        list[float], BeforeValidator(_shares),
        Option("Method", metavar="5%,10%,25%", default="1%,5%,10%,25%,50%,100%"),
    ] = Field([0.01, 0.05, 0.1, 0.25, 0.5, 1.0], min_length=1)  # fmt: skip
    """Shares of the tiles that are selected, in percent."""
    seeds: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Number of seeds; each is a new draw of random methods and a new training."""
    redraw: Annotated[bool, Option("Method")] = True
    """Select again with each seed; otherwise all seeds train on the sets of the first seed."""
    judge: Annotated[Literal["probe", "unet"], Option("Method")] = "probe"
    """Model to train: a linear probe on frozen dense features, or a U-Net."""
    samplers: Annotated[
        list[Literal["none", "balanced"]], BeforeValidator(split),
        Option("Method", metavar="none,balanced"),
    ] = Field(["none", "balanced"], min_length=1)  # fmt: skip
    """Sampling of the selected tiles in training: uniform (none), or class-balanced."""
    quick: Annotated[bool, Option("Method")] = False
    """Fast settings: five methods, the probe, 5, 10 and 25 %, 3 seeds, at most 1000 tiles."""
    max_tiles: int | None = Field(None, ge=2)
    """Largest number of tiles of the pool; more are subsampled with seed 0."""
    preset: Annotated[Preset, Option("Method")] = "default"
    """paper: its methods, grid, model, budgets, training and tables; released: the methods, grid
    and model of its lists."""
    options: Annotated[
        MethodOptions, Option("Method", name="option", metavar="METHOD.NAME=VALUE", repeated=True)
    ] = Field({})
    """Option of a method: fd.max_k=20; repeatable."""
    max_overlap: Annotated[float | None, Option("Method", default="0.5; 1 with the presets")] = (
        Field(None, ge=0, le=1)
    )
    """Largest share of a tile that an earlier pick may cover; tiles with more are moved to the
    end of the ranking; 1: no limit."""
    steps_per_training: Annotated[int, Option("Training", name="steps")] = Field(200, ge=1)
    """Number of steps to train each U-Net."""
    epochs: Annotated[int, Option("Training")] = Field(0, ge=0)
    """Number of epochs, instead of --steps; the number of steps then depends on the budget."""
    learning_rate: Annotated[float, Option("Training")] = Field(1e-3, gt=0)
    """Learning rate of a U-Net (AdamW)."""
    schedule: Annotated[Literal["cosine", "constant"], Option("Training")] = "cosine"
    """Learning-rate schedule: cosine decay to 0, or constant."""
    train_batch: Annotated[int, Option("Training")] = Field(16, ge=1)
    """Batch size of a U-Net, in tiles."""
    unet_bands: Annotated[
        Bands, Option("Training", default="all of a --dataset; else --bands")
    ] = Field([])  # fmt: skip
    """Input bands of a U-Net, if they differ from those of the encoder."""
    buffer: float = Field(0.0, ge=0)
    """Smallest distance between training and test tiles, in metres."""
    allow_leaks: bool = False
    """Run even if training and test tiles share ground or pixels."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**settings(given), **given})

    @cached_property
    def chosen_methods(self) -> list[str]:
        """Names of the compared rows: random, the methods, the recipes, the lists."""
        return [*self.known_methods, *self.lists]

    @cached_property
    def known_methods(self) -> dict[str, Method]:
        """Name -> method or recipe, random first.

        Raises:
            UnknownNameError: A method or recipe is unknown.
            DataError: The file of a recipe cannot be read, or is invalid.
            ParameterError: The name of a recipe is in use.
        """
        found = {name: get_method(name) for name in ("random", *self.methods)}
        return found | recipes_by_name(self.recipes)

    def check(self) -> tuple[Headers, tuple[ModelHandle, ModelHandle]]:
        """Return the headers of the pools, the encoder, and the model to train."""
        check_inputs(self)
        for name, method in self.known_methods.items():
            if further := sorted(set(method.needs) - {"counts", "embeddings"}):
                option = "recipe" if name not in METHODS else "method"
                raise ParameterError(
                    f"--{option} {name} in a benchmark",
                    f"It needs {' and '.join(further)}; the benchmark provides class counts and "
                    "embeddings only.",
                    f"Allowed: {', '.join(METHODS.ready())}.",
                )
            method.options(self.preset, self.options.get(name))
        if unknown := sorted(set(self.options) - set(self.known_methods)):
            raise ParameterError(
                f"options for {unknown[0]!r}, which is not among the methods",
                f"Methods of this job: {', '.join(self.known_methods)}.",
                f"Add --method {unknown[0]}.",
            )  # fmt: skip
        check_lists(self.lists, self.known_methods, self.seed)
        if self.judge == "unet":
            need_extra(EXTRAS["unet"], "a U-Net")
        check_model(self)
        headers = open_headers(self)
        return headers, handles(self, headers)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Pools, features and labels, then the conditions under each seed, then the tables."""
        from foveate.bench.conditions import measure_conditions
        from foveate.bench.curate import paper, tables
        from foveate.bench.curate.leaks import find_leaks, kept_digests, refuse_leaks
        from foveate.bench.curate.measure import Rankings, Seed, needs_embeddings
        from foveate.bench.curate.write import result, write_tables

        headers, (encoder, trained) = ready
        design = design_of(self, headers, run, progress)
        leaks = find_leaks(design, kept_digests(design.pool, run), self.buffer)
        if not self.allow_leaks:
            refuse_leaks(leaks)
        key = digest([VERSION, digest_ids(design.pool.ids), _folds(design)])
        run.do("folds", key, lambda: write_folds(run.path, design))
        seeds = range(self.seed, self.seed + (self.seeds if self.redraw else 1))
        lists = read_lists(self.lists, design, seeds)
        embeddings = None
        if needs_embeddings(self.known_methods.values()):
            embeddings = embed(
                design.pool, encoder, run=run, batch_size=self.batch_size, workers=self.workers,
                progress=progress,
            )  # fmt: skip
        judged = bind(trained, design.pool, run=run).spec
        key = self._key(design, judged, embeddings)
        judges = self._judges(design, trained, run, key, progress)

        rankings = Rankings(
            design, embeddings, methods=self.known_methods, lists=lists, options=self.options,
            preset=self.preset, max_overlap=self.max_overlap,
        )  # fmt: skip

        def measures(number: int) -> Any:
            return Seed(
                rankings, judges, seed=self.seed + number,
                drawn=None if self.redraw else self.seed,
                not_averaged=facts(self.dataset).not_averaged if self.dataset else (),
            ).measure  # fmt: skip

        rows = tables.conditions_of(
            self.budgets, self.chosen_methods, self.samplers, floor=self.redraw
        )
        cautions = self._cautions(headers)
        for count in range(1, self.seeds + 1):
            results = measure_conditions(
                run, rows, measures, seeds=count, first=self.seed, title=self.judge,
                folder=f"work/{key[:8]}",
                key=lambda c: digest([
                    key, c.name, self.options.get(c.method), *self._made_of(c.method, lists)
                ]),
                progress=progress,
            )  # fmt: skip
            so_far = [f"{count} of {self.seeds} seeds finished."] if count < self.seeds else []
            made = result(self, design, results, leaks=leaks, cautions=[*so_far, *cautions])
            if so_far:  # tables are readable while the benchmark runs
                write_tables(run.path, made)
        if self.preset == "paper":
            embedding = paper.embedding_seconds(run, embeddings, rankings)
            made["paper"] = paper.result(self, results, embedding)
            made["compare"] = paper.compare_rankings(self, run, rankings, key, progress)
        if not run.do("tables", digest([VERSION, key, made]), lambda: write_tables(run.path, made)):
            write_tables(run.path, made)  # replace the tables of fewer seeds
        return {
            "core_sets": made, "pool": design.pool.describe(), "seed": self.seed,
            "model": embeddings.spec.to_dict() if embeddings else None,
        }  # fmt: skip

    def _made_of(self, name: str, lists: Mapping[str, Listed]) -> list[Any]:
        """Return the inputs of a row besides its name: the recipe, or the list."""
        if name in lists:
            return [lists[name].print]
        method = self.known_methods.get(name)
        return [method.definition] if method is not None and method.definition else []

    def _cautions(self, headers: Headers) -> list[str]:
        found = [headers.absent] if headers.absent else []
        if self.epochs and "val" not in headers.pools:
            found.append("Without validation images, the last epoch is used.")
        return found

    def _key(self, design: Design, judged: EncoderSpec, embeddings: Embeddings | None) -> str:
        """Return a hash of the inputs of all conditions, except the seed and the method."""
        masks = [s.mask.info.fingerprint if s.mask else None for s in design.pool.scenes]
        specs = [judged.to_dict(), embeddings.spec.to_dict() if embeddings else None]
        training = (
            self.steps_per_training, self.epochs, self.learning_rate, self.train_batch,
            self.schedule,
        )  # fmt: skip
        drawn = None if self.redraw else self.seed
        return digest([
            VERSION, pool_prints(design.pool), masks, digest_ids(design.pool.ids), _folds(design),
            design.pool.legend.to_dict() if design.pool.legend else None, specs, drawn, self.judge,
            training if self.judge == "unet" else None, self.preset, self.max_overlap,
        ])  # fmt: skip

    def _judges(
        self, design: Design, handle: ModelHandle, run: Run, key: str, progress: ProgressFn | None
    ) -> Callable[[int], Judge]:
        """Return a function from the number of a fold to its judge."""
        from foveate.bench.curate.judges import probe_judges, unet_judges

        if self.judge == "probe":
            return probe_judges(
                design, handle, run, f"work/{key[:8]}", batch_size=self.batch_size,
                workers=self.workers, progress=progress,
            )  # fmt: skip
        from foveate.bench.curate.unet import UNetSettings

        training = UNetSettings(
            steps=self.steps_per_training, epochs=self.epochs, batch_size=self.train_batch,
            learning_rate=self.learning_rate, schedule=self.schedule, device=self.device,
        )  # fmt: skip
        return unet_judges(design, handle, run, training, progress)


def _folds(design: Design) -> list[list[str]]:
    """Return the names and tile hashes of the folds, to compare splits of one pool."""
    ids = design.pool.ids
    return [[f.name, digest_ids(ids[f.train]), digest_ids(ids[f.val])] for f in design.folds]
