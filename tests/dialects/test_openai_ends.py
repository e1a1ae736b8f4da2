"""Both ends of OpenAI's formats plugged into each other: what the gateway says is what the client hears."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects import completions, prompt, responses
from ipy_codeinterp.dialects.completions import serving as chat
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.extension import Ran, encode_output
from ipy_codeinterp.dialects.responses import requested, serving
from ipy_codeinterp.execution import Error, Execution, File, Step, Stream
from ipy_codeinterp.outputs import Collector

CODE = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
OUTPUTS = st.lists(
    st.builds(Stream, st.sampled_from(["stdout", "stderr"]), st.text(min_size=1))
    | st.builds(Error, st.text(), st.text(), st.lists(st.text(), max_size=3).map(tuple))
).map(lambda events: Collector(events).outputs)
RUNS = st.builds(
    Ran,
    outputs=OUTPUTS,
    outcome=st.sampled_from(["ok", "error", "crashed"]),
    exit_status=st.just(0),
    files=st.lists(st.just(File("x.txt", "ab" * 32, 3, id="cfile_1")), max_size=1).map(tuple),
    seconds=st.floats(0, 600),
)


def said(ask: Ask, ran: Ran) -> list[dict[str, Any]]:
    """The gateway's events in answer to `ask`."""
    asked = requested.decode_request(responses.encode_request(ask))
    (block,) = prompt.blocks(asked.text)
    facts = ("cntr_1", True, "bubblewrap", True, ask.extension is not None)
    envelope = serving.Envelope("resp_1", "ci_1", "msg_1", 0, asked, block.content, *facts, serving.Tokens(3, 2))
    cited = tuple(serving.Cited(file.id or "", file.name, f"/tmp/output/{file.name}") for file in ran.files)
    between = [encode_output(output) for output in ran.outputs] if ask.extension is not None else []
    return [*serving.encode_start(envelope), *between, *serving.encode_end(envelope, ran, cited)]


@given(CODE, RUNS)
def test_all_of_a_run_is_heard_by_our_client(code: str, ran: Ran) -> None:
    """With the extension code, outputs, outcome, files, container, usage and time arrive as they were."""
    ask = Ask(Execution(code), "gpt-5", 100, extension={})
    decoder = responses.decoder(ask)
    for event in said(ask, ran):
        list(decoder.feed(event))
    reply = decoder.reply()

    (step,) = (part for part in reply.parts if isinstance(part, Step))
    assert (step.code, step.outputs, step.outcome) == (ask.execution.body, ran.outputs, ran.outcome)
    assert [file.id for file in step.files] == [f"cntr_1/{file.id}" for file in ran.files]
    assert (reply.container, reply.container_new, reply.execution_seconds) == ("cntr_1", True, ran.seconds)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 2)


@given(CODE, RUNS)
def test_a_client_of_the_vendor_hears_code_and_logs(code: str, ran: Ran) -> None:
    """Without the extension the code is whole, and what was printed is one text in its order."""
    ask = Ask(Execution(code), "gpt-5", 100)
    decoder = responses.decoder(ask)
    for event in said(ask, ran):
        list(decoder.feed(event))

    (step,) = (part for part in decoder.reply().parts if isinstance(part, Step))
    assert step.code == ask.execution.body
    assert "".join(output.text for output in step.outputs if isinstance(output, Stream)) == chat.printed(ran)


@given(CODE)
def test_a_call_of_a_function_is_heard(code: str) -> None:
    """The code that a call carries in chat completions is what the client runs."""
    ask = Ask(Execution(code), "m", 100)
    asked = chat.decode_request(completions.encode_request(ask))
    (block,) = prompt.blocks(asked.text)
    envelope = chat.Envelope("chatcmpl-1", 0, asked, 3, False)
    decoder = completions.decoder(ask)
    for chunk in chat.encode_whole(envelope, chat.call_of(envelope, "call_1", block.content, "python"), 2):
        list(decoder.feed(chunk))

    reply = decoder.reply()
    assert ([call.code for call in reply.calls], reply.stop) == ([ask.execution.body], "calls")
