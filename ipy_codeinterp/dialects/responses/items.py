"""What the items of a reply say: a call of the interpreter is a Step, a message is words and names the files.

Functions from JSON to values. What is unknown is passed over; what has the wrong type raises `TypeError`, `KeyError` or
`ValueError`, of which the caller makes a `BadReply`: a result that cannot be read must not look like none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from ipy_codeinterp.dialects import heard, images
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.extension import FIELD, Ran
from ipy_codeinterp.dialects.reading import count, mapping
from ipy_codeinterp.dialects.responses import logs
from ipy_codeinterp.dialects.responses.asking import file_id, is_id, last_part
from ipy_codeinterp.execution import Display, File, Outcome, OutcomeSource, Output, Step, Stream, Usage

T = TypeVar("T")


def a(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value


def listed(value: object) -> list[Any]:
    """A list that may be missing."""
    return [] if value is None else a(list, value)


def with_our_line_ends(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


# --- a call of the interpreter --------------------------------------------------------------------


def step_of(item: Mapping[str, Any], ask: Ask, ran: Ran | None, live: Sequence[Output] = ()) -> Step:
    """The call `item` that is over. `ran` is what our own gateway adds, `live` the outputs that it told already."""
    code = code_of(item)
    outputs = tuple(live) or (ran.outputs if ran else tuple(_outputs(item)))
    outcome, source = _outcome(item, outputs, ran)
    return Step(
        code=code,
        language=ask.execution.language if ask.extension is not None else "python",
        verbatim=_same(code, ask.execution.body) if ask.execution.kind == "code" else None,
        outputs=outputs,
        outcome=outcome,
        outcome_source=source,
        files=ran.files if ran else (),
    )


def code_of(item: Mapping[str, Any]) -> str:
    code = item.get("code")
    return "" if code is None else with_our_line_ends(a(str, code))


def container_of(item: Mapping[str, Any]) -> str | None:
    id = item.get("container_id")
    return str(id) if is_id(id) else None


def _same(ran: str, asked: str) -> bool:
    """Whether it is the same code, up to line ends and blank lines around it."""
    return _within_blank_lines(ran) == _within_blank_lines(asked)


def _within_blank_lines(code: str) -> list[str]:
    lines = with_our_line_ends(code).split("\n")
    filled = [i for i, line in enumerate(lines) if line.strip()]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _outputs(item: Mapping[str, Any]) -> Iterator[Output]:
    for output in listed(item.get("outputs")):
        kind = a(dict, output).get("type")
        if kind == "logs" and output.get("logs"):
            yield Stream("stdout", a(str, output["logs"]))
        elif kind == "image":
            yield images.from_url(a(str, output["url"]))


def _outcome(item: Mapping[str, Any], outputs: Sequence[Output], ran: Ran | None) -> tuple[Outcome, OutcomeSource]:
    """A call that was `completed` may have raised: of that the logs tell, where anything does."""
    if ran:
        return ran.outcome, "reported"
    if item.get("status") == "failed":
        return "error", "reported"
    if item.get("status") == "incomplete":
        return "cancelled", "reported"
    last = outputs[-1] if outputs else None
    if isinstance(last, Stream) and logs.end_in_traceback(last.text):
        return "error", "inferred"
    return "unknown", "inferred"


def ran_of(item: Mapping[str, Any]) -> Ran | None:
    """What our own gateway adds to a call; None where it adds nothing. This format has no exit status."""
    if item.get(FIELD) is None:
        return None
    ran = heard.decode_ran(item[FIELD])
    files = (replace(file, id=file_id(item.get("container_id"), file.id)) for file in ran.files)
    return replace(ran, files=tuple(file for file in files if file.id))


# --- a message ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """What a model said: `texts` in order, whether it `refused`, and the files in a container that it cites."""

    texts: tuple[str, ...]
    refused: bool
    cited: tuple[Cited, ...]


@dataclass(frozen=True, slots=True)
class Cited:
    """A file in a container. One that stands nowhere in the text is `unnamed`: a figure that was shown, once more."""

    container: str
    file: File
    unnamed: bool


def message_of(item: Mapping[str, Any]) -> Message:
    texts, cited, refused = [], list[Cited](), False
    for part in listed(item.get("content")):
        kind = a(dict, part).get("type")
        if kind == "output_text":
            texts.append(a(str, part["text"]))
            cited += _cited(part)
        elif kind == "refusal":
            texts.append(a(str, part["refusal"]))
            refused = True
    return Message(tuple(filter(None, texts)), refused, tuple(cited))


def _cited(part: Mapping[str, Any]) -> Iterator[Cited]:
    for said in listed(part.get("annotations")):
        if a(dict, said).get("type") != "container_file_citation":
            continue
        id, name = file_id(said.get("container_id"), said.get("file_id")), said.get("filename")
        if id is not None:
            name = last_part(name) if isinstance(name, str) else ""
            unnamed = said.get("start_index") == said.get("end_index") == 0 and name.startswith(said["file_id"])
            yield Cited(said["container_id"], File(name or said["file_id"], id=id), unnamed)


def with_files(
    steps: Mapping[int, Step], containers: Mapping[int, str | None], cited: Sequence[Cited]
) -> dict[int, Step]:
    """The steps, by their place, with the cited files on the last step of the same container.

    A figure that was shown is cited unnamed as well: as many of these as there are figures are no files.
    """
    files = {place: list(steps[place].files) for place in sorted(steps)}
    latest = max(files, default=0)
    last = {containers.get(place): place for place in files}
    known = {file.id for some in files.values() for file in some}
    shown = sum(_is_image(output) for step in steps.values() for output in step.outputs)
    for each in cited if files else ():
        if each.unnamed and shown:
            shown -= 1
        elif each.file.id not in known:
            known.add(each.file.id)
            files[last.get(each.container, latest)].append(each.file)
    return {place: replace(step, files=tuple(files[place])) for place, step in steps.items()}


def _is_image(output: Output) -> bool:
    return isinstance(output, Display) and any(mime.startswith("image/") for mime in output.data)


# --- the rest -------------------------------------------------------------------------------------


def usage_of(native: object, *, ours: bool) -> Usage:
    """Usage from the provider's report, whose input includes what was cached; our own gateway estimates."""
    said = mapping(native)
    into, out = mapping(said.get("input_tokens_details")), mapping(said.get("output_tokens_details"))
    return Usage(
        input_tokens=count(said.get("input_tokens")),
        output_tokens=count(said.get("output_tokens")),
        estimated=ours and bool(said),
        native=dict(said),
        cached_tokens=count(into.get("cached_tokens")),
        cache_write_tokens=count(into.get("cache_write_tokens")),
        reasoning_tokens=count(out.get("reasoning_tokens")),
    )


def without_figures(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it is kept: the figures in it are outputs already."""
    kept = {name: value for name, value in item.items() if name != FIELD}
    if isinstance(kept.get("outputs"), list):
        kept["outputs"] = [_without_data(output) for output in kept["outputs"]]
    return kept


def _without_data(output: object) -> object:
    url = output.get("url") if isinstance(output, dict) else None
    if isinstance(url, str) and url[:5].lower() == "data:":
        return {name: value for name, value in cast(dict[str, Any], output).items() if name != "url"}
    return output


def to_repeat(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """An item as a next request says it again; None for a thought that was not given to us whole."""
    match item.get("type"):
        case "code_interpreter_call":
            return {**item, "outputs": None}
        case "message":
            return {**item, "content": [_without_citations(part) for part in listed(item.get("content"))]}
        case "reasoning" if item.get("encrypted_content"):
            return dict(item)
    return None


def _without_citations(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """They would tie the words to a container."""
    return {**part, "annotations": []} if part.get("annotations") else part
