"""Convert item properties to columns of the tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.pool.attributes import Attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveate.grid import Tiles
    from foveate.pool.stac.rows import ItemScene


def item_columns(items: Sequence[ItemScene], tiles: Tiles) -> Attributes | None:
    """Return one column of (n,) values for each property, or None without items.

    If the type of a property differs between items, its column contains text. Values are null for
    items that lack the property.

    Args:
        items: One item for each scene.
        tiles: n tiles of these scenes.
    """
    import pyarrow as pa

    if not items:
        return None
    by_name = {item.name: item.properties for item in items}
    rows = [by_name[name] for name in tiles.scenes]
    names = sorted({name for row in rows for name in row})
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    return Attributes(table.take(pa.array(tiles.scene_code)))


def _column(values: list[Any]) -> Any:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds == {bool}:
        return pa.array([float(v) if v is not None and float in kinds else v for v in values])
    return pa.array([None if value is None else str(value) for value in values], pa.string())
