"""Greedy selection by several gains, compared with loops that recompute every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from foveate.errors import DataError, ParameterError
from foveate.select.balance import balance_greedy
from foveate.select.combine import Mixture, combined_greedy
from foveate.select.constraints import Constraint, Quota
from foveate.select.coverage import coverage_greedy
from foveate.select.gains import Balance, Coverage, Diversity, Fixed, Vectors
from foveate.select.kcenter import kcenter_greedy

GRID = [0, 0.25, 0.5, 1, 1.5, 3, 7.75]


@st.composite
def pools(draw, largest=14):
    """Rows on a grid (with exact ties), counts, reference rows, keys and given rows."""
    n, d = draw(st.integers(1, largest)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    x = rng.choice(GRID, (n, d)).astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
    counts = rng.choice([0, 0, 1, 5, 64], (n, 4))
    reference = np.sort(rng.choice(n, draw(st.sampled_from([n, max(1, n // 2)])), replace=False))
    held = rng.choice(n, draw(st.sampled_from([0, 0, n // 3])), replace=False)
    return x, counts, reference, rng.permutation(n).astype(np.uint64), held


def order_of(gain, ties, *, given=(), constraint=None, **more):
    n = ties.size
    found = combined_greedy(
        Mixture([gain], [1.0], more.pop("combine", "sum"), more.pop("scale", "step")),
        n - len(given), ties=ties, given=given, constraint=constraint, **more,
    )  # fmt: skip
    return found.rows.tolist()


def forbidding(n, seed=0):
    rng = np.random.default_rng(seed)
    pairs = {frozenset(pair) for pair in rng.integers(0, n, (n // 2, 2)).tolist()}
    both = [order for a, *b in map(sorted, pairs) for c in b for order in ((a, c), (c, a))]
    return Constraint.of([a for a, _ in both], [b for _, b in both], n)


# --- one gain alone is the loop of that name ---------------------------------------------------


@given(pools(30), st.sampled_from([None, 1.0, 4.0]), st.booleans())
def test_coverage_alone_is_greedy_coverage(pool, sigma, bound):
    x, _, reference, ties, held = pool
    constraint = forbidding(len(x)) if bound else None
    expected = coverage_greedy(
        x, len(x) - held.size, reference=reference, ties=ties, sigma=sigma, given=held,
        constraint=constraint,
    )  # fmt: skip
    for scale in ("step", "first"):
        gain = Coverage(Vectors(x, "euclidean"), reference, sigma)
        found = order_of(gain, ties, given=held, constraint=constraint, scale=scale)
        assert found == expected.rows.tolist()


@given(pools(30), st.booleans(), st.sampled_from(["step", "first"]))
def test_diversity_alone_is_k_center(pool, bound, scale):
    x, _, _, ties, held = pool
    constraint = forbidding(len(x)) if bound else None
    start = None if held.size else 0
    expected = kcenter_greedy(
        x, len(x) - held.size, ties=ties, start=start, given=held, constraint=constraint
    )
    gain = Diversity(Vectors(x, "euclidean"), 0)
    found = order_of(gain, ties, given=held, constraint=constraint, scale=scale)
    assert found == expected.rows.tolist()


@given(pools(30), st.booleans(), st.sampled_from(["step", "first"]))
def test_balance_alone_is_class_balance(pool, bound, scale):
    _, counts, _, ties, held = pool
    constraint = forbidding(len(counts)) if bound else None
    expected = balance_greedy(counts, ties=ties, given=held, constraint=constraint)
    found = order_of(
        Balance(counts), ties, given=held, constraint=constraint, scale=scale,
        late=(~counts.any(axis=1)).astype(int),
    )  # fmt: skip
    assert found == expected.rows.tolist()


def test_single_gains_in_larger_pools():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(900, 24)).astype(np.float32) * rng.gamma(2, size=(900, 1))
    x[40:60] = x[:20]
    ties = rng.permutation(900).astype(np.uint64)
    reference = np.sort(rng.choice(900, 200, replace=False))
    for metric in ("euclidean", "cosine"):
        for sigma in (None, 3.0 if metric == "euclidean" else 0.8):
            expected = coverage_greedy(
                x, 300, reference=reference, ties=ties, sigma=sigma, metric=metric
            ).rows
            gain = Coverage(Vectors(x, metric), reference, sigma)
            found = combined_greedy(Mixture([gain], [1.0]), 300, ties=ties)
            assert found.rows.tolist() == expected.tolist()
        expected = kcenter_greedy(x, 300, ties=ties, start=7, metric=metric).rows
        gain = Diversity(Vectors(x, metric), 7)
        assert combined_greedy(Mixture([gain], [1.0]), 300, ties=ties).rows.tolist() == (
            expected.tolist()
        )


def test_large_matrices_are_read_in_blocks(monkeypatch):
    from foveate.select import _vectors

    rng = np.random.default_rng(2)
    x, ties = rng.normal(size=(300, 9)), rng.permutation(300).astype(np.uint64)

    def orders():
        vectors = Vectors(x, "euclidean")
        gains = [Coverage(vectors, np.arange(0, 300, 3)), Diversity(vectors, 4)]
        return combined_greedy(Mixture(gains, [1.0, 0.5]), 60, ties=ties).rows.tolist()

    kept = orders()
    monkeypatch.setattr(_vectors, "_KEPT", 0)
    monkeypatch.setattr(_vectors, "_VALUES", 1)  # blocks of 64 rows
    assert orders() == kept


# --- several gains, by brute force -------------------------------------------------------------


def normalised_entropy(mix):
    classes = mix.size
    if not mix.sum() or classes < 2:
        return 0.0
    shares = mix[mix > 0] / mix.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(classes))


class Textbook:
    """Compute gains from the set of picks."""

    def __init__(self, x, counts, reference):
        self.x, self.counts = x.astype(float), counts[:, counts.any(axis=0)]
        self.squared = cdist(self.x, self.x, "sqeuclidean")
        far = np.linalg.norm(self.x - self.x.mean(axis=0), axis=1)
        bound = (far.max() + far[reference].max()) ** 2 * (1 + 1e-6)
        self.similar = 1 - self.squared / bound if bound else np.ones_like(self.squared)
        self.reference = reference

    def coverage(self, picks):
        weight = len(self.x) / self.reference.size
        best = self.similar[np.ix_(picks, self.reference)].max(axis=0, initial=0)
        weights = np.full((len(self.x), self.reference.size), weight)
        weights[self.reference, np.arange(self.reference.size)] = 1
        gain = (np.maximum(self.similar[:, self.reference] - best, 0) * weights).sum(axis=1)
        share = gain / (weight * self.reference.size)
        return np.where(share > 2.0**-22, share, 0)

    def diversity(self, picks):
        if not len(picks):
            return np.ones(len(self.x))
        return np.sqrt(self.squared[:, picks]).min(axis=1)

    def objectives(self, picks):
        """Sum of distances in the order of picks, covered share, and balance, of a set."""
        apart = sum(self.diversity(picks[:i])[row] for i, row in enumerate(picks) if i)
        covered = sum(self.coverage(picks[:i])[row] for i, row in enumerate(picks))
        return {"diversity": apart, "coverage": covered, "balance": self.evenness(picks)}

    def evenness(self, picks):
        """1 / (1 + KL(equal || shares) / log C)."""
        mix, classes = self.counts[picks].sum(axis=0), self.counts.shape[1]
        if not mix.sum() or classes < 2:
            return 0.0
        shares = np.maximum(mix / mix.sum(), 2.0**-33)
        apart = sum(np.log((1 / classes) / share) / classes for share in shares)
        return 1 / (1 + apart / np.log(classes))

    def balance(self, picks):
        mix = self.counts[picks].sum(axis=0)
        now = normalised_entropy(mix)
        return np.array([normalised_entropy(mix + row) - now for row in self.counts])


def textbook(gains, weights, combine, scale, ties, held, constraint):
    """The literal loop, pick by pick."""
    n = ties.size
    picks, order, top = held.tolist(), [], {}
    state = constraint.open(held)
    while len(order) < n - held.size:
        left = [i for i in range(n) if i not in picks and state.free[i]]
        if not left:
            left = [i for i in range(n) if i not in picks]
        total = np.zeros(len(left)) if combine == "sum" else np.ones(len(left))
        for place, (gain, weight) in enumerate(zip(gains, weights, strict=True)):
            value = np.asarray(gain(picks))[left]
            if scale == "step":
                spread = value.max() - value.min()
                rounding = 1e-9 * value.max() if gain.__name__ == "coverage" else 1e-11
                some = spread > max(rounding, 1e-12)
                one = (value - value.min()) / spread if some else np.ones(len(left))
            else:
                known = gain.__name__ != "diversity" or picks
                if place not in top and known and np.abs(value).max() > 1e-11:
                    top[place] = np.abs(value).max()
                one = value / top[place] if place in top else np.ones(len(left))
            total = (
                total + weight * one if combine == "sum" else total * np.maximum(one, 0) ** weight
            )
        near = 1e-8 * max(total.max() - total.min(), 1e-6)
        row = min((r for r, t in zip(left, total, strict=True) if t >= total.max() - near),
                  key=lambda r: ties[r])  # fmt: skip
        order.append(row)
        picks.append(row)
        state.pick(row)
    return order


@given(
    pools(), st.sampled_from([(1, 1, 1), (1, 0.5, -0.3), (2, -1, 0.7), (0, 1, 1)]),
    st.sampled_from(["step", "first"]), st.booleans(),
)  # fmt: skip
def test_sums_and_products_equal_brute_force(pool, weights, scale, bound):
    x, counts, reference, ties, held = pool
    n = len(x)
    constraint = forbidding(n) if bound else Constraint(n)
    by_hand = Textbook(x, counts, reference)
    for combine in ("sum", "product") if min(weights) >= 0 else ("sum",):
        vectors = Vectors(x, "euclidean")
        gains = [Coverage(vectors, reference), Diversity(vectors), Balance(counts)]
        found = combined_greedy(
            Mixture(gains, weights, combine, scale), n - held.size, ties=ties, given=held,
            constraint=constraint,
        )  # fmt: skip
        expected = textbook(
            [by_hand.coverage, by_hand.diversity, by_hand.balance], weights, combine, scale, ties,
            held, constraint,
        )  # fmt: skip
        assert found.rows.tolist() == expected


def best_product(by_hand, names, weights, ties, held):
    """Greedy loop over the product of objectives, each recomputed for the whole set."""
    picks, n = held.tolist(), ties.size
    while len(picks) < n:
        left = [i for i in range(n) if i not in picks]
        sets = [by_hand.objectives([*picks, i]) for i in left]
        total = np.ones(len(left))
        for name, weight in zip(names, weights, strict=True):
            value = np.array([one[name] for one in sets])
            if name == "diversity" and weight and not picks:
                total *= 0
            elif value.max() > 1e-11:
                total *= (value / value.max()) ** weight
        near = 1e-8 * max(total.max() - total.min(), 1e-6)
        tied = [i for i, t in zip(left, total, strict=True) if t >= total.max() - near]
        picks.append(min(tied, key=lambda i: ties[i]))
    return picks[held.size :]


@given(pools(9), st.sampled_from([(1, 1, 1), (1, 0, 0.25), (2, 1, 0.5), (0, 1, 0)]))
def test_scale_total_multiplies_objectives_of_whole_sets(pool, weights):
    x, counts, reference, ties, held = pool
    names = ("diversity", "coverage", "balance")
    vectors = Vectors(x, "euclidean")
    gains = [Diversity(vectors), Coverage(vectors, reference), Balance(counts, "divergence")]
    found = combined_greedy(
        Mixture(gains, weights, "product", "total"), len(x) - held.size, ties=ties, given=held
    )
    by_hand = Textbook(x, counts, reference)
    assert found.rows.tolist() == best_product(by_hand, names, weights, ties, held)


def test_powers_of_distances_are_summed():
    x = np.array([[0.0], [1.0], [4.0], [4.5]])
    vectors = Vectors(x, "euclidean")
    plain, squared = Diversity(vectors, 0), Diversity(vectors, 0, power=2)
    for gain in (plain, squared):
        gain.add(0)
    assert squared.values() == pytest.approx(np.square(plain.values()))
    ties = np.arange(4, dtype=np.uint64)
    assert order_of(Diversity(vectors, 0, power=2), ties) == [0, 3, 1, 2]


def test_scale_total_keeps_rows_without_gain_in_one_objective():
    # Row 2 is a copy of row 0 of the missing class, row 1 is far away and of the class at hand.
    x = np.array([[0.0], [1.0], [0.0], [9.0]])
    counts = np.array([[8, 0], [8, 0], [0, 8], [8, 0]])
    ties = np.arange(4, dtype=np.uint64)
    after = {
        scale: combined_greedy(
            Mixture([Diversity(Vectors(x, "euclidean")), Balance(counts, "divergence")],
                    [1.0, 1.0], "product", scale),
            3, ties=ties, before=[3, 0],
        ).rows.tolist()
        for scale in ("step", "total")
    }  # fmt: skip
    assert after == {"step": [3, 0, 1], "total": [3, 0, 2]}


def test_scale_total_multiplies_sums_of_scores():
    one, other = np.array([1.0, 0.9, 0.1, 0.1]), np.array([0.1, 0.2, 0.9, 1.0])
    ties = np.arange(4, dtype=np.uint64)
    found = combined_greedy(
        Mixture([Fixed(one), Fixed(other)], [1.0, 1.0], "product", "total"), 4, ties=ties
    )
    sets = {row: (one[1] + one[row]) * (other[1] + other[row]) for row in (0, 2, 3)}
    assert found.rows[:2].tolist() == [1, max(sets, key=sets.__getitem__)]
    assert order_of(Fixed(one), ties, combine="product", scale="total") == [0, 1, 2, 3]


def test_divergence_of_uniform_shares_from_the_union():
    counts = np.array([[5, 5, 0], [30, 10, 0], [10, 0, 0]])
    assert Balance(counts, "divergence").values() == pytest.approx(
        [1, -2 / np.log2(0.75 * 0.25), 2 / 33]
    )


def test_concave_form_is_relative_to_the_pool():
    counts = np.array([[90, 0, 0], [90, 0, 0], [0, 4, 0], [0, 0, 6], [20, 0, 0]])
    gain = Balance(counts, "concave")
    assert gain.values() == pytest.approx(
        [np.sqrt(0.45) / 3, np.sqrt(0.45) / 3, 1 / 3, 1 / 3, np.sqrt(0.1) / 3]
    )
    gain.add(2)
    assert gain.values()[2] == pytest.approx((np.sqrt(2) - 1) / 3)
    ties = np.arange(5, dtype=np.uint64)
    assert order_of(Balance(counts, "concave"), ties) == [2, 3, 0, 1, 4]


# --- fixed scores, order and turns --------------------------------------------------------------


def test_sorted_fixed_scores_equal_the_loop_with_constraint():
    rng = np.random.default_rng(0)
    score, ties = rng.integers(0, 5, 40) / 5, rng.permutation(40).astype(np.uint64)
    constraint, late = forbidding(40), rng.integers(0, 2, 40)

    class Moving(Fixed):
        fixed = False  # the same numbers, but step by step

    for bound in (None, constraint):
        sorted_ = combined_greedy(
            Mixture([Fixed(score)], [1.0]), 40, ties=ties, late=late, constraint=bound
        )
        stepped = order_of(Moving(score), ties, late=late, constraint=bound)
        assert sorted_.rows.tolist() == stepped
        assert sorted_.gain.tolist() == pytest.approx(score[sorted_.rows])


def test_turns_alternate_and_skip_empty_groups():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    turns, ties = np.array([0, 0, 0, 1, 2, 2]), np.arange(6, dtype=np.uint64)
    assert order_of(Fixed(score), ties, turns=turns) == [0, 3, 4, 1, 5, 2]
    late = np.array([0, 0, 0, 0, 1, 1])
    assert order_of(Fixed(score), ties, turns=turns, late=late) == [0, 3, 1, 2, 4, 5]


def test_initial_rows_are_picked_unless_forbidden():
    score, ties = np.linspace(0, 1, 6), np.arange(6, dtype=np.uint64)
    pairs = Constraint.of([0, 1], [1, 0], 6)
    found = order_of(Fixed(score), ties, before=[0, 1, 2], constraint=pairs)
    assert found == [0, 2, 5, 4, 3, 1]
    x = np.array([[0.0], [1.0], [10.0], [11.0], [5.0]])
    gain = Diversity(Vectors(x, "euclidean"), 1)
    assert order_of(gain, np.arange(5, dtype=np.uint64), before=[0]) == [0, 3, 4, 1, 2]


def test_quota_applies_in_each_step():
    code = np.array([0, 0, 0, 1, 1, 1])
    constraint = Constraint(6, quotas=(Quota("city", code, most=2),))
    score, ties = np.linspace(1, 0.5, 6), np.arange(6, dtype=np.uint64)
    assert order_of(Fixed(score), ties, constraint=constraint) == [0, 1, 3, 4, 2, 5]


def test_invalid_arguments_raise():
    ties = np.arange(3, dtype=np.uint64)
    mixture = Mixture([Fixed(np.zeros(3))], [1.0])
    with pytest.raises(ParameterError, match="k=4"):
        combined_greedy(mixture, 4, ties=ties)
    with pytest.raises(ParameterError, match="more than once"):
        combined_greedy(mixture, 1, ties=ties, given=[0, 0])
    with pytest.raises(ParameterError, match="form='x'"):
        Balance(np.ones((2, 2), int), "x")
    with pytest.raises(ParameterError, match="metric='city'"):
        Vectors(np.ones((2, 2)), "city")
    with pytest.raises(DataError, match="NaN"):
        Vectors(np.array([[np.nan]]), "euclidean")
