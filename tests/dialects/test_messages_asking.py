"""The Messages format as the vendor speaks it: what is asked of it, and what its replies mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from ipy_codeinterp.dialects import messages
from ipy_codeinterp.dialects.dialect import END_EVENT, Answer, Ask, Call, Round
from ipy_codeinterp.dialects.messages.executed import Sought, Written
from ipy_codeinterp.errors import BadReply, InterpError, InvalidInput
from ipy_codeinterp.execution import CodeDelta, Error, Event, Execution, File, Phase, Step, Stream, Text

from .samples import CODES

TASK = Execution("the mean of data.csv", kind="task")


def an_ask(execution: Execution | str = "x", **how: Any) -> Ask:
    return Ask(Execution(execution) if isinstance(execution, str) else execution, "claude-9", 512, **how)


def asked(execution: Execution | str = "x", **how: Any) -> Any:
    return json.loads(json.dumps(messages.encode_request(an_ask(execution, **how))))


def decoded(events: Iterable[Any], ask: Ask | None = None) -> messages.Reply:
    decoder = messages.decoder(ask or an_ask())
    for event in events:
        list(decoder.feed(event))
    return decoder.reply()


def told(events: Iterable[Any], ask: Ask | None = None) -> list[Event]:
    decoder = messages.decoder(ask or an_ask())
    return [ours for event in events for ours in decoder.feed(event)]


# --- what is asked --------------------------------------------------------------------------------


def test_request() -> None:
    """Code is asked for with the newest tool, forced, and nothing of how to sample."""
    body = asked(container="container_1", files=(File("a.csv", id="file_1"), File("b.csv")))

    content = body.pop("messages")[0]["content"]
    assert [block["type"] for block in content] == ["text", "container_upload"]
    assert content[1]["file_id"] == "file_1"
    assert body == {
        "model": "claude-9",
        "max_tokens": 512,
        "stream": True,
        "tools": [{"type": "code_execution_20260521", "name": "code_execution"}],
        "tool_choice": {"type": "any"},
        "container": "container_1",
    }


@pytest.mark.parametrize("tool", messages.TOOLS)
def test_version_of_the_tool(tool: str) -> None:
    """The version that is asked for is the one that is sent."""
    assert asked(tool=tool)["tools"] == [{"type": tool, "name": "code_execution"}]


def test_task() -> None:
    """A task leaves it to the model how often to run code, and says where files are found and left."""
    body = asked(TASK, files=(File("data.csv", id="file_1"),))

    assert body["tool_choice"] == {"type": "auto"}
    assert "the mean of data.csv" in body["messages"][0]["content"][0]["text"]
    assert 'in $INPUT_DIR: "data.csv"\n' in body["messages"][0]["content"][0]["text"]
    assert "in $OUTPUT_DIR" in body["messages"][0]["content"][0]["text"]


def test_task_to_our_own_gateway() -> None:
    """Our own gateway's directories are not the vendor's."""
    text = asked(TASK, files=(File("data.csv", id="file_1"),), extension={})["messages"][0]["content"][0]["text"]

    assert '"data.csv"' in text
    assert "_DIR" not in text


def test_only_written() -> None:
    """Where nothing is to run there is no tool, no container and no file."""
    task = Execution("the mean", kind="task", execute=False)

    assert set(asked(task, container="c", files=(File("a", id="f"),))) == {"model", "max_tokens", "stream", "messages"}


@pytest.mark.parametrize(
    ("language", "how"), [("r", {}), ("node", {}), ("bash", {"tool": "code_execution_20250522"})], ids=str
)
def test_language_that_is_not_there(language: str, how: dict[str, Any]) -> None:
    """A language that the vendor does not run is refused before anything is sent."""
    with pytest.raises(InvalidInput, match="does not run"):
        asked(Execution("x", language=language), **how)


def test_pauses_are_one_message() -> None:
    """What was said before pauses is sent again unchanged, as one message, and nothing is forced any more."""
    first, second, third = ({"type": "thinking", "signature": "s"}, {"type": "x"}, {"type": "y"})

    body = asked(rounds=(Round((first, second)), Round((third,))))

    assert body["messages"][1:] == [{"role": "assistant", "content": [first, second, third]}]
    assert body["tool_choice"] == {"type": "auto"}


def test_answers() -> None:
    """What came of a call follows what called it, images too."""
    answer = Answer(Call("toolu_1", "1/0"), "ZeroDivisionError", ok=False, images=("aGk=",))

    said, heard = asked(rounds=(Round(({"type": "tool_use", "id": "toolu_1"},), (answer,)),))["messages"][1:]

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    assert said == {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1"}]}
    assert heard["role"] == "user"
    assert heard["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "ZeroDivisionError"}, image],
            "is_error": True,
        }
    ]


def test_where() -> None:
    """Paths and headers are the vendor's; an id cannot lead elsewhere."""
    assert messages.path("claude-9") == "/v1/messages"
    assert messages.headers("k") == {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    assert messages.content_path("file_1") == "/v1/files/file_1/content"
    assert messages.about_path("../x?y") == "/v1/files/..%2Fx%3Fy"


@pytest.mark.parametrize(
    ("body", "name", "size"),
    [
        ({"id": "f", "filename": "a.csv", "size_bytes": 3}, "a.csv", 3),
        ({"id": "f", "filename": "../../etc/passwd", "size_bytes": -1}, "passwd", None),
        ({"id": "f", "filename": "c:\\x\\y.txt", "size_bytes": "3"}, "y.txt", None),
        ({"id": "f", "filename": "x/"}, "f", None),
        ({"id": "f", "filename": 5, "size_bytes": True}, "f", None),
    ],
    ids=str,
)
def test_about(body: dict[str, Any], name: str, size: int | None) -> None:
    """A file is told by the last part of its name, for where it lies is ours to say."""
    file = messages.about(body)

    assert (file.name, file.size, file.id) == (name, size, "f")


def test_about_nothing() -> None:
    """Metadata without an id is a bad reply."""
    with pytest.raises(BadReply):
        messages.about({"filename": "x"})


# --- what is answered -----------------------------------------------------------------------------


def use(name: str, input: Any, id: str = "srvtoolu_1") -> dict[str, Any]:
    return {"type": "server_tool_use", "id": id, "name": name, "input": input}


def result(name: str, content: Any, id: str = "srvtoolu_1") -> dict[str, Any]:
    return {"type": f"{name}_tool_result", "tool_use_id": id, "content": content}


def bash(command: str, id: str = "srvtoolu_1", **content: Any) -> list[dict[str, Any]]:
    facts = {"type": "bash_code_execution_result", "stdout": "", "stderr": "", "return_code": 0, "content": []}
    return [
        use("bash_code_execution", {"command": command}, id),
        result("bash_code_execution", facts | content, id),
    ]


def editor(id: str, input: dict[str, Any], content: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    name = "text_editor_code_execution"
    return [use(name, input, id), result(name, content or {"type": f"{name}_create_result"}, id)]


def a_reply(*blocks: dict[str, Any], stop: str | None = "end_turn", **more: Any) -> list[dict[str, Any]]:
    return list(messages.events_of({"content": list(blocks), "stop_reason": stop, **more}))


def steps(events: Iterable[Any], ask: Ask | None = None) -> list[Step]:
    return [part for part in decoded(events, ask).parts if isinstance(part, Step)]


def streamed(block: dict[str, Any], written: str, size: int) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {}}
    yield {"type": "content_block_start", "index": 0, "content_block": {**block, "input": {}}}
    for at in range(0, len(written), size):
        delta = {"type": "input_json_delta", "partial_json": written[at : at + size]}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {}}
    yield {"type": "message_stop"}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(("name", "member"), [("code_execution", "code"), ("bash_code_execution", "command")])
@pytest.mark.parametrize("code", [code for code in CODES.values() if len(code) < 1000])
def test_code_as_it_is_written(code: str, name: str, member: str, size: int) -> None:
    """Code is told while the model writes it, and that it runs when it is written."""
    events = list(streamed(use(name, {}), json.dumps({member: code}), size))

    shown = told(events)
    decoder = messages.decoder(an_ask())
    for event in events:
        list(decoder.feed(event))
    assert "".join(event.text for event in shown if isinstance(event, CodeDelta)) == code
    assert shown[-1] == Phase("running")
    assert decoder.code == code


def test_code_that_was_cut() -> None:
    """Of a call that the end of the reply cut there is the code as far as it was written."""
    events = list(streamed(use("code_execution", {}), '{"code": "print(1)\\npri', 5))

    (step,) = steps(events)
    assert (step.code, step.outcome, step.outcome_source) == ("print(1)\npri", "unknown", "inferred")
    assert decoded(events).stop == "length"


def test_outputs_as_they_come() -> None:
    """What a call printed is told when its result comes, call by call."""
    events = a_reply(*bash("a", "1", stdout="1\n"), *bash("b", "2", stdout="2\n", stderr="w\n"))

    outputs = [event for event in told(events) if isinstance(event, Stream)]
    assert outputs == [Stream("stdout", "1\n"), Stream("stdout", "2\n"), Stream("stderr", "w\n")]
    assert [step.outputs for step in steps(events)] == [tuple(outputs[:1]), tuple(outputs[1:])]


@pytest.mark.parametrize(
    ("content", "outcome", "source", "outputs"),
    [
        ({"return_code": 0, "stdout": "1"}, "ok", "reported", (Stream("stdout", "1"),)),
        ({"return_code": 2, "stderr": "e"}, "error", "reported", (Stream("stderr", "e"),)),
        ({"return_code": 0, "encrypted_stdout": "x", "stderr": "w"}, "ok", "reported", (Stream("stderr", "w"),)),
        ({"error_code": "execution_time_exceeded"}, "limit", "reported", ()),
        ({"error_code": "output_file_too_large"}, "limit", "reported", ()),
        ({"return_code": "0", "stdout": 5}, "unknown", "inferred", ()),
        ("odd", "unknown", "inferred", ()),
        (None, "unknown", "inferred", ()),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["code_execution", "bash_code_execution"])
def test_outcome(name: str, content: Any, outcome: str, source: str, outputs: tuple[Any, ...]) -> None:
    """The outcome is what the provider says of the end, and unknown where it says nothing."""
    (step,) = steps(a_reply(use(name, {"code": "x", "command": "x"}), result(name, content)))

    assert (step.outcome, step.outcome_source, step.outputs) == (outcome, source, outputs)


@pytest.mark.parametrize("code", ["unavailable", "too_many_requests", "invalid_tool_input", "of_a_later_year"])
def test_did_not_run(code: str) -> None:
    """An interpreter that did not run the code is an error of that name, and nobody knows what came of the code."""
    events = a_reply(use("code_execution", {"code": "x"}), result("code_execution", {"error_code": code}))

    (step,) = steps(events)
    (error,) = step.outputs
    assert isinstance(error, Error)
    assert (error.ename, step.outcome) == (code, "unknown")
    assert error in told(events)


@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("end_turn", "end"),
        ("stop_sequence", "end"),
        ("of_a_later_year", "end"),
        (None, "end"),
        ("tool_use", "end"),  # there is no call
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "context"),
        ("refusal", "refused"),
        ("pause_turn", "paused"),
    ],
)
def test_stop(said: str | None, stop: str) -> None:
    """Why the model stopped is told, and an unknown reason is an end."""
    assert decoded(a_reply(stop=said)).stop == stop


def test_nothing_ran() -> None:
    """Words alone have no step, and an editor runs nothing."""
    create = editor("1", {"command": "create", "path": "/tmp/a.py", "file_text": "x"})
    view = editor("2", {"command": "view", "path": "/tmp/a.py"}, {"error_code": "unavailable", "error_message": "m"})
    others = [{"type": "web_search_tool_result", "tool_use_id": "3", "content": {"error_code": "unavailable"}}]

    reply = decoded(a_reply({"type": "text", "text": "hi"}, *create, *view, *others, {"type": "thinking"}))

    assert reply.parts == (Text("hi"),)


CODE = "import math\nprint(math.pi)"


@pytest.mark.parametrize(
    ("command", "verbatim"),
    [
        (CODE, True),
        (f"python3 <<'EOF'\n{CODE}\nEOF", True),
        (f"cd /tmp && python3 - <<EOF\n\n{CODE}\n\nEOF\nls", True),
        (f"cat > a.py <<'END'\n{CODE}\nEND\npython3 a.py", True),
        (f'python3 -c "{CODE}"', True),
        (f"python3 -c '{CODE}\nprint(2)'", False),
        (f"python3 <<'EOF'\n{CODE}\nprint(2)\nEOF", False),
        (f"echo '{CODE}'", False),
        ("python3 <<'EOF'\nprint(1)", False),
        ("python3 -c 'print(1", False),
    ],
)
def test_verbatim(command: str, verbatim: bool) -> None:
    """Code ran verbatim when it stands whole in the command: alone, in a here-document or behind `-c`."""
    (step,) = steps(a_reply(*bash(command)), an_ask(CODE))

    assert (step.code, step.verbatim, step.language) == (command, verbatim, "bash")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_verbatim_up_to_line_ends(end: str) -> None:
    """Other line ends and blank lines around it are no change; an indent is."""
    assert Sought(CODE).equals(f"{end} {end}{CODE.replace(chr(10), end)}{end}")
    assert not Sought(CODE).equals(" " + CODE)


def test_here_document_that_the_shell_changes() -> None:
    """What the shell may have changed is not verbatim."""
    (step,) = steps(a_reply(*bash("bash <<EOF\necho $HOME\nEOF")), an_ask("echo $HOME"))

    assert step.verbatim is False


def test_file_that_is_run() -> None:
    """A file that was made and then run is told with the command that runs it, as it was then, and only once."""
    path = "/tmp/work/a.py"
    events = a_reply(
        *editor("1", {"command": "create", "path": path, "file_text": "import maths\nprint(math.pi)\n"}),
        *editor("2", {"command": "str_replace", "path": path, "old_str": "maths", "new_str": "math"}),
        *editor("3", {"command": "create", "path": path, "file_text": "no"}, {"error_code": "unavailable"}),
        *bash("cat a.py", "4"),
        *bash("cd /tmp/work && python3 -u a.py > log", "5"),
        *bash("./a.py", "6"),
    )

    shown, first, again = steps(events, an_ask(CODE))
    assert (shown.code, shown.verbatim) == ("cat a.py", False)
    assert first.code == f"cd /tmp/work && python3 -u a.py > log\n\n# {path}\n{CODE}\n"
    assert (first.verbatim, again.code, again.verbatim) == (True, "./a.py", True)


def test_file_nobody_knows() -> None:
    """After an edit that cannot be followed nobody knows what a file holds."""
    written = Written("x")
    written.edit({"command": "create", "path": "a.py", "file_text": "x"})
    written.edit({"command": "insert", "path": "a.py", "insert_line": 1})

    assert written.run("python a.py") == ("python a.py", False)


def test_task_is_not_verbatim() -> None:
    """Where no code was sent nobody can say whether it was changed."""
    (step,) = steps(a_reply(*bash("ls")), an_ask(TASK))

    assert step.verbatim is None


def test_pause() -> None:
    """A call without a result before a pause is told in the round that has its result, with what was written before."""
    create = editor("1", {"command": "create", "path": "a.py", "file_text": CODE})
    (call, came) = bash("python a.py", "2", stdout="3\n")
    said = [{"type": "thinking", "thinking": "t", "signature": "s"}, *create, call]

    first = decoded(a_reply({"type": "text", "text": ""}, *said, stop="pause_turn"), an_ask(CODE))
    second = decoded(a_reply(came), an_ask(CODE, rounds=(Round(first.said),)))

    assert (first.parts, first.stop, list(first.said)) == ((), "paused", said)
    (step,) = second.parts
    assert isinstance(step, Step)
    assert (step.code, step.verbatim, step.outcome) == (f"python a.py\n\n# a.py\n{CODE}", True, "ok")


def test_what_grew_is_said_again_whole() -> None:
    """Thoughts, signatures and citations that came in pieces are repeated as they would have come at once."""
    deltas: list[tuple[int, dict[str, Any]]] = [
        (0, {"type": "thinking_delta", "thinking": "th"}),
        (0, {"type": "thinking_delta", "thinking": "ink"}),
        (0, {"type": "signature_delta", "signature": "sig"}),
        (1, {"type": "text_delta", "text": "wo"}),
        (1, {"type": "citations_delta", "citation": {"cited_text": "c"}}),
        (1, {"type": "text_delta", "text": "rds"}),
        (1, {"type": "later_delta", "x": 1}),
    ]
    thinking, text = {"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": ""}
    start = [{"type": "content_block_start", "index": i, "content_block": b} for i, b in enumerate((thinking, text))]
    events = [{"type": "content_block_delta", "index": index, "delta": delta} for index, delta in deltas]
    end = a_reply(stop="pause_turn")

    reply = decoded([end[0], *start, *events, *end[1:]])

    assert reply.said == (
        {"type": "thinking", "thinking": "think", "signature": "sig"},
        {"type": "text", "text": "words", "citations": [{"cited_text": "c"}]},
    )


def test_call_of_ours() -> None:
    """A function of ours that is called with code is a call, and one without code has a fault."""
    good = {"type": "tool_use", "id": "a", "name": "run_code", "input": {"code": "1", "language": "r"}}
    bad = {"type": "tool_use", "id": "b", "name": "run_code", "input": {"cod": "1"}}

    reply = decoded(a_reply(good, bad, stop="tool_use"))

    assert (reply.stop, reply.said) == ("calls", (good, bad))
    assert reply.calls[0] == Call("a", "1", "r")
    assert (reply.calls[1].id, reply.calls[1].code, bool(reply.calls[1].fault)) == ("b", "", True)


def test_usage() -> None:
    """Input is all that was read, cached or not, and what the end says replaces what the start said."""
    native = {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 11, "output_tokens": 3}
    native |= {"output_tokens_details": {"thinking_tokens": 2}}  # type: ignore[dict-item]
    events = a_reply(usage={"input_tokens": 1, "output_tokens": 1})
    events[-2]["usage"] = native

    usage = decoded(events).usage

    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == (23, 7, 11)
    assert (usage.output_tokens, usage.reasoning_tokens, usage.estimated) == (3, 2, False)
    assert usage.native == native


@pytest.mark.parametrize("odd", [-1, True, "5", 1.5, None, [], {}], ids=str)
def test_usage_that_is_none(odd: Any) -> None:
    """What is no number of tokens was not said."""
    assert decoded(a_reply(usage={"input_tokens": odd, "output_tokens": odd})).usage.input_tokens is None


def test_files_left() -> None:
    """A file that code left has its id, and the id is its name until somebody asks; what is no file is passed over."""
    left = [{"type": "bash_code_execution_output", "file_id": "file_1"}, {"file_id": 5}, "x"]

    (step,) = steps(a_reply(*bash("ls", content=left)))

    assert step.files == (File("file_1"),)
    assert step.files[0].id == "file_1"


def test_end_of_another_format() -> None:
    """A relay's `[DONE]` is passed over, and is no end of the reply."""
    assert messages.is_end("[DONE]")
    assert not messages.is_end('{"type": "message_stop"}')
    assert told([END_EVENT]) == []
    with pytest.raises(BadReply):
        decoded([END_EVENT])


def test_error_instead_of_a_reply() -> None:
    """A relay's error with HTTP 200 is an error."""
    with pytest.raises(InterpError, match="because"):
        decoded(messages.events_of({"error": {"type": "api_error", "message": "because"}}))


@pytest.mark.parametrize("body", [{}, {"content": None}, {"content": "x"}], ids=str)
def test_no_reply(body: dict[str, Any]) -> None:
    """JSON that is no reply of the format is a bad reply."""
    with pytest.raises(BadReply):
        decoded(messages.events_of(body))
