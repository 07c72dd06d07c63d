"""The parts of a training that need no training."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from planted import plant, stages_of

from foveate.errors import DataError, StorageError
from foveate.files import read_json, write_json
from foveate.models.fit import fit
from foveate.observe.jobs import TrainJob
from foveate.observe.observer import WEIGHTS, Observer
from foveate.observe.observer_config import RECORD
from foveate.observe.training.steps import (
    MODEL,
    SHARES,
    TRAINING,
    Trainer,
    captured_share,
    refuse_other,
    remove_checkpoints,
    request_key,
    train,
    training_key,
)  # fmt: skip
from foveate.run import Run


@pytest.fixture(scope="module")
def world():
    return plant(scenes=12, side=3)


def trainer_of(world, run, **job):
    given = TrainJob(pairs="PAIRS", device="cpu", size="nano", epochs=2, **job)
    key = training_key(given, world, None)
    return Trainer(world, given, stages_of(world).device, run, TRAINING, key)


def trained(world, path, **job):
    """Train in a folder, and return the weights."""
    with Run.create(path) as run:
        observer = train(trainer_of(world, run, **job))
        remove_checkpoints(path)
        observer.save(path / MODEL, {})
    return (path / MODEL / WEIGHTS).read_bytes()


def test_what_is_captured_is_a_mean_over_shares():
    gain = np.arange(40.0)
    assert captured_share(gain, gain) == pytest.approx(
        np.mean([gain[-int(share * 40) :].sum() / gain.sum() for share in SHARES])
    )
    worst, some, best = (captured_share(gain, scores) for scores in (-gain, np.cos(gain), gain))
    assert worst < some < best
    assert np.isnan(captured_share(np.zeros(40), gain))


def test_the_key_is_of_all_that_every_stage_depends_on(world):
    def key(**job):
        return training_key(TrainJob(pairs="PAIRS", **job), world, None)

    same = [
        {}, {"device": "cpu"}, {"batch_size": 2}, {"supervision": "surprise"}, {"obr": 0.3},
        {"architecture": "plain"}, {"replace": True},
    ]  # fmt: skip
    assert len({key(**job) for job in same}) == 1
    other = [{}, {"seed": 1}, {"epochs": 3}, {"size": "nano"}, {"fill": "conv"}, {"lam": 0.5}]
    assert len({key(**job) for job in other}) == len(other)


def test_another_observer_is_not_overwritten_unasked(world, tmp_path):
    def request(**job):
        given = TrainJob(pairs="PAIRS", **job)
        return request_key(given, training_key(given, world, None))

    one = request(supervision="surprise")
    refuse_other(tmp_path, one, replace=False)  # nothing is there
    write_json(tmp_path / MODEL / RECORD, {"training": {"asked": one}})
    refuse_other(tmp_path, one, replace=False)
    others = ({"supervision": "structural"}, {"obr": 0.3}, {"architecture": "plain"}, {"seed": 4})
    for job in others:
        other = request(**{"supervision": "surprise", **job})
        with pytest.raises(StorageError, match="was trained with other options") as raised:
            refuse_other(tmp_path, other, replace=False)
        assert "--replace" in raised.value.hint
        refuse_other(tmp_path, other, replace=True)


def test_supervision_without_evidence_is_refused_before_anything_is_trained(world, tmp_path):
    run = SimpleNamespace(path=tmp_path)
    for name in ("semantic", "additive", "product", "task-delta"):
        with pytest.raises(DataError, match=f"no supervision '{name}'") as raised:
            train(trainer_of(world, run, supervision=name))
        assert "structural, surprise" in raised.value.allowed
        assert "--concepts" in raised.value.hint
    with pytest.raises(DataError, match="--align siglip without texts"):
        train(trainer_of(world, run, align="siglip"))
    assert not any(tmp_path.iterdir())
    assert trainer_of(world, run, supervision="blend").check() == ["surprise"]
    assert trainer_of(world, run, supervision="auto").check() == ["structural", "surprise"]


def stopping(title):
    """Return a `fit` that is stopped in the second epoch of a stage."""

    def stopped(task, settings, **more):
        if title in more["title"]:
            done, validate = [], task.validate

            def once():
                if done:
                    raise KeyboardInterrupt
                done.append(1)
                return validate()

            task.validate = once
        return fit(task, settings, **more)

    return stopped


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """Weights of trainings that nothing stopped."""
    return {
        str(job): trained(
            world, tmp_path_factory.mktemp("whole"), **{"supervision": "surprise", **job}
        )
        for job in ({}, {"supervision": "structural"}, {"architecture": "residual"})
    }


@pytest.mark.parametrize(
    ("title", "other"),
    [
        ("kriging", {}), ("the predictor", {}), ("the sampler", {}), ("stage II", {}),
        ("stage II", {"supervision": "structural"}),
        ("the predictor", {"architecture": "residual"}),
        ("stage II", {"architecture": "residual"}),
    ],
)  # fmt: skip
def test_a_stopped_training_goes_on_with_what_is_its_own(
    world, whole, title, other, *, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr("foveate.observe.training.stages.fit", stopping(title))
        with pytest.raises(KeyboardInterrupt):
            trained(world, tmp_path, supervision="surprise")
    assert list((tmp_path / TRAINING).glob("*.pt"))
    assert not (tmp_path / MODEL).exists()
    assert trained(world, tmp_path, **{"supervision": "surprise", **other}) == whole[str(other)]
    assert not list(tmp_path.rglob("*.pt"))


def test_auto_keeps_what_captures_most(world, tmp_path):
    trained(world, tmp_path, supervision="auto")
    training = read_json(tmp_path / MODEL / RECORD)["training"]
    assert set(training["captured"]) == {"structural", "surprise"}
    best = max(training["captured"], key=training["captured"].get)
    assert Observer.load(tmp_path, device="cpu").record.supervision == best


def test_where_nothing_is_gained_auto_still_ends(world, tmp_path):
    nothing = 0 * world.data.hr
    same = replace(world, data=replace(world.data, hr=nothing, target=nothing))
    trained(same, tmp_path, supervision="auto")
    captured = read_json(tmp_path / MODEL / RECORD)["training"]["captured"]
    assert captured == {"structural": None, "surprise": None}
