"""The training loop: the same weights by whatever way, and the best of them kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foveate.errors import DataError, ParameterError
from foveate.models.fit import FitSettings, fit
from foveate.models.weights import random_weights

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5, 0.0], np.float32))[:, None]


class Line:
    """A regression with dropout and noise, so that every stream of random numbers counts."""

    rows = len(X)

    def __init__(self, stop_after=None, scores=None):
        self.net = random_weights(
            lambda: torch.nn.Sequential(
                torch.nn.Linear(4, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1)
            )
        )
        self.steps, self.stop_after, self.scores = 0, stop_after, scores

    def loss(self, rows, draw):
        if self.steps == self.stop_after:
            raise KeyboardInterrupt
        self.steps += 1
        noise = draw.normal(scale=0.01, size=(len(rows), 4)).astype(np.float32)
        x, y = torch.from_numpy(X[rows] + noise), torch.from_numpy(Y[rows])
        return ((self.net(x) - y) ** 2).mean()

    def validate(self):
        if self.scores is not None:
            return {"score": self.scores.pop(0)}
        error = ((self.net(torch.from_numpy(X)) - torch.from_numpy(Y)) ** 2).mean()
        return {"score": -float(error), "error": float(error)}


SETTINGS = FitSettings(epochs=4, batch_size=16, learning_rate=0.02, checkpoint_seconds=0)


def weights(task):
    return {name: tensor.numpy().tobytes() for name, tensor in task.net.state_dict().items()}


def test_a_line_is_learnt():
    task = Line()
    history = fit(task, FitSettings(epochs=60, batch_size=16, learning_rate=0.02))
    assert history.epochs[-1]["error"] < 0.3 * history.epochs[0]["error"]
    assert [e["epoch"] for e in history.epochs] == list(range(1, 61))


def test_the_seed_decides_everything_and_nothing_else_does():
    first, second, other = Line(), Line(), Line()
    fit(first, SETTINGS)
    torch.rand(3)  # what others draw does not matter
    fit(second, SETTINGS)
    fit(other, FitSettings(epochs=4, batch_size=16, learning_rate=0.02, seed=1))
    assert weights(first) == weights(second) != weights(other)


def test_the_global_generator_and_the_modes_are_left_alone():
    before = torch.random.get_rng_state()
    task = Line()
    fit(task, SETTINGS)
    assert (torch.random.get_rng_state() == before).all()
    assert torch.is_grad_enabled()
    assert not task.net.training


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 9, 15])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path, stop_after):
    whole, resumed = Line(), Line()
    expected = fit(whole, SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_after), SETTINGS, checkpoint=tmp_path / "c.pt", key="k")
    found = fit(resumed, SETTINGS, checkpoint=tmp_path / "c.pt", key="k")
    assert weights(resumed) == weights(whole)
    assert found == expected
    assert resumed.steps == 16 - stop_after  # with a checkpoint at every step nothing is repeated


def test_a_finished_training_is_read_back(tmp_path):
    first, again = Line(), Line()
    fit(first, SETTINGS, checkpoint=tmp_path / "c.pt", key="k")
    fit(again, SETTINGS, checkpoint=tmp_path / "c.pt", key="k")
    assert again.steps == 0
    assert weights(again) == weights(first)


def test_a_checkpoint_of_other_data_or_settings_is_not_used(tmp_path):
    fit(Line(), SETTINGS, checkpoint=tmp_path / "c.pt", key="k")
    other = Line()
    fit(other, SETTINGS, checkpoint=tmp_path / "c.pt", key="other")
    assert other.steps == 16


def test_a_broken_checkpoint_is_named(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"PK no checkpoint")
    with pytest.raises(DataError, match=r"checkpoint .* cannot be read.*Delete it"):
        fit(Line(), SETTINGS, checkpoint=tmp_path / "c.pt", key="k")


def test_the_best_epoch_is_kept_and_patience_ends_the_training():
    seen = []

    class Recorded(Line):
        def validate(self):
            seen.append(weights(self))
            return super().validate()

    task = Recorded(scores=[0.1, 0.5, 0.4, 0.5, 0.3, 0.9])
    history = fit(task, FitSettings(epochs=6, batch_size=16, learning_rate=0.02, patience=3))
    assert (history.improved, history.best) == (2, 4)  # the last of equals is kept
    assert len(history.epochs) == 5
    assert history.stopped
    assert weights(task) == seen[3]


def test_matrices_decay_and_vectors_do_not():
    class Still(Line):
        def loss(self, rows, draw):
            return 0.0 * sum(p.sum() for p in self.net.parameters())

    task = Still()
    before = {k: v.clone() for k, v in task.net.state_dict().items()}
    fit(task, FitSettings(epochs=2, batch_size=50, learning_rate=0.1, weight_decay=0.5))
    after = task.net.state_dict()
    assert (after["0.weight"].abs() < before["0.weight"].abs()).all()
    assert (after["0.bias"] == before["0.bias"]).all()


def test_mixed_precision_trains_too():
    task = Line()
    history = fit(
        task, FitSettings(epochs=30, batch_size=16, learning_rate=0.02, precision="bfloat16")
    )
    assert history.epochs[-1]["error"] < history.epochs[0]["error"]
    assert task.net[0].weight.dtype == torch.float32


def test_a_loss_that_is_no_number_is_told():
    class Diverging(Line):
        def loss(self, rows, draw):
            return super().loss(rows, draw) * float("nan")

    with pytest.raises(DataError, match=r"loss is nan at step 1.*lower learning rate"):
        fit(Diverging(), SETTINGS)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")},
              {"warmup": 2}, {"patience": -1}, {"precision": "float16"}]
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        FitSettings(**wrong)


def test_nothing_to_train_on():
    task = Line()
    task.rows = 0
    with pytest.raises(DataError, match="no training rows"):
        fit(task, SETTINGS)


def test_progress_counts_what_was_done_before(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(Line(6), SETTINGS, checkpoint=tmp_path / "c.pt", key="k")
    ticks = []
    fit(Line(), SETTINGS, checkpoint=tmp_path / "c.pt", key="k", progress=ticks.append)
    assert ticks[0].skipped == 6
    assert (ticks[-1].done, ticks[-1].total) == (16, 16)


def test_adam_is_another_training():
    # Its decay goes through the moments: other weights, and another key; that of AdamW stays.
    adam = replace(SETTINGS, optimiser="adam", weight_decay=0.5)
    adamw = replace(adam, optimiser="adamw")
    assert adam.key() != adamw.key()
    first, second = Line(), Line()
    fit(first, adam)
    fit(second, adamw)
    assert weights(first) != weights(second)
    with pytest.raises(ParameterError, match="adamw or adam"):
        replace(SETTINGS, optimiser="sgd")
