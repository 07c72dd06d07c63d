"""The curate job: from folders to a run directory with selections and a report.

Each step writes its outputs under a key made of everything it depends on, so another budget or
method reuses the embeddings, and a second run of the same job does no work.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from foveate.budget import Budget, affordable
from foveate.curate.methods import Method, get_method
from foveate.curate.methods.base import PRESETS, Preset
from foveate.curate.rank import known_key, rank
from foveate.curate.results import (
    load_ranking,
    save_ranking,
    save_selection,
    write_tables,
)
from foveate.curate.thumbs import write_thumbs
from foveate.errors import DataError, ParameterError
from foveate.files import digest
from foveate.models import bind, embed, load_model
from foveate.models.embedding import embedding_key
from foveate.pool import open_pool, scan
from foveate.pool.folder import need_paths
from foveate.pool.store import FILES, load_pool, save_pool
from foveate.registry import suggest
from foveate.run import Run
from foveate.select.forecast import forecast

if TYPE_CHECKING:
    from pathlib import Path

    from foveate.embeddings import Embeddings
    from foveate.models import ModelHandle
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.selection import Ranking, Selection

logger = logging.getLogger("foveate")

VERSION = 1  # raised when a step writes something else for the same inputs
FULL_DEPTH = 20_000  # greedy methods rank pools up to this size completely
SPEAK_UP = 10  # seconds from which a forecast is worth a line


class CurateJob(BaseModel):
    """Everything that a curate run depends on; stored in ``run.json``.

    Attributes:
        images: Folders or files.
        masks: Folders or files; empty without masks.
        classes: Classes file.
        extra: Further bands alongside.
        stack: File name endings that are bands of one scene.
        coordinates: Coordinate list to take the patches from.
        methods: Names of methods.
        options: Method -> option -> value.
        budget: As `Budget.parse` reads it.
        model: Model name for `load_model`.
        weights: Local weights file.
        bands: 1-based bands to embed; empty for all.
        scale: ``(low, high)`` of raw values, one for all bands or one each; empty for automatic.
        tile: Side of a tile in pixels.
        stride: Step in pixels; None for the tile's side.
        edge: "shift", "drop", "pad" or "clip".
        nodata: Overrides the files' nodata value.
        min_valid: Smallest valid share of a tile that stays.
        seed: Seed of everything random.
        preset: "default", "paper" or "released".
        workers: Processes that embed.
        batch_size: Tiles per call of the model.
        device: Device of the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: list[str] = Field(min_length=1)
    masks: list[str] = []
    classes: str | None = None
    extra: list[str] = []
    stack: list[str] = []
    coordinates: str | None = None
    methods: list[str] = Field(["fa-cb"], min_length=1)
    options: dict[str, dict[str, Any]] = {}
    budget: str = "10%"
    model: str = "builtin"
    weights: str | None = None
    bands: list[int] = []
    scale: list[tuple[float, float]] = []
    tile: int = 256
    stride: int | None = None
    edge: Literal["drop", "shift", "pad", "clip"] = "shift"
    nodata: float | None = None
    min_valid: float = Field(0.5, ge=0, le=1)
    seed: int = 0
    preset: Preset = "default"
    workers: int = Field(1, ge=1)
    batch_size: int = Field(32, ge=1)
    device: str = "auto"

    @classmethod
    def with_preset(cls, preset: str = "default", **given: Any) -> Self:
        """Make a job from the settings of a preset; what is given wins.

        Raises:
            ParameterError: No such preset.
        """
        if preset not in PRESET_SETTINGS:
            raise ParameterError(
                f"preset={preset!r}", f"Allowed: {', '.join(PRESETS)}.", suggest(preset, PRESETS)
            )
        settings = dict(PRESET_SETTINGS[preset])
        if "tile" in given:  # the stride of a preset is for its own tile
            settings.pop("stride", None)
        return cls(preset=cast("Preset", preset), **{**settings, **given})


# What a preset fixes besides the options of the methods; what the user states wins.
PRESET_SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    # Section IV-B: non-overlapping 256 x 256 patches, ResNet-18 with ImageNet weights. No patch
    # may overlap another, so what is left at the edges is dropped.
    "paper": {"tile": 256, "stride": 256, "edge": "drop", "model": "timm:resnet18?size=256"},
    # The public lists: stride 200, the last patch shifted to the edge.
    "released": {"tile": 256, "stride": 200, "edge": "shift", "model": "timm:resnet18?size=256"},
}


def run(
    job: CurateJob, out: str | Path, *, command: str = "", progress: ProgressFn | None = None
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input, before anything is written where
            that can be known; what was embedded before a broken file is kept.
    """
    methods = {name: get_method(name) for name in dict.fromkeys(job.methods)}
    options = {n: m.options(job.preset, job.options.get(n)) for n, m in methods.items()}
    _check_options(job, methods)
    budget = Budget.parse(job.budget)
    handle = None
    if any("embeddings" in m.needs for m in methods.values()):
        handle = load_model(
            job.model, weights=job.weights, bands=job.bands,
            scale=tuple(job.scale) or None, device=job.device,
        )  # fmt: skip
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        work = _Work(job, opened, budget, methods, options, progress)
        work.open_pool()
        if handle is not None:
            work.embed(handle)
        for name in methods:
            work.rank(name)
            work.select(name)
        work.show()
        opened.record["summary"] = work.summary()
        if opened.worked:
            opened.save()
    return opened


@dataclass
class _Work:
    """The job in progress: each step reads what the earlier ones have put here."""

    job: CurateJob
    run: Run
    budget: Budget
    methods: dict[str, Method]
    options: dict[str, dict[str, Any]]
    progress: ProgressFn | None
    pool: Pool = field(init=False)
    pool_key: str = ""
    embeddings: Embeddings | None = None
    embeddings_key: str = ""
    rankings: dict[str, Ranking] = field(default_factory=dict)
    selections: dict[str, Selection] = field(default_factory=dict)
    known: dict[str, Ranking] = field(default_factory=dict)

    def open_pool(self) -> None:
        """Open the files; measure them unless the run has done so."""
        job = self.job
        headers = open_pool(
            job.images, masks=job.masks or None, classes=job.classes,
            extra=[[e] for e in job.extra], stack=job.stack, tile=job.tile, stride=job.stride,
            edge=job.edge, coordinates=job.coordinates, nodata=job.nodata,
            bands=job.bands or None, measure=False,
        )  # fmt: skip
        prints = [
            [s.scene_id, s.source.info.fingerprint, s.mask.info.fingerprint if s.mask else None]
            for s in headers.scenes
        ]
        legend = headers.legend.to_dict() if headers.legend else None
        cut = [digest(headers.ids.tolist()), job.nodata, job.bands, job.min_valid]
        self.pool_key = digest([VERSION, prints, legend, cut])
        if self.run.done("pool", self.pool_key, *FILES):
            self.pool = load_pool(self.run.path, headers)
        else:
            self.run.do("pool", self.pool_key, lambda: self._measure(headers), *FILES)
        self.budget.resolve(self.pool.costs())

    def _measure(self, headers: Pool) -> None:
        self.pool = scan(
            headers, bands=self.job.bands or None, min_valid=self.job.min_valid,
            progress=self.progress,
        )  # fmt: skip
        save_pool(self.run.path, self.pool)

    def embed(self, handle: ModelHandle) -> None:
        """Embed the pool, or map the embeddings that are there."""
        job = self.job
        model = bind(handle, self.pool)
        self.embeddings_key = embedding_key(self.pool, model)

        def work() -> None:
            self.embeddings = embed(
                self.pool, handle if job.workers > 1 else model, run=self.run.path,
                batch_size=job.batch_size, workers=job.workers, progress=self.progress,
            )  # fmt: skip

        if not self.run.do(f"embed {model.spec.name}", self.embeddings_key, work):
            work()  # every shard is there: this maps the matrix

    def rank(self, name: str) -> None:
        """Rank by one method."""
        method, options, n = self.methods[name], dict(self.options[name]), len(self.pool)
        if method.greedy and options.get("depth") is None and n > FULL_DEPTH:
            options["depth"] = self._depth()
        file = f"rankings/{name}.parquet"
        # Methods of labels alone do not depend on the model: another one leaves them as they are.
        vectors = self.embeddings_key if "embeddings" in method.needs else ""
        key = digest(
            [VERSION, self.pool_key, vectors, name, options, self.job.seed, self.job.preset]
        )

        def work() -> None:
            expected = forecast(
                name, n=n, d=self.embeddings.spec.dim if self.embeddings else 0,
                c=len(self.pool.legend or ()), k=options.get("depth") or n,
            )  # fmt: skip
            parts = (known_key(get_method(p), options[p], self.job.seed) for p in method.parts)
            ready = bool(method.parts) and all(key in self.known for key in parts)
            if expected.seconds > SPEAK_UP and not ready:
                logger.info("%s will take %s", name, expected)
            ranking = rank(
                self.pool, method, embeddings=self.embeddings, seed=self.job.seed,
                preset=self.job.preset, known=self.known, progress=self.progress, **options,
            )  # fmt: skip
            save_ranking(self.run.path / file, ranking)

        self.run.do(f"rank {name}", key, work, file)
        # Read back also when it was just made: a run that goes on gets the very same object.
        self.rankings[name] = load_ranking(self.run.path / file, self.pool)
        self.known[known_key(method, options, self.job.seed)] = self.rankings[name]

    def select(self, name: str) -> None:
        """Cut the ranking at the budget."""
        selection = self.rankings[name].at(self.budget)
        self.selections[name] = selection
        file = f"selection/{name}.parquet"
        spec = self.embeddings.spec if self.embeddings else None
        self.run.do(
            f"select {name}",
            self._key(name, self.rankings[name].meta, str(self.budget)),
            lambda: save_selection(self.run.path / file, self.pool, selection, self.budget, spec),
            file,
        )
        cut = self.rankings[name].meta.get("m")
        if cut is not None and len(selection) <= cut:
            logger.warning(
                "%s takes its first %d tiles from FD: with %d tiles it is FD. Lower m.",
                name, cut, len(selection),
            )  # fmt: skip

    def show(self) -> None:
        """Write the tables and pictures of the report."""
        path, key = self.run.path, self._key(self.options, str(self.budget))
        self.run.do(
            "tables", key,
            lambda: write_tables(path, self.pool, self.methods, self.rankings, self.selections),
            "tables/scores.parquet",
        )  # fmt: skip
        self.run.do(
            "thumbs", key,
            lambda: write_thumbs(
                path, self.pool, self.rankings, self.selections,
                bands=self.job.bands, progress=self.progress,
            ),
            "tables/thumbs.parquet",
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return what came out, JSON-ready."""
        return {
            "pool": self.pool.describe(),
            "budget": str(self.budget),
            "model": self.embeddings.spec.to_dict() if self.embeddings else None,
            "seed": self.job.seed,
            "preset": self.job.preset,
            "methods": {
                name: {
                    "selected": len(s),
                    "spent": dict(s.spent),
                    "unspent": dict(s.unspent),
                    "report": {k: v for k, v in s.meta.items() if k not in ("options", "method")},
                    "options": s.meta.get("options", {}),
                    "file": f"selection/{name}.parquet",
                }
                for name, s in self.selections.items()
            },
        }

    def _key(self, *parts: object) -> str:
        return digest([VERSION, self.pool_key, self.embeddings_key, self.job.seed, *parts])

    def _depth(self) -> int:
        """How many tiles the budget can buy at most: as many as fit of the cheapest."""
        costs = self.pool.costs()
        by_price = {unit: np.sort(costs[unit]) for unit in self.budget.limits}
        return affordable(np.arange(len(self.pool)), by_price, self.budget.resolve(costs))


def _check_options(job: CurateJob, methods: dict[str, Method]) -> None:
    need_paths(job.images, "image")
    need_paths(job.masks, "mask")
    stray = sorted(set(job.options) - set(methods))
    if stray:
        raise DataError(
            f"options for {stray[0]!r}, which is not among the methods",
            f"Methods of this job: {', '.join(methods)}.",
            f"Add --method {stray[0]}.",
        )
    needy = [n for n, m in methods.items() if "counts" in m.needs]
    if needy and not job.masks:
        raise DataError(
            f"the method{'s' if len(needy) > 1 else ''} {', '.join(needy)} need"
            f"{'' if len(needy) > 1 else 's'} masks, and none are given",
            "Class counts come from masks.",
            "Give --masks FOLDER, or use fd, fa, kcenter or random.",
        )
