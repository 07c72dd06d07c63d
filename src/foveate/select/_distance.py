"""Distances for `kcenter`: reproducible squared distances in float64, and fast bounds on them.

The reference distance of a pair of rows is the sum of squared differences in float64, added in a
fixed order by elementwise operations only (`squared`). It depends on the two rows only: not on
BLAS, threads, or other rows in the same call.

The bounds are computed with a matrix product. With ``a = fl((x - shift) * scale)`` in the working
precision (unit roundoff ``u``), ``q = |a|^2`` and any order of summation,

    | |x_i - x_j|^2 scale^2 - (q_i + q_j - 2 a_i.a_j) | <= eta (q_i + q_j) + tiny

where eta includes: the product, ``d u / (1 - d u) * 2 |a_i| |a_j| <= d u / (1 - d u) (q_i + q_j)``
(Higham 2002, section 3.1); rounding of ``a``, at most ``u (|a_i| + |a_j|)`` in the difference, so
``4 u (q_i + q_j)`` in its square; the norms, 1 u; three roundings of results of at most
``2 (q_i + q_j)``, 6 u; and the ``(log2 d + 3)`` float64 roundings of the reference distance, of at
most ``2 (q_i + q_j)`` each. `eta` allows for 32 + 2 log2 d units in total. The shift (close to the
mean) keeps the norms in the order of the spread of the data: far from the origin, the product would
suffer from cancellation. `tiny` covers underflow, gradual or flushed to zero. The scale, a power of
two, ensures ``|a| <= 1``, so that nothing overflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from foveate.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_LARGEST = 1e300  # for larger values, the length of a row may overflow
_SHIFT_ROWS = 4096
_SIGN_AND_VALUE = -0x70002000  # mask that clears the three redundant copies of the sign bit
_SINGLE = (2.0**-120, 2.0**100)  # scales that are representable in float32


def squared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the reference squared distances of pairs of rows.

    Args:
        a: (m, d) float64.
        b: (m, d) float64, or (1, d).

    Returns:
        (m,) float64 sums of squared differences, in the square of the unit of `a`.
    """
    difference = a - b
    return _fold(np.square(difference, out=difference))


def eta(d: int, dtype: np.dtype[Any]) -> float:
    """Return the relative error bound of a squared distance by a product; see the module docs."""
    u = float(np.finfo(dtype).eps) / 2
    return d * u / (1 - d * u) + (32 + 2 * np.log2(d + 1)) * u


def tiny(d: int) -> float:
    """Return the absolute error bound of a scaled squared distance by underflow in float32."""
    return (d + 1) * 2.0**-122


def _fold(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the columns of `terms` pairwise in a fixed order; overwrites `terms`."""
    width = terms.shape[1]
    while width > 1:
        half = width // 2
        terms[:, :half] += terms[:, half : 2 * half]
        if width % 2:
            terms[:, 0] += terms[:, width - 1]
        width = half
    return terms[:, 0].copy() if width else np.zeros(terms.shape[0])


@dataclass(frozen=True)
class Seen:
    """Summary of the values of rows.

    Attributes:
        largest: Largest magnitude of a value.
        norm: (n,) float64 lengths of the rows (cosine), or None.
        bad: Rows that contain NaN, infinity or values beyond 1e300.
        zero: Rows of zeros (cosine).
    """

    largest: float
    norm: NDArray[np.float64] | None
    bad: NDArray[np.int64]
    zero: NDArray[np.int64]

    @classmethod
    def of(cls, x: NDArray[np.floating], metric: str, block: int) -> Self:
        """Summarise `x` in one pass over its blocks."""
        norm = np.ones(len(x)) if metric == "cosine" else None
        bad, zero = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        largest = 0.0
        for span in _blocks(len(x), block):
            rows = np.asarray(x[span])
            magnitude = _max_magnitude(rows)
            if not magnitude <= _LARGEST:  # also true for NaN
                valid = (np.abs(rows.astype(np.float64)) <= _LARGEST).all(axis=1)
                bad.append(span.start + np.flatnonzero(~valid))
                continue
            largest = max(largest, magnitude)
            if norm is not None:
                norm[span] = _lengths(rows)
                zero.append(span.start + np.flatnonzero(norm[span] == 0))
        return cls(largest, norm, np.concatenate(bad), np.concatenate(zero))

    @classmethod
    def merged(cls, parts: list[Seen]) -> Self:
        """Return the merged results of several parts, without lengths."""
        bad, zero = [part.bad for part in parts], [part.zero for part in parts]
        largest = max(part.largest for part in parts)
        return cls(largest, None, np.concatenate(bad), np.concatenate(zero))

    def refuse(self, n: int) -> None:
        """Raise an error if there are invalid rows.

        Raises:
            DataError: Rows of n contain NaN or infinity, or (cosine) are all zero.
        """
        _check_none(
            self.bad, n, "contain NaN or infinity", "Embeddings must be finite, and at most 1e300."
        )
        _check_none(
            self.zero, n, "are all zero",
            "The cosine of a row of zeros is undefined; use metric='euclidean'.",
        )  # fmt: skip


def sampled(n: int) -> NDArray[np.int64]:
    """Return the rows whose mean is the shift: at most 4,096 of n, evenly spaced."""
    return np.arange(min(n, _SHIFT_ROWS)) * n // max(min(n, _SHIFT_ROWS), 1)


@dataclass(frozen=True)
class Points:
    """The rows of a matrix as points, read in blocks.

    Attributes:
        x: (n, d) float array, possibly a memory map.
        scale: Power of two by which coordinates are multiplied.
        shift: (d,) float64, subtracted after scaling in the working precision; representable in
            float32.
        norm: (n,) float64 lengths by which rows are divided (cosine), or None.
        block: Rows per block.
        unit: Whether rows are divided by their lengths. If `norm` is None, these are computed
            whenever rows are read.
    """

    x: Any
    scale: float
    shift: NDArray[np.float64]
    norm: NDArray[np.float64] | None
    block: int
    unit: bool = False

    @classmethod
    def survey(cls, x: NDArray[np.floating], metric: str, block: int) -> Self:
        """Read `x` once: check it, and compute norms, shift and scale.

        Raises:
            DataError: Rows contain NaN or infinity, or (cosine) are all zero.
        """
        seen = Seen.of(x, metric, block)
        seen.refuse(len(x))
        sample = x[sampled(len(x))]
        return cls.framed(
            x, metric, block, largest=seen.largest, sample=sample, norm=seen.norm
        )  # fmt: skip

    @classmethod
    def framed(
        cls, x: Any, metric: str, block: int, *, largest: float, sample: NDArray[np.floating],
        norm: NDArray[np.float64] | None = None,
    ) -> Self:  # fmt: skip
        """Compute shift and scale of rows that have been checked.

        Args:
            x: The rows.
            metric: "euclidean" or "cosine".
            block: Rows per block.
            largest: `Seen.largest` of all rows.
            sample: The rows of `sampled`.
            norm: Lengths of the rows `x`, or None, see `unit`.
        """
        unit = metric == "cosine"
        d = sample.shape[1]
        scale = _power_of_two(1.0 if unit else largest, d)
        rows = sample.astype(np.float64)
        if unit:
            rows /= _lengths(sample)[:, None]
        rows *= scale
        mean = rows.mean(axis=0) if len(rows) else np.zeros(d)
        return cls(x, scale, mean.astype(np.float32).astype(np.float64), norm, block, unit)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.x.shape[0]

    def raw(self, rows: NDArray[np.integer] | slice) -> NDArray[np.floating]:
        """Return (m, d) `rows` as stored."""
        return np.asarray(self.x[rows])

    def exact(self, rows: NDArray[np.integer] | slice) -> NDArray[np.float64]:
        """Return the (m, d) float64 coordinates of `rows`, scaled but not shifted."""
        return self._scaled(self.raw(rows), None if self.norm is None else self.norm[rows])

    def work(self, rows: NDArray[np.integer] | slice, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the (m, d) coordinates of `rows` in the working precision, scaled and shifted."""
        return self.of(self.raw(rows), dtype, None if self.norm is None else self.norm[rows])

    def of(
        self, values: NDArray[np.floating], dtype: np.dtype[Any],
        norm: NDArray[np.float64] | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """Convert stored rows as `work` does; `norm` are their lengths, if known."""
        single = values.dtype.itemsize <= 4 and _SINGLE[0] <= self.scale <= _SINGLE[1]
        if dtype == np.float32 and not self.unit and single:
            values = _single(values, self.scale)
            values -= self.shift.astype(np.float32)
            return values
        values = self._scaled(values, norm)
        values -= self.shift
        return values.astype(dtype, copy=False)

    def _scaled(
        self, rows: NDArray[np.floating], norm: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        values = double(rows)
        if self.unit:
            values /= (_lengths(values) if norm is None else norm)[:, None]
        values *= self.scale
        return values

    def pairs(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the (m,) reference squared distances of rows `a` and `b`, times scale^2."""
        result = np.empty(a.size)
        for span in _blocks(a.size, self.block):
            result[span] = squared(self.exact(a[span]), self.exact(b[span]))
        return result

    def blocks(self) -> Iterator[slice]:
        """Return the blocks of rows in order."""
        return _blocks(len(self), self.block)


def double(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a copy of finite rows in float64."""
    return np.array(_single(rows, 1.0) if rows.dtype == np.float16 else rows, dtype=np.float64)


def _max_magnitude(rows: NDArray[np.floating]) -> float:
    """Return the largest magnitude; NaN or infinity if the rows contain one."""
    if rows.dtype == np.float16:  # without the sign bit, bit patterns are ordered by magnitude
        bits = np.max(rows.view(np.uint16) & np.uint16(0x7FFF), initial=0)
        return float(bits.view(np.float16))
    return float(max(np.max(rows, initial=0.0), -np.min(rows, initial=0.0)))


def _single(rows: NDArray[np.floating], scale: float) -> NDArray[np.float32]:
    """Return finite rows in float32, multiplied by a power of two.

    Converts float16 by shifting its bits to the positions of float32; the factor 2^112 corrects the
    difference of the exponent biases. This takes a sixth of the time of the cast of numpy.
    """
    if rows.dtype != np.float16:
        values = np.array(rows, dtype=np.float32)
        values *= np.float32(scale)
        return values
    bits = np.ascontiguousarray(rows).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(_SIGN_AND_VALUE)
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)
    values *= np.float32(scale)
    return values


def _lengths(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the lengths of rows; computed such that squares neither overflow nor underflow."""
    if not rows.shape[1]:
        return np.zeros(len(rows))
    peak = np.max(np.abs(rows), axis=1).astype(np.float64)
    exponent = np.frexp(peak)[1]
    terms = np.ldexp(rows.astype(np.float64), -exponent[:, None])
    return np.ldexp(np.sqrt(_fold(np.square(terms, out=terms))), exponent)


def _power_of_two(largest: float, d: int) -> float:
    """Return a power of two such that scaled rows of values up to `largest` differ by at most 1."""
    exponent = int(np.frexp(largest)[1]) + int(np.ceil(np.log2(4 * np.sqrt(d + 1))))
    return float(np.ldexp(1.0, int(np.clip(-exponent, -1000, 1000))))


def _blocks(n: int, block: int) -> Iterator[slice]:
    return (slice(begin, min(begin + block, n)) for begin in range(0, n, block))


def _check_none(rows: NDArray[np.int64], n: int, what: str, allowed: str) -> None:
    if rows.size:
        raise DataError(
            f"{rows.size} of {n} rows {what}, the first are rows {rows[:5].tolist()}", allowed
        )
