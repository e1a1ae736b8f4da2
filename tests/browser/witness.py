"""A server on loopback that nobody should speak to: it notes whoever does, whatever they speak."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

ANSWER = b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
PATIENCE = 5.0  # seconds that a connection may say nothing


@dataclass
class Witness:
    """`seen` is what each connection began with: the line of a request, or the bytes of something else."""

    port: int
    seen: list[str] = field(default_factory=list)

    @property
    def urls(self) -> dict[str, str]:
        """What a page would ask for, by http and by https."""
        return {scheme: f"{scheme}://127.0.0.1:{self.port}" for scheme in ("http", "https")}

    def asked(self) -> set[str]:
        """The paths of its requests; what is no HTTP has none."""
        return {line.split()[1].strip("/") for line in self.seen if line.endswith("HTTP/1.1")}


@contextlib.contextmanager
def watching() -> Iterator[Witness]:
    """A witness of its own port."""

    class Note(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(PATIENCE)
            said = b""
            with contextlib.suppress(OSError):
                said = self.request.recv(1 << 16)
            witness.seen.append(said.split(b"\r\n")[0].decode("latin-1"))
            with contextlib.suppress(OSError):
                self.request.sendall(ANSWER)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Note) as server:
        witness = Witness(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield witness
        finally:
            server.shutdown()
            thread.join()
