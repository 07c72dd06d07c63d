"""What is asked of an image: classes, a query among them or alone, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from colour_words import colour_words
from looks import colour_head, colour_model

from foveate.errors import MissingCapabilityError, ParameterError, UnknownNameError
from foveate.focus.question import FocusQuestion, make_question
from foveate.models.probe import Probe

PROBE = Probe(("red", "Green field"), np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32))


def test_nothing_is_asked():
    question = make_question(colour_model()[0])
    assert question == FocusQuestion()
    assert question.fit(np.ones((2, 3))) is None
    assert question.full_fit(np.ones(3)) is None


def test_labels_alone():
    question = make_question(colour_words(), labels=["red", "green"])
    assert question.head.names == ("red", "green")
    assert question.target is None
    assert question.fit(np.ones((2, 3))) is None


def test_a_query_is_one_more_class():
    question = make_question(
        colour_words(), labels=["red", "green"], query=" blue ", templates="none"
    )
    assert question.head.names == ("red", "green", "blue")
    assert (question.query, question.target) == ("blue", 2)
    fit = question.fit(np.eye(3))
    assert fit.argmax() == 2
    assert fit[2] > 0.9
    assert question.full_fit(np.array([0, 0, 1.0])) == pytest.approx(fit[2])


def test_a_query_may_be_one_of_the_classes():
    question = make_question(
        colour_words(), labels={"dark_red": ["red"], "green": ["green"]}, query="Dark Red"
    )
    assert question.head.names == ("dark_red", "green")
    assert question.target == 0


def test_a_query_without_classes_is_compared_by_cosine():
    question = make_question(colour_words(), query="red", templates="none")
    assert question.head is None
    assert np.linalg.norm(question.text) == pytest.approx(1)
    fit = question.fit(5 * np.eye(3))
    assert fit.argmax() == 0
    np.testing.assert_allclose(fit, question.text, atol=1e-6)


def test_a_probe_and_a_target():
    assert make_question(colour_model()[0], head=PROBE, query="green_field").target == 1
    question = make_question(colour_model()[0], head=PROBE, target="red")
    assert (question.target, question.query) == (0, "")
    assert question.fit(np.ones((2, 3))) is None  # nothing was looked for


def test_invalid_questions_raise():
    with pytest.raises(ParameterError, match="labels and a probe"):
        make_question(colour_words(), labels=["red"], head=PROBE)
    with pytest.raises(UnknownNameError, match="red"):
        make_question(colour_model()[0], head=PROBE, query="rde")
    with pytest.raises(UnknownNameError, match="not a class"):
        make_question(colour_words(), labels=["red", "green"], target="blue")
    for given in ({"labels": ["red", "green"]}, {"query": "red"}):
        with pytest.raises(MissingCapabilityError, match="text"):
            make_question(colour_model()[0], **given)


def test_a_probe_of_another_encoder_is_refused():
    model, other = colour_words(), colour_model()[0]
    probe = Probe(PROBE.names, PROBE.weight, PROBE.bias, model.spec)
    assert make_question(model, head=probe).head is probe
    with pytest.raises(Exception, match="fingerprint"):
        make_question(other, head=probe)


def test_any_head_is_accepted():
    question = make_question(colour_model()[0], head=colour_head(), query="blue")
    assert question.fit(np.eye(3)).argmax() == 2


def test_a_target_without_classes():
    with pytest.raises(ParameterError):
        make_question(colour_words(), target="red")


def test_a_query_as_the_only_class():
    with pytest.raises(ParameterError):
        make_question(colour_words(), labels=["red"], query="red")
