"""What an interpreter is like, asked by running code in it: languages, packages, limits, and whether each wall holds.

Rules of this file:
- Nothing that is asked changes anything, waits long, or sends a packet, even where no wall stands.
- Answers are the words of a stranger: they are checked for type and size when read, and made harmless when shown.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ipy_codeinterp import catalog, languages
from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.errors import NoIsolation, ProviderError, SandboxError, StoreError
from ipy_codeinterp.execution import NOT_ISOLATED, Result
from ipy_codeinterp.languages import LANGUAGES
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.session import Session
from ipy_codeinterp.tables import columns

GROUPS = ("languages", "packages", "limits", "walls")
TIMEOUT = 120.0  # seconds that one cell may take: some packages are slow to import
MOST_ANSWER, MOST_FOUND = 1 << 16, 200  # characters that are read of one cell's answers, and of one of them


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing asked. `ok` is None for what is neither right nor wrong, or could not be asked."""

    group: str
    name: str
    ok: bool | None
    found: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an offer was found to be like, and when. `isolation` is what its results said of themselves."""

    offer: str
    asked: datetime
    isolation: str | None
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether anything is not as it should be; without isolation nothing is expected to hold."""
        expected = ("limits", "walls") if self.isolation == NOT_ISOLATED else ()
        return any(finding.ok is False and finding.group not in expected for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One that there is: its limits (seconds, bytes), the languages installed for it, and what it last said."""

    name: str
    offer: str
    timeout: float
    memory: int
    languages: tuple[str, ...]
    probe: Report | None


# --- what is asked --------------------------------------------------------------------------------

PYTHON = r"""
import ctypes, errno, importlib, json, os, platform, re, resource, site, socket, sys

def say(name, ask):
    try: ok, found = ask()
    except Exception as error: ok, found = None, f"cannot be asked: {type(error).__name__}: {error}"
    print(json.dumps([name, ok, found]), flush=True)

def amount(size):
    return "unlimited" if size == resource.RLIM_INFINITY else f"{size >> 20} MB"

# --- packages and limits

def imports(module):
    try: return True, str(getattr(importlib.import_module(module), "__version__", "imported"))
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module: return None, "not installed"
        return False, f"{type(error).__name__}: {error}"

def allocates(limit):
    if limit >= 4 << 30:
        most, _ = resource.getrlimit(resource.RLIMIT_DATA)
        return None, f"{amount(limit)} are too much to try; RLIMIT_DATA {amount(most)}"
    more = limit + (256 << 20)
    try: bytes(more)  # pages of zeros that nobody touches are never there
    except MemoryError: return True, f"{amount(more)} are refused"
    return False, f"{amount(more)} are given"

def processes():
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most == resource.RLIM_INFINITY: return False, "unlimited"
    return 0 < most <= 4096 and os.getuid() != 0, f"at most {most}"  # what stalls a machine is no limit, nor root's own

def size(folder):
    found = os.statvfs(folder)
    return None, amount(found.f_frsize * found.f_blocks)

# --- walls: what is refused holds

def wall(act, *arguments):
    try: return False, act(*arguments)
    except OSError as error: return True, str(error.strerror or error)

def reads(path):
    os.close(os.open(path, os.O_RDONLY))
    return "can be opened"

def writes(path):
    os.close(os.open(path, os.O_WRONLY))
    return "can be opened for writing"

def creates(folder):
    try: os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))  # a file without a name: it is never seen
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP: raise  # else only this kind of file is refused
    return "files can be made in it"

def home(folder):
    if not folder: return None, "no folder to look for"
    ours = {sys.prefix, sys.base_prefix, sys.exec_prefix, site.getusersitepackages()}
    ours |= set(map(os.path.realpath, ours))
    def strangers(place):
        inner = [f"{place.rstrip('/')}/{name}" for name in os.listdir(place)]
        on_the_way = [path for path in inner if any(each.startswith(f"{path}/") for each in ours)]
        return len(set(inner) - ours - set(on_the_way)) + sum(map(strangers, on_the_way))
    try: seen = strangers(folder)
    except OSError as error: return True, str(error.strerror)
    return not seen, f"{seen} files or folders can be seen" if seen else "only the way to Python's own folders"

def others():
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]

def environs():
    def is_open(pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file: return bool(file.read(1))
        except OSError: return False
    seen = sum(map(is_open, others()))
    return not seen, f"those of {seen} other processes" if seen else "those of no other process"

def visible():
    return len(others()) <= 1, f"{len(others())} besides its own"  # one may be its init

def keys():
    named = sorted(name for name in os.environ if re.search("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", name, re.I))
    return not named, ", ".join(named) or f"none in {len(os.environ)} variables"

NOWHERE, NOWHERE_6 = ("192.0.2.1", 9), ("2001:db8::1", 9)  # addresses that nobody has

def leads(family, address):
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as way: way.connect(address)  # of datagrams this sends none
    except OSError: return False
    return True

def has_way():
    return leads(socket.AF_INET, NOWHERE) or leads(socket.AF_INET6, NOWHERE_6)

def connects():
    if has_way(): return "there is a way out (nothing was sent)"
    socket.create_connection(NOWHERE, timeout=1).close()
    return "connected"

def looks_up():
    if has_way(): return None, "cannot be asked: a packet would leave"
    return wall(lambda: socket.getaddrinfo("example.org", 80) and "found")

def makes(family, kind):
    socket.socket(family, kind).close()
    return "can be made"

NUMBERS = {"x86_64": 0, "aarch64": 1}
CALLS = {
    "unshare": (272, 97), "mount": (165, 40), "ptrace": (101, 117), "keyctl": (250, 219), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
}
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOSPC}  # the last where no namespaces are left to make

def calls(name, *arguments):
    number = CALLS[name][NUMBERS[platform.machine()]]
    arguments = [ctypes.c_long(value) if isinstance(value, int) else value for value in (number, *arguments)]
    pid = os.fork()  # whatever a call changes, it changes of a child that ends at once
    if pid == 0:
        status = 255
        try: status = ctypes.get_errno() if LIBC.syscall(*arguments) == -1 else 0
        finally: os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0: return True, f"the process is ended by signal {-status}"
    if status == 255: return None, "cannot be asked"
    if status in REFUSED: return True, os.strerror(status)
    return False, f"is answered: {os.strerror(status)}" if status else "is allowed"

LIBC = ctypes.CDLL(None, use_errno=True)

def state(field):
    with open("/proc/self/status") as file: return re.search(rf"^{field}:\s*(\S+)", file.read(), re.M)[1]

def is_state(field, wanted):
    return state(field) == wanted, f"{field} {state(field)}"

def capabilities():
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(state(name), 16)]
    return not held, ", ".join(f"{name} {state(name)}" for name in held) or "none"

"""

# Each name, and the Python expression for (ok, found). To ask more, add a row.
PACKAGES = {
    "numpy": "imports('numpy')",
    "pandas": "imports('pandas')",
    "scipy": "imports('scipy')",
    "matplotlib": "imports('matplotlib')",
    "seaborn": "imports('seaborn')",
    "scikit-learn": "imports('sklearn')",
    "tensorflow": "imports('tensorflow')",
}
LIMITS = {
    "processes": "processes()",
    "/tmp": "size('/tmp')",
    "/dev/shm": "size('/dev/shm')",
    "memory": "allocates(MEMORY)",  # last: it may end the cell
}
WALLS = {
    "read /etc/shadow": "wall(reads, '/etc/shadow')",
    "read your home": "home(HOME)",
    "read others' variables": "environs()",
    "see other processes": "visible()",
    "keys in its variables": "keys()",
    "write /usr": "wall(creates, '/usr')",
    "write /etc": "wall(creates, '/etc')",
    "write /proc/sys": "wall(writes, '/proc/sys/kernel/core_pattern')",
    "connect by TCP": "wall(connects)",
    "look up a name": "looks_up()",
    "socket AF_NETLINK": "wall(makes, 16, socket.SOCK_RAW)",
    "socket AF_PACKET": "wall(makes, 17, socket.SOCK_RAW)",
    "socket AF_VSOCK": "wall(makes, 40, socket.SOCK_STREAM)",
    "unshare": "calls('unshare', 0x10000000)",  # CLONE_NEWUSER
    "mount": "calls('mount', b'none', b'/', b'no such file system', 0, None)",
    "ptrace": "calls('ptrace', 0, 0, None, None)",  # PTRACE_TRACEME
    "keyctl": "calls('keyctl', 0, -3, 0)",  # the number of the session's keyring, without making one
    "bpf": "calls('bpf', 9999, None, 0)",  # no such command
    "io_uring_setup": "calls('io_uring_setup', 0, None)",
    "userfaultfd": "calls('userfaultfd', 1)",  # UFFD_USER_MODE_ONLY
    "capabilities": "capabilities()",
    "no new privileges": "is_state('NoNewPrivs', '1')",
    "system call filter": "is_state('Seccomp', '2')",
}
R_PACKAGES = ("evaluate", "ggplot2", "dplyr", "data.table")
R = r"""
say <- function(name, ok, found) cat(sprintf('["%s", %s, "%s"]\n', name, ok, found))
say("r", "true", as.character(getRversion()))
for (name in c(PACKAGES)) {
  loads <- suppressMessages(suppressWarnings(requireNamespace(name, quietly = TRUE)))
  if (loads) say(name, "true", as.character(getNamespaceVersion(name)))
  else if (nzchar(system.file(package = name))) say(name, "false", "does not load")
  else say(name, "null", "not installed")
}
"""
NODE = """console.log(JSON.stringify(["node", true, process.versions.node]))"""
BASH = """printf '["bash", true, "%s"]\\n' "$BASH_VERSION" """


@dataclass(frozen=True, slots=True)
class Cell:
    """Code that prints a line of JSON, [name, ok, found], for each (group, name) that it asks about."""

    language: str
    asks: tuple[tuple[str, str], ...]
    code: str


def cells(offer: Offer) -> Iterator[Cell]:
    """Everything that is asked of `offer`, each cell by itself: one that ends badly takes no other with it."""
    home = str(Path.home()) if offer.provider == catalog.LOCAL else ""  # nobody else needs to know its name
    known = f"MEMORY, HOME = {offer.memory}, {home if home != '/' else ''!r}\n"
    yield _python("languages", {"python": "(True, platform.python_version())"})
    yield Cell(
        "r",
        (("languages", "r"), *(("packages", name) for name in R_PACKAGES)),
        R.replace("PACKAGES", ", ".join(map(json.dumps, R_PACKAGES))),
    )
    yield Cell("node", (("languages", "node"),), NODE)
    yield Cell("bash", (("languages", "bash"),), BASH)
    yield _python("packages", PACKAGES)
    yield _python("limits", LIMITS, known)
    yield _python("walls", WALLS, known)


def _python(group: str, table: Mapping[str, str], known: str = "") -> Cell:
    lines = "\n".join(f"say({name!r}, lambda: {expression})" for name, expression in table.items())
    return Cell("python", tuple((group, name) for name in table), f"{PYTHON}{known}{lines}")


# --- asking ---------------------------------------------------------------------------------------


def examine(session: Session, name: str) -> Report:
    """Ask the interpreter called `name`. Raises `UnknownName`, and `NoIsolation` where no code is run."""
    offer, asked = catalog.find(name), datetime.now(UTC)
    findings, isolation = list(_stated(offer)), None
    for cell in cells(offer):
        answer = _ask(session, offer, cell)
        findings += _heard(cell, answer)
        isolation = isolation or (answer.isolation if isinstance(answer, Result) else None)
    findings.sort(key=lambda finding: GROUPS.index(finding.group))
    return Report(str(offer), asked, isolation, tuple(findings))


def _stated(offer: Offer) -> Iterator[Finding]:
    yield Finding("limits", "time limit", None, f"{offer.timeout:g} s, as the catalog says")
    yield Finding("limits", "memory limit", None, f"{offer.memory >> 20} MB, as the catalog says")


@dataclass(frozen=True, slots=True)
class Silence:
    """Why a cell could not be run at all."""

    ok: bool | None
    reason: str


def _ask(session: Session, offer: Offer, cell: Cell) -> Result | Silence:
    language = languages.find(cell.language)
    if offer.provider == catalog.LOCAL and not language.is_installed:
        return Silence(None, f"{language.name} is not installed: {language.install}")
    try:
        timeout = min(offer.timeout, TIMEOUT)
        return session.run(cell.code, model=str(offer), language=cell.language, timeout=timeout, cache=False)
    except NoIsolation:
        raise
    except (SandboxError, ProviderError) as error:
        return Silence(False, str(error))


def _heard(cell: Cell, answer: Result | Silence) -> Iterator[Finding]:
    said = _read(answer.stdout) if isinstance(answer, Result) else {}
    for group, name in cell.asks:
        ok, found = said.get(name) or _unsaid(name, answer)
        yield Finding(group, name, ok, found[:MOST_FOUND])


def _unsaid(name: str, answer: Result | Silence) -> tuple[bool | None, str]:
    if isinstance(answer, Silence):
        return answer.ok, answer.reason
    if answer.limit and answer.limit.name == name:
        return True, answer.ending
    failure = f"{answer.error.ename}: {answer.error.evalue}" if answer.error else "no answer"
    return False, answer.ending or failure


def _read(answers: str) -> dict[str, tuple[bool | None, str]]:
    """Of each name the first answer that is one."""
    said: dict[str, tuple[bool | None, str]] = {}
    for line in answers[:MOST_ANSWER].splitlines():
        match _decoded(line):
            case [str(name), bool() | None as ok, str(found)]:
                said.setdefault(name, (ok, found))
    return said


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- keeping --------------------------------------------------------------------------------------


def keep(data_dir: Path, report: Report) -> None:
    """Put the report into the place of the last one of its offer."""
    path = _path(data_dir, report.offer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, aside = tempfile.mkstemp(dir=path.parent)  # which only its owner can read
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(as_json(report))
            os.replace(aside, path)
        finally:
            Path(aside).unlink(missing_ok=True)
    except OSError as error:
        hint = "set IPY_CODEINTERP_DATA_DIR to a folder you can write"
        raise StoreError(f"the report is not kept: {error}", hint=hint) from None


def latest(data_dir: Path, offer: str) -> Report | None:
    """The last report on `offer`; a file that is none is ignored."""
    try:
        content = _decoded(_path(data_dir, offer).read_text("utf-8"))
        asked = datetime.fromisoformat(content["asked"])
        findings = tuple(_finding(row) for row in content["findings"])
        isolation = content["isolation"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    known = asked.tzinfo is not None and isinstance(isolation, str | None)
    return Report(offer, asked, isolation, findings) if known else None


def _finding(row: Any) -> Finding:
    match row:
        case {"group": str(group), "name": str(name), "ok": bool() | None as ok, "found": str(found)}:
            return Finding(group, name, ok, found)
    raise ValueError("not a finding")


def _path(data_dir: Path, offer: str) -> Path:
    return data_dir / "probes" / f"{quote(offer, safe='@')}.json"


def interpreters(data_dir: Path, name: str | None = None) -> list[Interpreter]:
    """Those there are, or the one called `name`; with what each last said."""
    installed = tuple(language.name for language in LANGUAGES.values() if language.is_installed)
    offers = map(catalog.find, [name] if name else catalog.profiles())
    return [
        Interpreter(each.model, str(each), each.timeout, each.memory, installed, latest(data_dir, str(each)))
        for each in offers
    ]


# --- telling --------------------------------------------------------------------------------------

MARKS = {True: "ok  ", False: "FAIL", None: "    "}
HEADINGS = {"walls": "walls (ok: it holds)"}
NOT_WALLED = f"{NOT_ISOLATED}: the code runs as you, on this machine; limits and walls are expected to fail"


def text(report: Report) -> str:
    """The report as one table."""
    width = max((len(finding.name) for finding in report.findings), default=0)
    lines = [f"{report.offer}, asked {_date(report.asked)}, {report.isolation or 'isolation not known'}"]
    if report.isolation == NOT_ISOLATED:
        lines.append(NOT_WALLED)
    for group in dict.fromkeys(finding.group for finding in report.findings):
        rows = [finding for finding in report.findings if finding.group == group]
        lines += ["", HEADINGS.get(group, group)]
        lines += [f"{MARKS[row.ok]} {row.name:<{width}}  {row.found}" for row in rows]
    return "\n".join(map(_harmless, lines))


def table(known: Sequence[Interpreter]) -> str:
    """One row an interpreter; one alone is followed by what it last said."""
    rows = columns(("NAME", "OFFER", "TIME", "MEMORY", "LANGUAGES", "PROBED"), map(_row, known))
    last = [text(each.probe) for each in known if each.probe and len(known) == 1]
    return "\n".join([rows, *(f"\n{report}" for report in last)])


def as_json(known: Report | Sequence[Interpreter]) -> str:
    """A report, or the interpreters each with its last one; moments are ISO 8601."""
    content = asdict(known) if isinstance(known, Report) else [asdict(each) for each in known]
    return json.dumps(content, indent=1, default=datetime.isoformat)


def _row(each: Interpreter) -> tuple[str, ...]:
    limits = f"{each.timeout:g} s", f"{each.memory >> 20} MB"
    return each.name, each.offer, *limits, ", ".join(each.languages), _when(each.probe)


def _when(last: Report | None) -> str:
    if last is None:
        return "never (--probe)"
    return _date(last.asked) + (f", {NOT_ISOLATED}" if last.isolation == NOT_ISOLATED else "")


def _date(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _harmless(line: str) -> str:
    """Without colours too, and without what writes from right to left: it is a row among rows."""
    return "".join(letter if letter.isprintable() else " " for letter in safe_text(line))
