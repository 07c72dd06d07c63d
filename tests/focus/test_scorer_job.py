"""The train-scorer job: steps of a run, what is done again, and a look with what it made."""

from __future__ import annotations

import json

import numpy as np
import pytest
from looks import land
from PIL import Image

from foveate.cli.show_focus import scorer_trained
from foveate.errors import DataError, ParameterError, StorageError
from foveate.focus import LearnedScorer, LookJob, TrainScorerJob
from foveate.focus.scorer_job import CHECKPOINT, load_example

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("scenes")
    for i in range(4):
        image = land(128, 128, seed=i, patch=(20 * i, 30, 24, 24))
        Image.fromarray(np.moveaxis(image, 0, 2)).save(found / f"scene-{i}.png")
    return found


def job(folder, kind=TrainScorerJob, **given):
    options = {"epochs": 2} if kind is TrainScorerJob else {}
    given = {"crop": 32, "passes": 30, "goal": "balanced", "seed": 3, **options, **given}
    return kind(images=[str(folder)], **given)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return job(folder).run(tmp_path_factory.mktemp("run") / "scorer")


def test_a_look_takes_the_scorer_of_a_run(folder, run, tmp_path):
    summary = run.record["summary"]
    assert summary["images"] == {"train": 2, "val": 1, "test": 1}
    assert not (run.path / CHECKPOINT).exists()
    scorer = LearnedScorer.load(run.path)
    assert summary["measures"] == dict(scorer.measures)
    assert scorer.about["goal"]["name"] == "balanced"
    with_it = job(folder, LookJob, scorer=str(run.path)).run(tmp_path / "look")
    looks = json.loads(min(with_it.path.glob("looks/*.json")).read_text())
    assert "trained scorer" in looks["notes"][0]
    assert looks["forms"]["weights"]["robustness"] > 0


def test_what_it_is_worth_is_printed(run, capsys):
    scorer_trained(run, as_json=False)
    text = capsys.readouterr().out
    worth = run.record["summary"]["measures"]
    assert f"rank correlation {worth['spearman']:.2f}" in text
    assert f"{worth['passes']:.4g} passes instead of {worth['passes_engine']:.4g}" in text
    assert ("no better than by chance" in text) == (worth["recall"] <= worth["recall_chance"])
    scorer_trained(run, as_json=True)
    assert json.loads(capsys.readouterr().out)["measures"] == worth


def test_a_second_run_does_nothing(folder, run):
    again = job(folder).run(run.path)
    assert not again.worked


def test_other_training_options_need_replace(folder, run):
    with pytest.raises(StorageError, match="--replace"):
        job(folder, epochs=3).run(run.path)
    before = {file: file.stat().st_mtime_ns for file in run.path.glob("scores/*")}
    other = job(folder, epochs=3, replace=True).run(run.path)
    assert other.record["summary"]["training"]["epochs"] == 3
    # What the model has seen is used again.
    assert before == {file: file.stat().st_mtime_ns for file in run.path.glob("scores/*")}
    job(folder, replace=True).run(run.path)


def test_interrupted_trainings_resume(folder, run, tmp_path, monkeypatch):
    from foveate.models import scorer_net

    loss, calls = scorer_net.ScorerTask.loss, []

    def stops(self, rows, draw):
        calls.append(rows)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss(self, rows, draw)

    monkeypatch.setattr(scorer_net.ScorerTask, "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        job(folder, epochs=4).run(tmp_path / "run")
    assert (tmp_path / "run" / CHECKPOINT).exists()
    monkeypatch.undo()
    job(folder, epochs=4).run(tmp_path / "run")
    whole = job(folder, epochs=4).run(tmp_path / "whole")
    stopped, straight = (LearnedScorer.load(tmp_path / name) for name in ("run", "whole"))
    assert whole.worked
    assert stopped.fingerprint == straight.fingerprint


def test_examples_survive_storage(run):
    names = sorted(path.stem for path in run.path.glob("scores/*.parquet"))
    assert len(names) == 4
    scene = names[0]
    example = load_example(run.path, scene)
    last = example.cells[-1]
    assert last.x.dtype == np.float32
    assert last.parts.shape == (len(last.x), 4)
    assert last.share.sum() == pytest.approx(1)
    assert len(example.regions) == 8


def test_what_cannot_be_is_refused_before_anything_is_written(folder, tmp_path):
    with pytest.raises(DataError, match="does not contain a scorer"):
        job(folder, LookJob, scorer=str(tmp_path)).run(tmp_path / "run")
    with pytest.raises(DataError, match="1 images to train a scorer"):
        job(folder / "scene-0.png").run(tmp_path / "run")
    with pytest.raises(ParameterError, match="no such setting"):
        job(folder, scorer="x")
    assert not (tmp_path / "run").exists()
