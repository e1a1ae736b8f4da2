"""The last step: what goes over the wire, what comes back, and foreign errors made ours."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ipy_codeinterp import attachments
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.dialects import messages, sse
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadAttachment,
    BadReply,
    GatewayLost,
    InterpError,
    NoIsolation,
    Overloaded,
    QuotaExceeded,
    Rejected,
    SandboxError,
    Unreachable,
)
from ipy_codeinterp.execution import Display, File, Phase, Result, Stream

from .provider import TOKEN, Answer, Provider, begun, envelope_of, hang_up, lab, refuses, runs, says


def asked_once(path: Path, answer: Answer, **how: Any) -> Result:
    """One run against a provider that answers so."""

    async def main() -> Result:
        async with lab(Provider(answer), path / "s.sqlite") as bench:
            return await bench.run(**how)

    return asyncio.run(main())


def test_request(tmp_path: Path) -> None:
    """A request carries the token, the version, our extension, and the code with its limits."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run("print(1)", timeout=2.5)

        (headers,), (asked,) = provider.headers, provider.asked
        assert headers["x-api-key"] == TOKEN
        assert headers["Content-Type"] == "application/json"
        assert (headers["anthropic-version"], headers[messages.EXTENSION]) == ("2023-06-01", "1")
        assert (asked.model, asked.timeout, asked.memory, asked.stream) == ("claude", 2.5, 1 << 30, True)
        assert provider.requests[0]["ipy_codeinterp"]["language"] == "python"

    asyncio.run(main())


def test_limits_of_the_profile(tmp_path: Path) -> None:
    """Where no time is asked for, that of the profile is."""

    async def main() -> None:
        provider = Provider()
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run()
        assert provider.asked[0].timeout == 180.0

    asyncio.run(main())


def test_any_code(tmp_path: Path) -> None:
    """Code that no encoding can write arrives all the same, and its output comes back."""
    code = "'\ud800' # ``` \N{SNOWMAN}\r\n\n"

    assert asked_once(tmp_path, runs(), code=code).stdout == code


def test_large_figure(tmp_path: Path) -> None:
    """A figure of 5 MB arrives whole."""
    figure = Display({"image/png": "x" * 5_000_000})

    assert asked_once(tmp_path, runs(figure)).outputs == (figure,)


def test_request_ids(tmp_path: Path) -> None:
    """The provider's name for the request is in the Result and in the ledger, also of one that failed."""

    async def main() -> None:
        failed = refuses(400, {"error": {"message": "no"}}, **{"request-id": "req_2"})
        async with lab(Provider(runs(), failed), tmp_path / "s.sqlite") as bench:
            assert (await bench.run()).request_ids == ("req_1",)
            with pytest.raises(Rejected) as caught:
                await bench.run()
            assert caught.value.request_id == "req_2"
            assert [attempt.request_id for attempt in bench.attempts] == ["req_1", "req_2"]

    asyncio.run(main())


# --- errors ---------------------------------------------------------------------------------------


def error(kind: str) -> dict[str, Any]:
    return messages.encode_error(kind, "because", "req_1")


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        pytest.param(refuses(401, error("authentication_error")), AuthenticationFailed, "because", id="401"),
        pytest.param(refuses(403, error("permission_error")), AuthenticationFailed, "because", id="403"),
        pytest.param(refuses(400, error("invalid_request_error")), Rejected, "because", id="400"),
        pytest.param(refuses(413, error("request_too_large")), Rejected, "because", id="413"),
        pytest.param(refuses(429, error("rate_limit_error")), Overloaded, "because", id="429"),
        pytest.param(refuses(500, error("api_error")), Overloaded, "because", id="500"),
        pytest.param(refuses(503, error("overloaded_error")), SandboxError, "because", id="503"),
        pytest.param(refuses(503, error("no_isolation")), NoIsolation, "because", id="no isolation"),
        pytest.param(refuses(402, {"error": "no credit"}), QuotaExceeded, "no credit", id="text for an object"),
        pytest.param(refuses(400, "just text"), Rejected, "just text", id="text in JSON"),
        pytest.param(refuses(500, []), Overloaded, "HTTP 500", id="a list"),
        pytest.param(refuses(502, text="<html>Bad Gateway</html>"), Overloaded, "HTTP 502", id="HTML"),
        pytest.param(refuses(401, text=""), AuthenticationFailed, "HTTP 401", id="empty"),
        pytest.param(refuses(400, text="{"), Rejected, "HTTP 400", id="half of an object"),
    ],
)
def test_refused(tmp_path: Path, answer: Answer, expected: type[InterpError], words: str) -> None:
    """Whatever comes instead of a reply is an error of ours, told apart by type."""
    with pytest.raises(InterpError, match=words) as caught:
        asked_once(tmp_path, answer)

    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("overloaded_error", Overloaded), ("invalid_request_error", Rejected)], ids=str
)
def test_error_in_the_stream(tmp_path: Path, kind: str, expected: type[InterpError]) -> None:
    """An error that comes in the middle of a stream is raised as its type."""
    with pytest.raises(expected, match="because"):
        asked_once(tmp_path, says(sse.encode({"type": "ping"}), sse.encode(error(kind))))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(), id="nothing"),
        pytest.param(says(b"hello"), id="no stream"),
        pytest.param(says(b"data: {\n\n"), id="no JSON"),
        pytest.param(says(b"data: " + b"[" * 100_000 + b"\n\n"), id="deep JSON"),
        pytest.param(says(b"data: 5\n\n"), id="no event"),
        pytest.param(says(sse.encode({"type": "ping"})), id="ends early"),
        pytest.param(says(sse.encode({"type": "ping"}), then=hang_up), id="breaks off"),
        pytest.param(refuses(200, {"id": "msg_1"}), id="JSON of another kind"),
    ],
)
def test_bad_reply(tmp_path: Path, answer: Answer) -> None:
    """A reply that is not the wire format, or ends before its end, is a bad reply."""
    with pytest.raises(BadReply):
        asked_once(tmp_path, answer)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(("alive", "expected"), [(True, Unreachable), (False, GatewayLost)], ids=["alive", "dead"])
def test_nobody_there(tmp_path: Path, alive: bool, expected: type[InterpError]) -> None:
    """Where nobody listens the provider is unreachable, or the gateway has died."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            bench.endpoint = Endpoint(f"http://127.0.0.1:{free_port()}", TOKEN, lambda: alive)
            with pytest.raises(InterpError) as caught:
                await bench.run()
            assert type(caught.value) is expected
            assert caught.value.transient

    asyncio.run(main())


def test_hangs_up_before_the_reply(tmp_path: Path) -> None:
    """A connection that is lost before the reply began is unreachable."""

    async def answer(request: web.Request, asked: object) -> web.StreamResponse:
        await hang_up(request)
        return web.Response()

    with pytest.raises(Unreachable):
        asked_once(tmp_path, answer)


def test_cancel_is_noticed(tmp_path: Path) -> None:
    """The provider of a cancelled run sees the connection end, and can stop the code."""

    async def main() -> None:
        ended = asyncio.Event()

        async def answer(request: web.Request, asked: messages.Asked) -> web.StreamResponse:
            response = await begun(request, envelope_of(asked))
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return response

        async with lab(Provider(answer), tmp_path / "s.sqlite") as bench:
            running = bench.start()
            while Phase("running") not in bench.events:
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])
            await asyncio.wait_for(ended.wait(), 10)

    asyncio.run(main())


def test_cancel_leaves_the_others(tmp_path: Path) -> None:
    """A cancelled run takes no other run along."""

    async def main() -> None:
        go_on, provider = asyncio.Event(), Provider()
        provider.script.extend([runs(until=go_on), runs(until=go_on)])
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            first, second = bench.start("1"), bench.start("2")
            await provider.has(2)
            first.cancel()
            await asyncio.wait([first])
            go_on.set()
            assert (await second).stdout == "2"

    asyncio.run(main())


def test_closed(tmp_path: Path) -> None:
    """A client that was closed leaves no socket open."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            await asyncio.gather(*[bench.run() for _ in range(5)])
            sockets = list(bench.client.transport.http._sockets)
            assert sockets
            await bench.client.close()
            assert all(sock.fileno() == -1 for sock in sockets)

    asyncio.run(main())
    gc.collect()


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a b (1).csv", "\N{SNOWMAN}\N{GRINNING FACE}.csv", 'a"b;c=%41.csv', "a\\b", "..."],
    ids=repr,
)
def test_upload(tmp_path: Path, name: str) -> None:
    """A file arrives with its name and content, whatever characters are in them."""
    (tmp_path / name).write_bytes(b"\x00\xff\r\n--boundary")
    provider = Provider()

    async def main() -> None:
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run(files=attachments.read([tmp_path / name]))

    asyncio.run(main())
    assert provider.uploads == [(name, b"\x00\xff\r\n--boundary")]
    assert provider.asked[0].file_ids == ("file_1",)


def removed(folder: Path) -> File:
    path = folder / "a.csv"
    path.touch()
    file = attachments.describe(path)
    path.unlink()
    return file


def changed(folder: Path) -> File:
    path = folder / "a.csv"
    path.touch()
    file = attachments.describe(path)
    path.write_bytes(b"other")
    return file


@pytest.mark.parametrize(
    "make", [removed, changed, lambda folder: File("a.csv", id="file_1")], ids=["removed", "changed", "elsewhere"]
)
def test_file_that_is_not_there(tmp_path: Path, make: Callable[[Path], File]) -> None:
    """A file that is gone, was changed since, or never lay on this machine is a bad attachment."""
    with pytest.raises(BadAttachment, match=r"a\.csv"):
        asked_once(tmp_path, runs(), files=(make(tmp_path),))


def test_download(tmp_path: Path) -> None:
    """The content of a file that code left can be had by its id."""

    async def main() -> bytes:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            return await bench.client.transport.download("file_1")

    assert asyncio.run(main()) == b"content of file_1"


def test_body_is_json(tmp_path: Path) -> None:
    """What goes over the wire is ASCII JSON, whatever the code is."""
    provider = Provider()

    async def main() -> None:
        async with lab(provider, tmp_path / "s.sqlite") as bench:
            await bench.run("\N{SNOWMAN}")

    asyncio.run(main())
    assert json.dumps(provider.requests[0]).isascii()
    assert Stream("stdout", provider.codes[0]).text == "\N{SNOWMAN}"
