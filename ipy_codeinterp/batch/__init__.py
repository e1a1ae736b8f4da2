"""What a session does with the batch: put executions aside, have them run, and say what became of them.

What a closed or killed session has left, any session of the same store goes on with, as soon as it puts something aside
itself or waits; what it has no provider for stays for another.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ipy_codeinterp import pace, registry
from ipy_codeinterp.batch.background import Background, Worker
from ipy_codeinterp.batch.trickle import Trickle, is_for_later
from ipy_codeinterp.errors import BatchCancelled, Batched, BatchEnded, BatchExpired, BatchFailed, InvalidInput
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.store import batches, database, journal
from ipy_codeinterp.store.batches import ENDED, Batch, Standing

__all__ = [
    "GRACE",
    "TOO_LATE",
    "Batches",
    "Trickle",
    "cancelled",
    "check",
    "collect",
    "is_for_later",
    "new_batch",
    "read",
]

LOOK_EVERY = 0.2  # seconds: how often whoever waits looks
GRACE = 2.0  # seconds that what is under way may take to end when the session closes
ELSEWHERE = ("waiting", "sent", "cancelling")  # what no process has
WITHOUT_RESULT: Mapping[str, type[BatchEnded]] = {
    "failed": BatchFailed,
    "expired": BatchExpired,
    "cancelled": BatchCancelled,
}
TOO_LATE = "only what has not ended can be cancelled"


def check(execution: Execution) -> None:
    """Raises `InvalidInput` for what cannot be put aside: what it needs may be gone, or have changed, by then."""
    needs = {"a container": execution.container, "mounts": execution.mounts, "a network": execution.network}
    if said := [name for name, needed in needs.items() if needed]:
        raise InvalidInput(f"a run with {', '.join(said)} cannot be put aside", hint="run it now, without --batch")
    for file in (*execution.files, *execution.inputs):
        if file.path is None or file.sha256 is None:
            raise InvalidInput(f"{file.name} has no path on this machine", hint="attach the file by its path")


def new_batch(
    execution: Execution, offer: str, terms: batches.Terms, notebook: str | None, *, by_vendor: bool = False
) -> Batch:
    """One to put aside, with an id of its own; `by_vendor` it goes to its vendor's own batches."""
    check(execution)
    id = f"batch_{secrets.token_hex(5)}"
    return Batch(id, datetime.now(UTC), execution, offer, terms, notebook=notebook, by_vendor=by_vendor)


class Batches:
    """What was put aside, as a session has it. Any thread may call; nothing here is for the session's own loop.

    `begin` starts a coroutine there; `workers` make what runs, each of its own kind.
    """

    def __init__(
        self,
        database: database.Database,
        begin: Callable[[Coroutine[Any, Any, None]], Future[None]],
        workers: Iterable[Callable[[], Worker]],
        is_known: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._works = tuple(Background(begin, make) for make in workers)
        self._is_known = is_known

    def put(self, batch: Batch) -> str:
        """Keep it, and begin to run what waits. Returns its id, which is on disk then. Raises `StoreError`."""
        self._database.run(lambda connection: batches.put(connection, batch)).result()
        self.start()
        return batch.id

    def put_instead(self, batch: Batch, run_id: str) -> bool:
        """The same in the place of a run that gave up; not, and False, where that may have been billed."""
        if not self._database.run(lambda connection: batches.put_instead(connection, batch, run_id)).result():
            return False
        self.start()
        return True

    def all(self) -> list[Batch]:
        """All there are, the oldest first."""
        return read(self._database.path)

    def find(self, id: str) -> Batch:
        """The one of that id. Raises `UnknownName`."""
        return registry.find("batch", id, {batch.id: batch for batch in self.all()})

    def collect(self, id: str) -> Result:
        """What came of it, from the journal, for 0 and as often as you like.

        Raises `Batched` while there is no Result, and `BatchEnded` where there will be none.
        """
        return collect(self._database.path, self.find(id))

    def cancel(self, id: str) -> str:
        """It will not be run, is cut short, or its vendor is asked not to run it; what that made of it, in words.

        Raises `InvalidInput` where it is too late for that.
        """
        batch = self.find(id)
        state = self._database.run(lambda connection: batches.cancel(connection, id)).result()
        if state is None:
            raise InvalidInput(f"{id} is {self.find(batch.id).state}", hint=TOO_LATE)
        if state == "cancelling":
            self.start()
        return cancelled(batch, state)

    def start(self) -> None:
        """Run what waits, and look after what vendors have, until nothing is left that this session can do."""
        for each in self._works:
            each.start()

    def wait(
        self,
        ids: Iterable[str] = (),
        *,
        told: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> list[Batch]:
        """Run what waits until those of `ids` (all) have ended; `told` is given how far it is whenever that changes.

        Returns them. Those that only a session with other providers can run are not waited for; an interrupt ends the
        waiting and nothing else.
        """
        wanted = {self.find(id).id for id in ids}
        said = ""
        for each in self._works:
            each.failure = None
        self.start()
        while True:
            found = [each for each in self._standings() if not wanted or each.id in wanted]
            if (now := progress(found)) != said:
                told(said := now)
            left = [each for each in found if each.state not in ENDED]
            if all(each.state in ELSEWHERE and not self._is_known(each.offer) for each in left):
                chosen = {each.id for each in found}
                return [batch for batch in self.all() if batch.id in chosen]
            self._go_on()
            sleep(LOOK_EVERY)

    def finish(self, grace: float = math.inf) -> None:
        """Take nothing more; give what is under way `grace` seconds to end, then cut it short."""
        for each in self._works:
            each.stop()
        time_out = time.monotonic() + grace
        for each in self._works:
            each.finish(max(time_out - time.monotonic(), 0.0))

    def _standings(self) -> list[Standing]:
        with database.reading(self._database.path) as connection:
            return batches.standings(connection) if connection else []

    def _go_on(self) -> None:
        """Where nothing runs here, look again: another process may have died. Raises what ended the last."""
        for each in self._works:
            if each.failure:
                raise each.failure
            if not each.is_running:
                each.start()


def read(path: Path) -> list[Batch]:
    """All in the store at `path`, the oldest first."""
    with database.reading(path) as connection:
        return batches.all_of(connection) if connection else []


def collect(path: Path, batch: Batch) -> Result:
    """What came of `batch`. Raises `Batched` or `BatchEnded` where nothing did."""
    if batch.state not in ENDED:
        why = f": {batch.error}" if batch.error else ""
        raise Batched(f"{batch.id} is {batch.state}{why}", hint=f"run it: batch wait {batch.id}", id=batch.id)
    if batch.state != "done":
        why = f": {batch.error}" if batch.error else ""
        kind = WITHOUT_RESULT.get(batch.state, BatchEnded)
        raise kind(f"{batch.id} is {batch.state}{why}", hint="put it aside again if it is wanted", id=batch.id)
    with database.reading(path) as connection:
        result = journal.find(connection, batch.run_id or "") if connection else None
    if result is None:
        raise BatchEnded(
            f"the Result of {batch.id} is no longer in the journal", hint="`data_days` says for how long", id=batch.id
        )
    return result


def cancelled(batch: Batch, state: batches.State) -> str:
    """What cancelling made of it, in words."""
    if state == "cancelled":
        return f"{batch.id} is cancelled"
    if not batch.by_vendor:
        return f"{batch.id} is cut short where it runs; what it did until then may be billed"
    return f"{batch.id} is cancelled at its vendor once nobody wants what went with it; what is done by then counts"


def progress(found: Iterable[Standing]) -> str:
    """How far they are, in words."""
    counts = Counter(each.state for each in found)
    rest: tuple[batches.State, ...] = ("running", "sent", "cancelling", "waiting", "failed", "expired", "cancelled")
    said = ", ".join(f"{counts[state]} {state}" for state in rest if counts[state])
    words = f"{counts['done']} of {counts.total()} done" + (f", {said}" if said else "")
    return pace.line(words, sum(counts[state] for state in ENDED), counts.total())
