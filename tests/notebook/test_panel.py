"""The panel: what it says, in how many bytes, and that it costs the same however much was run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from ipy_codeinterp.amounts import money, seconds
from ipy_codeinterp.client.limit import Standing
from ipy_codeinterp.errors import StoreError
from ipy_codeinterp.execution import Cost
from ipy_codeinterp.notebook import panel_html
from ipy_codeinterp.notebook.controls import Controls
from ipy_codeinterp.notebook.jobs import RUNNING, JobState
from ipy_codeinterp.notebook.panel import bundle
from ipy_codeinterp.notebook.panel_html import BARS, HEADS, rows, sparkline
from ipy_codeinterp.notebook.reading import BALANCES_EVERY, Purse, Reader, Reading
from ipy_codeinterp.settings import Settings
from ipy_codeinterp.store.ledger import Attempt, Balance
from ipy_codeinterp.store.meter import Meter, Sums, Totals

MOST_UPDATE = 2000  # bytes of a message
HEADER = 550  # of them are the protocol's own
SUMS = Sums(12, 3, Decimal("0.5"), True, Decimal("0.001234"), 0.25, 2.5, 3.0, (0.25, 2.5, 3.0))


def a_job(id: str, head: str = "x = 1", *, is_over: bool = False) -> JobState:
    return JobState(id, "ok" if is_over else RUNNING, "local@local", head, 1.0, is_over)


@dataclass
class SomeJobs:
    jobs: list[JobState] = field(default_factory=list)

    def states(self) -> tuple[JobState, ...]:
        return tuple(self.jobs)

    def cancel(self, id: str) -> None:
        self.jobs = [job for job in self.jobs if job.id != id]


@dataclass
class ASession:
    """What the panel asks of one."""

    settings: Settings = field(default_factory=Settings)
    meter: Meter = field(default_factory=Meter)
    standings: dict[str, Standing] = field(default_factory=dict)
    asked: int = 0
    lost: bool = False

    def balances(self) -> tuple[Balance, Balance]:
        self.asked += 1
        if self.lost:
            raise StoreError("no", hint="none")
        return Balance(Decimal(self.asked)), Balance()


def busy(offers: int, calls: int = 40) -> Reading:
    """Everything at its longest."""
    meter = Meter()
    for number in range(offers):
        for call in range(calls):
            cost = Cost(Decimal("123.4567"), Decimal("0.000000123"))
            attempt = Attempt.begun("a", "r", "a-provider-of-a-long-name", f"a-model-of-a-very-long-name-{number}")
            meter.add(attempt.settled(outcome="ok", seconds=10.0 + call, cost=cost))
    meter.note_served(Attempt.begun("a", "r", "p", "m").settled(cost=Cost(avoided=Decimal("12.34"))))
    standings = {offer: Standing(123, 456) for offer, _ in meter.totals.offers}
    purse = Balance(Decimal("1234.5678"), Decimal("12.3456"))
    purses = (Purse("session", purse, Decimal(2000)), Purse("day", purse, Decimal(9000)))
    return Reading(meter.totals, standings, purses, tuple(a_job(f"job_{number:016}") for number in range(100)))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.00", "$0.00"),
        ("1", "$1.00"),
        ("12.345", "$12.34"),
        ("1234.5", "$1234.50"),
        ("0.5", "$0.50"),
        ("0.012345", "$0.012"),
        ("0.00123", "$0.0012"),
        ("0.000000001", "$0.0000000010"),
        ("1E-7", "$0.00000010"),
        ("1E+2", "$100.00"),
    ],
)
def test_money(amount: str, shown: str) -> None:
    """Money is shown with cents, and what is less with its first two digits: never as nothing."""
    assert money(Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(None, "\N{EN DASH}"), (0.0, "0 ms"), (0.0123, "12 ms"), (0.5, "500 ms"), (1.0, "1.00 s"), (83.456, "83.46 s")],
)
def test_seconds(duration: float | None, shown: str) -> None:
    """A duration is shown in the unit that suits it, and an unknown one as a dash."""
    assert seconds(duration) == shown


def figures(reading: Reading) -> list[dict[str, str]]:
    return [dict(zip(HEADS, row, strict=True)) for row in rows(reading)]


def test_figures() -> None:
    """There is a figure under each head; a single offer is named, and its row is that of all."""
    standings = {"claude@local": Standing(2, 1)}

    assert figures(Reading(Totals(SUMS, (("claude@local", SUMS),)), standings)) == [
        {
            "offer": "claude@local",
            "calls": "12",
            "failures": "3",
            "success": "75%",
            "billed": "$0.50",
            "list price ~": "$0.0012",
            "p50": "250 ms",
            "p95": "2.50 s",
            "p99": "3.00 s",
            "latest": "▁▇█",
            "now": "1 running, 2 waiting",
        }
    ]


def test_nothing_yet() -> None:
    """Before the first call nothing was spent, and no latency is known."""
    (row,) = figures(Reading())

    assert [row[head] for head in ("calls", "success", "billed", "p50", "latest", "now")] == [
        "0", "\N{EN DASH}", "$0.00", "\N{EN DASH}", "", "",
    ]  # fmt: skip


def test_offers() -> None:
    """The latest offers have a row each, the others one together, and all of them the last."""
    shown = figures(busy(5, calls=2))

    assert [row["offer"] for row in shown][2:] == ["3 others", "all"]
    assert [row["calls"] for row in shown] == ["2", "2", "6", "10"]


def test_lower_bound() -> None:
    """A sum that lacks an unknown part is shown as a lower bound."""
    (row,) = figures(Reading(Totals(Sums(1, billed=Decimal(1), billed_is_all=False))))

    assert row["billed"] == ">= $1.00"


@pytest.mark.parametrize(
    ("latencies", "shown"),
    [((), ""), ((0.0, 0.0), "▁▁"), ((5.0,), "█"), ((1.0, 2.0, 4.0, 8.0), "▂▃▅█")],
)
def test_sparkline(latencies: tuple[float, ...], shown: str) -> None:
    """The longest is as high as there is room, the others as high as they are long beside it."""
    assert sparkline(latencies) == shown
    assert set(shown) <= set(BARS)


def test_budgets_in_words() -> None:
    """A bar never says alone what it says; without a limit there is none."""
    purses = (Purse("session", Balance(Decimal("0.25"), Decimal("0.25")), Decimal(2)), Purse("day", Balance(), None))
    html = bundle(Reading(purses=purses))["text/html"]

    assert '<meter value="0.25" aria-label="session budget used">25%</meter>' in html
    assert "session: $0.25 spent ($0.25 held), of $2.00" in html
    assert "day: $0.00 spent, no limit" in html
    assert html.count("<meter") == 1


def test_served_and_jobs() -> None:
    """What was served again says what it avoided, and jobs are counted."""
    words = list(panel_html.said(busy(1)))

    assert "1 served again for $0.00, $12.34 avoided" in words
    assert words[-1] == "jobs: 100 of 100 running"


class Table(HTMLParser):
    """What a screen reader is told of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def heads(self, scope: str) -> int:
        return sum(tag == "th" and attributes.get("scope") == scope for tag, attributes in self.seen)


@pytest.mark.parametrize("form", [panel_html.live, panel_html.static])
def test_accessible(form: Any) -> None:
    """It is a table with a caption, and a head for each column and for each row."""
    table = Table(form(busy(2)))

    assert (table.heads("col"), table.heads("row")) == (len(HEADS), 3)
    assert sum(tag == "caption" for tag, _ in table.seen) == 1


def test_static_twin_survives() -> None:
    """What is left behind has inline styles alone, with plain values: that is what untrusted pages keep."""
    shown = panel_html.static(busy(3))

    assert not any(word in shown for word in ("<style", "<script", "id=", "http", "var(", "<svg"))


def test_live_follows_the_theme() -> None:
    """Colours come from the theme where there is one, always with something to fall back on; nothing moves."""
    colours = re.findall(r"var\(([^()]*(?:\([^()]*\))?[^()]*)\)", panel_html.SHEET)

    assert colours and all("," in colour for colour in colours)
    assert not any(word in panel_html.SHEET for word in ("animation", "transition", "http", "url", "@import"))


def test_hostile_names() -> None:
    """What a provider calls its model is text, whatever is in it."""
    meter = Meter()
    meter.add(Attempt.begun("a", "r", "p", "<img src=x onerror=alert(1)>\x1b[2J").settled(outcome="ok"))
    reading = Reading(meter.totals, jobs=(a_job("job_1", "<b>\x1b]0;x\x07"),))

    for shown in (panel_html.live(reading), panel_html.static(reading), panel_html.text(reading)):
        assert "\x1b" not in shown
    assert "<img" not in panel_html.static(reading) + panel_html.live(reading)


@pytest.mark.parametrize("offers", [1, 3, 30])
def test_size_of_an_update(offers: int) -> None:
    """However many offers, calls and jobs there are, an update is under 2 kB with the protocol's header."""
    value = json.dumps({"value": panel_html.live(busy(offers))}, ensure_ascii=False).encode()

    assert len(value) + HEADER <= MOST_UPDATE


def test_balances_are_read_once_a_second() -> None:
    """The store is asked once a second however often the panel changes, and at once where it has to be exact."""
    session, now = ASession(), [0.0]
    reader = Reader(session, SomeJobs(), clock=lambda: now[0])  # type: ignore[arg-type]

    for _ in range(10):
        reader.read()
    assert session.asked == 1
    now[0] += BALANCES_EVERY
    assert reader.read().purses[0].balance.spent == 2
    assert reader.read(now=True).purses[0].balance.spent == 3


def test_a_store_that_fails_keeps_the_panel() -> None:
    """Where the store cannot be read the last balances stay."""
    session = ASession()
    reader = Reader(session, SomeJobs())  # type: ignore[arg-type]
    reader.read(now=True)
    session.lost = True

    assert reader.read(now=True).purses[0].balance.spent == 1


def test_controls_tune() -> None:
    """A field changes its setting; what is wrong is said beside it, harmlessly, and the field says what is set."""
    session = ASession()

    def tune(name: str, value: Any) -> None:
        session.settings = session.settings.changed(**{name: value})

    controls = Controls(lambda: session.settings, tune, SomeJobs())
    budget, concurrency = controls._fields["budget"], controls._fields["concurrency"]
    assert (budget.value, concurrency.value) == ("1", "")

    budget.value, concurrency.value = "2.50", "3"
    assert (session.settings.budget, session.settings.concurrency) == (Decimal("2.50"), 3)
    concurrency.value = "<b>"
    assert (session.settings.concurrency, concurrency.value) == (3, "3")
    assert "&lt;b&gt;" in controls._wrong.value
    budget.value = ""
    assert (session.settings.budget, controls._wrong.value) == (None, "")
    assert all(field.description for field in (budget, concurrency))
    controls.close()


def test_controls_cancel() -> None:
    """Each running job has a button that cancels it; one that has ended has none."""
    jobs = SomeJobs([a_job("job_1", "fit(x)"), a_job("job_2", "\x1b[2Jplot(y)"), a_job("job_3", is_over=True)])
    controls = Controls(Settings, lambda name, value: None, jobs)
    controls.follow(Reading(jobs=tuple(jobs.jobs)))
    assert [button.description for button in controls._row.children] == ["Cancel fit(x)", "Cancel plot(y)"]

    controls._row.children[0].click()
    assert controls._row.children[0].disabled
    controls.follow(Reading(jobs=tuple(jobs.jobs)))
    assert [button.description for button in controls._row.children] == ["Cancel plot(y)"]
    controls.close()
