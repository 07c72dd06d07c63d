"""The plan of a build: pairs to fetch, their items, and why other candidates are excluded.

The plan uses metadata only; no pixel is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import read_json, read_parquet, write_json, write_parquet
from foveate.location import redact
from foveate.observe.build.footprints import Footprints, Layout, around, labelled, thin
from foveate.observe.build.sampling import blocks, class_aware, rare_first
from foveate.pool.stac.items import Item, resolve

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.build.matching import Acquisitions, Match, Matcher
    from foveate.observe.build.polygons import Polygons

PLAN, ITEMS, POLYGONS = "plan.parquet", "work/items.json", "polygons.parquet"
FEW, BARE, LIMIT = "too few concepts", "too little ground with labels", "beyond the limit"
NEAR, NOWHERE = "too near to another", "beyond the zones of UTM or across 180 degrees"


@dataclass(frozen=True)
class Plan:
    """Candidates and their matches.

    Attributes:
        names: (n,) scene names; the folder is the group of the scene.
        footprints: The n footprints.
        shows: (n, K) bool: concepts with a polygon in each footprint.
        covered: (n,) share of each footprint covered by polygons of any concept.
        matches: Match of each candidate.
        why: (n,) reason why a candidate is not fetched, or "".
        order: Rows to fetch, in the order of selection.
        hr: HR items.
        lr: LR items.
        funnel: For each stage: name, number of remaining candidates, reason -> number of excluded.
    """

    names: NDArray[np.str_]
    footprints: Footprints
    shows: NDArray[np.bool_]
    covered: NDArray[np.float64]
    matches: tuple[Match, ...]
    why: NDArray[np.str_]
    order: NDArray[np.int64]
    hr: Acquisitions
    lr: Acquisitions
    funnel: tuple[tuple[str, int, dict[str, int]], ...]


@dataclass(frozen=True)
class Sieve:
    """Criteria for candidates.

    Attributes:
        thin: Minimum distance of anchors in metres, see `thin`.
        min_concepts: Minimum number of concepts with a polygon in the footprint.
        min_labelled: Minimum share of the footprint covered by polygons.
        limit: Maximum number of candidates; None for no limit.
        block: Side of a spatial block in kilometres, for anchors without a region.
        seed: Seed for ties and for the subsample.
    """

    thin: float
    min_concepts: int
    min_labelled: float
    limit: int | None
    block: float
    seed: int


def make_plan(polygons: Polygons, layout: Layout, sieve: Sieve, matcher: Matcher) -> Plan:
    """Make the plan: place and thin footprints, match imagery, and apply criteria and limit.

    Raises:
        DataError: No candidate remains; the message contains the funnel.
    """
    import shapely

    lon, lat = shapely.get_coordinates(shapely.centroid(polygons.shapes)).T
    possible = around(lon, lat, layout)
    rows = possible.anchor
    priority = rare_first(polygons.ids[rows], polygons.shows[rows], sieve.seed)
    kept = thin(lon[rows], lat[rows], priority, sieve.thin)
    excluded = {k: v for k, v in polygons.counts.items() if k != "areas" and v}
    thinned = _positive({NOWHERE: lon.size - rows.size, NEAR: rows.size - kept.size})
    funnel = [
        ("areas with a tag of the rules", polygons.counts["areas"], {}),
        ("anchors", len(polygons), excluded),
        ("footprints", kept.size, thinned),
    ]  # fmt: skip
    footprints = possible.take(kept)
    anchor = footprints.anchor
    shows, covered, _ = labelled(footprints, polygons)
    why = np.where(
        shows.sum(axis=1) < sieve.min_concepts, FEW,
        np.where(covered < sieve.min_labelled, BARE, ""),
    ).astype(object)  # fmt: skip
    matches = tuple(matcher.match(footprints.outlines()))
    for row, match in enumerate(matches):
        why[row] = why[row] or match.why
    ready = np.flatnonzero(why == "")
    ids = polygons.ids[anchor]
    order = ready[class_aware(ids[ready], shows[ready], sieve.limit, sieve.seed)]
    beyond = np.setdiff1d(ready, order)
    funnel.append(("candidates", ready.size, _count_reasons(why)))
    why[beyond] = LIMIT
    funnel.append(("to be fetched", order.size, _positive({LIMIT: beyond.size})))
    groups = blocks(lon[anchor], lat[anchor], sieve.block)
    regions = polygons.regions[anchor]
    groups = np.where(regions == "", groups, [_slug(name) for name in regions.tolist()])
    names = np.array(
        [f"{g}/{i.replace('/', '-')}" for g, i in zip(groups.tolist(), ids.tolist(), strict=True)]
    )
    if not order.size:
        raise _none_left(tuple(funnel))
    return Plan(
        names, footprints, shows, covered, matches, why.astype(np.str_), order, matcher.hr,
        matcher.lr, tuple(funnel),
    )  # fmt: skip


def _none_left(funnel: tuple[tuple[str, int, dict[str, int]], ...]) -> DataError:
    stages = [f"{count} {stage}{_in_brackets(excluded)}" for stage, count, excluded in funnel]
    return DataError(
        f"no pair is left: {', '.join(stages)}",
        "A pair needs concepts (--rules), HR that covers it (--hr, --hr-datetime) and clear LR "
        "close in time (--lr, --lr-datetime, --window, --max-cloud).",
        "Relax the criterion that excludes most of them.",
    )


def _in_brackets(excluded: dict[str, int]) -> str:
    return f" ({', '.join(f'{n} {why}' for why, n in excluded.items())})" if excluded else ""


def _positive(counts: dict[str, int]) -> dict[str, int]:
    return {why: int(n) for why, n in counts.items() if n}


def _count_reasons(why: NDArray[np.object_]) -> dict[str, int]:
    reasons, counts = np.unique(why[why != ""].astype(np.str_), return_counts=True)
    return dict(zip(reasons.tolist(), counts.tolist(), strict=True))


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def moment_text(seconds: float) -> str:
    """Format a time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def save_plan(root: Path, plan: Plan, polygons: Polygons, concepts: list[str]) -> list[str]:
    """Write the candidates, their items and the polygons; return the files."""
    import pyarrow as pa
    import shapely

    used = [sorted({i for row in plan.order for i in plan.matches[row].hr})]
    used.append(sorted({i for row in plan.order for c in plan.matches[row].lr for i in c}))
    write_json(
        root / ITEMS,
        {
            name: [[_to_store(acquired.items[i]), redact(acquired.items[i].base)] for i in rows]
            for name, acquired, rows in zip(("hr", "lr"), (plan.hr, plan.lr), used, strict=True)
        },
    )
    write_parquet(root / PLAN, plan_table(plan, polygons, concepts, used), geo={"geometry": None})
    _, _, overlaps = labelled(plan.footprints.take(plan.order), polygons)
    rows = np.unique(overlaps[1])
    shown = [[concepts[k] for k in np.flatnonzero(polygons.shows[row])] for row in rows]
    table = pa.table({
        "id": pa.array(polygons.ids[rows].tolist(), pa.string()),
        "concepts": pa.array(shown, pa.list_(pa.string())),
        "geometry": pa.array(shapely.to_wkb(polygons.shapes[rows]), pa.binary()),
    })  # fmt: skip
    write_parquet(root / POLYGONS, table, geo={"geometry": None})
    return [PLAN, ITEMS, POLYGONS]


def _to_store(item: Item) -> dict[str, Any]:
    """Return the content of an item to store in a run: absolute hrefs without credentials."""
    content = {k: item.content.get(k) for k in ("id", "collection", "geometry", "properties")}
    assets = item.content["assets"]
    valid = {k: a for k, a in assets.items() if isinstance(a.get("href"), str)}
    return content | {
        "assets": {k: {**a, "href": resolve(a["href"], item.base)} for k, a in valid.items()}
    }


def plan_table(
    plan: Plan, polygons: Polygons, concepts: list[str], used: list[list[int]]
) -> pa.Table:
    """Return one row for each candidate, sorted by name; those to fetch have a rank."""
    import pyarrow as pa
    import shapely

    rank = np.full(plan.names.size, -1)
    rank[plan.order] = np.arange(plan.order.size)
    index = [{item: k for k, item in enumerate(items)} for items in used]
    rows: list[dict[str, Any]] = []
    outlines = shapely.to_wkb(plan.footprints.outlines())
    for row in np.argsort(plan.names, kind="stable").tolist():
        match, fetched = plan.matches[row], rank[row] >= 0
        rows.append({
            "scene": str(plan.names[row]),
            "anchor": str(polygons.ids[plan.footprints.anchor[row]]),
            "concepts": [concepts[k] for k in np.flatnonzero(plan.shows[row])],
            "labelled": round(float(plan.covered[row]), 6),
            "why": str(plan.why[row]),
            "rank": int(rank[row]) if fetched else None,
            "epsg": int(plan.footprints.crs[row]),
            "left": float(plan.footprints.left[row]),
            "top": float(plan.footprints.top[row]),
            "hr": [index[0][i] for i in match.hr] if fetched else [],
            "lr": [[index[1][i] for i in choice] for choice in match.lr] if fetched else [],
            "geometry": outlines[row],
        })  # fmt: skip
    integer, text, real = pa.int64(), pa.string(), pa.float64()
    schema = pa.schema(
        {
            "scene": text, "anchor": text, "concepts": pa.list_(text), "labelled": real,
            "why": text, "rank": integer, "epsg": integer, "left": real, "top": real,
            "hr": pa.list_(integer), "lr": pa.list_(pa.list_(integer)), "geometry": pa.binary(),
        }
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


@dataclass(frozen=True)
class Planned:
    """A plan as stored in a run.

    Attributes:
        table: See `plan_table`.
        hr: HR items, indexed by the column ``hr``.
        lr: LR items, indexed by the column ``lr``.
    """

    table: pa.Table
    hr: tuple[Item, ...]
    lr: tuple[Item, ...]

    def footprints(self, layout: Layout) -> Footprints:
        """Return the footprints of all rows."""
        columns = [self.table[name].to_numpy() for name in ("epsg", "left", "top")]
        return Footprints(layout, np.arange(len(self.table)), *columns)


def load_plan(root: Path) -> Planned:
    """Read the plan of a run."""
    items = read_json(root / ITEMS)
    hr, lr = (tuple(Item(*fields) for fields in items[name]) for name in ("hr", "lr"))
    return Planned(read_parquet(root / PLAN), hr, lr)
