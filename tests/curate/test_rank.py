"""The door to the methods: what it matches, refuses and records."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foveate.curate import METHODS, Method, agreement, get_method, rank
from foveate.curate.rank import Ranker
from foveate.embeddings import Embeddings
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.pool import Pool

IDS = np.array([f"t{i}" for i in range(6)])
X = np.random.default_rng(0).random((6, 3))
READ_EMBEDDINGS = [
    name for name in METHODS
    if "embeddings" in get_method(name).needs and not get_method(name).requires
]  # fmt: skip
COUNTS = np.random.default_rng(1).integers(1, 9, (6, 4))


def pool(**columns):
    return Pool.from_arrays(ids=IDS, **columns)


def test_embeddings_are_matched_by_id():
    order = np.random.default_rng(2).permutation(6)
    given = Embeddings(IDS[order], X[order])
    a, b = (rank(pool(), "kcenter", embeddings=e) for e in (X, given))
    assert a.rows.tolist() == b.rows.tolist()


def test_the_ranking_knows_ids_costs_and_how_it_was_made():
    found = rank(pool(counts=COUNTS), "cb", seed=3)
    assert found.ids.tolist() == IDS.tolist()
    assert found.at(2).values.tolist() == IDS[found.rows[:2]].tolist()
    assert {k: found.meta[k] for k in ("method", "seed", "preset")} == {
        "method": "cb", "seed": 3, "preset": "default",
    }  # fmt: skip


def test_a_ranker_gives_what_rank_gives_and_reuses_parts(monkeypatch):
    alone = rank(pool(counts=COUNTS), "fa-cb", embeddings=X, seed=2)
    ranker = Ranker(pool(counts=COUNTS), X, seed=2)
    first = ranker.rank("cb")
    assert ranker.knows("cb", first.meta["options"])
    monkeypatch.setattr("foveate.curate.methods.cb.balance_greedy", pytest.fail)
    found = ranker.rank("fa-cb")
    assert found.rows.tolist() == alone.rows.tolist()
    assert found.meta == alone.meta
    assert ranker.rank("cb").rows.tolist() == first.rows.tolist()


def test_a_ranker_takes_a_ranking_that_was_made_before():
    found = rank(pool(counts=COUNTS), "cb")
    ranker = Ranker(pool(counts=COUNTS), X)
    assert not ranker.knows("cb", found.meta["options"])
    ranker.keep("cb", found.meta["options"], found)
    assert ranker.knows("cb", found.meta["options"])
    alone = rank(pool(counts=COUNTS), "fa-cb", embeddings=X)
    assert ranker.rank("fa-cb").rows.tolist() == alone.rows.tolist()


def test_methods_of_one_name_are_not_mixed_up():
    def backwards(*, ids, seed, progress=None):
        from foveate.selection import Ranking

        return Ranking(np.arange(6)[::-1], np.arange(6)[::-1].astype(float), 6)

    def forwards(*, ids, seed, progress=None):
        from foveate.selection import Ranking

        return Ranking(np.arange(6), np.arange(6)[::-1].astype(float), 6)

    ranker = Ranker(pool())
    found = [ranker.rank(Method("mine", "Mine", "", f)).rows[0] for f in (backwards, forwards)]
    assert found == [5, 0]


def test_a_hybrid_of_a_part_that_is_not_full_is_refused():
    with pytest.raises(ParameterError, match=r"part 'cb' of 'fa-cb' ranks 3 of 6.*fa-cb.cb.depth"):
        rank(pool(counts=COUNTS), "fa-cb", embeddings=X, cb={"depth": 3})
    whole = rank(pool(counts=COUNTS), "fa-cb", embeddings=X, cb={"depth": 6})
    plain = rank(pool(counts=COUNTS), "fa-cb", embeddings=X)
    assert whole.rows.tolist() == plain.rows.tolist()


def test_an_own_method_is_ranked_like_the_others():
    def brightest(*, ids, embeddings, seed, progress=None, column: int = 0):
        from foveate.selection import Ranking

        rows = np.argsort(-embeddings[:, column])
        return Ranking(rows, embeddings[rows, column], len(ids))

    mine = Method("mine", "Mine", "", brightest, needs=("embeddings",))
    assert rank(pool(), mine, embeddings=X, column=1).rows[0] == X[:, 1].argmax()
    with pytest.raises(ParameterError, match=r"mine.column='a'.*Expected int"):
        rank(pool(), mine, embeddings=X, column="a")


@pytest.mark.parametrize(
    ("method", "options", "error", "text"),
    [
        ("lcc", {}, UnknownNameError, "Did you mean 'lc'"),
        ("lc", {}, DataError, "needs class counts.*--masks"),
        ("fa", {}, DataError, "needs embeddings"),
        ("fa", {"embeddings": X[:4]}, DataError, r"shape \(4, 3\).*6 tiles"),
        ("fa", {"embeddings": X[0]}, DataError, r"shape \(3,\)"),
        ("fa", {"embeddings": np.ones((6, 3), int)}, DataError, "dtype int64"),
        ("fa", {"embeddings": Embeddings(IDS[:5], X[:5])}, DataError, "1 of 6 tiles have no emb"),
        ("fa", {"embeddings": X, "depth": 3}, ParameterError, "Only greedy methods"),
        ("fa", {"embeddings": X, "negativ": "abs"}, ParameterError, "Did you mean 'negative'"),
        ("fa", {"embeddings": X, "negative": "cube"}, ParameterError, "negative='cube'"),
        ("fa", {"embeddings": X, "preset": "papr"}, ParameterError, "Did you mean 'paper'"),
        ("fd", {"embeddings": X, "clusters": 9}, ParameterError, "clusters=9"),
        ("fd", {"embeddings": X, "clusters": "9"}, ParameterError, "fd.clusters='9'.*int or None"),
        ("fd", {"embeddings": X, "max_k": 1}, ParameterError, "max_k=1"),
        ("fd", {"embeddings": X, "delta": 0.0}, ParameterError, "delta=0.0"),
        ("fd", {"embeddings": X, "k_sample": 0}, ParameterError, "k_sample=0"),
        ("fd", {"embeddings": X, "stop": "never"}, ParameterError, "stop='never'"),
        ("fd", {"embeddings": X, "weights": "gold"}, ParameterError, "weights='gold'"),
        ("fd", {"embeddings": X, "warm": 1}, ParameterError, "fd.warm=1.*Expected bool"),
        ("kcenter", {"embeddings": X, "start": "first"}, ParameterError, "start='first'"),
        ("kcenter", {"embeddings": X, "metric": "city"}, ParameterError, "metric='city'"),
        ("kcenter", {"embeddings": X, "depth": 0}, ParameterError, "depth=0"),
        ("kcenter", {"embeddings": X * 0, "metric": "cosine"}, DataError, "zero"),
    ],
)
def test_what_cannot_be_ranked_says_why(method, options, error, text):
    with pytest.raises(error, match=text):
        rank(pool(), method, **options)


@pytest.mark.parametrize("counts", [[[0.5, 0.5]], [[-1, 2]], [1, 2], [[]]])
def test_counts_that_are_none(counts):
    with pytest.raises(DataError, match="class counts"):
        Pool.from_arrays(counts=counts)


@pytest.mark.parametrize("name", ["cb", "kcenter"])
@pytest.mark.parametrize("depth", [1, 6, 7])
def test_a_depth_beyond_the_pool_ranks_everything(name, depth):
    found = rank(pool(counts=COUNTS), name, embeddings=X, depth=depth)
    assert found.depth == min(depth, 6)


@pytest.mark.parametrize("name", ["fa", "fd", "kcenter"])
@pytest.mark.parametrize(
    ("factor", "dtype"),
    [
        (1e30, np.float32), (1e-30, np.float32), (1e200, np.float64), (1e-200, np.float64),
        (3e-310, np.float64), (1e307, np.float64), (3.0, np.float32), (1e4, np.float16),
        (1e-3, np.float16),
    ],
)  # fmt: skip
def test_a_ranking_does_not_depend_on_the_unit_of_the_features(name, factor, dtype):
    x = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    if dtype == np.float16:  # which keeps three digits
        x = np.round(x)
        factor = 2.0 ** round(math.log2(factor))
    plain = rank(Pool.from_arrays(n=40), name, embeddings=x)
    found = rank(Pool.from_arrays(n=40), name, embeddings=(x * np.float64(factor)).astype(dtype))
    assert found.rows.tolist() == plain.rows.tolist()


def test_features_of_any_usual_size_are_not_copied(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((50, 4)).astype(np.float16) * 6e4)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    seen = []

    def mine(*, ids, embeddings, seed, progress=None):
        from foveate.selection import Ranking

        seen.append(embeddings)
        return Ranking(np.arange(50), np.zeros(50), 50)

    method = Method("mine", "Mine", "", mine, needs=("embeddings",))
    found = rank(Pool.from_arrays(n=50), method, embeddings=x)
    assert seen[0] is x
    assert "feature_exponent" not in found.meta
    huge = rank(Pool.from_arrays(n=50), method, embeddings=np.asarray(x, np.float32) * 1e30)
    assert np.abs(seen[1]).max() <= 1
    assert seen[1].dtype == np.float32
    exponent = huge.meta["feature_exponent"]
    np.testing.assert_array_equal(
        seen[1], np.ldexp(np.asarray(x, np.float32) * np.float32(1e30), exponent)
    )


def test_agreement_of_a_ranking_with_itself_and_its_reverse():
    from dataclasses import replace

    a = rank(pool(counts=COUNTS), "cb")
    b = replace(a, rows=a.rows[::-1].copy(), score=a.score)
    rankings = {"a": a, "same": a, "reverse": b}
    pairs = agreement(rankings, {k: r.at(3) for k, r in rankings.items()})
    found = {(p.a, p.b): (p.kendall, p.overlap) for p in pairs}
    assert found[("a", "same")] == (pytest.approx(1), 1)
    assert found[("a", "reverse")] == (pytest.approx(-1), 0)


def test_options_are_complete_for_every_preset():
    for preset in ("default", "paper", "released"):
        assert get_method("lc-fd").options(preset)["fd"].keys() == get_method("fd").defaults.keys()


# --- constant tiles ------------------------------------------------------------------------


@pytest.mark.parametrize("name", READ_EMBEDDINGS)
@pytest.mark.parametrize("last", [[], [2], [0, 3, 5], list(range(6))])
def test_constant_tiles_come_last_in_the_order_of_the_method(name, last):
    x = X.copy()
    x[last] += 50  # outliers, as blank tiles are
    constant = np.isin(np.arange(6), last)
    given = Embeddings(IDS, x, constant=constant)
    found = rank(pool(counts=COUNTS), name, embeddings=given)
    content = 6 - len(last)
    assert set(found.rows[content:].tolist()) == set(last)
    assert found.first_put_back == content
    assert found.meta.get("constant", 0) == len(last)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_constant_tiles_are_ranked_as_others_with_the_presets_of_the_paper(preset):
    given = Embeddings(IDS, X, constant=np.arange(6) == 2)
    plain = rank(pool(), "kcenter", embeddings=X, preset=preset)
    found = rank(pool(), "kcenter", embeddings=given, preset=preset)
    assert found.rows.tolist() == plain.rows.tolist()
    assert found.meta == plain.meta


def test_methods_that_do_not_read_embeddings_do_not_see_constant_tiles():
    given = Embeddings(IDS, X, constant=np.arange(6) == 2)
    plain, found = (rank(pool(counts=COUNTS), "cb", embeddings=e) for e in (X, given))
    assert found.rows.tolist() == plain.rows.tolist()
    ranker = Ranker(pool(counts=COUNTS), given)
    assert ranker.rank("kcenter").rows[-1] == 2
    assert ranker.rank("cb").rows.tolist() == plain.rows.tolist()


def test_constant_tiles_that_are_already_selected_are_not_ranked():
    given = Embeddings(IDS, X, constant=np.isin(np.arange(6), [1, 2]))
    found = rank(pool(), "kcenter", embeddings=given, picked=["t1"])
    assert found.rows[-1] == 2
    assert found.meta["constant"] == 1


def test_fa_cb_ranks_tiles_without_labels_last():
    draw = np.random.default_rng(0)
    counts = draw.integers(1, 9, (40, 3))
    counts[::4] = 0
    x = draw.random((40, 5)).astype(np.float32)
    x[::4] += 3 * draw.random((10, 5)).astype(np.float32)  # FA ranks these first
    some = Pool.from_arrays(counts=counts)
    found = rank(some, "fa-cb", embeddings=x)
    bare = ~counts.any(axis=1)
    assert bare[found.rows[-10:]].all()
    assert found.score[-10:].max() <= 0 <= found.score[:-10].min()
    assert (np.diff(found.score) <= 0).all()
    assert found.meta["unlabelled"] == 10
    as_stated = rank(some, "fa-cb", embeddings=x, unlabelled="score")
    order = as_stated.rows[np.argsort(bare[as_stated.rows], kind="stable")]
    assert found.rows.tolist() == order.tolist()
    assert bare[as_stated.rows[:10]].any()
    paper = rank(some, "fa-cb", embeddings=x, preset="paper")
    assert paper.rows.tolist() == as_stated.rows.tolist()
    with pytest.raises(ParameterError, match="Allowed: last, score"):
        rank(some, "fa-cb", embeddings=x, unlabelled="first")
