"""Rows of the paper's tables, on the tiny world and by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")

from observing import observing  # noqa: F401

from foveate.bench.conditions import Skipped
from foveate.bench.observe.encoders import read_encoders
from foveate.bench.observe.job import BenchJob
from foveate.bench.observe.measure import Seed
from foveate.bench.observe.observing import Condition
from foveate.bench.observe.rivals import lr_in_hr_space, sar_logits, scale_decision
from foveate.bench.observe.timing import Timing
from foveate.bench.observe.write import columns_of
from foveate.errors import DataError, FoveateError, ParameterError
from foveate.observe.data.concepts import Concept
from foveate.observe.data.pairs import open_pairs
from foveate.run import Run

CONCEPTS = (Concept("a"), Concept("b", min_gsd=10.0), Concept("c", min_gsd=1.0))


@pytest.fixture(scope="module")
def seed(observing, tmp_path_factory):  # noqa: F811
    encoders = tmp_path_factory.mktemp("encoders") / "encoders.json"
    encoders.write_text(json.dumps({"first": "builtin", "second": {"model": "builtin"}}))
    job = BenchJob(
        pairs=str(observing.pairs), size="nano", epochs=1, draws=1, test=0.4, device="cpu",
        top_k=[1, 2], table="encoders", encoders=str(encoders),
    )  # fmt: skip
    with Run.create(tmp_path_factory.mktemp("bench")) as run:
        yield Seed(job, 0, open_pairs(job.pairs), run, "work/0", key="k")


def test_a_scale_is_decided_by_a_file_a_function_or_the_ground(tmp_path, monkeypatch):
    assert scale_decision(None, CONCEPTS, 5.0).tolist() == [True, False, True]
    file = tmp_path / "scales.yaml"
    file.write_text("a: lr\nb: hr\nc: hr\n")
    assert scale_decision(str(file), CONCEPTS, None).tolist() == [False, True, True]
    module = ModuleType("asks")
    module.decide = lambda name: "lr" if name == "c" else "hr"
    monkeypatch.setitem(sys.modules, "asks", module)
    assert scale_decision("python:asks:decide", CONCEPTS, None).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: lr\nb: hr\n", r"no scale for 'c'.*a, b, c"),
        ("a: lr\nb: hr\nc: mid\n", r"'mid' for 'c'.*lr, hr"),
        ("- a\n", "names"),
        (None, "does not exist"),
    ],
)
def test_invalid_scales_raise(tmp_path, content, says):
    file = tmp_path / "scales.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FoveateError, match=says):
        scale_decision(str(file), CONCEPTS, None)
    with pytest.raises(ParameterError, match="python:MODULE:FUNCTION"):
        scale_decision("python:nowhere:ask", CONCEPTS, None)


def test_sar_reads_hr_where_it_was_observed_and_is_needed(seed):
    chosen = np.arange(len(seed.trial.rows)) % 2 == 0
    needed = np.array([True, True, False])
    found = sar_logits(seed.trial, seed.distilled, seed.hr_head, chosen, needed)
    high = seed.hr_head.logits(seed.trial.tile_means(seed.trial.hr))
    low = sar_logits(seed.trial, seed.distilled, seed.hr_head, ~chosen & chosen, needed)
    np.testing.assert_array_equal(found[chosen][:, needed], high[chosen][:, needed])
    np.testing.assert_array_equal(found[~chosen], low[~chosen])
    np.testing.assert_array_equal(found[:, 2], low[:, 2])
    assert seed.needed.tolist() == [True, True, False]  # cropland needs 10 m, and LR has 4


@pytest.mark.parametrize(
    ("policy", "share", "way"),
    [
        ("all", 1, "sar hr"), ("all", 1, "sar"), ("none", 0, "sar"), ("sar", 0.2, "sar"),
        ("all", 1, "predicted"), ("all", 1, "predicted:plain-blind"), ("learned", 0.2, "lr tile"),
        ("learned", 0.2, "lr scene"), ("learned", 0.2, "tuned"), ("tau-raw=0.55", 0, "ours"),
    ],
)  # fmt: skip
def test_every_row_has_its_figures_and_its_time(seed, policy, share, way):
    found = seed.measure(Condition(policy, share, way))
    assert 0 < found["tiles"]["value"] <= 1
    assert {f"scenes max @{k}" for k in (1, 2)} <= set(found)
    assert found["seconds"]["value"] > 0
    if way == "predicted":  # it is the prediction that is judged, not what was observed
        assert found["tiles"] != seed.measure(Condition("all", 1, "full"))["tiles"]


def test_a_covariate_that_is_not_given_leaves_its_rows_out(seed):
    with pytest.raises(Skipped, match="covariate"):
        seed.measure(Condition("covariate", 0.2, "sar"))


def test_lr_tokens_replace_hr(seed):
    trial, observer = seed.trial, seed.observer
    found = lr_in_hr_space(trial, observer, whole=False)
    assert found.shape == trial.hr.shape
    mean = lr_in_hr_space(trial, observer, whole=True)
    here = trial.valid[..., None]
    np.testing.assert_allclose(
        mean[:, 0, 0], (found * here).sum((1, 2)) / here.sum((1, 2)), atol=1e-4
    )
    other = replace(observer.record.encoders["hr"], name="another")
    record = replace(observer.record, encoders={**observer.record.encoders, "hr": other})
    with pytest.raises(Skipped, match="same encoder for both"):
        lr_in_hr_space(trial, replace(observer, record=record), whole=False)


def test_encoders_are_rows_of_one_table(seed):
    low, high = (seed.measure(Condition("encoder", 0, f"first {part}")) for part in ("LR", "HR"))
    assert seed.measure(Condition("encoder", 1, "second HR"))["tiles"] == high["tiles"]
    assert low["tiles"] != high["tiles"]
    assert "unseen" not in high


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "no encoders"), ("{a: [1]}", "'a' is"), ("{a: {model: builtin, size: 3}}", "'a' is"),
        ("{a: nothing}", "nothing"), ("{a: {model: builtin, weights: /none.pt}}", "weights"),
    ],
)  # fmt: skip
def test_invalid_encoders_raise(tmp_path, content, says):
    file = tmp_path / "encoders.yaml"
    file.write_text(content)
    with pytest.raises(FoveateError, match=says):
        read_encoders(str(file))


def test_time_counts_what_is_read():
    timing = Timing(overview=1.0, tile=10.0, scoring=0.5)
    for policy, way, observed, expected in (
        ("learned", "ours", 3, 2 + 30 + 0.5 + 0.25), ("random", "ours", 3, 2 + 30 + 0.25),
        ("all", "full", 8, 80.25), ("none", "fill", 0, 2.25),
    ):  # fmt: skip
        condition = Condition(policy, 0, way)
        assert timing.total(condition, 2, observed, 0.25) == pytest.approx(expected)


def test_columns_are_those_of_the_depths_asked_for():
    columns = ("obr", "scenes max @20", "scenes max @100")
    assert columns_of(columns, [5], timed=True) == ("obr", "scenes max @5", "seconds")
    assert columns_of(columns, [20, 100], timed=False) == columns


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"top_k": [3, 50]}, r"--top-k 50 with \d test scenes.*--top-k \d"),
        ({"table": "zeroshot", "text_model": "colours"}, r"none are novel.*novel: true"),
        ({"scales": "nowhere.yaml"}, "nowhere"),
    ],
)  # fmt: skip
def test_unsuitable_pairs_raise(observing, given, says):  # noqa: F811
    job = BenchJob(pairs=str(observing.pairs), model="builtin", test=0.4, **given)
    from foveate.bench.observe.job import _check_pairs

    with pytest.raises((ParameterError, DataError), match=says):
        _check_pairs(job, open_pairs(job.pairs))


def test_encoders_need_a_file_and_their_table():
    for given in ({"table": "encoders"}, {"table": "main", "encoders": "e.yaml"}):
        with pytest.raises(ParameterError, match="--encoders"):
            BenchJob(pairs="p", **given)
