"""What somebody said of a month, read: figures, shares, tokens, offers. Nonsense is refused with what makes sense."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ipy_codeinterp import consent
from ipy_codeinterp.bench.projection.bill import Terms
from ipy_codeinterp.bench.projection.demand import Mean, Share, Tokens
from ipy_codeinterp.catalog import Price
from ipy_codeinterp.errors import InvalidInput
from ipy_codeinterp.settings import Settings

GIVEN = "given"  # the source of a price that somebody said
MOST = Decimal(10) ** 15  # of anything: beyond it somebody's finger slipped
SIZES = {"m": 1 << 20, "g": 1 << 30}
SHARE = "write 0.97, 97% or, counted, 471/500"
TOKENS = "write a mean (2000), the 5th, 50th and 95th percentile (800:2000:6000), or @FILE with one number a line"


def number(flag: str, said: str, *, least: Decimal | int = 0, hint: str = "") -> Decimal:
    """A figure from `least` on; `200,000` and `200_000` are one, too. Raises `InvalidInput`."""
    hint = hint or f"write a number, {least} or more"
    try:
        found = Decimal(said.strip().replace(",", "").replace("_", ""))
    except InvalidOperation:
        raise InvalidInput(f"{flag} {said} is no number", hint=hint) from None
    if not found.is_finite() or not least <= found <= MOST:
        raise InvalidInput(f"{flag} {said} makes no sense", hint=hint)
    return found


def positive(flag: str, said: str) -> Decimal:
    found = number(flag, said, hint="write a number above 0")
    if not found:
        raise InvalidInput(f"{flag} {said} makes no sense", hint="write a number above 0")
    return found


def share(flag: str, said: str) -> Share:
    """`0.97`, `97%`, or `471/500`, which has been counted. Raises `InvalidInput`."""
    hits, slash, of = said.partition("/")
    if slash:
        counts = [number(flag, each, hint=SHARE) for each in (hits, of)]
        if any(each != int(each) for each in counts) or not 0 <= counts[0] <= counts[1] or not counts[1]:
            raise InvalidInput(f"{flag} {said} counts nothing", hint=SHARE)
        return Share.counted(int(counts[0]), int(counts[1]))
    percent = said.strip().endswith("%")
    value = number(flag, said.strip().rstrip("%"), hint=SHARE) / (100 if percent else 1)
    if value > 1:
        raise InvalidInput(f"{flag} {said} is more than all", hint=SHARE)
    return Share(value)


def each(flag: str, said: str | None, offers: int) -> list[str | None]:
    """One word for all offers, or one for each, with commas between. Raises `InvalidInput` for any other number."""
    if said is None:
        return [None] * offers
    parts = said.split(",")
    if len(parts) not in (1, offers):
        raise InvalidInput(f"{flag} {said}: {len(parts)} values, {offers} offers", hint="say one for all, or for each")
    return list(parts if len(parts) == offers else parts * offers)


# --- tokens ---------------------------------------------------------------------------------------


def tokens(given: str | None, made: str | None) -> Tokens:
    """Of `--input` and `--output`. Two files hold the same attempts, line by line. Raises `InvalidInput`."""
    lists = [said is not None and said.startswith("@") for said in (given, made)]
    if not any(lists):
        return Tokens((given and _mean("--input", given)) or None, (made and _mean("--output", made)) or None)
    if not all(lists):
        raise InvalidInput("tokens of one side are a list, those of the other not", hint="--input @FILE --output @FILE")
    assert given is not None and made is not None
    columns = _listed("--input", given), _listed("--output", made)
    if len(columns[0]) != len(columns[1]):
        raise InvalidInput(
            f"{given} has {len(columns[0])} numbers, {made} {len(columns[1])}", hint="a line for each attempt in both"
        )
    return Tokens.measured(list(zip(*columns, strict=True)))


def _mean(flag: str, said: str) -> Mean:
    parts = said.split(":")
    if len(parts) not in (1, 3):
        raise InvalidInput(f"{flag} {said} is neither a mean nor three percentiles", hint=TOKENS)
    found = [number(flag, part, hint=TOKENS) for part in parts]
    if len(found) == 1:
        return Mean(found[0])
    low, middle, high = found
    if not 0 < low <= middle <= high:
        raise InvalidInput(f"{flag} {said} does not rise", hint=TOKENS)
    return Mean.fitted(low, middle, high)


def _listed(flag: str, said: str) -> list[Decimal]:
    try:
        lines = Path(said[1:]).expanduser().read_text("utf-8").split()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise InvalidInput(f"{flag} {said} cannot be read: {reason}", hint=TOKENS) from None
    if not lines:
        raise InvalidInput(f"{flag} {said} is empty", hint=TOKENS)
    return [number(flag, line, hint=TOKENS) for line in lines]


# --- offers ---------------------------------------------------------------------------------------


def terms(said: str, settings: Settings) -> Terms:
    """Of an offer (`gpt@openai`), or of a price of one's own: `relay=1.6/6.4`, USD per million tokens in and out.

    Raises `UnknownName` with the nearest name.
    """
    name, equals, price = said.partition("=")
    if not equals:
        return Terms.of(consent.meant(said, settings))
    given, slash, made = price.partition("/")
    if not name or not slash:
        raise InvalidInput(f"{said} is no price", hint="write NAME=IN/OUT, USD per million tokens: relay=1.6/6.4")
    today = datetime.now(UTC).date()
    return Terms(name, Price(number(name, given), number(name, made), GIVEN, today))


def memory(flag: str, said: str) -> int:
    """`512m`, `4g` in bytes. Raises `InvalidInput`."""
    unit = SIZES.get(said[-1:].lower())
    if unit is None:
        raise InvalidInput(f"{flag} {said} has no unit", hint="write 512m or 4g")
    return int(positive(flag, said[:-1]) * unit)


def distinct(found: list[Terms]) -> list[Terms]:
    """Raises `InvalidInput` where one is named twice."""
    seen: set[str] = set()
    for one in found:
        if one.name in seen:
            raise InvalidInput(f"{one.name} is named twice", hint="name each offer once")
        seen.add(one.name)
    return found
