"""Cells that go together: one Execution, a Result each, and exactly what the one cost."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp.client.http import Endpoint
from ipy_codeinterp.dialects import messages, prompt
from ipy_codeinterp.errors import InterpError, InvalidInput, NothingToRun, Overloaded
from ipy_codeinterp.execution import Clear, Display, Error, Event, Execution, Limit, Restarted, Result, Step, Stream
from ipy_codeinterp.many import Progress
from ipy_codeinterp.session import Session
from ipy_codeinterp.store import database, journal, place
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider
from ipy_codeinterp.together.group import Group, may_join
from ipy_codeinterp.together.share import money_of, tokens_of
from ipy_codeinterp.together.split import Splitter

from .test_engine import rows, settings_in, settled

TOKEN = "0123abcd"


# --- where a cell ends ----------------------------------------------------------------------------


def mark(word: str, number: int, at: float = 0.0, **facts: Any) -> str:
    return f"<{TOKEN} {word} {number} {json.dumps({'at': at, **facts})}>\n"


def both(text: str) -> list[Event]:
    return [Stream("stdout", text), Stream("stderr", text)]


def told(number: int, *shown: Event, ok: bool = True, at: float = 0.0) -> list[Event]:
    """What a cell tells that runs to its end."""
    return [*both(mark("begin", number, at)), *shown, *both(mark("end", number, at + 1, ok=ok, exit=int(not ok)))]


def split(events: list[Event], count: int) -> Splitter:
    splitter = Splitter(TOKEN, count)
    for event in events:
        list(splitter.feed(event))
    list(splitter.finish())
    return splitter


def test_outputs_are_cut_at_the_marks() -> None:
    """Streams, displays and errors are the cell's between whose marks they came, in their order."""
    error, picture = Error("ValueError", "no"), Display({"image/png": "x"})
    first = told(0, Stream("stdout", "a"), picture, Stream("stdout", "b\n"), Stream("stderr", "w"))
    parts = split([*first, *told(1, error, ok=False)], 2).parts

    assert parts[0].collector.outputs == (
        Stream("stdout", "a"),
        picture,
        Stream("stdout", "b\n"),
        Stream("stderr", "w"),
    )
    assert parts[1].collector.outputs == (error,)
    assert [part.ended and part.ended.ok for part in parts] == [True, False]
    assert [part.seconds for part in parts] == [1.0, 1.0]


@given(st.lists(st.text(alphabet="<0a> {\n", max_size=12), min_size=1, max_size=4), st.integers(1, 7))
def test_marks_may_come_in_pieces(texts: list[str], size: int) -> None:
    """However the stream is cut, and whatever cells print, each has its own text, and what is shown is all text."""
    whole = "".join(mark("begin", n) + text + mark("end", n) for n, text in enumerate(texts))
    splitter, shown = Splitter(TOKEN, len(texts)), []
    for start in range(0, len(whole), size):
        shown += splitter.feed(Stream("stdout", whole[start : start + size]))
    shown += splitter.finish()

    assert ["".join(o.text for o in p.collector.outputs if isinstance(o, Stream)) for p in splitter.parts] == texts
    assert "".join(each.text for each in shown if isinstance(each, Stream)) == "".join(texts)


def test_a_clear_is_the_cells_own() -> None:
    """What clears its outputs clears no neighbour's."""
    events = [*told(0, Stream("stdout", "kept")), *told(1, Stream("stdout", "gone"), Clear(), Stream("stdout", "here"))]

    assert [part.collector.outputs for part in split(events, 2).parts] == [
        (Stream("stdout", "kept"),),
        (Stream("stdout", "here"),),
    ]


def test_a_new_attempt_begins_anew() -> None:
    """What an attempt showed that was begun again counts no more."""
    parts = split([*told(0, Stream("stdout", "old")), Restarted("busy"), *both(mark("begin", 0))], 1).parts

    assert parts[0].collector.outputs == ()
    assert parts[0].ended is None


@pytest.mark.parametrize(
    "wrong",
    ["{", "[]", '{"at": NaN}', '{"at": "x"}', '{"at": 1, "files": 3}', '{"at": 1, "files": {"a": {}}}', "[" * 9999],
)
def test_a_mark_that_is_none(wrong: str) -> None:
    """What does not say what a mark says ends no cell."""
    events = [
        *both(mark("begin", 0)),
        *both(f"<{TOKEN} end 0 {wrong}>\n"),
        *both(mark("end", 7)),
        *both(mark("end", 1)),
    ]

    assert [part.ended for part in split(events, 2).parts] == [None, None]


def test_a_mark_that_was_left_out() -> None:
    """A cell is whole where both its marks are there in both streams: output that is too long loses its middle."""
    events = told(0) + told(1) + told(2)
    del events[3]  # the end of the first in stderr

    assert [part.ended is not None for part in split(events, 3).parts] == [False, True, True]


# --- what it cost ---------------------------------------------------------------------------------


@given(st.integers(0, 10**12), st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_shares_are_the_whole(total: int, weights: list[int]) -> None:
    """Tokens and dollars of all cells together are those of the attempt, to the nano-dollar; none is below zero."""
    money = [each for each in money_of(Decimal(total) / 10**10, weights) if each is not None]
    tokens = [each for each in tokens_of(total, weights) if each is not None]

    assert (sum(tokens), sum(money)) == (total, Decimal(total) / 10**10)
    assert min(tokens) >= 0
    assert min(money) >= 0
    assert money_of(None, weights) == [None] * len(weights)


# --- whose the wall is ----------------------------------------------------------------------------


def group(*codes: str, timeout: float | None = 2.0) -> Group:
    return Group.of([Execution(code, timeout=timeout) for code in codes], longest=180.0)


def ended(outcome: Any, limit: Limit | None = None) -> Result:
    return Result("run_1", (Step("", outcome=outcome, exit_status=137),), outcome, limit)


def test_the_one_that_ran_has_the_limit() -> None:
    """At a wall those that had ended keep their Results, the one that ran has the limit, the rest are run again."""
    events = [*told(0, Stream("stdout", "a")), *both(mark("begin", 1)), Stream("stdout", "b")]
    found = group("1", "2", "3").results(ended("limit", Limit("memory", 1.0, "bytes")), split(events, 3).parts)

    assert {n: (r.outcome, r.stdout) for n, r in found.items()} == {0: ("ok", "a"), 1: ("limit", "b")}
    assert found[1].limit == Limit("memory", 1.0, "bytes")
    assert len({result.id for result in found.values()} | {"run_1"}) == 3


def test_the_one_that_crashed() -> None:
    """A crash is the cell's under which the interpreter died."""
    found = group("1", "2").results(ended("crashed"), split([*told(0), *both(mark("begin", 1))], 2).parts)

    assert [(found[n].outcome, found[n].steps[0].exit_status) for n in (0, 1)] == [("ok", 0), ("crashed", 137)]


@pytest.mark.parametrize(("begun", "is_its_own"), [(3.9, True), (4.1, False)])
def test_the_others_time(begun: float, is_its_own: bool) -> None:
    """A cell whose neighbours have used up the time of all is run again: it had less than its own."""
    limit = Limit("time", 6.0, "seconds")
    events = [*told(0), *both(mark("begin", 1, begun))]

    assert (1 in group("1", "2", "3").results(ended("limit", limit), split(events, 3).parts)) is is_its_own


def test_the_time_of_all() -> None:
    """A group may run as long as its cells one after the other, but not longer than the offer lets anything."""
    assert group("1", "2").execution.timeout == 4.0
    assert group(*"123", timeout=100.0).execution.timeout == 180.0
    assert group("1", "2", timeout=None).execution.timeout is None


@pytest.mark.parametrize("field", [{"container": "a"}, {"mounts": ("/d",)}, {"network": True}, {"language": "r"}])
def test_what_may_not_join(field: dict[str, Any]) -> None:
    """What has a state of its own, sees more, or is no Python runs alone."""
    assert may_join(Execution("1"))
    assert not may_join(Execution("1", **field))


# --- through a session ----------------------------------------------------------------------------


class Shell:
    """As much of IPython's as the inside uses."""

    def __init__(self) -> None:
        self.user_module, self.user_ns = ModuleType("__main__"), dict[str, Any]()
        self.execution_count = 1
        self.history_manager = SimpleNamespace(input_hist_parsed=[""], input_hist_raw=[""], output_hist={})

    def init_user_ns(self) -> None:
        pass

    def run_cell(self, code: str, store_history: bool) -> Any:
        try:
            exec(compile(code, "cell", "exec"), self.user_ns)
        except (Exception, SystemExit) as error:
            if not isinstance(error, SystemExit):
                sys.stderr.write("".join(traceback.format_exception_only(error)))
            return SimpleNamespace(success=False, error_in_exec=error)
        return SimpleNamespace(success=True, error_in_exec=None)


class Interpreter:
    """A script for the provider: it runs what it is sent; a KeyboardInterrupt ends it all, with that outcome."""

    def __init__(self, outcome: Any = "crashed") -> None:
        self.sent: list[str] = []
        self._outcome = outcome

    def __call__(self, number: int, body: Mapping[str, Any]) -> Reply | Fail:
        code = prompt.blocks(messages.decode_request(body).text)[0].content
        self.sent.append(code)
        stdout, stderr, stopped = io.StringIO(), io.StringIO(), False
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                exec(code, {"get_ipython": Shell, "__name__": "outside"})
            except KeyboardInterrupt:
                stopped = True
            except Exception as error:
                sys.stderr.write(str(error))
        return Reply(stdout.getvalue(), stderr.getvalue(), self._outcome if stopped else "ok")

    @property
    def sizes(self) -> list[int]:
        """How many cells there were in each request."""
        plans = [re.search(r"'cells': (\[.*?\])\}, 'shell'", code) for code in self.sent]
        return [len(eval(plan[1])) if plan else 1 for plan in plans]


class Ours(ScriptedProvider):
    """Spoken to like our own gateway: it can say what came before a limit."""

    def endpoint(self, *, ours: bool = True) -> Endpoint:
        return super().endpoint(ours=ours)


def run_map(
    tmp_path: Path, codes: Any, script: Any, look: Callable[[Session, ScriptedProvider], None] | None = None, **how: Any
) -> list[tuple[int, Result | InterpError]]:
    async def main() -> list[tuple[int, Result | InterpError]]:
        async with Ours(script) as provider:
            provider.offer()
            known = settings_in(tmp_path, cache="auto", attempts=1)
            async with Session(known, providers=[provider]) as session:
                found = [pair async for pair in session.map(codes, model="claude@scripted", **how)]
                session.flush()
                if look:
                    look(session, provider)
                return found

    return asyncio.run(main())


def test_one_turn_with_a_result_each(tmp_path: Path) -> None:
    """Ten cells are one request; one that raises or exits fails alone, and none sees another's names (D25, D41)."""
    codes = [f"x{n} = {n}\nprint(x{n}, 'x{n - 1}' in globals())" for n in range(10)]
    codes[3], codes[6] = "1/0", "import sys\nsys.exit()"
    script = Interpreter()
    found = dict(run_map(tmp_path, codes, script, together=10))
    results = [found[n] for n in range(10)]

    assert script.sizes == [10]
    assert [r.outcome for r in results if isinstance(r, Result)] == ["error" if n == 3 else "ok" for n in range(10)]
    for n in {*range(10)} - {3, 6}:
        assert isinstance(result := found[n], Result)
        assert (result.stdout, result.steps[0].code) == (f"{n} False\n", codes[n])
    assert isinstance(failed := found[3], Result)
    assert "ZeroDivisionError" in failed.stderr


def test_the_bill_is_shared(tmp_path: Path) -> None:
    """The attempt is in the ledger once, and the Results have exactly its cost, its tokens and its name."""

    def look(_: Session, provider: ScriptedProvider) -> None:
        (billed,), (row,) = provider.bill, rows(tmp_path)
        assert row["id"] == billed.attempt_id
        assert settled(tmp_path) == provider.billed

    found = run_map(tmp_path, ["print(1)", "print('a long one' * 3)", "1"], Interpreter(), look, together=3)
    results = [result for _, result in found if isinstance(result, Result)]
    assert sum(result.cost.billed or 0 for result in results) == settled(tmp_path)
    (row,) = rows(tmp_path)
    assert sum(result.usage.output_tokens or 0 for result in results) == row["output_tokens"]
    assert {result.request_ids for result in results} == {("req_0",)}
    assert {result.native["together"] for result in results} == {row["result_id"]}


def test_the_journal_has_each(tmp_path: Path) -> None:
    """Each Result is kept under its own id; it serves nobody who asks for the same cell alone."""
    script, codes = Interpreter(), ["print(1)", "print(2)"]
    found = run_map(tmp_path, codes, script, together=2)
    with database.reading(place.of(tmp_path).path) as connection:
        assert connection is not None
        for _, result in found:
            assert isinstance(result, Result)
            assert journal.find(connection, result.id) == result
    run_map(tmp_path, codes, script)
    assert script.sizes == [2, 1, 1]


def test_after_a_stop(tmp_path: Path) -> None:
    """When one of a group stops it all, those before keep what they have, those after go on in a new group, and the
    costs of all attempts are in the Results."""
    codes = [f"print({n})" for n in range(6)]
    codes[2] = "print('in'); raise KeyboardInterrupt"  # as far as the script can tell, the interpreter ended here
    script = Interpreter("limit")
    found = dict(run_map(tmp_path, codes, script, together=6))

    assert script.sizes == [6, 3, 1]
    assert [r.stdout for n in (0, 1, 3, 4, 5) if isinstance(r := found[n], Result)] == [
        f"{n}\n" for n in (0, 1, 3, 4, 5)
    ]
    assert [r.attempts for n in range(6) if isinstance(r := found[n], Result)] == [1, 1, 2, 2, 2, 2]
    assert sum(r.cost.billed or 0 for r in found.values() if isinstance(r, Result)) == settled(tmp_path)


def test_who_says_it_all_at_the_end(tmp_path: Path) -> None:
    """A provider that streams no outputs is understood as well."""

    async def main() -> list[str]:
        async with ScriptedProvider(Interpreter()) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                many = session.map(["print(1)", "print(2)"], model="claude@scripted", together=2)
                return [result.stdout async for _, result in many if isinstance(result, Result)]

    assert asyncio.run(main()) == ["1\n", "2\n"]
    assert len(rows(tmp_path)) == 1


def test_who_does_it_another_way(tmp_path: Path) -> None:
    """Where nothing comes back that has our marks the cells are run alone, and nothing is lost of what that cost."""
    found = run_map(tmp_path, ["1", "22", "333"], lambda number, body: Reply("hello"), together=3)
    results = [result for _, result in found if isinstance(result, Result)]

    assert [(result.stdout, result.attempts) for result in results] == [("hello", 2)] * 3
    assert sum(result.cost.billed or 0 for result in results) == settled(tmp_path)
    assert len(rows(tmp_path)) == 4


def test_what_cannot_be_run(tmp_path: Path) -> None:
    """A cell that cannot be run has its error in its place; a turn that cannot gives its error to each of its cells."""
    script = Interpreter()
    found = dict(run_map(tmp_path, ["1", "", "2"], script, together=3))
    assert isinstance(found[1], NothingToRun)
    assert (script.sizes, sum(isinstance(each, Result) for each in found.values())) == ([2], 2)

    busy = run_map(tmp_path, ["1", "2"], lambda number, body: Fail(529), together=2)
    assert [type(error) for _, error in busy] == [Overloaded, Overloaded]
    with pytest.raises(Overloaded):
        run_map(tmp_path, ["1", "2"], lambda number, body: Fail(529), together=2, raise_errors=True)


def test_who_refuses_the_turn(tmp_path: Path) -> None:
    """What is refused together is asked for alone: it may be one cell that they do not take."""

    def script(number: int, body: Mapping[str, Any]) -> Reply | Fail:
        return Fail(400, "invalid_request_error") if "bad" in str(body) else Reply("fine")

    found = dict(run_map(tmp_path, ["1", "bad", "2"], script, together=3))
    assert [isinstance(found[n], Result) for n in range(3)] == [True, False, True]


def test_lazy_ordered_and_counted(tmp_path: Path) -> None:
    """No more is taken than groups that run, results come in order if asked, and progress counts cells."""
    taken = 0

    def codes() -> Iterator[str]:
        nonlocal taken
        for taken in itertools.count(1):
            yield f"print({taken - 1})"

    async def main() -> list[int]:
        async with ScriptedProvider(Interpreter()) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                how: dict[str, Any] = {"together": 5, "concurrency": 2, "ordered": True, "progress": seen.append}
                async with contextlib.aclosing(session.map(codes(), model="claude@scripted", **how)) as found:
                    return [(await anext(found))[0] for _ in range(12)]

    seen: list[Progress] = []
    assert asyncio.run(main()) == list(range(12))
    assert taken <= 25
    assert [each.done for each in seen] == list(range(1, 13))


def test_other_flags_other_group(tmp_path: Path) -> None:
    """Only what is asked for in the same way goes together; what may not runs alone, in its place."""
    cells = [Execution(f"print({n})", model="claude@scripted", timeout=5.0 + n % 2) for n in range(4)]

    async def main() -> tuple[list[int], list[int]]:
        script = Interpreter()
        async with ScriptedProvider(script) as provider:
            provider.offer()
            async with Session(settings_in(tmp_path), providers=[provider]) as session:
                return [i async for i, r in session.map(cells, together=9) if isinstance(r, Result)], script.sizes

    assert asyncio.run(main()) == ([0, 1, 2, 3], [2, 2])


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_no_number_of_cells(tmp_path: Path, size: Any) -> None:
    """A size that is none is refused before anything is sent."""
    with pytest.raises(InvalidInput, match="together"):
        run_map(tmp_path, ["1"], Interpreter(), together=size)
