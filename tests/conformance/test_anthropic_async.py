"""Anthropic's asynchronous client on every route that is served, and what the synchronous tests do not reach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from .served import Served, fenced, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox]

MODEL = "claude-sonnet-5-5"
TOOL = {"type": "code_execution_20260521", "name": "code_execution"}
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint(6 * 7)"
FAILING = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n1 / 0"
Drive = Callable[[Callable[[anthropic.AsyncAnthropic], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


@pytest.fixture
def drive(gateway: Served) -> Drive:
    """Runs a coroutine with a client of its own."""

    def run(work: Callable[[anthropic.AsyncAnthropic], Awaitable[None]]) -> None:
        async def whole() -> None:
            about = {"base_url": gateway.base_url, "api_key": gateway.token}
            async with anthropic.AsyncAnthropic(**about, max_retries=0) as client:
                await work(client)

        asyncio.run(whole())

    return run


def asks(text: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 1000, "tools": [TOOL], "messages": messages, **more}


def test_code_runs(drive: Drive) -> None:
    """In one piece, by the helper and as a plain stream, what code prints on either stream, and that it failed."""

    async def work(client: anthropic.AsyncAnthropic) -> None:
        whole = await client.messages.create(**asks(fenced(FAILING)))
        async with client.messages.stream(**asks(fenced(FAILING))) as stream:
            streamed = await stream.get_final_message()
        for reply in whole, streamed:
            result = reply.content[-1].content
            assert (result.stdout, result.return_code) == ("out\n", 1)
            assert result.stderr.startswith("err\n") and "ZeroDivisionError" in result.stderr
        types = [event.type async for event in await client.messages.create(**asks(fenced("1")), stream=True)]
        assert (types[0], types[-1]) == ("message_start", "message_stop")

    drive(work)


def test_containers_and_files(drive: Drive) -> None:
    """A container is used again by its id; a file goes up, beside the code, and a figure comes down."""

    async def work(client: anthropic.AsyncAnthropic) -> None:
        files = client.files if hasattr(client, "files") else client.beta.files
        uploaded = await files.upload(file=("a.csv", b"a\n7\n"))
        text = {"type": "text", "text": fenced("x = open('a.csv').read()")}
        content = [text, {"type": "container_upload", "file_id": uploaded.id}]
        first = await client.messages.create(**asks("", messages=[{"role": "user", "content": content}]))
        again = asks(fenced(f"print(x, end='')\n{PLOT}"), container=first.container.id)
        second = await client.messages.create(**again)
        result = second.content[-1].content
        assert (result.stdout, second.container.id) == ("a\n7\n42\n", first.container.id)
        (figure,) = result.content
        downloaded = await files.download(figure.file_id)
        assert (await downloaded.read()).startswith(b"\x89PNG\r\n\x1a\n")
        assert {uploaded.id, figure.file_id} <= {file.id async for file in files.list()}
        assert (await files.delete(uploaded.id)).id == uploaded.id
        with pytest.raises(anthropic.NotFoundError):
            await files.retrieve_metadata(uploaded.id)

    drive(work)


def test_tokens_models_and_errors(drive: Drive) -> None:
    """Tokens are counted, models are found, and what is refused is the SDK's exception of that kind."""

    async def work(client: anthropic.AsyncAnthropic) -> None:
        messages: Any = [{"role": "user", "content": "hello there"}]
        assert (await client.messages.count_tokens(model=MODEL, messages=messages)).input_tokens > 0
        assert "claude" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve(MODEL)).id == MODEL
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("llama")
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(**asks("please plot something nice"))
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(**asks("1", container="container_none"), stream=True)
        with pytest.raises(anthropic.AuthenticationError):
            await client.with_options(api_key="wrong").models.list()

    drive(work)


def test_the_synchronous_client_counts_and_lists(gateway: Served) -> None:
    """`count_tokens`, `models` and `files` work without a loop too."""
    about = {"base_url": gateway.base_url, "api_key": gateway.token}
    with anthropic.Anthropic(**about, max_retries=0) as client:
        files = client.files if hasattr(client, "files") else client.beta.files
        uploaded = files.upload(file=("a.txt", b"hi"))

        assert client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hello"}]).input_tokens
        assert client.models.retrieve("claude").id in [model.id for model in client.models.list()]
        assert uploaded.id in [file.id for file in files.list()]
        files.delete(uploaded.id)
        with pytest.raises(anthropic.NotFoundError):
            files.retrieve_metadata(uploaded.id)
