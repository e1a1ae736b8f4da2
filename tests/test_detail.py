"""An error in a cell: a few lines that say who failed and what to do, all of it on --debug, and no secret in either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from ipy_codeinterp import catalog, config_files, keys, notebook
from ipy_codeinterp.errors import AuthenticationFailed, HoldsSecret, InterpError, NoOffer
from ipy_codeinterp.notebook.arguments import BadUsage

from .vendor import Vendor, catalog_file, vendor

KEY = "cr_3f/PLANTED+key=0123"
OTHER = "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6"
MODELS = """[[models]]
name = "claude"
prices = [{ input = "2", output = "10", source = "its page", checked = 2026-11-20 }]
"""


def refuses(_: web.Request) -> web.StreamResponse:
    said = {"type": "error", "error": {"type": "authentication_error", "message": f"no such key: {KEY} or {OTHER}"}}
    return web.Response(
        text=json.dumps(said), status=401, content_type="application/json", headers={"request-id": "req_9"}
    )


pytestmark = pytest.mark.usefixtures("there")  # before the shell, which reads the catalog


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """A provider that refuses the key, and repeats it."""
    monkeypatch.setattr(keys, "_found", set())
    monkeypatch.setenv("RELAY_KEY", KEY)
    with vendor(refuses) as opened:
        about = {"dialect": "messages", "keys": ["RELAY_KEY"], "key_header": "x-api-key", "key_scheme": ""}
        for name in ("relay", "other"):
            catalog_file(config_files.config_dir(), name, **{**about, "base_url": opened.base_url, "models": MODELS})
        catalog.forget()
        yield opened
    catalog.forget()


def failed(shell: InteractiveShell, cell: str) -> tuple[InterpError | BadUsage, str]:
    """The exception that a cell ends with, and all that the screen shows of it."""
    with capture_output() as captured:
        error = shell.run_cell(cell).error_in_exec
    assert isinstance(error, InterpError | BadUsage)
    return error, str(captured.stdout)


def test_in_short(shell: InteractiveShell) -> None:
    """A refused key is two lines: it was the key, the request's id, and what to do; the exception is a real one."""
    error, screen = failed(shell, "%%interp -m claude@relay\nprint(1)")

    assert type(error) is AuthenticationFailed
    lines = [line for line in screen.splitlines() if line.strip()]
    assert lines[-2].startswith("AuthenticationFailed (your key): ") and "(request req_9)" in lines[-2]
    assert lines[-1] == "look at its key, and at what that may do"
    assert "Traceback" not in screen


def test_debug(shell: InteractiveShell) -> None:
    """With --debug follow the attempts with their request ids, and our own traceback."""
    error, screen = failed(shell, "%%interp -m claude@relay --debug\nprint(1)")

    assert "attempts:\n  claude@relay: " in screen and ", request req_9" in screen
    assert "our own traceback:" in screen and "in interp" in screen
    assert KEY not in screen and OTHER not in screen
    assert str(error) in screen


def test_debug_of_several_offers(shell: InteractiveShell) -> None:
    """Where all offers gave up, --debug says why each did, and with which status."""
    shell.run_line_magic("config", "InterpMagics.fallback = 'claude@other'")
    error, screen = failed(shell, "%%interp -m claude@relay --debug\nprint(1)")

    assert isinstance(error, NoOffer) and set(error.reasons) == {"claude@relay", "claude@other"}
    assert "offers:\n  claude@relay: AuthenticationFailed: " in screen
    assert "status 401" in screen and "came from:" in screen
    assert KEY not in screen and OTHER not in screen


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (f"%%interp --container {OTHER}\nprint(1)", HoldsSecret),
        (f"%%interp --label a={KEY}\nprint(1)", HoldsSecret),
        (f"%%interp\nprint('{OTHER}')", HoldsSecret),
        (f"%%interp --label {OTHER}\nprint(1)", BadUsage),
        (f"%%interp --{OTHER}\nprint(1)", BadUsage),
        (f"%%interp '{OTHER}\nprint(1)", BadUsage),
        (f"%%interp --model {OTHER}\nprint(1)", BadUsage),
        (f"%%interp --attach {OTHER}.csv\nprint(1)", InterpError),
        (f"%interp container delete {OTHER}", InterpError),
        (f"%interp config {OTHER}", InterpError),
        (f"%interp help {OTHER}", BadUsage),
        (f"%interp {OTHER}", BadUsage),
        (f"%interp batch collect {KEY}", InterpError),
    ],
    ids=lambda value: value.partition(OTHER)[0][:30] if isinstance(value, str) else "",
)
def test_line(shell: InteractiveShell, there: Vendor, cell: str, kind: type[Exception]) -> None:
    """A secret in a cell or on a line is in no error that the line ends with, nor in what is kept; nothing is sent."""
    error, screen = failed(shell, cell)

    assert isinstance(error, kind)
    assert all(secret not in screen + repr(error) + str(vars(error)) for secret in (KEY, OTHER))
    assert there.heard == []


def test_nothing_of_it_is_kept(shell: InteractiveShell, tmp_path: Path) -> None:
    """A secret that was allowed to be sent is in no file of the store, also where a provider repeats it."""
    failed(shell, f"%%interp -m claude@relay --allow-secrets\nprint('{OTHER}')")
    notebook.unload(shell)

    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert kept and all(OTHER.encode() not in path.read_bytes() for path in kept)
