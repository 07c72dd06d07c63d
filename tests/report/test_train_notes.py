"""What the page of an observer says follows from its figures, good or bad."""

from __future__ import annotations

from observe_runs import evaluation
from report_pages import rows

from foveate.report.pages import train, train_tables


def test_sentences_on_thresholds_pooling_and_drift():
    sweep = [{"tau": 0.5, "drift": -0.3}, {"tau": 0.9, "drift": None}]
    assert "do not transfer" in train_tables.thresholds_note({"sweep": sweep})
    assert "transfer" not in train_tables.thresholds_note({"sweep": []})
    ways = {"none": {"scenes_mean": 0.95}, "ours": {"scenes_mean": 0.93}}
    assert "have 0.950" in train_tables.completions_note({"completions": ways})
    worse, equal = {"ours": 0.4, "fill": 0.5, "true": 0.6}, {"ours": 0.6, "fill": 0.5, "true": 0.6}
    assert "changes the semantics" in train_tables.neighbours_note(worse)
    assert "share as many concepts as those of true tiles" in train_tables.neighbours_note(equal)
    assert "hardly or not" in train._maps_note(-0.2)


def test_concepts_name_what_is_novel_rare_or_absent():
    (table,), note = train_tables.concepts(evaluation())
    assert [row.name for row in table.rows] == ["road", "boat"]
    assert table.rows[1].note == "novel: not in training, 11 tiles"
    assert rows(table)["road"][-1] == "+0.050"
    assert (
        "Fewer than 20 tiles show boat, so these values vary by chance. No tile shows tank." in note
    )
