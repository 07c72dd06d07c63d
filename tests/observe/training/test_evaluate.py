"""What a trial is worth, by hand on two small scenes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from toy_trial import toy

from foveate.observe.training import evaluate as judge
from foveate.observe.training.trial import Trial
from foveate.stats.measures import Measure


@pytest.fixture(scope="module")
def trial():
    return toy()


def test_a_curve_is_of_exact_shares(trial, monkeypatch):
    asked = []

    def quality(self, tokens, seen, *, by_group=False):
        asked.append(seen.sum())
        value = float(seen.mean())
        return Measure(value, [value], {"one": value} if by_group else {})

    monkeypatch.setattr(Trial, "quality", quality)
    evidence = trial.evidence()
    found, areas = judge.curve(trial, ["random", "learned", "oracle-gain"], evidence, draws=3)
    counts = [int(share * 7) for share in judge.CURVE]
    assert asked == [c for c in counts for _ in ("fill", "ours")] * 5
    assert found["shares"] == list(judge.CURVE)
    assert found["measure"] == "tile mAP"
    for name in ("random", "learned"):
        own, best = (np.array(found["policies"][n]["captured"]) for n in (name, "oracle-gain"))
        assert (own <= best + 1e-12).all()
    assert found["policies"]["learned"]["fill"] == pytest.approx([c / 8 for c in counts])
    assert areas["learned"].groups["one"] == pytest.approx(judge.area([c / 8 for c in counts]))


def areas_of(**groups):
    return {
        name.replace("_", "-"): Measure(float(np.mean(v)), [], dict(zip("abcdefgh", v)))  # noqa: B905
        for name, v in groups.items()
    }


def test_policies_are_compared_with_random_tiles_by_group():
    random, noise = np.full(8, 0.5), np.linspace(-0.02, 0.02, 8)
    found = judge.against_random(
        areas_of(
            random=random, learned=random + 0.1 + noise, design=random - 0.1 + noise,
            uniform=random + noise, oracle_gain=random + 0.3,
        )
    )  # fmt: skip
    assert (found["groups"], found["random"]) == (8, 0.5)
    assert set(found["policies"]) == {"learned", "design", "uniform"}
    verdicts = {name: one["verdict"] for name, one in found["policies"].items()}
    assert verdicts == {"learned": "better", "design": "worse", "uniform": "tied"}
    own = found["policies"]["learned"]
    assert own["area"] == pytest.approx(0.6)
    assert own["difference"]["mean"] == pytest.approx(0.1)
    assert 0.08 < own["difference"]["low"] < 0.1 < own["difference"]["high"] < 0.12


def test_few_groups_leave_it_open_and_one_tells_nothing():
    few = judge.against_random(
        {n: Measure(v, [], dict.fromkeys("abc", v)) for n, v in (("random", 0.5), ("learned", 0.6))}
    )
    assert few["policies"]["learned"]["verdict"] == "open"
    one = judge.against_random(
        {n: Measure(v, [], {"a": v}) for n, v in (("random", 0.5), ("learned", 0.6))}
    )
    assert one["policies"]["learned"] == {
        "area": 0.6, "difference": None, "p": None, "verdict": None
    }  # fmt: skip


def test_the_oracle_captures_what_can_be(trial):
    evidence = trial.evidence()
    names = ["random", "uniform", "learned", "oracle-gain"]
    curves, _ = judge.curve(trial, names, evidence)
    found = {name: curves["policies"][name]["captured"][3] for name in names}
    assert all(value <= found["oracle-gain"] for value in found.values())
    assert found["oracle-gain"] == pytest.approx(1)  # all is in the one tile that LR has wrong


def test_efficiency_is_between_random_and_the_oracle():
    heights = {"random": 0.4, "oracle-gain": 0.8, "own": 0.5, "worse": 0.3}
    found = {"policies": {k: {"ours": [v] * len(judge.CURVE)} for k, v in heights.items()}}
    assert judge.area([0.4] * len(judge.CURVE)) == pytest.approx(0.4)
    assert judge.efficiency(found, "own") == pytest.approx(0.25)
    assert judge.efficiency(found, "worse") == pytest.approx(-0.25)
    assert judge.efficiency(found, "oracle-gain") == 1
    found["policies"]["oracle-gain"] = found["policies"]["worse"]
    assert np.isnan(judge.efficiency(found, "own"))
    line = [2 * share for share in judge.CURVE]
    assert judge.area(line) == pytest.approx(judge.CURVE[0] + judge.CURVE[-1])


def test_a_higher_threshold_buys_less(trial):
    rows = judge.sweep(trial)
    assert [row["tau"] for row in rows] == list(judge.SWEEP)
    obr = [row["obr"] for row in rows]
    assert obr == sorted(obr, reverse=True)
    assert (obr[0], obr[-1]) == (1, 0)
    assert rows[0]["cosine"] is None
    assert rows[0]["drift"] is None
    for row in rows[1:-1]:
        assert row["drift"] == pytest.approx(row["obr"] / (1 - row["tau"]) - 1)


def test_completions_of_one_choice(trial):
    seen = np.zeros((2, 2, 2), bool)
    seen[1, 0, 0] = True
    found = {name: way.means() for name, way in judge.completions(trial, seen).items()}
    assert set(found) == {"none", "nearest", "fill", "ours", "LR only", "full"}
    assert found["full"]["cosine"] is None
    assert found["full"]["tiles"] == 1
    assert found["ours"]["cosine"] > found["fill"]["cosine"] > found["none"]["cosine"]
    nothing = np.zeros_like(seen)
    expected = trial.measure(trial.completed(nothing, "fill"), nothing).means()
    assert found["LR only"] == expected


def test_failures_are_tiles_that_there_are(trial):
    seen = np.zeros((2, 2, 2), bool)
    found = {case["kind"]: case for case in judge.failures(trial, seen)}
    assert set(found) == {"missed", "drift", "complex"}
    missed = found["missed"]
    assert (missed["scene"], missed["row"], missed["col"]) == ("s02", 0, 0)
    assert missed["value"] == pytest.approx(trial.truth["gain"].max())
    assert found["complex"]["scene"] == "s02"
    assert found["complex"]["value"] == pytest.approx((1.25**2 / 2) / 4)
    for case in found.values():
        assert (
            case["row"] is None or trial.valid[int(case["scene"][1:]) - 2, case["row"], case["col"]]
        )
    whole = judge.failures(trial, trial.valid)
    assert [case["kind"] for case in whole] == ["complex"]


def test_neighbours_agree_from_0_to_1(trial):
    found = judge.neighbours(trial, np.zeros((2, 2, 2), bool))
    assert set(found) == {"HR only", "fill", "ours", "true"}
    assert all(0 <= value <= 1 for value in found.values())
    assert found["true"] >= found["fill"]
    assert judge.neighbours(trial, trial.valid) == {}
    assert judge.neighbours(toy(labelled=False), np.zeros((2, 2, 2), bool)) == {}


def _against(monkeypatch, verdicts, validation):
    """Return the choice where curves on validation and judged scenes are given."""
    trials = [SimpleNamespace(scenes=[0] * n, evidence=lambda: EVIDENCE) for n in (2, 9)]
    areas = {name: SimpleNamespace(value=value) for name, value in validation.items()}
    monkeypatch.setattr(judge, "curve", lambda trial, names, evidence: ({}, areas))
    compared = {name: {"verdict": verdict} for name, verdict in verdicts.items()}
    monkeypatch.setattr(judge, "against_random", lambda areas, seed: {"policies": compared})
    return judge.choose_policy(*trials)


EVIDENCE = dict.fromkeys(("place", "probabilities", "learned", "design"))
VALIDATION = {"random": 0.5, "uniform": 0.6, "lr-entropy": 0.55, "learned": 0.7, "design": 0.8}


@pytest.mark.parametrize(
    ("learned", "design", "policy", "trained"),
    [
        ("better", "better", "design", "design"),
        ("better", "open", "learned", "learned"),
        ("open", "tied", "uniform", "design"),
        (None, None, "uniform", "design"),
        ("worse", "worse", "uniform", "design"),
    ],
)
def test_a_trained_policy_is_used_where_it_is_better(monkeypatch, learned, design, policy, trained):
    verdicts = {"learned": learned, "design": design, "uniform": "better", "lr-entropy": "open"}
    found = _against(monkeypatch, verdicts, VALIDATION)
    assert (found["policy"], found["trained"], found["scenes"]) == (policy, trained, 9)
    assert found["validation"] == VALIDATION


def test_without_a_measure_on_validation_scenes_tiles_are_random(monkeypatch):
    verdicts = dict.fromkeys(("learned", "design", "uniform", "lr-entropy"))
    found = _against(monkeypatch, verdicts, dict.fromkeys(VALIDATION, float("nan")))
    assert (found["policy"], found["trained"]) == ("random", "learned")
