"""How a run is streamed: kept alive while it is silent, and ended in words when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.gateway import streaming, tokens
from ipy_codeinterp.gateway.runs import Passage


@dataclass
class Told:
    """A story of plain words."""

    keep_alive: bytes = streaming.COMMENT

    def begin(self) -> Iterator[bytes]:
        yield b"begin "

    def more(self, event: Any) -> Iterator[bytes]:
        yield f"{event} ".encode()

    def end(self, ran: Ran) -> Iterator[bytes]:
        yield b"end"

    def fail(self, message: str) -> Iterator[bytes]:
        yield message.encode()


class Run:
    """Of nothing: its events are given beside it."""

    ahead = False
    ran = Ran((), "ok", 0)


def body_of(events: AsyncIterator[Any]) -> bytes:
    """What a client reads while `events` come."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await streaming.tell(request, Told(), cast(Passage, Run()), events, {"x-of-ours": "1"})

    async def ask() -> bytes:
        app = web.Application()
        app.router.add_get("/", answer)
        async with TestClient(TestServer(app)) as client, client.get("/") as response:
            assert (response.content_type, response.headers["x-of-ours"]) == ("text/event-stream", "1")
            return await response.read()

    return asyncio.run(ask())


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """While code runs without a word comments are sent, which parsers pass over, and none before or after."""
    monkeypatch.setattr(streaming, "KEEP_ALIVE_EVERY", 0.02)

    async def silent() -> AsyncIterator[str]:
        await asyncio.sleep(0.2)
        yield "more"

    said = body_of(silent())

    assert streaming.COMMENT.startswith(b":") and streaming.COMMENT in said
    assert said.replace(streaming.COMMENT, b"") == b"begin more end"


def test_a_stream_that_breaks_says_so() -> None:
    """An error after the status was sent is the stream's last word."""

    async def breaks() -> AsyncIterator[str]:
        yield "more"
        raise OSError("no room")

    assert body_of(breaks()) == b"begin more OSError: no room"


def test_tokens_are_counted_by_what_the_header_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tokenizer characters / 4 are counted, rounded up, and the header says so."""
    monkeypatch.setattr(tokens, "_is_installed", lambda: False)
    tokens._counter.cache_clear()
    try:
        assert asyncio.run(tokens.count("x" * 9)) == 3
        assert tokens.headers() == {tokens.COUNTED_BY: "characters/4"}
    finally:
        tokens._counter.cache_clear()


def test_the_tokenizer_counts_any_text() -> None:
    """Halves of characters and names of special tokens are text like any other; long texts count in proportion."""
    pytest.importorskip("quicktok")
    tokens._counter.cache_clear()

    assert tokens.headers() == {tokens.COUNTED_BY: "o200k_base"}
    assert asyncio.run(tokens.count("hello world")) == 2
    assert asyncio.run(tokens.count("\ud800<|endoftext|>")) > 1
    assert asyncio.run(tokens.count("word " * 200_000)) == pytest.approx(200_000, rel=0.01)
