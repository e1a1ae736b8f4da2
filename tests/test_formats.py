"""The client's ends and the gateway's ends of the wire formats plugged into each other, over HTTP, with real code."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web

from ipy_codeinterp import Session, settings
from ipy_codeinterp.errors import AuthenticationFailed, Unreachable
from ipy_codeinterp.execution import CodeDelta, Event, Execution, Notice, Result
from ipy_codeinterp.gateway.process import Address, GatewayProcess
from ipy_codeinterp.testing.gemini import Fails, Says, ScriptedGemini

from .conformance.tap import Exchange, Fault, Tap

PNG = b"\x89PNG\r\n\x1a\n"
# The three that the gateway serves: the name asked for, where its requests go, what they are called in.
OPENAI, ANTHROPIC, COMPATIBLE = "gpt@openai", "claude@anthropic", "gpt-4.1@compatible"
SERVED = {OPENAI: "/responses", ANTHROPIC: "/messages", COMPATIBLE: "/chat/completions"}
ATTEMPT = {OPENAI: "X-Client-Request-Id", ANTHROPIC: "X-Request-ID", COMPATIBLE: "X-Client-Request-Id"}
WITH_CONTAINERS = [OPENAI, ANTHROPIC]
KEYS = {"OPENAI_API_KEY": "openai", "ANTHROPIC_API_KEY": "anthropic", "GEMINI_API_KEY": "gemini"}
GEMINI_KEY = "scripted"
GOES_TO = {"gemini": "gemini"}
PRICED = """
[[models]]
name = "gpt-4.1"
prices = [{ input = "2", output = "8", source = "a test", checked = 2026-11-23 }]
"""
LEAVES = """
import os
with open(os.environ.get("OUTPUT_DIR", "/mnt/data") + "/left.txt", "w") as file:
    file.write("é" * 3)
"""
PLOT = "import matplotlib.pyplot as plt\nprint('here')\nplt.plot([1, 2])\nplt.show()"


pytestmark = pytest.mark.sandbox


def passes(_: web.Request) -> web.Response | None:
    """No fault."""
    return None


@pytest.fixture(scope="module")
def gateway(cache_dir: Path) -> Iterator[Address]:
    """The gateway of somebody else: what the client knows of it is a base URL and a key."""
    process = GatewayProcess(settings.load().changed(cache_dir=cache_dir))
    try:
        yield process.address()
    finally:
        process.close()


class Bench:
    """A Session whose providers all are behind a tap, and what it heard."""

    def __init__(self, session: Session, tap: Tap) -> None:
        self.session = session
        self.tap = tap
        self.events: list[Event] = []

    async def run(self, code: str | Execution, model: str, **how: Any) -> Result:
        self.events.clear()
        return await self.session.execute(code, model=model, emit=self._emit, cache=False, **how)

    async def _emit(self, event: Event) -> None:
        self.events.append(event)

    def said(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def asked(self, model: str) -> list[Exchange]:
        return self.tap.of(SERVED[model])


class Places:
    """Where the providers are, as a user writes it into the catalog of the configuration."""

    def __init__(self, gateway: Address, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.gateway = gateway
        self._monkeypatch = monkeypatch
        self._folder = folder

    @contextlib.asynccontextmanager
    async def bench(self, *, gemini: str = "", before: Fault = passes, **changes: Any) -> AsyncIterator[Bench]:
        """Everything opened, `gemini` behind the tap, too."""
        async with Tap({"gateway": self.gateway.base_url, "gemini": gemini}, before) as tap:
            self.write(tap.base_url)
            async with Session(**changes) as session:
                yield Bench(session, tap)

    def write(self, base_url: str) -> None:
        self._folder.mkdir(parents=True)
        for variable, name in KEYS.items():
            (self._folder / f"{name}.toml").write_text(f'base_url = "{base_url}/{GOES_TO.get(name, "gateway")}"\n')
            self._monkeypatch.setenv(variable, GEMINI_KEY if name == "gemini" else self.gateway.token)
        (self._folder / "compatible.toml").write_text(PRICED)
        self._monkeypatch.setenv("COMPATIBLE_API_KEY", self.gateway.token)
        self._monkeypatch.setenv("IPY_CODEINTERP_BASE_URL", f"{base_url}/gateway/v1")


@pytest.fixture
def places(gateway: Address, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Places:
    return Places(gateway, monkeypatch, tmp_path / "config" / "ipy-codeinterp" / "catalog")


# --- what runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SERVED)
def test_code_runs(places: Places, model: str) -> None:
    """Code goes out as it is written, and comes back with what it printed, its usage and the request's name."""
    code = "x = 6\nprint(f'{x * 7} é ``` \\n')"

    async def main() -> None:
        async with places.bench() as bench:
            result = await bench.run(code, model)

            assert result.stdout == "42 é ``` \n\n"
            assert result.offer == model or result.provider == model.partition("@")[2]
            assert [(step.code, step.verbatim) for step in result.steps] == [(code, True)]
            assert (result.usage.input_tokens or 0) > 0 and (result.usage.output_tokens or 0) > 0
            (exchange,) = bench.asked(model)
            (named,) = result.request_ids
            assert named in exchange.told.values()
            assert exchange.headers[ATTEMPT[model]].startswith("att_")

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_what_it_costs(places: Places, model: str) -> None:
    """The cost is that of the reported tokens at the catalog's price, which says whose it is and of which day."""

    async def main() -> None:
        async with places.bench() as bench:
            result = await bench.run("print(1)", model)
            price = bench.session.offer(model).price

            assert price is not None and result.cost.price is not None and "2026-" in result.cost.price
            tokens = Decimal(result.usage.input_tokens or 0) * price.input
            tokens += Decimal(result.usage.output_tokens or 0) * price.output
            items = dict(result.cost.items)
            assert (items.pop("container", 0) > 0) == (model in WITH_CONTAINERS)
            assert sum(items.values()) == tokens / 1_000_000 > 0
            assert result.cost.billed == sum(result.cost.items.values())

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_figures(places: Places, model: str) -> None:
    """A figure is shown as what it is, beside what was printed."""

    async def main() -> None:
        async with places.bench() as bench:
            result = await bench.run(PLOT, model)
            (image,) = result.images
            assert base64.b64decode(image.data["image/png"]).startswith(PNG)
            assert result.stdout == "here\n"

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_an_error_of_the_code(places: Places, model: str) -> None:
    """Code that raises is a Result that is not ok, with what it printed before and the name of the error."""

    async def main() -> None:
        async with places.bench() as bench:
            result = await bench.run("print('before')\n1 / 0", model)
            assert result.outcome == "error"
            assert result.stdout.startswith("before\n")
            assert "ZeroDivisionError" in result.stdout + result.stderr + repr(result.error)

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_files_go_up(places: Places, tmp_path: Path, model: str) -> None:
    """An attached file is where the code runs, and goes up once for two runs."""
    (tmp_path / "data.csv").write_text("1,2\n")
    code = "import pathlib\nprint([p.read_text() for p in pathlib.Path('.').rglob('*data.csv')])"

    async def main() -> None:
        async with places.bench() as bench:
            for _ in range(2):
                result = await bench.run(code, model, files=[tmp_path / "data.csv"])
                assert result.stdout == "['1,2\\n']\n"
            assert len(bench.tap.of("/v1/files")) == (1 if model in WITH_CONTAINERS else 0)

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_files_come_down(places: Places, model: str) -> None:
    """A file that the code left is named in the Result, and fetched when it is asked for."""

    async def main() -> None:
        async with places.bench() as bench:
            result = await bench.run(LEAVES, model)
            (file,) = result.files
            assert file.name == "left.txt"
            assert bench.tap.of("/content", "GET") == []
            assert (await bench.session.fetch(file)).decode() == "ééé"

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_a_container(places: Places, model: str) -> None:
    """Runs that name a container see each other's variables; those that name another, or none, do not."""

    async def main() -> None:
        async with places.bench() as bench:
            await bench.run("x = 41", model, container="mine")
            assert (await bench.run("print(x + 1)", model, container="mine")).stdout == "42\n"
            for container in ("yours", None):
                assert (await bench.run("print('x' in globals())", model, container=container)).stdout == "False\n"

    asyncio.run(main())


@pytest.mark.parametrize("model", WITH_CONTAINERS)
def test_a_container_that_expired(places: Places, model: str) -> None:
    """It is made anew, once, with a notice that its variables are gone."""

    async def main() -> None:
        async with places.bench() as bench:
            await bench.run("x = 1", model, container="mine")
            await end_containers(places.gateway)
            result = await bench.run("print('x' in globals())", model, container="mine")

            assert (result.stdout, result.attempts) == ("False\n", 2)
            assert [n.text for n in bench.said(Notice) if "container 'mine' is new" in n.text]
            assert (await bench.run("print('x' in globals())", model, container="mine")).stdout == "False\n"
            assert len(bench.asked(model)) == 4

    asyncio.run(main())


async def end_containers(gateway: Address) -> None:
    """All that the gateway keeps."""
    where = f"{gateway.base_url}/ipy_codeinterp/containers"
    async with aiohttp.ClientSession(headers={"x-api-key": gateway.token}) as http:
        async with http.get(where) as response:
            found = (await response.json())["data"]
        for each in found:
            async with http.delete(f"{where}/{each['id']}") as response:
                assert response.status == 200
    assert found


def test_gemini(places: Places) -> None:
    """A Gemini's code, what it printed and its figure are the Result, at the price of what it counted."""
    code = "print(6 * 7)"
    script = Says(
        [
            {"executableCode": {"language": "PYTHON", "code": code}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
            {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG + bytes(64)).decode()}},
        ]
    )

    async def main() -> None:
        async with ScriptedGemini(script) as gemini, places.bench(gemini=gemini.base_url) as bench:
            result = await bench.run(code, "gemini@gemini")

            assert (result.stdout, result.ok, result.verbatim) == ("42\n", True, True)
            assert len(result.images) == 1
            assert (result.usage.input_tokens, result.usage.output_tokens) == (76, 40)
            assert (result.cost.billed or 0) > 0
            assert bench.said(CodeDelta)

    asyncio.run(main())


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SERVED)
def test_each_attempt_has_a_name(places: Places, model: str) -> None:
    """A provider that is busy is asked again, and each request carries a name of its own."""
    busy = iter([web.json_response({"error": {"message": "busy"}}, status=429, headers={"Retry-After": "0"})])

    async def main() -> None:
        async with places.bench(before=lambda request: next(busy, None)) as bench:
            result = await bench.run("print(1)", model)

            first, second = [exchange.headers[ATTEMPT[model]] for exchange in bench.asked(model)]
            assert (result.stdout, result.attempts) == ("1\n", 2)
            assert first != second and first.startswith("att_") and second.startswith("att_")

    asyncio.run(main())


@pytest.mark.parametrize("model", SERVED)
def test_a_wrong_key(places: Places, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """A key that opens nothing is said to be that, with the provider, the status and the request's name."""

    async def main() -> None:
        async with places.bench() as bench:
            for variable in (*KEYS, "COMPATIBLE_API_KEY"):
                monkeypatch.setenv(variable, "a-key-of-nobody")
            with pytest.raises(AuthenticationFailed) as caught:
                await bench.run("print(1)", model)

            (exchange,) = bench.asked(model)
            error = caught.value
            assert (error.provider, error.status) == (model.partition("@")[2], 401)
            assert error.request_id in exchange.told.values()
            assert "a-key-of-nobody" not in f"{error} {error.hint}"

    asyncio.run(main())


def test_gemini_is_busy(places: Places) -> None:
    """A Gemini that is busy is asked again."""
    script = Fails(503, "UNAVAILABLE"), Says([{"text": "no code"}])

    async def main() -> None:
        async with ScriptedGemini(*script) as gemini, places.bench(gemini=gemini.base_url) as bench:
            result = await bench.run("print(1)", "gemini@gemini")
            assert (result.text, result.outcome, result.attempts) == ("no code", "unknown", 2)

    asyncio.run(main())


# --- the way there --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of `vendor.example`, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "made.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(made), "-days", "2", "-subj", "/CN=vendor.example"]
    command += ["-addext", "subjectAltName=DNS:vendor.example"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    return made, key


class Proxy:
    """A proxy that knows one way only, and what it was asked for."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self._port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode().partition("\r\n")[0])
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, there), _pump(there_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    writer.close()


def test_proxy_and_certificate(places: Places, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves goes by HTTPS_PROXY and trusts SSL_CERT_FILE; what stays on this machine never does."""
    made, key = certificate
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made, key)

    async def main() -> None:
        async with Tap({"gateway": places.gateway.base_url}, tls=tls) as tap, Proxy(tap.port) as proxy:
            places.write("https://vendor.example")
            for variable in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
                monkeypatch.setenv(variable, proxy.url)
            monkeypatch.setenv("SSL_CERT_FILE", str(made))
            async with Session() as session:
                assert (await session.execute("print(1)", model=ANTHROPIC)).stdout == "1\n"
                assert (await session.execute("print(2)", model=COMPATIBLE)).stdout == "2\n"  # it runs here
                assert (await session.execute("print(3)", model="claude@local")).stdout == "3\n"

        assert set(proxy.asked) == {"CONNECT vendor.example:443 HTTP/1.1"}

    asyncio.run(main())


def test_certificate_that_nobody_signed(
    places: Places, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is not trusted is no connection, nothing is sent, and SSL_CERT_FILE is named."""
    made, key = certificate
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made, key)

    async def main() -> None:
        async with Tap({"gateway": places.gateway.base_url}, tls=tls) as tap, Proxy(tap.port) as proxy:
            places.write("https://vendor.example")
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with Session(attempts=1) as session:
                with pytest.raises(Unreachable) as caught:
                    await session.execute("print(1)", model=ANTHROPIC)
            assert "SSL_CERT_FILE" in caught.value.hint
            assert tap.seen == []

    asyncio.run(main())


def test_no_proxy(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY names hosts that are reached without it."""

    async def main() -> None:
        async with Proxy(1) as proxy:
            places.write("https://vendor.invalid")
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("NO_PROXY", "vendor.invalid")
            async with Session(attempts=1) as session:
                with pytest.raises(Unreachable):
                    await session.execute("print(1)", model=ANTHROPIC)
            assert proxy.asked == []

    asyncio.run(main())
