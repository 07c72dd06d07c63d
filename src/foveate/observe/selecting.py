"""Selection: from ranked overviews to the tiles that are worth seeing in high resolution.

LR tokens and the ranking are steps of the run: another budget or threshold costs a cut.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Budget
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids, fingerprint
from foveate.observe import selections as results
from foveate.observe.calibration import drift, mocr, obr, over, threshold_for, two_scale_price
from foveate.observe.observer import RECORD, WEIGHTS
from foveate.observe.options import AUTO
from foveate.observe.overviews import (
    OverviewTiles,
    cautions,
    cut,
    is_pairs,
    overview_tiles,
    resolutions,
)
from foveate.observe.pairs import open_pairs
from foveate.observe.policies import SIMPLE
from foveate.observe.ranking import score_tiles
from foveate.pool.find import contents
from foveate.pool.step import measure, opened_pool
from foveate.pool.store import FILES, save_pool
from foveate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.observe.calibration import Calibration
    from foveate.observe.jobs import SelectJob
    from foveate.observe.observer import Observer, ObserverConfig
    from foveate.observe.ranking import TileScores
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run


def areas(pool: Pool) -> NDArray[np.float64]:
    """Return (n,) valid ground of each tile: square metres, or pixels without a georeference."""
    return pool.costs()["area" if pool.georeferenced else "pixels"]


def describe_selection(
    target: OverviewTiles, record: ObserverConfig, selection: Selection, *, budget: Budget | None,
    threshold: float | None, expected: float | None, lr_cost: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Return shares and costs of a selection, JSON-ready.

    Args:
        target: Tiles and overviews.
        record: The observer's.
        selection: What was chosen.
        budget: Under which budget, or None.
        threshold: Calibrated score above which tiles were chosen, or None.
        expected: Share of the area that a threshold should choose, or None.
        lr_cost: Price of LR per area, as a share of that of HR.
    """
    area = areas(target.pool)
    chosen = area[selection.rows]
    share = obr(chosen, area)
    low, high, source = resolutions(target, record)
    gsd = None if target.gsd is None else [min(target.gsd), max(target.gsd)]
    by_scene = _by_scene(target, selection, area)
    return {
        "obr": share,
        "mocr": _mocr(chosen, area, low, high, lr_cost),
        "tiles": len(target.pool),
        "chosen": len(selection),
        "scenes": len(target.overviews),
        "threshold": threshold,
        "expected_obr": expected,
        "drift": None if expected is None else drift(share, expected),
        "per_scene": {
            "min": float(by_scene.min()),
            "median": float(np.median(by_scene)),
            "max": float(by_scene.max()),
        },
        "area": {
            "unit": "m2" if target.pool.georeferenced else "pixels",
            "chosen": float(chosen.sum()),
            "all": float(area.sum()),
        },
        "budget": None if budget is None else str(budget),
        "unspent": dict(selection.unspent),
        "supervision": record.supervision,
        "trained_obr": record.obr,
        "tile": {
            "pixels": float(np.median(target.sides)),
            "metres": None
            if target.gsd is None
            else float(np.median(np.multiply(target.sides, target.gsd))),
        },
        "gsd": gsd,
        "resolutions": {"lr": low, "hr": high, "from": source, "lr_cost": lr_cost},
        "lr_suffices": [
            concept.name
            for concept in record.concepts
            if gsd is not None and concept.min_gsd is not None and gsd[1] <= concept.min_gsd
        ],
        "pairs": target.pairs is not None,
        "notes": _notes(target, record, low, source),
    }


def training_evidence(record: ObserverConfig, policy: str, asked: str = "") -> dict[str, Any]:
    """Return what the training found of the policy on held-out scenes, JSON-ready.

    Args:
        record: The observer's.
        policy: That the tiles were chosen by.
        asked: What was asked for: "auto" may have taken another policy than the trained one.

    Returns:
        "known": whether the training has compared this policy with random tiles. If so "policy":
        the one that all is said of, that which "auto" has not taken where it fell back to another
        one, and "fallback": that other one, or ""; "measure"
        and "shares" (of the curve whose mean height is compared), "split", "scenes", "groups",
        "random" and "value" (the two heights), "difference" (mean, low, high; or None), "p",
        "verdict" ("better", "worse", "tied", "open", or None) and "best", of the policies that
        are better than random tiles the one of the highest value, "" for none.
    """
    held_out, fallback = record.held_out, ""
    if held_out is not None and asked == AUTO and policy in SIMPLE:
        policy, fallback = held_out["against_random"]["trained"], policy
    compared = held_out["against_random"]["policies"] if held_out is not None else {}
    if held_out is None or policy not in compared:
        return {"known": False}
    random, own = held_out["against_random"]["random"], compared[policy]
    values = {n: one["area"] for n, one in compared.items() if one["verdict"] == "better"}
    return {
        "known": True,
        "policy": policy,
        "fallback": fallback,
        **{key: held_out[key] for key in ("measure", "shares", "split", "scenes")},
        "groups": held_out["against_random"]["groups"],
        "random": random,
        "value": own["area"],
        **{key: own[key] for key in ("difference", "p", "verdict")},
        "best": max(values, key=lambda name: values[name], default=""),
    }


def _notes(target: OverviewTiles, record: ObserverConfig, ratio: float, source: str) -> list[str]:
    notes = cautions(target, record)
    if source == "assumed":
        notes.append(f"An HR pixel is taken to have 1/{ratio:g} of the side of an LR pixel.")
    if not target.pool.georeferenced:
        notes.append(
            f"Areas are counted in pixels, and there is no tiles.geojson: {target.pool.unplaced}."
        )
    return notes


def _by_scene(
    target: OverviewTiles, selection: Selection, area: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of the area of each scene with tiles that was chosen."""
    number = target.place[:, 0]
    whole = np.bincount(number, area)
    got = np.bincount(number, area * selection.mask(), len(whole))
    return got[whole > 0] / whole[whole > 0]


def _mocr(
    chosen: NDArray[np.float64], area: NDArray[np.float64], low: float, high: float, lr_cost: float
) -> float:
    """Return the MOCR of all in LR and what was chosen in HR on top (Eq. 11)."""
    return mocr(
        np.append(chosen, area.sum()), np.append(np.full(len(chosen), high), low),
        two_scale_price(high, low, lr_cost=lr_cost), area, finest=high,
    )  # fmt: skip


VERSION = 1  # raised when the same job gives another result


def open_overviews(job: SelectJob, record: ObserverConfig) -> OverviewTiles:
    """Open overviews or pairs, headers only.

    Args:
        job: Which imagery.
        record: Of the observer, which says how large a tile is.

    Raises:
        ParameterError: Pairs with other paths, or with options that say how imagery is read.
    """
    folders = [path for path in job.images if is_pairs(path)]
    if not folders:
        return overview_tiles(cut(opened_pool(job, split=(1, 1)), record, job.tile))
    if len(job.images) > 1:
        raise ParameterError(
            f"{len(job.images)} paths, of which {folders[0]!r} is a run",
            "Pairs are given alone, overviews as files or folders of them.",
            "Give the folder of the pairs, or its folder 'overviews'.",
        )
    fields = ("nodata", "extra", "stack", "min_valid", "skip_empty", "tile")
    stated = [n for n in fields if getattr(job, n) != type(job).model_fields[n].get_default()]
    if stated:
        raise ParameterError(
            f"--{stated[0].replace('_', '-')} with pairs",
            "How pairs are read was said when they were prepared.",
            "Leave it out, or prepare them again.",
        )
    return overview_tiles(open_pairs(folders[0]))


def check_units(budget: Budget, pool: Pool) -> None:
    """Refuse a budget that no pool of these headers can have.

    How much of a tile is valid is not known yet: the cost of its area is checked later.
    """
    costs = pool.costs()
    for unit, amount in budget.limits.items():
        if unit == "tiles" or unit not in costs:
            Budget({unit: amount}).resolve(costs)


def measured(
    headers: OverviewTiles, job: SelectJob, run: Run, progress: ProgressFn | None
) -> tuple[OverviewTiles, str]:
    """Measure what is valid of overviews (pairs are measured), and return a hash of the pool."""
    if headers.pairs is None:
        pool, key = measure(headers.pool, job, run, progress)
        return replace(headers, pool=pool), key
    pool = headers.pool
    assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
    shares = digest(pool.tiles.valid_share)
    prints = [s.source.info.fingerprint for s in (*pool.scenes, *headers.overviews)]
    key = digest([VERSION, digest_ids(pool.ids), shares, prints])

    def work() -> tuple[str, ...]:
        save_pool(run.path, pool)
        return FILES

    run.do("pool", key, work)
    return headers, key


def score_step(
    run: Run, target: OverviewTiles, observer: Observer, pool_key: str, *, policy: str,
    covariate: str | None, bands: Sequence[int], seed: int, device: str,
    progress: ProgressFn | None,
) -> tuple[TileScores, str]:  # fmt: skip
    """Rank by a policy unless the run has done so; return the scores and the key of the step.

    See `score_tiles` for the options.
    """
    file = f"rankings/{policy}.parquet"
    rasters = contents([covariate], "covariate") if covariate else []
    files = [fingerprint(Path(observer.folder) / name) for name in (RECORD, WEIGHTS)]
    key = digest([VERSION, pool_key, files, policy, covariate, rasters, bands, seed])

    def work() -> list[str]:
        found = score_tiles(
            target, observer, policy=policy, covariate=covariate, bands=bands, seed=seed,
            device=device, run=run, progress=progress,
        )  # fmt: skip
        results.save_scores(run.path / file, found)
        return [file]

    run.do(f"rank {policy}", key, work)
    return results.load_scores(run.path / file, target.pool), key


def cut_ranking(
    found: TileScores, pool: Pool, calibration: Calibration, *, budget: Budget | None,
    obr: float | None, threshold: float | None, raw: bool = False,
) -> tuple[Selection, float | None, float | None]:  # fmt: skip
    """Choose tiles by a budget, an observed share or a threshold.

    Args:
        found: How the tiles were ranked.
        pool: Their pool.
        calibration: Of the observer.
        budget: How much may be chosen, or None.
        obr: Share of the area, or None.
        threshold: Of the scores, or None.
        raw: Whether the threshold is one of raw scores, scaled over the validation tiles, as in
            the paper; then no share is expected.

    Returns:
        The selection, the score above which tiles were chosen, and the share of the area that was
        expected; None with a budget.
    """
    ranking = found.ranking
    if budget is not None:
        return ranking.at(budget), None, None
    if obr is not None:
        # On raw scores: calibrated ones end at 1, and what lies above would be one tie.
        tau = threshold_for(obr, found.raw, costs=areas(pool))
        chosen = over(found.raw, tau)[ranking.rows]
        threshold, expected = float(calibration([tau])[0]), obr
    else:
        threshold = float(threshold or 0.0)
        scores = calibration.scaled(found.raw)[ranking.rows] if raw else ranking.score
        chosen, expected = over(scores, threshold), None if raw else 1 - threshold
    rows = ranking.rows[chosen]
    spent = {unit: float(cost[rows].sum()) for unit, cost in pool.costs().items()}
    mode = "threshold" if obr is None else "obr"
    meta: dict[str, Any] = {**ranking.meta, "mode": mode, "threshold": threshold}
    selection = Selection(
        rows, ranking.n, ranking.score[chosen], None, ranking.ids, spent, {}, nested=True,
        meta=meta,
    )  # fmt: skip
    return selection, threshold, expected


def save_results(
    run: Run, target: OverviewTiles, scores: TileScores, selection: Selection, *,
    budget: Budget | None, spec: EncoderSpec, bands: Sequence[int], key: str, maps_key: str,
) -> None:  # fmt: skip
    """Write a selection with its tables, maps and pictures; those of other scenes are removed.

    Args:
        run: Open for writing.
        target: Tiles and overviews.
        scores: How they were ranked.
        selection: What was chosen.
        budget: Under which budget, or None.
        spec: Of the LR encoder.
        bands: Of the pictures.
        key: Hash of everything that the selection depends on.
        maps_key: The same of the ranking.
    """
    pool, path = target.pool, run.path
    about = {
        "fingerprint": digest_ids(pool.ids),
        "tiles": len(pool),
        "cost": {unit: float(cost.sum()) for unit, cost in pool.costs().items()},
    }
    run.do(
        "select", key,
        lambda: results.save_selected(
            path, target, scores, selection, budget=budget, about=about, spec=spec
        ),
    )  # fmt: skip
    run.do("maps", maps_key, lambda: results.save_maps(path, target, scores))
    prints = [[s.scene_id, s.source.info.fingerprint] for s in target.overviews]
    run.do(
        "thumbs", digest([VERSION, prints, list(bands)]),
        lambda: results.save_thumbs(path, target, bands),
    )  # fmt: skip
    results.prune(path, target)
