"""Texts as numbers, and names of folders as words."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from foveate.models.tune_text.texts import BUCKETS, CONTEXT, encode, parts_of, readable, words_of


def test_case_punctuation_and_space_do_not_count():
    assert words_of("  Two STORAGE-tanks ,\t30 m.") == ["two", "storage", "tanks", "30", "m"]
    assert words_of("Città über_land") == ["città", "über", "land"]


def test_a_word_shares_parts_with_its_plural():
    one, many, other = (set(parts_of(w)) for w in ("freeway", "freeways", "harbour"))
    assert len(one & many) > len(one) / 2
    assert len(one & other) < len(one) / 4


def test_parts_do_not_depend_on_the_hash_seed():
    code = "from foveate.models.tune_text.texts import parts_of; print(parts_of('forest'))"
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": other},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(parts_of("forest"))


def test_texts_are_padded_and_cut():
    x = encode(["a river", "field " * (CONTEXT + 5)])
    assert x.shape[:2] == (2, CONTEXT)
    assert (x[0, 2:] == 0).all()
    assert (x[1, :, 0] > 0).all()
    assert x.max() <= BUCKETS
    np.testing.assert_array_equal(encode(["a river"])[0], x[0, :2, : encode(["a river"]).shape[2]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("storage_tanks", "storage tanks"),
        ("StorageTanks", "storage tanks"),
        ("storagetanks", "storage tanks"),
        ("Dense-Residential", "dense residential"),
        ("parkinglot", "parking lot"),  # written once as one word, by mistake
        ("airport", "airport"),  # is a word, although its parts are too
        ("unknownthing", "unknownthing"),
        ("___", "___"),
    ],
)
def test_folders_are_read_as_words(name, expected):
    known = {"storage": 40, "tanks": 30, "dense": 9, "residential": 9, "parking": 500, "lot": 400,
             "parkinglot": 1, "air": 3, "port": 3, "airport": 80}  # fmt: skip
    assert readable(name, known) == expected
