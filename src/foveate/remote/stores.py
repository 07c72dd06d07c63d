"""Requests to object stores and web servers with obstore.

Credentials and endpoints come from the usual configuration of each store: environment variables
(``AWS_*``, ``GOOGLE_*``, ``AZURE_*``), profiles, the identity of a cloud machine. Error messages of
obstore may contain signed URLs, headers and server responses. Therefore, they are never shown, but
replaced by messages of this module.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from foveate.errors import DataError, FoveateError, MissingExtraError, UnavailableError
from foveate.location import URL, signed
from foveate.remote.traffic import Traffic, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Five attempts within a minute: enough for a busy store, and short enough for interactive use.
RETRY: dict[str, Any] = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2
    },
}  # fmt: skip
CLIENT: dict[str, Any] = {"timeout": "30s", "connect_timeout": "10s"}
_TRIES = 3  # attempts if a response is truncated, which obstore does not retry
_PAUSE = 0.1  # seconds before the second attempt, doubled for the third
_PACKAGES = ("obstore", "async_tiff")


@dataclass(frozen=True)
class Meta:
    """Metadata of an object.

    Attributes:
        size: Size in bytes.
        e_tag: Entity tag, or "".
        modified: ISO time of the last change, or "".
    """

    size: int
    e_tag: str = ""
    modified: str = ""

    @classmethod
    def of(cls, record: Any) -> Meta:
        """Create from the metadata of obstore."""
        modified = record.get("last_modified")
        return cls(
            int(record["size"]),
            record.get("e_tag") or "",
            "" if modified is None else str(modified),
        )

    @property
    def if_match(self) -> str | None:
        """The entity tag for conditional requests, or None: weak tags do not allow them."""
        return self.e_tag if self.e_tag and not self.e_tag.startswith("W/") else None

    def same(self, other: Meta) -> bool:
        """Return whether both describe the same version of an object."""
        if self.e_tag and other.e_tag:
            return (self.size, self.e_tag) == (other.size, other.e_tag)
        return (self.size, self.modified) == (other.size, other.modified)


class _AbsentError(Exception):
    """The object does not exist."""


def fetch(url: URL, start: int, end: int, meta: Meta | None) -> tuple[bytes, Meta]:
    """Return bytes of an object, and its metadata.

    Args:
        url: The object.
        start: First byte.
        end: Byte after the last; the result is shorter if the object ends before.
        meta: Expected metadata: another version is an error. None to accept any version.

    Raises:
        DataError: The object does not exist, has changed, or cannot be read.
    """
    store, key = _store(url)
    options: Any = {"range": (start, end)}
    if meta is not None and meta.if_match:
        options["if_match"] = meta.if_match

    def ask() -> tuple[bytes, Meta]:
        import obstore

        response = obstore.get(store, key, options=options)
        current = Meta.of(response.meta)
        if meta is not None and not meta.same(current):
            raise _changed(url)
        data = bytes(response.bytes())
        count(Traffic(requests=1, bytes=len(data)))
        if len(data) != min(end, current.size) - start:
            raise _TruncatedError
        return data, current

    return _request(ask, url)


class _TruncatedError(Exception):
    """A response is shorter than announced."""


def head(url: URL) -> Meta | None:
    """Return the metadata of an object, or None if it does not exist.

    Raises:
        DataError: The request failed.
    """
    store, key = _store(url)

    def ask() -> Meta:
        import obstore

        record = obstore.head(store, key)
        count(Traffic(requests=1))
        return Meta.of(record)

    try:
        return _request(ask, url, absent=True)
    except _AbsentError:
        count(Traffic(requests=1))
        return None


def list_objects(prefix: URL) -> Iterator[tuple[URL, Meta]]:
    """Yield the objects under a prefix, sorted by key.

    Raises:
        DataError: The store or bucket does not exist, or listing is not permitted.
        MissingExtraError: ``foveate[cloud]`` is not installed.
    """
    import obstore

    need_cloud(prefix)
    store, key = _store(prefix)

    def ask() -> list[Any]:
        entries = []
        for page in obstore.list(store, prefix=key or None):
            count(Traffic(requests=1))
            entries += page
        return entries

    for entry in sorted(_request(ask, prefix), key=lambda entry: entry["path"]):
        yield URL(f"{prefix.scheme}://{prefix.bucket}/{entry['path']}"), Meta.of(entry)


def need_cloud(url: URL) -> None:
    """Check that the packages for URLs are installed.

    Raises:
        MissingExtraError: A package is missing.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"reading {str(url)!r} needs {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            "",
            "Install with: pip install 'foveate[cloud]'.",
        )


def _store(url: URL) -> tuple[Any, str]:
    """Return the store of an object, and its key in the store."""
    need_cloud(url)
    if url.scheme in ("http", "https"):
        address = urlsplit(signed(url))
        base = address._replace(path="/", fragment="").geturl()
        return _cached_store(url.scheme, base, ()), url.key
    prefixes = _VARIABLES[url.scheme]
    environment = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(prefixes)))
    try:
        return _cached_store(url.scheme, url.bucket, environment), url.key
    except FoveateError:
        raise
    except Exception as error:  # noqa: BLE001  (of obstore and boto3; its text may contain a key)
        raise UnavailableError(
            f"cannot read {str(url)!r}: its store cannot be configured ({type(error).__name__})",
            "An account or a credentials file is missing or invalid.",
            _CONFIGURE[url.scheme],
        ) from None


_VARIABLES = {"s3": ("AWS_",), "gs": ("GOOGLE_",), "az": ("AZURE_",)}


@lru_cache(maxsize=64)
def _cached_store(scheme: str, place: str, environment: tuple[tuple[str, str], ...]) -> Any:
    """Return the store of a bucket or host; a changed environment creates a new store."""
    from obstore import store as stores

    allow_http = scheme == "http" or any(
        value.lower() == "true" if name.endswith("ALLOW_HTTP") else value.startswith("http://")
        for name, value in environment
        if name.endswith("ALLOW_HTTP") or "ENDPOINT" in name
    )  # an endpoint configured as http:// is an explicit choice
    client: Any = CLIENT | {"allow_http": allow_http}
    retry: Any = RETRY
    if scheme in ("http", "https"):
        return stores.HTTPStore(place, client_options=client, retry_config=retry)
    if scheme == "s3":
        credentials = _profile(dict(environment))
        return stores.S3Store(place, client_options=client, retry_config=retry, **credentials)
    if scheme == "gs":
        return stores.GCSStore(place, client_options=client, retry_config=retry)
    return stores.AzureStore(place, client_options=client, retry_config=retry)


def _profile(environment: dict[str, str]) -> dict[str, Any]:
    """Return options that read AWS_PROFILE with boto3, because obstore does not read profiles.

    Raises:
        MissingExtraError: AWS_PROFILE is set, and boto3 is not installed.
    """
    profile = environment.get("AWS_PROFILE")
    if not profile:
        return {}
    if importlib.util.find_spec("boto3") is None:
        raise MissingExtraError(
            f"the AWS profile {profile!r} needs boto3, which is not installed",
            "Without boto3, credentials are read from the environment (AWS_ACCESS_KEY_ID ...).",
            "Install with: pip install boto3.",
        )
    from obstore.auth.boto3 import Boto3CredentialProvider

    return {"credential_provider": Boto3CredentialProvider()}


def _request[T](ask: Callable[[], T], url: URL, *, absent: bool = False) -> T:
    """Call `ask`; retry if the response is truncated.

    Raises:
        DataError: The request failed; the message contains no secret.
        _AbsentError: The object does not exist, if `absent` is True.
    """
    for attempt in range(_TRIES):
        try:
            return ask()
        except FoveateError:
            raise
        except Exception as error:  # noqa: BLE001  (of many types, all converted)
            if absent and isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise _AbsentError from None
            if attempt + 1 < _TRIES and _is_truncated(error):
                time.sleep(_PAUSE * 2**attempt)
                continue
            # Without the cause: its text may contain a signature, a header or a server response.
            raise _to_data_error(error, url) from None
    raise AssertionError  # pragma: no cover


_TRUNCATED = re.compile(r"kind: (?:Interrupted|Decode)|UnexpectedEof|Incomplete|ConnectionReset")


def _is_truncated(error: Exception) -> bool:
    return isinstance(error, _TruncatedError) or _TRUNCATED.search(str(error)) is not None


def _changed(url: URL) -> DataError:
    return DataError(
        f"{str(url)!r} has changed since it was opened",
        "Files must not change while a job runs.",
        "Run the job again when the file is no longer being written.",
    )


_CONFIGURE = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, AWS_REGION), or "
    "AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS; for a public bucket GOOGLE_SKIP_SIGNATURE=true.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY; "
    "for a public container AZURE_SKIP_SIGNATURE=true.",
}
_WEB = "Give a URL that opens in a browser, or sign it again."
_STATUS = re.compile(r"status code: (\d{3})")
_EXPIRED = re.compile(r"ExpiredToken|RequestExpired|TokenRefreshRequired|AuthenticationFailed")
# Text in errors of obstore, message, and hint ("": how to set credentials).
_MESSAGES = (
    ("NoSuchBucket", "its bucket does not exist", "Check the name of the bucket, and AWS_REGION."),
    ("ContainerNotFound", "its container does not exist", "Check the name of the container."),
    ("169.254.169.254", "no credentials were found", ""),
    ("metadata.google", "no credentials were found", ""),
    ("kind: Timeout", "the server did not respond in time", "Try again later."),
    ("TimedOut", "the server did not respond in time", "Try again later."),
    ("dns error", "the host does not exist", "Check the name of the host."),
    ("ConnectionRefused", "the server refuses connections", "Check the host and port."),
    (
        "InvalidCertificate", "its certificate is not trusted",
        "Set SSL_CERT_FILE=ca-bundle.pem to a file with the certificates to trust.",
    ),
    ("kind: Connect", "the server cannot be reached", "Check the network, the host and the port."),
    ("BadScheme", "its endpoint is not encrypted", "Set AWS_ALLOW_HTTP=true to allow that."),
)  # fmt: skip


_ABSENT, _EMPTY = "it does not exist", "it is empty"
_PERMANENT = (_ABSENT, _EMPTY)  # a retry would not help


def _to_data_error(error: Exception, url: URL) -> DataError:
    """Convert an error of obstore; the result contains none of its text."""
    configure = _CONFIGURE.get(url.scheme, _WEB)
    text, kind = str(error), type(error).__name__
    matches = [(message, hint) for pattern, message, hint in _MESSAGES if pattern in text]
    status = next(iter(_STATUS.findall(text)), "")
    if isinstance(error, _TruncatedError) or (not matches and _is_truncated(error)):
        message, hint = f"the response was truncated {_TRIES} times", "Try again later."
    elif _EXPIRED.search(text):
        message, hint = (
            "the credentials have expired or are not accepted",
            "Renew them. " + configure,
        )
    elif kind == "PreconditionError":
        return _changed(url)
    elif matches:
        message, hint = matches[0][0], matches[0][1] or configure
    elif isinstance(error, FileNotFoundError):
        message, hint = _ABSENT, "Check the URL."
    elif kind == "PermissionDeniedError" or status == "403":
        message, hint = "permission denied", configure
    elif kind == "UnauthenticatedError" or status == "401":
        message, hint = "the credentials are not accepted", configure
    elif status == "416":
        message, hint = _EMPTY, "Upload it again."
    elif status:
        hint = "Try again later." if status >= "500" or status == "429" else "Check the URL."
        message = f"the server responded with status {status}"
    else:
        message, hint = f"the request failed ({kind})", configure
    error_class = DataError if message in _PERMANENT else UnavailableError
    return error_class(f"cannot read {str(url)!r}: {message}", "", hint)
