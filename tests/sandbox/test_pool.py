"""The pool's arithmetic, with a source that starts nothing: who waits, who is kept, who is ended and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from ipy_codeinterp.errors import SandboxError
from ipy_codeinterp.sandbox import pool as module
from ipy_codeinterp.sandbox.child import Child
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.sandbox.job import NOTHING_MORE, Extras
from ipy_codeinterp.sandbox.pool import LEAST, Pool


class FakeChild:
    """A child that is alive until it is killed."""

    def __init__(self, language: str, memory: int | None) -> None:
        self.language, self.memory = language, memory
        self.lives = True

    def kill(self) -> None:
        self.lives = False

    async def closed(self) -> int:
        return 0


class FakeSource:
    """Starts children at once, unless it is told to fail."""

    name, forks = "fake", True

    def __init__(self) -> None:
        self.started: list[FakeChild] = []
        self.error: Exception | None = None
        self.tidied = 0

    async def start(self, language: str, memory: int | None, extras: Extras = NOTHING_MORE) -> Child:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        self.started.append(FakeChild(language, memory))
        return cast(Child, self.started[-1])

    async def tidy(self) -> None:
        self.tidied += 1

    async def close(self) -> None:
        pass

    @property
    def living(self) -> int:
        return sum(child.lives for child in self.started)


def with_pool(test: Callable[[Pool, FakeSource], Awaitable[None]], **how: Any) -> FakeSource:
    source = FakeSource()

    async def run() -> None:
        pool = Pool(source, **how)
        pool.open()
        await settled()
        try:
            await test(pool, source)
        finally:
            await pool.close()

    asyncio.run(run())
    assert source.living == 0
    return source


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_few_wait_and_each_is_used_once() -> None:
    """A few containers wait from the beginning; who takes one gets another than the last, and it was warm."""

    async def test(pool: Pool, source: FakeSource) -> None:
        assert pool.warm == LEAST
        first, second = await pool.fresh(), await pool.fresh()
        assert first is not second and first.warm and second.warm
        await settled()
        assert pool.warm == LEAST
        for container in (first, second):
            pool.end(container)

    with_pool(test)


def test_a_burst_is_never_refused_and_more_wait_afterwards() -> None:
    """Fifty at once all get one; afterwards as many wait as the setting allows, and few again after a while."""

    async def test(pool: Pool, source: FakeSource) -> None:
        burst = await asyncio.gather(*(pool.fresh() for _ in range(50)))
        assert len(set(map(id, burst))) == 50
        assert sum(container.warm for container in burst) == LEAST
        await settled()
        assert pool.warm == 5
        pool._sweep(time.monotonic() + 2 * module.SHRINK_AFTER)
        assert pool.warm == LEAST
        for container in burst:
            pool.end(container)

    with_pool(test, size=5)


def test_those_that_died_while_they_waited_are_not_given() -> None:
    """A waiting container that was killed is ended, and another is given."""

    async def test(pool: Pool, source: FakeSource) -> None:
        for child in source.started:
            child.lives = False
        container = await pool.fresh()
        assert container.alive and not container.warm
        pool.end(container)

    with_pool(test)


def test_what_cannot_start_is_told() -> None:
    """A source that fails, also for want of descriptors, is an error of ours to whoever asks, and no hang."""

    async def test(pool: Pool, source: FakeSource) -> None:
        for _ in range(LEAST):
            pool.end(await pool.fresh())
        await settled()
        for child in source.started:
            child.lives = False
        for error in (SandboxError("no"), OSError(24, "Too many open files")):
            source.error = error
            with pytest.raises(SandboxError):
                await pool.fresh()

    with_pool(test)


def test_a_program_waits_with_the_memory_it_was_asked_with() -> None:
    """R waits once it has been used, started with the memory that was asked for last; bash never waits."""

    async def test(pool: Pool, source: FakeSource) -> None:
        for memory in (1, 1, 2, 2):
            pool.end(container := await pool.fresh("r", memory))
            assert container.memory == memory
            await settled()
        assert [c.memory for c in pool._ready["r"]] == [2]
        pool.end(await pool.fresh("bash", 1))
        await settled()
        assert not pool._ready["bash"]

    source = with_pool(test)
    assert {child.memory for child in source.started if child.language == "python"} == {None}


def test_the_oldest_idle_one_makes_room() -> None:
    """Beyond the cap the one that was idle longest is ended, and its name remembers why; busy ones are not."""

    async def test(pool: Pool, source: FakeSource) -> None:
        for name in ("a", "b"):
            pool.keep(name, await pool.fresh())
        pool.kept["a"].last_used = time.monotonic() + 1
        pool.keep("c", await pool.fresh())
        assert set(pool.kept) == {"a", "c"} and "place was needed" in str(pool.why_ended("b"))
        for container in pool.kept.values():
            await container._lock.acquire()
        container = await pool.fresh()
        with pytest.raises(SandboxError, match="busy"):
            pool.keep("d", container)
        pool.end(container)

    with_pool(test, most_kept=2)


@pytest.mark.parametrize(("happens", "why"), [("death", "died"), ("idle", "idle"), ("growth", "memory limit")])
def test_kept_containers_end(happens: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept container that died, was idle too long or has outgrown its memory is ended, and says which."""

    async def test(pool: Pool, source: FakeSource) -> None:
        pool.keep("a", await pool.fresh())
        if happens == "death":
            cast(Any, pool.kept["a"])._child.lives = False
        if happens == "growth":
            monkeypatch.setattr(Container, "outgrew", lambda _: True)
        pool._sweep(time.monotonic() + (module.IDLE_EXPIRY * 2 if happens == "idle" else 0))
        assert pool.find("a") is None and why in str(pool.why_ended("a"))

    with_pool(test)
