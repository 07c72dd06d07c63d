"""Choose the assets of an item and parse their raster metadata.

Supports the common metadata of STAC 1.1 (``bands``, ``data_type``, ``nodata``), the raster
extension (``raster:bands`` of version 1, ``raster:scale`` and ``raster:offset`` of version 2),
``eo:bands`` and the projection extension (``proj:code``, and ``proj:epsg`` of version 1). Metadata
of an asset take precedence over those of its item.
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
# Roles of assets that are not imagery.
_OTHER_ROLES = frozenset(
    {
        "thumbnail", "overview", "metadata", "visual", "data-mask", "cloud", "cloud-shadow",
        "snow-ice", "water-mask", "saturation", "labels", "label", "date", "index",
    }
)  # fmt: skip
_IMAGES = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/vnd.stac.geotiff")
_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt")
_KIND = re.compile(r"(?:^|[_.\-/])(scl|qa_pixel)(?=$|[_.\-/])", re.IGNORECASE)
# Earth Search states the Sentinel-2 offset even if it has already been applied to the pixels.
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_SHOWN = 12


@dataclass(frozen=True)
class Facts:
    """Raster metadata of an asset stated by its item.

    Attributes:
        href: Path or URL.
        nodata: Nodata value of each band, None for bands without one; () if none has one.
        scaling: (scale, offset) of each band, or ().
        names: Band names, or ().
        dtype: NumPy dtype name, or "".
        shape: (height, width) in pixels, or None.
        geobox: Georeferencing, or None.
        state: Checksum, size and update time of the file, as text, to detect changes.
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
        """Whether the metadata suffice to cut tiles without reading the header."""
        return bool(self.dtype and self.shape and self.geobox is not None and self.names)


def bands_of(item: Item, names: Sequence[str]) -> list[str]:
    """Return the keys of the assets used as bands of a scene.

    Args:
        item: The item.
        names: Asset keys, or band names (also ``eo:common_name``) of single-band assets; () for
            the only image asset.

    Raises:
        ParameterError: `names` is empty and there are several image assets.
        DataError: There is no image asset, or no or no unique asset for a name.
    """
    assets = item.content["assets"]
    if names:
        return [_find(item, name) for name in names]
    images = [key for key, asset in assets.items() if _is_image(key, asset)]
    if len(images) == 1:
        return images
    listed = ", ".join(images[:_SHOWN]) + (" ..." if len(images) > _SHOWN else "")
    if not images:
        raise DataError(
            f"the item {item.name!r} has no image asset",
            f"Its assets: {', '.join(assets) or 'none'}.",
            "Name the asset: --assets NAME.",
        )
    raise ParameterError(
        f"the item {item.name!r} has {len(images)} image assets",
        f"They are: {listed}.",
        f"Choose the bands, in order: --assets {','.join(images[:3])}.",
    )


def quality_of(item: Item, names: Sequence[str]) -> str | None:
    """Return the key of the quality raster of an item, or None.

    Args:
        item: The item.
        names: Keys, of which the first that exists is returned; () for the first asset named SCL
            or QA_PIXEL; ("none",) for none.
    """
    assets = item.content["assets"]
    if names:
        return next((name for name in names if name in assets), None)
    return next((key for key, asset in assets.items() if quality_kind(key, asset)), None)


def quality_kind(key: str, asset: Mapping[str, Any]) -> QualityKind | None:
    """Return the kind of a quality asset by its key, else its file name; None for others."""
    stem = str(asset.get("href", "")).partition("?")[0].rsplit(".", 1)[0]
    for text in (key, stem):
        match = _KIND.search(text)
        if match is not None and "thumbnail" not in (asset.get("roles") or ()):
            return "scl" if match[1].lower() == "scl" else "qa_pixel"
    return None


def facts_of(item: Item, key: str) -> Facts:
    """Return the metadata of an asset stated by its item.

    Raises:
        DataError: The asset has no href.
    """
    asset, properties = item.content["assets"][key], item.content["properties"]
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        raise DataError(f"the asset {key!r} of the item {item.name!r} has no href")

    def stated(name: str) -> Any:
        return asset[name] if asset.get(name) is not None else properties.get(name)

    bands = _bands(asset)
    dtypes = {str(_lookup(band, asset, "data_type")) for band in bands}
    shape = stated("proj:shape")
    is_2d = isinstance(shape, list | tuple) and len(shape) == 2
    size: tuple[int, int] | None = (int(shape[0]), int(shape[1])) if is_2d else None
    scaling = tuple(_scaling(band, asset, properties) for band in bands)
    nodata = tuple(_number(_lookup(band, asset, "nodata")) for band in bands)
    return Facts(
        href=resolve(href, item.base),
        nodata=nodata if any(value is not None for value in nodata) else (),
        scaling=tuple(pair or (1.0, 0.0) for pair in scaling) if any(scaling) else (),
        names=tuple(str(band.get("name") or key) for band in bands),
        dtype=_dtype(dtypes),
        shape=size,
        geobox=None if size is None else _geobox(size, stated),
        state=str([asset.get(name) for name in ("file:checksum", "file:size", "updated")]),
    )


def _find(item: Item, name: str) -> str:
    """Return the key of an asset by its key, or by the name of its only band."""
    assets = item.content["assets"]
    if name in assets:
        return name
    matches = [
        key for key, asset in assets.items()
        if len(bands := _bands(asset)) == 1 and name in _band_names(bands[0])
        and not {"thumbnail", "overview"} & set(asset.get("roles") or ())
    ]  # fmt: skip
    if len(matches) == 1:
        return matches[0]
    raise DataError(
        f"the item {item.name!r} has {'several assets' if matches else 'no asset'} {name!r}",
        f"Its assets: {', '.join(matches or assets) or 'none'}.",
        suggest(name, list(assets)) or "Use these names: --assets NAME,NAME.",
    )


def _band_names(band: Mapping[str, Any]) -> set[str]:
    return {str(band.get(k)) for k in ("name", "eo:common_name", "common_name") if band.get(k)}


def _is_image(key: str, asset: Mapping[str, Any]) -> bool:
    """Return whether an asset is imagery, by its roles, media type and name."""
    roles = {str(role).lower() for role in asset.get("roles") or ()}
    kind = str(asset.get("type") or "").lower()
    path = str(asset.get("href", "")).partition("?")[0].lower()
    picture = kind.startswith(_IMAGES) or (not kind and path.endswith(_SUFFIXES))
    # The role "data" outweighs others: the visual mosaic is often the only image of an item.
    is_data = "data" in roles or not roles & _OTHER_ROLES
    return picture and is_data and quality_kind(key, asset) is None and key != "thumbnail"


def _bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the metadata of each band, merged from all band lists.

    Earlier lists take precedence. [] if there is no list, or if their lengths differ.
    """
    lists = [asset.get(name) for name in ("bands", "raster:bands", "eo:bands")]
    lists = [bands for bands in lists if isinstance(bands, list) and bands]
    if not lists or len({len(bands) for bands in lists}) > 1:
        return []
    merged: list[dict[str, Any]] = []
    for entries in zip(*lists, strict=True):
        band: dict[str, Any] = {}
        for entry in reversed(entries):
            band |= {k: v for k, v in (entry or {}).items() if v is not None}
        merged.append(band)
    return merged


def _lookup(band: Mapping[str, Any], asset: Mapping[str, Any], name: str) -> Any:
    return band[name] if band.get(name) is not None else asset.get(name)


def _scaling(
    band: Mapping[str, Any], asset: Mapping[str, Any], properties: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Return scale and offset of a band, or None if neither is stated."""
    scale = _number(_raster_value(band, asset, "scale"))
    offset = _number(_raster_value(band, asset, "offset"))
    if scale is None and offset is None:
        return None
    if any(properties.get(name) is True for name in _APPLIED):
        offset = 0.0
    return float(1.0 if scale is None else scale), float(offset or 0.0)


def _raster_value(band: Mapping[str, Any], asset: Mapping[str, Any], name: str) -> Any:
    """Look up a value of the raster extension: version 1 of a band, else 2 of band or asset."""
    values = (band.get(name), band.get(f"raster:{name}"), asset.get(f"raster:{name}"))
    return next((value for value in values if value is not None), None)


def _number(value: Any) -> float | int | None:
    """Return a finite number, else None: non-finite pixels are masked in any case."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _dtype(stated: set[str]) -> str:
    """Return the NumPy dtype name shared by all bands, or ""."""
    name = next(iter(stated)) if len(stated) == 1 else ""
    try:
        kind = np.dtype(name) if name and name != "None" else None
    except TypeError:  # "cint16", "other"
        return ""
    return kind.name if kind is not None and kind.kind in "iuf" else ""


def _geobox(shape: tuple[int, int], stated: Any) -> GeoBox | None:
    """Return the geobox of an asset, or None if its transform or CRS is missing or invalid."""
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from pyproj.exceptions import CRSError

    transform, crs = stated("proj:transform"), stated("proj:code") or stated("proj:epsg")
    crs = crs or stated("proj:wkt2")
    if not isinstance(transform, list | tuple) or len(transform) not in (6, 9) or not crs:
        return None
    name = f"EPSG:{crs}" if isinstance(crs, int) else str(crs)
    try:
        return GeoBox(shape, Affine(*map(float, transform[:6])), name)
    except (CRSError, ValueError):
        return None
