"""`TrainJob`: names that are known, models by role, and concepts."""

from __future__ import annotations

import pytest
from colour_words import register

from foveate.errors import FoveateError
from foveate.observe.jobs import TrainJob
from foveate.observe.options import AUTO
from foveate.observe.scoring.targets import TARGETS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": "tny"}, "tiny"), ({"architecture": "krigged"}, "kriged"),
        ({"supervision": "semantics"}, "semantic"), ({"similarity": "cos"}, "similarity"),
        ({"obr": 0}, "obr"), ({"epochs": 0}, "epochs"), ({"val": 1.0}, "val"),
        ({"target_scale": "max"}, "target_scale"), ({"nonsense": 1}, "nonsense"),
        ({"concepts": ""}, "no concepts"), ({"bands": ""}, "whole numbers"),
        ({"scale": ""}, "Expected numbers"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(given, said):
    with pytest.raises(FoveateError, match=said):
        TrainJob(pairs="PAIRS", **given)


def test_every_supervision_is_allowed():
    for name in (AUTO, *TARGETS):
        assert TrainJob(pairs="PAIRS", supervision=name).supervision == name


def test_a_model_by_role():
    register()
    job = TrainJob(pairs="PAIRS", device="cpu")
    assert job.handle("text") is None
    assert job.handle("saliency") is None
    assert str(job.handle("hr")) == str(job.handle("lr")) == "builtin"
    other = TrainJob(
        pairs="PAIRS", device="cpu", model="colours", lr_model="builtin", bands=[3, 1, 2]
    )
    assert [str(other.handle(role)) for role in ("lr", "hr")] == ["builtin", "colours"]
    assert other.handle("lr").bands == (3, 1, 2)


def test_weights_of_the_encoder_are_not_those_of_another():
    job = TrainJob(pairs="PAIRS", model="builtin", lr_model="builtin", weights="no-such-file")
    assert not job.handle("lr").weights
    with pytest.raises(FoveateError):
        job.handle("hr")


@pytest.mark.parametrize("role", ["lr", "target", "saliency", "text"])
def test_weights_need_their_model(role):
    job = TrainJob(pairs="PAIRS", **{f"{role}_weights": "w.pt"})
    with pytest.raises(FoveateError, match=f"--{role}-weights without --{role}-model"):
        job.check_models()


def test_stated_concepts():
    assert TrainJob(pairs="PAIRS").stated_concepts() == ()
    job = TrainJob(pairs="PAIRS", concepts=[{"name": "a", "weight": 2}, {"name": "b"}])
    assert [c.weight for c in job.stated_concepts()] == [2, 1]
    with pytest.raises(FoveateError, match="weight 0"):
        TrainJob(pairs="PAIRS", concepts=[{"name": "a", "weight": 0}]).stated_concepts()
