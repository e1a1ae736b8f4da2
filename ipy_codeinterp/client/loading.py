"""Values of variables where the interpreter is not ours: they go as files, with lines that load and keep them.

The lines are part of what is sent, and shown as such: the cell's own stand between them as they are.
"""

from __future__ import annotations

from dataclasses import replace

from ipy_codeinterp.execution import Execution

MODULE = "interp_values"  # as the archive that goes along is called
FIND = (
    "import os, sys; sys.path[:0] = [os.path.join(d, f) for d in (os.environ.get('INPUT_DIR') or '.', '/mnt/data')"
    f" if os.path.isdir(d) for f in os.listdir(d) if f.endswith('{MODULE}.zip')];"
    f" from {MODULE} import folder as {MODULE}"
)


def with_lines(execution: Execution) -> Execution:
    """The same, with a line before its code that loads its inputs, and one after it that keeps what it is to get."""
    if not is_needed(execution):
        return execution
    sent = "".join(f", {name!r}" for name in sent_names(execution))
    lines = [f"{FIND}; {MODULE}.load(globals(){sent})", execution.body]
    if execution.get:
        lines.append(f"{MODULE}.save(globals(), {', '.join(map(repr, execution.get))})")
    return replace(execution, body="\n".join(lines))


def is_needed(execution: Execution) -> bool:
    return bool(execution.inputs or execution.get)


def sent_names(execution: Execution) -> list[str]:
    return [file.name.partition(".")[0] for file in execution.inputs]


def notice(execution: Execution, provider: str) -> str:
    """What is said of it."""
    loads = f" loads {', '.join(sent_names(execution))}" if execution.inputs else " finds the way"
    keeps = f", one after it keeps {', '.join(execution.get)}" if execution.get else ""
    return f"{provider} gets lines around the cell: one before it{loads}{keeps}"
