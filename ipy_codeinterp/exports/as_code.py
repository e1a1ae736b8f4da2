"""Results as code: what ran, one after the other, each under a comment that says where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ipy_codeinterp import languages
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.mime import safe_text
from ipy_codeinterp.store.history import Kept


def text(kept: Sequence[Kept], path: Path) -> str:
    """Raises `InvalidInput` where one of them is in another language than the file's name says."""
    language = languages.of_file(path.name)
    for each in kept:
        if (spoken := languages.find(each.execution.language)) is not language:
            hint = f"export it alone, or all of them as {path.stem}.ipynb"
            raise InvalidInput(f"{each.result.id} is {spoken.name}, not {language.name}", hint=hint)
    return "\n\n".join("\n".join(_lines(each, language.comment)) for each in kept) + "\n"


def code_of(kept: Kept) -> list[str]:
    """What ran, in its pieces; where nothing did, what was to run."""
    ran = [step.code for step in kept.result.steps]
    return ran or ([kept.execution.body] if kept.execution.kind == "code" else [])


def _lines(kept: Kept, comment: str) -> Iterator[str]:
    result = kept.result
    yield f"{comment} {result.id}: {result.offer}, {kept.created_at:%Y-%m-%d %H:%M} UTC, {result.outcome}"
    if kept.execution.kind == "task":
        yield from (f"{comment} {safe_text(line)}".rstrip() for line in kept.execution.body.splitlines())
    for code in code_of(kept):
        yield safe_text(code).strip("\n")
