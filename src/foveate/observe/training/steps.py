"""Training of an observer in stages; each network is trained once and stored in a run.

Another supervision target reuses the predictor, and interrupted runs resume from the last
checkpoint to identical weights. Features are cached with the pairs, for every training on them.

1. Extract features (steps of the pairs), project them, fit the concept classifiers.
2. LR fill: ridge regression, its strength chosen on the validation scenes; optionally a small CNN.
3. Stage I: kriging, then the blocks of the predictor, with random masks; the fill is frozen.
4. Supervision targets, and a sampler: of one target, or of all targets that can be computed, of
   which the sampler that captures the most gain on the validation scenes is kept.
5. Stage II: the blocks again, at a lower learning rate, with masks of the sampler.
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
from foveate.observe.jobs import TrainJob
from foveate.observe.networks.heads import similarity_scores
from foveate.observe.networks.predictor import Aligned
from foveate.observe.networks.sizes import architecture_of
from foveate.observe.observer import Observer
from foveate.observe.observer_config import RECORD, ObserverConfig
from foveate.observe.options import AUTO
from foveate.observe.scoring.calibration import Calibration
from foveate.observe.scoring.targets import captured
from foveate.observe.training.evaluate import choose_policy, evaluate
from foveate.observe.training.report_assets import show
from foveate.observe.training.stages import KRIGING_LR, Stages, checkpointed_stage
from foveate.observe.training.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from foveate.observe.networks.heads import ToText
    from foveate.observe.networks.lr_fill import Fill
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.networks.sizes import Architecture
    from foveate.observe.training.dataset import TrainingData
    from foveate.observe.training.stages import Supervised
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 4  # increased when the same job gives another observer
MODEL, TRAINING, EVALUATION = "model", "training", "tables/evaluation.json"
EVALUATED = 2  # increased when the same observer gives other results
SAVED = 2  # increased when the same networks give other files
SHARES = (0.05, 0.12, 0.25)  # observed ratios at which targets are compared


class Trainer:
    """Trains the networks of an observer on demand, each once, and stores them in a run.

    Args:
        data: Training set.
        job: Options of the training.
        device: Device of the networks.
        run: Run that stores the networks.
        folder: Folder of the networks, relative to the run.
        key: Hash of the inputs that all stages depend on.
        start: Observer to initialise the weights from, or None.
        progress: Progress callback.
    """

    def __init__(  # noqa: PLR0917  (few callers)
        self, data: TrainingData, job: TrainJob, device: torch.device, run: Run, folder: str,
        key: str,
        *, start: Observer | None = None, progress: ProgressFn | None = None,
    ) -> None:  # fmt: skip
        self.data, self.job, self.device, self.start = data, job, device, start
        self._run, self._folder, self._key, self._progress = run, folder, key, progress
        self._trained: dict[str, tuple[Any, dict[str, Any]]] = {}

    @cached_property
    def targets(self) -> list[str]:
        """The supervision targets that can be computed from the data."""
        return self._stages().forms()

    @property
    def supervision(self) -> str:
        """The supervision target of the job; without concepts "blend" becomes "surprise"."""
        stated = self.job.supervision
        return "surprise" if stated == "blend" and stated not in self.targets else stated

    @cached_property
    def supervised(self) -> Supervised:
        """Supervision targets of the training and validation scenes."""
        return self._stages().supervised(self.fill(), self.fill_facts()["strength"])

    def check(self) -> list[str]:
        """Return the targets to train samplers on; called before any training.

        Raises:
            DataError: The pairs have no labels or texts for the options of the job.
        """
        supervision = self.supervision
        if supervision not in (AUTO, *self.targets):
            raise DataError(
                f"no supervision {supervision!r} for these pairs",
                f"Available: {', '.join(self.targets)}.",
                "The semantic gain needs concepts, and either labels (prepare ... --masks MASKS "
                "--concepts FILE) or a text model (--text-model MODEL).",
            )
        if self.data.head is not None:
            similarity_scores(self.data.head, self.job.similarity)
        if self.job.align != "dense":
            self._stages().matches()
        return self.targets if supervision == AUTO else [supervision]

    def fill(self, kind: str = "") -> Fill:
        """Return the LR fill of a kind, "linear" or "conv"; by default the kind of the job."""
        job = self.job.model_copy(update={"fill": kind}) if kind else self.job
        name = "fill" if job.fill == self.job.fill else f"fill {kind}"
        stages = replace(self._stages(), job=job)
        return self._stage(name, [], stages, stages.new_fill, Stages.fill)[0]

    def fill_facts(self) -> dict[str, Any]:
        """Return the training facts of the LR fill of the job: its ridge "strength", ..."""
        self.fill()
        return self._trained["fill"][1]

    def sampler(self, target: str = "") -> Sampler:
        """Return the sampler of a target; by default the target of the job."""
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
            architecture: Name of the architecture; by default the architecture of the job.
            made: The architecture itself, if it is not one of `ARCHITECTURES`.
            start: Observer to initialise the weights from, or None.
            name: Name of the step.
        """
        stages = self._stages(architecture, made)
        return self._stage(
            name or _predictor_name(architecture), self._about(architecture, start), stages,
            stages.new_predictor,
            lambda keyed: keyed.predictor(self.fill(), start.predictor if start else None),
        )[0]  # fmt: skip

    def second_stage(
        self, sampler: Sampler, target: str, architecture: str = "", *,
        made: Architecture | None = None, start: Observer | None = None, name: str = "",
    ) -> Predictor | Aligned:  # fmt: skip
        """Return a predictor after stage II, with its text projection if the job aligns it.

        Args:
            sampler: Sampler of the masks.
            target: Supervision target of the sampler.
            architecture: See `first_stage`.
            made: See `first_stage`.
            start: Observer to initialise the weights from, or None.
            name: Name of the step of stage I.
        """
        stages = self._stages(architecture, made)
        about = [*self._about(architecture, start), target]
        title = name or _predictor_name(architecture)
        if self.job.align == "siglip-alone":
            initial = start.predictor if start else None
            return self._stage(
                f"{title} with texts alone", about, stages, stages.new_aligned,
                lambda keyed: keyed.aligned(keyed.untrained(self.fill(), initial), sampler),
            )[0]  # fmt: skip
        first = self.first_stage(architecture, made=made, start=start, name=name)
        name = title
        if self.job.align == "siglip":
            return self._stage(
                f"{name} with texts", about, stages, stages.new_aligned,
                lambda keyed: keyed.aligned(first, sampler),
            )[0]  # fmt: skip
        return self._stage(
            f"{name}, stage II", about, stages, stages.new_predictor,
            lambda keyed: keyed.second(deepcopy(first), sampler),
        )[0]  # fmt: skip

    def depth(self, blocks: int) -> Predictor:
        """Return a predictor of the job's architecture with `blocks` blocks, after stage I."""
        shape = replace(self.data.shape, depth=blocks)
        stages = replace(self._stages(), material=replace(self.data, shape=shape))
        return self._stage(
            f"predictor depth {blocks}", [self.job.architecture, blocks], stages,
            stages.new_predictor, lambda keyed: keyed.predictor(self.fill()),
        )[0]  # fmt: skip

    def kriging(self) -> Predictor:
        """Return a kriging predictor: its residual blocks are zero."""
        stages = self._stages("kriged")

        def work(keyed: Stages) -> tuple[Predictor, dict[str, Any]]:
            net = keyed.new_predictor()
            net.fill.load_state_dict(self.fill().state_dict())
            task = keyed.predictor_task(net, kriging=True)
            return net, keyed.guarded(task, "kriging", lr=KRIGING_LR)

        return self._stage("kriging", [], stages, stages.new_predictor, work)[0]

    def validation_scores(self, sampler: Sampler) -> NDArray[np.float64]:
        """Return (n,) scores of the tiles of the validation scenes."""
        return self._stages().validation_scores(sampler, self.fill())

    def facts(self, name: str) -> dict[str, Any]:
        """Return the training facts of a finished stage by the name of its step."""
        return self._trained[name][1]

    def observer(self, target: str = "", *, training: dict[str, Any] | None = None) -> Observer:
        """Return the observer: the sampler of a target, and the predictor after both stages.

        Args:
            target: Target of the sampler; by default the target of the job.
            training: Training facts to store in the record.
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
        """Return the observer of trained networks, with the record of the training."""
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
            str(self._run.path / MODEL), data.familiarity,
        )  # fmt: skip

    def custom[Net: torch.nn.Module](
        self, name: str, new: Callable[[], Net],
        work: Callable[[Stages], tuple[Net, dict[str, Any]]],
    ) -> Net:  # fmt: skip
        """Train another network, such as a baseline, in its own step."""
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
        """Run a stage unless it is finished; its checkpoints have the key of its step."""
        if name not in self._trained:
            stem = f"{self._folder}/{name.replace(', ', '-').replace(' ', '-')}"
            key = digest([self._key, name, about])
            checkpoint = self._run.path / f"{stem}.pt"
            keyed = replace(stages, key=key, checkpoint=checkpoint)
            prefix = "" if self._folder == TRAINING else f"{self._folder} "
            net, facts = checkpointed_stage(
                self._run, f"train {prefix}{name}", key, stem=stem, new=new,
                work=lambda: work(keyed), checkpoint=checkpoint,
            )  # fmt: skip
            self._trained[name] = net.to(self.device), facts
        return self._trained[name]


def _predictor_name(architecture: str) -> str:
    return f"predictor {architecture}".strip()


def train(trainer: Trainer, *, training: dict[str, Any] | None = None) -> Observer:
    """Train all stages, and return the observer.

    Args:
        trainer: The trainer; with several targets, the target that captures the most gain on the
            validation scenes is kept.
        training: Further facts to store in the record.

    Raises:
        DataError: The pairs have no labels or texts for the options of the job.
    """
    targets = trainer.check()
    trainer.fill()
    if trainer.job.align != "siglip-alone":
        trainer.first_stage(start=trainer.start)
    captures = {}
    for target in targets:
        trainer.sampler(target)
        captures[target] = trainer.facts(f"sampler {target}")["captured"]
    # The captured share is None (null in the file) if the total gain of HR is 0.
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
    """Evaluate an observer on the test (or else validation) scenes, and write it.

    Args:
        run: Run, open for writing; the tables and images of the report are written.
        trainer: Trainer of the observer.
        observer: The observer.
        key: Hash of the inputs of the training.

    Returns:
        The observer with its results on held-out scenes, which reports of selections show.
    """
    data, record, job = trainer.data, observer.record, trainer.job
    split = "test" if (data.split == "test").any() else "val"
    inputs = [key, record.supervision, job.architecture, job.init, job.obr]

    def work() -> list[str]:
        trial = Trial(
            data, observer, data.scenes(split), targets=trainer.supervised.targets,
            reference=job.reference, seed=job.seed,
        )  # fmt: skip
        results = evaluate(trial, obr=record.obr, supervision=record.supervision)
        held_out = Trial(data, observer, np.flatnonzero(data.split != "train"), seed=job.seed)
        validation = Trial(data, observer, data.scenes("val"), seed=job.seed)
        results["against_random"] = choose_policy(validation, held_out, seed=job.seed)
        write_json(run.path / EVALUATION, results)
        return [EVALUATION, *show(run.path, trial, trial.observed(record.obr))]

    run.do("evaluate", digest([*inputs, split, EVALUATED]), work)
    results = read_json(run.path / EVALUATION)
    held_out = {
        "split": "validation" if split == "val" else "validation and test",
        "scenes": results["against_random"]["scenes"],
        "against_random": results["against_random"],
        "measure": results["curve"]["measure"], "shares": results["curve"]["shares"],
    }  # fmt: skip
    evaluated = replace(observer, record=replace(record, held_out=held_out))

    def save() -> list[str]:
        files = evaluated.save(run.path / MODEL, data.handles)
        return [str(file.relative_to(run.path)) for file in files]

    run.do("observer", digest([SAVED, *inputs, held_out]), save)
    return evaluated


def refuse_other(root: Path, request: str, *, replace: bool) -> None:
    """Raise an error instead of overwriting an observer that was trained with other options.

    Args:
        root: Run directory.
        request: Hash of all options.
        replace: Whether overwriting is allowed.

    Raises:
        StorageError: The run contains an observer that was trained with other options.
    """
    file = root / MODEL / RECORD
    if replace or not file.exists():
        return
    if read_json(file)["training"].get("asked") != request:
        raise StorageError(
            f"the run {str(root)!r} contains an observer that was trained with other options",
            "Overwriting it requires --replace.",
            "Choose another --out, or use --replace (features and identical stages are reused).",
        )


def remove_checkpoints(root: Path) -> None:
    """Remove checkpoints of stages that were interrupted under other options."""
    for checkpoint in (root / TRAINING).glob("*.pt"):
        checkpoint.unlink()


def options_for_key(job: TrainJob, exclude: set[str]) -> dict[str, Any]:
    """Return the options of a job by their original names, so that keys of old runs stay valid.

    Args:
        job: The job.
        exclude: Fields to omit.
    """
    original = {new: old for old, new in TrainJob.renamed.items()}
    options = job.model_dump(mode="json", exclude=exclude)
    return {original.get(name, name): value for name, value in options.items()}


def training_key(job: TrainJob, data: TrainingData, start: Observer | None) -> str:
    """Return the hash of the inputs that all stages depend on."""
    exclude = {
        "pairs", "device", "batch_size", "replace", "supervision", "obr", "init", "architecture",
    }  # fmt: skip
    pairs = data.pairs
    fingerprints = [
        [s.source.info.fingerprint for s in part] for part in (pairs.pool.scenes, pairs.overviews)
    ]
    return digest([
        VERSION, options_for_key(job, exclude), fingerprints, digest_ids(pairs.pool.ids),
        {role: encoder.spec.to_dict() for role, encoder in data.encoders.items()},
        None if data.known is None else digest(np.packbits(data.known).tobytes().hex()),
        None if start is None else start.record.training,
    ])  # fmt: skip


def request_key(job: TrainJob, key: str) -> str:
    """Return the hash of all inputs of an observer; `key` is the `training_key`."""
    return digest([key, job.supervision, job.architecture, job.init, job.obr])


def captured_share(gain: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Return the share of the gain that the best tiles capture, averaged over `SHARES`."""
    order = np.argsort(-scores, kind="stable")
    shares = []
    for share in SHARES:
        chosen = np.zeros(len(order), bool)
        chosen[order[: max(1, int(share * len(order)))]] = True
        shares.append(captured(gain, chosen))
    return float(np.mean(shares))
