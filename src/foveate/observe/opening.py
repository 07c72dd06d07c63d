"""Opening the imagery of pairs: scenes and their real overviews, and whether they fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from foveate.errors import DataError, ParameterError
from foveate.observe.simulate import low_shape
from foveate.pool.folder import open_pool
from foveate.pool.notes import warn
from foveate.pool.pairing import need_partners
from foveate.raster import check_ground

if TYPE_CHECKING:
    from collections.abc import Container

    from foveate.pool import Pool, Scene

_SIDE = 8  # pixels: a smaller tile shows nothing that the overview does not


def open_headers(
    pool: Pool, tiles: tuple[int, int], lr: list[str], ratio: float,
    only: Container[str] | None = None,
) -> tuple[Pool, tuple[Scene, ...]]:  # fmt: skip
    """Open real overviews, headers only, and check that scenes and overviews can be cut.

    Args:
        pool: The scenes, headers only.
        tiles: Rows and columns of each scene.
        lr: Paths of real overviews; empty where they are simulated.
        ratio: Of the simulated overviews.
        only: Scene ids to keep; all when None.

    Returns:
        The pool, not measured, and one real overview for each of its scenes, in their order; none
        where overviews are simulated.

    Raises:
        DataError: See `open_pool`; or an overview is missing, covers other ground, or has other
            bands.
        ParameterError: Tiles that are too small in the scene or in its overview.
    """
    if only is not None:
        pool = replace(pool, scenes=tuple(s for s in pool.scenes if s.scene_id in only))
    real: tuple[Scene, ...] = ()
    if lr:
        found = {s.scene_id: s for s in open_pool(lr, split=(1, 1), measure=False).scenes}
        warn(need_partners([scene.scene_id for scene in pool.scenes], found, "overview"))
        real = tuple(found[scene.scene_id] for scene in pool.scenes)
    for number, scene in enumerate(pool.scenes):
        _check_scene(scene, real[number] if real else None, tiles, ratio)
    return pool, real


def _check_scene(scene: Scene, real: Scene | None, tiles: tuple[int, int], ratio: float) -> None:
    """Check the size of tiles, and a real overview against its scene."""
    info, name = scene.source.info, scene.scene_id
    side = min(n // k for n, k in zip(info.shape, tiles, strict=True))
    if side < _SIDE:
        raise ParameterError(
            f"{times(tiles)} tiles of the scene {name!r}, {times(info.shape)} pixels",
            f"A tile has at least {_SIDE} x {_SIDE} pixels; these would have {side} on a side.",
            "Use fewer tiles: --tiles 4x4.",
        )
    shape = low_shape(info.shape, ratio) if real is None else real.source.info.shape
    if any(n < k for n, k in zip(shape, tiles, strict=True)):
        raise ParameterError(
            f"{times(tiles)} tiles of an overview of {times(shape)} pixels, that of {name!r}",
            "A tile has at least one pixel of the overview.",
            "Use fewer tiles (--tiles 4x4)" + (", or a smaller --ratio." if real is None else "."),
        )
    if real is None:
        return
    check_ground(name, info, real.source.info)
    if shape[0] * shape[1] >= info.shape[0] * info.shape[1]:
        raise DataError(
            f"the overview of {name!r} has {times(shape)} pixels, the scene {times(info.shape)}",
            "An overview shows the same ground in fewer pixels.",
            "Exchange the two: foveate observe prepare HIGH --lr LOW.",
        )
    if real.source.info.bands != info.bands:
        raise DataError(
            f"the overview of {name!r} has {real.source.info.bands} bands, the scene {info.bands}",
            "Both show the same bands, in one order.",
            "Keep the bands that both have: gdal_translate -b 1 -b 2 -b 3 in out.",
        )


def times(pair: tuple[int, int]) -> str:
    """Write a pair of sizes."""
    return f"{pair[0]} x {pair[1]}"
