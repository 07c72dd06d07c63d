"""What is STAC among the paths that are given for images: told by names, and by columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foveate.errors import DataError, ParameterError
from foveate.location import is_url, locate
from foveate.pool.embedding_columns import schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLES = (".parquet", ".geoparquet", ".pq")
_JSON = (".json", ".geojson")
_API = re.compile(r"(https?://.+)/collections/([^/?#]+)/?", re.IGNORECASE)
_COLUMNS = {"assets", "links", "stac_version"}  # of a table of items, beside id and geometry

Kind = Literal["", "api", "json", "table"]


def stac_paths(images: Sequence[str | Path] | str | Path) -> list[str] | None:
    """Return the paths if they are STAC, None if they are files of another kind.

    STAC are files in JSON, tables in Parquet with a column of assets (stac-geoparquet), and
    collections of APIs (``https://HOST/.../collections/NAME``).

    Raises:
        ParameterError: Some are and some are not.
    """
    given = [images] if isinstance(images, str | Path) else list(images)
    kinds = [kind_of(str(path)) for path in given]
    if not any(kinds):
        return None
    if not all(kinds):
        raise ParameterError(
            f"{str(given[kinds.index('')])!r} beside a STAC catalogue",
            "A pool is made of items of STAC, or of other files.",
            "Give the catalogues alone, or images alone.",
        )
    return [str(path) for path in given]


def kind_of(path: str) -> Kind:
    """Return what kind of STAC a path leads to, "" for none."""
    if _API.fullmatch(path) and not path.lower().endswith(_JSON):
        return "api"
    plain = path.partition("?")[0] if is_url(path) else path
    if plain.lower().endswith(_JSON):
        return "json"
    return "table" if plain.lower().endswith(TABLES) and _is_table(path) else ""


def is_api(path: str | Path) -> bool:
    """Say whether a path is a collection of an API."""
    return kind_of(str(path)) == "api"


def api_of(url: str) -> tuple[str, str]:
    """Return the root of an API and the name of the collection."""
    found = _API.fullmatch(url)
    assert found is not None  # noqa: S101  (asked of APIs)
    return found[1], found[2]


def _is_table(path: str) -> bool:
    if is_url(path):
        if set(schema_of(locate(path)).names) >= _COLUMNS:
            return True
        raise DataError(
            f"{str(locate(path))!r} is no table of STAC items",
            "Such a table (stac-geoparquet) has the columns assets, links and stac_version.",
            "Embeddings are read from this machine: download the file.",
        )
    if not Path(path).is_file():
        return False
    try:
        return set(schema_of(Path(path)).names) >= _COLUMNS
    except DataError:
        return False  # the reader of embeddings says what is wrong with it
