"""Background jobs: cells that run while others do, a few at once and the rest in line, each in a place of its own.

A job's id is that of its run, so that whatever came of it is in the journal under that id, for `%interp show`. Here
stays what a line of `%interp jobs` says, of the last `MOST_ENDED` also after their end; the Results do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ipy_codeinterp import ids, registry
from ipy_codeinterp.errors import InterpError, InvalidInput
from ipy_codeinterp.execution import Event, Execution, Result
from ipy_codeinterp.notebook.canvas import Canvas
from ipy_codeinterp.notebook.place import Place

if TYPE_CHECKING:
    from ipy_codeinterp.session import Session

MOST_ENDED = 200  # that are still listed
EVERY = 0.5  # seconds between two looks of one job's place
CANCEL_TIMEOUT = 5.0  # seconds that what is cancelled may take to end
WAITING, RUNNING, CANCELLED = "waiting", "running", "cancelled"


# What a notebook takes of a Result, on its own thread; the error is why it could not.
Take = Callable[[Result], InterpError | None]


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as it is now. `state` is waiting, running, or how it ended: an outcome, or the kind of error.

    `seconds` it has waited, or run, or took; `head` is the first line of its code.
    """

    id: str
    state: str
    offer: str
    head: str
    seconds: float
    is_over: bool

    @property
    def is_running(self) -> bool:
        return self.state == RUNNING


@dataclass
class Job:
    """One of them. `error` is why there is no Result; `kept` has it where the journal does not."""

    id: str
    execution: Execution
    offer: str
    terms: dict[str, Any]
    place: Place
    raises: bool = True  # whether who waits for it is told of its error as an error
    state: str = WAITING
    since: float = field(default_factory=time.monotonic)
    took: float = 0.0
    is_over: bool = False
    is_seen: bool = False  # somebody has waited for it
    error: Exception | None = None
    kept: Result | None = None
    task: asyncio.Task[None] | None = None
    is_unwanted: bool = False
    take: Take | None = None

    @property
    def head(self) -> str:
        return next((line.strip() for line in self.execution.body.splitlines() if line.strip()), "")

    def __repr__(self) -> str:
        return f"Job({self.id}, {self.state})"

    @property
    def now(self) -> JobState:
        seconds = self.took if self.is_over else time.monotonic() - self.since
        return JobState(self.id, self.state, self.offer, self.head, seconds, self.is_over)


class Jobs:
    """Those of one notebook. Any thread may ask; of each change `on_change` is told, on the session's loop."""

    def __init__(self, session: Session, most: Callable[[], int]) -> None:
        self._session = session
        self._most = most
        self._jobs: dict[str, Job] = {}
        self._line: deque[tuple[Job, asyncio.Future[None]]] = deque()  # of the loop, which alone touches it
        self._running = 0
        self._changed = threading.Condition()
        self.on_change: Callable[[], None] = lambda: None

    # --- from the notebook's thread, or any other ---

    def start(self, execution: Execution, offer: str, place: Place, *, raises: bool = True, **terms: Any) -> Job:
        """Begin one, and return at once; it runs when there is room."""
        job = Job(ids.new("run"), execution, offer, terms, place, raises)
        with self._changed:
            self._forget_old()
            self._jobs[job.id] = job
        self._draw_head(job)
        self._session.in_background(self._run(job, Canvas(offer if execution.kind == "task" else "")))
        return job

    def states(self) -> tuple[JobState, ...]:
        """All that are known, the oldest first."""
        with self._changed:
            return tuple(job.now for job in self._jobs.values())

    def find(self, said: str) -> Job:
        """The one whose id is `said`, or begins or ends so. Raises `UnknownName`, and `InvalidInput` for several."""
        with self._changed:
            begun = [job for id, job in self._jobs.items() if said and id.startswith((said, f"run_{said}"))]
            found = begun or [job for id, job in self._jobs.items() if said and id.endswith(said)]
            if len(found) == 1:
                return found[0]
            if found and said not in self._jobs:
                named = ", ".join(job.id for job in found[:5])
                raise InvalidInput(f"{said!r} is a part of several ids", hint=f"say more of it: {named}")
            return registry.find("job", said, self._jobs)

    def cancel(self, id: str) -> bool:
        """Stop it, or take it out of the line; False where it is over already. It ends a little later."""
        job = self.find(id)
        if job.is_over:
            return False
        self._session.in_background(self._cancel(job))
        return True

    def unseen(self) -> list[Job]:
        """Those that nobody has waited for, the oldest first."""
        with self._changed:
            return [job for job in self._jobs.values() if not job.is_seen]

    def wait(self, jobs: Iterable[Job], timeout: float) -> bool:
        """Whether all of them are over, after at most so many seconds, or as soon as something has changed."""
        waited = list(jobs)
        with self._changed:
            if not all(job.is_over for job in waited):
                self._changed.wait(timeout)
            return all(job.is_over for job in waited)

    def close(self) -> None:
        """Cancel all of them, and wait (bounded) until each has said so in its place."""
        with self._changed:
            left = [job for job in self._jobs.values() if not job.is_over]
        for job in reversed(left):  # those in line first: none of them is to begin
            with contextlib.suppress(InterpError):  # the session is closed: what it ran has ended with it
                self._session.in_background(self._cancel(job))
        self.settle(left)

    def settle(self, jobs: Sequence[Job]) -> None:
        """Give what is cancelled a while to end."""
        until = time.monotonic() + CANCEL_TIMEOUT
        while (left := until - time.monotonic()) > 0 and not self.wait(jobs, left):
            pass  # something has changed, but not enough

    def _forget_old(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.is_over]
        for id in ended[: max(len(ended) - MOST_ENDED + 1, 0)]:
            del self._jobs[id]

    # --- on the session's loop ---

    async def _run(self, job: Job, canvas: Canvas) -> None:
        """From the line to the last word in its place."""
        job.task = asyncio.current_task()
        self._tell()
        drawing = asyncio.create_task(self._draw_for_ever(job, canvas)) if job.place.can_change else None
        state = CANCELLED
        try:
            async with self._turn(job):
                result = await self._session.execute(job.execution, id=job.id, emit=_fed(canvas), **job.terms)
            job.kept = None if await asyncio.to_thread(self._session.is_kept, job.id) else result
            state = result.outcome
            if result.ending:
                canvas.note(result.ending)
        except Exception as error:  # ours, or a mistake of ours: whoever waits is told, since nobody else would be
            state, job.error = type(error).__name__, error
            canvas.note("\n".join(error._render_traceback_()) if isinstance(error, InterpError) else repr(error))
        finally:
            if drawing:
                drawing.cancel()
            self._end(job, state, canvas)

    @contextlib.asynccontextmanager
    async def _turn(self, job: Job) -> Any:
        """Waits in line until fewer than the setting says are running."""
        if job.is_unwanted:
            raise asyncio.CancelledError
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((job, room))
        self._let_in()
        try:
            await room
        except asyncio.CancelledError:
            if room.done() and not room.cancelled():
                self._running -= 1
                self._let_in()
            raise
        self._change(job, RUNNING)
        try:
            yield
        finally:
            self._running -= 1
            self._let_in()

    def _let_in(self) -> None:
        while self._line and (self._line[0][1].done() or self._running < self._most()):
            _, room = self._line.popleft()
            if not room.done():
                self._running += 1
                room.set_result(None)

    async def _cancel(self, job: Job) -> None:
        job.is_unwanted = True  # where it has not begun
        if job.task and not job.is_over:
            job.task.cancel()

    async def _draw_for_ever(self, job: Job, canvas: Canvas) -> None:
        """What has come, again and again while something comes; a large one less often."""
        shown: dict[str, str] = {}
        while True:
            await asyncio.sleep(EVERY + sum(map(len, shown.values())) / 1_000_000)
            bundle = await asyncio.to_thread(canvas.bundle, _head(job), canvas.seen())
            if bundle != shown:
                shown = bundle
                job.place.write(bundle, {"job": job.id})

    def _change(self, job: Job, state: str) -> None:
        with self._changed:
            job.state, job.since = state, time.monotonic()
            self._changed.notify_all()
        self._tell()

    def _end(self, job: Job, state: str, canvas: Canvas) -> None:
        """Its last word, first of all: whoever waits finds it in its place."""
        job.took = time.monotonic() - job.since
        job.state = state
        canvas.close()
        if job.place.can_change:
            with contextlib.suppress(Exception):  # the kernel ends: there is no screen any more
                job.place.write(canvas.bundle(_head(job), canvas.seen()), {"job": job.id})
        with self._changed:
            job.is_over, job.task = True, None
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(Exception):  # who looks on does not stop a job
            self.on_change()

    def _draw_head(self, job: Job) -> None:
        if job.place.can_change:
            job.place.write(Canvas().bundle(_head(job), ((), ())), {"job": job.id})


def _head(job: Job) -> str:
    if job.state == WAITING:
        return f"job {job.id} waits for its turn"
    if job.state == RUNNING:
        return f"job {job.id} is running; %interp cancel {job.id} stops it"
    return f"job {job.id}: {job.state} after {job.took:.3g} s"


def _fed(canvas: Canvas) -> Callable[[Event], Coroutine[Any, Any, None]]:
    async def feed(event: Event) -> None:
        canvas.feed(event)

    return feed
