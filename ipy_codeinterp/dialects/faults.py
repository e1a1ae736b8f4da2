"""The error that a provider's body means: one reading of every format's spelling, and of what relays send instead.

A body is JSON that may be anything, or text; what comes of it is always a `ProviderError`. Its words are cut, and
decide nothing: names and the HTTP status do. A format adds the table of its own names, and that is all it adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import AuthenticationFailed, BadReply, Overloaded, ProviderError, QuotaExceeded, Rejected
from ipy_codeinterp.mime import safe_text

MOST_WORDS = 2000  # characters of a message: a relay's page may be a megabyte
WORDS = ("message", "msg", "detail")  # where a message may stand

# In place of a `type` or a `code`, often beside the name and status of a rate limit; no waiting mends these.
NO_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
    }
)
COME_BACK = {408, 409, 425, 429}  # and whatever is theirs: 500 and more
HTTP_STATUS = re.compile("[45][0-9][0-9]")
GAVE_UP_WAITING = {504, 524}  # somebody on the way did; the work may go on


def error_of(
    body: object,
    status: int,
    request_id: str | None = None,
    *,
    kinds: Mapping[str, type[ProviderError]],
    advice: Advice = NO_ADVICE,
    may_have_run: bool = False,
) -> ProviderError:
    """The error that `body`, which came with the HTTP `status`, means.

    Names of an empty account come first, then what `kinds` says of its most exact name, then the status; an error in
    the middle of a stream (status 200) may say in its `code` which status it would have had.
    """
    said = _said(body)
    status = _status(said, status)
    return _kind_of(said, status, kinds)(
        _message(said) or f"HTTP {status}",
        hint=_text(said.get("hint")),
        status=status,
        param=_text(said.get("param")) or None,
        request_id=request_id or _request_id(body),
        retry_after=advice.retry_after,
        should_retry=advice.should_retry,
        may_have_run=may_have_run or status in GAVE_UP_WAITING,
    )


def _said(body: object) -> Mapping[str, Any]:
    """What describes the error: the `error` in the body, or the body itself where it is flat."""
    if isinstance(body, list) and len(body) == 1:  # how some say it where a stream was asked for
        (body,) = body
    error = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(error, Mapping):
        inner = error.get("error")  # a relay may wrap what it was told
        return inner if isinstance(inner, Mapping) and not _message(error) else error
    if isinstance(body, Mapping) and (words := _message(body)):
        return {**body, "message": f"{error}: {words}"} if isinstance(error, str) and error else body
    return {"message": error or body}


def not_a_reply(body: object, what: str) -> BadReply:
    """JSON that came as a reply and is `what`: relays say with status 200, in words of their own, what is wrong."""
    words = _message(body) if isinstance(body, Mapping) else ""
    return BadReply(f"the reply is JSON, but {what}{': ' if words else ''}{words}")


def _message(said: Mapping[str, Any]) -> str:
    return next((words for name in WORDS if (words := _words(said.get(name)))), "")


def _kind_of(said: Mapping[str, Any], status: int, kinds: Mapping[str, type[ProviderError]]) -> type[ProviderError]:
    """By the names it gives, then by its status; never by its words."""
    names = list(_names(said))
    if not NO_QUOTA.isdisjoint(names):
        return QuotaExceeded
    return next((kinds[name] for name in names if name in kinds), None) or _kind_of_status(status)


def _names(said: Mapping[str, Any]) -> Iterator[str]:
    """What the error is called, the most exact name first."""
    details = said.get("details")
    exact = details.get("error_code") if isinstance(details, Mapping) else None
    for name in (exact, said.get("code"), said.get("type"), said.get("status")):
        if isinstance(name, str):
            yield name


def _kind_of_status(status: int) -> type[ProviderError]:
    if status in (401, 403):
        return AuthenticationFailed
    if status == 402:
        return QuotaExceeded
    return Overloaded if status in COME_BACK or status >= 500 else Rejected


def _status(said: Mapping[str, Any], status: int) -> int:
    code = said.get("code")
    code = int(code) if isinstance(code, str) and HTTP_STATUS.fullmatch(code) else code
    return code if status < 400 and isinstance(code, int) and 400 <= code < 600 else status


def _request_id(body: object) -> str | None:
    return _text(body.get("request_id")) or None if isinstance(body, Mapping) else None


def _text(value: object) -> str:
    return safe_text(value[:MOST_WORDS]) if isinstance(value, str) else ""


def _words(value: object) -> str:
    """`value` in words that a terminal may show; what is nested too deep, or has too many digits, has none."""
    try:
        return safe_text(str(value or "")[:MOST_WORDS])
    except (RecursionError, ValueError):
        return ""
