"""`similar`: what is asked for comes first, and the examples where they are said to."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.curate import METHODS, RECIPES, CurateJob, rank
from foveate.errors import DataError, ParameterError
from foveate.pool import Pool

X = np.random.default_rng(0).normal(size=(30, 6))
POOL = Pool.from_arrays(ids=[f"t{i:02d}" for i in range(30)])


def cosines():
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("combine", ["max", "mean"])
def test_the_score_is_toward_less_away(combine):
    found = rank(
        POOL, "similar", embeddings=X, toward=["t03", "t04"], away="t05, t06", combine=combine
    )
    reduce = np.max if combine == "max" else np.mean
    score = reduce(cosines()[[3, 4]], axis=0) - reduce(cosines()[[5, 6]], axis=0)
    others = [row for row in np.argsort(-score) if row not in (3, 4, 5, 6)]
    assert found.rows[:26].tolist() == others
    assert found.score[:26] == pytest.approx(score[others], abs=1e-8)
    assert sorted(found.rows[26:].tolist()) == [3, 4, 5, 6]
    assert np.isnan(found.score[26:]).all()
    assert found.meta["examples"] == 4


def test_examples_come_first_if_asked_for():
    found = rank(POOL, "similar", embeddings=X, toward="t03,t04", examples="first")
    assert sorted(found.rows[:2].tolist()) == [3, 4]
    assert found.score[:2] == pytest.approx([1, 1])


def test_away_alone_ranks_the_most_different_first():
    found = rank(POOL, "similar", embeddings=X, away="t07")
    assert found.rows[0] == cosines()[7].argmin()
    assert found.rows[-1] == 7


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, ParameterError, "without toward or away"),
        ({"toward": ""}, ParameterError, "without toward or away"),
        ({"toward": "t99"}, DataError, "'t99' is not a tile of this pool.*Did you mean"),
        ({"toward": ["t01", "zz", "yy"]}, DataError, "'zz' .*nor are 1 others"),
        ({"toward": "t01,t01"}, ParameterError, "twice"),
        ({"toward": "t01", "away": ["t01"]}, ParameterError, "toward and in away"),
        ({"toward": [1]}, ParameterError, "ids of tiles"),
        ({"toward": "t01", "combine": "sum"}, ParameterError, "max, mean"),
        ({"toward": "t01", "examples": "out"}, ParameterError, "last, first"),
    ],
)
def test_what_cannot_be_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        rank(POOL, "similar", embeddings=X, **options)


def test_all_methods_are_those_that_need_no_option(tmp_path):
    job = CurateJob(images=["x"], methods="all")
    assert job.methods == METHODS.ready()
    assert "similar" not in job.methods
    others = {"similar", "column", "label-noise", *RECIPES}
    assert set(METHODS) - set(METHODS.ready()) == others
    (tmp_path / "images").mkdir()
    with pytest.raises(ParameterError, match=r"--option similar\.toward="):
        CurateJob(images=[str(tmp_path / "images")], methods=["similar"]).run(tmp_path / "run")


def test_hints_name_the_methods_that_need_no_masks():
    with pytest.raises(DataError) as caught:
        rank(POOL, "lc")
    named = METHODS.ready(without="counts")
    assert ", ".join(named) in str(caught.value)
    assert "random" in named
    assert "cb" not in named
