"""One attempt's tokens and dollars, shared between the cells that it was made for: the shares are exactly the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from itertools import accumulate
from typing import TypeVar

from ipy_codeinterp.execution import Cost, Result, Usage

T = TypeVar("T", int, Decimal)
NONE = Decimal(0)
NANO = Decimal(1).scaleb(-9)  # USD: what the ledger counts in


@dataclass(frozen=True, slots=True)
class Share:
    """What one cell has of an attempt, or of several, and how the provider calls them."""

    usage: Usage
    cost: Cost
    attempts: int
    request_ids: tuple[str, ...]

    def __add__(self, later: Share) -> Share:
        """What is unknown in part is unknown."""
        before, now = self.cost, later.cost
        names = {**before.items, **now.items}
        cost = replace(
            now,
            billed=_sum(before.billed, now.billed),
            listed=_sum(before.listed, now.listed),
            estimated=before.estimated or now.estimated,
            items={name: before.items.get(name, NONE) + now.items.get(name, NONE) for name in names},
        )
        usage = replace(
            later.usage,
            input_tokens=_sum(self.usage.input_tokens, later.usage.input_tokens),
            output_tokens=_sum(self.usage.output_tokens, later.usage.output_tokens),
            estimated=self.usage.estimated or later.usage.estimated,
        )
        return Share(usage, cost, self.attempts + later.attempts, (*self.request_ids, *later.request_ids))


def shares(result: Result, codes: Sequence[str]) -> list[Share]:
    """Those of `codes` in what `result` took, by the characters of each."""
    weights = [max(1, len(code)) for code in codes]
    usage, cost = result.usage, result.cost
    tokens = [tokens_of(usage.input_tokens, weights), tokens_of(usage.output_tokens, weights)]
    amounts = [money_of(amount, weights) for amount in (cost.billed, cost.listed, cost.avoided)]
    items = {name: money_of(amount, weights) for name, amount in cost.items.items()}
    found = []
    for index in range(len(codes)):
        billed, listed, avoided = (amount[index] for amount in amounts)
        lines = {name: amount for name, each in items.items() if (amount := each[index]) is not None}
        own = replace(cost, billed=billed, listed=listed, avoided=avoided, items=lines)
        used = Usage(tokens[0][index], tokens[1][index], usage.estimated)
        found.append(Share(used, own, result.attempts, result.request_ids))
    return found


def added(result: Result, share: Share) -> Result:
    """`result`, with what earlier attempts for the same cell took."""
    own = share + Share(result.usage, result.cost, result.attempts, result.request_ids)
    return replace(result, usage=own.usage, cost=own.cost, attempts=own.attempts, request_ids=own.request_ids)


def tokens_of(total: int | None, weights: Sequence[int]) -> list[int | None]:
    """`total` in whole parts that are as near to `weights` as can be, and have its sum."""
    if total is None:
        return [None] * len(weights)
    ends = [total * end // sum(weights) for end in accumulate(weights)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def money_of(total: Decimal | None, weights: Sequence[int]) -> list[Decimal | None]:
    """The same for USD: whole nano-dollars, and what is less in the last part."""
    if total is None:
        return [None] * len(weights)
    whole = sum(weights)
    ends = [(total * end / whole).quantize(NANO, ROUND_DOWN) for end in accumulate(weights)]
    ends[-1] = total
    return [end - start for start, end in zip([Decimal(0), *ends], ends, strict=False)]


def _sum(first: T | None, second: T | None) -> T | None:
    return None if first is None or second is None else first + second
