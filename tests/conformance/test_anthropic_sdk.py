"""The vendor's own SDK, unchanged, pointed at the gateway by `base_url`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from .served import Served, fenced, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox]

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint(6 * 7)\nx = 5"
TOOLS = ("code_execution_20250522", "code_execution_20250825", "code_execution_20260120", "code_execution_20260521")


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


@pytest.fixture
def client(gateway: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=gateway.token, max_retries=0) as client:
        yield client


def asks(code: str, tool: str = TOOLS[-1], **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1000,
        "tools": [{"type": tool, "name": "code_execution"}],
        "messages": [{"role": "user", "content": fenced(code)}],
        **more,
    }


@pytest.mark.parametrize("tool", TOOLS)
def test_code_runs(client: anthropic.Anthropic, tool: str) -> None:
    """`messages.create` gives the blocks of the tool's version, with stdout and a file for the figure."""
    reply = client.messages.create(**asks(PLOT, tool))

    result = reply.content[-1].content
    assert result.stdout == "42\n"
    assert result.return_code == 0
    assert len(result.content) == 1
    assert reply.usage.input_tokens > 0


@pytest.mark.parametrize("tool", TOOLS)
def test_code_runs_streaming(client: anthropic.Anthropic, tool: str) -> None:
    """`messages.stream` accumulates to the same message."""
    with client.messages.stream(**asks(PLOT, tool)) as stream:
        types = [event.type for event in stream]
        reply = stream.get_final_message()

    assert types[0] == "message_start"
    assert types[-1] == "message_stop"
    assert reply.content[-1].content.stdout == "42\n"
    assert reply.container is not None


def test_beta_methods_work_too(client: anthropic.Anthropic) -> None:
    """`beta.messages` adds a query and headers of its own, which change nothing."""
    reply = client.beta.messages.create(**asks("print(6 * 7)"), betas=["code-execution-2025-08-25"])

    assert reply.content[-1].content.stdout == "42\n"


def test_a_container_is_reused_by_id(client: anthropic.Anthropic) -> None:
    """The id in the reply leads to the same variables, with the history sent back."""
    first = client.messages.create(**asks("x = 41"))
    history = [
        {"role": "user", "content": fenced("x = 41")},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": fenced("print(x + 1)")},
    ]

    second = client.messages.create(**asks("", container=first.container.id, messages=history))

    assert second.content[-1].content.stdout == "42\n"
    assert second.container.id == first.container.id


def test_the_figure_can_be_downloaded(client: anthropic.Anthropic) -> None:
    """`files.download` gives the PNG that the code drew, `files.retrieve_metadata` its name."""
    reply = client.messages.create(**asks(PLOT))
    (figure,) = reply.content[-1].content.content
    files = client.files if hasattr(client, "files") else client.beta.files

    metadata = files.retrieve_metadata(figure.file_id)
    content = files.download(figure.file_id).read()

    assert (metadata.filename, metadata.downloadable) == ("figure-1.png", True)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")


def test_an_uploaded_file_lies_beside_the_code(client: anthropic.Anthropic) -> None:
    """`files.upload` and a `container_upload` block bring a file into the working directory."""
    files = client.files if hasattr(client, "files") else client.beta.files
    uploaded = files.upload(file=("my data.csv", b"a\n7\n"))
    content = [
        {"type": "text", "text": fenced("print(open('my data.csv').read(), end='')")},
        {"type": "container_upload", "file_id": uploaded.id},
    ]

    reply = client.messages.create(**asks("", messages=[{"role": "user", "content": content}]))

    assert reply.content[-1].content.stdout == "a\n7\n"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"messages": [{"role": "user", "content": "please plot something nice"}]}, anthropic.BadRequestError),
        ({"model": "llama"}, anthropic.NotFoundError),
        ({"container": "container_none"}, anthropic.NotFoundError),
        ({"tools": [{"type": "code_execution_20990101", "name": "code_execution"}]}, anthropic.BadRequestError),
        ({"tool_choice": {"type": "none"}}, anthropic.BadRequestError),
    ],
    ids=["prose", "model", "container", "tool", "no tool"],
)
def test_errors_are_the_sdks_own(client: anthropic.Anthropic, changes: dict[str, Any], error: type[Exception]) -> None:
    """What is refused arrives as the SDK's exception of that kind."""
    with pytest.raises(error):
        client.messages.create(**asks("print(1)", **changes))


def test_a_wrong_token_is_an_authentication_error(gateway: Served) -> None:
    """401 arrives as AuthenticationError."""
    with (
        anthropic.Anthropic(base_url=gateway.base_url, api_key="wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(**asks("print(1)"))
