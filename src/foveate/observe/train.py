"""The training job: from pairs to an observer, stage by stage.

Each stage is a step of the run that keeps its weights: another supervision does not train the
predictor again, and a run that was killed goes on from its last checkpoint to the same weights.
Features lie with the pairs, for every training on them to use.

1. Encode (steps of the pairs), reduce, fit the concepts.
2. Fill: ridge regression, its strength chosen on the validation scenes; a convolutional part.
3. Stage I: kriging, then the predictor's blocks, under random masks; the fill stays as it is.
4. Supervision, and a sampler of it: of one form, or of every form that there is evidence for; then
   the one that captures most of the gain on the validation scenes is kept.
5. Stage II: the blocks again, slowly, under masks as the sampler makes them.
6. Calibrate on the validation scenes, judge on the test scenes, and write the observer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError, StorageError
from foveate.files import digest, digest_ids, read_json, write_json
from foveate.models.extras import requires
from foveate.models.runtime import resolve_device
from foveate.observe.calibrate import Calibration
from foveate.observe.keeping import keep
from foveate.observe.methods import get_policy
from foveate.observe.networks.shape import form_of
from foveate.observe.observer import Observer
from foveate.observe.pairs import open_pairs
from foveate.observe.record import RECORD, Record
from foveate.observe.scoring import similarity_scores
from foveate.observe.settings import AUTO, TrainJob
from foveate.observe.supervision import captured
from foveate.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from foveate.observe.material import Material
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.scoring import ToText
    from foveate.observe.stages import Stages, Supervised
    from foveate.progress import ProgressFn

VERSION = 4  # raised when the same job leads to another observer
MODEL, TRAINING, EVALUATION = "model", "training", "tables/evaluation.json"
_JUDGED = (
    "random", "uniform", "lr-entropy", "learned", "design", "oracle-gain", "oracle-greedy",
)  # fmt: skip
SHARES = (0.05, 0.12, 0.25)  # observed shares over which forms of supervision are compared


@requires("observe", "training an observer")
def run(
    job: TrainJob,
    out: str | Path,
    *,
    command: str = "",
    report: Callable[[Path], Path] | None = None,
    progress: ProgressFn | None = None,
) -> Run:
    """Do the job.

    Args:
        job: What to do.
        out: Run directory: new, empty, or an earlier run to go on with. The observer is in
            ``out/model``.
        command: The command that repeats the job, for the record.
        report: Draws a page of the run directory into it and returns the file: `write_report`.
        progress: Called with ticks.

    Returns:
        The closed run; ``run.worked`` says whether anything was done.

    Raises:
        FoveateError: Anything that is wrong with the input; what was encoded and trained before is
            kept.
    """
    from foveate.observe.material import gather

    job.check_models()
    device = resolve_device(job.device)
    job.stated_concepts()
    start = Observer.load(job.init, device="cpu") if job.init is not None else None
    pairs = open_pairs(job.pairs)
    with Run.create(out, job=job.model_dump(mode="json"), command=command) as opened:
        material = gather(job, pairs, progress, start=start)
        work = _Work(job, opened, material, device, start, progress)
        work.train()
        work.judge()
        work.write()
        opened.describe(summary=work.summary())
        if report is not None:
            opened.draw("report", lambda: [str(report(opened.path).relative_to(opened.path))])
    return opened


class _Work:
    """The job in progress."""

    def __init__(  # noqa: PLR0917  (one place makes it)
        self, job: TrainJob, opened: Run, material: Material, device: torch.device,
        start: Observer | None, progress: ProgressFn | None,
    ) -> None:  # fmt: skip
        from foveate.observe.stages import Stages

        self.job, self.run, self.material, self._start = job, opened, material, start
        self.key = _key(job, material, start)
        self._asked = digest([self.key, job.supervision, job.form, job.init, job.obr])
        self._stages = Stages(material, job, device, progress=progress)

    def train(self) -> None:
        """Do all stages.

        Raises:
            StorageError: There is an observer that was trained otherwise, and it is not to be
                replaced.
            DataError: There is nothing to learn what was asked for from.
        """
        self._refuse_other()
        stages, forms = self._stages, self._forms()
        if self.material.head is not None:
            similarity_scores(
                self.material.head, self.job.similarity
            )  # refused before anything is trained
        if self.job.align == "siglip":
            stages.matches()
        fill, facts = self._stage("fill", [], stages.new_fill, lambda own: own.fill())
        self._fill, self._strength = fill, facts["strength"]
        first, _ = self._stage(
            "predictor", [self.job.form, self.job.init], stages.new_predictor,
            lambda own: own.predictor(fill, self._start.predictor if self._start else None),
        )  # fmt: skip
        found = {form: self._sampler(form) for form in forms}
        self.captures = {form: facts["captured"] for form, (_, facts) in found.items()}
        # Where HR adds nothing there is no share of it: null in the file.
        self.form = max(forms, key=lambda form: self.captures[form] or 0.0)
        sampler = found[self.form][0]
        self.observer = self._observer(*self._second(first, sampler), sampler)
        for checkpoint in (self.run.path / TRAINING).glob("*.pt"):
            checkpoint.unlink()

    def _forms(self) -> list[str]:
        """Return the forms of supervision to train samplers of.

        Raises:
            DataError: There is no evidence for the one that was asked for.
        """
        asked, able = self.job.supervision, self._stages.forms()
        if asked == AUTO:
            return able
        if asked == "blend" and asked not in able:  # without concepts there is no meaning to blend
            return ["surprise"]
        if asked not in able:
            raise DataError(
                f"no supervision {asked!r} for these pairs",
                f"There is evidence for: {', '.join(able)}.",
                "Meaning needs concepts, and either labels (prepare ... --masks MASKS "
                "--concepts FILE) or a model that reads texts (--text MODEL).",
            )
        return [asked]

    def _second(self, first: Predictor, sampler: Sampler) -> tuple[Predictor, ToText | None]:
        """Return the predictor of stage II, and the way from its space to that of the texts."""
        stages, texts = self._stages, self.material.texts
        more = [self.job.form, self.job.init, self.form]
        if self.job.align == "dense":
            predictor, _ = self._stage(
                "predictor, stage II", more, stages.new_predictor,
                lambda own: own.second(first, sampler),
            )  # fmt: skip
            return predictor, None if texts is None else texts.way
        whole, _ = self._stage(
            "predictor with texts", more, stages.new_aligned,
            lambda own: own.aligned(first, sampler),
        )  # fmt: skip
        return whole.predictor, whole.text_map()

    def _sampler(self, form: str) -> tuple[Sampler, dict[str, Any]]:
        """Return the sampler of one form of supervision, and what it captures."""

        def work(stages: Stages) -> tuple[Sampler, dict[str, Any]]:
            net, facts = stages.sampler(form, self._supervised)
            scores = stages.validation_scores(net, self._fill)
            facts["captured"] = _captured(self._supervised.gain, scores)
            return net, facts

        return self._stage(f"sampler {form}", [form], self._stages.new_sampler, work)

    @cached_property
    def _supervised(self) -> Supervised:
        return self._stages.supervised(self._fill, self._strength)

    def _stage[Net: torch.nn.Module](
        self, name: str, more: list[Any], new: Callable[[], Net],
        work: Callable[[Stages], tuple[Net, dict[str, Any]]],
    ) -> tuple[Net, dict[str, Any]]:  # fmt: skip
        """Do a stage unless it is done, and return its network and what is known of it.

        Its checkpoints have the key of the step: what was stopped under another supervision or
        form is not gone on with.
        """
        stem = f"{TRAINING}/{name.replace(', ', '-').replace(' ', '-')}"
        key = digest([self.key, name, more])
        own = replace(self._stages, key=key, checkpoint=self.run.path / f"{stem}.pt")
        return keep(self.run, f"train {name}", key, stem=stem, new=new, work=lambda: work(own))

    def _refuse_other(self) -> None:
        there = self.run.path / MODEL / RECORD
        if self.job.replace or not there.exists():
            return
        if read_json(there)["training"].get("asked") != self._asked:
            raise StorageError(
                f"the run {str(self.run.path)!r} holds an observer that was trained otherwise",
                "It is not overwritten unasked.",
                "Choose another --out, or type --replace: features, and stages that are the same, "
                "are used again.",
            )

    def _observer(self, predictor: Predictor, to_text: ToText | None, sampler: Sampler) -> Observer:
        """Put the networks together with what they were trained on."""
        material, job = self.material, self.job
        heights = [
            (scene.source.info.shape[0] / material.pairs.shape[0]
             + scene.source.info.shape[1] / material.pairs.shape[1]) / 2
            for scene in material.pairs.overviews
        ]  # fmt: skip
        record = Record(
            encoders=material.encoders,
            shape=material.shape,
            form=form_of(job.form),
            conv_fill=job.fill == "conv",
            tiles=material.pairs.shape,
            lr_tile=float(np.mean(heights)),
            gsd=material.pairs.gsd,
            concepts=material.concepts,
            supervision=self.form,
            obr=job.obr,
            calibration=Calibration.fit(self._stages.validation_scores(sampler, predictor.fill)),
            templates=job.templates,
            ratio=material.pairs.ratio,
            training={
                "key": self.key,
                "asked": self._asked,
                "size": job.size,
                "form": job.form,
                "seed": job.seed,
                "target": job.target_model,
                "similarity": job.similarity,
                "scenes": {s: int((material.split == s).sum()) for s in ("train", "val", "test")},
                "captured": self.captures,
            },
        )
        return Observer(
            record, sampler, predictor, material.lr, material.hr, material.labels, to_text,
            str(self.run.path / MODEL),
        )  # fmt: skip

    def write(self) -> None:
        """Write the observer, with how it did on held-out scenes: `select` repeats that."""
        judged = read_json(self.run.path / EVALUATION)
        keys = ("split", "scenes", "against_random")
        held_out = {
            **{key: judged[key] for key in keys}, "measure": judged["curve"]["measure"],
            "shares": judged["curve"]["shares"],
        }  # fmt: skip
        record = replace(self.observer.record, held_out=held_out)
        observer = replace(self.observer, record=record)
        job = self.job
        self.run.do(
            "observer", digest([self.key, self.form, job.form, job.init, job.obr, held_out]),
            lambda: [
                str(file.relative_to(self.run.path))
                for file in observer.save(self.run.path / MODEL, self.material.handles)
            ],
        )  # fmt: skip

    def judge(self) -> None:
        """Measure the observer on the test scenes, on the validation scenes without any."""
        split = "test" if (self.material.split == "test").any() else "val"
        key = digest([self.key, self.form, self.job.form, self.job.init, self.job.obr, split])
        self.run.do("evaluate", key, lambda: self._judge(split))

    def _judge(self, split: str) -> list[str]:
        from foveate.observe import judge
        from foveate.observe.shown import show
        from foveate.observe.trial import Trial

        trial = Trial(
            self.material, self.observer, self.material.scenes(split),
            targets=self._supervised.targets, whole=self.job.reference == "scene",
            seed=self.job.seed,
        )  # fmt: skip
        evidence = trial.evidence()
        policies = [name for name in _JUDGED if set(get_policy(name).needs) <= set(evidence)]
        curve, areas = judge.curve(trial, policies, evidence)
        seen = trial.first(trial.rank("learned", evidence), self.job.obr)
        at_random = trial.first(trial.rank("random", evidence), self.job.obr)
        ways = judge.completions(trial, seen)
        concepts = [concept.name for concept in self.material.concepts]
        content = {
            "split": split,
            "scenes": len(trial.scenes),
            "tiles": len(trial.rows),
            "obr": self.job.obr,
            "supervision": self.form,
            "curve": curve,
            "against_random": judge.against_random(areas, seed=self.job.seed),
            "efficiency": {
                name: judge.efficiency(curve, name)
                for name in policies
                if "oracle-gain" in policies and not name.startswith(("oracle", "random"))
            },
            "completions": {name: found.means() for name, found in ways.items()},
            "random": trial.measure(trial.completed(at_random, "ours"), at_random).means(),
            "concepts": {
                name: {
                    "prevalence": None if trial.known is None else trial.known[:, k].mean(),
                    "novel": self.material.concepts[k].novel,
                    **{way: found.tiles[k] for way, found in ways.items()},
                }
                for k, name in enumerate(concepts)
            },
            "sweep": judge.sweep(trial),
            "neighbours": judge.neighbours(trial, seen),
            "failures": judge.failures(trial, seen),
        }
        write_json(self.run.path / EVALUATION, content)
        return [EVALUATION, *show(self.run.path, trial, seen)]

    def summary(self) -> dict[str, Any]:
        """Return what came out, JSON-ready."""
        material = self.material
        return {
            "observer": {
                "folder": str(self.run.path),
                "size": self.job.size,
                "form": self.job.form,
                "supervision": self.form,
                "captured": self.captures,
                "scenes": {s: int((material.split == s).sum()) for s in ("train", "val", "test")},
                "tiles": len(material.pairs),
                "concepts": [concept.name for concept in material.concepts],
            },
            "pool": material.pairs.pool.describe(),
            "model": material.encoders["hr"].spec.to_dict(),
            "seed": self.job.seed,
        }


def _key(job: TrainJob, material: Material, start: Observer | None) -> str:
    """Hash of everything that all stages depend on."""
    apart = {"pairs", "device", "batch_size", "replace", "supervision", "obr", "init", "form"}
    pairs = material.pairs
    prints = [
        [s.source.info.fingerprint for s in part] for part in (pairs.pool.scenes, pairs.overviews)
    ]
    return digest([
        VERSION, job.model_dump(mode="json", exclude=apart), prints, digest_ids(pairs.pool.ids),
        {role: encoder.spec.to_dict() for role, encoder in material.encoders.items()},
        None if material.known is None else digest(np.packbits(material.known).tobytes().hex()),
        None if start is None else start.record.training,
    ])  # fmt: skip


def _captured(gain: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Return the mean share of the gain that the best tiles capture, over `SHARES`."""
    order = np.argsort(-scores, kind="stable")
    shares = []
    for share in SHARES:
        chosen = np.zeros(len(order), bool)
        chosen[order[: max(1, int(share * len(order)))]] = True
        shares.append(captured(gain, chosen))
    return float(np.mean(shares))
