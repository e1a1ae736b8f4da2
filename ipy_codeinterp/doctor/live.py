"""One tiny paid call: code that computes what nobody could know, and whether the interpreter printed it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from decimal import Decimal

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.doctor.finding import Finding
from ipy_codeinterp.errors import InterpError
from ipy_codeinterp.execution import Event, Execution, Result
from ipy_codeinterp.session import Session
from ipy_codeinterp.settings import Settings

LABELS = {"doctor": "live"}


def ask(settings: Settings, offer: Offer, tell: Callable[[str], None]) -> Finding:
    """Run it there; `tell` hears what it may cost before it is sent. Budgets hold, and it is in the ledger."""
    nonce = secrets.token_hex(8)
    code = f'import hashlib\nprint(hashlib.sha256(b"{nonce}").hexdigest())'
    tell(f"{offer}: one call, {_price_before(offer, code)}")
    try:
        with Session(settings, warm="never") as session:
            result = session.run(code, model=str(offer), cache=False, aside=False, policy="pinned", labels=LABELS)
    except InterpError as error:
        return Finding(f"{offer} live", False, f"{type(error).__name__}: {error}", error.hint)
    return _finding(offer, result, hashlib.sha256(nonce.encode()).hexdigest())


def _finding(offer: Offer, result: Result, expected: str) -> Finding:
    """By what code printed alone: a model can say anything."""
    took = f"{result.timings.total:.1f} s, " if result.timings.total is not None else ""
    price = f"{took}{_usd(result.cost.billed)}"
    if expected in result.stdout:
        return Finding(f"{offer} live", True, f"the code ran there: {price}")
    how = "no code was run" if not result.steps else f"the code printed something else ({result.outcome})"
    return Finding(f"{offer} live", False, f"{how}: {price}", "run a cell there and look at what it says")


def _price_before(offer: Offer, code: str) -> str:
    from ipy_codeinterp.client.chain import Run

    most = offer.at_most(Run(Execution(code), offer, _nobody).worst_case)
    return "nobody knows for how much" if most is None else f"at most {_usd(most)}"


def _usd(amount: Decimal | None) -> str:
    return "of unknown cost" if amount is None else f"${amount:.4f}"


async def _nobody(_: Event) -> None:
    pass
