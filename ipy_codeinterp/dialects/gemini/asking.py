"""What the client says to Gemini: the prompt, files inside the request, and the rounds that were."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ipy_codeinterp import languages
from ipy_codeinterp.dialects import prompt
from ipy_codeinterp.dialects.dialect import Ask, Uploads
from ipy_codeinterp.errors import BadAttachment, InvalidInput, Rejected
from ipy_codeinterp.execution import File

ATTEMPT_HEADER = "X-Request-ID"  # what we call a request; in their reply's body is what they call it
REQUEST_ID_HEADER = "x-request-id"
UPLOADS: Uploads | None = None  # files travel inside the request: an Ask has their `contents`
MOST_INLINE = 14 << 20  # bytes of all files: in base64 they just fit into the 20 MB that a request may have

# By suffix; a table of the machine's would send different requests from different machines.
TYPES = {
    "csv": "text/csv",
    "gif": "image/gif",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "png": "image/png",
    "py": "text/x-python",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "webp": "image/webp",
    "xml": "text/xml",
}


def path(model: str) -> str:
    """Where a streamed request for `model` goes."""
    return f"/v1/models/{quote(model.removeprefix('models/'), safe='')}:streamGenerateContent?alt=sse"


def headers(key: str) -> dict[str, str]:
    return {"x-goog-api-key": key}


def encode_request(ask: Ask) -> dict[str, Any]:
    """The body of a request, streamed or not: the path tells.

    Raises `InvalidInput` for code in a language that does not run there, `BadAttachment` for files too large to go
    along. No field forces the tool here: the prompt asks for it.
    """
    language = languages.find(ask.execution.language).name
    if ask.execution.execute and language != "python":
        raise InvalidInput(
            f"Gemini runs Python only, not {language}", hint="choose another model, such as --model local"
        )
    said = [{"text": prompt.of(ask.execution, ask.before)}, *_files(ask)]
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": said}, *(dict(each) for over in ask.rounds for each in over.said)],
        "generationConfig": {"maxOutputTokens": ask.most_tokens},
    }
    return body | ({"tools": [{"codeExecution": {}}]} if ask.execution.execute else {})


def _files(ask: Ask) -> Iterator[dict[str, Any]]:
    """Each file's name, then the file: nothing else says what it is called."""
    if sum(len(ask.contents.get(file.name, b"")) for file in ask.files) > MOST_INLINE:
        raise BadAttachment("the attached files are too large", hint=f"Gemini takes at most {MOST_INLINE >> 20} MB")
    for file in ask.files:
        if file.name not in ask.contents:
            raise BadAttachment(f"the content of {file.name} is missing", hint="attach it again")
        data = base64.b64encode(ask.contents[file.name]).decode()
        yield {"text": f"The file {json.dumps(file.name, ensure_ascii=False)}:"}
        yield {"inlineData": {"mimeType": _type_of(file.name), "data": data}}


def _type_of(name: str) -> str:
    return TYPES.get(name.rpartition(".")[2].lower(), "text/plain")


def content_path(id: str) -> str:
    """Nothing: code leaves no files there. Raises `Rejected`."""
    raise _no_files()


def about_path(id: str) -> str:
    """Nothing, as above. Raises `Rejected`."""
    raise _no_files()


def about(body: Mapping[str, Any]) -> File:
    """Nothing, as above. Raises `Rejected`."""
    raise _no_files()


def _no_files() -> Rejected:
    return Rejected("Gemini keeps no files that code left")
