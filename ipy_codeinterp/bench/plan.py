"""What a benchmark is going to do: its questions, of which offers, how often, in which order and when.

A plan is all that is needed to go on after anything has happened: equal plans give equal calls, with equal ids.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any, Literal

from ipy_codeinterp.bench.workload import Case, Workload
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.execution import Kind

FORMAT = 1
MOST_CALLS = 1_000_000
Phase = Literal["warm-up", "measured", "idle", "burst"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, apart from the seed: a workload at a size, or a `case` of the user's own."""

    workload: str
    category: str
    size: int
    language: str = "python"
    kind: Kind = "code"
    case: Case | None = None

    @property
    def name(self) -> str:
        """As reports write it: `sieve/100000/python`."""
        words = [self.workload, *([str(self.size)] if self.size else []), self.language]
        return "/".join([*words, *(["task"] if self.kind == "task" else [])])


@dataclass(frozen=True, slots=True)
class Plan:
    """`repeat` calls of each question at each offer, after `warm_up` calls of each offer that do not count.

    With a `rate` (calls a second) they begin when chance says, whatever is still under way (an open loop); without one
    `concurrency` are under way at a time (a closed loop). It ends early when every interval is as narrow as `until`
    (a share of its figure), or when more than `budget` (USD) could be spent. `idle` are the seconds of quiet before
    calls of the cold curve, and `burst` how many calls at once end it. `asked` is what was written for each offer: a
    recording is looked up by that.
    """

    id: str
    offers: tuple[str, ...]
    questions: tuple[Question, ...]
    repeat: int = 1
    seed: int = 0
    concurrency: int = 1
    rate: float | None = None
    warm_up: int = 1
    until: float | None = None
    budget: Decimal | None = None
    idle: tuple[float, ...] = ()
    burst: int = 0
    asked: tuple[str, ...] = ()
    format: int = FORMAT

    def check(self) -> None:
        """Raises `InvalidInput` for what cannot be done."""
        if not self.offers or not self.questions:
            raise InvalidInput("nothing to measure", hint="name models with --model, and workloads or your own code")
        wrong = {
            "repeat": self.repeat < 1,
            "concurrency": self.concurrency < 1,
            "rate": self.rate is not None and not 0 < self.rate < 1e6,
            "warm_up": self.warm_up < 0,
            "until": self.until is not None and not 0 < self.until < 1,
            "budget": self.budget is not None and self.budget < 0,
            "idle": any(not 0 <= each < 1e6 for each in self.idle),
            "burst": not 0 <= self.burst <= 1000,
        }
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise InvalidInput(f"{name} = {getattr(self, name)} makes no sense", hint="%interp bench --help says more")
        if self.total > MOST_CALLS:
            raise InvalidInput(f"these are {self.total:,} calls", hint=f"at most {MOST_CALLS:,}: lower --repeat")

    @property
    def total(self) -> int:
        """How many calls are measured."""
        return self.repeat * len(self.questions) * len(self.offers)

    @property
    def mode(self) -> str:
        """How calls come, in words."""
        if self.rate is not None:
            return f"open loop, {self.rate:g} calls a second as chance has it; latency from the intended start"
        return f"closed loop, {self.concurrency} at a time"


@dataclass(frozen=True, slots=True)
class Call:
    """One call, of `offer`, which is asked for as `model`.

    `id` is what its Result and its attempts in the ledger are named; `intended` is in seconds.
    """

    id: str
    phase: Phase
    question: Question
    offer: str
    model: str
    repeat: int
    seed: int
    intended: float | None = None


def warm_ups(plan: Plan) -> Iterator[Call]:
    """Those that are made before anything counts: the first question, at each offer in turn."""
    for nth in range(plan.warm_up):
        for offer in plan.offers:
            yield _call(plan, "warm-up", plan.questions[0], offer, nth)


def rounds(plan: Plan) -> Iterator[list[Call]]:
    """Each asks every question of every offer once, in an order of its own: no offer is always first."""
    arrivals = random.Random(f"{plan.seed} arrivals")
    at = 0.0
    for nth in range(plan.repeat):
        calls = [(question, offer) for question in plan.questions for offer in plan.offers]
        random.Random(f"{plan.seed} order {nth}").shuffle(calls)
        made = []
        for question, offer in calls:
            at += arrivals.expovariate(plan.rate) if plan.rate else 0.0
            made.append(_call(plan, "measured", question, offer, nth, at if plan.rate else None))
        yield made


def cold(plan: Plan) -> Iterator[tuple[float, list[Call]]]:
    """Seconds of quiet, and what is asked after them: one call each, and the burst, as many at once."""
    for nth, quiet in enumerate(plan.idle):
        for offer in plan.offers:
            yield quiet, [_call(plan, "idle", plan.questions[0], offer, nth, quiet)]
    for offer in plan.offers if plan.burst else ():
        yield 0.0, [_call(plan, "burst", plan.questions[0], offer, nth) for nth in range(plan.burst)]


def _call(plan: Plan, phase: Phase, question: Question, offer: str, repeat: int, intended: float | None = None) -> Call:
    named = [plan.id, phase, question.name, offer, repeat]
    id = "run_" + hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]
    model = dict(zip(plan.offers, plan.asked, strict=True))[offer] if plan.asked else offer
    return Call(id, phase, question, offer, model, repeat, seed_of(plan.seed, phase, question, repeat), intended)


def seed_of(seed: int, phase: str, question: Question, repeat: int) -> int:
    """The same for every offer, language and kind: they are asked the same question."""
    named = [seed, phase, question.workload, question.size, repeat]
    return int.from_bytes(hashlib.sha256(json.dumps(named).encode()).digest()[:4]) >> 1


def asker(workloads: Mapping[str, Workload]) -> Callable[[Call], Case]:
    """What a call asks, with the oracle's answer; what was made is kept, for the other offers."""
    made: dict[tuple[Question, int], Case] = {}

    def ask(call: Call) -> Case:
        question = call.question
        if question.case is not None:
            return question.case
        if (known := made.get((question, call.seed))) is None:
            workload = workloads[question.workload]
            known = made[question, call.seed] = workload.case(
                question.size, call.seed, question.language, question.kind
            )
        return known

    return ask


def questions(
    workloads: Sequence[Workload], *, languages: Sequence[str], sizes: int | None, kinds: Sequence[Kind]
) -> tuple[Question, ...]:
    """Each workload at its first `sizes` (None: all), in those of `languages` that it is written in.

    A task is in words: which language is left to who solves it, so it is asked once.
    """
    found = []
    for workload in workloads:
        for size in workload.sizes[:sizes]:
            if "code" in kinds:
                asked = (language for language in languages if language in workload.code)
                found += [Question(workload.name, workload.category, size, language) for language in asked]
            if "task" in kinds:
                found.append(Question(workload.name, workload.category, size, kind="task"))
    return tuple(found)


def of_cases(cases: Sequence[Case]) -> tuple[Question, ...]:
    """The user's own."""
    return tuple(Question(c.workload, c.category, c.size, c.language, c.kind, c) for c in cases)


# --- as JSON --------------------------------------------------------------------------------------


def to_json(plan: Plan) -> dict[str, Any]:
    """All of it, as JSON has it."""
    return asdict(plan) | {"budget": None if plan.budget is None else str(plan.budget)}


def from_json(content: Mapping[str, Any]) -> Plan:
    """Raises `InvalidInput` for another version's, or no plan at all."""
    try:
        if content["format"] != FORMAT:
            raise InvalidInput(f"a plan of format {content['format']!r}", hint="it takes the version that made it")
        known = {each.name for each in fields(Plan)}
        values = {name: value for name, value in content.items() if name in known}
        values["questions"] = tuple(_question(each) for each in values["questions"])
        values |= {name: tuple(values[name]) for name in ("offers", "idle", "asked")}
        values["budget"] = None if values["budget"] is None else Decimal(values["budget"])
        return Plan(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"this is no plan of a benchmark: {error}", hint="begin anew: bench") from None


def _question(content: Mapping[str, Any]) -> Question:
    case = content["case"]
    return Question(**{**content, "case": None if case is None else Case(**case)})
