"""A benchmark that knows no verb: any function from a condition to measures."""

from dataclasses import dataclass

import numpy as np
import pytest

from foveate.bench.compare import compare
from foveate.bench.conditions import Claim, Row, Skipped, Table, measure_conditions
from foveate.run import Run
from foveate.stats.measures import ratio


@dataclass(frozen=True)
class Boost:
    name: str
    share: float = 0.0


ROWS = [Row("base", (Boost("0"),)), Row("more", (Boost("0.2"),)), Row("gone", (Boost("none"),))]
TABLE = Table(
    "A toy", "score", ("score",), lambda _: ROWS, ("base",),
    lambda _, found: [Claim("more is better", found["more"].verdict == "better")],
)  # fmt: skip
GROUPS = np.array([f"g{i}" for i in range(24)])


def toy(asked):
    """Return the toy: the score of a seed is noise and the boost; measured ones are noted."""

    def measures(number):
        noise = np.random.default_rng(number).normal(0.5, 0.01, 24)

        def measure(condition):
            asked.append((number, condition.name))
            if condition.name == "none":
                raise Skipped("nothing to measure")
            found = ratio(noise + float(condition.name), np.ones(24), GROUPS)
            return {"score": found.to_json()}

        return measure

    return measures


def test_a_toy_benchmark_is_measured_and_compared(tmp_path):
    asked = []
    with Run.create(tmp_path, job={}) as run:
        results = measure_conditions(run, ROWS, toy(asked), seeds=3)
    found, lead = compare(TABLE, ROWS, results)
    rows = {row.label: row for row in found}
    assert lead == "score"
    assert rows["more"].verdict == "better"
    assert rows["more"].difference.mean == pytest.approx(0.2)
    assert rows["gone"].skipped == "nothing to measure"
    assert TABLE.claims(None, rows)[0].reached
    assert len(asked) == 9


def test_what_was_measured_is_not_measured_again(tmp_path):
    asked = []
    with Run.create(tmp_path, job={}) as run:
        measure_conditions(run, ROWS[:2], toy(asked), seeds=2)
        before = len(asked)
        again = measure_conditions(run, ROWS, toy(asked), seeds=2)
    assert asked[before:] == [(0, "none"), (1, "none")]
    assert len(again) == 2
