"""What would be sent, and what it may cost: made as a request is, and sent to nobody. It needs no key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ipy_codeinterp.catalog import Offer
from ipy_codeinterp.dialects import formats, prompt
from ipy_codeinterp.execution import Event, Execution, File, Usage
from ipy_codeinterp.gateway import tokens
from ipy_codeinterp.keys import masked

SHOWN = 40  # characters of a long base64 text
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests to a provider go: its address, its wire format, and whether it is our own gateway."""

    url: str
    format: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one offer, in USD: `least` pays for what is said to it, `most` for the longest reply too; None: unknown."""

    offer: str
    tokens: int
    least: Decimal | None
    most: Decimal | None
    is_local: bool

    def __str__(self) -> str:
        said = f"{self.offer}: about {self.tokens:,} tokens in ({tokens.counted_by()})"
        if self.is_local and not self.most:
            return f"{said}; nothing is billed on this machine"
        if self.least is None or self.most is None:
            return f"{said}; nobody knows its price"
        return f"{said}; ${self.least:.4f} to ${self.most:.4f} a request"


@dataclass(frozen=True, slots=True)
class DryRun:
    """The request to the first offer, and what each may cost."""

    url: str
    body: dict[str, Any]
    files: tuple[File, ...]
    estimates: tuple[Estimate, ...]

    def __str__(self) -> str:
        shown = json.dumps(_shortened(self.body), indent=1, ensure_ascii=False)
        files = [f"file {file.name}: {file.size or 0:,} bytes, sha256 {file.sha256}" for file in self.files]
        lines = ["dry run: nothing was sent", *map(str, self.estimates), *files, f"POST {self.url}", shown]
        return masked("\n".join(lines))


async def dry_run(
    execution: Execution, offers: Sequence[Offer], place: Callable[[str], Place], max_cost: Decimal | None = None
) -> DryRun:
    """The request that the first of `offers` would get, and what each may cost. Raises `InterpError` as a run does."""
    from ipy_codeinterp.client.chain import Run
    from ipy_codeinterp.client.transport import ask_of

    runs = [Run(execution, offer, _nobody, max_cost=max_cost) for offer in offers]
    first, where = runs[0], place(offers[0].provider)
    dialect = formats.find(where.format)
    is_uploaded = dialect.UPLOADS is not None
    first.files, first.inputs = (_named(files, is_uploaded) for files in (execution.files, execution.inputs))
    body = dialect.encode_request(await ask_of(first, dialect, ours=where.ours))
    said = await tokens.count(prompt.of(execution))
    estimates = tuple(_estimate(run, said) for run in runs)
    files = (*execution.files, *execution.inputs)
    return DryRun(where.url + dialect.path(offers[0].request_model), body, files, estimates)


def _estimate(run: Any, said: int) -> Estimate:
    offer: Offer = run.offer
    least = offer.cost(Usage(said, 0)).billed
    return Estimate(str(offer), said, least, offer.at_most(run.worst_case), offer.is_local)


def _named(files: tuple[File, ...], is_uploaded: bool) -> tuple[File, ...]:
    """With an id as a provider would give it: nothing is uploaded."""
    return tuple(replace(file, id=f"(id of {file.name})" if is_uploaded else None) for file in files)


def _shortened(value: Any) -> Any:
    """The same with long base64 cut, and its length told."""
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    if isinstance(value, str) and _BASE64.fullmatch(value):
        return f"{value[:SHOWN]}… ({len(value):,} characters of base64)"
    return value


async def _nobody(_: Event) -> None:
    pass
