"""Packages for one run: wheels, installed behind walls whose only door is the package index, and kept in a cache.

No code of a package runs while it is installed (wheels only), and the host never imports what was installed: the
folder is mounted into the sandbox, read-only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ipy_codeinterp.errors import InvalidInput, SandboxError
from ipy_codeinterp.sandbox import mounts
from ipy_codeinterp.sandbox.isolation import Bubblewrap, start_code

INSTALL_TIMEOUT = 600.0  # seconds
PYPI = "https://pypi.org/simple"
ALSO = {"pypi.org": ("files.pythonhosted.org",)}  # where an index keeps its files, if not with itself
SOCKET = f"{mounts.HOUSE}/index.sock"
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][\w.-]*(\[[\w.,-]+\])?\s*([<>=!~]=?=?\s*[\w.*+!-]+(\s*,\s*[<>=!~]=?=?\s*[\w.*+!-]+)*)?"
)
_SETTING = re.compile(r"^(?:global|install|:env:)\.(index-url|extra-index-url|cert)='(.*)'$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Index:
    """Where packages come from, as the user's pip has it."""

    urls: tuple[str, ...]
    certificates: Path | None

    @property
    def hosts(self) -> frozenset[tuple[str, int]]:
        """Who may be spoken to, and on which port."""
        found = {
            (url.hostname or "", url.port or (443 if url.scheme == "https" else 80)) for url in map(urlsplit, self.urls)
        }
        return frozenset(found | {(also, port) for host, port in found for also in ALSO.get(host, ())})


def checked(requirements: Iterable[str]) -> tuple[str, ...]:
    """Names with versions, sorted. Raises `InvalidInput` for what else pip would take: paths, URLs, options."""
    wanted = tuple(sorted({" ".join(requirement.split()) for requirement in requirements}))
    for requirement in wanted:
        if not _REQUIREMENT.fullmatch(requirement):
            raise InvalidInput(f"{requirement[:80]!r} is not a package", hint='give a name with a version: "polars>=1"')
    return wanted


async def installed(isolation: Bubblewrap, requirements: Sequence[str]) -> Path:
    """The folder with `requirements` (see `checked`) in it, from the cache or from the index.

    Raises `SandboxError` with pip's own words when they cannot be installed.
    """
    folder = isolation.scratch.root / f"packages-{_key(isolation, requirements)}"
    if not folder.is_dir():
        index = await asyncio.to_thread(_index, isolation.environment.python)
        with _beside(folder) as aside:
            async with _door(index.hosts) as socket:
                run = await asyncio.to_thread(_install, isolation, index, socket, aside, requirements)
            if run.returncode != 0:
                raise SandboxError(f"{', '.join(requirements)} cannot be installed", hint=_why(run.stderr))
            with contextlib.suppress(OSError):  # another was first
                aside.rename(folder)
    return folder


def _key(isolation: Bubblewrap, requirements: Sequence[str]) -> str:
    python = [str(isolation.environment.python), isolation.environment.version]
    return hashlib.sha256("\n".join([*python, *requirements]).encode()).hexdigest()[:16]


def _index(python: Path) -> Index:
    """What the user's pip is set to, for the environment of `python`."""
    said = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise SandboxError(f"{python} has no pip", hint=f"{python} -m ensurepip")
    settings: Mapping[str, str] = dict(_SETTING.findall(said.stdout))
    urls = [settings.get("index-url", PYPI), *settings.get("extra-index-url", "").split()]
    certificates = Path(settings["cert"]) if settings.get("cert") else None
    return Index(tuple(url for url in urls if url.startswith("http")), certificates)


@contextlib.contextmanager
def _beside(folder: Path):  # type: ignore[no-untyped-def]
    aside = Path(tempfile.mkdtemp(prefix=".packages-", dir=folder.parent))
    try:
        aside.chmod(0o777)
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _install(
    isolation: Bubblewrap, index: Index, socket: Path, folder: Path, requirements: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    environment, scratch = isolation.environment, isolation.scratch
    options = [*isolation.walls, *mounts.of_environment(environment, scratch)]
    options += ["--bind", str(folder), mounts.PACKAGES, "--bind", str(socket), SOCKET]
    if index.certificates:
        options += [*mounts.parents(index.certificates), "--ro-bind", str(index.certificates), str(index.certificates)]
    options += [*mounts.set_variables(mounts.variables(environment, scratch)), *mounts.READ_ONLY]
    pip = ["install", "--target", mounts.PACKAGES, "--only-binary=:all:", "--no-input", "--no-cache-dir", "--quiet"]
    pip += ["--disable-pip-version-check", "--no-compile", "--index-url", index.urls[0]]
    pip += [arg for url in index.urls[1:] for arg in ("--extra-index-url", url)]
    pip += ["--cert", str(index.certificates)] if index.certificates else []
    code = start_code("install")
    command = [str(isolation.bwrap), *options, "--", str(environment.python), "-P", "-c", code, SOCKET, *pip]
    try:
        return subprocess.run(
            [*command, "--", *requirements],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INSTALL_TIMEOUT,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{', '.join(requirements)}: not installed after {INSTALL_TIMEOUT:.0f} s") from None


def _why(words: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in words.splitlines() if line.startswith("ERROR: ")]
    return (lines or words.strip().splitlines() or ["pip said nothing"])[-1][:500]


# --- the door -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _door(hosts: frozenset[tuple[str, int]]) -> AsyncIterator[Path]:
    """A socket behind which there is a proxy to `hosts`, and to nobody else."""
    path = _place_for_socket()
    server = await asyncio.start_unix_server(lambda reader, writer: _serve(hosts, reader, writer), path)
    try:
        os.chmod(path, 0o666)
        yield path
    finally:
        server.close()
        shutil.rmtree(path.parent)


def _place_for_socket() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ipy-codeinterp-"))
    folder.chmod(0o711)  # as root the guest is somebody else
    return folder / "index.sock"


async def _serve(hosts: frozenset[tuple[str, int]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: `CONNECT host:port` or `GET http://host/...`, as a proxy is asked."""
    refusals = (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
    with contextlib.closing(writer), contextlib.suppress(*refusals):
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        place = (url.hostname or "", url.port or (443 if method == "CONNECT" else 80))
        if place not in hosts:
            writer.write(b"HTTP/1.1 403 Not the package index\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        else:
            origin = None if method == "CONNECT" else _as_origin_sees(head, url)
            await _relay(origin, place, reader, writer)


def _as_origin_sees(head: bytes, url: SplitResult) -> bytes:
    """The head of a request without the proxy's part. One request a connection: the next might name another host."""
    first, *lines = head.split(b"\r\n")
    method, _, version = first.split(b" ")
    path = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    kept = [line for line in lines if not line.lower().startswith((b"connection:", b"proxy-"))]
    return b"\r\n".join([b" ".join([method, path.encode("ascii"), version]), b"Connection: close", *kept])


async def _relay(
    head: bytes | None, place: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Bytes both ways; `head` is a request to begin with, none is a tunnel."""
    their_reader, their_writer = await asyncio.open_connection(*place)
    with contextlib.closing(their_writer):
        if head is None:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            their_writer.write(head)
        ways = [_copy(reader, their_writer), _copy(their_reader, writer)]
        _, left = await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)
        if head is not None:
            await asyncio.wait(left)
        for task in left:
            task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
