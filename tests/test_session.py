"""The session: what is asked is checked before anything is started, and many runs are told as they end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.asked import is_blank
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.errors import (
    BadAttachment,
    InterpError,
    InvalidInput,
    NotAllowed,
    NothingToRun,
    SandboxError,
    UnknownName,
)
from ipy_codeinterp.execution import Execution, File, Result, Stream
from ipy_codeinterp.many import Progress
from ipy_codeinterp.session import Session

from .client.provider import Provider, lab


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(warm="never") as opened:
        yield opened


# --- what is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "blank"),
    [
        ("", True),
        (" \n\t\r\n", True),
        ("# a\n   # b\n\n", True),
        ("\u2028\x0c", True),
        ("x", False),
        ("# a\nx", False),
        ("x # a", False),
        ("'# a'", False),
        ("%%html", False),
    ],
    ids=repr,
)
def test_is_blank(code: str, blank: bool) -> None:
    """Space and comments are nothing to run."""
    assert is_blank(code, "#") is blank


def test_execution(session: Session, tmp_path: Path) -> None:
    """What is asked is one value, with the language's own name and the files by content."""
    (tmp_path / "a.csv").touch()

    asked = session.execution("x", language="py", container="mine", timeout=5, files=[tmp_path / "a.csv"])

    assert (asked.body, asked.language, asked.model, asked.container) == ("x", "python", "local", "mine")
    assert (asked.timeout, asked.files[0].size) == (5, 0)


def test_settings_fill_in(tmp_path: Path) -> None:
    """Where nothing is said the settings count."""
    with Session(model="claude", timeout=7) as session:
        asked, said = session.execution("x"), session.execution("x", model="local", timeout=1)

    assert (asked.model, asked.timeout) == ("claude", 7.0)
    assert (said.model, said.timeout) == ("local", 1)


def test_execution_as_it_is(session: Session) -> None:
    """An Execution is taken as it is."""
    asked = Execution("x", model="claude")

    assert session.execution(asked) is asked


@pytest.mark.parametrize(
    ("code", "how", "expected"),
    [
        pytest.param("# nothing", {}, NothingToRun, id="blank"),
        pytest.param("x", {"language": "klingon"}, UnknownName, id="language"),
        pytest.param("x", {"model": "claud"}, UnknownName, id="model"),
        pytest.param("x", {"model": "claude@antropic"}, UnknownName, id="provider"),
        pytest.param("x", {"model": "claude@anthropic"}, NotAllowed, id="not on this machine"),
        pytest.param("x", {"files": ["nowhere.csv"]}, BadAttachment, id="file"),
        *[pytest.param("x", {"timeout": t}, InvalidInput, id=str(t)) for t in (0, -1, float("nan"), float("inf"))],
    ],
)
def test_refused(session: Session, code: str, how: dict[str, Any], expected: type[Exception]) -> None:
    """What cannot be run is refused before anything is started, with a way out."""
    with pytest.raises(expected) as caught:
        session.run(code, **how)

    assert caught.value.hint  # type: ignore[attr-defined]
    assert not session.settings.data_dir.exists()


def test_closed(session: Session) -> None:
    """A closed session says so, and closing it again does nothing."""
    session.close()
    session.close()

    with pytest.raises(SandboxError, match="closed") as caught:
        asyncio.run(session.execute("x"))
    assert caught.value.hint == "open another: Session()"


def test_nothing_is_left(session: Session) -> None:
    """A session that was used leaves no thread."""
    with pytest.raises(UnknownName):
        session.run("x", model="claud")

    session.close()

    assert [thread for thread in threading.enumerate() if thread.name.startswith("ipy-codeinterp")] == []


def test_file_of_no_run(session: Session) -> None:
    """Only a file that a run left can be fetched."""
    with pytest.raises(InvalidInput, match=r"a\.csv was not left by a run"):
        asyncio.run(session.fetch(File("a.csv")))


# --- many runs ------------------------------------------------------------------------------------


class Scripted(Session):
    """A session whose runs end when they are let go; a code of `fail` fails."""

    def __init__(self) -> None:
        super().__init__(warm="never")
        self.begun: list[Any] = []
        self.cancelled: list[Any] = []
        self.gates: dict[Any, asyncio.Event] = {}
        self.most = 0

    def let_go(self, *codes: Any) -> None:
        for code in codes:
            self.gate(code).set()

    def gate(self, code: Any) -> asyncio.Event:
        return self.gates.setdefault(code, asyncio.Event())

    async def execute(self, code: Any, *, emit: Any = None, **how: Any) -> Result:
        self.begun.append(code)
        self.most = max(self.most, sum(not self.gate(begun).is_set() for begun in self.begun))
        try:
            if emit:
                for number in range(how.get("events", 0)):
                    await emit(Stream("stdout", f"{number}"))
            await self.gate(code).wait()
        except asyncio.CancelledError:
            self.cancelled.append(code)
            raise
        if code == "fail":
            raise InvalidInput("no")
        return Result(f"run of {code}")


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted() as opened:
        yield opened


async def a_while() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_map_as_they_end(scripted: Scripted) -> None:
    """Results come as they are ready, each with the index of its code."""

    async def main() -> list[int]:
        order = []
        scripted.let_go("c")
        async for index, result in scripted.map("abc"):
            assert result.id == f"run of {'abc'[index]}"
            order.append(index)
            scripted.let_go("ba"[len(order) - 1 : len(order)])
        return order

    assert asyncio.run(main()) == [2, 1, 0]


def test_map_in_order(scripted: Scripted) -> None:
    """In order, results come as the codes stand, whichever is ready first."""

    async def main() -> list[int]:
        async def finish() -> None:
            for code in "cab":
                scripted.let_go(code)
                await a_while()

        finishing = asyncio.create_task(finish())
        order = [index async for index, _ in scripted.map("abc", ordered=True)]
        await finishing
        return order

    assert asyncio.run(main()) == [0, 1, 2]


@pytest.mark.parametrize("ordered", [False, True], ids=["as they end", "in order"])
def test_map_takes_no_more_than_it_runs(scripted: Scripted, ordered: bool) -> None:
    """At most `concurrency` run at a time, and codes are taken only when there is room: they may be endless."""

    async def main() -> None:
        taken: list[int] = []
        codes = (taken.append(number) or number for number in itertools.count())
        count = 0
        async with contextlib.aclosing(scripted.map(codes, concurrency=3, ordered=ordered)) as results:
            scripted.let_go(*range(100))
            async for _ in results:
                count += 1
                assert len(taken) <= count + 3
                if count == 20:
                    break

    asyncio.run(main())
    assert scripted.most <= 3


def test_map_in_order_waits_for_the_first(scripted: Scripted) -> None:
    """While the first result is missing, no more than `concurrency` wait for it or run."""

    async def main() -> None:
        scripted.let_go(*range(1, 100))
        results = scripted.map(range(100), concurrency=3, ordered=True)
        first = asyncio.create_task(anext(results))
        await a_while()
        assert len(scripted.begun) <= 3
        scripted.let_go(0)
        assert (await first)[0] == 0
        assert [index async for index, _ in results] == list(range(1, 100))

    asyncio.run(main())


@pytest.mark.parametrize("how", ["it fails", "left"])
def test_map_ends_all(scripted: Scripted, how: str) -> None:
    """When one fails, or nobody wants more, those that still run are cancelled and waited for."""

    async def main() -> None:
        scripted.let_go("fail" if how == "it fails" else "first")
        async with contextlib.aclosing(scripted.map(["slow", "fail", "first", "slower"], raise_errors=True)) as results:
            await anext(results)

    if how == "left":
        asyncio.run(main())
        assert scripted.cancelled == ["slow", "fail", "slower"]
    else:
        with pytest.raises(InvalidInput, match="no"):
            asyncio.run(main())
        assert scripted.cancelled == ["slow", "first", "slower"]


def test_map_gives_errors(scripted: Scripted) -> None:
    """D25: one that cannot be run gives its error in its place, and the others their results."""
    codes = ["fail" if number % 33 == 7 else number for number in range(100)]
    told: list[Progress] = []

    async def main() -> dict[int, Any]:
        scripted.let_go(*codes)
        return {index: outcome async for index, outcome in scripted.map(codes, progress=told.append)}

    found = asyncio.run(main())
    assert sorted(found) == list(range(100))
    failed = {index: outcome for index, outcome in found.items() if isinstance(outcome, InterpError)}
    assert sorted(failed) == [7, 40, 73]
    assert {(type(error), str(error)) for error in failed.values()} == {(InvalidInput, "no")}
    assert (told[-1], str(told[0]).partition(",")[0]) == (Progress(100, 3, 0, 100), f"[{'.' * 20}] 1 of 100 done")


def test_map_raises_what_is_no_error_of_ours(scripted: Scripted) -> None:
    """A bug is never given as if it were a result."""

    async def main() -> None:
        async for _ in scripted.map(["a"], events=1, emit=7):
            pass

    with pytest.raises(TypeError):
        asyncio.run(main())


def test_map_of_very_many(scripted: Scripted) -> None:
    """However many there are, no more are held than run."""
    most = 0

    async def quick(_: Any, **how: Any) -> Result:
        return Result("x")

    async def main() -> int:
        nonlocal most
        count = 0
        async for _ in scripted.map((str(number) for number in range(20_000)), concurrency=50):
            count += 1
            if count % 1000 == 0:
                most = max(most, len(asyncio.all_tasks()))
        return count

    scripted.execute = quick  # type: ignore[method-assign]
    assert asyncio.run(main()) == 20_000
    assert most <= 60


@pytest.mark.parametrize("concurrency", [0, -1])
def test_map_of_nothing_at_a_time(scripted: Scripted, concurrency: int) -> None:
    """A concurrency that would run nothing is refused."""

    async def main() -> None:
        async for _ in scripted.map("abc", concurrency=concurrency):
            pass

    with pytest.raises(InvalidInput, match="runs nothing"):
        asyncio.run(main())


def test_map_of_nothing(scripted: Scripted) -> None:
    """No codes give no results."""

    async def main() -> list[Any]:
        return [each async for each in scripted.map([])]

    assert asyncio.run(main()) == []


def test_stream(scripted: Scripted) -> None:
    """A stream gives the events in order, and the Result as the last thing."""

    async def main() -> list[Any]:
        scripted.let_go("a")
        return [each async for each in scripted.stream("a", events=1000)]

    *events, last = asyncio.run(main())
    assert events == [Stream("stdout", f"{number}") for number in range(1000)]
    assert last == Result("run of a")


def test_stream_while_it_runs(scripted: Scripted) -> None:
    """Events come while the code still runs."""

    async def main() -> None:
        async with contextlib.aclosing(scripted.stream("a", events=2)) as events:
            assert [await anext(events), await anext(events)] == [Stream("stdout", "0"), Stream("stdout", "1")]
            following = asyncio.ensure_future(anext(events))
            await a_while()
            assert not following.done()
            scripted.let_go("a")
            assert await following == Result("run of a")

    asyncio.run(main())


def test_stream_that_fails(scripted: Scripted) -> None:
    """What the run raises is raised after its events."""

    async def main() -> None:
        scripted.let_go("fail")
        async with contextlib.aclosing(scripted.stream("fail", events=3)) as events:
            for number in range(3):
                assert await anext(events) == Stream("stdout", f"{number}")
            await anext(events)

    with pytest.raises(InvalidInput, match="no"):
        asyncio.run(main())


def test_stream_left(scripted: Scripted) -> None:
    """A stream that nobody reads to its end cancels its run, and waits for that."""

    async def main() -> None:
        async with contextlib.aclosing(scripted.stream("a", events=1)) as events:
            await anext(events)
        assert scripted.cancelled == ["a"]

    asyncio.run(main())


def test_stream_cancelled_leaves_no_task(scripted: Scripted) -> None:
    """A reader that is cancelled while it waits leaves no task behind."""

    async def main() -> None:
        async def read() -> None:
            async with contextlib.aclosing(scripted.stream("a")) as events:
                async for _ in events:
                    pass

        reading = asyncio.create_task(read())
        await a_while()
        reading.cancel()
        await asyncio.wait([reading])
        assert scripted.cancelled == ["a"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_slow_reader(scripted: Scripted) -> None:
    """A reader that does not read stops what it reads from."""

    async def main() -> None:
        made = []

        async def execute(code: Any, *, emit: Any, **how: Any) -> Result:
            for number in range(1000):
                await emit(Stream("stdout", f"{number}"))
                made.append(number)
            return Result("run")

        scripted.execute = execute  # type: ignore[method-assign]
        async with contextlib.aclosing(scripted.stream("a")) as events:
            await anext(events)
            await a_while()
            assert len(made) < 100
            assert len([each async for each in events]) == 1000

    asyncio.run(main())


# --- the whole chain, at a provider of our own ----------------------------------------------------


class Aimed(Session):
    """A session that talks to a given gateway instead of starting one."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(warm="never")
        self.endpoint = endpoint

    async def _local(self) -> Endpoint:
        return self.endpoint


def test_two_loops(tmp_path: Path) -> None:
    """One session works from its own loop and from the caller's, counts both, and leaves no socket open."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench, Aimed(bench.endpoint) as session:
            settled = []
            session.on_settled = settled.append
            here = await session.execute("1")
            there = await asyncio.to_thread(session.run, "2")
            assert (here.stdout, there.stdout) == ("1", "2")
            assert session.meter.totals.all.calls == len(settled) == 2

    asyncio.run(main())
    gc.collect()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("ipy-codeinterp")] == []


def test_fetch(tmp_path: Path) -> None:
    """What a run left can be fetched by its File."""

    async def main() -> bytes:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench, Aimed(bench.endpoint) as session:
            return await session.fetch(File("a.csv", id="file_7"))

    assert asyncio.run(main()) == b"content of file_7"
