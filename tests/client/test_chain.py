"""The chain: every middleware in its place, and a Result with everything at the end."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Handler, Run, compose
from ipy_codeinterp.dialects.dialect import Ask
from ipy_codeinterp.dialects.messages import Decoder
from ipy_codeinterp.execution import Display, Event, Execution, File, Limit, Phase, Result, Stream, Update

from .provider import Provider, lab, runs


async def ignore(_: Event) -> None:
    pass


def a_run(code: str = "x", **how: Any) -> Run:
    return Run(Execution(code, **how), catalog.find("claude"), ignore)


def test_order() -> None:
    """The first middleware is the outermost, and the transport is inside all."""
    seen = []

    def named(name: str) -> Any:
        async def middleware(run: Run, handler: Handler) -> Result:
            seen.append(f"into {name}")
            result = await handler(run)
            seen.append(f"out of {name}")
            return result

        return middleware

    async def transport(run: Run) -> Result:
        seen.append("sent")
        return run.result("ok")

    asyncio.run(compose([named("a"), named("b")], transport)(a_run()))  # type: ignore[arg-type]
    assert seen == ["into a", "into b", "sent", "out of b", "out of a"]


def test_answered_on_the_way() -> None:
    """A middleware that has the answer does not pass the run on."""

    async def cache(run: Run, handler: Handler) -> Result:
        return run.result("ok", source="cache")

    async def transport(run: Run) -> Result:
        raise AssertionError("nobody should come here")

    assert asyncio.run(compose([cache], transport)(a_run())).source == "cache"  # type: ignore[arg-type]


def test_every_run_has_its_own_id() -> None:
    """Two runs of equal executions are two runs."""
    assert a_run().id != a_run().id


def test_result_of_a_run() -> None:
    """A run's Result knows the run: id, offer, container, attempts, requests and how long it took."""
    run = a_run(container="mine")
    run.attempts, run.request_ids = 2, ("req_1",)

    result = run.result("ok", isolation="bubblewrap")

    assert (result.id, result.offer, result.container) == (run.id, "claude@local", "mine")
    assert (result.attempts, result.request_ids, result.isolation) == (2, ("req_1",), "bubblewrap")
    assert result.timings.total is not None


def test_cut_short_before_the_reply() -> None:
    """Of a run that got no reply there is no step, for nobody says that anything ran."""
    result = a_run().partial("cancelled")

    assert (result.outcome, result.parts) == ("cancelled", ())


def test_cut_short_within_the_reply() -> None:
    """Of a run that was cut short there is what had arrived, and its outcome is said to be inferred."""
    run = a_run("print(1)")
    run.decoder = Decoder(Ask(Execution("print(1)"), "claude", 1))
    output = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    list(run.decoder.feed({"type": "ipy_codeinterp.output", "output": output}))

    result = run.partial("cancelled")

    (step,) = result.steps
    assert (step.code, step.outcome, step.outcome_source) == ("print(1)", "cancelled", "inferred")
    assert result.stdout == "1\n"


def test_whole_road(tmp_path: Path) -> None:
    """A run through the whole chain gives what the code produced, what it cost, and where it ran."""
    figure, left = Display({"image/png": "aGk="}), File("a.csv", "ab", 2, id="file_1")
    provider_says = runs(Stream("stdout", "1\n"), figure, Stream("stdout", "2\n"), files=(left,))

    async def main() -> Result:
        async with lab(Provider(provider_says), tmp_path / "s.sqlite") as bench:
            return await bench.run("print(1)")

    result = asyncio.run(main())
    assert result.ok
    assert result.outputs == (Stream("stdout", "1\n"), figure, Stream("stdout", "2\n"))
    assert (result.verbatim, result.steps[0].code, result.files) == (True, "print(1)", (left,))
    assert (result.offer, result.isolation, result.attempts) == ("claude@local", "bubblewrap", 1)
    assert result.cost.billed == Decimal(0)
    assert result.cost.listed is not None and result.cost.listed > 0
    assert result.cost.estimated and result.usage.estimated
    assert result.timings.execution == 0.5
    assert None not in (result.timings.first_byte, result.timings.total)


def test_events_while_it_runs(tmp_path: Path) -> None:
    """What the code shows is told while it runs, in order, before anybody knows how it ends."""
    shown = [Stream("stdout", "1\n"), Display({"text/plain": "1"}, display_id="d"), Update("d", {"text/plain": "2"})]

    async def main() -> None:
        go_on, seen = asyncio.Event(), asyncio.Event()

        async def emit(event: Event) -> None:
            events.append(event)
            if event == shown[-1]:
                seen.set()

        async with lab(Provider(runs(*shown, until=go_on)), tmp_path / "s.sqlite") as bench:
            running = asyncio.create_task(bench.client.execute(Execution("x"), catalog.find("claude"), emit))
            await seen.wait()
            assert not running.done()
            go_on.set()
            assert (await running).outputs[-1] == Display({"text/plain": "2"}, display_id="d")

    events: list[Event] = []
    asyncio.run(main())
    assert events == [Phase("connecting"), Phase("asked"), Phase("running"), *shown]


def test_limit_is_a_result(tmp_path: Path) -> None:
    """Code that hits a wall has a Result that says which, and nothing is raised."""
    limit = Limit("memory", 1e9, "bytes")

    async def main() -> Result:
        async with lab(Provider(runs(outcome="limit", limit=limit)), tmp_path / "s.sqlite") as bench:
            return await bench.run()

    result = asyncio.run(main())
    assert (result.ok, result.outcome, result.limit) == (False, "limit", limit)


def test_many_at_once(tmp_path: Path) -> None:
    """Fifty runs at once each get their own answer, and all are kept."""

    async def main() -> None:
        async with lab(Provider(), tmp_path / "s.sqlite") as bench:
            results = await asyncio.gather(*[bench.run(f"print({i})") for i in range(50)])
            assert [result.stdout for result in results] == [f"print({i})" for i in range(50)]
            assert {result.id for result in bench.kept()} == {result.id for result in results}
            assert len(bench.attempts) == 50

    asyncio.run(main())
