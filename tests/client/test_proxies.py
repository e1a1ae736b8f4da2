"""A proxy that stands between us and a provider: what it does is told as its own doing, and its password is not."""

from __future__ import annotations

import asyncio
import traceback
from urllib.parse import quote

import pytest

from ipy_codeinterp import keys
from ipy_codeinterp.client.http import proxy_of
from ipy_codeinterp.errors import ProviderError, Unreachable

from .relay import hear

PASSWORD = "hunter2 planted"
PROVIDER = "https://relay.example/v1"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the developer's; nothing is masked yet."""
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(keys, "_found", set())


def refused(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[ProviderError, str]:
    """What comes of a proxy that answers so, and what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{quote(PASSWORD)}@127.0.0.1:{port}")
        async with server:
            await hear(PROVIDER, "messages")

    with pytest.raises(ProviderError) as caught:
        asyncio.run(main())
    return caught.value, asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 502 no {PASSWORD}\r\nContent-Length: 0\r\n\r\n".encode(),
    ],
    ids=["407", "502"],
)
def test_refused(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses to connect has sent nothing on: nothing can have run, and the hint names the variable."""
    error, asked = refused(answer, monkeypatch)

    assert asked.startswith("CONNECT relay.example:443") and "Proxy-Authorization: Basic" in asked
    assert (type(error), error.may_have_run, error.provider) == (Unreachable, False, "relay")
    assert "HTTPS_PROXY" in error.hint


@pytest.mark.parametrize("said", ["HTTP/1.1 407 no", "HTTP/1.1 502 {}", "{}", ""])
def test_password(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is in no error, be it repeated or not, nor in any variable of what failed."""
    error, _ = refused(f"{said.format(PASSWORD)}\r\nX: {PASSWORD}\r\n\r\n".encode() if said else b"", monkeypatch)
    there = traceback.TracebackException.from_exception(error, capture_locals=True)
    # the frames of this test know it
    lines = [line for line in "".join(there.format()).split("\n  File ") if "test_proxies.py" not in line]

    for text in (*lines, repr(error), error.hint):
        assert PASSWORD not in text and quote(PASSWORD) not in text


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        (" ", None),
        ("", None),
    ],
)
def test_address(said: str, meant: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without a scheme is one of HTTP, as other programs have it; a blank one is none."""
    monkeypatch.setenv("HTTPS_PROXY", said)

    assert proxy_of(PROVIDER) == meant


@pytest.mark.parametrize("said", ["socks5://127.0.0.1:1080", "http://[bad", "http://me:pw@", "http://127.0.0.1:99999"])
def test_no_address(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no address of a proxy that is spoken to here is a typed error, before anything is sent."""
    monkeypatch.setenv("HTTPS_PROXY", said)

    with pytest.raises(Unreachable, match="no address") as caught:
        asyncio.run(hear(PROVIDER, "messages"))

    assert not caught.value.may_have_run and "HTTPS_PROXY" in caught.value.hint
    assert said not in f"{caught.value!r}"
