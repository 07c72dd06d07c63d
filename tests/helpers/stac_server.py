"""A STAC API on the loopback: a landing page, a collection, a search in pages by POST and GET."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CONFORMS = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
)
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"


@contextlib.contextmanager
def stac_api(items, *, methods=("POST", "GET"), conforms=(*CONFORMS, QUERY), page=2, fail=0):
    """Serve items; yield the address of the API and the list of searches that it was asked for.

    Args:
        items: Items with absolute addresses.
        methods: How it is searched.
        conforms: Its conformance classes.
        page: Most items of an answer.
        fail: Status that every search is answered with, instead.
    """
    asked, names = [], {item["collection"] for item in items}

    class Api(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _answer(self, content, status=200):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _search(self, query, method):
            asked.append((method, query))
            if fail or method not in methods:
                self._answer({"code": "no"}, fail or 405)
                return
            start = int(query.get("token") or 0)
            found = [item for item in items if _matches(item, query)]
            links = []
            if start + page < len(found):
                more = {**query, "token": start + page}
                text = "&".join(f"{k}={_text(v)}" for k, v in more.items())
                links = [
                    {"rel": "next", "href": f"{root}/search", "method": "POST", "body": more}
                    if method == "POST"
                    else {"rel": "next", "href": f"{root}/search?{text}"}
                ]
            self._answer({
                "type": "FeatureCollection", "features": found[start : start + page],
                "links": links,
            })  # fmt: skip

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._search(json.loads(body), "POST")

        def do_GET(self):
            parts = urlsplit(self.path)
            if parts.path == "/v1/search":
                given = {k: v[0] for k, v in parse_qs(parts.query).items()}
                self._search(given, "GET")
            elif parts.path in ("/v1", "/v1/"):
                searches = [
                    {"rel": "search", "href": f"{root}/search", "method": one,
                     "type": "application/geo+json"}
                    for one in methods
                ]  # fmt: skip
                self._answer({
                    "type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "api",
                    "conformsTo": list(conforms),
                    "links": [{"rel": "self", "href": root}, {"rel": "root", "href": root},
                              {"rel": "data", "href": f"{root}/collections"}, *searches],
                })  # fmt: skip
            elif (name := parts.path.removeprefix("/v1/collections/")) in names:
                self._answer({
                    "type": "Collection", "id": name, "stac_version": "1.0.0", "description": name,
                    "license": "proprietary", "links": [],
                    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                               "temporal": {"interval": [[None, None]]}},
                })  # fmt: skip
            else:
                self._answer({"code": "NotFound"}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    root = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield root, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _text(value):
    return value if isinstance(value, str | int) else ",".join(map(str, value))


def _matches(item, query):
    """The members of a search that the tests use: collections, datetime, query."""
    names = query.get("collections") or [item["collection"]]
    names = names.split(",") if isinstance(names, str) else names
    at = item["properties"]["datetime"]
    start, _, end = (query.get("datetime") or "../..").partition("/")
    limit = query.get("query") or {}
    limit = json.loads(limit) if isinstance(limit, str) else limit
    most = limit.get("eo:cloud_cover", {}).get("lte", 100)
    inside = (start == ".." or at >= start) and (end in ("..", "") or at <= end)
    cloud = item["properties"].get("eo:cloud_cover", 0)
    return item["collection"] in names and inside and cloud <= most
