"""The curate job: from folders to a run directory with selections and a report.

Each step writes its outputs under a key made of everything it depends on, so another budget or
method reuses the embeddings, and a second run of the same job does no work.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foveate.budget import Budget, affordable
from foveate.curate.methods import Method, get_method
from foveate.curate.methods.base import PRESETS, Preset
from foveate.curate.rank import Ranker
from foveate.curate.results import (
    load_ranking,
    save_ranking,
    save_selection,
    write_tables,
)
from foveate.curate.thumbs import write_thumbs
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids
from foveate.models import embed, load_model
from foveate.pool import open_pool, scan
from foveate.pool.folder import need_paths
from foveate.pool.store import FILES, load_pool, save_pool
from foveate.registry import suggest
from foveate.run import Run
from foveate.run.shards import step_name
from foveate.select.forecast import forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.embeddings import Embeddings
    from foveate.models import ModelHandle
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.selection import Ranking, Selection

logger = logging.getLogger("foveate")

VERSION = 2  # raised when a step writes something else for the same inputs
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

    Raises:
        ParameterError: No such setting, or a value of another type or out of range.
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

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise _refused(error) from error

    @classmethod
    def with_preset(cls, preset: str = "default", **given: Any) -> Self:
        """Make a job from the settings of a preset; what is given wins.

        Raises:
            ParameterError: No such preset, or a setting that cannot be.
        """
        if preset not in PRESET_SETTINGS:
            raise ParameterError(
                f"preset={preset!r}", f"Allowed: {', '.join(PRESETS)}.", suggest(preset, PRESETS)
            )
        settings = dict(PRESET_SETTINGS[preset])
        if "tile" in given:  # the stride of a preset is for its own tile
            settings.pop("stride", None)
        return cls(preset=cast("Preset", preset), **{**settings, **given})


def _refused(error: ValidationError) -> ParameterError:
    """Say which setting was refused and why."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    allowed, hint = f"{first['msg']}.", ""
    if first["type"] == "extra_forbidden":
        allowed = "A job has no such setting."
        hint = suggest(name, CurateJob.model_fields)
    elif first["type"] == "missing":
        return ParameterError(f"a job without {name!r}", "This setting has no default.")
    return ParameterError(f"{name}={first['input']!r}", allowed, hint)


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
    job: CurateJob,
    out: str | Path,
    *,
    command: str = "",
    report: Callable[[Path], Path] | None = None,
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with.
        command: The command that repeats the job, for the record.
        report: Draws a page of the run directory into it and returns the file: `write_report`.
            Called at the end, still under the lock, if the page does not show the run as it is.
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
        work.ready()
        for name in methods:
            work.rank(name)
            work.select(name)
        work.show()
        opened.describe(summary=work.summary())
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
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
    costs: Mapping[str, NDArray[np.float64]] = field(init=False)
    ranker: Ranker = field(init=False)
    about: dict[str, Any] = field(init=False)
    pool_key: str = ""
    embeddings: Embeddings | None = None
    embeddings_key: str = ""
    rankings: dict[str, Ranking] = field(default_factory=dict)
    selections: dict[str, Selection] = field(default_factory=dict)

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
        cut = [digest_ids(headers.ids), job.nodata, job.bands, job.min_valid]
        self.pool_key = digest([VERSION, prints, legend, cut])
        if not self.run.do("pool", self.pool_key, lambda: self._measure(headers)):
            self.pool = load_pool(self.run.path, headers)
        self.costs = self.pool.costs()
        self.budget.resolve(self.costs)

    def _measure(self, headers: Pool) -> tuple[str, ...]:
        self.pool = scan(
            headers, bands=self.job.bands or None, min_valid=self.job.min_valid,
            progress=self.progress,
        )  # fmt: skip
        save_pool(self.run.path, self.pool)
        return FILES

    def embed(self, handle: ModelHandle) -> None:
        """Embed the pool, or map the embeddings that are there."""
        self.embeddings = embed(
            self.pool, handle, run=self.run, batch_size=self.job.batch_size,
            workers=self.job.workers, progress=self.progress,
        )  # fmt: skip
        self.embeddings_key = self.run.key(step_name(self.embeddings.spec.name))

    def ready(self) -> None:
        """Gather what all methods use: of ten million tiles, hashes and areas take a while."""
        self.ranker = Ranker(
            self.pool, self.embeddings, self.job.seed, self.job.preset, self.progress, self.costs
        )
        self.about = {
            "fingerprint": digest_ids(self.pool.ids),
            "tiles": len(self.pool),
            "cost": {unit: float(cost.sum()) for unit, cost in self.costs.items()},
        }

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

        def work() -> list[str]:
            expected = forecast(
                name, n=n, d=self.embeddings.spec.dim if self.embeddings else 0,
                c=len(self.pool.legend or ()), k=options.get("depth") or n,
            )  # fmt: skip
            ready = method.parts and all(self.ranker.knows(p, options[p]) for p in method.parts)
            if expected.seconds > SPEAK_UP and not ready:
                logger.info("%s will take %s", name, expected)
            save_ranking(self.run.path / file, self.ranker.rank(method, **options))
            return [file]

        self.run.do(f"rank {name}", key, work)
        # Read back also when it was just made: a run that goes on gets the very same object.
        self.rankings[name] = load_ranking(self.run.path / file, self.pool, self.costs)
        self.ranker.keep(method, options, self.rankings[name])

    def select(self, name: str) -> None:
        """Cut the ranking at the budget."""
        selection = self.rankings[name].at(self.budget)
        self.selections[name] = selection
        file = f"selection/{name}.parquet"
        spec = self.embeddings.spec if self.embeddings else None

        def work() -> list[str]:
            save_selection(
                self.run.path / file,
                self.pool,
                selection,
                self.budget,
                about=self.about,
                spec=spec,
            )
            return [file]

        key = self._key(name, self.rankings[name].meta, str(self.budget))
        self.run.do(f"select {name}", key, work)
        cut = self.rankings[name].meta.get("m")
        if cut is not None and len(selection) <= cut:
            logger.warning(
                "%s takes its first %d tiles from FD: with %d tiles it is FD. Lower m.",
                name, cut, len(selection),
            )  # fmt: skip

    def show(self) -> None:
        """Write the tables and pictures of the report."""
        # Pairs, as an object has no order in a digest: tables and report keep that of the methods.
        path, key = self.run.path, self._key(list(self.options.items()), str(self.budget))
        self.run.do(
            "tables", key,
            lambda: write_tables(path, self.pool, self.methods, self.rankings, self.selections),
        )  # fmt: skip
        self.run.do(
            "thumbs", key,
            lambda: write_thumbs(
                path, self.pool, self.rankings, self.selections,
                bands=self.job.bands, progress=self.progress,
            ),
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
        by_price = {unit: np.sort(self.costs[unit]) for unit in self.budget.limits}
        return affordable(np.arange(len(self.pool)), by_price, self.budget.resolve(self.costs))


def _check_options(job: CurateJob, methods: dict[str, Method]) -> None:
    need_paths(job.images, "image")
    need_paths(job.masks, "mask")
    stray = sorted(set(job.options) - set(methods))
    if stray:
        raise ParameterError(
            f"options for {stray[0]!r}, which is not among the methods",
            f"Methods of this job: {', '.join(methods)}.",
            f"Add --method {stray[0]}.",
        )
    needy = [n for n, m in methods.items() if "counts" in m.needs]
    if needy and not job.masks:
        raise ParameterError(
            f"the method{'s' if len(needy) > 1 else ''} {', '.join(needy)} need"
            f"{'' if len(needy) > 1 else 's'} masks, and none are given",
            "Class counts come from masks.",
            "Give --masks FOLDER, or use fd, fa, kcenter or random.",
        )
