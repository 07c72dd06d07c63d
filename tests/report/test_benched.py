"""The page of a benchmark, made of run directories written by hand."""

from __future__ import annotations

import math
import re

import pytest
from bench_runs import row, rows, table, write_benched
from hypothesis import given
from hypothesis import strategies as st
from report_pages import blocks, figures
from report_pages import rows as rows_of
from report_pages import table as table_of
from report_pages import text as text_of

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import page_of, write_report
from foveate.report.blocks import Chart, Legend, Points, Table
from foveate.report.read_observe import ORDER
from foveate.report.svg import Interval, forest, forest_scale

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def test_it_opens_with_what_was_measured_and_which_claims_were_reached(tmp_path):
    page = page_of(write_benched(tmp_path / "run"))
    assert page.headline == "Policies: 1 of 2 claims reached"
    assert [(label, f.value) for label, f in figures(page).items()] == [
        ("Claims reached", "1 of 2"), ("Seeds", "2"), ("Test scenes", "12"),
        ("Budget share", "12\u202f%"),
    ]  # fmt: skip
    assert figures(page)["Test scenes"].note == "per seed; 22 groups in total"
    assert blocks(page, Points)[0].marks == [
        ("yes", "✓ reached"), ("no", "✗ not reached"), ("so", "· noted"),
    ]  # fmt: skip
    assert dict(page.facts)["Pairs"] == "5,744 tiles in 60 scenes"
    assert dict(page.origin.steps) == {
        "measurements, including training": "1\u202fmin 00\u202fs",
        "of these, training": "1\u202fmin 00\u202fs",
    }
    assert ("tables", "main") in page.origin.inputs
    assert page.origin.excluded_text.startswith("256 tiles")


def test_tables_are_listed_as_the_benchmark_lists_them(tmp_path):
    from foveate.bench.observe.tables import TABLES

    assert tuple(TABLES) == ORDER
    path = write_benched(
        tmp_path / "run", table("budget", "Curves"), table("zz", "New"), table(), table("ablation")
    )
    write_json(path / "tables/evaluation.json", {"split": "test"})  # of another job
    page = page_of(path)
    assert [s.nav for s in page.sections] == ["main", "ablation", "budget", "zz"]
    assert page.headline == "Policies: 1 of 2 claims reached; in all 4 tables 4 of 8"
    assert ("table of this command", "ablation") in page.origin.inputs


def test_every_verdict_has_a_form_and_a_word(tmp_path):
    page = page_of(write_benched(tmp_path / "run"))
    compared = forests(page)[0]
    assert compared.caption == "against base, tile mAP 0.500"
    names = [row.cells[-1].text for row in compared.rows[1:]]  # below the axis
    assert names == ["reference", "better", "worse", "tied", "open"]
    assert [row.cells[1] for row in compared.rows[1:]] == [
        "0.500", "+0.100", "\u22120.100", "0.000", "+0.020",
    ]  # fmt: skip
    drawn = [str(row.cells[0]) for row in compared.rows[1:]]
    assert len({re.search(r'class="mean" d="([^"]+)"', one).group(1) for one in drawn}) == 5
    assert "up: tile mAP 0.600, +0.100 [+0.050, +0.150] against base, better" in drawn[1]
    assert [name for _, name in blocks(page, Legend)[0].items] == [
        "better", "worse", "tied", "open", "reference",
    ]  # fmt: skip
    means = table_of(page, "Means: Policies")
    assert [c.title for c in means.heads[1:2]] == ["tile mAP"]  # no row has an OBR here
    assert rows_of(means)["up"][1:3] == ["+0.100 [+0.050, +0.150]", "0.020"]
    assert "Left out: gone. no labels" in text_of(page, "table0")


def forests(page):
    """Return the tables of intervals."""
    return [t for t in blocks(page, Table) if t.label.startswith("Differences")]


def test_blocks_have_references_of_their_own(tmp_path):
    found = [*rows(block="random 0.05"), *rows(block="learned 0.05")]
    compared = forests(page_of(write_benched(tmp_path / "run", table(found=found))))
    assert [t.caption.partition(":")[0] for t in compared] == ["random 0.05", "learned 0.05"]
    assert [len(t.rows) for t in compared] == [6, 6]


def test_rows_that_nothing_is_compared_with_are_a_table_alone(tmp_path):
    found = [row("a", 0.5), row("b", None)]
    path = write_benched(tmp_path / "run", table(found=found, says=[]))
    page = page_of(path)
    assert not forests(page)
    assert page.headline == "Policies: measured"
    assert rows_of(table_of(page, "Means: Policies"))["b"] == ["\u2013"]
    text = write_report(path).read_text(encoding="utf-8")
    assert 'class="whisker"' not in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_titles_fall_back_to_keys_and_cautions_are_warnings(tmp_path):
    found = table(cautions=["Few groups."])
    del found["titles"]
    page = page_of(write_benched(tmp_path / "run", found))
    assert table_of(page, "Means: Policies").heads[1].title == "tiles"
    assert page.verdicts == ("Few groups.",)


def test_heights_over_shares_are_curves(tmp_path):
    names = ("random, ours", "learned, ours", "new, ours", "random, fill", "new, fill")
    found = [
        row(name, 0.5 + i / 100, **{"@0.02": 0.5, "@0.5": 0.6 + i / 100})
        for i, name in enumerate(names)
    ]
    columns = ["@0.02", "@0.5", "tiles"]
    run = write_benched(tmp_path / "run", table(found=found, columns=columns))
    page = page_of(run)
    (curves,) = blocks(page, Chart)
    assert [name for _, name in curves.legend] == [
        "random, ours", "learned, ours", "new, ours", "random, fill",
    ]  # fmt: skip
    assert str(curves.svg).count("<path") == 4
    assert "dashed" in curves.legend[-1][0]
    means = table_of(page, "Means: Policies")
    assert [c.title for c in means.heads[1:]] == [
        "at 2.0\u202f% observed",
        "at 50\u202f% observed",
        "tile mAP",
    ]
    assert not blocks(page_of(write_benched(tmp_path / "other")), Chart)


def test_the_scale_ends_before_rows_that_are_far_off():
    near = [Interval(0.01, 0.005, 0.015)] * 5
    assert not forest_scale(near)[1]
    over, cut = forest_scale([*near, Interval(-0.4, -0.5, -0.3)])
    assert cut
    assert over.low > -0.2
    drawn = forest(over, Interval(-0.4, -0.5, -0.3), "worse", "far")
    assert "beyond" in drawn
    assert 'class="mean"' not in drawn
    assert math.isfinite(forest_scale([])[0](0.0))


finite = st.floats(-1e3, 1e3)


@given(st.lists(st.tuples(finite, finite, finite), max_size=8))
def test_every_scale_has_zero_and_every_mark_lies_on_it(triples):
    gaps = [Interval(sorted(t)[1], min(t), max(t)) for t in triples]
    over, _ = forest_scale(gaps)
    assert over.low <= 0 <= over.high
    assert 2 <= len(over.ticks(4)) <= 6
    assert any(abs(tick) < 1e-12 for tick in over.ticks(4))
    for gap in gaps:
        places = re.findall(r'x[12]?="([^"]+)%"', str(forest(over, gap, "tied", "row")))
        assert all(0 <= float(place) <= 100 for place in places)


def test_the_page_is_a_function_of_the_run_and_asks_the_network_for_nothing(tmp_path):
    found = table(found=rows(block=HOSTILE), title=HOSTILE, note=HOSTILE)
    found["says"][0]["text"] = HOSTILE
    path = write_benched(tmp_path / "run", found, command=HOSTILE)
    page = write_report(path)
    first = page.read_bytes()
    assert write_report(path).read_bytes() == first
    text = first.decode()
    assert "<img" not in text
    assert not re.search(r'(?:src|href)="http', text)
    assert "url(http" not in text
    assert "script-src 'none'" in text.replace("&#39;", "'")


def test_a_run_without_its_last_table_is_not_finished(tmp_path):
    path = write_benched(tmp_path / "run", table(), table("budget"))
    (path / "tables/budget.json").unlink()
    with pytest.raises(DataError, match="it has no table 'budget'"):
        write_report(path)


KEYS = (
    "title", "lead", "columns", "seeds", "obr", "test", "clusters", "how", "note", "rows", "says",
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("change", [lambda t, k: t.pop(k), lambda t, k: t.update({k: {"a": True}})])
def test_a_damaged_table_is_named_with_its_key(tmp_path, key, change):
    found = table()
    change(found, key)
    with pytest.raises(DataError, match=f"'main' of the run is damaged: .*{key}|no test.scenes"):
        write_report(write_benched(tmp_path / "run", found))


@pytest.mark.parametrize(("key", "broken", "says"), [
    ("label", None, r"rows\[1\].label is of type NoneType"),
    ("means", {"tiles": "much"}, r"rows\[1\].means.tiles is of type str"),
    ("difference", {"mean": 1.0}, r"no rows\[1\].difference.low"),
    ("difference", [1.0], r"rows\[1\].difference is of type list"),
])  # fmt: skip
def test_a_damaged_row_is_named_with_its_place(tmp_path, key, broken, says):
    found = table()
    found["rows"][1][key] = broken
    with pytest.raises(DataError, match=says):
        write_report(write_benched(tmp_path / "run", found))


@pytest.mark.parametrize(
    "part", [{"job": []}, {"steps": []}, {"steps": {"train": 1}}, {"summary": {"pool": 1}}]
)
def test_a_damaged_record_is_an_error(tmp_path, part):
    path = write_benched(tmp_path / "run")
    record = read_json(path / "run.json")
    more = {**record["summary"], **part["summary"]} if "summary" in part else None
    write_json(path / "run.json", {**record, **part, **({"summary": more} if more else {})})
    with pytest.raises(DataError, match=r"record .* is damaged"):
        write_report(path)


def test_a_table_without_rows_is_a_page(tmp_path):
    page = page_of(write_benched(tmp_path / "run", table(found=[], left_out={"all": "no labels"})))
    assert table_of(page, "Means: Policies").rows == []
    assert "Left out: all. no labels" in text_of(page, "table0")


def test_what_is_no_json_or_no_table_is_an_error(tmp_path):
    path = write_benched(tmp_path / "run")
    (path / "tables/main.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match="its content is of type list"):
        write_report(path)
    (path / "tables/main.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="as JSON"):
        write_report(path)
    record = read_json(path / "run.json")
    write_json(path / "run.json", {**record, "summary": {"bench": None}})
    (path / "tables/main.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        write_report(path)
