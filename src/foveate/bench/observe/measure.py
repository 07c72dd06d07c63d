"""Measurement of the conditions of one seed: its split, its training, and its test scenes."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foveate.bench.conditions import Skipped
from foveate.bench.observe.baselines import SETTINGS as PATCHDROP
from foveate.bench.observe.baselines import (
    distil,
    lr_features,
    new_patchdrop_net,
    train_patchdrop,
)
from foveate.bench.observe.encoders import encoder_measures, read_encoders
from foveate.bench.observe.job import NEIGHBOURS
from foveate.bench.observe.observing import BLIND
from foveate.bench.observe.retrieval import Judged
from foveate.bench.observe.rivals import (
    hr_head,
    lr_in_hr_space,
    predicted,
    sar_logits,
    scale_decision,
    tuned_head,
)
from foveate.bench.observe.timing import measure_timing
from foveate.bench.observe.zeroshot import LR_ALONE, dataset_measures, text_measures
from foveate.models.runtime import resolve_device
from foveate.observe import dense
from foveate.observe.data.pairs import split_scenes
from foveate.observe.networks.heads import TextConcepts, similarity_scores
from foveate.observe.networks.predictor import Aligned
from foveate.observe.scoring.calibration import over
from foveate.observe.scoring.policies import NEEDS, get_policy
from foveate.observe.totals.covariates import tile_means as covariate_means
from foveate.observe.training.dataset import build_dataset
from foveate.observe.training.evaluate import agreement
from foveate.observe.training.stages import Stages, fill_of, scores_of
from foveate.observe.training.steps import Trainer
from foveate.observe.training.trial import Trial
from foveate.stats import measures as measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.observe.baselines import Distilled
    from foveate.bench.observe.encoders import NamedEncoder
    from foveate.bench.observe.job import BenchJob
    from foveate.bench.observe.observing import Condition
    from foveate.bench.observe.timing import Timing
    from foveate.observe.data.pairs import Pairs
    from foveate.observe.networks.heads import LabelHead
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.observer import Observer
    from foveate.observe.training.dataset import TrainingData
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.stats.measures import Measure

_PATCHDROP_EPOCHS = 1.5  # relative to the epochs of a stage
_HEADS = ("head", "sar", "sar hr")
_TRIAL = ("none", "nearest", "fill", "ours", "full")  # completions of `Trial.completed`


class Seed:
    """A seed; data and networks are loaded and trained when a condition needs them.

    Args:
        job: The benchmark.
        number: Index of the seed, from 0.
        pairs: The pairs.
        run: Run that stores the networks.
        folder: Folder of this seed, relative to the run.
        key: Hash of the dependencies of the trainings.
        start: Observer for the initial weights, or None.
        progress: Called with ticks.
    """

    def __init__(
        self, job: BenchJob, number: int, pairs: Pairs, run: Run, folder: str, *,
        key: str, start: Observer | None = None, progress: ProgressFn | None = None,
    ) -> None:  # fmt: skip
        self.bench, self.job, self._pairs = job, job.training(number), pairs
        self._run, self._folder, self._key, self._start = run, folder, key, start
        self._progress = progress
        self._encoders: dict[str, dict[str, dict[str, Measure]]] = {}

    @cached_property
    def material(self) -> TrainingData:
        """Features and splits."""
        return build_dataset(self.job, self._pairs, self._progress, start=self._start)

    @cached_property
    def trainer(self) -> Trainer:
        """Trainer of the networks of this seed.

        Raises:
            DataError: The pairs lack data that the job needs.
        """
        trainer = Trainer(
            self.material, self.job, resolve_device(self.job.device), self._run, self._folder,
            self._key, progress=self._progress,
        )  # fmt: skip
        if self.material.head is not None:
            similarity_scores(self.material.head, self.job.similarity)
        if self.job.align != "dense":
            trainer.check()
        return trainer

    @cached_property
    def observer(self) -> Observer:
        """The observer, as trained by `foveate observe train`."""
        self._sampler()  # raises `Skipped` if it cannot be trained
        return self.trainer.observer()

    @cached_property
    def trial(self) -> Trial:
        """The test scenes."""
        return Trial(
            self.material, self.observer, self.material.scenes("test"),
            targets=self.trainer.supervised.targets, reference=self.job.reference,
            seed=self.job.seed,
        )  # fmt: skip

    @cached_property
    def evidence(self) -> dict[str, Any]:
        """Inputs of policies."""
        evidence = self.trial.evidence()
        if self.material.labels is not None:
            evidence |= self.distilled(self.trial.lr, self.trial.place)
        if self.bench.covariate is not None:
            evidence["covariate"] = covariate_means(self.trial.pool, self.bench.covariate)
        return evidence

    @cached_property
    def needed(self) -> NDArray[np.bool_]:
        """(K,) bool mask of the concepts that SAR predicts from HR."""
        gsd = self.material.pairs.gsd
        return scale_decision(self.bench.scales, self.material.concepts, gsd and gsd[0])

    @cached_property
    def hr_head(self) -> LabelHead:
        """Classifiers on HR tokens alone."""
        return hr_head(self.material)

    @cached_property
    def tuned(self) -> LabelHead:
        """Classifiers fitted to completed training scenes."""
        return tuned_head(self.material, self.observer, self.job.obr)

    @cached_property
    def timing(self) -> Timing:
        """Times of the parts of the pipeline."""
        return measure_timing(self.trial, self.job.batch_size)

    @cached_property
    def distilled(self) -> Distilled:
        """The two LR models of SAR; the teacher is the LR head."""
        if self.material.known is None or self.material.labels is None:
            raise Skipped("The pairs have no labels for classifiers on LR tokens.")
        return distil(self.material)

    @property
    def groups(self) -> NDArray[np.str_]:
        """(n,) bootstrap group of each test tile."""
        return self.trial.groups

    def measure(self, condition: Condition) -> dict[str, Any]:
        """Return the measures of a condition by name, JSON-ready.

        Raises:
            Skipped: The condition cannot be measured on these pairs.
        """
        if condition.policy in ("encoder", "zero-shot"):
            name, _, part = condition.completion.rpartition(" ")
            measures = self._encoder(name, by_texts=condition.policy == "zero-shot")[part]
            return {key: m.to_json() for key, m in measures.items()}
        draws = self.bench.draws if condition.policy == "random" else 1
        runs = [self._measured(condition, self._observed(condition, draw)) for draw in range(draws)]
        names = [name for name in runs[0] if all(name in run for run in runs)]
        means = {name: measure.mean_of([run[name] for run in runs]) for name in names}
        if condition == LR_ALONE:
            means |= self._datasets(self.observer)
        return {name: mean.to_json() for name, mean in means.items()}

    def _datasets(self, model: Observer | NamedEncoder) -> dict[str, Measure]:
        given = self.bench.datasets
        return dataset_measures(model, given, device=self.job.device, templates=self.job.templates)

    def _encoder(self, name: str, *, by_texts: bool) -> dict[str, dict[str, Measure]]:
        """Return the measures on LR and HR of an encoder of the job's file."""
        bench = self.bench
        if name not in self._encoders:
            assert bench.encoders is not None  # noqa: S101  (the job requires it)
            encoder = next(one for one in read_encoders(bench.encoders) if one.name == name)
            measures = text_measures if by_texts else encoder_measures
            by_part = measures(
                self.job, self._pairs, encoder, depths=bench.top_k, timed=bench.timed,
                progress=self._progress,
            )  # fmt: skip
            if by_texts:
                by_part["LR"] |= self._datasets(encoder)
            self._encoders[name] = by_part
        return self._encoders[name]

    def _observed(self, condition: Condition, draw: int) -> NDArray[np.bool_]:
        """Return the mask (m, R, C) of the tiles that a policy observes."""
        trial = self.trial
        if condition.policy in ("none", "all"):
            return trial.valid & (condition.policy == "all")
        if condition.policy.startswith("tau="):
            scores = self.observer.scores(trial.lr).score
            return over(scores, float(condition.policy[4:])) & trial.valid
        if condition.policy.startswith("tau-raw="):
            raw = self.observer.record.calibration.scaled(self.observer.scores(trial.lr).raw)
            return over(raw, float(condition.policy[8:])) & trial.valid
        name, _, supervision = condition.policy.partition(":")
        evidence = self.evidence
        if supervision or name == "patchdrop":
            trainer = self.trainer
            sampler = self._sampler(supervision) if supervision else self._patchdrop()
            lr = torch.from_numpy(trial.lr)
            scores = scores_of(sampler, trainer.fill(), lr, trainer.device)
            evidence = {**evidence, name: dense.from_grids(scores, trial.place)}
        for need in get_policy(name).needs:
            if need not in evidence:
                raise Skipped(f"{name} needs {NEEDS[need].what}. {NEEDS[need].how}")
        options: dict[str, Any] = {}
        if name == "sar":
            options["needs_hr"] = self.needed
        return trial.first(trial.rank(name, evidence, seed=draw, **options), condition.share)

    def _completed(self, completion: str, observed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return completed tokens, (m, R * k, C * k, d)."""
        trial = self.trial
        if completion in _TRIAL:
            return trial.completed(observed, completion)
        if completion in ("conv", "lr tile", "lr scene"):
            side = self.material.shape.hr_side
            if completion == "conv":
                filled = fill_of(self.trainer.fill("conv"), torch.from_numpy(trial.lr)).numpy()
            else:
                filled = lr_in_hr_space(trial, self.observer, whole=completion == "lr scene")
            visible = observed.repeat(side, axis=1).repeat(side, axis=2)[..., None]
            return np.where(visible, trial.hr, filled)
        kind, _, form = completion.partition(":")
        if kind == "predicted":
            predictor = self._predictor(f"form:{form}") if form else None
            return predicted(self.observer, predictor, trial, observed)
        return replace(self.observer, predictor=self._predictor(completion)).complete(
            trial.lr, trial.hr, observed
        ).tokens  # fmt: skip

    def _predictor(self, completion: str) -> Predictor:
        """Return the predictor of a completion; the job's sampler gives the masks of stage II."""
        kind, _, option = completion.partition(":")
        trainer = self.trainer
        if kind == "kriging":
            return trainer.kriging()
        if kind == "depth":
            return trainer.depth(int(option))
        start = self._start if kind == "init" else None
        second = trainer.second_stage(
            self._sampler(), trainer.supervision, "" if option == self.job.architecture else option,
            made=BLIND.get(option), start=start, name="predictor init" if start else "",
        )  # fmt: skip
        return second.predictor if isinstance(second, Aligned) else second

    def _sampler(self, target: str = "") -> Sampler:
        target = target or self.trainer.supervision
        if target not in self.trainer.targets:
            raise Skipped(f"The supervision {target!r} needs labels and concepts.")
        return self.trainer.sampler(target)

    def _patchdrop(self) -> Sampler:
        """Return a PatchDrop policy for the observed share of the job."""
        job, data, trainer = self.job, self.material, self.trainer
        if data.labels is None or data.known is None:
            raise Skipped("The reward of PatchDrop needs labels, which the pairs do not have.")

        def work(stages: Stages) -> tuple[Sampler, dict[str, Any]]:
            epochs = max(1, round(_PATCHDROP_EPOCHS * job.epochs))
            net, history = train_patchdrop(
                data, job.obr, trainer.device, job.seed, fill=trainer.fill(),
                strength=trainer.fill_facts()["strength"],
                settings=replace(PATCHDROP, epochs=epochs), checkpoint=stages.checkpoint,
                progress=self._progress,
            )  # fmt: skip
            return net, {"epochs": history.epochs, "best": history.best}

        new = new_patchdrop_net(data.shape, job.seed, job.obr).sampler
        return trainer.custom(f"patchdrop {job.obr:g}", lambda: new, work)

    def _kept(self, completion: str) -> bool | None:
        """Return whether the training for a completion was kept.

        Trained networks that are not better on the validation scenes than their initial state are
        reset to it.

        Returns:
            None if the completion needs no training except that of the fill.
        """
        kind, _, option = completion.partition(":")
        if option == self.job.architecture:
            option = ""
        first = f"predictor {'init' if kind == 'init' else option}".strip()
        second = f"{first} with texts" if self.job.align == "siglip" else f"{first}, stage II"
        if self.job.align == "siglip-alone":
            return None
        conv = "fill" if self.job.fill == "conv" else "fill conv"
        stages = {
            "conv": [conv], "kriging": ["kriging"], "ours": [first, second],
            "form": [first, second], "init": [first, second], "tuned": [first, second],
            "depth": [f"predictor depth {option}"],
        }.get(kind)  # fmt: skip
        if stages is None:
            return None
        facts = [self.trainer.facts(stage) for stage in stages]
        # Networks aligned with texts are always kept: there is no reference to compare with.
        return any(f.get("blocks", f.get("conv", f)).get("kept", True) for f in facts)

    def _measured(self, condition: Condition, observed: NDArray[np.bool_]) -> dict[str, Measure]:
        trial, groups = self.trial, self.groups
        chosen = dense.from_grids(observed, trial.place)
        ones = np.ones(len(chosen))
        measures = {"obr": measure.ratio(chosen.astype(float), ones, groups)}
        if condition.policy.startswith("tau=") and 0 < (tau := float(condition.policy[4:])) < 1:
            measures["drift"] = measure.ratio(chosen / (1 - tau) - 1, ones, groups)
        if trial.truth:
            gain = trial.truth["gain"]
            measures["captured"] = measure.ratio(gain * chosen, gain, groups)
        start = time.perf_counter()
        if condition.completion in _HEADS:
            measures |= self._concepts(self._head_logits(condition.completion, chosen), chosen)
            return measures | self._time(condition, chosen, time.perf_counter() - start)
        tuned = condition.completion == "tuned"
        tokens = self._completed("ours" if tuned else condition.completion, observed)
        measures |= self._time(condition, chosen, time.perf_counter() - start)
        kept = self._kept(condition.completion)
        if kept is not None:
            measures["kept"] = measure.Measure(float(kept), [float(kept)], {})
        measures |= self._likeness(tokens, chosen)
        if self.bench.table in NEIGHBOURS:
            value = agreement(trial, tokens, observed)
            if value is not None:
                measures["neighbours"] = measure.Measure(value, [value], {})
        means = trial.tile_means(tokens)
        if self.material.labels is not None:
            head = self.tuned if tuned else self.material.labels
            measures |= self._concepts(head.logits(means), chosen)
        texts = self.material.texts
        if texts is not None and self.observer.to_text is not None:
            concepts = TextConcepts(texts.head, self.observer.to_text)
            measures |= self._by_texts(concepts, means)
        return measures

    def _head_logits(self, name: str, chosen: NDArray[np.bool_]) -> NDArray[np.floating]:
        """Return (n, K) logits of classifiers without completion."""
        trial = self.trial
        if name == "head":
            x = lr_features(trial.lr, self.material.shape, trial.place)
            return self.distilled.teacher.logits(x)
        if name == "sar hr":
            return self.hr_head.logits(trial.tile_means(trial.hr))
        return sar_logits(trial, self.distilled, self.hr_head, chosen, self.needed)

    def _time(
        self, condition: Condition, chosen: NDArray[np.bool_], completing: float
    ) -> dict[str, Measure]:
        if not self.bench.timed:
            return {}
        scenes = len(self.trial.scenes)
        seconds = self.timing.total(condition, scenes, float(chosen.sum()), completing)
        return {"seconds": measure.Measure(seconds, [seconds], {})}

    def _concepts(
        self, logits: NDArray[np.floating], chosen: NDArray[np.bool_]
    ) -> dict[str, Measure]:
        """Return average precisions of the concept classifiers: tiles, regions, scenes."""
        return {} if self.judged is None else self.judged.by_classifiers(logits, chosen)

    @cached_property
    def judged(self) -> Judged | None:
        """Labels of the test tiles; None if unknown."""
        trial = self.trial
        if trial.known is None:
            return None
        novel = np.array([concept.novel for concept in self.material.concepts])
        return Judged(trial.known, trial.place, self.groups, novel, self.bench.top_k, self.job.seed)

    def _by_texts(self, concepts: TextConcepts, means: NDArray[np.floating]) -> dict[str, Measure]:
        """Return average precisions by the texts of concepts: tiles, and pooled scenes."""
        if self.judged is None:
            return {}
        scenes = concepts.cosines(self.judged.scene_means(means))
        return self.judged.by_texts(concepts.logits(means)) | self.judged.pooled(scenes)

    def _likeness(
        self, tokens: NDArray[np.floating], chosen: NDArray[np.bool_]
    ) -> dict[str, Measure]:
        """Return the mean centred cosine of completed and true tokens.

        "cosine" is over unobserved tiles; "quality" over all, 1 for observed ones.
        """
        each, groups = self.trial.cosines(tokens), self.groups
        ones = np.ones(len(each))
        measures = {"quality": measure.ratio(np.where(chosen, 1, each), ones, groups)}
        if not chosen.all():
            unobserved = (~chosen).astype(float)
            measures["cosine"] = measure.ratio(each * unobserved, unobserved, groups)
        return measures


def split_sizes(
    groups: Sequence[str],
    val: float | Sequence[str],
    test: float | Sequence[str],
    first: int,
    seeds: int,
) -> dict[str, int]:
    """Return the mean number of test scenes per seed, and the number of their groups."""
    parts = [
        split_scenes(groups, val=val, test=test, seed=first + i) == "test" for i in range(seeds)
    ]
    tested = {g for part in parts for g, is_test in zip(groups, part, strict=True) if is_test}
    return {
        "scenes": round(float(np.mean([part.sum() for part in parts]))), "groups": len(tested)
    }  # fmt: skip
