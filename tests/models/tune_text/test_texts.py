"""Texts once each, their matches, and how captions are shortened."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foveate.models.tune_text.texts import Texts, vary, words_of

PER_IMAGE = [["A river.", "a RIVER"], ["a road", "A river ."], [], ["a car"]]


def test_equal_texts_are_one_text_with_several_images():
    texts = Texts.of(PER_IMAGE)
    assert texts.texts == ("A river.", "a road", "a car")
    np.testing.assert_array_equal(
        texts.match.toarray(), [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
    )
    assert texts.word_counts() == {"a": 4, "river": 2, "road": 1, "car": 1}


def test_some_images_bring_their_own_texts_only():
    texts = Texts.of(PER_IMAGE).take(np.array([3, 1]))
    assert texts.texts == ("A river.", "a road", "a car")
    np.testing.assert_array_equal(texts.match.toarray(), [[0, 0, 1], [1, 1, 0]])
    assert Texts.of(PER_IMAGE).take(np.array([0])).texts == ("A river.",)


def test_a_text_is_drawn_of_each_image():
    texts, rows = Texts.of(PER_IMAGE), np.array([1, 3, 0])
    drawn = [texts.draw(rows, np.random.default_rng(seed)) for seed in range(30)]
    assert {tuple(d) for d in drawn} == {(0, 2, 0), (1, 2, 0)}
    np.testing.assert_array_equal(
        texts.matches(rows, np.array([0, 2])), [[True, False], [False, True], [True, False]]
    )


@given(st.lists(st.sampled_from(["river", "road", "car", "tree", "of", "with", "two"]), min_size=1),
       st.integers(0, 2**32))  # fmt: skip
def test_a_varied_caption_is_made_of_its_words_in_order(words, seed):
    short = words_of(vary(" ".join(words), np.random.default_rng(seed), []))
    assert short
    rest = iter(words)
    assert all(any(word == other for other in rest) for word in short)


def test_captions_are_put_into_sentences():
    draw = np.random.default_rng(0)
    assert vary("A river .", draw, [], span=0, drop=0) == "a river"
    found = {vary("A river .", draw, ["see {}!"], span=0, drop=0, wrap=0.5) for _ in range(20)}
    assert found == {"a river", "see a river!"}
