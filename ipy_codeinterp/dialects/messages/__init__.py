"""Anthropic's Messages with `code_execution`: what our client says and reads, what our gateway reads and says.

Everything about that format lives here, for both ends: `asking` and `decoding` (with `steps` and `executed`) are the
client's, `serving` is the gateway's. Our own gateway may say more than the vendor does: `dialects.extension` has it.
Sources: the types of the `anthropic` SDK 2.12 and recorded exchanges with the live service.
"""

from ipy_codeinterp.dialects.dialect import Reply
from ipy_codeinterp.dialects.extension import Ran, encode_output
from ipy_codeinterp.dialects.messages.asking import (
    ERRORS,
    UPLOADS,
    about,
    about_path,
    content_path,
    decoder,
    encode_request,
    error_of,
    events_of,
    headers,
    is_end,
    path,
)
from ipy_codeinterp.dialects.messages.decoding import Decoder
from ipy_codeinterp.dialects.messages.names import (
    ATTEMPT_HEADER,
    BASH_TOOL,
    EXTENSION,
    FIELD,
    REQUEST_ID_HEADER,
    TOOL,
    TOOLS,
    VERSION_HEADER,
)
from ipy_codeinterp.dialects.messages.serving import (
    MOST_STANDARD_TEXT,
    Asked,
    Envelope,
    decode_request,
    encode_end,
    encode_error,
    encode_reply,
    encode_start,
)

MOST_INLINE = 0  # bytes: files do not travel inside a request

__all__ = [
    "ATTEMPT_HEADER",
    "BASH_TOOL",
    "ERRORS",
    "EXTENSION",
    "FIELD",
    "MOST_INLINE",
    "MOST_STANDARD_TEXT",
    "REQUEST_ID_HEADER",
    "TOOL",
    "TOOLS",
    "UPLOADS",
    "VERSION_HEADER",
    "Asked",
    "Decoder",
    "Envelope",
    "Ran",
    "Reply",
    "about",
    "about_path",
    "content_path",
    "decode_request",
    "decoder",
    "encode_end",
    "encode_error",
    "encode_output",
    "encode_reply",
    "encode_request",
    "encode_start",
    "error_of",
    "events_of",
    "headers",
    "is_end",
    "path",
]
