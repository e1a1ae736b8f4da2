"""The monthly bill: what a Demand comes to at the prices of an offer, and what a success costs there.

A success costs (attempts a call x cost of an attempt + containers) / share of calls that end well. Money is `Decimal`
USD. What nobody knows is None; what is known only in part is a lower bound and says so. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ipy_codeinterp.bench.intervals import Interval
from ipy_codeinterp.bench.projection.demand import ONE, Demand, Mean, Use
from ipy_codeinterp.catalog import Charge, ContainerPrice, Offer, Price, container_cost
from ipy_codeinterp.catalog.prices import NOTHING


@dataclass(frozen=True, slots=True)
class Terms:
    """What one offer takes. Without `price` it is unknown, unless it `is_free`; `batch` is that of what may wait."""

    name: str
    price: Price | None = None
    batch: Price | None = None
    container: ContainerPrice | None = None
    memory: int | None = None
    is_free: bool = False

    @classmethod
    def of(cls, offer: Offer) -> Terms:
        is_free = offer.is_local and offer.price is None
        return cls(str(offer), offer.price, offer.batch_price, offer.container_price, offer.memory, is_free)


@dataclass(frozen=True, slots=True)
class Figures:
    """One month in plain numbers: all that a bill follows from. USD; `attempt` and `container` are of one call sent."""

    calls: Decimal
    attempts: Decimal
    attempt: Decimal
    container: Decimal = NOTHING
    cache: Decimal = NOTHING
    success: Decimal | None = None

    @property
    def call(self) -> Decimal:
        """USD of a call that is sent."""
        return self.attempts * self.attempt + self.container

    @property
    def month(self) -> Decimal:
        return self.calls * (ONE - self.cache) * self.call

    @property
    def a_success(self) -> Decimal | None:
        """USD; a call that the cache answers is one, for nothing. None where that is unknown, or there is none."""
        if self.success is None:
            return None
        successes = self.cache + (ONE - self.cache) * self.success
        return (ONE - self.cache) * self.call / successes if successes else None


@dataclass(frozen=True, slots=True)
class Projection:
    """What it comes to at one offer. With `is_least` its amounts are lower bounds; `notes` say why, and more.

    `figures` are None where the price is unknown. Intervals are those of the month and of a success; None where no
    figure was measured.
    """

    terms: Terms
    demand: Demand
    figures: Figures | None
    is_least: bool = False
    notes: tuple[str, ...] = ()
    month_interval: Interval | None = None
    success_interval: Interval | None = None

    @property
    def call(self) -> Decimal | None:
        return self.figures.call if self.figures else None

    @property
    def month(self) -> Decimal | None:
        return self.figures.month if self.figures else None

    @property
    def a_success(self) -> Decimal | None:
        return self.figures.a_success if self.figures else None


def project(terms: Terms, demand: Demand) -> Projection:
    """The bill, without intervals: `monte_carlo` adds those."""
    attempt, container = attempt_cost(terms, demand), containers_of(terms, demand.containers)
    notes = list(_notes(terms, demand, container))
    if attempt is None:
        return Projection(terms, demand, None, notes=tuple(notes))
    figures = Figures(
        demand.calls.value,
        demand.attempts.value,
        attempt.value,
        container.most if container else NOTHING,
        demand.cache.value,
        demand.success.value if demand.success else None,
    )
    unbilled = terms.container is not None and container is None
    is_least = not terms.is_free and (unbilled or not demand.tokens.are_known)
    return Projection(terms, demand, figures, is_least, tuple(notes))


def attempt_cost(terms: Terms, demand: Demand) -> Mean | None:
    """USD of the tokens of one attempt, some of them at the price of a batch; None where the price is unknown."""
    if terms.price is None:
        return Mean(NOTHING) if terms.is_free else None
    full = demand.tokens.cost(terms.price.rates)
    if terms.batch is None or not demand.batch.value:
        return full
    late, share = demand.tokens.cost(terms.batch.rates), demand.batch.value
    return Mean(
        full.value * (ONE - share) + late.value * share,
        full.deviation * (ONE - share) + late.deviation * share,
        full.n,
    )


def containers_of(terms: Terms, use: Use | None) -> Charge | None:
    """USD of containers a call that is sent, as a range; None where their use or their price is unknown."""
    if use is None or terms.container is None:
        return None
    memory = terms.memory if use.memory is None else use.memory
    charge = container_cost(terms.container, float(use.minutes * 60), memory=memory)
    return None if charge is None else Charge(charge.least / use.calls, charge.most / use.calls)


def _notes(terms: Terms, demand: Demand, container: Charge | None) -> list[str]:
    """What has to be known of the bill."""
    notes = []
    if terms.is_free:
        notes.append("nothing is billed on this machine")
    elif terms.price is None:
        notes.append("nobody knows its price")
    if terms.price and not demand.tokens.are_known:
        notes.append(f"without {'input' if demand.tokens.input is None else 'output'} tokens, which nobody knows")
    if terms.container and demand.containers is None:
        notes.append("without containers, which it bills: --container-minutes says how long a call uses one")
    elif terms.container and container is None:
        notes.append("without containers: there is no price for so much memory")
    elif container and not container.is_exact:
        notes.append(f"containers cost ${container.least:.4f} to ${container.most:.4f} a call: counted is the most")
    if terms.price and demand.batch.value and terms.batch is None:
        notes.append("it has no price for batches: all is counted in full")
    return notes
