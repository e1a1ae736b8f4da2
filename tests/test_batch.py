"""The batch: put aside at once, run when there is room, there after a kill, billed once."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ipy_codeinterp import __main__ as shell
from ipy_codeinterp import verbs
from ipy_codeinterp.batch import is_for_later, new_batch, read
from ipy_codeinterp.batch.trickle import Pace, Trickle
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadAttachment,
    BatchCancelled,
    Batched,
    BatchEnded,
    DeadlineExceeded,
    GatewayLost,
    InterpError,
    InvalidInput,
    NoOffer,
    NotAllowed,
    OverBudget,
    Overloaded,
    QuotaExceeded,
    Rejected,
    SandboxError,
    StoreError,
    UnknownName,
    Unreachable,
)
from ipy_codeinterp.execution import Execution, File, Result
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store import batches, schema
from ipy_codeinterp.store.batches import Batch, Terms
from ipy_codeinterp.store.database import Database, transaction
from ipy_codeinterp.testing import Fail, Reply, Reset, ScriptedProvider
from tests.client import virtual
from tests.test_engine import At, rows, settings_in

T = TypeVar("T")
ROUNDS = int(os.environ.get("KILL_ROUNDS", "20"))
EPOCH = datetime(2026, 6, 15, tzinfo=UTC)
OK = Result("run_1", outcome="ok")
CLAUDE = "claude@scripted"


# --- what is for later ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Overloaded, Unreachable, GatewayLost, DeadlineExceeded, QuotaExceeded, OverBudget])
def test_for_later(error: type[InterpError]) -> None:
    """No capacity, no way, no time, no money: it may go better later, also where it was only one offer's reason."""
    assert is_for_later(error("x"))
    assert is_for_later(NoOffer("x", causes=[Rejected("x"), error("x"), AuthenticationFailed("x")]))


@pytest.mark.parametrize("error", [Rejected, AuthenticationFailed, NotAllowed, NoOffer, BadAttachment, StoreError])
def test_not_for_later(error: type[InterpError]) -> None:
    """What is wrong now is wrong later, too."""
    assert not is_for_later(error("x"))


@pytest.mark.parametrize(
    "execution",
    [
        Execution("1", container="a"),
        Execution("1", mounts=("/data",)),
        Execution("1", network=True),
        Execution("1", files=(File("a", "00", 1, id="file_1"),)),
    ],
)
def test_what_cannot_be_put_aside(execution: Execution) -> None:
    """What needs a container, a folder, a network or a provider's file is refused at once."""
    with pytest.raises(InvalidInput):
        new_batch(execution, CLAUDE, Terms(), None)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, [2.5, 5, 10, 20]), (1.0, [5, 10, 20, 40])])
def test_a_growing_pause(chance: float, seconds: list[float]) -> None:
    """An offer rests twice as long with each failure, jittered, up to a bound; what it asks for is the least (D16)."""
    pace = Pace()

    assert [pace.pause(failures, 0.0, chance) for failures in range(1, 5)] == seconds
    assert pace.pause(10**6, 0.0, 1.0) == 900.0
    assert pace.pause(1, 60.0, 0.0) == 62.5
    assert pace.pause(1, 10**9, 0.0) == 3600.0


# --- the trickle, on a virtual clock ---------------------------------------------------------------


class Memory:
    """A store without a file that answers at once."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate(self.connection)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        future: Future[T] = Future()
        with transaction(self.connection) as connection:
            future.set_result(work(connection))
        return future

    def put(self, count: int, offer: str = CLAUDE) -> None:
        for _ in range(count):
            batch = replace(new_batch(Execution("print(1)"), offer, Terms(), None), created_at=EPOCH)
            batches.put(self.connection, batch)

    def all(self) -> list[Batch]:
        return batches.all_of(self.connection)


class Script:
    """Does to each run, in the order they come, what it says; notes when each began, and how many were together."""

    def __init__(self, *outcomes: Result | Exception, seconds: float = 1.0) -> None:
        self._outcomes = itertools.chain(outcomes, itertools.repeat(OK))
        self._seconds = seconds
        self.began: list[float] = []
        self.together = self.most = 0

    async def __call__(self, batch: Batch) -> Result:
        outcome = next(self._outcomes)
        self.began.append(asyncio.get_running_loop().time())
        self.together += 1
        self.most = max(self.most, self.together)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.together -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def trickle(store: Memory, script: Script, **how: Any) -> Trickle:
    def now() -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    return Trickle(store, script, batches.owner("test"), now=now, chance=lambda: 1.0, **how)


def trickled(store: Memory, script: Script, **how: Any) -> Counter[str]:
    """How many ended in which state."""

    async def main() -> None:
        await trickle(store, script, **how).run()

    virtual.run(main())
    return Counter(batch.state for batch in store.all())


def test_a_few_at_a_time() -> None:
    """All are run, no more together than was said, and then it ends."""
    store, script = Memory(), Script()
    store.put(7)

    assert trickled(store, script, at_once=3) == {"done": 7}
    assert (script.most, len(script.began), script.began[-1]) == (3, 7, 2.0)


def test_one_probe_after_a_rest() -> None:
    """An offer that gave up rests, then one shows whether it is well: not all knock at once (D35)."""
    store, script = Memory(), Script(*[Overloaded("full")] * 4)
    store.put(20)

    assert trickled(store, script, at_once=2) == {"done": 20}
    first, second, third, fourth, fifth, sixth, *_ = script.began
    assert (first, second) == (0.0, 0.0)
    assert third >= 11.0  # two failed together: the second pause
    assert (fourth - third, fifth - fourth) == (21.0, 41.0)
    assert sixth == fifth + 1.0  # the probe was well


def test_one_offer_rests_alone() -> None:
    """While one offer rests the others' go on."""
    store = Memory()
    store.put(1, "slow@scripted")
    store.put(3)
    script = Script(Overloaded("full"))

    assert trickled(store, script, at_once=1) == {"done": 4}
    assert script.began == [0.0, 1.0, 2.0, 3.0, 6.0]


def test_they_ask_for_longer() -> None:
    """A provider that asks to come back later is asked then, not before (D16)."""
    store, script = Memory(), Script(Overloaded("full", retry_after=100.0))
    store.put(1)

    assert trickled(store, script) == {"done": 1}
    assert script.began == [0.0, 106.0]


@pytest.mark.parametrize("error", [Rejected("wrong"), AuthenticationFailed("who?"), ValueError("a fault of ours")])
def test_the_end_of_one(error: Exception) -> None:
    """What no waiting mends ends that one, with its reason, and none of the others."""
    store, script = Memory(), Script(error)
    store.put(3)

    assert trickled(store, script, at_once=1) == {"failed": 1, "done": 2}
    assert store.all()[0].error == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("outcome", ["ok", "error", "limit", "crashed"])
def test_any_result_is_an_end(outcome: Any) -> None:
    """Code that raises has run: it is done."""
    store = Memory()
    store.put(1)

    assert trickled(store, Script(replace(OK, outcome=outcome))) == {"done": 1}


def test_nobody_here_knows_it() -> None:
    """What this session has no provider for is left, and does not hold up the end."""
    store, script = Memory(), Script()
    store.put(1, "gpt@other")
    store.put(1)

    assert trickled(store, script, is_known=lambda offer: offer == CLAUDE) == {"waiting": 1, "done": 1}


def test_cut_short() -> None:
    """A trickle that is cancelled leaves nothing running: what cost nothing waits again."""
    store, script = Memory(), Script(seconds=100.0)
    store.put(3)

    async def main() -> None:
        running = asyncio.create_task(trickle(store, script).run())
        await asyncio.sleep(1.0)
        assert Counter(batch.state for batch in store.all()) == {"running": 2, "waiting": 1}
        running.cancel()
        await asyncio.wait({running})

    virtual.run(main())
    assert Counter(batch.state for batch in store.all()) == {"waiting": 3}


@pytest.mark.parametrize("woken", [True, False], ids=["here", "by another process"])
def test_cancelled_while_it_runs(woken: bool) -> None:
    """What is cancelled is cut short where it runs, the others go on; another process's word is heard soon."""
    store, script = Memory(), Script(seconds=100.0)
    store.put(2)

    async def main() -> float:
        worker = trickle(store, script)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(1.0)
        batches.cancel(store.connection, store.all()[0].id)
        if woken:
            worker.wake()
        while store.all()[0].state != "cancelled":
            await asyncio.sleep(0.5)
        ended = asyncio.get_running_loop().time()
        await running
        return ended

    assert virtual.run(main()) <= (1.5 if woken else 3.5)
    assert [batch.state for batch in store.all()] == ["cancelled", "done"]


def test_stopping() -> None:
    """A trickle that is to stop finishes what is under way, and takes nothing more."""
    store, script = Memory(), Script(seconds=10.0)
    store.put(5)

    async def main() -> None:
        tested = trickle(store, script)
        running = asyncio.create_task(tested.run())
        await asyncio.sleep(1.0)
        tested.is_stopping = True
        tested.wake()
        await running

    virtual.run(main())
    assert Counter(batch.state for batch in store.all()) == {"done": 2, "waiting": 3}


def test_something_new() -> None:
    """What is put aside while it rests begins at once when it is told."""
    store, script = Memory(), Script(Overloaded("full", retry_after=100.0))
    store.put(1, "slow@scripted")

    async def main() -> None:
        tested = trickle(store, script)
        running = asyncio.create_task(tested.run())
        await asyncio.sleep(10.0)
        store.put(1)
        tested.wake()
        await running

    virtual.run(main())
    assert script.began == [0.0, 10.0, 106.0]


# --- through a session ------------------------------------------------------------------------------


@contextlib.contextmanager
def served(does: Any = None) -> Iterator[tuple[ScriptedProvider, str]]:
    """A provider on a thread of its own that does this to each request."""
    loop = asyncio.new_event_loop()
    provider = ScriptedProvider(does) if callable(does) else ScriptedProvider(otherwise=does)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result(10)
        yield provider, provider.endpoint().base_url
    finally:
        asyncio.run_coroutine_threadsafe(provider.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def session_in(folder: Path, provider: Any, **changes: Any) -> Session:
    return Session(settings_in(folder, attempts=1, **changes), providers=[provider])


def test_put_aside_and_collected(tmp_path: Path) -> None:
    """An id at once; the Result is the journal's, as often as it is asked for, and paid for once."""
    with served() as (provider, url), session_in(tmp_path, At(url)) as session:
        ids = [session.batch(f"print({number})", model=CLAUDE, labels={"task": "x"}) for number in range(5)]
        told: list[str] = []
        ended = session.batches.wait(ids, told=told.append)

        assert [batch.state for batch in ended] == ["done"] * 5
        assert told[-1] == "5 of 5 done"
        for _ in range(2):
            assert [session.batches.collect(id).stdout for id in ids] == [f"print({number})" for number in range(5)]
        assert len(provider.requests) == len(provider.bill) == 5
        assert session.stats(by=["label"])[0].calls == 5


def test_not_yet(tmp_path: Path) -> None:
    """What is still put aside says so, with the last error; what was cancelled never runs."""
    with served(Fail(529)) as (_, url), session_in(tmp_path, At(url)) as session:
        id = session.batch("print(1)", model=CLAUDE)
        until(lambda: session.batches.find(id).error is not None)

        with pytest.raises(Batched, match=r"is waiting: Overloaded") as caught:
            session.batches.collect(id)
        assert caught.value.id == id
        session.batches.cancel(id)
        with pytest.raises(BatchEnded, match="is cancelled"):
            session.batches.collect(id)
        with pytest.raises(InvalidInput, match="is cancelled"):
            session.batches.cancel(id)
        with pytest.raises(UnknownName):
            session.batches.collect("batch_none")


def until(condition: Callable[[], bool]) -> None:
    """Bounded by the test's own time out."""
    while not condition():
        asyncio.run(asyncio.sleep(0.005))


def test_another_session_goes_on(tmp_path: Path) -> None:
    """What a closed session left waiting is run by the next that waits for it, as it was asked."""
    with served(Fail(529)) as (_, url), session_in(tmp_path, At(url)) as session:
        id = session.batch("print(1)", model=CLAUDE, timeout=7)
        until(lambda: session.batches.find(id).error is not None)
    due_at_once(tmp_path)

    with served() as (provider, url), session_in(tmp_path, At(url)) as session:
        session.batches.wait([id])
        assert session.batches.collect(id).stdout == "print(1)"
        assert len(provider.bill) == 1
    assert journalled(tmp_path) == {"ok": 1}


def test_cut_short_by_another(tmp_path: Path) -> None:
    """A shell may cancel what a notebook runs: it ends there, is billed once at most, and is known to be."""
    with served(Reply(delay=30.0)) as (provider, url), session_in(tmp_path, At(url)) as session:
        id = session.batch("print(1)", model=CLAUDE)
        until(lambda: bool(provider.requests))
        assert "cut short" in said(session.settings, "cancel", id)
        (found,) = session.batches.wait([id])
        with pytest.raises(BatchCancelled, match="may be billed"):
            session.batches.collect(id)
    assert (found.state, len(provider.requests)) == ("cancelled", 1)
    assert [row["state"] for row in rows(tmp_path)] == ["unknown"]


def due_at_once(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as connection, connection:
        connection.execute("UPDATE batches SET not_before = ?", (EPOCH.isoformat(),))


def journalled(folder: Path) -> Counter[str]:
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        return Counter(outcome for (outcome,) in connection.execute("SELECT outcome FROM results"))


@pytest.mark.parametrize("may_run_twice", [False, True])
def test_a_lost_reply(tmp_path: Path, may_run_twice: bool) -> None:
    """A reply that was lost may have been billed: that is an end, unless twice is allowed."""
    with (
        served(Reset()) as (provider, url),
        session_in(tmp_path, At(url), may_run_twice=may_run_twice) as session,
    ):
        id = session.batch("print(1)", model=CLAUDE)
        until(lambda: session.batches.find(id).error is not None)

        found = session.batches.find(id)
        assert found.state == ("waiting" if may_run_twice else "failed")
        assert (found.spent > 0) == may_run_twice
        assert len(provider.bill) == 1


def test_the_session_closes(tmp_path: Path) -> None:
    """Closing lets what is under way end, and is quick where nothing is."""
    with served(Reply(delay=0.3)) as (provider, url), session_in(tmp_path, At(url)) as session:
        for number in range(6):
            session.batch(f"print({number})", model=CLAUDE)
        until(lambda: len(provider.requests) == 2)
    with Session(settings_in(tmp_path)) as other:
        assert Counter(batch.state for batch in other.batches.all()) == {"done": 2, "waiting": 4}
    assert len(provider.bill) == 2


def test_cut_short_when_it_closes(tmp_path: Path) -> None:
    """What is under way when its time is over is cut, and may have been billed: it says so, the rest waits."""
    with served(Reply(delay=30.0)) as (provider, url), session_in(tmp_path, At(url)) as session:
        for number in range(4):
            session.batch(f"print({number})", model=CLAUDE)
        until(lambda: len(provider.requests) == 2)
        session.batches.finish(0.01)

        found = session.batches.all()
        assert Counter(batch.state for batch in found) == {"failed": 2, "waiting": 2}
        assert all(batches.MAY_HAVE_RUN in (batch.error or "") for batch in found if batch.state == "failed")
        with pytest.raises(BatchEnded, match="may have run"):
            session.batches.collect(found[0].id)


def test_after_it_is_closed(tmp_path: Path) -> None:
    """A closed session puts nothing aside and runs nothing."""
    session = session_in(tmp_path, At("http://127.0.0.1:9"))
    session.close()

    with pytest.raises(SandboxError, match="closed"):
        session.batch("print(1)", model=CLAUDE)
    with pytest.raises(SandboxError, match="closed"):
        session.batches.wait()


def test_a_replay_runs_nothing(tmp_path: Path) -> None:
    """Under a replay nothing is put aside, and what waits is not run."""
    nobody = At("http://127.0.0.1:9")
    with session_in(tmp_path, nobody, record=tmp_path / "recording") as session:
        assert session.recording is not None
        aside = new_batch(Execution("print(1)"), CLAUDE, Terms(), None)
        session._database.run(lambda connection: batches.put(connection, aside)).result()
    (tmp_path / "recording").mkdir(exist_ok=True)
    (tmp_path / "recording" / "recording.json").write_text('{"format": 1, "offers": {}}')
    with session_in(tmp_path, nobody, replay=tmp_path / "recording") as session:
        with pytest.raises(NotAllowed, match="replay"):
            session.batch("print(1)", model=CLAUDE)
        assert [batch.tries for batch in session.batches.wait()] == [0]


def test_a_file_that_changed(tmp_path: Path) -> None:
    """A file is attached as it was when it was put aside: one that has changed, or is gone, is refused by name."""
    path = tmp_path / "a.csv"
    path.write_text("1")
    nobody = At("http://127.0.0.1:9")
    with session_in(tmp_path, nobody) as session:
        aside = new_batch(session.execution("print(1)", files=[path]), CLAUDE, Terms(), None)
        path.write_text("2")
        session.batches.put(aside)
        session.batches.wait([aside.id])

        with pytest.raises(BatchEnded, match=r"a\.csv has changed"):
            session.batches.collect(aside.id)


def test_refused_at_once(tmp_path: Path) -> None:
    """What can never be run is refused when it is put aside, not later; nothing is kept of it."""
    with session_in(tmp_path, At("http://127.0.0.1:9")) as session:
        for how, error in (
            ({"container": "a"}, InvalidInput),
            ({"network": True}, InvalidInput),
            ({"packages": ["polars"]}, NoOffer),
            ({"timeout": 1000.0}, NoOffer),
            ({"max_cost": 0.0001}, NotAllowed),
            ({"model": "claud@scripted"}, UnknownName),
            ({"policy": "dearest"}, UnknownName),
            ({"files": ["/nowhere"]}, BadAttachment),
        ):
            with pytest.raises(error):
                session.batch("print(1)", **{"model": CLAUDE, **how})
        assert session.batches.all() == []


# --- as the last fallback ---------------------------------------------------------------------------


def test_the_last_resort(tmp_path: Path) -> None:
    """D26: where all offers gave up and the user said so, it is put aside, and one clear outcome says where."""
    known = {"fallback": ("gpt@scripted", "batch"), "attempts": 1}
    with (
        served(lambda number, _: Fail(529) if number < 2 else Reply()) as (provider, url),
        Session(settings_in(tmp_path, **known), providers=[Both(url)]) as session,
    ):
        with pytest.raises(Batched, match="put aside") as caught:
            session.run("print(1)", model=CLAUDE)

        assert f"batch collect {caught.value.id}" in caught.value.hint
        assert isinstance(caught.value.__cause__, NoOffer)
        session.batches.wait([caught.value.id])
        assert session.batches.collect(caught.value.id).stdout == "print(1)"
        assert len(provider.bill) == 1


class Both(At):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.offers |= {"gpt": ScriptedProvider().offer("gpt")}


@pytest.mark.parametrize(
    ("action", "fallback", "how", "error"),
    [
        (Fail(529), (), {}, Overloaded),
        (Fail(400, "invalid_request_error"), ("batch",), {}, Rejected),
        (Reset(), ("batch",), {}, Unreachable),
        (Reply(delay=30.0), ("batch",), {}, DeadlineExceeded),
        (Fail(529), ("batch",), {"container": "a"}, Overloaded),
    ],
    ids=["not asked", "wrong", "may have run", "may be running", "container"],
)
def test_not_put_aside(
    tmp_path: Path, action: Any, fallback: tuple[str, ...], how: dict[str, Any], error: type[InterpError]
) -> None:
    """Nothing is put aside unasked, nor what no waiting mends, nor what may have been billed: its error is raised."""
    with (
        served(action) as (_, url),
        session_in(tmp_path, At(url), fallback=fallback, deadline=0.5) as session,
    ):
        with pytest.raises(error):
            session.run("print(1)", model=CLAUDE, **how)
        assert session.batches.all() == []


def test_the_last_name() -> None:
    """`batch` in `fallback` comes last: nobody is asked after it."""
    assert Settings(fallback=("gpt@local", "batch")).fallback == ("gpt@local", "batch")
    with pytest.raises(InvalidInput, match="before others"):
        Settings(fallback=("batch", "gpt@local"))


# --- the verb -----------------------------------------------------------------------------------------


def said(settings: Settings, *words: str) -> str:
    parser = argparse.ArgumentParser()
    verbs.VERBS["batch"].add(parser)
    return verbs.VERBS["batch"].run(settings, parser.parse_args(words))


def test_the_verb(tmp_path: Path) -> None:
    """`batch` lists id, age, state, offer, code and last error in a row each; cancels; and shows outputs again."""
    with served() as (_, url), session_in(tmp_path, At(url)) as session:
        done = session.batch("\n# first\nprint(1)", model=CLAUDE)
        wait = argparse.Namespace(action="wait", id=done)
        told: list[str] = []
        shown: list[Any] = []
        assert verbs.with_session(session, wait, shown.append, told.append) == ""
        assert verbs.with_session(session, argparse.Namespace(action="collect", id=done), shown.append, print) == ""
        assert (told[-1], "".join(output.text for output in shown)) == ("1 of 1 done", "\n# first\nprint(1)")
    with session_in(tmp_path, At("http://127.0.0.1:9")) as session:
        waiting = session.batch("print('\x1b[31mred')", model=CLAUDE)
        until(lambda: session.batches.find(waiting).error is not None)

    header, first, second = said(session.settings).splitlines()
    assert header.split() == ["ID", "AGE", "STATE", "OFFER", "CODE", "LAST", "ERROR"]
    assert first.split()[:5] == [done, "0", "m", "done", CLAUDE]
    assert "# first" in first
    assert [waiting, "waiting", "Unreachable"] == [
        word for word in (waiting, "waiting", "Unreachable") if word in second
    ]
    assert said(session.settings, "cancel", waiting) == f"{waiting} is cancelled"
    with pytest.raises(InvalidInput, match="is cancelled"):
        said(session.settings, "cancel", waiting)


def test_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shell has the same verb; where nothing is put aside it says so, starts nothing and makes no file."""
    assert shell.main(["batch"]) == 0
    assert "nothing is put aside" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()
    assert shell.main(["batch", "wait"]) == 0
    assert "0 of 0 done" in capsys.readouterr().err
    assert shell.main(["batch", "collect", "batch_none"]) == shell.USAGE
    assert "unknown batch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["lisst"], UnknownName),
        (["cancel"], InvalidInput),
        (["collect"], InvalidInput),
        (["list", "batch_1"], InvalidInput),
        (["cancel", "batch_1"], UnknownName),
    ],
)
def test_a_wrong_word(tmp_path: Path, words: list[str], error: type[InterpError]) -> None:
    """An action that is none, or lacks its ID, is named with what would be right."""
    with pytest.raises(error) as caught:
        said(Settings(data_dir=tmp_path), *words)
    assert caught.value.hint


@pytest.mark.sandbox
def test_interrupted_in_a_shell(tmp_path: Path, clean_environment: dict[str, str]) -> None:
    """Ctrl-C of `batch wait` lets what is under way end, and leaves the rest put aside."""
    store = Database(verbs.store_of(Settings(data_dir=tmp_path)), limit=1 << 24)
    code = "import time\nprint('on', flush=True)\ntime.sleep(1)"
    asides = [new_batch(Execution(f"{code}\n{number}"), "local@local", Terms(), None) for number in range(4)]
    for aside in asides:
        store.run(lambda connection, aside=aside: batches.put(connection, aside)).result()  # type: ignore[misc]
    environment = clean_environment | {"IPY_CODEINTERP_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "ipy_codeinterp", "batch", "wait"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "2 running" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    store.close()

    assert process.returncode == shell.INTERRUPTED
    assert rest.startswith("what is under way ends first")
    states = [batch.state for batch in read(store.path)]
    assert states == ["done", "done", "waiting", "waiting"]


# --- killed at any moment -----------------------------------------------------------------------------

COUNT = 12
KILLED = """
import sys
from pathlib import Path
from tests.test_batch import COUNT, CLAUDE, session_in
from tests.test_engine import At

session = session_in(Path(sys.argv[1]), At(sys.argv[2]))
print("on", flush=True)
for number in range(COUNT):
    print(session.batch(f"print({number})", model=CLAUDE), flush=True)
session.batches.wait()
print("end", flush=True)
"""


def killed(folder: Path, url: str, seconds: float) -> list[str]:
    """Ids that the process had said when it was killed."""
    command = [sys.executable, "-c", KILLED, str(folder), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.send_signal(signal.SIGKILL)
        return [line for line in process.stdout.read().splitlines() if line.startswith("batch_")]


@pytest.mark.slow
@pytest.mark.parametrize("round", range(ROUNDS))
def test_killed_at_a_random_moment(tmp_path: Path, round: int) -> None:
    """Whenever the process is killed: every id it said is there, the next session finishes what is left, each ends in
    one Result or in a clear word that it may have been billed, and nothing is billed twice unless that is allowed."""
    twice = round % 2 == 1
    with served(Reply(delay=0.02)) as (provider, url):
        ids = killed(tmp_path, url, random.Random(round).uniform(0, 0.4))
        with session_in(tmp_path, At(url), may_run_twice=twice) as session:
            found = session.batches.wait()
            results = {each.id: session.batches.collect(each.id) for each in found if each.state == "done"}

    assert set(ids) <= {each.id for each in found}
    assert {each.state for each in found} <= ({"done"} if twice else {"done", "failed"})
    assert all(batches.MAY_HAVE_RUN in (each.error or "") for each in found if each.state == "failed")
    assert all(results[each.id].stdout == each.execution.body for each in found if each.id in results)
    assert len({result.id for result in results.values()}) == len(results)
    assert journalled(tmp_path)["ok"] == len(results)
    bought = Counter(request.code for request in provider.requests)
    assert twice or max(bought.values(), default=0) <= 1
    assert max(bought.values(), default=0) <= 2
    bill = {billed.attempt_id: billed.cost for billed in provider.bill}
    noted = {row["id"]: row for row in rows(tmp_path)}
    assert set(bill) <= set(noted)
    assert all(
        Decimal(row["billed"]) / 10**9 == bill.get(id, 0) for id, row in noted.items() if row["state"] == "settled"
    )
