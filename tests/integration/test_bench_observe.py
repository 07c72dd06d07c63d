"""`foveate bench observe` from end to end, on the tiny world."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from command import here

pytest.importorskip("torch")

from observing import observing  # noqa: F401


def bench(observing, out, *more):  # noqa: F811
    return [
        "bench", "observe", observing.pairs, "--out", out, "--size", "nano",
        "--epochs", "1", "--seeds", "1", "--device", "cpu", "--no-timed", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(observing, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("bench") / "run"
    answer = here(*bench(observing, out, "--table", "threshold"))
    assert answer.status == 0, answer.err
    assert "Claims:" in answer.out
    assert answer.out.startswith("Thresholds: ")
    assert "# Thresholds" in answer.out
    assert f"Report: {out / 'report.html'}" in answer.out
    return out


def test_the_table_lies_in_the_run(run):
    found = json.loads((run / "tables/threshold.json").read_text())
    assert found["rows"][0]["label"] == "tau 0"
    assert found["rows"][0]["means"]["obr"] == 1
    assert (run / "tables/threshold.md").read_text().startswith("# Thresholds")
    assert (run / "tables/threshold.csv").read_text().startswith("block,row,obr")
    assert found["titles"]["tiles"] == "tile mAP"


def test_the_report_shows_it_and_asks_nobody(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Thresholds" in page
    assert not re.search(r"""(?:src|href)=["']?http|url\(http""", page)


def test_a_second_run_does_nothing_and_another_table_uses_what_is_there(observing, run):  # noqa: F811
    again = here(*bench(observing, run, "--table", "threshold"))
    assert again.out.startswith("Nothing to do")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    other = here(*bench(observing, run, "--table", "depth", "--obr", "0.3", "--json"))
    assert other.status == 0, other.err
    assert other.json["bench"]["table"] == "depth"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_cell_that_is_lost_is_measured_again_to_the_same_table(observing, run, tmp_path):  # noqa: F811
    shutil.copytree(run, tmp_path / "copy")
    table = (run / "tables/threshold.json").read_bytes()
    next((tmp_path / "copy").rglob("tau-0.55*.json")).unlink()
    answer = here(*bench(observing, tmp_path / "copy", "--table", "threshold", "--json"))
    assert answer.json["worked"]
    assert (tmp_path / "copy/tables/threshold.json").read_bytes() == table
