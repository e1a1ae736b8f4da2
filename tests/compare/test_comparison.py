"""One piece of code at several offers: who agrees with whom, and what is said of each."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.compare import Comparison, Side, check, report
from ipy_codeinterp.compare.agreement import agreements
from ipy_codeinterp.errors import InvalidInput, NotAllowed, UnknownName
from ipy_codeinterp.execution import Cost, Display, Error, Execution, Output, Result, Step, Stream, Timings, Usage
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.testing import Fail, Reply, ScriptedProvider

CODE = Execution("print(1)")


def result(*outputs: Output, offer: str = "claude@local", seconds: float = 1.0, **facts: Any) -> Result:
    model, _, provider = offer.partition("@")
    known = {"outcome": "ok", "cost": Cost(Decimal("0.5")), "usage": Usage(10, 5), "timings": Timings(total=seconds)}
    return Result("run_1", (Step("print(1)", outputs=outputs),), provider=provider, model=model, **{**known, **facts})


def value(text: str) -> Display:
    return Display({"text/plain": text}, {}, "execute_result")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((), (), ("same", "none", "none", "none")),
        ((Stream("stdout", "1\n"),), (Stream("stdout", "1"),), ("same", "same", "none", "none")),
        ((Stream("stdout", "1"),), (), ("same", "differs", "none", "none")),
        ((value("<a at 0x7f00aa11>"),), (value("<a at 0x7f00bb22>"),), ("same", "none", "same", "none")),
        ((value("1"),), (value("2"),), ("same", "none", "differs", "none")),
        ((Stream("stderr", "a"),), (Stream("stderr", "b"),), ("same", "none", "none", "none")),
        ((Display({"image/svg+xml": "<svg/>"}),), (Display({"image/png": "x"}),), ("same", "none", "none", "differs")),
        ((Display({"image/svg+xml": "a"}),), (Display({"image/svg+xml": "a"}),), ("same", "none", "none", "same")),
    ],
)
def test_agreements(one: tuple[Output, ...], other: tuple[Output, ...], said: tuple[str, ...]) -> None:
    """What was printed, the last value and the figures count; addresses, stderr and blank ends do not."""
    found = agreements(result(*one), result(*other))

    assert (found.outcome, found.stdout, found.value, found.figures) == said


def test_outcome() -> None:
    """Two errors of one kind agree, an error and none do not; who says nothing contradicts nobody."""
    failed = result(Error("ValueError", "a"), outcome="error")

    assert agreements(failed, result(Error("ValueError", "b"), outcome="error")).agree
    assert not agreements(failed, result()).agree
    assert not agreements(failed, result(Error("KeyError", "a"), outcome="error")).agree
    assert agreements(failed, result(outcome="unknown")).outcome == "none"


def test_of_one_interpreter() -> None:
    """Profiles of one sandbox are said to be that in the first line; with vendors only they are."""
    sides = tuple(Side(offer, (result(offer=offer),), (agreements(result(), result()),)) for offer in OFFERS)

    assert report.heads(Comparison(CODE, sides)) == ["claude@local, gpt@local: one interpreter under different limits"]
    assert report.heads(Comparison(CODE, sides[1:])) == []


OFFERS = ("claude@local", "gpt@local", "claude@anthropic")


def test_without_figures() -> None:
    """What another run could change is left out, and stands in the facts."""
    sides = tuple(
        Side(offer, (result(offer=offer, seconds=1.23),), (agreements(result(), result()),)) for offer in OFFERS
    )
    said = report.text(Comparison(CODE, sides), figures=False) + report.html_of(Comparison(CODE, sides), figures=False)

    assert "1.23" not in said and "0.5" not in said and "15" not in said and "anthropic" in said
    assert report.facts(Comparison(CODE, sides))[0]["cost"] == "0.5"
    assert "1.23 s" in repr(Comparison(CODE, sides))


def test_hostile_names() -> None:
    """A name is text in the table, whatever it holds."""
    sides = (Side("<b>x</b>@y", (NotAllowed("no"),), (None,)),)

    assert "&lt;b&gt;" in report.html_of(Comparison(CODE, sides))


def test_percentiles() -> None:
    """A percentile that so few runs cannot bound is blank."""
    few, many = (tuple(result(seconds=float(i)) for i in range(1, n)) for n in (5, 61))

    assert [Side("a@b", few).percentile(p) for p in (50, 95)] == [None, None]
    assert Side("a@b", many).percentile(50) == pytest.approx(30, rel=0.02)
    assert Side("a@b", many).percentile(95) is not None and Side("a@b", many).percentile(99) is None


@pytest.mark.parametrize(
    ("names", "execution", "repeat"),
    [
        (("claude", "claude@local"), CODE, 1),
        (("claude",), Execution("x", container="a"), 2),
        (("claude", "gpt"), CODE, 0),
        (("claude", "gpt"), CODE, 501),
        ((), CODE, 1),
    ],
)
def test_not_compared(names: tuple[str, ...], execution: Execution, repeat: int) -> None:
    """An offer twice, a container, no runs and too many are refused."""
    offers = {name: name if "@" in name else f"{name}@local" for name in names}
    with pytest.raises(InvalidInput):
        check(names, offers, execution, repeat)


def test_at_two_providers(tmp_path: Path) -> None:
    """All are asked, one that fails stops no other, nobody is asked in another's place, and all is billed."""

    async def work() -> tuple[Comparison, int, int, Decimal]:
        script = [Reply("1"), Fail(400, "invalid_request_error")]
        async with ScriptedProvider(name="one") as one, ScriptedProvider(script, name="two") as two:
            one.offer(), two.offer()
            known = Settings(data_dir=tmp_path, warm="never", budget=None, fallback=("claude@one",))
            async with Session(known, providers=[one, two]) as session:
                first = await session.compare("print(1)", ["claude@one", "claude@two"])
                second = await session.compare("print(2)", ["claude@two", "claude@one"])
                assert second.sides[0].outcome == "Rejected" and not second.agree and not second.failed
                assert second.reference is second.sides[1] and "compared with claude@one" in repr(second)
                return first, len(one.requests), len(two.requests), one.billed + two.billed

    compared, ones, twos, billed = asyncio.run(work())

    assert (ones, twos) == (2, 2)
    assert [side.agreement[0].stdout for side in compared.sides if side.agreement[0]] == ["same", "differs"]
    assert compared["claude@two"].stdout == "1" and not compared.agree
    assert sum(side.cost or 0 for side in compared.sides) < billed


def test_repeated(tmp_path: Path) -> None:
    """Each is run so often, round by round, and nothing of it is served from what is kept."""
    order: list[str] = []

    async def work() -> Comparison:
        def script(name: str) -> Any:
            def answer(number: int, body: Any) -> Reply:
                order.append(name)
                return Reply("1" if number != 2 else "2")

            return answer

        async with ScriptedProvider(script("a"), name="a") as one, ScriptedProvider(script("b"), name="b") as two:
            one.offer(), two.offer()
            async with Session(Settings(data_dir=tmp_path, budget=None), providers=[one, two]) as session:
                with pytest.raises(UnknownName):
                    await session.compare("x", ["claude@a", "clade@b"])
                return await session.compare("x", ["claude@a", "claude@b"], repeat=5)

    compared = asyncio.run(work())

    assert [sorted(order[i : i + 2]) for i in range(0, 10, 2)] == [["a", "b"]] * 5
    assert [(side.ok, side.agreeing, len(side.runs)) for side in compared.sides] == [(5, 4, 5)] * 2
    assert [line.split()[:4] for line in repr(compared).splitlines()[1:]] == [
        ["claude@a", "5", "5", "of"],
        ["claude@b", "5", "5", "of"],
    ]
