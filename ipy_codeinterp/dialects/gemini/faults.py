"""The errors of Gemini's bodies: the wait and the kind of quota are said in `details`, and nowhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ipy_codeinterp.dialects import faults
from ipy_codeinterp.dialects.reading import items, mapping, text
from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import AuthenticationFailed, Overloaded, ProviderError, QuotaExceeded, Rejected

# An exact reason comes before the status; a wrong key has the status of a wrong request.
KINDS: Mapping[str, type[ProviderError]] = {
    "PerDay": QuotaExceeded,
    "API_KEY_INVALID": AuthenticationFailed,
    "API_KEY_EXPIRED": AuthenticationFailed,
    "UNAUTHENTICATED": AuthenticationFailed,
    "PERMISSION_DENIED": AuthenticationFailed,
    "RESOURCE_EXHAUSTED": Overloaded,
    "ABORTED": Overloaded,
    "INTERNAL": Overloaded,
    "UNAVAILABLE": Overloaded,
    "DEADLINE_EXCEEDED": Overloaded,
    "INVALID_ARGUMENT": Rejected,
    "FAILED_PRECONDITION": Rejected,
    "OUT_OF_RANGE": Rejected,
    "NOT_FOUND": Rejected,
}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)s")


def error_of(
    body: object,
    status: int,
    request_id: str | None = None,
    *,
    advice: Advice = NO_ADVICE,
    may_have_run: bool = False,
) -> ProviderError:
    """The error that a body of that HTTP status means; where a stream was asked for it may be in a list of one.

    A quota of a day is none that waiting mends, although it comes with a short wait: that one is not passed on.
    """
    said = mapping(mapping(_of_one(body)).get("error"))
    details = [mapping(each) for each in items(said.get("details"))]
    if details:
        exact = next(_exact(details), "")
        advice = Advice(should_retry=False) if exact == "PerDay" else _with_delay(advice, details)
        body = {"error": {"param": _param(details), **said, "details": {"error_code": exact}}}
    return faults.error_of(body, status, request_id, kinds=KINDS, advice=advice, may_have_run=may_have_run)


def _of_one(body: object) -> object:
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def _exact(details: list[Mapping[str, Any]]) -> Iterator[str]:
    """The quota of a day, then a reason."""
    violations = [mapping(each) for detail in details for each in items(detail.get("violations"))]
    if any("PerDay" in text(violation.get("quotaId")) for violation in violations):
        yield "PerDay"
    yield from (reason for detail in details if (reason := text(detail.get("reason"))) in KINDS)


def _with_delay(advice: Advice, details: list[Mapping[str, Any]]) -> Advice:
    """A header's word comes first."""
    delays = [delay for detail in details if (delay := _seconds(detail.get("retryDelay"))) is not None]
    return replace(advice, retry_after=max(delays)) if delays and advice.retry_after is None else advice


def _seconds(said: object) -> float | None:
    found = _DURATION.fullmatch(text(said))
    seconds = float(found[1]) if found else math.inf
    return seconds if math.isfinite(seconds) else None


def _param(details: list[Mapping[str, Any]]) -> str | None:
    """Which field is wrong, where one is named."""
    violations = (mapping(each) for detail in details for each in items(detail.get("fieldViolations")))
    return next((field for each in violations if (field := text(each.get("field")))), None)
