"""Rows of the paper's tables beside policies and completions: SAR, LR in the place of HR, heads.

SAR, scale-aware recognition (Revankar et al. 2025): HR tiles are read by classifiers of HR, others
by a student of LR that was taught by them; concepts that LR suffices for are read from LR always.
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
from foveate.observe.heads import LabelHead, fit_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from foveate.bench.observe.baselines import Distilled
    from foveate.observe.concepts import Concept
    from foveate.observe.dataset import TrainingData
    from foveate.observe.observer import Observer
    from foveate.observe.trial import Trial

_CALLABLE = "python:"
_SCALES = ("lr", "hr")


def scale_decision(
    given: str | None, concepts: Sequence[Concept], gsd: float | None
) -> NDArray[np.bool_]:
    """Say for which concepts HR is needed, as SAR asks a language model concept by concept.

    Args:
        given: A file (YAML, TOML or JSON) from each concept to "lr" or "hr"; or
            ``python:MODULE:FUNCTION``, a function from its name to one of them; or None: by
            `Concept.min_gsd`.
        concepts: K concepts.
        gsd: Metres of an LR pixel, or None.

    Returns:
        (K,) bool.

    Raises:
        ParameterError: No such file or function, or it does not say so of every concept.
    """
    if given is None:
        return needs_hr(concepts, gsd)
    names = [concept.name for concept in concepts]
    if given.startswith(_CALLABLE):
        decide = _function(given)
        found = {name: decide(name) for name in names}
    else:
        found = _file(given)
    lost = [name for name in names if name not in found]
    if lost:
        raise ParameterError(
            f"--scales {given} says nothing of {lost[0]!r}",
            f"It names a scale for each of {', '.join(names)}.",
            f"{lost[0]}: hr",
        )
    for name in names:
        if found[name] not in _SCALES:
            raise ParameterError(
                f"--scales {given} says {found[name]!r} of {name!r}", "Allowed: lr, hr."
            )
    return np.array([found[name] == "hr" for name in names], bool)


def _function(given: str) -> Any:
    module, _, name = given.removeprefix(_CALLABLE).partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"--scales {given}: {error}",
            "The form is python:MODULE:FUNCTION; the function returns lr or hr for a name.",
        ) from error


def _file(given: str) -> Mapping[str, Any]:
    path = Path(given)
    if not path.is_file():
        raise ParameterError(
            f"there is no file {given!r}", "--scales names a file or python:MODULE:FUNCTION."
        )

    def read(content: Any) -> Mapping[str, Any]:
        if not isinstance(content, dict):
            raise ParameterError("a list of names", "It says lr or hr of each.", "forest: lr")
        return content

    return read_names(path, read, "scales", "'name: lr' or 'name: hr'")


def hr_head(material: TrainingData) -> LabelHead:
    """Fit classifiers to the HR tokens of the training tiles alone, as SAR (only HR)."""
    if material.known is None or material.labels is None:
        raise Skipped("no labels to fit classifiers to")
    rows = material.tiles(material.scenes("train"))
    return fit_labels(material.means(rows), material.known[rows], material.labels.names)


def sar_logits(
    trial: Trial, distilled: Distilled, head: LabelHead, chosen: NDArray[np.bool_],
    needed: NDArray[np.bool_],
) -> NDArray[np.floating]:  # fmt: skip
    """Return (n, K) logits: HR where it was observed and is needed, the student on LR elsewhere.

    Args:
        trial: The test scenes.
        distilled: Has the student.
        head: Classifiers on HR tokens.
        chosen: (n,) bool observed tiles.
        needed: (K,) bool concepts that LR does not suffice for.
    """
    low = distilled.student.logits(lr_features(trial.lr, distilled.shape, trial.place))
    high = head.logits(trial.tile_means(trial.hr))
    return np.where(chosen[:, None] & needed, high, low)


def lr_in_hr_space(trial: Trial, observer: Observer, *, whole: bool) -> NDArray[np.float32]:
    """Return LR tokens as if they were HR tokens, (m, R * k, C * k, d).

    The reduction of LR tokens is undone, as far as its components go, and that of HR tokens done.

    Args:
        trial: The test scenes.
        observer: Has both reductions.
        whole: Whether each tile gets the mean of its scene, in the place of its own tokens.

    Raises:
        Skipped: LR and HR are read by encoders with tokens of different length.
    """
    low, high = observer.lr, observer.hr
    wide, narrow = len(low.mean), len(high.mean)
    same = observer.record.encoders["lr"].name == observer.record.encoders["hr"].name
    if not same or wide not in (narrow, 2 * narrow):
        raise Skipped("LR features in the place of HR need one encoder for both")
    tokens = trial.lr * low.scale @ low.basis.T + low.mean
    tokens = high(tokens[..., :narrow])  # of a cell alone and with its neighbours, the first
    side = trial.material.shape.hr_side
    rows, cols = (n * side for n in trial.here.shape[1:])
    found = resample_tokens(tokens, (rows, cols))
    if whole:
        weight = trial.here.repeat(side, axis=1).repeat(side, axis=2)[..., None]
        mean = (found * weight).sum((1, 2), keepdims=True) / weight.sum((1, 2), keepdims=True)
        found = np.broadcast_to(mean, found.shape)
    return np.ascontiguousarray(found, np.float32)


def tuned_head(material: TrainingData, observer: Observer, share: float) -> LabelHead:
    """Fit classifiers to the completed training scenes, at an observed share, by the sampler.

    The supervised retrieval of the paper (Table 2): heads are fine-tuned on the representation that
    is searched. The predictor has seen these scenes, so that they look better than new ones.

    Raises:
        Skipped: There are no labels.
    """
    if material.known is None or material.labels is None:
        raise Skipped("no labels to fit classifiers to")
    train = material.scenes("train")
    part, place = material.data.take(train), material.places(train)
    lr, hr = part.lr.float().numpy(), part.hr.float().numpy()
    raw = np.where(part.here, observer.scores(lr).raw, -np.inf)
    limit = np.quantile(raw[part.here], 1 - share)
    tokens = observer.complete(lr, hr, (raw > limit) & part.here).tokens
    means = dense.from_grids(dense.to_tiles(tokens, material.shape.hr_side).mean(axis=3), place)
    return fit_labels(means, material.known[material.tiles(train)], material.labels.names)


def predicted(observer: Observer, predictor: Any, trial: Trial, seen: NDArray[np.bool_]) -> Any:
    """Return what a predictor makes of all tiles, observed ones too: H of Eq. 3."""
    own = observer if predictor is None else replace(observer, predictor=predictor)
    return own.complete(trial.lr, trial.hr, seen, passthrough=False).tokens
