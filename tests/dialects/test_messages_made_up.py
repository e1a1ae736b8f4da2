"""The Messages format as nobody speaks it: whatever is said, nothing comes of it but values and errors of ours."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipy_codeinterp.dialects import messages
from ipy_codeinterp.dialects.dialect import Ask, Round
from ipy_codeinterp.dialects.messages.executed import Written
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Execution, Step, Text


def an_ask(code: str = "x", **how: Any) -> Ask:
    return Ask(Execution(code), "claude-9", 512, **how)


def decoded(events: Iterable[Any]) -> messages.Reply:
    decoder = messages.decoder(an_ask())
    for event in events:
        list(decoder.feed(event))
    return decoder.reply()


TYPES_SAID = """
message_start content_block_start content_block_delta content_block_stop message_delta message_stop error
ipy_codeinterp.start ipy_codeinterp.output server_tool_use tool_use text thinking code_execution_tool_result
bash_code_execution_tool_result text_editor_code_execution_tool_result text_delta input_json_delta
citations_delta code_execution bash_code_execution text_editor_code_execution pause_turn tool_use create
str_replace stream
"""
FIELDS_SAID = """
type index content_block delta message id name input tool_use_id content text partial_json citation usage
container stop_reason code command path file_text old_str new_str stdout return_code error_code file_id
output_type input_tokens output outputs outcome files limit ipy_codeinterp error
"""
TYPES, FIELDS = TYPES_SAID.split(), FIELDS_SAID.split()
scalars = st.none() | st.booleans() | st.integers(0, 3) | st.floats() | st.sampled_from(TYPES) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=10,
)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={
        "id": st.sampled_from(["a", "b"]) | values,
        "tool_use_id": st.sampled_from(["a", "b"]) | values,
        "name": st.sampled_from(TYPES) | values,
        "input": values,
        "text": st.text(max_size=3) | values,
        "content": values,
        "ipy_codeinterp": values,
    },
)
deltas = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES), "partial_json": st.text('{"code:}\\', max_size=9), "text": st.text(max_size=3)}
)
likely = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES[:9])},
    optional={
        "index": st.integers(0, 2) | values,
        "content_block": blocks | values,
        "message": values,
        "delta": st.fixed_dictionaries(
            {"type": st.sampled_from(TYPES), "partial_json": st.text('{"code:}\\', max_size=9)}
        )
        | values,
        "usage": values,
        "output": values,
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150, deadline=None)
@given(st.lists(likely | values, max_size=8), st.lists(blocks, max_size=3))
def test_made_up_events(events: list[Any], said: list[Any]) -> None:
    """Whatever comes as events, nothing is raised but our errors."""
    decoder = messages.decoder(an_ask("code", rounds=(Round(tuple(said)),)))
    for event in [*events, {"type": "message_stop"}]:
        with contextlib.suppress(InterpError):
            list(decoder.feed(event))
    with contextlib.suppress(InterpError):
        assert all(isinstance(part, Text | Step) for part in decoder.reply().parts)
    assert isinstance(decoder.container, str | None)
    assert isinstance(decoder.code, str | None)
    assert isinstance(decoder.isolation, str | None)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150, deadline=None)
@given(st.lists(blocks | values, max_size=5), st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
def test_made_up_reply(content: list[Any], more: dict[str, Any]) -> None:
    """Whatever comes as a reply in JSON, nothing is raised but our errors."""
    with contextlib.suppress(InterpError):
        decoded(messages.events_of({**more, "content": content}))


@settings(max_examples=150)
@given(st.text("ab{} \n", max_size=30), st.sampled_from(["code_execution_20260521", "code_execution_20250825"]))
def test_code_there_and_back(code: str, tool: str) -> None:
    """Whatever code is asked of the gateway without a model comes back as the code that ran, verbatim."""
    heard = messages.decode_request(json.loads(json.dumps(messages.encode_request(an_ask(code, tool=tool)))))
    names = {"message_id": "m", "tool_use_id": "t", "container": "c", "expires_at": "", "isolation": "none"}
    facts = {"container_new": True, "warm": True, "language": "python", "extended": False}
    envelope = messages.Envelope(**names, **facts, asked=heard, code=code)  # type: ignore[arg-type]

    decoder = messages.decoder(an_ask(code))
    for event in messages.events_of(messages.encode_reply(envelope, messages.Ran((), "ok", 0))):
        list(decoder.feed(event))
    (step,) = decoder.reply().parts
    assert isinstance(step, Step)
    assert step.verbatim
    assert code in step.code


def test_text_made_to_be_slow() -> None:
    """A command made of nothing but here-documents and scripts is read in the time its length takes."""
    began = time.process_time()
    for piece in ("python a.py;", "cat > a.py <<A\nx\nA\n", "<<'", "python -a ", "  (", "\n/", "sh <<A\n"):
        written = Written("y\n" * 100_000)
        written.edit({"command": "create", "path": "a.py", "file_text": "x\n" * 100_000})
        written.run(piece * (500_000 // len(piece)))

    assert time.process_time() - began < 10
