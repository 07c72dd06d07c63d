"""Stages of a training on a planted world: what they choose, keep and hand on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from colour_words import colour_words
from planted import plant, stages_of

from foveate.errors import ParameterError
from foveate.observe.features import Encoder
from foveate.observe.jobs import TrainJob
from foveate.observe.networks.heads import LabelHead
from foveate.observe.networks.sizes import SIZES, architecture_of
from foveate.observe.networks.tasks import FillTask
from foveate.observe.scoring.targets import TARGETS
from foveate.observe.training.dataset import check_warm_start
from foveate.observe.training.stages import STRENGTHS, fill_of, scores_of


@pytest.fixture(scope="module")
def world():
    return plant(scenes=24, side=4)


@pytest.fixture(scope="module")
def filled(world):
    return stages_of(world).fill()


def weights(net):
    return {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}


def test_the_ridge_is_the_best_on_the_validation_scenes(world, filled):
    fill, facts = filled
    assert facts["strength"] in STRENGTHS
    stages = stages_of(world)
    val = world.data.take(world.scenes("val"))
    with torch.no_grad():
        score = FillTask(fill, val, val, stages.device).validate()["score"]
    assert facts["ridge"] == pytest.approx(score)
    assert "conv" not in facts


def test_what_makes_it_worse_is_put_back(world):
    conv, facts = stages_of(world, fill="conv", epochs=2, learning_rate=30.0).fill()
    assert not facts["conv"]["kept"]
    assert facts["conv"]["before"] == pytest.approx(facts["ridge"])
    val = world.data.take(world.scenes("val"))
    with torch.no_grad():
        score = FillTask(conv.eval(), val, val, torch.device("cpu")).validate()["score"]
    assert score == pytest.approx(facts["ridge"])
    assert not conv.outlet.weight.any()


def test_a_predictor_is_never_worse_than_its_fill_which_stays(world, filled):
    fill, _ = filled
    stages = stages_of(world, epochs=3)
    net, facts = stages.predictor(fill)
    assert weights(net.fill) == weights(fill)
    for stage in ("kriging", "blocks"):
        best = facts[stage]["epochs"][facts[stage]["best"] - 1]["score"]
        assert facts[stage]["kept"] == (best >= facts[stage]["before"])
    assert facts["blocks"]["before"] >= facts["kriging"]["before"] - 1e-6
    again, _ = stages.predictor(fill, net)  # from another predictor on
    assert weights(again.fill) == weights(fill)
    plain, facts = stages_of(world, epochs=1, architecture="residual").predictor(fill)
    assert plain.kriging is None
    assert "kriging" not in facts


def test_supervision_is_of_fills_that_have_not_seen_the_scenes(world, filled):
    fill, facts = filled
    stages = stages_of(world)
    known = stages.supervised(fill, facts["strength"])
    train, val = world.scenes("train"), world.scenes("val")
    own = fill_of(fill, world.data.lr[train])
    truth = world.data.hr[train]
    assert torch.square(known.crossed - truth).mean() > torch.square(own - truth).mean()
    torch.testing.assert_close(known.filled, fill_of(fill, world.data.lr[val]))
    for part, scenes in (("train", train), ("val", val)):
        values = getattr(known, part)
        assert set(values) == {"structural", "surprise"}
        assert all(v.shape == (16 * len(scenes),) for v in values.values())
    expected = np.square((known.filled - world.data.hr[val]).numpy()).mean(-1).ravel()
    np.testing.assert_allclose(known.gain, expected, rtol=1e-4)


def test_scores_stand_in_the_order_of_the_tiles(world, filled):
    fill, _ = filled
    stages = stages_of(world)
    sampler, val = stages.new_sampler(), world.scenes("val")
    scores = stages.validation_scores(sampler, fill)
    grids = scores_of(sampler, fill, world.data.lr[val], stages.device)
    place = world.pairs.place[world.tiles(val)]
    for value, (scene, row, col) in zip(scores, place.tolist(), strict=True):
        assert value == pytest.approx(grids[val.tolist().index(scene), row, col], abs=1e-6)
    np.testing.assert_allclose(stages.grids(val, scores), grids, atol=1e-6)


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_forms_need_evidence(world, head, labels):
    known = np.zeros((len(world.pairs), 1), bool) if labels else None
    own = LabelHead(("a",), np.zeros((1, 6), np.float32), np.zeros(1, np.float32))
    material = replace(world, known=known, labels=own if head else None)
    able = stages_of(material).forms()
    assert able == [
        name
        for name, form in TARGETS.items()
        if not (set(form.needs) & {"semantic", "task_delta"} and not head)
        and not ("task_delta" in form.needs and not labels)
    ]


def test_stages_repeat_to_the_bit_and_go_on_from_a_checkpoint(world, filled, tmp_path):
    fill, facts = filled
    stages = stages_of(world, epochs=2)
    known = stages.supervised(fill, facts["strength"])
    once, _ = stages.sampler("surprise", known)
    kept = replace(stages, key="k", checkpoint=tmp_path / "state.pt")
    twice, _ = kept.sampler("surprise", known)
    assert weights(once) == weights(twice)
    assert weights(kept.sampler("surprise", known)[0]) == weights(once)  # all of it was done


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": SIZES["nano"]}, "has the sizes"),
        ({"form": architecture_of("residual")}, "has the architecture"),
        ({"conv_fill": True}, "has the fill conv"),
        ({"print": "x"}, "has the HR encoder"),
    ],
)  # fmt: skip
def test_what_to_start_from_is_of_the_same_make(world, change, said):
    def encoder(role_print):
        spec = replace(colour_words().spec, fingerprint=role_print)
        return Encoder("colours", "", spec, "uint8")

    encoders = {"lr": encoder("a"), "hr": encoder("b")}
    same = {"shape": world.shape, "form": architecture_of("kriged"), "conv_fill": False}
    job = TrainJob(pairs="PAIRS", init="OLD")
    start = SimpleNamespace(record=SimpleNamespace(**same, encoders=encoders))
    check_warm_start(start, job, world.shape, encoders)
    theirs = {"lr": encoder("a"), "hr": encoder(change.get("print", "b"))}
    start.record = SimpleNamespace(**{**same, **change}, encoders=theirs)
    with pytest.raises(ParameterError, match=said):
        check_warm_start(start, job, world.shape, encoders)
