"""A gateway as users start it, a process that says where it listens, asked over plain HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

AGAINST_HANGS = 60.0
TOOL = "code_execution_20260521"
EXTENDED = {"x-ipy-codeinterp": "1"}


@dataclass(frozen=True)
class Reply:
    """Status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert self.json["type"] == "error"
        return dict(self.json["error"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a stream; each one's name is its type."""
        pairs = [event.split("\ndata: ") for event in self.body.decode().split("\n\n") if event]
        events = [json.loads(data) for _, data in pairs]
        assert [name for name, _ in pairs] == [f"event: {event['type']}" for event in events]
        return events

    @property
    def content(self) -> dict[str, Any]:
        """What the interpreter answered, of a reply in one piece."""
        return dict(self.json["content"][1]["content"])


@dataclass(frozen=True)
class Gateway:
    base_url: str
    token: str
    process: subprocess.Popen[bytes] | None = None
    container: str | None = None  # where code is run unless a request says otherwise; None is a fresh one

    def request(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> Reply:
        """Headers are given with underscores for dashes; None leaves out one that would be sent."""
        with self.opened(method, path, body, **headers) as response:
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())

    @contextlib.contextmanager
    def opened(
        self, method: str, path: str, body: bytes = b"", **headers: str | None
    ) -> Iterator[http.client.HTTPResponse]:
        """The response as it arrives; leaving closes the connection."""
        address = urlsplit(self.base_url).netloc
        sent = {"Host": address, "x-api-key": self.token} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection = http.client.HTTPConnection(address, timeout=AGAINST_HANGS)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def send(self, text: str, *, extended: bool = False, **fields: Any) -> Reply:
        """One message with the tool, answered in one piece unless `stream` is set; None leaves a field out."""
        body = asking(text, **{"container": self.container, **fields})
        return self.request("POST", "/v1/messages", body, **(EXTENDED if extended else {}))

    def run(self, code: str, **fields: Any) -> Reply:
        return self.send(f"```python\n{code}\n```", **fields)

    def upload(self, name: str, data: bytes, field: str = "file") -> Reply:
        mark = secrets.token_hex(8)
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        kind = f"multipart/form-data; boundary={mark}"
        return self.request("POST", "/v1/files", head + data + f"\r\n--{mark}--\r\n".encode(), content_type=kind)


def asking(text: str, **fields: Any) -> bytes:
    """The body of a request that asks for `text`."""
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "tools": [{"type": TOOL, "name": "code_execution"}],
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    return json.dumps({name: value for name, value in body.items() if value is not None}).encode()


@contextlib.contextmanager
def served(environment: dict[str, str], cache_dir: Path, *options: str) -> Iterator[Gateway]:
    """`python -m ipy_codeinterp gateway`, ended at the end."""
    command = [sys.executable, "-m", "ipy_codeinterp", "gateway", "--json", "--cache-dir", str(cache_dir), *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout
            said = json.loads(process.stdout.readline())
            yield Gateway(said["base_url"], said["token"], process)
        finally:
            process.terminate()
            process.wait(AGAINST_HANGS)
