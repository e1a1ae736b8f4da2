"""Gemini's `codeExecution`: Python only, nothing is kept, figures come inside the reply.

This module is the client's end, as `dialects.dialect.Dialect` has it. Sources: the types of the `google-genai` SDK 3.4
and recorded exchanges with the live service.
"""

from __future__ import annotations

from ipy_codeinterp.dialects.gemini.asking import (
    ATTEMPT_HEADER,
    MOST_INLINE,
    REQUEST_ID_HEADER,
    UPLOADS,
    about,
    about_path,
    content_path,
    encode_request,
    headers,
    path,
)
from ipy_codeinterp.dialects.gemini.faults import error_of
from ipy_codeinterp.dialects.gemini.hearing import Decoder, decoder, events_of, is_end

__all__ = [
    "ATTEMPT_HEADER",
    "MOST_INLINE",
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
