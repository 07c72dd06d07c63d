"""Scenes of a benchmark of `focus`: what is to be said of each, and where it is to be found.

A set of scenes is a folder that `foveate mosaic` wrote, class folders of patches that mosaics are
stitched of under each seed, or class folders of whole scenes. A scene is opened when it is looked
at, one at a time: stitched ones are large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.files import digest, fingerprint, printable, read_json
from foveate.grid import Window
from foveate.models.extras import EXTRAS, need_extra
from foveate.pool.folder import open_pool
from foveate.raster import ArraySource, FileSource
from foveate.raster.ground import metres_per_pixel
from foveate.seeds import tie_keys
from foveate.world.mosaic import MOSAIC_KINDS, stitch
from foveate.world.mosaic_files import patches_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from foveate.bench.focus.labelled import TargetLabels
    from foveate.pool.pool import Pool
    from foveate.raster import Source

DatasetName = Literal["resisc45", "aid", "rsi-cb"]
WHOLE = "whole"  # the kind of scenes that are taken as they are
KINDS = (*MOSAIC_KINDS, WHOLE)
TRUTH = "truth.json"
_TOLD = ("file", "label", "kind", "planted", "tile")  # of a scene
_CLASSES_READ = 64  # of their images the range of values is taken


@dataclass(frozen=True)
class Opened:
    """A scene that is open.

    Attributes:
        source: Its pixels.
        planted: Windows of what is to be found; none where only the class is known.
        patch: Side of the patches that it is stitched of, pixels; None for a whole scene.
        labels: Where the class is that is looked for; None where pixels have no labels.
    """

    source: Source
    planted: tuple[Window, ...] = ()
    patch: int | None = None
    labels: TargetLabels | None = None

    @property
    def gsd(self) -> float | None:
        """Metres on the ground of a pixel; None where the image lies nowhere that is known."""
        return metres_per_pixel(self.source.info)


@dataclass(frozen=True)
class BenchScene:
    """A scene that can be opened.

    Attributes:
        name: Tells it apart; the same scene under two seeds has one name.
        label: The class that it is about.
        kind: What kind of scene it is.
        open: Reads or stitches it.
        area: What it lies in with others, which are no independent evidence; "" where unknown.
    """

    name: str
    label: str
    kind: str
    open: Callable[[], Opened]
    area: str = ""


class SceneSet(Protocol):
    """Scenes of one origin."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        ...

    @property
    def stitched(self) -> bool:
        """Whether others are drawn under each seed."""
        ...

    @property
    def key(self) -> str:
        """Hash of everything that the scenes depend on, but for the seed."""
        ...

    def pool(self) -> Pool:
        """Return images that bands and range of values are taken from."""
        ...

    def scenes(self, seed: int) -> list[BenchScene]:
        """Return the scenes of a seed."""
        ...


@dataclass(frozen=True)
class MosaicScenes:
    """Scenes that `foveate mosaic` wrote.

    Attributes:
        root: The folder.
        count: Most scenes; None for all.
    """

    root: Path
    count: int | None = None
    stitched: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """For people."""
        return self.root.name

    @cached_property
    def _truth(self) -> dict[str, Any]:
        found = read_json(self.root / TRUTH)
        try:
            known = [[m[name] for name in _TOLD] for m in found["mosaics"]]
            made = bool(known and list(found["classes"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{printable(str(self.root / TRUTH))!r} is not what foveate mosaic writes",
                f"It has no {error}.", "Write the scenes again: foveate mosaic PATCHES --out DIR.",
            ) from error  # fmt: skip
        if not made:
            raise DataError(f"no scene in {printable(str(self.root / TRUTH))!r}", "One is needed.")
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        return tuple(self._truth["classes"])

    @cached_property
    def key(self) -> str:
        """Hash of truth and images."""
        files = [self.root / TRUTH, *(self.root / m["file"] for m in self._truth["mosaics"])]
        return digest([[fingerprint(file) for file in files], self.count])

    def pool(self) -> Pool:
        """Return the images."""
        files = [self.root / m["file"] for m in self._truth["mosaics"]]
        return open_pool(files[:_CLASSES_READ], split=(1, 1), measure=False)

    def scenes(self, seed: int) -> list[BenchScene]:  # noqa: ARG002  (the same under each)
        """Return the scenes, the same under each seed."""

        def opened(entry: Mapping[str, Any]) -> Opened:
            planted = tuple(Window(**box) for box in entry["planted"])
            return Opened(FileSource(str(self.root / entry["file"])), planted, entry["tile"])

        return [
            BenchScene(
                f"{self.name}/{Path(entry['file']).stem}", entry["label"], entry["kind"],
                partial(opened, entry),
            )
            for entry in self._truth["mosaics"][: self.count]
        ]  # fmt: skip


@dataclass(frozen=True)
class Stitching:
    """How scenes are stitched.

    Attributes:
        kinds: Kinds of mosaics; see `foveate.world.mosaic.stitch`.
        count: Scenes of each kind under each seed.
        grid: Cells along a side.
        offset: Share of a cell by which the scene is cut off the grid of its patches.
    """

    kinds: tuple[str, ...]
    count: int = 10
    grid: int = 8
    offset: float = 0.0


@dataclass(frozen=True)
class StitchedScenes:
    """Scenes that are stitched of labelled patches, others under each seed.

    Attributes:
        name: For people.
        patches: Class -> image files.
        how: Kinds, number and size.
    """

    name: str
    patches: Mapping[str, Sequence[Path]]
    how: Stitching
    stitched: ClassVar[bool] = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        return tuple(self.patches)

    @cached_property
    def key(self) -> str:
        """Hash of names and sizes of the patches, and of how they are stitched."""
        return digest([_listing(self.patches), vars(self.how)])

    def pool(self) -> Pool:
        """Return a patch of each class."""
        return _sample(self.patches)

    def scenes(self, seed: int) -> list[BenchScene]:
        """Return the scenes of a seed: `count` of each kind."""
        labels = self._labels(seed)
        return [
            BenchScene(
                f"{self.name}/{kind}-{seed}-{index:03d}", labels[index], kind,
                partial(self._stitch, kind, seed, index, labels[index]),
            )
            for kind in self.how.kinds
            for index in range(self.how.count)
        ]  # fmt: skip

    def _labels(self, seed: int) -> list[str]:
        """Draw the classes that scenes are about: none again before all were drawn."""
        rounds = range(-(-self.how.count // len(self.patches)))
        names = sorted(self.patches)
        orders = [np.argsort(tie_keys(names, seed, f"bench/focus/{i}")) for i in rounds]
        return [names[k] for order in orders for k in order][: self.how.count]

    def _stitch(self, kind: str, seed: int, index: int, label: str) -> Opened:
        side = self.how.grid
        found = stitch(
            self.patches, kind, rows=side, cols=side, seed=seed, index=index, label=label,
            offset=self.how.offset,
        )  # fmt: skip
        return Opened(ArraySource(found.image), found.planted, found.tile)


@dataclass(frozen=True)
class LabelledScenes:
    """Whole scenes in class folders: nothing is known of them but their class.

    Attributes:
        name: For people.
        files: Class -> image files.
        count: Scenes of each class under each seed; None for all.
    """

    name: str
    files: Mapping[str, Sequence[Path]]
    count: int | None = None

    @property
    def stitched(self) -> bool:
        """Whether others are drawn under each seed."""
        return self.count is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        return tuple(self.files)

    @cached_property
    def key(self) -> str:
        """Hash of names and sizes of the images."""
        return digest([_listing(self.files), self.count])

    def pool(self) -> Pool:
        """Return an image of each class."""
        return _sample(self.files)

    def scenes(self, seed: int) -> list[BenchScene]:
        """Return the scenes, `count` of each class drawn by the seed."""
        found = []
        for label, files in self.files.items():
            keys = tie_keys([file.name for file in files], seed, f"bench/focus/{label}")
            order = np.argsort(keys, kind="stable")[: self.count]
            found += [
                BenchScene(
                    f"{self.name}/{label}/{files[i].stem}", label, WHOLE,
                    partial(_open_file, files[i]),
                )
                for i in sorted(order.tolist())
            ]  # fmt: skip
        return found


def _open_file(file: Path) -> Opened:
    return Opened(FileSource(str(file)))


def _listing(files: Mapping[str, Sequence[Path]]) -> list[Any]:
    """Return what tells the files apart without reading them: there may be ten thousands."""
    return [[name, [[f.name, f.stat().st_size] for f in found]] for name, found in files.items()]


def _sample(files: Mapping[str, Sequence[Path]]) -> Pool:
    one = [found[0] for found in files.values()][:_CLASSES_READ]
    return open_pool(one, split=(1, 1), measure=False)


def open_scenes(
    folder: str | Path, how: Stitching, *, stated: bool, count: int | None = None
) -> SceneSet:
    """Open a folder of scenes, or of patches to stitch scenes of.

    Args:
        folder: With truth.json, or with class folders.
        how: How patches are stitched.
        stated: Whether the kinds were stated: scenes of truth.json have theirs. Where they were
            not, kinds are left out that take more classes than there are.
        count: Scenes, where they are not stitched; None for all.

    Raises:
        DataError: The folder holds neither.
        ParameterError: Kinds were stated for scenes that are made.
    """
    root = Path(folder)
    if (root / TRUTH).is_file():
        if stated:
            raise ParameterError(
                f"--kind for the scenes of {printable(str(root))!r}",
                f"They are stitched already, and {TRUTH} says what they are.",
                "Leave --kind out, or give class folders of patches.",
            )
        return MosaicScenes(root, count)
    return _labelled(root.name, patches_in(root), how, stated=stated, count=count)


def open_dataset(
    name: DatasetName, root: str | Path, how: Stitching, *, stated: bool, count: int | None = None
) -> SceneSet:
    """Open a data set of labelled patches: the test split, where there is one.

    Args:
        name: Which.
        root: Its folder: of "resisc45" as torchgeo expects it, else of class folders.
        how: How patches are stitched.
        stated: Whether the kinds were stated; see `open_scenes`.
        count: Scenes of each class, where patches are scenes.

    Raises:
        DataError: The folder has another layout.
        MissingExtraError: torchgeo is not installed, for "resisc45".
    """
    files = _resisc45(Path(root)) if name == "resisc45" else patches_in(root)
    return _labelled(name, files, how, stated=stated, count=count)


def _labelled(
    name: str, files: Mapping[str, Sequence[Path]], how: Stitching, *, stated: bool,
    count: int | None,
) -> SceneSet:  # fmt: skip
    if not stated:
        able = tuple(kind for kind in how.kinds if MOSAIC_KINDS.get(kind, 1) <= len(files))
        how = replace(how, kinds=able)
    if WHOLE in how.kinds:
        if how.kinds != (WHOLE,):
            raise ParameterError(
                f"--kind {','.join(how.kinds)}", "Images are scenes themselves, or parts of some.",
                f"--kind {WHOLE}, or the others without it.",
            )  # fmt: skip
        return LabelledScenes(name, files, count)
    return StitchedScenes(name, files, how)


def _resisc45(root: Path) -> dict[str, list[Path]]:
    need_extra(EXTRAS["torchgeo"], "--dataset resisc45")
    from torchgeo.datasets import RESISC45, DatasetNotFoundError

    try:
        data = RESISC45(str(root), split="test", checksum=False)
    except DatasetNotFoundError as error:
        raise DataError(
            f"no RESISC45 in {printable(str(root))!r}",
            "Expected NWPU-RESISC45/CLASS/*.jpg and resisc45-test.txt, as torchgeo has it.",
            "Unpack it there; nothing is downloaded.",
        ) from error
    found: dict[str, list[Path]] = {name: [] for name in data.classes}
    for file, number in data.imgs:
        found[data.classes[number]].append(Path(file))
    return {name: files for name, files in found.items() if files}


DATASETS: tuple[str, ...] = get_args(DatasetName)
