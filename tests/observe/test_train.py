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
from foveate.observe.observer import WEIGHTS, Observer
from foveate.observe.record import RECORD
from foveate.observe.settings import TrainJob
from foveate.observe.train import MODEL, SHARES, TRAINING, _captured, _key, _Work
from foveate.run import Run


@pytest.fixture(scope="module")
def world():
    return plant(scenes=12, side=3)


def work(world, run, **job):
    given = TrainJob(pairs="PAIRS", device="cpu", size="nano", epochs=2, **job)
    return _Work(given, run, world, stages_of(world).device, None, None)


def trained(world, path, **job):
    """Train in a folder, and return the weights."""
    with Run.create(path) as run:
        own = work(world, run, **job)
        own.train()
        own.observer.save(path / MODEL, {})
    return (path / MODEL / WEIGHTS).read_bytes()


def test_what_is_captured_is_a_mean_over_shares():
    gain = np.arange(40.0)
    assert _captured(gain, gain) == pytest.approx(
        np.mean([gain[-int(share * 40) :].sum() / gain.sum() for share in SHARES])
    )
    assert _captured(gain, -gain) < _captured(gain, np.cos(gain)) < _captured(gain, gain)
    assert np.isnan(_captured(np.zeros(40), gain))


def test_the_key_is_of_all_that_every_stage_depends_on(world):
    def key(**job):
        return _key(TrainJob(pairs="PAIRS", **job), world, None)

    same = [
        {}, {"device": "cpu"}, {"batch_size": 2}, {"supervision": "surprise"}, {"obr": 0.3},
        {"form": "plain"}, {"replace": True},
    ]  # fmt: skip
    assert len({key(**job) for job in same}) == 1
    other = [{}, {"seed": 1}, {"epochs": 3}, {"size": "nano"}, {"fill": "conv"}, {"lam": 0.5}]
    assert len({key(**job) for job in other}) == len(other)


def test_another_observer_is_not_overwritten_unasked(world, tmp_path):
    run = SimpleNamespace(path=tmp_path)
    one = work(world, run, supervision="surprise")
    one._refuse_other()  # nothing is there
    write_json(tmp_path / MODEL / RECORD, {"training": {"asked": one._asked}})
    one._refuse_other()
    for job in ({"supervision": "structural"}, {"obr": 0.3}, {"form": "plain"}, {"seed": 4}):
        other = work(world, run, **{"supervision": "surprise", **job})
        with pytest.raises(StorageError, match="was trained otherwise") as raised:
            other._refuse_other()
        assert "--replace" in raised.value.hint
    work(world, run, supervision="structural", replace=True)._refuse_other()


def test_supervision_without_evidence_is_refused_before_anything_is_trained(world, tmp_path):
    run = SimpleNamespace(path=tmp_path)
    for name in ("semantic", "additive", "product", "task-delta"):
        with pytest.raises(DataError, match=f"no supervision '{name}'") as raised:
            work(world, run, supervision=name).train()
        assert "structural, surprise" in raised.value.allowed
        assert "--concepts" in raised.value.hint
    with pytest.raises(DataError, match="--align siglip without texts"):
        work(world, run, align="siglip").train()
    assert not any(tmp_path.iterdir())
    assert work(world, run, supervision="blend")._forms() == ["surprise"]
    assert work(world, run, supervision="auto")._forms() == ["structural", "surprise"]


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
        for job in ({}, {"supervision": "structural"}, {"form": "residual"})
    }


@pytest.mark.parametrize(
    ("title", "other"),
    [
        ("kriging", {}), ("the predictor", {}), ("the sampler", {}), ("stage II", {}),
        ("stage II", {"supervision": "structural"}), ("the predictor", {"form": "residual"}),
        ("stage II", {"form": "residual"}),
    ],
)  # fmt: skip
def test_a_stopped_training_goes_on_with_what_is_its_own(
    world, whole, title, other, *, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr("foveate.observe.stages.fit", stopping(title))
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
