"""What must agree between the rasters of a pool, seen in their headers."""

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
    from foveate.raster.base import Remark


def check_alike(scenes: Sequence[Scene], bands: Sequence[int] | None) -> None:
    """Check sizes of masks, dtypes and bands.

    Raises:
        DataError: A mask has another size than its image, or images have other dtypes or bands.
        ParameterError: A band that an image does not have.
    """
    first = scenes[0].source.info
    for scene in scenes:
        info = scene.source.info
        if scene.mask is not None and scene.mask.info.shape != info.shape:
            raise DataError(
                f"the image {scene.scene_id!r} has {info.shape[0]} x {info.shape[1]} pixels, its "
                f"mask {scene.mask.info.shape[0]} x {scene.mask.info.shape[1]}",
                "An image and its mask have the same height and width.",
                "Resample the mask (nearest neighbour), or check the pairing.",
            )
        if info.dtype != first.dtype:
            raise DataError(
                f"{scenes[0].scene_id!r} is {first.dtype}, {scene.scene_id!r} is {info.dtype}",
                "All images of a pool have one dtype.",
                "Convert them, or open them as two pools.",
            )
        if bands is None and info.bands != first.bands:
            raise DataError(
                f"{scenes[0].scene_id!r} has {first.bands} bands, {scene.scene_id!r} has "
                f"{info.bands}",
                "All images of a pool have the same bands.",
                "Choose bands that all of them have (--bands 1,2,3, bands=[1, 2, 3]), or split the "
                "folder.",
            )
        if bands is not None and not 1 <= min(bands) <= max(bands) <= info.bands:
            raise ParameterError(
                f"bands {','.join(map(str, bands))}: {scene.scene_id!r} has {info.bands} bands",
                f"Band numbers go from 1 to {info.bands}.",
            )


# What a reader should know of how files are read: topic, what it is, what to type.
_REMARKS: dict[str, tuple[Topic, str, str]] = {
    "alpha is data": (
        "validity",
        "band {} is called alpha but holds many values, and is read as data",
        "Where it is a mask, store it as one: gdal_translate -b 1 -b 2 -b 3 -mask {} IN OUT",
    ),
    "alpha is a mask": (
        "validity",
        "band {} is read as alpha, although much of what it shows is half transparent",
        "Where it is data, say so in the file: gdal_edit.py -colorinterp_{} undefined FILE",
    ),
    "nodata cannot be": (
        "validity",
        "the declared nodata value is none that pixels can hold ({}), and nothing is taken for it",
        "State the right one: --nodata VALUE, nodata=VALUE",
    ),
    "nodata is replaced": (
        "validity",
        "the nodata value given replaces the one declared ({}), which is a measurement now",
        "Leave --nodata (nodata=...) out to keep the declared one",
    ),
    "nodata is a class": (
        "classes",
        "the mask declares nodata {}, which the classes file names: it is counted as that class",
        "Where it is none, list it under 'ignore' in the classes file",
    ),
    "transparent is a class": (
        "classes",
        "what the mask shows as transparent is a class in the classes file, and is counted",
        "Where it is none, list it under 'ignore' in the classes file",
    ),
    "white is zero": ("values", "white is stored as 0, and is read as the greatest value", ""),
    "few bits": (
        "values",
        "the mask has {} bits a sample: its values are those of the picture, up to 255",
        "In the classes file name these, or only values that fit in the bits",
    ),
    "lying": (
        "values",
        "the orientation tag ({}) is not followed, as there is a georeference",
        "",
    ),
    "scale cannot be": (
        "values", "the scale and offset stated are no usable numbers ({}), and are ignored", "",
    ),
}  # fmt: skip


def note_readings(scenes: Sequence[Scene]) -> list[Note]:
    """Say what should be known of how the files are read: validity, bits, orientation."""
    found: dict[Remark, list[str]] = {}
    turned: dict[int, list[str]] = {}
    for scene in scenes:
        remarks = [*scene.source.info.remarks, *(scene.mask.info.remarks if scene.mask else ())]
        for remark in dict.fromkeys(remarks):
            found.setdefault(remark, []).append(scene.scene_id)
        if scene.source.info.orientation != 1 and scene.source.info.geobox is None:
            turned.setdefault(scene.source.info.orientation, []).append(scene.scene_id)
    notes = []
    for remark, names in found.items():
        topic, text, hint = _REMARKS[remark.about]
        what = f"{text.format(remark.value)} {_in(names, scenes)}"
        notes.append(Note(topic, what, hint.format(remark.value), tuple(names)))
    for value, names in turned.items():
        text = f"the pixels are turned upright, as the orientation tag ({value}) says"
        notes.append(Note("values", f"{text} {_in(names, scenes)}", items=tuple(names)))
    return notes


def note_unplanned(scenes: Sequence[Scene]) -> list[Note]:
    """Say which remote files are read through GDAL alone, window after window.

    What is opened with its first pixels, as assets that their items describe, is not known here.
    """
    found = [
        printable(part.path)
        for part in unplanned(each for scene in scenes for each in (scene.source, scene.mask))
    ]
    if not found:
        return []
    are = "file is" if len(found) == 1 else "files are"
    text = (
        f"{len(found)} remote {are} read through GDAL alone, and not ahead (the first is "
        f"{found[0]!r}): async-tiff does not say where the pixels lie"
    )
    hint = "GeoTIFFs are fetched many windows at a time: gdal_translate -of COG IN OUT"
    return [Note("files", text, hint, tuple(found))]


def alike_values(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Note]]:
    """Read images that store one quantity with several scales and offsets as that quantity.

    Where all of them state the same, or nothing, stored values are comparable and stay as they are.

    Returns:
        The scenes, with float32 sources (stored value * scale + offset) where they disagree, and
        then a note.
    """
    stated: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for scene in scenes:
        info = scene.source.info
        stated.setdefault(info.scaling or ((1.0, 0.0),) * info.bands, []).append(scene.scene_id)
    if len({bands[0] if len(set(bands)) == 1 else bands for bands in stated}) < 2:
        return list(scenes), []
    shown = " and ".join(
        f"{names[0]!r} with scale {bands[0][0]:g} and offset {bands[0][1]:g}"
        for bands, names in list(stated.items())[:2]
    )
    note = Note(
        "values",
        f"the images store values in {len(stated)} ways ({shown}): they are read as stored value "
        "* scale + offset, in float32",
        "A --scale is in these units",
        tuple(name for names in stated.values() for name in names),
    )
    return [replace(scene, source=_physical(scene.source)) for scene in scenes], [note]


def note_frames(frames: Mapping[str, Frame], scenes: int) -> list[Note]:
    """Say which scenes seem to lie in a frame of pixels that nobody has declared as nodata.

    Args:
        frames: Scene id -> its frame.
        scenes: Number of scenes that were looked at.
    """
    values: dict[int, list[str]] = {}
    for name, frame in frames.items():
        values.setdefault(frame.value, []).append(name)
    notes = []
    for value, names in values.items():
        first = frames[names[0]]
        whose = f"the image {names[0]!r}" if scenes == 1 else f"{names[0]!r}"
        more = f", and parts of {len(names) - 1} of {scenes - 1} others" * (len(names) > 1)
        text = (
            f"{first.share:.0%} of {whose} is {value} in all bands, from the border inwards{more}: "
            "this looks like nodata that is not declared, and counts as ground"
        )
        hint = f"If it is nodata, type --nodata {value} (nodata={value})"
        notes.append(Note("validity", text, hint, tuple(names)))
    return notes


def check_place(scenes: Sequence[Scene]) -> list[Note]:
    """Check that masks lie on the ground of their images, and say which images lie nowhere.

    By CRS and corners (to 1.5 pixels) where both are georeferenced, else an image and its mask are
    one picture.

    Returns:
        Notes on images that have no longitudes and latitudes although something speaks of a place,
        and on masks that are paired by their size alone.

    Raises:
        DataError: A mask covers other ground than its image.
    """
    for scene in scenes:
        if scene.mask is None:
            continue
        if other := other_ground(scene.source.info, scene.mask.info):
            raise DataError(
                f"the mask of {scene.scene_id!r} covers other ground than the image: it {other}",
                "Where both are georeferenced, an image and its mask have one CRS and the same "
                "corners (to 1.5 pixels).",
                warp(
                    scene.source.info, resampling="near",
                    file=shlex.quote(getattr(scene.mask, "path", "IN")),
                ),
            )  # fmt: skip
    return [*_off_the_earth(scenes), *_by_size(scenes)]


def _off_the_earth(scenes: Sequence[Scene]) -> list[Note]:
    """Say which images have no longitudes and latitudes, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for scene in scenes:
        place = scene.source.info.place
        if place.kind != "earth":
            reasons.setdefault((place.why, place.hint), []).append(scene.scene_id)
    bare = reasons.pop(("", ""), [])
    placed = len(scenes) - len(bare) - sum(map(len, reasons.values()))
    if bare and (placed or reasons):
        reasons["has no georeference", ""] = bare
    return [
        Note(
            "place",
            f"{_of(names, scenes)} treated as not georeferenced: "
            + (f"it {why}" if len(scenes) == 1 else f"{names[0]!r} {why}")
            + (f"; so are the {placed} others, as a pool is one or the other" if placed else ""),
            hint,
            tuple(names),
        )
        for (why, hint), names in reasons.items()
    ]


def _by_size(scenes: Sequence[Scene]) -> list[Note]:
    """Say which masks are taken for the ground of their image because of their size alone."""
    found = [
        scene.scene_id
        for scene in scenes
        if scene.mask is not None
        and (scene.source.info.geobox is None) != (scene.mask.info.geobox is None)
    ]
    if not found:
        return []
    first = next(scene for scene in scenes if scene.scene_id == found[0])
    which = "image" if first.source.info.geobox is None else "mask"
    return [
        Note(
            "place",
            f"{_of(found, scenes)} paired with the mask by height and width alone: the {which} of "
            f"{found[0]!r} has no georeference",
            items=tuple(found),
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
