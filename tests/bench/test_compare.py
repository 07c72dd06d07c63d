import csv

import numpy as np
import pytest

from foveate.bench.compare import compare
from foveate.bench.conditions import Row, Table
from foveate.bench.observe.observing import CURVE, Condition, curve
from foveate.bench.observe.tables import efficient
from foveate.bench.observe.write import content
from foveate.bench.write import markdown, write
from foveate.stats import FEWEST
from foveate.stats.measures import Measure, area, mean_of

TABLE = Table("T", "tiles", ("tiles",), lambda _: [], ("base", "other"), lambda *_: [])
GROUPS = 24


def row(label, block=""):
    return Row(label, (Condition(label, 0.1, block),), block)


def made(mean, spread=0.01, groups=GROUPS, seed=0, name="tiles"):
    values = mean + spread * np.random.default_rng(seed).normal(size=groups)
    values += mean - values.mean()
    return {name: Measure(mean, [mean], {f"g{i}": float(v) for i, v in enumerate(values)})}


def compared(rows, results, table=TABLE):
    found, _ = compare(table, rows, results)
    return {r.label: r for r in found}


def test_rows_are_better_worse_or_tied_and_the_difference_is_that_of_the_means():
    rows = [row(name) for name in ("base", "up", "down", "same")]
    means = {"base": 0.5, "up": 0.6, "down": 0.4, "same": 0.5001}
    results = [
        {r.conditions[0]: made(means[r.label], seed=i + 10 * s) for i, r in enumerate(rows)}
        for s in range(3)
    ]
    found = compared(rows, results)
    assert {name: r.verdict for name, r in found.items()} == {
        "base": "reference", "up": "better", "down": "worse", "same": "tied",
    }  # fmt: skip
    assert found["up"].difference.mean == pytest.approx(0.1)
    assert found["up"].clusters == GROUPS  # the same ground under three seeds
    assert found["up"].p > found["up"].difference.p


def test_the_reference_of_a_block_is_the_better_one_of_several():
    rows = [row(name, block) for block in ("x", "y") for name in ("base", "other", "own")]
    means = [0.5, 0.6, 0.7, 0.6, 0.5, 0.7]
    results = [{r.conditions[0]: made(m, seed=i) for i, (r, m) in enumerate(zip(rows, means))}]  # noqa: B905
    found, _ = compare(TABLE, rows, results)
    assert [r.verdict for r in found if r.label != "own"] == [
        "worse", "reference", "reference", "worse",
    ]  # fmt: skip
    assert [r.reference for r in found if r.label == "own"] == ["other", "base"]


def test_means_over_fewer_seeds_are_marked_and_are_no_reference(tmp_path):
    rows, none = [row("base"), row("other"), row("own")], Measure(float("nan"), [], {})
    means = [(0.5, 0.5, 0.5), (0.9, 0.9, None), (0.6, 0.6, 0.6)]
    results = [
        {r.conditions[0]: {"tiles": none} if m[s] is None else made(m[s], seed=10 * s + i)
         for i, (r, m) in enumerate(zip(rows, means, strict=True))}
        for s in range(3)
    ]  # fmt: skip
    found, lead = compare(TABLE, rows, results)
    assert [r.seeds for r in found] == [{}, {"tiles": 2}, {}]
    assert found[0].verdict == "reference"
    split = {"scenes": 9, "groups": GROUPS}
    written = content(TABLE, lead, found, name="m", seeds=3, obr=0.1, lines=[], split=split)
    _, table, text = write(tmp_path, "m", written)
    assert "| other | 0.900 (2 seeds) |" in text.read_text()
    head, *lines = csv.reader(table.read_text().splitlines())
    assert [line[head.index("tiles seeds")] for line in lines] == ["3", "2", "3"]


def test_a_curve_with_a_missing_point_has_no_area():
    points = [made(0.5)["tiles"], Measure(float("nan"), [0.5], {})]
    assert np.isnan(area(points, [0.1, 0.2]).value)
    assert area(points, [0.1, 0.2]).groups == mean_of(points).groups == {}


def test_few_groups_leave_it_open_and_one_has_no_interval():
    rows = [row("base"), row("up")]
    for groups, verdict in ((FEWEST, "better"), (FEWEST - 1, "open"), (1, "")):
        results = [{r.conditions[0]: made(m, 0.001, groups) for r, m in zip(rows, (0.5, 0.6))}]  # noqa: B905
        found = compared(rows, results)["up"]
        assert (found.verdict, found.clusters) == (verdict, groups)


def test_skipped_rows_have_a_reason_and_no_comparison():
    rows = [row("base"), row("up")]
    base, up = (row.conditions[0] for row in rows)
    found = compared(rows, [{base: made(0.5), up: "no labels"}])["up"]
    assert (found.skipped, found.means, found.difference) == ("no labels", {}, None)


def test_without_labels_the_quality_leads():
    rows = [row("base"), row("up")]
    results = [{r.conditions[0]: made(m, name="quality") for r, m in zip(rows, (0.5, 0.6))}]  # noqa: B905
    found, lead = compare(TABLE, rows, results)
    assert lead == "quality"
    assert found[1].verdict == "better"


def test_curves_have_areas_and_efficiencies():
    table = Table("T", "area", ("area",), lambda _: [], ("random, ours",), lambda *_: [])
    heights = {"random": 0.4, "learned": 0.5, "oracle-gain": 0.6}
    rows = [Row(f"{name}, ours", curve(name, "ours")) for name in heights]
    results = [{
        condition: made(heights[condition.policy], seed=i) | made(condition.share, name="captured")
        for i, r in enumerate(rows) for condition in r.conditions
    }]  # fmt: skip
    found, _ = compare(table, rows, results)
    found = {r.label: r for r in efficient(found)}
    own = found["learned, ours"]
    assert own.means["area"] == pytest.approx(0.5)
    assert own.means["efficiency"] == pytest.approx(0.5)
    assert "efficiency greedy" not in own.means
    assert own.means["captured"] == pytest.approx((CURVE[-1] + CURVE[0]) / 2)
    assert own.verdict == "better"


def test_a_table_is_written_for_programs_and_people(tmp_path):
    rows = [row("base"), row("up"), row("gone")]
    results = [{r.conditions[0]: made(m) for r, m in zip(rows, (0.5, 0.6))}]  # noqa: B905
    results[0][rows[2].conditions[0]] = "no labels"
    found, lead = compare(TABLE, rows, results)
    written = content(
        TABLE,
        lead,
        found,
        name="main",
        seeds=1,
        obr=0.12,
        lines=[],
        split={"scenes": 1, "groups": 1},
    )
    paths = write(tmp_path, "main", written)
    assert [p.suffix for p in paths] == [".json", ".csv", ".md"]
    text = markdown(written)
    assert "| up | 0.600 | +0.100 [" in text
    assert "Left out: gone: no labels" in text
    assert "gone" not in paths[1].read_text()
