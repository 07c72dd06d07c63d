"""Statistics of pairs: scenes, tiles, area and concepts, by split and by region.

The same statistics as Table 5 and Figure 6 of the cross-scale paper for GL-10M. Splits are those of
a training with the same options. A region is a group of scenes; a group is in one split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from foveate.errors import DataError
from foveate.files import digest, write_csv, write_json
from foveate.observe.data.pairs import open_pairs, split_scenes
from foveate.observe.options import TestSplit, ValSplit  # noqa: TC001  (pydantic reads them)
from foveate.observe.totals.amounts import amounts, ground
from foveate.run.job import Job
from foveate.run.options import AbsolutePath, Option

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.observe.data.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # increased when the same pairs give other statistics
SPLITS = ("train", "val", "test")
STATISTICS = "tables/statistics.json"


class StatsJob(Job):
    """Options of `observe stats`: pairs, and the split of a training."""

    pairs: Annotated[AbsolutePath, Option("Input", argument=True)]
    """Folder of pairs, the output of foveate observe prepare."""
    val: ValSplit = 0.15
    """Validation split: share of the scene groups, or names of groups (WA,OR)."""
    test: TestSplit = 0.2
    """Test split: share of the scene groups, or names of groups (AZ,ME); 0: no test split."""
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
        """Compute the statistics, and write the tables."""
        stats = self.count(ready)

        def work() -> list[str]:
            tables = {name: f"tables/{name}.csv" for name in ("splits", "concepts", "regions")}
            write_json(run.path / STATISTICS, stats)
            for name, file in tables.items():
                write_csv(run.path / file, _table(name.removesuffix("s"), stats[name]))
            return [STATISTICS, *tables.values()]

        run.do("statistics", digest([VERSION, stats]), work)
        return {"statistics": stats, "pool": ready.pool.describe(), "seed": self.seed}


def statistics(pairs: Pairs, split: NDArray[np.str_]) -> dict[str, Any]:
    """Return the statistics of pairs, JSON-ready.

    Args:
        pairs: The pairs.
        split: (s,) split of each scene; "" for none.

    Returns:
        "scenes", "tiles", "ground" (area), "shown" (number of concepts present), "excluded" (tiles
        without enough valid pixels), "grid" (rows and columns of the largest scene), "gsd" (GSD of
        LR and HR in metres, or None), "unit" of area ("m2", or "pixels" without a georeference) and
        "labelled"; "splits" and "regions": name -> "scenes", "tiles", "ground", "concepts" (number
        present), and the number of "regions", or the "split"; "concepts": name -> "scenes", the
        number of scenes in each split, "tiles", "regions", "ground" (from masks; None for a concept
        labelled by objects only) and "novel". "concepts" is empty without labels.
    """
    scene, area = pairs.place[:, 0], ground(pairs.pool)
    present = np.zeros((len(pairs), len(pairs.concepts)), bool)
    if pairs.shares is not None:
        present = pairs.present()
    in_scene = np.zeros((len(pairs.overviews), present.shape[1]), bool)
    np.logical_or.at(in_scene, scene, present)
    groups = np.array(pairs.groups)

    def count(scenes: NDArray[np.bool_]) -> dict[str, Any]:
        tiles = scenes[scene]
        return {
            "scenes": int(scenes.sum()),
            "tiles": int(tiles.sum()),
            "ground": float(area[tiles].sum()),
            "concepts": int(in_scene[scenes].any(axis=0).sum()),
        }

    splits = {name: split == name for name in SPLITS if (split == name).any()}
    concepts = pairs.concepts if pairs.shares is not None else ()
    total = count(np.ones(len(split), bool))
    return {
        **{key: total[key] for key in ("scenes", "tiles", "ground")},
        "shown": total["concepts"],
        "excluded": len(pairs.pool.excluded),
        "grid": list(pairs.shape),
        "gsd": None if pairs.gsd is None else list(pairs.gsd),
        "unit": "m2" if pairs.pool.georeferenced else "pixels",
        "labelled": pairs.shares is not None,
        "splits": {
            name: {**count(scenes), "regions": len(set(groups[scenes].tolist()))}
            for name, scenes in splits.items()
        },
        "concepts": {
            concept.name: {
                "scenes": int(in_scene[:, k].sum()),
                **{name: int(in_scene[scenes, k].sum()) for name, scenes in splits.items()},
                "tiles": int(present[:, k].sum()),
                "regions": len(set(groups[in_scene[:, k]].tolist())),
                "ground": _concept_area(pairs, concept.name),
                "novel": concept.novel,
            }
            for k, concept in enumerate(concepts)
        },
        "regions": {
            str(name): {**count(groups == name), "split": str(split[groups == name][0])}
            for name in sorted(set(pairs.groups))
        },
    }


def _concept_area(pairs: Pairs, concept: str) -> float | None:
    """Return the area of a concept from masks; None for a concept without mask classes."""
    try:
        areas = amounts(pairs, concept, "area")(np.arange(len(pairs)))
    except DataError:
        return None
    return float(np.nansum(areas))


def _table(first: str, rows: dict[str, dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist([{first: name, **row} for name, row in rows.items()])
