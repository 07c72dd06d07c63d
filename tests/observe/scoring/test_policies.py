"""Policies: the contract, what each prefers, and the door to them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.curate import Method, get_method, rank
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.observe.scoring.policies import NEEDS, POLICIES, Policy, apply_policy, get_policy
from foveate.pool import Pool
from foveate.select.method import Method as AnyMethod
from foveate.selection import Ranking
from foveate.testing import CheckFailed, check_method

VARIANTS = [
    ("covariate", {"deterministic": True}),
    ("lr-entropy", {"weights": (1, 0, 2, 1, 1, 1)}),
    ("sar", {"weights": [1, 0, 2, 1, 1, 1], "needs_hr": [True] * 3 + [False] * 3}),
]
WIDE = {"lr-entropy": {"weights": (1, 2)}, "sar": {"needs_hr": [True, False]}}


def ids_of(n):
    return np.array([f"t{i:04d}" for i in range(n)])


def grid(scenes, rows, cols):
    axes = np.meshgrid(range(scenes), range(rows), range(cols), indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 3)


def evidence_of(n, seed):
    """All that a policy can need, with ties."""
    draw = np.random.default_rng(seed)
    given = {}
    for name, need in NEEDS.items():
        shape = (n,) if need.width is None else (n, need.width or 2)
        given[name] = draw.integers(0, 4, shape) / 3 if name != "place" else grid(1, n, 1)
    return given


@pytest.mark.parametrize("name", list(POLICIES))
def test_every_policy_passes_the_suite_of_methods(name):
    check_method(get_policy(name))
    assert get_policy(name).title
    assert get_policy(name).source


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_variants_pass_the_suite(name, options):
    if "weights" in options:  # six weights fit all pools of the suite but that of one concept
        with pytest.raises(DataError, match=r"Expected numbers of shape \(1,\)"):
            check_method(get_policy(name), seed=3, **options)
    else:
        check_method(get_policy(name), seed=3, **options)


def test_the_suite_sees_policies_that_break_rules():
    def by_row(*, ids, gain, seed, progress=None):
        return Ranking(np.argsort(-gain, kind="stable"), np.sort(gain)[::-1], len(ids))

    with pytest.raises(CheckFailed, match="order of their ids"):
        check_method(Policy("mine", "Mine", "", by_row, ("gain",)))


@pytest.mark.parametrize("name", list(POLICIES))
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30))
def test_permuting_tiles_permutes_the_ranking(name, seed, n):
    ids, given_ = ids_of(n), evidence_of(n, seed)
    options = WIDE.get(name, {})
    order = np.random.default_rng(seed).permutation(n)
    a = apply_policy(ids, name, given_, seed=seed, **options)
    moved = {key: array[order] for key, array in given_.items()}
    b = apply_policy(ids[order], name, moved, seed=seed, **options)
    assert ids[a.rows].tolist() == ids[order][b.rows].tolist()
    assert a.score.tolist() == b.score.tolist()
    json.dumps(dict(a.meta), allow_nan=False)


@pytest.mark.parametrize("name", list(POLICIES))
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), share=st.floats(0.2, 1))
def test_budgets_are_kept_with_ties_and_unequal_areas(name, seed, n, share):
    area = np.random.default_rng(seed).uniform(0.5, 1, n)
    budget = max(share * area.sum(), 1)
    costs = {"area": area}
    ranking = apply_policy(ids_of(n), name, evidence_of(n, seed), costs=costs, seed=seed)
    chosen = ranking.at({"area": budget})
    assert area[chosen.rows].sum() <= budget * (1 + 1e-8)
    if len(chosen) < n:
        assert area[ranking.rows[: len(chosen) + 1]].sum() > budget
        more = ranking.at({"area": budget * 1.5})
        assert set(chosen.rows) <= set(more.rows)


def test_uniform_gives_each_scene_its_share_at_every_budget():
    place = np.concatenate([grid(2, 6, 5), np.add([2, 0, 0], grid(1, 3, 4))])
    size = np.bincount(place[:, 0])
    for seed in range(3):
        rows = apply_policy(ids_of(72), "uniform", {"place": place}, seed=seed).rows
        for k in range(1, 73):
            got = np.bincount(place[rows[:k], 0], minlength=3)
            assert (np.abs(got - k * size / 72) < 1.5).all()


def test_uniform_is_more_even_inside_a_scene_than_chance():
    place = grid(1, 10, 10)
    quarter = (place[:, 1] // 5) * 2 + place[:, 2] // 5

    def unevenness(name, k):
        found = [
            np.bincount(quarter[apply_policy(ids_of(100), name, {"place": place}, seed=s).rows[:k]],
                        minlength=4).std()
            for s in range(8)
        ]  # fmt: skip
        return np.mean(found)

    for k in (12, 25, 50):
        assert unevenness("uniform", k) < 0.8 * unevenness("random", k)


def test_a_covariate_is_drawn_in_proportion():
    weight = np.array([0, 1, 2, 5.0])
    first = [apply_policy(ids_of(4), "covariate", {"covariate": weight}, seed=s).rows
             for s in range(600)]  # fmt: skip
    shares = np.bincount([rows[0] for rows in first], minlength=4) / 600
    assert shares == pytest.approx(weight / 8, abs=0.06)
    assert {int(rows[-1]) for rows in first} == {0}
    sorted_ = apply_policy(ids_of(4), "covariate", {"covariate": weight}, deterministic=True)
    assert sorted_.rows.tolist() == [3, 2, 1, 0]
    assert sorted_.score.tolist() == [5, 2, 1, 0]


def test_a_draw_does_not_depend_on_the_other_tiles():
    weight = np.random.default_rng(0).random(40)
    whole = apply_policy(ids_of(40), "covariate", {"covariate": weight}).rows
    part = apply_policy(ids_of(40)[:20], "covariate", {"covariate": weight[:20]}).rows
    assert whole[whole < 20].tolist() == part.tolist()


def test_entropy_prefers_uncertain_tiles_and_uses_weights():
    p = [[0.5, 0.0], [0.9, 1.0], [0.0, 0.4]]
    plain = apply_policy(ids_of(3), "lr-entropy", {"probabilities": p})
    assert plain.rows.tolist() == [0, 2, 1]
    assert plain.score[0] == 1  # bits
    heavy = apply_policy(ids_of(3), "lr-entropy", {"probabilities": p}, weights=np.array([1, 9]))
    assert heavy.rows[0] == 2
    assert heavy.meta["options"] == {"weights": [1, 9]}


def test_sar_counts_only_what_needs_hr():
    given_ = {"student": [[0.9, 0.5], [0.5, 0.1]], "teacher": [[0.5, 0.5], [0.5, 0.7]]}
    assert apply_policy(ids_of(2), "sar", given_).rows.tolist() == [1, 0]
    narrow = apply_policy(ids_of(2), "sar", given_, needs_hr=[True, False])
    assert narrow.rows.tolist() == [0, 1]
    assert narrow.score == pytest.approx([0.4, 0])
    assert apply_policy(ids_of(2), "sar", given_, needs_hr=[False, False]).score.tolist() == [0, 0]


PREDICTED = [name for name in POLICIES if name.replace("-", "_") in {*NEEDS} - {"covariate"}]


@pytest.mark.parametrize("name", PREDICTED)
def test_predictions_are_sorted_and_may_have_the_name_of_their_policy(name):
    assert apply_policy(ids_of(3), name, {name: [0.1, 0.9, 0.4]}).rows.tolist() == [1, 2, 0]


def test_tiles_without_gain_are_left_to_others():
    gain = np.random.default_rng(0).gamma(1, size=200)
    gain[:100] = 0  # a scene of water
    chosen = apply_policy(ids_of(200), "oracle-gain", {"gain": gain}).at("40%")
    assert chosen.rows.min() >= 100


def test_a_pool_brings_its_costs_and_its_order():
    pool = Pool.from_arrays(ids=["b", "a", "c"])
    found = apply_policy(pool, "learned", {"learned": [1, 3, 2]}, seed=5)
    assert found.at(2).values.tolist() == ["a", "c"]
    assert found.costs["tiles"].tolist() == [1, 1, 1]
    assert found.meta == {"method": "learned", "options": {}, "seed": 5, "preset": "default"}


@pytest.mark.parametrize("name", list(POLICIES))
def test_no_tiles_make_an_empty_ranking(name):
    assert apply_policy([], name, evidence_of(0, 0)).n == 0


GOOD = {"student": np.full((2, 3), 0.5), "teacher": np.full((2, 3), 0.5)}


@pytest.mark.parametrize(
    ("policy", "evidence", "options", "error", "text"),
    [
        ("sarr", {}, {}, UnknownNameError, "unknown policy 'sarr'.*Did you mean 'sar'"),
        ("random", {}, {"weights": [1]}, ParameterError, "policy 'random' has no option 'weights'"),
        ("sar", None, {}, DataError, "needs student.*Given evidence: nothing.*Distil"),
        ("learned", {"learnt": [1, 2]}, {}, ParameterError, "'learnt'.*Did you mean 'learned'"),
        ("learned", {"learned": [1, 2, 3]}, {}, DataError, r"shape \(3,\).*\(2,\)"),
        ("learned", {"learned": [1, np.nan]}, {}, DataError, "of 't0001' is nan.*finite numbers"),
        ("learned", {"learned": np.nan}, {}, DataError, r"learned of shape \(\)"),
        ("learned", {"learned": ["a", "b"]}, {}, DataError, "dtype <U1"),
        ("covariate", {"covariate": [-1, 2]}, {}, DataError, "'t0000' is -1.*0 or more"),
        ("patchdrop", {"patchdrop": [0, 2]}, {}, DataError, "'t0001' is 2.*0 to 1"),
        ("uniform", {"place": [[0, 0, 0], [0, 0, 0.5]]}, {}, DataError, "integers, 0 or more"),
        ("uniform", {"place": [[0, 0], [0, 0]]}, {}, DataError, r"\(2, 3\)"),
        ("sar", {**GOOD, "teacher": np.ones((2, 2))}, {}, DataError, "3 concepts.* 2"),
        ("sar", GOOD, {"needs_hr": [1, 0, 1]}, DataError, "needs_hr of shape.*dtype int"),
        ("sar", GOOD, {"weights": [1, -2, 1]}, ParameterError, "weight of -2"),
        ("sar", GOOD, {"weights": [1]}, DataError, r"weights of shape \(1,\)"),
    ],
)
def test_errors_name_what_was_given(policy, evidence, options, error, text):
    with pytest.raises(error, match=text):
        apply_policy(ids_of(2), policy, evidence, **options)


def test_policies_and_methods_are_not_mixed_up():
    with pytest.raises(ParameterError, match="the policy 'sar' where a method is expected"):
        get_method(get_policy("sar"))
    with pytest.raises(ParameterError, match="the policy 'random' where a method"):
        rank(Pool.from_arrays(n=3), get_policy("random"))
    with pytest.raises(ParameterError, match="the method 'lc' where a policy is expected"):
        apply_policy(ids_of(2), get_method("lc"))
    with pytest.raises(ParameterError, match="A policy can need: place"):
        Policy("mine", "Mine", "", lambda **_: None, ("counts",))
    with pytest.raises(ParameterError, match=r"with the parts random.*cannot have parts"):
        Policy("mine", "Mine", "", lambda **_: None, parts=("random",))
    assert isinstance(get_policy("sar"), AnyMethod)
    assert not isinstance(get_policy("sar"), Method)
