"""`CurateBenchJob`: train on what methods choose, judge on other scenes, say which to take.

DIR/
work/           labels, features and conditions of one setting, shared by all methods and budgets
tables/         curate.json, cells.csv, cells.parquet
report.html
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field

from foveate.curate.methods import get_method
from foveate.curate.methods.base import Preset  # noqa: TC001  (fields are evaluated)
from foveate.curate.options import MethodNames, MethodOptions  # noqa: TC001
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids
from foveate.models.embed import bind, embed, pool_prints
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.settings import ModelJob
from foveate.pool.scan import scan
from foveate.pool.settings import PoolJob
from foveate.pool.step import measured_pool, opened_pool
from foveate.run.options import Option, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from foveate.bench.curate.design import Design
    from foveate.bench.curate.measure import Judge
    from foveate.embeddings import Embeddings
    from foveate.models.base import ModelHandle
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run

logger = logging.getLogger("foveate")

VERSION = 1  # raised when the same job leads to other figures
QUICK: dict[str, Any] = {"budgets": "5%,10%,25%", "seeds": 3, "judge": "probe", "max_tiles": 1000}
# The methods that rank any pool by what a folder with masks holds.
STANDARD = ("lc", "fd", "lc-fd", "fa", "cb", "fa-cb", "kcenter", "random")


def _shares(given: Any) -> Any:
    """Read budgets in percent as rising shares of the tiles."""
    if not isinstance(given, str | list | tuple):
        return given
    found = []
    for text in split(given) if isinstance(given, str) else given:
        try:
            share = (
                float(str(text).removesuffix("%")) / 100 if isinstance(text, str) else float(text)
            )
        except ValueError:
            share = float("nan")
        if not 0 < share <= 1:
            raise ParameterError(
                repr(text), "Budgets are percentages of the tiles to choose from, up to 100%.",
                "For example 1%,5%,10%,25%,100%.",
            )  # fmt: skip
        found.append(share)
    return sorted(set(found))


class CurateBenchJob(ModelJob):
    """What a benchmark of core-sets is asked for."""

    absent = frozenset({
        "images", "masks", "mask_suffix", "extra", "stack", "coordinates", "skip_empty",
    })  # fmt: skip
    images: list[str] = Field([])
    """Of the pools."""
    train: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks to choose from."""
    test: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks to test on, with --train."""
    pool: Annotated[str, Option("Input", metavar="IMAGES:MASKS")] = ""
    """Images and masks that are divided into folds, instead of --train and --test."""
    folds: Annotated[Literal["folder", "scene"] | None, Option("Input")] = None
    """What stays together in a fold of --pool."""
    fold_count: Annotated[
        int | None, Option("Input", default="one a folder or scene; 5 of many")
    ] = Field(None, ge=2)
    """Number of folds; each is tested once."""
    methods: Annotated[
        MethodNames, Option("Method", name="method", default="the paper's", repeated=True)
    ] = Field(list(STANDARD), min_length=1)
    """Methods of curate, or all; several with commas or repeated. random is always among them."""
    budgets: Annotated[
        list[float], BeforeValidator(_shares), Option("Method", metavar="5%,10%,25%")
    ] = Field([0.01, 0.05, 0.1, 0.25, 0.5, 1.0], min_length=1)  # fmt: skip
    """Shares of the tiles that are chosen, in percent."""
    seeds: Annotated[int, Option("Method")] = Field(5, ge=1)
    """Number of seeds: draws of random methods, and trainings."""
    judge: Annotated[Literal["probe", "unet"], Option("Method")] = "probe"
    """Model that is trained: a linear probe on frozen dense features, or a U-Net."""
    samplers: Annotated[
        list[Literal["none", "balanced"]], BeforeValidator(split),
        Option("Method", metavar="none,balanced"),
    ] = Field(["none", "balanced"], min_length=1)  # fmt: skip
    """How training draws from what was chosen: as it is, or each class equally often."""
    quick: Annotated[bool, Option("Method")] = False
    """A first answer: the probe, 5, 10 and 25 %, 3 seeds, at most 1000 tiles."""
    max_tiles: int | None = Field(None, ge=2)
    """Draw at most so many tiles of the pool, by seed 0."""
    preset: Annotated[Preset, Option("Method")] = "default"
    """Options of the methods as the paper has them, or its released lists."""
    options: Annotated[
        MethodOptions, Option("Method", name="option", metavar="METHOD.NAME=VALUE", repeated=True)
    ] = Field({})
    """Option of a method: fd.max_k=20; repeatable."""
    max_overlap: Annotated[float | None, Option("Method", default="0.5; 1 with the presets")] = (
        Field(None, ge=0, le=1)
    )
    """A tile is put last if an earlier pick covers more of it than this share; 1: never."""
    steps_per_training: Annotated[int, Option("Training", name="steps")] = Field(200, ge=1)
    """Steps of every U-Net."""
    epochs: Annotated[int, Option("Training")] = Field(0, ge=0)
    """Passes over the chosen tiles, instead of --steps: sets of other sizes get other steps."""
    learning_rate: Annotated[float, Option("Training")] = Field(1e-3, gt=0)
    """Learning rate of a U-Net (AdamW)."""
    train_batch: Annotated[int, Option("Training")] = Field(16, ge=1)
    """Tiles of a step of a U-Net."""
    buffer: float = Field(0.0, ge=0)
    """Metres of ground around tiles to choose from that must be free of test tiles."""
    allow_leaks: bool = False
    """Measure though tiles that test share ground or pixels with tiles to choose from."""

    @classmethod
    def typed(cls, **given: Any) -> Self:
        """Make a job from what was typed: on top of the quick settings where asked for."""
        return cls(**({**QUICK, **given} if given.get("quick") else given))

    @cached_property
    def chosen_methods(self) -> list[str]:
        """The methods, each once, random first."""
        return list(dict.fromkeys(["random", *self.methods]))

    def check(self) -> tuple[ModelHandle, dict[str, Pool]]:
        """Return the model and the headers of the pools."""
        from foveate.bench.curate.design import check_alike

        if bool(self.pool) == bool(self.train or self.test):
            raise ParameterError(
                "--pool together with --train or --test" if self.pool else "no imagery",
                "Either two folders, or one that is divided into folds.",
                "--train IMAGES:MASKS --test IMAGES:MASKS, or --pool IMAGES:MASKS --folds folder",
            )
        if not self.pool and not (self.train and self.test):
            given, lacking = ("--train", "--test") if self.train else ("--test", "--train")
            raise ParameterError(
                f"{given} without {lacking}", "One part is chosen from, the other tests.",
                f"{lacking} IMAGES:MASKS",
            )  # fmt: skip
        if bool(self.pool) != bool(self.folds) or (self.fold_count and not self.pool):
            raise ParameterError(
                "--pool without --folds" if self.pool else "--folds or --fold-count without --pool",
                "A pool is divided into folds of whole folders or scenes.",
                "--pool IMAGES:MASKS --folds folder",
            )
        for name in self.chosen_methods:
            get_method(name).options(self.preset, self.options.get(name))
        if stray := sorted(set(self.options) - set(self.chosen_methods)):
            raise ParameterError(
                f"options for {stray[0]!r}, which is not among the methods",
                f"Methods of this job: {', '.join(self.chosen_methods)}.",
                f"Add --method {stray[0]}.",
            )  # fmt: skip
        if self.judge == "unet":
            need_extra(EXTRAS["unet"], "a U-Net")
        handle = self.handle()
        if self.judge == "unet" and handle.family != "timm":
            raise ParameterError(
                f"--judge unet with --model {handle}", "Its encoder is a backbone of timm.",
                "--model timm:resnet18, with --weights PATH for local weights",
            )  # fmt: skip
        pools = {
            name: self._opened(name) for name in ("pool", "train", "test") if getattr(self, name)
        }
        if "train" in pools:
            check_alike(pools["train"], pools["test"])
        return handle, pools

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Pools, features and labels, then the conditions under each seed, then the tables."""
        from foveate.bench.conditions import measure_conditions
        from foveate.bench.curate import tables
        from foveate.bench.curate.leaks import find_leaks, pixel_digests, refuse_leaks
        from foveate.bench.curate.measure import Seed, needs_embeddings
        from foveate.bench.curate.write import result, write_tables

        handle, headers = ready
        design = self._design(run, headers, progress)
        leaks = find_leaks(design, pixel_digests(design.pool), self.buffer)
        if not self.allow_leaks:
            refuse_leaks(leaks)
        embeddings = None
        if needs_embeddings(self.chosen_methods):
            embeddings = self._embed(design.pool, handle, run, progress)
        key = self._key(design, handle, embeddings, run)
        judges = self._judges(design, handle, run, key, progress)

        def measures(number: int) -> Any:
            return Seed(
                design, judges, embeddings, seed=self.seed + number, options=self.options,
                preset=self.preset, max_overlap=self.max_overlap,
            ).measure  # fmt: skip

        rows = tables.conditions_of(self.budgets, self.chosen_methods, self.samplers)
        results = measure_conditions(
            run, rows, measures, seeds=self.seeds, first=self.seed, title=self.judge,
            folder=f"work/{key[:8]}",
            key=lambda c: digest([key, c.name, self.options.get(c.method)]), progress=progress,
        )  # fmt: skip
        made = result(self, design, results, leaks=leaks)
        run.do(
            "tables", digest([VERSION, key, made]), lambda: write_tables(run.path, made)
        )  # fmt: skip
        return {
            "core_sets": made, "pool": design.pool.describe(), "seed": self.seed,
            "model": embeddings.spec.to_dict() if embeddings else None,
        }  # fmt: skip

    def _opened(self, name: str) -> Pool:
        """Return the headers of ``--pool``, ``--train`` or ``--test``."""
        return opened_pool(self._pool_job(name), tile=self.tile, stride=self.stride, edge=self.edge)

    def _pool_job(self, name: str) -> PoolJob:
        from foveate.bench.curate.design import split_pair

        images, masks = split_pair(getattr(self, name), f"--{name}")
        shared = {
            field: getattr(self, field)
            for field in PoolJob.model_fields
            if field not in self.absent and field in type(self).model_fields
        }
        return PoolJob(images=[images], masks=[masks], **shared)

    def _design(self, run: Run, headers: dict[str, Pool], progress: ProgressFn | None) -> Design:
        """Measure the pools and divide them; at most `max_tiles` stay."""
        from foveate.bench.curate.design import folds_of, two_pools

        if self.pool:
            pool, _ = measured_pool(self._pool_job("pool"), run, progress)
            assert self.folds is not None  # noqa: S101  (`check`)
            return folds_of(self._fewer(pool), self.folds, self.fold_count)
        train, _ = measured_pool(self._pool_job("train"), run, progress)
        test = scan(
            headers["test"], bands=self.bands or None, min_valid=self.min_valid,
            min_labelled=self.min_labelled, progress=progress,
        )  # fmt: skip
        return two_pools(self._fewer(train), self._fewer(test))

    def _fewer(self, pool: Pool) -> Pool:
        from foveate.seeds import tie_keys

        if self.max_tiles is None or len(pool) <= self.max_tiles:
            return pool
        order = np.argsort(tie_keys(pool.ids, 0, "bench/tiles"), kind="stable")
        logger.warning("%d of %d tiles are drawn: --max-tiles.", self.max_tiles, len(pool))
        return pool.take(np.sort(order[: self.max_tiles]))

    def _embed(
        self, pool: Pool, handle: ModelHandle, run: Run, progress: ProgressFn | None
    ) -> Embeddings:
        return embed(
            pool, handle, run=run, batch_size=self.batch_size, workers=self.workers,
            progress=progress,
        )  # fmt: skip

    def _key(
        self, design: Design, handle: ModelHandle, embeddings: Embeddings | None, run: Run
    ) -> str:
        """Hash of everything that all conditions depend on, but for the seed and the method."""
        masks = [s.mask.info.fingerprint if s.mask else None for s in design.pool.scenes]
        folds = [[f.name, digest_ids(design.pool.ids[f.train])] for f in design.folds]
        spec = embeddings.spec if embeddings else bind(handle, design.pool, run=run).spec
        training = (self.steps_per_training, self.epochs, self.learning_rate, self.train_batch)
        return digest([
            VERSION, pool_prints(design.pool), masks, digest_ids(design.pool.ids), folds,
            design.pool.legend.to_dict() if design.pool.legend else None, spec.to_dict(),
            self.judge, training if self.judge == "unet" else None, self.preset, self.max_overlap,
        ])  # fmt: skip

    def _judges(
        self, design: Design, handle: ModelHandle, run: Run, key: str, progress: ProgressFn | None
    ) -> Callable[[int], Judge]:
        """Return from the number of a fold to its judge; each is made once."""
        from foveate.bench.curate.judges import probe_judges, unet_judges

        if self.judge == "probe":
            return probe_judges(
                design, handle, run, f"work/{key[:8]}", batch_size=self.batch_size,
                workers=self.workers, progress=progress,
            )  # fmt: skip
        from foveate.bench.curate.unet import UNetSettings

        settings = UNetSettings(
            steps=self.steps_per_training, epochs=self.epochs, batch_size=self.train_batch,
            learning_rate=self.learning_rate, device=self.device,
        )  # fmt: skip
        return unet_judges(design, handle, run, settings, progress)
