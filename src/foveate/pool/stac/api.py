"""Search STAC APIs with pystac-client, and download catalogue files over HTTP."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError, FoveateError, MissingExtraError
from foveate.location import URL, redact, signed
from foveate.pool.stac.search import CLOUD
from foveate.pool.stac.sources import api_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from foveate.pool.stac.search import Search

MAX_ITEMS = 100_000  # for one search: more usually mean that date and bounding box are missing
_PAGE = 250
_TIMEOUT = 30.0  # seconds


def api_items(url: str, search: Search) -> Iterator[dict[str, Any]]:
    """Yield the items of a collection of an API that match a search.

    The API filters by date and box, and by cloud cover if it supports the query extension.

    Raises:
        DataError: The API does not respond, does not support item search, lacks the collection, or
            finds more than 100,000 items.
        MissingExtraError: pystac-client is not installed.
    """
    _need_client()
    from pystac.errors import STACError
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from requests.exceptions import RequestException

    root, name = api_of(url)
    try:
        client = Client.open(root, stac_io=_client_io())
        if not client.conforms_to("ITEM_SEARCH"):
            raise DataError(
                f"the API {root!r} does not support item search",
                "Collections of an API are read by item search (STAC API, Item Search).",
                "Give the items as a file.",
            )
        results = client.search(
            method=_method(client), collections=[name], limit=_PAGE, max_items=MAX_ITEMS + 1,
            bbox=search.bbox or None, datetime=_datetime(search),
            query={CLOUD: {"lte": search.max_cloud}}
            if search.max_cloud is not None and client.conforms_to("QUERY") else None,
        )  # fmt: skip
        empty = True
        for count, item in enumerate(results.items_as_dicts()):
            if count == MAX_ITEMS:
                raise DataError(
                    f"the API {root!r} finds over {MAX_ITEMS:,} items of {name!r}",
                    "A pool contains all items that match.",
                    "Restrict the search: --datetime A/B, --bbox W,S,E,N, --max-cloud 20.",
                )
            empty = False
            yield item
        if empty:
            _need_collection(client, root, name)
    except FoveateError:
        raise
    except (APIError, RequestException, STACError, KeyError, ValueError) as error:
        raise _failed(url, error) from error


def api_text(url: str) -> str:
    """Download a text file.

    Raises:
        DataError: The server does not respond, or responds with an error.
        MissingExtraError: pystac-client is not installed.
    """
    _need_client()
    from pystac_client.exceptions import APIError
    from requests.exceptions import RequestException

    try:
        with _redacted_log():
            return _client_io().read_text(signed(URL(url)))
    except (APIError, RequestException, OSError) as error:
        raise _failed(url, error) from error


def _client_io() -> Any:
    """Return an HTTP client that trusts SSL_CERT_FILE, as the imagery reader does."""
    from pystac_client.stac_api_io import StacApiIO
    from requests import Session

    class TrustingSession(Session):
        def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
            settings = super().merge_environment_settings(*args, **kwargs)
            certificates = os.environ.get("SSL_CERT_FILE")
            return settings | {"verify": certificates} if certificates else settings

    client_io = StacApiIO(timeout=_TIMEOUT)
    session = TrustingSession()
    session.adapters = client_io.session.adapters  # keeps its retries
    client_io.session = session
    return client_io


@contextlib.contextmanager
def _redacted_log() -> Generator[None]:
    """Remove credentials in URLs from the retry log of the client."""

    def redacted(record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True

    logger = logging.getLogger("urllib3.connectionpool")
    logger.addFilter(redacted)
    try:
        yield
    finally:
        logger.removeFilter(redacted)


def _need_collection(client: Any, root: str, name: str) -> None:
    """Raise a DataError if the API lacks a collection."""
    if client.get_collection(name) is None:
        raise DataError(
            f"the API {root!r} has no collection {name!r}",
            "The name of a collection is its id.", "Check the name.",
        )  # fmt: skip


def _method(client: Any) -> str:
    """Return the HTTP method for searches: POST if the API advertises it, else GET."""
    links = [link for link in client.links if link.rel == "search"]
    methods = {str(link.extra_fields.get("method", "GET")).upper() for link in links}
    return "POST" if "POST" in methods else "GET"


def _datetime(search: Search) -> str | None:
    interval = search.interval()
    if interval is None:
        return None
    ends = [".." if end is None else end.isoformat().replace("+00:00", "Z") for end in interval]
    return "/".join(ends)


def _failed(url: str, error: Exception) -> DataError:
    """Return an error with the response status but without the query, which may contain a key."""
    status = getattr(error, "status_code", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return DataError(
            f"cannot read {url.partition('?')[0]!r}: its certificate is not trusted", "",
            "Set SSL_CERT_FILE=ca-bundle.pem to a file with the certificates to trust.",
        )  # fmt: skip
    problem = f"it responds with {status}" if status else "it does not respond as a STAC API"
    return DataError(
        f"cannot read {url.partition('?')[0]!r}: {problem} ({type(error).__name__})",
        "A URL must be https://HOST/.../collections/NAME, or that of a STAC file.",
        "Check the name of the collection and your permission to read it."
        if status else "Check the URL and the network connection.",
    )  # fmt: skip


def _need_client() -> None:
    try:
        import pystac_client  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"remote STAC needs {error.name}, which is not installed",
            "Local STAC files need no extra packages.",
            "Install with: pip install 'foveate[stac]'.",
        ) from error
