"""Infer the classes of masks without a classes file from the values that occur."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.grid import Window
from foveate.labels import Legend, pack
from foveate.pool.notes import Note
from foveate.raster import read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from foveate.raster import Source

MOST_CLASSES = 48  # without a classes file
_MANY_VALUES = 4096
_BLOCK = 1 << 22  # pixels of a mask in memory at a time
_SHOWN = 8  # values listed in messages
_SMALL = 200  # classes have smaller values, next to a value that marks missing labels
_USUAL = (255, 65535)  # values that usually mark missing labels
# Original values of a mask that was smoothed or compressed lossily (see `drawn_values`):
_COMMON = (
    0.01  # minimum share of pixels of an original value, which must also exceed twice the mean
)
_NEAR = 8  # common values that differ by at most this stem from the same original value
_SPREAD = 5  # maximum difference of any common value from an original value
_DRAWN = 0.8  # minimum share of pixels at or near original values


def infer_legend(masks: Sequence[Source]) -> Legend:
    """Create one class per value of index masks.

    Raises:
        DataError: There are more than `MOST_CLASSES` values, the masks are RGB, which requires a
            classes file, or the masks contain measurements instead of classes. The message contains
            a classes file that can be pasted.
    """
    times: dict[int, int] = {}
    for mask in masks:
        for values, counts in _values(mask):
            for value, count in zip(values, counts, strict=True):
                times[value] = times.get(value, 0) + count
            if mask.info.bands == 1 and len(times) > _MANY_VALUES:
                raise DataError(
                    f"the masks have more than {_MANY_VALUES} different values, up to {max(times)}",
                    "These are measurements, not classes.",
                    "Give masks with class indices (--masks FOLDER, masks=...), or a classes file "
                    'with ranges: \'classes: {low: "<100", high: ">=100"}\'.',
                )
        if mask.info.bands == 3:
            raise _colours(times)
    spread = any(_is_jpeg(mask) for mask in masks) and len(times) > len(drawn_values(times)) > 0
    if len(times) > MOST_CLASSES or spread:
        raise _too_many(times)
    return Legend.of_indices(sorted(times))


def note_missing_labels(legend: Legend) -> list[Note]:
    """Return a note if a class of `infer_legend` has a value that usually marks missing labels.

    These are negative values, and 255 or 65535, next to small values, two of them consecutive.
    """
    values = [value for group in legend.values for value in group if isinstance(value, int)]
    small = [value for value in values if 0 <= value < _SMALL]
    others = [value for value in values if value < 0 or value in _USUAL]
    if len(others) != 1 or len(small) + 1 != len(values):
        return []
    if all(b - a > 1 for a, b in itertools.pairwise(small)):  # gray levels such as 0, 128 and 255
        return []
    value = others[0]
    listed = ", ".join(f"class{v}: {v}" for v in small)
    return [
        Note(
            "classes",
            f"without a classes file the value {value} of the masks is a class, although the other "
            f"values are {small[0]} to {small[-1]}: it may mark missing labels",
            f"If so, write a file 'classes.yaml' with '{{classes: {{{listed}}}, ignore: [{value}]}}"
            "' and give it (--classes classes.yaml, classes='classes.yaml')",
        )
    ]


def drawn_values(times: dict[int, int]) -> list[int]:
    """Return the original values of masks that were smoothed or compressed lossily.

    Args:
        times: Value -> number of its pixels.

    Returns:
        Two or more values, ascending; empty if the masks do not seem to be of this kind.
    """
    values = np.array(sorted(times))
    counts = np.array([times[v] for v in values.tolist()], np.float64)
    share = counts / counts.sum()
    peaks: list[int] = []
    for i in np.argsort(-share, kind="stable").tolist():
        if share[i] < max(_COMMON, 2 / share.size):
            break
        if all(abs(values[i] - values[j]) > _NEAR for j in peaks):
            peaks.append(i)
    drawn = np.sort(values[peaks])
    if not 2 <= drawn.size <= _SHOWN:
        return []
    gap = np.abs(values[:, None] - drawn[None]).min(axis=1)
    # If values are classes, common values are not concentrated near a few values.
    if (gap[share >= _COMMON] > _SPREAD).any():
        return []
    return drawn.tolist() if share[gap <= _NEAR].sum() >= _DRAWN else []


def _is_jpeg(mask: Source) -> bool:
    return str(getattr(mask, "path", "")).lower().endswith((".jpg", ".jpeg"))


def _too_many(times: dict[int, int]) -> DataError:
    """Return the error for masks with too many values, with a classes file to paste."""
    total = sum(times.values())
    often = sorted(times, key=lambda v: (-times[v], v))[:_SHOWN]
    histogram = ", ".join(f"{v} ({times[v] / total:.1%})" for v in often)
    problem = (
        f"the masks have {len(times)} different values from {min(times)} to {max(times)} and there "
        f"is no classes file; the most frequent values are {histogram}"
    )
    drawn = drawn_values(times)
    if drawn:
        return DataError(
            problem,
            f"Most pixels are at or near {', '.join(map(str, drawn))}, the others in between: the "
            "masks were smoothed (anti-aliased, resampled) or saved as JPEG.",
            _paste(_between(drawn)) + " If possible, use masks with lossless compression instead.",
        )
    listed = ", ".join(f"class{i}: {v}" for i, v in enumerate(often))
    return DataError(
        problem,
        f"Without a classes file, up to {MOST_CLASSES} values become classes.",
        _paste(listed)
        + f" It contains the {len(often)} most frequent values; add the others, as single values "
        'or ranges (crops: "10-19", other: ">=200"). If these files are measurements or images, '
        "give masks instead.",
    )


def _colours(times: dict[int, int]) -> DataError:
    often = sorted(times, key=lambda v: -times[v])[:_SHOWN]
    total = sum(times.values())
    lossy = len(times) > MOST_CLASSES
    if lossy:  # colours introduced by a codec are rare
        often = [v for v in often if times[v] >= _COMMON * total] or often
    listed = ", ".join(f'class{i}: "#{v:06X}"' for i, v in enumerate(often))
    text = f"classes: {{{listed}}}" + (", tolerance: 40" if lossy else "")
    text = f"{{{text}}}" if lossy else text
    return DataError(
        "the masks are RGB and there is no classes file",
        f"The first mask has {len(times)} colours"
        + (
            ": it was smoothed or saved as JPEG, and intermediate colours belong to no class."
            if lossy
            else "."
        ),
        f"Write a file 'classes.yaml' with '{text}' and give it "
        "(--classes classes.yaml, classes='classes.yaml').",
    )


def _between(drawn: list[int]) -> str:
    """Return classes with limits halfway between values."""
    limits = [-(-(a + b) // 2) for a, b in itertools.pairwise(drawn)]
    spans = [f'"<{limits[0]}"']
    spans += [f'"{a}-{b - 1}"' for a, b in itertools.pairwise(limits)]
    spans += [f'">={limits[-1]}"']
    return ", ".join(f"class{v}: {span}" for v, span in zip(drawn, spans, strict=True))


def _paste(listed: str) -> str:
    return (
        f"Write a file 'classes.yaml' with 'classes: {{{listed}}}' and give it "
        "(--classes classes.yaml, classes='classes.yaml')."
    )


def read_through(mask: Source) -> None:
    """Read all pixels of a mask.

    Raises:
        DataError: The mask cannot be read.
    """
    for _ in _values(mask):
        pass


def _values(mask: Source) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the values of a mask and their counts for each block of rows."""
    height, width = mask.info.shape
    step = max(1, _BLOCK // width)
    windows = [Window(y, 0, min(step, height - y), width) for y in range(0, height, step)]
    ahead = read_ahead([mask], len(windows), lambda number: [(mask, windows[number])])
    for number, window in enumerate(windows):
        ahead.at(number)
        block = mask.read(window)
        values, times = _count(pack(block.data[:, None, block.valid]).ravel())
        yield values.tolist(), times.tolist()


def _count(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count values, without sorting if the largest value is small, as for classes."""
    if values.size and values.min() >= 0 and values.max() < values.size:
        times = np.bincount(values)
        found = np.flatnonzero(times)
        return found, times[found]
    return np.unique(values, return_counts=True)
