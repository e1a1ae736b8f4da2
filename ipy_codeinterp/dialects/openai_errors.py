"""Errors as OpenAI's formats have them: which fields a refusal names, and its body.

Source: the types of the `openai` SDK 3.54 and recorded exchanges with the live service.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ipy_codeinterp.errors import Rejected

# What an HTTP status is called in an error body.
KINDS = {
    401: "invalid_request_error",
    403: "permission_error",
    429: "requests",
    500: "server_error",
    503: "server_error",
}
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 503: "server_overloaded"}


class Invalid(Rejected):
    """A request that the vendor would refuse too; `code` is its word for why."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message, param=param, status=status)
        self.code = code


def missing(param: str) -> Invalid:
    return Invalid(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, wanted: str) -> Invalid:
    return Invalid(f"Invalid type for '{param}': expected {wanted}.", param=param, code="invalid_type")


def wrong_value(param: str, value: object, allowed: Collection[str]) -> Invalid:
    named = ", ".join(f"'{each}'" for each in allowed)
    message = f"Invalid value: '{str(value)[:80]}'. Supported values are: {named}."
    return Invalid(message, param=param, code="invalid_value")


def encode_error(
    status: int, message: str, *, kind: str = "", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error of that HTTP status."""
    named = kind or KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": named, "param": param, "code": code or CODES.get(status)}}
