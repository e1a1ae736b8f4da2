"""The article: its rows to the cent, and verdicts that its own figures lead to, not we."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.bench.projection import article, claims, claims_gateway, claims_measured, claims_models
from ipy_codeinterp.bench.projection.claims_gateway import Mine
from ipy_codeinterp.bench.projection.demand import Share
from ipy_codeinterp.bench.projection.verdict import Verdict
from ipy_codeinterp.store.stats import LEAST_FOR
from tests.bench.projection.months import demand, terms

ROWS = [
    (200, 375, 2_100, "0.0972"),
    (3_200, 6_000, 33_600, "0.3889"),
    (20_000, 37_500, 210_000, "0.9722"),
    (128_000, 240_000, 1_344_000, "1.5556"),
]


def found(name: str) -> Verdict:
    return {each.name: each for each in claims.verdicts()}[name]


@pytest.mark.parametrize(("row", "amounts"), [*zip(article.ROWS, ROWS, strict=True)])
def test_rows(row: article.Row, amounts: tuple[int, int, int, str]) -> None:
    """D55, D56: each row comes out exactly, and breaks even at its own cost of an error."""
    reckoned = article.reckoned(row)

    assert (reckoned.gpt, reckoned.claude, reckoned.saved) == amounts[:3]
    assert reckoned.agrees
    assert f"{reckoned.error_cost:.4f}" == amounts[3]


def test_words() -> None:
    """Its arithmetic is right; what it makes of it is, in part."""
    assert {each.name: each.word for each in claims.verdicts()} == {
        "table": "right",
        "premium": "partly",
        "accuracy": "wrong",
        "break-even": "wrong",
        "hybrid": "right",
        "yuan": "partly",
        "gateway": "wrong",
        "p99": "unproven",
        "warm-up": "left out",
        "estimate": "wrong",
        "switch": "wrong",
    }


def test_figures() -> None:
    """D54 to D59, D37 and D39: each verdict has the figures that it rests on."""
    premium, accuracy, yuan, gateway = map(found, ("premium", "accuracy", "yuan", "gateway"))

    assert (premium.figures["output_ratio"], premium.figures["input_ratio"]) == (Decimal("1.875"), Decimal("1.5"))
    assert premium.figures["equal_ratio"] == Decimal("1.8")
    assert accuracy.figures["points"] == Decimal("3.6") and f"{accuracy.figures['fewer_errors']:.0f}" == "62"
    assert "91.8-95.9 and 96.1-98.8 %" in accuracy.found[1]
    assert f"{yuan.figures['off']:.3f}" == "0.863" and yuan.figures["dollars_off"] == 0
    assert (gateway.figures["models"], gateway.figures["gateway"]) == (33_600, 0)
    assert found("p99").figures["needed"] == 299 and found("p99").figures["needed_p95"] == 59
    assert found("estimate").figures["true"] / found("estimate").figures["claimed"] == 100


def test_warm_up() -> None:
    """D59: 8,766 calls a month, and a container of OpenAI's that never ends is 72 sessions of $0.03 a day."""
    figures = found("warm-up").figures

    assert figures["calls"] == 8766
    assert float(figures["openai_least"]) == pytest.approx(30.4375 * 72 * 0.03, abs=0.03)
    assert figures["openai_most"] == Decimal("262.98")
    assert figures["anthropic_most"] == Decimal(8766) * 5 / 60 * Decimal("0.05")


@pytest.mark.parametrize("percent", [95, 99])
def test_least_for(percent: int) -> None:
    """D58: so many calls bound a percentile, and one fewer does not; the ledger's table says the same."""
    least = claims_measured.least_for(percent)

    assert least == LEAST_FOR[percent]
    assert (percent / 100) ** least <= 0.05 < (percent / 100) ** (least - 1)


def test_verdicts_follow_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other figures the same functions find otherwise: no verdict is written down."""
    changes = [
        (claims_models.table, "ROWS", (replace(article.LIGHT, gpt=201),), "wrong"),
        (claims_models.even, "ROWS", (article.LIGHT,), "right"),
    ]
    for judge, name, value, word in changes:
        with monkeypatch.context() as patch:
            patch.setattr(claims_models, name, value)
            assert judge().word == word
    for judge, name, value, word in (
        (claims_models.premium, "PREMIUM", Decimal(2), "wrong"),
        (claims_models.accuracy, "BETTER", Decimal(62), "right"),
        (claims_models.accuracy, "CLAUDE_RIGHT", Share(Decimal("0.9555")), "right"),
        (claims_gateway.yuan, "YUAN_LISTED", Decimal(2), "wrong"),
        (claims_measured.p99, "EXAMPLE_CALLS", 600, "right"),
        (claims_measured.estimate, "CONTROLLER_RATE", Decimal(8), "right"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(article, name, value)
            assert (name, judge().word) == (name, word)


def test_switch() -> None:
    """A switch pays where the other offer's price is lower, whatever the number of calls, and by no more than that."""

    def verdict(now: str, then: str, calls: int) -> Verdict:
        return claims_gateway.switch(Mine(terms("now", "2", now), terms("then", "2", then), demand(calls)))

    assert verdict("8", "6.4", 10).word == "right"
    assert verdict("8", "6.4", 10).figures["saved"] == Decimal("0.032")
    assert verdict("8", "8", 10**6).word == verdict("8", "9", 10**6).word == "wrong"
    unknown = claims_gateway.switch(Mine(terms("now"), replace(terms("then"), price=None), demand()))
    assert (unknown.word, dict(unknown.figures)) == ("unproven", {})


def test_gateway_that_is_cheaper() -> None:
    """A catalog in which the maker takes more makes the gateway's own saving real."""
    folder = Path(os.environ["XDG_CONFIG_HOME"], "ipy-codeinterp", "catalog")
    folder.mkdir(parents=True)
    price = '{ input = "20", output = "80", source = "a test", checked = 2026-01-01 }'
    folder.joinpath("openai.toml").write_text(f'[[models]]\nname = "gpt-4.1"\nprices = [{price}]\n')
    catalog.forget()
    try:
        assert found("gateway").word == found("switch").word == found("yuan").word == "right"
        assert found("gateway").figures["gateway"] == (32_000 - 3_200) * 12
    finally:
        catalog.forget()


def test_gone_from_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the catalog has its model no longer, what rests on that price is unproven, and the rest as it was."""
    monkeypatch.setattr(claims_gateway, "MAKER", "gpt-0@openai")

    assert [found(name).word for name in ("gateway", "switch", "yuan")] == ["unproven", "unproven", "partly"]
    assert found("table").word == "right"
