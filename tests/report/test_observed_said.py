"""What the page of an observer says follows from its figures, good or bad."""

from __future__ import annotations

from observe_runs import evaluation

from foveate.report import observed_said as said
from foveate.report.observed_tables import concepts


def test_sentences_on_thresholds_pooling_and_drift():
    rows = [{"tau": 0.5, "drift": -0.3}, {"tau": 0.9, "drift": None}]
    assert "do not carry over" in said.sweep(rows)
    assert said.sweep([]) == ""
    ways = {"none": {"scenes_mean": 0.95}, "ours": {"scenes_mean": 0.93}}
    assert "reach 0.950" in said.scenes(ways)
    assert "drifts in meaning" in said.neighbours({"ours": 0.4, "fill": 0.5, "true": 0.6})
    assert "as often as the true ones" in said.neighbours({"ours": 0.6, "fill": 0.5, "true": 0.6})
    assert "hardly or not at all" in said.maps(-0.2)


def test_concepts_name_what_is_novel_rare_or_absent():
    rows, note = concepts(evaluation())
    assert [row.name for row in rows] == ["road", "boat"]
    assert rows[1].note == "novel: not in training, 11 tiles"
    assert rows[0].cells[-1] == "+0.050"
    assert "Fewer than 20 tiles show boat: chance rules there. No tile shows tank." in note
