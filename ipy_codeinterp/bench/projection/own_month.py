"""A Demand from the ledger: what one's own calls of some time were, and what they were billed.

What was served again, from the cache or by a call in flight, was never sent: attempts, tokens and success are of the
calls that were. The ledger does not know which answers were right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import groupby

from ipy_codeinterp.bench.projection.demand import ONE, Calls, Demand, Mean, Share, Tokens
from ipy_codeinterp.catalog.prices import NOTHING
from ipy_codeinterp.store.schema import from_nano
from ipy_codeinterp.store.stats import MONTH, Call

SERVED = ("cache", "shared")


@dataclass(frozen=True, slots=True)
class Month:
    """What the ledger says of some calls, and the Demand that goes on like them for a month.

    `billed` is USD of those calls, a lower bound where the cost of some is `unknown`; `untold` is how many were sent of
    which nobody said how many tokens they took.
    """

    offer: str
    calls: int
    window: timedelta
    demand: Demand
    billed: Decimal
    unknown: int
    untold: int


def months(calls: Iterable[Call], window: timedelta) -> list[Month]:
    """One for each offer, the one with most calls first."""
    ordered = sorted(_real(calls), key=_offer)
    found = [month(list(group), window, offer) for offer, group in groupby(ordered, key=_offer)]
    return sorted(found, key=lambda each: -each.calls)


def month(calls: Sequence[Call], window: timedelta, offer: str = "") -> Month:
    """Of at least one call, whichever offers they were made to."""
    sent = [call for call in calls if call.source not in SERVED]
    told = [call for call in sent if call.input_tokens is not None and call.output_tokens is not None]
    ok, failed = (sum(_is_over(call) and (call.outcome == "ok") is went for call in sent) for went in (True, False))
    attempts = Mean.measured([Decimal(call.attempts) for call in sent]) if sent else Mean(ONE)
    demand = Demand(
        calls=Calls(len(calls) * Decimal(MONTH / window), len(calls)),
        tokens=_tokens(told, attempts.value),
        success=Share.counted(ok, ok + failed) if ok + failed else None,
        attempts=attempts,
        cache=Share.counted(len(calls) - len(sent), len(calls)),
    )
    billed = Decimal(from_nano(sum(call.least for call in calls)) or 0)
    unknown = sum(call.billed is None for call in calls)
    return Month(offer, len(calls), window, demand, billed, unknown, len(sent) - len(told))


def _tokens(told: Sequence[Call], attempts: Decimal) -> Tokens:
    """The ledger has those of all attempts of a call together."""
    pairs = [(_shared(call.input_tokens, attempts), _shared(call.output_tokens, attempts)) for call in told]
    return Tokens.measured(pairs) if pairs else Tokens()


def _shared(tokens: int | None, attempts: Decimal) -> Decimal:
    return NOTHING if tokens is None else tokens / attempts


def _real(calls: Iterable[Call]) -> list[Call]:
    """A replay is nobody's work."""
    return [call for call in calls if call.source in ("live", *SERVED)]


def _is_over(call: Call) -> bool:
    return call.outcome != "unknown"


def _offer(call: Call) -> str:
    return f"{call.model}@{call.provider}"
