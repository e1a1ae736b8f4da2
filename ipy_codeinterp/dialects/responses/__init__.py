"""OpenAI's Responses with `code_interpreter`: `asking` and `hearing` are the client's end, `serving` the gateway's.

Sources: the types of the `openai` SDK 3.54 and recorded exchanges with the live service. No failure of code is ever
reported: of a call that is `completed` the outcome is unknown, unless its logs end in a traceback.
"""

from ipy_codeinterp.dialects.responses.asking import (
    ATTEMPT_HEADER,
    REQUEST_ID_HEADER,
    UPLOADS,
    about,
    about_path,
    content_path,
    encode_request,
    error_of,
    headers,
    is_lost_container,
    path,
)
from ipy_codeinterp.dialects.responses.hearing import Decoder, events_of, is_end
from ipy_codeinterp.dialects.responses.hearing import Decoder as decoder

MOST_INLINE = 0  # bytes: files do not travel inside a request

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
    "is_lost_container",
    "path",
]
