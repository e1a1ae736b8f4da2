"""What the names of the Messages format's errors mean to us."""

from __future__ import annotations

from ipy_codeinterp.dialects import faults
from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import AuthenticationFailed, Overloaded, ProviderError, QuotaExceeded, Rejected

# The way an error type of theirs becomes a class of ours; what is not listed is judged by its HTTP status.
ERRORS: dict[str, type[ProviderError]] = {
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "billing_error": QuotaExceeded,
    "invalid_request_error": Rejected,
    "not_found_error": Rejected,
    "request_too_large": Rejected,
    "conflict_error": Overloaded,
    "rate_limit_error": Overloaded,
    "overloaded_error": Overloaded,
    "api_error": Overloaded,
    "timeout_error": Overloaded,
}


def error_of(
    body: object,
    status: int,
    request_id: str | None = None,
    *,
    advice: Advice = NO_ADVICE,
    may_have_run: bool = False,
) -> ProviderError:
    """The error that a body (or an `error` event) means; relays send strings, HTML or nothing at all."""
    return faults.error_of(body, status, request_id, kinds=ERRORS, advice=advice, may_have_run=may_have_run)
