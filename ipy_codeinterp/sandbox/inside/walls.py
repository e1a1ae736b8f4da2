"""The walls around one child: namespaces of its own, a small tmpfs, limits, no capabilities, fewer system calls.

The zygote calls `own_namespaces()` once, and each of its children `enter()` before it touches anything of the user's.
All of it is done with libc through ctypes: Python 3.11 knows few of these calls.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

from . import filter
from .plan import Limits, Plan

GUEST = 65534  # nobody

# From linux/sched.h, sys/mount.h, sys/prctl.h and linux/capability.h.
NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 4, 24, 47, 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
NICENESS = 5  # whoever watches over the code gets the processor before it does
RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE = 11, 12  # Python does not name them everywhere

libc = ctypes.CDLL(None, use_errno=True)


def leave_root(uid: int) -> None:
    """Become `uid`, without any capability, for good; being dumpable lets the process see its own /proc/self."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _drop_held_capabilities()
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def own_namespaces() -> None:
    """Be root's equal in namespaces of our own, then fork: only a child is in the new pid namespace.

    bubblewrap's second user namespace would refuse the mounts and joins that children need. The process that stays
    outside only waits.
    """
    ids = os.getuid(), os.getgid()
    _call("unshare", NEWUSER | NEWPID | NEWNS | NEWIPC | NEWNET | NEWUTS)
    _map_ids(*ids)
    pid = os.fork()
    if pid:
        os.closerange(0, 1024)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def fork_into_pid_namespace(own: int) -> int:
    """Like `os.fork()`, with a child that is the first process of a new namespace; `own` leads back to ours."""
    _call("unshare", NEWPID)
    pid = os.fork()
    if pid:
        _call("setns", own, NEWPID)
    else:
        os.setsid()  # a signal to one's process group knows no namespaces
    return pid


def enter(plan: Plan, proc: int) -> None:
    """Close everything around this process. `proc` leads to the zygote's /proc and is closed on the way."""
    limits = plan.limits
    _call("unshare", NEWNS | NEWIPC | NEWNET | NEWUTS | NEWCGROUP)
    _mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount(
        "devpts",
        "/dev/pts",
        "devpts",
        MS_NOSUID | MS_NOEXEC,
        f"newinstance,ptmxmode=0666,mode=620,max={limits.terminals}",
    )
    _mount_tmpfs("/dev/shm", limits.shm, limits.tmp_files)
    _mount_tmpfs("/tmp", limits.tmp, limits.tmp_files)
    _furnish(plan)
    _call("unshare", NEWUSER)
    _map_ids(GUEST, GUEST, proc)
    for name, most in {"max_user_namespaces": 0, "max_inotify_instances": limits.watches}.items():
        _write(f"sys/user/{name}", str(most), proc)
    os.close(proc)
    set_limits(limits)
    os.nice(NICENESS)
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails beyond the last one this kernel knows
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _drop_held_capabilities()
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if plan.program:
        filter.install(plan.program)


def set_limits(limits: Limits) -> None:
    """After the user namespace: before, all children together would be charged for each other's processes."""
    wanted = {
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_CORE: 0,
        RLIMIT_SIGPENDING: limits.signals,
        RLIMIT_MSGQUEUE: limits.messages,
    }
    for kind, value in wanted.items():
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))


def _furnish(plan: Plan) -> None:
    for place, source in plan.binds.items():
        os.makedirs(place)
        _mount(source, place, "", MS_BIND | MS_REC)
    for name in ("INPUT_DIR", "OUTPUT_DIR", "MPLCONFIGDIR"):
        os.makedirs(os.environ[name])
    for name, target in plan.links.items():
        os.symlink(target, name)
    os.chdir(os.environ["INPUT_DIR"])


def _map_ids(uid: int, gid: int, proc: int | None = None) -> None:
    """Be nobody inside, and outside who we are."""
    _write("self/setgroups", "deny", proc)
    _write("self/uid_map", f"{GUEST} {uid} 1", proc)
    _write("self/gid_map", f"{GUEST} {gid} 1", proc)


def _write(name: str, text: str, proc: int | None) -> None:
    """Into the zygote's /proc where `proc` leads there: the child's own is read-only."""
    fd = os.open(name if proc is not None else f"/proc/{name}", os.O_WRONLY, dir_fd=proc)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _mount_tmpfs(place: str, size: int, files: int) -> None:
    _mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},nr_inodes={files},mode=1777")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def _drop_held_capabilities() -> None:
    _call("capset", struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24))


def _call(name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
