"""`builtin`: the encoder without weights, for any number of bands and any dtype.

Texture and spectral statistics of a tile from fixed filters. Nothing was learned from any data
set: filters, bins and weights follow from the definitions below. A tile gives the same bytes
alone, in any batch and with any number of threads; between processors, for which numpy has other
kernels, the last bit of a float32 may differ.

Preparation. Band values v become ``x = clip((v - low) / (high - low), 0, 1)``. `contrast_weights`
turns the c bands into their mean m and K = min(c - 1, 6) contrasts c1..cK in [-0.5, 0.5] (for
RGB: Ohta's colour features). Level l is m halved l times, so level l sees details of about
2^l pixels. g is the Gaussian gradient of a level, t its direction (steerable pair, Freeman and
Adelson 1991).

Groups of columns, in this order; ``L(v) = sign(v) log2(1 + 32 |v|)``:

==============  ============  ====================================================================
group           columns       meaning
==============  ============  ====================================================================
colour          6 x 7 x 7     joint histogram of m, L(c1), L(c2) at half size (two bands: 6 x 7;
                              one band: 16)
spectral3..K    6 x 7 each    joint histogram of m and L(ck); only with four bands and more
bands           2 x c         mean and standard deviation of every band: no band goes unseen
pattern0..3     99 each       completed local binary pattern: joint histogram of the sign and the
                              size of the differences to the eight neighbours, rotation-invariant
                              uniform classes (Ojala et al. 2002, Guo et al. 2010)
local0..2       5 x 4 x 4     joint histogram, over blocks of 8 x 8 pixels of the level, of
                              gradient energy ``log2 <g^2>``, of ``|<g^2 e^2it>| / <g^2>`` (one
                              orientation: the coherence of the structure tensor, Bigun and
                              Granlund 1987) and of ``|<g^2 e^4it>| / <g^2>`` (right angles)
orientation     4 x 4         ``|<|g| e^kit>| / <|g|>`` over the whole tile for k = 2, 4, 6, 8 at
                              levels 0..3: are there common directions, are they at right angles
cross1..K       8 x 8 - 1     joint histogram of the log2 gradient energies of ck and of m, level
                              1: do colour and brightness change in the same places (joint
                              statistics of responses, Portilla and Simoncelli 2000)
==============  ============  ====================================================================

Histogram bins of flat ground are dropped from pattern, local and cross: a
constant tile has no texture. `soft_histogram` shares a pixel between bins.

Normalisation. Every group holds shares or ratios in [0, 1] and is stored as its square root, so
the dot product of two histograms is their Bhattacharyya coefficient (Hellinger kernel), and each
group has a norm of about 1: groups weigh the same in cosine and in Euclidean distance. The
spectral groups together weigh as one group, the cross groups as two at most. The orientation
group holds four levels and weighs as four.

Invariance. Mirroring a tile and turning it by quarters changes the embedding by rounding only:
aerial imagery has no up. Turns by other angles change it a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.embeddings import EncoderSpec
from foveate.errors import DataError, ParameterError
from foveate.models.families._filters import (
    contrast_weights,
    gradient,
    halve,
    mix,
    ring_patterns,
    soft_histogram,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.models.families._filters import Plane

VERSION = "builtin/1"  # part of the fingerprint: change it whenever a value changes
MIN_SIDE = 8  # pixels that the coarsest filters need
_LEVELS = 4
_LOCAL_LEVELS = 3
_LOCAL_HALVINGS = 3  # blocks of 8 x 8
_MAX_CONTRASTS = 6  # smooth spectra: the DCT packs what the mean leaves into the first few
_FLOOR = 1 / 256  # a difference below one grey level of 8-bit imagery is noise
_ORDERS = (2, 4, 6, 8)  # circular harmonics invariant to quarter turns
_TINY = np.float32(1e-12)
_ENERGY_FLOOR = np.float32(_FLOOR**2)


@dataclass(frozen=True)
class _Group:
    """A group of columns: name, axes before flattening, and weight."""

    name: str
    axes: tuple[tuple[str, int], ...]
    weight: float = 1.0
    skip: int = 0  # leading columns of empty bins, dropped

    @property
    def size(self) -> int:
        return math.prod(n for _, n in self.axes) - self.skip

    def names(self) -> list[str]:
        labels = [label for label, _ in self.axes]
        places = list(np.ndindex(*(n for _, n in self.axes)))[self.skip :]
        return [
            f"{self.name}[{','.join(f'{k}={v}' for k, v in zip(labels, place, strict=True))}]"
            for place in places
        ]


class Builtin:
    """The encoder `builtin`; see the module docstring for its definition.

    Args:
        bands: c band numbers, 1-based, in the order of the batch's second axis; recorded in the
            spec.
        scale: c pairs ``(low, high)`` in raw units: `low` becomes 0 and `high` becomes 1,
            values beyond are clipped. Choose it to span the imagery: a difference below 1/256 of
            a span counts as flat ground.

    Attributes:
        spec: What the embeddings depend on; ``spec.dim`` is d (1078 for three bands).

    Raises:
        ParameterError: No bands, a band number below 1, a pair too many or too few, or a pair
            that is not finite with ``low < high``.

    >>> model = Builtin((1, 2, 3), [(0, 255)] * 3)
    >>> model.embed(np.zeros((2, 3, 64, 64), np.uint8)).shape == (2, model.spec.dim)
    True
    """

    def __init__(self, bands: Sequence[int], scale: Sequence[tuple[float, float]]) -> None:
        self._bands, self._scale = _checked(bands, scale)
        self._weights = contrast_weights(len(self._bands)).astype(np.float32)
        self._groups = _layout(len(self._bands))
        self._gain = np.concatenate([np.full(g.size, g.weight, np.float32) for g in self._groups])
        self.spec = EncoderSpec(
            name="builtin",
            dim=self._gain.size,
            bands=self._bands,
            scale=self._scale,
            input_size=None,
            dtype="float32",
            non_negative=True,
            licence="Apache-2.0",
            source="no weights",
            fingerprint=VERSION,  # nothing is trained; bands and scale are in the spec
        )

    def feature_names(self) -> list[str]:
        """Return the names of the d columns, for example ``colour[mean=5,c1=3,c2=3]``."""
        return [name for group in self._groups for name in group.names()]

    def embed(self, batch: NDArray) -> NDArray[np.float32]:
        """Embed tiles, each on its own.

        Args:
            batch: (b, c, h, w) of any integer or float dtype, raw units. A side
                under 8 pixels, the sliver at the edge of a scene, is continued by its last row
                or column.

        Returns:
            (b, d) float32 in [0, 1], safe to store as float16.

        Raises:
            DataError: `batch` is not such an array, or holds NaN or infinity.
        """
        batch = np.asarray(batch)
        self._check(batch)
        lacking = [max(0, MIN_SIDE - side) for side in batch.shape[2:]]
        if any(lacking):
            batch = np.pad(batch, ((0, 0), (0, 0), (0, lacking[0]), (0, lacking[1])), mode="edge")
        out = np.empty((batch.shape[0], self.spec.dim), np.float32)
        for i, tile in enumerate(batch):
            values = [
                group_values[group.skip :]
                for group, group_values in zip(
                    self._groups, _statistics(self._scaled(tile, i), self._weights), strict=True
                )
            ]
            out[i] = np.sqrt(np.concatenate(values), dtype=np.float64)
        out *= self._gain
        return out

    def _scaled(self, tile: NDArray, index: int) -> list[Plane]:
        """Map raw bands to [0, 1].

        In float64 and by division: correctly rounded, so that the same quotient from another
        dtype or scale is the same number.
        """
        planes = []
        for raw, band, (low, high) in zip(tile, self._bands, self._scale, strict=True):
            # C order: sums of a transposed view would be added in another order.
            plane = raw.astype(np.float64, order="C")
            if tile.dtype.kind == "f" and not np.isfinite(plane).all():
                bad = int(plane.size - np.isfinite(plane).sum())
                raise DataError(
                    f"tile {index} of the batch has {bad} NaN or infinite values in band {band}",
                    "Every value must be finite.",
                    "Fill nodata before embedding, or skip such tiles (min_valid).",
                )
            with np.errstate(over="ignore"):  # values far outside the scale are clipped anyway
                plane -= low
                plane /= high - low
            planes.append(np.clip(plane, 0, 1, out=plane).astype(np.float32))
        return planes

    def _check(self, batch: NDArray) -> None:
        c = len(self._bands)
        allowed = f"Allowed is (b, {c}, h, w) of integers or floats, h and w at least 1."
        if batch.ndim != 4:
            raise DataError(
                f"a batch with {batch.ndim} axes, shape {batch.shape}",
                allowed,
                "Add the batch axis of a single tile with tile[None].",
            )
        if batch.dtype.kind not in "iuf":
            raise DataError(
                f"a batch of dtype {batch.dtype}", allowed, "Convert it: .astype('float32')."
            )
        if batch.shape[1] != c:
            raise DataError(
                f"a batch of shape {batch.shape}, {batch.shape[1]} bands",
                f"This encoder was created for the {c} bands {self._bands}.",
                "Read those bands, or create the encoder for the available bands; the band axis "
                "comes before height and width.",
            )
        if min(batch.shape[2:]) < 1:
            raise DataError(
                f"tiles of {batch.shape[2]} x {batch.shape[3]} pixels",
                allowed,
                "Remove empty tiles.",
            )


def _layout(c: int) -> tuple[_Group, ...]:
    """Return the groups of columns for c bands, in order."""
    k = min(c - 1, _MAX_CONTRASTS)
    colour = (("mean", 6), ("c1", 7), ("c2", 7))[: k + 1] if k else (("mean", 16),)
    spectral = [
        _Group(f"spectral{i}", (("mean", 6), (f"c{i}", 7)), weight=(k - 2) ** -0.5)
        for i in range(3, k + 1)
    ]
    cross = [
        _Group(f"cross{i}", ((f"c{i}", 8), ("mean", 8)), weight=min(1, 2 / k) ** 0.5, skip=1)
        for i in range(1, k + 1)
    ]
    return (
        _Group("colour", colour),
        *spectral,
        _Group("bands", (("std", 2), ("band", c)), weight=c**-0.5),
        *(_Group(f"pattern{i}", (("sign", 10), ("size", 10)), skip=1) for i in range(_LEVELS)),
        *(
            _Group(f"local{i}", (("energy", 6), ("one", 4), ("right", 4)), skip=16)
            for i in range(_LOCAL_LEVELS)
        ),
        _Group("orientation", (("level", _LEVELS), ("order", len(_ORDERS)))),
        *cross,
    )


def _statistics(x: list[Plane], weights: NDArray[np.float32]) -> Iterator[NDArray]:
    """Yield the values of the groups of `_layout`, unskipped, before the square root."""
    mean = mix(x, weights[0])
    contrasts = [mix(x, w) for w in weights[1 : _MAX_CONTRASTS + 1]]
    contrasts = [halve(p) for p in contrasts]
    levels = [mean]
    for _ in range(_LEVELS - 1):
        levels.append(halve(levels[-1]))
    half = levels[1]
    if contrasts:
        tone = half * np.float32(5)
        hues = [_signed_log(p) for p in contrasts]
        yield soft_histogram([tone, *hues[:2]], [6, 7, 7][: len(hues[:2]) + 1])
        for hue in hues[2:]:
            yield soft_histogram([tone, hue], [6, 7])
    else:
        yield soft_histogram([half * np.float32(15)], [16])
    yield np.array(list(zip(*(_moments(p) for p in x), strict=True))).ravel()
    for level in levels:
        yield np.bincount(ring_patterns(level, _FLOOR).ravel(), minlength=100) / level.size
    fields = [_harmonics(*gradient(level)) for level in levels]
    for field in fields[:_LOCAL_LEVELS]:
        yield _local(*field)
    yield np.concatenate([_orientation(*field) for field in fields])
    strength = _log_energy(fields[1][0]) * np.float32(0.5)
    for p in contrasts:
        gx, gy = gradient(p)
        own = _log_energy(gx * gx + gy * gy) * np.float32(0.5)
        yield soft_histogram([own, strength], [8, 8])


def _signed_log(p: Plane) -> Plane:
    """Return a contrast in bins 0..6, neutral in the middle, finer near neutral."""
    size = np.log2(np.float32(1) + np.abs(p) * np.float32(32))
    return np.copysign(size, p) + np.float32(3)


def _log_energy(energy: Plane) -> Plane:
    """Return octaves of energy above the floor, 0 for none."""
    return np.log2(energy + _ENERGY_FLOOR) - np.log2(_ENERGY_FLOOR)


def _harmonics(gx: Plane, gy: Plane) -> tuple[Plane, Plane, Plane, Plane, Plane]:
    """Return ``g^2`` and the cosine and sine of 2t and 4t, without computing the angle t."""
    xx = gx * gx
    yy = gy * gy
    energy = xx + yy
    inverse = np.float32(1) / (energy + _TINY)
    cos2 = (xx - yy) * inverse
    sin2 = gx * gy
    sin2 *= np.float32(2) * inverse
    cos4 = cos2 * cos2 - sin2 * sin2
    sin4 = cos2 * sin2
    sin4 *= np.float32(2)
    return energy, cos2, sin2, cos4, sin4


def _local(energy: Plane, *angles: Plane) -> NDArray[np.float64]:
    """Return the joint histogram of block energy and the two local anisotropies."""
    means = [energy, *(energy * p for p in angles)]
    for _ in range(_LOCAL_HALVINGS):
        means = [halve(p) for p in means]
    block, cos2, sin2, cos4, sin4 = means
    inverse = np.float32(3) / (block + _TINY)
    one_direction = np.sqrt(cos2 * cos2 + sin2 * sin2) * inverse
    right = np.sqrt(cos4 * cos4 + sin4 * sin4) * inverse
    return soft_histogram([_log_energy(block) * np.float32(0.4), one_direction, right], [6, 4, 4])


def _orientation(
    energy: Plane, cos2: Plane, sin2: Plane, cos4: Plane, sin4: Plane
) -> NDArray[np.float64]:
    """Return the anisotropies of one level over the whole tile, in [0, 1], for `_ORDERS`."""
    size = np.sqrt(energy)
    cos6 = cos2 * cos4 - sin2 * sin4
    sin6 = cos2 * sin4 + sin2 * cos4
    cos8 = cos4 * cos4 - sin4 * sin4
    sin8 = cos4 * sin4
    sin8 *= np.float32(2)
    pairs = ((cos2, sin2), (cos4, sin4), (cos6, sin6), (cos8, sin8))
    # A gradient below the floor has no direction: it is treated as isotropic.
    total = _mean(size) + _FLOOR / 4
    work = np.empty_like(size)
    return np.array(
        [
            math.hypot(_mean(np.multiply(size, c, out=work)), _mean(np.multiply(size, s, out=work)))
            / total
            for c, s in pairs
        ]
    )


def _moments(p: Plane) -> tuple[float, float]:
    mean = _mean(p)
    rest = p - np.float32(mean)
    rest *= rest
    return mean, math.sqrt(_mean(rest))


def _mean(p: Plane) -> float:
    return float(p.mean(dtype=np.float32))


def _checked(
    bands: Sequence[int], scale: Sequence[tuple[float, float]]
) -> tuple[tuple[int, ...], tuple[tuple[float, float], ...]]:
    numbers = tuple(int(b) for b in bands)
    if not numbers or min(numbers) < 1:
        raise ParameterError(
            f"bands {numbers}",
            "At least one band is required, numbered from 1.",
            "For a three-band image: bands=(1, 2, 3).",
        )
    try:
        pairs = tuple((float(low), float(high)) for low, high in scale)
    except (TypeError, ValueError):
        raise ParameterError(
            f"scale {scale!r}",
            "Must be a sequence with one pair of numbers (low, high) per band.",
            f"For 8-bit imagery: scale=[(0, 255)] * {len(numbers)}.",
        ) from None
    if len(pairs) != len(numbers):
        raise ParameterError(
            f"{len(pairs)} scale pairs for {len(numbers)} bands",
            "One (low, high) per band is required.",
            f"For 8-bit imagery: scale=[(0, 255)] * {len(numbers)}.",
        )
    for band, (low, high) in zip(numbers, pairs, strict=True):
        if not (low < high and math.isfinite(high - low)):
            raise ParameterError(
                f"scale ({low}, {high}) for band {band}",
                "Must be finite with low < high, in raw units.",
                "These values are mapped to 0 and 1, for example (0, 255) or (0, 10000).",
            )
    return numbers, pairs
