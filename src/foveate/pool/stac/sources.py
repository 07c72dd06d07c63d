"""Recognise STAC among image paths, by file names, URLs and Parquet columns."""

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
_COLUMNS = {"assets", "links", "stac_version"}  # required in stac-geoparquet

Kind = Literal["", "api", "json", "table"]


def stac_paths(images: Sequence[str | Path] | str | Path) -> list[str] | None:
    """Return the paths if all are STAC, or None if none is.

    STAC paths are JSON files, stac-geoparquet files (Parquet with the columns assets, links and
    stac_version), and collection URLs of APIs (``https://HOST/.../collections/NAME``).

    Raises:
        ParameterError: The paths mix STAC with other files.
    """
    paths = [images] if isinstance(images, str | Path) else list(images)
    kinds = [kind_of(str(path)) for path in paths]
    if not any(kinds):
        return None
    if not all(kinds):
        raise ParameterError(
            f"{str(paths[kinds.index('')])!r} beside a STAC catalogue",
            "A pool contains either STAC items or other files.",
            "Give only catalogues, or only images.",
        )
    return [str(path) for path in paths]


def kind_of(path: str) -> Kind:
    """Return the kind of STAC of a path, or "" if it is not STAC.

    Reads the schema of Parquet files.
    """
    if _API.fullmatch(path) and not path.lower().endswith(_JSON):
        return "api"
    plain = path.partition("?")[0] if is_url(path) else path
    if plain.lower().endswith(_JSON):
        return "json"
    return "table" if plain.lower().endswith(TABLES) and _is_table(path) else ""


def api_of(url: str) -> tuple[str, str]:
    """Split the URL of a collection into the root of its API and the id of the collection."""
    match = _API.fullmatch(url)
    assert match is not None  # noqa: S101  (callers check `kind_of`)
    return match[1], match[2]


def _is_table(path: str) -> bool:
    if is_url(path):
        if set(schema_of(locate(path)).names) >= _COLUMNS:
            return True
        raise DataError(
            f"{str(locate(path))!r} is not a table of STAC items",
            "Such a table (stac-geoparquet) has the columns assets, links and stac_version.",
            "Embeddings must be local files: download the file first.",
        )
    if not Path(path).is_file():
        return False
    try:
        return set(schema_of(Path(path)).names) >= _COLUMNS
    except DataError:
        return False  # the embeddings reader reports the error
