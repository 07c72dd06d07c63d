"""Statistics of pairs: scenes, tiles, ground and concepts, by split and by region.

What Table 5 and Figure 6 of the cross-scale paper say of GL-10M. Splits are those that a training
with the same shares and seed makes; a region is a group of scenes, which no split divides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from foveate.errors import DataError
from foveate.files import digest, write_csv, write_json
from foveate.observe.amounts import amounts, ground
from foveate.observe.options import Share  # noqa: TC001  (pydantic reads it)
from foveate.observe.pairs import open_pairs, split_scenes
from foveate.run.job import Job
from foveate.run.options import AbsolutePath, Option

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # raised when the same pairs give other statistics
SPLITS = ("train", "val", "test")
STATISTICS = "tables/statistics.json"


class StatsJob(Job):
    """Which pairs are counted, and how a training would split them."""

    pairs: Annotated[AbsolutePath, Option("Input", argument=True)]
    """Folder of pairs that foveate observe prepare wrote."""
    val: Annotated[Share, Option("Training")] = Field(0.15, gt=0, lt=1)
    """Share of the groups of scenes for validation."""
    test: Annotated[Share, Option("Training")] = Field(0.2, ge=0, lt=1)
    """Share of the groups of scenes for testing; 0: none."""
    seed: int = Field(0, ge=0)
    """Seed of the split."""

    def check(self) -> Pairs:
        """Return the pairs."""
        return open_pairs(self.pairs)

    def count(self, pairs: Pairs) -> dict[str, Any]:
        """Return the statistics of pairs; see `statistics`.

        Raises:
            DataError: There are several groups of scenes, and too few for the shares.
        """
        if len(set(pairs.groups)) == 1:  # which no training can divide
            return statistics(pairs, np.full(len(pairs.groups), ""))
        return statistics(
            pairs, split_scenes(pairs.groups, val=self.val, test=self.test, seed=self.seed)
        )

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:  # noqa: ARG002
        """Count, and write the tables."""
        found = self.count(ready)

        def work() -> list[str]:
            tables = {name: f"tables/{name}.csv" for name in ("splits", "concepts", "regions")}
            write_json(run.path / STATISTICS, found)
            for name, file in tables.items():
                write_csv(run.path / file, _table(name.removesuffix("s"), found[name]))
            return [STATISTICS, *tables.values()]

        run.do("statistics", digest([VERSION, found]), work)
        return {"statistics": found, "pool": ready.pool.describe(), "seed": self.seed}


def statistics(pairs: Pairs, split: NDArray[np.str_]) -> dict[str, Any]:
    """Count scenes, tiles, ground and concepts; JSON-ready.

    Args:
        pairs: The pairs.
        split: (s,) split of each scene; "" for none.

    Returns:
        "scenes", "tiles", "ground", "shown" (concepts), "excluded" (tiles left out as empty),
        "grid" (tiles down and across the largest scene), "gsd" (metres of an LR and an HR pixel,
        or None), "unit" of ground ("m2", or "pixels" without a georeference) and "labelled";
        "splits" and "regions": name -> "scenes", "tiles", "ground", "concepts" (how many are
        shown), and the number of "regions", or the "split"; "concepts": name -> "scenes", and how
        many of them are of each split, "tiles", "regions", "ground" (by masks; None where only
        objects tell it) and "novel". There are none without labels.
    """
    scene, area = pairs.place[:, 0], ground(pairs.pool)
    shown = np.zeros((len(pairs), len(pairs.concepts)), bool)
    if pairs.shares is not None:
        shown = pairs.present()
    in_scene = np.zeros((len(pairs.overviews), shown.shape[1]), bool)
    np.logical_or.at(in_scene, scene, shown)
    groups = np.array(pairs.groups)

    def part(own: NDArray[np.bool_]) -> dict[str, Any]:
        tiles = own[scene]
        return {
            "scenes": int(own.sum()),
            "tiles": int(tiles.sum()),
            "ground": float(area[tiles].sum()),
            "concepts": int(in_scene[own].any(axis=0).sum()),
        }

    parts = {name: split == name for name in SPLITS if (split == name).any()}
    named = pairs.concepts if pairs.shares is not None else ()
    whole = part(np.ones(len(split), bool))
    return {
        **{key: whole[key] for key in ("scenes", "tiles", "ground")},
        "shown": whole["concepts"],
        "excluded": len(pairs.pool.excluded),
        "grid": list(pairs.shape),
        "gsd": None if pairs.gsd is None else list(pairs.gsd),
        "unit": "m2" if pairs.pool.georeferenced else "pixels",
        "labelled": pairs.shares is not None,
        "splits": {
            name: {**part(own), "regions": len(set(groups[own].tolist()))}
            for name, own in parts.items()
        },
        "concepts": {
            concept.name: {
                "scenes": int(in_scene[:, k].sum()),
                **{name: int(in_scene[own, k].sum()) for name, own in parts.items()},
                "tiles": int(shown[:, k].sum()),
                "regions": len(set(groups[in_scene[:, k]].tolist())),
                "ground": _ground(pairs, concept.name),
                "novel": concept.novel,
            }
            for k, concept in enumerate(named)
        },
        "regions": {
            str(name): {**part(groups == name), "split": str(split[groups == name][0])}
            for name in sorted(set(pairs.groups))
        },
    }


def _ground(pairs: Pairs, concept: str) -> float | None:
    """Return how much ground shows a concept by masks; None where they do not tell it."""
    try:
        found = amounts(pairs, concept, "area")(np.arange(len(pairs)))
    except DataError:
        return None
    return float(np.nansum(found))


def _table(first: str, rows: dict[str, dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist([{first: name, **row} for name, row in rows.items()])
