"""Reader of runs of `compare`, for their reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import read_parquet, text_column
from foveate.report.human import number
from foveate.report.read import PoolData, pictures_of, unfinished
from foveate.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_RANK = "rank:"


@dataclass(frozen=True, kw_only=True)
class Compared(PoolData):
    """A comparison of M rankings; its n patches are in the order of their average rank.

    Attributes:
        rankings: One dict per ranking: name, ranked, full, left_out.
        inputs: One dict per input: path, patches, tied.
        kendall: (M, M) Kendall's tau-b; NaN where undefined.
        kendall_sd: Standard deviation of the tau of independent orders.
        place: (M, n) float64 rank in each ranking, from 1; NaN if not ranked.
        average: (n,) mean rank; NaN if no ranking is full.
        spread: (n,) standard deviation of the ranks.
        tops: Name and size k of each top, and number of patches among the first k of all rankings.
        overlap: Name of a top -> (M, M) share of the first k that two rankings have in common.
        agreed: Name of a top -> the patches among the first k of all rankings.
        shown: Number of patches to show at each end.
    """

    rankings: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    kendall: NDArray[np.float64]
    kendall_sd: float
    place: NDArray[np.float64]
    average: NDArray[np.float64]
    spread: NDArray[np.float64]
    tops: list[tuple[str, int, int]]
    overlap: dict[str, NDArray[np.float64]]
    agreed: dict[str, list[str]]
    shown: int

    @property
    def names(self) -> list[str]:
        """Names of the rankings."""
        return [str(one["name"]) for one in self.rankings]

    @property
    def full(self) -> int:
        """Number of rankings that contain every patch."""
        return sum(bool(one["full"]) for one in self.rankings)


def read_compared(run_dir: str | Path) -> Compared:
    """Read a run of `compare`.

    Raises:
        DataError: There is no run, it is not finished, or its tables contradict each other.
    """
    run = Run.load(run_dir)
    return read_comparison(run, run.record["summary"]["compare"])


def read_comparison(run: Run, about: dict[str, Any]) -> Compared:
    """Read the comparison of rankings in a run of any kind.

    Args:
        run: The run.
        about: Summary of the comparison.

    Raises:
        DataError: Its tables are missing or inconsistent.
    """
    path = run.path
    if not (path / "tables/patches.parquet").is_file():
        raise unfinished(run)
    names = [one["name"] for one in about["rankings"]]
    patches = read_parquet(path / "tables/patches.parquet")
    overlap = {str(top["top"]): np.full((len(names),) * 2, np.nan) for top in about["top"]}
    at = {name: i for i, name in enumerate(names)}
    for row in read_parquet(path / "tables/overlap.parquet").to_pylist():
        a, b = at[row["a"]], at[row["b"]]
        overlap[row["top"]][a, b] = overlap[row["top"]][b, a] = number(row["share"])
    agreed: dict[str, list[str]] = {top: [] for top in overlap}
    for row in read_parquet(path / "tables/agreed.parquet").to_pylist():
        agreed[row["top"]].append(row["patch"])
    kendall = read_parquet(path / "tables/kendall.parquet")
    place = [patches[_RANK + name].cast("float64").to_numpy() for name in names]
    return Compared(
        name=path.resolve().name, record=run.record, ids=text_column(patches, "patch").tolist(),
        tile_files=pictures_of(path)[0], rankings=about["rankings"], inputs=about["inputs"],
        kendall=np.stack([kendall[name].to_numpy() for name in names]),
        kendall_sd=number(about["kendall_sd"]), place=np.stack(place),
        average=patches["average"].to_numpy(), spread=patches["spread"].to_numpy(),
        tops=[(str(t["top"]), int(t["k"]), int(t["agreed"])) for t in about["top"]],
        overlap=overlap, agreed=agreed, shown=int(about["shown"]),
    )  # fmt: skip
