"""What is said of a benchmark of `focus`, and its page."""

import json
import re

import pytest
from colour_words import register
from command import here
from scene_sets import write_classes

from foveate.errors import DataError
from foveate.report import page_of
from foveate.report.words.bench_focus import Ahead, looked, on_kind


def ahead(label, verdict, value, level, block="24 passes"):
    return Ahead(label, block, verdict, value, "random/vote", level)


def test_better_look_is_named_with_both_figures():
    said = looked(
        [ahead("look-rare", "better", 0.6, 0.2), ahead("look-balanced", "better", 0.3, 0.2),
         ahead("look-paper", "worse", 0.1, 0.2)], "top-1 accuracy", ["Few scenes."],
    )  # fmt: skip
    assert said.text == (
        "look-rare is better with 24 passes: top-1 accuracy 0.600, random/vote 0.200"
    )
    assert "1 more row is better than the best other method." in said.notes
    assert any("1 of 3 rows is worse, look-paper" in note for note in said.notes)
    assert said.notes[-1] == "Few scenes."


def test_query_look_does_not_represent_the_others():
    query = ahead("look-query", "better", 0.9, 0.2, "24 passes, told what to find")
    said = looked([query, ahead("look-rare", "better", 0.3, 0.2)], "top-1 accuracy", [])
    assert said.text.startswith("look-rare")
    assert looked([query], "top-1 accuracy", []).text.startswith("look-query")


def test_each_kind_of_scene_has_a_sentence():
    rows = [ahead("look-rare", "better", 0.6, 0.2), ahead("look-balanced", "tied", 0.7, 0.2)]
    assert on_kind("rare", rows, "the rest") == (
        "On scenes of the kind rare, look-rare is better with 24 passes: 0.600, random/vote 0.200."
    )
    assert on_kind("one", rows[1:], "the rest").endswith(
        "no look is significantly better than the rest."
    )
    assert on_kind("one", [], "the rest") == ""
    said = looked(rows, "top-1 accuracy", [], kinds=[on_kind("rare", rows, "the rest"), ""])
    assert sum("kind rare" in note for note in said.notes) == 1


@pytest.mark.parametrize("verdict", ["tied", "open", "worse", ""])
def test_no_look_is_better_without_a_verdict(verdict):
    said = looked([ahead("look-rare", verdict, 0.9, 0.1)], "top-1 accuracy", [])
    assert said.text.startswith("No look is significantly better than")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    register()
    root = tmp_path_factory.mktemp("focused")
    write_classes(root / "patches")
    for table in ("components", "share", "looks"):
        answer = here(
            "bench", "focus", "--scenes", root / "patches", "--model", "colours", "--labels",
            "red,green,blue", "--kind", "rare,one", "--count", "2", "--grid", "4", "--crop", "16",
            "--seeds", "1", "--table", table, "--out", root / "out",
        )  # fmt: skip
        assert answer.status == 0, answer.err
    return root / "out"


def test_the_page_has_every_table_and_its_charts(run):
    page = page_of(run)
    assert [section.title for section in page.sections][:1] == ["Looks against passes"]
    assert len(page.sections) == 3
    text = (run / "report.html").read_text()
    for heading in ("Accuracy against passes", "Accuracy against time", "8 x 8 patches",
                    "Differences on scenes of the kind one", "measured on other data",
                    "Table 3"):  # fmt: skip
        assert heading in text
    assert not re.search(r"\bnan\b", re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL))


def test_a_damaged_table_is_named(run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run/tables/looks.json"
    content = json.loads(file.read_text())
    del content["rows"][0]["means"]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="'looks' of the run is damaged") as caught:
        page_of(tmp_path / "run")
    assert "foveate bench focus" in caught.value.hint
