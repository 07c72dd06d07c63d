"""The curate job: from folders to a run directory with selections and a report.

Each step writes its outputs under a key made of everything it depends on, so another budget or
method reuses the embeddings, and a second run of the same job does no work.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from foveate.budget import Budget, affordable
from foveate.curate.methods import Method, get_method
from foveate.curate.methods.base import Preset
from foveate.curate.rank import rank
from foveate.curate.results import (
    load_ranking,
    save_ranking,
    save_selection,
    write_tables,
)
from foveate.curate.thumbs import write_thumbs
from foveate.errors import DataError
from foveate.files import digest
from foveate.models import bind, embed, load_model
from foveate.models.embed import embedding_key
from foveate.pool import open_pool, scan
from foveate.pool.store import FILES, load_pool, save_pool
from foveate.run import Run
from foveate.select.forecast import forecast

if TYPE_CHECKING:
    from foveate.embeddings import Embeddings
    from foveate.models import ModelHandle
    from foveate.models.base import Embeds
    from foveate.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.selection import Ranking, Selection

logger = logging.getLogger("foveate")

VERSION = 1  # raised when a step writes something else for the same inputs
FULL_DEPTH = 20_000  # greedy methods rank pools up to this size completely


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
        pool = _pool(job, opened, progress)
        budget.resolve(pool.costs())
        model = None if handle is None else bind(handle, pool)
        emb = None
        if handle is not None and model is not None:
            emb = _embed(job, opened, pool, handle, model, progress)
        pool_key = opened.record["steps"]["pool"]["key"]
        emb_key = "" if model is None else embedding_key(pool, model)
        rankings: dict[str, Ranking] = {}
        selections: dict[str, Selection] = {}
        for name, method in methods.items():
            key = digest([VERSION, pool_key, emb_key, name, options[name], job.seed])
            rankings[name] = _rank(
                opened, pool, method, emb, options[name], job, budget, key, progress
            )
            selections[name] = _select(opened, pool, rankings[name], budget, model, key)
        key = digest([VERSION, pool_key, emb_key, list(methods), options, job.seed, str(budget)])
        opened.do(
            "tables",
            key,
            lambda: write_tables(opened.path, pool, methods, rankings, selections),
            "tables/scores.parquet",
        )
        opened.do(
            "thumbs",
            digest([key, job.bands]),
            lambda: write_thumbs(opened.path, pool, selections, rankings, job.bands, progress),
            "tables/thumbs.parquet",
        )
        opened.record["summary"] = _summary(job, pool, budget, model, selections)
        if opened.worked:
            opened.save()
    return opened


def _pool(job: CurateJob, opened: Run, progress: ProgressFn | None) -> Pool:
    """Open the files; measure them unless the run has done so."""
    arguments: dict[str, Any] = {
        "masks": job.masks or None, "classes": job.classes, "extra": [[e] for e in job.extra],
        "stack": job.stack, "tile": job.tile, "stride": job.stride, "edge": job.edge,
        "coordinates": job.coordinates, "nodata": job.nodata, "bands": job.bands or None,
        "min_valid": job.min_valid,
    }  # fmt: skip
    headers = open_pool(job.images, measure=False, **arguments)
    prints = [
        [s.scene_id, s.source.info.fingerprint, s.mask.info.fingerprint if s.mask else None]
        for s in headers.scenes
    ]
    legend = headers.legend.to_dict() if headers.legend else None
    cut = [job.tile, job.stride, job.edge, job.nodata, job.bands, job.min_valid, job.stack]
    key = digest([VERSION, prints, legend, cut, digest(headers.ids.tolist())])
    if opened.done("pool", key, *FILES):
        return load_pool(opened.path, headers)
    pool = scan(headers, bands=job.bands or None, min_valid=job.min_valid, progress=progress)
    opened.do("pool", key, lambda: save_pool(opened.path, pool), *FILES)
    return pool


def _embed(
    job: CurateJob, opened: Run, pool: Pool, handle: ModelHandle, model: Embeds,
    progress: ProgressFn | None,
) -> Embeddings:  # fmt: skip
    found: list[Embeddings] = []
    key = embedding_key(pool, model)

    def work() -> None:
        found.append(
            embed(
                pool, handle if job.workers > 1 else model, run=opened.path,
                batch_size=job.batch_size, workers=job.workers, progress=progress,
            )
        )  # fmt: skip

    if not opened.do(f"embed {model.spec.name}", key, work):
        work()  # all shards are there: this maps the matrix
    return found[0]


def _rank(
    opened: Run, pool: Pool, method: Method, emb: Embeddings | None, options: dict[str, Any],
    job: CurateJob, budget: Budget, key: str, progress: ProgressFn | None,
) -> Ranking:  # fmt: skip
    depth = None
    if method.greedy and options.get("depth") is None and len(pool) > FULL_DEPTH:
        depth = _depth(budget, pool)
    given = options if depth is None else {**options, "depth": depth}
    file = f"rankings/{method.name}.parquet"
    key = digest([key, depth])

    def work() -> None:
        expected = forecast(
            method.name,
            n=len(pool),
            d=0 if emb is None else emb.spec.dim,
            c=len(pool.legend) if pool.legend else 0,
            k=len(pool) if depth is None else depth,
        )
        if expected.seconds > 5:
            logger.info("%s: %s", method.name, expected)
        ranking = rank(
            pool, method, embeddings=emb, seed=job.seed, preset=job.preset, progress=progress,
            **given,
        )  # fmt: skip
        save_ranking(opened.path / file, ranking)

    opened.do(f"rank {method.name}", key, work, file)
    return load_ranking(opened.path / file, pool)


def _select(
    opened: Run, pool: Pool, ranking: Ranking, budget: Budget, model: Embeds | None, key: str
) -> Selection:
    selection = ranking.at(budget)
    name = ranking.meta["method"]
    file = f"selection/{name}.parquet"
    spec = model.spec if model is not None else None
    opened.do(
        f"select {name}",
        digest([key, str(budget)]),
        lambda: save_selection(opened.path / file, pool, selection, budget, spec, key),
        file,
    )
    return selection


def _depth(budget: Budget, pool: Pool) -> int:
    """How many tiles the budget can buy at most: as many as fit of the cheapest."""
    costs = pool.costs()
    by_price = {unit: np.sort(costs[unit]) for unit in budget.limits}
    return affordable(np.arange(len(pool)), by_price, budget.resolve(costs))


def _check_options(job: CurateJob, methods: dict[str, Method]) -> None:
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


def _summary(
    job: CurateJob, pool: Pool, budget: Budget, model: Embeds | None,
    selections: dict[str, Selection],
) -> dict[str, Any]:  # fmt: skip
    return {
        "pool": pool.describe(),
        "budget": str(budget),
        "model": model.spec.to_dict() if model is not None else None,
        "seed": job.seed,
        "preset": job.preset,
        "methods": {
            name: {
                "selected": len(s),
                "spent": dict(s.spent),
                "unspent": dict(s.unspent),
                "report": {k: v for k, v in s.meta.items() if k not in ("options", "method")},
                "options": s.meta.get("options", {}),
                "file": f"selection/{name}.parquet",
            }
            for name, s in selections.items()
        },
    }
