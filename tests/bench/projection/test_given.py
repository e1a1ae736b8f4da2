"""What somebody says of a month is read as it is meant, or refused with what would make sense."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from ipy_codeinterp.bench.projection import currency, given
from ipy_codeinterp.bench.projection.demand import Share
from ipy_codeinterp.errors import InvalidInput, UnknownName
from ipy_codeinterp.settings import Settings


@pytest.mark.parametrize(
    ("said", "value"),
    [("200000", 200_000), ("200,000", 200_000), ("200_000", 200_000), (" 1.5 ", "1.5"), ("1e3", 1000)],
)
def test_number(said: str, value: int | str) -> None:
    """Figures are read with what groups their digits."""
    assert given.number("--calls", said) == Decimal(value)


@pytest.mark.parametrize("said", ["", "many", "nan", "-1", "inf", "-inf", "sNaN", "1e30"])
def test_no_number(said: str) -> None:
    """What is none, negative, not finite or beyond all reason is refused, with the flag."""
    with pytest.raises(InvalidInput, match="--calls"):
        given.number("--calls", said)


@pytest.mark.parametrize(
    ("said", "share"),
    [("0.97", Share(Decimal("0.97"))), ("97%", Share(Decimal("0.97"))), ("471/500", Share.counted(471, 500))],
)
def test_share(said: str, share: Share) -> None:
    """A share is a part of one, of a hundred, or has been counted."""
    assert given.share("--right", said) == share


@pytest.mark.parametrize("said", ["1.1", "101%", "-5%", "nan", "2/1", "1/0", "1.5/3", "-1/3", "x/y", "1/"])
def test_no_share(said: str) -> None:
    """A share outside 0..1, or a count of nothing, is refused."""
    with pytest.raises(InvalidInput, match="--right"):
        given.share("--right", said)


def test_each() -> None:
    """One value is for all offers, several are for each of them."""
    assert given.each("--output", "1", 2) == ["1", "1"]
    assert given.each("--output", "1,2", 2) == ["1", "2"]
    assert given.each("--output", None, 2) == [None, None]
    with pytest.raises(InvalidInput, match="3 values, 2 offers"):
        given.each("--output", "1,2,3", 2)


def test_tokens(tmp_path: Path) -> None:
    """Tokens are a mean, three percentiles, or a list in a file, of which both sides have as many."""
    for name, lines in (("in", "1\n2\n3\n"), ("out", "10\n20\n30\n"), ("short", "1\n"), ("empty", "")):
        (tmp_path / name).write_text(lines)

    def at(name: str) -> str:
        return f"@{tmp_path / name}"

    listed = given.tokens(at("in"), at("out"))
    assert listed.pairs == ((1, 10), (2, 20), (3, 30))
    assert listed.output is not None and (listed.output.value, listed.output.n) == (20, 3)
    alone = given.tokens(None, "2000")
    assert alone.input is None and alone.output is not None and alone.output.value == 2000
    spread = given.tokens("500", "800:2000:6000")
    assert spread.output is not None and spread.output.deviation > 0
    for wrong in ((at("in"), "5"), (at("in"), at("short")), (at("empty"), at("empty")), (at("nowhere"), at("in"))):
        with pytest.raises(InvalidInput):
            given.tokens(*wrong)
    for wrong_mean in ("1:2", "3:2:1", "0:1:2", "a", ""):
        with pytest.raises(InvalidInput):
            given.tokens("1", wrong_mean or "nan")


def test_terms() -> None:
    """An offer has the catalog's price, its source and its day; a price of one's own needs no offer."""
    known, own = given.terms("gpt-4.1@openai", Settings()), given.terms("relay=1.6/6.4", Settings())

    assert known.price is not None and known.price.source and known.price.checked
    assert (own.name, own.price and own.price.input, own.price and own.price.source) == (
        "relay",
        Decimal("1.6"),
        "given",
    )
    with pytest.raises(UnknownName) as caught:
        given.terms("gpt-4.2@openai", Settings())
    assert "did you mean gpt-4.1" in caught.value.hint
    for wrong in ("relay=1.6", "=1/2", "relay=a/b", "relay=-1/2"):
        with pytest.raises(InvalidInput):
            given.terms(wrong, Settings())


def test_memory() -> None:
    """Memory has a unit."""
    assert (given.memory("--memory", "512m"), given.memory("--memory", "4G")) == (512 << 20, 4 << 30)
    for wrong in ("4", "g", "0g", "4t", ""):
        with pytest.raises(InvalidInput):
            given.memory("--memory", wrong)


def test_currency() -> None:
    """A currency other than the dollar is told at a rate that was said, never at one that we think of."""
    assert currency.of(None, None).say(Decimal("0.0085")) == "$0.0085"
    yuan = currency.of("cny", Decimal("7.3"))
    assert (yuan.say(Decimal(1000)), yuan.say(Decimal("0.001"))) == ("\N{YEN SIGN}7,300.00", "\N{YEN SIGN}0.0073")
    assert currency.of("EUR", Decimal("0.9")).say(Decimal(10), is_least=True) == ">= EUR 9.00"
    with pytest.raises(InvalidInput, match="CNY") as caught:
        currency.of("CNY", None)
    assert "--rate" in caught.value.hint
    for wrong in (("yuan", Decimal(7)), (None, Decimal(7))):
        with pytest.raises(InvalidInput):
            currency.of(*wrong)


def test_amounts() -> None:
    """Small amounts keep the digits that matter, unknown ones are a dash, negative ones have their sign in front."""
    say = currency.USD.say
    assert [say(Decimal(each)) for each in ("0", "1234.5", "0.00001234", "-6680")] == [
        "$0.00",
        "$1,234.50",
        "$0.000012",
        "-$6,680.00",
    ]
    assert say(None, is_least=True) == "-"
    assert currency.USD.fine(Decimal("1.55556")) == "$1.5556"


READERS: list[Callable[[str], object]] = [
    lambda said: given.number("--x", said),
    lambda said: given.share("--x", said),
    lambda said: given.memory("--x", said),
    lambda said: given.tokens(said, said),
    lambda said: given.terms(f"own={said}", Settings()),
]


@drawn(st.sampled_from(READERS), st.text(max_size=20))
def test_anything(read: Callable[[str], object], said: str) -> None:
    """Whatever is said is read or refused in words."""
    try:
        read(said)
    except InvalidInput as error:
        assert error.hint
