"""Results as a notebook: a `%%interp` cell each that asks for the same again, with its outputs as they may be shown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ipy_codeinterp.execution import Display, Error, Execution, Output, Step, Stream
from ipy_codeinterp.mime import safe_bundle, safe_text
from ipy_codeinterp.outputs import to_nbformat
from ipy_codeinterp.store.history import Kept

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def text(kept: Sequence[Kept], _: Path) -> str:
    cells = [_cell("load", "%load_ext ipy_codeinterp"), *map(_cell_of, kept)]
    return json.dumps({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def line_of(execution: Execution) -> str:
    """The first line of a cell that asks for this: files and folders where they lay."""
    words = ["%%interp"]
    named = {"--model": execution.model, "--container": execution.container, "--timeout": execution.timeout}
    language = None if execution.language == "python" else execution.language
    for flag, value in {**named, "--language": language, "--expect": execution.expect}.items():
        words += [] if value is None else [flag, f"{value:g}" if isinstance(value, float) else value]
    for flag, values in {
        "--attach": [str(file.path or file.name) for file in execution.files],
        "--mount": execution.mounts,
        "--with": execution.packages,
    }.items():
        words += [word for value in values for word in (flag, value)]
    switches = {
        "--network": execution.network,
        "--ask": execution.kind == "task",
        "--no-execute": not execution.execute,
    }
    words += [flag for flag, is_on in switches.items() if is_on]
    return shlex.join(words)


def _cell_of(kept: Kept) -> dict[str, Any]:
    result = kept.result
    billed = None if result.cost.billed is None else str(result.cost.billed)
    facts = {"id": result.id, "offer": result.offer, "outcome": result.outcome, "billed": billed}
    about = {"ipy_codeinterp": {**facts, "created_at": kept.created_at.isoformat()}}
    source = f"{line_of(kept.execution)}\n{kept.execution.body}"
    return _cell(result.id, source, [each for part in result.parts for each in _shown(kept, part)], about)


def _cell(id: str, source: str, outputs: Sequence[Any] = (), metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": id,
        "metadata": metadata or {},
        "outputs": list(outputs),
        "source": source,
    }


def _shown(kept: Kept, part: Any) -> Iterator[dict[str, Any]]:
    """A part of the Result as outputs: of a task also the code, and the words."""
    is_task = kept.execution.kind == "task"
    if not isinstance(part, Step):
        yield from _output(Display({"text/plain": part.text})) if part.text.strip() else ()
        return
    if is_task:
        yield from _output(Display({"text/plain": part.code}))
    for output in part.outputs:
        yield from _output(output)


def _output(output: Output) -> Iterator[dict[str, Any]]:
    match output:
        case Stream(name, said):
            yield to_nbformat(Stream(name, safe_text(said)))
        case Error(ename, evalue, traceback):
            yield to_nbformat(Error(safe_text(ename), safe_text(evalue), tuple(map(safe_text, traceback))))
        case Display(data, metadata, kind):
            shown, about = safe_bundle(data, metadata)
            if shown:
                counted = {"execution_count": None} if kind == "execute_result" else {}
                yield {**to_nbformat(Display(shown, about, kind)), **counted}
