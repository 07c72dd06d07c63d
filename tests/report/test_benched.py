"""The page of a benchmark, made of run directories written by hand."""

from __future__ import annotations

import math
import re

import pytest
from bench_runs import row, rows, table, write_benched
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError
from foveate.files import read_json, write_json
from foveate.report import benched, write_report
from foveate.report.benched_charts import interval, span
from foveate.report.benched_data import ORDER, Interval

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def page_of(path):
    return benched.build(benched.read_benched(path))


def test_it_opens_with_what_was_measured_and_which_claims_were_reached(tmp_path):
    page = page_of(write_benched(tmp_path / "run"))
    assert page.headline == "Policies: 1 of 2 claims reached"
    assert [(f.label, f.value) for f in page.figures] == [
        ("Claims reached", "1 of 2"), ("Seeds", "2"), ("Test scenes", "12"),
        ("Observed share", "12\u202f%"),
    ]  # fmt: skip
    assert page.figures[2].note == "under each seed; 22 groups of them in all"
    assert [(c.mark, c.said) for c in page.tables[0].claims] == [
        ("✓", "reached"), ("✗", "not reached"), ("·", "noted"),
    ]  # fmt: skip
    assert dict(page.facts)["Pairs"] == "5,744 tiles in 60 scenes"
    assert dict(page.origin.steps) == {
        "measuring, with trainings": "1\u202fmin 00\u202fs",
        "of that training": "1\u202fmin 00\u202fs",
    }
    assert ("tables", "main") in page.origin.inputs
    assert page.origin.excluded_text.startswith("256 tiles")


def test_tables_are_listed_as_the_benchmark_lists_them(tmp_path):
    from foveate.bench.tables import TABLES

    assert tuple(TABLES) == ORDER
    path = write_benched(
        tmp_path / "run", table("budget", "Curves"), table("zz", "New"), table(), table("ablation")
    )
    write_json(path / "tables/evaluation.json", {"split": "test"})  # of another job
    page = page_of(path)
    assert [t.name for t in page.tables] == ["main", "ablation", "budget", "zz"]
    assert page.headline == "Policies: 1 of 2 claims reached; in all 4 tables 4 of 8"
    assert ("of this command", "ablation") in page.origin.inputs


def test_every_verdict_has_a_form_and_a_word(tmp_path):
    shown = page_of(write_benched(tmp_path / "run")).tables[0]
    (group,) = shown.groups
    assert group.note == "against base, tile mAP 0.500"
    assert [r.verdict for r in group.rows] == ["reference", "better", "worse", "tied", "open"]
    assert [r.short for r in group.rows] == ["0.500", "+0.100", "\u22120.100", "0.000", "+0.020"]
    assert group.rows[1].full == "+0.100 [+0.050, +0.150]"
    assert group.rows[1].p == "0.020"
    forms = [re.search(r'class="mean" d="([^"]+)"', str(r.chart)).group(1) for r in group.rows]
    assert len(set(forms)) == 5
    assert "up: tile mAP 0.600, +0.100 [+0.050, +0.150] against base, better" in group.rows[1].chart
    assert [name for name, _ in shown.legend] == ["better", "worse", "tied", "open", "reference"]
    assert shown.columns == ["tile mAP"]  # no row has an OBR here
    assert shown.left_out == [("gone", "no labels")]


def test_blocks_have_references_of_their_own(tmp_path):
    found = [*rows(block="random 0.05"), *rows(block="learned 0.05")]
    shown = page_of(write_benched(tmp_path / "run", table(found=found))).tables[0]
    assert [g.title for g in shown.groups] == ["random 0.05", "learned 0.05"]
    assert [len(g.rows) for g in shown.groups] == [5, 5]


def test_rows_that_nothing_is_compared_with_are_a_table_alone(tmp_path):
    found = [row("a", 0.5), row("b", None)]
    path = write_benched(tmp_path / "run", table(found=found, says=[]))
    page = page_of(path)
    assert not page.tables[0].compared
    assert page.headline == "Policies: measured"
    assert page.tables[0].groups[0].rows[1].cells == ["\u2013"]
    text = write_report(path).read_text(encoding="utf-8")
    assert 'class="intervals"' not in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_titles_fall_back_to_keys_and_cautions_are_warnings(tmp_path):
    found = table(cautions=["Few groups."])
    del found["titles"]
    page = page_of(write_benched(tmp_path / "run", found))
    assert page.tables[0].lead == "tiles"
    assert page.verdicts == ("Few groups.",)


def test_heights_over_shares_are_curves(tmp_path):
    names = ("random, ours", "learned, ours", "new, ours", "random, fill", "new, fill")
    found = [
        row(name, 0.5 + i / 100, **{"@0.02": 0.5, "@0.5": 0.6 + i / 100})
        for i, name in enumerate(names)
    ]
    columns = ["@0.02", "@0.5", "tiles"]
    run = write_benched(tmp_path / "run", table(found=found, columns=columns))
    shown = page_of(run).tables[0]
    assert list(shown.curves.samples) == ["random, ours", "learned, ours", "new, ours",
                                          "random, fill"]  # fmt: skip
    assert str(shown.curves.chart).count("<path") == 4
    assert "dashed" in shown.curves.samples["random, fill"]
    assert shown.columns == ["at OBR 0.02", "at OBR 0.5", "tile mAP"]
    assert page_of(write_benched(tmp_path / "other")).tables[0].curves is None


def test_the_scale_ends_before_rows_that_are_far_off():
    near = [Interval(0.01, 0.005, 0.015)] * 5
    assert not span(near).cut
    over = span([*near, Interval(-0.4, -0.5, -0.3)])
    assert over.cut
    assert over.low > -0.2
    drawn = interval(over, Interval(-0.4, -0.5, -0.3), "worse", "far")
    assert "beyond" in drawn
    assert 'class="mean"' not in drawn
    assert math.isfinite(span([]).x(0.0))


finite = st.floats(-1e3, 1e3)


@given(st.lists(st.tuples(finite, finite, finite), max_size=8))
def test_every_scale_has_zero_and_every_mark_lies_on_it(triples):
    gaps = [Interval(sorted(t)[1], min(t), max(t)) for t in triples]
    over = span(gaps)
    assert over.low <= 0 <= over.high
    assert 2 <= len(over.ticks()) <= 6
    assert any(abs(tick) < 1e-12 for tick in over.ticks())
    for gap in gaps:
        places = re.findall(r'x[12]?="([^"]+)%"', str(interval(over, gap, "tied", "row")))
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
    assert page.tables[0].groups == []
    assert page.tables[0].left_out == [("all", "no labels")]


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
