"""What a session does with the batch: put executions aside, have them run, and say what became of them.

What a closed or killed session has left, any session of the same store goes on with, as soon as it puts something aside
itself or waits; what it has no provider for stays for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ipy_codeinterp import registry
from ipy_codeinterp.batch.trickle import Trickle, is_for_later, new_run_id
from ipy_codeinterp.errors import Batched, BatchEnded, InvalidInput, StoreError
from ipy_codeinterp.execution import Execution, Result
from ipy_codeinterp.store import batches, database, journal
from ipy_codeinterp.store.batches import ENDED, Batch, Standing

__all__ = ["GRACE", "Batches", "Trickle", "check", "collect", "is_for_later", "new_batch", "new_run_id", "read"]

LOOK_EVERY = 0.2  # seconds: how often whoever waits looks
GRACE, CANCEL_TIMEOUT = 2.0, 5.0  # seconds that a run under way may take to end when the session closes, and to be cut


def check(execution: Execution) -> None:
    """Raises `InvalidInput` for what cannot be put aside: what it needs may be gone, or have changed, by then."""
    needs = {"a container": execution.container, "mounts": execution.mounts, "a network": execution.network}
    if said := [name for name, needed in needs.items() if needed]:
        raise InvalidInput(f"a run with {', '.join(said)} cannot be put aside", hint="run it now, without --batch")
    for file in (*execution.files, *execution.inputs):
        if file.path is None or file.sha256 is None:
            raise InvalidInput(f"{file.name} has no path on this machine", hint="attach the file by its path")


def new_batch(execution: Execution, offer: str, terms: batches.Terms, notebook: str | None) -> Batch:
    """One to put aside, with an id of its own."""
    check(execution)
    return Batch(f"batch_{secrets.token_hex(5)}", datetime.now(UTC), execution, offer, terms, notebook=notebook)


class Batches:
    """What was put aside, as a session has it. Any thread may call; nothing here is for the session's own loop.

    `begin` starts a coroutine there; `trickle` makes what runs.
    """

    def __init__(
        self,
        database: database.Database,
        begin: Callable[[Coroutine[Any, Any, None]], Future[None]],
        trickle: Callable[[], Trickle],
        is_known: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._begin = begin
        self._new_trickle = trickle
        self._is_known = is_known
        self._lock = threading.Lock()
        self._asked = 0  # how often it was said that there is something to do
        self._trickle: Trickle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: Future[None] | None = None
        self._failure: StoreError | None = None

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

    def cancel(self, id: str) -> None:
        """It will not be run. Raises `InvalidInput` where it is too late for that."""
        batch = self.find(id)
        if not self._database.run(lambda connection: batches.cancel(connection, id)).result():
            raise InvalidInput(f"{id} is {self.find(batch.id).state}", hint="only what is waiting can be cancelled")

    def start(self) -> None:
        """Run what waits, in the background, until nothing is left that this session can do."""
        with self._lock:
            self._asked += 1
            if self._future is None:
                self._trickle = self._new_trickle()
                self._future = self._begin(self._run(self._trickle))
        if self._trickle and self._loop:
            with contextlib.suppress(RuntimeError):  # its loop was closed
                self._loop.call_soon_threadsafe(self._trickle.wake)

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
        said, self._failure = "", None
        self.start()
        while True:
            found = [each for each in self._standings() if not wanted or each.id in wanted]
            if (now := progress(found)) != said:
                told(said := now)
            left = [each for each in found if each.state not in ENDED]
            if all(each.state == "waiting" and not self._is_known(each.offer) for each in left):
                chosen = {each.id for each in found}
                return [batch for batch in self.all() if batch.id in chosen]
            self._go_on()
            sleep(LOOK_EVERY)

    def finish(self, grace: float = math.inf) -> None:
        """Take nothing more; give what is under way `grace` seconds to end, then cut it short."""
        with self._lock:
            trickle, future = self._trickle, self._future
        if trickle is None or future is None or future.done():
            return
        trickle.is_stopping = True
        if self._loop:
            self._loop.call_soon_threadsafe(trickle.wake)
        with contextlib.suppress(TimeoutError, CancelledError):
            future.result(None if grace == math.inf else grace)
            return
        future.cancel()
        time_out = time.monotonic() + CANCEL_TIMEOUT
        while self._future is not None and time.monotonic() < time_out:
            time.sleep(0.01)  # the future is done as soon as it is cancelled, its clean-up is not

    def _standings(self) -> list[Standing]:
        with database.reading(self._database.path) as connection:
            return batches.standings(connection) if connection else []

    async def _run(self, trickle: Trickle) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                asked = self._asked
                await trickle.run()
                with self._lock:  # what is put aside from here on begins another
                    if self._asked == asked or trickle.is_stopping:
                        return
        except StoreError as error:
            self._failure = error
        finally:
            with self._lock:
                self._future = self._trickle = None

    def _go_on(self) -> None:
        """Where nothing runs here, look again: another process may have died. Raises what ended the last."""
        if self._failure:
            raise self._failure
        if self._future is None:
            self.start()


def read(path: Path) -> list[Batch]:
    """All in the store at `path`, the oldest first."""
    with database.reading(path) as connection:
        return batches.all_of(connection) if connection else []


def collect(path: Path, batch: Batch) -> Result:
    """What came of `batch`. Raises `Batched` or `BatchEnded` where nothing did."""
    if batch.state in ("waiting", "running"):
        why = f": {batch.error}" if batch.error else ""
        raise Batched(f"{batch.id} is {batch.state}{why}", hint=f"run it: batch wait {batch.id}", id=batch.id)
    if batch.state != "done":
        why = f": {batch.error}" if batch.error else ""
        raise BatchEnded(f"{batch.id} is {batch.state}{why}", hint="put it aside again if it is wanted", id=batch.id)
    with database.reading(path) as connection:
        result = journal.find(connection, batch.run_id or "") if connection else None
    if result is None:
        raise BatchEnded(
            f"the Result of {batch.id} is no longer in the journal", hint="`data_days` says for how long", id=batch.id
        )
    return result


def progress(found: Iterable[Standing]) -> str:
    """How far they are, in words."""
    counts = Counter(each.state for each in found)
    rest: tuple[batches.State, ...] = ("running", "waiting", "failed", "cancelled")
    said = ", ".join(f"{counts[state]} {state}" for state in rest if counts[state])
    return f"{counts['done']} of {counts.total()} done" + (f", {said}" if said else "")
