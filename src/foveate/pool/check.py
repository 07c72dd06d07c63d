"""Consistency checks of the rasters of a pool, from their headers."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.files import printable
from foveate.pool.notes import Note
from foveate.raster import FileSource, StackSource, unplanned
from foveate.raster.ground import other_ground, warp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foveate.pool.notes import Topic
    from foveate.pool.pool import Scene
    from foveate.raster import Frame, Source
    from foveate.raster.base import Remark, SourceInfo


def check_alike(scenes: Sequence[Scene], bands: Sequence[int] | None) -> None:
    """Check sizes of masks, dtypes and bands.

    Raises:
        DataError: The sizes of a mask and its image differ, or dtypes or bands of images differ.
        ParameterError: A band number is out of range for an image.
    """
    first = scenes[0].source.info
    for scene in scenes:
        info = scene.source.info
        if scene.mask is not None and scene.mask.info.shape != info.shape:
            raise DataError(
                f"the image {scene.scene_id!r} has {info.shape[0]} x {info.shape[1]} pixels, its "
                f"mask {scene.mask.info.shape[0]} x {scene.mask.info.shape[1]}",
                "An image and its mask must have the same height and width.",
                f"{_resample(info, scene.mask)}, or check the pairing.",
            )
        if info.dtype != first.dtype:
            raise DataError(
                f"{scenes[0].scene_id!r} is {first.dtype}, {scene.scene_id!r} is {info.dtype}",
                "All images of a pool must have the same dtype.",
                "Convert them, or open them as separate pools.",
            )
        if bands is None and info.bands != first.bands:
            raise DataError(
                f"{scenes[0].scene_id!r} has {first.bands} bands, {scene.scene_id!r} has "
                f"{info.bands}",
                "All images of a pool must have the same number of bands.",
                "Select bands that exist in all images (--bands 1,2,3, bands=[1, 2, 3]; for "
                "observe prepare: gdal_translate -b 1 -b 2 -b 3 IN OUT), or split the folder.",
            )
        if bands is not None and not 1 <= min(bands) <= max(bands) <= info.bands:
            raise ParameterError(
                f"bands {','.join(map(str, bands))}: {scene.scene_id!r} has {info.bands} bands",
                f"Band numbers must be between 1 and {info.bands}.",
            )


# Remark -> topic, text and hint of its note.
_REMARKS: dict[str, tuple[Topic, str, str]] = {
    "alpha is data": (
        "validity",
        "band {} is marked as alpha but has many values, and is read as data",
        "If it is a mask, store it as a mask: gdal_translate -b 1 -b 2 -b 3 -mask {} IN OUT",
    ),
    "alpha is a mask": (
        "validity",
        "band {} is read as alpha, although many of its pixels are partly transparent",
        "If it is data, mark it as data in the file: gdal_edit.py -colorinterp_{} undefined FILE",
    ),
    "nodata cannot be": (
        "validity",
        "the declared nodata value is out of range for the pixel type ({}), and is ignored",
        "Give the correct value: --nodata VALUE, nodata=VALUE",
    ),
    "nodata is replaced": (
        "validity",
        "the given nodata value replaces the declared value ({}), which now counts as valid",
        "Remove --nodata (nodata=...) to use the declared value",
    ),
    "nodata is a class": (
        "classes",
        "the nodata value {} of the mask is a class in the classes file, and is counted",
        "To exclude it, list it under 'ignore' in the classes file",
    ),
    "transparent is a class": (
        "classes",
        "transparent values of the mask are classes in the classes file, and are counted",
        "To exclude them, list them under 'ignore' in the classes file",
    ),
    "white is zero": ("values", "white is stored as 0, and is read as the maximum value", ""),
    "few bits": (
        "values",
        "the mask has {} bits per sample: its values are read as displayed gray values, up to 255",
        "In the classes file, use these values, or only values that fit into the bits",
    ),
    "lying": (
        "values",
        "the orientation tag ({}) is ignored, because the file is georeferenced",
        "",
    ),
    "scale cannot be": (
        "values", "the declared scale and offset are invalid ({}), and are ignored", "",
    ),
}  # fmt: skip


def note_readings(scenes: Sequence[Scene]) -> list[Note]:
    """Return notes on how the files are read: validity, bits per sample, orientation."""
    remarked: dict[Remark, list[str]] = {}
    rotated: dict[int, list[str]] = {}
    for scene in scenes:
        remarks = [*scene.source.info.remarks, *(scene.mask.info.remarks if scene.mask else ())]
        for remark in dict.fromkeys(remarks):
            remarked.setdefault(remark, []).append(scene.scene_id)
        if scene.source.info.orientation != 1 and scene.source.info.geobox is None:
            rotated.setdefault(scene.source.info.orientation, []).append(scene.scene_id)
    notes = []
    for remark, names in remarked.items():
        topic, template, hint = _REMARKS[remark.about]
        text = f"{template.format(remark.value)} {_in(names, scenes)}"
        notes.append(Note(topic, text, hint.format(remark.value), tuple(names)))
    for value, names in rotated.items():
        text = f"the pixels are rotated upright, following the orientation tag ({value})"
        notes.append(Note("values", f"{text} {_in(names, scenes)}", items=tuple(names)))
    return notes


def note_unplanned(scenes: Sequence[Scene]) -> list[Note]:
    """Return a note on remote files that are read through GDAL alone, window after window.

    Files that are opened only when their first pixels are read are not included, such as assets
    that are described by their items.
    """
    paths = [
        printable(part.path)
        for part in unplanned(each for scene in scenes for each in (scene.source, scene.mask))
    ]
    if not paths:
        return []
    are = "file is" if len(paths) == 1 else "files are"
    text = (
        f"{len(paths)} remote {are} read through GDAL alone, without prefetching (the first is "
        f"{paths[0]!r}): async-tiff cannot locate the pixels"
    )
    hint = "Windows of GeoTIFFs are prefetched in parallel: gdal_translate -of COG IN OUT"
    return [Note("files", text, hint, tuple(paths))]


def alike_values(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Note]]:
    """Convert stored values to physical values if scales or offsets of the images differ.

    If all images declare the same scale and offset, or none, stored values are comparable and are
    not converted.

    Returns:
        The scenes, with float32 sources (stored value * scale + offset) if they differ; and a note
        in this case.
    """
    declared: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for scene in scenes:
        info = scene.source.info
        declared.setdefault(info.scaling or ((1.0, 0.0),) * info.bands, []).append(scene.scene_id)
    if len({bands[0] if len(set(bands)) == 1 else bands for bands in declared}) < 2:
        return list(scenes), []
    examples = " and ".join(
        f"{names[0]!r} with scale {bands[0][0]:g} and offset {bands[0][1]:g}"
        for bands, names in list(declared.items())[:2]
    )
    note = Note(
        "values",
        f"the images have {len(declared)} different scales and offsets ({examples}): they are read "
        "as stored value * scale + offset, in float32",
        "The unit of --scale is that of these values",
        tuple(name for names in declared.values() for name in names),
    )
    return [replace(scene, source=_physical(scene.source)) for scene in scenes], [note]


def _resample(image: SourceInfo, mask: Source) -> str:
    """Return the command that brings a mask to the size of its image, as a hint."""
    file = shlex.quote(getattr(mask, "path", "IN"))
    if image.geobox is not None and mask.info.geobox is not None:
        return warp(image, resampling="near", file=file)
    height, width = image.shape
    return (
        "If it shows the same ground, resample it: gdal_translate -r nearest "
        f"-outsize {width} {height} {file} OUT.tif"
    )


def note_frames(frames: Mapping[str, Frame], scenes: int) -> list[Note]:
    """Return notes on scenes with a frame of pixels that seem to be undeclared nodata.

    Args:
        frames: Scene id -> its frame.
        scenes: Number of scenes that were examined.
    """
    values: dict[str, list[str]] = {}
    for name, frame in frames.items():
        values.setdefault(frame.text, []).append(name)
    notes = []
    for value, names in values.items():
        first = frames[names[0]]
        image = f"the image {names[0]!r}" if scenes == 1 else f"{names[0]!r}"
        more = f", and parts of {len(names) - 1} of {scenes - 1} others" * (len(names) > 1)
        text = (
            f"{first.share:.0%} of {image} is {value} in all bands, from the border inwards{more}: "
            "this looks like undeclared nodata, and counts as valid"
        )
        hint = f"If it is nodata, type --nodata {value} (nodata={value})"
        notes.append(Note("validity", text, hint, tuple(names)))
    return notes


def check_place(scenes: Sequence[Scene]) -> list[Note]:
    """Check that masks cover the ground of their images, and return notes on georeferencing.

    If both are georeferenced, CRS and corners are compared (to 1.5 pixels); otherwise an image and
    its mask are assumed to cover the same ground.

    Returns:
        Notes on images without longitudes and latitudes although other images or their metadata
        have a georeference, and on masks that are paired by their size alone.

    Raises:
        DataError: A mask covers other ground than its image.
    """
    for scene in scenes:
        if scene.mask is None:
            continue
        if other := other_ground(scene.source.info, scene.mask.info):
            raise DataError(
                f"the mask of {scene.scene_id!r} and its image cover different ground: the mask "
                f"{other}",
                "If both are georeferenced, an image and its mask must have the same CRS and the "
                "same corners (to 1.5 pixels).",
                warp(
                    scene.source.info, resampling="near",
                    file=shlex.quote(getattr(scene.mask, "path", "IN")),
                ),
            )  # fmt: skip
    return [*_off_the_earth(scenes), *_by_size(scenes)]


def _off_the_earth(scenes: Sequence[Scene]) -> list[Note]:
    """Return notes on images without longitudes and latitudes, with the reasons."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for scene in scenes:
        place = scene.source.info.place
        if place.kind != "earth":
            reasons.setdefault((place.why, place.hint), []).append(scene.scene_id)
    unreferenced = reasons.pop(("", ""), [])
    on_earth = len(scenes) - len(unreferenced) - sum(map(len, reasons.values()))
    if unreferenced and (on_earth or reasons):
        reasons["has no georeference", ""] = unreferenced
    return [
        Note(
            "place",
            f"{_of(names, scenes)} treated as not georeferenced: "
            + (f"it {why}" if len(scenes) == 1 else f"{names[0]!r} {why}")
            + (
                f"; the other {on_earth} also, because a pool is georeferenced as a whole or not "
                "at all"
                if on_earth
                else ""
            ),
            hint,
            tuple(names),
        )
        for (why, hint), names in reasons.items()
    ]


def _by_size(scenes: Sequence[Scene]) -> list[Note]:
    """Return a note on masks that are paired with their image by size alone."""
    names = [
        scene.scene_id
        for scene in scenes
        if scene.mask is not None
        and (scene.source.info.geobox is None) != (scene.mask.info.geobox is None)
    ]
    if not names:
        return []
    first = next(scene for scene in scenes if scene.scene_id == names[0])
    which = "image" if first.source.info.geobox is None else "mask"
    return [
        Note(
            "place",
            f"{_of(names, scenes)} paired with the mask by height and width alone: the {which} of "
            f"{names[0]!r} has no georeference",
            items=tuple(names),
        )
    ]


def _of(names: Sequence[str], scenes: Sequence[Scene]) -> str:
    if len(scenes) == 1:
        return f"the image {names[0]!r} is"
    return f"{len(names)} of {len(scenes)} images {'is' if len(names) == 1 else 'are'}"


def _in(names: Sequence[str], scenes: Sequence[Scene]) -> str:
    if len(scenes) == 1:
        return f"({names[0]!r})"
    return f"({len(names)} of {len(scenes)} images, the first is {names[0]!r})"


def _physical(source: Source) -> Source:
    if isinstance(source, StackSource):
        return StackSource(tuple(map(_physical, source.sources)))
    return source.with_options(physical=True) if isinstance(source, FileSource) else source
