"""Distributions of features over regions: counts by hand, kernels by loops, bounds."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.focus.density import (
    KernelDensity,
    SampleDensity,
    VisualWords,
    Vocabulary,
    distribution,
)

FORMS = ("forward", "reverse", "js")
COUNTS = np.array([[3.0, 0.0], [1.0, 4.0]])  # image: 1/2 and 1/2


def rng():
    return np.random.default_rng(0)


def test_words_by_hand():
    words = VisualWords(COUNTS)
    sets = np.array([[True, False], [False, True], [True, True]])
    kl = 0.2 * np.log(0.4) + 0.8 * np.log(1.6)
    assert words.divergence(sets, "forward") == pytest.approx([np.log(2), kl, 0])
    # Half a pixel in all is shared by the words: 1.25 / 1.5 and 0.25 / 1.5 for the first.
    first = 0.5 * np.log(0.5 * 1.5 / 1.25) + 0.5 * np.log(0.5 * 1.5 / 0.25)
    second = 0.5 * np.log(0.5 * 1.5 / 0.45) + 0.5 * np.log(0.5 * 1.5 / 1.05)
    assert words.divergence(sets, "reverse") == pytest.approx([first, second, 0])


def kernel_by_loops(kernel, members, form):
    """Densities at every point, and the mean of their log ratio over a set."""

    def log_density(rows):
        weight = sum(kernel.weight[j] for j in rows)
        return [
            np.log(sum(kernel.weight[j] * kernel.kernel[j, i] for j in rows) / weight)
            for i in range(len(kernel.weight))
        ]

    every = range(len(kernel.weight))
    inside = [j for j in every if members[kernel.owner[j]]]
    p, q = log_density(inside), log_density(every)

    def mean(values, rows):
        weight = sum(kernel.weight[j] for j in rows)
        return sum(kernel.weight[j] * values[j] for j in rows) / weight

    if form == "forward":
        return mean(np.subtract(p, q), inside)
    if form == "reverse":
        return mean(np.subtract(q, p), every)
    middle = np.log((np.exp(p) + np.exp(q)) / 2)
    return (mean(p - middle, inside) + mean(q - middle, every)) / 2


@pytest.mark.parametrize("form", FORMS)
def test_kernels_by_loops(form):
    draw = rng()
    x, share = (
        draw.standard_normal((5, 7)),
        draw.uniform(0, 2, (4, 5)) * (draw.random((4, 5)) < 0.6),
    )
    share[:, 0] = 1
    found = distribution("kde", x, share, Vocabulary())
    assert isinstance(found, KernelDensity)
    sets = draw.random((6, 4)) < 0.5
    sets[:, 1] = True
    expected = [max(kernel_by_loops(found, row, form), 0) for row in sets]
    np.testing.assert_allclose(found.divergence(sets, form), expected, atol=1e-9)


def test_appendix_d_by_hand():
    # Three samples in a row, one a region; kernels 1, exp(-1/2), exp(-2) at distances 0, 1, 2.
    near, far = np.exp(-0.5), np.exp(-2.0)
    kernel = np.array([[1, near, far], [near, 1, near], [far, near, 1]])
    found = SampleDensity(kernel, np.eye(3)).divergence(np.eye(3, dtype=bool), "forward")
    image = np.array([1 + near + far, 1 + 2 * near, 1 + near + far]) / (3 + 4 * near + 2 * far)
    for row, value in zip(kernel, found, strict=True):
        p = row / row.sum()
        assert value == pytest.approx(sum(p * np.log(p / image)))
    assert found[1] < found[0] == pytest.approx(found[2])


def test_appendix_d_by_loops():
    draw = rng()
    x = draw.standard_normal((6, 5))
    share = draw.uniform(0.1, 2, (4, 6)) * (draw.random((4, 6)) < 0.7)
    share[:, 5] = 0  # a sample that no region has is none of the image's
    share[:, 0] = 1
    found = distribution("samples", x, share, Vocabulary())
    assert isinstance(found, SampleDensity)
    assert found.kernel.shape == (5, 5)

    def density(members):
        values = [
            sum(found.kernel[j, i] * found.share[r, j] for r in members for j in range(5))
            for i in range(5)
        ]
        return np.array(values) / sum(values)

    for members in ([0], [1, 3], [0, 1, 2, 3]):
        p, q = density(members), density(range(4))
        mask = np.isin(np.arange(4), members)[None]
        value = found.divergence(mask, "forward")[0]
        assert value == pytest.approx(sum(p * np.log(p / q)), abs=1e-9)
        assert found.divergence(mask, "reverse")[0] == pytest.approx(sum(q * np.log(q / p)))


@pytest.mark.parametrize("kind", ["words", "kde", "samples"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("t", [1, 2, 40])
def test_a_constant_image_is_the_same_everywhere(kind, form, t):
    share = np.full((3, t), 2.0)
    found = distribution(kind, np.full((t, 6), 0.3), share, Vocabulary())
    np.testing.assert_allclose(found.divergence(np.eye(3, dtype=bool), form), 0, atol=1e-9)


@pytest.mark.parametrize("kind", ["words", "kde", "samples"])
def test_the_whole_is_like_itself(kind):
    draw = np.random.default_rng(3)
    found = distribution(kind, draw.standard_normal((30, 9)), np.eye(30), Vocabulary())
    whole = np.ones((1, 30), bool)
    for form in FORMS:
        assert found.divergence(whole, form) == pytest.approx([0], abs=1e-9)


def test_a_region_of_its_own_kind_stands_out():
    draw = np.random.default_rng(4)
    x = np.concatenate([[1, 0, 0] + 0.05 * draw.standard_normal((20, 3)), [[0, 0, 1.0]]])
    for kind in ("words", "kde"):
        found = distribution(kind, x, np.eye(21), Vocabulary()).divergence(
            np.eye(21, dtype=bool), "forward"
        )
        if kind == "kde":
            assert found.argmax() == 20
        assert found[20] == pytest.approx(np.log(21), rel=1e-6 if kind == "words" else 0.2)


def test_kernels_do_not_depend_on_the_order_of_points():
    draw = np.random.default_rng(6)
    x, order = draw.standard_normal((12, 5)), draw.permutation(12)
    sets = np.eye(12, dtype=bool)
    one = distribution("kde", x, np.eye(12), Vocabulary()).divergence(sets, "forward")
    other = distribution("kde", x[order], np.eye(12), Vocabulary()).divergence(sets, "forward")
    np.testing.assert_allclose(other, one[order], atol=1e-9)


def test_words_are_the_same_again():
    draw = np.random.default_rng(7)
    x = draw.standard_normal((90, 5))
    one, other = (distribution("words", x, np.eye(90), Vocabulary()) for _ in range(2))
    assert one.counts.tolist() == other.counts.tolist()
    assert one.counts.shape == (90, 32)


def test_words_of_points_changed_in_place_are_those_of_the_points():
    x = np.random.default_rng(7).standard_normal((90, 5))
    vocabulary = Vocabulary()
    vocabulary(x)
    x[:] = x[::-1].copy()
    np.testing.assert_array_equal(vocabulary(x), Vocabulary()(x))


def test_rounding_does_not_change_the_words_of_equal_points():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((12, 16))[draw.integers(12, size=40)]
    noise = 1e-7 * np.abs(x) * draw.standard_normal(x.shape)
    first, second = Vocabulary()(x), Vocabulary()(x + noise)
    np.testing.assert_array_equal(first[:, None] == first, second[:, None] == second)
