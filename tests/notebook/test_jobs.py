"""Background jobs without a kernel: a few at once, the rest in line, each with a last word in its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.notebook import jobs as room
from ipy_codeinterp.notebook.job_verbs import progress_of
from ipy_codeinterp.notebook.jobs import Job, Jobs, JobState
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import database, history

LONG = 20.0  # seconds: whoever waits so long has failed


class Slate:
    """A place that remembers what was written."""

    can_change = True

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, data: Mapping[str, str], metadata: Any = None, *, final: bool = False) -> None:
        self.written.append(data["text/plain"])


class Desk:
    """A session and its jobs; what they run waits for `gate`, and counts how many run at once."""

    def __init__(self, folder: Path) -> None:
        self.session = Session(Settings(data_dir=folder, warm="never"))
        self.most = 2
        self.jobs = Jobs(self.session, lambda: self.most)
        self.gate = threading.Event()
        self.ran: list[str] = []
        self.running = self.peak = 0
        self.session.execute = self.execute  # type: ignore[method-assign]

    async def execute(self, code: Any, *, id: str | None = None, emit: Any = None, **how: Any) -> Result:
        import asyncio

        self.ran.append(code.body)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            while not self.gate.is_set():
                await asyncio.sleep(0.005)
            if code.body == "refused":
                raise InvalidInput("no", hint="do this")
            return Result(id or "", outcome="ok", provider="local", model="claude")
        finally:
            self.running -= 1

    def start(self, body: str) -> tuple[Job, Slate]:
        slate = Slate()
        return self.jobs.start(Execution(body), "claude@local", slate), slate  # type: ignore[arg-type]

    def wait(self, *jobs: Job) -> None:
        while not self.jobs.wait(jobs, LONG):
            pass


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.jobs.close()
    made.session.close()


def test_in_line(desk: Desk) -> None:
    """No more run at once than the setting says; the rest wait, and come in their order."""
    started = [desk.start(str(i)) for i in range(7)]
    while len(desk.ran) < 2:
        desk.jobs.wait([], 0.01)
    assert [state.state for state in desk.jobs.states()] == ["running"] * 2 + ["waiting"] * 5

    desk.gate.set()
    desk.wait(*(job for job, _ in started))

    assert (desk.ran, desk.peak) == ([str(i) for i in range(7)], 2)
    assert all(slate.written[-1].startswith(f"job {job.id}: ok after") for job, slate in started)
    assert all(job.task is None and job.kept is not None for job, _ in started)  # nothing was run: no journal has it


def test_cancelled(desk: Desk) -> None:
    """One that runs is stopped, one that waits never begins, and the next comes in their stead."""
    (first, slate), (second, _), (third, waiting), (fourth, _) = (desk.start(body) for body in "abcd")
    while len(desk.ran) < 2:
        desk.jobs.wait([], 0.01)

    assert desk.jobs.cancel(third.id) and desk.jobs.cancel(first.id)
    desk.wait(first, third)
    desk.gate.set()
    desk.wait(second, fourth)

    assert (desk.ran, first.state, third.state) == (["a", "b", "d"], "cancelled", "cancelled")
    assert slate.written[-1].startswith(f"job {first.id}: cancelled") and "cancelled" in waiting.written[-1]
    assert not desk.jobs.cancel(first.id)


def test_at_once(desk: Desk) -> None:
    """One that is cancelled as soon as it is begun ends as well, and keeps no room."""
    for _ in range(20):
        job, _ = desk.start("a")
        desk.jobs.cancel(job.id)
        desk.wait(job)
        assert job.state == "cancelled"
    desk.gate.set()
    job, _ = desk.start("b")
    desk.wait(job)
    assert job.state == "ok"


def test_whoever_looks_on_is_told(desk: Desk) -> None:
    """Each change is told, the end last of all; who looks on and fails stops nothing."""
    told: list[list[str]] = []

    def look() -> None:
        told.append([job.state for job in desk.jobs.states()])
        raise ValueError("no screen")

    desk.jobs.on_change = look
    desk.gate.set()
    job, _ = desk.start("a")
    desk.wait(job)
    desk.session.in_background(done()).result(LONG)

    assert told == [["waiting"], ["running"], ["ok"]]


async def done() -> None:
    """Comes after whatever the loop has begun."""


def test_refused(desk: Desk) -> None:
    """What cannot be run says so in its place, with what to do; who waits is given the error itself."""
    desk.gate.set()
    job, slate = desk.start("refused")
    desk.wait(job)

    assert job.state == "InvalidInput" and isinstance(job.error, InvalidInput)
    assert slate.written[-1].endswith("InvalidInput (your input): no: do this")


def test_names(desk: Desk) -> None:
    """A part is enough; a wrong id is answered with the nearest."""
    job, _ = desk.start("a")

    assert desk.jobs.find(job.id[:9]) is desk.jobs.find(job.id[4:9]) is desk.jobs.find(job.id[-3:]) is job
    with pytest.raises(UnknownName):
        desk.jobs.find("")
    with pytest.raises(UnknownName) as caught:
        desk.jobs.find(f"{job.id[:-1]}_")
    assert job.id in caught.value.hint
    desk.start("b")
    with pytest.raises(InvalidInput, match="several"):
        desk.jobs.find("run")


def test_no_growth(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are over only the last are listed."""
    monkeypatch.setattr(room, "MOST_ENDED", 5)
    desk.gate.set()
    for i in range(12):
        desk.wait(desk.start(str(i))[0])

    assert [state.head for state in desk.jobs.states()] == ["7", "8", "9", "10", "11"]


def test_closed(desk: Desk) -> None:
    """When the notebook ends all are cancelled, and each has its last word."""
    started = [desk.start(body) for body in "abc"]
    desk.jobs.close()

    assert [job.state for job, _ in started] == ["cancelled"] * 3
    assert all("cancelled" in slate.written[-1] for _, slate in started)
    with database.reading(desk.session._database.path) as connection:
        assert connection is None or history.entries(connection) == []


def states(done: int, running: int, waiting: int) -> list[JobState]:
    kinds = [*[("ok", True)] * done, *[("running", False)] * running, *[("waiting", False)] * waiting]
    return [JobState(f"run_{n}", state, "local@local", "1", 1.0, is_over) for n, (state, is_over) in enumerate(kinds)]


@pytest.mark.parametrize(
    ("now", "before", "seconds", "words"),
    [
        (states(0, 2, 1), 0, 0.2, "0 of 3 done, 2 running, 1 waiting"),
        (states(0, 2, 1), 0, 7.0, "0 of 3 done, 2 running, 1 waiting, 7 s"),
        (states(1, 2, 0), 0, 10.0, "[######..............] 1 of 3 done, 2 running, 10 s, about 20 s left"),
        (states(2, 2, 0), 2, 10.0, "[##########..........] 2 of 4 done, 2 running, 10 s"),
        (states(3, 1, 0), 2, 10.0, "[###############.....] 3 of 4 done, 1 running, 10 s, about 10 s left"),
        (states(3, 0, 0), 0, 30.0, "3 of 3 done"),
    ],
)
def test_waiting_says_how_far_it_is(now: list[JobState], before: int, seconds: float, words: str) -> None:
    """Who waits sees a bar, since when, and how long it may still take at the pace of the jobs that ended meanwhile."""
    assert progress_of(now, before, seconds) == words
