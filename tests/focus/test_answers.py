"""From regions to one answer: votes, the mean, the surest and the first, with ties."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from foveate.focus.question import answers, fused, predict_surest, predict_vector
from foveate.models.probe import Probe

NAMES = ("a", "b", "c")
HEAD = Probe(NAMES, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


def logs(*rows):
    """Features that the head makes these probabilities of."""
    return np.log(np.array(rows, np.float32))


X = logs((0.9, 0.05, 0.05), (0.1, 0.6, 0.3), (0.2, 0.5, 0.3), (0.1, 0.2, 0.7))
AREA = np.array([1.0, 1.0, 2.0, 4.0])


def ask(chosen, weight=None, area=AREA, x=X):
    return answers(HEAD, x, area, np.array(chosen), weight)


def test_every_tile_divides_its_vote_by_squared_probabilities():
    said = ask([0])["vote"]
    roots = np.sqrt(AREA)
    squares = np.exp(2 * X.astype(np.float64))
    votes = roots @ (squares / squares.sum(axis=1, keepdims=True)) / roots.sum()
    assert dict(said.ranking) == pytest.approx(dict(zip(NAMES, votes, strict=True)))
    assert said.label == "c"
    assert said.row is None
    assert sum(value for _, value in said.ranking) == pytest.approx(1)


def test_tiles_of_an_even_sample_have_one_vote_each():
    sample = answers(HEAD, X, AREA, np.array([0]), even=True)["vote"]
    assert sample == ask([0], area=np.ones(4))["vote"]
    assert sample.label == "b"  # two tiles of four, whatever the area of the others


def test_equal_votes_go_to_the_first_class():
    equal = ask([0], area=np.ones(2), x=logs((0.2, 0.7, 0.1), (0.7, 0.2, 0.1)))["vote"]
    assert equal.label == "a"
    assert [name for name, _ in equal.ranking] == ["a", "b", "c"]


def test_a_vote_lies_between_the_most_likely_classes_and_the_mean():
    # The second of two classes that one tile shows in parts counts: b is in all three.
    x = logs((0.51, 0.48, 0.01), (0.01, 0.48, 0.51), (0.51, 0.48, 0.01))
    assert ask([0], area=np.ones(3), x=x)["vote"].label == "b"
    # What is unlikely everywhere does not add up to the most likely: the mean says c.
    x = logs((0.6, 0.05, 0.35), (0.6, 0.05, 0.35), (0.04, 0.61, 0.35), (0.04, 0.61, 0.35))
    assert np.exp(x).mean(axis=0).argmax() == 2
    assert ask([0], area=np.ones(4), x=x)["vote"].label == "b"


def test_a_head_whose_classes_are_all_unlikely_votes():
    head = SimpleNamespace(names=NAMES, probabilities=lambda x: np.zeros((len(x), 3), np.float32))
    said = answers(head, X, AREA, np.array([0]))["vote"]
    assert said.probability == pytest.approx(1 / 3)


def test_fused_is_the_mean_of_the_chosen():
    said = ask([0, 3])["fused"]
    a, b, c = np.sqrt(0.9 * 0.1), np.sqrt(0.05 * 0.2), np.sqrt(0.05 * 0.7)
    assert said.label == "a"
    assert said.probability == pytest.approx(a / (a + b + c), rel=1e-4)
    # Weights of a sample: 1 to 3, of any sum.
    weighted = ask([0, 3], np.array([2.0, 6.0]))["fused"]
    assert weighted.label == "c"
    again = fused(HEAD, X[[0, 3, 3, 3]])
    assert weighted.probability == pytest.approx(again.probability, rel=1e-5)


def test_confident_has_the_highest_probability_of_the_selected():
    said = ask([2, 1, 3])["confident"]
    assert (said.label, said.row) == ("c", 3)
    assert said.probability == pytest.approx(0.7)
    assert ask([1, 2])["confident"].row == 1
    # Of equally sure ones the more important.
    x = logs((0.2, 0.6, 0.2), (0.6, 0.2, 0.2))
    assert predict_surest(HEAD, x, np.array([1, 0])).row == 1
    assert predict_surest(HEAD, x, np.array([0, 1])).row == 0


def test_first_is_the_most_important():
    said = ask([2, 0, 3])["first"]
    assert (said.label, said.row) == ("b", 2)
    assert said.probability == pytest.approx(0.5)
    assert [name for name, _ in said.ranking] == ["b", "c", "a"]


def test_one_vector():
    said = predict_vector(HEAD, X[3].astype(np.float64))
    assert (said.label, said.row) == ("c", None)
    assert said.probability == pytest.approx(0.7)
    assert sum(value for _, value in said.ranking) == pytest.approx(1)


def test_one_class():
    head = Probe(("only",), np.ones((1, 3), np.float32), np.zeros(1, np.float32))
    for said in answers(head, X, AREA, np.array([1])).values():
        assert said.label == "only"
        assert said.probability == pytest.approx(1)
