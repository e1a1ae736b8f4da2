"""Planted keys: after real traffic, its failures and its retries, none is in anything that is kept, said or shown."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from aiohttp import web

from ipy_codeinterp import Session, catalog, config_files, consent, doctor, keys
from ipy_codeinterp import __main__ as shell
from ipy_codeinterp.doctor import providers
from ipy_codeinterp.errors import InterpError, NotAllowed
from ipy_codeinterp.providers import remote
from ipy_codeinterp.settings import Settings

from .conformance.served import served
from .vendor import Vendor, catalog_file, vendor

KEY = "cr_3f/PLANTED+key=0123"
RING = "ring_9a/PLANTED+key=4567"
PLANTED = {
    "RELAY_KEY": KEY,
    "ANTHROPIC_API_KEY": "sk-ant-PLANTED-89ab",
    "OPENAI_API_KEY": "sk-proj-PLANTED-cdef",
    "COMPATIBLE_API_KEY": "anything-PLANTED-0246",
}
MODELS = """[[models]]
name = "claude"
prices = [{ input = "2", output = "10", source = "its page", checked = 2026-11-20 }]
"""


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys in the environment and in a keyring; nothing is known of them yet."""
    monkeypatch.setattr(keys, "_found", set())
    ring = SimpleNamespace(get_password=lambda service, name: RING if name == "RING_KEY" else None)
    monkeypatch.setitem(sys.modules, "keyring", ring)
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    catalog.forget()
    yield
    catalog.forget()


def clean(text: str | bytes) -> bool:
    """Whether no key is in it: as it is, in JSON, in a URL, in base64."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    for key in (*PLANTED.values(), RING):
        ways = (key, json.dumps(key)[1:-1], quote(key, safe=""), base64.b64encode(key.encode()).decode())
        if any(way.encode() in data for way in ways):
            return False
    return True


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def shown(error: BaseException) -> str:
    """Everything that can be seen of an error: its words, its traceback with all variables, IPython's Verbose."""
    from IPython.core.ultratb import VerboseTB

    wrapped = RuntimeError("the user's own")
    wrapped.__cause__ = error
    texts = [repr(error), str(error), str(vars(error)), getattr(error, "hint", "")]
    with_variables = traceback.TracebackException.from_exception(error, capture_locals=True)
    texts += with_variables.format()
    texts += traceback.format_exception(error)
    texts += [VerboseTB().text(type(wrapped), wrapped, error.__traceback__)]
    texts += ["\n".join(getattr(error, "_render_traceback_", list)())]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(map(str, texts)))


# --- a vendor that repeats the key ----------------------------------------------------------------

ECHO = {"x-request-id": KEY, "request-id": KEY, "X-Echo": f"Bearer {KEY}"}


def answers(
    body: str, status: int = 200, kind: str = "application/json"
) -> Callable[[web.Request], web.StreamResponse]:
    return lambda _: web.Response(text=body, status=status, content_type=kind, headers=ECHO)


def error_body(**more: str) -> str:
    return json.dumps({"type": "error", "error": {"type": "x", "message": f"Incorrect API key: {KEY}", **more}})


def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def redirects(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"https://elsewhere.example/?key={quote(KEY, safe='')}"})


def no_http(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(f"HTTP/1.1 {KEY}\r\n\r\n".encode())
    return hangs_up(request)


def half_a_body(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    head = f"HTTP/1.1 200 OK\r\nX-Echo: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    request.transport.write(f"{head}{KEY}\r\n".encode())
    return hangs_up(request)


FAILURES = {
    "401": answers(error_body(), 401),
    "param": answers(error_body(param=KEY, hint=KEY), 400),
    "retried": answers(error_body(), 529),
    "page": answers(f"<html><p>{KEY}", 502, "text/html"),
    "text": answers(f"no: {KEY}", 500, "text/plain"),
    "list": answers(json.dumps([KEY]), 404),
    "redirect": redirects,
    "in the stream": answers(f"event: error\ndata: {error_body()}\n\n", 200, "text/event-stream"),
    "no event": answers(f"data: {KEY}\n\n", 200, "text/event-stream"),
    "a page as reply": answers(f"<p>{KEY}", 200, "text/html"),
    "no JSON": answers(f"{{{KEY}", 200),
    "wrong JSON": answers(json.dumps({"error": KEY}), 200),
    "hangs up": hangs_up,
    "no HTTP": no_http,
    "no chunk": half_a_body,
}
BODIES = ("401", "in the stream", "wrong JSON")  # which each format reads in its own way


def relay(base_url: str, name: str = "relay", **said: object) -> None:
    about = {"dialect": "messages", "base_url": base_url, "keys": ["RELAY_KEY"], "key_header": "x-api-key"}
    catalog_file(config_files.config_dir(), name, **{"key_scheme": "", **about, "models": MODELS, **said})
    catalog.forget()


@pytest.fixture
def there() -> Iterator[Vendor]:
    with vendor(FAILURES["401"]) as open_vendor:
        relay(open_vendor.base_url)
        relay(open_vendor.base_url, "ringed", keys=["RING_KEY"])
        yield open_vendor


def opened(path: Path, **changes: object) -> Session:
    return Session(Settings(), data_dir=path / "data", record=path / "recording", warm="never", attempts=2, **changes)


@pytest.mark.parametrize(
    ("name", "dialect"),
    [(name, "messages") for name in FAILURES]
    + [(name, other) for name in BODIES for other in ("responses", "completions", "gemini")],
)
def test_failures(
    name: str,
    dialect: str,
    there: Vendor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key that a failing provider repeats is in no error, traceback, variable, log or file."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.DEBUG)
    relay(there.base_url, dialect=dialect)
    there.answer = FAILURES[name]
    with opened(tmp_path) as session:
        said: list[object] = []
        with pytest.raises(InterpError) as caught:
            session.run("print(1)", model="claude@relay", show=said.append)
        shows = shown(caught.value)
        reprs = repr([said, session, session.settings, *vars(session).values(), session.stats()])

    assert there.heard and there.heard[0][2].get("x-api-key") == KEY
    assert clean(shows) and clean(caplog.text) and clean(reprs)
    assert [
        path for path in files_below(tmp_path) if path.parent.name != "catalog" and not clean(path.read_bytes())
    ] == []


REPLIES = {
    "messages": {"id": "m1", "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"},
    "responses": {"id": "r1", "output": [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}]},
    "completions": {"id": "c1", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}]},
}


@pytest.mark.parametrize("dialect", REPLIES)
def test_good_replies(dialect: str, there: Vendor, tmp_path: Path) -> None:
    """A reply that goes well and repeats the key beside what it says, as relays do that show what they were asked."""
    relay(there.base_url, dialect=dialect)
    repeated = {"headers": [{"authorization": f"Bearer {KEY}", KEY: f"https://relay.example/?key={KEY}"}]}
    usage = {"input_tokens": 3, "prompt_tokens": 3, "promptTokenCount": 3, "by": KEY}
    said = {**REPLIES[dialect], "asked": repeated, "usage": usage, "usageMetadata": usage}
    there.answer = answers(json.dumps(said))
    with opened(tmp_path) as session:
        result = session.run("print(1)", model="claude@relay")
        shows = repr([result, result.native, result.usage, session.stats()])

    assert (result.text, result.usage.input_tokens) == ("hello", 3)
    assert keys.MASK in shows and clean(shows)
    written = [path for path in files_below(tmp_path) if path.parent.name != "catalog"]
    assert [path for path in written if not clean(path.read_bytes())] == []


@pytest.mark.parametrize("place", ["me:{}@127.0.0.1:9/v1", "127.0.0.1:9/v1?key={}", "127.0.0.1:9/v1#{}"])
def test_in_an_address(place: str, tmp_path: Path) -> None:
    """A key inside an address is refused before anything is sent, and not repeated."""
    with Session(warm="never", base_url=f"http://{place.format(KEY)}", unpriced=("*@compatible",)) as session:
        with pytest.raises(NotAllowed, match="no address") as caught:
            session.run("print(1)", model="llama@compatible")
        assert "variable" in caught.value.hint and clean(f"{caught.value!r} {caught.value.hint}")


def test_unreachable(tmp_path: Path) -> None:
    """A key is in no variable of what failed before a word was said."""
    with vendor(FAILURES["401"]) as gone:
        relay(gone.base_url)
    with opened(tmp_path) as session, pytest.raises(InterpError) as caught:
        session.run("print(1)", model="claude@relay")

    assert clean(shown(caught.value))


def test_keyring(there: Vendor, tmp_path: Path) -> None:
    """A key of the keyring is masked like any other."""
    there.answer = lambda request: web.json_response({"error": {"message": request.headers["x-api-key"]}}, status=400)
    with opened(tmp_path) as session, pytest.raises(InterpError) as caught:
        session.run("print(1)", model="claude@ringed")

    assert there.heard[0][2]["x-api-key"] == RING
    assert keys.MASK in str(caught.value) and clean(shown(caught.value))


def test_batch_and_exports(
    there: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put aside and failed, the statistics, their export and the doctor's report have no key."""
    monkeypatch.setenv("IPY_CODEINTERP_DATA_DIR", str(tmp_path / "data"))
    with Session(Settings(), data_dir=tmp_path / "data", warm="never", attempts=2) as session:
        id = session.batch("print(1)", model="claude@relay")
        with contextlib.suppress(InterpError):
            session.batches.wait(id)
        told = [repr(session.batches.all()), repr(session.stats())]
        with pytest.raises(InterpError) as caught:
            session.batches.collect(id)
    found = providers.check("relay", Settings(), os.environ, providers.today_utc())
    for line in ("stats", f"stats --export {tmp_path / 'calls.jsonl'}", "batch list", "models", "budget"):
        shell.main(line.split())

    assert there.paths[0] == "POST /v1/messages" and there.paths[-1] == "GET /v1/models"
    assert all(map(clean, [*told, doctor.report(found), doctor.as_json(found), shown(caught.value)]))
    assert clean("".join(capsys.readouterr()))
    assert [path for path in files_below(tmp_path) if not clean(path.read_bytes())] == []


# --- objects and origins --------------------------------------------------------------------------


def test_objects(there: Vendor) -> None:
    """Nothing public that holds a key, or knows of one, shows it."""
    settings = Settings(base_url="http://127.0.0.1:1/v1")
    endpoints = [remote(name, settings) for name in ("relay", "ringed", "anthropic", "openai", "compatible")]
    found = [keys.find(each, os.environ) for each in catalog.providers().values() if each.base_url]

    assert all(map(clean, (repr(endpoints), str(endpoints), f"{endpoints}", repr(found), repr(catalog.providers()))))
    assert clean("".join(consent.first_call_notice(consent.resolve("claude@relay", settings), settings) or ""))


def test_other_origin(there: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key goes to its own origin only: not where a redirect points, nor where a project says its provider is."""
    with vendor(FAILURES["401"]) as thief:
        there.answer = lambda _: web.Response(status=307, headers={"Location": f"{thief.base_url}/v1/messages"})
        project = tmp_path / "clone"
        project.mkdir()
        (project / "pyproject.toml").write_text(f'[tool.ipy_codeinterp]\nbase_url = "{thief.base_url}/v1"\n')
        monkeypatch.chdir(project)
        with Session(warm="never", unpriced=("*@compatible",)) as session:
            with pytest.raises(InterpError, match="redirects"):
                session.run("print(1)", model="claude@relay")
            with pytest.raises(NotAllowed, match="nothing says where"):
                session.run("print(1)", model="llama@compatible")

        assert len(there.heard) == 1 and thief.heard == []


def test_learned_at_the_start(tmp_path: Path) -> None:
    """Keys of the environment are masked from a session's start on, whether they are used or not."""
    relay("https://relay.example")
    with opened(tmp_path):
        assert keys.masked(" ".join(PLANTED.values())) == " ".join([keys.MASK] * len(PLANTED))


# --- the real thing -------------------------------------------------------------------------------


@pytest.mark.sandbox
@pytest.mark.kernel
def test_real_traffic(
    cache_dir: Path, clean_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After cells that went well and cells that failed, the notebook, its files and its processes have no key."""
    import nbformat
    from nbclient import NotebookClient

    with served(cache_dir, clean_environment) as gateway:
        monkeypatch.setitem(PLANTED, "RELAY_KEY", gateway.token)
        config = tmp_path / "config"
        monkeypatch.setattr(config_files, "config_dir", lambda: config / "ipy-codeinterp")
        relay(gateway.base_url)
        relay("http://127.0.0.1:1", "gone")
        environ = {**clean_environment, **PLANTED, "XDG_CONFIG_HOME": str(config)}
        environ |= {"IPY_CODEINTERP_DATA_DIR": str(tmp_path / "data"), "IPY_CODEINTERP_RECORD": str(tmp_path / "rec")}
        cells = [
            "%load_ext ipy_codeinterp\n%xmode Verbose",
            "%%interp -m claude@relay\nprint(6 * 7)",
            "%%interp\nimport os; print(dict(os.environ))",
            "%%interp -m claude@relay\n1 / 0",
            "%%interp -m claude@gone\nprint(1)",
            "%interp stats\n%interp models\nprint(get_ipython().magics_manager.magics)",
            HOLDERS,
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = NotebookClient(notebook, allow_errors=True, timeout=100, kernel_name="python3")
        client.execute(env=environ, cwd=str(tmp_path))

    written = io.StringIO()
    nbformat.write(notebook, written)
    assert '"42\\n"' in written.getvalue() and "ZeroDivisionError" in written.getvalue()
    assert re.search(r"\b0 holders of [1-9]\d* processes", written.getvalue())
    assert clean(written.getvalue())
    assert [path for path in files_below(tmp_path) if not clean(path.read_bytes())] == []


# In the notebook: which processes below it have a key in their arguments or their environment.
HOLDERS = """
import os, pathlib
wanted = [os.environ[name].encode() for name in ("RELAY_KEY", "OPENAI_API_KEY")]
held = seen = 0
for entry in pathlib.Path("/proc").iterdir():
    if not entry.name.isdigit():
        continue
    try:
        said = (entry / "cmdline").read_bytes()
        parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        if b"ipy_codeinterp" in said and parent == os.getpid():
            said += (entry / "environ").read_bytes()
            seen += 1
    except OSError:
        continue
    held += any(key in said for key in wanted)
print(f"{held} holders of {seen} processes")
"""
