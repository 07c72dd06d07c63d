"""Each method against the paper read literally, on pools small enough for brute force."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from foveate.curate import METHODS, Ranker, get_method, rank
from foveate.errors import DataError, ParameterError
from foveate.pool import Pool
from foveate.seeds import rng, tie_keys
from foveate.select.vendi import vendi_score

COUNTS = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 40), st.integers(1, 6)),
    elements=st.sampled_from([0, 0, 0, 1, 2, 5, 10, 64]),
)  # fmt: skip
FEATURES = hnp.arrays(
    np.float16, st.tuples(st.integers(1, 40), st.integers(1, 6)),
    elements=st.sampled_from([0, 0.25, 0.5, 1, 1.5, 3, 7.75]),
)  # fmt: skip


def pool_of(counts=None, n=None):
    size = len(counts) if n is None else n
    return Pool.from_arrays(ids=[f"t{i:03d}" for i in range(size)], counts=counts)


def keys(n, seed=0):
    return tie_keys([f"t{i:03d}" for i in range(n)], seed)


def by_row(ranking):
    score = np.empty(ranking.n)
    score[ranking.rows] = ranking.score
    return score


def blobs(k, each=6, d=5, seed=0):
    """k far and tight clusters: rows i, i + k, i + 2k ... are one cluster."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(0, 20, (k, d))
    return np.concatenate([centres + draw.normal(0, 0.1, (k, d)) for _ in range(each)])


# --- LC, Eq. 1 -----------------------------------------------------------------------------


def entropy_eq1(counts, base):
    total = sum(counts)
    if not total:
        return math.nan
    shares = [c / total for c in counts if c]
    return -sum(p * math.log(p, base) for p in shares) if base > 1 else 0.0


@given(COUNTS)
def test_lc_scores_are_equation_1_and_the_order_follows_them(counts):
    found = rank(pool_of(counts), "lc")
    expected = [entropy_eq1(row, counts.shape[1]) for row in counts.tolist()]
    np.testing.assert_allclose(by_row(found), expected, atol=1e-12)
    scored = found.score[~np.isnan(found.score)]
    assert (np.diff(scored) <= 0).all()
    assert ((scored >= 0) & (scored <= 1 + 1e-12)).all()


@given(COUNTS, st.sampled_from([2, math.e, 10]))
def test_lc_order_does_not_depend_on_the_base(counts, base):
    found = rank(pool_of(counts), "lc")
    other = np.array([entropy_eq1(row, base) for row in counts.tolist()])[found.rows]
    other = other[~np.isnan(other)]
    assert (np.diff(other) < 1e-9).all()


@given(COUNTS, st.permutations(range(6)))
def test_lc_does_not_depend_on_the_order_or_size_of_classes(counts, order):
    columns = [c for c in order if c < counts.shape[1]]
    a = rank(pool_of(counts), "lc").rows
    assert a.tolist() == rank(pool_of(counts[:, columns]), "lc").rows.tolist()
    assert a.tolist() == rank(pool_of(counts * 3), "lc").rows.tolist()


@given(COUNTS)
def test_lc_ties_are_in_the_order_of_seeded_hashes(counts):
    found = rank(pool_of(counts), "lc", seed=5)
    ties = keys(len(counts), 5)[found.rows]
    same = found.score[1:] == found.score[:-1]
    assert (ties[1:][same] > ties[:-1][same]).all()


def test_lc_ties_are_not_in_file_order():
    counts = np.tile([[7, 0]], (40, 1))
    orders = {tuple(rank(pool_of(counts), "lc", seed=s).rows) for s in range(3)}
    assert len(orders) == 3
    assert tuple(range(40)) not in orders


def test_lc_uniform_is_1_single_class_is_0_and_nothing_counted_is_last():
    found = rank(pool_of([[0, 0, 0], [4, 4, 4], [9, 0, 0]]), "lc")
    assert found.rows.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.score, [1, 0, np.nan], atol=1e-15)


def test_lc_released_draws_in_proportion_to_the_entropy():
    counts = np.array([[50, 50], [99, 1]] + [[9, 0]] * 8)
    firsts = [rank(pool_of(counts), "lc", seed=s, preset="released").rows[0] for s in range(300)]
    heavy = entropy_eq1([50, 50], 2)
    light = entropy_eq1([99, 1], 2)
    assert np.mean(np.equal(firsts, 0)) == pytest.approx(heavy / (heavy + light), abs=0.06)
    assert set(firsts) == {0, 1}
    found = rank(pool_of(counts), "lc", preset="released")
    np.testing.assert_allclose(found.score, np.linspace(1, 0, 10))


# --- FD ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 5])
def test_fd_turns_take_one_row_of_each_cluster(k):
    found = rank(pool_of(n=6 * k), "fd", embeddings=blobs(k), clusters=k)
    cluster = found.rows % k
    turns = cluster.reshape(6, k)
    assert (turns == turns[0]).all()
    assert len(set(turns[0])) == k
    np.testing.assert_allclose(found.score, np.linspace(1, 0, 6 * k))
    assert found.meta["clusters"] == k


def test_fd_goes_on_with_the_clusters_that_are_left():
    x = np.repeat([[0.0, 1], [50, 0], [0, -50]], [5, 2, 1], axis=0)
    found = rank(pool_of(n=8), "fd", embeddings=x, clusters=3)
    cluster = np.repeat([0, 1, 2], [5, 2, 1])[found.rows]
    assert set(cluster[:3]) == {0, 1, 2}
    assert set(cluster[3:5]) == {0, 1}
    assert set(cluster[5:]) == {0}


def test_fd_the_seed_chooses_first_cluster_and_members():
    x = blobs(4)
    runs = [rank(pool_of(n=24), "fd", embeddings=x, clusters=4, seed=s).rows for s in range(12)]
    assert len({r[0] % 4 for r in runs}) > 1
    assert len({tuple(r) for r in runs}) == 12


def test_fd_finds_the_clusters_that_are_there():
    found = rank(pool_of(n=40), "fd", embeddings=blobs(5, each=8))
    labels = found.rows[: found.meta["clusters"]] % 5
    assert set(labels) == set(range(5))


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(3, 16), st.integers(2, 4)),
        elements=st.floats(-4, 4, width=16),
    ),
    st.sampled_from([0.005, 0.05, 0.3]),
)  # fmt: skip
def test_fd_stops_at_the_first_three_small_changes_in_a_row(x, delta):
    meta = rank(pool_of(n=len(x)), "fd", embeddings=x, delta=delta, max_k=7).meta
    means = meta["mean_vendi"]
    if meta["stopped"] == "n" and meta["clusters"] <= len(means):
        means = means[:-1]  # of a fit that found fewer clusters than asked for
    small = [abs(b - a) / a < delta for a, b in pairwise(means)]
    runs = [i for i in range(3, len(small) + 1) if all(small[i - 3 : i])]
    if meta["stopped"] == "delta":
        assert runs == [len(small)]
    else:
        assert not runs
    if meta["stopped"] != "n":
        assert meta["clusters"] == len(means) + 1  # the K that was fitted last, from 2


def test_fd_mean_vendi_is_the_mean_over_the_clusters_that_are_fitted():
    x = blobs(3, each=4)
    meta = rank(pool_of(n=12), "fd", embeddings=x, max_k=3).meta
    x = x.astype(np.float32)
    assert meta["mean_vendi"][1] == pytest.approx(
        np.mean([vendi_by_hand(x[i::3]) for i in range(3)]), abs=1e-6
    )


def vendi_by_hand(x):
    """Friedman and Dieng, Eq. 3, on the n x n cosine kernel."""
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float64)
    values = np.linalg.eigvalsh(unit @ unit.T / len(x))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


@given(st.integers(1, 12), st.integers(1, 12))
def test_vendi_score_of_either_gram_matrix(n, d):
    x = np.random.default_rng([n, d]).normal(size=(n, d))
    assert vendi_score(x) == pytest.approx(vendi_by_hand(x), rel=1e-9)
    assert 1 - 1e-9 <= vendi_score(x) <= n + 1e-9


def test_fd_released_gives_varied_clusters_more_of_each_turn():
    draw = np.random.default_rng(0)
    varied = draw.normal(0, 1, (12, 8)) + np.r_[40, np.zeros(7)] * 0  # all directions
    plain = np.tile(np.r_[60.0, np.zeros(7)], (12, 1)) + draw.normal(0, 1e-3, (12, 8))
    found = rank(
        pool_of(n=24), "fd", embeddings=np.concatenate([varied, plain]), clusters=2,
        weights="vendi",
    )  # fmt: skip
    first_turn = found.rows[:8] < 12
    assert first_turn.sum() > 4


# --- LC/FD ---------------------------------------------------------------------------------


@given(COUNTS, st.sampled_from([1, 3, 17, 770, 0.01, 0.1, 0.5, 0.999]), st.integers(0, 3))
def test_lc_fd_is_the_head_of_fd_and_then_lc_without_it(counts, m, seed):
    n = len(counts)
    x = np.random.default_rng(n).random((n, 3))
    ranker = Ranker(pool_of(counts), x, seed=seed)
    fd = ranker.rank("fd", clusters=min(n, 3)).rows.tolist()
    lc = ranker.rank("lc").rows.tolist()
    found = ranker.rank("lc-fd", m=m, fd={"clusters": min(n, 3)})
    cut = min(n, m if m >= 1 else max(1, round(m * n)))
    assert found.rows.tolist() == fd[:cut] + [r for r in lc if r not in fd[:cut]]
    np.testing.assert_allclose(found.score, np.linspace(1, 0, n))


@pytest.mark.parametrize("m", [-1, 0, 1.5, math.nan, math.inf, "half", None, True])
def test_lc_fd_refuses_a_cut_that_is_none(m):
    with pytest.raises(ParameterError, match="m="):
        rank(pool_of([[1, 2]] * 4), "lc-fd", embeddings=np.ones((4, 2)), m=m)


# --- FA, Eq. 2 -----------------------------------------------------------------------------


def fa_eq2(x):
    """Section III-D with x / max; a row without variation counts as the least varied one."""
    x = np.abs(x.astype(float))
    mu = [float(np.mean(row)) for row in x]
    sigma = [float(np.std(row)) for row in x]
    mu = [m / max(mu) if max(mu) else 1.0 for m in mu]
    top = max(sigma)
    positive = [s / top for s in sigma if s > 0]
    sigma = [s / top if s > 0 else min(positive) for s in sigma] if positive else [1.0] * len(mu)
    gamma = [-(1 - m) * math.log(s) for m, s in zip(mu, sigma, strict=True)]
    low, high = min(gamma), max(gamma)
    return [1 - (g - low) / (high - low) if high - low > 1e-9 else 1.0 for g in gamma]


@given(FEATURES)
def test_fa_scores_are_equation_2_and_the_order_follows_them(x):
    found = rank(pool_of(n=len(x)), "fa", embeddings=x)
    np.testing.assert_allclose(by_row(found), fa_eq2(x), atol=1e-9)
    assert (np.diff(found.score) <= 0).all()


@given(FEATURES, st.sampled_from([1 / 64, 0.3, 3.7, 1000]))
def test_fa_does_not_depend_on_the_scale_of_the_features(x, factor):
    a = by_row(rank(pool_of(n=len(x)), "fa", embeddings=x.astype(np.float64)))
    b = by_row(rank(pool_of(n=len(x)), "fa", embeddings=x.astype(np.float64) * factor))
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 3.0])
def test_fa_of_a_constant_pool_is_1_everywhere(value):
    found = rank(pool_of(n=5), "fa", embeddings=np.full((5, 7), value))
    assert found.score.tolist() == [1.0] * 5


def test_fa_rows_that_do_not_vary_are_finite_and_last():
    x = np.array([[0.1, 0.1, 0.1], [0, 4, 8.0], [1, 2, 3.0], [0, 0, 0]])
    found = rank(pool_of(n=4), "fa", embeddings=x)
    assert np.isfinite(found.score).all()
    assert found.rows.tolist()[0] == 1
    # Computed naively, the row of 0.1 has sigma = 1e-17 and squeezes all others to the top.
    np.testing.assert_allclose(by_row(found), fa_eq2(np.where(x == 0.1, 0.125, x)), atol=0.02)


@pytest.mark.parametrize(
    ("negative", "transform"),
    [
        ("abs", np.abs),
        ("relu", lambda x: np.maximum(x, 0)),
        ("softplus", lambda x: np.logaddexp(0, x)),
    ],
)
def test_fa_transforms_of_negative_features(negative, transform):
    x = np.random.default_rng(0).normal(size=(9, 4))
    a = rank(pool_of(n=9), "fa", embeddings=x, negative=negative)
    np.testing.assert_allclose(by_row(a), fa_eq2(transform(x)), atol=1e-9)


def test_fa_paper_refuses_negative_features_and_names_the_ways_out():
    x = np.random.default_rng(0).normal(size=(9, 4))
    with pytest.raises(DataError, match="negative='abs'"):
        rank(pool_of(n=9), "fa", embeddings=x, preset="paper")


# --- CB ------------------------------------------------------------------------------------


def cb_brute_force(counts, ties):
    """Greedy over all candidates each step; within 1e-12 of the best the smallest key wins."""
    total = [0] * counts.shape[1]
    classes = int((counts.sum(axis=0) > 0).sum())
    left = {i for i in range(len(counts)) if counts[i].any()}
    order = []
    while left:
        value = {
            i: entropy_eq1([t + c for t, c in zip(total, counts[i].tolist(), strict=True)], classes)
            for i in left
        }
        best = max(value.values())
        pick = min((i for i in left if value[i] >= best - 1e-12), key=lambda i: (ties[i], i))
        order.append(pick)
        left.remove(pick)
        total = [t + c for t, c in zip(total, counts[pick].tolist(), strict=True)]
    empty = [i for i in range(len(counts)) if not counts[i].any()]
    return order + sorted(empty, key=lambda i: (ties[i], i))


@given(COUNTS, st.integers(0, 3))
def test_cb_is_the_brute_force_greedy(counts, seed):
    n = len(counts)
    found = rank(pool_of(counts), "cb", seed=seed)
    assert found.rows.tolist() == cb_brute_force(counts, keys(n, seed))
    np.testing.assert_allclose(found.score, 1 - np.arange(n) / n)


@given(COUNTS, st.integers(1, 40))
def test_cb_to_a_depth_is_the_front_of_the_whole(counts, depth):
    depth = min(depth, len(counts))
    short = rank(pool_of(counts), "cb", depth=depth)
    assert short.rows.tolist() == rank(pool_of(counts), "cb").rows[:depth].tolist()


@given(COUNTS)
def test_cb_classes_that_never_occur_do_not_matter(counts):
    wider = np.insert(counts, 0, 0, axis=1)
    assert rank(pool_of(counts), "cb").rows.tolist() == rank(pool_of(wider), "cb").rows.tolist()


# --- FA/CB, Eq. 4 --------------------------------------------------------------------------


@given(COUNTS, st.sampled_from([0, 0.25, 0.5, 1]), st.sampled_from(["score", "rank"]))
def test_fa_cb_is_equation_4(counts, lam, combine):
    n = len(counts)
    both, x = pool_of(counts), np.random.default_rng(n).random((n, 4))
    fa, cb = (rank(both, name, embeddings=x) for name in ("fa", "cb"))
    found = rank(both, "fa-cb", embeddings=x, lam=lam, combine=combine)
    if combine == "score":
        expected = lam * by_row(fa) + (1 - lam) * by_row(cb)
    else:
        expected = 1 - (lam * fa.position() + (1 - lam) * cb.position()) / n
    expected = expected - ~counts.any(axis=1)  # unlabelled tiles are last
    np.testing.assert_allclose(by_row(found), expected, atol=1e-12)
    assert (np.diff(found.score) <= 0).all()


def test_fa_cb_options_reach_the_parts():
    x = np.random.default_rng(0).normal(size=(6, 4))
    both = pool_of(np.arange(12).reshape(6, 2))
    with pytest.raises(DataError, match="negative features"):
        rank(both, "fa-cb", embeddings=x, fa={"negative": "error"})


@pytest.mark.parametrize("lam", [-0.1, 1.1, math.nan])
def test_fa_cb_refuses_a_weight_that_is_none(lam):
    with pytest.raises(ParameterError, match="lam="):
        rank(pool_of([[1, 2]] * 4), "fa-cb", embeddings=np.ones((4, 2)), lam=lam)


# --- Random and k-center -------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(0, 5))
def test_random_depends_on_ids_and_seed_only(n, seed):
    ids = np.array([f"t{i:03d}" for i in range(n)])
    order = np.random.default_rng(n).permutation(n)
    a = rank(Pool.from_arrays(ids=ids), "random", seed=seed)
    b = rank(Pool.from_arrays(ids=ids[order]), "random", seed=seed)
    assert ids[a.rows].tolist() == ids[order][b.rows].tolist()
    part = rank(Pool.from_arrays(ids=ids[::2]), "random", seed=seed)
    assert ids[::2][part.rows].tolist() == [i for i in ids[a.rows] if i in set(ids[::2])]


def test_random_takes_every_row_first_equally_often():
    firsts = [rank(pool_of(n=5), "random", seed=s).rows[0] for s in range(500)]
    assert np.bincount(firsts, minlength=5).min() > 70


def kcenter_brute_force(x, first, ties):
    gap = cdist(x.astype(float), x.astype(float), "sqeuclidean")
    order = [first]
    while len(order) < len(x):
        near = gap[:, order].min(axis=1)
        left = [i for i in range(len(x)) if i not in order]
        best = max(near[i] for i in left)
        order.append(min((i for i in left if near[i] == best), key=lambda i: (ties[i], i)))
    return order


# Quarters: squared distances are exact, so ties are ties in any arithmetic.
@given(FEATURES, st.integers(0, 3), st.sampled_from(["random", "mean"]))
def test_kcenter_is_the_brute_force_greedy(x, seed, start):
    n = len(x)
    found = rank(pool_of(n=n), "kcenter", embeddings=x, seed=seed, start=start)
    first = int(found.rows[0])
    if start == "random":
        assert first == int(rng(seed, "kcenter/start").integers(n))
    else:
        far = cdist(x.astype(float), x.astype(float).mean(axis=0, keepdims=True))[:, 0]
        assert far[first] == pytest.approx(far.max())
    assert found.rows.tolist() == kcenter_brute_force(x, first, keys(n, seed))


# --- presets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "preset", "expected"),
    [
        ("lc", "paper", {"order": "sort"}),
        ("lc", "released", {"order": "weighted"}),
        ("fd", "paper", {"max_k": None, "k_sample": 1.0, "stop": "consecutive", "weights": "equal",
                         "delta": 0.005, "patience": 3, "clusters": None}),
        ("fd", "released", {"max_k": None, "k_sample": 0.1, "stop": "mean", "weights": "vendi"}),
        ("lc-fd", "default", {"m": 0.01}),
        ("lc-fd", "paper", {"m": 770}),
        ("lc-fd", "released", {"m": 700}),
        ("fa", "default", {"negative": "abs"}),
        ("fa", "paper", {"negative": "error"}),
        ("fa-cb", "paper", {"lam": 0.5, "combine": "score"}),
        ("fa-cb", "released", {"lam": 0.5, "combine": "score"}),
        ("kcenter", "paper", {"metric": "euclidean"}),
    ],
)  # fmt: skip
def test_presets_have_the_documented_options(name, preset, expected):
    options = get_method(name).options(preset)
    assert {key: options[key] for key in expected} == expected


def test_presets_of_hybrids_reach_their_parts():
    assert get_method("lc-fd").options("released")["lc"]["order"] == "weighted"
    assert get_method("lc-fd").options("released")["fd"]["weights"] == "vendi"
    assert get_method("fa-cb").options("paper")["fa"]["negative"] == "error"


def test_options_override_the_preset():
    assert get_method("lc-fd").options("paper", {"m": 5, "fd": {"max_k": 9}})["m"] == 5
    assert get_method("lc-fd").options("paper", {"fd": {"max_k": 9}})["fd"]["max_k"] == 9


# --- the same bytes ------------------------------------------------------------------------

SCRIPT = """
import numpy as np
from foveate.curate import METHODS, rank
from foveate.pool import Pool

draw = np.random.default_rng(7)
ids = np.array([f"s{i % 5}/t{i:04d}" for i in range(400)])
counts = draw.integers(0, 50, (400, 6)) * (draw.random((400, 6)) < 0.3)
x = np.abs(draw.normal(size=(400, 48))).astype(np.float16)
tokens, cells = x.reshape(400, 4, 12), draw.integers(0, 50, (400, 4, 6))
order = np.random.default_rng({run}).permutation(400)
pool = Pool.from_arrays(ids=ids[order], counts=counts[order], attributes={"v": counts[order, 0]})
for name in [name for name in METHODS if not METHODS.get(name).requires]:
    options = {"max_k": 8} if name == "fd" else {"fd": {"max_k": 8}} if name == "lc-fd" else {}
    found = rank(
        pool, name, embeddings=x[order], tokens=tokens[order], cells=cells[order], seed=3, **options
    )
    print(name, *ids[order][found.rows], found.score.tobytes().hex())
"""


def test_threads_hash_seed_and_row_order_do_not_change_a_byte():
    runs = []
    for i, threads in enumerate(("1", "2")):
        env = {**os.environ, "PYTHONHASHSEED": str(i), "PYTHONWARNINGS": "error"}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            env[name] = threads
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.replace("{run}", str(i))],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(done.stdout)
    assert len(runs[0].splitlines()) == len([m for m in METHODS if not get_method(m).requires])
    assert runs[0] == runs[1]
