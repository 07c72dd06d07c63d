"""Label noise: rank patches by how wrong their labels are (the task of the MVEO 2024 challenge).

A linear probe on dense features, fitted to other scenes, says what it expects of each cell of a
patch; labels that it excludes are wrong, or new to it. Confident learning (Northcutt, Jiang and
Chuang 2021) cleans the labels that the probe is fitted to again, and each patch gets the share of
wrong labels that makes its own most likely: see `foveate.select.label_errors`.

1. Up to 20,000 labelled pixels are drawn evenly; a probe for each fold is fitted to those of the
   others.
2. First round: thresholds and joint of confident learning say how likely each drawn label is right,
   and the probes are fitted again to labels weighted by that.
3. Further rounds, by option: the same with the share of each patch in place of the joint.
4. The shares by the last probes are the scores.

Folds are of whole scenes, as errors of one scene are alike (a shifted mask, another annotator),
where there are four for each fold; with fewer, the others do not show what a scene does, and folds
are of strips of neighbouring tiles. A class that a fold's probe has not seen cannot be judged
there: its pixels do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.progress import Meter
from foveate.seeds import rng, tie_keys
from foveate.select.cell_probe import CellProbe, Components, draw_pixels, totals
from foveate.select.cluster import one_thread
from foveate.select.label_errors import confident_joint, kept_shares, wrong, wrong_shares
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.progress import ProgressFn

PIXELS = 20_000  # at most: labelled pixels that the probes are fitted to
_PER_FOLD = 4  # scenes at least, or strips of neighbouring tiles, in a fold
_BLOCK = 2**22  # numbers of a block of tiles


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
        ids: (n,) str; what stands before the last "/" is the scene.
        tokens: (n, t, d) features of the cells of each patch.
        cells: (n, t, C) labelled pixels of these cells by class.
        seed: Draws pixels, divides into folds, and breaks ties.
        progress: Called with ticks.
        order: "noisy" for the worst labels first, "clean" for the best.
        folds: Parts of the pool that are judged by a probe of the others.
        rounds: How often the labels are weighed and the probes fitted again; 0 for never. With 2
            or more errors without a system are found better, and classes that are often taken
            for each other worse.

    Returns:
        Full ranking. Scores with "noisy": estimated share of a patch's labelled pixels whose label
        is wrong, from 0 to 1; with "clean" 1 minus that. NaN, and last, where nothing can be
        judged: no label, or none of a class that other folds show; a pool of one patch.
        ``meta["wrong_share"]`` is the share over all pixels that were judged, None without any;
        ``meta["judged"]`` the number of patches.

    Raises:
        ParameterError: An option is out of range.
    """
    if order not in ("noisy", "clean"):
        raise ParameterError(f"order={order!r}", "Allowed: noisy, clean.")
    if folds < 2:
        raise ParameterError(f"folds={folds}", "At least 2: no label is judged by itself.")
    if rounds < 0:
        raise ParameterError(f"rounds={rounds}", "Allowed: 0 or more.")
    pixels = _pixels(cells)
    fold, by = divide(ids, pixels, folds, seed)
    share, seen = np.full(len(ids), np.nan), pixels > 0
    if np.unique(fold[seen]).size > 1:
        with one_thread(), Meter(progress, "judging labels", len(ids) * max(1, rounds)) as meter:
            share = _judged(tokens, cells, np.flatnonzero(seen), fold, seed, rounds, meter)
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
    """Divide patches into folds that have about as many labelled pixels.

    Args:
        ids: (n,) str in sorted order.
        pixels: (n,) labelled ones.
        folds: Most folds.
        seed: Of the order in which scenes or strips are dealt out.

    Returns:
        (n,) number of the fold, and what folds are made of: "scenes" or "strips".
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
    """Return how many tiles of such arrays are a block."""
    return max(1, _BLOCK // max(1, *(int(np.prod(a.shape[1:])) for a in arrays)))


@dataclass(frozen=True)
class _Drawn:
    """Labelled pixels: row of the tile, features of the cell, class; and the fold of each tile."""

    row: NDArray[np.int64]
    z: NDArray[np.float32]
    y: NDArray[np.int64]
    fold: NDArray[np.int64]


@dataclass(frozen=True)
class _Probes:
    """A probe for each fold, and what they expect of the drawn pixels: (m, C)."""

    each: dict[int, CellProbe]
    p: NDArray[np.float64]

    @classmethod
    def fit(cls, drawn: _Drawn, classes: int, weight: NDArray[np.float64] | None = None) -> Self:
        each, p = {}, np.zeros((drawn.y.size, classes))
        own = drawn.fold[drawn.row]
        for number in np.unique(drawn.fold).tolist():
            rest, inside = own != number, own == number
            each[number] = CellProbe.fit(
                drawn.z[rest], drawn.y[rest], None if weight is None else weight[rest]
            )
            p[inside] = each[number].probabilities(drawn.z[inside], classes)
        return cls(each, p)


def _judged(  # noqa: PLR0917  (what the rounds share)
    tokens: NDArray[np.floating], cells: NDArray[np.integer], rows: NDArray[np.int64],
    fold: NDArray[np.int64], seed: int, rounds: int, meter: Meter,
) -> NDArray[np.float64]:  # fmt: skip
    """Return the share of wrong labels of each tile: (n,), NaN where nothing can be judged."""
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
            right = kept_shares(probes.p, y, joint)
        else:
            share = _shares(tokens, cells, components, probes, fold, kinds, meter)[drawn.row]
            right = np.where(known, 1 - wrong(probes.p[at], share, kinds), 1.0)
        probes = _Probes.fit(drawn, classes, right)
    return _shares(tokens, cells, components, probes, fold, kinds, meter)


def _shares(  # noqa: PLR0917  (what the rounds share)
    tokens: NDArray[np.floating], cells: NDArray[np.integer], components: Components,
    probes: _Probes, fold: NDArray[np.int64], kinds: int, meter: Meter,
) -> NDArray[np.float64]:  # fmt: skip
    found, step = np.full(len(tokens), np.nan), _rows(tokens, cells)
    mix = probes.p.mean(axis=0)
    for start in range(0, len(tokens), step):
        part = slice(start, min(start + step, len(tokens)))
        z, counts, own = components.of(tokens[part]), np.array(cells[part]), fold[part]
        for number in np.unique(own).tolist():
            inside, probe = own == number, probes.each[number]
            seen = np.zeros(counts.shape[2], bool)
            seen[probe.known] = True
            flat = z[inside].reshape(-1, z.shape[2])
            p = probe.probabilities(flat, seen.size).reshape(*z[inside].shape[:2], -1)
            found[start + np.flatnonzero(inside)] = wrong_shares(
                p, counts[inside] * seen, kinds, mix
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
