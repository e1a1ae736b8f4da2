"""The view from inside: what of this machine's files the code may see, as arguments for bubblewrap."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ipy_codeinterp.sandbox import filter
from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.scratch import Scratch

INSIDE = Path(__file__).with_name("inside")
HOUSE = "/run/codeinterp"  # where what is ours lies
FONTS = "/tmp/.config/matplotlib"
FILLING = f"{HOUSE}/filling"
PACKAGES = f"{HOUSE}/packages"
INPUT = "/tmp/input"
OUTPUT = "/tmp/output"
COVERED = ("/tmp", "/dev/shm")
# Where distributions keep the certificates that everybody may read.
CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted")
READ_ONLY = ("--remount-ro", "/dev", "--remount-ro", "/")
INLINE = "module://matplotlib_inline.backend_inline"
# A library that starts a thread per core would spend the memory limit on their stacks before it computes.
THREADS = str(min(os.cpu_count() or 1, 4))


def system() -> list[str]:
    mounts = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            mounts += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            mounts += ["--ro-bind", name, name]
    return [*mounts, "--dev", "/dev"]


def etc(scratch: Scratch) -> list[str]:
    """Of /etc only what programs fail without; who lives on this machine is not among it."""
    mounts = ["--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/var/cache/fontconfig", "/var/cache/fontconfig"]
    for name in ("ld.so.cache", "localtime", "fonts", "alternatives", "R"):
        mounts += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ("passwd", "group", "nsswitch.conf"):
        mounts += ["--ro-bind", str(scratch.stub(name)), f"/etc/{name}"]
    return mounts


def tmpfs(tmp: int, shm: int) -> list[str]:
    """What can be written; sizes in bytes."""
    mounts = ["--perms", "1777", "--size", str(shm), "--tmpfs", "/dev/shm"]
    mounts += ["--perms", "1777", "--size", str(tmp), "--tmpfs", "/tmp"]
    folders = (INPUT, OUTPUT, str(Path(FONTS).parent), FONTS)
    return [*mounts, *(arg for folder in folders for arg in ("--perms", "0777", "--dir", folder))]


def of_environment(environment: Environment, scratch: Scratch) -> list[str]:
    mounts: list[str] = []
    for prefix in environment.prefixes:
        mounts += [*parents(prefix), "--ro-bind", str(prefix), str(prefix)]
    for secret in environment.secrets:
        mounts += ["--ro-bind", str(scratch.stub("empty")), str(secret)]
    for folder in ("/run", HOUSE):
        mounts += ["--perms", "0755", "--dir", folder]
    mounts += ["--ro-bind", str(INSIDE), f"{HOUSE}/inside"]
    mounts += [arg for place, aside in hidden(environment).items() for arg in ("--ro-bind", place, aside)]
    if program := filter.path():
        mounts += ["--ro-bind", str(program), f"{HOUSE}/filter.bpf"]
    return mounts


def of_folders(folders: Iterable[Path]) -> list[str]:
    """Folders of the user's, read-only, where they lie on this machine."""
    return [arg for folder in folders for arg in (*parents(folder), "--ro-bind", str(folder), str(folder))]


def of_packages(folder: Path | None) -> list[str]:
    """Packages that were installed for a run, before those of the environment."""
    return ["--ro-bind", str(folder), PACKAGES, "--setenv", "PYTHONPATH", PACKAGES] if folder else []


def of_network(scratch: Scratch) -> list[str]:
    """What programs look for before they speak to anybody: a resolver, names of ports, whom to trust."""
    mounts: list[str] = []
    for name in ("hosts", "resolv.conf"):
        mounts += ["--ro-bind", str(scratch.stub(name)), f"/etc/{name}"]
    for place in ("/etc/services", *CERTIFICATES):
        mounts += [*parents(Path(place)), "--ro-bind", place, place] if os.path.exists(place) else []
    return mounts


def caches(environment: Environment, scratch: Scratch) -> list[str]:
    """The caches that are there, each where it is looked for and where it can be linked to."""
    mounts: list[str] = []
    for fonts in scratch.fonts(environment):
        for place in (FONTS, HOUSE):
            mounts += ["--ro-bind", str(fonts), f"{place}/{fonts.name}"]
    if bytecode := scratch.bytecode(environment):
        mounts += ["--ro-bind", str(bytecode), f"{HOUSE}/bytecode"]
    return mounts


def links(environment: Environment, scratch: Scratch) -> dict[str, str]:
    """What a child of the zygote, whose /tmp is empty, finds there all the same."""
    return {f"{FONTS}/{fonts.name}": f"{HOUSE}/{fonts.name}" for fonts in scratch.fonts(environment)}


def hidden(environment: Environment) -> dict[str, str]:
    """Prefixes that a /tmp or /dev/shm of its own would hide from a child, by where they lie meanwhile."""
    covered = [p for p in environment.prefixes if any(place in p.parents for place in map(Path, COVERED))]
    return {str(prefix): f"{HOUSE}/prefix-{i}" for i, prefix in enumerate(covered)}


def parents(place: Path) -> list[str]:
    """The folders on the way to `place`: bwrap itself would make them 0700."""
    return [arg for parent in reversed(place.parents[:-1]) for arg in ("--perms", "0755", "--dir", str(parent))]


def variables(environment: Environment, scratch: Scratch) -> dict[str, str]:
    """The whole environment of the code: nothing of the caller's is in it."""
    inside = {"HOME": "/tmp", "TMPDIR": "/tmp", "IPYTHONDIR": "/tmp/.ipython", "MPLCONFIGDIR": FONTS}
    places = {"INPUT_DIR": INPUT, "OUTPUT_DIR": OUTPUT}
    cached = {"PYTHONPYCACHEPREFIX": f"{HOUSE}/bytecode"} if scratch.bytecode(environment) else {}
    return {**common_variables(environment), **inside, **places, **cached}


def common_variables(environment: Environment) -> dict[str, str]:
    path = os.pathsep.join([str(environment.python.parent), "/usr/local/bin", "/usr/bin", "/bin"])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    user = {"PYTHONUSERBASE": str(environment.user_base)} if environment.user_base else {}
    fixed = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}  # forks would share a random one anyway
    pool = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # Arrow's own would reserve all that the memory limit allows
    shown = {"MPLBACKEND": INLINE, "PLOTLY_RENDERER": "plotly_mimetype"}  # else plotly shows 5 MB of scripts at first
    return {"PATH": path, "LANG": "C.UTF-8", **shown, **fixed, **threads, **pool, **user}


def set_variables(variables: dict[str, str]) -> list[str]:
    return [arg for name, value in variables.items() for arg in ("--setenv", name, value)]
