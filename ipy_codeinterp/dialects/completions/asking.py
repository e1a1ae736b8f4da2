"""What the client says in chat completions: the function `run_code`, the prompt, and the rounds that were.

Two forms of a request. The ordinary one declares a function that a model calls and we run. The other, PASSTHROUGH, is
that of relays which claim to have an interpreter of their own behind this format: its reply is words and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipy_codeinterp import languages
from ipy_codeinterp.dialects import faults, prompt
from ipy_codeinterp.dialects.dialect import Answer, Ask, Round, Uploads
from ipy_codeinterp.dialects.extension import FIELD
from ipy_codeinterp.dialects.retry_after import NO_ADVICE, Advice
from ipy_codeinterp.errors import (
    AuthenticationFailed,
    BadAttachment,
    Overloaded,
    ProviderError,
    QuotaExceeded,
    Rejected,
)
from ipy_codeinterp.execution import File

ATTEMPT_HEADER = "X-Client-Request-Id"  # what we call a request
REQUEST_ID_HEADER = "x-request-id"  # what they call it
UPLOADS: Uploads | None = None  # files lie beside the code, which runs here

FUNCTION = "run_code"
# Words an Ask's `tool` may be here. Without one the reply is bounded by `max_tokens`, which every server knows but the
# newest models of the one that made the format.
PASSTHROUGH = "passthrough"
MAX_COMPLETION_TOKENS = "max_completion_tokens"

# What errors are called beside their HTTP status; `invalid_request_error` is not here: a wrong key is called so too.
KINDS: Mapping[str, type[ProviderError]] = {
    "invalid_api_key": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "billing_error": QuotaExceeded,
    "insufficient_balance": QuotaExceeded,
    "rate_limit_exceeded": Overloaded,
    "rate_limit_error": Overloaded,
    "server_error": Overloaded,
    "api_error": Overloaded,
    "overloaded_error": Overloaded,
    "model_not_found": Rejected,
    "context_length_exceeded": Rejected,
}


def path(model: str) -> str:
    """Where requests go, whichever model they name."""
    return "/v1/chat/completions"


def headers(key: str) -> dict[str, str]:
    """A server of one's own may want no key."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def encode_request(ask: Ask) -> dict[str, Any]:
    """The body of a streamed request. Raises `BadAttachment` for files where there is no place to put them."""
    bound = MAX_COMPLETION_TOKENS if ask.tool == MAX_COMPLETION_TOKENS else "max_tokens"
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": list(_messages(ask)),
        "stream": True,
        "stream_options": {"include_usage": True},
        bound: ask.most_tokens,
    }
    if ask.extension is not None:
        body[FIELD] = dict(ask.extension)
    if ask.tool == PASSTHROUGH:
        return body | _passthrough(ask)
    return body | (_function_of(ask) if calls_wanted(ask) else {})


def calls_wanted(ask: Ask) -> bool:
    """Whether the model was given a function to call: what it calls without one is not run."""
    return ask.execution.execute and ask.tool != PASSTHROUGH


def _messages(ask: Ask) -> Iterator[dict[str, Any]]:
    yield {"role": "user", "content": _prompt(ask)}
    for each in ask.rounds:
        yield from (dict(message) for message in each.said)
        yield from _answers(each)


def _prompt(ask: Ask) -> str:
    """Code that is to run as it is knows its files; a model has to be told of them."""
    beside = prompt.beside(file.name for file in ask.files) if ask.execution.kind == "task" else ""
    return prompt.of(ask.execution, ask.before) + beside


def _answers(over: Round) -> Iterator[dict[str, Any]]:
    """Every call is answered before anything else is said; pictures follow, for an answer holds text only."""
    for answer in over.answers:
        yield {"role": "tool", "tool_call_id": answer.call.id, "content": answer.text}
    pictures = [part for answer in over.answers for part in _pictures(answer)]
    if pictures:
        yield {"role": "user", "content": [{"type": "text", "text": "The figures that the code made:"}, *pictures]}


def _pictures(answer: Answer) -> Iterator[dict[str, Any]]:
    for image in answer.images:
        yield {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}


def _function_of(ask: Ask) -> dict[str, Any]:
    """The function, and whether it has to be called: code is forced to run once, then a model may speak."""
    language = languages.find(ask.execution.language).name
    forced = ask.execution.kind == "code" and not ask.rounds
    return {
        "tools": [{"type": "function", "function": _function(language)}],
        "tool_choice": {"type": "function", "function": {"name": FUNCTION}} if forced else "auto",
        "parallel_tool_calls": False,
    }


def _function(language: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {"language": {"type": "string", "enum": [language]}, "code": {"type": "string"}},
        "required": ["language", "code"],
        "additionalProperties": False,
    }
    return {
        "name": FUNCTION,
        "description": f"The code execution tool: runs {language} code and returns what it printed.",
        "parameters": parameters,
        "strict": True,
    }


def _passthrough(ask: Ask) -> dict[str, Any]:
    """An interpreter that is only named. Models of one vendor are forced to it, by the name of a function."""
    if ask.files:
        raise BadAttachment(
            f"{ask.files[0].name} cannot be attached: this form of request carries no files",
            hint="put the data into the code, or ask without passthrough",
        )
    if not ask.execution.execute:
        return {}
    language = languages.find(ask.execution.language).name.capitalize()
    tool = {"type": "code_interpreter", "description": f"Execute {language} code in a sandboxed environment"}
    if ask.model.startswith("claude"):
        return {"tools": [tool]}
    return {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "code_interpreter"}}}


def error_of(
    body: object,
    status: int,
    request_id: str | None = None,
    *,
    advice: Advice = NO_ADVICE,
    may_have_run: bool = False,
) -> ProviderError:
    """The error that a body of that HTTP status means."""
    return faults.error_of(body, status, request_id, kinds=KINDS, advice=advice, may_have_run=may_have_run)


def content_path(id: str) -> str:
    """Nothing: code leaves its files here. Raises `Rejected`."""
    raise _no_files()


def about_path(id: str) -> str:
    """Nothing, as above. Raises `Rejected`."""
    raise _no_files()


def about(body: Mapping[str, Any]) -> File:
    """Nothing, as above. Raises `Rejected`."""
    raise _no_files()


def _no_files() -> Rejected:
    return Rejected("a provider that speaks chat completions keeps no files")
