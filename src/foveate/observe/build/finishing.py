"""Last steps of a build: measure and label tiles, and write pairs in the format of `prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import digest, read_json, read_parquet, write_parquet
from foveate.observe.build.building import FUNNEL, MANIFEST
from foveate.observe.build.footprints import labelled, tile_shares
from foveate.observe.build.plan import POLYGONS, load_plan
from foveate.observe.build.polygons import Polygons
from foveate.observe.data import preparation
from foveate.observe.data.labels import present
from foveate.observe.data.pairs import LABELS, open_headers
from foveate.pool.outlines import shapes_of
from foveate.pool.step import measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.job import BuildJob
    from foveate.observe.build.rules import Rules
    from foveate.observe.data.concepts import Concept
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.run import Run


def finish(
    run: Run, job: BuildJob, layout: Layout, rules: Rules, progress: ProgressFn | None
) -> dict[str, Any]:
    """Measure and label the tiles of the fetched pairs, and write the pairs.

    Returns:
        The summary of the run.
    """
    ready = job.prepared(run.path)
    headers, real = open_headers(ready)
    pool, pool_key = measure(headers, ready, run, progress)
    about = [preparation.VERSION, pool_key, run.key("plan")]
    run.do("labels", digest(about), lambda: _label(run.path, pool, layout, rules.concepts))
    concepts = known_concepts(run.path, rules.concepts)
    files = [f"lr/{scene.scene_id}.tif" for scene in real]
    rows = preparation.pair_rows(pool, files, run.path, None, ready.cuts)
    for row in rows:  # relative, so that the folder can be moved
        row["hr"] = f"hr/{row['scene']}.tif"
    settings = digest(job.model_dump(mode="json"))
    key = digest([preparation.VERSION, pool_key, rows, settings, run.key("labels")])
    run.do("pairs", key, lambda: preparation.save_pairs(run.path, rows, settings))
    days = read_parquet(run.path / MANIFEST)["days"].to_pylist()
    kept = read_parquet(run.path / MANIFEST)["kept"].to_pylist()
    gaps = sorted(abs(d) for d, k in zip(days, kept, strict=True) if k and d is not None)
    return {
        "pool": pool.describe(),
        "pairs": preparation.describe_pairs(rows),
        "concepts": preparation.concept_counts(run.path, concepts),
        "funnel": read_json(run.path / FUNNEL),
        "days": [gaps[len(gaps) // 2], gaps[-1]] if gaps else None,
        "manifest": MANIFEST,
        "seed": job.seed,
    }


def known_concepts(root: Path, concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """Return the concepts that any tile of a build shows; before labelling, all concepts."""
    if not (root / LABELS).is_file():
        return tuple(concepts)
    columns = set(read_parquet(root / LABELS).column_names)
    return tuple(concept for concept in concepts if concept.name in columns)


def _label(root: Path, pool: Pool, layout: Layout, concepts: Sequence[Concept]) -> list[str]:
    """Write the area share of each concept in each tile, for concepts that any tile shows."""
    import pyarrow as pa

    shares = _shares(root, pool, layout, [concept.name for concept in concepts])
    held = present(shares, concepts).any(axis=0)
    if not held.any():
        held = (shares > 0).any(axis=0)
    columns = {c.name: shares[:, k] for k, c in enumerate(concepts) if held[k]}
    ids = pa.array(pool.ids.astype(object), pa.string())
    write_parquet(root / LABELS, pa.table({"tile_id": ids, **columns}))
    return [LABELS]


def _shares(root: Path, pool: Pool, layout: Layout, names: list[str]) -> NDArray[np.float32]:
    """Return the area share of each concept in each tile, (n, K) float32."""
    plan = load_plan(root)
    footprints = plan.footprints(layout)
    row_of = {name: row for row, name in enumerate(plan.table["scene"].to_pylist())}
    table = read_parquet(root / POLYGONS)
    column_of = {name: k for k, name in enumerate(names)}
    shows = np.zeros((len(table), len(names)), bool)
    for row, concepts in enumerate(table["concepts"].to_pylist()):
        shows[row, [column_of[name] for name in concepts]] = True
    shapes = shapes_of(table["geometry"].combine_chunks())
    blank = np.full(len(table), "")
    polygons = Polygons(np.array(table["id"].to_pylist()), shapes, shows, blank)
    scenes = [scene.scene_id for scene, _ in pool.per_scene()]
    rows = np.array([row_of[name] for name in scenes])
    _, _, (footprint, polygon) = labelled(footprints.take(rows), polygons)
    shares = np.zeros((len(pool), len(names)), np.float32)
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (pairs are cut from scenes)
    for index, (_, members) in enumerate(pool.per_scene()):
        near = polygon[footprint == index]
        by_tile = tile_shares(footprints, int(rows[index]), shapes[near], shows[near])
        shares[members] = by_tile[tiles.row[members] * layout.tiles[1] + tiles.col[members]]
    return shares
