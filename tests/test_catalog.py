"""The catalog: facts from data files, each with its source and day, offers by name, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_codeinterp import catalog, keys
from ipy_codeinterp.catalog import Charge, ContainerPrice, Offer, Price, Rates, container_cost
from ipy_codeinterp.errors import InvalidInput, NotAllowed, UnknownName
from ipy_codeinterp.execution import Cost, Usage


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The user's folder of this test; the developer's own does not count."""
    monkeypatch.setattr("ipy_codeinterp.settings.config_dir", lambda: tmp_path)
    (tmp_path / "catalog").mkdir()
    catalog.forget()
    yield tmp_path / "catalog"
    catalog.forget()


@pytest.mark.parametrize("name", catalog.models())
def test_model(name: str) -> None:
    """A model answers to its name and aliases; its price is money, with a source and a day."""
    model = catalog.models()[name]

    assert name in (model.name, *model.aliases)
    assert model.price is not None
    assert isinstance(model.price.input, Decimal) and model.price.input > 0
    assert isinstance(model.price.output, Decimal) and model.price.output > 0
    assert isinstance(model.price.checked, date)
    assert model.price.source


def test_one_name_one_model() -> None:
    """No name stands for two models."""
    models = set(catalog.models().values())

    assert len(catalog.models()) == sum(1 + len(model.aliases) for model in models)


@pytest.mark.parametrize("name", catalog.profiles())
def test_profile(name: str) -> None:
    """A profile has limits, and a list price only of a model that is known."""
    profile = catalog.profiles()[name]

    assert profile.name == name
    assert profile.timeout > 0
    assert profile.memory >= 64 << 20
    assert profile.listed_as is None or profile.listed_as in catalog.models()


@pytest.mark.parametrize("name", catalog.profiles())
def test_offer(name: str) -> None:
    """A model's name alone means the one on this machine, and results say so."""
    offer = catalog.find(name)

    assert str(offer) == f"{name}@local"
    assert catalog.find(f"{name}@local") == offer
    assert offer.timeout == catalog.profiles()[name].timeout


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("claud", "did you mean claude?"),
        ("claud@local", "did you mean claude?"),
        ("", "known: claude, gpt, local"),
        ("claude@antropic", "did you mean anthropic?"),
    ],
)
def test_unknown_offer(name: str, hint: str) -> None:
    """A name nobody offers is answered with the nearest one."""
    with pytest.raises(UnknownName) as caught:
        catalog.find(name)

    assert caught.value.hint == hint


def test_nothing_is_sent() -> None:
    """A provider that is not on this machine is refused, with words on that nothing was sent."""
    with pytest.raises(NotAllowed, match="nothing was sent") as caught:
        catalog.find("claude@anthropic")

    assert caught.value.hint == "use claude@local"


@pytest.mark.parametrize(
    ("model", "profile"),
    [
        ("local", "local"),
        ("claude", "claude"),
        ("claude-sonnet-5", "claude"),
        ("gpt", "gpt"),
        ("gpt-5.1", "gpt"),
        ("gpts", None),
        ("claudette", None),
        ("gemini", None),
        ("", None),
    ],
)
def test_profile_of(model: str, profile: str | None) -> None:
    """A gateway serves the vendors' families of names under the article's profile, and no others."""
    found = catalog.profile_of(model)

    assert (found and found.name) == profile


def test_cost_is_exact() -> None:
    """Tokens cost what the list says, to the last digit, and nothing is billed on this machine."""
    offer = catalog.find("claude")
    assert offer.listed is not None
    price = offer.listed.price
    assert price is not None

    cost = offer.cost(Usage(1, 3, estimated=True))

    assert cost.billed == Decimal(0)
    assert cost.listed == price.input / 1_000_000 + 3 * price.output / 1_000_000
    assert cost.estimated
    assert cost.price == f"{offer.listed.name}, {price.source}, {price.checked}"


@pytest.mark.parametrize("usage", [Usage(), Usage(1, None), Usage(None, 1)], ids=["none", "output", "input"])
def test_unknown_usage(usage: Usage) -> None:
    """The cost of an unknown number of tokens is unknown, and not zero."""
    assert catalog.find("claude").cost(usage).listed is None


def test_no_list_price() -> None:
    """What nobody sells has no list price."""
    cost = catalog.find("local").cost(Usage(1, 1))

    assert (cost.billed, cost.listed, cost.price) == (Decimal(0), None, None)


# --- providers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalog.ORDER)
def test_provider(name: str) -> None:
    """A provider has a title, an address, and, where it needs a key, its variable and the page where keys are made."""
    found = catalog.provider(name)

    assert (found.name, bool(found.title)) == (name, True)
    if found.base_url:
        assert keys.origin(found.base_url)[0] == "https"
    if found.key_needed:
        assert found.keys and found.key_page.startswith("https://")
    for model in found.models:
        assert catalog.offer(model.name, found).tool in (found.tool, *found.tools)


@pytest.mark.parametrize(("alias", "maker"), [("claude", "anthropic"), ("gpt", "openai"), ("gemini", "gemini")])
def test_current_model(alias: str, maker: str) -> None:
    """The families' names are aliases of models that have a price and are not about to be retired."""
    offer = catalog.offer(alias, catalog.provider(maker))

    assert offer.model != alias
    assert offer.price is not None
    assert offer.batch_price is not None and offer.batch_price.input < offer.price.input
    assert offer.retires is None


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.holysheep.ai/v1", "https://api.holysheep.ai/v1/chat/completions"),
        ("http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("https://x.example/api/v3/", "https://x.example/api/v3/chat/completions"),
    ],
)
def test_url(base: str, url: str) -> None:
    """A base URL may end in the version or not."""
    assert replace(catalog.provider("compatible"), base_url=base).url("/v1/chat/completions") == url


def test_the_articles_prices() -> None:
    """HolySheep has the two models and the prices that the article gives."""
    offers = [catalog.offer(name, catalog.provider("holysheep")) for name in ("gpt-4.1", "claude-sonnet-4-5")]

    assert [(o.price and o.price.input, o.price and o.price.output) for o in offers] == [(2, 8), (3, 15)]


@pytest.mark.parametrize(
    ("days", "words"), [(-400, None), (-91, None), (-90, "will be"), (-1, "will be"), (0, "was"), (900, "was")]
)
def test_retirement(days: int, words: str | None) -> None:
    """A model that is retired within three months, or was, is warned of with its day."""
    offer = replace(catalog.find("claude"), retires=date(2027, 1, 14))
    line = catalog.warning_of(offer, date(2027, 1, 14) + timedelta(days))

    assert line == (words and f"claude@local {words} retired on 2027-01-14: name another model")
    assert catalog.warning_of(catalog.find("claude"), date(2027, 1, 14)) is None


def test_a_price_from_a_day() -> None:
    """A price counts from its day on; before the first nobody knows one."""
    old, new = (Price(Decimal(n), Decimal(n), "x", date(2026, 1, 1)) for n in (1, 2))
    model = catalog.Model("m", "p", prices=(replace(new, since=date(2027, 1, 1)), old))

    assert model.price_on(date(2026, 12, 31)) is old
    assert model.price_on(date(2027, 1, 1)) == replace(new, since=date(2027, 1, 1))
    assert catalog.Model("m", "p", prices=(replace(new, since=date(2027, 1, 1)),)).price_on(date(2026, 1, 1)) is None


# --- what it costs --------------------------------------------------------------------------------

RATES = Rates(Decimal(2), Decimal(10), Decimal("0.5"), Decimal(3), ((1000, Rates(Decimal(4), Decimal(20))),))
PRICE = Price(Decimal(2), Decimal(10), "x", date(2026, 1, 1), Decimal("0.5"), Decimal(3), RATES.above, batch=RATES)
REMOTE = Offer("m", "p", 60.0, 1 << 30, price=PRICE)
TOKENS = st.integers(0, 5000)


def test_lines() -> None:
    """D23: cached tokens and cache writes are priced as such, the rest of the input as input, each on its line."""
    cost = REMOTE.cost(Usage(1000, 100, cached_tokens=300, cache_write_tokens=200))

    million = Decimal(1_000_000)
    assert dict(cost.items) == {
        "input": 1000 / million,
        "cached input": 150 / million,
        "cache write": 600 / million,
        "output": 1000 / million,
    }
    assert cost.billed == cost.listed == sum(cost.items.values())


def test_tier() -> None:
    """All tokens of a request above a step cost what that step says, cached ones without a price what input does."""
    assert REMOTE.cost(Usage(1000, 1)).billed == Decimal("0.00201")
    assert REMOTE.cost(Usage(1001, 1, cached_tokens=1000)).billed == Decimal("0.004024")


@pytest.mark.parametrize("usage", [Usage(), Usage(1, None), Usage(None, 1)], ids=["none", "output", "input"])
def test_unknown_is_not_zero(usage: Usage) -> None:
    """D9: an unknown number of tokens, or an unknown price, is an unknown cost."""
    assert REMOTE.cost(usage, Charge(Decimal(1), Decimal(1))).billed is None
    assert replace(REMOTE, price=None).cost(Usage(1, 1)) == Cost()
    assert replace(REMOTE, price=None).at_most(Usage(1, 1)) is None


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_at_most(tokens: int, output: int, cached: int, written: int) -> None:
    """No call costs more than the most it can cost, or less than nothing, whatever was cached."""
    cost = REMOTE.cost(Usage(tokens, output, cached_tokens=cached, cache_write_tokens=written)).billed
    most = REMOTE.at_most(Usage(tokens, output))

    assert cost is not None and most is not None
    assert 0 <= cost <= most


SESSIONS = ContainerPrice(1200, ((1 << 30, Decimal("0.03")), (4 << 30, Decimal("0.12"))), "x", date.min, whole=True)
HOURS = ContainerPrice(3600, ((5 << 30, Decimal("0.05")),), "x", date.min, least=300, free=1)


@pytest.mark.parametrize(
    ("price", "how", "least", "most"),
    [
        (SESSIONS, {"seconds": 1}, "0.03", "0.03"),
        (SESSIONS, {"seconds": 1200}, "0.03", "0.03"),
        (SESSIONS, {"seconds": 1201}, "0.03", "0.06"),
        (SESSIONS, {"seconds": 1201, "before": 100}, "0", "0.03"),
        (SESSIONS, {"seconds": 1100, "before": 100}, "0", "0"),
        (SESSIONS, {"seconds": 1, "memory": 2 << 30}, "0.12", "0.12"),
        (SESSIONS, {"seconds": 0}, "0", "0"),
        (HOURS, {"seconds": 1}, "0", str(Decimal("0.05") / 12)),
        (HOURS, {"seconds": 7200}, "0", "0.1"),
        (HOURS, {"seconds": 7200, "before": 3600}, "0", "0.05"),
    ],
)
def test_container(price: ContainerPrice, how: dict[str, float], least: str, most: str) -> None:
    """D23: a container costs by memory and session, or by hour with a least time; what is not told is a range."""
    charge = container_cost(price, **how)  # type: ignore[arg-type]

    assert charge is not None
    assert (round(charge.least, 12), round(charge.most, 12)) == (Decimal(least), round(Decimal(most), 12))


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_no_container_cost(seconds: float) -> None:
    """Without a price, a size or a time nobody knows what a container costs."""
    assert container_cost(SESSIONS, seconds) is None
    assert container_cost(None, 1) is None
    assert container_cost(SESSIONS, 1, memory=64 << 30) is None


def test_container_is_an_item() -> None:
    """What a container may have cost is a line of the bill, marked as an estimate where it is a range."""
    exact = REMOTE.cost(Usage(0, 0), Charge(Decimal("0.03"), Decimal("0.03")))
    ranged = REMOTE.cost(Usage(0, 0), Charge(Decimal(0), Decimal("0.03")))

    assert (exact.billed, exact.estimated, exact.items["container"]) == (Decimal("0.03"), False, Decimal("0.03"))
    assert (ranged.billed, ranged.estimated) == (Decimal("0.03"), True)
    assert replace(REMOTE, container_price=SESSIONS).at_most(Usage(0, 0)) == Decimal("0.03")


# --- files of the user ----------------------------------------------------------------------------


def test_laid_over(folder: Path) -> None:
    """A file of the user's changes what it says, adds models, and leaves the rest as it is."""
    before = catalog.provider("anthropic")
    (folder / "anthropic.toml").write_text(
        'base_url = "https://relay.example"\n[[models]]\nname = "claude-sonnet-5-5"\ntool = "code_execution_20250825"\n'
        '[[models]]\nname = "mine"\naliases = ["m"]\n'
        'prices = [{ input = 0.1, output = "1", source = "me", checked = 2026-01-01 }]\n'
    )
    catalog.forget()

    found = catalog.provider("anthropic")

    assert found.base_url == "https://relay.example"
    assert catalog.offer("claude", found).tool == "code_execution_20250825"
    assert catalog.offer("claude", found).price == catalog.offer("claude", before).price
    mine = catalog.offer("m", found).price
    assert mine is not None and mine.input == Decimal("0.1")
    assert replace(found, base_url="", models=()) == replace(before, base_url="", models=())


def test_a_provider_of_ones_own(folder: Path) -> None:
    """A file with another name is another provider."""
    (folder / "relay.toml").write_text(
        'dialect = "completions"\nbase_url = "https://relay.example/v1"\nany_model = true\n'
    )
    catalog.forget()

    offer = catalog.offer("qwen:7b", catalog.provider("relay"))

    assert (str(offer), offer.price) == ("qwen:7b@relay", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 'x'\nbase_url =,\n", "line 2"),
        ("\ndialect = 'mime'", "line 2: dialect is not one of messages"),
        ("\nbase_url = 5", "line 2: base_url is not a text"),
        ("keys = 'A'", "line 1: keys is not a list of texts"),
        ("\nmaker = 1", "line 2: maker is neither"),
        ("\nbase_ulr = 'x'", "line 2: base_ulr is not known here: did you mean base_url?"),
        ("models = 1", "line 1: models is not a list of tables"),
        ("models = [1]", "line 1: models is not a table"),
        ("[[models]]\nnam = 'x'", "line 2: nam is not known here: did you mean name?"),
        ("[[models]]\naliases = []", "name is missing"),
        ("[[models]]\nname = 'x'\n[[models]]\naliases = ['z', 1]\nname = 'y'", "line 4: aliases is not a list"),
        ("[[models]]\nname = 'x'\nretires = 'soon'", "line 3: retires is not a day"),
        ("[[models]]\nname = 'x'\naliases = ['claude']", "claude stands for two models"),
        ("[[models]]\nname = 'x@y'", "has an @"),
        *[
            (
                f"[[models]]\nname = 'x'\nprices = [{{ input = {price}, output = '1' }}]",
                "line 3: input is not an amount",
            )
            for price in ("'much'", "-1", "nan", "inf", "true", "[]", "1e400", "1e9999999999999999999")
        ],
        ("[[models]]\nname = 'x'\nprices = [{ input = 1, output = 1, source = 'x' }]", "checked is missing"),
        ("[limits]\nrequests = 0", "line 2: requests is not a whole number"),
        ("limits = []", "line 1: limits is not a table"),
        ("[container]\nunit = 0", "prices"),
        ("name = 5", "line 1: name is not a text"),
        ("x = " + "[" * 20_000, "no TOML"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_wrong_file(folder: Path, text: str, words: str) -> None:
    """A file of the user's that is wrong is an error with the file, the line and what is wrong."""
    (folder / "anthropic.toml").write_text(text)
    catalog.forget()

    with pytest.raises(InvalidInput, match=r"anthropic\.toml") as caught:
        catalog.providers()

    assert words in str(caught.value) or "no TOML" in str(caught.value)
