"""Which assets of an item are the bands of a scene, and what is said of their pixels.

Read are common metadata of STAC 1.1 (``bands``, ``data_type``, ``nodata``), the raster extension
(``raster:bands`` of version 1, ``raster:scale`` and ``raster:offset`` of version 2), ``eo:bands``
and the projection extension (``proj:code``, and ``proj:epsg`` of version 1). What an asset says
comes before what its item says.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.pool.stac.items import resolve
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox

    from foveate.pool.stac.items import Item

QualityKind = Literal["scl", "qa_pixel"]
# Roles of what is no imagery to look at.
_OTHER_ROLES = frozenset(
    {
        "thumbnail", "overview", "metadata", "visual", "data-mask", "cloud", "cloud-shadow",
        "snow-ice", "water-mask", "saturation", "labels", "label", "date", "index",
    }
)  # fmt: skip
_IMAGES = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/vnd.stac.geotiff")
_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt")
_KIND = re.compile(r"(?:^|[_.\-/])(scl|qa_pixel)(?=$|[_.\-/])", re.IGNORECASE)
# Earth Search states the offset of Sentinel-2 also where it has been applied to the pixels.
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_SHOWN = 12


@dataclass(frozen=True)
class Facts:
    """What an item says of the pixels of an asset.

    Attributes:
        href: Path or URL.
        nodata: One a band, or (); None where nothing is said.
        scaling: (scale, offset) of each band, or ().
        names: Of the bands, or ().
        dtype: NumPy name, or "".
        shape: (height, width), or None.
        geobox: Where it lies, or None.
        state: What tells this content of the file from another (size, checksum), as text.
    """

    href: str
    nodata: tuple[float | int | None, ...] = ()
    scaling: tuple[tuple[float, float], ...] = ()
    names: tuple[str, ...] = ()
    dtype: str = ""
    shape: tuple[int, int] | None = None
    geobox: GeoBox | None = None
    state: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing of the header need be read to cut tiles."""
        return bool(self.dtype and self.shape and self.geobox is not None and self.names)


def bands_of(item: Item, names: Sequence[str]) -> list[str]:
    """Return the keys of the assets that are the bands of a scene.

    Args:
        item: The item.
        names: What is asked for: keys, or names (``eo:common_name`` too) of an asset of one band;
            () for the one that there is.

    Raises:
        ParameterError: There are several, and none is asked for.
        DataError: There is none of a name.
    """
    assets = item.content["assets"]
    if names:
        return [_find(item, name) for name in names]
    known = [key for key, asset in assets.items() if _is_data(key, asset)]
    if len(known) == 1:
        return known
    listed = ", ".join(known[:_SHOWN]) + (" ..." if len(known) > _SHOWN else "")
    if not known:
        raise DataError(
            f"the item {item.name!r} has no asset of imagery",
            f"Its assets: {', '.join(assets) or 'none'}.",
            "Name the asset: --assets NAME.",
        )
    raise ParameterError(
        f"the item {item.name!r} has {len(known)} assets of imagery",
        f"They are: {listed}.",
        f"Say which are the bands, in order: --assets {','.join(known[:3])}.",
    )


def quality_of(item: Item, names: Sequence[str]) -> str | None:
    """Return the key of the quality raster of an item, or None.

    Args:
        item: The item.
        names: Keys that are asked for, the first that there is counts; () for what is called SCL
            or QA_PIXEL; ("none",) for none.
    """
    assets = item.content["assets"]
    if names:
        return next((name for name in names if name in assets), None)
    return next((key for key, asset in assets.items() if quality_kind(key, asset)), None)


def quality_kind(key: str, asset: Mapping[str, Any]) -> QualityKind | None:
    """Return what the values of an asset mean, by its key and the name of its file."""
    stem = str(asset.get("href", "")).partition("?")[0].rsplit(".", 1)[0]
    for text in (key, stem):
        found = _KIND.search(text)
        if found is not None and "thumbnail" not in (asset.get("roles") or ()):
            return "scl" if found[1].lower() == "scl" else "qa_pixel"
    return None


def facts_of(item: Item, key: str) -> Facts:
    """Return what an item says of an asset.

    Raises:
        DataError: The asset has no href.
    """
    asset, known = item.content["assets"][key], item.content["properties"]
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        raise DataError(f"the asset {key!r} of the item {item.name!r} has no href")

    def said(name: str) -> Any:
        return asset[name] if asset.get(name) is not None else known.get(name)

    bands = _bands(asset)
    dtypes = {str(_of(band, asset, "data_type")) for band in bands}
    shape = said("proj:shape")
    whole = isinstance(shape, list | tuple) and len(shape) == 2
    size: tuple[int, int] | None = (int(shape[0]), int(shape[1])) if whole else None
    scaling = tuple(_scaling(band, asset, known) for band in bands)
    nodata = tuple(_number(_of(band, asset, "nodata")) for band in bands)
    return Facts(
        href=resolve(href, item.base),
        nodata=nodata if any(value is not None for value in nodata) else (),
        scaling=tuple(pair or (1.0, 0.0) for pair in scaling) if any(scaling) else (),
        names=tuple(str(band.get("name") or key) for band in bands),
        dtype=_dtype(dtypes),
        shape=size,
        geobox=None if size is None else _geobox(size, said),
        state=str([asset.get(name) for name in ("file:checksum", "file:size", "updated")]),
    )


def _find(item: Item, name: str) -> str:
    """Return the key of the asset of a name."""
    assets = item.content["assets"]
    if name in assets:
        return name
    alike = [
        key for key, asset in assets.items()
        if len(bands := _bands(asset)) == 1 and name in _called(bands[0])
        and not {"thumbnail", "overview"} & set(asset.get("roles") or ())
    ]  # fmt: skip
    if len(alike) == 1:
        return alike[0]
    raise DataError(
        f"the item {item.name!r} has {'several assets' if alike else 'no asset'} {name!r}",
        f"Its assets: {', '.join(alike or assets) or 'none'}.",
        suggest(name, list(assets)) or "Name them by these: --assets NAME,NAME.",
    )


def _called(band: Mapping[str, Any]) -> set[str]:
    return {str(band.get(k)) for k in ("name", "eo:common_name", "common_name") if band.get(k)}


def _is_data(key: str, asset: Mapping[str, Any]) -> bool:
    """Say whether an asset is imagery to look at: by its roles, its type and its name."""
    roles = {str(role).lower() for role in asset.get("roles") or ()}
    kind = str(asset.get("type") or "").lower()
    path = str(asset.get("href", "")).partition("?")[0].lower()
    picture = kind.startswith(_IMAGES) or (not kind and path.endswith(_SUFFIXES))
    # An asset that is called data, too, is data: a mosaic in colours is mostly all there is.
    named = "data" in roles or not roles & _OTHER_ROLES
    return picture and named and quality_kind(key, asset) is None and key != "thumbnail"


def _bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is said of each band, that of several lists together; [] where nothing is."""
    lists = [asset.get(name) for name in ("bands", "raster:bands", "eo:bands")]
    stated = [one for one in lists if isinstance(one, list) and one]
    if not stated or len({len(one) for one in stated}) > 1:
        return []
    merged: list[dict[str, Any]] = []
    for parts in zip(*stated, strict=True):
        band: dict[str, Any] = {}
        for part in reversed(parts):
            band |= {k: v for k, v in (part or {}).items() if v is not None}
        merged.append(band)
    return merged


def _of(band: Mapping[str, Any], asset: Mapping[str, Any], name: str) -> Any:
    return band[name] if band.get(name) is not None else asset.get(name)


def _scaling(
    band: Mapping[str, Any], asset: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Return scale and offset of a band, or None where neither is stated."""
    scale = _number(_first(band, asset, "scale"))
    offset = _number(_first(band, asset, "offset"))
    if scale is None and offset is None:
        return None
    if any(known.get(name) is True for name in _APPLIED):
        offset = 0.0
    return float(1.0 if scale is None else scale), float(offset or 0.0)


def _first(band: Mapping[str, Any], asset: Mapping[str, Any], name: str) -> Any:
    """Return a value of raster bands (version 1), or of version 2 in a band or an asset."""
    found = (band.get(name), band.get(f"raster:{name}"), asset.get(f"raster:{name}"))
    return next((value for value in found if value is not None), None)


def _number(value: Any) -> float | int | None:
    """Return a number; "nan" and infinities are those of floats, which are missing anyway."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _dtype(stated: set[str]) -> str:
    """Return the one data type that NumPy has for all bands, or ""."""
    name = next(iter(stated)) if len(stated) == 1 else ""
    try:
        kind = np.dtype(name) if name and name != "None" else None
    except TypeError:  # "cint16", "other"
        return ""
    return kind.name if kind is not None and kind.kind in "iuf" else ""


def _geobox(shape: tuple[int, int], said: Any) -> GeoBox | None:
    """Return where an asset lies, if shape, transform and CRS are stated."""
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from pyproj.exceptions import CRSError

    transform, crs = said("proj:transform"), said("proj:code") or said("proj:epsg")
    crs = crs or said("proj:wkt2")
    if not isinstance(transform, list | tuple) or len(transform) not in (6, 9) or not crs:
        return None
    name = f"EPSG:{crs}" if isinstance(crs, int) else str(crs)
    try:
        return GeoBox(shape, Affine(*map(float, transform[:6])), name)
    except (CRSError, ValueError):
        return None
