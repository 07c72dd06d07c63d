"""The train-scorer job: train a scorer for ``--scorer`` on images without labels.

Each image is a step of the run, and so is the training, which resumes from its checkpoint. The run
stores features as the look job does: another goal costs new passes only.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from foveate.errors import StorageError
from foveate.files import digest, read_json, read_parquet, write_json, write_parquet
from foveate.focus import store
from foveate.focus.distil import (
    PRESETS,
    Example,
    Preset,
    Split,
    make_example,
    measure,
    measured_config,
    train,
)
from foveate.focus.feature_cache import image_features
from foveate.focus.job import LookJob
from foveate.focus.look import look_allowance, look_at
from foveate.focus.steps import announce, image_keys, name_image_in_errors, save_scenes
from foveate.grid import Window
from foveate.models.embed import bind
from foveate.models.extras import EXTRAS, need_extra
from foveate.models.runtime import resolve_device
from foveate.pool.scan import OnError  # noqa: TC001  (pydantic reads it)
from foveate.progress import Meter
from foveate.run.options import Option
from foveate.tables import rows_to_column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from foveate.focus.config import FocusConfig
    from foveate.focus.feature_cache import FeatureCache
    from foveate.focus.learned import LearnedScorer
    from foveate.focus.look import Look
    from foveate.focus.question import FocusQuestion
    from foveate.models.capabilities import Model
    from foveate.models.fit import FitSettings
    from foveate.pool.pool import Scene
    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # incremented when the weights or measures of the same inputs change
MODEL, CHECKPOINT = "model", "training/checkpoint.pt"
HISTORY, MEASURES = "training/history.json", "tables/measures.json"

_TRAINING_OPTIONS = ("preset", "epochs", "learning_rate", "replace")  # looks do not depend on them


class TrainScorerJob(LookJob):
    """Train a small network to predict the scores of looks, so that looks take fewer passes."""

    task = "train-scorer"
    absent = LookJob.absent | {"scorer", "on_error"}
    on_error: OnError = "stop"
    robust: Annotated[bool | None, Option("Method", default="yes")] = None
    """Compute the robustness too, which the scorer then predicts without a second view."""
    preset: Annotated[Preset, Option("Training")] = "default"
    """default (AdamW, rate 0.001) or paper (Adam, rate 0.1, betas 0.8 and 0.999)."""
    epochs: Annotated[int | None, Option("Training", default="the preset's: 30")] = Field(
        None, ge=1
    )
    """Passes over the training images."""
    learning_rate: Annotated[float | None, Option("Training", default="the preset's")] = Field(
        None, gt=0
    )
    """Maximum learning rate."""
    replace: Annotated[bool, Option("Output")] = False
    """Replace a scorer of the run that was trained with other options."""

    def settings(self) -> FitSettings:
        """Return the settings of the training."""
        given = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        stated = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(PRESETS[self.preset], seed=self.seed, **stated)

    def check(self) -> Any:
        """Return the configuration, the model and the images; reads headers only."""
        need_extra(EXTRAS["tuned"], "training a scorer")
        ready = super().check()
        Split.draw(len(ready.pool.scenes), self.seed)
        resolve_device(self.device)
        return ready

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:
        """Look at each image, train on most of them, and evaluate on the others."""
        pool, scenes, config = ready.pool, ready.pool.scenes, ready.config
        model, question = self.asked(ready, bind(ready.handle, pool, run=run))
        save_scenes(run, pool)
        state = [VERSION, *self.state(ready.inputs[1])]
        keys = image_keys(self, state, pool, model, _TRAINING_OPTIONS)
        settings, split = self.settings(), Split.draw(len(scenes), self.seed)
        images = _Images(run, scenes, model, question, config)
        images.make(keys, progress)
        key = digest([VERSION, settings.key(), [run.key(_step(scene)) for scene in scenes]])
        if not self.replace:
            _check_same_options(run, key)

        def learn() -> list[str]:
            examples = [load_example(run.path, scene.scene_id) for scene in scenes]
            scorer, history = train(
                examples, split, model, question, config, settings=settings, device=self.device,
                checkpoint=run.path / CHECKPOINT, key=key, progress=progress,
            )  # fmt: skip
            looks = [images.look(i, scorer) for i in split.test]
            measures = measure(scorer, [examples[i] for i in split.test], looks, config)
            files = dataclasses.replace(scorer, measures=measures).save(run.path / MODEL)
            write_json(run.path / HISTORY, vars(history))
            write_json(run.path / MEASURES, measures)
            (run.path / CHECKPOINT).unlink(missing_ok=True)
            return [*(str(file.relative_to(run.path)) for file in files), HISTORY, MEASURES]

        run.do("train", key, learn)
        history = read_json(run.path / HISTORY)
        return {
            "pool": pool.describe(),
            "model": model.spec.to_dict(),
            "images": {name: len(part) for name, part in vars(split).items()},
            "training": {
                "preset": self.preset, "epochs": len(history["epochs"]),
                "best_epoch": history["best"],
            },
            "goal": self.goal,
            "mode": self.mode,
            "measures": read_json(run.path / MEASURES),
            "seed": self.seed,
        }  # fmt: skip


class _Images(NamedTuple):
    """The images of a run, with the model and configuration of their looks."""

    run: Run
    scenes: Sequence[Scene]
    model: Model
    question: FocusQuestion
    config: FocusConfig

    def make(self, keys: dict[str, str], progress: ProgressFn | None) -> None:
        """Compute the scores of each image, and store them as a step of the run."""
        run, config = self.run, measured_config(self.config)
        todo = [s for s in self.scenes if not run.done(_step(s), keys[s.scene_id])]
        shapes = {scene.scene_id: scene.source.info.shape for scene in todo}
        announce({name: look_allowance(s, self.model, config) for name, s in shapes.items()})
        title = f"looking with {self.model.spec.name}"
        with Meter(progress, title, len(self.scenes)) as meter:
            for scene in self.scenes:

                def work(scene: Scene = scene) -> list[str]:
                    with self._features(scene) as cache:
                        example = make_example(
                            scene.source, self.model, self.question, config, scene=scene.scene_id,
                            cache=cache,
                        )  # fmt: skip
                    return save_example(run.path, scene.scene_id, example)

                with name_image_in_errors(scene.scene_id, many=True):
                    run.do(_step(scene), keys[scene.scene_id], work)
                meter.advance()

    def look(self, number: int, scorer: LearnedScorer) -> Look:
        """Run a look with the scorer."""
        scene, config = self.scenes[number], dataclasses.replace(self.config, robust=None)
        with self._features(scene) as cache:
            return look_at(
                scene.source, self.model, self.question, config, scene=scene.scene_id,
                cache=cache, scorer=scorer,
            )  # fmt: skip

    def _features(self, scene: Scene) -> AbstractContextManager[FeatureCache | None]:
        seed = self.config.search.seed
        return image_features(self.run.path, scene.source.info, self.model, seed)


def _step(scene: Scene) -> str:
    return f"scores {scene.scene_id}"


def _check_same_options(run: Run, key: str) -> None:
    """Check that the run has no scorer that was trained with other options.

    Raises:
        StorageError: It has.
    """
    if run.key("train") not in ("", key) and (run.path / MODEL).exists():
        raise StorageError(
            f"the run {str(run.path)!r} has a scorer that was trained with other options",
            "It is not overwritten by default.",
            "Choose another --out, or type --replace: the stored features are reused.",
        )


def save_example(path: Path, scene: str, example: Example) -> list[str]:
    """Write the training example of an image, and return the files relative to the run."""
    import pyarrow as pa

    name = store.file_name(scene)
    cells = example.cells
    table = pa.table({
        "moment": np.repeat(np.arange(len(cells)), [len(one.x) for one in cells]),
        "share": np.concatenate([one.share for one in cells]),
        "level": np.concatenate([one.level for one in cells]),
        "parts": rows_to_column(np.concatenate([one.parts for one in cells])),
        "x": rows_to_column(np.concatenate([one.x for one in cells])),
    })  # fmt: skip
    write_parquet(path / f"scores/{name}.parquet", table)
    about = {"regions": [list(w) for w in example.regions], "passes": example.passes}
    write_json(path / f"scores/{name}.json", about)
    return [f"scores/{name}.parquet", f"scores/{name}.json"]


def load_example(path: Path, scene: str) -> Example:
    """Read a training example written by `save_example`."""
    from foveate.models.scorer_net import ScoredCells

    name = store.file_name(scene)
    table = read_parquet(path / f"scores/{name}.parquet")
    about = read_json(path / f"scores/{name}.json")
    moment, share, level = (table[n].to_numpy() for n in ("moment", "share", "level"))
    x, parts = (
        np.stack(table[n].to_numpy(zero_copy_only=False)).reshape(len(table), -1)
        for n in ("x", "parts")
    )
    cells = tuple(
        ScoredCells(x[rows], share[rows], level[rows], parts[rows])
        for rows in (moment == m for m in range(int(moment.max()) + 1))
    )
    return Example(cells, tuple(Window(*w) for w in about["regions"]), about["passes"])
