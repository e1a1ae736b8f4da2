"""The router: who cannot is not asked, the policy orders the rest, and nothing runs twice that may have run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ipy_codeinterp.catalog import Offer, Price
from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.client.route import COOLDOWN, FAILURES, Route, Rules
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadReply,
    GatewayLost,
    InterpError,
    InvalidInput,
    NoOffer,
    OverBudget,
    Overloaded,
    QuotaExceeded,
    Rejected,
    SandboxError,
    TooLarge,
    Unreachable,
)
from ipy_codeinterp.execution import Event, Execution, Limit, Restarted, Result
from ipy_codeinterp.store.tracks import Track


def an_offer(model: str, dollars: str = "1", **facts: Any) -> Offer:
    price = Price(Decimal(dollars), Decimal(dollars), "test", date(2026, 1, 1))
    known: dict[str, Any] = {"provider": "test", "timeout": 60.0, "memory": 1 << 30, "price": price}
    return Offer(model, **{**known, **facts})


A, B, C = an_offer("a", "3"), an_offer("b", "1"), an_offer("c", "2")


class World:
    """Offers that do what they are told; who was asked, in order."""

    def __init__(self, policy: str = "pinned", others: Sequence[Offer] = (B, C), **tracks: Track) -> None:
        self.asked: list[str] = []
        self.events: list[Event] = []
        self.now = 0.0
        self.chance = 1.0
        self.does: dict[str, Any] = {}
        self.tracks = {f"{model}@test": track for model, track in tracks.items()}
        rules = Rules(policy, tuple(others))
        self.route = Route(lambda: rules, self._known, clock=lambda: self.now, chance=lambda: self.chance)

    async def _known(self, offers: Sequence[Offer]) -> Mapping[str, Track]:
        return self.tracks

    async def handler(self, run: Run) -> Result:
        self.asked.append(run.offer.model)
        came = self.does.get(run.offer.model, "ok")
        if isinstance(came, BaseException):
            raise came
        return replace(run.result("ok"), **came) if isinstance(came, dict) else run.result("ok")

    async def _emit(self, event: Event) -> None:
        self.events.append(event)

    def run(self, *, critical: bool = False, **how: Any) -> Result:
        run = Run(Execution("x", **how), A, self._emit, critical=critical)
        return asyncio.run(self.route(run, self.handler))


def test_alone() -> None:
    """Without others the asked offer is asked, and its error is raised as it is."""
    world = World(others=())
    assert (world.run().offer, world.run().why) == ("a@test", None)

    world.does["a"] = Overloaded("later")
    with pytest.raises(Overloaded, match="later"):
        world.run()


@pytest.mark.parametrize("policy", ["pinned", "cheapest", "fastest"])
def test_bound(policy: str) -> None:
    """A run that is bound to its offer, as code that a model calls is to this machine, is never sent elsewhere."""
    world = World(policy=policy)
    world.does["a"] = SandboxError("not ready")
    run = Run(Execution("x"), A, world._emit, is_bound=True)

    with pytest.raises(SandboxError, match="not ready"):
        asyncio.run(world.route(run, world.handler))

    assert world.asked == ["a"]


def test_pinned_asks_the_asked_first() -> None:
    """D29: the one that was asked for runs it, and the Result says why it was that one."""
    world = World()

    result = world.run()

    assert (world.asked, result.offer, result.why) == (["a"], "a@test", "a@test: as asked of 3")


@pytest.mark.parametrize(
    ("policy", "tracks", "critical", "first"),
    [
        ("cheapest", {}, False, "b"),
        ("cheapest", {"b": Track(10, 10, Decimal(9))}, False, "c"),
        (
            "fastest",
            {"a": Track(9, 9, None, 3.0), "b": Track(9, 9, None, 2.0), "c": Track(9, 9, None, 1.0)},
            False,
            "c",
        ),
        ("fastest", {"a": Track(9, 9, None, 3.0), "b": Track(9, 9, None, 2.0)}, False, "c"),
        ("hybrid", {}, False, "b"),
        ("hybrid", {}, True, "a"),
        ("hybrid", {"a": Track(98, 97), "b": Track(98, 90), "c": Track(98, 90)}, True, "a"),
        ("hybrid", {"a": Track(1, 1), "c": Track(98, 98)}, True, "c"),
        ("measured", {"a": Track(98, 97, Decimal(3)), "b": Track(98, 30, Decimal(2)), "c": Track(1, 0)}, False, "c"),
        (
            "measured",
            {"a": Track(98, 97, Decimal(3)), "b": Track(98, 20, Decimal(1)), "c": Track(0, 0, Decimal(9))},
            False,
            "a",
        ),
    ],
)
def test_policies(policy: str, tracks: dict[str, Track], critical: bool, first: str) -> None:
    """D43: each policy asks first who is best by what it is called after; what was never tried has its turn."""
    world = World(policy, **tracks)

    world.run(critical=critical)

    assert world.asked == [first]


def test_measured_explores() -> None:
    """A small share of calls goes to the offer that least is known of."""
    world = World("measured", a=Track(98, 97, Decimal(1)), b=Track(90, 1, Decimal(9)), c=Track(5, 0, Decimal(9)))
    world.chance = 0.01

    assert "to know it better" in (world.run().why or "")
    assert world.asked == ["c"]


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("no"),
        Unreachable("no"),
        QuotaExceeded("no"),
        AuthenticationFailed("no"),
        OverBudget("no"),
        Rejected("no such model", status=404),
        TooLarge("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_next_one(error: InterpError) -> None:
    """When one gives up in a way that another may not, the next has its turn; the Result and the events say so."""
    world = World()
    world.does["a"] = error

    result = world.run()

    assert (world.asked, result.offer) == (["a", "b"], "b@test")
    assert f"not a@test: {type(error).__name__}" in (result.why or "")
    assert [type(event) for event in world.events] == [Restarted]


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("no", may_have_run=True),
        Unreachable("no", may_have_run=True),
        BadReply("no"),
        GatewayLost("no"),
        Rejected("no", status=400),
        InvalidInput("no"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_not_the_next_one(error: Exception) -> None:
    """What may have run, or is wrong with the request itself, is not tried elsewhere."""
    world = World()
    world.does["a"] = error

    with pytest.raises(type(error)):
        world.run()
    assert world.asked == ["a"]


def test_all_give_up() -> None:
    """One error says why each of them did not, with the last one behind it."""
    world = World()
    world.does = {"a": Overloaded("later"), "b": QuotaExceeded("empty"), "c": Unreachable("gone")}

    with pytest.raises(NoOffer) as caught:
        world.run()

    assert caught.value.reasons == {
        "a@test": "Overloaded: later",
        "b@test": "QuotaExceeded: empty",
        "c@test": "Unreachable: gone",
    }
    assert isinstance(caught.value.__cause__, Unreachable)


def test_who_cannot_is_not_asked() -> None:
    """An offer that lacks what the cell needs is never tried; the Result says who it was, and why."""
    world = World(others=(an_offer("r", languages=("python", "r")),))
    world.route._rules = lambda: Rules("pinned", (an_offer("r", languages=("r",)),))
    asked = an_offer("a", languages=("python",))

    result = asyncio.run(world.route(Run(Execution("x", language="r"), asked, world._emit), world.handler))

    assert (world.asked, result.why) == (
        ["r"],
        "r@test: the only one that can; not a@test: it does not run r, only python",
    )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"timeout": 100.0}, "60 s"),
        ({"mounts": ("/data",)}, "mounts"),
        ({"packages": ("polars",)}, "packages"),
        ({"network": True}, "network"),
    ],
    ids=["timeout", "mounts", "packages", "network"],
)
def test_nobody_can(how: dict[str, Any], said: str) -> None:
    """What nobody can do is refused before anything is sent, with the reason of each."""
    world = World()

    with pytest.raises(NoOffer, match=said) as caught:
        world.run(**how)

    assert (world.asked, len(caught.value.reasons)) == ([], 3)


@pytest.mark.parametrize("how", [{}, {"container": "mine"}], ids=["fresh", "in a container"])
def test_alone_and_unable(how: dict[str, Any]) -> None:
    """The only offer there is, or the one that has the container, is not asked for what it lacks; who can is named."""
    world = World(others=())
    able = [an_offer(name, provider="local") for name in "klmn"]
    world.route._rules = lambda: Rules(known=lambda: [A, *able])

    with pytest.raises(NoOffer, match="a@test: it has no mounts") as caught:
        world.run(mounts=("/data",), **how)

    assert (world.asked, caught.value.hint) == ([], "k@local, l@local, m@local, and 1 more can")


def test_a_container_stays_where_it_is() -> None:
    """Variables are at one provider: a run in a container is nobody else's."""
    world = World("cheapest")
    world.does["a"] = Overloaded("later")

    with pytest.raises(Overloaded):
        world.run(container="mine")
    assert world.asked == ["a"]


def test_cooldown() -> None:
    """One that fails again and again is left alone; after a while one call tries it, and its end decides."""
    world = World(others=(B,))
    world.does["a"] = Overloaded("later")
    for _ in range(FAILURES):
        world.run()
    world.asked.clear()

    world.run()
    assert world.asked == ["b"]

    world.now = COOLDOWN + 1
    world.run()
    assert world.asked == ["b", "a", "b"]
    world.now += COOLDOWN + 1
    world.run()  # a second pause is longer
    assert world.asked == ["b", "a", "b", "b"]

    world.now += COOLDOWN
    world.does.clear()
    world.run()
    world.run()
    assert world.asked[4:] == ["a", "a"]


def test_one_probe_at_a_time() -> None:
    """While one call tries an offer that had failed, the others do not wait for it and do not join it."""
    world = World(others=(B,))
    world.does["a"] = Overloaded("later")
    for _ in range(FAILURES):
        world.run()
    world.now, world.asked = COOLDOWN + 1, []

    async def both() -> None:
        gate = asyncio.Event()

        async def slow(run: Run) -> Result:
            world.asked.append(run.offer.model)
            if run.offer.model == "a":
                await gate.wait()
            return run.result("ok")

        def a_run() -> Run:
            return Run(Execution("x"), A, world._emit)

        first = asyncio.create_task(world.route(a_run(), slow))
        await asyncio.sleep(0)
        await world.route(a_run(), slow)
        gate.set()
        await first

    asyncio.run(both())
    assert world.asked == ["a", "b"]


@pytest.mark.parametrize("wall", ["time", "memory"])
def test_a_wall_that_is_further_away(wall: str) -> None:
    """What a time or memory wall ended goes once to an offer whose wall is further, and to nobody after that."""
    higher = an_offer("b", timeout=600.0) if wall == "time" else an_offer("b", memory=2 << 30)
    world = World(others=(an_offer("c"), higher))
    hit = {"outcome": "limit", "limit": Limit(wall, 60.0, "seconds")}
    world.does = {"a": hit, "b": hit}

    result = world.run()

    assert (world.asked, result.offer, result.outcome) == (["a", "b"], "b@test", "limit")
    assert "a@test has a" in (result.why or "")


@pytest.mark.parametrize("case", ["another limit", "not repeatable", "nobody has more"])
def test_a_wall_that_stays(case: str) -> None:
    """Other limits, runs that do not start from nothing, and walls that nobody moves are the Result."""
    higher = an_offer("b", timeout=600.0, provider="local") if case != "nobody has more" else B
    world = World(others=(higher,))
    name = "output" if case == "another limit" else "time"
    world.does["a"] = {"outcome": "limit", "limit": Limit(name, 60.0, "seconds")}
    how = {"mounts": ("/data",)} if case == "not repeatable" else {}
    asked = an_offer("a", provider="local")

    result = asyncio.run(world.route(Run(Execution("x", **how), asked, world._emit), world.handler))

    assert (world.asked, result.outcome) == (["a"], "limit")
