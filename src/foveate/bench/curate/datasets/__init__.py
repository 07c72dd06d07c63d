"""The data sets of the core-set paper (section IV-A): file locations and splits.

The YAML files in this folder define classes, file names, ids of the parts, and value ranges.
Images and masks are found by the classes of torchgeo. Surface models, which torchgeo does not
support for Vaihingen and Potsdam, are found by the file names of the contests. Nothing is
downloaded or unpacked.

Deviation: the labels of the test images of DFC2022 were never released. The last fifth of the
labelled images of each city by name, those farthest east, is used as the test part; a tenth of the
others, drawn by their names, is used for validation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml

from foveate.errors import DataError
from foveate.files import printable
from foveate.labels import Legend
from foveate.models.extras import EXTRAS, need_extra
from foveate.pool.pairing import Row
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.models.base import Scale

DatasetName = Literal["dfc2022", "vaihingen", "potsdam"]
PARTS = ("train", "test", "val")
ENCODER_BANDS = [1, 2, 3]  # ResNet-18 with ImageNet weights has three; the U-Net uses all
_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """The files of a data set.

    Attributes:
        rows: "train", "test" and "val" -> the files of its scenes.
        legend: The classes.
        scale: (low, high) of each band; empty if it must be measured.
        absent: Caution about missing images; "" if there are none.
    """

    rows: Mapping[str, tuple[Row, ...]]
    legend: Legend
    scale: Scale
    absent: str = ""


@dataclass(frozen=True)
class Facts:
    """Content of the YAML file of a data set; the attributes are its entries."""

    title: str
    torchgeo: str
    batch: int
    classes: dict[str, Any]
    extra: list[dict[str, Any]]
    layout: str
    ignore: list[Any] = field(default_factory=list)
    tolerance: int = 0
    not_averaged: list[str] = field(default_factory=list)
    folder: str = ""
    image: str = ""
    mask: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    train: list[Any] = field(default_factory=list)
    val: list[Any] = field(default_factory=list)
    test: list[Any] = field(default_factory=list)


def facts(name: str) -> Facts:
    """Return the facts of a data set (a `DatasetName`) that do not need its files."""
    return Facts(**yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text("utf-8")))


def find_dataset(name: DatasetName, root: str | Path) -> Found:
    """Find the files of a data set.

    Args:
        name: Name of the data set.
        root: Folder of the data set, with the layout that torchgeo expects.

    Raises:
        DataError: The layout of the folder differs, an image has no mask or no surface model, or
            one of the parts has no image.
        MissingExtraError: torchgeo is not installed.
    """
    need_extra(EXTRAS["torchgeo"], f"--dataset {name}")
    known, root = facts(name), Path(root)
    if not root.is_dir():
        raise _other_layout(known, f"the folder {printable(str(root))!r} does not exist")
    read = _by_folders if known.shares else _by_ids
    rows, scale, absent = read(known, root)
    for part in PARTS:
        if not rows[part]:
            which = absent.partition(":")[0]
            problem = f"no image for {part!r} in {printable(str(root))!r}"
            raise _other_layout(known, f"{problem}; {which}" if which else problem)
    content = {
        "classes": known.classes, "ignore": known.ignore, "tolerance": known.tolerance,
    }  # fmt: skip
    return Found(rows, Legend.from_dict(content), scale, absent)


Rows = dict[str, tuple[Row, ...]]


def _by_ids(known: Facts, root: Path) -> tuple[Rows, Scale, str]:
    """Find the images by the lists of ids."""
    complete = {Path(f["image"]) for s in ("train", "test") for f in _torchgeo(known, root, s)}
    extra = next((e for e in known.extra if _any(known, root, e["file"])), known.extra[0])
    rows: Rows = {}
    missing, incomplete = [], []
    for part in PARTS:
        scenes = []
        for name in getattr(known, part):
            numbers = _numbers(name)
            image, mask, height = (
                root / text.format(*numbers) for text in (known.image, known.mask, extra["file"])
            )
            if not image.is_file():
                missing.append(image)
                continue
            incomplete += [] if image in complete else [mask]
            incomplete += [] if height.is_file() else [height]
            scenes.append(Row(image.stem, (image,), mask, (height,)))
        rows[part] = tuple(scenes)
    _need_all(known, root, incomplete)
    count = sum(len(getattr(known, part)) for part in PARTS)
    return rows, _scale(extra), _absent(known, root, missing, count)


def _by_folders(known: Facts, root: Path) -> tuple[Rows, Scale, str]:
    """Find the images of all cities, and divide them by `Facts.shares`."""
    if not (root / known.folder).is_dir():
        raise _other_layout(known, f"no folder {known.folder!r} in {printable(str(root))!r}")
    cities: dict[str, list[Row]] = {}
    incomplete = []
    for file in _torchgeo(known, root, "train"):
        image, mask, height = (Path(file[name]) for name in ("image", "target", "dem"))
        incomplete += [path for path in (mask, height) if not path.is_file()]
        city = image.parent.parent.name
        cities.setdefault(city, []).append(Row(f"{city}/{image.stem}", (image,), mask, (height,)))
    _need_all(known, root, incomplete)
    test: list[Row] = []
    others: list[Row] = []
    for scenes in cities.values():
        ordered = sorted(scenes, key=lambda row: row.key)
        count = max(1, round(known.shares["test"] * len(ordered)))
        others += ordered[:-count]
        test += ordered[-count:]
    drawn = np.argsort(tie_keys([row.key for row in others], 0, "bench/validation"), kind="stable")
    count = max(1, round(known.shares["val"] * len(others)))
    val = [others[i] for i in np.sort(drawn[:count])]
    train = [others[i] for i in np.sort(drawn[count:])]
    rows = {"train": tuple(train), "test": tuple(test), "val": tuple(val)}
    return rows, _scale(known.extra[0]), ""


def _torchgeo(known: Facts, root: Path, split: str) -> Sequence[dict[str, str]]:
    """Return the files that torchgeo finds; nothing is unpacked or compared with a checksum."""
    import torchgeo.datasets

    kind: Any = getattr(torchgeo.datasets, known.torchgeo)
    # The original check requires parts that are not used here, and unpacks archives.
    unverified = type(known.torchgeo, (kind,), {"_verify": lambda _: None})
    return unverified(str(root), split=split, checksum=False).files


def _any(known: Facts, root: Path, template: str) -> bool:
    ids = [one for part in PARTS for one in getattr(known, part)]
    return any((root / template.format(*_numbers(one))).is_file() for one in ids)


def _numbers(one: Any) -> list[int]:
    """Return the numbers of an id such as "2_10" (quoted in YAML, which would read it as 210)."""
    return [int(part) for part in str(one).split("_")]


def _scale(extra: Mapping[str, Any]) -> Scale:
    return tuple((float(low), float(high)) for low, high in extra.get("scale", ()))


def _need_all(known: Facts, root: Path, missing: Sequence[Path]) -> None:
    if missing:
        count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
        where = printable(str(root))
        raise _other_layout(known, f"{count} missing in {where!r}: {_named(missing, root)}")


def _absent(known: Facts, root: Path, missing: Sequence[Path], count: int) -> str:
    if not missing:
        return ""
    return (
        f"{len(missing)} of the {count} images of {known.title} are missing "
        f"({_named(missing, root)}): the results are not those of the whole data set."
    )


def _named(paths: Sequence[Path], root: Path) -> str:
    names = ", ".join(printable(str(path.relative_to(root))) for path in paths[:_SHOWN])
    return names + (" ..." if len(paths) > _SHOWN else "")


def _other_layout(known: Facts, what: str) -> DataError:
    return DataError(
        f"{known.title}: {what}",
        "Nothing is downloaded or unpacked.",
        f"Expected layout of the folder --root:\n{known.layout.rstrip()}",
    )
