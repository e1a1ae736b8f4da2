"""One passage over a file: look at it, run the cell on every range, keep what is done, and report."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ipy_codeinterp import attachments
from ipy_codeinterp.bridge import Emit
from ipy_codeinterp.chunks import cell, columns
from ipy_codeinterp.chunks.cell import Answer
from ipy_codeinterp.chunks.checkpoint import About, Checkpoint
from ipy_codeinterp.chunks.progress import Progress
from ipy_codeinterp.chunks.report import Done, RangeFailed, Report, kept
from ipy_codeinterp.chunks.rows import Table
from ipy_codeinterp.chunks.work import Failure, Queue, Range, cut, gaps, work_through
from ipy_codeinterp.errors import BadAttachment, InterpError, StoreError
from ipy_codeinterp.execution import Display, Event, Execution, File, Notice, Stream
from ipy_codeinterp.session import Session

LOOK_BYTES = 8 << 20  # of the file that are looked at in one run


@dataclass(frozen=True, slots=True)
class Terms:
    """How ranges are run: `rows` at a time, at least `least`, `concurrency` ranges at once; the user's `dtypes`."""

    rows: int
    least: int
    concurrency: int
    dtypes: Mapping[str, str]
    of_a_run: Mapping[str, Any]


class Passage:
    """`run()` it once. `folder` is for the files of ranges that run, and is the caller's to remove."""

    def __init__(
        self,
        session: Session,
        execution: Execution,
        table: Table,
        terms: Terms,
        folder: Path,
        emit: Emit,
        clock: Callable[[], float],
    ) -> None:
        if any(file.name == cell.FILE for file in execution.files):
            raise BadAttachment(f"an attached file is called {cell.FILE}", hint="rename it: ranges are called so")
        self._session = session
        self._execution = execution
        self._table = table
        self._terms = terms
        self._folder = folder
        self._emit = emit
        self._progress = Progress(emit, table.rows, clock=clock)
        self._checkpoint: Checkpoint | None = None
        self._done: dict[Range, Answer] = {}
        self._resumed = 0
        self._numbers = itertools.count()
        self._screen = asyncio.Lock()  # what one range showed stays together

    def about(self) -> About:
        """What a checkpoint of this is of. Who runs it, how long it may take and how it is cut change no value."""
        code = replace(self._execution, model=None, timeout=None).key
        reading = json.dumps([self._table.separator, self._table.encoding, sorted(self._terms.dtypes.items())])
        return About(code, self._table.sha256, hashlib.sha256(reading.encode()).hexdigest())

    async def run(self, checkpoint: Checkpoint | None) -> Report:
        """Raises `RangeFailed`, or the error of ours that ended it; both say what becomes of what is done."""
        try:
            if checkpoint:
                self._take_up(checkpoint)
            await self._progress.show()
            dtypes = checkpoint.dtypes if checkpoint and checkpoint.dtypes else await self._look()
            if checkpoint and not checkpoint.dtypes:
                await asyncio.to_thread(checkpoint.begin, dtypes)
            await self._pass(gaps(self._done, self._table.rows), partial(self._run_range, dtypes))
        except InterpError as error:
            if not isinstance(error, RangeFailed) and self._done:
                error.hint = "; ".join(filter(None, [error.hint, kept(self.report())]))
            raise
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await self._progress.show(now=True)
        return self.report()

    def report(self, failed: Range | None = None) -> Report:
        """What is done by now."""
        done = tuple(Done(rows, answer.kind, answer.value) for rows, answer in sorted(self._done.items(), key=_rows))
        folder = self._checkpoint.folder if self._checkpoint else None
        return Report(self._table.path, self._table.rows, done, self._resumed, self._progress.halved, failed, folder)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._done = {rows: answer for rows, answer in checkpoint.done.items() if rows.stop <= self._table.rows}
        self._resumed = len(self._done)
        for rows in self._done:
            self._progress.done(rows)

    # --- the two ways over the file ---

    async def _look(self) -> dict[str, str]:
        """The type of each column, from a look at all of it: in the sandbox, a few megabytes at a time."""
        seen: dict[Range, columns.Seen] = {}

        async def attempt(rows: Range) -> Failure | None:
            answer = await self._ask(rows, None, None)
            if isinstance(answer, Failure):
                return answer
            seen[rows] = answer.value
            return None

        size = max(1, self._table.size // self._table.rows)  # bytes of a row
        await self._pass([Range(0, self._table.rows)], attempt, rows=max(1, LOOK_BYTES // size))
        return columns.dtypes((seen[rows] for rows in sorted(seen)), self._terms.dtypes)

    async def _run_range(self, dtypes: Mapping[str, str], rows: Range) -> Failure | None:
        answer = await self._ask(rows, dtypes, self._execution.body)
        if isinstance(answer, Failure):
            return answer
        if self._checkpoint:
            await asyncio.to_thread(self._checkpoint.keep, rows, answer)
        self._done[rows] = answer
        self._progress.done(rows)
        await self._progress.show()
        return None

    async def _pass(self, todo: list[Range], attempt: Callable[[Range], Any], *, rows: int | None = None) -> None:
        ranges = [each for gap in todo for each in cut(gap.start, gap.stop, rows or self._terms.rows)]
        queue = Queue(ranges, least=self._terms.least)
        stuck = await work_through(
            queue, attempt, concurrency=self._terms.concurrency, on_halved=self._progress.note_halved
        )
        if stuck:
            failed, failure = stuck
            raise RangeFailed(failed, failure, self.report(failed))

    # --- one range ---

    async def _ask(self, rows: Range, dtypes: Mapping[str, str] | None, code: str | None) -> Answer | Failure:
        start, stop = await asyncio.to_thread(self._table.span, rows)
        if stop - start > attachments.MOST_BYTES:
            return Failure(
                f"{stop - start:,} bytes cannot be attached, at most {attachments.MOST_BYTES:,}", too_much=True
            )
        path = self._folder / f"{next(self._numbers)}.csv"
        file = await asyncio.to_thread(self._written, path, start, stop)
        try:
            execution = replace(
                self._execution,
                body=cell.body(self._table, rows, dtypes, code),
                files=(file, *self._execution.files),
            )
            result = await self._session.execute(execution, emit=self._told, aside=False, **self._terms.of_a_run)
        finally:
            path.unlink(missing_ok=True)
        judged = cell.judge(result)
        is_last = isinstance(judged, Failure) and rows.rows < 2 * self._terms.least
        if code is not None and (isinstance(judged, Answer) or is_last):
            await self._show(rows, cell.shown(result))
        return judged

    def _written(self, path: Path, start: int, stop: int) -> File:
        content = self._table.read(start, stop)
        try:
            path.write_bytes(content)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"{path.parent} cannot be written: {error.strerror}", hint="make room") from None
        return File(cell.FILE, hashlib.sha256(content).hexdigest(), len(content), path)

    async def _told(self, event: Event) -> None:
        """Outputs are shown when the range is done: a range that is halved would show them twice."""
        if isinstance(event, Notice):
            await self._emit(event)

    async def _show(self, rows: Range, outputs: tuple[Any, ...]) -> None:
        shown = [each for each in outputs if isinstance(each, (Stream, Display))]
        if not shown:
            return
        async with self._screen:
            await self._emit(Stream("stdout", f"{rows}:\n"))
            for each in shown:
                # an id is the range's own: the next range may use the same one
                await self._emit(replace(each, display_id=None) if isinstance(each, Display) else each)


def _rows(pair: tuple[Range, Answer]) -> Range:
    return pair[0]
