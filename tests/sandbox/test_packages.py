"""Packages for one run: from the index that pip knows, through a door that leads nowhere else, and only as wheels."""

from __future__ import annotations

import asyncio
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipy_codeinterp.errors import InvalidInput, Rejected, SandboxError
from ipy_codeinterp.sandbox import packages, sources
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.isolation import Bubblewrap
from ipy_codeinterp.sandbox.job import Extras
from ipy_codeinterp.session import Session

from .wing import Ran, gather

WHEEL = "tinypackage-1.0-py3-none-any.whl"
SDIST = "onlysource-1.0.tar.gz"


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A package index on loopback, with one wheel and one package without; what is asked of it."""
    for name, file in (("tinypackage", WHEEL), ("onlysource", SDIST)):
        folder = tmp_path / "index" / name
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')
    with zipfile.ZipFile(tmp_path / "index" / "tinypackage" / WHEEL, "w") as wheel:
        info = "tinypackage-1.0.dist-info"
        wheel.writestr("tinypackage.py", "ANSWER = 42\nopen('/tmp/imported', 'w')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (tmp_path / "index" / "onlysource" / SDIST).write_bytes(b"")
    asked: list[str] = []
    serving = type("Serving", (Handler,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a: serving(*a, directory=str(tmp_path / "index"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
    yield asked
    server.shutdown()
    server.server_close()


async def run_with(isolation: Bubblewrap, requirements: tuple[str, ...], code: str) -> Ran:
    source = sources.of(isolation)
    container = Container(await source.start("python", None, Extras(packages=requirements)))
    try:
        return await gather(container, code)
    finally:
        await container.close()
        await source.close()


@pytest.mark.sandbox
def test_a_wheel_is_there_for_the_run(bubblewrap: Bubblewrap, index: list[str]) -> None:
    """A package from the index can be imported, read-only; the second time nobody is asked for it."""
    code = "import tinypackage, os\ntinypackage.ANSWER, os.access(tinypackage.__file__, os.W_OK)"
    assert asyncio.run(run_with(bubblewrap, ("tinypackage==1.0",), code)).said == ["(42, False)"]
    assert any(WHEEL in path for path in index)
    index.clear()
    assert asyncio.run(run_with(bubblewrap, ("tinypackage==1.0",), code)).said == ["(42, False)"]
    assert index == []


@pytest.mark.sandbox
@pytest.mark.parametrize("requirement", ["onlysource", "tinypackage>=2", "nosuchpackage"])
def test_what_cannot_be_installed_says_so(bubblewrap: Bubblewrap, index: list[str], requirement: str) -> None:
    """A package without a wheel, or that the index does not have, is an error with pip's words; nothing is left."""
    before = set(bubblewrap.scratch.root.iterdir())
    with pytest.raises(SandboxError, match="cannot be installed") as refused:
        asyncio.run(packages.installed(bubblewrap, (requirement,)))
    assert "No matching distribution" in refused.value.hint
    assert set(bubblewrap.scratch.root.iterdir()) == before


@pytest.mark.parametrize(
    "asked", ["./here", "/tmp/x.whl", "git+https://a/b", "a @ https://b", "-r file", "--index-url=x", "", "a;b", "a\nb"]
)
def test_only_names_and_versions(asked: str) -> None:
    """Paths, URLs and options of pip are no packages."""
    with pytest.raises(InvalidInput, match="is not a package"):
        packages.checked([asked])


def test_names_are_sorted_and_once() -> None:
    """The same packages in another order are the same."""
    assert packages.checked(["b>=1, <2", "a[x,y]==1.0", "b>=1,  <2"]) == ("a[x,y]==1.0", "b>=1, <2")


@pytest.mark.parametrize(
    "request_line", ["CONNECT 127.0.0.1:{port} HTTP/1.1", "GET http://127.0.0.1:{port}/ HTTP/1.1", "nonsense", "A B C"]
)
def test_the_door_leads_to_the_index_only(request_line: str) -> None:
    """A listener of this machine that is not the index is not reached, and nonsense ends the connection."""

    async def ask() -> tuple[bytes, bool]:
        reached = asyncio.Event()

        def arrived(_: asyncio.StreamReader, theirs: asyncio.StreamWriter) -> None:
            reached.set()
            theirs.close()

        listener = await asyncio.start_server(arrived, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with packages._door(frozenset({("index.example", 443)})) as door:
            reader, writer = await asyncio.open_unix_connection(door)
            writer.write(f"{request_line.format(port=port)}\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
        listener.close()
        return answer, reached.is_set()

    answer, reached = asyncio.run(ask())
    assert not reached and (answer == b"" or b"403" in answer)


@pytest.mark.sandbox
def test_packages_are_for_python(tmp_path: Path, cache_dir: Path) -> None:
    """Another language with packages is refused, and nothing is installed."""
    with (
        Session(cache_dir=cache_dir, data_dir=tmp_path) as session,
        pytest.raises(Rejected, match="packages are for Python"),
    ):
        session.run("echo 1", language="bash", packages=["tinypackage"])
