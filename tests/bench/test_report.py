"""What a report says, in which forms, and what it never says."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ipy_codeinterp.bench import plots, shown
from ipy_codeinterp.bench.decision import Choice, cheapest, decisions
from ipy_codeinterp.bench.report import Report
from ipy_codeinterp.bench.sections import sections
from ipy_codeinterp.bench.summary import BLANK, CLAIMS, summary
from ipy_codeinterp.bench.thresholds import threshold
from ipy_codeinterp.errors import InvalidInput, UnknownName
from tests.bench.fakes import Asked, Does, measure, planned, reported
from tests.client import virtual

GPT, CLAUDE = "gpt@a", "claude@b"
TAGS = {*"html head meta title body h3 p div table thead tbody tr th td img".split()}  # noqa: SIM905
HOSTILE = "<img src=https://x.test/a onerror=alert(1)>|`[a](javascript:b)\x1b]0;t\x07"


def measured(folder: Path, *, count: int = 4, repeat: int = 3) -> Report:
    """The one is cheap, and wrong at every sixth call; the other dear, and always right."""
    known = {GPT: Decimal("0.01"), CLAUDE: Decimal("0.02")}
    session = Asked(lambda offer, number: Does(1.0, number % 6 != 5 or offer == CLAUDE, known[offer]))
    return virtual.run(measure(session, planned(folder / "run", *known, count=count, repeat=repeat)))[1]


def about(report: Report, **offers: Any) -> Report:
    from dataclasses import replace

    return replace(report, provenance={**report.provenance, "offers": offers})


def test_json_there_and_back(tmp_path: Path) -> None:
    """A report that is read again says the same, to the last figure; it names its schema."""
    text = shown.as_json(measured(tmp_path))
    kept = tmp_path / "report.json"
    kept.write_text(text)
    assert json.loads(text)["schema"] == 1
    assert shown.as_json(shown.read(kept)) == text


def test_json_knows_no_infinity(tmp_path: Path) -> None:
    """What has no end is null: JSON has no word for it, and other readers choke on ours."""
    text = shown.as_json(measured(tmp_path))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert json.loads(text)["decisions"][0]["choices"][-1]["high"] is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1}', "\x00"])
def test_no_report(tmp_path: Path, text: str) -> None:
    """A file that holds no report is refused by name."""
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"r\.json"):
        shown.read(tmp_path / "r.json")


def test_csv(tmp_path: Path) -> None:
    """A row a call, also of warm-ups; what a spreadsheet would run is text there."""
    report = measured(tmp_path)
    rows = list(csv.DictReader(io.StringIO(shown.as_csv(report))))
    assert len(rows) == len(report.rows) == 2 * (1 + 4 * 3)
    assert {row["offer"] for row in rows} == {GPT, CLAUDE}


def test_one_sandbox_is_said_to_be_one(tmp_path: Path) -> None:
    """Offers that are profiles of the sandbox here are said to be one interpreter, in the first line of every form."""
    local = about(measured(tmp_path), **{GPT: {"local": True}, CLAUDE: {"local": True}})
    said = f"{GPT}, {CLAUDE}: profiles of one sandbox, which is one interpreter"
    assert shown.as_text(local).startswith(said)
    assert shown.as_markdown(local).splitlines()[2].replace("\\", "").startswith(said)
    assert re.sub(r"<[^>]*>", "", shown.as_html(local)).startswith(f"Benchmark{said}")
    assert shown.as_text(local, figures=False).startswith(said)


def test_nothing_that_varies(tmp_path: Path) -> None:
    """Without figures two runs that took different times show the same."""
    texts = []
    for name, seconds in {"one": 1.0, "two": 7.0}.items():
        session = Asked(lambda offer, number, s=seconds: Does(s, number % 3 != 0))  # type: ignore[misc]
        _, report = virtual.run(measure(session, planned(tmp_path / name, GPT, CLAUDE)))
        what = {"figures": False, "provenance": False}
        texts.append((shown.as_text(report, **what), shown.as_html(report, **what)))
    assert texts[0] == texts[1]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_hostile_words(tmp_path: Path) -> None:
    """What a program printed acts in none of the forms: not on a terminal, a page, a Markdown viewer, a spreadsheet."""
    run = planned(tmp_path / "run", GPT, count=1)
    _, report = virtual.run(measure(Asked(lambda offer, number: Does(1.0, right=False)), run))
    for row in run.rows.values():
        object.__setattr__(row, "why", HOSTILE)
    report = reported(run)
    text = shown.as_text(report)
    assert "\x1b" not in text and "\x07" not in text and "alert" in text
    tags = Tags()
    tags.feed(shown.page(report, plots=plots.plots(report)))
    assert {tag for tag, _ in tags.found} <= TAGS
    assert all((said["src"] or "").startswith("data:image/png;base64,") for tag, said in tags.found if tag == "img")
    assert not re.search(r"(?<!\\)[<`\[]", shown.as_markdown(report).replace("|", ""))
    assert "\x1b" not in shown.as_csv(report)


def test_plots(tmp_path: Path) -> None:
    """Three pictures, each with words for who does not see it."""
    found = plots.plots(measured(tmp_path, count=10, repeat=10))
    assert [words.split(":")[0] for words, _ in found] == ["Latency", "Cost and accuracy", "Timeline"]
    assert all(png.startswith(b"\x89PNG") and words.encode() in png for words, png in found)


# --- decisions ------------------------------------------------------------------------------------


def test_break_even_of_the_article() -> None:
    """D55: of the article's own figures the dearer offer pays above 0.0972 USD an error, for 500 tokens a call."""
    for tokens, price in ((500, 0.0972), (2000, 0.3889), (5000, 0.9722), (8000, 1.5556)):
        offers = [("gpt", tokens * 8e-6, 0.942), ("claude", tokens * 15e-6, 0.978)]
        low, high = cheapest(offers)
        assert (low.offer, high.offer) == ("gpt", "claude")
        assert low.high == high.low == pytest.approx(price, abs=5e-5)


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([("a", 1.0, 0.9), ("b", 2.0, 0.9)], ["a"]),
        ([("a", 1.0, 0.9), ("b", 1.0, 0.95)], ["b"]),
        ([("a", 2.0, 0.9), ("b", 1.0, 0.95)], ["b"]),
        ([("a", 1.0, 0.9), ("b", 1.0, 0.9)], ["a or b"]),
        ([("a", 0.0, 0.5), ("b", 1.0, 0.6), ("c", 1.5, 0.9)], ["a", "c"]),
        ([("a", 0.0, 0.5), ("b", 1.0, 0.8), ("c", 3.0, 0.9)], ["a", "b", "c"]),
    ],
)
def test_cheapest(offers: list[tuple[str, float, float]], expected: list[str]) -> None:
    """Whoever is dearer and no better is never taken; the ranges follow on each other and cover every price."""
    found = cheapest(offers)
    assert [choice.offer for choice in found] == expected
    assert found[0].low == 0 and found[-1].high == float("inf")
    assert all(one.high == other.low for one, other in itertools.pairwise(found))
    for choice in found:
        assert _best(offers, _middle(choice)) in choice.offer.split(" or ")


def _middle(choice: Choice) -> float:
    return choice.low + 1 if choice.high == float("inf") else (choice.low + choice.high) / 2


def _best(offers: list[tuple[str, float, float]], error: float) -> str:
    return min(offers, key=lambda each: (each[1] + error * (1 - each[2]), -each[2]))[0]


def test_decisions(tmp_path: Path) -> None:
    """The report decides by what was measured, and says whether the difference may be chance."""
    (decision,) = decisions(measured(tmp_path))
    assert [choice.offer for choice in decision.choices] == [GPT, CLAUDE]
    assert decision.basis == "billed"
    assert not decision.is_shown


# --- the article's summary ------------------------------------------------------------------------


def test_summary(tmp_path: Path) -> None:
    """Every row of the article's table; what was not measured is blank, and no claim is in a measured cell."""
    lines = summary(measured(tmp_path))
    assert [line.metric for line in lines] == list(CLAIMS)
    by_metric = {line.metric: line.measured for line in lines}
    assert by_metric["latency p99"] == by_metric["figures that pass"] == (BLANK, BLANK)
    assert by_metric["languages that ran"] == ("python", "python")
    claims = {claim for pair in CLAIMS.values() for claim in pair}
    assert not claims & {cell for line in lines for cell in line.measured}


def test_the_vendor_is_not_the_sandbox(tmp_path: Path) -> None:
    """Beside local offers the article's claims are said to be a vendor's; beside others they are not."""
    report = measured(tmp_path)
    local = about(report, **{GPT: {"local": True}, CLAUDE: {"local": True}})
    assert "vendor, not this sandbox" in shown.as_text(local)
    assert "vendor, not this sandbox" not in shown.as_text(about(report, **{GPT: {}, CLAUDE: {}}))


# --- thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ("p50 <= 1 s", True),
        ("p50 < 1000 ms", False),
        ("p99 <= 100 s", False),  # too few to bound it
        ("success >= 95 %", False),
        (f"{CLAUDE}: success >= 95 %", True),
        ("cost <= $0.02", True),
        ("cost per success > 0.5", False),
    ],
)
def test_thresholds(tmp_path: Path, said: str, holds: bool) -> None:
    """A threshold holds when every offer that it is for meets it; what is not known meets none."""
    report = measured(tmp_path)
    assert threshold(said).holds(report) is holds
    (section,) = [each for each in sections(report, [threshold(said)], figures=False) if each.title == "Thresholds"]
    assert section.rows == ((said, "yes" if holds else "no"),)


@pytest.mark.parametrize("said", ["", "p95", "p95 = 2 s", "p95 <= fast", "speed <= 2 s", "p95 <= 1.2.3"])
def test_no_threshold(said: str) -> None:
    """What is no threshold is refused with one that is."""
    with pytest.raises((InvalidInput, UnknownName)):
        threshold(said)
