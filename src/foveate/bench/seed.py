"""One seed: its split, its training, and the cells that it measures on its test scenes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foveate.bench.cells import Skipped
from foveate.bench.training import Trainer
from foveate.models.runtime import resolve_device
from foveate.observe import dense, measure
from foveate.observe.calibrate import Calibration, over
from foveate.observe.distil import distil, lr_features, needs_hr
from foveate.observe.material import gather
from foveate.observe.methods import get_policy
from foveate.observe.methods.base import NEEDS
from foveate.observe.networks.shape import form_of
from foveate.observe.observer import Observer
from foveate.observe.record import Record
from foveate.observe.scoring import TextConcepts, similarity_scores
from foveate.observe.stages import fill_of, scores_of
from foveate.observe.trial import REGION, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.bench.cells import Cell
    from foveate.bench.settings import BenchJob
    from foveate.observe.distil import Distilled
    from foveate.observe.material import Material
    from foveate.observe.measure import Measure
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run

_WAYS = ("none", "nearest", "fill", "ours", "full")  # that a trial knows


class Seed:
    """A seed; nothing is read or trained before a cell needs it.

    Args:
        job: The benchmark.
        number: Of the seed, from 0.
        pairs: The pairs.
        run: Where networks are kept.
        folder: Folder of this seed, relative to the run.
        key: Hash of everything that its trainings depend on.
        start: An observer to start from, or None.
        progress: Called with ticks.
    """

    def __init__(
        self, job: BenchJob, number: int, pairs: Pairs, run: Run, folder: str, *,
        key: str, start: Observer | None = None, progress: ProgressFn | None = None,
    ) -> None:  # fmt: skip
        self.bench, self.job, self._pairs = job, job.training(number), pairs
        self._run, self._folder, self._key, self._start = run, folder, key, start
        self._progress = progress

    @cached_property
    def material(self) -> Material:
        """Features and splits."""
        return gather(self.job, self._pairs, self._progress, start=self._start)

    @cached_property
    def trainer(self) -> Trainer:
        """What trains.

        Raises:
            DataError: The pairs have no evidence for what the job asks for.
        """
        if self.material.head is not None:
            similarity_scores(self.material.head, self.job.similarity)
        trainer = Trainer(
            self._run, self._folder, self._key, self.job, self.material,
            device=resolve_device(self.job.device), start=self._start, progress=self._progress,
        )  # fmt: skip
        if self.job.align == "siglip":
            trainer.check_texts()
        return trainer

    @cached_property
    def observer(self) -> Observer:
        """The observer that `foveate observe train` would make."""
        material, job, trainer = self.material, self.job, self.trainer
        sampler, predictor = trainer.sampler(), trainer.predictor()
        scores = trainer.validation_scores(sampler)
        record = Record(
            encoders=material.encoders, shape=material.shape, form=form_of(job.form),
            conv_fill=job.fill == "conv", tiles=material.pairs.shape, lr_tile=1.0,
            gsd=material.pairs.gsd, concepts=material.concepts, supervision=trainer.supervision,
            obr=job.obr, calibration=Calibration.fit(scores), templates=job.templates, training={},
        )  # fmt: skip
        return Observer(
            record, sampler, predictor, material.lr, material.hr, material.labels,
            trainer.to_text(),
        )  # fmt: skip

    @cached_property
    def trial(self) -> Trial:
        """The test scenes."""
        return Trial(
            self.material, self.observer, self.material.scenes("test"),
            targets=self.trainer.supervised.targets, whole=self.job.reference == "scene",
            seed=self.job.seed,
        )  # fmt: skip

    @cached_property
    def evidence(self) -> dict[str, Any]:
        """What policies choose by."""
        found = self.trial.evidence()
        if self.material.labels is not None:
            found |= self.distilled(self.trial.lr, self.trial.place)
        return found

    @cached_property
    def distilled(self) -> Distilled:
        """The two models on LR that SAR compares; its teacher is the LR head."""
        if self.material.known is None or self.material.labels is None:
            raise Skipped("no labels to fit classifiers on LR tokens to")
        return distil(self.material)

    @property
    def groups(self) -> NDArray[np.str_]:
        """(n,) the group of each test tile, as it is resampled."""
        return self.trial.groups

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Measure a cell: measures by name, each JSON-ready.

        Raises:
            Skipped: It cannot be measured on these pairs.
        """
        draws = self.bench.draws if cell.policy == "random" else 1
        runs = [self._measured(cell, self._observed(cell, draw)) for draw in range(draws)]
        names = [name for name in runs[0] if all(name in run for run in runs)]
        return {name: measure.mean_of([run[name] for run in runs]).to_json() for name in names}

    def _observed(self, cell: Cell, draw: int) -> NDArray[np.bool_]:
        """Return (m, R, C) bool: the tiles that a policy observes."""
        trial = self.trial
        if cell.policy in ("none", "all"):
            return trial.here & (cell.policy == "all")
        if cell.policy.startswith("tau="):
            scores = self.observer.scores(trial.lr).score
            return over(scores, float(cell.policy[4:])) & trial.here
        name, _, supervision = cell.policy.partition(":")
        evidence = self.evidence
        if supervision or name == "patchdrop":
            trainer = self.trainer
            sampler = trainer.sampler(supervision) if supervision else trainer.patchdrop()
            lr = torch.from_numpy(trial.lr)
            scores = scores_of(sampler, trainer.fill(), lr, trainer.device)
            evidence = {**evidence, name: dense.from_grids(scores, trial.place)}
        for need in get_policy(name).needs:
            if need not in evidence:
                raise Skipped(f"{name} needs {NEEDS[need].what}. {NEEDS[need].how}")
        options: dict[str, Any] = {}
        if name == "sar":
            gsd = self.material.pairs.gsd
            options["needs_hr"] = needs_hr(self.material.concepts, gsd and gsd[0])
        return trial.first(trial.rank(name, evidence, seed=draw, **options), cell.share)

    def _completed(self, way: str, seen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return completed tokens, (m, R * k, C * k, d)."""
        trial = self.trial
        if way in _WAYS:
            return trial.completed(seen, way)
        if way == "conv":
            side = self.material.shape.hr_side
            filled = fill_of(self.trainer.fill("conv"), torch.from_numpy(trial.lr)).numpy()
            visible = seen.repeat(side, axis=1).repeat(side, axis=2)[..., None]
            return np.where(visible, trial.hr, filled)
        return replace(self.observer, predictor=self._predictor(way)).complete(
            trial.lr, trial.hr, seen
        ).tokens  # fmt: skip

    def _predictor(self, way: str) -> Predictor:
        name, _, option = way.partition(":")
        if name == "kriging":
            return self.trainer.kriging()
        if name == "depth":
            return self.trainer.depth(int(option))
        return self.trainer.predictor(option, init=name == "init")

    def _measured(self, cell: Cell, seen: NDArray[np.bool_]) -> dict[str, Measure]:
        trial, groups = self.trial, self.groups
        chosen = dense.from_grids(seen, trial.place)
        ones = np.ones(len(chosen))
        found = {"obr": measure.ratio(chosen.astype(float), ones, groups)}
        if cell.policy.startswith("tau=") and 0 < (tau := float(cell.policy[4:])) < 1:
            found["drift"] = measure.ratio(chosen / (1 - tau) - 1, ones, groups)
        if trial.truth:
            gain = trial.truth["gain"]
            found["captured"] = measure.ratio(gain * chosen, gain, groups)
        if cell.way == "head":
            x = lr_features(trial.lr, self.material.shape, trial.place)
            return found | self._concepts(self.distilled.teacher.logits(x), chosen)
        tokens = self._completed(cell.way, seen)
        kept = self.trainer.kept(cell.way)
        if kept is not None:
            found["kept"] = measure.Measure(float(kept), [float(kept)], {})
        found |= self._likeness(tokens, chosen)
        means = trial.tile_means(tokens)
        if self.material.labels is not None:
            found |= self._concepts(self.material.labels.logits(means), chosen)
        texts = self.material.texts
        if texts is not None and self.observer.to_text is not None:
            own = TextConcepts(texts.head, self.observer.to_text)
            found |= self._told(own.logits(means))
        return found

    def _concepts(
        self, logits: NDArray[np.floating], chosen: NDArray[np.bool_]
    ) -> dict[str, Measure]:
        """Return average precisions by the concepts' classifiers: tiles, regions, scenes."""
        known, place, groups, seed = self.trial.known, self.trial.place, self.groups, self.job.seed
        if known is None:
            return {}
        found = {"tiles": measure.precision(logits, known, groups, seed=seed)}
        left = ~chosen
        if left.any():
            found["unseen"] = measure.precision(logits[left], known[left], groups[left], seed=seed)
        blocks = place // np.array([1, REGION, REGION])
        _, number = np.unique(blocks, axis=0, return_inverse=True)
        scores, shown, first = measure.pooled(logits, known, number, "max")
        found["regions"] = measure.precision(scores, shown, groups[first], seed=seed)
        for how in ("max", "mean"):
            scores, shown, first = measure.pooled(logits, known, place[:, 0], how)
            for k in (20, 100):
                found[f"scenes {how} @{k}"] = measure.precision(
                    scores, shown, groups[first], k=k, seed=seed
                )
        return found

    def _told(self, logits: NDArray[np.floating]) -> dict[str, Measure]:
        """Return average precisions by the concepts' texts, base and novel apart."""
        known, place, groups, seed = self.trial.known, self.trial.place, self.groups, self.job.seed
        if known is None:
            return {}
        novel = np.array([concept.novel for concept in self.material.concepts])
        found = {}
        for name, part in (("base", ~novel), ("novel", novel)):
            if not part.any():
                continue
            said, shown = logits[:, part], known[:, part]
            found[f"text tiles {name}"] = measure.precision(said, shown, groups, seed=seed)
            scores, there, first = measure.pooled(said, shown, place[:, 0], "mean")
            for k in (20, 100):
                found[f"text scenes {name} @{k}"] = measure.precision(
                    scores, there, groups[first], k=k, seed=seed
                )
        return found

    def _likeness(
        self, tokens: NDArray[np.floating], chosen: NDArray[np.bool_]
    ) -> dict[str, Measure]:
        """Return the mean centred cosine of completed and true tokens.

        "cosine" is over unobserved tiles; "quality" over all, 1 for observed ones.
        """
        each, groups = self.trial.cosines(tokens), self.groups
        ones = np.ones(len(each))
        found = {"quality": measure.ratio(np.where(chosen, 1, each), ones, groups)}
        if not chosen.all():
            left = (~chosen).astype(float)
            found["cosine"] = measure.ratio(each * left, left, groups)
        return found
