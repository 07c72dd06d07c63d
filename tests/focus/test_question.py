"""What is asked of an image: classes, a query among them or alone, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from colour_words import colour_words
from looks import colour_head, colour_model

from foveate.errors import MissingCapabilityError, ParameterError, UnknownNameError
from foveate.focus.question import Asked, pose
from foveate.models.heads import Probe

PROBE = Probe(("red", "Green field"), np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32))


def test_nothing_is_asked():
    asked = pose(colour_model()[0])
    assert asked == Asked()
    assert asked.fit(np.ones((2, 3))) is None
    assert asked.full_fit(np.ones(3)) is None


def test_labels_alone():
    asked = pose(colour_words(), labels=["red", "green"])
    assert asked.head.names == ("red", "green")
    assert asked.target is None
    assert asked.fit(np.ones((2, 3))) is None


def test_a_query_is_one_more_class():
    asked = pose(colour_words(), labels=["red", "green"], query=" blue ", templates="none")
    assert asked.head.names == ("red", "green", "blue")
    assert (asked.query, asked.target) == ("blue", 2)
    fit = asked.fit(np.eye(3))
    assert fit.argmax() == 2
    assert fit[2] > 0.9
    assert asked.full_fit(np.array([0, 0, 1.0])) == pytest.approx(fit[2])


def test_a_query_may_be_one_of_the_classes():
    asked = pose(colour_words(), labels={"dark_red": ["red"], "green": ["green"]}, query="Dark Red")
    assert asked.head.names == ("dark_red", "green")
    assert asked.target == 0


def test_a_query_without_classes_is_compared_by_cosine():
    asked = pose(colour_words(), query="red", templates="none")
    assert asked.head is None
    assert np.linalg.norm(asked.text) == pytest.approx(1)
    fit = asked.fit(5 * np.eye(3))
    assert fit.argmax() == 0
    np.testing.assert_allclose(fit, asked.text, atol=1e-6)


def test_a_probe_and_a_target():
    assert pose(colour_model()[0], head=PROBE, query="green_field").target == 1
    asked = pose(colour_model()[0], head=PROBE, target="red")
    assert (asked.target, asked.query) == (0, "")
    assert asked.fit(np.ones((2, 3))) is None  # nothing was looked for


def test_what_is_refused():
    with pytest.raises(ParameterError, match="together"):
        pose(colour_words(), labels=["red"], head=PROBE)
    with pytest.raises(UnknownNameError, match="red"):
        pose(colour_model()[0], head=PROBE, query="rde")
    with pytest.raises(UnknownNameError, match="no class"):
        pose(colour_words(), labels=["red", "green"], target="blue")
    for given in ({"labels": ["red", "green"]}, {"query": "red"}):
        with pytest.raises(MissingCapabilityError, match="text"):
            pose(colour_model()[0], **given)


def test_a_probe_of_another_encoder_is_refused():
    model, other = colour_words(), colour_model()[0]
    probe = Probe(PROBE.names, PROBE.weight, PROBE.bias, model.spec)
    assert pose(model, head=probe).head is probe
    with pytest.raises(Exception, match="fingerprint"):
        pose(other, head=probe)


def test_any_head_will_do():
    asked = pose(colour_model()[0], head=colour_head(), query="blue")
    assert asked.fit(np.eye(3)).argmax() == 2


def test_a_target_without_classes():
    with pytest.raises(ParameterError):
        pose(colour_words(), target="red")


def test_a_query_as_the_only_class():
    with pytest.raises(ParameterError):
        pose(colour_words(), labels=["red"], query="red")
