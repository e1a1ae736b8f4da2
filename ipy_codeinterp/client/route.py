"""Who is asked: offers that cannot do it are dropped, the policy orders the rest, and the next has its turn when one
gives up.

Without fallbacks there is one offer, and its errors are raised as they are; one that cannot do it is not asked either.
An attempt that may have run is never followed by another offer's; neither is a run in a container, whose variables are
at one provider.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.changed import changed
from ipy_codeinterp.client.chain import Handler, Run
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    InterpError,
    NoOffer,
    NotAllowed,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Rejected,
    SandboxError,
    TooLarge,
    Unreachable,
)
from ipy_codeinterp.execution import Execution, Restarted, Result, Usage
from ipy_codeinterp.store.tracks import Track

# What another offer may be better at. Everything else is wrong with the request, or is not known.
NEXT = (NotAllowed, AuthenticationFailed, QuotaExceeded, Overloaded, Unreachable, SandboxError)
NEXT_STATUS = (404, 413)  # of a request that was refused: no such model, too large
RESTING = "it failed again and again, and is left alone for a while"
COOLDOWN, LONGEST_COOLDOWN = 30.0, 300.0  # seconds
FAILURES = 3  # one after the other, before an offer is left alone for a while
TYPICAL = Usage(500, 500)  # tokens by which offers are compared that have never been tried
EXPLORED = 0.05  # share of calls that `measured` spends on knowing more
WALLS = ("time", "memory")
NAMED = 3  # offers that an error names: who can


@dataclass(frozen=True, slots=True)
class Choice:
    """How offers are ordered: by what, and in words."""

    rank: Callable[[Offer, Track], tuple[float, ...]]
    words: str


def expected_cost(offer: Offer, track: Track) -> float:
    """USD of one call: as measured, else of a typical one at its price; one without a price comes after all others."""
    cost = track.cost if track.cost is not None else offer.cost(TYPICAL).billed
    return math.inf if cost is None else float(cost)


def _cost(offer: Offer, track: Track) -> tuple[float, ...]:
    return (expected_cost(offer, track),)


def _time(offer: Offer, track: Track) -> tuple[float, ...]:
    """One that was never timed has its turn first: else it never would."""
    return (track.seconds or 0.0,)


def _accuracy(offer: Offer, track: Track) -> tuple[float, ...]:
    """Of equals, and while nothing is known, the asked one: what is critical is not for the cheapest."""
    return (-track.success,)


def _cost_per_success(offer: Offer, track: Track) -> tuple[float, ...]:
    return (expected_cost(offer, track) / track.success, track.seconds or 0.0)


CHOICES: Mapping[str, Choice] = {
    "pinned": Choice(lambda offer, track: (), "as asked"),
    "cheapest": Choice(_cost, "the cheapest"),
    "fastest": Choice(_time, "the fastest"),
    "hybrid": Choice(_cost, "the cheapest, since nothing says that it is critical"),
    "measured": Choice(_cost_per_success, "the cheapest for one that goes well"),
}
CRITICAL = Choice(_accuracy, "the most often right, since it is critical")


@dataclass(frozen=True, slots=True)
class Rules:
    """How to choose: the policy's name, the offers beside the asked one, and why others may not be asked.

    `known` are all that may be asked by name.
    """

    policy: str = "pinned"
    others: tuple[Offer, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)  # by offer
    known: Callable[[], Iterable[Offer]] = tuple


class Route:
    """Middleware. `tracks` says what is known of offers; `chance` is between 0 and 1."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        tracks: Callable[[Sequence[Offer]], Awaitable[Mapping[str, Track]]],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._rules = rules
        self._tracks = tracks
        self._clock = clock
        self._chance = chance
        self._health: dict[str, _Health] = {}

    async def __call__(self, run: Run, handler: Handler) -> Result:
        rules = self._rules()
        if run.is_bound:
            return await handler(run)
        if run.execution.container is not None or not rules.others:
            able(run.execution, [run.offer], rules, {})
            return await handler(run)
        reasons = dict(rules.refused)
        offers = able(run.execution, [run.offer, *rules.others], rules, reasons)
        ordered, words = await self._ordered(run, run.policy or rules.policy, offers)
        error: InterpError | None = None
        causes: list[InterpError] = []
        for offer in ordered:
            health = self._health.setdefault(str(offer), _Health())
            if not health.may_try(self._clock()):
                reasons[str(offer)] = RESTING
                causes.append(Overloaded(RESTING, provider=offer.provider))
                continue
            if error is not None:
                await run.emit(Restarted(f"{run.offer} gave up ({error}); now {offer}"))
            run.offer, run.decoder, run.container_id = offer, None, None
            try:
                result = await self._once(run, handler, health)
            except InterpError as caught:
                if not _is_for_the_next(caught):
                    raise
                error = caught
                causes.append(caught)
                reasons[str(offer)] = f"{type(caught).__name__}: {caught}"
                continue
            result = changed(result, why=_why(str(offer), words, reasons, len(offers)))
            return await self._beyond_the_wall(run, handler, result, ordered)
        hint = error.hint if error else "ask another model"
        raise NoOffer(_all(reasons), hint=hint, reasons=reasons, causes=causes) from error

    async def _ordered(self, run: Run, policy: str, offers: Sequence[Offer]) -> tuple[list[Offer], str]:
        if policy == "pinned":
            return list(offers), CHOICES[policy].words
        choice = CRITICAL if policy == "hybrid" and run.critical else CHOICES[policy]
        tracks = await self._tracks(offers)
        if policy == "measured" and self._chance() < EXPLORED:
            rarest = sorted(offers, key=lambda offer: tracks.get(str(offer), Track()).calls)
            return rarest, "the least known, to know it better"
        return sorted(offers, key=lambda offer: choice.rank(offer, tracks.get(str(offer), Track()))), choice.words

    async def _once(self, run: Run, handler: Handler, health: _Health) -> Result:
        try:
            result = await handler(run)
        except (ProviderError, SandboxError):
            health.failed(self._clock())
            raise
        except BaseException:
            health.unknown()
            raise
        health.went_well()
        return result

    async def _beyond_the_wall(self, run: Run, handler: Handler, result: Result, offers: Sequence[Offer]) -> Result:
        """What a wall of this offer ended may go once to one whose wall is further, where it starts from nothing."""
        limit = result.limit
        if result.outcome != "limit" or limit is None or limit.name not in WALLS or not run.execution.repeatable:
            return result
        reached = _wall(run.offer, limit.name)
        further = next((offer for offer in offers if _wall(offer, limit.name) > reached), None)
        if further is None:
            return result
        await run.emit(Restarted(f"{run.offer} has a {limit}; now {further}"))
        before, run.offer, run.decoder = run.offer, further, None
        health = self._health.setdefault(str(further), _Health())
        again = await self._once(run, handler, health)
        return changed(again, why=f"{further}: {before} has a {limit}")


class _Health:
    """Of one offer: whether it may be tried. After a pause one call shows whether it is well again."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed_until: float | None = None
        self._pause = COOLDOWN
        self._trying = False

    def may_try(self, now: float) -> bool:
        if self._closed_until is None:
            return True
        if now < self._closed_until or self._trying:
            return False
        self._trying = True
        return True

    def failed(self, now: float) -> None:
        self._failures += 1
        if self._trying:
            self._pause = min(2 * self._pause, LONGEST_COOLDOWN)
        if self._trying or self._failures >= FAILURES:
            self._closed_until = now + self._pause
        self._trying = False

    def went_well(self) -> None:
        self._failures, self._closed_until, self._pause, self._trying = 0, None, COOLDOWN, False

    def unknown(self) -> None:
        """It was given up from outside: another may try."""
        self._trying = False


def able(execution: Execution, offers: Sequence[Offer], rules: Rules, reasons: dict[str, str]) -> list[Offer]:
    """Those that can do it, each once. Raises `NoOffer` with why each cannot, and who can."""
    found: dict[str, Offer] = {}
    for offer in offers:
        if why := _cannot(execution, offer):
            reasons[str(offer)] = why
        else:
            found.setdefault(str(offer), offer)
    if not found:
        raise NoOffer(_all(reasons), hint=_who_can(execution, rules), reasons=reasons)
    return list(found.values())


def _who_can(execution: Execution, rules: Rules) -> str:
    names = [str(offer) for offer in rules.known() if not _cannot(execution, offer)]
    if not names:
        return "change the cell's flags, or name another model"
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more} can"


def _cannot(execution: Execution, offer: Offer) -> str:
    if offer.languages and execution.language not in offer.languages:
        return f"it does not run {execution.language}, only {', '.join(offer.languages)}"
    if execution.timeout is not None and execution.timeout > offer.timeout and not offer.is_local:
        return f"code may run there for {offer.timeout:g} s, and {execution.timeout:g} s are asked"
    beyond = {"mounts": execution.mounts, "packages": execution.packages, "network": execution.network}
    if not offer.is_local and (asked := [name for name, wanted in beyond.items() if wanted]):
        return f"it has no {', '.join(asked)}"
    return ""


def _is_for_the_next(error: InterpError) -> bool:
    if isinstance(error, ProviderError) and error.may_have_run:
        return False
    if isinstance(error, Rejected):
        return isinstance(error, TooLarge) or error.status in NEXT_STATUS
    return isinstance(error, NEXT) and not (isinstance(error, SandboxError) and error.transient)


def _wall(offer: Offer, name: str) -> float:
    return offer.timeout if name == "time" else float(offer.memory)


def _why(offer: str, words: str, reasons: Mapping[str, str], count: int) -> str:
    others = "".join(f"; not {other}: {why}" for other, why in reasons.items())
    return f"{offer}: {words} of {count}{others}" if count > 1 else f"{offer}: the only one that can{others}"


def _all(reasons: Mapping[str, str]) -> str:
    return "nobody can run this: " + "; ".join(f"{offer}: {why}" for offer, why in reasons.items())
