"""Requests to object stores and web servers, through obstore.

Credentials and endpoints are those of the stores' own configuration: environment variables
(``AWS_*``, ``GOOGLE_*``, ``AZURE_*``), profiles, the identity of a cloud machine. Nothing of it is
shown: texts of obstore's errors hold URLs, headers and answers of servers, so that none is passed
on; what went wrong is said in words of our own.
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

# Five tries in a minute: what a store that is only busy needs, and no longer than a person waits.
RETRY: dict[str, Any] = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2
    },
}  # fmt: skip
CLIENT: dict[str, Any] = {"timeout": "30s", "connect_timeout": "10s"}
_TRIES = 3  # of an answer that is cut off, which obstore does not repeat
_PAUSE = 0.1  # seconds before the second try, doubled for the next
_PACKAGES = ("obstore", "async_tiff")


@dataclass(frozen=True)
class Meta:
    """What a store says of an object.

    Attributes:
        size: Bytes.
        e_tag: Its entity tag, or "".
        modified: ISO time of its last change, or "".
    """

    size: int
    e_tag: str = ""
    modified: str = ""

    @classmethod
    def of(cls, found: Any) -> Meta:
        """Return it from obstore's record."""
        changed = found.get("last_modified")
        return cls(
            int(found["size"]), found.get("e_tag") or "", "" if changed is None else str(changed)
        )

    @property
    def if_match(self) -> str | None:
        """Entity tag that a request can be made to depend on: a weak one cannot."""
        return self.e_tag if self.e_tag and not self.e_tag.startswith("W/") else None

    def same(self, other: Meta) -> bool:
        """Say whether both are of one state of an object."""
        if self.e_tag and other.e_tag:
            return (self.size, self.e_tag) == (other.size, other.e_tag)
        return (self.size, self.modified) == (other.size, other.modified)


class _AbsentError(Exception):
    """There is no such object."""


def fetch(url: URL, start: int, end: int, meta: Meta | None) -> tuple[bytes, Meta]:
    """Return bytes of an object, and what its store says of it.

    Args:
        url: The object.
        start: First byte.
        end: The one after the last; the answer is shorter where the object is.
        meta: What is known of it: another state by now is an error. None if nothing is.

    Raises:
        DataError: It is not there, has changed, or cannot be read.
    """
    store, key = _store(url)
    options: Any = {"range": (start, end)}
    if meta is not None and meta.if_match:
        options["if_match"] = meta.if_match

    def ask() -> tuple[bytes, Meta]:
        import obstore

        found = obstore.get(store, key, options=options)
        now = Meta.of(found.meta)
        if meta is not None and not meta.same(now):
            raise _changed(url)
        data = bytes(found.bytes())
        count(Traffic(requests=1, bytes=len(data)))
        if len(data) != min(end, now.size) - start:
            raise _CutOffError
        return data, now

    return _asked(ask, url)


class _CutOffError(Exception):
    """An answer is shorter than it says."""


def head(url: URL) -> Meta | None:
    """Return what a store says of an object; None if there is none.

    Raises:
        DataError: The store does not say.
    """
    store, key = _store(url)

    def ask() -> Meta:
        import obstore

        found = obstore.head(store, key)
        count(Traffic(requests=1))
        return Meta.of(found)

    try:
        return _asked(ask, url, absent=True)
    except _AbsentError:
        count(Traffic(requests=1))
        return None


def list_objects(prefix: URL) -> Iterator[tuple[URL, Meta]]:
    """Yield the objects under a prefix in the order of their keys.

    Raises:
        DataError: The store or bucket is not there, or may not be listed.
    """
    import obstore

    need_cloud(prefix)
    store, key = _store(prefix)

    def ask() -> list[Any]:
        found = []
        for page in obstore.list(store, prefix=key or None):
            count(Traffic(requests=1))
            found += page
        return found

    for entry in sorted(_asked(ask, prefix), key=lambda entry: entry["path"]):
        yield URL(f"{prefix.scheme}://{prefix.bucket}/{entry['path']}"), Meta.of(entry)


def need_cloud(url: URL) -> None:
    """Raise a clear error where the packages for URLs are not installed.

    Raises:
        MissingExtraError: One is missing.
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
    """Return the store of an object and its key there."""
    need_cloud(url)
    if url.scheme in ("http", "https"):
        parts = urlsplit(signed(url))
        base = parts._replace(path="/", fragment="").geturl()
        return _opened(url.scheme, base, ()), url.key
    seen = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(_OWN[url.scheme])))
    try:
        return _opened(url.scheme, url.bucket, seen), url.key
    except FoveateError:
        raise
    except Exception as error:  # noqa: BLE001  (of obstore and boto3; its text may hold a key)
        raise UnavailableError(
            f"cannot read {str(url)!r}: its store cannot be set up ({type(error).__name__})",
            "An account or a file of credentials is missing or wrong.",
            _CONFIGURE[url.scheme],
        ) from None


_OWN = {"s3": ("AWS_",), "gs": ("GOOGLE_",), "az": ("AZURE_",)}


@lru_cache(maxsize=64)
def _opened(scheme: str, place: str, environment: tuple[tuple[str, str], ...]) -> Any:
    """Return the store of a bucket or host; another one where its configuration changes."""
    from obstore import store as stores

    plain = scheme == "http" or any(
        value.lower() == "true" if name.endswith("ALLOW_HTTP") else value.startswith("http://")
        for name, value in environment
        if name.endswith("ALLOW_HTTP") or "ENDPOINT" in name
    )  # an endpoint that its owner states without encryption is meant so
    client: Any = CLIENT | {"allow_http": plain}
    retry: Any = RETRY
    if scheme in ("http", "https"):
        return stores.HTTPStore(place, client_options=client, retry_config=retry)
    if scheme == "s3":
        more = _profile(dict(environment))
        return stores.S3Store(place, client_options=client, retry_config=retry, **more)
    if scheme == "gs":
        return stores.GCSStore(place, client_options=client, retry_config=retry)
    return stores.AzureStore(place, client_options=client, retry_config=retry)


def _profile(environment: dict[str, str]) -> dict[str, Any]:
    """Return what reads a profile of AWS, which obstore leaves to boto3.

    Raises:
        MissingExtraError: A profile is named, and there is no boto3.
    """
    named = environment.get("AWS_PROFILE")
    if not named:
        return {}
    if importlib.util.find_spec("boto3") is None:
        raise MissingExtraError(
            f"the AWS profile {named!r} needs boto3, which is not installed",
            "Credentials are read from the environment (AWS_ACCESS_KEY_ID ...) without it.",
            "Install with: pip install boto3.",
        )
    from obstore.auth.boto3 import Boto3CredentialProvider

    return {"credential_provider": Boto3CredentialProvider()}


def _asked[T](ask: Callable[[], T], url: URL, *, absent: bool = False) -> T:
    """Return an answer; one that is cut off is asked for again.

    Raises:
        DataError: What went wrong, in words that hold no secret.
        _AbsentError: There is no such object, and `absent` says that this is an answer.
    """
    for again in range(_TRIES):
        try:
            return ask()
        except FoveateError:
            raise
        except Exception as error:  # noqa: BLE001  (of many kinds, all explained)
            if absent and isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise _AbsentError from None
            if again + 1 < _TRIES and _is_cut_off(error):
                time.sleep(_PAUSE * 2**again)
                continue
            # Not from it: its text may hold a signature, an answer of a server, a header.
            raise _explained(error, url) from None
    raise AssertionError  # pragma: no cover


_CUT_OFF = re.compile(r"kind: (?:Interrupted|Decode)|UnexpectedEof|Incomplete|ConnectionReset")


def _is_cut_off(error: Exception) -> bool:
    return isinstance(error, _CutOffError) or _CUT_OFF.search(str(error)) is not None


def _changed(url: URL) -> DataError:
    return DataError(
        f"{str(url)!r} has changed since it was opened",
        "A job reads one state of each file.",
        "Run it again when nobody writes the file any more.",
    )


_CONFIGURE = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, AWS_REGION), or "
    "AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS; for a public bucket GOOGLE_SKIP_SIGNATURE=true.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY; "
    "for a public container AZURE_SKIP_SIGNATURE=true.",
}
_WEB = "Give an address that opens in a browser, or one that is signed anew."
_STATUS = re.compile(r"status code: (\d{3})")
_EXPIRED = re.compile(r"ExpiredToken|RequestExpired|TokenRefreshRequired|AuthenticationFailed")
# What obstore's errors are told by, what is said of them, and what to do.
_WORDS = (
    ("NoSuchBucket", "its bucket is not there", "Check the name of the bucket, and AWS_REGION."),
    ("ContainerNotFound", "its container is not there", "Check the name of the container."),
    ("169.254.169.254", "no credentials were found", ""),
    ("metadata.google", "no credentials were found", ""),
    ("kind: Timeout", "the server did not answer in time", "Try again later."),
    ("TimedOut", "the server did not answer in time", "Try again later."),
    ("dns error", "there is no such host", "Check the name of the host."),
    ("ConnectionRefused", "the server refuses connections", "Check host and port."),
    (
        "InvalidCertificate", "its certificate is not accepted",
        "Name the authorities to trust in one file: SSL_CERT_FILE=ca-bundle.pem.",
    ),
    ("kind: Connect", "the server cannot be reached", "Check the network, host and port."),
    ("BadScheme", "its endpoint is not encrypted", "Set AWS_ALLOW_HTTP=true to allow that."),
)  # fmt: skip


_ABSENT, _EMPTY = "it is not there", "it is empty"
_FOR_GOOD = (_ABSENT, _EMPTY)  # no other try would change that


def _explained(error: Exception, url: URL) -> DataError:
    """Say what went wrong, in words that hold nothing of the error's own text."""
    configure = _CONFIGURE.get(url.scheme, _WEB)
    text, kind = str(error), type(error).__name__
    said = [(what, hint) for word, what, hint in _WORDS if word in text]
    status = next(iter(_STATUS.findall(text)), "")
    if isinstance(error, _CutOffError) or (not said and _is_cut_off(error)):
        what, hint = f"the answer was cut off, {_TRIES} times", "Try again later."
    elif _EXPIRED.search(text):
        what, hint = "the credentials have expired or are not accepted", "Renew them. " + configure
    elif kind == "PreconditionError":
        return _changed(url)
    elif said:
        what, hint = said[0][0], said[0][1] or configure
    elif isinstance(error, FileNotFoundError):
        what, hint = _ABSENT, "Check the address."
    elif kind == "PermissionDeniedError" or status == "403":
        what, hint = "permission denied", configure
    elif kind == "UnauthenticatedError" or status == "401":
        what, hint = "the credentials are not accepted", configure
    elif status == "416":
        what, hint = _EMPTY, "Copy it again."
    elif status:
        again = "Try again later." if status >= "500" or status == "429" else "Check the address."
        what, hint = f"the server answered with status {status}", again
    else:
        what, hint = f"the request failed ({kind})", configure
    kind_of_error = DataError if what in _FOR_GOOD else UnavailableError
    return kind_of_error(f"cannot read {str(url)!r}: {what}", "", hint)
