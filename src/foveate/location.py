"""Where a file lies: a path of this machine, or a URL of an object store or a web server.

The one place that reads what a user, a job or a catalogue calls a file. A URL is a `URL` and never
a `Path`, which would take ``s3://bucket/x.tif`` for ``s3:/bucket/x.tif``: `URL` is no
``os.PathLike``, so that ``Path(url)`` raises. It has the parts that names are compared by
(`name`, `stem`, `suffix`, `parent`, `parts`) under the same names as `Path`.

Credentials inside a URL (a presigned query, a SAS token, a user and password) are taken out when it
is read. They are kept in this process, where the reader asks for them by `signed`, and go to worker
processes; they are in no text of the URL, and so in no run, no log and no error.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from foveate.errors import ParameterError

SCHEMES = ("s3", "gs", "az", "https", "http")
STORES = ("s3", "gs", "az")  # those that can be listed

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")
# Parameters of presigned URLs and SAS tokens (AWS, Google, Azure, CloudFront), and plain tokens.
_SECRET = re.compile(
    r"(x-amz-.+|x-goog-.+|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id"
    r"|sig|sv|se|st|sp|sr|spr|sip|srt|ss|skoid|sktid|skt|ske|sks|skv|sdd|saoid|suoid|scid"
    r"|.*(token|secret|passw|credential|api[_-]?key|subscription-key).*)",
    re.IGNORECASE,
)
_QUERY = re.compile(r"([?&;])([^=&;\s'\"<>]+)=([^&;\s'\"<>]*)")
_USER = re.compile(r"(\w://)[^/@\s'\"]+@")
_HIDDEN = "***"

_signatures: dict[str, _Signature] = {}  # text of a URL -> what was taken out of it


@dataclass(frozen=True, slots=True)
class _Signature:
    """Credentials of one URL."""

    user: str = field(default="", repr=False)
    query: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, order=True)
class URL:
    """The place of a file, or of a prefix, in an object store or on a web server.

    Attributes:
        text: ``scheme://bucket/key``, without credentials; a prefix may end in a slash.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL, and take its credentials out.

        Raises:
            ParameterError: A scheme that is not read, or no bucket or host.
        """
        scheme = _SCHEME.match(text)
        if scheme is None or scheme[1].lower() not in SCHEMES:
            raise ParameterError(
                f"{redact(text)!r}",
                f"Files are read from paths and from {', '.join(f'{s}://' for s in SCHEMES)}.",
                "Check the scheme, or download the file.",
            )
        if scheme[1].lower() in STORES:
            _, _, place = text.partition("://")
            user, query, plain = "", "", f"{scheme[1].lower()}://{place}"
        else:
            plain, user, query = _without_credentials(text)
        found = cls(plain)
        if not found.bucket:
            raise ParameterError(
                f"{plain!r} without a bucket or host",
                f"The form is {found.scheme}://"
                + ("BUCKET/KEY." if found.scheme in STORES else "HOST/PATH."),
            )
        if user or query:
            _signatures[plain] = _Signature(user, query)
        return found

    @property
    def scheme(self) -> str:
        """One of `SCHEMES`."""
        return self.text.partition("://")[0]

    @property
    def bucket(self) -> str:
        """Bucket, container, or host with port."""
        return self.text.partition("://")[2].partition("/")[0]

    @property
    def key(self) -> str:
        """Path inside the bucket, as the store knows it: decoded where the URL is encoded."""
        place = self._place
        return place if self.scheme in STORES else unquote(place)

    @property
    def query(self) -> str:
        """What follows the question mark of a web address, without credentials."""
        return "" if self.scheme in STORES else urlsplit(self.text).query

    @property
    def is_prefix(self) -> bool:
        """Whether it can only be what other objects lie under: its text ends in a slash."""
        return not self.key or self._raw.endswith("/")

    @property
    def parts(self) -> tuple[str, ...]:
        """``scheme://bucket``, then the parts of the key."""
        key = self.key
        return (f"{self.scheme}://{self.bucket}", *(key.split("/") if key else ()))

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Suffix of the name: ".tif"."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> URL:
        """The prefix that it lies under; of a bucket, the bucket."""
        folder = self._place.rpartition("/")[0]
        return URL(f"{self.scheme}://{self.bucket}/{folder}{'/' if folder else ''}")

    def as_posix(self) -> str:
        """Return its text."""
        return self.text

    def __truediv__(self, name: str) -> URL:
        """Return what lies under it by a relative key."""
        return URL(f"{self._bare.rstrip('/')}/{name}")

    def __str__(self) -> str:
        """Return its text."""
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        """Take its credentials along to another process."""
        return _restored, (self.text, signature_of(self.text))

    @property
    def _bare(self) -> str:
        """Its text without the query."""
        return self.text if self.scheme in STORES else self.text.partition("?")[0]

    @property
    def _raw(self) -> str:
        return self._bare.partition("://")[2].partition("/")[2]

    @property
    def _place(self) -> str:
        return self._raw.strip("/")


Location = Path | URL


def is_url(given: object) -> bool:
    """Say whether it is a URL, of a scheme that is read or not: ``letters://`` and no file."""
    if isinstance(given, URL):
        return True
    found = _SCHEME.match(given) if isinstance(given, str) else None
    return found is not None and found[1].lower() != "file"


def locate(given: str | os.PathLike[str] | URL) -> Location:
    """Return where a file lies; ``file://`` is a path.

    Raises:
        ParameterError: A URL of a scheme that is not read.
    """
    if isinstance(given, URL):
        return given
    text = os.fspath(given)
    if is_url(text):
        return URL.parse(text)
    if text[:7].lower() == "file://":
        return Path(unquote(urlsplit(text).path))
    return Path(text)


def refuse_url(given: str | os.PathLike[str], what: str) -> None:
    """Refuse an address where a folder or file of this machine is meant.

    Args:
        given: What was given, or the path that was made of it: ``s3:/bucket``.
        what: What is meant: "a run is a folder".

    Raises:
        ParameterError: It is an address.
    """
    text = os.fspath(given)
    scheme, _, place = text.partition(":/")
    if scheme.lower() in SCHEMES and place:
        raise ParameterError(
            f"the address {redact(f'{scheme}://{place.lstrip("/")}')!r}",
            f"Imagery is read from addresses; {what} of this machine.",
            "Give a path; what lies in a bucket is downloaded first.",
        )


def absolute(given: str | os.PathLike[str] | URL) -> str:
    """Return the text of a location that means the same from any folder; see `locate`."""
    place = locate(given)
    return str(place) if isinstance(place, URL) else str(place.absolute())


def below(root: Path, text: str) -> str:
    """Return what a text that a run has stored means: relative to the run, absolute, or a URL."""
    return text if is_url(text) else str(root / text)


def signed(url: URL) -> str:
    """Return the full address of a URL with the credentials that it came with.

    For the reader alone: never to be stored or shown.
    """
    signature = _signatures.get(url.text)
    if signature is None:
        return url.text
    parts = urlsplit(url.text)
    host = f"{signature.user}@{parts.netloc}" if signature.user else parts.netloc
    query = "&".join(filter(None, (parts.query, signature.query)))
    return urlunsplit(parts._replace(netloc=host, query=query))


def signature_of(text: str) -> object:
    """Return the credentials of a URL, to be handed to another process; see `remember`."""
    return _signatures.get(text)


def remember(text: str, signature: object) -> None:
    """Keep the credentials of a URL that another process has read; see `signature_of`."""
    if isinstance(signature, _Signature):
        _signatures[text] = signature


def redact(text: str) -> str:
    """Hide the credentials of all URLs in a text: an error message, a command."""
    text = _USER.sub(rf"\1{_HIDDEN}@", text)
    return _QUERY.sub(
        lambda m: f"{m[1]}{m[2]}={_HIDDEN}" if _SECRET.fullmatch(unquote(m[2])) else m[0], text
    )


def _without_credentials(text: str) -> tuple[str, str, str]:
    """Return the text of a web address without credentials, and its user and secret query."""
    parts = urlsplit(text)
    user, _, host = parts.netloc.rpartition("@")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    secret = urlencode([pair for pair in pairs if _SECRET.fullmatch(pair[0])])
    shown = parts.query if not secret else urlencode([p for p in pairs if not _is_secret(p)])
    plain = urlunsplit((parts.scheme.lower(), host, parts.path, shown, ""))
    return plain, user, secret


def _is_secret(pair: tuple[str, str]) -> bool:
    return _SECRET.fullmatch(pair[0]) is not None


def _restored(text: str, signature: object) -> URL:
    remember(text, signature)
    return URL(text)
