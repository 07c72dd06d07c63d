"""Linear probes: what they learn, keep and refuse."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.models.heads.base import Head
from foveate.models.heads.probe import USUAL, Probe, fit_probe

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


def test_another_encoder_is_refused():
    x, labels = examples()
    probe = fit_probe(x, labels, "abc", spec=SPEC)
    probe.check(dataclasses.replace(SPEC, bands=(3, 1)))
    with pytest.raises(DataError, match=r"the fingerprint 'a'.*'b'"):
        probe.check(dataclasses.replace(SPEC, fingerprint="b"))
    with pytest.raises(DataError, match="does not say which encoder"):
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
        ({"labels": np.zeros(60, int)}, "no example of 'b', 'c'"),
        ({"labels": np.full(60, 3)}, "class number 3"),
        ({"labels": np.zeros(5, int)}, "Expected"),
        ({"x": np.full((60, 4), np.nan)}, "NaN"),
        ({"names": ["a"]}, "tells at least two apart"),
        ({"names": ["a", "A", "b"]}, "are one"),
    ],
)
def test_examples_that_cannot_be_are_explained(change, message):
    x, labels = examples()
    given = {"x": x, "labels": labels, "names": ["a", "b", "c"], **change}
    with pytest.raises((DataError, ParameterError), match=message):
        fit_probe(given["x"], given["labels"], given["names"])
