"""Finding raster files in object stores and on web servers.

A prefix and a glob of ``s3://``, ``gs://`` and ``az://`` are listed; an address of a web server is
one file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from foveate.errors import DataError
from foveate.location import STORES, URL
from foveate.raster import SUFFIXES
from foveate.remote import known_object, list_objects, open_object, took_listing

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class RemoteFile:
    """A file that was found.

    Attributes:
        url: Where it is.
        inner: Path below where the search began.
        size: Bytes; None where it is not known yet.
        named: Whether its address was given itself.
    """

    url: URL
    inner: PurePosixPath
    size: int | None = None
    named: bool = False


def start_of(url: URL) -> URL:
    """Return the prefix that a glob begins in; another URL is returned as it is."""
    parts = url.parts
    place = next((i for i, part in enumerate(parts) if i and MAGIC.search(part)), None)
    if place is None or url.scheme not in STORES:
        return url
    folder = "/".join(parts[1:place])
    return URL(f"{parts[0]}/{folder}{'/' if folder else ''}")


def walk(start: URL) -> Iterator[RemoteFile]:
    """Yield the files at an address: the one of this key, or those under it as a prefix.

    Raises:
        DataError: There is none, it cannot be read, or a folder of a web server is meant.
    """
    single = PurePosixPath(start.key).suffix.lower() in SUFFIXES and not start.is_prefix
    if start.scheme not in STORES:
        if start.is_prefix:
            raise DataError(
                f"{str(start)!r} is a folder of a web server",
                "Web servers do not say which files they have.",
                "Give the addresses of the files.",
            )
        single = True
    if single:
        opened = open_object(start)
        yield RemoteFile(start, PurePosixPath(start.name), opened.meta.size, named=True)
        return
    count, depth = 0, len(start.parts)
    for url, meta in list_objects(start):
        known_object(url, meta)
        count += 1
        yield RemoteFile(url, PurePosixPath(*url.parts[depth:]), meta.size)
    took_listing(start)
    if not count:
        raise DataError(
            f"there is nothing under {str(start)!r}",
            "A prefix is what keys of objects begin with, up to a slash.",
            "Check the bucket and the prefix.",
        )
