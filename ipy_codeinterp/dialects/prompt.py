"""Code in a prompt: a fence no run of backticks inside can close, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ipy_codeinterp import languages

_OPENING = re.compile(r"(`{2,})([^`\n]*)\n?")
_RUNS = re.compile(r"`{3,}")

INSTRUCTION = (
    "Run exactly this {language} code with the code execution tool. Do not change it and do not comment on it."
)


def encode(code: str, language: str) -> str:
    """The prompt that asks for `code` to be run as it is."""
    return f"{INSTRUCTION.replace('{language}', language)}\n\n{fenced(code, language)}\n"


def fenced(code: str, language: str) -> str:
    """`code` between fences longer than any run of backticks in it."""
    fence = "`" * (max(map(len, _RUNS.findall(code)), default=2) + 1)
    return f"{fence}{languages.find(language).fence}\n{code}\n{fence}"


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
