"""Programs that mean harm, by theme. `test_hostile.py` runs each of them in the sandbox and says how it must end.

A Program stands for rows of the table of hostile programs (numbers 1 to 52 of section 4c, "Hostile programs").
Words between `@` are filled in by the test, as Python literals; `@mark@` is a name that the host finds processes by.
Everything is bounded in time and in number, for the day on which a wall is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

ROWS = range(1, 53)


@dataclass(frozen=True, slots=True)
class Program:
    """Code, and the rows of the table that it stands for."""

    rows: tuple[int, ...]
    code: str

    def text(self, **words: object) -> str:
        return filled(self.code, **words)


def filled(text: str, **words: object) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word}@", repr(value))
    return text


def each(rows: tuple[int, ...], variants: dict[str, str], before: str = "", after: str = "") -> dict[str, Program]:
    return {name: Program(rows, before + code + after) for name, code in variants.items()}


NAMED = """
import ctypes, errno, os, signal, socket, stat, sys, threading, time
ctypes.CDLL(None).prctl(15, @mark@.encode())
"""

# --- files ----------------------------------------------------------------------------------------

READS_FILES = Program(
    (1, 2, 33),
    """
import os
doors = ["", "/..", "/../../../..", "/proc/self/root", "/proc/1/root", "/proc/self/root/../..", "/proc/self/cwd/../.."]
doors += [f"/proc/{pid}/{door}" for pid in os.listdir("/proc") if pid.isdigit() for door in ("root", "cwd/../..")]
doors += [f"/proc/self/fd/{fd}/../.." for fd in os.listdir("/proc/self/fd")]
for path in (door + file for door in doors for file in @files@):
    try: print(path, open(path, "rb").read().decode())
    except OSError: pass
for folder in (door + folder for door in doors for folder in @folders@):
    try: print(folder, os.listdir(folder))
    except OSError: pass
""",
)

READS_ENVIRONMENTS = Program(
    (3, 4),
    """
import glob, os
print(dict(os.environ))
names = ("environ", "cmdline", "auxv", "mountinfo", "maps", "stack")
for path in (path for name in names for path in glob.glob(f"/proc/[0-9]*/{name}")):
    try: print(path, open(path, "rb").read())
    except OSError: print(path, "refused")
for pid in (int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
    try:
        for line in open(f"/proc/{pid}/maps"):
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                print(memory.read(min(end - start, 1 << 16)))
    except (OSError, OverflowError): pass
""",
)

WRITES_FILES = Program(
    (29,),
    """
import glob, os, sys
folders = {"/", "/run/codeinterp", *@folders@, *glob.glob("/*/"), *glob.glob("/*/*/"), *glob.glob("/usr/*/*/")}
folders |= {folder for p in @folders@ for folder in glob.glob(f"{p}/*/") + glob.glob(f"{p}/lib/python*/site-packages/")}
for folder in sorted(os.path.realpath(f) for f in folders):
    path = os.path.join(folder, @name@)
    for write in (lambda: open(path, "x").close(), lambda: os.mkdir(path), lambda: os.symlink("/", path)):
        try:
            write()
            print(folder)
            break
        except OSError: pass
acts = (lambda p: open(p, "ab").close(), lambda p: os.chmod(p, 0o777), os.utime, os.unlink)
for path in ["/etc/passwd", sys.executable, os.__file__, *glob.glob("/run/codeinterp/*"), *glob.glob("/etc/*")]:
    for act in acts:
        try:
            act(path)
            print(path)
        except OSError: pass
""",
)

WRITES_SETTINGS = Program(
    (32,),
    """
import glob, os
paths = [os.path.join(folder, name) for folder, _, names in os.walk("/proc/sys") for name in names]
own = ("oom_score_adj", "uid_map", "gid_map", "setgroups", "attr/current", "coredump_filter", "sched", "timerslack_ns")
paths += [f"/proc/{pid}/{name}" for pid in ("self", "1", "thread-self") for name in own]
paths += ["/proc/sysrq-trigger", "/proc/mtrr", "/proc/irq/default_smp_affinity", "/proc/acpi/wakeup", "/proc/kmsg"]
paths += ["/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs", "/proc/sys/fs/binfmt_misc/register"]
for path in paths:
    try: os.close(os.open(path, os.O_WRONLY))
    except OSError: continue
    print(path)
print(len(paths))
""",
)

OPENS_DEVICES = Program(
    (31,),
    """
import os, stat
for folder, folders, names in os.walk("/dev"):
    print(*(os.path.join(folder, name) for name in names if folder != "/dev/shm"), sep="\\n")
devices = "mem kmem port kmsg kvm fuse vda sda loop0 net/tun vhost-vsock vsock dri/card0 snd/timer input/event0".split()
for path in ("/proc/kcore", *(f"/dev/{name}" for name in devices)):
    try: open(path, "rb").close(); print("opened", path)
    except OSError: pass
for kind in (stat.S_IFCHR, stat.S_IFBLK):
    for major, minor in ((1, 1), (1, 11), (10, 232), (254, 0), (8, 0)):
        path = f"/tmp/node{kind}.{major}.{minor}"
        try: os.mknod(path, kind | 0o666, os.makedev(major, minor)); print("made", path)
        except OSError: pass
""",
)

RUNS_SETUID = Program(
    (30,),
    """
import glob, os, shutil, subprocess
def says(*command):
    path = {"PATH": "/usr/bin:/bin:/usr/sbin"}
    try: ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=0.5, env=path)
    except (OSError, subprocess.SubprocessError): return
    print(ran.stdout)
says("su", "-c", "id -u"); says("su", "nobody", "-c", "id -u")
says("sudo", "-n", "id", "-u"); says("pkexec", "id", "-u")
says("setpriv", "--reuid", "0", "id", "-u"); says("unshare", "-r", "id", "-u"); says("chroot", "/", "id", "-u")
shutil.copy("/usr/bin/id", "/tmp/id")
os.chmod("/tmp/id", 0o6755)
says("/tmp/id", "-u")
os.unlink("/tmp/id")
""",
)

HOLDS_STILL = Program((35,), NAMED)

LOOKS_AROUND = Program(
    (47,),
    """
import os, platform, socket
print(os.uname().nodename, socket.gethostname(), platform.node())
names = "self/mountinfo self/cgroup cmdline net/dev net/unix net/tcp net/arp partitions mounts keys locks timer_list"
files = ("/etc/hostname", "/etc/machine-id", "/etc/resolv.conf", "/sys/class/dmi/id/product_uuid")
for path in (*files, *(f"/proc/{name}" for name in names.split())):
    try: print(path, open(path).read())
    except OSError: pass
""",
)

# --- processes --------------------------------------------------------------------------------------

COUNTS = Program(
    (5,),
    """
import os
for pid in (p for p in os.listdir("/proc") if p.isdigit()):
    print(pid, open(f"/proc/{pid}/comm").read().strip(), open(f"/proc/{pid}/cmdline").read().replace("\\0", " "))
""",
)

KILLS = Program(
    (22,),
    NAMED
    + """
for number in (signal.SIGSTOP, signal.SIGKILL):
    for pid in (-1, 1, os.getppid(), *range(2, 1 << 16)):
        if pid not in (0, os.getpid()):
            try: os.kill(pid, number)
            except OSError: pass
print("done")
""",
)

LEAVES_DAEMONS = Program(
    (21,),
    NAMED
    + """
import subprocess
def daemon(act):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 3)
            act()
        os._exit(0)
daemon(lambda: time.sleep(600))
daemon(lambda: os.kill(os.getpid(), signal.SIGSTOP))
daemon(lambda: os.execvp("setsid", ["setsid", "sleep", "600." + @mark@]))
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
subprocess.Popen(["sleep", "601." + @mark@], start_new_session=True, **quiet)
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
time.sleep(0.3)
print("left")
""",
)

LOOPS = Program((18,), "while True: pass")

IS_DEAF = Program(
    (19,),
    NAMED
    + """
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
if os.fork() == 0: time.sleep(600)
time.sleep(600)
""",
)

CROWD_LOOPS = Program(
    (18,),
    NAMED
    + """
for _ in range(100):
    try:
        if os.fork() == 0: break
    except OSError: break
while True: pass
""",
)

FREEZES = Program(
    (),
    NAMED
    + """
for pid in (1, os.getppid(), os.getpid()):
    try: os.kill(pid, signal.SIGSTOP)
    except OSError: pass
time.sleep(600)
""",
)

POISONS = Program(
    (48,),
    NAMED
    + """
import builtins, json, IPython
builtins.poisoned = json.poisoned = IPython.poisoned = os.poisoned = 1
ctypes.c_int32.from_address(id(251) + 24).value = 252
for pid in (int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
    for name in ("mem", "clear_refs", "oom_score_adj", "fd/0", "fd/1", "fd/2", "fd/3", "ns/mnt", "ns/user", "root"):
        mode = os.O_RDONLY if name[:3] in ("ns/", "roo") else os.O_RDWR
        try: os.close(os.open(f"/proc/{pid}/{name}", mode)); print(pid, name)
        except OSError: pass
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
for path in mapped:
    try: os.close(os.open(path, os.O_RDWR)); print(path)
    except OSError: pass
""",
)

# --- network ----------------------------------------------------------------------------------------

CONNECTS = Program(
    (6, 9),
    """
import socket
for family, kind, address in @addresses@:
    with socket.socket(getattr(socket, family), getattr(socket, kind)) as s:
        s.settimeout(1)
        try:
            s.connect(address)
            s.send(b"out")
            print("sent to", address)
        except OSError: pass
""",
)

CONNECTS_FAR = Program(
    (7,),
    """
import errno, socket
for address in ("169.254.169.254", "192.0.2.1"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(1)
            try: s.connect((address, 80)); print("done")
            except TimeoutError: print("ETIMEDOUT")
            except OSError as error: print(errno.errorcode[error.errno])
""",
)

RESOLVES = Program(
    (8,),
    """
import socket
for name in ("hostile.invalid", "localhost.invalid", "metadata.invalid"):
    try: print("found", socket.getaddrinfo(name, 80))
    except socket.gaierror: print("gaierror")
""",
)

LISTENS = Program(
    (), "import socket\nheard = socket.socket(socket.AF_UNIX)\nheard.bind('\\0' + @mark@)\nheard.listen()"
)

# Sockets are only made, never connected.
FAMILIES = {
    "packet": (17, 3, 0), "packet datagrams": (17, 2, 0), "netlink route": (16, 3, 0), "netlink uevent": (16, 3, 15),
    "netlink audit": (16, 3, 9), "netlink generic": (16, 3, 16), "alg": (38, 5, 0), "vsock": (40, 1, 0),
    "vsock packets": (40, 5, 0), "raw icmp": (2, 3, 1), "raw": (2, 3, 255), "raw v6": (10, 3, 58), "ping": (2, 2, 1),
    "sctp": (2, 1, 132), "key": (15, 3, 2), "rds": (21, 5, 0), "can": (29, 3, 1), "tipc": (30, 5, 0), "nfc": (39, 5, 0),
    "bluetooth": (31, 3, 1), "kcm": (41, 5, 0), "qipcrtr": (42, 2, 0), "smc": (43, 1, 0), "xdp": (44, 3, 0),
    "mctp": (45, 2, 0),
}  # fmt: skip
NO_FAMILY = {"EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EPROTOTYPE"}

MAKES_SOCKETS = Program(
    (10,),
    """
import errno, socket
for name, numbers in @families@.items():
    try: socket.socket(*numbers).close(); print(f"{name}: done")
    except OSError as error: print(f"{name}: {errno.errorcode[error.errno]}")
""",
)

# --- kernel -----------------------------------------------------------------------------------------

# Number on x86_64, number on aarch64.
NUMBERS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430), "fspick": (433, 433),
    "open_tree": (428, 428), "move_mount": (429, 429), "mount_setattr": (442, 442), "io_uring_setup": (425, 425),
    "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "userfaultfd": (323, 282), "personality": (135, 92), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "swapon": (167, 224),
    "acct": (163, 89), "syslog": (103, 116), "settimeofday": (164, 170), "sethostname": (170, 161),
    "reboot": (169, 142), "open_by_handle_at": (304, 265), "pidfd_getfd": (438, 438),
    "iopl": (172, None), "ioperm": (173, None), "x32": (0x40000000 + 39, None),
}  # fmt: skip

REFUSED = frozenset({"EPERM", "ENOSYS"})
FOREIGN = frozenset({"SIGSYS", "SIGSEGV", "ENOSYS", "EPERM"})


@dataclass(frozen=True, slots=True)
class Call:
    """An expression that is 0 when the kernel obeys and an errno when it does not, and what it may come to."""

    rows: tuple[int, ...]
    expression: str
    allowed: frozenset[str] = REFUSED


# A call that is obeyed does no harm: it is made in a child, with arguments that change nothing outside of it.
CALLS = {
    "ptrace": Call((23,), "call('ptrace', 0, 0, 0, 0)"),
    "ptrace init": Call((23,), "call('ptrace', 0x4206, 1, 0, 0)"),
    "process_vm_readv": Call((23,), "call('process_vm_readv', os.getpid(), 0, 0, 0, 0, 0)"),
    "process_vm_writev": Call((23,), "call('process_vm_writev', os.getpid(), 0, 0, 0, 0, 0)"),
    "kcmp": Call((23,), "call('kcmp', os.getpid(), os.getpid(), 1, 0, 0)"),
    "unshare user": Call((24,), "call('unshare', USER)"),
    "unshare user and mounts": Call((24,), "call('unshare', USER | MOUNTS)"),
    "unshare mounts": Call((24,), "call('unshare', MOUNTS)"),
    "unshare pids": Call((24,), "call('unshare', 0x20000000)"),
    "unshare network": Call((24,), "call('unshare', 0x40000000)"),
    "unshare ipc, uts, cgroup, time": Call((24,), "call('unshare', 0x0e000080)"),
    "setns": Call((24,), "call('setns', os.open('/proc/self/ns/net', os.O_RDONLY), 0)"),
    "setns of init": Call((24,), "call('setns', os.open('/proc/1/ns/mnt', os.O_RDONLY), 0)", REFUSED | {"EACCES"}),
    "clone user": Call((51,), "cloned('clone', USER | signal.SIGCHLD, 0, 0, 0, 0)"),
    "clone user and mounts": Call((51,), "cloned('clone', USER | MOUNTS | signal.SIGCHLD, 0, 0, 0, 0)"),
    "clone mounts": Call((51,), "cloned('clone', MOUNTS | signal.SIGCHLD, 0, 0, 0, 0)"),
    "clone3 user": Call((24, 51), "cloned('clone3', struct.pack('8Q', USER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)"),
    "mount": Call((25,), "call('mount', b'none', b'/tmp/input', b'tmpfs', 0, 0)"),
    "mount in a namespace of its own": Call(
        (25,), "call('unshare', USER | MOUNTS) or call('mount', b'none', b'/tmp/input', b'tmpfs', 0, 0)"
    ),
    "bind": Call((25,), "call('mount', b'/usr', b'/tmp/input', 0, 4096, 0)"),
    "remount": Call((25,), "call('mount', b'none', b'/', 0, 0x1020, 0)"),
    "umount": Call((25,), "call('umount2', b'/tmp/input', 2)"),
    "pivot_root": Call((25,), "call('pivot_root', b'/tmp', b'/tmp/input')"),
    "chroot": Call((25,), "call('chroot', b'/tmp')"),
    "fsopen": Call((25,), "call('fsopen', b'tmpfs', 0)"),
    "fspick": Call((25,), "call('fspick', -100, b'/tmp', 0)"),
    "open_tree": Call((25,), "call('open_tree', -100, b'/usr', 1)"),
    "move_mount": Call((25,), "call('move_mount', -100, b'/usr', -100, b'/tmp/input', 0)"),
    "mount_setattr": Call((25,), "call('mount_setattr', -100, b'/usr', 0, bytes(32), 32)"),
    "io_uring_setup": Call((26,), "call('io_uring_setup', 4, ctypes.create_string_buffer(120))"),
    "bpf": Call((27,), "call('bpf', 0, struct.pack('5I', 2, 4, 4, 1, 0) + bytes(52), 72)"),
    "perf_event_open": Call(
        (27,),
        "call('perf_event_open', struct.pack('2I5Q', 1, 64, 0, 0, 0, 0, 96) + bytes(16), 0, -1, -1, 0)",
        REFUSED | {"EACCES"},
    ),
    "keyctl": Call((27,), "call('keyctl', 0, -4, 1)"),
    "keyctl of the session": Call((27,), "call('keyctl', 0, -3, 0)"),
    "add_key": Call((27,), "call('add_key', b'user', b'name', b'x', 1, -2)"),
    "request_key": Call((27,), "call('request_key', b'user', b'name', 0, -2)"),
    "userfaultfd": Call((27,), "call('userfaultfd', 1)"),
    "personality": Call((27,), "call('personality', 0x0040000)"),
    "pidfd_getfd": Call((23,), "call('pidfd_getfd', os.pidfd_open(os.getppid()), 1, 0)"),
    "TIOCSTI": Call((28,), "typed('/dev/tty')", REFUSED | {"ENXIO", "ENOTTY", "EIO", "ENOENT", "EACCES"}),
    "TIOCSTI of stdin": Call((28,), "typed('/dev/stdin')", REFUSED | {"ENXIO", "ENOTTY", "EIO", "ENOENT", "EACCES"}),
    "x32": Call((50,), "call('x32')", FOREIGN),
    "int 0x80": Call((50,), "int_0x80()", FOREIGN),
    "iopl": Call((31,), "call('iopl', 3)"),
    "ioperm": Call((31,), "call('ioperm', 0x80, 1, 1)"),
    "init_module": Call((), "call('init_module', 0, 0, b'')"),
    "finit_module": Call((), "call('finit_module', -1, b'', 0)"),
    "delete_module": Call((), "call('delete_module', b'no_such_module', 0)"),
    "kexec_load": Call((), "call('kexec_load', 0, 1 << 20, 0, 0)"),
    "swapon": Call((), "call('swapon', b'/none', 0)"),
    "acct": Call((), "call('acct', b'/none')"),
    "syslog": Call((47,), "call('syslog', 3, ctypes.create_string_buffer(4096), 4096)"),
    "settimeofday": Call((), "call('settimeofday', 0, 0)"),
    "sethostname": Call((), "call('sethostname', b'x', 1)"),
    "reboot": Call((), "call('reboot', 0, 0, 0, 0)"),
    "open_by_handle_at": Call((), "call('open_by_handle_at', -100, struct.pack('Ii', 8, 1) + bytes(8), 0)"),
    "real time": Call((), "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or 0"),
    "setuid": Call((), "os.setresuid(0, 0, 0) or 0", REFUSED | {"EINVAL"}),
    "setgid": Call((), "os.setresgid(0, 0, 0) or 0", REFUSED | {"EINVAL"}),
    "setgroups": Call((), "os.setgroups([0]) or 0", REFUSED | {"EINVAL"}),
    "chown": Call((), "os.chown('/tmp/input', 0, 0) or 0", REFUSED | {"EINVAL"}),
    "mknod": Call((34,), "os.mknod('/tmp/input/disk', 0o60666, os.makedev(254, 0)) or 0"),
}  # fmt: skip

CALLS_THE_KERNEL = Program(
    tuple(sorted({row for call in CALLS.values() for row in call.rows})),
    """
import ctypes, errno, fcntl, mmap, os, signal, struct
libc = ctypes.CDLL(None, use_errno=True)
USER, MOUNTS = 0x10000000, 0x00020000
numbers = {name: pair[os.uname().machine == "aarch64"] for name, pair in @numbers@.items()}
def call(name, *args):
    if numbers[name] is None:
        return errno.ENOSYS
    args = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(numbers[name]), *args) == -1 else 0
def cloned(name, *args):
    before, failed = os.getpid(), call(name, *args)
    if os.getpid() != before: os._exit(0)
    return failed
def typed(path):
    return fcntl.ioctl(os.open(path, os.O_RDWR | os.O_NOCTTY), 0x5412, b"x") and 0
def int_0x80():
    if os.uname().machine != "x86_64":
        return errno.ENOSYS
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(bytes.fromhex("53 b814000000 cd80 5b c3".replace(" ", "")))
    returned = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    return -returned if returned < 0 else 0
for name, expression in @calls@.items():
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try: os._exit(eval(expression))
        except OSError as error: os._exit(error.errno)
        finally: os._exit(255)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    answer = "done" if code == 0 else signal.Signals(-code).name if code < 0 else errno.errorcode.get(code, code)
    print(f"{name}: {answer}")
""",
)

RAISES_LIMITS = Program(
    (),
    NAMED
    + """
import resource
for name in (name for name in dir(resource) if name.startswith("RLIMIT_")):
    number = getattr(resource, name)
    soft, hard = resource.getrlimit(number)
    for wanted in ((-1, -1), (soft, -1), (hard, hard * 2)):
        for pid in (0, 1):
            try: resource.prlimit(pid, number, wanted)
            except (OSError, ValueError, OverflowError): pass
""",
)

# --- resources --------------------------------------------------------------------------------------

FORK_BOMB = Program(
    (11,),
    NAMED
    + """
parent = os.getpid()
for _ in range(10):
    try: os.fork()
    except OSError as error:
        if os.getpid() == parent: print(type(error).__name__)
        break
if os.getpid() != parent:
    time.sleep(20)
    os._exit(0)
time.sleep(0.3)
print("full", flush=True)
time.sleep(1)
os.kill(-1, signal.SIGKILL)
""",
)

THREAD_BOMB = Program(
    (11,),
    NAMED
    + """
threading.stack_size(1 << 16)
gate = threading.Event()
try:
    for _ in range(2000): threading.Thread(target=gate.wait, daemon=True).start()
except RuntimeError as error: sys.stdout.write(f"{type(error).__name__}\\n")
os.write(1, b"full\\n")
time.sleep(1)
gate.set()
""",
)

ALLOCATES = Program((12,), "held = bytearray(3 << 30)")
ALLOCATES_ARRAYS = Program((12,), "import numpy\nheld = [numpy.ones(1 << 24) for _ in range(24)]")

TREES = each(
    (13,),
    {
        "children": """
for _ in range(6):
    if os.fork() == 0:
        held = b"x" * (200 << 20)
        time.sleep(5)
        os._exit(0)
""",
        "daemons": """
for _ in range(6):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            held = b"x" * (200 << 20)
            time.sleep(5)
        os._exit(0)
""",
        "a crowd before": """
for _ in range(60):
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
time.sleep(0.3)
for _ in range(8):
    if os.fork() == 0:
        held = b"x" * (200 << 20)
        time.sleep(5)
        os._exit(0)
""",
        "programs": """
import subprocess
hog = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {@mark@!r}.encode()); held = b'x' * (300 << 20); time.sleep(5)"
hogs = [subprocess.Popen([sys.executable, "-S", "-c", hog]) for _ in range(4)]
""",
        "shared memory": """
import mmap
held = mmap.mmap(-1, 1500 << 20)
for at in range(0, len(held), 1 << 20): held[at:at + (1 << 20)] = bytes(1 << 20)
""",
    },
    before=NAMED,
    after="time.sleep(2)",
)

# Between two runs.
TAKES_MEMORY_LATER = Program(
    (13, 43),
    NAMED
    + """
for _ in range(6):
    if os.fork() == 0:
        time.sleep(0.5)
        held = b"x" * (200 << 20)
        time.sleep(2)
        os._exit(0)
""",
)

HIDES_MEMORY = each(
    (13,),
    {
        "memfd": """
held = []
for _ in range(6):
    held.append(os.memfd_create("held"))
    for _ in range(200): os.write(held[-1], bytes(1 << 20))
""",
        "system v": """
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
for _ in range(6):
    id = libc.shmget(0, ctypes.c_size_t(200 << 20), 0o1600)
    if id == -1: raise OSError(ctypes.get_errno(), "shmget")
    at = libc.shmat(id, None, 0)
    ctypes.memset(at, 1, 200 << 20)
    libc.shmdt(ctypes.c_void_p(at))
""",
        "page tables": """
import mmap
held = mmap.mmap(-1, 400 << 30, flags=mmap.MAP_PRIVATE | 0x4000, prot=mmap.PROT_READ)
for at in range(0, len(held), 2 << 20): held[at]
""",
        "socket buffers": """
held = []
def fill():
    for _ in range(480):
        try: pair = socket.socketpair()
        except OSError: return
        held.append(pair)
        pair[0].setblocking(False)
        try:
            while True: pair[0].send(bytes(1 << 15))
        except BlockingIOError: pass
for _ in range(12):
    if os.fork() == 0:
        fill()
        time.sleep(5)
        os._exit(0)
""",
    },
    before=NAMED,
    after="time.sleep(2)",
)

# What the kernel counts for a user, or for all of the machine. Each takes one, or raises.
COUNTED = {
    "inotify": "libc.inotify_init1(0)",
    "message queues": "libc.mq_open(b'/%d' % time.monotonic_ns(), os.O_CREAT | os.O_RDWR, 0o600, 0)",
    "terminals": "os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)",
    "timers": "libc.timer_create(1, None, ctypes.byref(ctypes.c_void_p()))",
    "locked memory": "libc.mlock(ctypes.c_void_p(ctypes.addressof(page) + (n << 16)), 1 << 16)",
}
TAKE = """
import ctypes, errno, mmap, os, time
libc = ctypes.CDLL(None, use_errno=True)
page = ctypes.c_char.from_buffer(mmap.mmap(-1, 64 << 20))
def taken(most):
    for n in range(most):
        try:
            if @take@ == -1: return errno.errorcode[ctypes.get_errno()]
        except OSError as error: return errno.errorcode[error.errno]
    return "done"
"""
TAKES_ALL = each(
    (),
    {name: TAKE.replace("@take@", take) for name, take in COUNTED.items()},
    before=NAMED,
    after="""
for _ in range(4):
    if os.fork() == 0:
        taken(20_000)
        time.sleep(10)
        os._exit(0)
taken(20_000)
time.sleep(0.3)
print("full", flush=True)
time.sleep(0.7)
""",
)
TAKES_ONE = each(
    (),
    {name: TAKE.replace("@take@", take) for name, take in COUNTED.items()},
    after="""
child = os.fork()
if child == 0:
    answer = taken(1)
    os.write(1, answer.encode())
    os._exit(0)
os.waitpid(child, 0)
""",
)

BIG_FILE = Program(
    (14,),
    """
import errno, os
for folder in ("/tmp", "/tmp/output", "/dev/shm"):
    path = f"{folder}/big"
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(1000): file.write(bytes(1 << 20))
        print("done")
    except OSError as error: print(errno.errorcode[error.errno], os.path.getsize(path) >> 20)
    finally: os.unlink(path)
""",
)

MANY_FILES = Program(
    (15, 16),
    """
import errno, os
for folder in ("/tmp", "/dev/shm"):
    made = 0
    try:
        for made in range(400): open(f"{folder}/many{made}", "wb", buffering=0).write(bytes(1 << 20))
        print("done")
    except OSError as error: print(errno.errorcode[error.errno], made)
    finally:
        for i in range(made + 1): os.unlink(f"{folder}/many{i}")
""",
)

MANY_INODES = Program(
    (15,),
    NAMED
    + """
for folder in ("/tmp", "/dev/shm"):
    try:
        for i in range(300_000): os.mknod(f"{folder}/{i}")
        print("done")
    except OSError as error: print(errno.errorcode[error.errno])
""",
)

SPARSE_FILE = Program(
    (17,),
    """
import errno, os
for folder in ("/tmp/output", "/dev/shm"):
    path = f"{folder}/sparse"
    try: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40); print("done")
    except OSError as error: print(errno.errorcode[error.errno])
    finally: os.unlink(path)
try: os.truncate(os.memfd_create("sparse"), 1 << 40); print("done")
except OSError as error: print(errno.errorcode[error.errno])
""",
)

MANY_DESCRIPTORS = Program(
    (),
    """
import errno, os
held = []
try:
    for _ in range(5000): held.append(os.open("/dev/null", os.O_RDONLY))
    print("done")
except OSError as error: print(errno.errorcode[error.errno], len(held))
finally:
    for fd in held: os.close(fd)
""",
)

PRINTS_FOR_EVER = Program((20,), "import os\nos.write(1, b'begin\\n')\nwhile True: os.write(1, b'x' * 65535 + b'\\n')")
PRINTS_MUCH = Program((20,), "print('begin')\nfor _ in range(100): print('x' * (1 << 20))\nprint('end')")

LONG_LINE = Program(
    (39,),
    """
import os
os.write(1, b"begin")
for _ in range(100): os.write(1, b"\\xff\\xfe\\0\\x1b]0;title\\x07" * (1 << 16) + b"\\xe2\\x82")
print("y" * (50 << 20) + "end", end="")
""",
)

RECURSES = Program((36,), "def f(): return f()\nf()")
RECURSES_FAR = Program((36,), "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n): return [f(n + 1)]\nf(0)")
RECURSES_IN_C = Program(
    (36,), "import sys\nsys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 6): x = [x]\nrepr(x);"
)

CRASHES = each(
    (37, 44),
    {
        "segfault": "import ctypes; ctypes.string_at(0)",
        "abort": "import os; os.abort()",
        "exit": "import os; os._exit(0)",
        "exit of C": "import ctypes; ctypes.CDLL(None).exit(0)",
        "stack": "import ctypes, sys; sys.setrecursionlimit(10**9); f = ctypes.CFUNCTYPE(None)(lambda: f()); f()",
    },
)

ZLIB_BOMB = Program(
    (38,),
    """
import zlib
packer = zlib.compressobj(1, zlib.DEFLATED, -15)
block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
zlib.decompress(block * 2048, -15);
""",
)

# --- protocol ---------------------------------------------------------------------------------------

FORGE = """
import json, os, socket, struct, sys, threading, time
def link(fd):
    try: return os.readlink(f"/proc/self/fd/{fd}")
    except OSError: return ""
screens = {link(1), link(2)}
channels = [fd for fd in map(int, os.listdir("/proc/self/fd")) if link(fd)[:5] in ("pipe:", "socke")]
channels = [fd for fd in channels if fd > 2 and link(fd) not in screens]
def say(data):
    for fd in channels:
        try:
            rest = data
            while rest: rest = rest[os.write(fd, rest):]
        except OSError: pass
def frame(body=b"", **head):
    text = json.dumps(head).encode()
    return struct.pack("!II", len(text), len(body)) + text + body
def shown(mime="a/b", is_json=False, size=1, body=b"x", metadata={}, run=1, type="display"):
    head = {"type": type, "run": run, "kind": "display_data", "display_id": "d", "metadata": metadata}
    return frame(body, **head, parts=[(mime, is_json, size)])
RUNS = range(1000)
"""

# Each is no frame at all, and ends the run that sent it.
NO_FRAMES = each(
    (41, 42),
    {
        "garbage": "say(b'garbage' * 1000)",
        "giant head": "say(struct.pack('!II', 2 ** 32 - 1, 0))",
        "giant body": "say(struct.pack('!II', 10, 2 ** 32 - 1))",
        "empty head": "say(struct.pack('!II', 0, 0))",
        "no object": "say(struct.pack('!II', 4, 0) + b'1234')",
        "deep head": "say(struct.pack('!II', 1 << 19, 0) + b'[' * (1 << 19))",
        "deep value": "say(shown(is_json=True, size=10000, body=b'[' * 5000 + b']' * 5000))",
        "huge number": "say(struct.pack('!II', 1 << 18, 0) + b'1' * (1 << 18))",
        "input request": "say(frame(type='input_request', run=1, prompt='password', password=True))",
        "comm": "say(frame(type='comm_open', run=1, target_name='jupyter.widget', data={}))",
        "reply": "say(frame(type='execute_reply', run=1, payload=[{'source': 'set_next_input', 'text': 'rm -rf'}]))",
        "second begin": "say(b''.join(frame(type='begin', run=run) for run in RUNS for _ in (1, 2)))",
        "refused": "say(b''.join(frame(type='refused', run=run) for run in RUNS))",
        "negative part": "say(shown(size=-1))",
        "part that is no JSON": "say(shown(is_json=True, body=b'{'))",
        "part without a name": "say(shown(mime=None))",
        "metadata that is none": "say(shown(metadata=[]))",
        "stream of a third kind": "say(frame(b'x', type='stream', run=1, name='stdin'))",
        "text that is no status": "say(frame(type='done', run=1, status='ok', exit_status='0'))",
        "file above": "say(frame(b'x', type='file', run=1, name='../' + @mark@, more=False))",
        "file at the root": "say(frame(b'x', type='file', run=1, name='/tmp/' + @mark@, more=False))",
        "file of no name": "say(frame(b'x', type='file', run=1, name='..', more=False))",
        "file of 300 characters": "say(frame(b'x', type='file', run=1, name='x' * 300, more=False))",
        "file in pieces too large": "say(frame(bytes(5 << 20), type='file', run=1, name='x', more=False))",
        "all descriptors closed": "os.closerange(0, 1 << 16)",
        "all descriptors elsewhere": "null = os.open('/dev/null', os.O_RDWR)\nfor fd in channels: os.dup2(null, fd)",
    },
    before=NAMED + FORGE,
    after="\ntime.sleep(30)",
)

HALF_A_FRAME = Program((42,), FORGE + "say(struct.pack('!II', 100, 100) + b'{')\ntime.sleep(30)")

FORGES_THE_END = Program(
    (42,),
    NAMED
    + FORGE
    + """
say(b"".join(frame(type="done", run=run, status="ok", exit_status=0) for run in RUNS))
time.sleep(30)
""",
)

FORGES_THE_END_AND_WRITES_ON = Program(
    (42, 44),
    NAMED
    + FORGE
    + """
os.fork()
os.fork()
say(b"".join(frame(type="done", run=run, status="ok", exit_status=0) for run in RUNS))
end = time.monotonic() + 20
while time.monotonic() < end: os.write(1, b"x" * 4096), os.write(2, b"y" * 4096)
os._exit(0)
""",
)

# The runs of a container have numbers, and the first has 1.
FORGES_OTHER_RUNS = Program(
    (42,),
    FORGE
    + """
for run in (None, "1", 1.5, [1], 0, -1, *range(2, 50)):
    say(frame(b"forged", type="stream", run=run, name="stdout"))
    say(frame(type="done", run=run, status="ok", exit_status=0))
time.sleep(0.2)
print("honest")
1 / 0
""",
)

FAKES_SUCCESS = Program(
    (45,),
    FORGE
    + """
print(json.dumps({"type": "done", "run": 1, "status": "ok", "exit_status": 0}))
os.write(1, frame(type="done", run=1, status="ok", exit_status=0))
os.write(2, frame(type="done", run=1, status="ok", exit_status=0))
sys.__stdout__.write("Verdict(outcome='ok')\\n")
raise SystemExit(3)
""",
)

PATCHES = each(
    (44,),
    {
        "sys.stdout": "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = None\n1 / 0",
        "print": "import builtins\nbuiltins.print = builtins.len = builtins.str = lambda *a, **k: 1 / 0\n1 / 0",
        "json.dumps": "import json\njson.dumps = lambda *a, **k: '{}'\n1 / 0",
        "json.dumps that raises": "import json\ndef dumps(*a, **k): raise KeyboardInterrupt\njson.dumps = dumps\n1 / 0",
        "os.write": "import os, socket\nos.write = lambda fd, data: len(data)\nos._exit = lambda status: None\n1 / 0",
        "the shell": "ip = get_ipython()\nip.run_cell = ip.showtraceback = ip.transform_cell = None\n1 / 0",
        "frames": "import sys\nfor name in list(sys.modules): sys.modules[name] = None\n1 / 0",
        "locks": "import sys, threading as t\nt.RLock = t.Lock = None\nsys.settrace(lambda *a: 1 / 0)\n1 / 0",
        "descriptors": """
import os
for fd in range(1, 10):
    try: os.set_blocking(fd, False)
    except OSError: pass
print("x" * (8 << 20))
1 / 0
""",
    },
)

ASKS = Program(
    (41,),
    """
ip = get_ipython()
ip.set_next_input("import os; os.system('id')")
ip.set_next_input("replaced", replace=True)
ip.payload_manager.write_payload({"source": "edit_magic", "filename": "/etc/passwd", "line_number": 1})
ip.payload_manager.write_payload({"source": "page", "data": {"text/html": "<script>1</script>"}})
import getpass
for ask in (input, getpass.getpass):
    try: print("answered", ask("password: "))
    except (EOFError, OSError, RuntimeError, NotImplementedError): pass
print("end")
""",
)

FLOODS = each(
    (41,),
    {
        "streams": "flood = frame(b'x', type='stream', run=run, name='stdout')",
        "clears": "flood = frame(type='clear', run=run, wait=False)",
        "updates": "flood = shown(type='update', run=run)",
        "errors": "flood = frame(type='error', run=run, ename='E', evalue='', traceback=[])",
        "files": "flood = frame(type='file', run=run, name='f', more=True)",
        "frames of others": "flood = frame(b'x' * 1000, type='stream', run=-1, name='stdout')",
    },
    before=FORGE + "run = 1\n",
    after=" * 1000\nfor _ in range(10): say(flood)\nprint('end')",
)

BIG_DISPLAYS = Program(
    (41,), "for i in range(4): display({'text/plain': str(i), 'a/b': 'x' * (30 << 20)}, raw=True)\nprint('end')"
)

STRANGE_VALUES = Program(
    (41,),
    FORGE
    + """
for raw in (b"1e999", b"-1e999", b"NaN", b"[Infinity]", b'"\\\\ud800"', b"1" * 4000, b"[1e999]"):
    say(shown("application/json", True, len(raw), raw))
for mime in ("", "\\ud800", "a" * 10000, "text/plain\\r\\nX: y", "__proto__", "constructor"):
    say(shown(mime, False, 2, b"\\xff\\0", {mime: mime}))
say(frame(b"x", type="stream", run=1, name="stdout"))
say(frame(type="error", run=1, ename="\\ud800", evalue="\\x1b]0;t\\x07", traceback=["\\0", "\\x1b]52;c;QQ==\\x07"]))
print("end")
""",
)

PRINTS_LATE = each(
    (43,),
    {
        "a thread": """
def late():
    for _ in range(500):
        print("late")
        time.sleep(0.001)
threading.Thread(target=late, daemon=True).start()
""",
        "a thread's bytes": """
def late():
    for _ in range(500):
        os.write(1, b"late")
        time.sleep(0.001)
threading.Thread(target=late, daemon=True).start()
""",
        "a process": """
if os.fork() == 0:
    for _ in range(500):
        os.write(1, b"late")
        time.sleep(0.001)
    os._exit(0)
""",
        "a program": """
import subprocess
subprocess.Popen(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 0.05; echo late; done"], start_new_session=True)
""",
        "atexit": """
import atexit, weakref
atexit.register(print, "late")
atexit.register(os.write, 1, b"late")
weakref.finalize(atexit, print, "late")
""",
        "the interpreter's own hooks": """
get_ipython().events.register("post_execute", lambda: threading.Timer(0.01, print, ("late",)).start())
get_ipython().events.register("post_run_cell", lambda _: threading.Timer(0.02, os.write, (1, b"late")).start())
""",
        "forged frames": """
def late():
    for _ in range(20):
        say(b"".join(frame(b"late", type="stream", run=run, name="stdout") for run in range(2, 5)))
        time.sleep(0.01)
threading.Thread(target=late, daemon=True).start()
""",
    },
    before=FORGE,
)

# --- display ----------------------------------------------------------------------------------------

SHOWS_PICKLES = Program(
    (46,),
    """
import os, pickle
class Trap:
    def __reduce__(self): return os.mkdir, (@path@,)
raw = pickle.dumps(Trap())
display({"application/python-pickle": raw, "application/x-pickle": raw, "text/plain": raw.decode("latin-1")}, raw=True)
reduced = {"py/reduce": [{"py/function": "os.mkdir"}, [@path@]]}
display({"text/plain": "text", "application/json": reduced}, raw=True)
for name in ("trap.pkl", "trap.npy", "trap.joblib"): open(os.path.join(os.environ["OUTPUT_DIR"], name), "wb").write(raw)
""",
)

# What each bundle must not have become, once it was made fit to be shown.
SHOWS_SCRIPTS = Program(
    (40,),
    """
import struct, zlib
def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND")
svg = '''<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script>
<image href="http://192.0.2.1/x"/><foreignObject><iframe src="/"/></foreignObject></svg>'''
html = '''<p>text</p><script>fetch("/api/contents")</script><img src=x onerror="fetch('/api')">
<iframe src="/lab"></iframe><a href="javascript:alert(1)">a</a><link rel=stylesheet href=//192.0.2.1>
<form action="/api/shutdown" method="post"><input type="submit"></form><object data="/x"></object>
<svg onload=alert(1)><circle/></svg><meta http-equiv=refresh content="0;url=http://192.0.2.1">
<div style="background:url(http://192.0.2.1)">d</div>'''
display({"image/png": png(60000, 60000)}, raw=True)
display({"image/png": png(1, 2 ** 31 - 1)}, raw=True)
display({"image/png": b"no png", "text/plain": "no png"}, raw=True)
display({"image/svg+xml": svg}, raw=True)
display({"text/html": html}, raw=True)
display({"text/html": html + "<style>@import url(http://192.0.2.1/x)</style>"}, raw=True)
display({"text/html": "<div>" * 100_000 + "<script>fetch('/')</script>"}, raw=True)
display({"application/javascript": "fetch('/api')"}, raw=True)
display({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}, raw=True)
display({"text/markdown": "<script>fetch('/')</script> [a](javascript:alert(1)) ![x](http://192.0.2.1/x)"}, raw=True)
display({"text/latex": "$\\\\href{javascript:alert(1)}{x}$"}, raw=True)
display({"application/vnd.jupyterlab.extension+json": {}, "application/x-sh": "id", "text/vnd.mermaid": "x"}, raw=True)
""",
)

# --- artifacts --------------------------------------------------------------------------------------

LEAVES_LINKS = Program(
    (34,),
    """
import os, socket, stat
os.chdir(os.environ["OUTPUT_DIR"])
def attempt(act, *args):
    try: act(*args)
    except OSError: pass
targets = (*@files@, "/etc/passwd", "/etc/shadow", "/", "/proc/self/environ", "/proc/1/environ", ".", "..", "loop")
for i, target in enumerate(targets): os.symlink(target, f"link{i}")
os.symlink("loop", "loop")
os.mkfifo("fifo")
attempt(os.mknod, "disk", stat.S_IFBLK | 0o666, os.makedev(254, 0))
attempt(os.mknod, "memory", stat.S_IFCHR | 0o666, os.makedev(1, 1))
for i, target in enumerate(("/etc/passwd", "/usr/bin/env", "/proc/self/environ", "/run/codeinterp/runner.py")):
    attempt(os.link, target, f"hard{i}")
heard = socket.socket(socket.AF_UNIX)
heard.bind("socket")
os.mkdir("folder")
open("folder/inner", "w").close()
attempt(os.truncate, os.open("sparse", os.O_CREAT | os.O_WRONLY), 1 << 40)
attempt(os.unlink, "sparse")
open("mine", "w").write("mine")
os.link("mine", "mine too")
open("unreadable", "w").write("mine")
os.chmod("unreadable", 0)
os.chdir(os.environ["INPUT_DIR"])
""",
)

CLEARS_OUTPUT = """
import os, shutil
for entry in os.scandir("/tmp/output"): (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry)
"""

STRANGE_NAMES = (
    "new\nline", "tab\ttab", "tab_tab", "\x1b]0;title\x07", "\x1b[31mred", "x" * 255, "ü" * 127, "-rf", "~", ".bashrc",
    "a\\b", "con", " ", "...", "right\u202eleft", "\u2028", "\u2029", "$(id)", "`id`", "a;b", "'\"", "\udcff",
    "index.html", "%2e%2e%2f", "C:", "\u0085", "e\u0301", "\u00e9",
)  # fmt: skip

LEAVES_NAMES = Program(
    (34,),
    """
import os
os.chdir(os.environ["OUTPUT_DIR"])
for i, name in enumerate(@names@): open(name, "wb").write(b"%d" % i)
for name in ("x" * 300, "a/b", "../" + @mark@, "../../" + @mark@):
    try: open(name, "wb").write(b"x")
    except OSError: pass
os.chdir(os.environ["INPUT_DIR"])
""",
)

LEAVES_MANY = Program(
    (34,),
    """
import os
os.chdir(os.environ["OUTPUT_DIR"])
for i in range(5000): open(f"{i}", "w").close()
os.chdir(os.environ["INPUT_DIR"])
""",
)

LEAVES_SPARSE = Program(
    (17, 34),
    """
import os
for i in range(5): os.truncate(os.open(f"/tmp/output/{i}", os.O_CREAT | os.O_WRONLY), 90 << 20)
""",
)

LEAVES_A_BOMB = Program(
    (38,),
    """
import os, zipfile, zlib
packer = zlib.compressobj(1)
with zipfile.ZipFile("/tmp/output/bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
    for name in ("../../" + @mark@, "/tmp/" + @mark@, "inner"): bomb.writestr(name, bytes(32 << 20))
print(os.path.getsize("/tmp/output/bomb.zip"))
""",
)

RACE = """
def race():
    end = time.monotonic() + 1.5
    while time.monotonic() < end: swap()
swap()
threading.Thread(target=race, daemon=True).start()
time.sleep(0.05)
"""
RACES = each(
    (49,),
    {
        "links": """
def swap():
    for target in (*@files@, "/etc/passwd", "/proc/self/environ"):
        os.symlink(target, "/tmp/swapped")
        os.replace("/tmp/swapped", "/tmp/output/racing")
    with open("/tmp/swapped", "wb") as file: file.write(b"mine")
    os.replace("/tmp/swapped", "/tmp/output/racing")
""",
        "pipes": """
def swap():
    os.mkfifo("/tmp/swapped")
    os.replace("/tmp/swapped", "/tmp/output/racing")
    with open("/tmp/swapped", "wb") as file: file.write(b"mine")
    os.replace("/tmp/swapped", "/tmp/output/racing")
""",
        "sizes": """
def swap():
    with open("/tmp/output/racing", "wb") as file:
        for size in (0, 90 << 20, 1, 50 << 20): os.truncate(file.fileno(), size)
""",
    },
    before="import os, threading, time\n",
    after=RACE,
)
REPLACES_THE_FOLDER = Program(
    (34, 49),
    """
import os, shutil
shutil.rmtree("/tmp/output", ignore_errors=True)
for act in (lambda: os.rename("/tmp/output", "/tmp/output.old"), lambda: os.symlink(@target@, "/tmp/output")):
    try: act()
    except OSError: pass
""",
)

# --- other languages --------------------------------------------------------------------------------

OTHER_LANGUAGES = {
    "r": """
cat("started\\n")
for (act in list(function() system(paste("id; cat", @file@), intern=TRUE), function() Sys.getenv(),
                 function() readLines(@file@), function() writeLines("x", @written@), function() list.files("/root"),
                 function() socketConnection("127.0.0.1", port=@port@, timeout=1, open="r+b"),
                 function() download.file(paste0("http://127.0.0.1:", @port@), "/tmp/x", quiet=TRUE)))
    print(try(act(), silent=TRUE))
""",
    "node": """
console.log("started")
const cp = require("child_process"), fs = require("fs"), net = require("net")
for (const act of [() => cp.execSync("id; cat " + @file@ + "; true"), () => fs.readFileSync(@file@),
                   () => process.binding("fs").internalModuleReadJSON(@file@), () => fs.writeFileSync(@written@, "x"),
                   () => process.setuid(0), () => process.dlopen({exports: {}}, @file@), () => process.env])
    try { console.log(String(act()), JSON.stringify(act())) } catch (error) { console.log(error.code) }
net.connect(@port@, "127.0.0.1").on("error", error => console.log(error.code)).unref()
""",
    "bash": """
echo started; id; cat @file@; echo x > @written@; (exec 3<>/dev/tcp/127.0.0.1/@port@); env; ls /root
cat /proc/*/environ | tr "\\0" "\\n"
""",
    "perl": """
print "started\\n"; open(F, "<", @file@) and print <F>; open(G, ">", @written@) and print G "x";
socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in(@port@, inet_aton("127.0.0.1"))) and print "connected";
$> = 0; print "uid=$>($>)\\n"; print %ENV
""",
}
# As programs that Python starts.
COMMANDS = {"r": ("Rscript", "-e"), "node": ("node", "-e"), "bash": ("bash", "-c"), "perl": ("perl", "-MSocket", "-e")}

SPEAKS_ANOTHER_LANGUAGE = Program(
    (52,),
    """
import subprocess
ran = subprocess.run(@command@, capture_output=True, text=True, errors="replace", timeout=30, stdin=subprocess.DEVNULL)
print(ran.stdout, ran.stderr)
""",
)

# Of a container that runs the language itself: what it can reach of the channel.
SPEAKS_TO_THE_CHANNEL = {
    "bash": Program((52,), "for fd in /proc/[0-9]*/fd/*; do timeout 1 head -c 1000 /dev/urandom > $fd; done; sleep 2"),
    "node": Program(
        (52,),
        """
const fs = require("fs")
for (const fd of fs.readdirSync("/proc/self/fd"))
    if (fd > 2 && /^(pipe|socket)/.test((() => { try { return fs.readlinkSync("/proc/self/fd/" + fd) } catch { } })()))
        try { fs.writeSync(Number(fd), "garbage".repeat(100)) } catch (error) { }
for (const end = Date.now() + 2000; Date.now() < end;);
""",
    ),
}
