"""A task that goes on from another: the same offer, its container, and what was asked and done, in words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.dialects import earlier
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.execution import Error, Event, Execution, Notice, Result, Step, Stream, Text
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider

TASK: dict[str, Any] = {"kind": "task", "model": "claude@scripted"}
GONE = Fail(404, "not_found_error", "container container_0 not found")


def asked(folder: Path, script: list[Any], work: Callable[[Session, ScriptedProvider], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with ScriptedProvider(script) as provider:
            provider.offer(), provider.offer("other")
            known = Settings(data_dir=folder, warm="never", budget=None, fallback=("other@scripted",))
            async with Session(known, providers=[provider]) as session:
                return await work(session, provider)

    return asyncio.run(main())


def test_pinned(tmp_path: Path) -> None:
    """It is asked in the container of the first, and told what that was; the two have different keys."""

    async def work(session: Session, provider: ScriptedProvider) -> None:
        first = await session.execute("Keep 41.", keep=True, **TASK)
        second = await session.execute("Add one.", after=first.id, keep=True, **TASK)
        await session.execute("And one.", after=second.id, **TASK)
        await session.execute("Add one.", **TASK)

        bodies = [request.body for request in provider.requests]
        assert [body.get("container") for body in bodies] == [None, "container_0", "container_0", None]
        said = [json.dumps(body["messages"]) for body in bodies]
        assert "Keep 41." in said[1] and "Keep 41." in said[2] and "Add one." in said[2] and "Keep 41." not in said[3]

    asked(tmp_path, [Reply("41")], work)
    assert Execution("a", kind="task").key != Execution("a", kind="task", after="run_1").key


def test_its_container_is_gone(tmp_path: Path) -> None:
    """Where the provider has it no more, it begins in a new one, says so, and is still told what was done."""
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    async def work(session: Session, provider: ScriptedProvider) -> None:
        first = await session.execute("Keep 41.", keep=True, **TASK)
        await session.execute("Add one.", after=first.id, emit=emit, **TASK)
        assert [request.body.get("container") for request in provider.requests] == [None, "container_0", None]
        assert "Keep 41." in json.dumps(provider.requests[2].body["messages"])

    asked(tmp_path, [Reply("41"), GONE, Reply("42")], work)
    assert any("what the code before had made is gone" in str(e) for e in events if isinstance(e, Notice))


def test_no_other_offer(tmp_path: Path) -> None:
    """Nobody is asked in the place of the one that did the first, and another that is named is refused."""

    async def work(session: Session, provider: ScriptedProvider) -> None:
        first = await session.execute("Keep 41.", keep=True, **TASK)
        with pytest.raises(InvalidInput, match="was done by claude@scripted"):
            await session.execute("Add one.", kind="task", model="other@scripted", after=first.id)
        with pytest.raises(UnknownName):
            await session.execute("Add one.", after="run_none", **TASK)
        with pytest.raises(InvalidInput, match="only a task"):
            await session.execute("1", model="claude@scripted", after=first.id)
        assert len(provider.requests) == 1

    asked(tmp_path, [Reply("41")], work)


def test_in_another_session(tmp_path: Path) -> None:
    """After a restart the words are there, the container is not."""

    async def begin(session: Session, provider: ScriptedProvider) -> str:
        return (await session.execute("Keep 41.", keep=True, **TASK)).id

    async def go_on(session: Session, provider: ScriptedProvider) -> None:
        await session.execute("Add one.", after=id, **TASK)
        assert provider.requests[0].body.get("container") is None
        assert "Keep 41." in json.dumps(provider.requests[0].body["messages"])

    id = asked(tmp_path, [], begin)
    asked(tmp_path, [], go_on)


def test_in_words() -> None:
    """The tasks, the code, what it printed and how it failed; a fence in them ends nothing, and all is bounded."""
    step = Step("print('```')", outputs=(Stream("stdout", "```\n"), Error("E", "no")))
    first = (Execution("Old " + "x" * 100_000, kind="task"), Result("a", (Text("y" * 100_000),)))
    second = (Execution("New.", kind="task"), Result("b", (step, Text("Done."))))

    said = earlier.told([second, first])
    many = earlier.told([first] * 50)

    assert said.index("Old") < said.index("New.") < said.index("print('```')") < said.index("E: no")
    assert "````text\n```\n````" in said and said.count("Now this is asked:") == 1
    assert len(many) < earlier.MOST + 3 * earlier.MOST_PIECE and earlier.told([]) == ""
