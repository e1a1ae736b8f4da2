"""Results as Markdown: code, what it printed and drew, and a model's words, all of it in fences that nothing leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ipy_codeinterp import languages
from ipy_codeinterp.execution import Display, Error, Output, Step, Stream
from ipy_codeinterp.exports.as_code import code_of
from ipy_codeinterp.mime import safe_bundle, safe_text
from ipy_codeinterp.store.history import Kept

IMAGES = ("image/png", "image/jpeg")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def text(kept: Sequence[Kept], _: Path) -> str:
    return "\n\n".join(block for each in kept for block in _blocks(each)) + "\n"


def _blocks(kept: Kept) -> Iterator[str]:
    result, label = kept.result, languages.find(kept.execution.language).fence
    yield f"## {result.id}"
    cost = "" if result.cost.billed is None else f", ${result.cost.billed}"
    yield f"{result.offer}, {kept.created_at:%Y-%m-%d %H:%M} UTC, {result.outcome}{cost}"
    if kept.execution.kind == "task":
        yield fenced(kept.execution.body, "text")
    if not result.steps:
        yield from (fenced(code, label) for code in code_of(kept))
    for part in result.parts:
        if isinstance(part, Step):
            yield fenced(part.code, label)
            yield from (block for output in part.outputs for block in _output(output))
        elif part.text.strip():
            yield fenced(part.text, "text")
    if result.ending:
        yield fenced(result.ending, "text")


def _output(output: Output) -> Iterator[str]:
    match output:
        case Stream(_, said):
            yield fenced(said, "text")
        case Error(ename, evalue, traceback):
            yield fenced("\n".join(traceback) or f"{ename}: {evalue}", "text")
        case Display(data, metadata):
            shown, about = safe_bundle(data, metadata)
            image = next((mime for mime in IMAGES if mime in shown), None)
            if image:
                alt = about.get(image, {}).get("alt") or shown.get("text/plain", "")
                yield f"![{_alt(alt)}](data:{image};base64,{shown[image]})"
            elif shown:
                yield fenced(shown["text/plain"], "text")


def _alt(said: str) -> str:
    """Words in which no sign of Markdown is left."""
    return " ".join(re.sub(r"[^\w\s.,:;()%=+/-]", " ", said).split())


def fenced(said: str, label: str) -> str:
    """In a fence that is longer than any run of backticks in it."""
    plain = _COLOUR.sub("", safe_text(said)).strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence}{label}\n{plain}\n{fence}"
