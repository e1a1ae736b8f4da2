"""The courier on a virtual clock: what goes together, how often a vendor is asked, and what no error can make it do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from ipy_codeinterp.batch import new_batch
from ipy_codeinterp.batch.courier import Courier, Times
from ipy_codeinterp.dialects.messages.batches import Ended, Standing
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    InterpError,
    Overloaded,
    Rejected,
    TooLarge,
    Unreachable,
)
from ipy_codeinterp.execution import Cost, Execution, Result
from ipy_codeinterp.store import batches, sendings
from ipy_codeinterp.store.batches import MAY_HAVE_RUN, Batch, Terms
from ipy_codeinterp.store.ledger import Attempt
from ipy_codeinterp.store.sendings import End, Letter, attempt_id
from tests.client import virtual
from tests.test_batch import Memory

EPOCH = datetime(2026, 6, 15, tzinfo=UTC)
CLAUDE = "claude@vendor"
DEAD = f"1:0/{batches.owner('x').split('/')[1]}/dead"
CENT = Decimal("0.01")


def seconds() -> float:
    return asyncio.get_running_loop().time()


def now() -> datetime:
    return EPOCH + timedelta(seconds=seconds())


class Vendor:
    """A post whose batches end `takes` seconds after they were made; `errors` are raised by the first submissions.

    With `arrives` an error is raised after the batch was made.
    """

    def __init__(self, *errors: InterpError, takes: float = 100.0, arrives: bool = False) -> None:
        self.made: list[tuple[float, list[bytes]]] = []
        self.looks: list[float] = []
        self.cancelled: list[str] = []
        self.others: list[Standing] = []
        self.look_error: InterpError | None = None
        self._errors = list(errors)
        self._takes = takes
        self._arrives = arrives

    async def letter(self, batch: Batch, run_id: str) -> Letter:
        attempt = Attempt.begun(attempt_id(run_id), run_id, "vendor", "claude", reserved=CENT)
        return Letter(batch, attempt, batch.id.encode())

    async def submit(self, provider: str, requests: Iterable[bytes]) -> Standing:
        error = self._errors.pop(0) if self._errors else None
        if error is None or self._arrives:
            self.made.append((seconds(), list(requests)))
        if error is not None:
            raise error
        return self._standing(len(self.made) - 1)

    async def look(self, provider: str, id: str) -> Standing:
        self.looks.append(seconds())
        if self.look_error is not None:
            raise self.look_error
        return self._standing(int(id))

    async def since(self, provider: str, moment: datetime) -> list[Standing]:
        return [*self.others, *(self._standing(number) for number in range(len(self.made)))]

    async def ended(self, provider: str, id: str) -> AsyncGenerator[Ended]:
        if id.isdigit():
            for request in reversed(self.made[int(id)][1]):
                yield Ended(request.decode(), "succeeded", {"content": []})
        else:
            yield Ended("batch_of_another", "succeeded")

    async def cancel(self, provider: str, id: str) -> None:
        self.cancelled.append(id)

    async def result(self, batch: Batch, ended: Ended, *, may_go_on: bool) -> End:
        return End("done", None, Result(batch.run_id or "", outcome="ok"), Cost(CENT / 2))

    def _standing(self, number: int) -> Standing:
        at, requests = self.made[number]
        return Standing(str(number), seconds() >= at + self._takes, EPOCH + timedelta(seconds=at), len(requests))


def put(store: Memory, *seconds: float) -> list[str]:
    """One for each of them, put aside so many seconds after the start; their ids."""
    made = []
    for at in seconds:
        batch = new_batch(Execution("print(1)"), CLAUDE, Terms(), None, by_vendor=True)
        batches.put(store.connection, replace(batch, created_at=EPOCH + timedelta(seconds=at)))
        made.append(batch.id)
    return made


def carried(store: Memory, vendor: Vendor, *, most: float = 10**6, **how: Any) -> Counter[str]:
    """How many ended in which state."""

    async def main() -> None:
        courier = Courier(store, lambda: vendor, batches.owner("test"), now=now, **how)
        asyncio.get_running_loop().call_later(most, lambda: (setattr(courier, "is_stopping", True), courier.wake()))
        await courier.run()

    virtual.run(main())
    return Counter(batch.state for batch in store.all())


def spent(store: Memory) -> list[tuple[str, int | None, int]]:
    return store.connection.execute("SELECT state, billed, held FROM attempts ORDER BY rowid").fetchall()


def test_gathered() -> None:
    """Those that are put aside close together go together; none waits for others for longer than a bound."""
    times, store, vendor = Times(), Memory(), Vendor()
    ids = put(store, -29.0, -1.0, 0.0)

    assert carried(store, vendor, times=times) == {"done": 3}
    ((at, requests),) = vendor.made
    assert 0.9 <= at <= 1.1  # the oldest has waited for 30 s, the youngest for 1 s
    assert [request.decode() for request in requests] == ids
    assert spent(store) == [("settled", 5_000_000, 0)] * 3


def test_asked_ever_more_seldom() -> None:
    """A vendor is asked after a few seconds, then with pauses that grow with what it has had, up to a bound."""
    store, vendor = Memory(), Vendor(takes=20_000.0)
    put(store, 0.0)

    assert carried(store, vendor) == {"done": 1}
    pauses = [later - earlier for earlier, later in pairwise(vendor.looks)]
    assert vendor.looks[0] < 15
    assert all(later >= earlier - 6 for earlier, later in pairwise(pauses))
    assert max(pauses) <= 306
    assert len(vendor.looks) < 120


@pytest.mark.parametrize("error", [Rejected("x", status=400), AuthenticationFailed("x", status=401), TooLarge("x")])
def test_refused(error: InterpError) -> None:
    """What the vendor refuses has failed with its words, and cost nothing."""
    store, vendor = Memory(), Vendor(error)
    put(store, 0.0, 0.0)

    assert carried(store, vendor) == {"failed": 2}
    assert spent(store) == [("settled", 0, 0)] * 2
    assert vendor.made == []


@pytest.mark.parametrize("error", [Overloaded("x", status=429), Overloaded("x", status=529), Unreachable("x")])
def test_later(error: InterpError) -> None:
    """Where there was no room, or no way, they wait and are sent again."""
    store, vendor = Memory(), Vendor(error)
    put(store, 0.0, 0.0)

    assert carried(store, vendor) == {"done": 2}
    assert spent(store) == [("settled", 0, 0)] * 2 + [("settled", 5_000_000, 0)] * 2
    assert vendor.made[0][0] > 60


UNSURE: list[Callable[[], InterpError]] = [
    lambda: Unreachable("x", may_have_run=True),
    lambda: BadReply("x"),
    lambda: Overloaded("x", status=500),
    lambda: Overloaded("x", status=503),
    lambda: Overloaded("x", status=504, may_have_run=True),
]


@pytest.mark.parametrize("error", UNSURE)
@pytest.mark.parametrize("arrives", [True, False])
def test_it_may_have_arrived(error: Callable[[], InterpError], arrives: bool) -> None:
    """Nothing is sent again until the vendor's list shows that it has nothing that could be it."""
    store, vendor = Memory(), Vendor(error(), takes=5000.0, arrives=arrives)
    put(store, 0.0, 0.0)

    assert carried(store, vendor) == {"done": 2}
    assert len(vendor.made) == 1
    assert arrives or vendor.made[0][0] > Times().arrives
    assert [each for each in spent(store) if each[1]] == [("settled", 5_000_000, 0)] * 2


def test_one_that_may_be_ours() -> None:
    """While a batch of that size and time is under way, which may be ours, nothing is sent again."""
    store, vendor = Memory(), Vendor(Unreachable("x", may_have_run=True))
    vendor.others = [Standing("of another", False, EPOCH, 1)]
    put(store, 0.0)

    assert carried(store, vendor, most=50_000.0) == {"sent": 1}
    assert vendor.made == []
    vendor.others = [Standing("of another", True, EPOCH, 1)]
    assert carried(store, vendor, most=50_000.0) == {"done": 1}


@pytest.mark.parametrize(
    "other",
    [
        Standing("of another", False, EPOCH, 7),
        Standing("of another", False, EPOCH + timedelta(hours=5), 1),
        Standing("of another", True, None, None),
    ],
)
def test_one_that_cannot_be_ours(other: Standing) -> None:
    """One of another size or time, or with other ids, is not waited for."""
    store, vendor = Memory(), Vendor(Unreachable("x", may_have_run=True))
    vendor.others = [other]
    put(store, 0.0)

    assert carried(store, vendor) == {"done": 1}
    assert len(vendor.made) == 1


def test_gone_at_the_vendor() -> None:
    """What the vendor has no longer has failed, and may have been billed."""
    store, vendor = Memory(), Vendor()
    vendor.look_error = Rejected("no such batch", status=404)
    put(store, 0.0)

    assert carried(store, vendor) == {"failed": 1}
    assert MAY_HAVE_RUN in (store.all()[0].error or "")
    assert spent(store) == [("unknown", None, 10_000_000)]


def test_looking_fails() -> None:
    """An error while looking loses nothing: it is noted, and the vendor is asked again."""
    store, vendor = Memory(), Vendor()
    vendor.look_error = AuthenticationFailed("a wrong key", status=401)
    put(store, 0.0)

    assert carried(store, vendor, most=1000.0) == {"sent": 1}
    assert "a wrong key" in (store.all()[0].error or "")
    vendor.look_error = None
    assert carried(store, vendor) == {"done": 1}
    assert len(vendor.made) == 1


def test_cancelled_once() -> None:
    """The vendor is told once, as soon as nobody wants any of it."""
    store, vendor = Memory(), Vendor(takes=1000.0)
    ids = put(store, 0.0, 0.0)
    assert carried(store, vendor, most=20.0) == {"sent": 2}

    assert batches.cancel(store.connection, ids[0]) == "cancelling"
    carried(store, vendor, most=40.0)
    assert vendor.cancelled == []
    assert batches.cancel(store.connection, ids[1]) == "cancelling"
    assert carried(store, vendor) == {"done": 2}  # it was too late: what was done counts
    assert vendor.cancelled == ["0"]


def test_the_living_keep_theirs() -> None:
    """What somebody who lives looks after is left to them; what the dead did is taken over."""
    store, vendor = Memory(), Vendor()
    put(store, 0.0)
    assert carried(store, vendor, most=20.0) == {"sent": 1}

    store.connection.execute("UPDATE sendings SET owner = ?", (batches.owner("another"),))
    assert carried(store, vendor) == {"sent": 1}
    store.connection.execute("UPDATE sendings SET owner = ?", (DEAD,))
    assert carried(store, vendor) == {"done": 1}


def test_landed_once() -> None:
    """A result that comes twice is kept and billed once."""
    store = Memory()
    put(store, 0.0)
    carried(store, Vendor(), most=20.0)
    (batch,) = store.all()
    end = End("done", None, Result(batch.run_id or "", outcome="ok"), Cost(CENT))

    assert sendings.land(store.connection, batch, end) is not None
    assert sendings.land(store.connection, batch, end) is None
    assert spent(store) == [("settled", 10_000_000, 0)]


def test_nobody_here_knows_it() -> None:
    """What goes to a provider that is not here waits for a session that has it."""
    store, vendor = Memory(), Vendor()
    put(store, 0.0)

    assert carried(store, vendor, is_known=lambda _: False) == {"waiting": 1}
    carried(store, vendor, most=20.0)
    assert carried(store, vendor, is_here=lambda _: False) == {"sent": 1}
