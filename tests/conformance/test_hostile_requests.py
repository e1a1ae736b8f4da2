"""Requests that nobody means well with: each is refused in its vendor's words, and none breaks the gateway."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .served import Served, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox]

OPENAI = ("/v1/responses", "/v1/responses/input_tokens", "/v1/containers", "/v1/chat/completions")
ANTHROPIC = ("/v1/messages", "/v1/messages/count_tokens")
DEEP = 100_000
TOO_LONG = (128 << 20) + 1
BODIES = {
    "empty": b"",
    "cut": b'{"model": "gpt-5"',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "no UTF-8": b'"\xff\xfe"',
    "a long number": b'{"model": 1' + b"0" * 6000 + b"}",
    "a list": b"[]",
    "null": b"null",
}
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    "",
    "\ud800",
    "\0",
    [],
    [None],
    [{}],
    [[]],
    {"type": {}},
    [{"type": []}],
)
FIELDS = (
    "model",
    "messages",
    "input",
    "tools",
    "container",
    "include",
    "previous_response_id",
    "name",
    "ipy_codeinterp",
)
TOOLS = [{"type": "code_interpreter", "container": {"type": "auto"}}]
WHOLE = {
    "model": "gpt-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "please plot it"}],
    "input": "please plot it",
    "tools": TOOLS,
    "name": "room",
}
FILE = b'Content-Disposition: form-data; name="file"; filename='
FORMS = {
    "no end": b"--mark\r\n",
    "no header": b"--mark\r\n\r\nhi\r\n--mark--",
    "a header too long": b"--mark\r\nX: " + b"a" * 20_000 + b"\r\n\r\nhi\r\n--mark--",
    "headers too many": b"--mark\r\n" + b"".join(b"X%d: a\r\n" % i for i in range(2000)) + b"\r\nhi\r\n--mark--",
    "a zero byte": b"--mark\r\n" + FILE + b'"a\0b"\r\n\r\nhi\r\n--mark--',
    "a path": b"--mark\r\n" + FILE + b'"../../etc/passwd"\r\n\r\nhi\r\n--mark--',
    "many parts": b'--mark\r\nContent-Disposition: form-data; name="x"\r\n\r\nhi\r\n' * 2000 + b"--mark--",
}


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


def send(
    gateway: Served, path: str, body: Any, kind: str = "application/json", vendor: str = "openai"
) -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    key = {"x-api-key": gateway.token, "anthropic-version": "2023-06-01"}
    headers = key if vendor == "anthropic" else {"Authorization": f"Bearer {gateway.token}"}
    connection = http.client.HTTPConnection(urlsplit(gateway.base_url).netloc, timeout=60)
    try:
        connection.request("POST", path, body, {**headers, "Content-Type": kind})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def is_error(said: Any, vendor: str) -> bool:
    if vendor == "anthropic":
        return said["type"] == "error" and {"type", "message"} <= said["error"].keys() and "request_id" in said
    return {"type", "message", "param", "code"} <= said["error"].keys()


PATHS = [(path, "openai") for path in OPENAI] + [(path, "anthropic") for path in ANTHROPIC]


@pytest.mark.parametrize(("path", "vendor"), PATHS)
def test_bodies_that_are_none(gateway: Served, path: str, vendor: str) -> None:
    """What is no request is 400, however deep, in the vendor's words."""
    for name, body in BODIES.items():
        status, said = send(gateway, path, body, vendor=vendor)
        assert (name, status, is_error(said, vendor)) == (name, 400, True)
    status, said = send(gateway, path, json.dumps(WHOLE).encode(), "application/json; charset=no-such", vendor)
    assert (status, is_error(said, vendor)) == (400, True)


@pytest.mark.parametrize(("path", "vendor"), PATHS)
def test_fields_of_any_kind(gateway: Served, path: str, vendor: str) -> None:
    """Any value in any field is answered or refused, and never an error of ours."""
    for field in FIELDS:
        for value in VALUES:
            status, said = send(gateway, path, json.dumps(WHOLE | {field: value}).encode(), vendor=vendor)
            assert status < 500, (field, value, said)
            assert status == 200 or is_error(said, vendor), (field, value, said)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_forms_that_are_none(gateway: Served, body: bytes, vendor: str) -> None:
    """A garbled form is 400, in the vendor's words."""
    status, said = send(gateway, "/v1/files", body, "multipart/form-data; boundary=mark", vendor)

    assert (status, is_error(said, vendor)) == (400, True)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_body_too_long(gateway: Served, vendor: str) -> None:
    """More than 128 MB is 413, and is not kept in memory first."""
    path = "/v1/responses" if vendor == "openai" else "/v1/messages"

    status, said = send(gateway, path, b" " * TOO_LONG, vendor=vendor)

    assert (status, is_error(said, vendor)) == (413, True)


def test_a_name_adds_no_header(gateway: Served) -> None:
    """A file's name cannot end a header of the answer."""
    name = b'"a%0d%0aX-Evil: 1.txt"'
    purpose = b'--mark\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    form = purpose + b"--mark\r\n" + FILE + name + b"\r\n\r\nhi\r\n--mark--\r\n"
    status, said = send(gateway, "/v1/files", form, "multipart/form-data; boundary=mark")
    if status == 200:
        connection = http.client.HTTPConnection(urlsplit(gateway.base_url).netloc, timeout=60)
        headers = {"Authorization": f"Bearer {gateway.token}"}
        connection.request("GET", f"/v1/files/{said['id']}/content", headers=headers)
        response = connection.getresponse()
        assert (response.read(), response.getheader("X-Evil")) == (b"hi", None)
        connection.close()
    else:
        assert (status, is_error(said, "openai")) == (400, True)
