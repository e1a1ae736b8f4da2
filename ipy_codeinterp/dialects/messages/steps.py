"""What the blocks of a reply mean: words, and the code that ran with what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipy_codeinterp.changed import changed
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.extension import FIELD, Ran
from ipy_codeinterp.dialects.heard import decode_ran
from ipy_codeinterp.dialects.messages.executed import Written, normal
from ipy_codeinterp.execution import Error, File, Outcome, Output, Step, Stream, StreamName, Text

Block = Mapping[str, Any]

BASH, PYTHON, EDITOR = "bash_code_execution", "code_execution", "text_editor_code_execution"
# Which member of a call's input is code, by the call's name; what is not listed here runs none.
CODE_IN = {BASH: "command", PYTHON: "code", EDITOR: "file_text"}
RUNS = (BASH, PYTHON)
RESULTS = tuple(f"{name}_tool_result" for name in RUNS)
LIMITS = ("execution_time_exceeded", "output_file_too_large")


def is_result(block: Block) -> bool:
    return isinstance(block.get("type"), str) and str(block["type"]).endswith("_tool_result")


def ran_of(result: Block) -> Ran | None:
    """What our own gateway says of a run beside the vendor's block."""
    if FIELD not in result:
        return None
    status = _content(result).get("return_code")
    return decode_ran(result[FIELD], _whole(status) or 0)


def outputs_of(result: Block, ran: Ran | None) -> tuple[Output, ...]:
    """What came of one call, be it said by our gateway or by the vendor."""
    if ran:
        return ran.outputs
    content = _content(result)
    code = content.get("error_code")
    if isinstance(code, str) and code not in LIMITS:
        message = content.get("error_message")
        words = message if isinstance(message, str) else "the provider's interpreter did not run the code"
        return (Error(code, words, (f"{code}: {words}",)),)
    return tuple(_streams(content))


def _streams(content: Block) -> Iterator[Stream]:
    names: tuple[StreamName, ...] = ("stdout", "stderr")
    for name in names:
        text = content.get(name)
        if isinstance(text, str) and text:
            yield Stream(name, text)


@dataclass(slots=True)
class Reading:
    """One passage through the blocks of a reply to `ask`.

    `ours` says that our own gateway speaks, and `ran` what it says by the calls' ids. `live` are the outputs that came
    while the code ran; `unread` has the code of calls whose input is no JSON, for the reply was cut; `paused` says that
    what has no result here has it in the next round.
    """

    ask: Ask
    ours: bool
    paused: bool
    ran: Mapping[str, Ran] = field(default_factory=dict)
    live: tuple[Output, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    _written: Written = field(init=False)

    def __post_init__(self) -> None:
        self._written = Written(self.ask.execution.body)

    def parts(self, blocks: Sequence[Block]) -> Iterator[Text | Step]:
        results = {block["tool_use_id"]: block for block in blocks if is_result(block)}
        waiting = self._earlier()
        for block in blocks:
            if block["type"] == "text" and block["text"]:
                yield Text(block["text"])
            elif block["type"] == "server_tool_use":
                yield from self._call(block, results.get(block["id"]))
            elif is_result(block) and block["tool_use_id"] in waiting:
                yield from self._call(waiting[block["tool_use_id"]], block)

    def _earlier(self) -> dict[str, Block]:
        """The calls of the rounds before that have no result yet; what they wrote is there."""
        said = [block for each in self.ask.rounds for block in each.said]
        results = {block.get("tool_use_id"): block for block in said if is_result(block)}
        calls = {block["id"]: block for block in said if block.get("type") == "server_tool_use"}
        for id, call in calls.items():
            if id in results:
                list(self._call(call, results[id]))
        return {id: call for id, call in calls.items() if id not in results}

    def _call(self, use: Block, result: Block | None) -> Iterator[Step]:
        name, said = use.get("name"), use["input"]
        if not isinstance(said, Mapping):
            raise TypeError("the input of a call is an object")
        if name == EDITOR and result is not None and "error_code" not in _content(result):
            self._written.edit(said)
        elif name in RUNS and (result is not None or not self.paused):
            yield self._step(use, result or {})

    def _step(self, use: Block, result: Block) -> Step:
        code, verbatim = self._code(use)
        content, ran = _content(result), self.ran.get(use["id"])
        step = Step(
            code=code,
            language=self._language(use["name"]),
            verbatim=verbatim if self.ask.execution.kind == "code" else None,
            outputs=self.live or outputs_of(result, ran),
            exit_status=_whole(content.get("return_code")),
        )
        if ran:
            return changed(step, outcome=ran.outcome, files=ran.files)
        outcome, files = _outcome(content), tuple(_files(content))
        if outcome is None:
            return changed(step, outcome="unknown", outcome_source="inferred", files=files)
        return changed(step, outcome=outcome, files=files)

    def _code(self, use: Block) -> tuple[str, bool]:
        said = use["input"].get(CODE_IN[use["name"]])
        code = said if isinstance(said, str) else self.unread.get(use["id"], "")
        if use["name"] == BASH:
            return self._written.run(code)
        return normal(code), self._written.asked.equals(code)

    def _language(self, name: str) -> str:
        if self.ours:
            return self.ask.execution.language
        return "bash" if name == BASH else "python"


def _outcome(content: Block) -> Outcome | None:
    """What is said of the end; None where nothing is."""
    if isinstance(content.get("error_code"), str):
        return "limit" if content["error_code"] in LIMITS else "unknown"
    status = _whole(content.get("return_code"))
    return None if status is None else "ok" if status == 0 else "error"


def _files(content: Block) -> Iterator[File]:
    items = content.get("content")
    for item in items if isinstance(items, list) else ():
        id = item.get("file_id") if isinstance(item, Mapping) else None
        if isinstance(id, str):
            yield File(id, id=id)


def _content(result: Block) -> Block:
    content = result.get("content")
    return content if isinstance(content, Mapping) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
