"""What the page of an observer says follows from its figures, good or bad."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from observe_runs import evaluation

from foveate.report import observed_said as said
from foveate.report.observed_tables import concepts


def verdicts(**facts):
    found = evaluation(**facts)
    return " ".join(said.verdicts(said.worth(found), found))


def test_poor_figures_are_said_to_be_poor():
    assert "Completion adds nothing over the LR fill (+0.002)" in verdicts(fill=0.648)
    assert "adds little over the LR fill (+0.010)" in verdicts(fill=0.64)
    assert "worse than the LR fill (\u22120.050): use the fill" in verdicts(fill=0.7)
    assert "no better than random tiles (+0.001)" in verdicts(random=0.649)
    assert "worse than random tiles" in verdicts(random=0.7)
    assert "adds nothing over the overviews alone (\u22120.050)" in verdicts(low=0.7)
    assert "High resolution itself adds nothing" in verdicts(low=0.8)
    assert "uniform, which learns nothing" in verdicts(efficiency={"uniform": 0.6, "learned": 0.5})
    few = verdicts(split="val", scenes=1)
    assert "no test scenes" in few
    assert "Only 1 scene was judged" in few


@given(*[st.floats(0, 1) for _ in range(5)])
def test_every_figure_gets_one_verdict(ours, fill, low, random, full):
    found = evaluation(ours=ours, fill=fill, low=low, random=random, full=full)
    texts = said.verdicts(said.worth(found), found)
    assert len(texts) == 3
    assert sum("LR fill" in text for text in texts) == 1
    assert sum("random tiles" in text for text in texts) == 1


def test_sentences_on_thresholds_pooling_and_drift():
    rows = [{"tau": 0.5, "drift": -0.3}, {"tau": 0.9, "drift": None}]
    assert "do not carry over" in said.sweep(rows)
    assert said.sweep([]) == ""
    ways = {"none": {"scenes_mean": 0.95}, "ours": {"scenes_mean": 0.93}}
    assert "reach 0.950" in said.scenes(ways)
    assert "drifts in meaning" in said.neighbours({"ours": 0.4, "fill": 0.5, "true": 0.6})
    assert "as well as the true ones" in said.neighbours({"ours": 0.6, "fill": 0.5, "true": 0.6})
    assert "hardly or not at all" in said.maps(-0.2)
    assert said.signed(0.0001) == "0.000"


def test_concepts_name_what_is_novel_rare_or_absent():
    rows, note = concepts(evaluation())
    assert [row.name for row in rows] == ["road", "boat"]
    assert rows[1].note == "novel: not in training, 11 tiles"
    assert rows[0].cells[-1] == "+0.050"
    assert "Fewer than 20 tiles show boat: chance rules there. No tile shows tank." in note
