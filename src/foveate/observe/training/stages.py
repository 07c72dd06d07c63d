"""Stages of a training as functions of the training set; each stage is a step of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foveate.errors import DataError
from foveate.files import read_json, write_bytes, write_json
from foveate.models.checkpoint_file import read_state
from foveate.models.fit import FitSettings, fit
from foveate.models.weights import put_state, random_weights
from foveate.observe import dense
from foveate.observe.networks.lr_fill import Fill, sums
from foveate.observe.networks.predictor import Aligned
from foveate.observe.networks.sizes import architecture_of
from foveate.observe.networks.tasks import (
    FillTask,
    PredictorTask,
    SamplerTask,
    new_predictor,
    new_sampler,
)
from foveate.observe.scoring.targets import TARGETS
from foveate.observe.training.crossfit import Targets, TargetSettings, crossfitted, folds_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.models.fit import History, Task
    from foveate.observe.jobs import TrainJob
    from foveate.observe.networks.heads import TextConcepts
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.networks.sizes import Architecture
    from foveate.observe.networks.tasks import Data
    from foveate.observe.training.dataset import TrainingData
    from foveate.progress import ProgressFn
    from foveate.run import Run


def checkpointed_stage[Net: torch.nn.Module](
    run: Run, step: str, key: str, *, stem: str, new: Callable[[], Net],
    work: Callable[[], tuple[Net, dict[str, Any]]], checkpoint: Path | None = None,
) -> tuple[Net, dict[str, Any]]:  # fmt: skip
    """Run a stage unless it is finished, and return its network and its training facts.

    Args:
        run: Open run.
        step: Name of the step.
        key: Hash of all inputs of the stage.
        stem: Path of its files, relative to the run, without a suffix.
        new: Function that creates a network of the same architecture.
        work: Function that trains, and returns the network and JSON-ready facts.
        checkpoint: Checkpoint file to remove when the network is stored, or None.

    Returns:
        The stored network, in eval mode, and the facts.
    """
    from safetensors.torch import save as as_bytes

    weights, facts = f"{stem}.safetensors", f"{stem}.json"

    def do() -> list[str]:
        net, measured = work()
        state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
        write_bytes(run.path / weights, as_bytes(state))
        write_json(run.path / facts, measured)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        return [weights, facts]

    run.do(step, key, do)
    net, path = new(), run.path / weights
    put_state(net, read_state(path), path, step.replace("train", "the", 1))
    return net.eval(), read_json(run.path / facts)


STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # ridge strengths, chosen on the validation scenes
SAMPLER_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # chosen by cross-validation
KRIGING_LR = 3e-2  # higher than for networks: kriging has a few parameters only
_SECOND_STAGE = 0.1  # factor of the learning rate
_AT_ONCE = 64  # scenes
_FOLDS = 5
_MIN_STANDARD_ERRORS = 2.0  # improvement for the sampler network to be kept


@dataclass(frozen=True)
class Stages:
    """Data and settings of all stages.

    Attributes:
        material: Training set.
        job: Options of the training.
        device: Device of the networks.
        key: Hash of the inputs, for checkpoints.
        checkpoint: Checkpoint file of the stage in progress, or None.
        progress: Progress callback.
        made: Architecture of the predictor; None: the architecture of the job.
    """

    material: TrainingData
    job: TrainJob
    device: torch.device
    key: str = ""
    checkpoint: Path | None = None
    progress: ProgressFn | None = None
    made: Architecture | None = None

    def new_fill(self) -> Fill:
        """Return an LR fill with seeded initial weights."""
        conv = self.job.fill == "conv"
        return random_weights(lambda: Fill(self.material.shape, conv=conv), self.job.seed)

    def new_predictor(self) -> Predictor:
        """Return a predictor with seeded initial weights."""
        conv, made = self.job.fill == "conv", self.made or architecture_of(self.job.architecture)
        return new_predictor(self.material.shape, made, conv_fill=conv, seed=self.job.seed)

    def new_sampler(self) -> Sampler:
        """Return a sampler with seeded initial weights."""
        return new_sampler(self.material.shape, self.job.seed)

    def fill(self) -> tuple[Fill, dict[str, Any]]:
        """Train the LR fill; the facts contain the "strength" of its ridge penalty."""
        train, val = self._part("train"), self._part("val")
        fill, scores = self.new_fill(), {}
        summed = sums(fill, train.lr, train.target, train.valid)
        for strength in STRENGTHS:
            fill.set_linear(*summed.solve(strength))
            with torch.no_grad():
                scores[strength] = self._fill_task(fill.eval(), train, val).validate()["score"]
        best = max(scores, key=lambda strength: scores[strength])
        fill.set_linear(*summed.solve(best))
        facts: dict[str, Any] = {"strength": best, "ridge": scores[best]}
        if self.job.fill == "conv":
            fill.linear.requires_grad_(requires_grad=False)
            facts["conv"] = self.guarded(self._fill_task(fill, train, val), "the LR fill")
        return fill, facts

    def _fill_task(self, fill: Fill, train: Data, val: Data) -> FillTask:
        return FillTask(fill, train, val, self.device, norm=self.job.norm_weight)

    def predictor_task(self, net: Predictor | Aligned, **more: Any) -> PredictorTask:
        """Return the training task of a predictor with the loss of the job."""
        job = self.job
        return PredictorTask(
            net, self._part("train"), self._part("val"), self.device, norm=job.norm_weight,
            observed=job.observed_weight, seed=job.seed, **more,
        )  # fmt: skip

    def predictor(
        self, fill: Fill, start: Predictor | None = None
    ) -> tuple[Predictor, dict[str, Any]]:
        """Train kriging and blocks of a predictor (stage I); worse weights are not kept.

        Args:
            fill: The trained LR fill.
            start: Predictor to initialise the weights from, or None.
        """
        net = self.untrained(fill, start)
        facts: dict[str, Any] = {}
        if net.kriging is not None:
            task = self.predictor_task(net, kriging=True)
            facts["kriging"] = self.guarded(task, "kriging", lr=KRIGING_LR)
        facts["blocks"] = self.guarded(self.predictor_task(net), "the predictor")
        return net, facts

    def untrained(self, fill: Fill, start: Predictor | None = None) -> Predictor:
        """Return a predictor with a trained LR fill, and initial weights or those of `start`."""
        net = self.new_predictor()
        if start is not None:
            net.load_state_dict(start.state_dict())
        net.fill.load_state_dict(fill.state_dict())
        return net

    def second(self, net: Predictor, sampler: Sampler) -> tuple[Predictor, dict[str, Any]]:
        """Train the blocks at a lower learning rate with masks of the sampler (stage II)."""
        return net, self._second(net, net, sampler)

    def aligned(self, net: Predictor, sampler: Sampler) -> tuple[Aligned, dict[str, Any]]:
        """Train stage II with the texts of the concepts (Eq. 9), without novel concepts.

        Raises:
            DataError: See `matches`.
        """
        material = self.material
        aligned = self.new_aligned()
        aligned.predictor.load_state_dict(net.state_dict())
        known, place = self.matches()[:, self._base()], material.pairs.place
        in_scene = np.zeros((len(material.split), known.shape[1]), bool)
        np.logical_or.at(in_scene, place[:, 0], known)
        has = in_scene[material.scenes("train")], in_scene[material.scenes("val")]
        return aligned, self._second(aligned, net, sampler, has=has)

    def matches(self) -> NDArray[np.bool_]:
        """Return (n, K) bool labels: the tiles whose scenes match the text of each concept.

        Raises:
            DataError: There are no texts, or no labels.
        """
        self._texts()
        if self.material.known is None:
            raise DataError(
                "--align siglip with pairs without labels",
                "The loss matches texts with scenes that have their concept.",
                "Prepare the pairs with --masks or --objects, and --concepts.",
            )
        return self.material.known

    def _texts(self) -> TextConcepts:
        if self.material.texts is None:
            raise DataError(
                "--align siglip without texts",
                "The loss aligns scenes with the texts of concepts.",
                "Add --text-model MODEL and --concepts NAMES.",
            )
        return self.material.texts

    def new_aligned(self) -> Aligned:
        """Return a predictor with the fitted text projection.

        Raises:
            DataError: There are no texts.
        """
        texts = self._texts()
        weight, bias = (
            torch.from_numpy(x.copy())
            for x in (texts.text_projection.weight, texts.text_projection.bias)
        )
        vectors = torch.from_numpy(texts.directions[self._base()].copy())
        return Aligned(self.new_predictor(), weight, bias, vectors)

    def _base(self) -> list[int]:
        """Return the indices of the concepts to align with: not novel, and present in a tile."""
        concepts, known = self.material.concepts, self.material.known
        present = np.ones(len(concepts), bool) if known is None else known.any(axis=0)
        return [i for i, concept in enumerate(concepts) if present[i] and not concept.novel]

    def _second(
        self, net: Predictor | Aligned, predictor: Predictor, sampler: Sampler,
        has: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        scores = scores_of(sampler, predictor.fill, self._part("train").lr, self.device)
        alone = has is not None and self.job.align == "siglip-alone"
        task = self.predictor_task(net, scores=scores, has=has, alone=alone)
        # "siglip-alone" has no stage I, so the full learning rate is used.
        lr = self.job.learning_rate * (1.0 if alone else _SECOND_STAGE)
        if has is None:
            return self.guarded(task, "the predictor, stage II", lr=lr)
        return _facts(self._fit(task, "the predictor with texts", lr))

    def forms(self) -> list[str]:
        """Return the supervision targets that can be computed from the data."""
        head, known = self.material.head is not None, self.material.known is not None
        available = {
            "structural": True,
            "surprise": True,
            "semantic": head,
            "task_delta": head and known,
        }
        return [
            name
            for name, target in TARGETS.items()
            if all(available[need] for need in target.needs)
        ]

    def supervised(self, fill: Fill, strength: float) -> Supervised:
        """Compute all supervision targets of the training and validation scenes."""
        material, job = self.material, self.job
        train, val = material.scenes("train"), material.scenes("val")
        groups = [material.pairs.groups[i] for i in train]
        crossed = crossfitted(material.shape, self._part("train"), groups, strength, job.seed)
        train_evidence = material.evidence(train, crossed, reference=job.reference)
        settings = TargetSettings(
            job.similarity, job.lam, job.aggregate, job.target_scale, job.factor_scale
        )
        targets = Targets(train_evidence, material.head, material.weights(), settings)
        filled = fill_of(fill, self._part("val").lr)
        val_evidence = material.evidence(val, filled, reference=job.reference)
        return Supervised(
            targets, crossed, filled, targets(train_evidence), targets(val_evidence),
            targets.gain(val_evidence),
        )  # fmt: skip

    def sampler(self, form: str, known: Supervised) -> tuple[Sampler, dict[str, Any]]:
        """Train a sampler on one supervision target (`form`)."""
        train, val = self.material.scenes("train"), self.material.scenes("val")
        net = self.new_sampler()
        task = SamplerTask(
            net, self._part("train"), self._part("val"), (known.crossed, known.filled),
            (self.grids(train, known.train[form]), self.grids(val, known.val[form])),
            self.device, seed=self.job.seed,
        )  # fmt: skip
        if net.shape.plain:
            return net, _facts(self._fit(task, f"the sampler ({form})"))
        if self.material.labels is not None:
            net.set_concept_probe(*self.material.concept_probe())
        folds = folds_of([self.material.pairs.groups[i] for i in train], _FOLDS, self.job.seed)
        strength = task.solve(SAMPLER_STRENGTHS, folds)
        net.linear.requires_grad_(requires_grad=False)
        before = task.captured()  # by the linear part alone: the blocks are initialised to zero
        facts = _facts(self._fit(task, f"the sampler ({form})"))
        improvement = task.captured() - before
        # The best of many epochs may be better by chance on few scenes, so require significance.
        error = np.sqrt(improvement.size * improvement.var())
        kept = bool(improvement.sum() > _MIN_STANDARD_ERRORS * error)
        if not kept:
            net.zero_residual()
        return net, {"strength": strength, **facts, "before": float(before.sum()), "kept": kept}

    def validation_scores(self, sampler: Sampler, fill: Fill) -> NDArray[np.float64]:
        """Return (n,) scores of the tiles of the validation scenes."""
        scenes = self.material.scenes("val")
        scores = scores_of(sampler, fill, self._part("val").lr, self.device)
        return dense.from_grids(scores, self.material.places(scenes))

    def _part(self, split: str) -> Data:
        return self.material.data.take(self.material.scenes(split))

    def grids(
        self, scenes: NDArray[np.integer], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Arrange values of the tiles of scenes on their grids, (m, R, C)."""
        shape = (len(scenes), *self.material.pairs.shape)
        return dense.to_grids(values, self.material.places(scenes), shape)

    def _fit(self, task: Task, title: str, lr: float = 0.0) -> History:
        job = self.job
        settings = FitSettings(
            epochs=job.epochs, batch_size=job.train_batch, learning_rate=lr or job.learning_rate,
            patience=job.patience,
            weight_decay=0.0 if title == "kriging" else 0.05, seed=job.seed,
            precision=job.precision,
        )  # fmt: skip
        return fit(
            task, settings, checkpoint=self.checkpoint, key=f"{self.key}/{title}",
            title=f"training {title}", progress=self.progress,
        )  # fmt: skip

    def guarded(self, task: Task, title: str, *, lr: float = 0.0) -> dict[str, Any]:
        """Train, and restore the initial weights if they were better on the validation scenes."""
        initial = {k: v.detach().clone() for k, v in task.net.state_dict().items()}
        task.net.eval()
        with torch.no_grad():
            score = task.validate()["score"]
        history = self._fit(task, title, lr)
        kept = history.epochs[history.best - 1]["score"] >= score
        if not kept:
            task.net.load_state_dict(initial)
        return {**_facts(history), "before": score, "kept": kept}


@dataclass(frozen=True, eq=False)
class Supervised:
    """Supervision targets of the training and validation scenes.

    Attributes:
        targets: The fitted target functions.
        crossed: (m, R * k, C * k, d) cross-fitted LR fill of the training scenes.
        filled: (m, R * k, C * k, d) LR fill of the validation scenes.
        train: Target -> (n,) values of the training tiles.
        val: Target -> (n,) values of the validation tiles.
        gain: (n,) gain of HR of each validation tile, by which all targets are compared.
    """

    targets: Targets
    crossed: torch.Tensor
    filled: torch.Tensor
    train: dict[str, NDArray[np.float64]]
    val: dict[str, NDArray[np.float64]]
    gain: NDArray[np.float64]


@torch.no_grad()
def fill_of(fill: Fill, lr: torch.Tensor) -> torch.Tensor:
    """Return the LR fill of scenes, computed in batches."""
    fill, device = fill.eval(), fill.linear.weight.device
    parts = [
        fill(lr[i : i + _AT_ONCE].to(device).float()).cpu() for i in range(0, len(lr), _AT_ONCE)
    ]
    return torch.cat(parts)


@torch.no_grad()
def scores_of(
    sampler: Sampler, fill: Fill, lr: torch.Tensor, device: torch.device
) -> NDArray[np.float64]:
    """Return (s, R, C) mean scores of a sampler, 0 to 1."""
    sampler, fill = sampler.to(device).eval(), fill.to(device).eval()
    parts = []
    for start in range(0, len(lr), _AT_ONCE):
        x = lr[start : start + _AT_ONCE].to(device).float()
        parts.append(sampler(x, fill.coarse(x)).sigmoid().mean(-1).double().cpu().numpy())
    return np.concatenate(parts)


def _facts(history: History) -> dict[str, Any]:
    return {"epochs": history.epochs, "best": history.best, "threads": history.threads}
