"""Items of STAC: from files in JSON, catalogues of them, tables in Parquet, and APIs.

Files in JSON are read as they are, not through pystac: an item is looked at once, for a few
members, and ten thousand of them take 2 s instead of 12. Tables are read by pyarrow, block by
block, which takes as long as rustac and half of the memory. APIs are asked by pystac-client.

Relative addresses in a file are relative to that file. Those in an item of a list are relative to
the item's own address, where it states one (link ``self``), else to the file of the list.
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

_REQUESTS, _AHEAD = 16, 64  # side by side, and sent for before they are looked at
_ROWS = 2048  # of a table, made into items at a time
_CORE = ("type", "stac_version", "stac_extensions", "id", "bbox", "links", "assets", "collection")
_ALLOWED = "STAC is a Catalog, Collection, Feature (an item) or FeatureCollection in JSON."


class Item(NamedTuple):
    """An item, and the address that its own are relative to.

    Attributes:
        content: What it says, as in JSON.
        base: Path or URL.
    """

    content: dict[str, Any]
    base: str

    @property
    def name(self) -> str:
        """Its id."""
        return str(self.content["id"])


def read_items(path: str, search: Search) -> Iterator[Item]:
    """Yield all items that a path leads to; an API leaves out what is not searched for.

    Raises:
        DataError: It cannot be read, or is no STAC.
        MissingExtraError: Something of the network, without the packages for it.
    """
    kind = kind_of(path)
    path = str(locate(path)) if is_url(path) else path  # without credentials
    if kind == "api":
        yield from (Item(item, _own(item, path)) for item in api_items(path, search))
    elif kind == "table":
        yield from _of_table(locate(path))
    else:
        yield from _of_json(path)


def resolve(href: str, base: str) -> str:
    """Return an address as the text of a path or URL, relative ones from `base`.

    Raises:
        ParameterError: A URL of a scheme that is not read.
    """
    if is_url(base) and not is_url(href) and not href.startswith("file:"):
        href = urljoin(base, href) if base.startswith("http") else _joined(base, href)
    place = locate(href)
    if isinstance(place, Path) and not place.is_absolute():
        return os.path.normpath(Path(base).parent / place)
    return str(place)  # without credentials, which `locate` keeps apart


def _joined(base: str, href: str) -> str:
    """Join addresses of a store, whose scheme `urljoin` does not know."""
    scheme, _, rest = base.partition("://")
    return f"{scheme}://" + urljoin(f"http://{rest}", href).removeprefix("http://")


def _of_json(path: str) -> Iterator[Item]:
    """Yield the items of a file, and of those that it leads to."""
    waiting, seen = [(path, "")], {path}  # grows: catalogues are followed level by level
    for (here, _), content in zip(waiting, _contents(waiting), strict=False):
        kind = content.get("type")
        if kind == "Feature":
            yield Item(_checked(content, here), here)
            continue
        if kind == "FeatureCollection":
            for item in content.get("features") or ():
                yield Item(_checked(item, here), _own(item, here))
            continue
        if kind not in ("Catalog", "Collection") and "stac_version" not in content:
            what = f"its type is {kind!r}" if kind else "it has no type"
            raise DataError(f"{_named(here)} is no STAC: {what}", _ALLOWED, "Check the path.")
        for link in content.get("links") or ():
            if link.get("rel") in ("child", "item") and link.get("href"):
                there = resolve(link["href"], here)
                if there not in seen:
                    seen.add(there)
                    waiting.append((there, here))


def _contents(waiting: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield the contents of files in order; those behind URLs are fetched side by side.

    Args:
        waiting: (path or URL, the file that leads to it); may grow meanwhile.
    """
    threads = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="foveate-stac")
    coming: deque[Future[dict[str, Any]]] = deque()
    try:
        for number, (here, whence) in enumerate(waiting):
            if not is_url(here):
                yield _content(here, whence)
                continue
            for there, led in waiting[number + len(coming) : number + _AHEAD]:
                if not is_url(there):
                    break
                coming.append(threads.submit(_content, there, led))
            yield coming.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def _content(path: str, whence: str) -> dict[str, Any]:
    """Read a file in JSON.

    Args:
        path: Path or URL.
        whence: The file that leads to it, or "".
    """
    led = f", which {_named(whence)} leads to" if whence else ""
    text = _text(locate(path)) if is_url(path) else None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8") if text is None else text)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {_named(path)}{led}: {reason(error)}", _ALLOWED,
            "Correct the link, or fetch the file." if whence else "Check the path.",
        ) from error  # fmt: skip
    if not isinstance(content, dict):
        raise DataError(f"{_named(path)}{led} is no STAC: it is no object", _ALLOWED)
    return content


def _text(place: Location) -> str:
    """Read a text behind a URL: of a store through `foveate.remote`, of a web server as an API's.

    Raises:
        DataError: It cannot be read.
        MissingExtraError: The packages for it are not installed.
    """
    if isinstance(place, URL) and place.scheme in STORES:
        opened = open_object(place)
        return opened.read(0, opened.meta.size).decode("utf-8", "replace")
    return api_text(str(place))


def _checked(item: Any, where: str) -> dict[str, Any]:
    """Return an item that can be one.

    Raises:
        DataError: It has no id or no assets.
    """
    lacking = "an id" if not isinstance(item, dict) or not item.get("id") else ""
    if not lacking and not isinstance(item.get("assets"), dict):
        lacking = "assets"
    if lacking:
        raise DataError(
            f"{_named(where)} is no STAC: a feature has not {lacking}",
            "An item has an id, properties and assets.",
            "Features without assets are outlines: give imagery, and the file to --exclude.",
        )
    if not isinstance(item.get("properties"), dict):
        item = {**item, "properties": {}}
    return item


def _of_table(path: Location) -> Iterator[Item]:
    """Yield the items of a table, block by block."""
    with open_bytes(path) as opened:
        file = open_parquet(opened, path)
        for batch in file.iter_batches(_ROWS, use_threads=False):
            for row in batch.to_pylist():
                item = _of_row(row)
                yield Item(_checked(item, str(path)), _own(item, str(path)))


def _of_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of stac-geoparquet as an item: its properties are columns there."""
    import shapely

    box, geometry = row.pop("bbox", None), row.pop("geometry", None)
    item = {name: row.pop(name) for name in _CORE if row.get(name) is not None}
    if box is not None:  # a struct of xmin, ymin, (zmin,) xmax, ymax, (zmax)
        item["bbox"] = [box[f"{axis}{end}"] for end in ("min", "max") for axis in "xy"]
    item["geometry"] = None
    if geometry is not None:
        item["geometry"] = shapely.geometry.mapping(shapely.from_wkb(geometry))
    item["properties"] = {k: _stated(v) for k, v in row.items() if v is not None}
    return {**item, "assets": _stated(item.get("assets"))}


def _stated(value: Any) -> Any:
    """Leave out what a row has only because others have it; dates as text."""
    if isinstance(value, dict):
        return {k: _stated(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_stated(v) for v in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _own(item: Any, where: str) -> str:
    """Return the address of an item of a list: its own, else that of the list."""
    links = item.get("links") if isinstance(item, dict) else None
    found = next((one.get("href") for one in links or () if one.get("rel") == "self"), None)
    return resolve(found, where) if found else where


def _named(path: str) -> str:
    return repr(printable(path))
