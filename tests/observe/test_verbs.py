"""The verbs as functions, and what importing them loads."""

from __future__ import annotations

import subprocess
import sys

import pytest
from observing import observing  # noqa: F401

from foveate.errors import ParameterError

_CODE = """
import sys
import foveate.observe
from foveate.observe.jobs import SelectJob, TrainJob
from foveate.errors import DataError
heavy = ("torch", "scipy", "sklearn", "rasterio")
assert not [name for name in heavy if name in sys.modules]
for job in (TrainJob(pairs="/gone"), SelectJob(images=["/gone"], observer="o", budget="1")):
    try:
        job.check()
    except DataError:
        pass
assert "torch" not in sys.modules
assert callable(foveate.observe.simulate)
"""


def test_a_job_without_input_loads_no_torch():
    subprocess.run([sys.executable, "-c", _CODE], check=True)


def test_a_selection_is_that_of_its_job(observing):  # noqa: F811
    pytest.importorskip("torch")
    from foveate import observe

    chosen = observe.select(observing.overviews, observing.model, budget="12%", device="cpu")
    ranked = observe.rank(observing.overviews, observing.model, device="cpu")
    assert chosen.rows.tolist() == ranked.at("12%").rows.tolist()
    with pytest.raises(ParameterError, match="together"):
        observe.select(observing.overviews, observing.model, budget="1", obr=0.1)


def test_records_of_earlier_versions_are_read():
    from foveate.observe.jobs import CompleteJob, SelectJob, TrainJob
    from foveate.observe.totals.estimation import EstimateJob

    old = {"pairs": "P", "lr": 0.1, "text": "t", "form": "plain", "norm": 0.0, "over": "max"}
    job = TrainJob.stored({"job": old})
    found = (job.learning_rate, job.text_model, job.architecture, job.norm_weight, job.aggregate)
    assert found == (0.1, "t", "plain", 0.0, "max")
    assert SelectJob.stored({"job": {"images": ["a"], "model": "/m"}}).observer == "/m"
    assert CompleteJob.stored({"job": {"run": "/r", "model": None}}).selection == "/r"
    assert EstimateJob.stored({"job": {"pairs": "/p", "what": "w", "of": "tiles"}}).concept == "w"


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("TrainJob", {"pairs": "P", "obr": "12%"}, ("obr", 0.12)),
        ("TrainJob", {"pairs": "P", "val": "0.2"}, ("val", 0.2)),
        ("SelectJob", {"images": ["a"], "observer": "o", "obr": "20%"}, ("obr", 0.2)),
        ("EstimateJob", {"pairs": "p", "concept": "c", "confidence": "90%"}, ("confidence", 0.9)),
        ("PrepareJob", {"images": ["a"], "snr": 0}, ("snr", None)),
        ("PrepareJob", {"images": ["a"], "tiles": "3x4"}, ("tiles", (3, 4))),
    ],
)
def test_typed_texts(kind, given, found):
    from foveate import observe

    name, value = found
    assert getattr(getattr(observe, kind)(**given), name) == value
