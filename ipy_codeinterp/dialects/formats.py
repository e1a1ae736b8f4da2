"""The wire formats by name."""

from __future__ import annotations

from collections.abc import Mapping

from ipy_codeinterp import registry
from ipy_codeinterp.dialects import completions, gemini, messages, responses
from ipy_codeinterp.dialects.dialect import Dialect

FORMATS: Mapping[str, Dialect] = {
    "messages": messages,
    "responses": responses,
    "completions": completions,
    "gemini": gemini,
}


def find(name: str) -> Dialect:
    """The format of that name. Raises `UnknownName` with the nearest one."""
    return registry.find("wire format", name, FORMATS)
