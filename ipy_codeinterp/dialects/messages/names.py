"""What both ends of the Messages format call things."""

from __future__ import annotations

from ipy_codeinterp.dialects.extension import FIELD as FIELD
from ipy_codeinterp.dialects.extension import HEADER as EXTENSION

__all__ = ["ATTEMPT_HEADER", "BASH_TOOL", "EXTENSION", "FIELD", "REQUEST_ID_HEADER", "TOOL", "TOOLS", "VERSION_HEADER"]

VERSION_HEADER = ("anthropic-version", "2023-06-01")
ATTEMPT_HEADER = "X-Request-ID"  # what we call a request; what they call it is in the reply
REQUEST_ID_HEADER = "request-id"
TOOL = "code_execution_20260521"  # the newest: its `input.code` is the code itself
BASH_TOOL = "code_execution_20250825"
TOOLS = ("code_execution_20250522", BASH_TOOL, "code_execution_20260120", TOOL)
