"""Steps of the select job: rank the tiles of overviews, and cut the ranking.

LR tokens and the ranking are steps of the run, so another budget or threshold reuses them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.budget import Budget
from foveate.errors import ParameterError
from foveate.files import digest, digest_ids, fingerprint
from foveate.observe.data.pairs import open_pairs
from foveate.observe.observer import WEIGHTS
from foveate.observe.observer_config import RECORD
from foveate.observe.options import AUTO
from foveate.observe.scoring.calibration import (
    drift,
    mocr,
    obr,
    over,
    threshold_for,
    two_scale_price,
)
from foveate.observe.scoring.policies import SIMPLE
from foveate.observe.selection import selections as results
from foveate.observe.selection.overviews import (
    OverviewTiles,
    cautions,
    cut,
    is_pairs,
    overview_tiles,
    resolutions,
)
from foveate.observe.selection.ranking import score_tiles
from foveate.observe.totals.amounts import ground
from foveate.pool.find import contents
from foveate.pool.step import measure, opened_pool
from foveate.pool.store import FILES, save_pool
from foveate.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.embeddings import EncoderSpec
    from foveate.observe.jobs import SelectJob
    from foveate.observe.observer import Observer
    from foveate.observe.observer_config import ObserverConfig
    from foveate.observe.scoring.calibration import Calibration
    from foveate.observe.selection.ranking import TileScores
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run


def describe_selection(
    target: OverviewTiles, record: ObserverConfig, selection: Selection, *,
    notes: list[str], budget: Budget | None, threshold: float | None, expected: float | None,
    lr_cost: float,
) -> dict[str, Any]:  # fmt: skip
    """Return shares and costs of a selection, JSON-ready.

    Args:
        target: Tiles and overviews.
        record: Configuration of the observer.
        selection: The selected tiles.
        notes: Cautions about the scores of the selected tiles, see `blank.doubts`.
        budget: Budget of the selection, or None.
        threshold: Calibrated score above which tiles were selected, or None.
        expected: Share of the area that the threshold is expected to select, or None.
        lr_cost: Cost of LR per area, as a share of the cost of HR.
    """
    area = ground(target.pool)
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
        "notes": [*notes, *_notes(target, record, low, source)],
    }


def training_evidence(record: ObserverConfig, policy: str, asked: str = "") -> dict[str, Any]:
    """Return the evaluation of a policy on held-out scenes of the training, JSON-ready.

    Args:
        record: Configuration of the observer.
        policy: Policy of the selection.
        asked: Policy of the job; "auto" may be replaced by a baseline.

    Returns:
        "known": whether the training compared this policy with random tiles. If so: "policy", the
        evaluated policy (the trained policy if "auto" fell back to a baseline), and "fallback",
        that baseline, or ""; "measure" and "shares" (of the curve whose mean is compared), "split",
        "scenes", "groups", "random" and "value" (the two means), "difference" (mean, low, high; or
        None), "p", "verdict" ("better", "worse", "tied", "open", or None) and "best", the policy of
        the highest value among those better than random tiles, or "".
    """
    held_out, fallback = record.held_out, ""
    if held_out is not None and asked == AUTO and policy in SIMPLE:
        policy, fallback = held_out["against_random"]["trained"], policy
    compared = held_out["against_random"]["policies"] if held_out is not None else {}
    if held_out is None or policy not in compared:
        return {"known": False}
    random, result = held_out["against_random"]["random"], compared[policy]
    values = {n: other["area"] for n, other in compared.items() if other["verdict"] == "better"}
    return {
        "known": True,
        "policy": policy,
        "fallback": fallback,
        **{key: held_out[key] for key in ("measure", "shares", "split", "scenes")},
        "groups": held_out["against_random"]["groups"],
        "random": random,
        "value": result["area"],
        **{key: result[key] for key in ("difference", "p", "verdict")},
        "best": max(values, key=lambda name: values[name], default=""),
    }


def _notes(target: OverviewTiles, record: ObserverConfig, ratio: float, source: str) -> list[str]:
    notes = cautions(target, record)
    if source == "assumed":
        notes.append(f"The side of an HR pixel is assumed to be 1/{ratio:g} of an LR pixel.")
    if not target.pool.georeferenced:
        notes.append(
            f"Areas are in pixels, and tiles.geojson is not written: {target.pool.unplaced}."
        )
    return notes


def _by_scene(
    target: OverviewTiles, selection: Selection, area: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the selected share of the area of each scene with tiles."""
    number = target.place[:, 0]
    total = np.bincount(number, area)
    selected = np.bincount(number, area * selection.mask(), len(total))
    return selected[total > 0] / total[total > 0]


def _mocr(
    chosen: NDArray[np.float64], area: NDArray[np.float64], low: float, high: float, lr_cost: float
) -> float:
    """Return the MOCR of all tiles in LR and the selected tiles in HR (Eq. 11)."""
    return mocr(
        np.append(chosen, area.sum()), np.append(np.full(len(chosen), high), low),
        two_scale_price(high, low, lr_cost=lr_cost), area, finest=high,
    )  # fmt: skip


VERSION = 3  # increased when the same job gives another result


def open_overviews(job: SelectJob, record: ObserverConfig) -> OverviewTiles:
    """Open the headers of overviews or pairs.

    Args:
        job: Options of imagery.
        record: Configuration of the observer, with the tile size.

    Raises:
        ParameterError: Pairs are given with other paths, or with options of reading imagery.
    """
    folders = [path for path in job.images if is_pairs(path)]
    if not folders:
        return overview_tiles(cut(opened_pool(job, split=(1, 1)), record, job.tile))
    if len(job.images) > 1:
        raise ParameterError(
            f"{len(job.images)} paths, of which {folders[0]!r} is a run",
            "Allowed: one folder of pairs, or files and folders of overviews.",
            "Use the folder of the pairs alone, or its folder 'overviews'.",
        )
    fields = ("nodata", "extra", "stack", "min_valid", "skip_empty", "tile")
    stated = [n for n in fields if getattr(job, n) != type(job).model_fields[n].get_default()]
    if stated:
        raise ParameterError(
            f"--{stated[0].replace('_', '-')} with pairs",
            "Options of reading imagery are set when pairs are prepared.",
            "Omit the option, or prepare the pairs again.",
        )
    return overview_tiles(open_pairs(folders[0]))


def check_units(budget: Budget, pool: Pool) -> None:
    """Raise an error for a budget in a unit that the pool does not have.

    The valid area of tiles is unknown before the scan, so the cost in area is checked later.
    """
    costs = pool.costs()
    for unit, amount in budget.limits.items():
        if unit == "tiles" or unit not in costs:
            Budget({unit: amount}).resolve(costs)


def measured(
    headers: OverviewTiles, job: SelectJob, run: Run, progress: ProgressFn | None
) -> tuple[OverviewTiles, str]:
    """Scan the valid pixels of overviews (not of pairs), and return the tiles and a pool hash."""
    if headers.pairs is None:
        pool, key = measure(headers.pool, job, run, progress)
        return replace(headers, pool=pool), key
    pool = headers.pool
    assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
    shares = digest(pool.tiles.valid_share)
    fingerprints = [s.source.info.fingerprint for s in (*pool.scenes, *headers.overviews)]
    key = digest([VERSION, digest_ids(pool.ids), shares, fingerprints])

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
    """Run the ranking step, and return the scores and the key of the step.

    See `score_tiles` for the options.
    """
    file = f"rankings/{policy}.parquet"
    rasters = contents([covariate], "covariate") if covariate else []
    files = [fingerprint(Path(observer.folder) / name) for name in (RECORD, WEIGHTS)]
    key = digest([VERSION, pool_key, files, policy, covariate, rasters, bands, seed])

    def work() -> list[str]:
        scores = score_tiles(
            target, observer, policy=policy, covariate=covariate, bands=bands, seed=seed,
            device=device, run=run, progress=progress,
        )  # fmt: skip
        results.save_scores(run.path / file, scores)
        return [file]

    run.do(f"rank {policy}", key, work)
    return results.load_scores(run.path / file, target.pool), key


def cut_ranking(
    scores: TileScores, pool: Pool, calibration: Calibration, *, budget: Budget | None,
    obr: float | None, threshold: float | None, raw: bool = False,
) -> tuple[Selection, float | None, float | None]:  # fmt: skip
    """Select tiles by a budget, an observed ratio or a threshold.

    Args:
        scores: Scores and ranking of the tiles.
        pool: Pool of the tiles.
        calibration: Calibration of the observer.
        budget: Budget, or None.
        obr: Share of the area to select, or None.
        threshold: Threshold of the scores, or None.
        raw: Whether the threshold applies to raw scores, scaled over the validation tiles, as in
            the paper; the expected share is then None.

    Returns:
        The selection, the score above which tiles are selected, and the expected share of the area;
        the last two are None with a budget.
    """
    ranking = scores.ranking
    if budget is not None:
        return ranking.at(budget), None, None
    if obr is not None:
        # Use raw scores: calibrated scores saturate at 1, where all larger raw scores would tie.
        tau = threshold_for(obr, scores.raw, costs=ground(pool))
        chosen = over(scores.raw, tau)[ranking.rows]
        threshold, expected = float(calibration([tau])[0]), obr
    else:
        threshold = float(threshold or 0.0)
        values = calibration.scaled(scores.raw)[ranking.rows] if raw else ranking.score
        chosen, expected = over(values, threshold), None if raw else 1 - threshold
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
    """Write a selection with its tables, maps and thumbnails; remove files of other scenes.

    Args:
        run: Run, open for writing.
        target: Tiles and overviews.
        scores: Scores and ranking of the tiles.
        selection: The selected tiles.
        budget: Budget of the selection, or None.
        spec: Specification of the LR encoder.
        bands: Bands of the thumbnails.
        key: Hash of all inputs of the selection.
        maps_key: Hash of all inputs of the ranking.
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
    fingerprints = [[s.scene_id, s.source.info.fingerprint] for s in target.overviews]
    run.do(
        "thumbs", digest([VERSION, fingerprints, list(bands)]),
        lambda: results.save_thumbs(path, target, bands),
    )  # fmt: skip
    results.prune(path, target)
