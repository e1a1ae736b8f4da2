"""A server on loopback of one page, which says what that page asked for beside it: requests that must not be made."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Witness:
    """`page` is what `/page` answers with; `asked` are all other paths, in their order."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.page = ""
        self.asked: list[str] = []
        self._changed = threading.Condition()

    def answer(self, path: str) -> str:
        if path == "/page":
            return self.page
        with self._changed:
            self.asked.append(path)
            self._changed.notify_all()
        return ""

    def wait_for(self, path: str, timeout: float) -> bool:
        """Whether somebody has asked for `path`, or does so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: path in self.asked, timeout)


@contextlib.contextmanager
def listening() -> Iterator[Witness]:
    """A witness that answers every method on a free port."""
    told: list[Witness] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = told[0].answer(self.path).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_OPTIONS = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.append(Witness(server.server_port))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield told[0]
        finally:
            server.shutdown()
            thread.join()
