"""Losses by hand, and where their minima lie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
losses = pytest.importorskip("foveate.observe.networks.losses")


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_constant_prediction_at_the_mean_has_cosine_zero():
    target = tokens(500, 6) + 5
    mu = target.mean(0)
    constant = mu.expand_as(target)
    assert losses.centred_cosine(constant, target, mu).abs().max() < 1e-6
    # Around the origin the same prediction would look almost right.
    assert losses.centred_cosine(constant, target, torch.zeros(6)).mean() > 0.9
    assert torch.allclose(losses.centred_cosine(target, target, mu), torch.ones(500))
    assert torch.allclose(losses.centred_cosine(2 * mu - target, target, mu), -torch.ones(500))
    near = mu + 1e-3 * tokens(500, 6, seed=1)  # nearly constant: no better than chance
    assert losses.centred_cosine(near, target, mu).mean().abs() < 0.1


def test_the_representation_loss_by_hand():
    found = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    target = torch.tensor([[0.0, 1.0], [0.0, 5.0], [-9.0, 9.0]])
    mu = torch.tensor([0.0, -1.0])
    # Around mu: (1, 1) and (0, 2); (0, 3) and (0, 6); (3, 4) and (-9, 10).
    by_hand = [1 - 1 / math.sqrt(2), 0.0, 1 - 13 / (5 * math.sqrt(181))]
    weight = torch.tensor([1.0, 0.25, 0.0])
    found_loss = losses.representation_loss(found, target, mu, weight, norm=0)
    assert float(found_loss) == pytest.approx((by_hand[0] + 0.25 * by_hand[1]) / 1.25, abs=1e-6)
    # Smooth L1 of the first: 0.5 * 1 twice, halved; of the second: (3 - 0.5) once, halved.
    rest = (1.0 * 0.5 + 0.25 * 1.25) / 1.25
    whole = losses.representation_loss(found, target, mu, weight, norm=0.2)
    assert float(whole - found_loss) == pytest.approx(0.2 * rest, abs=1e-6)


@given(seed=st.integers(0, 99), norm=st.sampled_from([0.0, 0.5]))
def test_tokens_without_weight_do_not_count(seed, norm):
    found, target, mu = tokens(2, 4, 3, seed=seed), tokens(2, 4, 3, seed=seed + 1), tokens(3)
    weight = tokens(2, 4, seed=seed + 2).clamp(min=0)
    kept = weight > 0
    whole = losses.representation_loss(found, target, mu, weight, norm=norm)
    part = losses.representation_loss(found[kept], target[kept], mu, weight[kept], norm=norm)
    assert torch.allclose(whole, part, atol=1e-6)


def test_no_weight_at_all_is_a_loss_of_zero_with_gradients():
    found = tokens(4, 3).requires_grad_()
    target, weight = tokens(4, 3, seed=1), torch.zeros(4)
    losses.representation_loss(found, target, torch.zeros(3), weight).backward()
    assert not found.grad.any()


def test_a_right_prediction_has_no_loss():
    target = tokens(5, 3)
    loss = losses.representation_loss(target, target, torch.zeros(3), torch.ones(5))
    assert float(loss) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.1, 0.5, 0.93])
def test_a_score_is_best_at_its_soft_target(target):
    scores = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    wanted, weight = torch.full((1, 1), target, dtype=torch.float64), torch.ones(1, 1)
    values = [
        float(losses.sampler_loss(score.logit().reshape(1, 1), wanted, weight)) for score in scores
    ]
    assert float(scores[int(np.argmin(values))]) == pytest.approx(target, abs=2e-3)


def test_the_mean_of_the_targets_is_the_best_single_score():
    target = torch.rand(1, 50, generator=torch.Generator().manual_seed(0)) ** 2
    logit = torch.zeros((), requires_grad=True)
    best = target.mean().logit()
    for at, sign in ((best - 0.1, -1), (best, 0), (best + 0.1, 1)):
        logits = (logit + at).expand(1, 50)
        loss = losses.sampler_loss(logits, target, torch.ones(1, 50), ranking=0)
        gradient = float(torch.autograd.grad(loss, logit)[0])
        assert gradient == pytest.approx(0, abs=1e-6) if sign == 0 else gradient * sign > 0.01


def test_the_order_of_a_scene_counts():
    target = torch.linspace(0, 1, 40)[None]
    right, wrong, weight = 2 * target, -2 * target, torch.ones(1, 40)

    def order(logits):
        torch.manual_seed(0)
        with_it = losses.sampler_loss(logits, target, weight, ranking=1.0)
        return float(with_it - losses.sampler_loss(logits, target, weight, ranking=0))

    with torch.random.fork_rng():
        assert order(right) < order(torch.zeros(1, 40)) < order(wrong)
        assert order(torch.zeros(1, 40)) == pytest.approx(math.log(2), abs=1e-6)


def test_tiles_that_are_not_there_have_no_part_in_a_score():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        logits = tokens(2, 6).requires_grad_()
        weight = torch.tensor([[1.0, 1, 0, 1, 1, 0], [0.0, 1, 1, 0, 0, 1]])
        target = tokens(2, 6, seed=1).sigmoid()
        losses.sampler_loss(logits, target, weight, ranking=1.0).backward()
        assert torch.equal(logits.grad != 0, weight > 0)


@given(b=st.integers(1, 5), k=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_alignment_loss_equals_a_double_loop(b, k, seed):
    logits = 4 * tokens(b, k, seed=seed).double()
    match = tokens(b, k, seed=seed + 1) > 0  # several scenes may show one concept
    total = 0.0
    for i in range(b):
        for j in range(k):
            y = 1 if match[i, j] else -1
            total += math.log(1 / (1 + math.exp(-y * float(logits[i, j]))))
    assert float(losses.alignment_loss(logits, match)) == pytest.approx(-total / b, rel=1e-9)


def test_scenes_that_share_a_concept_do_not_push_each_other_away():
    logits = torch.zeros(3, 1, requires_grad=True)
    losses.alignment_loss(logits, torch.tensor([[True], [True], [False]])).backward()
    assert logits.grad[:, 0].tolist() == pytest.approx([-1 / 6, -1 / 6, 1 / 6])
