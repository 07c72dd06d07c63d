"""What a seed trains: each network once, kept in the run, whichever tables ask for it.

A thin driver over `foveate.observe.stages`: the same stages as `foveate observe train`, and the
variants that only a comparison needs.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from foveate.bench.cells import Skipped
from foveate.files import digest
from foveate.observe.keeping import keep
from foveate.observe.networks.align import Aligned
from foveate.observe.networks.policy import new_policy
from foveate.observe.networks.shape import FORMS, Form, form_of
from foveate.observe.networks.tasks import new_predictor
from foveate.observe.patchdrop import SETTINGS as PATCHDROP
from foveate.observe.patchdrop import train_patchdrop
from foveate.observe.stages import KRIGING_LR, Stages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from foveate.observe.material import Material
    from foveate.observe.networks.fill import Fill
    from foveate.observe.networks.predictor import Predictor
    from foveate.observe.networks.sampler import Sampler
    from foveate.observe.observer import Observer
    from foveate.observe.scoring import ToText
    from foveate.observe.settings import TrainJob
    from foveate.observe.stages import Supervised
    from foveate.progress import ProgressFn
    from foveate.run import Run

_PATCHDROP = 1.5  # times the epochs of a stage, as its own defaults are
BLIND: dict[str, Form] = {
    "kriged-blind": replace(FORMS["kriged"], lr_context=False),
    "plain-blind": replace(FORMS["plain"], lr_context=False),
}
"""Forms whose blocks do not see the LR tokens; "plain-blind" sees nothing but HR (Table 6)."""


@dataclass(frozen=True)
class Variant(Stages):
    """The stages, with a predictor of any form.

    Attributes:
        made: The form; that of the job when None.
    """

    made: Form | None = None

    def new_predictor(self) -> Predictor:
        """Return a predictor with seeded first weights."""
        form = self.made or form_of(self.job.form)
        return new_predictor(
            self.material.shape, form, conv_fill=self.job.fill == "conv", seed=self.job.seed
        )

    def kriging(self, fill: Fill) -> tuple[Predictor, dict[str, Any]]:
        """Train the kriging over a fill, and nothing else; never worse than the fill."""
        net = self.new_predictor()
        net.fill.load_state_dict(fill.state_dict())
        task = self.predictor_task(net, kriging=True)
        return net, self._guarded(task, "kriging", lr=KRIGING_LR)


class Trainer:
    """Trains on the material of a seed what is asked for, once.

    Args:
        run: Where networks are kept.
        folder: Folder for them, relative to the run.
        key: Hash of everything that all stages depend on.
        job: The training.
        material: What is learnt from.
        device: Where.
        start: An observer to start from, or None.
        progress: Called with ticks.
    """

    def __init__(
        self, run: Run, folder: str, key: str, job: TrainJob, material: Material,
        *, device: torch.device, start: Observer | None, progress: ProgressFn | None,
    ) -> None:  # fmt: skip
        self.job, self.material, self.device = job, material, device
        self._run, self._folder, self._key, self._start = run, folder, key, start
        self._progress = progress
        self._found: dict[str, tuple[Any, dict[str, Any]]] = {}

    @property
    def supervision(self) -> str:
        """Return what the sampler of "ours" learns: without concepts there is nothing to blend."""
        asked = self.job.supervision
        return "surprise" if asked == "blend" and asked not in self.forms else asked

    @cached_property
    def forms(self) -> list[str]:
        """The forms of supervision that there is evidence for."""
        return self._stages("").forms()

    @cached_property
    def supervised(self) -> Supervised:
        """Targets of the training and validation scenes."""
        return self._stages("").supervised(self.fill(), self._strength())

    def fill(self, kind: str = "") -> Fill:
        """Return a fill, "linear" or "conv"; that of the job if none is named."""
        kind = kind or self.job.fill
        stages = self._stages(f"fill {kind}", fill=kind)
        return self._stage(f"fill {kind}", stages.new_fill, stages.fill)[0]

    def sampler(self, supervision: str = "") -> Sampler:
        """Return the sampler of a form of supervision; that of the job if none is named."""
        form = supervision or self.supervision
        if form not in self.forms:
            raise Skipped(f"no evidence for the supervision {form!r}: no labels, or no concepts")
        name = f"sampler {form}"
        stages = self._stages(name)
        return self._stage(name, stages.new_sampler, lambda: stages.sampler(form, self.supervised))[
            0
        ]

    def predictor(self, form: str = "", *, init: bool = False) -> Predictor:
        """Return a predictor after both stages, masks of stage II by the sampler of the job.

        Args:
            form: Name in `FORMS` or `BLIND`; that of the job if none is named.
            init: Whether it starts from another observer.
        """
        second = self._second(form, init=init)
        return second.predictor if isinstance(second, Aligned) else second

    def to_text(self) -> ToText | None:
        """Return the way from the space of "ours" to that of the texts; None without texts."""
        second = self._second() if self.job.align == "siglip" else None
        if isinstance(second, Aligned):
            return second.text_map()
        return None if self.material.texts is None else self.material.texts.way

    def check_texts(self) -> None:
        """Check that there is what scenes are aligned with.

        Raises:
            DataError: See `Stages.matches`.
        """
        self._stages("").matches()

    def _second(self, form: str = "", *, init: bool = False) -> Predictor | Aligned:
        """Return a predictor after stage II: with its way to the texts where the job aligns it."""
        form = form or self.job.form
        made = BLIND[form] if form in BLIND else form_of(form)
        name = f"predictor {form}{' init' if init else ''}"
        stages = self._stages(name, made=made)
        start = self._start.predictor if init and self._start is not None else None
        first = self._stage(
            name, stages.new_predictor, lambda: stages.predictor(self.fill(), start)
        )[0]
        second = self._stages(f"{name} II", made=made)
        if self.job.align == "siglip":
            return self._stage(
                f"{name} II", second.new_aligned,
                lambda: second.aligned(first, self.sampler()), self.supervision,
            )[0]  # fmt: skip
        return self._stage(
            f"{name} II", stages.new_predictor,
            lambda: second.second(deepcopy(first), self.sampler()), self.supervision,
        )[0]  # fmt: skip

    def validation_scores(self, sampler: Sampler) -> NDArray[np.float64]:
        """Return (n,) scores of the tiles of the validation scenes."""
        return self._stages("").validation_scores(sampler, self.fill())

    def depth(self, blocks: int) -> Predictor:
        """Return a predictor of the job's form with a number of blocks, after stage I."""
        material = self.material
        shape = replace(material.shape, depth=blocks)
        name = f"predictor {self.job.form} depth {blocks}"
        stages = replace(self._stages(name), material=replace(material, shape=shape))
        return self._stage(name, stages.new_predictor, lambda: stages.predictor(self.fill()))[0]

    def kriging(self) -> Predictor:
        """Return a predictor whose blocks add nothing."""
        stages = self._stages("kriging", made=FORMS["kriged"])
        return self._stage("kriging", stages.new_predictor, lambda: stages.kriging(self.fill()))[0]

    def patchdrop(self) -> Sampler:
        """Return a PatchDrop policy for the observed share of the job."""
        job, name = self.job, f"patchdrop {self.job.obr:g}"
        if self.material.labels is None or self.material.known is None:
            raise Skipped("PatchDrop is rewarded for concepts that are told right: no labels")

        def work() -> tuple[Sampler, dict[str, Any]]:
            net, history = train_patchdrop(
                self.material, job.obr, self.device, job.seed, fill=self.fill(),
                strength=self._strength(),
                settings=replace(PATCHDROP, epochs=max(1, round(_PATCHDROP * job.epochs))),
                checkpoint=self._checkpoint, progress=self._progress,
            )  # fmt: skip
            return net, {"epochs": history.epochs, "best": history.best}

        new = new_policy(self.material.shape, job.seed, job.obr).sampler
        return self._stage(name, lambda: new, work)[0]

    def kept(self, way: str) -> bool | None:
        """Say whether what was trained for a way of completing is used.

        What is no better on the validation scenes than what it started from is put back.

        Args:
            way: See `Cell`; its networks have been asked for.

        Returns:
            None where nothing is trained for it but the fill.
        """
        name, _, option = way.partition(":")
        form = option or self.job.form
        last = f"predictor {form}{' init' if name == 'init' else ''}"
        stages = {
            "conv": ["fill conv"], "kriging": ["kriging"], "ours": [last, f"{last} II"],
            "form": [last, f"{last} II"], "init": [last, f"{last} II"],
            "depth": [f"predictor {self.job.form} depth {option}"],
        }.get(name)  # fmt: skip
        if stages is None:
            return None
        facts = [self._found[stage][1] for stage in stages]
        # What is aligned with texts stays as it is: there is nothing to compare it with.
        return any(f.get("blocks", f.get("conv", f)).get("kept", True) for f in facts)

    @property
    def _checkpoint(self) -> Path:
        return self._run.path / self._folder / "checkpoint.pt"

    def _strength(self) -> float:
        self.fill()
        return self._found[f"fill {self.job.fill}"][1]["strength"]

    def _stages(self, name: str, *, made: Form | None = None, fill: str = "") -> Variant:
        job = self.job.model_copy(update={"fill": fill}) if fill else self.job
        key = f"{self._key}/{name}"
        return Variant(
            self.material, job, self.device, key, self._checkpoint, self._progress, made,
        )  # fmt: skip

    def _stage[Net: torch.nn.Module](
        self, name: str, new: Callable[[], Net], work: Callable[[], tuple[Net, dict[str, Any]]],
        supervision: str = "",
    ) -> tuple[Net, dict[str, Any]]:  # fmt: skip
        """Do a stage unless it is done, and return its network and what is known of it.

        Where masks are drawn by a sampler the stage depends on its supervision.
        """
        if name in self._found:
            return self._found[name]
        stem = f"{self._folder}/{name.replace(' ', '-')}"
        key, step = digest([self._key, name, supervision]), f"train {self._folder} {name}"
        net, facts = keep(
            self._run, step, key, stem=stem, new=new, work=work, checkpoint=self._checkpoint
        )
        self._found[name] = net.to(self.device), facts
        return self._found[name]
