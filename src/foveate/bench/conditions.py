"""Measuring conditions under several seeds: the core of a benchmark, of whatever is compared.

A condition is measured once per seed, and kept in a file: a run that was killed goes on with the
next condition, and another table of the same setting uses what is there.
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

    Measured = Mapping[str, Measure] | str  # measures by name; or why it was skipped
    MeasureFn = Callable[[Any], Mapping[str, Any]]  # a condition -> measures, JSON-ready

Verdict = Literal["better", "worse", "tied", "open", "reference", ""]


class Skipped(Exception):  # noqa: N818  (nothing is wrong)
    """A condition cannot be measured here; the text says why, and what to do."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: Its name.
        conditions: One; or those of a curve, for the area under it. A condition is hashable, has a
            "name" of its own and, on a curve, a "share": its position.
        block: Rows of a block are compared with each other.
    """

    label: str
    conditions: tuple[Any, ...]
    block: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement of a table.

    Attributes:
        text: In words, with the figures.
        reached: Whether what was expected came true, beyond the noise; None where nothing was
            expected, where there is no interval, or where it could not have failed.
        verdict: Of the comparison that it is about, for the one that is expected to be ahead;
            "equal" where all rows are alike in it, so that it could not have failed; "" for others.
    """

    text: str
    reached: bool | None = None
    verdict: Verdict | Literal["equal"] = ""


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        title: For people.
        lead: The measure by which rows are compared.
        columns: Measures that are shown.
        rows: Its rows, for a job.
        references: Labels of rows that the others of a block are compared with: of several the one
            that has more of the leading measure, so that the choice is in its favour. Without any,
            the first row of a block.
        claims: What follows from the figures, by rule; it gets the rows by "BLOCK: LABEL", or by
            their label where there are no blocks.
        derive: Adds figures that are made of several rows, or None.
        note: What a reader has to know.
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
    """Measure the conditions of some rows under each seed, unless the run has done so.

    Args:
        run: Open for writing.
        rows: Rows of a table.
        measures: From the number of a seed, from 0, to the function that measures a condition:
            measures by name, each JSON-ready; or it raises `Skipped`.
        seeds: Number of seeds.
        first: The first seed, for names.
        title: Of the table, for the names of steps.
        folder: Folder for what is measured, relative to the run.
        key: Hash of everything that a condition depends on, but for the seed; its name when None.
        progress: Called with ticks.

    Returns:
        For each seed, condition -> measures by name; or why it was skipped.
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
    if file.exists():  # for another table, or before the run was killed
        return
    try:
        stored: dict[str, Any] = {"measures": measure(condition)}
    except Skipped as reason:
        stored = {"skipped": str(reason)}
    # Measured again in a second: not worth waiting for the disk.
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
