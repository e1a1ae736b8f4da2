"""OpenAI's own SDK, unchanged, pointed at the gateway by `base_url`."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from .served import Served, fenced, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox]

MODEL = "gpt-6.1-sol"
OUTPUTS = ["code_interpreter_call.outputs"]
AUTO = {"type": "auto"}
PNG = b"\x89PNG\r\n\x1a\n"
PLOT = "import matplotlib.pyplot as plt\nprint(6 * 7)\nplt.plot([1, 2])\nplt.show()\nprint('after')"
RUN_CODE = {
    "type": "function",
    "function": {
        "name": "run_code",
        "parameters": {
            "type": "object",
            "properties": {"language": {"enum": ["python", "r"]}, "code": {"type": "string"}},
        },
    },
}


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


@pytest.fixture
def client(gateway: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.token, max_retries=0) as client:
        yield client


def asks(code: str, container: Any = AUTO, **more: Any) -> dict[str, Any]:
    tool = {"type": "code_interpreter", "container": container}
    return {"model": MODEL, "input": fenced(code), "tools": [tool], "include": OUTPUTS, **more}


def call_in(response: Any) -> Any:
    return next(item for item in response.output if item.type == "code_interpreter_call")


def logs_in(response: Any) -> str:
    return "".join(output.logs for output in call_in(response).outputs if output.type == "logs")


# --- responses --------------------------------------------------------------------------------------


def test_code_runs(client: openai.OpenAI) -> None:
    """`responses.create` gives the call with its code, what was printed, the figure's bytes, and whole numbers."""
    response = client.responses.create(**asks(PLOT))

    call = call_in(response)
    assert (response.status, call.status, call.code) == ("completed", "completed", PLOT)
    before, image, after = call.outputs
    assert (before.logs, after.logs) == ("42\n", "after\n")
    assert base64.b64decode(image.url.removeprefix("data:image/png;base64,")).startswith(PNG)
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0
    assert (usage.input_tokens_details.cache_write_tokens, usage.output_tokens_details.reasoning_tokens) == (0, 0)


def test_code_runs_streaming(client: openai.OpenAI) -> None:
    """`responses.stream` accepts the order of the events, and accumulates them to the same response."""
    with client.responses.stream(**asks(PLOT)) as stream:
        events = list(stream)
        response = stream.get_final_response()

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert logs_in(response) == "42\nafter\n"


def test_the_plain_stream_brings_outputs_with_the_item(client: openai.OpenAI) -> None:
    """`create(stream=True)` has the code in deltas and the outputs in the item that is done."""
    events = list(client.responses.create(**asks("print('é')"), stream=True))

    code = "".join(e.delta for e in events if e.type == "response.code_interpreter_call_code.delta")
    (done,) = [e.item for e in events if e.type == "response.output_item.done"]
    assert code == "print('é')"
    assert [output.logs for output in done.outputs] == ["é\n"]


def test_async_clients_work_too(gateway: Served) -> None:
    """The asynchronous client runs code, streaming and not."""

    async def both() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.token) as client:
            whole = await client.responses.create(**asks("print(1)"))
            async with client.responses.stream(**asks("print(2)")) as stream:
                return logs_in(whole), logs_in(await stream.get_final_response())

    assert asyncio.run(both()) == ("1\n", "2\n")


def test_without_include_there_are_no_outputs(client: openai.OpenAI) -> None:
    """Outputs are null for whoever did not ask for them, and can be asked for later."""
    response = client.responses.create(**asks("print(1)", include=[]))
    assert call_in(response).outputs is None

    assert call_in(client.responses.retrieve(response.id)).outputs is None
    assert logs_in(client.responses.retrieve(response.id, include=OUTPUTS)) == "1\n"


def test_errors_of_the_code_are_in_the_logs(client: openai.OpenAI) -> None:
    """Standard error and the traceback are in `logs`, after what was printed before."""
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n1 / 0"

    logs = logs_in(client.responses.create(**asks(code)))

    assert logs.startswith("out\nerr\n")
    assert "ZeroDivisionError: division by zero" in logs and "\x1b" not in logs


def test_code_that_takes_too_long_has_failed(client: openai.OpenAI) -> None:
    """A run that hits the time limit is a call that failed, in a response that did not; the logs say why."""
    limited = {"extra_body": {"ipy_codeinterp": {"timeout": 0.5}}}

    response = client.responses.create(**asks("print('begun', flush=True)\nwhile True: pass"), **limited)

    assert (response.status, call_in(response).status) == ("completed", "failed")
    assert logs_in(response).startswith("begun\n") and "time limit of 0.5 second" in logs_in(response)


def test_a_container_is_reused(client: openai.OpenAI) -> None:
    """By its id, by the response before, and by the items that are sent back, the variables are there again."""
    first = client.responses.create(**asks("x = 41"))
    container = call_in(first).container_id

    by_id = client.responses.create(**asks("print(x + 1)", container))
    by_response = client.responses.create(**asks("print(x + 2)"), previous_response_id=first.id)
    items = [*(item.model_dump() for item in first.output), {"role": "user", "content": fenced("print(x + 3)")}]
    by_items = client.responses.create(**{**asks(""), "input": items})

    assert [logs_in(response) for response in (by_id, by_response, by_items)] == ["42\n", "43\n", "44\n"]
    assert {call_in(response).container_id for response in (by_id, by_response, by_items)} == {container}


def test_a_response_is_kept_unless_it_is_not_to_be(client: openai.OpenAI) -> None:
    """`retrieve` finds what `store` kept, `delete` forgets it, `cancel` has nothing to cancel."""
    kept, not_kept = (client.responses.create(**asks("print(1)"), store=store) for store in (True, False))

    assert client.responses.retrieve(kept.id).id == kept.id
    (item,) = client.responses.input_items.list(kept.id)
    assert item.content[0].text == fenced("print(1)")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(kept.id)
    client.responses.delete(kept.id)
    for id in (kept.id, not_kept.id):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(id)


def test_tokens_are_counted_before_sending(client: openai.OpenAI) -> None:
    """`input_tokens.count` says what `usage` would."""
    counted = client.responses.input_tokens.count(model=MODEL, input=fenced("print(1)"))

    assert counted.input_tokens == client.responses.create(**asks("print(1)")).usage.input_tokens > 0


# --- containers and files ---------------------------------------------------------------------------


def test_the_life_of_a_container(client: openai.OpenAI) -> None:
    """A container is made, listed page by page, run in, and gone when it was deleted."""
    made = [client.containers.create(name=f"room {i}", memory_limit="4g") for i in range(3)]
    ids = [container.id for container in made]

    assert (made[0].memory_limit, made[0].status, made[0].expires_after.minutes) == ("4g", "running", 20)
    assert [c.id for c in client.containers.list(limit=2, order="asc") if c.id in ids] == ids
    assert client.containers.retrieve(ids[0]).name == "room 0"
    assert logs_in(client.responses.create(**asks("print(1)", ids[0]))) == "1\n"
    client.containers.delete(ids[0])
    with pytest.raises(openai.NotFoundError):
        client.responses.create(**asks("print(1)", ids[0]))


def test_files_go_into_a_container_and_come_out(client: openai.OpenAI) -> None:
    """Uploads and files by id lie beside the code; what it leaves is cited, listed and can be read."""
    by_id = client.files.create(file=("by id.csv", b"a\n7\n"), purpose="user_data")
    container = client.containers.create(name="files")
    client.containers.files.create(container.id, file_id=by_id.id)
    uploaded = client.containers.files.create(container.id, file=("up.txt", b"hello"))
    code = (
        "import os\nprint(open('by id.csv').read() + open('up.txt').read())\n"
        "open(os.environ['OUTPUT_DIR'] + '/left.bin', 'wb').write(bytes(range(256)));"
    )

    response = client.responses.create(**asks(code, container.id))

    assert logs_in(response) == "a\n7\nhello\n"
    (part,) = response.output[-1].content
    (cited,) = part.annotations
    assert (cited.container_id, cited.filename) == (container.id, "left.bin")
    assert "left.bin" in part.text[cited.start_index : cited.end_index]
    files = client.containers.files
    assert files.content.retrieve(cited.file_id, container_id=container.id).read() == bytes(range(256))
    assert {file.source for file in files.list(container.id)} == {"user", "assistant"}
    assert files.retrieve(uploaded.id, container_id=container.id).bytes == 5
    files.delete(uploaded.id, container_id=container.id)
    with pytest.raises(openai.NotFoundError):
        files.retrieve(uploaded.id, container_id=container.id)


def test_files_of_the_request_lie_beside_the_code(client: openai.OpenAI) -> None:
    """`container.file_ids`, and parts of the input with an id or with the content, are files of the run."""
    one, two = (client.files.create(file=(name, name.encode()), purpose="assistants") for name in ("one", "two"))
    carried = {"type": "input_file", "filename": "three", "file_data": "data:text/plain;base64,dGhyZWU="}
    text = {"type": "input_text", "text": fenced("print(*(open(n).read() for n in ('one', 'two', 'three')))")}
    content = [text, {"type": "input_file", "file_id": two.id}, carried]

    asked = asks("", {"type": "auto", "file_ids": [one.id]}) | {"input": [{"role": "user", "content": content}]}

    assert logs_in(client.responses.create(**asked)) == "one two three\n"


def test_the_life_of_a_file(client: openai.OpenAI) -> None:
    """A file is uploaded, described, listed by purpose, read and deleted in OpenAI's shape."""
    expires = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("d.csv", b"a,b\n"), purpose="vision", expires_after=expires)

    assert (file.id[:5], file.bytes, file.filename, file.purpose) == ("file-", 4, "d.csv", "vision")
    assert file.expires_at == file.created_at + 3600
    assert [found.id for found in client.files.list(purpose="vision")] == [file.id]
    assert client.files.content(file.id).read() == b"a,b\n"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


# --- chat -------------------------------------------------------------------------------------------


def test_chat_calls_the_function_that_takes_code(client: openai.OpenAI) -> None:
    """A declared function with a `code` parameter is called with the code, streaming and not; then there is an end."""
    messages: list[Any] = [{"role": "user", "content": fenced("print(6 * 7)")}]
    asked: dict[str, Any] = {"model": MODEL, "messages": messages, "tools": [RUN_CODE]}

    reply = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()

    for completion in (reply, streamed):
        (choice,) = completion.choices
        (call,) = choice.message.tool_calls
        assert choice.finish_reason == "tool_calls"
        assert json.loads(call.function.arguments) == {"language": "python", "code": "print(6 * 7)"}
        assert completion.usage.completion_tokens > 0
    call = reply.choices[0].message.tool_calls[0]
    answered = [*messages, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    end = client.chat.completions.create(**asked | {"messages": answered})
    assert (end.choices[0].finish_reason, end.choices[0].message.tool_calls) == ("stop", None)


def test_chat_with_an_interpreter_runs_the_code(client: openai.OpenAI) -> None:
    """A tool that some relays are said to know runs the code; the pieces of the stream are what it prints."""
    content = "Execute the following python code:\n\n``python\nprint('one')\nprint('two')\n``"
    tool: Any = {"type": "code_interpreter", "description": "Execute Python code"}
    asked: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": content}], "tools": [tool]}

    reply = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True))

    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("one\ntwo\n", "stop")
    assert reply.usage.prompt_tokens > 0 and reply.usage.completion_tokens > 0
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one\ntwo\n"


# --- models and errors ------------------------------------------------------------------------------


def test_models(client: openai.OpenAI) -> None:
    """The models are listed, and each name that is served can be asked for."""
    assert "gpt" in {model.id for model in client.models.list()}
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("llama")
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("changes", "error", "param", "code"),
    [
        ({"input": "please plot something nice"}, openai.BadRequestError, None, None),
        ({"tools": []}, openai.BadRequestError, None, None),
        ({"model": "llama"}, openai.NotFoundError, "model", "model_not_found"),
        (
            {"tools": [{"type": "code_interpreter"}]},
            openai.BadRequestError,
            "tools[0].container",
            "missing_required_parameter",
        ),
        (
            {"tools": [{"type": "code_interpreter", "container": {**AUTO, "memory_limit": "512m"}}]},
            openai.BadRequestError,
            "tools[0].container.memory_limit",
            "invalid_value",
        ),
        ({"include": ["all"]}, openai.BadRequestError, "include[0]", "invalid_value"),
        ({"previous_response_id": "resp_none"}, openai.BadRequestError, "previous_response_id", None),
        (
            {"tools": [{"type": "code_interpreter", "container": "cntr_none"}]},
            openai.NotFoundError,
            None,
            "container_not_found",
        ),
    ],
    ids=["prose", "no tool", "model", "no container", "memory", "include", "previous", "container"],
)
def test_errors_are_the_sdks_own(
    client: openai.OpenAI, changes: dict[str, Any], error: type[openai.APIStatusError], param: str | None, code: str
) -> None:
    """What is refused arrives as the SDK's exception of that kind, with the part of the request that is wrong."""
    with pytest.raises(error) as raised:
        client.responses.create(**{**asks("print(1)"), **changes})
    assert raised.value.param == param
    assert code is None or raised.value.code == code
    assert raised.value.request_id


def test_a_wrong_token_is_an_authentication_error(gateway: Served) -> None:
    """401 arrives as AuthenticationError, in OpenAI's body."""
    with (
        openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.models.list()
    assert raised.value.code == "invalid_api_key"
