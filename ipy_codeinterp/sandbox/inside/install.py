"""pip, behind walls: it speaks to a port in here, and what it says goes through one socket to the package index."""

from __future__ import annotations

import os
import runpy
import socket
import sys
import threading


def main(door: str, *arguments: str) -> None:
    """Run pip with `arguments`, and a proxy that leads to `door`."""
    if os.getuid() == 0:
        from . import walls

        walls.leave_root(walls.GUEST)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener, door), daemon=True).start()
    proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sys.argv = ["pip", arguments[0], "--proxy", proxy, *arguments[1:]]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


def _serve(listener: socket.socket, door: str) -> None:
    while True:
        ours, _ = listener.accept()
        theirs = socket.socket(socket.AF_UNIX)
        theirs.connect(door)
        for source, target in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()
