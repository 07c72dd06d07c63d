"""`observe.run`: each job to its own module."""

from __future__ import annotations

import importlib

import pytest

from foveate import observe
from foveate.errors import ParameterError
from foveate.observe import CompleteJob, PrepareJob, SelectJob, TrainJob
from foveate.pool.settings import JobSettings


@pytest.mark.parametrize(
    ("job", "home"),
    [
        (PrepareJob(images=["a"]), "prepare"),
        (TrainJob(pairs="a"), "train"),
        (SelectJob(images=["a"], model="m", budget="1"), "select"),
        (CompleteJob(run="a", model="m"), "complete"),
    ],
)
def test_each_job_has_its_home(job, home, monkeypatch):
    pytest.importorskip("torch")
    module = importlib.import_module(f"foveate.observe.{home}")
    monkeypatch.setattr(module, "run", lambda *given, **more: (given, more))
    assert observe.run(job, "out", command="c") == ((job, "out"), {"command": "c"})


def test_another_job_is_refused():
    with pytest.raises(ParameterError, match="JobSettings is no job of observe"):
        observe.run(JobSettings(), "out")
