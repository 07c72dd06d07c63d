"""The headline of a benchmark of core-sets: better, tied, worse, and what balance explains."""

import pytest

from foveate.report.words.bench_curate import counted, foremost, judged


def _row(label, block, miou, verdict, gap=0.0):
    difference = {"mean": gap, "low": gap - 0.01, "high": gap + 0.01, "p": 0.01}
    return {
        "label": label, "block": block, "means": {"miou": miou}, "sds": {}, "verdict": verdict,
        "difference": difference, "p": 0.01, "clusters": 8, "reference": "random",
    }  # fmt: skip


def _found(*verdicts, samplers=("none", "balanced"), cautions=()):
    """Return a benchmark at 10 % with one method, lc, of these verdicts by sampler."""
    rows = []
    for sampler, verdict in zip(samplers, verdicts, strict=True):
        rows += [
            _row("all tiles", sampler, 0.6, "tied"), _row("random", sampler, 0.5, "reference"),
            _row("lc", sampler, {"better": 0.55, "worse": 0.45}.get(verdict, 0.5), verdict),
        ]  # fmt: skip
    balance = _row("balanced", "", 0.5, "better", 0.03) if len(samplers) > 1 else None
    entry = {"share": 0.1, "rows": rows, "floor": {}, "balance": balance}
    return {"entries": [entry], "samplers": samplers, "cautions": list(cautions)}


@pytest.mark.parametrize("verdict", ["tied", "worse", "open"])
def test_where_no_method_is_above_random_it_says_so(verdict):
    said = judged(_found(verdict, verdict))
    assert said.text.startswith("No method is significantly better than random")


def test_a_method_above_random_with_a_balanced_sampler_is_taken():
    said = judged(_found("tied", "better"))
    assert said.text.startswith("Use lc at 10")
    assert "class-balanced" in said.text
    assert "0.550" in said.text
    assert "0.500" in said.text


def test_gain_of_balancing_alone_is_not_credited_to_a_method():
    said = judged(_found("better", "tied"))
    assert said.text.startswith("With a class-balanced sampler, no method")
    assert "without one, lc is at" in said.text


def test_one_sampler_is_said_to_leave_balance_open():
    said = judged(_found("better", samplers=("none",)))
    assert said.text.startswith("Use lc")
    assert any("Only one sampler" in note for note in said.notes)


def test_balance_and_all_tiles_and_cautions_are_noted():
    said = judged(_found("tied", "tied", cautions=["Few folders."]))
    assert any("alone changes" in note and "0.030" in note for note in said.notes)
    assert any(note.startswith("mIoU with all tiles: 0.600") for note in said.notes)
    assert said.notes[-1] == "Few folders."


def test_the_large_figures_are_of_what_the_headline_says():
    found = _found("better", "tied")
    assert not counted(found["entries"])
    found = _found("better", "better")
    assert foremost(counted(found["entries"])).sampler == "balanced"
