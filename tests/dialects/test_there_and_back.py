"""What one end says is what the other hears, in a stream and at once; OpenAI's Responses are in test_openai_ends.py.

What a format cannot carry is said in each test: it is made out of what goes in, not forgiven in what comes out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.dialects import completions, gemini, messages, prompt
from ipy_codeinterp.dialects.completions import serving as chat
from ipy_codeinterp.dialects.dialect import Ask, Dialect, Reply
from ipy_codeinterp.dialects.extension import Ran
from ipy_codeinterp.execution import Display, Error, Execution, File, Step, Stream, Text
from ipy_codeinterp.outputs import Collector
from ipy_codeinterp.testing.gemini import Says, chunks

CODE = st.text(st.characters(exclude_characters="\r"), min_size=1).filter(str.strip)
WORDS = st.text(min_size=1)
STREAMS = st.builds(Stream, st.sampled_from(["stdout", "stderr"]), WORDS)
ERRORS = st.builds(Error, st.text(), st.text(), st.lists(st.text(), max_size=3).map(tuple))
FIGURES = st.binary(max_size=30).map(
    lambda tail: Display({"image/png": base64.b64encode(b"\x89PNG\r\n\x1a\n0000" + tail).decode()})
)
FILES = st.lists(st.builds(File, WORDS, st.just("ab" * 32), st.integers(0, 9), id=WORDS), max_size=2).map(tuple)


def heard(dialect: Dialect, ask: Ask, events: Iterable[Mapping[str, Any]]) -> Reply:
    """Each event goes over the wire as JSON."""
    decoder = dialect.decoder(ask)
    for event in events:
        list(decoder.feed(json.loads(json.dumps(event))))
    return decoder.reply()


# --- Messages -------------------------------------------------------------------------------------

RUNS = st.builds(
    Ran,
    outputs=st.lists(STREAMS | ERRORS | FIGURES, max_size=4).map(lambda said: Collector(said).outputs),
    outcome=st.sampled_from(["ok", "error", "crashed", "cancelled"]),
    exit_status=st.integers(0, 255),
    files=FILES,
    seconds=st.floats(0, 600),
)
TOOLS = st.sampled_from(messages.TOOLS)


def envelope(ask: Ask) -> messages.Envelope:
    asked = messages.decode_request(json.loads(json.dumps(messages.encode_request(ask))))
    (block,) = prompt.blocks(asked.text)
    facts = {"container": "container_1", "container_new": True, "expires_at": "", "isolation": "bubblewrap"}
    known = {"warm": True, "language": "python", "extended": ask.extension is not None}
    return messages.Envelope("msg_1", "srvtoolu_1", asked, block.content, **facts, **known)  # type: ignore[arg-type]


@given(CODE, RUNS, TOOLS)
def test_messages_of_our_own_gateway(code: str, ran: Ran, tool: str) -> None:
    """With the extension code, outputs in their order, outcome, exit status, files, container and time arrive."""
    ask = Ask(Execution(code), "claude", 100, tool=tool, extension={})
    said, told = envelope(ask), [messages.encode_output(output) for output in ran.outputs]
    stream = [*messages.encode_start(said), *told, *messages.encode_end(said, ran)]

    for events in stream, messages.events_of(messages.encode_reply(said, ran)):
        reply = heard(messages, ask, events)
        (step,) = (part for part in reply.parts if isinstance(part, Step))
        assert (step.outputs, step.outcome, step.exit_status) == (ran.outputs, ran.outcome, ran.exit_status)
        assert (step.files, step.verbatim) == (ran.files, True)
        assert (reply.container, reply.execution_seconds) == ("container_1", ran.seconds)


@given(CODE, st.lists(STREAMS, max_size=4), st.integers(0, 255), FILES)
def test_messages_of_the_vendor(code: str, streams: list[Stream], status: int, files: tuple[File, ...]) -> None:
    """Both streams, the exit status and the ids of files arrive; the order between the streams has no place in it."""
    ask = Ask(Execution(code), "claude", 100)
    said, ran = envelope(ask), Ran(tuple(streams), "ok", status, files)

    for events in (
        [*messages.encode_start(said), *messages.encode_end(said, ran)],
        messages.events_of(messages.encode_reply(said, ran)),
    ):
        (step,) = heard(messages, ask, events).parts
        assert isinstance(step, Step) and step.code == code and step.verbatim
        for name in ("stdout", "stderr"):
            assert "".join(s.text for s in step.outputs if s.name == name) == "".join(  # type: ignore[union-attr]
                s.text for s in streams if s.name == name
            )
        assert (step.exit_status, step.outcome) == (status, "error" if status else "ok")
        assert [file.id for file in step.files] == [file.id for file in files]


# --- chat completions -----------------------------------------------------------------------------


@given(CODE, WORDS)
def test_chat_completions(code: str, words: str) -> None:
    """Words arrive as they were said, and the count of them; nothing else has a place where nobody runs code."""
    ask = Ask(Execution(code), "m", 100, tool=completions.PASSTHROUGH)
    asked = chat.decode_request(json.loads(json.dumps(completions.encode_request(ask))))
    about, message = chat.Envelope("chatcmpl-1", 0, asked, 3, False), chat.words(words)

    for events in (
        chat.encode_whole(about, message, 2),
        completions.events_of(chat.encode_reply(about, message, 2)),
    ):
        reply = heard(completions, ask, events)
        assert (reply.parts, reply.usage.input_tokens, reply.usage.output_tokens) == ((Text(words),), 3, 2)


# --- Gemini ---------------------------------------------------------------------------------------

OUTCOMES = {"ok": "OUTCOME_OK", "error": "OUTCOME_FAILED", "limit": "OUTCOME_DEADLINE_EXCEEDED"}
STEPS = st.builds(
    lambda code, outcome, text, figures: Step(
        code,
        "python",
        None,
        (*((Stream("stdout" if outcome == "ok" else "stderr", text),) if text else ()), *figures),
        outcome,
    ),
    CODE,
    st.sampled_from([*OUTCOMES]),
    st.text(),
    st.lists(FIGURES, max_size=2),
)
SAID = st.lists(STEPS | st.builds(Text, WORDS), min_size=1, max_size=4)


def native(part: Text | Step) -> list[dict[str, Any]]:
    if isinstance(part, Text):
        return [{"text": part.text}]
    printed = "".join(output.text for output in part.outputs if isinstance(output, Stream))
    figures = [output.data["image/png"] for output in part.outputs if isinstance(output, Display)]
    return [
        {"executableCode": {"language": "PYTHON", "code": part.code}},
        {"codeExecutionResult": {"outcome": OUTCOMES[part.outcome], "output": printed}},
        *({"inlineData": {"mimeType": "image/png", "data": data}} for data in figures),
    ]


def joined(parts: list[Text | Step]) -> tuple[Text | Step, ...]:
    """Words that follow words are one text: nothing tells them apart."""
    found: list[Text | Step] = []
    for part in parts:
        if isinstance(part, Text) and found and isinstance(last := found[-1], Text):
            found[-1] = Text(last.text + part.text)
        else:
            found.append(part)
    return tuple(found)


@given(SAID, st.integers(0, 99), st.integers(0, 99))
def test_gemini(parts: list[Text | Step], given: int, made: int) -> None:
    """Words, code, its outcome, what it printed as one text, its figures and the usage arrive in their order."""
    ask = Ask(Execution("a task", kind="task"), "gemini-x", 100)
    usage = {"promptTokenCount": given, "candidatesTokenCount": made}
    said = Says([each for part in parts for each in native(part)], usage=usage)

    for events in (chunks("gemini-x", said), gemini.events_of(list(chunks("gemini-x", said)))):  # type: ignore[arg-type]
        reply = heard(gemini, ask, events)
        assert reply.parts == joined(parts)
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (given, made)
