"""The curate job: from folders to a run directory with selections and a report.

Each step writes its outputs under a key made of everything it depends on, so another budget or
method reuses the embeddings, and a second run of the same job does no work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self, cast

import numpy as np
from pydantic import Field

from foveate.budget import Budget
from foveate.curate import results, steps
from foveate.curate.changes import note_changes
from foveate.curate.dense import Dense, prepared
from foveate.curate.inputs import (
    check_inputs,
    check_typed,
    gathered_pool,
    read_vectors,
    refuse_model,
)
from foveate.curate.methods import METHODS, Method, get_method
from foveate.curate.methods.base import Preset, check_preset
from foveate.curate.options import MethodNames, MethodOptions, Quotas  # noqa: TC001
from foveate.curate.rank import Ranker
from foveate.curate.recipes.file import recipes_by_name
from foveate.curate.start import read_start, write_start
from foveate.curate.thumbs import draw_picks
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids
from foveate.models.embed import embed_at
from foveate.models.settings import SpreadJob
from foveate.pool.costs import costs_for
from foveate.pool.embedding_sources import embedding_paths
from foveate.pool.quality import Kind  # noqa: TC001  (pydantic reads it)
from foveate.pool.rules import Rules
from foveate.pool.stac.sources import stac_paths
from foveate.pool.step import leave_out
from foveate.run.job import SettingError
from foveate.run.options import Option, PathText
from foveate.run.shards import step_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.models import ModelHandle
    from foveate.pool import Pool
    from foveate.pool.embedding_file import EmbeddingFile
    from foveate.progress import ProgressFn
    from foveate.run import Run

# The default method. It reads no masks, and models trained on its selections, with uniform sampling
# of tiles, were never worse than those of random tiles; see "The default", docs/methods.md.
DEFAULT = "facility"
# With a preset: the method that the paper recommends, and its baseline if there are no masks.
OF_PRESETS = {True: "fa-cb", False: "random"}
DEFAULT_REASON = (
    "No method was given; {method} is used, which needs no masks. Models trained on its selections "
    "were better than those of random tiles in {above} of {of} comparisons and worse in {below} "
    "(docs/methods.md). With masks, foveate bench curate --quick finds the best method for a pool."
)
# Number of comparisons (pools, budgets and samplers) of the default, by the source of the vectors:
# better than random, worse, in total.
EVIDENCE = {"builtin": (7, 4, 44), "other": (12, 1, 40)}

# Settings of a preset besides the options of the methods; options given by the user win.
PRESET_SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    # Section IV-B: non-overlapping 256 x 256 patches, ResNet-18 with ImageNet weights. Incomplete
    # tiles at the edges are dropped, because patches must not overlap.
    "paper": {"tile": 256, "stride": 256, "edge": "drop", "model": "timm:resnet18?size=256"},
    # The public lists: stride 200, the last patch shifted to the edge.
    "released": {"tile": 256, "stride": 200, "edge": "shift", "model": "timm:resnet18?size=256"},
}


class Ready(NamedTuple):
    """The checked inputs of a curate run."""

    budget: Budget
    methods: dict[str, tuple[Method, dict[str, Any]]]
    handle: ModelHandle | None  # for imagery, if a method needs vectors or tokens
    file: EmbeddingFile | None  # instead of imagery
    embeds: bool  # whether a method needs vectors
    dense: bool  # whether a method needs tokens and the labels of their cells


class CurateJob(SpreadJob):
    """Settings of a curate run: which tiles of a pool to keep under a budget."""

    methods: Annotated[
        MethodNames | None,
        Option("Method", name="method", default=DEFAULT, repeated=True),
    ] = Field(
        None, min_length=1,
        description=f"{', '.join(METHODS)}, or all; several with commas or repeated.",
    )  # fmt: skip
    recipes: Annotated[
        list[PathText], Option("Method", name="recipe", metavar="FILE|NAME", repeated=True)
    ] = Field([])
    """Recipe that combines strategies: a file, or the name of a built-in recipe; repeatable."""
    budget: Annotated[str, Option("Method")] = "10%"
    """Amount to select: 10%, 500 (tiles), pixels=1e9, area=25%; several with commas."""
    column: Annotated[
        str | None, Option("Input", default="the only one", metavar="NAME")
    ] = None  # fmt: skip
    """For an embedding file: column of the vectors."""
    id_column: Annotated[
        str | None, Option(default="tile_id, id, unique_id or the like", metavar="NAME")
    ] = None  # fmt: skip
    """For an embedding file: column of the ids; row: number the rows."""
    attributes: Annotated[list[PathText], Option("Input", repeated=True)] = Field([])
    """Table with columns of tiles (key tile_id) or scenes (key scene): Parquet or CSV;
    repeatable."""
    quality: Annotated[list[PathText], Option("Input", repeated=True)] = Field([])
    """Quality rasters (Sentinel-2 SCL, Landsat QA_PIXEL, masks), paired with the images by
    name. For STAC: names of assets, or none; by default the assets with the usual names are
    used; repeatable."""
    quality_kind: Annotated[Kind, Option(default="by the file names")] = "auto"
    """Contents of the quality rasters: scl, qa_pixel, or mask (all values except 0 are bad)."""
    max_bad: Annotated[float, Option("Input")] = Field(0.2, ge=0, le=1)
    """Largest share of bad pixels (cloud, shadow, snow) in a tile; tiles with more are left
    out."""
    exclude: Annotated[list[PathText], Option("Input", repeated=True)] = Field([])
    """Areas that must not be selected: polygons (GeoJSON, GeoParquet) or a raster; repeatable."""
    max_excluded: float = Field(0.0, ge=0, le=1)
    """Largest share of a tile inside --exclude; tiles with more are left out."""
    preset: Annotated[Preset, Option("Method")] = "default"
    """Settings of the core-set paper, or of its released lists."""
    max_overlap: Annotated[
        float | None, Option("Method", default="0.5; 1 with the presets")
    ] = Field(None, ge=0, le=1)  # fmt: skip
    """Largest share of a tile that an earlier pick may cover; tiles with more are moved to the
    end of the ranking; 1: no limit."""
    no_overlap: Annotated[bool, Option("Method")] = False
    """Move tiles that overlap an earlier pick to the end of the ranking."""
    min_distance: Annotated[float | None, Option("Method", metavar="METRES")] = Field(None, gt=0)
    """Smallest distance between the centres of picks; nearer tiles are moved to the end of the
    ranking."""
    groups: Annotated[str | None, Option("Method", metavar="COLUMN|place")] = None
    """Select at most one tile of each value of a column; place: of the same ground on several
    dates."""
    quota: Annotated[
        Quotas,
        Option("Method", metavar="COLUMN=20%", repeated=True),
    ] = Field({})  # fmt: skip
    """Largest share (scene=20%) or number (scene=50) of picks of one value; repeatable."""
    strata: Annotated[str | None, Option("Method", metavar="COLUMN[=VALUE:SHARE,...]")] = None
    """Allocate the picks to the values of a column, scene, or class (of the mask): in proportion
    to the pool, equally (region=equal), or as given (region=north:50%,south:20%)."""
    start: Annotated[list[PathText], Option("Input", metavar="RUN|LIST", repeated=True)] = Field([])
    """Tiles that are already selected or labelled: runs, selections, lists of ids; repeatable."""
    options: Annotated[
        MethodOptions,
        Option("Method", name="option", metavar="METHOD.NAME=VALUE", repeated=True),
    ] = Field({})  # fmt: skip
    """Option of a method: fd.max_k=20; repeatable."""

    @classmethod
    def typed(cls, **given: Any) -> Self:
        """Make a job from options of the command line, on top of a preset."""
        job = cls.with_preset(given.pop("preset", "default"), **given)
        check_typed(job, given)
        return job

    @classmethod
    def with_preset(cls, preset: str = "default", **given: Any) -> Self:
        """Make a job from the settings of a preset; settings in `given` win.

        Raises:
            ParameterError: The preset is unknown, or a setting is invalid.
        """
        check_preset(preset)
        settings = dict(PRESET_SETTINGS[preset])
        if "tile" in given:  # the stride of a preset is for its own tile
            settings.pop("stride", None)
        return cls(preset=cast("Preset", preset), **{**settings, **given})

    def chosen_methods(self) -> list[str]:
        """Return the methods without duplicates; the default if no method or recipe is given."""
        default = DEFAULT if self.preset == "default" else OF_PRESETS[bool(self.masks)]
        return list(dict.fromkeys(self.methods or ([] if self.recipes else [default])))

    def _default_reason(self) -> str:
        """Return the reason for the default method; empty if a method or preset was given."""
        if not self._automatic or self.preset != "default":
            return ""
        builtin = self.model == "builtin" and embedding_paths(self.images) is None
        above, below, of = EVIDENCE["builtin" if builtin else "other"]
        return DEFAULT_REASON.format(method=DEFAULT, above=above, below=below, of=of)

    def check(self) -> Ready:
        """Return the budget, the methods with their options, and the source of the vectors."""
        methods = {name: get_method(name) for name in self.chosen_methods()}
        methods |= recipes_by_name(self.recipes)
        options = {n: m.options(self.preset, self.options.get(n)) for n, m in methods.items()}
        file = check_inputs(self, PRESET_SETTINGS[self.preset])
        _check_options(self, methods, ready_made=file is not None)
        self.rules()
        self.max_share()
        read_start(self.start)
        self.placement()
        budget = Budget.parse(self.budget)
        embeds = any("embeddings" in method.needs for method in methods.values())
        dense = any({"tokens", "cells"} & set(method.needs) for method in methods.values())
        if not (embeds or dense):
            refuse_model(self, PRESET_SETTINGS[self.preset])
        handle = self.handle() if (embeds or dense) and file is None else None
        chosen = {name: (methods[name], options[name]) for name in methods}
        return Ready(budget, chosen, handle, file, embeds, dense)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Pool, embeddings, rankings, selections, tables and pictures."""
        budget, methods, file = ready.budget, ready.methods, ready.file
        pool, pool_key = gathered_pool(self, file, run, progress)
        steps.check_labels(pool, [method for method, _ in methods.values()])
        steps.note_unlabelled(pool, methods)
        costs = costs_for(pool, budget.limits)
        start = read_start(self.start)
        ranker = self._ranker(pool, costs, start, progress)
        # Invalid columns and rules are rejected before anything is embedded.
        steps.check_columns(pool, [method for method, _ in methods.values()])
        for method, _ in methods.values():
            steps.check_rules(ranker.under(method), budget)
        write_start(run, start)
        embeddings, vectors = None, ""
        if ready.handle is not None and ready.embeds:
            embeddings, failed = embed_at(
                pool, ready.handle, self.placement(), run=run, batch_size=self.batch_size,
                on_error=self.on_error, progress=progress,
            )  # fmt: skip
            vectors = run.key(step_name(embeddings.spec.name))
            pool, pool_key = leave_out(run, pool, pool_key, failed)
        elif file is not None and ready.embeds:
            embeddings, vectors = read_vectors(file, pool, run)
        dense, pool, pool_key = self._dense(pool, pool_key, run, ready, progress)
        if pool.failed:
            costs = costs_for(pool, budget.limits)
            ranker = self._ranker(pool, costs, start, progress)
        ranker = ranker.seeing(embeddings, dense.tokens, dense.cells)
        steps.note_constant(ranker)
        shown = embeddings or dense.tokens
        about = {
            "fingerprint": digest_ids(pool.ids),
            "tiles": len(pool),
            "cost": {unit: float(cost.sum()) for unit, cost in costs.items()},
        }
        rankings, selections = {}, {}
        for name, (method, options) in methods.items():
            bound = ranker.under(method)
            keys = (pool_key, vectors, dense.key)
            ranking = steps.rank(run, bound, method, options, budget, keys=keys)
            parts = (name, ranking.meta, bound.bounds, str(budget))
            key = self._key(*keys, *parts)
            selections[name] = steps.select(
                run, pool, ranking, budget, name=name, about=about, key=key,
                spec=shown.spec if shown else None,
            )  # fmt: skip
            steps.warn(name, selections[name], ranking, bound)
            rankings[name] = ranking
        steps.remove_others(run, methods)
        stated = [(name, m.definition, options) for name, (m, options) in methods.items()]
        key = self._key(
            pool_key, vectors, dense.key, stated, ranker.bounds, str(budget), results.VERSION
        )
        changes = note_changes(run, pool, selections)
        kinds = {name: method for name, (method, _) in methods.items()}
        run.do(
            "tables", key, lambda: results.write_tables(run.path, pool, kinds, rankings, selections)
        )  # fmt: skip
        if file is None:
            run.do(
                "thumbs", key,
                lambda: draw_picks(
                    run.path, pool, rankings, selections, bands=self.bands, progress=progress
                ),
            )  # fmt: skip
        return {
            "pool": pool.describe(),
            "budget": str(budget),
            "default_method": next(iter(methods)) if self._automatic else None,
            "default_reason": self._default_reason(),
            "max_overlap": ranker.overlap,
            "start": ranker.given.size,
            **self._stated_rules(),
            "model": shown.spec.to_dict() if shown else None,
            **({"failed": dict(pool.failed)} if pool.failed else {}),
            "seed": self.seed,
            "preset": self.preset,
            **({"changes": changes} if changes else {}),
            "methods": {n: steps.facts(n, s, rankings[n], ranker) for n, s in selections.items()},
        }

    def _ranker(
        self, pool: Pool, costs: Mapping[str, NDArray[np.float64]], start: NDArray[np.str_],
        progress: ProgressFn | None,
    ) -> Ranker:  # fmt: skip
        ids = np.setdiff1d(start, list(pool.excluded))  # start tiles may also be excluded
        return Ranker(
            pool, None, self.seed, self.preset, progress, costs, self.max_share(),
            rules=self.rules(), picked=ids,
        )  # fmt: skip

    def _dense(
        self, pool: Pool, pool_key: str, run: Run, ready: Ready, progress: ProgressFn | None
    ) -> tuple[Dense, Pool, str]:
        if not ready.dense or ready.handle is None:
            return Dense(), pool, pool_key
        return prepared(
            pool, ready.handle, run, pool_key, place=self.placement(),
            batch_size=self.batch_size, on_error=self.on_error, progress=progress,
        )  # fmt: skip

    @property
    def _automatic(self) -> bool:
        """Whether neither methods nor recipes are given."""
        return self.methods is None and not self.recipes

    def rules(self) -> Rules:
        """Return the rules of the selection."""
        return Rules(
            min_distance=self.min_distance, groups=self.groups, quota=self.quota,
            strata=self.strata,
        )  # fmt: skip

    def _stated_rules(self) -> dict[str, Any]:
        rules = self.rules()
        if rules.plain:
            return {}
        return {name: getattr(self, name) for name in ("min_distance", "groups", "quota", "strata")}

    def max_share(self) -> float | None:
        """Return the share of a tile that an earlier pick may cover; None for the default.

        Raises:
            ParameterError: Both `no_overlap` and `max_overlap` are given.
        """
        if self.no_overlap and self.max_overlap is not None:
            raise SettingError(
                "no_overlap", "True together with max_overlap",
                "--no-overlap is --max-overlap 0.", "Leave one of them out.",
            )  # fmt: skip
        return 0.0 if self.no_overlap else self.max_overlap

    def _key(self, pool_key: str, vectors: str, dense: str, *parts: object) -> str:
        return digest([steps.VERSION, pool_key, vectors, dense, self.seed, *parts])


def _check_options(job: CurateJob, methods: dict[str, Method], *, ready_made: bool) -> None:
    unknown = sorted(set(job.options) - set(methods))
    if unknown:
        raise ParameterError(
            f"options for {unknown[0]!r}, which is not among the methods",
            f"Methods of this job: {', '.join(methods)}.",
            f"Add --method {unknown[0]}.",
        )
    by_column = [n for n, m in methods.items() if "attributes" in m.needs]
    columns = ready_made or stac_paths(job.images) is not None  # properties of the items
    if by_column and not (job.attributes or job.quality or columns):
        raise ParameterError(
            f"the method {by_column[0]} needs attributes, but none are given",
            "Attributes are columns of a table of tiles or scenes, or of an embedding file, or "
            "properties of STAC items.",
            "Give --attributes FILE.",
        )
    dense = [n for n, m in methods.items() if "tokens" in m.needs]
    if dense and ready_made:
        raise ParameterError(
            f"the method {dense[0]} on an embedding file",
            "It needs images and masks: it compares the features and labels of cells in a patch.",
            "Give the images and --masks FOLDER.",
        )
    by_mask = [n for n, m in methods.items() if {"counts", "cells"} & set(m.needs)]
    if by_mask and not job.masks:
        raise ParameterError(
            f"the method{'s' if len(by_mask) > 1 else ''} {', '.join(by_mask)} need"
            f"{'' if len(by_mask) > 1 else 's'} masks, but none are given",
            "Class counts are computed from masks.",
            f"Give --masks FOLDER, or use one of {', '.join(METHODS.ready(without='counts'))}.",
        )
