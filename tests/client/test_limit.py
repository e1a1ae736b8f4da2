"""The limiter in the chain: what passes, in which order and when, and that nothing it holds is ever lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ipy_codeinterp.catalog import Limits, Offer
from ipy_codeinterp.client.chain import AROUND_CODE, Handler, Run
from ipy_codeinterp.client.limit import Limit
from ipy_codeinterp.client.waiting import AWAY
from ipy_codeinterp.errors import (
    DeadlineExceeded,
    InterpError,
    NotAllowed,
    Overloaded,
    Rejected,
    StoreError,
    TooLarge,
    Unreachable,
)
from ipy_codeinterp.execution import Event, Execution, Notice, Phase, Result, Usage
from ipy_codeinterp.store import limits
from ipy_codeinterp.store.database import Database

from .virtual import Store, run

FULL = 0.95  # of a limit that binds is used at least


class Sized(Run):
    """A run whose worst case is `most` tokens."""

    most: int

    @property
    def worst_case(self) -> Usage:
        return Usage(0, self.most, estimated=True)


@dataclass
class Road:
    """A limiter on virtual time, and what left through it: when, which, and how many tokens it took."""

    bounds: Limits
    store: Store = field(default_factory=Store)
    takes: float = 0.0  # seconds that a request runs
    share: float = 1.0  # of its worst case that it uses
    sent: list[tuple[float, int, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    def __post_init__(self) -> None:
        self.limit = self.another()

    def another(self) -> Limit:
        """What another process has: a limiter of its own on the same store."""
        return Limit(self.store, clock=asyncio.get_running_loop().time)

    def a_run(self, tokens: int = 100, left: float | None = None) -> Sized:
        made = Sized(Execution("x"), Offer("m", "p", 60.0, 1 << 30, limits=self.bounds), self.emit)
        made.most = tokens
        made.deadline = None if left is None else time.monotonic() + left
        return made

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    def start(
        self, tokens: int = 100, number: int = 0, *, limit: Limit | None = None, left: float | None = None
    ) -> asyncio.Task[Result]:
        async def handler(run: Run) -> Result:
            self.sent.append((asyncio.get_running_loop().time(), number, round(tokens * self.share)))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                await asyncio.sleep(self.takes)
            finally:
                self.running -= 1
            return run.result("ok", usage=Usage(0, round(tokens * self.share)))

        return asyncio.create_task((limit or self.limit)(self.a_run(tokens, left), handler))

    @property
    def order(self) -> list[int]:
        return [number for _, number, _ in self.sent]

    @property
    def row(self) -> limits.Row:
        return self.store.row(self.bounds.window)


def most_in_a_window(sent: Sequence[tuple[float, int]], window: float) -> int:
    """The largest sum over any window, wherever it begins."""
    most = inside = first = 0
    for at, amount in sorted(sent):
        inside += amount
        while sorted_at(sent, first) <= at - window:
            inside -= sent[first][1]
            first += 1
        most = max(most, inside)
    return most


def sorted_at(sent: Sequence[tuple[float, int]], index: int) -> float:
    return sent[index][0]


def of_requests(road: Road) -> list[tuple[float, int]]:
    return [(at, 1) for at, _, _ in road.sent]


def of_tokens(road: Road) -> list[tuple[float, int]]:
    return [(at, tokens) for at, _, tokens in road.sent]


async def settled(road: Road) -> None:
    """Let what is under way come to its end."""
    await road.limit.close()
    for _ in range(5):
        await asyncio.sleep(0)


# --- the limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "large", "binding", "processes"),
    [
        pytest.param(100, 2000, "requests", 1, id="requests bind"),
        pytest.param(450, 9000, "tokens", 1, id="tokens bind"),
        pytest.param(100, 2000, "requests", 2, id="requests bind, two processes"),
        pytest.param(450, 9000, "tokens", 2, id="tokens bind, two processes"),
    ],
)
def test_thousand(tokens: int, large: int, binding: str, processes: int) -> None:
    """D30, D31, D35, D42: 1,000 at once never exceed a limit, use 95 % of it, and a large one keeps its turn."""

    async def main() -> Road:
        road = Road(Limits(requests=600, tokens=90_000))
        theirs = [road.limit, *(road.another() for _ in range(processes - 1))]
        sizes = [large if number == 500 else tokens for number in range(1000)]
        tasks = [road.start(size, number, limit=theirs[number % processes]) for number, size in enumerate(sizes)]
        await asyncio.gather(*tasks)
        return road

    road = run(main())

    elapsed = road.sent[-1][0]
    done, limit = (1000, 600) if binding == "requests" else (sum(size for _, _, size in road.sent), 90_000)
    assert most_in_a_window(of_requests(road), 60.0) <= 600
    assert most_in_a_window(of_tokens(road), 60.0) <= 90_000
    assert done / elapsed >= FULL * limit / 60
    for one in range(processes):
        assert [n for n in road.order if n % processes == one] == list(range(one, 1000, processes))
    assert abs(road.order.index(500) - 500) <= 20 * (processes - 1)
    assert len(road.sent) == 1000


@pytest.mark.parametrize("window", [1.0, 10.0, 3600.0])
def test_window_is_a_parameter(window: float) -> None:
    """D30: the limits hold for windows of any length."""

    async def main() -> Road:
        road = Road(Limits(requests=50, window=window))
        await asyncio.gather(*(road.start() for _ in range(150)))
        return road

    road = run(main())

    assert most_in_a_window(of_requests(road), window) <= 50
    assert 150 / road.sent[-1][0] >= FULL * 50 / window


def test_burst() -> None:
    """D31: what may go at once is a tenth of the limit, whatever the concurrency; the rest follows at its rate."""

    async def main() -> Road:
        road = Road(Limits(requests=600, concurrency=200))
        await asyncio.gather(*(road.start() for _ in range(100)))
        return road

    road = run(main())

    assert sum(at == 0 for at, _, _ in road.sent) == 60
    assert road.sent[-1][0] == pytest.approx(40 * 0.1, abs=0.2)


def test_concurrency() -> None:
    """D27: with few places and many callers everyone gets through, never more at once than there are places."""

    async def main() -> Road:
        road = Road(Limits(concurrency=2, requests=600), takes=1.0)
        await asyncio.gather(*(road.start(number=number) for number in range(6)))
        await settled(road)
        assert road.row.running == {}
        return road

    road = run(main())

    assert road.most_running == 2
    assert road.order == list(range(6))
    assert road.sent[-1][0] == pytest.approx(2.0)


def test_old_time_does_not_count() -> None:
    """D32: who waited for a place is held to the rate of the moment it leaves, not of the moment it came."""

    async def main() -> Road:
        road = Road(Limits(concurrency=5, requests=100, window=10.0), takes=30.0)
        await asyncio.gather(*(road.start() for _ in range(5)))
        road.takes, road.sent = 0.0, []
        await asyncio.gather(*(road.start() for _ in range(300)))
        return road

    assert most_in_a_window(of_requests(run(main())), 10.0) <= 100


def test_other_offers_do_not_wait() -> None:
    """D28: who waits for one provider holds nothing of another's."""

    async def main() -> None:
        road = Road(Limits(concurrency=1), takes=10.0)
        first, second = road.start(), road.start()
        await asyncio.sleep(1)
        elsewhere = Run(Execution("x"), Offer("m", "q", 60.0, 1 << 30, limits=road.bounds), road.emit)
        await road.limit(elsewhere, replies)
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)
        await asyncio.gather(first, second)

    run(main())


def test_impossible() -> None:
    """D33: more tokens than the limit ever lets through is refused at once, and the error names both numbers."""

    async def main() -> None:
        road = Road(Limits(tokens=1000))
        with pytest.raises(TooLarge, match=r"1001 tokens.* 1000 in 60 seconds"):
            await road.start(1001)
        assert road.store.works == 0
        await road.start(1000)

    run(main())


@pytest.mark.parametrize("bounds", [Limits(concurrency=0), Limits(requests=0), Limits(tokens=0)], ids=str)
def test_nothing_is_let_through(bounds: Limits) -> None:
    """D33: a limit of nothing is an error, not an endless wait."""

    async def main() -> None:
        with pytest.raises(TooLarge):
            await Road(bounds).start()

    run(main())


def test_no_limits() -> None:
    """Where there are no limits nothing is asked, noted or told."""

    async def main() -> None:
        road = Road(Limits())
        await road.start()
        assert (road.store.works, road.events) == (0, [])

    run(main())


# --- settling -------------------------------------------------------------------------------------


def test_reconciled() -> None:
    """D34: tokens that were held at worst case and not used are there again at once."""

    async def main() -> Road:
        road = Road(Limits(tokens=10_000), takes=1.0, share=0.1)
        await asyncio.gather(*(road.start(5000) for _ in range(40)))
        await settled(road)
        assert road.row.used(1) <= 10_000
        return road

    road = run(main())

    assert most_in_a_window(of_tokens(road), 60.0) <= 10_000
    assert sum(at < 60 for at, _, _ in road.sent) == 11  # the eleventh still finds 5,000 of the 10,000


def test_used_more() -> None:
    """D34: more tokens than the worst case are counted too."""

    async def main() -> None:
        road = Road(Limits(tokens=1000), share=9.0)
        await road.start(100)
        await settled(road)
        assert road.row.used(1) == 900

    run(main())


async def replies(run: Run) -> Result:
    return run.result("ok", usage=Usage(0, 0))


def breaks(error: BaseException, *, told: bool = False) -> Handler:
    async def handler(run: Run) -> Result:
        if told:
            run.rate_headers = {"date": "Tue, 24 Nov 2026 00:00:00 GMT"}
        raise error

    return handler


async def says_nothing(run: Run) -> Result:
    return run.result("ok")


@pytest.mark.parametrize(
    ("handler", "counted"),
    [
        pytest.param(replies, (1, 0), id="reply"),
        pytest.param(says_nothing, (1, 100), id="reply without usage"),
        pytest.param(breaks(NotAllowed("no")), (0, 0), id="never sent"),
        pytest.param(breaks(Unreachable("no")), (0, 0), id="no connection"),
        pytest.param(breaks(Unreachable("no", may_have_run=True)), (1, 100), id="lost on the way"),
        pytest.param(breaks(Rejected("no", status=400)), (1, 0), id="refused"),
        pytest.param(breaks(Unreachable("no"), told=True), (1, 0), id="lost after headers"),
        pytest.param(breaks(ValueError("a bug")), (1, 100), id="a bug"),
        pytest.param(breaks(asyncio.CancelledError()), (1, 100), id="interrupted"),
    ],
)
def test_what_counts(handler: Handler, counted: tuple[int, int]) -> None:
    """D34: what was not sent costs nothing, a refusal a request, and what nobody knows its worst case."""

    async def main() -> None:
        road = Road(Limits(concurrency=1, requests=10, tokens=1000))
        with contextlib.suppress(InterpError, ValueError, asyncio.CancelledError):
            await road.limit(road.a_run(100), handler)
        await settled(road)
        assert (road.row.used(0), road.row.used(1)) == counted
        assert (road.row.running, road.row.line) == ({}, [])

    run(main())


def test_stated() -> None:
    """D35: what a reply says of the limits holds for the next ones."""

    async def handler(run: Run) -> Result:
        run.rate_headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}
        return await replies(run)

    async def main() -> None:
        road = Road(Limits(requests=600))
        await road.limit(road.a_run(), handler)
        await road.start()
        assert road.sent[0][0] == pytest.approx(20.0, abs=2.0)

    run(main())


def test_provider_wants_a_pause() -> None:
    """D35: after a 429 nobody is sent before the time that it named."""

    async def main() -> None:
        road = Road(Limits(requests=600))
        with pytest.raises(Overloaded):
            await road.limit(road.a_run(), breaks(Overloaded("no", status=429, retry_after=7.0)))
        await road.start()
        assert road.sent[0][0] == pytest.approx(7.0)

    run(main())


# --- waiting --------------------------------------------------------------------------------------


def test_told() -> None:
    """A run says that it is queued, and how long it was; the waits of several attempts add up."""

    async def main() -> None:
        road = Road(Limits(requests=1))
        asked = road.a_run()
        for _ in range(3):
            await road.limit(asked, replies)
        assert asked.timings.queue == pytest.approx(2 * 60.0, rel=0.05)
        assert road.events == [Phase("queued")] * 3

    run(main())


@pytest.mark.parametrize("ahead", [0, 3], ids=["first", "behind others"])
def test_deadline(ahead: int) -> None:
    """D35: a wait that would go beyond the deadline fails at once, and takes nothing from the others."""

    async def main() -> None:
        road = Road(Limits(requests=1))
        await road.start()
        others = [road.start() for _ in range(ahead)]
        await asyncio.sleep(1)
        with pytest.raises(DeadlineExceeded, match="nothing was sent"):
            await road.start(left=50.0 + 60.0 * ahead)
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)
        await asyncio.gather(*others)
        assert len(road.sent) == 1 + ahead

    run(main())


def test_deadline_of_many() -> None:
    """D35: of those who come together, those who cannot make it are told so at once; the others go."""

    async def main() -> None:
        road = Road(Limits(requests=60))
        tasks = [road.start(number=number, left=30.5) for number in range(100)]
        await asyncio.sleep(0.5)
        hopeless = [task for task in tasks if task.done() and task.exception()]
        assert len(hopeless) == 100 - 6 - 30
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, DeadlineExceeded) for each in results) == len(hopeless)

    run(main())


def test_deadline_while_others_run() -> None:
    """Where it cannot be known how long the others take, the wait ends when the deadline comes."""

    async def main() -> None:
        road = Road(Limits(concurrency=1), takes=100.0)
        first = road.start()
        await asyncio.sleep(1)
        with pytest.raises(DeadlineExceeded):
            await road.start(left=10.0)
        assert asyncio.get_running_loop().time() == pytest.approx(11.0, abs=0.1)
        await first

    run(main())


def test_interrupted_wait() -> None:
    """D34, D35: who stops waiting leaves no trace, and those behind move up."""

    async def main() -> None:
        road = Road(Limits(requests=1))
        await road.start(number=0)
        second, third = road.start(number=1), road.start(number=2)
        await asyncio.sleep(10)
        second.cancel()
        await asyncio.wait([second])
        await third
        assert road.order == [0, 2]
        assert road.sent[-1][0] == pytest.approx(60.0, rel=0.05)
        await settled(road)
        assert road.row.line == []

    run(main())


def test_nobody_polls() -> None:
    """D35: a thousand who wait cost no more than one who does."""

    async def main() -> None:
        road = Road(Limits(requests=6))
        tasks = [road.start() for _ in range(1000)]
        await asyncio.sleep(0.1)
        before = road.store.works
        await asyncio.sleep(60.0)
        assert road.store.works - before < 150
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())


def test_held_up() -> None:
    """D32: a grant that is taken up too late, because the loop was held up, is given back and asked for anew."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        road = Road(Limits(requests=100, window=10.0))
        task = road.start()
        for _ in range(2):
            await asyncio.sleep(0)  # it has asked
        loop._virtual.elapsed += 5.0  # type: ignore[attr-defined]
        await task
        await settled(road)
        assert list(road.row.slots.values()) in ([[1, 100]], [[0, 0], [1, 100]])
        assert max(road.row.slots) == road.row.index(5.0) or len(road.row.slots) == 1

    run(main())


# --- between processes ----------------------------------------------------------------------------


def test_large_is_not_starved() -> None:
    """D35, D42: a large request of one process comes in its turn, however many small ones another has."""

    async def main() -> Road:
        road = Road(Limits(tokens=10_000))
        busy, other = road.limit, road.another()
        tasks = [road.start(100, 1, limit=busy) for _ in range(400)]
        await asyncio.sleep(30)
        began = len(road.sent)
        large = road.start(5000, 2, limit=other)
        await large
        assert road.order.index(2) - began <= 150
        assert asyncio.get_running_loop().time() < 130.0
        await asyncio.gather(*tasks)
        return road

    assert most_in_a_window(of_tokens(run(main())), 60.0) <= 10_000


def test_places_are_shared() -> None:
    """D42: two processes together hold no more places than there are, and neither keeps the other out."""

    async def main() -> None:
        road = Road(Limits(concurrency=2), takes=1.0)
        other = road.another()
        tasks = [road.start(number=number, limit=[road.limit, other][number % 2]) for number in range(40)]
        await asyncio.sleep(10)
        ours = sum(number % 2 == 0 for number in road.order)
        assert abs(2 * ours - len(road.order)) <= 2
        await asyncio.gather(*tasks)
        assert road.most_running == 2

    run(main())


# --- a store that fails ---------------------------------------------------------------------------


def test_alone() -> None:
    """D42: without the store the limits hold for this process, with what it knew; it is said once."""

    async def main() -> Road:
        road = Road(Limits(concurrency=3, requests=60, tokens=6000), takes=0.5)
        await asyncio.gather(*(road.start() for _ in range(30)))
        road.store.failing = True
        await asyncio.gather(*(road.start() for _ in range(100)))
        return road

    road = run(main())

    assert most_in_a_window(of_requests(road), 60.0) <= 60
    assert most_in_a_window(of_tokens(road), 60.0) <= 6000
    assert road.most_running == 3
    (notice,) = [event for event in road.events if isinstance(event, Notice)]
    assert "this process alone: the disk is full. make room" in notice.text


def test_store_fails_under_way() -> None:
    """D34: a place that was given by the store is free again when the store has failed meanwhile."""

    async def main() -> None:
        road = Road(Limits(concurrency=1), takes=1.0)
        first, second = road.start(), road.start()
        await asyncio.sleep(0.5)
        road.store.failing = True
        await asyncio.gather(first, second)
        assert road.sent[-1][0] == pytest.approx(1.0, abs=0.2)

    run(main())


def test_only_one_write_fails() -> None:
    """D34: where the store loses one settlement and takes what follows, the place comes back all the same."""

    async def main() -> None:
        road = Road(Limits(concurrency=1, requests=100, window=600.0), takes=1.0)
        first, second = road.start(), road.start()
        await asyncio.sleep(0.5)
        road.store.failing_next = True
        await asyncio.gather(first, second)
        await asyncio.sleep(AWAY)
        await road.start()
        await settled(road)
        assert (road.row.used(0), road.row.running) == (3, {})

    run(main())


def test_store_is_back() -> None:
    """D42: when the store works again, what was done without it is counted there, and no place stays taken."""

    async def main() -> None:
        road = Road(Limits(concurrency=2, requests=100, window=600.0), takes=3.0)
        first = road.start()
        await asyncio.sleep(1)
        road.store.failing = True
        await first
        await asyncio.sleep(AWAY)
        apart = [road.start() for _ in range(3)]
        await asyncio.sleep(0.1)
        road.store.failing = False
        await asyncio.sleep(AWAY)
        await asyncio.gather(*apart, road.start())
        await settled(road)
        assert (road.row.used(0), road.row.running) == (5, {})

    run(main())


# --- no leaks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_nothing_leaks(seed: int) -> None:
    """D27, D34, D38: whatever happens to runs, each ends, and then no place, no wait and no token is held."""
    chance = random.Random(seed)

    async def handler(run: Run) -> Result:
        await asyncio.sleep(chance.choice((0, 0.1, 5)))
        if chance.random() < 0.3:
            raise chance.choice((Unreachable("no"), Rejected("no", status=400), ValueError("a bug")))
        return run.result("ok", usage=Usage(0, chance.randrange(0, 100)))

    async def main() -> None:
        road = Road(Limits(concurrency=3, requests=chance.choice((20, 600)), tokens=chance.choice((None, 2000))))
        both = [road.limit, road.another()]
        tasks = []
        for _ in range(80):
            left = chance.choice((None, None, 5.0, 100.0))
            tasks.append(asyncio.create_task(chance.choice(both)(road.a_run(chance.randrange(1, 500), left), handler)))
            await asyncio.sleep(chance.choice((0, 0, 0.05, 1)))
            if chance.random() < 0.2:
                chance.choice(tasks).cancel()
            road.store.failing = chance.random() < 0.05
        road.store.failing = False
        await asyncio.wait(tasks)
        await asyncio.sleep(AWAY + 1)
        road.bounds = Limits(concurrency=3, requests=600)
        await asyncio.gather(*(limit(road.a_run(1), replies) for limit in both for _ in range(2)))
        for limit in both:
            await limit.close()
        assert (road.row.running, road.row.line) == ({}, [])
        for limit in both:
            (queue,) = limit._queues.values()
            assert (queue._held, list(queue._waiting), queue._tokens) == ({}, [], 0)

    run(main())


# --- the real store -------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "store.sqlite", limit=1 << 20)
    opened.write(lambda connection: connection.execute(TABLE) and None).result(10)
    yield opened
    opened.close()


TABLE = limits.SCHEMA.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")  # one statement


def test_in_the_file(database: Database) -> None:
    """With the real store and its thread runs pass in order, and closing the loop at once leaves nothing behind."""

    async def main() -> list[int]:
        order: list[int] = []

        def noting(number: int) -> Handler:
            async def handler(run: Run) -> Result:
                order.append(number)
                return await replies(run)

            return handler

        limit = Limit(database)
        offer = Offer("m", "p", 60.0, 1 << 30, limits=Limits(concurrency=4, requests=100_000))
        runs = [Run(Execution("x"), offer, ignore) for _ in range(50)]
        await asyncio.gather(*(limit(each, noting(number)) for number, each in enumerate(runs)))
        await limit.close()
        return order

    assert asyncio.run(main()) == list(range(50))
    (state,) = database.run(lambda connection: connection.execute("SELECT state FROM limits").fetchone()).result(10)
    row = limits.decode(state, 60.0, limits.clock())
    assert (row.used(0), row.running, row.line) == (50, {}, [])


async def ignore(_: Event) -> None:
    pass


def test_worst_case() -> None:
    """D34: a run is held at the most that it can take: a token a byte, what a dialect adds, and the longest reply."""

    async def main() -> None:
        store = Store()
        offer = Offer("m", "p", 60.0, 1 << 30, most_tokens=500, limits=Limits(tokens=10_000))
        limit = Limit(store, clock=asyncio.get_running_loop().time)
        seen: list[int] = []

        async def look(run: Run) -> Result:
            seen.append(store.row().used(1))
            return await replies(run)

        await limit(Run(Execution("1234"), offer, ignore), look)
        assert seen == [4 + AROUND_CODE + 500]

    run(main())


def test_answer_of_the_store(database: Database) -> None:
    """Work that has an answer gives it when it is kept, and its error as the store explains it."""
    entered, held = threading.Event(), threading.Event()
    database.write(lambda connection: entered.set() or (held.wait(10) and None))
    entered.wait(10)
    numbers = iter(range(10))
    good, bad = database.run(lambda connection: next(numbers)), database.run(lambda connection: 1 / 0)
    held.set()

    assert good.result(10) == 1  # the second time: what was together with it failed
    with pytest.raises(StoreError):
        bad.result(10)


def test_loop_that_ends(database: Database) -> None:
    """D34: a grant that arrives when the loop is closed is given back."""
    held = threading.Event()

    async def main() -> None:
        database.write(lambda connection: held.wait(10) and None)
        offer = Offer("m", "p", 60.0, 1 << 30, limits=Limits(concurrency=1, tokens=10_000))
        waiting = asyncio.create_task(Limit(database)(Run(Execution("x"), offer, ignore), replies))
        await asyncio.sleep(0.01)
        waiting.cancel()

    asyncio.run(main())
    held.set()
    database.run(lambda connection: None).result(10)  # the grant has come
    database.run(lambda connection: None).result(10)
    (state,) = database.run(lambda connection: connection.execute("SELECT state FROM limits").fetchone()).result(10)
    row = limits.decode(state, 60.0, limits.clock())
    assert (row.used(0), row.used(1), row.running) == (0, 0, {})
