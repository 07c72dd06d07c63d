"""The supervision target: cues, similarities, scales and forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError, ParameterError
from foveate.observe.features import structural_saliency
from foveate.observe.scoring.targets import (
    TARGETS,
    Scale,
    Similarity,
    captured,
    combine,
    semantic_gain,
    surprise,
    task_delta,
)

SEEDS = st.integers(0, 2**32 - 1)


def brute_saliency(tile):
    unit = tile / np.linalg.norm(tile, axis=-1, keepdims=True)
    h, w = tile.shape[:2]
    pairs = [(i, j, i + 1, j) for i in range(h - 1) for j in range(w)]
    pairs += [(i, j, i, j + 1) for i in range(h) for j in range(w - 1)]
    return np.mean([1 - unit[a, b] @ unit[c, d] for a, b, c, d in pairs])


def test_saliency_is_the_mean_over_neighbouring_pairs():
    tokens = np.random.default_rng(0).normal(size=(300, 2, 3, 4)).astype(np.float32)
    expected = [brute_saliency(tile.astype(np.float64)) for tile in tokens]
    assert structural_saliency(tokens) == pytest.approx(expected, abs=1e-12)


def test_saliency_of_even_tiles_is_zero_whatever_their_length():
    tokens = np.zeros((3, 2, 2, 2))
    tokens[1] = [1, 0]
    tokens[2, 0] = [1, 0]  # beside tokens without a direction
    assert structural_saliency(tokens).tolist() == [0, 0, 0]
    checked = np.array([[[[1.0], [-1.0]], [[-1.0], [1.0]]]])
    assert structural_saliency(checked).tolist() == [2]
    assert structural_saliency(np.ones((0, 2, 2, 3))).shape == (0,)


@given(SEEDS)
def test_permuting_tiles_permutes_every_score(seed):
    rng = np.random.default_rng(seed)
    n, order = 12, rng.permutation(12)
    tokens, fill = rng.normal(size=(2, n, 2, 2, 3))
    high, low = rng.random((2, n, 4))
    scores = {
        "structural": lambda at: structural_saliency(tokens[at]),
        "surprise": lambda at: surprise(tokens[at].reshape(n, 4, 3), fill[at].reshape(n, 4, 3)),
        "delta": lambda at: task_delta(high[at, 0], low[at, 0]),
        "gain": lambda at: semantic_gain(high[at], low[at], np.ones(4)),
        "z": lambda at: semantic_gain(high[at], low[at], np.ones(4), similarity="z", over="max"),
        "quantile": lambda at: Scale.fit(high[at, 0])(high[at, 0]),
        "ecdf": lambda at: Scale.fit(high[at, 0], "ecdf")(high[at, 0]),
        "scene": lambda at: Scale.fit(high[at, 0], "scene_minmax")(high[at, 0], at % 3),
    }
    for name, score in scores.items():
        assert score(np.arange(n))[order] == pytest.approx(score(order), abs=1e-12), name


def test_lift_compares_with_prevalence():
    hr, lr = np.array([[0.9, 0.02], [0.1, 0.0]]), np.array([[0.5, 0.0], [0.5, 0.0]])
    gain = semantic_gain(hr, lr, [1, 2])
    # Prevalence .5 and .01, which is raised to half a tile of two, .25.
    assert gain == pytest.approx([0.4 / 0.5 + 2 * 0.02 / 0.25, 0])
    assert semantic_gain(hr, lr, [1, 2], lam=0, over="max") == pytest.approx([1.8, 0.2])


def test_z_standardises_both_sides_by_themselves():
    hr, lr = np.array([[0.2, 0.3], [0.4, 0.3]]), np.array([[5.0, 1], [9.0, 1]])
    assert semantic_gain(hr, lr, [1, 1], similarity="z").tolist() == pytest.approx([0, 0])
    assert semantic_gain(hr, lr[::-1], [1, 1], similarity="z") == pytest.approx([0, 2])


def test_the_cosine_of_the_paper_subtracts_a_constant_for_one_concept_and_one_overview():
    hr = np.random.default_rng(0).uniform(0.3, 0.5, (6, 1))
    gain = semantic_gain(hr, np.full((6, 1), 0.1), [1.0], similarity="cosine")
    assert np.argsort(gain).tolist() == np.argsort(hr[:, 0]).tolist()
    assert gain == pytest.approx(hr[:, 0] - 0.1)


@pytest.mark.parametrize("kind", ["lift", "z", "cosine"])
def test_statistics_of_training_tiles_serve_others(kind):
    train, lr = np.random.default_rng(0).random((2, 30, 3))
    fitted = Similarity.fit(train, lr, kind)
    some = slice(4, 9)
    kept = semantic_gain(train, lr, np.ones(3), similarity=kind)[some]
    other = semantic_gain(train[some], lr[some], np.ones(3), similarity=kind, fitted=fitted)
    assert kept.tolist() == other.tolist()


def test_gain_of_no_concepts_or_tiles():
    assert semantic_gain(np.ones((2, 0)), np.ones((2, 0)), []).tolist() == [0, 0]
    none, fitted = np.ones((0, 2)), Similarity.fit([[0.5, 0.5]], [[0.5, 0.5]])
    assert semantic_gain(none, none, [1, 1], fitted=fitted, over="max").shape == (0,)


def test_surprise_and_task_delta():
    hr = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0, 0], [0, 0]]], np.float16)
    assert surprise(hr, np.zeros_like(hr)).tolist() == [7.5, 0]
    assert task_delta([1, 2], [0.5, 3]).tolist() == [0.5, -1]


def test_scales_by_hand():
    values = np.arange(101.0)
    scale = Scale.fit(values)
    assert scale([0, 1, 50, 99, 200]).tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert Scale.fit([1, 1, 2, 3], "ecdf")([0, 1, 2, 3, 4]).tolist() == [0, 0.25, 0.625, 0.875, 1]
    assert Scale.fit(np.zeros(1000))([0, 0.1]).tolist() == [0, 1]  # one quantile
    by_scene = ([2.0, 4, 3, 3], [0, 0, 1, 1])
    assert Scale.fit([1.0], "scene_minmax")(*by_scene).tolist() == [0, 1, 0, 0]
    assert Scale.fit([1.0], "scene_sum")(*by_scene) == pytest.approx([1 / 3, 2 / 3, 0.5, 0.5])
    assert Scale.fit([1.0], "scene_sum")([0.0, 0], [0, 0]).tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["quantile", "ecdf", "scene_minmax", "scene_sum"])
def test_scales_stay_in_range(kind):
    values = np.random.default_rng(2).gamma(1, size=500)
    scale = Scale.fit(values, kind)
    scenes = np.arange(500) // 100
    mapped = scale(values, scenes)
    assert 0 <= mapped.min() <= mapped.max() <= 1


@pytest.mark.parametrize("kind", ["quantile", "ecdf", "scene_minmax"])
def test_a_scene_of_water_gets_tiles_only_when_it_is_scaled_by_itself(kind):
    rng = np.random.default_rng(3)
    gain = rng.gamma(1, size=400)
    gain[:100] = rng.random(100) * 1e-6  # ripples
    scene = np.arange(400) // 100
    score = Scale.fit(gain, kind)(gain, scene)
    top = np.argsort(-score, kind="stable")[:48]
    assert (scene[top] == 0).any() == (kind == "scene_minmax")
    assert (score[:100].max() == 1) == (kind == "scene_minmax")
    still = np.where(scene == 0, 0.0, gain)  # a constant scene has no best tile at all
    assert Scale.fit(still, kind)(still, scene)[:100].max() <= 0.125


def test_forms_by_hand():
    u, v = [0.5, 1.0], [1.0, 0.0]
    assert combine("structural", u).tolist() == u
    assert combine("semantic", semantic=v).tolist() == v
    assert combine("additive", u, v).tolist() == [0.75, 0.5]
    assert combine("product", u, v).tolist() == [0.5, 0]
    assert combine("task-delta", task_delta=[-1.0]).tolist() == [-1]
    assert combine("surprise", surprise=[3.0]).tolist() == [3]
    assert all(form.source and form.title for form in TARGETS.values())


def test_captured_is_a_share_of_all_value():
    assert captured([1, 2, 3, 4], np.array([0, 0, 0, 1], bool)) == 0.4
    assert captured([1.0, 1.0], np.ones(2, bool)) == 1
    assert np.isnan(captured([0.0, 0.0], np.ones(2, bool)))


P = np.full((3, 2), 0.5)
T = np.ones((3, 2, 2, 4))
NAN = np.where(np.arange(3)[:, None, None, None] == 1, np.nan, T)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: structural_saliency(T[0]), DataError, r"tokens of shape \(2, 2, 4\)"),
        (lambda: structural_saliency(T[:, :1, :1]), DataError, "two tokens per tile"),
        (lambda: structural_saliency(NAN), DataError, "tokens with NaN.*1 rows, first 1"),
        (lambda: surprise(T[0], T[0, :1]), DataError, r"\(2, 2, 4\), filled.*\(1, 2, 4\)"),
        (lambda: surprise(NAN[:, 0], T[:, 0]), DataError, "NaN"),
        (lambda: task_delta([1, 2], [1]), DataError, r"Expected.*\(2,\)"),
        (lambda: Similarity.fit(P, P, "zz"), ParameterError, "similarity='zz'.*Did you mean 'z'"),
        (lambda: Similarity.fit(P, P[:2]), DataError, r"reference of shape \(2, 2\).*\(3, 2\)"),
        (lambda: Similarity.fit(P[:0], P[:0]), DataError, "no tiles"),
        (
            lambda: Similarity.fit(P * 3, P), DataError,
            "from 0.5 to 1.5 for the similarity 'lift'.*similarity='z'",
        ),
        (lambda: Similarity.fit(P, P)(P[:, :1], P[:, :1]), DataError, "1 concepts.*fitted on 2"),
        (lambda: semantic_gain(P, P, [1, -1]), DataError, "weight of -1"),
        (lambda: semantic_gain(P, P, [1]), DataError, r"weights of shape \(1,\)"),
        (lambda: semantic_gain(P, P, [1, 1], lam=-1), ParameterError, "lam=-1"),
        (lambda: semantic_gain(P, P, [1, 1], over="mean"), ParameterError, "over='mean'"),
        (
            lambda: semantic_gain(P, P, [1, 1], similarity="z", fitted=Similarity.fit(P, P)),
            ParameterError, "similarity='z' with statistics of 'lift'",
        ),
        (lambda: Scale.fit([1.0], "rank"), ParameterError, "kind='rank'"),
        (lambda: Scale.fit([]), DataError, "no values"),
        (lambda: Scale.fit([1.0], "scene_sum")([1.0]), ParameterError, "without scenes.*place"),
        (lambda: Scale.fit([1.0], "scene_sum")([-1.0], [0]), DataError, "value of -1"),
        (lambda: combine("produkt"), ParameterError, "Did you mean 'product'"),
        (lambda: combine("product", [1]), ParameterError, "without semantic.*structural and"),
        (lambda: combine("additive", [1], [1, 2]), DataError, r"semantic of shape \(2,\)"),
        (lambda: captured([1, 2], [1, 0]), DataError, "dtype int64 for 2 tiles"),
        (lambda: captured([-1, 2], np.ones(2, bool)), DataError, "value of -1"),
    ],
)  # fmt: skip
def test_errors_name_what_was_given(call, error, text):
    with pytest.raises(error, match=text):
        call()
