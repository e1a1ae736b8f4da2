"""Conversations of several rounds: pauses, calls that run here, what is summed, and what is kept when one fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.converse import MOST_ROUNDS, Converse, Ids
from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.client.rounds import MOST_TOLD, answer, same
from ipy_codeinterp.dialects.dialect import Call, Reply
from ipy_codeinterp.errors import InterpError, OverBudget, Overloaded
from ipy_codeinterp.execution import (
    Cost,
    Display,
    Error,
    Event,
    Execution,
    Notice,
    Result,
    Step,
    Stream,
    Text,
    Timings,
    Usage,
)

OFFER = replace(catalog.find("local"), model="small", provider="elsewhere")
SAID = ({"role": "assistant"},)


def calls(*codes: str, **more: Any) -> Reply:
    """A model that calls code."""
    found = tuple(Call(f"call_{number}", code) for number, code in enumerate(codes))
    return Reply((), Usage(10, 5), {"n": 1}, stop="calls", calls=found, said=SAID, **more)


def wrong(fault: str) -> Reply:
    return replace(calls("x"), calls=(Call("call_0", "", fault=fault),))


def pauses(**more: Any) -> Reply:
    return Reply((Text("so far. "),), Usage(10, 5), {"n": 1}, stop="paused", said=SAID, **more)


def ends(text: str = "done", **more: Any) -> Reply:
    return Reply((Text(text),), Usage(10, 5), {"n": 2}, said=SAID, **more)


@dataclass
class Bench:
    """The middleware between a handler that answers with `script` and a sandbox that answers with `ran`."""

    script: deque[Reply | InterpError]
    ran: deque[Result] = field(default_factory=deque)
    asked: list[Execution] = field(default_factory=list)  # to run here
    sent: list[Run] = field(default_factory=list)  # as they were when a round began
    events: list[Event] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    ids: Ids = field(default_factory=Ids)

    async def endpoint(self, provider: str) -> Endpoint:
        return Endpoint("https://elsewhere.invalid", "", ours=False, provider=provider)

    async def end_container(self, id: str) -> None:
        self.ended.append(id)

    async def handler(self, run: Run) -> Result:
        self.sent.append(replace(run))
        action = self.script.popleft()
        run.attempts += 1
        if isinstance(action, InterpError):
            raise action
        run.reply = action
        run.request_ids += (f"req_{run.attempts}",)
        run.timings = replace(run.timings, model=1.0, total=None)
        cost = Cost(Decimal("0.5"), Decimal("0.25"), price="a test", items={"output": Decimal("0.5")})
        facts: dict[str, Any] = {"usage": action.usage, "cost": cost, "native": action.native, "parts": action.parts}
        return run.result("unknown", stop=action.stop, **facts)

    async def run_tool(self, execution: Execution, run: Run) -> Result:
        self.asked.append(execution)
        if execution.container:
            self.ids.containers[execution.container] = "cntr_here"
        return self.ran.popleft() if self.ran else local()

    async def emit(self, event: Event) -> None:
        self.events.append(event)

    async def converse(self, execution: Execution) -> Result:
        run = Run(execution, OFFER, self.emit)
        return await Converse(self, self.ids, self.run_tool)(run, self.handler)  # type: ignore[arg-type]

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


def local(outcome: Any = "ok", *outputs: Any, code: str = "x", status: int = 0) -> Result:
    shown = outputs or (Stream("stdout", "7\n"),)
    return Result("run_here", (Step(code, outputs=shown, outcome=outcome, exit_status=status),), outcome)


def converse(*script: Reply | InterpError, ran: Sequence[Result] = (), **how: Any) -> tuple[Result, Bench]:
    bench = Bench(deque(script), deque(ran))
    execution = how.pop("execution", None) or Execution("do it", kind=how.pop("kind", "task"), **how)
    return asyncio.run(bench.converse(execution)), bench


# --- tasks ----------------------------------------------------------------------------------------


def test_calls_run_here() -> None:
    """What a model calls runs on this machine, in one container of the task's own, which is ended afterwards."""
    result, bench = converse(calls("a = 1"), calls("a + 1"), ends())

    assert [execution.body for execution in bench.asked] == ["a = 1", "a + 1"]
    assert all(execution.model == "local" and execution.kind == "code" for execution in bench.asked)
    assert len({execution.container for execution in bench.asked}) == 1 and bench.asked[0].container
    assert bench.ended == ["cntr_here"] and bench.ids.containers == {}
    assert [step.code for step in result.steps] == ["a = 1", "a + 1"]
    assert (result.text, result.outcome) == ("done", "ok")


def test_a_container_of_the_users() -> None:
    """Calls of a task in a named container run in one that belongs to that name, and it is kept."""
    _, bench = converse(calls("1"), ends(), container="mine")

    assert [execution.container for execution in bench.asked] == ["mine@elsewhere"]
    assert bench.ended == [] and "mine@elsewhere" in bench.ids.containers


def test_what_goes_back() -> None:
    """The next round has what was said, and an answer to every call; those that cannot be run say why."""
    _, bench = converse(wrong("no JSON"), calls("1", "2"), ends())

    first, second = bench.sent[2].rounds
    assert [(each.ok, each.text) for each in first.answers] == [(False, "no JSON")]
    assert [each.ok for each in second.answers] == [True, True]
    assert '"stdout": "7\\n"' in second.answers[0].text
    assert second.said == SAID
    assert bench.sent[0].carried == 0 < bench.sent[1].carried


def test_sums() -> None:
    """Tokens, costs and times of all rounds count; ids of all requests are kept; each native reply, too."""
    result, _ = converse(calls("1"), pauses(), ends())

    assert (result.usage.input_tokens, result.usage.output_tokens) == (30, 15)
    assert (result.cost.billed, result.cost.listed) == (Decimal("1.5"), Decimal("0.75"))
    assert result.cost.items == {"output": Decimal("1.5")}
    assert (result.timings.model, result.attempts) == (3.0, 3)
    assert result.request_ids == ("req_1", "req_2", "req_3")
    assert result.native == {"rounds": [{"n": 1}, {"n": 1}, {"n": 2}]}


def test_what_nobody_knows() -> None:
    """A sum with a part that is not known is not known."""
    result, _ = converse(replace(calls("1"), usage=Usage(10, None)), ends())

    assert (result.usage.input_tokens, result.usage.output_tokens) == (20, None)


def test_outcome_of_the_last_code() -> None:
    """The outcome is that of the last code that ran, whatever was said after it."""
    result, _ = converse(calls("1"), calls("2"), ends(), ran=[local("ok"), local("error", status=1)])

    assert result.outcome == "error"


def test_a_pause() -> None:
    """A reply that pauses is asked to go on, in the same container at the provider."""
    result, bench = converse(pauses(container="cntr_there"), ends())

    assert (result.text, bench.asked) == ("so far. done", [])
    assert bench.sent[1].container_id == "cntr_there"
    assert [len(run.rounds) for run in bench.sent] == [0, 1]


@pytest.mark.parametrize("reply", [pauses(), calls("1"), wrong("no")], ids=["paused", "calls", "wrong calls"])
def test_it_ends(reply: Reply) -> None:
    """A model that would go on for ever is stopped, and that is said."""
    result, bench = converse(*[reply] * (MOST_ROUNDS + 1))

    assert result.attempts == MOST_ROUNDS == len(bench.sent)
    assert bench.notices == [f"ended after {MOST_ROUNDS} rounds: the model would have gone on"]


# --- code as it is --------------------------------------------------------------------------------


def test_code_ends_it() -> None:
    """Code that was to be run has run: nobody asks what the model would say, and fresh code has no container."""
    result, bench = converse(calls("do it"), kind="code")

    assert len(bench.sent) == 1
    assert [execution.container for execution in bench.asked] == [None]
    assert (result.stdout, result.outcome, result.verbatim) == ("7\n", "ok", True)


def test_code_that_was_changed() -> None:
    """A model that passes on other code is found out."""
    result, _ = converse(calls("do it not"), kind="code")

    assert result.verbatim is False


def test_code_after_a_fault() -> None:
    """A call that cannot be run is told to the model, and the next one counts."""
    result, bench = converse(wrong("the code is empty"), calls("do it"), kind="code")

    assert len(bench.sent) == 2 and [step.code for step in result.steps] == ["do it"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a\r\nb", "a\nb", True), ("\n\na\n", "a", True), (" a", "a", False), ("a\n\nb", "a\nb", False)],
)
def test_same(one: str, other: str, expected: bool) -> None:
    """Code is the same up to line ends and the blank lines around it: blanks before it count."""
    assert same(one, other) is expected


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OverBudget("no money"), Overloaded("busy")])
def test_what_ran_is_kept(error: InterpError) -> None:
    """A round that is refused after code had run ends the conversation with what there is, and a word of why."""
    result, bench = converse(calls("1"), error)

    assert (result.stdout, result.outcome) == ("7\n", "ok")
    assert bench.notices == [f"the model could not go on ({error}); its code had run"]
    assert bench.ended == ["cntr_here"]


def test_nothing_ran() -> None:
    """Where nothing had run, the error of a later round is that of the whole."""
    with pytest.raises(Overloaded):
        converse(wrong("no"), Overloaded("busy"))


def test_ended_after_an_error() -> None:
    """The task's container is ended also where a run in it failed."""
    bench = Bench(deque([calls("1")]))

    async def fails(execution: Execution, run: Run) -> Result:
        bench.ids.containers[execution.container or ""] = "cntr_here"
        raise Overloaded("busy")

    async def main() -> None:
        run = Run(Execution("do it", kind="task"), OFFER, bench.emit)
        with pytest.raises(Overloaded):
            await Converse(bench, bench.ids, fails)(run, bench.handler)  # type: ignore[arg-type]

    asyncio.run(main())
    assert bench.ended == ["cntr_here"]


# --- what a model is told -------------------------------------------------------------------------


def told(*outputs: Any, outcome: Any = "ok", status: int = 0) -> str:
    return answer(Call("call_1", "x"), local(outcome, *outputs, status=status)).text


def test_told_of_values_and_figures() -> None:
    """The value of the last expression is told as it is printed, a figure by its number, an error by its name."""
    value = Display({"text/plain": "41"}, kind="execute_result")
    figure = Display({"image/png": "iVBOR"})
    error = Error("ValueError", "no", ())

    assert told(Stream("stdout", "a\n"), value) == '{"stdout": "a\\n41\\n", "stderr": "", "return_code": 0}'
    assert '"figures": "1, shown to the user"' in told(figure)
    assert '"stderr": "ValueError: no", "return_code": 1' in told(error, outcome="error", status=1)


def test_told_in_short() -> None:
    """Of a long output the middle is left out, and how much that was is said."""
    text = told(Stream("stdout", "a" * MOST_TOLD + "b" * 100))

    assert "100 characters left out" in text and len(text) < MOST_TOLD + 200


def test_timings_of_one_round() -> None:
    """A conversation of one round is that round's Result."""
    result, _ = converse(ends())

    assert result.timings == replace(Timings(model=1.0), total=result.timings.total)
