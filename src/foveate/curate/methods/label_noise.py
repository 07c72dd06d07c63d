"""Label noise: rank patches by their share of wrong labels (the task of the MVEO 2024 challenge).

A linear probe on dense features, fitted to other scenes, predicts the class of each cell of a
patch; labels with a low probability are wrong, or of content that is new to the probe. Confident
learning (Northcutt, Jiang and Chuang 2021) cleans the labels that the probe is fitted to again, and
the score of a patch is the maximum-likelihood share of wrong labels: see
`foveate.select.label_errors`.

1. Up to 20,000 labelled pixels are drawn uniformly; the probe of each fold is fitted to those of
   the other folds.
2. First round: the thresholds and the joint distribution of confident learning give the probability
   that each drawn label is correct, and the probes are fitted again with these as weights.
3. Optional further rounds: the same with the share of each patch instead of the joint distribution.
4. The shares by the last probes are the scores.

Errors within a scene are often similar (a shifted mask, another annotator). So folds consist of
whole scenes if there are at least four scenes per fold. With fewer scenes, the others are not
representative of a scene, and folds consist of strips of neighbouring tiles. Classes that the probe
of a fold was not fitted to cannot be evaluated there: their pixels do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.progress import Meter
from foveate.registry import check_choice
from foveate.seeds import rng, tie_keys
from foveate.select.cell_probe import CellProbe, Components, draw_pixels, totals
from foveate.select.label_errors import confident_joint, kept_shares, wrong, wrong_shares
from foveate.select.sampling import order_by_score
from foveate.select.threads import one_thread
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

PIXELS = 20_000  # largest number of labelled pixels that the probes are fitted to
_PER_FOLD = 4  # smallest number of scenes, or number of strips of tiles, in a fold
_BLOCK = 2**22  # numbers in a block of tiles


def label_noise(
    *,
    ids: NDArray[np.str_],
    tokens: NDArray[np.floating],
    cells: NDArray[np.integer],
    seed: int,
    progress: ProgressFn | None = None,
    order: str = "noisy",
    folds: int = 5,
    rounds: int = 1,
) -> Ranking:
    """Rank by the estimated share of wrong labels.

    Args:
        ids: (n,) str; the part before the last "/" is the scene.
        tokens: (n, t, d) features of the cells of each patch.
        cells: (n, t, C) labelled pixels of these cells by class.
        seed: Seed of the drawn pixels and of the folds; breaks ties.
        progress: Called with ticks.
        order: "noisy" for the worst labels first, "clean" for the best.
        folds: Number of folds; each is evaluated by a probe of the others.
        rounds: Number of times that labels are weighted and the probes fitted again, 0 or more.
            With 2 or more, random errors are found better, and confusions between similar classes
            worse.

    Returns:
        Full ranking. Scores with "noisy": estimated share of labelled pixels of a patch with a
        wrong label, from 0 to 1; with "clean" 1 minus that. NaN, and last, if a patch cannot be
        evaluated: it has no labels, or none of a class in other folds, or the pool has one patch.
        ``meta["wrong_share"]`` is the share over all evaluated pixels, None if there are none;
        ``meta["judged"]`` the number of evaluated patches.

    Raises:
        ParameterError: An option is out of range.
    """
    check_choice("order", order, ("noisy", "clean"))
    if folds < 2:
        raise ParameterError(f"folds={folds}", "It must be at least 2, for cross-validation.")
    if rounds < 0:
        raise ParameterError(f"rounds={rounds}", "Allowed: 0 or more.")
    pixels = _pixels(cells)
    fold, by = divide(ids, pixels, folds, seed)
    share, seen = np.full(len(ids), np.nan), pixels > 0
    if np.unique(fold[seen]).size > 1:
        with one_thread(), Meter(progress, "judging labels", len(ids) * max(1, rounds)) as meter:
            share = _estimated(tokens, cells, np.flatnonzero(seen), fold, seed, rounds, meter)
    known = np.isfinite(share)
    meta: dict[str, Any] = {
        "wrong_share": float(np.average(share[known], weights=pixels[known]))
        if known.any() else None,
        "judged": int(known.sum()), "folds_of": by,
    }  # fmt: skip
    score = share if order == "noisy" else 1 - share
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], len(ids), meta=meta)


def divide(
    ids: NDArray[np.str_], pixels: NDArray[np.int64], folds: int, seed: int
) -> tuple[NDArray[np.int64], str]:
    """Divide patches into folds with similar numbers of labelled pixels.

    Args:
        ids: (n,) str in sorted order.
        pixels: (n,) number of labelled pixels.
        folds: Largest number of folds.
        seed: Seed of the order in which scenes or strips are assigned.

    Returns:
        (n,) number of the fold, and the unit of the folds: "scenes" or "strips".
    """
    scene = np.array([str(name).rpartition("/")[0] for name in ids], np.str_)
    names, group = np.unique(scene, return_inverse=True)
    by = "scenes" if np.unique(group[pixels > 0]).size >= folds * _PER_FOLD else "strips"
    if by == "strips":
        count = min(len(ids), folds * _PER_FOLD)
        group, names = np.arange(len(ids)) * count // len(ids), np.arange(count).astype(np.str_)
    weight = np.bincount(group, pixels, minlength=names.size)
    filled, fold = np.zeros(min(folds, names.size)), np.zeros(names.size, np.int64)
    for one in np.argsort(tie_keys(names, seed, "label-noise/folds"), kind="stable").tolist():
        fold[one] = filled.argmin()
        filled[fold[one]] += weight[one]
    return fold[group], by


def _pixels(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    step = _rows(cells)
    parts = [cells[i : i + step].sum(axis=(1, 2)) for i in range(0, len(cells), step)]
    return np.concatenate(parts).astype(np.int64)


def _rows(*arrays: NDArray[Any]) -> int:
    """Return the number of tiles in a block of these arrays."""
    return max(1, _BLOCK // max(1, *(int(np.prod(a.shape[1:])) for a in arrays)))


@dataclass(frozen=True)
class _Drawn:
    """Drawn pixels: row of the tile, features of the cell, class; and the fold of each tile."""

    row: NDArray[np.int64]
    z: NDArray[np.float32]
    y: NDArray[np.int64]
    fold: NDArray[np.int64]


@dataclass(frozen=True)
class _Probes:
    """A probe for each fold, and their class probabilities of the drawn pixels: (m, C)."""

    each: dict[int, CellProbe]
    p: NDArray[np.float64]

    @classmethod
    def fit(cls, drawn: _Drawn, classes: int, weight: NDArray[np.float64] | None = None) -> Self:
        each, p = {}, np.zeros((drawn.y.size, classes))
        fold = drawn.fold[drawn.row]
        for number in np.unique(drawn.fold).tolist():
            outside, inside = fold != number, fold == number
            each[number] = CellProbe.fit(
                drawn.z[outside], drawn.y[outside], None if weight is None else weight[outside]
            )
            p[inside] = each[number].probabilities(drawn.z[inside], classes)
        return cls(each, p)


def _estimated(  # noqa: PLR0917  (shared by all rounds)
    tokens: NDArray[np.floating], cells: NDArray[np.integer], rows: NDArray[np.int64],
    fold: NDArray[np.int64], seed: int, rounds: int, meter: Meter,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the share of wrong labels of each tile: (n,), NaN for tiles without an estimate."""
    pixels = totals(cells, rows)
    classes, kinds = pixels.size, int(np.count_nonzero(pixels))
    components = Components.fit(tokens, rows, rng(seed, "label-noise/pca"))
    draw = rng(seed, "label-noise/pixels")
    size = min(PIXELS, int(pixels.sum()))
    tile, cell, y = draw_pixels(cells, rows, np.ones(classes), size, draw)
    drawn = _Drawn(rows[tile], components.of(tokens[rows[tile], cell]), y, fold)
    probes = _Probes.fit(drawn, classes)
    for number in range(rounds):
        at = np.arange(y.size), y
        known = probes.p[at] > 0
        if number == 0:
            joint = confident_joint(probes.p[known], y[known])
            correct = kept_shares(probes.p, y, joint)
        else:
            share = _shares(tokens, cells, components, probes, fold, kinds, meter)[drawn.row]
            correct = np.where(known, 1 - wrong(probes.p[at], share, kinds), 1.0)
        probes = _Probes.fit(drawn, classes, correct)
    return _shares(tokens, cells, components, probes, fold, kinds, meter)


def _shares(  # noqa: PLR0917  (shared by all rounds)
    tokens: NDArray[np.floating], cells: NDArray[np.integer], components: Components,
    probes: _Probes, fold: NDArray[np.int64], kinds: int, meter: Meter,
) -> NDArray[np.float64]:  # fmt: skip
    found, step = np.full(len(tokens), np.nan), _rows(tokens, cells)
    mix = probes.p.mean(axis=0)
    for start in range(0, len(tokens), step):
        part = slice(start, min(start + step, len(tokens)))
        z, counts, folds = components.of(tokens[part]), np.array(cells[part]), fold[part]
        for number in np.unique(folds).tolist():
            inside, probe = folds == number, probes.each[number]
            fitted = np.zeros(counts.shape[2], bool)
            fitted[probe.known] = True
            flat = z[inside].reshape(-1, z.shape[2])
            p = probe.probabilities(flat, fitted.size).reshape(*z[inside].shape[:2], -1)
            found[start + np.flatnonzero(inside)] = wrong_shares(
                p, counts[inside] * fitted, kinds, mix
            )
        meter.advance(part.stop - part.start)
    return found


METHOD = Method(
    name="label-noise",
    title="Label noise",
    source="confident learning, Northcutt et al. 2021; the task of the MVEO 2024 challenge",
    function=label_noise,
    needs=("tokens", "cells"),
)
