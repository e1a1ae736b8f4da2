"""Message Batches: many requests in one, answered within a day at half the price, and fetched by whoever asks.

A batch says how many requests it holds and never which: their custom ids come with the results alone. Sources: the
types of the `anthropic` SDK 2.12, and the vendor's page on batches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from ipy_codeinterp.dialects.dialect import Ask, Decoder, Reply
from ipy_codeinterp.dialects.messages import asking
from ipy_codeinterp.dialects.messages.faults import error_of
from ipy_codeinterp.errors import BadReply, ProviderError

PATH = "/v1/messages/batches"
PAGE = 100  # batches that one page of the list is asked to hold
MOST_REQUESTS = 1_000  # of one batch; the vendor takes 100,000
MOST_BYTES = 64 << 20  # of its body; the vendor takes 256 MB
COUNTED = ("processing", "succeeded", "errored", "canceled", "expired")
End = Literal["succeeded", "errored", "canceled", "expired"]
ENDS: Mapping[str, End] = {"succeeded": "succeeded", "errored": "errored", "canceled": "canceled", "expired": "expired"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a batch is; `count` is of all its requests, None where it does not say."""

    id: str
    has_ended: bool
    created_at: datetime | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, the newest first; `after` is what the next page is asked with, None for the last."""

    standings: tuple[Standing, ...]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of the request `custom_id`: a `message` where it succeeded, an `error` where it did not run well."""

    custom_id: str
    end: End
    message: Mapping[str, Any] = field(default_factory=dict, repr=False)
    error: ProviderError | None = None


# --- asked ----------------------------------------------------------------------------------------


def request_of(custom_id: str, ask: Ask) -> bytes:
    """One request of a batch, as JSON. Raises `InvalidInput` for what nobody there runs."""
    params = {name: value for name, value in asking.encode_request(ask).items() if name != "stream"}
    return json.dumps({"custom_id": custom_id, "params": params}).encode()


def body_of(requests: Iterable[bytes]) -> bytes:
    """The body that makes a batch of what `request_of` gave."""
    return b'{"requests": [' + b", ".join(requests) + b"]}"


def path(id: str) -> str:
    return f"{PATH}/{quote(id, safe='')}"


def results_path(id: str) -> str:
    """Not the `results_url` that a batch gives: a key is not sent where a reply says."""
    return f"{path(id)}/results"


def cancel_path(id: str) -> str:
    return f"{path(id)}/cancel"


def list_path(after: str | None = None) -> str:
    return f"{PATH}?limit={PAGE}" + (f"&after_id={quote(after, safe='')}" if after else "")


# --- answered -------------------------------------------------------------------------------------


def standing_of(body: object) -> Standing:
    """A batch as it describes itself. Raises `BadReply` for what is none."""
    said = body if isinstance(body, Mapping) else {}
    id, status = said.get("id"), said.get("processing_status")
    if not isinstance(id, str) or not id or not isinstance(status, str):
        raise BadReply("not a batch of the Messages format: it has no id or no status")
    counts = said.get("request_counts")
    known = [counts.get(name) for name in COUNTED] if isinstance(counts, Mapping) else [None]
    numbers = [each for each in known if isinstance(each, int) and not isinstance(each, bool)]
    count = sum(numbers) if len(numbers) == len(known) else None
    return Standing(id, status == "ended", _moment(said.get("created_at")), count)


def page_of(body: object) -> Page:
    """A part of the list. Raises `BadReply` for what is none."""
    rows = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(rows, list):
        raise BadReply("not a list of batches")
    standings = tuple(map(standing_of, rows))
    has_more = body.get("has_more") is True and standings
    return Page(standings, standings[-1].id if has_more else None)


def ended_of(line: object) -> Ended:
    """One line of the results. Raises `BadReply` for one that names no request of ours.

    What it says in words of a later year may have run.
    """
    said = line if isinstance(line, Mapping) else {}
    id, result = said.get("custom_id"), said.get("result")
    if not isinstance(id, str) or not isinstance(result, Mapping):
        raise BadReply("a line of the results names no request")
    kind = result.get("type")
    end = ENDS.get(kind) if isinstance(kind, str) else None
    message = result.get("message")
    if end == "succeeded" and isinstance(message, Mapping):
        return Ended(id, end, message)
    if end == "errored":
        return Ended(id, end, error=error_of(result.get("error"), 200))
    if end in ("canceled", "expired"):
        return Ended(id, end)
    return Ended(id, "errored", error=BadReply("the result of a batch is in no known form", may_have_run=True))


def reply_of(ask: Ask, message: Mapping[str, Any]) -> Reply:
    """The reply to `ask`. Raises `BadReply` for what is none, or the error that it carries."""
    decoder: Decoder = asking.decoder(ask)
    for event in asking.events_of(message):
        _all(decoder.feed(event))
    return decoder.reply()


def _all(events: Iterator[object]) -> None:
    for _ in events:
        pass


def _moment(said: object) -> datetime | None:
    """RFC 3339; None for what is none."""
    try:
        moment = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
