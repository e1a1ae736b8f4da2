"""OpenAI's asynchronous client on every route that is served; the synchronous one is in test_openai_sdk.py."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from .served import Served, fenced, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox]

MODEL = "gpt-5"
OUTPUTS = ["code_interpreter_call.outputs"]
AUTO = {"type": "auto"}
PLOT = "import matplotlib.pyplot as plt\nprint(6 * 7)\nplt.plot([1, 2])\nplt.show()"
RUN_CODE = {
    "type": "function",
    "function": {"name": "run", "parameters": {"type": "object", "properties": {"code": {"type": "string"}}}},
}
Drive = Callable[[Callable[[openai.AsyncOpenAI], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


@pytest.fixture
def drive(gateway: Served) -> Drive:
    """Runs a coroutine with a client of its own."""

    def run(work: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> None:
        async def whole() -> None:
            url = f"{gateway.base_url}/v1"
            async with openai.AsyncOpenAI(base_url=url, api_key=gateway.token, max_retries=0) as client:
                await work(client)

        asyncio.run(whole())

    return run


def asks(code: str, container: Any = AUTO, **more: Any) -> dict[str, Any]:
    tool = {"type": "code_interpreter", "container": container}
    return {"model": MODEL, "input": fenced(code), "tools": [tool], "include": OUTPUTS, **more}


def call_in(response: Any) -> Any:
    return next(item for item in response.output if item.type == "code_interpreter_call")


def logs_in(response: Any) -> str:
    return "".join(output.logs for output in call_in(response).outputs if output.type == "logs")


def test_code_runs(drive: Drive) -> None:
    """In one piece, as a plain stream and by the helper: the text, the figure's bytes, and an error's traceback."""

    async def work(client: openai.AsyncOpenAI) -> None:
        logs, image = call_in(await client.responses.create(**asks(PLOT))).outputs
        assert logs.logs == "42\n"
        assert base64.b64decode(image.url.partition(",")[2]).startswith(b"\x89PNG\r\n\x1a\n")
        events = [event async for event in await client.responses.create(**asks("1 / 0"), stream=True)]
        assert "ZeroDivisionError" in logs_in(events[-1].response)
        async with client.responses.stream(**asks("print(2)")) as stream:
            types = [event.type async for event in stream]
            assert logs_in(await stream.get_final_response()) == "2\n"
        assert (types[0], types[-1]) == ("response.created", "response.completed")

    drive(work)


def test_the_life_of_a_response(drive: Drive) -> None:
    """Kept, asked for with its input, not to be cancelled, deleted; its container is used again."""

    async def work(client: openai.AsyncOpenAI) -> None:
        first = await client.responses.create(**asks("x = 41"))
        second = await client.responses.create(**asks("print(x + 1)"), previous_response_id=first.id)
        assert (logs_in(second), call_in(second).container_id) == ("42\n", call_in(first).container_id)
        assert (await client.responses.retrieve(first.id)).id == first.id
        (item,) = [item async for item in client.responses.input_items.list(first.id)]
        assert item.content[0].text == fenced("x = 41")
        with pytest.raises(openai.BadRequestError):
            await client.responses.cancel(first.id)
        await client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.input_items.list(first.id)
        counted = await client.responses.input_tokens.count(model=MODEL, input="hello there")
        assert counted.input_tokens > 0

    drive(work)


def test_containers_and_files(drive: Drive) -> None:
    """Files go up, into a container, out of it and away, with their bytes unchanged."""

    async def work(client: openai.AsyncOpenAI) -> None:
        file = await client.files.create(file=("a.txt", b"hello"), purpose="user_data")
        room = await client.containers.create(name="room")
        await client.containers.files.create(room.id, file_id=file.id)
        direct = await client.containers.files.create(room.id, file=("b.txt", b"there"))
        response = await client.responses.create(**asks("print(open('a.txt').read(), open('b.txt').read())", room.id))
        assert logs_in(response) == "hello there\n"
        assert room.id in [container.id async for container in client.containers.list()]
        listed = [each.id async for each in client.containers.files.list(room.id)]
        assert direct.id in listed and len(listed) == 2
        assert (await client.containers.files.content.retrieve(direct.id, container_id=room.id)).read() == b"there"
        await client.containers.files.delete(direct.id, container_id=room.id)
        await client.containers.delete(room.id)
        with pytest.raises(openai.NotFoundError):
            await client.containers.retrieve(room.id)
        assert file.id in [each.id async for each in client.files.list()]
        assert (await client.files.retrieve(file.id)).bytes == 5
        assert (await client.files.content(file.id)).read() == b"hello"
        assert (await client.files.delete(file.id)).deleted

    drive(work)


def test_chat(drive: Drive) -> None:
    """A function is called, and an interpreter's words arrive, in one piece and as a stream."""

    async def work(client: openai.AsyncOpenAI) -> None:
        asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": fenced("print(7)")}]}
        whole = await client.chat.completions.create(**asked, tools=[RUN_CODE])
        async with client.chat.completions.stream(**asked, tools=[RUN_CODE]) as stream:
            streamed = await stream.get_final_completion()
        for completion in whole, streamed:
            (call,) = completion.choices[0].message.tool_calls
            assert json.loads(call.function.arguments) == {"code": "print(7)"}
        interpreter: Any = {"type": "code_interpreter"}
        reply = await client.chat.completions.create(**asked, tools=[interpreter])
        chunks = [c async for c in await client.chat.completions.create(**asked, tools=[interpreter], stream=True)]
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert reply.choices[0].message.content == said == "7\n"

    drive(work)


def test_models_and_errors(drive: Drive) -> None:
    """Models are listed and found; what is refused is the SDK's exception of that kind."""

    async def work(client: openai.AsyncOpenAI) -> None:
        assert "gpt" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve(MODEL)).id == MODEL
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("llama")
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(**asks("", input="please plot something nice"))
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(**asks("", input="please plot something nice", stream=True))
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="wrong").models.list()

    drive(work)
