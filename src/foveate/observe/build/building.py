"""Steps of a build in a run directory: save the plan, fetch pairs, write the manifest.

The result of each pair is stored in its own file (``work/fetched``), written after its images. A
killed run therefore resumes without fetching complete pairs again, and ends with the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.files import as_json, digest, read_json, write_json, write_parquet
from foveate.location import remember, signature_of
from foveate.observe.build.fetch import fetch_pair, first_scales
from foveate.observe.build.matching import DAY, moment_of
from foveate.observe.build.plan import load_plan, moment_text, save_plan
from foveate.observe.build.polygons import is_extract
from foveate.pool.stac.search import CLOUD
from foveate.progress import Meter
from foveate.run.drivers import Placement, map_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from foveate.observe.build.fetch import Reading
    from foveate.observe.build.footprints import Layout
    from foveate.observe.build.job import BuildJob
    from foveate.observe.build.plan import Plan, Planned
    from foveate.observe.build.polygons import Polygons
    from foveate.observe.build.rules import Rules
    from foveate.pool.stac.items import Item
    from foveate.progress import ProgressFn

MANIFEST, FUNNEL, DONE = "manifest.parquet", "tables/funnel.json", "work/fetched"
ODBL = "(c) OpenStreetMap contributors, available under the Open Database License (ODbL) 1.0"


def save(root: Path, plan: Plan, polygons: Polygons, rules: Rules) -> list[str]:
    """Write a plan and its funnel to a run; return the files."""
    files = save_plan(root, plan, polygons, [concept.name for concept in rules.concepts])
    funnel = [{"stage": s, "left": n, "gone": gone} for s, n, gone in plan.funnel]
    write_json(root / FUNNEL, funnel)
    return [*files, FUNNEL]


def fetch(root: Path, job: BuildJob, layout: Layout, progress: ProgressFn | None) -> list[str]:
    """Fetch the pairs of the plan, drop incomplete ones, and write the manifest.

    Returns:
        The files of the step.

    Raises:
        DataError: No pair is complete.
        StorageError: A file cannot be written.
    """
    plan = load_plan(root)
    table = plan.table
    ranks = table["rank"].to_pylist()
    names = table["scene"].to_pylist()
    chosen = sorted((rank, row) for row, rank in enumerate(ranks) if rank is not None)
    rows = [row for _, row in chosen]
    reading = _reading(plan, rows, job)
    keys = {row: _key(plan, row, job, reading) for row in rows}
    _remove_stale(root, {names[row] for row in rows})
    left = [row for row in rows if not _is_done(root, names[row], keys[row])]
    worker = partial(_fetcher, root, job, layout, reading, _signatures(plan))
    with Meter(progress, "fetching pairs", len(rows)) as meter:
        meter.advance(len(rows) - len(left))
        for _ in map_shards(worker, left, Placement(job.workers)):
            meter.advance()
    results = {row: read_json(_done_file(root, names[row])) for row in rows}
    _extend_funnel(root, results)
    kept = [row for row in rows if not results[row]["why"]]
    if not kept:
        raise _none_kept(results)
    _write_manifest(root, job, plan, results)
    return [MANIFEST, FUNNEL, *(f"{d}/{names[row]}.tif" for row in kept for d in ("hr", "lr"))]


def _reading(plan: Planned, rows: Sequence[int], job: BuildJob) -> Reading:
    """Return the reading options, with one scale for the values of all pairs."""
    reading = job.reading()
    pairs = [_items(plan, row) for row in rows]
    return replace(
        reading,
        hr_scales=first_scales(
            (item for hr, _ in pairs for item in hr), reading.hr_assets, reading.hr_bands
        ),
        lr_scales=first_scales(
            (item for _, choices in pairs for lr in choices for item in lr), reading.lr_assets, ()
        ),
    )


def _signatures(plan: Planned) -> dict[str, object]:
    """Return the URL signatures of a plan for worker processes, because no file stores them."""
    hrefs = {asset["href"] for item in (*plan.hr, *plan.lr) for asset in _assets(item)}
    signatures = {href: signature_of(href) for href in hrefs}
    return {href: signature for href, signature in signatures.items() if signature is not None}


def _assets(item: Item) -> list[dict[str, Any]]:
    return list(item.content["assets"].values())


def _fetcher(
    root: Path, job: BuildJob, layout: Layout, reading: Reading, signatures: dict[str, object]
) -> Callable[[int], None]:
    """Return a function that fetches a row of the plan in this process."""
    for href, signature in signatures.items():
        remember(href, signature)
    plan = load_plan(root)
    footprints = plan.footprints(layout)
    names = plan.table["scene"].to_pylist()

    def fetch_row(row: int) -> None:
        files = (root / f"hr/{names[row]}.tif", root / f"lr/{names[row]}.tif")
        hr, lr = _items(plan, row)
        grids = (
            footprints.geobox(row, layout.hr_pixels), footprints.geobox(row, layout.lr_pixels)
        )  # fmt: skip
        result = fetch_pair(hr, lr, grids, reading, files)
        if result.why:
            for file in files:
                file.unlink(missing_ok=True)
        key = _key(plan, row, job, reading)
        write_json(_done_file(root, names[row]), {"key": key, **asdict(result)})

    return fetch_row


def _done_file(root: Path, name: str) -> Path:
    return root / DONE / f"{name}.json"


def _is_done(root: Path, name: str, key: str) -> bool:
    file = _done_file(root, name)
    if not file.exists():
        return False
    result = read_json(file)
    complete = all((root / d / f"{name}.tif").exists() for d in ("hr", "lr"))
    return result["key"] == key and (bool(result["why"]) or complete)


def _key(plan: Planned, row: int, job: BuildJob, reading: Reading) -> str:
    hr, lr = _items(plan, row)
    columns = [plan.table[name][row].as_py() for name in ("epsg", "left", "top")]
    items = [[i.name, i.base, i.content["assets"]] for i in (*hr, *(i for c in lr for i in c))]
    options = job.model_dump(
        mode="json",
        include={"hr_assets", "hr_bands", "lr_assets", "scl", "tiles", "footprint", "hr_gsd",
                 "lr_gsd", "max_black"},
    )  # fmt: skip
    return digest([columns, items, options, reading.hr_scales, reading.lr_scales])


def _items(plan: Planned, row: int) -> tuple[list[Item], list[list[Item]]]:
    """Return the HR items and the candidate LR acquisitions of a row of the plan."""
    hr = [plan.hr[i] for i in plan.table["hr"][row].as_py()]
    return hr, [[plan.lr[i] for i in choice] for choice in plan.table["lr"][row].as_py()]


def _remove_stale(root: Path, names: set[str]) -> None:
    """Remove pairs of an earlier job that are not in this one."""
    for folder, suffix in (("hr", ".tif"), ("lr", ".tif"), (DONE, ".json")):
        for file in sorted((root / folder).rglob(f"*{suffix}")):
            if file.relative_to(root / folder).as_posix().removesuffix(suffix) not in names:
                file.unlink()


def _extend_funnel(root: Path, results: dict[int, dict[str, Any]]) -> None:
    """Append the results of the pairs to the funnel."""
    stages = [stage for stage in read_json(root / FUNNEL) if stage["stage"] != "pairs"]
    reasons = [result["why"] for result in results.values()]
    dropped = {reason: reasons.count(reason) for reason in sorted(set(reasons) - {""})}
    stages.append({"stage": "pairs", "left": reasons.count(""), "gone": dropped})
    write_json(root / FUNNEL, stages)


def _none_kept(results: dict[int, dict[str, Any]]) -> DataError:
    first = next(iter(results.values()))
    reasons = [result["why"] for result in results.values()]
    listed = ", ".join(f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons)))
    return DataError(
        f"none of the {len(results)} pairs is complete: {listed}"
        + (f" (the first: {first['detail']})" if first["detail"] else ""),
        "A pair needs readable files with few black or cloudy pixels.",
        "Check the assets (--lr-assets, --hr-assets), or raise --max-black.",
    )


def _write_manifest(
    root: Path, job: BuildJob, plan: Planned, results: dict[int, dict[str, Any]]
) -> None:
    """Write one row for each candidate: how to reproduce its pair, or why there is none."""
    import pyarrow as pa

    rows = []
    for row, candidate in enumerate(plan.table.drop_columns(["hr", "lr", "rank"]).to_pylist()):
        result = results.get(row)
        hr, choices = _items(plan, row)
        lr = choices[result["choice"]] if result else []
        hr_time, lr_time = _latest(hr), _latest(lr)
        dated = hr_time is not None and lr_time is not None
        kept = result is not None and not result["why"]
        shares = {k: result[k] if result else None for k in ("cloud", "lr_black", "hr_black")}
        rows.append({
            **candidate,
            "why": (result or candidate)["why"],
            "kept": kept,
            "group": candidate["scene"].rpartition("/")[0],
            "hr_file": f"hr/{candidate['scene']}.tif" if kept else None,
            "lr_file": f"lr/{candidate['scene']}.tif" if kept else None,
            "hr_items": [item.name for item in hr],
            "lr_items": [item.name for item in lr],
            "hr_datetime": None if hr_time is None else moment_text(hr_time),
            "lr_datetime": None if lr_time is None else moment_text(lr_time),
            "days": round((lr_time - hr_time) / DAY, 3) if dated else None,
            "lr_cloud_cover": lr[0].content["properties"].get(CLOUD) if lr else None,
            **shares,
            "detail": (result or {}).get("detail", ""),
        })  # fmt: skip
    text, real = pa.string(), pa.float64()
    kinds = {
        "concepts": pa.list_(text), "hr_items": pa.list_(text), "lr_items": pa.list_(text),
        "epsg": pa.int64(), "kept": pa.bool_(), "geometry": pa.binary(),
        **dict.fromkeys(
            ("labelled", "left", "top", "days", "lr_cloud_cover", "cloud", "lr_black", "hr_black"),
            real,
        ),
    }  # fmt: skip
    order = [name for name in rows[0] if name != "geometry"] + ["geometry"]
    schema = pa.schema([(name, kinds.get(name, text)) for name in order])
    table = pa.Table.from_pylist(as_plain(rows), schema=schema)
    if is_extract(job.anchors):
        table = table.replace_schema_metadata({b"attribution": ODBL.encode()})
    write_parquet(root / MANIFEST, table, geo={"geometry": None})


def _latest(items: Sequence[Item]) -> float | None:
    """Return the latest acquisition time of items in seconds, or None without items."""
    return max((moment_of(item) or 0.0 for item in items), default=None)


def as_plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert the values of rows for JSON, with None for numbers that are not finite."""
    return [
        {k: v if k == "geometry" else as_json(v) for k, v in row.items()} for row in rows
    ]  # fmt: skip
