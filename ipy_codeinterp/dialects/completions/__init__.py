"""Chat completions, the format that most servers speak: nobody runs code there, so a model calls a function of ours.

This module is the client's end, as `dialects.dialect.Dialect` has it.
"""

from __future__ import annotations

from ipy_codeinterp.dialects.completions.asking import (
    ATTEMPT_HEADER,
    FUNCTION,
    PASSTHROUGH,
    REQUEST_ID_HEADER,
    UPLOADS,
    about,
    about_path,
    content_path,
    encode_request,
    error_of,
    headers,
    path,
)
from ipy_codeinterp.dialects.completions.hearing import Decoder, decoder, events_of, is_end

MOST_INLINE = 0  # bytes: files do not travel inside a request

__all__ = [
    "ATTEMPT_HEADER",
    "FUNCTION",
    "MOST_INLINE",
    "PASSTHROUGH",
    "REQUEST_ID_HEADER",
    "UPLOADS",
    "Decoder",
    "about",
    "about_path",
    "content_path",
    "decoder",
    "encode_request",
    "error_of",
    "events_of",
    "headers",
    "is_end",
    "path",
]
