"""The catalog: facts from data files, each with its source and day, and offers by name."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from ipy_codeinterp import catalog
from ipy_codeinterp.errors import NotAllowed, UnknownName
from ipy_codeinterp.execution import Usage


@pytest.mark.parametrize("name", catalog.models())
def test_model(name: str) -> None:
    """A model answers to its name and aliases; its price is money, with a source and a day."""
    model = catalog.models()[name]

    assert name in (model.name, *model.aliases)
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
