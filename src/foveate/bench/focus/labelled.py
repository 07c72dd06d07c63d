"""Whole scenes with pixel labels, and the share of a class in the selected regions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from foveate.bench.focus.scenes import WHOLE, BenchScene, Opened
from foveate.errors import DataError, ParameterError
from foveate.files import digest
from foveate.grid import Window
from foveate.labels import Legend
from foveate.pool.folder import open_pool
from foveate.pool.pool import read_codes
from foveate.registry import unknown_name
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.focus.job import FocusBenchJob
    from foveate.pool.pool import Pool, Scene

LABELLED = "regions"  # the table of labelled scenes
DRAWS = 200  # sets of random windows for each set of selected ones
_TRIES = 50  # attempts to place a random window without overlap
_LEAST = 0.5  # minimum labelled share of a random window


@dataclass(frozen=True)
class MaskedScenes:
    """Scenes with masks and a target class.

    Attributes:
        images: Pool with one tile per scene.
        target: Name of the target class.
        count: Maximum number of scenes; None for all.
    """

    images: Pool
    target: str
    count: int | None = None
    stitched: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Displayed name: the target class."""
        return self.target

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        return self._legend.names

    @property
    def _legend(self) -> Legend:
        assert self.images.legend is not None  # noqa: S101  (`open_labelled` reads it)
        return self.images.legend

    @cached_property
    def key(self) -> str:
        """Hash of images, masks, legend and target."""
        files = [
            [s.scene_id, s.source.info.fingerprint, s.mask and s.mask.info.fingerprint]
            for s in self.images.scenes
        ]
        return digest([files, self._legend.to_dict(), self.target, self.count])

    def pool(self) -> Pool:
        """Return the images."""
        return self.images

    def scenes(self, seed: int) -> list[BenchScene]:  # noqa: ARG002  (independent of the seed)
        """Return the scenes, which do not depend on the seed; those of a folder are one area."""
        return [
            BenchScene(
                scene.scene_id, self.target, WHOLE, partial(self._open, scene),
                scene.scene_id.rpartition("/")[0],
            )
            for scene in self.images.scenes[: self.count]
        ]  # fmt: skip

    def _open(self, scene: Scene) -> Opened:
        whole = Window(0, 0, *scene.source.info.shape)
        codes = read_codes(scene, whole, self._legend, scene.source.read(whole).valid)
        target = codes == self._legend.names.index(self.target)
        return Opened(scene.source, labels=TargetLabels(target, codes >= 0))


@dataclass(frozen=True)
class TargetLabels:
    """Mask of the target class in a scene.

    Attributes:
        target: (h, w) bool, the pixels of the target class.
        labelled: (h, w) bool, the pixels of any class.
    """

    target: NDArray[np.bool_]
    labelled: NDArray[np.bool_]

    def share(self, windows: Sequence[Window]) -> float:
        """Return the share of the pixels of the class inside windows; NaN if there are none."""
        inside = np.zeros(self.target.shape, bool)
        for w in windows:
            inside[w.y : w.y + w.h, w.x : w.x + w.w] = True
        count = np.count_nonzero(self.target)
        return np.count_nonzero(inside & self.target) / count if count else float("nan")

    def random_share(self, windows: Sequence[Window], seed: int, draws: int = DRAWS) -> float:
        """Return the mean share of the class inside random windows of the same sizes.

        Args:
            windows: Windows with the number and sizes to draw; see `random_windows`.
            seed: Seed of the positions.
            draws: Number of sets of random windows.
        """
        drawn = random_windows([(w.h, w.w) for w in windows], self.labelled, draws, seed)
        return float(np.mean([self.share(one) for one in drawn]))


def random_windows(
    sizes: Sequence[tuple[int, int]], labelled: NDArray[np.bool_], draws: int, seed: int
) -> list[list[Window]]:
    """Draw windows of given sizes, each at least half labelled, without overlap.

    Windows of a set are drawn in order of decreasing size. If 50 positions in turn are rejected
    (little room, or few labels), the last one is used.

    Args:
        sizes: ``(h, w)`` of each, no larger than the scene.
        labelled: (H, W) bool.
        draws: Number of sets.
        seed: Seed of the positions.

    Returns:
        `draws` lists with a window for each size.
    """
    draw = rng(seed, "bench/focus/labelled")
    total = _integral(labelled)
    placed = np.zeros((draws, 0, 4), np.int64)  # top, left, bottom, right of each window
    for h, w in sorted(sizes, key=lambda size: -size[0] * size[1]):
        box = np.zeros((draws, 4), np.int64)
        again = np.ones(draws, bool)
        for _ in range(_TRIES):
            n = int(again.sum())
            y = draw.integers(labelled.shape[0] - h + 1, size=n)
            x = draw.integers(labelled.shape[1] - w + 1, size=n)
            box[again] = np.stack([y, x, y + h, x + w], axis=1)
            again = _overlaps(placed, box) | (_count(total, box) < _LEAST * h * w)
            if not again.any():
                break
        placed = np.concatenate([placed, box[:, None]], axis=1)
    return [[Window(y, x, v - y, u - x) for y, x, v, u in one] for one in placed.tolist()]


def salient_windows(
    windows: Sequence[Window], salience: NDArray[np.floating], labelled: NDArray[np.bool_]
) -> list[Window]:
    """Place windows of given sizes at the maxima of a map, the largest first, without overlap.

    Args:
        windows: Windows with the number and sizes to place.
        salience: (gh, gw) map of the scene.
        labelled: (H, W) bool; windows are at least half labelled, if such positions remain.

    Returns:
        The window with the largest mean for each size; ties are broken in row-major order.
    """
    height, width = labelled.shape
    rows, cols = (
        np.arange(side) * n // side for side, n in zip(labelled.shape, salience.shape, strict=True)
    )
    total = _integral(salience[np.ix_(rows, cols)].astype(np.float64))
    labelled_total = _integral(labelled)
    placed: list[Window] = []
    for h, w in sorted(((w.h, w.w) for w in windows), key=lambda size: -size[0] * size[1]):
        mean = _sums(total, h, w) / (h * w)
        mean[_sums(labelled_total, h, w) < _LEAST * h * w] -= np.ptp(salience) + 1
        for o in placed:
            mean[max(o.y - h + 1, 0) : o.y + o.h, max(o.x - w + 1, 0) : o.x + o.w] = -np.inf
        y, x = np.unravel_index(int(mean.argmax()), (height - h + 1, width - w + 1))
        placed.append(Window(int(y), int(x), h, w))
    return placed


def _integral(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the integral image: (h, w) to (h + 1, w + 1)."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.float64)
    total[1:, 1:] = values.astype(np.float64).cumsum(0).cumsum(1)
    return total


def _sums(total: NDArray[np.float64], h: int, w: int) -> NDArray[np.float64]:
    """Return the sums in all windows of a size, indexed by their upper left pixel."""
    return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]


def _overlaps(placed: NDArray[np.int64], box: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether (n, 4) boxes overlap one of the (n, k, 4) placed boxes of their set."""
    one = box[:, None]
    rows = np.minimum(placed[..., 2], one[..., 2]) > np.maximum(placed[..., 0], one[..., 0])
    cols = np.minimum(placed[..., 3], one[..., 3]) > np.maximum(placed[..., 1], one[..., 1])
    return (rows & cols).any(axis=1)


def _count(total: NDArray[np.float64], box: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums in (n, 4) boxes from an integral image."""
    y, x, v, u = box.T
    return total[v, u] - total[y, u] - total[v, x] + total[y, x]


def check_labelled(job: FocusBenchJob) -> None:
    """Check the options of masks against the table.

    Raises:
        ParameterError: The table has no masks, or an option of the table of masks is missing.
    """
    given = {
        "--masks": bool(job.masks), "--classes": job.classes is not None,
        "--target": bool(job.targets),
    }  # fmt: skip
    if job.table != LABELLED:
        stated = [name for name, is_given in given.items() if is_given]
        stated += ["--mask-suffix"] if job.mask_suffix else []
        stated += ["--nodata"] if job.nodata is not None else []
        if stated:
            raise ParameterError(
                f"{stated[0]} with the table {job.table}",
                f"It is allowed with the table {LABELLED} only.",
                f"Type --table {LABELLED}.",
            )  # fmt: skip
        return
    missing = [name for name, is_given in given.items() if not is_given]
    if missing or not job.scenes:
        raise ParameterError(
            f"--table {LABELLED} without {', '.join(missing or ['--scenes'])}",
            "Images, masks, their classes, and target classes are required.",
            "Type --scenes IMAGES --masks MASKS --classes FILE --target building,road.",
        )
    if job.kinds not in ([], [WHOLE]):
        raise ParameterError(
            f"--kind {','.join(job.kinds)} with the table {LABELLED}",
            "Its scenes are whole images.",
            f"Type --kind {WHOLE}, or omit it.",
        )  # fmt: skip


def open_labelled(job: FocusBenchJob) -> list[MaskedScenes]:
    """Open images and masks: one set of scenes per target class.

    Raises:
        UnknownNameError: A target is not one of the labelled classes.
        DataError: Images and masks do not match, or no scene contains a target.
    """
    assert job.classes is not None  # noqa: S101  (`check_labelled` requires it)
    legend = Legend.from_file(job.classes)
    for name in job.targets:
        if name not in legend.names:
            raise unknown_name("target", name, legend.names, "Classes")
    pool = open_pool(
        job.scenes,
        masks=job.masks,
        mask_suffix=job.mask_suffix,
        classes=legend,
        split=(1, 1),
        nodata=job.nodata,
    )
    assert pool.counts is not None  # noqa: S101  (there are masks)
    for name in job.targets:
        if not pool.counts[:, legend.names.index(name)].any():
            raise DataError(
                f"no pixel of {name!r} in {len(pool.scenes)} scenes",
                "At least one scene must contain the target.",
            )
    return [MaskedScenes(pool, name, job.count) for name in dict.fromkeys(job.targets)]
