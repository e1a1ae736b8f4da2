"""Whatever stands between us and a provider sends: what comes of it is an error of ours that says what to do."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.client import transport
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.dialects import formats
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.errors import AuthenticationFailed, BadReply, Overloaded, ProviderError, Rejected, Unreachable
from ipy_codeinterp.execution import Event, Execution, Result, Text, TextDelta

from .relay import FLOODS, FORMATS, JSON, KEY, PAGE, STREAM, Answer, Relay, and_then, endless, hear, ignore, says, sends

HOUSE = Path(__file__).parents[2]
RECORDINGS = HOUSE.parent / "shared" / "recordings"
WORDS = "é\N{SNOWMAN}"

TEXT = {"type": "text", "text": WORDS}
SPOKEN = {"type": "output_text", "text": WORDS, "annotations": []}
ITEM = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [SPOKEN]}
BODIES: dict[str, dict[str, Any]] = {
    "messages": {"id": "m1", "content": [TEXT], "stop_reason": "end_turn", "usage": {"input_tokens": 1}},
    "responses": {"id": "r1", "object": "response", "status": "completed", "error": None, "output": [ITEM]},
    "completions": {"id": "c1", "choices": [{"index": 0, "message": {"content": WORDS}, "finish_reason": "stop"}]},
    "gemini": {"candidates": [{"index": 0, "content": {"parts": [{"text": WORDS}]}, "finishReason": "STOP"}]},
}
ENDS = {"messages": "message_stop", "responses": "response.completed", "completions": "stop", "gemini": "STOP"}


def body_of(format: str) -> bytes:
    return json.dumps(BODIES[format], ensure_ascii=False).encode()


def stream_of(format: str) -> bytes:
    """What says the same as that body, some 400 bytes to 4 kB of it."""
    events = [*formats.find(format).events_of(BODIES[format])]
    filler = {"type": "ping", "choices": [], "text": "x" * 40}
    ours = [each for each in events if each.get("type") != "ipy_codeinterp.end"]
    end = b"data: [DONE]\n\n" if format == "completions" else b""
    return b"".join(wire_of(each) for each in [filler, *ours]) + end


def wire_of(event: Any) -> bytes:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def heard(answer: Answer, format: str = "messages", **how: Any) -> Result:
    async def main() -> Result:
        async with Relay(answer) as relay:
            return await asyncio.wait_for(hear(relay.base_url, format, **how), 60)

    return asyncio.run(main())


def says_what_to_do(error: ProviderError, status: int | None = None, request_id: str | None = "req_1") -> None:
    assert error.provider == "relay"
    assert (error.request_id, bool(error.hint), bool(str(error))) == (request_id, True, True)
    assert error.status == status if status else isinstance(error.status, int)
    assert KEY not in f"{error!r} {error.hint}"


# --- instead of a reply ---------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Answer, type[ProviderError], int]] = {
    "page": (says(b"<!doctype html><p>hello", kind=PAGE), BadReply, 200),
    "page that is called JSON": (says(b"\n <html>", kind=JSON), BadReply, 200),
    "page that is called a stream": (says(b"<html>"), BadReply, 200),
    "page of a gateway": (says(b"<html>Bad Gateway", 502, PAGE), Overloaded, 502),
    "page not found": (says(b"<html>", 404, PAGE), Rejected, 404),
    "page of a login": (says(b"<html>", 403, PAGE), AuthenticationFailed, 403),
    "nothing": (says(b""), BadReply, 200),
    "nothing, as JSON": (says(b"", kind=JSON), BadReply, 200),
    "blanks": (says(b" \n\r\n" * 99, kind=JSON), BadReply, 200),
    "no content": (says(b"", 204), Rejected, 204),
    "nothing, and an error": (says(b"", 500, JSON), Overloaded, 500),
    "text for an error": (says(b'{"error":"text"}', 400, JSON), Rejected, 400),
    "no JSON": (says(b"hello", kind=JSON), BadReply, 200),
    "half of JSON": (says(b'{"id": ', kind=JSON), BadReply, 200),
    "no text": (says(b'{"id": "\xe2\x98"}', kind=JSON), BadReply, 200),
    "no text in a stream": (says(b'data: {"id": "\xff"}\n\n'), BadReply, 200),
    "a number": (says(b"5", kind=JSON), BadReply, 200),
    "a list of anything": (says(b"[5, null]", kind=JSON), BadReply, 200),
    "deep": (says(b"[" * 100_000), BadReply, 200),
    "a huge number": (says(b'data: {"id": ' + b"9" * 9999 + b"}\n\n"), BadReply, 200),
    "another type": (says(b"PK\x03\x04", kind="application/zip"), BadReply, 200),
    "less than it said": (says(b"data: {}", length=99), BadReply, 200),
    "no gzip": (says(b"data: {}\n\n", Content_Encoding="gzip"), BadReply, 200),
    "half of gzip": (says(gzip.compress(b"data: {}\n\n" * 999)[:-9], Content_Encoding="gzip"), BadReply, 200),
    "half a chunk": (says(b"5\r\nda", Transfer_Encoding="chunked"), BadReply, 200),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", REFUSALS)
def test_instead_of_a_reply(name: str, format: str) -> None:
    """It is an error of ours by its status, with provider, status, request id, and what to do."""
    answer, kind, status = REFUSALS[name]
    with pytest.raises(ProviderError) as caught:
        heard(answer, format)

    assert type(caught.value) is kind
    says_what_to_do(caught.value, status)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", [JSON, STREAM], ids=["JSON", "stream"])
@pytest.mark.parametrize("said", ["text", {"message": "no", "code": 400}, {"message": "no", "type": "x"}], ids=str)
def test_error_in_200(said: Any, kind: str, format: str) -> None:
    """An error that comes with status 200 is an error, in a reply and in a stream."""
    body = {"error": said}
    for named in ({}, {"type": "error"}):
        wire = json.dumps(body).encode() if kind == JSON else wire_of({**named, **body})
        with pytest.raises(ProviderError) as caught:
            heard(says(wire, kind=kind), format)

        assert str(caught.value) in ("text", "no")
        says_what_to_do(caught.value)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"HTTP/1.1 200 OK\r\nx: ", *endless(b"x", size=1 << 24)], id="endless header"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", *endless(b"a: b\r\n", size=1 << 24)], id="endless headers"),
        pytest.param([b"HTTP/1.1 200 ", *endless(b"x", size=1 << 24)], id="endless status"),
        pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n"], id="no HTTP"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], id="no length"),
        pytest.param([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], id="no chunks"),
        pytest.param([b""], id="nothing"),
    ],
)
def test_no_head(pieces: list[bytes]) -> None:
    """What is no HTTP is an error of ours too; there is no status then."""
    with pytest.raises((BadReply, Unreachable)) as caught:
        heard(sends(pieces))

    assert (caught.value.provider, bool(caught.value.hint)) == ("relay", True)


# --- a reply that is called something else --------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", [JSON, STREAM, "text/plain", "application/octet-stream"], ids=str)
def test_by_what_it_is(kind: str, format: str) -> None:
    """A JSON reply where a stream was asked for works, and a stream; whatever they are called."""
    for body in (stream_of(format), body_of(format), b"\n\n" + body_of(format), b"[" + body_of(format) + b"]"):
        assert heard(says(body, kind=kind), format).parts == (Text(WORDS),)


@pytest.mark.parametrize("format", FORMATS)
def test_gzip(format: str) -> None:
    """What is compressed though nobody asked for it is read."""
    answer = says(gzip.compress(stream_of(format)), Content_Encoding="gzip")
    assert heard(answer, format).parts == (Text(WORDS),)


def plain_stream_of(format: str) -> bytes:
    """It begins with what counts."""
    return stream_of(format).split(b"\n\n", 1)[1]


MARK = b"\xef\xbb\xbf"
WRITTEN: dict[str, Callable[[bytes], list[bytes]]] = {
    "line ends of a typewriter": lambda wire: [wire.replace(b"\n", b"\r")],
    "line ends of a teletype": lambda wire: [wire.replace(b"\n", b"\r\n")],
    "a mark before it": lambda wire: [MARK + wire],
    "a mark in two pieces": lambda wire: [MARK[:1], MARK[1:] + b"\r\n" + wire],
    "comments between": lambda wire: [b": on its way\n\n" + wire.replace(b"\n\n", b"\n\n:\n\n")],
    "events without data": lambda wire: [b"event: ping\n\n" + wire.replace(b"\n\n", b"\n\ndata:\n\n")],
    "other fields": lambda wire: [b"id: 1\nretry: 9\n" + wire],
    "an end too many": lambda wire: [wire + b"data: [DONE]\n\n" * 2],
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("way", WRITTEN)
def test_as_others_write(way: str, format: str) -> None:
    """A stream means the same in every spelling that the rules of event streams allow."""
    pieces = WRITTEN[way](plain_stream_of(format))

    assert heard(says(pieces), format).parts == (Text(WORDS),)


@pytest.mark.parametrize("format", FORMATS)
def test_mark_before_json(format: str) -> None:
    """A JSON reply may begin with a mark too."""
    assert heard(says(MARK + body_of(format), kind=JSON), format).parts == (Text(WORDS),)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("usage", [None, "12", [], {"input_tokens": "12", "prompt_tokens": "12"}, 7], ids=str)
def test_usage_that_is_none(usage: Any, format: str) -> None:
    """Usage that cannot be read is not known; what was paid for is not thrown away for that."""
    name = "usageMetadata" if format == "gemini" else "usage"
    result = heard(says(json.dumps({**BODIES[format], name: usage}).encode(), kind=JSON), format)

    assert (result.parts, result.usage.input_tokens, result.usage.output_tokens) == ((Text(WORDS),), None, None)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "said", [{"code": 1001, "msg": "no money"}, {"success": False, "message": "no money"}], ids=str
)
def test_words_instead_of_a_reply(said: Any, format: str) -> None:
    """An object that is no reply is a bad one, and what it says is told."""
    with pytest.raises(BadReply, match="no money") as caught:
        heard(says(json.dumps(said).encode(), kind=JSON), format)

    says_what_to_do(caught.value, 200)


# --- where keys go, and who leaves ----------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(status: int) -> None:
    """A redirect is not followed: the other server never hears of us, and the error names the place."""

    async def main() -> tuple[list[str], ProviderError, str]:
        async with Relay(says(b"{}")) as other, Relay(says(b"", status, Location=other.base_url)) as relay:
            with pytest.raises(Rejected) as caught:
                await hear(relay.base_url, "messages")
            assert KEY in relay.heads[0]
            return other.heads, caught.value, other.base_url

    heads, error, place = asyncio.run(main())
    assert heads == []
    assert place in str(error)
    says_what_to_do(error, status)


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("answer", "kind", "request_id"),
    [
        pytest.param(and_then(says(b"data: "), forever), BadReply, "req_1", id="in the reply"),
        pytest.param(and_then(sends([]), forever), Unreachable, None, id="before it"),
    ],
)
def test_silence(answer: Answer, kind: type[ProviderError], request_id: str | None) -> None:
    """A provider that says nothing is given up; it may have run what was asked."""
    with pytest.raises(kind, match=r"nothing for 0\.2 s") as caught:
        heard(answer, silence=0.2)

    assert (caught.value.may_have_run, caught.value.request_id) == (True, request_id)
    assert (caught.value.provider, bool(caught.value.hint)) == ("relay", True)


WORD: dict[str, dict[str, Any]] = {
    "messages": {"type": "content_block_start", "index": 0, "content_block": TEXT},
    "responses": {"type": "response.output_text.delta", "output_index": 0, "delta": WORDS},
    "completions": {"choices": [{"index": 0, "delta": {"content": WORDS}}]},
    "gemini": {"candidates": [{"index": 0, "content": {"parts": [{"text": WORDS}]}}]},
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("how", ["cancelled", "stops"])
def test_reader_leaves(how: str, format: str) -> None:
    """A reader that is cancelled, or that wants no more, is seen to leave at the provider."""

    async def main() -> None:
        begun = asyncio.Event()

        async def emit(event: Event) -> None:
            if event == TextDelta(WORDS):
                begun.set()
                if how == "stops":
                    raise RuntimeError("enough")

        async with Relay(and_then(says(wire_of(WORD[format])), forever)) as relay:
            running = asyncio.create_task(hear(relay.base_url, format, emit))
            await asyncio.wait_for(begun.wait(), 10)
            if how == "cancelled":
                running.cancel()
            with pytest.raises((asyncio.CancelledError, RuntimeError)):
                await running
            await asyncio.wait_for(relay.left.wait(), 10)

    asyncio.run(main())


# --- cut ------------------------------------------------------------------------------------------


class Cut:
    """A response of these bytes, as far as a reader of replies looks at it."""

    def __init__(self, wire: bytes, kind: str = STREAM) -> None:
        self.wire, self.content_type, self.content = wire, kind, self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.wire


def read(format: str, wire: bytes) -> Any:
    dialect = formats.find(format)
    run = Run(Execution("x"), Offer("m", "relay", 60.0, 1 << 30), ignore)
    decoder = dialect.decoder(Ask(run.execution, "m", 100))
    reading = transport._read(Cut(wire), dialect, decoder, run)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        reading.send(None)
    return decoder.reply()


@pytest.mark.parametrize("format", FORMATS)
def test_cut_at_every_byte(format: str) -> None:
    """A stream and a reply that end early are bad replies, wherever they are cut; from their end on they are whole."""
    body, wire = body_of(format), stream_of(format)
    whole, end = read(format, body).parts, wire.rindex(ENDS[format].encode())
    for at in range(len(body)):
        with pytest.raises(BadReply):
            read(format, body[:at])
    for at in range(len(wire)):
        try:
            found = read(format, wire[:at])
        except BadReply:
            continue
        assert (found.parts, at > end) == (whole, True)


def recorded() -> Iterator[tuple[str, list[bytes]]]:
    for name, format in (
        ("vercel-anthropic-code-execution-20250825.1.chunks.txt", "messages"),
        ("vercel-openai-code-interpreter-tool.1.chunks.txt", "responses"),
    ):
        if not (RECORDINGS / name).exists():
            pytest.skip("the recordings are not here")
        lines = (RECORDINGS / name).read_text("utf-8").splitlines()
        yield format, [wire_of(json.loads(line)) for line in lines if line.strip()]


def test_recordings_cut_at_events() -> None:
    """A recorded stream that ends at, just before or just after any event but the last is a bad reply."""
    for format, events in recorded():
        ends = [sum(map(len, events[:count])) for count in range(1, len(events))]
        wire = b"".join(events)
        assert read(format, wire).parts
        for end in ends[:: max(len(ends) // 60, 1)] + ends[-3:]:
            for at in (end - 1, end, end + 1):
                with pytest.raises(BadReply):
                    read(format, wire[:at])


# --- too much -------------------------------------------------------------------------------------


def in_a_fresh_python(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("relay.py")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize(("flood", "format"), [(name, FORMATS[i % 4]) for i, name in enumerate(FLOODS)])
def test_flood(flood: str, format: str) -> None:
    """A reply without end is an error of ours, and takes no more memory than the largest one that is read."""
    said = in_a_fresh_python(flood, format)

    assert said["error"] in ("BadReply", "Overloaded"), said
    assert (said["provider"], said["request_id"], bool(said["hint"])) == ("relay", "req_1", True)
    most = transport.MOST_REPLY * 1.1 if flood in ("a string", "JSON") else 250 << 20
    assert said["grown"] << 20 < most, said


@pytest.mark.slow
def test_memory_of_a_figure() -> None:
    """A figure of 50 MB takes at most 1.5 times its decoded size while it arrives, though it is said twice."""
    done = subprocess.run([sys.executable, HOUSE / "benchmarks" / "figures.py"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
