"""A report as sections: a title, lines, and a table. Every form that it is shown in is made of these.

Without `figures` there is nothing in it that another run could change: how many, how many well, which thresholds held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipy_codeinterp import amounts
from ipy_codeinterp.bench.decision import Choice, decisions
from ipy_codeinterp.bench.intervals import Estimate
from ipy_codeinterp.bench.report import PERCENTS, Figures, Money, Report, Share
from ipy_codeinterp.bench.summary import BLANK, VENDOR, is_of_a_vendor, share_in_words, summary
from ipy_codeinterp.bench.thresholds import Threshold
from ipy_codeinterp.compare.report import TOGETHER
from ipy_codeinterp.tables import cell

ALL = "all"


@dataclass(frozen=True, slots=True)
class Section:
    """`rows` have as many cells as `head`; a section without a table has neither."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(
    report: Report, thresholds: Sequence[Threshold] = (), *, figures: bool = True, provenance: bool = True
) -> list[Section]:
    """In the order in which they are read; those with nothing in them are left out."""
    about = _provenance(report) if figures and provenance else ()
    found = [Section("Benchmark", (*_head(report, figures), *about))]
    if figures:
        found += [_success(report), _latency(report), _cost(report), _differences(report), _decisions(report)]
        found += [_failures(report), _cold(report), _article(report)]
    else:
        found.append(_counts(report))
    if thresholds:
        rows = tuple((each.text, "yes" if each.holds(report) else "no") for each in thresholds)
        found.append(Section("Thresholds", (), ("threshold", "met"), rows))
    return [section for section in found if section.lines or section.rows]


def _head(report: Report, figures: bool) -> Iterator[str]:
    local = [offer for offer in report.plan.offers if report.provenance["offers"].get(offer, {}).get("local")]
    if len(local) > 1:
        yield f"{', '.join(local)}: profiles of one sandbox, which is {TOGETHER}: they are not the vendors"
    elif local:
        yield f"{local[0]}: the sandbox on this machine, not a vendor"
    if report.stopped and figures:
        yield f"it ended before its plan: {report.stopped}; intervals of a run that stops when it likes are too narrow"


def _provenance(report: Report) -> Iterator[str]:
    about, plan = report.provenance, report.plan
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    machine = about["machine"]
    yield f"run {about['run']}, {about['source']}, {about['reported']}; seed {plan.seed}; {plan.mode}; {versions}"
    yield (
        f"machine: {machine['system']} {machine['release']}, {machine['architecture']}, "
        f"{machine['processors']} processors ({machine['processor'] or 'unnamed'}), "
        f"{machine['memory'] or 'unknown'} memory"
    )
    for offer, facts in about["offers"].items():
        if price := facts.get("price"):
            billed = "billed" if price["is_billed"] else "list price, nothing is billed"
            rates = f"${price['input']} in, ${price['output']} out per million tokens"
            yield f"{offer}: {rates} ({billed}; {price['source']}, {price['as_of']})"
    calls = "1 call" if plan.warm_up == 1 else f"{plan.warm_up} calls"
    yield f"{calls} of each offer as warm-up, not counted; intervals are of 95 % confidence"


# --- offers, over all and in each category --------------------------------------------------------


def _success(report: Report) -> Section:
    rows = [
        (str(each.n), share_in_words(each.success), _answers(each.answers), share_in_words(each.verbatim))
        for each in report.figures
    ]
    notes = []
    if any(each.answers and each.answers.error for each in report.figures):
        notes.append("right answers: repeats of one task hang together; in brackets the standard error by task, points")
    return _table("Success", notes, report, ("n", "success", "right answers", "verbatim"), rows)


def _latency(report: Report) -> Section:
    rows = [
        (*(_timed(each.latency[percent]) for percent in PERCENTS), _timed(each.time_to_success), f"{each.attempts:.2f}")
        for each in report.figures
    ]
    notes = []
    if any(each.latency[percent] is None for each in report.figures for percent in PERCENTS):
        notes.append("blank where too few succeeded to bound it: p50 takes 5 successes, p95 59, p99 299")
    head = (*(f"p{percent}" for percent in PERCENTS), "time to a success", "attempts a call")
    return _table("Latency", notes, report, head, rows)


def _cost(report: Report) -> Section:
    rows = []
    for each in report.figures:
        money, mark = (each.billed, "") if _is_paid(each.billed) else (each.listed, "~")
        rows.append((_paid(money.per_call, money, mark), _paid(money.per_success, money, mark), _tokens(each)))
    notes = []
    if any(not _is_paid(each.billed) and each.listed.per_call for each in report.figures):
        notes.append("~ what the tokens would cost at list price: nothing is billed on this machine")
    return _table("Cost", notes, report, ("of a call", "of a success", "tokens in and out"), rows)


def _table(
    title: str, notes: Sequence[str], report: Report, head: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> Section:
    """A row for each of the figures, in their order."""
    named = tuple((each.category or ALL, each.offer, *row) for each, row in zip(report.figures, rows, strict=True))
    return Section(title, tuple(notes), ("category", "offer", *head), named)


def _answers(share: Share | None) -> str:
    if share is None or not share.error:
        return share_in_words(share)
    return f"{share_in_words(share)} [{share.error * 100:.1f}]"


def _timed(estimate: Estimate | None) -> str:
    if estimate is None:
        return BLANK
    unit, scale = ("ms", 1000.0) if estimate.value < 0.9995 else ("s", 1.0)
    places = 0 if unit == "ms" and estimate.value >= 0.01 else 2
    value, *ends = (f"{each * scale:.{places}f}" for each in _all(estimate))
    return f"{value} {unit}{_ends(ends)}"


def _all(estimate: Estimate) -> list[float]:
    """The value, and the ends of its interval where it has one."""
    return [estimate.value, *([estimate.interval.low, estimate.interval.high] if estimate.interval else [])]


def _ends(ends: Sequence[str]) -> str:
    return f" ({ends[0]}-{ends[1]})" if ends else ""


def _is_paid(money: Money) -> bool:
    return money.per_call is not None and money.per_call.value > 0


def _paid(estimate: Estimate | None, money: Money, mark: str) -> str:
    if estimate is None:
        return BLANK
    places = _places(estimate.value)
    value, *ends = (f"{each:,.{places}f}" for each in (_all(estimate) if estimate.value else [0.0]))
    return f"{'>= ' if money.is_least else ''}{mark}${value}{_ends(ends)}"


def _places(amount: float) -> int:
    """Three digits that matter: an interval has to be seen."""
    return 2 if amount == 0 or not math.isfinite(amount) else max(2, 2 - math.floor(math.log10(abs(amount))))


def _usd(amount: float) -> str:
    return f"${amount:,.{_places(amount)}f}"


def _tokens(each: Figures) -> str:
    if each.input_tokens is None and each.output_tokens is None:
        return BLANK
    given, made = ("?" if count is None else f"{count:,.0f}" for count in (each.input_tokens, each.output_tokens))
    return f"{given} + {made}"


def _counts(report: Report) -> Section:
    """What a notebook may hold that is compared with another run of it."""
    rows = []
    for each in report.figures:
        answers, verbatim = (f"{s.count} of {s.n}" if s else BLANK for s in (each.answers, each.verbatim))
        success = f"{each.success.count} of {each.success.n}"
        rows.append((each.category or ALL, each.offer, str(each.n), success, answers, verbatim))
    return Section("Counts", (), ("category", "offer", "n", "success", "right answers", "verbatim"), tuple(rows))


# --- offers beside each other ---------------------------------------------------------------------


def _differences(report: Report) -> Section:
    """Of answers to the very same questions."""
    rows = []
    for pair in report.pairs:
        found = pair.answers
        low, high = (f"{each * 100:+.1f}" for each in (found.interval.low, found.interval.high))
        said = "differs" if found.p < 0.05 else "no difference found"
        only = f"{found.only_one} and {found.only_other} of {found.n}"
        points = f"{found.difference * 100:+.1f} ({low} to {high})"
        rows.append((pair.category or ALL, pair.one, pair.other, only, points, f"{found.p:.3g}", said))
    head = ("category", "one", "other", "only one right", "points", "p", "verdict")
    lines = ["the same questions at two offers; p is McNemar's exact test"] if rows else []
    if len(rows) > 1:
        lines.append(f"with {len(rows)} comparisons, {len(rows) * 0.05:.1f} would be called different by chance")
    return Section("Differences in answers", tuple(lines), head, tuple(rows))


def _decisions(report: Report) -> Section:
    found = decisions(report)
    rows = []
    for decision in found:
        choices = "; ".join(_choice(each, len(decision.choices)) for each in decision.choices)
        shown = "yes" if decision.is_shown else "no: it may be chance"
        rows.append((decision.category or ALL, choices, decision.basis, shown))
    lines = ("the offer that costs least in all, cost of the call and of its errors, by what one error costs",)
    head = ("category", "take", "by", "accuracy differs")
    return Section("Decisions", lines if rows else (), head, tuple(rows))


def _choice(choice: Choice, of: int) -> str:
    if of == 1:
        return f"{choice.offer}, whatever an error costs"
    if choice.low == 0:
        return f"{choice.offer} up to {_usd(choice.high)} an error"
    if math.isinf(choice.high):
        return f"{choice.offer} above {_usd(choice.low)}"
    return f"{choice.offer} from {_usd(choice.low)} to {_usd(choice.high)}"


# --- what went wrong, and the rest ----------------------------------------------------------------


def _failures(report: Report) -> Section:
    rows = []
    for each in report.figures:
        if each.category is None:
            for name, count in sorted(each.failures.items(), key=lambda item: (-item[1], item[0])):
                rows.append((each.offer, name, str(count), f"{count / each.n:.1%}", _example(report, each.offer, name)))
    return Section("Failures", (), ("offer", "what", "calls", "of all", "the first"), tuple(rows))


def _example(report: Report, offer: str, name: str) -> str:
    from ipy_codeinterp.bench.report import failure

    for row in report.measured:
        if row.offer == offer and row.success is False and failure(row) == name:
            return cell(f"{row.workload}/{row.size}: {row.why or row.outcome}", 72)
    return BLANK


def _cold(report: Report) -> Section:
    rows = []
    for each in report.cold:
        middle = each.latencies[(len(each.latencies) - 1) // 2] if each.latencies else None
        last = each.latencies[-1] if each.latencies else None
        n = len(each.latencies) + each.failed
        rows.append((each.offer, each.when, str(n), amounts.seconds(middle), amounts.seconds(last), str(each.failed)))
    return Section("Cold and warm", (), ("offer", "when", "n", "median", "longest", "failed"), tuple(rows))


def _article(report: Report) -> Section:
    rows = tuple((line.metric, *line.measured, line.gpt, line.claude) for line in summary(report))
    lines = ["blank is not measured"]
    if not is_of_a_vendor(report):
        lines.append(f"what the article claims is of the {VENDOR}")
    head = ("metric", *report.plan.offers, "the article: GPT-4.1", "the article: Claude Sonnet 4")
    return Section("The article's summary, measured", tuple(lines), head, rows)
