"""Training of a scorer: a network learns the four scores of looks that compute them.

No labels are needed. The seed splits the images into training, validation (selects the epoch) and
test (evaluates the scorer).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError
from foveate.focus.allowance import budget_limits
from foveate.focus.config import FocusConfig, SearchConfig, find_goal
from foveate.focus.learned import LearnedScorer, answers_of, make_about
from foveate.focus.look import look_at
from foveate.focus.partition import areas
from foveate.focus.question import make_question
from foveate.focus.search import EQUAL
from foveate.grid import Grid, Tiles, Window
from foveate.models.embed import bind
from foveate.models.fit import FitSettings, fit
from foveate.models.runtime import resolve_device
from foveate.pool.folder import open_pool
from foveate.pool.pool import Pool, Scene
from foveate.progress import Meter
from foveate.raster import given_source
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.focus.config import Goal, Mode
    from foveate.focus.feature_cache import FeatureCache
    from foveate.focus.look import Look
    from foveate.focus.question import FocusQuestion
    from foveate.focus.refine import State
    from foveate.models.base import ModelHandle
    from foveate.models.capabilities import Model
    from foveate.models.fit import History
    from foveate.models.heads import Head, LabelsGiven
    from foveate.models.scorer_net import ScoredCells
    from foveate.progress import ProgressFn
    from foveate.raster import Source

Preset = Literal["default", "paper"]

PRESETS: dict[Preset, FitSettings] = {
    "default": FitSettings(epochs=30, batch_size=8, weight_decay=0.01),
    # Appendix D: Adam, momentum 0.8 (used as the first beta), decay 1e-4, rate 0.1.
    "paper": FitSettings(
        epochs=30, batch_size=8, learning_rate=0.1, weight_decay=1e-4, warmup=0.0,
        schedule="constant", betas=(0.8, 0.999), clip=0.0, optimiser="adam",
    ),
}  # fmt: skip

LEAST = 3  # minimum number of images: one each for training, validation and test

_MOMENTS = 8  # training states of a search; neighbouring states differ little

_VAL, _TEST = 0.15, 0.2  # shares of the images


@dataclass(frozen=True)
class Example:
    """Computed scores of one image.

    Attributes:
        cells: The frontier at up to eight states of the search, in order, including the final one.
        regions: Encoded windows of the selected regions.
        passes: Passes of the look.
    """

    cells: tuple[ScoredCells, ...]
    regions: tuple[Window, ...]
    passes: float


@dataclass(frozen=True)
class Split:
    """Train, validation and test split of images.

    Attributes:
        train: Indices of the training images.
        val: Indices of the images that select the epoch.
        test: Indices of the test images.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]

    @classmethod
    def draw(cls, count: int, seed: int) -> Split:
        """Split `count` images.

        Raises:
            DataError: There are fewer than three.
        """
        if count < LEAST:
            raise DataError(
                f"{count} images to train a scorer on",
                f"At least {LEAST} are required: one each for training, validation and test.",
                "Add images, or split one into several.",
            )
        order = rng(seed, "focus/scorer/split").permutation(count).tolist()
        test = max(1, round(_TEST * count))
        val = test + max(1, round(_VAL * count))
        return cls(*(tuple(sorted(p)) for p in (order[val:], order[test:val], order[:test])))


def measured_config(config: FocusConfig) -> FocusConfig:
    """Return the configuration of the looks that a scorer learns from, with the robustness."""
    return replace(config, robust=True) if config.robust is None else config


def make_example(
    source: Source,
    model: Model,
    question: FocusQuestion,
    config: FocusConfig,
    *,
    scene: str = "image",
    cache: FeatureCache | None = None,
) -> Example:
    """Run a look with all four scores computed; see `look_at` for arguments and errors."""
    states: list[ScoredCells] = []
    result = look_at(
        source, model, question, measured_config(config), scene=scene, cache=cache,
        watch=lambda state: states.append(scored_cells(state)),
    )  # fmt: skip
    kept = np.unique(np.linspace(0, len(states) - 1, _MOMENTS).round().astype(int))
    return Example(tuple(states[i] for i in kept), result.windows, result.passes)


def scored_cells(state: State) -> ScoredCells:
    """Return the inputs and targets of the network for one state of a search."""
    from foveate.models.scorer_net import ScoredCells

    area = areas(state.tiles)
    return ScoredCells(
        np.asarray(state.features.x, np.float32), area / area.sum(),
        np.asarray(state.tiles.level, np.int64), state.scorer.singles,
    )  # fmt: skip


def part_weights(goal: Goal, measured: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the weights of Eq. 7, 0 for scores that were not computed: (4,)."""
    w = goal.weights
    weights = np.array([1.0, w.representativeness, w.robustness, w.synergy])
    return np.where(measured, weights, 0.0)


def train(
    examples: Sequence[Example],
    split: Split,
    model: Model,
    question: FocusQuestion,
    config: FocusConfig,
    *,
    settings: FitSettings,
    device: str = "auto",
    checkpoint: Path | None = None,
    key: str = "",
    progress: ProgressFn | None = None,
) -> tuple[LearnedScorer, History]:
    """Train the network.

    Args:
        examples: One per image.
        split: Split of the images.
        model: The encoder.
        question: Classes and query.
        config: Configuration of the looks.
        settings: Settings of the training.
        device: Device of the training.
        checkpoint: See `foveate.models.fit.fit`.
        key: Hash of the examples.
        progress: Called with ticks.

    Returns:
        A scorer without measures, and the history of the training.

    Raises:
        DataError: The training diverges.
    """
    from foveate.models.scorer_net import ScorerTask

    learnt = [cells for i in split.train for cells in examples[i].cells]
    measured = ~np.isnan(learnt[0].parts).any(axis=0)
    task = ScorerTask(
        learnt, [examples[i].cells[-1] for i in split.val],
        weights=part_weights(config.goal, measured), equal=EQUAL, seed=settings.seed,
        device=resolve_device(device),
    )  # fmt: skip
    history = fit(
        task, settings, checkpoint=checkpoint, key=key, title="training the scorer",
        progress=progress,
    )  # fmt: skip
    about = make_about(config.goal, config, question, measured)
    answers = answers_of(question, model.spec.dim)
    return LearnedScorer(task.net.cpu().eval(), model.spec, about, answers), history


def measure(
    scorer: LearnedScorer,
    examples: Sequence[Example],
    looks: Sequence[Look],
    config: FocusConfig,
) -> dict[str, Any]:
    """Evaluate a scorer on images that it was not trained on.

    Args:
        scorer: The scorer.
        examples: Computed scores of those images (the reference).
        looks: Looks at the same images with the scorer.
        config: Configuration of the looks.

    Returns:
        Means over the images, JSON-ready. "spearman": rank correlation of predicted and computed
        importance over the cells of the final frontier of the reference. "recall": share of the K
        cells with the highest computed importance that are among the K with the highest predicted
        one; "recall_chance": the same for K random cells. "regions_shared": share of the area of
        the reference regions that a look with the scorer selected too, on its own cells;
        "area_share": the same for random regions. "passes" with the scorer, and "passes_engine"
        of the reference.
    """
    from foveate.models.scorer_net import correlation

    weights = part_weights(config.goal, np.array(scorer.about["measured"]))
    rows = []
    for example, look in zip(examples, looks, strict=True):
        cells = example.cells[-1]
        parts = scorer.predict(cells.x, cells.share, cells.level)
        sums = [np.nan_to_num(part) @ weights for part in (parts, cells.parts)]
        k = min(config.search.regions, len(cells.x))
        predicted, computed = (set(np.argsort(-s, kind="stable")[:k].tolist()) for s in sums)
        rows.append({
            "spearman": correlation(parts, cells.parts, weights),
            "recall": len(predicted & computed) / k,
            "recall_chance": k / len(cells.x),
            "regions_shared": shared_area(example.regions, look.windows),
            "area_share": _area(look.windows) / (look.info.shape[0] * look.info.shape[1]),
            "passes": look.passes,
            "passes_engine": example.passes,
        })  # fmt: skip
    means = {name: round(float(np.mean([row[name] for row in rows])), 6) for name in rows[0]}
    return {"images": len(rows), "regions": config.search.regions, **means}


def shared_area(windows: Sequence[Window], others: Sequence[Window]) -> float:
    """Return the share of the area of windows that others cover; neither may overlap itself."""
    total = 0
    for a in windows:
        for b in others:
            height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
            width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
            total += max(0, height) * max(0, width)
    return total / _area(windows)


def _area(windows: Sequence[Window]) -> int:
    return sum(w.h * w.w for w in windows)


def train_scorer(
    images: str | Path | Sequence[str | Path | Source | NDArray[Any]],
    model: ModelHandle | Model,
    *,
    labels: LabelsGiven | None = None,
    head: Head | None = None,
    query: str = "",
    goal: str | Goal | None = None,
    mode: Mode = "zoom",
    budget: Mapping[str, float | str | None] | None = None,
    search: SearchConfig | None = None,
    settings: FitSettings | Preset = "default",
    progress: ProgressFn | None = None,
    **config: Any,
) -> LearnedScorer:
    """Train a scorer on images without labels; `look(..., scorer=...)` then saves passes.

    Args:
        images: A folder, or files, arrays (c, h, w) or `Source`s; at least three.
        model: From `load_model`, or a model that embeds.
        labels: See `look`, also for head, query, goal, mode, budget and search.
        head: See `look`.
        query: See `look`.
        goal: See `look`.
        mode: See `look`.
        budget: See `look`.
        search: See `look`.
        settings: Settings of the training, or "default" (AdamW, 1e-3) or "paper" (Adam, 0.1).
        progress: Called with ticks.
        config: Other attributes of `FocusConfig`, and `templates`.

    Returns:
        The scorer with its measures on held-out images; `LearnedScorer.save` stores it.

    Raises:
        FoveateError: See `look`; or there are fewer than three images.
    """
    pool = _pool_of(images)
    split_seed = settings.seed if isinstance(settings, FitSettings) else 0
    split = Split.draw(len(pool.scenes), split_seed)
    bound = bind(model, pool)
    if goal is None:
        goal = "query" if query.strip() else "balanced"
    question = make_question(
        bound, labels=labels, head=head, query=query, templates=config.pop("templates", "rs")
    )
    limits, passes = budget_limits(budget)
    looking = FocusConfig(
        find_goal(goal) if isinstance(goal, str) else goal, mode=mode,
        search=replace(search or SearchConfig(), **limits), passes=passes, **config,
    )  # fmt: skip
    examples = []
    with Meter(progress, f"looking with {bound.spec.name}", len(pool.scenes)) as meter:
        for scene in pool.scenes:
            name = scene.scene_id
            examples.append(make_example(scene.source, bound, question, looking, scene=name))
            meter.advance()
    chosen = settings if isinstance(settings, FitSettings) else PRESETS[settings]
    scorer, _ = train(examples, split, bound, question, looking, settings=chosen, progress=progress)
    scored = replace(looking, robust=None)
    looks = [
        look_at(pool.scenes[i].source, bound, question, scored, scorer=scorer) for i in split.test
    ]
    measures = measure(scorer, [examples[i] for i in split.test], looks, looking)
    return replace(scorer, measures=measures)


def _pool_of(images: str | Path | Sequence[str | Path | Source | NDArray[Any]]) -> Pool:
    if isinstance(images, str | Path):
        return open_pool(images, split=(1, 1), measure=False)
    files = [str(one) for one in images if isinstance(one, str | Path)]
    if len(files) == len(images):
        return open_pool(files, split=(1, 1), measure=False)
    scenes = []
    for i, one in enumerate(images):
        if isinstance(one, str | Path):
            raise DataError("a mix of files and arrays", "Images must be all files, or all arrays.")
        scenes.append(Scene(f"image-{i}", given_source(one)))
    tiles = [Grid.split(s.source.info.shape, 1, 1).tiles(s.scene_id) for s in scenes]
    table = Tiles.concat(tiles)
    return Pool(ids=table.tile_id, scenes=tuple(scenes), tiles=table)
