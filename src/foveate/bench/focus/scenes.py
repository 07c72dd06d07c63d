"""Scenes of a benchmark of `focus`, with their labels and the positions of their targets.

A set of scenes is a folder written by `foveate mosaic`, class folders of patches that are stitched
to mosaics under each seed, or class folders of whole scenes. Scenes are opened one at a time when
they are processed, because stitched ones are large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

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
WHOLE = "whole"  # the kind of scenes that are not stitched
KINDS = (*MOSAIC_KINDS, WHOLE)
TRUTH = "truth.json"
_FIELDS = ("file", "label", "kind", "planted", "tile")  # of a scene in truth.json
_CLASSES_READ = 64  # maximum number of images from which the value range is derived


@dataclass(frozen=True)
class Opened:
    """An open scene.

    Attributes:
        source: Its pixels.
        planted: Windows of the targets; empty if only the class is known.
        patch: Side of the patches of a stitched scene, pixels; None for a whole scene.
        labels: Mask of the target class; None without pixel labels.
    """

    source: Source
    planted: tuple[Window, ...] = ()
    patch: int | None = None
    labels: TargetLabels | None = None

    @property
    def gsd(self) -> float | None:
        """Ground sampling distance in metres; None if the image is not georeferenced."""
        return metres_per_pixel(self.source.info)


@dataclass(frozen=True)
class BenchScene:
    """A scene that can be opened.

    Attributes:
        name: Identifier; the same scene under two seeds has one name.
        label: Class of the scene.
        kind: Kind of scene.
        open: Reads or stitches the scene.
        area: Area that the scene shares with others, which are not independent; "" if unknown.
    """

    name: str
    label: str
    kind: str
    open: Callable[[], Opened]
    area: str = ""


class SceneSet(Protocol):
    """A set of scenes."""

    @property
    def name(self) -> str:
        """Displayed name."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes."""
        ...

    @property
    def stitched(self) -> bool:
        """Whether each seed draws other scenes."""
        ...

    @property
    def key(self) -> str:
        """Hash of all dependencies of the scenes except the seed."""
        ...

    def pool(self) -> Pool:
        """Return images from which bands and value range are derived."""
        ...

    def scenes(self, seed: int) -> list[BenchScene]:
        """Return the scenes of a seed."""
        ...


@dataclass(frozen=True)
class MosaicScenes:
    """Scenes written by `foveate mosaic`.

    Attributes:
        root: The folder.
        count: Maximum number of scenes; None for all.
    """

    root: Path
    count: int | None = None
    stitched: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Displayed name."""
        return self.root.name

    @cached_property
    def _truth(self) -> dict[str, Any]:
        truth = read_json(self.root / TRUTH)
        try:
            scenes = [[m[name] for name in _FIELDS] for m in truth["mosaics"]]
            complete = bool(scenes and list(truth["classes"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{printable(str(self.root / TRUTH))!r} was not written by foveate mosaic",
                f"It has no {error}.", "Write the scenes again: foveate mosaic PATCHES --out DIR.",
            ) from error  # fmt: skip
        if not complete:
            raise DataError(
                f"no scenes in {printable(str(self.root / TRUTH))!r}",
                "At least one scene is required.",
            )
        return truth

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

    def scenes(self, seed: int) -> list[BenchScene]:  # noqa: ARG002  (independent of the seed)
        """Return the scenes, which do not depend on the seed."""

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
    """Settings of stitching.

    Attributes:
        kinds: Kinds of mosaics; see `foveate.world.mosaic.stitch`.
        count: Scenes of each kind under each seed.
        grid: Patches along a side.
        offset: Offset of the scene from the grid of its patches, as a share of a patch.
    """

    kinds: tuple[str, ...]
    count: int = 10
    grid: int = 8
    offset: float = 0.0


@dataclass(frozen=True)
class StitchedScenes:
    """Scenes stitched from labelled patches, different ones under each seed.

    Attributes:
        name: Displayed name.
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
        """Hash of names and sizes of the patches, and of the settings of stitching."""
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
        """Draw the classes of the scenes; a class repeats only after all were drawn."""
        rounds = range(-(-self.how.count // len(self.patches)))
        names = sorted(self.patches)
        orders = [np.argsort(tie_keys(names, seed, f"bench/focus/{i}")) for i in rounds]
        return [names[k] for order in orders for k in order][: self.how.count]

    def _stitch(self, kind: str, seed: int, index: int, label: str) -> Opened:
        side = self.how.grid
        mosaic = stitch(
            self.patches, kind, rows=side, cols=side, seed=seed, index=index, label=label,
            offset=self.how.offset,
        )  # fmt: skip
        return Opened(ArraySource(mosaic.image), mosaic.planted, mosaic.tile)


@dataclass(frozen=True)
class LabelledScenes:
    """Whole scenes in class folders, of which only the class is known.

    Attributes:
        name: Displayed name.
        files: Class -> image files.
        count: Scenes of each class under each seed; None for all.
    """

    name: str
    files: Mapping[str, Sequence[Path]]
    count: int | None = None

    @property
    def stitched(self) -> bool:
        """Whether each seed draws other scenes."""
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
        """Return the scenes: `count` of each class, drawn with the seed."""
        scenes = []
        for label, files in self.files.items():
            keys = tie_keys([file.name for file in files], seed, f"bench/focus/{label}")
            order = np.argsort(keys, kind="stable")[: self.count]
            scenes += [
                BenchScene(
                    f"{self.name}/{label}/{files[i].stem}", label, WHOLE,
                    partial(_open_file, files[i]),
                )
                for i in sorted(order.tolist())
            ]  # fmt: skip
        return scenes


def _open_file(file: Path) -> Opened:
    return Opened(FileSource(str(file)))


def _listing(files: Mapping[str, Sequence[Path]]) -> list[Any]:
    """Return names and sizes of the files; reading tens of thousands would take too long."""
    return [[name, [[f.name, f.stat().st_size] for f in paths]] for name, paths in files.items()]


def _sample(files: Mapping[str, Sequence[Path]]) -> Pool:
    first = [paths[0] for paths in files.values()][:_CLASSES_READ]
    return open_pool(first, split=(1, 1), measure=False)


def open_scenes(
    folder: str | Path, how: Stitching, *, stated: bool, count: int | None = None
) -> SceneSet:
    """Open a folder of scenes, or of patches to stitch to scenes.

    Args:
        folder: Folder with truth.json, or with class folders.
        how: Settings of stitching.
        stated: Whether the user gave the kinds. Not allowed for scenes of truth.json. If not,
            kinds that need more classes than there are are omitted.
        count: Maximum number of scenes that are not stitched; None for all.

    Raises:
        DataError: The folder has neither truth.json nor class folders.
        ParameterError: Kinds are given for existing scenes.
    """
    root = Path(folder)
    if (root / TRUTH).is_file():
        if stated:
            raise ParameterError(
                f"--kind for the scenes of {printable(str(root))!r}",
                f"They are stitched already; {TRUTH} contains their kinds.",
                "Omit --kind, or use class folders of patches.",
            )
        return MosaicScenes(root, count)
    return _labelled(root.name, patches_in(root), how, stated=stated, count=count)


def open_dataset(
    name: DatasetName, root: str | Path, how: Stitching, *, stated: bool, count: int | None = None
) -> SceneSet:
    """Open a data set of labelled patches, the test split if there is one.

    Args:
        name: Name of the data set.
        root: Its folder, in the layout of torchgeo for "resisc45", else with class folders.
        how: Settings of stitching.
        stated: Whether the user gave the kinds; see `open_scenes`.
        count: Scenes of each class, if patches are scenes.

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
        possible = tuple(kind for kind in how.kinds if MOSAIC_KINDS.get(kind, 1) <= len(files))
        how = replace(how, kinds=possible)
    if WHOLE in how.kinds:
        if how.kinds != (WHOLE,):
            raise ParameterError(
                f"--kind {','.join(how.kinds)}", f"{WHOLE} excludes the other kinds.",
                f"Type --kind {WHOLE}, or the others without it.",
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
            "It must contain NWPU-RESISC45/CLASS/*.jpg and resisc45-test.txt, as for torchgeo.",
            "Unpack it there; nothing is downloaded.",
        ) from error
    by_class: dict[str, list[Path]] = {name: [] for name in data.classes}
    for file, number in data.imgs:
        by_class[data.classes[number]].append(Path(file))
    return {name: files for name, files in by_class.items() if files}
