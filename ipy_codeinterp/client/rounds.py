"""The rounds of a conversation made one Result, and what a model is told of code that ran here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from decimal import Decimal

from ipy_codeinterp.client.chain import Run
from ipy_codeinterp.dialects.dialect import Answer, Call
from ipy_codeinterp.execution import Cost, Display, Execution, Result, Step, Timings, Usage
from ipy_codeinterp.shield import masked

MOST_TOLD = 16_000  # characters of each stream: the model pays for what it reads
WHERE_TIME_WENT = [each.name for each in fields(Timings)]
COUNTED = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")


def answer(call: Call, result: Result) -> Answer:
    """What the model is told: what was printed, how it ended, and how many figures the user sees."""
    said = {"stdout": _cut(_shown(result)), "stderr": _cut(_stderr(result)), "return_code": _status(result)}
    if result.images:
        said["figures"] = f"{len(result.images)}, shown to the user"
    if result.ending:
        said["ending"] = result.ending
    return Answer(call, json.dumps(said, ensure_ascii=False))


def step_of(call: Call, result: Result, asked: Execution) -> Step:
    """The call as a Step of the conversation."""
    ran = result.steps[-1] if result.steps else Step(call.code, call.language, outcome=result.outcome)
    return replace(ran, code=masked(call.code), verbatim=same(call.code, asked.body) if asked.kind == "code" else None)


def same(code: str, body: str) -> bool:
    """Whether a model has passed on what it was told, up to line ends and the blank lines around it."""
    return _plain(code) == _plain(body)


def joined(run: Run, results: Sequence[Result]) -> Result:
    """One Result of all rounds: parts in order, sums of what they took, and how the last code ended."""
    last = results[-1]
    parts = tuple(part for each in results for part in each.parts)
    steps = [part for part in parts if isinstance(part, Step)]
    return replace(
        last,
        parts=parts,
        outcome=steps[-1].outcome if steps else last.outcome,
        limit=next((each.limit for each in reversed(results) if each.limit), None),
        usage=_usage([each.usage for each in results]),
        cost=_cost([each.cost for each in results]),
        timings=replace(_timings([each.timings for each in results]), total=last.timings.total),
        attempts=run.attempts,
        request_ids=run.request_ids,
        native={"rounds": [dict(each.native) for each in results]},
    )


def _usage(each: Sequence[Usage]) -> Usage:
    sums = {name: _sum(getattr(usage, name) for usage in each) for name in COUNTED}
    return Usage(**sums, estimated=any(usage.estimated for usage in each), native={"rounds": [u.native for u in each]})


def _sum(values: Iterable[int | None]) -> int | None:
    """None where one of them is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _cost(each: Sequence[Cost]) -> Cost:
    items: dict[str, Decimal] = {}
    for cost in each:
        for name, amount in cost.items.items():
            items[name] = items.get(name, Decimal(0)) + amount
    return replace(
        each[-1],
        billed=_amount(cost.billed for cost in each),
        listed=_amount(cost.listed for cost in each),
        estimated=any(cost.estimated for cost in each),
        items=items,
    )


def _amount(values: Iterable[Decimal | None]) -> Decimal | None:
    known = list(values)
    return None if None in known else sum((value for value in known if value is not None), Decimal(0))


def _timings(each: Sequence[Timings]) -> Timings:
    sums = {}
    for name in WHERE_TIME_WENT:
        known = [value for timings in each if (value := getattr(timings, name)) is not None]
        sums[name] = sum(known) if known else None
    return Timings(**sums)


def _shown(result: Result) -> str:
    """What was printed, and what the last expression is."""
    values = [o for o in result.outputs if isinstance(o, Display) and o.kind == "execute_result"]
    return result.stdout + "".join(f"{value.data.get('text/plain', '')}\n" for value in values)


def _stderr(result: Result) -> str:
    error = result.error
    return result.stderr + (f"{error.ename}: {error.evalue}" if error else "")


def _status(result: Result) -> int:
    status = result.steps[-1].exit_status if result.steps else None
    return int(result.outcome != "ok") if status is None else status


def _cut(text: str) -> str:
    if len(text) <= MOST_TOLD:
        return text
    half = MOST_TOLD // 2
    return f"{text[:half]}\n... {len(text) - MOST_TOLD} characters left out ...\n{text[-half:]}"


def _plain(code: str) -> str:
    return code.replace("\r\n", "\n").strip("\n")
