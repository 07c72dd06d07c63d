"""Whole scenes whose pixels are labelled, and how much of a class the chosen regions hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from foveate.bench.focus.scenes import WHOLE, BenchScene, Opened
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.files import digest
from foveate.grid import Window
from foveate.labels import Legend
from foveate.pool.folder import open_pool
from foveate.pool.pool import read_codes
from foveate.registry import suggest
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.focus.job import FocusBenchJob
    from foveate.pool.pool import Pool, Scene

LABELLED = "regions"  # the table of labelled scenes
DRAWS = 200  # sets of random windows for each set of chosen ones
_TRIES = 50  # places for a random window, before one is taken that overlaps
_LEAST = 0.5  # labelled share of a random window


@dataclass(frozen=True)
class MaskedScenes:
    """Scenes with masks, of which one class is looked for.

    Attributes:
        images: One tile for each scene.
        target: Name of the class.
        count: Most scenes; None for all.
    """

    images: Pool
    target: str
    count: int | None = None
    stitched: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """For people: the class that is looked for."""
        return self.target

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        return self._legend.names

    @property
    def _legend(self) -> Legend:
        assert self.images.legend is not None  # noqa: S101  (`open_labelled` has read it)
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

    def scenes(self, seed: int) -> list[BenchScene]:  # noqa: ARG002  (the same under each)
        """Return the scenes, the same under each seed; those of a folder are one area."""
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
        wanted = codes == self._legend.names.index(self.target)
        return Opened(scene.source, labels=TargetLabels(wanted, codes >= 0))


@dataclass(frozen=True)
class TargetLabels:
    """Where in a scene the class is that is looked for.

    Attributes:
        target: (h, w) bool, its pixels.
        labelled: (h, w) bool, the pixels of any class.
    """

    target: NDArray[np.bool_]
    labelled: NDArray[np.bool_]

    def share(self, windows: Sequence[Window]) -> float:
        """Return the share of the pixels of the class that lie in windows; NaN without any."""
        inside = np.zeros(self.target.shape, bool)
        for w in windows:
            inside[w.y : w.y + w.h, w.x : w.x + w.w] = True
        count = np.count_nonzero(self.target)
        return np.count_nonzero(inside & self.target) / count if count else float("nan")

    def random_share(self, windows: Sequence[Window], seed: int, draws: int = DRAWS) -> float:
        """Return the mean share that random windows of the same sizes hold.

        Args:
            windows: Windows whose number and sizes count; see `random_windows`.
            seed: Of the places.
            draws: Sets of random windows.
        """
        drawn = random_windows([(w.h, w.w) for w in windows], self.labelled, draws, seed)
        return float(np.mean([self.share(one) for one in drawn]))


def random_windows(
    sizes: Sequence[tuple[int, int]], labelled: NDArray[np.bool_], draws: int, seed: int
) -> list[list[Window]]:
    """Draw windows of given sizes anywhere in a scene where at least half of one is labelled.

    Windows of a set do not overlap, the largest first. Where 50 places in turn do not do (there
    is little room, or few labels), the last of them counts.

    Args:
        sizes: ``(h, w)`` of each, no larger than the scene.
        labelled: (H, W) bool.
        draws: Number of sets.
        seed: Of the places.

    Returns:
        `draws` lists of a window for each size.
    """
    draw = rng(seed, "bench/focus/labelled")
    total = _above(labelled)
    placed = np.zeros((draws, 0, 4), np.int64)  # of each window y, x, its end down and across
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
    """Put windows of given sizes where a map has most, the largest first, without overlap.

    Args:
        windows: Windows whose number and sizes count.
        salience: (gh, gw) map of the scene.
        labelled: (H, W) bool; at least half of a window is, where there is such a place left.

    Returns:
        A window of the mean that is largest for each; of equal ones the first, row-major.
    """
    height, width = labelled.shape
    rows, cols = (
        np.arange(side) * n // side for side, n in zip(labelled.shape, salience.shape, strict=True)
    )
    total = _above(salience[np.ix_(rows, cols)].astype(np.float64))
    known = _above(labelled)
    placed: list[Window] = []
    for h, w in sorted(((w.h, w.w) for w in windows), key=lambda size: -size[0] * size[1]):
        mean = _sums(total, h, w) / (h * w)
        mean[_sums(known, h, w) < _LEAST * h * w] -= np.ptp(salience) + 1
        for o in placed:
            mean[max(o.y - h + 1, 0) : o.y + o.h, max(o.x - w + 1, 0) : o.x + o.w] = -np.inf
        y, x = np.unravel_index(int(mean.argmax()), (height - h + 1, width - w + 1))
        placed.append(Window(int(y), int(x), h, w))
    return placed


def _above(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return sums of all values above and to the left: (h + 1, w + 1) of (h, w)."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.float64)
    total[1:, 1:] = values.astype(np.float64).cumsum(0).cumsum(1)
    return total


def _sums(total: NDArray[np.float64], h: int, w: int) -> NDArray[np.float64]:
    """Return the sum in each window of a size, by its upper left pixel."""
    return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]


def _overlaps(placed: NDArray[np.int64], box: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of (n, 4) boxes whether they overlap one of their (n, k, 4) others."""
    one = box[:, None]
    down = np.minimum(placed[..., 2], one[..., 2]) > np.maximum(placed[..., 0], one[..., 0])
    across = np.minimum(placed[..., 3], one[..., 3]) > np.maximum(placed[..., 1], one[..., 1])
    return (down & across).any(axis=1)


def _count(total: NDArray[np.float64], box: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the pixels in (n, 4) boxes, of sums of all pixels above and to the left."""
    y, x, v, u = box.T
    return total[v, u] - total[y, u] - total[v, x] + total[y, x]


def check_labelled(job: FocusBenchJob) -> None:
    """Refuse masks where no table uses them, and the table of masks without any.

    Raises:
        ParameterError: They do not go together.
    """
    given = {
        "--masks": bool(job.masks), "--classes": job.classes is not None,
        "--target": bool(job.targets),
    }  # fmt: skip
    if job.table != LABELLED:
        stated = [name for name, there in given.items() if there]
        stated += ["--mask-suffix"] if job.mask_suffix else []
        stated += ["--nodata"] if job.nodata is not None else []
        if stated:
            raise ParameterError(
                f"{stated[0]} in the table {job.table}",
                "It is for scenes with masks, which have a table of their own.",
                f"--table {LABELLED}",
            )  # fmt: skip
        return
    missing = [name for name, there in given.items() if not there]
    if missing or not job.scenes:
        raise ParameterError(
            f"--table {LABELLED} without {', '.join(missing or ['--scenes'])}",
            "It needs images, their masks, the classes of these, and which of them to look for.",
            "--scenes IMAGES --masks MASKS --classes FILE --target building,road",
        )
    if job.kinds not in ([], [WHOLE]):
        raise ParameterError(
            f"--kind {','.join(job.kinds)} in the table {LABELLED}", "Its scenes are whole images.",
            f"--kind {WHOLE}, or leave it out.",
        )  # fmt: skip


def open_labelled(job: FocusBenchJob) -> list[MaskedScenes]:
    """Open images and masks: a set of scenes for each class that is looked for.

    Raises:
        UnknownNameError: A target is no class that counts.
        DataError: Images and masks do not go together, or no scene shows a target.
    """
    assert job.classes is not None  # noqa: S101  (`check_labelled` saw it)
    legend = Legend.from_file(job.classes)
    for name in job.targets:
        if name not in legend.names:
            raise UnknownNameError(
                f"the classes have no {name!r} that counts",
                f"Classes: {', '.join(legend.names)}.", suggest(name, legend.names),
            )  # fmt: skip
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
                f"no pixel of {name!r} in {len(pool.scenes)} scenes", "There is nothing to find."
            )
    return [MaskedScenes(pool, name, job.count) for name in dict.fromkeys(job.targets)]
