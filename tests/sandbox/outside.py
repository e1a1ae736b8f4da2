"""A machine and the world around it, in network namespaces of their own: tests reach nothing that is not theirs.

Run as a program it *is* that machine: `outside.py LOG RESOLV_CONF` builds both, says `up` and stays until its stdin
ends; a line there is a command for `ip`. Each TCP connection and each datagram that anybody gets is a line in LOG.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORT = 8000
FRIEND = "203.0.113.7"  # public, and open
ROUTER, MACHINE = "198.51.100.1", "198.51.100.2"
ON_LOOPBACK = "203.0.113.99"  # a public address that is the machine's own
RESOLVER = "10.9.9.9"  # of the machine: on a private address, as most are
NAMES = {b"friend": FRIEND, b"private": "10.1.2.3", b"machine": MACHINE}
PRIVATE = (
    *("10.1.2.3", "100.64.1.1", "168.63.129.16", "169.254.169.254", "172.16.1.1", "192.0.0.10", "192.168.1.1"),
    *("198.18.0.2", "198.18.0.3", "198.19.1.1", "240.0.0.1", RESOLVER),
)
OWN = ("127.0.0.1", "127.0.0.53", MACHINE, ON_LOOPBACK)
GROUP = "224.0.0.251"
BROADCASTS = ("255.255.255.255", "198.51.100.255")
HERE_6, THERE_6 = "2001:db8::2", "2001:db8::1"


def needed(program: str) -> str:
    """Its path; a test that cannot have it is skipped, and fails in CI."""
    found = shutil.which(program)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")
    return str(found)


class World:
    """The machine, seen from the tests: run a program on it, ask who was reached."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def command(self, code: str, *arguments: str) -> list[str]:
        """How this Python runs `code` on that machine, as whoever we are."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = [needed("nsenter"), *user, "--net", "--mount", "--target", str(self._process.pid)]
        return [*enter, sys.executable, "-c", code, *arguments]

    def run(self, code: str, *arguments: str, **variables: str) -> str:
        """What `code` prints there; it must end well."""
        ran = subprocess.run(
            self.command(code, *arguments),
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def ip(self, command: str) -> None:
        """Change the machine's network while it runs."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def reached(self) -> set[str]:
        """Who has heard something since this was asked last: `tcp 10.1.2.3`."""
        heard = set(self._log.read_text().splitlines())
        self._log.write_text("")
        return heard


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world that is gone afterwards."""
    log, resolv_conf = folder / "heard", folder / "resolv.conf"
    log.write_text("")
    resolv_conf.write_text(f"nameserver {RESOLVER}\n")
    needed("ip")
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    command = [needed("unshare"), *user, "--net", "--mount", sys.executable, __file__, str(log), str(resolv_conf)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin and process.stdout and process.stderr
        if process.stdout.readline() != "up\n":
            why = f"no network namespaces for a test: {process.stderr.read()}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
        try:
            yield World(process, log)
        finally:
            process.stdin.close()


# --- being it -------------------------------------------------------------------------------------


def main(log: str, resolv_conf: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subprocess.run(["mount", "--bind", resolv_conf, os.path.realpath("/etc/resolv.conf")], check=True)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
            os._exit(1)
        theirs.send(b"1")
        theirs.recv(1)
        _ip("link set lo up", "link set inner up", f"addr add {ROUTER}/24 dev inner")
        _ip(*(f"addr add {address}/32 dev lo" for address in (FRIEND, *PRIVATE)))
        _ip(f"addr add {THERE_6}/64 dev inner nodad", "route add 224.0.0.0/4 dev inner")
        serve(log, theirs)
    theirs.close()
    assert ours.recv(1)
    _ip("link set lo up", f"link add out type veth peer name inner netns {child}")
    _ip(f"addr add {MACHINE}/24 brd + dev out", f"addr add {HERE_6}/64 dev out nodad", "link set out up")
    _ip(f"addr add {ON_LOOPBACK}/32 dev lo", f"route add default via {ROUTER}")
    ours.send(b"1")
    assert ours.recv(1) == b"2"
    server = os.fork()
    if server == 0:
        serve(log)
    _say("up")
    for line in sys.stdin:
        _ip(line.strip())
        _say("done")
    for pid in (child, server):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def serve(log: str, ready: socket.socket | None = None) -> None:
    """Hear everybody on PORT, and write down on which address; resolve names where somebody waits to be told."""
    tcp = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    udp.bind(("0.0.0.0", PORT))
    with contextlib.suppress(OSError):
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _group())
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if ready:
        resolver.bind((RESOLVER, 53))
        threading.Thread(target=echo, daemon=True).start()
        ready.send(b"2")
    while True:
        readable, _, _ = select.select([tcp, udp, *([resolver] if ready else [])], [], [])
        if tcp in readable:
            connection, _ = tcp.accept()
            place = connection.getsockname()[0].removeprefix("::ffff:")
            _write(log, f"tcp {place}")
            with contextlib.suppress(OSError):
                connection.sendall(f"this is {place}\n".encode())
                connection.close()
        if udp in readable:
            data, facts, _, sender = udp.recvmsg(1000, 1000)
            place = socket.inet_ntoa(facts[0][2][8:12])  # ipi_addr: where it was sent to
            _write(log, f"udp {place}")
            udp.sendto(data, sender)
        if resolver in readable:
            question, sender = resolver.recvfrom(1000)
            resolver.sendto(answer(question), sender)


def echo() -> None:
    """Send back what comes, on the port beside."""
    with socket.create_server(("0.0.0.0", PORT + 1), backlog=100) as server:
        while True:
            threading.Thread(target=_echo, args=(server.accept()[0],), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)


def _group() -> bytes:
    names = [name for _, name in socket.if_nameindex() if name in ("inner", "out")]
    return struct.pack("4s4si", socket.inet_aton(GROUP), bytes(4), socket.if_nametoindex(names[0]))


def _write(log: str, line: str) -> None:
    with open(log, "a") as file:
        file.write(f"{line}\n")


def answer(question: bytes) -> bytes:
    """The address of a name in NAMES, or that there is none."""
    name = question[13 : 13 + question[12]]
    is_a = question[-4:-2] == b"\x00\x01" or b"\x00\x01\x00\x01" in question[12:]
    known = NAMES.get(name)
    flags = 0x8180 if known else 0x8183
    end = question.index(b"\0", 12) + 5
    asked = question[12:end]
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(known) if known and is_a else b""
    return question[:2] + struct.pack("!HHHHH", flags, 1, int(bool(record)), 0, 0) + asked + record


if __name__ == "__main__":
    main(*sys.argv[1:])
