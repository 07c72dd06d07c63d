"""Read STAC items from JSON files, catalogues, stac-geoparquet files and APIs.

JSON is parsed directly, not through pystac, because only a few members of each item are needed:
ten thousand items take 2 s instead of 12 s. Parquet is read by pyarrow in batches, which takes as
long as rustac and half the memory. APIs are queried with pystac-client.

Relative hrefs are relative to the file that contains them. In an item collection, they are relative
to the ``self`` link of the item if it has one, else to the file of the collection.
"""

from __future__ import annotations

import json
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin

from foveate.errors import DataError
from foveate.files import printable, reason
from foveate.location import STORES, URL, Location, is_url, locate
from foveate.pool.embedding_columns import open_bytes, open_parquet
from foveate.pool.stac.api import api_items, api_text
from foveate.pool.stac.sources import kind_of
from foveate.remote import open_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from foveate.pool.stac.search import Search

_REQUESTS, _AHEAD = 16, 64  # concurrent requests, and files requested in advance
_ROWS = 2048  # batch size of a table
_CORE = ("type", "stac_version", "stac_extensions", "id", "bbox", "links", "assets", "collection")
_ALLOWED = "STAC JSON is a Catalog, Collection, Feature (an item) or FeatureCollection."


class Item(NamedTuple):
    """A STAC item and the base of its relative hrefs.

    Attributes:
        content: Parsed JSON.
        base: Path or URL.
    """

    content: dict[str, Any]
    base: str

    @property
    def name(self) -> str:
        """The id of the item."""
        return str(self.content["id"])


def read_items(path: str, search: Search) -> Iterator[Item]:
    """Yield all items of a file, table, catalogue or API.

    Only APIs apply the search; the caller filters the items of other sources.

    Raises:
        DataError: A file cannot be read or is not STAC.
        MissingExtraError: The packages for remote files are not installed.
    """
    kind = kind_of(path)
    path = str(locate(path)) if is_url(path) else path  # without credentials
    if kind == "api":
        yield from (Item(item, _base(item, path)) for item in api_items(path, search))
    elif kind == "table":
        yield from _table_items(locate(path))
    else:
        yield from _json_items(path)


def resolve(href: str, base: str) -> str:
    """Return an href as a path or URL; a relative one is resolved against `base`.

    Raises:
        ParameterError: The scheme of the URL is not supported.
    """
    if is_url(base) and not is_url(href) and not href.startswith("file:"):
        href = urljoin(base, href) if base.startswith("http") else _join_store(base, href)
    location = locate(href)
    if isinstance(location, Path) and not location.is_absolute():
        return os.path.normpath(Path(base).parent / location)
    return str(location)  # without credentials: `locate` stores them separately


def _join_store(base: str, href: str) -> str:
    """Join URLs of an object store, whose scheme `urljoin` does not support."""
    scheme, _, rest = base.partition("://")
    return f"{scheme}://" + urljoin(f"http://{rest}", href).removeprefix("http://")


def _json_items(path: str) -> Iterator[Item]:
    """Yield the items of a JSON file and of the files it links to, breadth first."""
    queue, seen = [(path, "")], {path}  # the queue grows while it is iterated
    for (current, _), content in zip(queue, _fetch_all(queue), strict=False):
        kind = content.get("type")
        if kind == "Feature":
            yield Item(_checked(content, current), current)
            continue
        if kind == "FeatureCollection":
            for item in content.get("features") or ():
                yield Item(_checked(item, current), _base(item, current))
            continue
        if kind not in ("Catalog", "Collection") and "stac_version" not in content:
            problem = f"its type is {kind!r}" if kind else "it has no type"
            raise DataError(
                f"{_quote(current)} is not STAC: {problem}", _ALLOWED, "Check the path."
            )
        for link in content.get("links") or ():
            if link.get("rel") in ("child", "item") and link.get("href"):
                target = resolve(link["href"], current)
                if target not in seen:
                    seen.add(target)
                    queue.append((target, current))


def _fetch_all(queue: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield the contents of files in order; URLs are fetched concurrently.

    Args:
        queue: (path or URL, path or URL of the file that links to it); may grow meanwhile.
    """
    threads = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="foveate-stac")
    pending: deque[Future[dict[str, Any]]] = deque()
    try:
        for number, (path, parent) in enumerate(queue):
            if not is_url(path):
                yield _load_json(path, parent)
                continue
            for ahead, ahead_parent in queue[number + len(pending) : number + _AHEAD]:
                if not is_url(ahead):
                    break
                pending.append(threads.submit(_load_json, ahead, ahead_parent))
            yield pending.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def _load_json(path: str, parent: str) -> dict[str, Any]:
    """Load a JSON file.

    Args:
        path: Path or URL.
        parent: Path or URL of the file that links to it, or "".
    """
    linked = f", linked from {_quote(parent)}" if parent else ""
    text = _read_text(locate(path)) if is_url(path) else None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8") if text is None else text)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {_quote(path)}{linked}: {reason(error)}", _ALLOWED,
            "Correct the link, or download the file." if parent else "Check the path.",
        ) from error  # fmt: skip
    if not isinstance(content, dict):
        raise DataError(f"{_quote(path)}{linked} is not STAC: it is not a JSON object", _ALLOWED)
    return content


def _read_text(location: Location) -> str:
    """Read a remote text file, from an object store or through the HTTP client of STAC APIs.

    Raises:
        DataError: The file cannot be read.
        MissingExtraError: The packages for remote files are not installed.
    """
    if isinstance(location, URL) and location.scheme in STORES:
        opened = open_object(location)
        return opened.read(0, opened.meta.size).decode("utf-8", "replace")
    return api_text(str(location))


def _checked(item: Any, path: str) -> dict[str, Any]:
    """Return a feature as an item; missing properties are added as an empty dict.

    Raises:
        DataError: The feature has no id or no assets.
    """
    missing = "id" if not isinstance(item, dict) or not item.get("id") else ""
    if not missing and not isinstance(item.get("assets"), dict):
        missing = "assets"
    if missing:
        raise DataError(
            f"{_quote(path)} is not STAC: a feature has no {missing}",
            "An item has an id, properties and assets.",
            "Features without assets are outlines: give imagery, and pass this file to --exclude.",
        )
    if not isinstance(item.get("properties"), dict):
        item = {**item, "properties": {}}
    return item


def _table_items(path: Location) -> Iterator[Item]:
    """Yield the items of a stac-geoparquet file, batch by batch."""
    with open_bytes(path) as opened:
        file = open_parquet(opened, path)
        for batch in file.iter_batches(_ROWS, use_threads=False):
            for row in batch.to_pylist():
                item = _row_to_item(row)
                yield Item(_checked(item, str(path)), _base(item, str(path)))


def _row_to_item(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row of stac-geoparquet, where properties are columns, to an item."""
    import shapely

    box, geometry = row.pop("bbox", None), row.pop("geometry", None)
    item = {name: row.pop(name) for name in _CORE if row.get(name) is not None}
    if box is not None:  # a struct of xmin, ymin, (zmin,) xmax, ymax, (zmax)
        item["bbox"] = [box[f"{axis}{end}"] for end in ("min", "max") for axis in "xy"]
    item["geometry"] = None
    if geometry is not None:
        item["geometry"] = shapely.geometry.mapping(shapely.from_wkb(geometry))
    item["properties"] = {k: _to_json(v) for k, v in row.items() if v is not None}
    return {**item, "assets": _to_json(item.get("assets"))}


def _to_json(value: Any) -> Any:
    """Convert dates to text and drop null members, which Parquet adds if other rows have them."""
    if isinstance(value, dict):
        return {k: _to_json(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_to_json(v) for v in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _base(item: Any, path: str) -> str:
    """Return the ``self`` link of an item, else the path of the file that lists it."""
    links = item.get("links") if isinstance(item, dict) else None
    href = next((link.get("href") for link in links or () if link.get("rel") == "self"), None)
    return resolve(href, path) if href else path


def _quote(path: str) -> str:
    return repr(printable(path))
