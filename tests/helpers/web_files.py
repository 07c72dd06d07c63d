"""A web server on loopback: files by ranges, with latency, a log of requests, and faults."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class WebFiles:
    """What a server serves, and what it was asked for.

    Attributes:
        files: Path from the root -> content.
        latency: Seconds before each answer.
        faults: (path, start of the range or None) -> what goes wrong there, once each: a status,
            "cut" for an answer that is cut off, "hang" for none.
        asked: (method, path, start, end, status) of each request that was answered.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.0
    faults: list[tuple[str, object]] = field(default_factory=list)
    asked: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def ranges(self, path):
        return [(start, end) for how, p, start, end, s in self.asked if how == "GET" and p == path]

    def gets(self):
        return [entry for entry in self.asked if entry[0] == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the last bytes wait for 40 ms

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body):
        served = self.server.served
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        served.queries.append(parts.query)
        if served.latency:
            time.sleep(served.latency)
        fault = self._fault(path)
        content = served.files.get(path)
        if isinstance(fault, int):
            return self._send(fault, b"<Code>Busy</Code>" if body else b"")
        if fault == "hang":
            time.sleep(2)
            self.close_connection = True
            return None
        if content is None:
            served.asked.append((self.command, path, 0, 0, 404))
            return self._send(404, b"")
        start, end, status = 0, len(content), 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(int(last or len(content) - 1) + 1, end), 206
            if start >= len(content):
                return self._send(416, b"")
        served.asked.append((self.command, path, start, end, status))
        return self._send(
            status, content[start:end] if body else b"", length=end - start,
            extra={"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
            if status == 206 else {},
            tag=f'"{hash(content) & 0xFFFFFFFF:x}"', cut=fault == "cut",
        )  # fmt: skip

    def _fault(self, path):
        for entry in self.server.served.faults:
            if entry[0] == path and self.command == "GET":
                self.server.served.faults.remove(entry)
                return entry[1]
        return None

    def _send(self, status, content, *, length=None, extra=(), tag="", cut=False):
        wanted = self.headers.get("If-Match")
        if tag and wanted and wanted != tag:
            status, content, length, extra = 412, b"", 0, {}
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        if tag:
            self.send_header("ETag", tag)
        for name, value in dict(extra).items():
            self.send_header(name, value)
        self.end_headers()
        if cut:
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # the client went away


@contextmanager
def serving(files=(), tls=None, **settings):
    """Serve files on loopback; yields a `WebFiles`.

    Args:
        files: Path from the root -> content.
        tls: An `ssl.SSLContext` to serve https with.
        settings: Of `WebFiles`.
    """
    served = WebFiles(dict(files), **settings)
    server = _Server(("127.0.0.1", 0), _Handler)
    if tls is not None:
        served.scheme = "https"
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.served, served.port = served, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
