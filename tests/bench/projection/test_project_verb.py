"""The verb `project`: both faces, its tables, its JSON, and clear words for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ipy_codeinterp import __main__
from ipy_codeinterp.bench.projection import project_json
from ipy_codeinterp.bench.projection.project_verb import VERB
from ipy_codeinterp.bench.verbs import SHARED
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.notebook import own_verbs
from ipy_codeinterp.notebook.arguments import BadUsage, parse_verb
from ipy_codeinterp.settings import Settings
from tests.bench.projection.test_article import ROWS

TWO = ("g=2/8", "c=3/15", "--calls", "200000", "--input", "500", "--output", "2000")
FULL = (*TWO, "--right", "471/500,489/500", "--success", "480/500", "--cache", "20%", "--critical", "20%")

AMOUNT = {"type": ["string", "null"], "pattern": r"^-?\d+(\.\d+)?$"}
INTERVAL = {
    "type": ["object", "null"],
    "required": ["low", "high"],
    "properties": {"low": AMOUNT, "high": AMOUNT},
    "additionalProperties": False,
}
COUNTED = {"type": ["object", "null"]}


def fields(**properties: Any) -> dict[str, Any]:
    """An object with exactly these."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
PAIR = {"type": "array", "items": AMOUNT, "minItems": 2, "maxItems": 2}
SCHEMA = fields(
    schema={"const": "ipy-codeinterp/projection/1"},
    currency=fields(name=TEXT, per_usd=AMOUNT),
    seed={"type": "integer"},
    ledger=many({"type": "object"}),
    projections=many(
        fields(
            offer=TEXT,
            price={"type": ["object", "null"]},
            demand=fields(
                calls=AMOUNT,
                calls_counted={"type": ["integer", "null"]},
                **dict.fromkeys(
                    ("input_tokens", "output_tokens", "attempts", "cache", "batch", "success", "right", "containers"),
                    COUNTED,
                ),
            ),
            call=AMOUNT,
            month=AMOUNT,
            month_interval=INTERVAL,
            success=AMOUNT,
            success_interval=INTERVAL,
            lower_bound=FLAG,
            notes=many(TEXT),
            levers=many(fields(name=TEXT, factors=PAIR, month=PAIR, success=PAIR, measured=FLAG)),
        )
    ),
    break_even=many(
        fields(
            dear=TEXT, cheap=TEXT, pays={"enum": ["above", "never", "unknown"]}, error_cost=AMOUNT, interval=INTERVAL
        )
    ),
    mixes=many(
        fields(
            shares={"type": "object"},
            month=AMOUNT,
            month_interval=INTERVAL,
            success=AMOUNT,
            right=AMOUNT,
            lower_bound=FLAG,
        )
    ),
)
ARTICLE = fields(
    schema={"const": "ipy-codeinterp/article/1"},
    rows=many(
        fields(
            workload=TEXT,
            calls={"type": "integer"},
            output_tokens={"type": "integer"},
            gpt=AMOUNT,
            claude=AMOUNT,
            saved=AMOUNT,
            error_cost=AMOUNT,
            as_printed=FLAG,
        )
    ),
    claims=many(
        fields(
            name=TEXT,
            claim=TEXT,
            verdict={"enum": ["right", "partly", "wrong", "unproven", "left out"]},
            found=many(TEXT),
            figures={"type": "object", "additionalProperties": AMOUNT},
        )
    ),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "new")


def say(settings: Settings, *words: str) -> str:
    return VERB.run(settings, parse_verb(VERB, list(words)))


def test_both_faces_have_it() -> None:
    """The bench's verbs are among those that the notebook and the shell share."""
    assert SHARED["project"] is own_verbs.known["project"] is VERB
    assert "project" in __main__.parser().format_help()


def test_text(settings: Settings) -> None:
    """What a month asks, what it costs with price, day and source, what moves it, when the dearer pays, a mix."""
    text = say(settings, *FULL)

    for words in (
        "200,000  500  2,000",
        "$2,720.00",
        "$5,040.00",
        "94.2 % (91.8-95.9)",
        "the month depends most on output tokens (-10 to +10 %)",
        "c          g           $0.4028",
        "80 % g + 20 % c: $3,184.00 a month",
    ):
        assert words in text, text
    assert ">=" not in text


def test_sensitivity(settings: Settings) -> None:
    """All that moves the bill, as a table for each offer."""
    text = say(settings, *FULL, "--sensitivity")

    assert text.index("calls  ") < text.index("output tokens") < text.index("share from the cache")
    assert text.count("CHANGE") == 2


def test_lower_bounds_are_marked(settings: Settings) -> None:
    """D9: without input tokens each amount is the least that it can be."""
    text = say(settings, "g=2/8", "--calls", "1", "--output", "2000")

    assert ">= $0.0160" in text and "without input tokens" in text


def test_catalogs_price_has_a_source(settings: Settings) -> None:
    """D23: a price comes with its source and its day."""
    text = say(settings, "gpt-4.1@holysheep", "--calls", "1", "--input", "1", "--output", "2000")

    assert "2   8    2026-11-23  the article" in text


def test_default_offers(settings: Settings) -> None:
    """Without a name it is what the makers' own aliases mean."""
    text = say(settings, "--calls", "1", "--input", "1", "--output", "1")

    assert all(f"@{maker}" in text for maker in ("openai", "anthropic", "gemini"))


def test_currency(settings: Settings) -> None:
    """Amounts are in the currency that was asked for, at the rate that was said, which is said again."""
    text = say(settings, *TWO, "--currency", "CNY", "--rate", "7.3")

    assert "\N{YEN SIGN}24,820.00" in text and "1 USD is 7.3 CNY, as you said" in text and "$" not in text
    facts = json.loads(say(settings, *TWO, "--currency", "CNY", "--rate", "7.3", "--json"))
    assert (facts["currency"], facts["projections"][0]["month"]) == ({"name": "CNY", "per_usd": "7.3"}, "24820")


@pytest.mark.parametrize(
    "words",
    [
        FULL,
        TWO,
        (*TWO, "--right", "9/10,10/10", "--mix", "50%,50%"),
        ("gpt-4.1@openai", "g=1/2", "--calls", "9", "--output", "5:9:20", "--container-minutes", "5", "--memory", "4g"),
        ("x@compatible", "--calls", "9", "--output", "5"),
        (),
    ],
)
def test_json(settings: Settings, words: tuple[str, ...]) -> None:
    """The JSON has the form of its version, with unknown as null, and is the same each time."""
    settings = settings.changed(base_url="http://127.0.0.1:9/v1")
    facts = json.loads(say(settings, *words, "--json"))

    jsonschema.validate(facts, SCHEMA)
    assert facts["schema"] == project_json.FORM
    assert facts == json.loads(say(settings, *words, "--json"))


def test_json_of_unknown(settings: Settings) -> None:
    """What nobody knows is null, and an interval without bound has none."""
    settings = settings.changed(base_url="http://127.0.0.1:9/v1")
    unknown = json.loads(say(settings, "x@compatible", "--calls", "9", "--output", "5", "--json"))["projections"][0]
    endless = json.loads(say(settings, *TWO, "--right", "9/10,10/10", "--json"))["break_even"][0]

    assert (unknown["month"], unknown["price"], unknown["success"]) == (None, None, None)
    assert endless["interval"]["low"] is not None and endless["interval"]["high"] is None


def test_article(settings: Settings) -> None:
    """Its rows and verdicts, as a text and as JSON of a version."""
    text, facts = say(settings, "--article"), json.loads(say(settings, "--article", "--json"))

    jsonschema.validate(facts, ARTICLE)
    assert [(int(r["gpt"]), int(r["claude"]), int(r["saved"])) for r in facts["rows"]] == [row[:3] for row in ROWS]
    for row in ROWS:
        assert all(f"${amount:,}" in text for amount in row[:3]) and f"${row[3]}" in text
    for claim in facts["claims"]:
        assert f"{claim['verdict']:<8}  {claim['claim']}" in text


def test_article_with_my_figures(settings: Settings) -> None:
    """The claim on switching is judged with the figures and the offers that are named."""
    words = ("--article", "--calls", "60000", "--input", "10", "--output", "1000")

    assert "your 60,000 calls: $481.20" in say(settings, *words)
    facts = json.loads(say(settings, *words, "mine=2/8", "relay=1.6/6.4", "--json"))
    assert {c["name"]: c["verdict"] for c in facts["claims"]}["switch"] == "right"


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["gtp-4.1@openai", "--calls", "1", "--output", "1"], UnknownName, "gtp-4.1"),
        (["gpt-4.1@opanai", "--calls", "1", "--output", "1"], UnknownName, "opanai"),
        (["--calls", "1"], InvalidInput, "calls have tokens"),
        (["--output", "1"], InvalidInput, "a month has calls"),
        (["--calls", "nan", "--output", "1"], InvalidInput, "--calls nan"),
        (["--calls", "1", "--output", "-1"], InvalidInput, "--output -1"),
        ([*TWO, "--success", "1.2"], InvalidInput, "--success 1.2"),
        ([*TWO, "--attempts", "0.5"], InvalidInput, "--attempts 0.5"),
        ([*TWO, "--currency", "CNY"], InvalidInput, "dollar costs in CNY"),
        ([*TWO, "--currency", "CNY", "--rate", "0"], InvalidInput, "--rate 0"),
        ([*TWO, "--rate", "7.3"], InvalidInput, "--rate without"),
        ([*TWO, "--output", "1,2,3"], InvalidInput, "3 values, 2 offers"),
        ([*TWO, "--mix", "50%"], InvalidInput, "shares"),
        ([*TWO, "--critical", "20%"], InvalidInput, "accuracy"),
        ([*TWO, "--memory", "4g"], InvalidInput, "how long a container"),
        (["g=1/2", *TWO], InvalidInput, "named twice"),
        (["--since", "yesterday"], InvalidInput, "yesterday"),
        (["--article", "--currency", "CNY", "--rate", "7"], InvalidInput, "US dollars"),
        (["--article", "g=2/8"], InvalidInput, "1 offers"),
        (["--article", "--last-month"], InvalidInput, "no calls in the ledger"),
        (["--sinse", "1d"], BadUsage, "--sinse"),
    ],
)
def test_wrong(settings: Settings, words: list[str], error: type[Exception], said: str) -> None:
    """What is wrong is named, with what would be right; nothing is reckoned from it."""
    with pytest.raises(error, match=said) as caught:
        say(settings, *words)
    assert error is BadUsage or getattr(caught.value, "hint", "")


def test_nothing_yet(settings: Settings) -> None:
    """Where nothing was ever run it says how to give figures, and makes no file."""
    assert "--calls" in say(settings)
    assert say(settings, "--last-month") == say(settings, "--since", "30d") == say(settings)
    assert settings.data_dir is not None and not settings.data_dir.exists()


def test_in_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    """The shell prints the same, and what is wrong in two lines."""
    assert __main__.main(["project", *TWO]) == 0
    assert "$3,400.00" in capsys.readouterr().out
    assert __main__.main(["project", *TWO, "--currency", "CNY"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
