"""A cell that was run several times at several offers, as a small benchmark: the same figures, the same intervals."""

from __future__ import annotations

from collections.abc import Iterator

from ipy_codeinterp.bench.plan import Plan, Question
from ipy_codeinterp.bench.report import Report, report
from ipy_codeinterp.bench.rows import Row
from ipy_codeinterp.bench.sections import Section, sections
from ipy_codeinterp.compare import Comparison, Made
from ipy_codeinterp.execution import Cost, Result, Usage

CELL = "this cell"
SHOWN = ("Success", "Latency", "Cost")  # a comparison says what agrees, and no oracle knows what is right


def sections_of(comparison: Comparison) -> list[Section]:
    """What its runs come to. Needs numpy."""
    return [section for section in sections(report_of(comparison), provenance=False) if section.title in SHOWN]


def report_of(comparison: Comparison) -> Report:
    """Of all its runs; a success is a run whose code ended well."""
    asked = comparison.execution
    question = Question(CELL, CELL, 0, asked.language, asked.kind)
    offers = tuple(side.offer for side in comparison.sides)
    plan = Plan("", offers, (question,), repeat=comparison.repeat, concurrency=len(offers), warm_up=0)
    about = {"source": "live", "offers": {side.offer: {"local": side.is_local} for side in comparison.sides}}
    return report(plan, _rows(comparison, question), about)


def _rows(comparison: Comparison, question: Question) -> Iterator[Row]:
    for side in comparison.sides:
        for nth, made in enumerate(side.runs):
            yield _row(question, side.offer, nth, made)


def _row(question: Question, offer: str, nth: int, made: Made) -> Row:
    """Of what gave no Result nobody here knows how long it took, and what it cost: neither counts."""
    came = made if isinstance(made, Result) else Result("", cost=Cost(), usage=Usage())
    return Row(
        id=came.id or f"{offer} {nth}",
        phase="measured",
        workload=question.workload,
        category=question.category,
        size=0,
        language=question.language,
        kind=question.kind,
        seed=0,
        offer=offer,
        repeat=nth,
        outcome=came.outcome if isinstance(made, Result) else type(made).__name__,
        ok=came.ok if isinstance(made, Result) else False,
        right=None,
        why="",
        verbatim=came.verbatim,
        intended=None,
        began=0.0,
        latency=came.timings.total or 0.0,
        attempts=came.attempts,
        input_tokens=came.usage.input_tokens,
        output_tokens=came.usage.output_tokens,
        billed=came.cost.billed,
        listed=came.cost.listed,
    )
