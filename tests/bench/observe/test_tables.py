from pathlib import Path

import pytest

from foveate.bench.compare import Comparison
from foveate.bench.observe.job import BenchJob
from foveate.bench.observe.tables import TABLES
from foveate.bench.observe.write import TITLES
from foveate.errors import FoveateError, ParameterError
from foveate.stats import Difference


def job(table, **more):
    if table == "encoders":
        more["encoders"] = str(Path(__file__).with_name("encoders.yaml"))
    return BenchJob(pairs="p", table=table, init="m", text_model="open_clip:x", **more)


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_unique_and_contain_the_references(name):
    table = TABLES[name]
    rows = table.rows(job(name))
    assert len({(row.block, row.label) for row in rows}) == len(rows)
    for block in {row.block for row in rows}:
        labels = {row.label for row in rows if row.block == block}
        assert labels & set(table.references or labels), block
    assert {c for c in table.columns if not c.startswith("@")} <= set(TITLES)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("known", [True, False])
def test_claims_follow_from_rules_and_skip_missing_rows(name, known):
    table = TABLES[name]
    rows = table.rows(job(name))
    means = {**dict.fromkeys(TITLES, 0.5), "obr": 0.12}
    found = [
        Comparison(
            row.label, row.block, means, dict.fromkeys(means, 0.1), [*table.references, ""][0],
            Difference(0.1, 0.05, 0.15, 0.01), 0.01, 30, "better",
        )
        if known
        else Comparison(row.label, row.block, skipped="why")
        for row in rows
    ]  # fmt: skip
    if table.derive is not None:
        found = table.derive(found)
    lines = table.claims(
        job(name), {f"{r.block}: {r.label}" if r.block else r.label: r for r in found}
    )
    assert bool(lines) == known
    assert all(line.text for line in lines)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"table": "mane"}, "table"),
        ({"table": "main", "seeds": 0}, "seeds"),
        ({"table": "main", "supervision": "auto"}, "Name one"),
        ({"table": "main", "test": 0}, "held-out test scenes"),
        ({"table": "pretraining"}, "--init"),
        ({"table": "zeroshot"}, "--text"),
    ],
)
def test_bad_options_raise(given, says):
    with pytest.raises(ParameterError, match=says) as caught:
        BenchJob(pairs="p", **given)
    assert isinstance(caught.value, FoveateError)


def test_a_seed_changes_the_seed_and_nothing_else():
    whole = job("main", epochs=3, seed=5)
    one, two = whole.training(0), whole.training(2)
    assert (one.seed, two.seed, one.epochs) == (5, 7, 3)
    assert one.model_dump(exclude={"seed"}) == two.model_dump(exclude={"seed"})
