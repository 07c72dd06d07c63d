"""One seed: its split, its training, and the conditions that it measures on its test scenes."""

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
from foveate.observe.calibration import over
from foveate.observe.covariates import tile_means as covariate_means
from foveate.observe.dataset import build_dataset
from foveate.observe.evaluate import agreement
from foveate.observe.heads import TextConcepts, similarity_scores
from foveate.observe.networks.predictor import Aligned
from foveate.observe.pairs import split_scenes
from foveate.observe.policies import NEEDS, get_policy
from foveate.observe.stages import Stages, fill_of, scores_of
from foveate.observe.training import Trainer
from foveate.observe.trial import Trial
from foveate.stats import measures as measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.observe.baselines import Distilled
    from foveate.bench.observe.encoders import NamedEncoder
    from foveate.bench.observe.job import BenchJob
    from foveate.bench.observe.observing import Condition
    from foveate.bench.observe.timing import Timing
    from foveate.observe.dataset import TrainingData
    from foveate.observe.heads import LabelHead
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.observer import Observer
    from foveate.observe.pairs import Pairs
    from foveate.progress import ProgressFn
    from foveate.run import Run
    from foveate.stats.measures import Measure

_PATCHDROP_EPOCHS = 1.5  # times the epochs of a stage
_HEADS = ("head", "sar", "sar hr")
_KNOWN = ("none", "nearest", "fill", "ours", "full")  # that a trial knows


class Seed:
    """A seed; nothing is read or trained before a condition needs it.

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
        self._encoders: dict[str, dict[str, dict[str, Measure]]] = {}

    @cached_property
    def material(self) -> TrainingData:
        """Features and splits."""
        return build_dataset(self.job, self._pairs, self._progress, start=self._start)

    @cached_property
    def trainer(self) -> Trainer:
        """Trains the networks of this seed.

        Raises:
            DataError: The pairs lack what the job asks for.
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
        """The observer that `foveate observe train` would make."""
        self._sampler()  # skipped where it cannot be trained
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
        """What policies choose by."""
        found = self.trial.evidence()
        if self.material.labels is not None:
            found |= self.distilled(self.trial.lr, self.trial.place)
        if self.bench.covariate is not None:
            found["covariate"] = covariate_means(self.trial.pool, self.bench.covariate)
        return found

    @cached_property
    def needed(self) -> NDArray[np.bool_]:
        """(K,) bool: the concepts that SAR reads from HR."""
        gsd = self.material.pairs.gsd
        return scale_decision(self.bench.scales, self.material.concepts, gsd and gsd[0])

    @cached_property
    def hr_head(self) -> LabelHead:
        """Classifiers on HR tokens alone."""
        return hr_head(self.material)

    @cached_property
    def tuned(self) -> LabelHead:
        """Classifiers on completed training scenes."""
        return tuned_head(self.material, self.observer, self.job.obr)

    @cached_property
    def timing(self) -> Timing:
        """What the parts of a pipeline take."""
        return measure_timing(self.trial, self.job.batch_size)

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

    def measure(self, condition: Condition) -> dict[str, Any]:
        """Measure a condition: measures by name, each JSON-ready.

        Raises:
            Skipped: It cannot be measured on these pairs.
        """
        if condition.policy in ("encoder", "zero-shot"):
            name, _, part = condition.completion.rpartition(" ")
            one = self._encoder(name, by_texts=condition.policy == "zero-shot")[part]
            return {key: m.to_json() for key, m in one.items()}
        draws = self.bench.draws if condition.policy == "random" else 1
        runs = [self._measured(condition, self._observed(condition, draw)) for draw in range(draws)]
        names = [name for name in runs[0] if all(name in run for run in runs)]
        found = {name: measure.mean_of([run[name] for run in runs]) for name in names}
        if condition == LR_ALONE:
            found |= self._datasets(self.observer)
        return {name: one.to_json() for name, one in found.items()}

    def _datasets(self, model: Observer | NamedEncoder) -> dict[str, Measure]:
        given = self.bench.datasets
        return dataset_measures(model, given, device=self.job.device, templates=self.job.templates)

    def _encoder(self, name: str, *, by_texts: bool) -> dict[str, dict[str, Measure]]:
        """Return what LR and HR tell by an encoder of the job's file."""
        bench = self.bench
        if name not in self._encoders:
            assert bench.encoders is not None  # noqa: S101  (the job has looked)
            encoder = next(one for one in read_encoders(bench.encoders) if one.name == name)
            measures = text_measures if by_texts else encoder_measures
            found = measures(
                self.job, self._pairs, encoder, depths=bench.top_k, timed=bench.timed,
                progress=self._progress,
            )  # fmt: skip
            if by_texts:
                found["LR"] |= self._datasets(encoder)
            self._encoders[name] = found
        return self._encoders[name]

    def _observed(self, condition: Condition, draw: int) -> NDArray[np.bool_]:
        """Return (m, R, C) bool: the tiles that a policy observes."""
        trial = self.trial
        if condition.policy in ("none", "all"):
            return trial.here & (condition.policy == "all")
        if condition.policy.startswith("tau="):
            scores = self.observer.scores(trial.lr).score
            return over(scores, float(condition.policy[4:])) & trial.here
        if condition.policy.startswith("tau-raw="):
            raw = self.observer.record.calibration.scaled(self.observer.scores(trial.lr).raw)
            return over(raw, float(condition.policy[8:])) & trial.here
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

    def _completed(self, completion: str, seen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return completed tokens, (m, R * k, C * k, d)."""
        trial = self.trial
        if completion in _KNOWN:
            return trial.completed(seen, completion)
        if completion in ("conv", "lr tile", "lr scene"):
            side = self.material.shape.hr_side
            if completion == "conv":
                filled = fill_of(self.trainer.fill("conv"), torch.from_numpy(trial.lr)).numpy()
            else:
                filled = lr_in_hr_space(trial, self.observer, whole=completion == "lr scene")
            visible = seen.repeat(side, axis=1).repeat(side, axis=2)[..., None]
            return np.where(visible, trial.hr, filled)
        kind, _, form = completion.partition(":")
        if kind == "predicted":
            own = self._predictor(f"form:{form}") if form else None
            return predicted(self.observer, own, trial, seen)
        return replace(self.observer, predictor=self._predictor(completion)).complete(
            trial.lr, trial.hr, seen
        ).tokens  # fmt: skip

    def _predictor(self, completion: str) -> Predictor:
        """Return the predictor of a way of completing; masks of stage II by the job's sampler."""
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
            raise Skipped(f"no evidence for the supervision {target!r}: no labels, or no concepts")
        return self.trainer.sampler(target)

    def _patchdrop(self) -> Sampler:
        """Return a PatchDrop policy for the observed share of the job."""
        job, data, trainer = self.job, self.material, self.trainer
        if data.labels is None or data.known is None:
            raise Skipped("PatchDrop is rewarded for concepts that are predicted right: no labels")

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
        """Say whether what was trained for a way of completing is used.

        What is no better on the validation scenes than what it started from is put back.

        Returns:
            None where nothing is trained for it but the fill.
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
        # What is aligned with texts stays as it is: there is nothing to compare it with.
        return any(f.get("blocks", f.get("conv", f)).get("kept", True) for f in facts)

    def _measured(self, condition: Condition, seen: NDArray[np.bool_]) -> dict[str, Measure]:
        trial, groups = self.trial, self.groups
        chosen = dense.from_grids(seen, trial.place)
        ones = np.ones(len(chosen))
        found = {"obr": measure.ratio(chosen.astype(float), ones, groups)}
        if condition.policy.startswith("tau=") and 0 < (tau := float(condition.policy[4:])) < 1:
            found["drift"] = measure.ratio(chosen / (1 - tau) - 1, ones, groups)
        if trial.truth:
            gain = trial.truth["gain"]
            found["captured"] = measure.ratio(gain * chosen, gain, groups)
        start = time.perf_counter()
        if condition.completion in _HEADS:
            found |= self._concepts(self._head_logits(condition.completion, chosen), chosen)
            return found | self._time(condition, chosen, time.perf_counter() - start)
        tuned = condition.completion == "tuned"
        tokens = self._completed("ours" if tuned else condition.completion, seen)
        found |= self._time(condition, chosen, time.perf_counter() - start)
        kept = self._kept(condition.completion)
        if kept is not None:
            found["kept"] = measure.Measure(float(kept), [float(kept)], {})
        found |= self._likeness(tokens, chosen)
        if self.bench.table in NEIGHBOURS:
            value = agreement(trial, tokens, seen)
            if value is not None:
                found["neighbours"] = measure.Measure(value, [value], {})
        means = trial.tile_means(tokens)
        if self.material.labels is not None:
            head = self.tuned if tuned else self.material.labels
            found |= self._concepts(head.logits(means), chosen)
        texts = self.material.texts
        if texts is not None and self.observer.to_text is not None:
            own = TextConcepts(texts.head, self.observer.to_text)
            found |= self._told(own, means)
        return found

    def _head_logits(self, name: str, chosen: NDArray[np.bool_]) -> NDArray[np.floating]:
        """Return (n, K) logits of classifiers that complete nothing."""
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
        """Return average precisions by the concepts' classifiers: tiles, regions, scenes."""
        return {} if self.judged is None else self.judged.by_classifiers(logits, chosen)

    @cached_property
    def judged(self) -> Judged | None:
        """What the test tiles show; None where that is not known."""
        trial = self.trial
        if trial.known is None:
            return None
        novel = np.array([concept.novel for concept in self.material.concepts])
        return Judged(trial.known, trial.place, self.groups, novel, self.bench.top_k, self.job.seed)

    def _told(self, own: TextConcepts, means: NDArray[np.floating]) -> dict[str, Measure]:
        """Return average precisions by the concepts' texts: tiles, and pooled scenes."""
        if self.judged is None:
            return {}
        scenes = own.cosines(self.judged.scene_means(means))
        return self.judged.by_texts(own.logits(means)) | self.judged.pooled(scenes)

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


def split_sizes(
    groups: Sequence[str], val: float, test: float, first: int, seeds: int
) -> dict[str, int]:
    """Return how many groups and scenes are tested under each seed."""
    parts = [
        split_scenes(groups, val=val, test=test, seed=first + i) == "test" for i in range(seeds)
    ]
    tested = {g for part in parts for g, own in zip(groups, part, strict=True) if own}
    return {
        "scenes": round(float(np.mean([part.sum() for part in parts]))), "groups": len(tested)
    }  # fmt: skip
