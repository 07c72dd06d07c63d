"""STAC APIs, asked by pystac-client; and files of catalogues that lie behind a URL."""

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

MOST = 100_000  # items of one search: more are mostly a search without a place or a date
_PAGE = 250
_WAIT = 30.0  # seconds for an answer


def api_items(url: str, search: Search) -> Iterator[dict[str, Any]]:
    """Yield the items of a collection of an API that are searched for.

    Dates and boxes are left to the API, and cloud cover where it can (conformance class query).

    Raises:
        DataError: It does not answer, has no search or no such collection, or finds over 100,000.
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
                f"the API {root!r} has no search of items",
                "Collections of an API are searched (STAC API, Item Search).",
                "Give its items as a file.",
            )
        found = client.search(
            method=_method(client), collections=[name], limit=_PAGE, max_items=MOST + 1,
            bbox=search.bbox or None, datetime=_moments(search),
            query={CLOUD: {"lte": search.max_cloud}}
            if search.max_cloud is not None and client.conforms_to("QUERY") else None,
        )  # fmt: skip
        empty = True
        for count, item in enumerate(found.items_as_dicts()):
            if count == MOST:
                raise DataError(
                    f"the API {root!r} finds over {MOST:,} items of {name!r}",
                    "A pool is opened from all items that are found.",
                    "Say which: --datetime A/B, --bbox W,S,E,N, --max-cloud 20.",
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
    """Read a text behind a URL.

    Raises:
        DataError: It does not answer, or there is nothing.
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
    """Return what asks for files; it trusts whom the reader of imagery trusts."""
    from pystac_client.stac_api_io import StacApiIO
    from requests import Session

    class TrustingSession(Session):
        def merge_environment_settings(self, *given: Any, **named: Any) -> Any:
            found = super().merge_environment_settings(*given, **named)
            authorities = os.environ.get("SSL_CERT_FILE")
            return found | {"verify": authorities} if authorities else found

    found = StacApiIO(timeout=_WAIT)
    own = TrustingSession()
    own.adapters = found.session.adapters  # with its retries
    found.session = own
    return found


@contextlib.contextmanager
def _redacted_log() -> Generator[None]:
    """Keep keys in addresses out of what the client logs of its retries."""

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
    """Refuse a collection that the API does not have."""
    if client.get_collection(name) is None:
        raise DataError(
            f"the API {root!r} has no collection {name!r}",
            "A collection is named by its id.", "Check the name.",
        )  # fmt: skip


def _method(client: Any) -> str:
    """Return how the API is searched: POST where it says so, else GET."""
    links = [link for link in client.links if link.rel == "search"]
    methods = {str(link.extra_fields.get("method", "GET")).upper() for link in links}
    return "POST" if "POST" in methods else "GET"


def _moments(search: Search) -> str | None:
    interval = search.interval()
    if interval is None:
        return None
    ends = [".." if end is None else end.isoformat().replace("+00:00", "Z") for end in interval]
    return "/".join(ends)


def _failed(url: str, error: Exception) -> DataError:
    """Say what an API answered, without what was asked: a query may hold a key."""
    status = getattr(error, "status_code", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return DataError(
            f"cannot read {url.partition('?')[0]!r}: its certificate is not accepted", "",
            "Name the authorities to trust in one file: SSL_CERT_FILE=ca-bundle.pem.",
        )  # fmt: skip
    what = f"it answers {status}" if status else "it does not answer as an API of STAC"
    return DataError(
        f"cannot read {url.partition('?')[0]!r}: {what} ({type(error).__name__})",
        "An address is https://HOST/.../collections/NAME, or that of a file of STAC.",
        "Check the name of the collection, and the rights to read it."
        if status else "Check the address and the network.",
    )  # fmt: skip


def _need_client() -> None:
    try:
        import pystac_client  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"STAC behind an address of the network needs {error.name}, which is not installed",
            "Files of STAC on this machine need no more than foveate.",
            "Install with: pip install 'foveate[stac]'.",
        ) from error
