"""The filter of system calls: its bytes are what the tables say, on both machines, and programs get along with it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from errno import EAFNOSUPPORT, ENOSYS, EPERM, errorcode
from importlib.machinery import SourceFileLoader
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from ipy_codeinterp.sandbox import filter

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "seccomp"
INSTALLER = ROOT / "ipy_codeinterp" / "sandbox" / "inside" / "filter.py"
IN_CI = os.environ.get("CI") == "true"

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
I386, ARM = 0x40000003, 0x40000028
X32 = 1 << 30  # of a number: pointers have 32 bits

NUMBERS = {  # of the calls that are tried here, on x86_64 and aarch64, from the kernel's own tables
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "execve": (59, 221),
    "finit_module": (313, 273),
    "fsopen": (430, 430),
    "futex": (202, 98),
    "getpid": (39, 172),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "read": (0, 63),
    "reboot": (169, 142),
    "seccomp": (317, 277),
    "semget": (64, 190),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
}

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
FORK, THREAD = 0x1200011, 0x3D0F00  # the flags of glibc's fork() and pthread_create()
UNIX, INET, INET6, NETLINK, PACKET, ALG, VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DGRAM, RAW, SEQPACKET, CLOEXEC, NONBLOCK = 1, 2, 3, 5, 0o2000000, 0o4000
TCP, UDP, ICMP, SCTP, MPTCP = 6, 17, 1, 132, 262
TCGETS, TIOCSTI, TIOCLINUX, TIOCSETD = 0x5401, 0x5412, 0x541C, 0x5423
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_MM = 4, 22, 35
ALL_ONES = (1 << 64) - 1


def missing(reason: str) -> NoReturn:
    """What CI must have."""
    (pytest.fail if IN_CI else pytest.skip)(reason)


# --- the bytes, compared --------------------------------------------------------------------------


def run_script(script: Path, *options: str) -> tuple[int, str]:
    """Its exit status and what it says."""
    run = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, check=False)
    if run.returncode == 2:
        missing(run.stderr)
    return run.returncode, run.stderr


@pytest.fixture(scope="module")
def same_library() -> None:
    """The libseccomp that made the bytes is here."""
    _, said = run_script(SCRIPT, "--check")
    if said.startswith("not compared"):
        pytest.skip(said)


@pytest.mark.usefixtures("same_library")
def test_the_bytes_are_what_the_tables_say() -> None:
    """Made anew by the libseccomp that made them, the shipped files come out the same, byte by byte."""
    status, said = run_script(SCRIPT, "--check")
    assert status == 0, said


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script, in a tree of its own with the shipped files."""
    shutil.copytree(filter.SHIPPED, shipped_beside(tmp_path / "scripts"))
    (tmp_path / "scripts").mkdir()
    return Path(shutil.copy(SCRIPT, tmp_path / "scripts"))


def shipped_beside(scripts: Path) -> Path:
    return scripts.parent / "ipy_codeinterp" / "sandbox" / "seccomp"


@pytest.mark.usefixtures("same_library")
def test_a_difference_is_told(copy: Path) -> None:
    """A file that was changed is named, and so is one that is gone."""
    (shipped_beside(copy.parent) / "x86_64.bpf").write_bytes(bytes(8))
    (shipped_beside(copy.parent) / "aarch64.bpf").unlink()
    status, said = run_script(copy, "--check")
    assert (status, said.split(": ")[-1]) == (1, "aarch64.bpf, x86_64.bpf\n")


def test_another_library_is_told(copy: Path) -> None:
    """Bytes that another libseccomp made are not compared, and that is no failure."""
    readme = shipped_beside(copy.parent) / "README.md"
    readme.write_text(readme.read_text().replace("libseccomp ", "libseccomp 1."))
    status, said = run_script(copy, "--check")
    assert (status, said.split(":")[0]) == (0, "not compared")


@pytest.mark.usefixtures("same_library")
def test_a_name_belongs_into_one_table(copy: Path) -> None:
    """A misspelt, a forgotten and a doubled name are told, and nothing is made."""
    shutil.rmtree(shipped_beside(copy.parent))
    text = copy.read_text()
    for right, wrong in (("unshare", "unhsare"), (" ptrace", " ptrace read"), ("access chdir", "chdir")):
        text = text.replace(right, wrong, 1)
    copy.write_text(text)
    told = "in no table: access unshare; in two tables: read; not known to this libseccomp: unhsare"
    assert run_script(copy) == (1, f"the tables do not fit: {told}\n")
    assert list(shipped_beside(copy.parent).glob("*")) == []


def test_there_is_a_filter_where_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path leads to the bytes for this kind of machine, or nowhere."""
    for machine in (*MACHINES, "riscv64"):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        found = filter.path()
        assert (found and found.name) == (f"{machine}.bpf" if machine in MACHINES else None)


# --- the bytes, interpreted -----------------------------------------------------------------------

ALLOWED, KILLED = "allowed", "killed"
VERDICTS = {0x7FFF0000: ALLOWED, 0x80000000: KILLED, **{0x50000 | e: name for e, name in errorcode.items()}}


def verdict(program: bytes, arch: int, number: int, *arguments: int) -> str:
    """What the kernel would do: classic BPF over a struct seccomp_data."""
    filled = [value & ALL_ONES for value in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *filled)
    instructions = list(struct.iter_unpack("<HBBI", program))
    place = register = 0
    while True:
        code, yes, no, value = instructions[place]
        place += 1
        match code:
            case 0x20:  # load a word
                (register,) = struct.unpack_from("<I", data, value)
            case 0x54:
                register &= value
            case 0x05:
                place += value
            case 0x15:
                place += yes if register == value else no
            case 0x25:
                place += yes if register > value else no
            case 0x35:
                place += yes if register >= value else no
            case 0x06:
                return VERDICTS[value]
            case _:
                raise NotImplementedError(hex(code))


def shipped(machine: str) -> bytes:
    return (filter.SHIPPED / f"{machine}.bpf").read_bytes()


def of(machine: str, call: str) -> int:
    return NUMBERS[call][list(MACHINES).index(machine)]


E_PERM, E_NOSYS, E_FAMILY = errorcode[EPERM], errorcode[ENOSYS], errorcode[EAFNOSUPPORT]

RULES: list[tuple[str, str, list[tuple[int, ...]]]] = [  # verdict, calls, arguments
    (ALLOWED, "read execve futex getpid pidfd_open seccomp", [(), (ALL_ONES,) * 6]),
    (E_PERM, "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise", [()]),
    (E_PERM, "keyctl add_key bpf perf_event_open userfaultfd", [()]),
    (E_PERM, "mount umount2 pivot_root chroot fsopen open_tree move_mount", [()]),
    (E_PERM, "unshare setns name_to_handle_at open_by_handle_at finit_module reboot settimeofday", [()]),
    (E_NOSYS, "clone3 io_uring_setup io_setup memfd_create memfd_secret shmget semget msgget vmsplice", [()]),
    (ALLOWED, "clone", [(FORK,), (THREAD,), (0x80 | THREAD,)]),
    (E_PERM, "clone", [(new | FORK,) for new in (NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET)]),
    (E_PERM, "clone", [(NEWUSER | NEWNS,), (NEWPID | THREAD,), (ALL_ONES,)]),
    (ALLOWED, "socket", [(UNIX, kind) for kind in (STREAM, DGRAM, SEQPACKET, STREAM | CLOEXEC)]),
    (ALLOWED, "socket", list(product((INET, INET6), (STREAM, STREAM | CLOEXEC | NONBLOCK), (0, TCP)))),
    (ALLOWED, "socket", list(product((INET, INET6), (DGRAM, DGRAM | CLOEXEC | NONBLOCK), (0, UDP)))),
    (E_PERM, "socket", list(product((INET, INET6), (RAW, RAW | CLOEXEC, SEQPACKET, 0, 4, 6, 10), (0, ICMP)))),
    (E_PERM, "socket", list(product((INET, INET6), (STREAM, DGRAM), (ICMP, SCTP, MPTCP)))),
    (E_FAMILY, "socket", list(product((0, 3, NETLINK, PACKET, ALG, VSOCK, 44, 99, ALL_ONES), (STREAM, DGRAM, RAW)))),
    (ALLOWED, "socketpair", [(UNIX, STREAM), (UNIX, DGRAM)]),
    (E_FAMILY, "socketpair", [(family, STREAM) for family in (INET, INET6, NETLINK, 30, VSOCK)]),
    (ALLOWED, "ioctl", [(0, command) for command in (TCGETS, 0x5413, 0x541B, 0x5421, 0)]),
    (E_PERM, "ioctl", [(0, command) for command in (TIOCSTI, TIOCLINUX, TIOCSETD)]),
    (ALLOWED, "prctl", [(PR_SET_DUMPABLE, 1), (PR_SET_SECCOMP, 2)]),
    (E_PERM, "prctl", [(PR_SET_MM, 1)]),
    (ALLOWED, "personality", [(0,), (0xFFFFFFFF,), (ALL_ONES,)]),
    (E_PERM, "personality", [(8,), (0x40000,), (0x400000,), (0x20008,)]),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("expected", "calls", "tried"), RULES)
def test_the_verdict_on(machine: str, expected: str, calls: str, tried: list[tuple[int, ...]]) -> None:
    """Each call gets the verdict of this table, with each of these arguments."""
    program = shipped(machine)
    found = {
        (call, arguments): verdict(program, MACHINES[machine], of(machine, call), *arguments)
        for call in calls.split()
        for arguments in tried
    }
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("expected", "calls", "tried"), RULES)
def test_half_of_a_register_does_not_matter(
    machine: str, expected: str, calls: str, tried: list[tuple[int, ...]]
) -> None:
    """What stands in the upper half, which the kernel does not read, changes no verdict (CVE-2019-10063)."""
    program = shipped(machine)
    for call, arguments, high in product(calls.split(), tried, (1 << 32, 0xDEADBEEF << 32, 0xFFFFFFFF << 32)):
        dirty = [argument | high for argument in arguments]
        assert verdict(program, MACHINES[machine], of(machine, call), *dirty) == expected, (call, arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_nobody_knows_is_absent(machine: str) -> None:
    """Numbers past the tables, also x32's old ones, are answered as by an old kernel."""
    for number in (512, 520, 547, 600, 1024, 5000, (1 << 30) - 1, ALL_ONES):
        assert verdict(shipped(machine), MACHINES[machine], number) == E_NOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_foreign_abis_are_killed(machine: str) -> None:
    """A call in the manner of another machine ends the process, whatever its number; on x86_64 x32's do too."""
    for arch, number in product({I386, ARM, *MACHINES.values(), 0} - {MACHINES[machine]}, (0, 20, 39, 512, X32)):
        assert verdict(shipped(machine), arch, number) == KILLED
    for number in (0, 39, 101, 520):
        expected = KILLED if machine == "x86_64" else E_NOSYS
        assert verdict(shipped(machine), MACHINES[machine], X32 | number) == expected


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """`scripts/seccomp` as a module."""
    spec = importlib.util.spec_from_loader("seccomp", SourceFileLoader("seccomp", str(SCRIPT)))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("machine", MACHINES)
def test_every_name_gets_the_verdict_of_its_table(machine: str, script: ModuleType) -> None:
    """Of all calls that libseccomp can name, just those in ALLOWED are allowed, and just those in REFUSED refused."""
    try:
        known = script.Library().calls(machine)
    except OSError as error:
        missing(str(error))
    excepted = {rule.call for layer in script.EXCEPTIONS for rule in layer}
    found = {call: verdict(shipped(machine), MACHINES[machine], number) for call, number in known.items()}
    allowed = set(script.names(script.ALLOWED)) & known.keys() - excepted
    refused = set(script.names(script.REFUSED)) & known.keys() - excepted
    assert {call for call, said in found.items() if said == ALLOWED} - excepted == allowed
    assert {call for call, said in found.items() if said == E_PERM} - excepted == refused
    assert {*found.values()} == {ALLOWED, E_PERM, E_NOSYS, E_FAMILY}


# --- the filter, installed ------------------------------------------------------------------------

PRELUDE = """
import ctypes, errno, os, runpy, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
install = runpy.run_path("/run/installer.py")["install"]

def call(*arguments):
    result = libc.syscall(*map(ctypes.c_long, arguments))
    return "allowed" if result >= 0 else errno.errorcode[ctypes.get_errno()]

def status(function):
    if (pid := os.fork()) == 0:
        function()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
INSTALLED = PRELUDE + 'install(open("/run/program.bpf", "rb").read())\n'


class Inside:
    """Runs Python behind bubblewrap's walls: all is read-only, nothing is reached."""

    def __init__(self, bwrap: str, program: Path) -> None:
        self._walls = [
            *(bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *("--tmpfs", "/tmp", "--tmpfs", "/dev/shm", "--tmpfs", "/run"),
            *("--ro-bind", sys.prefix, sys.prefix, "--chdir", "/tmp"),
            *("--ro-bind", str(INSTALLER), "/run/installer.py", "--ro-bind", str(program), "/run/program.bpf"),
        ]

    def run(self, code: str, *options: str, fds: Sequence[int] = ()) -> str:
        """What `code` says, on both streams."""
        command = [*self._walls, *options, "--", sys.executable, "-c", code]
        variables = {"PATH": os.environ["PATH"], "HOME": "/tmp", "LANG": "C.UTF-8"}
        return subprocess.run(
            command,
            env=variables,
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout.strip()


@pytest.fixture(scope="module")
def inside() -> Inside:
    program, bwrap = filter.path(), shutil.which("bwrap")
    if not program:
        pytest.skip(f"there is no filter for {platform.machine()}")
    if not bwrap:
        missing("bubblewrap is missing: apt-get install bubblewrap")
    inside = Inside(str(bwrap), program)
    if (said := inside.run("print('here')")) != "here":
        missing(f"bubblewrap does not work here: {said}")
    return inside


REFUSALS: dict[str, tuple[str, list[str | int]]] = {
    "unshare": (E_PERM, ["unshare", NEWUSER]),
    "setns": (E_PERM, ["setns", 0, 0]),
    "mount": (E_PERM, ["mount"]),
    "fsopen": (E_PERM, ["fsopen"]),
    "ptrace": (E_PERM, ["ptrace", 0]),  # PTRACE_TRACEME
    "process_vm_readv": (E_PERM, ["process_vm_readv"]),
    "keyctl": (E_PERM, ["keyctl", 0, -3, 1]),  # KEYCTL_GET_KEYRING_ID of the session, made where there is none
    "add_key": (E_PERM, ["add_key"]),
    "bpf": (E_PERM, ["bpf"]),
    "perf_event_open": (E_PERM, ["perf_event_open"]),
    "userfaultfd": (E_PERM, ["userfaultfd", 1]),  # UFFD_USER_MODE_ONLY, which anybody may
    "personality": (E_PERM, ["personality", 0x40000]),  # ADDR_NO_RANDOMIZE
    "prctl(PR_SET_MM)": (E_PERM, ["prctl", PR_SET_MM]),
    "clone, new user namespace": (E_PERM, ["clone", NEWUSER | 17]),
    "clone3": (E_NOSYS, ["clone3"]),
    "io_uring_setup": (E_NOSYS, ["io_uring_setup"]),
    "io_setup": (E_NOSYS, ["io_setup"]),
    "memfd_create": (E_NOSYS, ["memfd_create"]),
    "shmget": (E_NOSYS, ["shmget", 0, 4096, 0o600]),
    "semget": (E_NOSYS, ["semget", 0, 1, 0o600]),
    "a call of tomorrow": (E_NOSYS, [1000]),
    "AF_VSOCK": (E_FAMILY, ["socket", VSOCK, STREAM]),
    "AF_NETLINK": (E_FAMILY, ["socket", NETLINK, RAW]),
    "AF_PACKET": (E_FAMILY, ["socket", PACKET, RAW]),
    "AF_ALG": (E_FAMILY, ["socket", ALG, SEQPACKET]),
    "AF_NETLINK, dirty": (E_FAMILY, ["socket", NETLINK | 1 << 32, RAW]),
    "AF_INET, raw": (E_PERM, ["socket", INET, RAW, ICMP]),
    "AF_INET, SCTP": (E_PERM, ["socket", INET, STREAM, SCTP]),
}
GRANTED = ["ptrace", "personality", "memfd_create", "shmget", "AF_NETLINK"]  # or refused by the kernel in other words


def asking(*asked: str | int) -> str:
    """Code that makes a call, given as its name or number and its arguments, and prints what came of it."""
    numbers = [of(platform.machine(), value) if isinstance(value, str) else value for value in asked]
    return f"print(call(*{numbers}, *{[0] * (7 - len(numbers))}))"


@pytest.mark.sandbox
@pytest.mark.parametrize("name", REFUSALS)
def test_is_refused(inside: Inside, name: str) -> None:
    """The call fails with this error."""
    expected, asked = REFUSALS[name]
    assert inside.run(INSTALLED + asking(*asked)) == expected


@pytest.mark.sandbox
@pytest.mark.parametrize("name", GRANTED)
def test_the_filter_it_is_that_refuses(inside: Inside, name: str) -> None:
    """Without the filter the same call behind the same walls is answered in another way."""
    expected, asked = REFUSALS[name]
    assert inside.run(PRELUDE + asking(*asked)) not in (expected, "")


@pytest.mark.sandbox
@pytest.mark.parametrize("command", [TIOCSTI, TIOCLINUX, TIOCSETD])
def test_terminals_are_not_typed_into(inside: Inside, command: int) -> None:
    """The commands that type into a terminal or load drivers are refused, also with high bits the kernel ignores."""
    code = INSTALLED + "ours, theirs = os.openpty(); letter = ctypes.c_int(0); at = ctypes.addressof(letter)\n"
    for dirty in (command, command | 1 << 32, command | 0xFFFFFFFF << 32):
        code += f"print(call({of(platform.machine(), 'ioctl')}, theirs, {dirty}, at), end=' ')\n"
    assert inside.run(code).split() == [E_PERM] * 3


@pytest.mark.sandbox
@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has other ABIs")
def test_other_abis_kill(inside: Inside) -> None:
    """getpid in the manner of x32 and of i386 ends the process that tried, and no other."""
    code = """
    import mmap
    print(status(lambda: call((1 << 30) | 39)))
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20; int 0x80; ret
    getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    print(status(getpid))
    print(call(39))"""
    x32, i386, ordinary = inside.run(INSTALLED + textwrap.dedent(code)).split()
    assert (x32, ordinary) == (str(-signal.SIGSYS), "allowed")
    assert i386 in (str(-signal.SIGSYS), str(-signal.SIGSEGV))  # the latter from kernels without 32-bit calls


ORDINARY = {
    "threads": """
        import threading
        threads = [threading.Thread(target=lambda: None) for _ in range(8)]
        [t.start() for t in threads], [t.join() for t in threads]""",
    "subprocess": """
        assert subprocess.run(["cat"], input=b"a", stdout=subprocess.PIPE).stdout == b"a" """,
    "spawn": """
        os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ), 0)""",
    "multiprocessing": """
        import multiprocessing
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.map(abs, [-1, 2]) == [1, 2]""",
    "shared memory": """
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=4096)
        memory.close(), memory.unlink()
        with open("/dev/shm/file", "wb+") as file: file.write(b"a")""",
    "numpy": """
        import numpy
        assert (numpy.ones((300, 300)) @ numpy.ones((300, 300)) == 300).all()""",
    "sqlite": """
        import sqlite3
        with sqlite3.connect("/tmp/db") as db:
            db.execute("pragma journal_mode=wal"), db.execute("create table t (a)")
            db.execute("insert into t values (1)")""",
    "asyncio": """
        import asyncio
        async def main():
            process = await asyncio.create_subprocess_exec("cat", "/dev/null")
            await asyncio.gather(asyncio.to_thread(sum, [1]), asyncio.sleep(0.01), process.wait())
        asyncio.run(main())""",
    "sockets": """
        import socket
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("/tmp/s"), server.listen(), client.connect("/tmp/s"), client.send(b"a")
            assert server.accept()[0].recv(9) == b"a"
        [s.close() for s in socket.socketpair()]
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM): socket.socket(family, kind).close()""",
    "what the runner does": """
        import resource, select, signal
        libc.prctl(4, 1, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pid = os.fork() or os.execv("/bin/sleep", ["sleep", "99"])
        with select.epoll() as poll:
            pidfd = os.pidfd_open(pid)
            poll.register(pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            assert poll.poll(9)
        os.waitpid(pid, 0)
        assert libc.signalfd(-1, bytes(128), 0) >= 0
        assert libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), bytes(24)) == 0""",
    "a filter of one's own": """
        install(open("/run/program.bpf", "rb").read())""",
    "time and terminals": """
        import fcntl, termios, time
        ours, theirs = os.openpty()
        termios.tcgetattr(theirs), os.get_terminal_size(theirs), time.sleep(0.01), time.monotonic()""",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_programs_notice_nothing(inside: Inside, name: str) -> None:
    """Python's own ways to work are all there."""
    assert inside.run(f"{INSTALLED}\n{textwrap.dedent(ORDINARY[name])}\nprint('fine')") == "fine"


COMMANDS = {
    "bash": "echo b a | tr ' ' '\\n' | sort | cat > f; sleep 0 & wait; test $(head -1 f) = a; read x < <(cat f)",
    "node": "node -e 'require(`fs`).promises.readdir(`/`).then(() => require(`child_process`).execSync(`true`))'",
    "Rscript": "Rscript --vanilla -e 'invisible(solve(diag(50))); stopifnot(system(\"true\") == 0)'",
    "git": "git init -q r; cd r; touch f; git add f; git -c user.name=a -c user.email=a@b commit -qm m; git gc -q",
    "gcc": "echo 'int main() { return 0; }' > a.c; gcc a.c; ./a.out",
    "tar": "cp -a /run/installer.py f; tar cz f | tar tz > /dev/null; find . > /dev/null; ls -l > /dev/null; mv f g",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("program", COMMANDS)
def test_other_languages_notice_nothing(inside: Inside, program: str) -> None:
    """bash, Node.js, R, git, a compiler and the core utilities work as ever."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    code = f"sys.exit(subprocess.run(['bash', '-euc', {COMMANDS[program]!r}]).returncode and 'failed')"
    assert inside.run(INSTALLED + code) == ""


@pytest.mark.sandbox
def test_bubblewrap_takes_the_bytes(inside: Inside) -> None:
    """The same bytes work as bubblewrap's --seccomp."""
    program = filter.path()
    assert program
    with program.open("rb") as file:
        code = PRELUDE + asking("unshare", NEWUSER)
        assert inside.run(code, "--seccomp", str(file.fileno()), fds=[file.fileno()]) == E_PERM


@pytest.mark.sandbox
@pytest.mark.parametrize("program", [b"", bytes(8)])
def test_what_is_no_filter_is_an_error(inside: Inside, program: bytes) -> None:
    """Bytes that the kernel does not take raise OSError: nobody goes on without a filter by mistake."""
    said = inside.run(PRELUDE + f"install({program!r})")
    assert "OSError: [Errno 22] the system call filter is refused" in said
