"""What is said to a model: code to be run as it is, or a task in words; and code out of what was said.

Code stands in a fence that no run of backticks inside can close.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipy_codeinterp import languages
from ipy_codeinterp.execution import Execution

_OPENING = re.compile(r"(`{2,})([^`\n]*)\n?")
_RUNS = re.compile(r"`{3,}")
_BLANK_START = re.compile(r"\A(?:[ \t]*\n)+")

INSTRUCTION = (
    "Run exactly this {language} code with the code execution tool. Do not change it and do not comment on it."
)
RUN_TASK = "Write {language} code that does this and run it with the code execution tool."
WRITE_TASK = (
    "Write {language} code that does this. Answer with the code alone, in one block that begins with ```{fence}. "
    "Do not run anything."
)
PRINT = "The code prints the answer."
EXPECT = "The code prints the answer as {expect}, and nothing else."


def of(execution: Execution, before: str = "") -> str:
    """What is said for an Execution, be it code or a task, which may go on from what was said `before`."""
    return f"{before}\n{task(execution)}" if before and execution.kind == "task" else _of(execution)


def _of(execution: Execution) -> str:
    return task(execution) if execution.kind == "task" else encode(execution.body, execution.language)


def task(execution: Execution) -> str:
    """The user's words, then what is to come of them: code that runs, or with `execute=False` code that is shown."""
    language = languages.find(execution.language)
    wish = RUN_TASK if execution.execute else WRITE_TASK
    wish = wish.replace("{language}", language.name).replace("{fence}", language.fence)
    answer = EXPECT.replace("{expect}", _within_a_sentence(execution.expect)) if execution.expect else PRINT
    return f"{execution.body.strip()}\n\n{wish} {answer}\n"


def _within_a_sentence(said: str) -> str:
    return " ".join(said.split()).rstrip(".")


def beside(names: Iterable[str]) -> str:
    """A line that names the files in the code's working directory; empty where there are none."""
    said = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    return f"Files in the working directory: {said}\n" if said else ""


def encode(code: str, language: str) -> str:
    """The prompt that asks for `code` to be run as it is."""
    return f"{INSTRUCTION.replace('{language}', language)}\n\n{fenced(code, language)}\n"


def fenced(code: str, language: str) -> str:
    """`code` between fences longer than any run of backticks in it."""
    return _between(code, languages.find(language).fence)


def fenced_text(text: str) -> str:
    """The same of what is no code."""
    return _between(text, "text")


def _between(said: str, label: str) -> str:
    fence = "`" * (max(map(len, _RUNS.findall(said)), default=2) + 1)
    return f"{fence}{label}\n{said}\n{fence}"


def is_verbatim(code: str, execution: Execution) -> bool | None:
    """Whether `code` is what was asked to run, up to line ends and blank lines around it; None where words asked."""
    return None if execution.kind == "task" else _bare(code) == _bare(execution.body)


def _bare(code: str) -> str:
    """A line with nothing but spaces is blank; spaces at the end of the last line are not seen either."""
    return _BLANK_START.sub("", code.replace("\r\n", "\n").replace("\r", "\n")).rstrip()


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences, and the label of the first."""

    label: str
    content: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks in `text`; two backticks count where there are no longer ones."""
    return list(_blocks(text, 3)) or list(_blocks(text, 2))


def _blocks(text: str, shortest: int) -> Iterator[Block]:
    """Line by line, as CommonMark has it: a search per opening would take for ever on text made for it."""
    fence, label, start, at = "", "", 0, 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        if fence:
            line = text[at:end].rstrip()
            if len(line) >= len(fence) and line == "`" * len(line):
                yield Block(label, text[start : at - 1] if at > start else "")
                fence = ""
        elif (
            text.startswith("``", at) and (opening := _OPENING.fullmatch(text, at, end)) and len(opening[1]) >= shortest
        ):
            fence, label, start = opening[1], opening[2].strip(), end
        at = end
    if fence and start < len(text):
        yield Block(label, text[start:])
