"""A real HTTP server on this machine that serves a dictionary, and misbehaves as it is told; shared by the tests."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """`files` maps paths to bytes. `faults` holds, for each path, what the next requests meet before all is well."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, deque[Callable]] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[tuple[str, str | None, float]] = field(default_factory=list)  # path, Range, time
    ranges: bool = True
    validators: bool = True
    versions: dict[str, int] = field(default_factory=dict)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def meets(self, path: str, *faults: Callable) -> None:
        self.faults[path] = deque(faults)

    def asked(self, path: str) -> list[str | None]:
        """The Range header of each request for a path."""
        return [ranged for name, ranged, _ in self.requests if name == path]

    def change(self, path: str, data: bytes) -> None:
        self.files[path] = data
        self.versions[path] = self.versions.get(path, 0) + 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        server: Server = self.server.shared
        path = self.path.partition("?")[0]
        server.requests.append((path, self.headers.get("Range"), time.monotonic()))
        if server.faults.get(path):
            server.faults[path].popleft()(self, server.files.get(path, b""))
            return
        if path not in server.files:
            self.status(404)
            return
        data, etag = server.files[path], f'"{path}-{server.versions.get(path, 0)}"'
        start, ranged = 0, self.headers.get("Range")
        if ranged and server.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(ranged.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(data):
            self.status(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        if server.validators:
            self.send_header("ETag", etag)
        for name, value in server.headers.get(path, {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[start:])

    def status(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def answers(code: int, **headers: str) -> Callable:
    """A status instead of the file; `_` in a header's name stands for `-`."""
    return lambda handler, data: handler.status(code, **headers)


def cut_after(count: int) -> Callable:
    """The connection ends after so many bytes, though more were announced."""

    def fault(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        if handler.server.shared.validators:
            path = handler.path.partition("?")[0]
            handler.send_header("ETag", f'"{path}-{handler.server.shared.versions.get(path, 0)}"')
        handler.end_headers()
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(2)

    return fault


def drips(first: int, seconds: float) -> Callable:
    """Some bytes at once, then one every tenth of a second for a while, then nothing more."""

    def fault(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("ETag", f'"{handler.path}-0"')
        handler.end_headers()
        handler.wfile.write(data[:first])
        for position in range(first, first + int(seconds * 10)):
            time.sleep(0.1)
            try:
                handler.wfile.write(data[position : position + 1])
                handler.wfile.flush()
            except OSError:
                return
        handler.close_connection = True

    return fault


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.shared = server
    http.daemon_threads = True
    http.handle_error = lambda *args: None  # a client that hangs up is no news
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
