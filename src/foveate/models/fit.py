"""`fit`: the training loop of all trained models.

A step depends only on the seed and its number: rows are shuffled per epoch with a named random
stream, and the torch generator is seeded in each step. No generator state is saved, and an
interrupted training resumes from its last checkpoint with the same weights, bit for bit on the CPU
with the same number of threads. The global generator of torch is restored.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from foveate.errors import DataError, ParameterError
from foveate.files import atomic_path, digest
from foveate.progress import Meter, ProgressFn
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray

_VERSION = 1  # increased if the same settings lead to other weights
_STREAMS = 2**63  # number of torch seeds


class Task(Protocol):
    """A training task: network, loss of some rows, validation."""

    @property
    def net(self) -> torch.nn.Module:
        """The network with all parameters, on its device."""
        ...

    @property
    def rows(self) -> int:
        """Number n of training items; `loss` is called with indices below n."""
        ...

    def loss(self, rows: NDArray[np.int64], draw: np.random.Generator) -> torch.Tensor:
        """Return the mean loss of some rows.

        Args:
            rows: (b,) row numbers.
            draw: Generator of this step, for augmentation.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Return measures of the current network; called in eval mode without gradients.

        The entry "score" selects the best epoch and controls early stopping; higher is better.
        """
        ...


@dataclass(frozen=True)
class FitSettings:
    """Options of a training.

    Attributes:
        epochs: Passes over the rows.
        batch_size: Rows per step; the last step of an epoch may have fewer.
        learning_rate: Highest learning rate.
        weight_decay: Weight decay of matrices; vectors and scalars (norms, biases, temperatures)
            have none.
        warmup: Share of the steps with linear warm-up.
        schedule: Schedule after warm-up: "cosine" (half a cosine to 0) or "constant".
        betas: Betas of the optimiser.
        clip: Maximum norm of the gradient; 0 for no limit.
        patience: Epochs without improvement after which training stops; 0 for no early stopping.
        seed: Seed of the order, augmentation and dropout.
        precision: "float32", or "bfloat16" for mixed precision, which needs no loss scaling.
        checkpoint_seconds: Time between two checkpoints; there is also one after each epoch.
        optimiser: "adamw", or "adam" with weight decay as part of the gradient.

    Raises:
        ParameterError: A value is out of range.
    """

    epochs: int = 40
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    patience: int = 0
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_seconds: float = 30.0
    optimiser: Literal["adamw", "adam"] = "adamw"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, holds, allowed in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "positive"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0"),
            ("warmup", 0 <= self.warmup <= 1, "a share from 0 to 1"),
            ("clip", 0 <= self.clip < math.inf, "at least 0"),
            ("patience", self.patience >= 0, "at least 0"),
            ("schedule", self.schedule in ("cosine", "constant"), "cosine or constant"),
            ("precision", self.precision in ("float32", "bfloat16"), "float32 or bfloat16"),
            ("optimiser", self.optimiser in ("adamw", "adam"), "adamw or adam"),
        ):
            if not holds:
                raise ParameterError(
                    f"{name}={getattr(self, name)!r}", f"{name} must be {allowed}."
                )

    def key(self) -> str:
        """Return a hash of the settings that affect the weights."""
        settings = asdict(replace(self, checkpoint_seconds=0.0))
        settings["lr"] = settings.pop("learning_rate")  # keeps the hashes of earlier runs
        if self.schedule == "cosine":  # likewise
            settings.pop("schedule")
        if self.optimiser == "adamw":  # likewise
            settings.pop("optimiser")
        return digest([_VERSION, settings])


@dataclass
class History:
    """Record of a training.

    Attributes:
        epochs: One entry per epoch: "epoch", "loss" (mean over its steps), "lr", and the measures
            of `Task.validate`.
        best: Number of the epoch whose weights are kept: the last of those with the best score,
            because scores saturate while the learning rate still decreases.
        improved: Number of the first epoch with the best score.
        stopped: Whether training stopped early by `patience`.
        threads: Number of CPU threads of torch.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0
    improved: int = 0
    stopped: bool = False
    threads: int = 0


def fit(
    task: Task,
    settings: FitSettings,
    *,
    checkpoint: str | Path | None = None,
    key: str = "",
    title: str = "training",
    progress: ProgressFn | None = None,
) -> History:
    """Train a network; afterwards it has the weights of the best epoch.

    Args:
        task: The task. Its network must have the same initial weights in every process that
            resumes from a checkpoint.
        settings: Options of the training.
        checkpoint: File for the state; training resumes from it if `key` and settings are equal,
            and starts anew otherwise.
        key: Hash of the data and the network.
        title: Title of the progress.
        progress: Called with ticks; the unit is a step.

    Returns:
        The record of the training.

    Raises:
        DataError: There are no training rows, or the loss is not finite.
        StorageError: The checkpoint cannot be written.
    """
    import torch

    if task.rows < 1:
        raise DataError("there are no training rows", "At least one row is required.")
    state = _State(task, settings, digest([key, settings.key()]))
    if checkpoint is not None:
        state.load(Path(checkpoint))
    steps = -(-task.rows // settings.batch_size)
    total = steps * settings.epochs
    saved = time.monotonic()
    with (
        torch.random.fork_rng(devices=_cuda_devices(task.net)),
        Meter(progress, title, total, skipped=state.step) as meter,
    ):
        while state.step < total and not state.history.stopped:
            for rows in state.batches(steps):
                state.train(rows, total)
                meter.advance()
                due = time.monotonic() - saved > settings.checkpoint_seconds
                if checkpoint is not None and due and state.step % steps:
                    state.save(Path(checkpoint))
                    saved = time.monotonic()
            state.finish_epoch(steps)
            if checkpoint is not None:
                state.save(Path(checkpoint))
                saved = time.monotonic()
    task.net.load_state_dict(state.best)
    task.net.eval()
    return state.history


class _State:
    """State of a training at a step."""

    def __init__(self, task: Task, settings: FitSettings, key: str) -> None:
        import torch

        self.task, self.settings, self.key = task, settings, key
        self.device = next(task.net.parameters()).device
        trained = [p for p in task.net.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = kind(groups, lr=settings.learning_rate, betas=settings.betas)
        self.history = History(threads=torch.get_num_threads())
        self.step = 0
        self.sum = 0.0  # sum of the losses of the current epoch
        self.best = _copy_weights(task.net)

    def batches(self, steps: int) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of the remaining steps of the epoch."""
        epoch, done = divmod(self.step, steps)
        size = self.settings.batch_size
        order = rng(self.settings.seed, f"fit/order/{epoch}").permutation(self.task.rows)
        for k in range(done, steps):
            yield order[k * size : (k + 1) * size]

    def train(self, rows: NDArray[np.int64], total: int) -> None:
        """Take one step."""
        import torch

        settings, net = self.settings, self.task.net
        draw = rng(settings.seed, f"fit/step/{self.step}")
        _seed_torch(self.device, int(draw.integers(_STREAMS)))  # dropout; inside fork_rng
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(self.step, total, settings)
        net.train()
        with self._autocast():
            loss = self.task.loss(rows, draw)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DataError(
                f"the loss is {value} at step {self.step + 1}",
                "The training has diverged.",
                f"Use a lower learning rate than {settings.learning_rate:g}.",
            )
        self.optimiser.zero_grad()
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.clip)
        self.optimiser.step()
        self.step += 1
        self.sum += value

    def finish_epoch(self, steps: int) -> None:
        """Validate, keep the weights if they are the best, and check for early stopping."""
        import torch

        self.task.net.eval()
        with torch.no_grad(), self._autocast():
            found = self.task.validate()
        if not math.isfinite(found["score"]):
            raise DataError(
                f"the score is {found['score']} after epoch {len(self.history.epochs) + 1}",
                "The score must be finite, because it selects the weights.",
            )
        epochs = self.history.epochs
        lr = self.optimiser.param_groups[0]["lr"]
        epochs.append({"epoch": len(epochs) + 1, "loss": self.sum / steps, "lr": lr, **found})
        self.sum = 0.0
        before = epochs[self.history.best - 1]["score"] if self.history.best else -math.inf
        if found["score"] >= before:
            self.history.best = len(epochs)
            self.best = _copy_weights(self.task.net)
        if found["score"] > before:
            self.history.improved = len(epochs)
        waited = len(epochs) - self.history.improved
        self.history.stopped = 0 < self.settings.patience <= waited

    def save(self, path: Path) -> None:
        """Write the state atomically."""
        import torch

        content = {
            "key": self.key,
            "step": self.step,
            "sum": self.sum,
            "history": asdict(self.history),
            "net": self.task.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path) -> None:
        """Load a checkpoint if it belongs to the same training."""
        import torch

        if not path.exists():
            return
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged files raise various exceptions
            raise DataError(
                f"the checkpoint {str(path)!r} cannot be read: {type(error).__name__}",
                "",
                "Delete it to restart the training from the beginning.",
            ) from error
        if content.get("key") != self.key:
            return  # other settings or data: the file will be replaced
        self.task.net.load_state_dict(content["net"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.step, self.sum, self.best = content["step"], content["sum"], content["best"]
        self.history = History(**content["history"])

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        if self.settings.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def _rate(step: int, total: int, settings: FitSettings) -> float:
    """Return the relative learning rate: linear warm-up, then a half cosine to 0.

    Source: Loshchilov and Hutter 2017, SGDR, eq. 5.
    """
    rise = settings.warmup * total
    if step < rise:
        return (step + 1) / math.ceil(rise)
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))


def _copy_weights(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}


def _seed_torch(device: torch.device, seed: int) -> None:
    """Seed the generators of the device; torch.manual_seed would seed every GPU."""
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _cuda_devices(net: torch.nn.Module) -> list[int]:
    return sorted({p.device.index or 0 for p in net.parameters() if p.device.type == "cuda"})
