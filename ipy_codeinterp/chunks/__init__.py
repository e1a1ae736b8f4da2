"""A cell over a file of any size, some rows at a time: `chunks.run(session, code, "data.csv", rows=10_000)`.

The cell sees `chunk`, a DataFrame that is `pandas.read_csv(path).iloc[start:stop]`, and its last value is collected.
`passage` runs a cell over a file; `work` says which range is next, `rows` finds it in the file, `cell` and `inside` are
the two ends of what is said about it, `columns` and `summary` are merged, `checkpoint` keeps what is done.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipy_codeinterp import attachments
from ipy_codeinterp.asked import DEFAULTS
from ipy_codeinterp.bridge import Bridge, Emit, Work
from ipy_codeinterp.chunks.checkpoint import Checkpoint
from ipy_codeinterp.chunks.passage import Passage, Terms
from ipy_codeinterp.chunks.report import Done, RangeFailed, Report
from ipy_codeinterp.chunks.rows import look_at
from ipy_codeinterp.chunks.summary import Summary
from ipy_codeinterp.chunks.work import Range
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Event, Execution
from ipy_codeinterp.session import Session

__all__ = ["Done", "Range", "RangeFailed", "Report", "Summary", "execute", "run"]

ROWS = 10_000
# what of `how` is part of an Execution


async def execute(
    session: Session,
    code: str | Execution,
    path: str | os.PathLike[str],
    *,
    rows: int = ROWS,
    checkpoint: str | os.PathLike[str] | None = None,
    least: int = 1,
    concurrency: int = 1,
    dtypes: Mapping[str, str] | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    emit: Emit | None = None,
    clock: Callable[[], float] = time.monotonic,
    **how: Any,
) -> Report:
    """Run `code` on every range of `rows` rows of the CSV file at `path`, and report when all are done.

    A range that fails is halved, down to `least` rows. `checkpoint` is a folder that keeps what is done; the same again
    goes on from there. `concurrency` ranges run at once. `dtypes` (`{"zip": "str"}`) counts before what a look at the
    file finds, `separator` before what is in its header. `emit` is given progress and what cells show. `how` is what
    `Session.execute` takes; each range is a fresh Python, so there is no `language` or `container`.

    Raises `InvalidInput` for what cannot be run, `RangeFailed` for a range that failed at the minimum, and what
    `Session.execute` raises.
    """
    terms = _terms(rows, least, concurrency, dtypes, how)
    asked = {name: how[name] for name in DEFAULTS if name in how}
    asked["files"] = await asyncio.to_thread(attachments.read, asked.get("files", ()))
    execution = session.execution(code, **asked)
    if execution.language != "python" or execution.container is not None:
        raise InvalidInput("neither language nor container can be chosen", hint="each range is run in a fresh Python")
    table = await asyncio.to_thread(look_at, path, separator=separator, encoding=encoding)
    with tempfile.TemporaryDirectory(prefix="ipy-codeinterp-", ignore_cleanup_errors=True) as folder:
        passage = Passage(session, execution, table, terms, Path(folder), emit or _ignore, clock)
        if checkpoint is None:
            return await passage.run(None)
        with Checkpoint(checkpoint, passage.about()) as opened:
            return await passage.run(opened)


def run(
    session: Session,
    code: str | Execution,
    path: str | os.PathLike[str],
    *,
    show: Callable[[Event], None] | None = None,
    pause: Callable[[], None] | None = None,
    idle: Callable[[], None] | None = None,
    **how: Any,
) -> Report:
    """The same from synchronous code, also where an event loop is running. Events go to `show`, on this thread.

    While there is nothing to show `pause` is called all the time, and `idle` now and then.
    """
    bridge = Bridge()
    work: Work[Report] = lambda emit: execute(session, code, path, emit=emit, **how)  # noqa: E731
    try:
        return bridge.run(work, show or (lambda _: None), pause, idle)
    finally:
        bridge.close()


def _terms(rows: int, least: int, concurrency: int, dtypes: Mapping[str, str] | None, how: Mapping[str, Any]) -> Terms:
    for name, value in {"rows": rows, "least": least, "concurrency": concurrency}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} = {value!r}", hint="use a whole number, 1 or more")
    of_a_run = {name: value for name, value in how.items() if name not in DEFAULTS}
    return Terms(rows, least, concurrency, dict(dtypes or {}), of_a_run)


async def _ignore(_: Event) -> None:
    pass
