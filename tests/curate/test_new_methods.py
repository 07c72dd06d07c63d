"""The methods that read embeddings alone: what each is for, on pools where that can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.curate import METHODS, rank
from foveate.errors import ParameterError
from foveate.pool import Pool


def pool_of(n):
    return Pool.from_arrays(ids=[f"t{i:04d}" for i in range(n)])


def blobs(sizes, d=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 20, (len(sizes), d))
    label = np.repeat(np.arange(len(sizes)), sizes)
    return centres[label] + rng.normal(size=(label.size, d)), label


@pytest.mark.parametrize("name", ["facility", "max-herding", "typiclust"])
def test_the_first_picks_are_one_of_each_cluster(name):
    x, label = blobs([40, 40, 40, 40, 40])
    options = {"clusters": 5} if name == "typiclust" else {}
    found = rank(pool_of(200), name, embeddings=x, **options)
    assert set(label[found.rows[:5]].tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["facility", "max-herding"])
def test_a_sample_stands_for_the_pool(name):
    x, _ = blobs([300] * 12, seed=1)
    whole = rank(pool_of(3600), name, embeddings=x, reference=None, depth=40)
    some = rank(pool_of(3600), name, embeddings=x, reference=600, depth=40)
    spread = [
        np.square(x[:, None] - x[r.rows][None]).sum(axis=-1).min(axis=1).mean()
        for r in (whole, some)
    ]
    assert spread[1] < 1.05 * spread[0]
    assert some.meta["passes"] >= 1


def test_sigma_is_the_median_distance_unless_it_is_given():
    x, _ = blobs([50, 50])
    pool = pool_of(100)
    found = rank(pool, "max-herding", embeddings=x, depth=3)
    far = np.linalg.norm(x[:, None] - x[None], axis=-1)[np.triu_indices(100, 1)]
    assert found.meta["sigma"] == pytest.approx(np.median(far))
    given = rank(pool, "max-herding", embeddings=x, depth=3, sigma=2.5)
    assert given.meta["sigma"] == 2.5
    doubled = rank(pool, "max-herding", embeddings=2 * x, depth=3)
    assert doubled.rows.tolist() == found.rows.tolist()


def test_typiclust_starts_with_the_middle_of_the_largest_cluster():
    x, label = blobs([60, 30, 10])
    found = rank(pool_of(100), "typiclust", embeddings=x, clusters=3)
    assert label[found.rows[:6]].tolist() == [0, 1, 2, 0, 1, 2]
    middle = x[:60].mean(axis=0)
    far = np.linalg.norm(x[:60] - middle, axis=1)
    assert far[found.rows[0]] < np.median(far)
    assert found.meta["clusters"] == 3


def test_hierarchical_gives_a_rare_branch_its_share():
    x, label = blobs([180, 10, 10])
    found = rank(pool_of(200), "hierarchical", embeddings=x, levels=2, clusters=36)
    # Six of the coarse clusters, wherever their bounds are: far more than 10 % of what is rare.
    assert (label[found.rows[:20]] > 0).mean() > 0.2
    near = rank(pool_of(200), "hierarchical", embeddings=x, levels=1, clusters=3, within="near")
    assert sorted(label[near.rows[:3]].tolist()) == [0, 1, 2]
    for row in near.rows[:3]:
        mine = x[label == label[row]]
        far = np.linalg.norm(mine - mine.mean(axis=0), axis=1)
        assert np.linalg.norm(x[row] - mine.mean(axis=0)) == pytest.approx(far.min())


def test_semdedup_ranks_copies_last_with_their_distance():
    x = np.random.default_rng(5).normal(size=(60, 12))
    both = np.concatenate([x, x[:8] + 0.01 * np.random.default_rng(6).normal(size=(8, 12)), x[8:9]])
    found = rank(pool_of(69), "semdedup", embeddings=both, chance=0.01)
    assert found.meta["kept"] == 60
    assert (found.score[:60] == 1).all()
    last = found.rows[60:].tolist()
    assert all((i in last) != (60 + i in last) for i in range(9))
    assert last[-1] in (8, 68)  # identical: the last of all
    assert (np.diff(found.score[60:]) <= 0).all()
    cosine = rank(pool_of(69), "semdedup", embeddings=both, threshold=0.99)
    assert cosine.meta["kept"] == 60
    half = rank(pool_of(69), "semdedup", embeddings=both, keep=0.5)
    assert 34 <= half.meta["kept"] <= 38


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("facility", {"reference": 0}, "reference=0"),
        ("facility", {"metric": "city"}, "metric='city'"),
        ("max-herding", {"sigma": -1.0}, "sigma=-1"),
        ("typiclust", {"clusters": 0}, "clusters=0"),
        ("typiclust", {"clusters": 11}, "clusters=11"),
        ("typiclust", {"neighbours": 0}, "neighbours=0"),
        ("typiclust", {"fit_rows": -5}, "fit_rows=-5"),
        ("hierarchical", {"fit_rows": 0}, "fit_rows=0"),
        ("fd", {"vendi_rows": 0}, "vendi_rows=0"),
        ("kcenter", {"depth": 0}, "depth=0"),
        ("kcenter", {"depth": "deep"}, "depth='deep'"),
        ("hierarchical", {"levels": 0}, "levels=0"),
        ("hierarchical", {"within": "far"}, "within='far'"),
        ("hierarchical", {"clusters": 99}, "clusters=99"),
        ("semdedup", {"threshold": 0.9, "keep": 0.5}, "threshold=0.9 and keep=0.5"),
        ("semdedup", {"threshold": 0.9, "chance": 0.1}, "threshold=0.9 and chance=0.1"),
        ("semdedup", {"keep": 0.5, "copies": 8}, "keep=0.5 and copies=8"),
        ("semdedup", {"threshold": 2.0}, "threshold=2"),
        ("semdedup", {"keep": 0.0}, "keep=0"),
        ("semdedup", {"chance": 2.0}, "chance=2"),
        ("semdedup", {"copies": 1}, "copies=1"),
    ],
)
def test_options_out_of_range_are_refused(name, options, text):
    with pytest.raises(ParameterError, match=text):
        rank(pool_of(10), name, embeddings=np.random.default_rng(0).normal(size=(10, 3)), **options)


def test_no_pick_after_those_given_has_no_distance():
    x, ids = np.eye(4), np.array(list("abcd"))
    found = METHODS.get("kcenter").function(
        ids=ids, embeddings=x, seed=0, progress=None, constraint=None,
        initial=np.array([0, 1]), depth=0,
    )  # fmt: skip
    assert (found.rows.size, found.meta["last_distance"]) == (0, None)
