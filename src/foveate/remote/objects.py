"""Objects that are read by ranges, of which no byte is requested twice.

What arrives is kept: directories of files in memory, pixels in one temporary file of the process,
up to a `limit` in bytes; beyond, they are forgotten and may be requested again. Neighbouring ranges
become one request, requests run side by side, and a range that is on its way is waited for.
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

HEAD = 32 << 10  # bytes that are read first: most directories of cloud-optimised files
PAGE = 4096
_REQUESTS = 16  # side by side
_TRIES = 3  # to have all of a range at a time


_numbers = counting()
_spool = Spool()
atexit.register(_spool.close)


@dataclass(slots=True)
class _Segment:
    """Bytes of an object: in memory, or in the spool."""

    start: int
    end: int
    data: bytes | None = None
    place: tuple[int, int] = (0, 0)

    def read(self) -> bytes | None:
        if self.data is not None:
            return self.data
        return _spool.get(*self.place, self.end - self.start)

    @property
    def there(self) -> bool:
        return self.data is not None or self.place[0] == _spool.generation


@dataclass
class Header:
    """What is kept of an object with a run: all that opening it has read.

    Attributes:
        meta: The state of the object that it is of.
        segments: First byte -> bytes.
        beside: Names beside it that were asked for -> what is there, or None.
    """

    meta: Meta
    segments: dict[int, bytes] = field(default_factory=dict)
    beside: dict[str, Meta | None] = field(default_factory=dict)


class RemoteObject:
    """A file in an object store or on a web server.

    Args:
        url: Where it is.
        meta: What its store says of it.

    Attributes:
        url: Where it is.
        meta: Size, entity tag and time of change, as when it was opened.
        opening: Whether what is read now belongs to its header.
        number: What tells it from other states of the object in this process.
        beside: Names beside it that were asked for -> what is there, or None.
    """

    def __init__(self, url: URL, meta: Meta) -> None:
        self.url, self.meta = url, meta
        self.opening = True
        self.number = next(_numbers)
        self.beside: dict[str, Meta | None] = {}
        self._lock = threading.RLock()
        self._segments: list[_Segment] = []
        self._starts: list[int] = []
        self._coming: list[tuple[int, int, Future[None]]] = []
        self._looked: dict[int, bytes] = {}  # what opening it has read
        self._known: Header | None = None  # of an earlier run, or another process

    @cached_property
    def layout(self) -> Layout | None:
        """Where its pixels are, or None for what is read as GDAL asks for it."""
        return read_layout(self)

    @property
    def fingerprint(self) -> list[str | int]:
        """What tells this state of the object from others, JSON-ready."""
        # Entity tags of object stores are hashes; those of web servers often are of time and size.
        if self.meta.e_tag and self.url.scheme in STORES:
            return [self.meta.e_tag, self.meta.size]
        return [str(self.url), self.meta.e_tag or self.meta.modified, self.meta.size]

    @property
    def header(self) -> Header:
        """What opening it has read, without the pixels that follow the directories."""
        layout = None if self.is_known else self.layout  # it reads: not under the lock
        with self._lock:
            if self._known is not None and self._known.beside == self.beside:
                return self._known
            if layout is None:
                return Header(self.meta, joined(self._looked), dict(self.beside))
            kept = {s.start: s.data for s in self._segments if s.data is not None}
        if 0 in kept:
            kept[0] = kept[0][: _directories(layout)]
        return Header(self.meta, kept, dict(self.beside))

    @property
    def is_known(self) -> bool:
        """Whether its header is that of an earlier run, or another process."""
        return self._known is not None

    def looked_at(self, start: int, data: bytes) -> None:
        """Say what was read: of a file without a layout, what opening it reads is its header."""
        with self._lock:
            if self.opening and len(self._looked.get(start, b"")) < len(data):
                self._looked[start] = data

    def finish_opening(self) -> None:
        """Say that what is read from now on are pixels; those that came along leave the memory."""
        if not self.opening:
            return
        layout = None if self.is_known else self.layout
        with self._lock:
            self.opening = False
            if self.is_known:
                return  # there is nothing else
            keep = 0 if layout is None else _directories(layout)
            if layout is not None:
                self._looked.clear()
            for segment in [s for s in self._segments if s.data is not None]:
                if layout is not None and (segment.start or segment.end <= keep):
                    continue  # of directories
                data, at = segment.data or b"", self._segments.index(segment)
                del self._segments[at], self._starts[at]
                for start, part in ((0, data[:keep]), (keep, data[keep:])):
                    if part:
                        self._add(segment.start + start, part, memory=start < keep)

    def restore(self, header: Header) -> None:
        """Take over what opening it has read before."""
        with self._lock:
            self.beside |= header.beside
            self._looked |= header.segments
            if header.segments:
                self._known = Header(self.meta, header.segments, dict(self.beside))
            for start, data in header.segments.items():
                for first, last in self._missing(start, start + len(data)):
                    self._add(first, data[first - start : last - start], memory=True)

    def begin(self, data: bytes) -> None:
        """Take over its first bytes, which came with the answer to what it is."""
        with self._lock:
            for first, last in self._missing(0, len(data)):
                self._add(first, data[first:last], memory=True)

    def read(self, start: int, size: int) -> bytes:
        """Return bytes, fewer where the object ends.

        Raises:
            DataError: They cannot be read.
        """
        end = min(start + size, self.meta.size)
        if start >= end:
            return b""
        for _ in range(_TRIES):
            if (found := self.held(start, end)) is not None:
                return found
            self.need([(start, end)])
        # Parts of it are forgotten for others: more is asked for than is kept.
        return b"".join(fetch(self.url, a, b, self.meta)[0] for a, b in split([(start, end)]))

    def held(self, start: int, end: int) -> bytes | None:
        """Return the bytes of a range if all of them are here, else None."""
        with self._lock:
            parts, at = [], max(0, bisect.bisect_right(self._starts, start) - 1)
            while start < end:
                if at >= len(self._segments) or self._segments[at].start > start:
                    return None
                segment = self._segments[at]
                data = segment.read()
                if data is None:
                    return None
                if segment.end > start:
                    parts.append(data[start - segment.start : end - segment.start])
                    start = segment.end
                at += 1
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def need(self, ranges: Iterable[Range], *, wait: bool = True) -> None:
        """Fetch what is not here yet of ranges, side by side.

        Args:
            ranges: (start, end) of bytes.
            wait: Whether to wait until they are here; otherwise errors are left to who reads.

        Raises:
            DataError: They cannot be read.
        """
        wanted = [(max(0, a), min(b, self.meta.size)) for a, b in ranges]
        while True:
            with self._lock:
                others = [
                    job for a, b, job in self._coming if any(a < end and s < b for s, end in wanted)
                ]
                own = [
                    self._send(start, end) for start, end in split(coalesced(self._absent(wanted)))
                ]
            if not (wait and (own or others)):
                return
            done, _ = futures.wait([*own, *others])
            for job in own:
                job.result()
            if all(job.exception() is None for job in done):
                return  # what another reader could not get is asked for once more

    def _send(self, start: int, end: int) -> Future[None]:
        job = _executor().submit(self._fetch, start, end)
        self._coming.append((start, end, job))
        return job

    def _absent(self, wanted: Sequence[Range]) -> list[Range]:
        """Return what is neither here nor on its way."""
        found = []
        for start, end in sorted(wanted):
            for first, last in self._missing(start, end):
                found += without(first, last, [(a, b) for a, b, _ in self._coming])
        return found

    def _fetch(self, start: int, end: int) -> None:
        try:
            data, _ = fetch(self.url, start, end, self.meta)
            with self._lock:
                for first, last in self._missing(start, start + len(data)):
                    self._add(first, data[first - start : last - start], memory=self.opening)
        finally:
            with self._lock:
                self._coming = [c for c in self._coming if c[:2] != (start, end)]

    def _add(self, start: int, data: bytes, *, memory: bool) -> None:
        at = bisect.bisect_left(self._starts, start)
        segment = _Segment(start, start + len(data), data if memory else None)
        if not memory:
            segment.place = _spool.put(data)
        self._starts.insert(at, start)
        self._segments.insert(at, segment)

    def _missing(self, start: int, end: int) -> list[Range]:
        """Return the parts of a range that are not here; what was forgotten leaves the list."""
        found, at = [], max(0, bisect.bisect_right(self._starts, start) - 1)
        while at < len(self._segments) and self._segments[at].start < end:
            segment = self._segments[at]
            if not segment.there:
                del self._segments[at], self._starts[at]
                continue
            if segment.end > start:
                if segment.start > start:
                    found.append((start, segment.start))
                start = segment.end
            at += 1
        return [*found, (start, end)] if start < end else found


def _directories(layout: Layout) -> int:
    """Return how many bytes at the beginning are of directories."""
    return -(-layout.first // PAGE) * PAGE


_lock, _starting = threading.Lock(), threading.Lock()
_threads: list[ThreadPoolExecutor] = []
_objects: dict[str, RemoteObject] = {}
_listed: set[str] = set()  # prefixes of which all objects are known
# What changes pixels or their place. GDAL asks for more (.aux, .MSK): each would be a request.
_SIDECAR = re.compile(
    r"\.(aux\.xml|msk|ovr|prj|wld|tfw|tifw|pgw|pngw|jgw|jpgw|j2w|tif|tiff|jp2|png)$"
)
_fresh: set[str] = set()  # objects that were looked at since `look_again`
_headers: dict[str, Header] = {}  # of runs, to be believed once the object is seen unchanged


def _executor() -> ThreadPoolExecutor:
    with _starting:
        if not _threads:
            _threads.append(ThreadPoolExecutor(_REQUESTS, thread_name_prefix="foveate-cloud"))
        return _threads[0]


def known_object(url: URL, meta: Meta) -> None:
    """Take over what a listing says of an object: it need not be asked for again."""
    _placed(url, meta)


def open_object(url: URL | str) -> RemoteObject:
    """Return an object; its state is asked for once in a job (`look_again`).

    Raises:
        ParameterError: No URL.
        DataError: It is not there, or cannot be read.
        MissingExtraError: ``foveate[cloud]`` is not installed.
    """
    place = locate(url)
    assert isinstance(place, URL)  # noqa: S101  (callers have looked)
    text = str(place)
    found = _objects.get(text)
    if found is not None and text in _fresh:
        return found
    kept = found.header if found is not None else _headers.get(text)
    if kept is not None:
        now = _state(place)
        if now is not None and now.same(kept.meta):
            return _placed(place, now)
    # What is not known yet is asked for together with its first bytes.
    data, meta = fetch(place, 0, HEAD, None)
    count(Traffic(headers=1))
    opened = _placed(place, meta)
    opened.begin(data)
    return opened


def _state(place: URL) -> Meta | None:
    try:
        return head(place)
    except DataError:
        return fetch(place, 0, 1, None)[1]  # an address may be signed for GET alone


def look_again() -> None:
    """Ask for the state of each object once more when it is opened next."""
    with _lock:
        _fresh.clear()
        _listed.clear()


def forget() -> None:
    """Forget all objects and what was read of them."""
    with _lock:
        _objects.clear()
        _fresh.clear()
        _headers.clear()
        _listed.clear()
    _spool.close()


def headers() -> dict[str, Header]:
    """Return what opening objects has read, of all that were opened: URL -> header."""
    return {text: one.header for text, one in sorted(_objects.items())}


def expect(text: str, header: Header) -> None:
    """Take over what opening an object has read before; its state is checked before it is used."""
    _headers.setdefault(text, header)


def trust(url: URL, header: Header) -> None:
    """Take over an object that the process before this one has opened in this very job."""
    _placed(url, header.meta).restore(header)


def took_listing(prefix: URL) -> None:
    """Say that all objects under a prefix are known: what is not among them is not there."""
    _listed.add(f"{str(prefix).rstrip('/')}/")


def open_together(urls: Sequence[URL]) -> None:
    """Open objects side by side, with what GDAL will ask for beside them; errors are left to later.

    Args:
        urls: Of files of which one after the other is going to be opened.
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
    """Return what tells the content of a file apart from others, wherever it lies.

    Raises:
        DataError: It cannot be read.
    """
    if isinstance(place, URL):
        return digest(open_object(place).fingerprint)
    return fingerprint(place)


def beside(opened: RemoteObject, name: str) -> RemoteObject | None:
    """Return the object of a name beside another, or None; each name is asked for once.

    Raises:
        DataError: The store does not say.
    """
    place = opened.url.parent / name
    if name not in opened.beside and _SIDECAR.search(name) is None:
        return None
    if name not in opened.beside and any(str(place).startswith(start) for start in _listed):
        known = _objects.get(str(place))
        opened.beside[name] = None if known is None else known.meta
    if name not in opened.beside:
        known = _objects.get(str(place))
        opened.beside[name] = known.meta if known is not None else _probed(place)
    meta = opened.beside[name]
    return None if meta is None else _placed(place, meta)


def _probed(place: URL) -> Meta | None:
    try:
        return head(place)
    except DataError as error:
        # Stores that may not be listed answer so where there is nothing.
        if "permission denied" in error.given or "status 40" in error.given:
            return None
        raise


def _placed(place: URL, meta: Meta) -> RemoteObject:
    text = str(place)
    with _lock:
        found = _objects.get(text)
        if found is None or not found.meta.same(meta):
            found = _objects[text] = RemoteObject(place, meta)
            kept = _headers.get(text)
            if kept is not None and kept.meta.same(meta):
                found.restore(kept)
        _fresh.add(text)
        return found
