"""The page of a comparison, and what is said of it."""

import math

import numpy as np
import pytest
from ranked_runs import write_run
from report_pages import pictures, rows, table, text

from foveate.cli.main import main
from foveate.curate import CompareJob
from foveate.report import headlines, write_report
from foveate.report.pages.compare import compare
from foveate.report.read_compare import read_compared
from foveate.report.words.compare import Pair, Top, chance_limit, compared

UP, DOWN = list(range(8)), list(range(8))[::-1]


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run", {"lc": UP, "fa": DOWN, "cb": [1, 0, *UP[2:]]}, thumbs=UP)
    CompareJob(rankings=[str(tmp_path / "run")], top=["50%"], patches=3).run(tmp_path / "out")
    return tmp_path / "out"


def test_a_page_by_hand(run):
    page = compare(read_compared(run))
    assert page.headline.startswith("3 rankings of 8 patches: most similar are lc and cb (Kendall")
    assert rows(table(page, "Agreement of all rankings")) is not None
    best = pictures(page, "ends")
    assert [p.note for group in best for p in group][:2] == [
        "a/y000000_x000010_10x10", "a/y000000_x000000_10x10",
    ]  # fmt: skip
    assert [len(group) for group in best] == [3, 3]
    assert "No patch is among the first 50" in page.verdicts[1]
    assert "Same order" in text(page, "order")


def test_ends_do_not_share_a_patch(tmp_path):
    write_run(tmp_path / "run", {"lc": [0, 1], "fa": [1, 0]}, scenes=("a",), per_scene=2)
    CompareJob(rankings=[str(tmp_path / "run")]).run(tmp_path / "out")
    write_report(tmp_path / "out")
    page = compare(read_compared(tmp_path / "out"))
    assert "Worst" not in text(page, "ends")


def test_long_names_are_numbered_and_hostile_ones_stay_text(tmp_path):
    name = "<script>alert(1)</script>"
    write_run(tmp_path / "run", {"lc": UP, "fa": DOWN}, scenes=(name, "b"))
    CompareJob(rankings=[str(tmp_path / "run")]).run(tmp_path / "out")
    assert name not in write_report(tmp_path / "out").read_text()
    lines = [f"i{i} d m {i} 0 {i}" for i in range(3)]
    files = [tmp_path / f"{'long' * 8}{i}.txt" for i in range(2)]
    for file in files:
        file.write_text("\n".join(lines))
    CompareJob(rankings=[str(f) for f in files]).run(tmp_path / "lists")
    page = compare(read_compared(tmp_path / "lists"))
    (matrix,) = [b for s in page.sections if s.id == "order" for b in s.blocks
                 if b.kind == "matrix"]  # fmt: skip
    assert matrix.names == ["1", "2"]


def test_no_tau_is_no_page_of_taus(tmp_path):
    write_run(tmp_path / "run", {"lc": [0, 1], "fa": [1, 0]})
    CompareJob(rankings=[str(tmp_path / "run")]).run(tmp_path / "out")
    assert "no two of them rank every patch" in headlines(tmp_path / "out")[""].text
    write_report(tmp_path / "out")


def test_what_is_within_chance_by_simulation():
    """Of 15 pairs of independent orders at most one in twenty sets goes beyond the limit."""
    from scipy.stats import kendalltau

    draw, n, pairs, sets = np.random.default_rng(0), 60, 15, 200
    limit = chance_limit(pairs, math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))
    beyond = 0
    for _ in range(sets):
        taus = [kendalltau(draw.permutation(n), draw.permutation(n)).statistic
                for _ in range(pairs)]  # fmt: skip
        beyond += max(map(abs, taus)) > limit
    assert beyond / sets < 0.09


def test_words():
    pairs = [Pair("a", "b", 0.8), Pair("a", "c", 0.02)]
    found = compared(pairs, 100, 3, 0.05, [Top("1%", 1, 0), Top("50%", 50, 20)],
                     left_out=[("a", 1), ("b", 0)], tied=["x.txt"])  # fmt: skip
    assert found.text.startswith("3 rankings of 100 patches: most similar are a and b")
    assert found.notes[0].startswith("1 of 2 pairs is no more similar than by chance (a and c)")
    assert found.notes[1].endswith("expected by chance: 12.")
    assert found.notes[2].startswith("1 patch of a is not compared")
    one = compared(pairs[:1], 100, 2, 0.05, [])
    assert "of a and b is 0.80" in one.text
    assert "of every pair is outside the range expected by chance" in one.notes[0]


def test_the_command_says_the_same(tmp_path, capsys):
    write_run(tmp_path / "run", {"lc": UP, "fa": DOWN})
    command = ["compare", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    out = capsys.readouterr().out
    for line in headlines(tmp_path / "out")[""].lines:
        assert line in out
    assert "-1.00" in out
    assert main([*command, "--json"]) == 0
    import json

    found = json.loads(capsys.readouterr().out)
    assert found["kendall"]["lc"]["fa"] == pytest.approx(-1)
    assert found["worked"] is False
