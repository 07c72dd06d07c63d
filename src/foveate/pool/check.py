"""What must agree between the rasters of a pool, seen in their headers."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.pool.notes import Note
from foveate.raster.ground import other_ground, warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.pool.pool import Scene


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
