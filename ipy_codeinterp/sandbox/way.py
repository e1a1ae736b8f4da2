"""The process between a container that has a network and the outside: each packet passes here, or is refused here.

It puts a network device into the container and hands what comes out of it to a helper (passt or slirp4netns), which
opens ordinary sockets on this machine. Routes inside would be no wall: a socket that is bound to the device passes
them by. A program of its own that needs the standard library only; it ends with the container and with the gateway.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

READY = "ready"
PATIENCE = 5.0  # seconds that a helper has to answer
NICENESS = 5  # as the code: whoever watches over it gets the processor first
AT_ONCE = 64  # frames in one direction before the other gets its turn
MOST_KNOWN = 4096  # addresses whose answer is remembered
KNOWN_FOR = 2.0  # seconds: this machine may get another address at any time

# A network that nobody has (RFC 2544), the same for both helpers.
GUEST, GATEWAY, RESOLVER = (bytes((198, 18, 0, last)) for last in (100, 2, 3))
NETWORK, PREFIX, MASK = "198.18.0.0", 24, bytes((255, 255, 255, 0))
DEVICE = b"net0"
GUEST_MAC, GATEWAY_MAC = (bytes((2, 0, 0, 0, 0, last)) for last in (100, 2))
MTU = 32000  # a frame is one piece of a socket's queue: passt loses its place when one comes in three
# Of each connection inside, and what may wait for us: passt drops what does not fit, and sends it again after seconds.
WINDOW, ROOM = 65535, 16 << 20
MOST_FRAME = 1 << 16

CLOSED = tuple(
    ipaddress.IPv4Network(closed)
    for closed in (
        "0.0.0.0/8",  # this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by providers; Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata
        "169.254.0.0/16",  # link-local, and metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

ARP, IPV4 = b"\x08\x06", b"\x08\x00"
ICMP, TCP, UDP = 1, 6, 17
DNS = b"\x00\x35"


class Failed(Exception):
    """There is no way out; the message says why."""


# --- what passes ----------------------------------------------------------------------------------


class Border:
    """Decides which frames pass. `is_elsewhere` says of an address whether it leads away from this machine."""

    def __init__(self, is_elsewhere: Callable[[bytes], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_elsewhere = is_elsewhere
        self._clock = clock
        self._known: dict[bytes, tuple[bool, float]] = {}

    def lets_out(self, frame: bytes) -> bool:
        """TCP and UDP to open addresses, questions to the resolver, and who-has."""
        if frame[12:14] == ARP:
            return True
        if not _is_whole(frame) or frame[26:30] != GUEST:
            return False
        if frame[30:34] == RESOLVER:
            return frame[23] == UDP and frame[36:38] == DNS
        return self._is_open(frame[30:34])

    def lets_in(self, frame: bytes) -> bool:
        """The same the other way: a helper's sockets may hear from more than those whom the code spoke to."""
        if frame[12:14] == ARP:
            return True
        if not _is_whole(frame):
            return False
        if frame[26:30] == RESOLVER:
            return frame[23] == UDP and frame[34:36] == DNS
        return self._is_open(frame[26:30])

    def _is_open(self, address: bytes) -> bool:
        now = self._clock()
        is_open, until = self._known.get(address, (False, 0.0))
        if until <= now:
            is_open = not is_closed(address) and self._is_elsewhere(address)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[address] = is_open, now + KNOWN_FOR
        return is_open


def is_closed(address: bytes) -> bool:
    """Whether nobody may be spoken to there, on whatever machine this is."""
    place = ipaddress.IPv4Address(address)
    return any(place in network for network in CLOSED)


def _is_whole(frame: bytes) -> bool:
    """One whole packet of TCP or UDP over IPv4, without options: then each field is where it is looked for."""
    is_plain = len(frame) >= 42 and frame[12:14] == IPV4 and frame[14] == 0x45
    return is_plain and frame[20] & 0x3F == 0 and frame[21] == 0 and frame[23] in (TCP, UDP)


def refusal(frame: bytes) -> bytes | None:
    """What tells the sender at once that `frame` is not let out; None where nobody would understand it."""
    if len(frame) < 42 or frame[12:14] != IPV4 or frame[14] != 0x45:
        return None
    said = frame[14:42]  # the header, and the ports
    body = _summed(struct.pack("!BBHI", 3, 13, 0, 0) + said, 2)  # "administratively prohibited": EHOSTUNREACH
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, ICMP, 0, GATEWAY, frame[26:30])
    return frame[6:12] + GATEWAY_MAC + IPV4 + _summed(head, 10) + body


def _summed(packet: bytes, place: int) -> bytes:
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:place] + struct.pack("!H", ~total & 0xFFFF) + packet[place + 2 :]


class Routes:
    """What this machine's kernel would do with a packet: the one who knows all addresses that are its own."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def close(self) -> None:
        self._socket.close()

    def is_elsewhere(self, address: bytes) -> bool:
        """Whether it would go to another machine, and to one only. What has no route goes nowhere."""
        getroute, newroute, unicast = 26, 24, 1
        header = struct.pack("=IHHII", 36, getroute, 1, 0, 0)  # 1: a request
        self._socket.send(header + struct.pack("=BBBBBBBBIHH4s", socket.AF_INET, 32, *(0,) * 7, 8, 1, address))
        answer = self._socket.recv(4096)
        return struct.unpack_from("=H", answer, 4)[0] == newroute and answer[16 + 7] == unicast


# --- the device inside ----------------------------------------------------------------------------


def device_in(namespace: int) -> int:
    """A new network device in `namespace`, with address and route; only a process of its own can go there."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            try:
                _enter(namespace)
                socket.send_fds(theirs, [b"made"], [_device()])
            except BaseException as error:
                theirs.send(str(error).encode()[:500])
            finally:
                os._exit(0)
        said, made, _, _ = socket.recv_fds(ours, 1000, 1)
        os.waitpid(pid, 0)
    if not made:
        raise Failed(f"a network device cannot be made: {said.decode()}")
    return made[0]


def _enter(namespace: int) -> None:
    """Whoever made the user namespace that owns it may do anything in it."""
    if os.path.sameopenfile(namespace, _own("net")):
        raise Failed("the container has no network namespace of its own")
    owner = fcntl.ioctl(namespace, 0xB701)  # NS_GET_USERNS
    if not os.path.sameopenfile(owner, _own("user")):
        _setns(owner)
    _setns(namespace)


def _own(kind: str) -> int:
    return os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _setns(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _device() -> int:
    """From linux/if_tun.h and linux/sockios.h."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", DEVICE, 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
    with contextlib.suppress(OSError):  # a link-local address would lead nowhere
        Path(f"/proc/sys/net/ipv6/conf/{DEVICE.decode()}/disable_ipv6").write_text("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        for command, value in (
            (0x8924, struct.pack("=H6s", 1, GUEST_MAC)),  # SIOCSIFHWADDR
            (0x8922, struct.pack("=I", MTU)),  # SIOCSIFMTU
            (0x8916, _place(GUEST)),  # SIOCSIFADDR
            (0x891C, _place(MASK)),  # SIOCSIFNETMASK
            (0x8914, struct.pack("=H", 0x41)),  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING
        ):
            fcntl.ioctl(way, command, struct.pack("16s24s", DEVICE, value))
        anywhere, flags = _place(bytes(4)), 0x83  # RTF_UP | RTF_GATEWAY | RTF_WINDOW
        route = (0, anywhere, _place(GATEWAY), anywhere, flags, 0, 0, 0, 0, 0, 0, WINDOW, 0)
        fcntl.ioctl(way, 0x890B, struct.pack("@L16s16s16sHhLPhPLLH", *route))  # SIOCADDRT
    return device


def _place(address: bytes) -> bytes:
    """A sockaddr_in."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, address)


# --- the helpers ----------------------------------------------------------------------------------


class Link(Protocol):
    """Our end of the wire to a helper. `waiting` says that it takes no more just now."""

    socket: socket.socket

    @property
    def waiting(self) -> bool: ...

    def send(self, frame: bytes = b"") -> None:
        """Send what waits, then `frame`."""

    def receive(self) -> list[bytes]:
        """The frames that are there; raises EOFError when the helper is gone."""


class Stream:
    """passt's: each frame after its length."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._out = self._in = b""

    @property
    def waiting(self) -> bool:
        return bool(self._out)

    def send(self, frame: bytes = b"") -> None:
        self._out += struct.pack("!I", len(frame)) + frame if frame else b""
        with contextlib.suppress(BlockingIOError):
            self._out = self._out[self.socket.send(self._out) :]

    def receive(self) -> list[bytes]:
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise EOFError
        data, at, frames = self._in + piece, 0, []
        while len(data) - at >= 4 and len(data) - at - 4 >= (size := struct.unpack_from("!I", data, at)[0]):
            frames.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        if len(data) - at > 4 and struct.unpack_from("!I", data, at)[0] > MOST_FRAME:
            raise EOFError  # out of step
        self._in = data[at:]
        return frames


class Packets:
    """slirp4netns's: each frame is a packet."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._out = b""

    @property
    def waiting(self) -> bool:
        return bool(self._out)

    def send(self, frame: bytes = b"") -> None:
        self._out = self._out or frame
        with contextlib.suppress(BlockingIOError):
            self.socket.send(self._out)
            self._out = b""

    def receive(self) -> list[bytes]:
        piece = self.socket.recv(MOST_FRAME)
        if not piece:
            raise EOFError
        return [piece]


@contextlib.contextmanager
def passt(program: str) -> Iterator[Link]:
    """passt (it is pasta too) on a socket of ours; it ends when that is closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _make_room(theirs)
        options = ["--foreground", "--quiet", "--ipv4-only", "--fd", str(theirs.fileno())]
        options += ["--address", _text(GUEST), "--netmask", str(PREFIX), "--gateway", _text(GATEWAY)]
        options += ["--mac-addr", GATEWAY_MAC.hex(":"), "--dns-forward", _text(RESOLVER), "--no-map-gw"]
        options += ["--no-icmp", "--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra"]
        options += ["--tcp-ports", "none", "--udp-ports", "none"]
        with _running([program, *options], theirs.fileno()):
            theirs.close()
            yield Stream(ours)
            ours.close()


def _make_room(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)  # as much as this machine allows everybody
    with contextlib.suppress(PermissionError):
        end.setsockopt(socket.SOL_SOCKET, 32, ROOM)  # SO_SNDBUFFORCE


@contextlib.contextmanager
def slirp4netns(program: str) -> Iterator[Link]:
    """slirp4netns, which wants to be called at a path; it ends with a pipe."""
    options = ["--target-type=bess", "--cidr", f"{NETWORK}/{PREFIX}", "--mtu", str(MTU), "--disable-host-loopback"]
    options += ["--enable-seccomp", *(["--enable-sandbox"] if os.geteuid() == 0 else [])]
    end, ours = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line, open(ours, "wb", 0) as lifeline:
        folder = tempfile.mkdtemp(prefix="ipy-codeinterp-")
        try:
            with _running([program, *options, "--exit-fd", str(end), f"{folder}/wire"], end) as process:
                os.close(end)
                _call(line, f"{folder}/wire", process)
                shutil.rmtree(folder)
                yield Packets(line)
                lifeline.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


# The better first: the passt of Debian 12 garbles a connection that is closed one way.
HELPERS = {"slirp4netns": slirp4netns, "passt": passt}


def _call(line: socket.socket, path: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            line.connect(path)
            return
        time.sleep(0.002)
    raise EOFError


@contextlib.contextmanager
def _running(command: list[str], fd: int) -> Iterator[subprocess.Popen[bytes]]:
    """A helper that ends of itself soon after this does; an EOFError meanwhile becomes its last words."""
    words, their_words = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # one that says more than fits is not held up
    process = subprocess.Popen(
        command, env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=their_words, stderr=their_words, pass_fds=[fd]
    )
    os.close(their_words)
    try:
        yield process
    except (EOFError, ConnectionError):
        process.kill()
        raise Failed(f"{os.path.basename(command[0])}: {_last_line(words)}") from None
    finally:
        _end(process)
        os.close(words)


def _last_line(words: int) -> str:
    said = b""
    with contextlib.suppress(BlockingIOError):
        said = os.read(words, 1 << 16)
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip() and "syslog" not in line]
    return lines[-1][:300] if lines else "it ended without a word"


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _text(address: bytes) -> str:
    return socket.inet_ntoa(address)


def greet(link: Link) -> None:
    """Ask the helper who the gateway is, and wait for its answer: then it works."""
    question = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, GUEST_MAC, GUEST, bytes(6), GATEWAY)
    link.send(b"\xff" * 6 + GUEST_MAC + ARP + question)
    link.socket.settimeout(PATIENCE)
    try:
        while not any(frame[12:14] == ARP and frame[28:32] == GATEWAY for frame in link.receive()):
            pass
    except TimeoutError:
        raise EOFError from None
    link.socket.setblocking(False)


# --- the work -------------------------------------------------------------------------------------


def main(helper: str, program: str, namespace: str = "", container: str = "") -> None:
    """Open the way, say so or why not in a line, and work until the container ends, or whoever holds our stdin.

    Without a namespace only the helper is tried.
    """
    os.nice(NICENESS)
    try:
        device = device_in(int(namespace)) if namespace else None
        with HELPERS[helper](program) as link:
            greet(link)
            _say(READY)
            if device is not None:
                pump(device, link, Border(Routes().is_elsewhere), [sys.stdin.fileno(), int(container)])
    except (Failed, OSError) as error:
        _say(str(error).replace("\n", " "))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def pump(device: int, link: Link, border: Border, ends: list[int]) -> None:
    """Carry frames both ways until one of `ends` has something to say, or the helper is gone."""
    poll = select.poll()
    for fd in (*ends, device, link.socket.fileno()):
        poll.register(fd, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if any(fd in events for fd in ends):
            return
        if events.get(link.socket.fileno(), 0) & ~select.POLLOUT and not _carry_in(device, link, border):
            return
        if link.waiting:
            link.send()
        elif device in events and not _carry_out(device, link, border):
            return
        # What the helper does not take waits in the device, and what waits too long is lost there.
        poll.modify(device, 0 if link.waiting else select.POLLIN)
        poll.modify(link.socket, select.POLLIN | (select.POLLOUT if link.waiting else 0))


def _carry_in(device: int, link: Link, border: Border) -> bool:
    """False when the helper is gone."""
    with contextlib.suppress(BlockingIOError):
        try:
            frames = link.receive()
        except (EOFError, ConnectionError):
            return False
        for frame in filter(border.lets_in, frames):
            _write(device, frame)
    return True


def _carry_out(device: int, link: Link, border: Border) -> bool:
    """False when the device or the helper is gone."""
    for _ in range(AT_ONCE):
        try:
            frame = os.read(device, MOST_FRAME)
            if border.lets_out(frame):
                link.send(frame)
            elif answer := refusal(frame):
                _write(device, answer)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if link.waiting:
            return True
    return True


def _write(device: int, frame: bytes) -> None:
    """A frame that the kernel does not take is lost, as on any wire."""
    with contextlib.suppress(OSError):
        os.write(device, frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
