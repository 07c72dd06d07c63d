"""Remote objects, read by byte ranges and cached so that no byte is requested twice.

Headers are cached in memory, pixels in one temporary file of the process. If it exceeds its size
limit, it is cleared, and pixels may be requested again. Neighbouring ranges are merged to one
request, requests run concurrently, and a range that is already requested is awaited.
"""

from __future__ import annotations

import atexit
import bisect
import contextlib
import re
import threading
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count as counting
from typing import TYPE_CHECKING

from foveate.errors import DataError, FoveateError
from foveate.files import digest, fingerprint
from foveate.location import STORES, URL, Location, locate
from foveate.remote.layout import Layout, read_layout
from foveate.remote.ranges import coalesced, joined, split, without
from foveate.remote.spool import Spool
from foveate.remote.stores import Meta, fetch, head
from foveate.remote.traffic import Traffic, count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Range = tuple[int, int]

HEAD = 32 << 10  # bytes of the first request: covers most headers of cloud-optimised files
PAGE = 4096
_REQUESTS = 16  # concurrent
_TRIES = 3  # attempts to have a whole range in the cache


_numbers = counting()
_spool = Spool()
atexit.register(_spool.close)


@dataclass(slots=True)
class _Segment:
    """Cached bytes of an object, in memory or in the spool."""

    start: int
    end: int
    data: bytes | None = None
    place: tuple[int, int] = (0, 0)  # generation and offset in the spool

    def read(self) -> bytes | None:
        if self.data is not None:
            return self.data
        return _spool.get(*self.place, self.end - self.start)

    @property
    def is_cached(self) -> bool:
        return self.data is not None or self.place[0] == _spool.generation


@dataclass
class Header:
    """Everything that was read to open an object; stored with a run.

    Attributes:
        meta: Metadata of the object, which identify its version.
        segments: Offset -> bytes.
        beside: Names of requested sidecar files -> metadata, or None if the file does not exist.
    """

    meta: Meta
    segments: dict[int, bytes] = field(default_factory=dict)
    beside: dict[str, Meta | None] = field(default_factory=dict)


class RemoteObject:
    """A file in an object store or on a web server.

    Args:
        url: URL of the object.
        meta: Its metadata.

    Attributes:
        url: URL of the object.
        meta: Size, entity tag and modification time at opening.
        opening: Whether reads belong to the header.
        number: Unique number of this version of the object in this process.
        beside: Names of requested sidecar files -> metadata, or None if the file does not exist.
    """

    def __init__(self, url: URL, meta: Meta) -> None:
        self.url, self.meta = url, meta
        self.opening = True
        self.number = next(_numbers)
        self.beside: dict[str, Meta | None] = {}
        self._lock = threading.RLock()
        self._segments: list[_Segment] = []
        self._starts: list[int] = []
        self._pending: list[tuple[int, int, Future[None]]] = []  # requested ranges
        self._opening_reads: dict[int, bytes] = {}  # offset -> bytes
        self._known: Header | None = None  # header of an earlier run or another process

    @cached_property
    def layout(self) -> Layout | None:
        """Byte layout of the pixels, or None if it cannot be predicted."""
        return read_layout(self)

    @property
    def fingerprint(self) -> list[str | int]:
        """Identifier of this version of the object, JSON-serialisable."""
        # Entity tags of object stores are hashes of the content, and so independent of the URL.
        # Those of web servers are often derived from time and size.
        if self.meta.e_tag and self.url.scheme in STORES:
            return [self.meta.e_tag, self.meta.size]
        return [str(self.url), self.meta.e_tag or self.meta.modified, self.meta.size]

    @property
    def header(self) -> Header:
        """Everything read to open the object, without the pixels after the directories."""
        layout = None if self.is_known else self.layout  # before locking, because it reads
        with self._lock:
            if self._known is not None and self._known.beside == self.beside:
                return self._known
            if layout is None:
                return Header(self.meta, joined(self._opening_reads), dict(self.beside))
            segments = {s.start: s.data for s in self._segments if s.data is not None}
        if 0 in segments:
            segments[0] = segments[0][: _header_size(layout)]
        return Header(self.meta, segments, dict(self.beside))

    @property
    def is_known(self) -> bool:
        """Whether the header comes from an earlier run or another process."""
        return self._known is not None

    def looked_at(self, start: int, data: bytes) -> None:
        """Record a read. For a file without layout, the reads while opening are its header."""
        with self._lock:
            if self.opening and len(self._opening_reads.get(start, b"")) < len(data):
                self._opening_reads[start] = data

    def finish_opening(self) -> None:
        """End the opening phase: later reads are pixels; pixels in memory move to the spool."""
        if not self.opening:
            return
        layout = None if self.is_known else self.layout
        with self._lock:
            self.opening = False
            if self.is_known:
                return  # only the header is in memory
            keep = 0 if layout is None else _header_size(layout)
            if layout is not None:
                self._opening_reads.clear()
            for segment in [s for s in self._segments if s.data is not None]:
                if layout is not None and (segment.start or segment.end <= keep):
                    continue  # directories
                data, at = segment.data or b"", self._segments.index(segment)
                del self._segments[at], self._starts[at]
                for start, piece in ((0, data[:keep]), (keep, data[keep:])):
                    if piece:
                        self._add(segment.start + start, piece, memory=start < keep)

    def restore(self, header: Header) -> None:
        """Use the header of an earlier opening."""
        with self._lock:
            self.beside |= header.beside
            self._opening_reads |= header.segments
            if header.segments:
                self._known = Header(self.meta, header.segments, dict(self.beside))
            for start, data in header.segments.items():
                for first, last in self._missing(start, start + len(data)):
                    self._add(first, data[first - start : last - start], memory=True)

    def begin(self, data: bytes) -> None:
        """Cache the first bytes, which were fetched together with the metadata."""
        with self._lock:
            for first, last in self._missing(0, len(data)):
                self._add(first, data[first:last], memory=True)

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start`, or fewer at the end of the object.

        Raises:
            DataError: The bytes cannot be read.
        """
        end = min(start + size, self.meta.size)
        if start >= end:
            return b""
        for _ in range(_TRIES):
            if (data := self.held(start, end)) is not None:
                return data
            self.need([(start, end)])
        # The range, or concurrent reads, exceed the cache, so that pieces were evicted meanwhile.
        return b"".join(fetch(self.url, a, b, self.meta)[0] for a, b in split([(start, end)]))

    def held(self, start: int, end: int) -> bytes | None:
        """Return the bytes of a range if all of them are cached, else None."""
        with self._lock:
            pieces, at = [], max(0, bisect.bisect_right(self._starts, start) - 1)
            while start < end:
                if at >= len(self._segments) or self._segments[at].start > start:
                    return None
                segment = self._segments[at]
                data = segment.read()
                if data is None:
                    return None
                if segment.end > start:
                    pieces.append(data[start - segment.start : end - segment.start])
                    start = segment.end
                at += 1
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def need(self, ranges: Iterable[Range], *, wait: bool = True) -> None:
        """Fetch the bytes of ranges that are not cached, concurrently.

        Args:
            ranges: (start, end) in bytes.
            wait: Whether to wait for the bytes. Otherwise, a later `read` raises any error.

        Raises:
            DataError: The bytes cannot be read.
        """
        clipped = [(max(0, a), min(b, self.meta.size)) for a, b in ranges]
        while True:
            with self._lock:
                others = [
                    request
                    for a, b, request in self._pending
                    if any(a < end and s < b for s, end in clipped)
                ]
                own = [
                    self._send(start, end)
                    for start, end in split(coalesced(self._not_requested(clipped)))
                ]
            if not (wait and (own or others)):
                return
            done, _ = futures.wait([*own, *others])
            for request in own:
                request.result()
            if all(request.exception() is None for request in done):
                return  # otherwise, ranges that failed for another reader are requested again

    def _send(self, start: int, end: int) -> Future[None]:
        request = _executor().submit(self._fetch, start, end)
        self._pending.append((start, end, request))
        return request

    def _not_requested(self, ranges: Sequence[Range]) -> list[Range]:
        """Return the pieces of ranges that are neither cached nor requested."""
        absent = []
        for start, end in sorted(ranges):
            for first, last in self._missing(start, end):
                absent += without(first, last, [(a, b) for a, b, _ in self._pending])
        return absent

    def _fetch(self, start: int, end: int) -> None:
        try:
            data, _ = fetch(self.url, start, end, self.meta)
            with self._lock:
                for first, last in self._missing(start, start + len(data)):
                    self._add(first, data[first - start : last - start], memory=self.opening)
        finally:
            with self._lock:
                self._pending = [p for p in self._pending if p[:2] != (start, end)]

    def _add(self, start: int, data: bytes, *, memory: bool) -> None:
        at = bisect.bisect_left(self._starts, start)
        segment = _Segment(start, start + len(data), data if memory else None)
        if not memory:
            segment.place = _spool.put(data)
        self._starts.insert(at, start)
        self._segments.insert(at, segment)

    def _missing(self, start: int, end: int) -> list[Range]:
        """Return the uncached pieces of a range, and drop segments that the spool has cleared."""
        missing, at = [], max(0, bisect.bisect_right(self._starts, start) - 1)
        while at < len(self._segments) and self._segments[at].start < end:
            segment = self._segments[at]
            if not segment.is_cached:
                del self._segments[at], self._starts[at]
                continue
            if segment.end > start:
                if segment.start > start:
                    missing.append((start, segment.start))
                start = segment.end
            at += 1
        return [*missing, (start, end)] if start < end else missing


def _header_size(layout: Layout) -> int:
    """Return the number of bytes before the pixels, rounded up to whole pages."""
    return -(-layout.first // PAGE) * PAGE


_lock, _starting = threading.Lock(), threading.Lock()
_threads: list[ThreadPoolExecutor] = []
_objects: dict[str, RemoteObject] = {}
_listed: set[str] = set()  # prefixes whose objects are all known
# Sidecar files that affect pixels or georeferencing. GDAL looks for others, too (.aux, .MSK), and
# each would cost a request.
_SIDECAR = re.compile(
    r"\.(aux\.xml|msk|ovr|prj|wld|tfw|tifw|pgw|pngw|jgw|jpgw|j2w|tif|tiff|jp2|png)$"
)
_fresh: set[str] = set()  # objects whose metadata were requested since `look_again`
_headers: dict[str, Header] = {}  # headers of runs, used if the object is unchanged


def _executor() -> ThreadPoolExecutor:
    with _starting:
        if not _threads:
            _threads.append(ThreadPoolExecutor(_REQUESTS, thread_name_prefix="foveate-cloud"))
        return _threads[0]


def known_object(url: URL, meta: Meta) -> None:
    """Register the metadata of an object from a listing, which saves a request."""
    _register(url, meta)


def open_object(url: URL | str) -> RemoteObject:
    """Open an object. Its metadata are requested once in a job (see `look_again`).

    Raises:
        ParameterError: The scheme of the URL is not supported.
        DataError: The object does not exist or cannot be read.
        MissingExtraError: ``foveate[cloud]`` is not installed.
    """
    location = locate(url)
    assert isinstance(location, URL)  # noqa: S101  (checked by the callers)
    text = str(location)
    known = _objects.get(text)
    if known is not None and text in _fresh:
        return known
    header = known.header if known is not None else _headers.get(text)
    if header is not None:
        current = _current_meta(location)
        if current is not None and current.same(header.meta):
            return _register(location, current)
    # The first bytes of an unknown object come with its metadata in one request.
    data, meta = fetch(location, 0, HEAD, None)
    count(Traffic(headers=1))
    opened = _register(location, meta)
    opened.begin(data)
    return opened


def _current_meta(url: URL) -> Meta | None:
    try:
        return head(url)
    except DataError:
        return fetch(url, 0, 1, None)[1]  # the URL may be signed for GET only


def look_again() -> None:
    """Request the metadata of each object again when it is opened next."""
    with _lock:
        _fresh.clear()
        _listed.clear()


def forget() -> None:
    """Clear all caches."""
    with _lock:
        _objects.clear()
        _fresh.clear()
        _headers.clear()
        _listed.clear()
    _spool.close()


def headers() -> dict[str, Header]:
    """Return the header of each opened object, by URL."""
    return {url: opened.header for url, opened in sorted(_objects.items())}


def expect(text: str, header: Header) -> None:
    """Register a header of an earlier run; it is used only if the object is unchanged."""
    _headers.setdefault(text, header)


def trust(url: URL, header: Header) -> None:
    """Register an object opened by another process of the same job, without checking it again."""
    _register(url, header.meta).restore(header)


def took_listing(prefix: URL) -> None:
    """Report that all objects under a prefix are known: others do not exist."""
    _listed.add(f"{str(prefix).rstrip('/')}/")


def open_together(urls: Sequence[URL]) -> None:
    """Open objects and their sidecar files concurrently; opening them later raises any errors.

    Args:
        urls: Files that will be opened one after the other.
    """
    if len(urls) < 2:
        return
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="foveate-open") as threads:
        list(threads.map(_open_quietly, urls))


def _open_quietly(url: URL) -> None:
    with contextlib.suppress(FoveateError):
        opened = open_object(url)
        if not opened.is_known and opened.layout is not None:
            for suffix in (".aux.xml", ".msk"):
                beside(opened, f"{url.name}{suffix}")


def content_of(place: Location) -> str:
    """Return a fingerprint of the content of a local or remote file.

    Raises:
        DataError: The file cannot be read.
    """
    if isinstance(place, URL):
        return digest(open_object(place).fingerprint)
    return fingerprint(place)


def beside(opened: RemoteObject, name: str) -> RemoteObject | None:
    """Return a sidecar file of an object, or None; each name is requested once.

    Raises:
        DataError: The request failed.
    """
    url = opened.url.parent / name
    if name not in opened.beside and _SIDECAR.search(name) is None:
        return None
    if name not in opened.beside and any(str(url).startswith(prefix) for prefix in _listed):
        known = _objects.get(str(url))
        opened.beside[name] = None if known is None else known.meta
    if name not in opened.beside:
        known = _objects.get(str(url))
        opened.beside[name] = known.meta if known is not None else _probe(url)
    meta = opened.beside[name]
    return None if meta is None else _register(url, meta)


def _probe(url: URL) -> Meta | None:
    try:
        return head(url)
    except DataError as error:
        # Stores without permission to list respond like this if an object does not exist.
        if "permission denied" in error.given or "status 40" in error.given:
            return None
        raise


def _register(url: URL, meta: Meta) -> RemoteObject:
    """Return the object of this version, created if necessary, and mark it as current."""
    text = str(url)
    with _lock:
        known = _objects.get(text)
        if known is None or not known.meta.same(meta):
            known = _objects[text] = RemoteObject(url, meta)
            header = _headers.get(text)
            if header is not None and header.meta.same(meta):
                known.restore(header)
        _fresh.add(text)
        return known
