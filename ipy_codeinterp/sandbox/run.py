"""One run in one child: its outputs as they come, and a verdict that only the host can give.

The verdict comes from the clock, the byte count, the watch on memory and the kernel, and from the runner's own words
only where those say nothing else.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from ipy_codeinterp.execution import Clear, Display, Error, Limit, Outcome, Stream, StreamName, Update
from ipy_codeinterp.sandbox import frames, limits
from ipy_codeinterp.sandbox.capped import MOST_PRODUCED, Capped
from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.job import ContainerGone, Event, Input, Job, LeftFile, Verdict
from ipy_codeinterp.sandbox.pipes import Pipe

SILENT_GRACE = 1.0  # seconds that a runner without its channel has to die by itself
DEADLINE_GRACE = 0.15  # that code has at the time limit: a container that yields keeps its variables
WHERE_GRACE = 0.03  # that the interpreter has to tell where it is, before it is killed for its memory
MOST_FILE_BYTES = 100 << 20  # of all files that one run leaves
MOST_FILES = 100
QUEUED = 64  # frames read ahead; a reader that stops reading stops the program
QUEUED_BYTES = 16 << 20  # in them


class Run:
    """One job in one child: pumps its three outputs into a queue and judges its end."""

    def __init__(self, child: Child, job: Job, number: int) -> None:
        self.over = False
        self._child = child
        self._job = job
        self._number = number
        self._queue = _Ahead()
        self._late: list[Event] = []  # what came after the interrupt at the time limit
        self._pumps: list[asyncio.Task[None]] = []
        self._capped = Capped()
        self._files: dict[str, bytearray] = {}
        self._whole: set[str] = set()  # names of files that have come to their end
        self._file_bytes = 0
        self._dropped_files: list[str] = []
        self._last_error: Error | None = None
        self._watch = child.watch_memory(job.memory or 0)
        self._too_much = False
        self._where = b""  # what the interpreter says when it is asked for the line it is in
        self._tail = b""  # of stderr
        self._decoders: dict[StreamName, codecs.IncrementalDecoder] = {
            "stdout": codecs.getincrementaldecoder("utf-8")("replace"),
            "stderr": codecs.getincrementaldecoder("utf-8")("replace"),
        }
        self._begun = asyncio.Event()
        self._started = time.monotonic()

    @property
    def ahead(self) -> bool:
        """Whether more has come already than was asked for."""
        return not self._queue.empty()

    async def events(self) -> AsyncGenerator[Event]:
        verdict = None if await self._sent() else await self._time_is_up()
        self._started = time.monotonic()
        self._pumps = [
            asyncio.create_task(self._pump_frames()),
            asyncio.create_task(self._pump_pipe("stdout", self._child.stdout)),
            asyncio.create_task(self._pump_pipe("stderr", self._child.stderr)),
            *([asyncio.create_task(self._guard_memory())] if self._job.memory else []),
        ]
        try:
            while verdict is None:
                received = await self._next()
                if received is None:
                    verdict = await self._time_is_up() if self._child_lives else await self._died()
                elif isinstance(received.frame, (frames.Done, frames.Refused)):
                    verdict = self._done(received.frame)
                else:
                    for event in self._shown(received):
                        yield event
                    if self._capped.over:
                        verdict = await self._killed(Limit("output", MOST_PRODUCED, "bytes", self._capped.produced))
            for event in await self._rest():
                yield event
            await self._end_pumps()
            self.over = True
            yield verdict
        finally:
            if verdict is not None or not self._child_lives:
                await self._end_pumps()
                self.over = True

    async def stop(self, grace: float) -> bool:
        """Interrupt, drain and drop what still comes, kill when the grace is over. Whether it stopped by itself."""
        try:
            if self._pumps:  # else the code itself was cut in two on its way in
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._interrupted()
                        return self._child_lives
            self._child.kill()
            await self._child.exited.wait()
            return False
        finally:
            self.over = True
            await self._end_pumps()

    async def _interrupted(self) -> None:
        signalled = False
        while True:
            if self._begun.is_set() and not signalled:  # before that nobody would hear it
                self._child.interrupt()
                signalled = True
            received = await self._queue.get()
            if received is None or isinstance(received.frame, (frames.Done, frames.Refused)):
                return
            if not isinstance(received.frame, Error):  # the interrupt itself is ours, not the code's
                self._late += self._shown(received)

    # --- in ---

    async def _sent(self) -> bool:
        """Whether the runner took it in time: code that only pretended to have ended keeps it from reading."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._job.timeout):
                await self._send()
                return True
        return False

    async def _send(self) -> None:
        job = self._job
        for pipe in (self._child.stdout, self._child.stderr):
            pipe.read_now()  # what arrived between runs belongs to nobody
        with contextlib.suppress(OSError):  # a child that died is noticed by its silence
            for item in job.inputs:
                await self._send_file("file", item)
            for item in job.values:
                await self._send_file("value", item)
            head = {"type": "run", "run": self._number, "parse": job.must_parse, "memory": job.memory}
            head |= {"figure_format": job.figure_format, "figure_dpi": job.figure_dpi, "get": list(job.get)}
            await self._child.send(head, job.code.encode("utf-8", "surrogatepass"))

    async def _send_file(self, kind: str, item: Input) -> None:
        for start in range(0, max(len(item.data), 1), frames.MOST_PIECE):
            piece = item.data[start : start + frames.MOST_PIECE]
            await self._child.send({"type": kind, "name": item.name, "append": start > 0}, piece)

    # --- out ---

    async def _pump_frames(self) -> None:
        try:
            while True:
                received = await self._child.receive()
                if received.run == self._number:
                    self._refuse_out_of_turn(received.frame)
                    await self._queue.put(received)
                    if isinstance(received.frame, frames.Begun):
                        self._begun.set()
                    if isinstance(received.frame, (frames.Done, frames.Refused)):
                        return
        except (asyncio.IncompleteReadError, OSError):  # it is about to die, or it will never speak again
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENT_GRACE):
                    await self._child.exited.wait()
        except frames.Malformed:
            pass
        self._child.kill()
        await self._child.exited.wait()
        await self._queue.put(None)

    def _refuse_out_of_turn(self, frame: frames.Frame) -> None:
        """Code begins once, and what has begun was code."""
        if isinstance(frame, frames.Begun) and self._begun.is_set():
            raise frames.Malformed("begun twice")
        if isinstance(frame, frames.Refused) and (self._begun.is_set() or not self._job.must_parse):
            raise frames.Malformed("refused out of turn")

    async def _pump_pipe(self, name: StreamName, pipe: Pipe) -> None:
        while data := await self._child.take(pipe):
            if name == "stderr" and self._too_much:
                self._where += data
            else:
                await self._queue.put(self._as_stream(name, data))

    def _as_stream(self, name: StreamName, data: bytes) -> frames.Received:
        self._tail = (self._tail + data)[-limits.TAIL :] if name == "stderr" else self._tail
        return frames.Received(self._number, Stream(name, self._decoders[name].decode(data)), len(data))

    async def _guard_memory(self) -> None:
        """Ends the child when its tree has taken too much. The dying interpreter may say where it was."""
        await self._watch.over()
        self._too_much = True
        self._child.ask_where()
        await asyncio.sleep(WHERE_GRACE)
        self._child.kill()

    async def _next(self) -> frames.Received | None:
        """The next frame, or None when the child is gone or the time is up."""
        left = None if self._job.timeout is None else self._started + self._job.timeout - time.monotonic()
        if left is not None and left <= 0:
            return None
        if not self._queue.empty():
            return self._queue.get_nowait()
        try:
            async with asyncio.timeout(left):
                return await self._queue.get()
        except TimeoutError:
            return None

    def _shown(self, received: frames.Received) -> list[Event]:
        frame = received.frame
        if isinstance(frame, frames.FilePiece):
            self._keep(frame)
            return []
        if isinstance(frame, Error):
            self._last_error = frame
        if isinstance(frame, (Stream, Display, Error, Update)):
            return list(self._capped.feed(frame, received.size))
        if isinstance(frame, Clear):
            return [frame] if self._capped.takes_clear(received.size) else []
        return [frame] if isinstance(frame, frames.Begun) else []

    def _keep(self, piece: frames.FilePiece) -> None:
        """Whole or not at all: a file that was cut would pass for the one the code wrote."""
        if piece.name in self._dropped_files:
            return
        if piece.name in self._whole:  # another one that only looks the same when it is written out
            self._dropped_files.append(piece.name)
            return
        crowded = piece.name not in self._files and len(self._files) >= MOST_FILES
        if crowded and len(self._dropped_files) >= MOST_FILES:
            return  # the names alone would fill our memory
        if crowded or self._file_bytes + len(piece.data) > MOST_FILE_BYTES:
            self._file_bytes -= len(self._files.pop(piece.name, b""))
            self._dropped_files.append(piece.name)
            return
        self._file_bytes += len(piece.data)
        self._files.setdefault(piece.name, bytearray()).extend(piece.data)
        if not piece.more:
            self._whole.add(piece.name)

    async def _rest(self) -> list[Event]:
        """What is still on its way once the code has ended, and the end of what was too long."""
        shown: list[Event] = []
        while not self._queue.empty():
            received = self._queue.get_nowait()
            if received is not None:
                shown += self._shown(received)
            await asyncio.sleep(0)  # lets a pump put what it holds
        pipes: tuple[tuple[StreamName, Pipe], ...] = (("stdout", self._child.stdout), ("stderr", self._child.stderr))
        for name, pipe in pipes:
            if data := pipe.read_now():
                shown += self._shown(self._as_stream(name, data))
        return [*self._late, *shown, *self._capped.rest(), *self._dropped()]

    def _dropped(self) -> list[Event]:
        if not self._dropped_files:
            return []
        names = ", ".join(self._dropped_files)[:1000]
        return [Stream("stderr", f"[not kept, more than {MOST_FILES} files or {MOST_FILE_BYTES >> 20} MB: {names}]\n")]

    # --- the verdict ---

    @property
    def _child_lives(self) -> bool:
        return self._child.lives

    def _done(self, frame: frames.Done | frames.Refused) -> Verdict:
        if isinstance(frame, frames.Refused):
            return self._verdict("error", refused=True)
        if frame.status == "ok":
            return self._verdict("ok", exit_status=frame.exit_status)
        limit = self._last_error and limits.of_error(self._last_error, self._job.memory)
        if limit and limit.name == "memory":
            self._watch.look()
            limit = replace(limit, reached=float(self._watch.peak))
        return self._verdict("limit" if limit else "error", limit=limit, exit_status=frame.exit_status)

    async def _time_is_up(self) -> Verdict:
        limit = Limit("time", float(self._job.timeout or 0), "seconds", time.monotonic() - self._started)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_GRACE):
                await self._interrupted()
                return self._verdict("limit", limit=limit, alive=self._child_lives)
        return await self._killed(limit)

    async def _killed(self, limit: Limit) -> Verdict:
        self._child.kill()
        await self._child.exited.wait()
        return self._verdict("limit", limit=limit, alive=False)

    async def _died(self) -> Verdict:
        """Raises `ContainerGone` when nothing was run."""
        status = await self._child.status()
        if self._too_much or self._watch.was_killed() or (self._job.memory and limits.is_heap_exhaustion(self._tail)):
            line = limits.line_of(self._where.decode("utf-8", "replace"))
            limit = Limit("memory", float(self._job.memory or 0), "bytes", float(self._watch.peak), line)
            return self._verdict("limit", limit=limit, alive=False)
        if not self._begun.is_set():
            raise ContainerGone(f"its interpreter ended: {limits.describe_exit(status)}")
        return self._verdict("crashed", exit_status=status, alive=False)

    def _verdict(self, outcome: Outcome, **facts: Any) -> Verdict:
        files = tuple(LeftFile(name, bytes(data)) for name, data in self._files.items())
        return Verdict(outcome, files=files, seconds=time.monotonic() - self._started, **facts)

    async def _end_pumps(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


class _Ahead(asyncio.Queue[frames.Received | None]):
    """What was read ahead; None is the end. Full by number or by bytes."""

    def __init__(self) -> None:
        super().__init__(QUEUED)
        self._bytes = 0

    def full(self) -> bool:
        return super().full() or self._bytes > QUEUED_BYTES

    def _put(self, item: frames.Received | None) -> None:
        self._bytes += item.size if item else 0
        super()._put(item)

    def _get(self) -> frames.Received | None:
        item = super()._get()
        self._bytes -= item.size if item else 0
        return item
