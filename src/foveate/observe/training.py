"""Training an observer, stage by stage; each network is trained once and kept in a run.

Another supervision does not train the predictor again, and a run that was killed goes on from its
last checkpoint to the same weights. Features lie with the pairs, for every training on them.

1. Encode (steps of the pairs), reduce, fit the concepts.
2. Fill: ridge regression, its strength chosen on the validation scenes; a small CNN on top.
3. Stage I: kriging, then the predictor's blocks, under random masks; the fill is frozen.
4. Targets, and a sampler of them: of one form, or of every form that can be computed; then the one
   that captures most of the gain on the validation scenes is kept.
5. Stage II: the blocks again, at a lower learning rate, under masks as the sampler makes them.
6. Calibrate on the validation scenes, evaluate on the test scenes, and write the observer.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, StorageError
from foveate.files import digest, digest_ids, read_json, write_json
from foveate.observe.calibration import Calibration
from foveate.observe.evaluate import choose_policy, evaluate
from foveate.observe.heads import similarity_scores
from foveate.observe.jobs import TrainJob
from foveate.observe.networks.predictor import Aligned
from foveate.observe.networks.sizes import architecture_of
from foveate.observe.observer import RECORD, Observer, ObserverConfig
from foveate.observe.options import AUTO
from foveate.observe.report_assets import show
from foveate.observe.stages import KRIGING_LR, Stages, checkpointed_stage
from foveate.observe.targets import captured
from foveate.observe.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from foveate.observe.dataset import TrainingData
    from foveate.observe.heads import ToText
    from foveate.observe.networks.lr_fill import Fill
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.networks.sizes import Architecture
    from foveate.observe.stages import Supervised
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 4  # raised when the same job leads to another observer
MODEL, TRAINING, EVALUATION = "model", "training", "tables/evaluation.json"
EVALUATED = 2  # raised when the same observer gets other figures
SHARES = (0.05, 0.12, 0.25)  # observed shares over which targets are compared


class Trainer:
    """Trains the networks of an observer on demand, each once; they are kept in a run.

    Args:
        data: Training set.
        job: Its options.
        device: Of the networks.
        run: Keeps the networks.
        folder: Folder for them, relative to the run.
        key: Hash of everything that all stages depend on.
        start: An observer to start from, or None.
        progress: Called with ticks.
    """

    def __init__(  # noqa: PLR0917  (few places make it)
        self, data: TrainingData, job: TrainJob, device: torch.device, run: Run, folder: str,
        key: str,
        *, start: Observer | None = None, progress: ProgressFn | None = None,
    ) -> None:  # fmt: skip
        self.data, self.job, self.device, self.start = data, job, device, start
        self._run, self._folder, self._key, self._progress = run, folder, key, progress
        self._trained: dict[str, tuple[Any, dict[str, Any]]] = {}

    @cached_property
    def targets(self) -> list[str]:
        """The targets of the sampler that can be computed."""
        return self._stages().forms()

    @property
    def supervision(self) -> str:
        """The target of the job; without concepts "blend" is "surprise" alone."""
        stated = self.job.supervision
        return "surprise" if stated == "blend" and stated not in self.targets else stated

    @cached_property
    def supervised(self) -> Supervised:
        """Targets of the training and validation scenes."""
        return self._stages().supervised(self.fill(), self.fill_facts()["strength"])

    def check(self) -> list[str]:
        """Return the targets to train samplers on, before anything is trained.

        Raises:
            DataError: The pairs lack what the job asks for.
        """
        supervision = self.supervision
        if supervision not in (AUTO, *self.targets):
            raise DataError(
                f"no supervision {supervision!r} for these pairs",
                f"Available: {', '.join(self.targets)}.",
                "The semantic gain needs concepts, and either labels (prepare ... --masks MASKS "
                "--concepts FILE) or a model that reads text (--text-model MODEL).",
            )
        if self.data.head is not None:
            similarity_scores(self.data.head, self.job.similarity)
        if self.job.align != "dense":
            self._stages().matches()
        return self.targets if supervision == AUTO else [supervision]

    def fill(self, kind: str = "") -> Fill:
        """Return an LR fill, "linear" or "conv"; that of the job by default."""
        job = self.job.model_copy(update={"fill": kind}) if kind else self.job
        name = "fill" if job.fill == self.job.fill else f"fill {kind}"
        stages = replace(self._stages(), job=job)
        return self._stage(name, [], stages, stages.new_fill, Stages.fill)[0]

    def fill_facts(self) -> dict[str, Any]:
        """Return what was measured in training the fill of the job: its ridge "strength", ..."""
        self.fill()
        return self._trained["fill"][1]

    def sampler(self, target: str = "") -> Sampler:
        """Return the sampler of a target; that of the job by default."""
        target = target or self.supervision

        def work(stages: Stages) -> tuple[Sampler, dict[str, Any]]:
            net, facts = stages.sampler(target, self.supervised)
            scores = stages.validation_scores(net, self.fill())
            facts["captured"] = captured_share(self.supervised.gain, scores)
            return net, facts

        stages = self._stages()
        return self._stage(f"sampler {target}", [target], stages, stages.new_sampler, work)[0]

    def first_stage(
        self, architecture: str = "", *, made: Architecture | None = None,
        start: Observer | None = None, name: str = "",
    ) -> Predictor:  # fmt: skip
        """Return a predictor after stage I.

        Args:
            architecture: Its name; that of the job by default.
            made: Its parts, where the name is not one of `ARCHITECTURES`.
            start: An observer to start from, or None.
            name: Of the step.
        """
        stages = self._stages(architecture, made)
        return self._stage(
            name or _predictor_name(architecture), self._about(architecture, start), stages,
            stages.new_predictor,
            lambda own: own.predictor(self.fill(), start.predictor if start else None),
        )[0]  # fmt: skip

    def second_stage(
        self, sampler: Sampler, target: str, architecture: str = "", *,
        made: Architecture | None = None, start: Observer | None = None, name: str = "",
    ) -> Predictor | Aligned:  # fmt: skip
        """Return a predictor after stage II, with its map to the texts where the job aligns it.

        Args:
            sampler: Makes the masks.
            target: What the sampler was trained on.
            architecture: See `first_stage`; the other options, too.
            made: Parts of an architecture without a name.
            start: An observer to start from, or None.
            name: Of the step of stage I.
        """
        stages = self._stages(architecture, made)
        about = [*self._about(architecture, start), target]
        title = name or _predictor_name(architecture)
        if self.job.align == "siglip-alone":
            given = start.predictor if start else None
            return self._stage(
                f"{title} with texts alone", about, stages, stages.new_aligned,
                lambda own: own.aligned(own.untrained(self.fill(), given), sampler),
            )[0]  # fmt: skip
        first = self.first_stage(architecture, made=made, start=start, name=name)
        name = title
        if self.job.align == "siglip":
            return self._stage(
                f"{name} with texts", about, stages, stages.new_aligned,
                lambda own: own.aligned(first, sampler),
            )[0]  # fmt: skip
        return self._stage(
            f"{name}, stage II", about, stages, stages.new_predictor,
            lambda own: own.second(deepcopy(first), sampler),
        )[0]  # fmt: skip

    def depth(self, blocks: int) -> Predictor:
        """Return a predictor of the job's architecture with a number of blocks, after stage I."""
        shape = replace(self.data.shape, depth=blocks)
        stages = replace(self._stages(), material=replace(self.data, shape=shape))
        return self._stage(
            f"predictor depth {blocks}", [self.job.architecture, blocks], stages,
            stages.new_predictor, lambda own: own.predictor(self.fill()),
        )[0]  # fmt: skip

    def kriging(self) -> Predictor:
        """Return a predictor whose blocks add nothing."""
        stages = self._stages("kriged")

        def work(own: Stages) -> tuple[Predictor, dict[str, Any]]:
            net = own.new_predictor()
            net.fill.load_state_dict(self.fill().state_dict())
            task = own.predictor_task(net, kriging=True)
            return net, own.guarded(task, "kriging", lr=KRIGING_LR)

        return self._stage("kriging", [], stages, stages.new_predictor, work)[0]

    def validation_scores(self, sampler: Sampler) -> NDArray[np.float64]:
        """Return (n,) scores of the tiles of the validation scenes."""
        return self._stages().validation_scores(sampler, self.fill())

    def facts(self, name: str) -> dict[str, Any]:
        """Return what was measured in a stage that was asked for, by the name of its step."""
        return self._trained[name][1]

    def observer(self, target: str = "", *, training: dict[str, Any] | None = None) -> Observer:
        """Return the observer: the sampler of a target, and the predictor after both stages.

        Args:
            target: Of the sampler; that of the job by default.
            training: For the record.
        """
        data, _job, target = self.data, self.job, target or self.supervision
        sampler = self.sampler(target)
        second = self.second_stage(sampler, target, start=self.start)
        if isinstance(second, Aligned):
            predictor, to_text = second.predictor, second.text_map()
        else:
            predictor, to_text = second, None if data.texts is None else data.texts.text_projection
        return self.assemble(sampler, predictor, to_text, target, training or {})

    def assemble(
        self, sampler: Sampler, predictor: Predictor, to_text: ToText | None, target: str,
        training: dict[str, Any],
    ) -> Observer:  # fmt: skip
        """Put networks together with what they were trained on."""
        data, job, pairs = self.data, self.job, self.data.pairs
        sides = [
            (scene.source.info.shape[0] / rows + scene.source.info.shape[1] / cols) / 2
            for scene, (rows, cols) in zip(pairs.overviews, pairs.grids, strict=True)
        ]  # fmt: skip
        scores = self._stages().validation_scores(sampler, predictor.fill)
        record = ObserverConfig(
            encoders=data.encoders,
            shape=data.shape,
            form=architecture_of(job.architecture),
            conv_fill=job.fill == "conv",
            tiles=pairs.shape,
            lr_tile=float(np.mean(sides)),
            gsd=pairs.gsd,
            concepts=data.concepts,
            supervision=target,
            obr=job.obr,
            calibration=Calibration.fit(scores),
            templates=job.templates,
            ratio=pairs.ratio,
            training=training,
            tile_size=pairs.tile_size,
        )
        return Observer(
            record, sampler, predictor, data.lr, data.hr, data.labels, to_text,
            str(self._run.path / MODEL),
        )  # fmt: skip

    def custom[Net: torch.nn.Module](
        self, name: str, new: Callable[[], Net],
        work: Callable[[Stages], tuple[Net, dict[str, Any]]],
    ) -> Net:  # fmt: skip
        """Train a network of another kind in a step of its own: a baseline."""
        return self._stage(name, [], self._stages(), new, work)[0]

    def _about(self, architecture: str, start: Observer | None) -> list[Any]:
        return [architecture or self.job.architecture, self.job.init if start else None]

    def _stages(self, architecture: str = "", made: Architecture | None = None) -> Stages:
        if made is None and architecture:
            made = architecture_of(architecture)
        return Stages(self.data, self.job, self.device, progress=self._progress, made=made)

    def _stage[Net: torch.nn.Module](
        self, name: str, about: list[Any], stages: Stages, new: Callable[[], Net],
        work: Callable[[Stages], tuple[Net, dict[str, Any]]],
    ) -> tuple[Net, dict[str, Any]]:  # fmt: skip
        """Do a stage unless it is done; its checkpoints have the key of its step."""
        if name not in self._trained:
            stem = f"{self._folder}/{name.replace(', ', '-').replace(' ', '-')}"
            key = digest([self._key, name, about])
            checkpoint = self._run.path / f"{stem}.pt"
            own = replace(stages, key=key, checkpoint=checkpoint)
            where = "" if self._folder == TRAINING else f"{self._folder} "
            net, facts = checkpointed_stage(
                self._run, f"train {where}{name}", key, stem=stem, new=new, work=lambda: work(own),
                checkpoint=checkpoint,
            )  # fmt: skip
            self._trained[name] = net.to(self.device), facts
        return self._trained[name]


def _predictor_name(architecture: str) -> str:
    return f"predictor {architecture}".strip()


def train(trainer: Trainer, *, training: dict[str, Any] | None = None) -> Observer:
    """Train all stages, and return the observer.

    Args:
        trainer: Trains; of several targets the one that captures most gain on the validation
            scenes is kept.
        training: Further facts for the record.

    Raises:
        DataError: The pairs lack what the job asks for.
    """
    targets = trainer.check()
    trainer.fill()
    if trainer.job.align != "siglip-alone":
        trainer.first_stage(start=trainer.start)
    captures = {}
    for target in targets:
        trainer.sampler(target)
        captures[target] = trainer.facts(f"sampler {target}")["captured"]
    # Where HR adds nothing there is no share of it: null in the file.
    best = max(targets, key=lambda target: captures[target] or 0.0)
    job, split = trainer.job, trainer.data.split
    return trainer.observer(
        best,
        training={
            **(training or {}),
            "size": job.size,
            "form": job.architecture,
            "seed": job.seed,
            "target": job.target_model,
            "similarity": job.similarity,
            "scenes": {s: int((split == s).sum()) for s in ("train", "val", "test")},
            "captured": captures,
        },
    )


def finish(run: Run, trainer: Trainer, observer: Observer, key: str) -> Observer:
    """Evaluate an observer on the test scenes, on the validation scenes without any, and write it.

    Args:
        run: Open for writing: the numbers and the pictures of the report are written.
        trainer: Has trained it.
        observer: The observer.
        key: Hash of what the training depends on.

    Returns:
        The observer with its results on held-out scenes: a selection repeats them.
    """
    data, record, job = trainer.data, observer.record, trainer.job
    split = "test" if (data.split == "test").any() else "val"
    about = [key, record.supervision, job.architecture, job.init, job.obr]

    def work() -> list[str]:
        trial = Trial(
            data, observer, data.scenes(split), targets=trainer.supervised.targets,
            reference=job.reference, seed=job.seed,
        )  # fmt: skip
        found = evaluate(trial, obr=record.obr, supervision=record.supervision)
        judged = Trial(data, observer, np.flatnonzero(data.split != "train"), seed=job.seed)
        validation = Trial(data, observer, data.scenes("val"), seed=job.seed)
        found["against_random"] = choose_policy(validation, judged, seed=job.seed)
        write_json(run.path / EVALUATION, found)
        return [EVALUATION, *show(run.path, trial, trial.observed(record.obr))]

    run.do("evaluate", digest([*about, split, EVALUATED]), work)
    found = read_json(run.path / EVALUATION)
    held_out = {
        "split": "validation" if split == "val" else "validation and test",
        "scenes": found["against_random"]["scenes"],
        "against_random": found["against_random"],
        "measure": found["curve"]["measure"], "shares": found["curve"]["shares"],
    }  # fmt: skip
    judged = replace(observer, record=replace(record, held_out=held_out))

    def save() -> list[str]:
        files = judged.save(run.path / MODEL, data.handles)
        return [str(file.relative_to(run.path)) for file in files]

    run.do("observer", digest([*about, held_out]), save)
    return judged


def refuse_other(root: Path, request: str, *, replace: bool) -> None:
    """Refuse to overwrite an observer that was trained with other options.

    Args:
        root: Run directory.
        request: Hash of all options.
        replace: Whether it may be overwritten.

    Raises:
        StorageError: There is one.
    """
    there = root / MODEL / RECORD
    if replace or not there.exists():
        return
    if read_json(there)["training"].get("asked") != request:
        raise StorageError(
            f"the run {str(root)!r} holds an observer that was trained with other options",
            "It is not overwritten unless that is asked for.",
            "Choose another --out, or type --replace: features, and stages that are the same, "
            "are used again.",
        )


def remove_checkpoints(root: Path) -> None:
    """Remove checkpoints of stages that were stopped under other options."""
    for checkpoint in (root / TRAINING).glob("*.pt"):
        checkpoint.unlink()


def options_for_key(job: TrainJob, apart: set[str]) -> dict[str, Any]:
    """Return the options of a job by their first names: runs of earlier versions keep their keys.

    Args:
        job: The job.
        apart: Fields to leave out.
    """
    before = {new: old for old, new in TrainJob.renamed.items()}
    options = job.model_dump(mode="json", exclude=apart)
    return {before.get(name, name): value for name, value in options.items()}


def training_key(job: TrainJob, data: TrainingData, start: Observer | None) -> str:
    """Hash of everything that all stages depend on."""
    apart = {
        "pairs", "device", "batch_size", "replace", "supervision", "obr", "init", "architecture",
    }  # fmt: skip
    pairs = data.pairs
    prints = [
        [s.source.info.fingerprint for s in part] for part in (pairs.pool.scenes, pairs.overviews)
    ]
    return digest([
        VERSION, options_for_key(job, apart), prints, digest_ids(pairs.pool.ids),
        {role: encoder.spec.to_dict() for role, encoder in data.encoders.items()},
        None if data.known is None else digest(np.packbits(data.known).tobytes().hex()),
        None if start is None else start.record.training,
    ])  # fmt: skip


def request_key(job: TrainJob, key: str) -> str:
    """Hash of everything that an observer depends on; `key` is that of all stages."""
    return digest([key, job.supervision, job.architecture, job.init, job.obr])


def captured_share(gain: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Return the mean share of the gain that the best tiles capture, over `SHARES`."""
    order = np.argsort(-scores, kind="stable")
    shares = []
    for share in SHARES:
        chosen = np.zeros(len(order), bool)
        chosen[order[: max(1, int(share * len(order)))]] = True
        shares.append(captured(gain, chosen))
    return float(np.mean(shares))
