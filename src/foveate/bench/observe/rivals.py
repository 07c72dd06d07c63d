"""Further rows of the paper's tables: SAR, LR instead of HR, and tuned heads.

SAR, scale-aware recognition (Revankar et al. 2025): HR tiles are classified from HR, others by a
student on LR that was distilled from the HR classifiers. Concepts for which LR is sufficient are
always predicted from LR.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.bench.conditions import Skipped
from foveate.bench.observe.baselines import lr_features, needs_hr
from foveate.errors import ParameterError
from foveate.models.heads import read_names
from foveate.observe import dense
from foveate.observe.features import resample_tokens
from foveate.observe.networks.heads import LabelHead, fit_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.bench.observe.baselines import Distilled
    from foveate.observe.data.concepts import Concept
    from foveate.observe.observer import Observer
    from foveate.observe.training.dataset import TrainingData
    from foveate.observe.training.trial import Trial

_CALLABLE = "python:"
_SCALES = ("lr", "hr")


def scale_decision(
    given: str | None, concepts: Sequence[Concept], gsd: float | None
) -> NDArray[np.bool_]:
    """Return the mask of concepts that need HR, for which SAR asks a language model.

    Args:
        given: A file (YAML, TOML or JSON) that maps each concept to "lr" or "hr"; or
            ``python:MODULE:FUNCTION``, a function from its name to one of them; or None: by
            `Concept.min_gsd`.
        concepts: K concepts.
        gsd: GSD of LR in metres, or None.

    Returns:
        (K,) bool.

    Raises:
        ParameterError: The file or function is missing, or gives no valid scale of a concept.
    """
    if given is None:
        return needs_hr(concepts, gsd)
    names = [concept.name for concept in concepts]
    if given.startswith(_CALLABLE):
        decide = _function(given)
        scales = {name: decide(name) for name in names}
    else:
        scales = _file(given)
    missing = [name for name in names if name not in scales]
    if missing:
        raise ParameterError(
            f"--scales {given} has no scale for {missing[0]!r}",
            f"It must have a scale for each of {', '.join(names)}.",
            f"Add {missing[0]}: hr.",
        )
    for name in names:
        if scales[name] not in _SCALES:
            raise ParameterError(
                f"--scales {given} has the scale {scales[name]!r} for {name!r}",
                "Allowed: lr, hr.",
            )
    return np.array([scales[name] == "hr" for name in names], bool)


def _function(given: str) -> Any:
    module, _, name = given.removeprefix(_CALLABLE).partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"--scales {given}: {error}",
            "It must be python:MODULE:FUNCTION; the function must return lr or hr for a name.",
        ) from error


def _file(given: str) -> Mapping[str, Any]:
    path = Path(given)
    if not path.is_file():
        raise ParameterError(
            f"the file {given!r} does not exist",
            "--scales must be a file or python:MODULE:FUNCTION.",
        )

    def read(content: Any) -> Mapping[str, Any]:
        if not isinstance(content, dict):
            raise ParameterError(
                "a list of names", "It must map each name to lr or hr.", "Write forest: lr."
            )
        return content

    return read_names(path, read, "scales", "'name: lr' or 'name: hr'")


def hr_head(material: TrainingData) -> LabelHead:
    """Fit classifiers to the HR tokens of the training tiles, as SAR (only HR)."""
    if material.known is None or material.labels is None:
        raise Skipped("The pairs have no labels for classifiers.")
    rows = material.tiles(material.scenes("train"))
    return fit_labels(material.means(rows), material.known[rows], material.labels.names)


def sar_logits(
    trial: Trial, distilled: Distilled, head: LabelHead, chosen: NDArray[np.bool_],
    needed: NDArray[np.bool_],
) -> NDArray[np.floating]:  # fmt: skip
    """Return (n, K) logits: of HR if it was observed and is needed, else of the student on LR.

    Args:
        trial: The test scenes.
        distilled: The LR models with the student.
        head: Classifiers on HR tokens.
        chosen: (n,) bool mask of observed tiles.
        needed: (K,) bool mask of concepts that need HR.
    """
    low = distilled.student.logits(lr_features(trial.lr, distilled.shape, trial.place))
    high = head.logits(trial.tile_means(trial.hr))
    return np.where(chosen[:, None] & needed, high, low)


def lr_in_hr_space(trial: Trial, observer: Observer, *, whole: bool) -> NDArray[np.float32]:
    """Return LR tokens in the space of HR tokens, (m, R * k, C * k, d).

    The projection of LR tokens is inverted, up to its components, and that of HR tokens applied.

    Args:
        trial: The test scenes.
        observer: Observer with both projections.
        whole: Whether each tile gets the mean of its scene instead of its own tokens.

    Raises:
        Skipped: LR and HR have different encoders or token lengths.
    """
    low, high = observer.lr, observer.hr
    wide, narrow = len(low.mean), len(high.mean)
    same = observer.record.encoders["lr"].name == observer.record.encoders["hr"].name
    if not same or wide not in (narrow, 2 * narrow):
        raise Skipped("LR features instead of HR need the same encoder for both.")
    tokens = trial.lr * low.scale @ low.basis.T + low.mean
    tokens = high(tokens[..., :narrow])  # without the part of the neighbours
    side = trial.material.shape.hr_side
    rows, cols = (n * side for n in trial.valid.shape[1:])
    resampled = resample_tokens(tokens, (rows, cols))
    if whole:
        weight = trial.valid.repeat(side, axis=1).repeat(side, axis=2)[..., None]
        mean = (resampled * weight).sum((1, 2), keepdims=True) / weight.sum((1, 2), keepdims=True)
        resampled = np.broadcast_to(mean, resampled.shape)
    return np.ascontiguousarray(resampled, np.float32)


def tuned_head(material: TrainingData, observer: Observer, share: float) -> LabelHead:
    """Fit classifiers to completed training scenes, at an observed share selected by the sampler.

    The supervised retrieval of the paper (Table 2): heads are fine-tuned on the retrieved
    representation. The predictor was trained on these scenes, so their completion is better than
    that of new scenes.

    Raises:
        Skipped: There are no labels.
    """
    if material.known is None or material.labels is None:
        raise Skipped("The pairs have no labels for classifiers.")
    train = material.scenes("train")
    part, place = material.data.take(train), material.places(train)
    lr, hr = part.lr.float().numpy(), part.hr.float().numpy()
    raw = np.where(part.valid, observer.scores(lr).raw, -np.inf)
    limit = np.quantile(raw[part.valid], 1 - share)
    tokens = observer.complete(lr, hr, (raw > limit) & part.valid).tokens
    means = dense.from_grids(dense.to_tiles(tokens, material.shape.hr_side).mean(axis=3), place)
    return fit_labels(means, material.known[material.tiles(train)], material.labels.names)


def predicted(observer: Observer, predictor: Any, trial: Trial, observed: NDArray[np.bool_]) -> Any:
    """Return the predictions for all tiles, including observed ones: H of Eq. 3."""
    observer = observer if predictor is None else replace(observer, predictor=predictor)
    return observer.complete(trial.lr, trial.hr, observed, passthrough=False).tokens
