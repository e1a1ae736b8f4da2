"""A network for those who ask: only where the settings allow it, only what is public, said in the Result."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ipy_codeinterp import doctor
from ipy_codeinterp.dialects.messages import decode_request
from ipy_codeinterp.errors import NoIsolation, NotAllowed, Rejected
from ipy_codeinterp.sandbox import network, way
from ipy_codeinterp.sandbox.isolation import Bubblewrap
from ipy_codeinterp.sandbox.job import NOTHING_MORE, Extras
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings

from .outside import (
    BROADCASTS,
    FRIEND,
    GROUP,
    HERE_6,
    OWN,
    PORT,
    PRIVATE,
    ROOT,
    THERE_6,
    World,
    needed,
    world,
)

HELPERS = tuple(way.HELPERS)

# In the stand-in machine: a container with a network, and what comes of code in it.
ON_THE_MACHINE = """
import asyncio, json, os, sys
from pathlib import Path
from ipy_codeinterp.sandbox import environment, isolation, sources
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.job import Extras
from ipy_codeinterp.sandbox.scratch import Scratch
from tests.sandbox.wing import gather

async def started(extras=Extras(network=True)):
    found = isolation.find("auto", environment.find(), Scratch(Path(sys.argv[1])))
    return Container(await sources.Programs(found).start("python", None, extras))

async def ran(container, code):
    said = await gather(container, code)
    return said.stdout + said.stderr + (str(said.error) if said.error else "")
"""
ONE_RUN = f"""{ON_THE_MACHINE}
async def main():
    container = await started()
    print(await ran(container, sys.argv[2]))
    await container.close()
asyncio.run(main())
"""
# In the container.
CONNECT = f"""
import json, socket
def connected(address, device=None, port={PORT}):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(8)
        if device: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        try:
            s.connect((address, port))
            return s.recv(100).decode().strip()
        except OSError as error:
            return type(error).__name__
def sent(address, device=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if device: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        try:
            s.sendto(b"hello", (address, {PORT}))
            return s.recv(100).decode() if address == "{FRIEND}" else ""
        except OSError as error:
            return type(error).__name__
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, bubblewrap: Bubblewrap) -> Iterator[World]:
    """A machine with a world around it; the caches are filled before, by `bubblewrap`."""
    with world(tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture(params=HELPERS)
def only(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with one helper alone."""
    return path_with(tmp_path, needed(request.param))


def path_with(folder: Path, *programs: str) -> str:
    """A PATH with `programs` and bubblewrap, and no helper but these."""
    programs_folder = folder / "programs"
    programs_folder.mkdir()
    for program in (*programs, *filter(None, [shutil.which("bwrap")])):
        (programs_folder / Path(program).name).symlink_to(program)
    return str(programs_folder)


def inside(outside: World, cache_dir: Path, code: str, **variables: str) -> str:
    return outside.run(ONE_RUN, str(cache_dir), code, **variables)


# --- through the walls ------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_what_is_public_is_reached(outside: World, cache_dir: Path, only: str) -> None:
    """With either helper a public address answers by TCP and UDP, and names are found by the machine's resolver."""
    code = f"""{CONNECT}
print(json.dumps([connected({FRIEND!r}), sent({FRIEND!r}), socket.gethostbyname("friend.test")]))"""
    outside.reached()
    assert json.loads(inside(outside, cache_dir, code, PATH=only)) == [f"this is {FRIEND}", "hello", FRIEND]
    assert outside.reached() == {f"tcp {FRIEND}", f"udp {FRIEND}"}


@pytest.mark.sandbox
def test_much_goes_through_whole(outside: World, cache_dir: Path, only: str) -> None:
    """Megabytes arrive as they were sent, both ways, with many connections at a time.

    No end closes early: Debian 12's passt (2023-03-09) loses its count of a connection that is half closed.
    """
    code = f"""{CONNECT}
import concurrent.futures, os
def echoed(n):
    data = os.urandom(n)
    with socket.create_connection(({FRIEND!r}, {PORT + 1})) as s:
        pool.submit(s.sendall, data)
        back = bytearray()
        while len(back) < n and (piece := s.recv(1 << 16)): back += piece
    return back == data
with concurrent.futures.ThreadPoolExecutor(40) as pool:
    print([*map(echoed, [8 << 20]), *pool.map(echoed, [100_000] * 16)].count(True))"""
    assert inside(outside, cache_dir, code, PATH=only).split() == ["17"]


@pytest.mark.sandbox
def test_the_listeners_listen(outside: World) -> None:
    """From the machine itself each closed address is reached: what a container does not reach is closed to it alone."""
    code = f"""{CONNECT}
print(json.dumps([[connected(a) for a in {[*PRIVATE, *OWN, HERE_6, THERE_6]}], {[*PRIVATE, *OWN]}]))
for a in {[*PRIVATE, *OWN, GROUP, *BROADCASTS]}: sent(a)"""
    outside.reached()
    answers, _ = json.loads(outside.run(code))
    assert answers == [f"this is {address}" for address in (*PRIVATE, *OWN, HERE_6, THERE_6)]
    assert {f"udp {address}" for address in (*PRIVATE, *OWN, GROUP, *BROADCASTS)} <= outside.reached()


@pytest.mark.sandbox
@pytest.mark.parametrize("device", [None, "net0"], ids=["by route", "bound to the device"])
def test_what_is_not_public_is_not_reached(outside: World, cache_dir: Path, only: str, device: str | None) -> None:
    """No address of the machine, private, link-local, multicast or broadcast hears anything, also past the routes."""
    by_tcp, by_udp = [*PRIVATE, *OWN, "0.0.0.0"], [*PRIVATE, *OWN, GROUP, *BROADCASTS, "0.0.0.0"]
    code = f"""{CONNECT}
answers = [connected(a, {device!r}) for a in {by_tcp}]
for a in {by_udp}: sent(a, {device!r})
print(json.dumps([answers, connected({FRIEND!r}, {device!r}), sent({FRIEND!r}, {device!r})]))"""
    outside.reached()
    answers, friend, echo = json.loads(inside(outside, cache_dir, code, PATH=only))
    assert not {answer for answer in answers if "this is" in answer or "imeout" in answer}, answers
    assert (friend, echo) == (f"this is {FRIEND}", "hello")
    assert outside.reached() == {f"tcp {FRIEND}", f"udp {FRIEND}"}


@pytest.mark.sandbox
def test_nothing_is_reached_by_ipv6(outside: World, cache_dir: Path) -> None:
    """There is no IPv6, and a closed address in the clothes of IPv6 stays closed."""
    places = [HERE_6, THERE_6, "::1", "fe80::1%net0", "fd00::1", "64:ff9b::a01:203"]
    places += [f"::ffff:{address}" for address in (*PRIVATE, *OWN)]
    code = f"""{CONNECT}
plain, bound = [connected(a) for a in {places}], [connected(a, "net0") for a in {places}]
print(json.dumps([plain, bound, connected({FRIEND!r})]))"""
    outside.reached()
    plain, bound, friend = json.loads(inside(outside, cache_dir, code))
    assert friend == f"this is {FRIEND}"
    assert not {answer for answer in (*plain, *bound) if "this is" in answer}
    assert outside.reached() == {f"tcp {FRIEND}"}


@pytest.mark.sandbox
def test_a_name_opens_nothing(outside: World, cache_dir: Path, only: str) -> None:
    """A name that leads to a closed address is found and not reached; the resolver answers questions and no more."""
    code = f"""{CONNECT}
print(json.dumps([socket.gethostbyname("private.test"), connected("private.test"), connected("machine.test"),
                  connected("198.18.0.3", port=53), connected("198.18.0.3")]))"""
    outside.reached()
    found, *answers = json.loads(inside(outside, cache_dir, code, PATH=only))
    assert found == "10.1.2.3" and not {answer for answer in answers if "this is" in answer}
    assert outside.reached() == set()


@pytest.mark.sandbox
def test_an_address_that_comes_later_is_closed_too(outside: World, cache_dir: Path) -> None:
    """A public address that the machine gets while the code runs is its own a moment later."""
    code = f"""{ON_THE_MACHINE}
import subprocess
async def main():
    container = await started()
    look = {CONNECT!r} + "print(connected('203.0.113.42'))"
    before = await ran(container, look)
    Path(sys.argv[2], "go").touch()
    while not Path(sys.argv[2], "gone").exists(): await asyncio.sleep(0.05)
    await asyncio.sleep({way.KNOWN_FOR})
    print(before, await ran(container, look))
    await container.close()
asyncio.run(main())
"""
    folder = cache_dir.parent / f"later-{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with subprocess.Popen(
        outside.command(code, str(cache_dir), str(folder)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as there:
        wait_for((folder / "go").exists, 60)
        outside.ip("addr add 203.0.113.42/32 dev lo")
        (folder / "gone").touch()
        said, _ = there.communicate(timeout=60)
    outside.ip("addr del 203.0.113.42/32 dev lo")
    before, after = said.split()
    assert (before, after) != ("this", "this") and "this is" not in said.splitlines()[-1]


@pytest.mark.sandbox
def test_the_code_cannot_change_it(outside: World, cache_dir: Path) -> None:
    """The code has no capability over its network: no addresses, routes, devices, raw sockets or namespaces."""
    code = """
import ctypes, fcntl, os, re, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def refused(act):
    try: act()
    except OSError as error: return error.strerror
    return "done"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
device = struct.pack("16s24s", b"net0", struct.pack("=HH4s", 2, 0, bytes((192, 0, 2, 9))))
print(refused(lambda: fcntl.ioctl(s, 0x8916, device)), refused(lambda: fcntl.ioctl(s, 0x8914, device)),
      refused(lambda: fcntl.ioctl(s, 0x890B, bytes(120))), refused(lambda: socket.socket(16, socket.SOCK_RAW)),
      refused(lambda: socket.socket(17, socket.SOCK_RAW)), refused(lambda: socket.socket(2, socket.SOCK_RAW, 1)),
      refused(lambda: os.open("/dev/net/tun", os.O_RDWR)), libc.unshare(0x10000000), libc.unshare(0x40000000),
      set(re.findall("Cap(?:Inh|Prm|Eff|Amb):\\t(\\\\w+)", open("/proc/self/status").read())), sep="|")"""
    said = inside(outside, cache_dir, code).strip().split("|")
    assert said[:6] == [
        *("Operation not permitted",) * 3,
        *("Address family not supported by protocol",) * 2,
        "Operation not permitted",
    ]
    assert said[6:] == ["No such file or directory", "-1", "-1", "{'0000000000000000'}"]


@pytest.mark.sandbox
@pytest.mark.parametrize("language", ["bash", "node", "r"])
def test_other_languages(outside: World, cache_dir: Path, language: str) -> None:
    """Each language has the same network: open where it is public, closed where it is not."""
    needed({"bash": "bash", "node": "node", "r": "Rscript"}[language])
    code = {
        "bash": "for a in FRIEND 10.1.2.3; do (cat < /dev/tcp/$a/PORT) 2>/dev/null || echo refused; done",
        "node": """const net = require("net"); for (const a of ["FRIEND", "10.1.2.3"]) await new Promise(end => {
            const s = net.connect(PORT, a); s.on("data", d => console.log(String(d).trim()));
            s.on("error", () => console.log("refused")); s.on("close", end) })""",
        "r": """for (a in c("FRIEND", "10.1.2.3")) cat(tryCatch(suppressWarnings(readLines(
            socketConnection(a, PORT, timeout = 5, blocking = TRUE), 1)), error = function(e) "refused"), "\\n")""",
    }[language]
    code = code.replace("FRIEND", FRIEND).replace("PORT", str(PORT))
    said = outside.run(ONE_RUN.replace('start("python"', f'start("{language}"'), str(cache_dir), code)
    assert said.split("\n")[0].strip() == f"this is {FRIEND}" and "refused" in said


# --- its life ---------------------------------------------------------------------------------------

LIFE = f"""{ON_THE_MACHINE}
import signal, time
from ipy_codeinterp.sandbox.spawn import only_child

CONNECT = "import socket; socket.create_connection(('{FRIEND}', {PORT}), timeout=1)"

def below(pid):
    try: pids = [int(p) for t in Path(f"/proc/{{pid}}/task").iterdir() for p in (t / "children").read_text().split()]
    except OSError: return []
    return [found for pid in pids for found in (pid, *below(pid))]

def command(pid):
    try: return Path(f"/proc/{{pid}}/cmdline").read_text()
    except OSError: return ""  # it has just ended

def named(word):
    return [pid for pid in below(os.getpid()) if word in command(pid)]

def helpers():
    return named("way.py") + [pid for way in named("way.py") for pid in below(way)]

def held():
    return sorted(os.listdir("/proc/self/fd")), below(os.getpid()), os.listdir(sys.argv[2])

async def main():
    await (await started(Extras(packages=()))).close()  # what asyncio opens once is open now
    before = held()
    container = await started()
    during = len(below(os.getpid()))
    await act(container)
    await container.close()
    print(during, before == held() or (before, held()))
"""
ENDS = {
    "closed": "        pass",
    "runner killed": """        os.kill(only_child(only_child(container._child.pid)), signal.SIGKILL)
        while container.alive or helpers(): await asyncio.sleep(0.01)""",
    "bubblewrap killed": """        os.kill(container._child.pid, signal.SIGKILL)
        while container.alive or helpers(): await asyncio.sleep(0.01)""",
    "way killed": """        os.kill(named("way.py")[0], signal.SIGKILL)
        while named("way.py") or "Network is unreachable" not in await ran(container, CONNECT): pass""",
    "helper killed": """        os.kill(helpers()[-1], signal.SIGKILL)
        while named("way.py") or "Network is unreachable" not in await ran(container, CONNECT): pass""",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("end", ENDS)
def test_nothing_survives(outside: World, cache_dir: Path, tmp_path: Path, only: str, end: str) -> None:
    """However it ends there is no process, descriptor or file left, and the code has no network without its way."""
    act = f"async def act(container):\n{ENDS[end]}"
    folder = tmp_path / "tmp"
    folder.mkdir()
    said = outside.run(
        f"{LIFE}\n{act}\nasyncio.run(main())", str(cache_dir), str(folder), PATH=only, TMPDIR=str(folder)
    )
    during, same = said.split(" ", 1)
    assert int(during) >= 5, "bubblewrap, its init, the runner, the way, the helper"
    assert same == "True\n"


@pytest.mark.sandbox
def test_nothing_survives_the_gateway(outside: World, cache_dir: Path, only: str) -> None:
    """When the process that started it is killed with -9, container, way and helper end by themselves."""
    act = "async def act(container):\n    print('on', flush=True)\n    await asyncio.sleep(600)"
    with subprocess.Popen(
        outside.command(f"{LIFE}\n{act}\nasyncio.run(main())", str(cache_dir), "/proc/self/task"),
        cwd=ROOT,
        env={**os.environ, "PATH": only},
        stdout=subprocess.PIPE,
        text=True,
    ) as there:
        assert there.stdout and there.stdout.readline() == "on\n"
        found = psutil.Process(there.pid).children(recursive=True)
        assert len(found) >= 5
        there.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(found, timeout=10)
        assert alive == []


# --- who may have it --------------------------------------------------------------------------------

SESSION = """
import json, sys
from pathlib import Path
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.session import Session
def attempt(**how):
    try: return session.run("print(1)", **how).isolation
    except InterpError as error: return [type(error).__name__, str(error), error.hint]
"""


@pytest.mark.sandbox
def test_the_result_says_so(outside: World, cache_dir: Path, tmp_path: Path) -> None:
    """A Result says +network; a container keeps to what it was made with; runs that do not ask have none."""
    code = f"""{SESSION}
with Session(cache_dir=sys.argv[1], data_dir=sys.argv[2], network=True) as session:
    print(json.dumps([
        attempt(network=True), attempt(), attempt(container="with", network=True), attempt(container="with"),
        attempt(container="without"), attempt(container="without", network=True),
        session.run("print(len(open('/proc/net/dev').readlines()) - 2)").stdout,
    ]))"""
    with_it, plain, first, second, without, refused, devices = json.loads(
        outside.run(code, str(cache_dir), str(tmp_path))
    )
    assert with_it == first == second == "bubblewrap +network"
    assert (plain, without, devices) == ("bubblewrap", "bubblewrap", "1\n")
    assert refused[0] == "Rejected" and "does not have all of +network" in refused[1] and "restart" in refused[2]


@pytest.mark.sandbox
def test_it_is_allowed_by_the_settings_only(cache_dir: Path, tmp_path: Path) -> None:
    """Where the setting does not allow it, a run that asks is refused by type with the way out, and nothing is run."""
    with Session(cache_dir=cache_dir, data_dir=tmp_path / "d", mounts=[tmp_path]) as session:
        with pytest.raises(NotAllowed, match="may not have a network") as refused:
            session.run("print(1)", network=True)
        assert "IPY_CODEINTERP_NETWORK=1" in refused.value.hint
        assert session.run("print(1)").isolation == "bubblewrap"


@pytest.mark.sandbox
def test_without_a_helper_it_is_refused(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bubblewrap: Bubblewrap
) -> None:
    """On a machine without passt and slirp4netns a run that asks is refused with what to install; others run."""
    monkeypatch.setenv("PATH", path_with(tmp_path))
    with Session(cache_dir=cache_dir, data_dir=tmp_path / "d", network=True) as session:
        with pytest.raises(NoIsolation, match="neither is installed; nothing was run") as refused:
            session.run("print(1)", network=True)
        assert "apt-get install slirp4netns" in refused.value.hint
        assert session.run("print(1)").ok
    finding = next(finding for finding in doctor._network(Settings()))
    assert (finding.ok, "apt-get install slirp4netns" in finding.remedy) == (None, True)


@pytest.mark.sandbox
def test_a_helper_that_fails_is_told(outside: World, cache_dir: Path, tmp_path: Path) -> None:
    """A helper that does not start is an error with its last words, nothing is run, and no process is left."""
    program = tmp_path / "slirp4netns"
    program.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n")
    program.chmod(0o755)
    code = f"""{SESSION}
with Session(cache_dir=sys.argv[1], data_dir=sys.argv[2], network=True) as session:
    print(json.dumps([attempt(network=True), attempt()]))"""
    refused, plain = json.loads(
        outside.run(code, str(cache_dir), str(tmp_path / "d"), PATH=path_with(tmp_path, str(program)))
    )
    assert refused[0] == "SandboxError" and "no such luck" in refused[1] and "nothing was run" in refused[1]
    assert plain == "bubblewrap"


@pytest.mark.sandbox
def test_doctor_tries_it(outside: World, only: str) -> None:
    """Doctor says which helper works, having started it, and whether cells may use it."""
    code = """
from ipy_codeinterp import doctor
from ipy_codeinterp.settings import Settings
for allowed in (False, True):
    for finding in doctor._network(Settings(network=allowed)): print(finding.ok, finding.found, finding.remedy)"""
    no, yes = outside.run(code, PATH=only).splitlines()
    helper = next(name for name in HELPERS if (Path(only) / name).exists())
    assert no.startswith("None") and helper in no and "IPY_CODEINTERP_NETWORK=1" in no
    assert yes.startswith("True") and helper in yes


@pytest.mark.parametrize("said", ["yes", 1, 0, [], {}])
def test_the_wire_knows_true_and_false(said: object) -> None:
    """Anything else in the field `network` is an error that says what it takes."""
    body = {"model": "local", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    assert decode_request(body).network is False
    assert decode_request({**body, "ipy_codeinterp": {"network": True}}).network is True
    with pytest.raises(Rejected, match="network: true or false"):
        decode_request({**body, "ipy_codeinterp": {"network": said}})


def test_a_container_has_it_or_not() -> None:
    """Having a network covers not wanting one, and not the other way round; it is something, and said."""
    with_it = Extras(network=True)
    assert with_it and with_it.covers(NOTHING_MORE) and not NOTHING_MORE.covers(with_it)
    assert str(Extras((Path("/data"),), ("polars",), network=True)) == "+mount /data +with polars +network"


# --- frame by frame ---------------------------------------------------------------------------------

OPEN = "203.0.113.7"


def frame(to: str = OPEN, *, by: int = way.UDP, port: int = 80, source: bytes = way.GUEST, **fields: int) -> bytes:
    """A packet as it leaves the device."""
    head = struct.pack(
        "!BBHHHBBH4s4s",
        *(fields.get("first", 0x45), 0, 28, 0, fields.get("fragment", 0x4000), 64, by, 0),
        *(source, socket.inet_aton(to)),
    )
    kind = struct.pack("!H", fields.get("kind", 0x0800))
    return way.GATEWAY_MAC + way.GUEST_MAC + kind + head + struct.pack("!HHHH", 1025, port, 8, 0)


def answer_of(sent: bytes) -> bytes:
    """The same packet the other way round."""
    return sent[6:12] + sent[:6] + sent[12:26] + sent[30:34] + sent[26:30] + sent[36:38] + sent[34:36] + sent[38:]


def border(*own: str) -> way.Border:
    return way.Border(lambda address: socket.inet_ntoa(address) not in own)


@pytest.mark.parametrize("by", [way.TCP, way.UDP])
def test_public_frames_pass(by: int) -> None:
    """TCP and UDP pass to a public address and back."""
    assert border().lets_out(frame(by=by)) and border().lets_in(answer_of(frame(by=by)))


@pytest.mark.parametrize("closed", way.CLOSED, ids=str)
def test_closed_networks(closed: way.ipaddress.IPv4Network) -> None:
    """The first and the last address of each closed network are closed both ways, the ones beside it are not ours."""
    for place in (closed[0], closed[-1]):
        assert not border().lets_out(frame(str(place))) and not border().lets_in(answer_of(frame(str(place))))


@pytest.mark.parametrize("beside", ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.0"])
def test_what_is_beside_is_open(beside: str) -> None:
    """A closed network ends where it ends."""
    assert border().lets_out(frame(beside))


def test_own_addresses_are_closed() -> None:
    """What this machine would keep for itself is closed, whatever the address."""
    assert not border(OPEN).lets_out(frame()) and not border(OPEN).lets_in(answer_of(frame()))


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(frame(by=way.ICMP), id="ping"),
        pytest.param(frame(by=41), id="IPv6 in IPv4"),
        pytest.param(frame(first=0x46), id="options"),
        pytest.param(frame(first=0x65), id="another version"),
        pytest.param(frame(fragment=0x2000), id="first fragment"),
        pytest.param(frame(fragment=0x0001), id="later fragment"),
        pytest.param(frame(kind=0x86DD), id="IPv6"),
        pytest.param(frame(kind=0x8100), id="VLAN"),
        pytest.param(frame(source=socket.inet_aton("127.0.0.1")), id="another's source"),
        pytest.param(frame()[:41], id="cut"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_odd_frames(odd: bytes) -> None:
    """What is not a whole plain packet of the container's own does not pass."""
    assert not border().lets_out(odd)


def test_the_resolver_answers_questions_only() -> None:
    """Of the resolver only port 53 by UDP is there, both ways: a helper may map its other ports to this machine."""
    resolver = socket.inet_ntoa(way.RESOLVER)
    assert border().lets_out(frame(resolver, port=53)) and border().lets_in(answer_of(frame(resolver, port=53)))
    for other in (frame(resolver, port=53, by=way.TCP), frame(resolver, port=5353)):
        assert not border().lets_out(other) and not border().lets_in(answer_of(other))


def test_an_answer_gets_old() -> None:
    """Whether an address is this machine's own is asked again after a moment, and not for each frame."""
    now, asked = [0.0], []
    found = way.Border(lambda address: bool(asked.append(address)) or len(asked) < 2, lambda: now[0])
    assert found.lets_out(frame()) and found.lets_out(frame()) and len(asked) == 1
    now[0] = way.KNOWN_FOR
    assert not found.lets_out(frame()) and len(asked) == 2


def test_what_is_remembered_is_bounded() -> None:
    """Code that speaks to very many addresses fills no memory of ours."""
    found = border()
    for number in range(2 * way.MOST_KNOWN):
        found.lets_out(frame(socket.inet_ntoa(struct.pack("!I", 0x08000000 + number))))
    assert len(found._known) <= way.MOST_KNOWN


def test_a_refusal_is_a_right_answer() -> None:
    """Whoever is not let out is told by ICMP, with right checksums and the beginning of the packet that was refused."""
    refused = frame("10.1.2.3")
    said = way.refusal(refused)
    assert said is not None and said[:6] == way.GUEST_MAC and said[30:34] == way.GUEST
    assert (said[23], said[34], said[35]) == (way.ICMP, 3, 13) and said[42:] == refused[14:42]
    assert ones(said[14:34]) == ones(said[34:]) == 0xFFFF
    assert way.refusal(frame(kind=0x86DD)) is None and way.refusal(b"") is None


def ones(packet: bytes) -> int:
    """The sum that is 0xFFFF for a packet with a right checksum in it."""
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    return (total & 0xFFFF) + (total >> 16)


def test_a_stream_is_cut_into_frames() -> None:
    """Frames come whole however their bytes come; a length that cannot be, and the end, are the end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link, frames = way.Stream(ours), [b"a" * 60, b"b", b"c" * 1500]
        sent = b"".join(struct.pack("!I", len(one)) + one for one in frames)
        got = []
        for at in range(0, len(sent), 7):
            theirs.send(sent[at : at + 7])
            got += link.receive()
        assert got == frames
        theirs.send(struct.pack("!I", way.MOST_FRAME + 1) + b"x")
        with pytest.raises(EOFError):
            link.receive()


def test_what_a_helper_does_not_take_waits() -> None:
    """A full socket keeps the frame that was begun, and it goes on in the right place."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        link, sent = way.Stream(ours), 0
        while not link.waiting:
            link.send(b"x" * 60_000)
            sent += 1
        got = b""
        while link.waiting or len(got) < sent * 60_004:
            got += theirs.recv(1 << 20)
            link.send()
        assert got == (struct.pack("!I", 60_000) + b"x" * 60_000) * sent


def test_this_machine_knows_its_addresses() -> None:
    """The kernel is asked: its own addresses, broadcasts and multicasts are not elsewhere."""
    with contextlib.closing(way.Routes()) as routes:
        for own in ("127.0.0.1", "127.255.255.255", "255.255.255.255", "224.0.0.1", "0.0.0.0"):
            assert not routes.is_elsewhere(socket.inet_aton(own)), own


def test_a_remedy_for_each_refusal() -> None:
    """What is known to go wrong comes with what to do about it."""
    assert "--device /dev/net/tun" in network.remedy("[Errno 2] No such file or directory: '/dev/net/tun'")
    assert "ip route" in network.remedy("passt: No external routable interface for IPv4")
    assert "doctor" in network.remedy("")


def wait_for(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
