"""What the gateway really sends to OpenAI's clients, over HTTP, against OpenAI's own OpenAPI document."""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .document import faults, needs_document
from .served import Served, fenced, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox, needs_document]

MODEL = "gpt-5"
AUTO = {"type": "code_interpreter", "container": {"type": "auto"}}
CODE = "import os\nprint(6 * 7)\nopen(os.environ['OUTPUT_DIR'] + '/left.txt', 'w').write('x')\n1 / 0"
RUN_CODE = {
    "type": "function",
    "function": {"name": "run", "parameters": {"type": "object", "properties": {"code": {"type": "string"}}}},
}
AGAINST_HANGS = 60.0
PLACES = re.compile(r"\[\d+\]")

# What is sent and the document does not have, by schema and place: each with where the live service, or the type of
# the vendor's own SDK, has it so.
ALLOWED = {
    # recorded in pydantic-ai-test_openai_code_execution_files.yaml: a file that stays has `expires_at` null
    ("OpenAIFile", "$.expires_at: None"),
    ("ListFilesResponse", "$.data[*].expires_at: None"),
    # the SDK's type of a chunk has `finish_reason` optional; the document's own examples have null
    ("CreateChatCompletionStreamResponse", "$.choices[*].finish_reason: None"),
    # the SDK's pages have `first_id` and `last_id` optional: an empty page has no ends
    ("ListFilesResponse", "$.first_id: None"),
    ("ListFilesResponse", "$.last_id: None"),
    ("ContainerListResource", "$.first_id: None"),
    ("ContainerListResource", "$.last_id: None"),
    ("ContainerFileListResource", "$.first_id: None"),
    ("ContainerFileListResource", "$.last_id: None"),
    ("ResponseItemList", "$.first_id: None"),
    ("ResponseItemList", "$.last_id: None"),
}


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each event, without the word that ends a stream of chunks."""
        lines = [line.removeprefix("data: ") for line in self.body.decode().splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


@dataclass(frozen=True)
class Client:
    """Plain HTTP, with the headers of OpenAI's clients."""

    served: Served

    def __call__(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Reply:
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.served.token}", "Content-Type": kind}
        connection = http.client.HTTPConnection(urlsplit(self.served.base_url).netloc, timeout=AGAINST_HANGS)
        try:
            connection.request(method, f"/v1{path}", sent, headers)
            response = connection.getresponse()
            return Reply(response.status, response.read())
        finally:
            connection.close()

    def upload(self, path: str, name: str = "a.csv", **fields: str) -> Reply:
        mark = secrets.token_hex(8)
        parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{said}' for key, said in fields.items()]
        parts.append(f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\na,b\n')
        body = "".join(f"--{mark}\r\n{part}\r\n" for part in parts) + f"--{mark}--\r\n"
        return self("POST", path, body.encode(), f"multipart/form-data; boundary={mark}")

    def run(self, code: str, **more: Any) -> Reply:
        asked = {"model": MODEL, "input": fenced(code), "tools": [AUTO], "include": ["code_interpreter_call.outputs"]}
        return self("POST", "/responses", asked | more)

    def chat(self, tool: Any, **more: Any) -> Reply:
        messages = [{"role": "user", "content": fenced("print(1)")}]
        return self("POST", "/chat/completions", {"model": MODEL, "messages": messages, "tools": [tool], **more})


@pytest.fixture(scope="module")
def ask(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Client]:
    with served(cache_dir, clean_environment) as running:
        yield Client(running)


def unlisted(name: str, body: object) -> list[str]:
    """What the document says against `body`, without what is ALLOWED."""
    return [fault for fault in faults(name, body) if not is_allowed(name, fault)]


def is_allowed(name: str, fault: str) -> bool:
    return any(shown(fault, name, entry) for entry in ALLOWED)


def without_empty_usage(event: Any) -> Any:
    """Until its end a response has `usage` null, as in vercel-openai-code-interpreter-tool.1.chunks.txt."""
    response = event.get("response", {})
    if response.get("usage", 0) is not None or event["type"] == "response.completed":
        return event
    return {**event, "response": {name: said for name, said in response.items() if name != "usage"}}


def body_of(reply: Reply) -> Any:
    assert reply.status == 200, reply.body
    return reply.json


# --- responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"include": []}, {"store": False, "metadata": {"a": "b"}, "instructions": "x"}])
def test_a_response(ask: Client, more: dict[str, Any]) -> None:
    """A response in one piece, with an error and a file in it, is the document's; and so it is when asked for again."""
    said = body_of(ask.run(CODE, **more))

    assert unlisted("Response", said) == []
    if said["store"]:
        assert unlisted("Response", body_of(ask("GET", f"/responses/{said['id']}"))) == []


def test_every_event(ask: Client) -> None:
    """Each event of a stream is the document's."""
    events = ask.run(CODE, stream=True).events

    assert len({event["type"] for event in events}) > 12
    for event in events:
        assert (event["type"], unlisted("ResponseStreamEvent", without_empty_usage(event))) == (event["type"], [])


def test_the_input_of_a_response(ask: Client) -> None:
    """The items are the document's, words and calls alike."""
    first = body_of(ask.run("x = 1"))
    items = [{"role": "user", "content": "before"}, *first["output"], {"role": "user", "content": fenced("print(x)")}]
    second = body_of(ask.run("", input=items))

    page = body_of(ask("GET", f"/responses/{second['id']}/input_items?order=asc"))

    assert [item["type"] for item in page["data"]] == ["message", "code_interpreter_call", "message"]
    assert unlisted("ResponseItemList", page) == []
    assert unlisted("ResponseItemList", body_of(ask("GET", f"/responses/{second['id']}/input_items?after=x"))) == []


def test_counted_tokens(ask: Client) -> None:
    """The count is the document's."""
    counted = ask("POST", "/responses/input_tokens", {"model": MODEL, "input": "hi"})

    assert unlisted("TokenCountsResource", body_of(counted)) == []


# --- containers, files, models --------------------------------------------------------------------


def test_containers(ask: Client) -> None:
    """A container, its files, and the lists of both are the document's."""
    made = body_of(ask("POST", "/containers", {"name": "room", "memory_limit": "1g"}))
    at = f"/containers/{made['id']}"
    assert unlisted("ContainerFileListResource", body_of(ask("GET", f"{at}/files"))) == []
    file = body_of(ask.upload(f"{at}/files"))

    assert unlisted("ContainerResource", made) == unlisted("ContainerResource", body_of(ask("GET", at))) == []
    assert unlisted("ContainerListResource", body_of(ask("GET", "/containers"))) == []
    assert unlisted("ContainerFileResource", file) == []
    assert unlisted("ContainerFileResource", body_of(ask("GET", f"{at}/files/{file['id']}"))) == []
    assert unlisted("ContainerFileListResource", body_of(ask("GET", f"{at}/files"))) == []
    assert unlisted("ContainerListResource", body_of(ask("GET", "/containers?name=no-such-name"))) == []


@pytest.mark.parametrize("fields", [{}, {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}])
def test_files(ask: Client, fields: dict[str, str]) -> None:
    """A file, the list, and the word that it is gone are the document's."""
    file = body_of(ask.upload("/files", purpose="user_data", **fields))

    assert unlisted("OpenAIFile", file) == unlisted("OpenAIFile", body_of(ask("GET", f"/files/{file['id']}"))) == []
    assert unlisted("ListFilesResponse", body_of(ask("GET", "/files"))) == []
    assert unlisted("ListFilesResponse", body_of(ask("GET", "/files?purpose=batch"))) == []
    assert unlisted("DeleteFileResponse", body_of(ask("DELETE", f"/files/{file['id']}"))) == []


def test_models(ask: Client) -> None:
    """The list of models and one of them are the document's."""
    assert unlisted("ListModelsResponse", body_of(ask("GET", "/models"))) == []
    assert unlisted("Model", body_of(ask("GET", f"/models/{MODEL}"))) == []


# --- chat and errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", [{"type": "code_interpreter"}, RUN_CODE], ids=["interpreter", "function"])
def test_chat(ask: Client, tool: Any) -> None:
    """A completion is the document's, and so is each chunk."""
    assert unlisted("CreateChatCompletionResponse", body_of(ask.chat(tool))) == []
    for chunk in ask.chat(tool, stream=True, stream_options={"include_usage": True}).events:
        assert unlisted("CreateChatCompletionStreamResponse", chunk) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/responses", {}, 400),
        ("POST", "/responses", {"model": MODEL, "input": "please plot it", "tools": [AUTO]}, 400),
        ("POST", "/responses", {"model": "llama", "input": "1", "tools": [AUTO]}, 404),
        ("POST", "/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "1"}]}, 400),
        ("POST", "/containers", {}, 400),
        ("GET", "/containers/cntr_none", None, 404),
        ("GET", "/containers/cntr_none/files", None, 404),
        ("GET", "/responses/resp_none", None, 404),
        ("GET", "/files/file-none/content", None, 404),
        ("GET", "/models/llama", None, 404),
        ("POST", "/files", {}, 400),
        ("POST", "/moderations", {}, 404),
        ("PATCH", "/files", {}, 405),
    ],
)
def test_an_error(ask: Client, method: str, path: str, body: Any, status: int) -> None:
    """What is refused has the document's body, whatever refused it."""
    refused = ask(method, path, body)

    assert (refused.status, unlisted("ErrorResponse", refused.json)) == (status, [])


def test_nothing_is_allowed_in_vain(ask: Client) -> None:
    """Each entry of the list is of something that is really sent."""
    response, room = ask.run("1").json["id"], ask("POST", "/containers", {"name": "empty"}).json["id"]
    sent = {
        "CreateChatCompletionStreamResponse": ask.chat({"type": "code_interpreter"}, stream=True).events,
        "ContainerListResource": [ask("GET", "/containers?name=no-such-name").json],
        "ContainerFileListResource": [ask("GET", f"/containers/{room}/files").json],
        "OpenAIFile": [ask.upload("/files", purpose="vision").json],
        "ListFilesResponse": [ask("GET", f"/files?purpose={purpose}").json for purpose in ("batch", "vision")],
        "ResponseItemList": [ask("GET", f"/responses/{response}/input_items?after=x").json],
    }

    found = {(name, fault) for name, bodies in sent.items() for body in bodies for fault in faults(name, body)}

    assert {entry for entry in ALLOWED if not any(shown(fault, name, entry) for name, fault in found)} == set()


def shown(fault: str, name: str, entry: tuple[str, str]) -> bool:
    return name == entry[0] and PLACES.sub("[*]", fault).startswith(entry[1])
