"""Eq. 3 to 7 on numbers worked out by hand, every form, and every limit case."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foveate.errors import ParameterError
from foveate.focus.config import GOALS, Weights
from foveate.focus.importance import (
    divergence,
    importance,
    largest_divergence,
    representativeness,
    robustness,
    synergy,
    utility,
)


def test_eq_3_by_hand():
    # L(X) = 2; L(X_s) = 1 and 3; a quarter of the area: 0.7 * 0.75 = 0.525.
    loss, share = [1.0, 3.0], [0.25, 0.25]
    two = utility(loss, 2.0, share, form="two_sided")
    assert two == pytest.approx([0.606530660 + 0.525] * 2)  # exp(-1/2) both ways
    one = utility(loss, 2.0, share, form="one_sided")
    assert one == pytest.approx([1.525, 0.613972660 + 0.525])  # exp(-1/2.05)
    signed = utility(loss, 2.0, share, form="signed")
    # The exponents are 1 / 2.05 - 1 and -1 / 2.05 - 1.
    assert signed == pytest.approx([0.599178866 + 0.525, 0.225867918 + 0.525])
    assert utility([2.0], 2.0, [1.0], form="two_sided", area_weight=0.3) == pytest.approx([1.0])


def test_eq_3_is_clipped():
    high, low = utility([1e9, 0.0], 1.0, [1.0, 1.0], form="signed")
    assert high == pytest.approx(math.exp(-6))
    assert low == pytest.approx(math.exp(1 / 1.05 - 1))


def test_a_better_set_scores_higher_in_signed_only():
    loss, share = np.array([0.1, 1.0, 2.0]), np.full(3, 0.5)
    assert (np.diff(utility(loss, 1.0, share, form="signed")) < 0).all()
    one = utility(loss, 1.0, share, form="one_sided")
    assert one[0] == one[1] > one[2]
    two = utility(loss, 1.0, share, form="two_sided")
    assert two[1] > two[0] > two[2]


@pytest.mark.parametrize("whole", [0.0, 1e-17])  # exactly, and by rounding
def test_eq_3_where_the_image_costs_nothing(whole):
    loss, share = [0.0, 1e-17, 1.0], [0.5, 0.5, 0.5]
    two = utility(loss, whole, share, form="two_sided")
    assert two == pytest.approx([1.35, 1.35, 0.35])
    for form in ("one_sided", "signed"):
        found = utility(loss, whole, share, form=form)
        assert np.isfinite(found).all()
        assert found[0] == pytest.approx(found[1])
        assert found[1] > found[2]


P, Q = np.array([0.5, 0.5]), np.array([0.75, 0.25])


def test_eq_4_by_hand():
    # 0.5 ln(2/3) + 0.5 ln 2; 0.75 ln 1.5 + 0.25 ln 0.5
    assert divergence(P, Q, form="forward") == pytest.approx(0.143841036)
    assert divergence(P, Q, form="reverse") == pytest.approx(0.130812036)
    # With the middle (0.625, 0.375): (0.032269261 + 0.035374891) / 2
    assert divergence(P, Q, form="js") == pytest.approx(0.033822076)
    assert largest_divergence(0.25) == pytest.approx(1.386294361)  # ln 4
    assert largest_divergence([0.25, 1.0], form="js") == pytest.approx([0.693147181] * 2)
    found = representativeness(divergence(P, Q), largest_divergence(0.25))
    assert found == pytest.approx(math.exp(-0.143841036 / 1.386294361))


def test_divergence_of_rows_with_zeros():
    p = np.array([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25]])
    assert divergence(p, Q) == pytest.approx([math.log(4 / 3), math.log(4), 0.0])
    assert divergence(p, Q, form="reverse")[:2] == pytest.approx([np.inf, np.inf])
    assert np.isfinite(divergence(p, Q, form="js")).all()
    gone = representativeness(divergence(p, Q, form="reverse"), [1.0, 1.0, 1.0])
    assert gone == pytest.approx([0.0, 0.0, 1.0])


@pytest.mark.parametrize("form", ["forward", "reverse", "js"])
def test_the_whole_image_represents_itself(form):
    largest = largest_divergence([1.0, 1.0 + 1e-16], form=form)
    assert representativeness([0.0, 0.0], largest) == pytest.approx([1.0, 1.0])
    # Sums in another order leave 1e-16: not "infinitely far of what is possible".
    assert representativeness([3e-16, 3e-16], largest) == pytest.approx([1.0, 1.0])


def test_eq_5_by_hand():
    assert robustness([0.1, 0.2, 0.4]) == pytest.approx(
        [math.exp(-0.25), math.exp(-0.5), math.exp(-1)]
    )
    assert robustness([0.5], 2.0) == pytest.approx([math.exp(-0.25)])
    assert robustness([0.3]) == pytest.approx([math.exp(-1)])


def test_what_does_not_move_is_robust():
    assert robustness([0.0, 0.0]).tolist() == [1.0, 1.0]
    assert robustness([0.0, 0.1])[0] == 1.0
    assert robustness([0.0], 0.0).tolist() == [1.0]
    assert robustness([]).shape == (0,)


def test_eq_6_by_hand():
    # L(X) = 2, L(X \ r') = 1.6, L(X \ (X_s and r')) = 1: q = (2 - 1) / (2 - 1.6) = 2.5
    assert synergy(2.0, [1.6], [1.0], form="paper") == pytest.approx([math.exp(-2.5)])
    assert synergy(2.0, [1.6], [1.0], form="text") == pytest.approx([math.exp(-1.5)])
    found = synergy(2.0, [1.6], [1.0], form="marginal", scale=0.3)
    assert found == pytest.approx([1 / (1 + math.exp(0.6 / 0.3001))])
    # A negative quotient: q = (2 - 2.4) / (2 - 1.6) = -1
    assert synergy(2.0, [1.6], [2.4], form="paper") == pytest.approx([math.exp(-1)])
    assert synergy(2.0, [1.6], [2.4], form="text") == pytest.approx([math.exp(-2)])


def test_what_eq_6_says_and_what_its_sentence_says():
    nothing_lost, as_alone = ([1.5], [2.0]), ([1.5], [1.5])
    assert synergy(2.0, *nothing_lost, form="paper") == pytest.approx([1.0])
    assert synergy(2.0, *nothing_lost, form="text") == pytest.approx([math.exp(-1)])
    assert synergy(2.0, *as_alone, form="paper") == pytest.approx([math.exp(-1)])
    assert synergy(2.0, *as_alone, form="text") == pytest.approx([1.0])
    assert synergy(2.0, *as_alone, form="marginal", scale=0.1) == pytest.approx([0.5])
    # The image loses by giving up X_s as well: above one half.
    assert synergy(2.0, [1.5], [1.8], form="marginal", scale=0.1)[0] > 0.9


@pytest.mark.parametrize("form", ["paper", "text"])
def test_eq_6_at_a_denominator_of_zero(form):
    assert synergy(1.0, [1.0], [1.0], form=form).tolist() == [0.5]  # nothing to compare
    assert synergy(1.0, [1.00005], [0.99995], form=form).tolist() == [0.5]
    for both in (0.0, 2.0, 1e12):  # the quotient is capped at 50
        found = synergy(1.0, [1.0], [both], form=form)
        assert 0 <= found[0] < math.exp(-48)
    # The sign of a small denominator is kept: q = 0.0002 / -0.0001 = -2
    found = synergy(1.0, [1.00001], [0.9998], form=form)
    assert found == pytest.approx([math.exp(-2 if form == "paper" else -3)])


def test_marginal_without_a_scale():
    assert synergy(1.0, [1.0, 1.0], [1.0, 2.0]).tolist() == pytest.approx([0.5, 1.0])
    assert np.isfinite(synergy(1.0, [0.0, 1e9], [1e9, 0.0])).all()


def test_eq_7_by_hand():
    parts = np.array([[1.0, 0.5, 0.4, 0.25], [1.7, 1.0, 1.0, 1.0]])
    # 1 + 0.7 * 0.5 + 0.65 * 0.4 + 0.8 * 0.25 = 1.81; 1.7 + 0.7 + 0.65 + 0.8 = 3.85
    assert importance(parts, GOALS["paper"].weights) == pytest.approx([1.81, 3.85])


def test_scores_of_weight_zero_may_be_nan():
    parts = np.array([[1.0, np.nan, 0.4, 0.25]])
    assert importance(parts, Weights(representativeness=0)) == pytest.approx([1.46])
    with pytest.raises(ParameterError, match="was not computed"):
        importance(parts, Weights())
