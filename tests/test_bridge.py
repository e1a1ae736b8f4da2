"""The door between a thread that shows and a loop that works: in order, bounded, and open to interrupts."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from ipy_codeinterp import bridge
from ipy_codeinterp.bridge import Bridge, Emit
from ipy_codeinterp.execution import Clear, Display, Error, Event, Notice, Stream, TextDelta, Update

PATIENCE = 10  # seconds until what never comes fails a test
THREAD = "ipy-codeinterp"


@pytest.fixture
def door() -> Iterator[Bridge]:
    opened = Bridge()
    yield opened
    opened.close()


def ignore(_: Event) -> None:
    pass


def line(number: int) -> Stream:
    return Stream("stdout", f"{number}\n")


async def a_while() -> None:
    """Long enough for everything on the loop that can go on to go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def forever(_: Emit) -> None:
    await asyncio.get_running_loop().create_future()


def test_result(door: Bridge) -> None:
    """What the work returns is returned."""

    async def work(emit: Emit) -> int:
        return 42

    assert door.run(work, ignore) == 42


def test_error(door: Bridge) -> None:
    """What the work raises is raised, after everything it had to show."""
    shown: list[Event] = []

    async def work(emit: Emit) -> None:
        await emit(line(1))
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        door.run(work, shown.append)
    assert shown == [line(1)]


def test_order(door: Bridge) -> None:
    """Events are shown in the order they came, on the caller's thread, all before the return."""
    shown: list[Event] = []
    threads = set()

    async def work(emit: Emit) -> None:
        for number in range(1000):
            await emit(line(number))

    def show(event: Event) -> None:
        shown.append(event)
        threads.add(threading.current_thread())

    door.run(work, show)
    assert shown == [line(number) for number in range(1000)]
    assert threads == {threading.current_thread()}


def test_one_loop(door: Bridge) -> None:
    """All work of a bridge shares one loop on one thread, so that connections can be kept."""

    async def where(_: Emit) -> tuple[object, str]:
        return asyncio.get_running_loop(), threading.current_thread().name

    first, second = door.run(where, ignore), door.run(where, ignore)

    assert first == second == (door.loop, THREAD)


def test_inside_a_running_loop(door: Bridge) -> None:
    """It works where an event loop is running already, as in a notebook."""

    async def work(emit: Emit) -> int:
        await emit(line(1))
        return 42

    async def cell() -> int:
        return door.run(work, ignore)

    assert asyncio.run(cell()) == 42


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, SystemExit])
def test_interrupt(door: Bridge, kind: type[BaseException]) -> None:
    """An interrupt cancels the work, waits until its clean-up has ended, and is raised again."""
    steps = []

    async def work(emit: Emit) -> None:
        try:
            await emit(line(1))
            await forever(emit)
        except asyncio.CancelledError:
            steps.append("cancelled")
            await a_while()
            steps.append("cleaned up")
            raise

    def show(_: Event) -> None:
        raise kind("stop")

    with pytest.raises(kind, match="stop"):
        door.run(work, show)
    assert steps == ["cancelled", "cleaned up"]


def test_what_comes_after_an_interrupt(door: Bridge) -> None:
    """What had arrived before the interrupt, and what the clean-up has to say, is shown."""
    shown: list[Event] = []

    async def work(emit: Emit) -> None:
        try:
            for number in range(3):
                await emit(line(number))
            await forever(emit)
        finally:
            await emit(Notice("bye"))

    def show(event: Event) -> None:
        shown.append(event)
        if len(shown) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        door.run(work, show)
    assert shown == [line(0), line(1), line(2), Notice("bye")]


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGINT is heard here as in a kernel: whoever runs tests two at a time lets only one process hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_second_interrupt(door: Bridge) -> None:
    """Another interrupt leaves at once, in the context of the first; the clean-up goes on behind."""
    cleaning, let_go, cleaned = threading.Event(), asyncio.Event(), threading.Event()

    async def work(emit: Emit) -> None:
        try:
            await emit(line(1))
            await forever(emit)
        finally:
            cleaning.set()
            await let_go.wait()
            cleaned.set()

    def show(_: Event) -> None:
        assert door.loop is not None
        door.loop.call_soon_threadsafe(lambda: door.begin(press_again()))
        raise KeyboardInterrupt("first")

    async def press_again() -> None:
        await asyncio.to_thread(cleaning.wait, PATIENCE)
        signal.raise_signal(signal.SIGINT)  # the main thread gets it, whoever sends it

    with pytest.raises(KeyboardInterrupt) as raised:
        door.run(work, show)
    assert repr(raised.value.__context__) == "KeyboardInterrupt('first')"
    assert not cleaned.is_set()
    assert door.loop is not None
    door.loop.call_soon_threadsafe(let_go.set)
    assert cleaned.wait(PATIENCE)


def test_idle(door: Bridge) -> None:
    """While there is nothing to show the caller is told so, on its own thread, and the work goes on."""
    told = asyncio.Event()
    threads = []

    async def work(_: Emit) -> int:
        await told.wait()
        return 42

    def idle() -> None:
        assert door.loop is not None
        threads.append(threading.current_thread())
        door.loop.call_soon_threadsafe(told.set)

    assert door.run(work, ignore, idle=idle) == 42
    assert set(threads) == {threading.current_thread()}


def test_interrupt_of_a_flood(door: Bridge) -> None:
    """Work that waits for room is cancelled like any other, and the next one has all the room."""

    async def flood(emit: Emit) -> None:
        while True:
            await emit(Stream("stdout", "x" * (1 << 20)))

    def stop(_: Event) -> None:
        door.call(a_while())
        raise KeyboardInterrupt

    async def work(emit: Emit) -> int:
        await emit(line(1))
        return 42

    with pytest.raises(KeyboardInterrupt):
        door.run(flood, stop)
    assert door.run(work, ignore) == 42


ROOM = 1 << 16
LARGE = "x" * (1 << 13)


@pytest.mark.parametrize(
    ("event", "most"),
    [
        pytest.param(Stream("stdout", LARGE), 10, id="text"),
        pytest.param(Display({"image/png": LARGE}), 10, id="figure"),
        pytest.param(Display({"application/json": {"a": [LARGE]}}), 10, id="json"),
        pytest.param(Display({"application/json": [1] * 1000}), 10, id="numbers"),
        pytest.param(Update("d", {"text/html": LARGE}), 10, id="update"),
        pytest.param(Error("E", LARGE, (LARGE,)), 10, id="error"),
        pytest.param(TextDelta(LARGE), 10, id="words"),
        pytest.param(Stream("stdout", "x"), 300, id="many small"),
        pytest.param(Clear(), 300, id="many empty"),
    ],
)
def test_flood(door: Bridge, event: Event, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that produces more than is shown is stopped until there is room, whatever it produces."""
    monkeypatch.setattr(bridge, "MOST_QUEUED", ROOM)
    made, shown, ahead = [0], [0], [0]

    async def work(emit: Emit) -> None:
        for _ in range(3 * most):
            made[0] += 1
            await emit(event)

    def show(_: Event) -> None:
        door.call(a_while())
        shown[0] += 1
        ahead[0] = max(ahead[0], made[0] - shown[0])

    door.run(work, show)
    assert shown == [3 * most]
    assert 0 < ahead[0] <= most


def test_pause(door: Bridge) -> None:
    """While there is nothing to show, the caller's own pause is called, and events are shown all the same."""
    shown: list[Event] = []
    paused = asyncio.Event()

    async def work(emit: Emit) -> int:
        await paused.wait()
        await emit(line(1))
        return 42

    def pause() -> None:
        assert door.loop is not None
        door.loop.call_soon_threadsafe(paused.set)

    assert door.run(work, shown.append, pause) == 42
    assert shown == [line(1)]


def test_close_leaves_no_thread() -> None:
    """Closing ends the thread, also twice, and what comes later opens another."""
    door = Bridge()

    for _ in range(2):
        door.call(a_while())
        assert THREAD in [thread.name for thread in threading.enumerate()]
        door.close()
        door.close()
        assert THREAD not in [thread.name for thread in threading.enumerate()]


def test_never_opened() -> None:
    """A bridge that nobody used has no thread to end."""
    door = Bridge()

    door.close()

    assert door.loop is None


def test_close_under_a_run() -> None:
    """Closing ends what runs: its clean-up is waited for, and its caller is let go."""
    door, running, ended = Bridge(), threading.Event(), []

    async def work(emit: Emit) -> None:
        try:
            running.set()
            await forever(emit)
        finally:
            await a_while()
            ended.append("cleaned up")

    def call() -> None:
        try:
            door.run(work, ignore)
        except BaseException as error:
            ended.append(type(error).__name__)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    running.wait(PATIENCE)
    door.close()
    caller.join(PATIENCE)
    assert ended == ["cleaned up", "CancelledError"]


def test_cleanup_that_never_ends(door: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt does not wait for ever for a clean-up that hangs."""
    monkeypatch.setattr(bridge, "CANCEL_TIMEOUT", 0.01)
    let_go = asyncio.Event()

    async def work(emit: Emit) -> None:
        try:
            await emit(line(1))
            await forever(emit)
        finally:
            await let_go.wait()

    def show(_: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        door.run(work, show)
    assert door.loop is not None
    door.loop.call_soon_threadsafe(let_go.set)
