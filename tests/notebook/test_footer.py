"""The line under a cell: what it says, that it survives anywhere, and that nbval sees the same one each time."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from ipy_codeinterp.execution import Cost, Execution, Partial, Result, Step, Timings, Usage
from ipy_codeinterp.notebook import footer
from ipy_codeinterp.verbs import SANITIZER

CELL = Execution("print(1)")
LOCAL = Result(
    "run_1",
    (Step("print(1)", verbatim=True),),
    "ok",
    usage=Usage(1020, 3, estimated=True),
    cost=Cost(Decimal(0), Decimal("0.001234"), estimated=True),
    timings=Timings(first_byte=0.004, execution=0.012, total=0.035),
    provider="local",
    model="claude",
    isolation="bubblewrap",
)
PAID = replace(LOCAL, provider="anthropic", usage=Usage(10, 2), cost=Cost(Decimal("0.5"), Decimal("0.5")))


def line(ended: Result | Partial, asked: Execution = CELL) -> str:
    return " · ".join(footer.said(asked, ended))


@pytest.fixture(scope="module")
def shell() -> InteractiveShell:
    return InteractiveShell()


@pytest.mark.parametrize(
    ("ended", "shown"),
    [
        (LOCAL, "claude@local · 35 ms (code 12 ms) · ~1,020 + 3 tokens · $0.00 (list price ~$0.0012) · verbatim"),
        (PAID, "claude@anthropic · 35 ms (code 12 ms) · 10 + 2 tokens · $0.50 · verbatim"),
        (
            replace(PAID, timings=Timings(0.5, 0.1, 0.2, 1.5, 2.0, 0.25, 4.0), usage=Usage()),
            "claude@anthropic · 4.00 s (queued 500 ms, model 1.50 s, code 2.00 s, transfer 250 ms) · $0.50 · verbatim",
        ),
        (replace(PAID, timings=Timings(), usage=Usage(), cost=Cost()), "claude@anthropic · >= $0.00 · verbatim"),
        (
            replace(PAID, source="cache", usage=Usage(0, 0), cost=Cost(Decimal(0), Decimal(0), avoided=Decimal("0.5"))),
            "claude@anthropic · from the cache · 35 ms (code 12 ms) · $0.00, avoided $0.50 · verbatim",
        ),
        (
            replace(PAID, cost=Cost(Decimal("0.03"), Decimal("0.03"), estimated=True), parts=(Step("print(2)"),)),
            "claude@anthropic · 35 ms (code 12 ms) · 10 + 2 tokens · ~$0.030 · code unknown",
        ),
        (
            replace(PAID, source="replay", parts=(Step("print(2)", verbatim=False),)),
            "claude@anthropic · replayed · 35 ms (code 12 ms) · 10 + 2 tokens · $0.50 · code was changed",
        ),
        (
            replace(LOCAL, isolation="not isolated", cost=Cost(Decimal(0)), parts=()),
            "claude@local · not isolated · 35 ms (code 12 ms) · ~1,020 + 3 tokens · $0.00 · no code ran",
        ),
        (
            Partial(replace(PAID, usage=Usage(), cost=Cost(), timings=Timings(total=2.0)), Decimal("0.0215")),
            "claude@anthropic · 2.00 s · <= $0.022",
        ),
        (Partial(replace(LOCAL, usage=Usage(), cost=Cost()), Decimal(0)), "claude@local · 35 ms (code 12 ms) · $0.00"),
        (Partial(replace(PAID, usage=Usage(), cost=Cost())), "claude@anthropic · 35 ms (code 12 ms) · >= $0.00"),
    ],
)
def test_said(ended: Result | Partial, shown: str) -> None:
    """It says who, how isolated where that is not the usual, time by part, tokens, cost, what was avoided, what ran."""
    assert line(ended) == shown


def test_a_task() -> None:
    """Whether code was passed on as it is does not matter where a model was asked to write it."""
    assert line(PAID, Execution("draw", kind="task")).endswith("$0.50")


def test_hostile_names() -> None:
    """What a provider calls its model and its walls is one short line of text, whatever is in it."""
    shown = line(replace(LOCAL, model="<script>\x1b[2J\n" + "x" * 500, isolation="\r<b>"))
    html = footer.bundle((shown,))["text/html"]

    assert "\x1b" not in shown and "\n" not in shown and len(shown) < 300
    assert html.count("<") == 2


amounts = st.none() | st.decimals(0, 1000, places=9)
results = st.builds(
    Result,
    id=st.just("run_1"),
    parts=st.sampled_from([(), LOCAL.parts]),
    provider=st.text(min_size=1),
    model=st.text(min_size=1),
    source=st.sampled_from(["live", "cache", "shared", "replay"]),
    isolation=st.none() | st.text(),
    usage=st.builds(Usage, st.none() | st.integers(0), st.none() | st.integers(0)),
    cost=st.builds(Cost, amounts, amounts, avoided=amounts),
    timings=st.builds(Timings, total=st.none() | st.floats(0, 1e6), execution=st.none() | st.floats(0, 1e6)),
)


@settings(max_examples=60, deadline=None)
@given(results | st.builds(Partial, results, amounts))
def test_sanitized(ended: Result | Partial) -> None:
    """The shipped file turns every live line into that of deterministic mode, and leaves that one alone."""
    wanted = footer.bundle(footer.PLACEHOLDERS)
    for shown in (footer.bundle(tuple(footer.said(CELL, ended))), wanted):
        assert {mime: sanitized(text) for mime, text in shown.items()} == wanted


def test_only_footers_are_sanitized() -> None:
    """What looks a little like one, and what stands around one, is compared as it is."""
    others = ["interp: a@b", "an interp: a@b · c", '<p class="interp">a · b</p>', "$1.00 · $2.00"]

    assert list(map(sanitized, others)) == others
    assert sanitized("x\ninterp: a@b · $1.00\ny") == "x\ninterp: OFFER · TIME · TOKENS · COST\ny"


def sanitized(text: str) -> str:
    """As nbval does it with the shipped file."""
    for regex, replace_ in re.findall("^regex: (.*)$\n^replace: (.*)$", SANITIZER.read_text(), re.MULTILINE):
        text = re.sub(regex, replace_, text)
    return text


def test_html_survives() -> None:
    """It is one paragraph with plain inline styles: no theme variable, script or colour that a saved page loses."""
    html = footer.bundle(("a", "b"))["text/html"]

    assert re.fullmatch(r'<p class="interp-footer [^"]*" style="[^"]*">a · b</p>', html)
    assert not any(word in html for word in ("var(", "color", "http", "url"))


def test_captured(capsys: pytest.CaptureFixture[str]) -> None:
    """What `%%capture` keeps is the code's own output: there is no footer in it."""
    shell = InteractiveShell()
    shell.display_pub = captured = CapturingDisplayPublisher()

    footer.show(shell, CELL, LOCAL, deterministic=False)

    assert captured.outputs == []
    assert capsys.readouterr().out == ""


def test_terminal(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal it is one line of text."""
    footer.show(shell, CELL, PAID, deterministic=False)

    assert capsys.readouterr().out == f"interp: {line(PAID)}\n"
