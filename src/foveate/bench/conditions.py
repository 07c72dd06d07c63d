"""Measurement of conditions under several seeds, the core of all benchmarks.

A condition is measured once per seed and stored in a file: interrupted runs resume with the next
condition, and other tables of the same setting reuse the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from foveate.files import as_json, digest, read_json, write_bytes
from foveate.progress import Meter
from foveate.run.shards import slug
from foveate.stats.measures import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    from foveate.bench.compare import Comparison
    from foveate.progress import ProgressFn
    from foveate.run import Run

    Measured = Mapping[str, Measure] | str  # measures by name, or the reason why it was skipped
    MeasureFn = Callable[[Any], Mapping[str, Any]]  # condition -> measures, JSON-ready

Verdict = Literal["better", "worse", "tied", "open", "reference", ""]


class Skipped(Exception):  # noqa: N818  (not an error)
    """A condition cannot be measured; the message contains the reason and a hint."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: Name of the row.
        conditions: One; or those of a curve, for the area under it. A condition is hashable, has a
            unique "name" and, on a curve, a "share": its position.
        block: Rows of a block are compared with each other.
    """

    label: str
    conditions: tuple[Any, ...]
    block: str = ""


@dataclass(frozen=True)
class Claim:
    """A claim of a table.

    Attributes:
        text: The claim in words, with the figures.
        reached: Whether the expectation is met significantly; None if there is no expectation, no
            interval, or the comparison is uninformative.
        verdict: Verdict of the comparison, for the row that is expected to be better; "equal" if
            all rows are equal, so that the comparison is uninformative; "" for other claims.
    """

    text: str
    reached: bool | None = None
    verdict: Verdict | Literal["equal"] = ""


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        title: Title of the table.
        lead: The leading measure, by which rows are compared.
        columns: Displayed measures.
        rows: Returns the rows for a job.
        references: Labels of reference rows, with which the others of a block are compared. Of
            several, the one with the highest leading measure, so that the choice favours it.
            Without any, the first row of a block.
        claims: Derives claims from the figures; the rows are given by "BLOCK: LABEL", or by label
            if there are no blocks.
        derive: Adds figures that depend on several rows, or None.
        note: Note for the reader.
    """

    title: str
    lead: str
    columns: tuple[str, ...]
    rows: Callable[[Any], list[Row]]
    references: tuple[str, ...]
    claims: Callable[[Any, Mapping[str, Comparison]], list[Claim]]
    derive: Callable[[list[Comparison]], list[Comparison]] | None = None
    note: str = ""


def measure_conditions(
    run: Run, rows: Sequence[Row], measures: Callable[[int], MeasureFn], *, seeds: int,
    first: int = 0, title: str = "table", folder: str = "work",
    key: Callable[[Any], str] | None = None, progress: ProgressFn | None = None,
) -> list[dict[Hashable, Measured]]:  # fmt: skip
    """Measure the conditions of rows under each seed, unless the run has their files.

    Args:
        run: Run, open for writing.
        rows: Rows of a table.
        measures: Maps the index of a seed, from 0, to the function that measures a condition: it
            returns measures by name, each JSON-ready, or raises `Skipped`.
        seeds: Number of seeds.
        first: The first seed, for names.
        title: Title of the table, for the names of steps.
        folder: Folder of the measurements, relative to the run.
        key: Returns the hash of all dependencies of a condition except the seed; None: of its
            name.
        progress: Called with ticks.

    Returns:
        For each seed, condition -> measures by name, or the reason why it was skipped.
    """
    conditions = list(dict.fromkeys(condition for row in rows for condition in row.conditions))
    hashed = key or (lambda condition: digest(condition.name))
    results = []
    with Meter(progress, "measuring", seeds * len(conditions)) as meter:
        for number in range(seeds):
            place = f"{folder}/seed-{first + number}"
            files = {
                condition: f"{place}/cells/{slug(condition.name)}-{hashed(condition)[:8]}.json"
                for condition in conditions
            }

            def work(number: int = number, files: dict[Any, str] = files) -> list[str]:
                measure = measures(number)
                for condition, file in files.items():
                    _measure(measure, condition, run.path / file)
                    meter.advance()
                return list(files.values())

            if not run.do(f"measure {title} {place}", digest(list(files.values())), work):
                meter.advance(len(conditions))
            results.append({c: _read(run.path / file) for c, file in files.items()})
    return results


def _measure(measure: MeasureFn, condition: Any, file: Path) -> None:
    if file.exists():  # measured for another table, or before an interruption
        return
    try:
        stored: dict[str, Any] = {"measures": measure(condition)}
    except Skipped as reason:
        stored = {"skipped": str(reason)}
    # Cheap to measure again after a crash, so the write need not be durable.
    write_bytes(file, (json.dumps(as_json(stored)) + "\n").encode(), durable=False)


def _read(path: Path) -> Measured:
    stored = read_json(path)
    if "skipped" in stored:
        return stored["skipped"]
    return {
        name: Measure(
            float("nan") if m["value"] is None else m["value"],
            [float("nan") if x is None else x for x in m["parts"]],
            m["groups"],
        )
        for name, m in stored["measures"].items()
    }
