"""Linear probes: what they learn, keep and refuse."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.models.heads import Head, unit
from foveate.models.probe import USUAL, Probe, fit_probe

SPEC = EncoderSpec(name="mine", dim=4, bands=(1, 2), scale=((0, 255),) * 2, fingerprint="a")


def examples(classes=3, n=60, seed=0):
    """Clusters around corners, with features of very different scales and one constant."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    x = np.eye(classes, 4)[labels] * 3 + draw.normal(0, 0.5, (n, 4))
    x[:, 1] *= 1000
    x[:, 3] = 7
    return x.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_learns_what_can_be_told_apart(classes):
    x, labels = examples(classes)
    probe = fit_probe(x, labels, ["a", "b", "c"][:classes])
    assert (probe.logits(x).argmax(axis=1) == labels).mean() > 0.95
    np.testing.assert_allclose(probe.probabilities(x).sum(axis=1), 1, atol=1e-6)
    assert isinstance(probe, Head)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_logistic_regression_on_standardised_features(classes):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x, labels = examples(classes)
    probe = fit_probe(x, labels, ["a", "b", "c"][:classes])
    standard = StandardScaler().fit_transform(x.astype(np.float64))
    oracle = LogisticRegression(C=probe.meta["strength"], max_iter=1000).fit(standard, labels)
    np.testing.assert_allclose(
        probe.probabilities(x), oracle.predict_proba(standard), atol=1e-4
    )  # fmt: skip


def test_the_same_examples_give_the_same_probe():
    x, labels = examples()
    first, second = (fit_probe(x, labels, "abc", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert first.meta == second.meta


def test_too_few_examples_get_the_usual_strength():
    x, labels = examples(n=6)
    probe = fit_probe(x, labels, "abc")
    assert (probe.meta["strength"], probe.meta["accuracy"]) == (USUAL, None)


def test_a_probe_survives_its_file(tmp_path):
    x, labels = examples()
    probe = fit_probe(x, labels, ["sea & lake", "b", "c"], spec=SPEC)
    probe.save(tmp_path / "p.safetensors")
    again = Probe.load(tmp_path / "p.safetensors", spec=SPEC)
    assert (again.names, again.spec, again.meta) == (probe.names, probe.spec, probe.meta)
    np.testing.assert_array_equal(again.logits(x), probe.logits(x))
    probe.save(tmp_path / "q.safetensors")
    assert (tmp_path / "q.safetensors").read_bytes() == (tmp_path / "p.safetensors").read_bytes()


@pytest.mark.parametrize("stored", [np.float16, np.float32, np.float64])
def test_a_probe_knows_what_it_was_fitted_to(tmp_path, stored):
    x, labels = examples()
    fit_probe(x[:40].astype(stored), labels[:40], "abc").save(tmp_path / "p.safetensors")
    probe = Probe.load(tmp_path / "p.safetensors")
    for given in (x, x.astype(np.float16)):
        assert probe.was_fitted_to(given).tolist() == [True] * 40 + [False] * 20
    old = dataclasses.replace(probe, fitted=None)
    assert not old.was_fitted_to(x).any()
    old.save(tmp_path / "old.safetensors")
    assert Probe.load(tmp_path / "old.safetensors").fitted is None


def test_another_encoder_is_refused():
    x, labels = examples()
    probe = fit_probe(x, labels, "abc", spec=SPEC)
    probe.check(dataclasses.replace(SPEC, bands=(3, 1)))
    with pytest.raises(DataError, match=r"the fingerprint 'a'.*'b'"):
        probe.check(dataclasses.replace(SPEC, fingerprint="b"))
    with pytest.raises(DataError, match="does not store the encoder"):
        fit_probe(x, labels, "abc").check(SPEC)


def test_another_range_of_values_is_said(caplog):
    x, labels = examples()
    probe = fit_probe(x, labels, "abc", spec=SPEC)
    with caplog.at_level(logging.WARNING, "foveate"):
        probe.check(dataclasses.replace(SPEC, scale=((0, 100),) * 2))
    assert "--scale" in caplog.text


def test_files_that_are_no_probe_are_explained(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "a").write_bytes(b"nothing of the kind")
    save_file({"weight": np.zeros((2, 2), np.float32)}, tmp_path / "b")
    for name in ("a", "b", "missing"):
        with pytest.raises(DataError, match="cannot read the probe"):
            Probe.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(60, int)}, "no examples of 'b', 'c'"),
        ({"labels": np.full(60, 3)}, "class number 3"),
        ({"labels": np.zeros(5, int)}, "Expected"),
        ({"x": np.full((60, 4), np.nan)}, "NaN"),
        ({"names": ["a"]}, "At least two classes"),
        ({"names": ["a", "A", "b"]}, "are equal"),
    ],
)
def test_examples_that_cannot_be_are_explained(change, message):
    x, labels = examples()
    given = {"x": x, "labels": labels, "names": ["a", "b", "c"], **change}
    with pytest.raises((DataError, ParameterError), match=message):
        fit_probe(given["x"], given["labels"], given["names"])


def lengths(n=90, seed=0):
    """Classes that differ by the length of vectors and by nothing else."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    x = draw.normal(0, 0.01, (n, 4)) + np.array([1.0, 2, 3, 4])
    return (x * np.where(labels, 3, 1)[:, None]).astype(np.float32), labels


def test_raw_embeddings_are_fed_raw():
    x, labels = lengths()
    probe = fit_probe(x, labels, "ab")
    assert probe.inputs == "raw"
    assert (probe.logits(x).argmax(axis=1) == labels).all()
    assert (probe.logits(unit(x)).argmax(axis=1) == labels).mean() < 0.7


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_unit_embeddings_are_brought_to_norm_1_wherever_they_come_from(dtype):
    x, labels = examples()
    x = x / [1, 1000, 1, 1]
    fitted = fit_probe(unit(x).astype(dtype), labels, "abc")
    assert fitted.inputs == "unit"
    stated = fit_probe(x, labels, "abc", inputs="unit")
    for probe in (fitted, stated):
        np.testing.assert_allclose(probe.probabilities(x * 9), probe.probabilities(x), atol=1e-5)
        assert (probe.logits(x).argmax(axis=1) == labels).mean() > 0.9
    assert fit_probe(unit(x), labels, "abc", inputs="raw").inputs == "raw"


def test_what_it_was_fitted_on_is_in_its_file(tmp_path):
    x, labels = lengths()
    for inputs in ("raw", "unit"):
        probe = fit_probe(x, labels, "ab", inputs=inputs)
        probe.save(tmp_path / inputs)
        again = Probe.load(tmp_path / inputs)
        assert again.inputs == inputs
        np.testing.assert_array_equal(again.logits(x), probe.logits(x))


def test_a_file_that_does_not_say_was_fitted_on_raw_embeddings(tmp_path):
    from safetensors.numpy import save_file

    x, labels = lengths()
    probe = fit_probe(x, labels, "ab")
    content = {"schema": 1, "names": ["a", "b"], "spec": None, "meta": {}}
    tensors = {"weight": np.ascontiguousarray(probe.weight), "bias": probe.bias}
    save_file(tensors, tmp_path / "old", metadata={"foveate": json.dumps(content)})
    old = Probe.load(tmp_path / "old")
    assert old.inputs == "raw"
    np.testing.assert_array_equal(old.logits(x), probe.logits(x))
    for schema, inputs in ((3, "raw"), (2, "scaled")):
        content |= {"schema": schema, "inputs": inputs}
        save_file(tensors, tmp_path / "new", metadata={"foveate": json.dumps(content)})
        with pytest.raises(DataError, match="cannot read the probe"):
            Probe.load(tmp_path / "new")


def test_other_inputs_are_refused():
    x, labels = lengths()
    with pytest.raises(ParameterError, match=r"raw.*unit"):
        fit_probe(x, labels, "ab", inputs="scaled")
