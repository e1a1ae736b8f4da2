"""R and Node.js: real interpreters behind the same walls, with the same limits and the same kinds of output."""

from __future__ import annotations

import base64
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipy_codeinterp.errors import Rejected
from ipy_codeinterp.execution import Display
from ipy_codeinterp.languages import LANGUAGES
from ipy_codeinterp.sandbox.container import Container
from ipy_codeinterp.session import Session

from .wing import Wing

pytestmark = pytest.mark.sandbox
MEMORY = 512 << 20


def needed(program: str) -> None:
    if shutil.which(program) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")


@pytest.fixture(scope="module")
def r(wing: Wing) -> Iterator[Container]:
    needed("Rscript")
    container = wing.fresh("r")
    yield container
    wing.end(container)


@pytest.fixture
def node(wing: Wing) -> Iterator[Container]:
    needed("node")
    container = wing.fresh("node")
    yield container
    wing.end(container)


# --- R ----------------------------------------------------------------------------------------------


def test_r_regression_with_a_plot(wing: Wing, r: Container) -> None:
    """A regression prints its summary, a data frame is a table, and the plot comes as a PNG."""
    ran = wing.run(
        "fit <- lm(mpg ~ wt, mtcars); summary(fit); head(mtcars, 2); plot(mtcars$wt, mtcars$mpg)", container=r
    )
    assert ran.outcome == "ok" and "Multiple R-squared:  0.7528" in ran.stdout
    tables = [o for o in ran.outputs if isinstance(o, Display) and "text/html" in o.data]
    assert "Mazda RX4" in tables[0].data["text/html"]
    (picture,) = [o for o in ran.outputs if isinstance(o, Display) and "image/png" in o.data]
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")


def test_r_keeps_state_and_order(wing: Wing, r: Container) -> None:
    """Variables stay; text, warnings and messages come in the order in which they were made, umlauts as they are."""
    wing.run("x <- c(a = 1, ü = 2)", container=r)
    ran = wing.run('cat("eins ä\\n"); message("two"); x[["ü"]]; warning("careful")', container=r)
    assert ran.stdout == "eins ä\n[1] 2\n"
    assert ran.stderr.startswith("two\n") and "careful" in ran.stderr


def test_r_errors(wing: Wing, r: Container) -> None:
    """An error has its message and ends the cell; what is no R is an error too; the container lives."""
    ran = wing.run('f <- function() stop("no way"); cat("before\\n"); f(); cat("after\\n")', container=r)
    assert (ran.outcome, ran.stdout) == ("error", "before\n")
    assert ran.error and ran.error.evalue == "no way"
    assert wing.run("x <- (", container=r).outcome == "error"
    assert wing.run("quit(status = 3)", container=r).verdict.exit_status == 3
    assert wing.run("1 + 1", container=r).stdout == "[1] 2\n"


def test_r_memory(wing: Wing, r: Container) -> None:
    """A vector that is too large is the memory limit, and R goes on."""
    ran = wing.run("x <- numeric(5e8)", container=r, memory=MEMORY)
    assert (ran.outcome, ran.limit, ran.verdict.alive) == ("limit", "memory", True)
    assert wing.run("1", container=r).outcome == "ok"


def test_r_stops_at_its_time(wing: Wing, r: Container) -> None:
    """A loop ends at the time limit, and the variables stay."""
    wing.run("kept <- 1", container=r)
    ran = wing.run("repeat {}", container=r, timeout=0.3)
    assert (ran.outcome, ran.limit) == ("limit", "time")
    assert wing.run("kept", container=r).stdout == "[1] 1\n"


def test_r_files(wing: Wing, r: Container) -> None:
    """A file that R leaves in the output folder comes back."""
    ran = wing.run('write.csv(data.frame(a = 1), file.path(Sys.getenv("OUTPUT_DIR"), "t.csv"))', container=r)
    assert ran.files == {"t.csv": b'"","a"\n"1",1\n'}


# --- Node -------------------------------------------------------------------------------------------


def test_node_promises_and_values(wing: Wing, node: Container) -> None:
    """Top-level await, timers and modules work; the last value is shown; a const may be declared again."""
    code = "const t = await new Promise(r => setTimeout(() => r(42), 10)); console.log('got', t); [{a: t}]"
    for _ in range(2):
        ran = wing.run(code, container=node)
        assert (ran.outcome, ran.stdout) == ("ok", "got 42\n")
        assert [o.data["text/plain"] for o in ran.outputs if isinstance(o, Display)] == ["[ { a: 42 } ]"]
    assert wing.run("JSON.stringify({t, p: require('path').sep})", container=node).said[-1] == '\'{"t":42,"p":"/"}\''


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("console.log('a'); null.x", "TypeError"),
        ("await Promise.reject(new RangeError('far'))", "RangeError"),
        ("const x = ;", "SyntaxError"),
        (
            "setTimeout(() => { throw new EvalError('late') }, 5); await new Promise(r => setTimeout(r, 200))",
            "EvalError",
        ),
    ],
)
def test_node_errors(wing: Wing, node: Container, code: str, name: str) -> None:
    """An uncaught error or rejection fails the cell by its name; the container lives."""
    ran = wing.run(code, container=node)
    assert ran.outcome == "error" and ran.error and ran.error.ename == name
    assert wing.run("1 + 1", container=node).said == ["2"]


def test_node_memory(wing: Wing, node: Container) -> None:
    """A heap that grows for ever is the memory limit."""
    ran = wing.run(
        "const kept = []; for (;;) kept.push(new Array(1e5).fill(kept.length))", container=node, memory=MEMORY
    )
    assert (ran.outcome, ran.limit) == ("limit", "memory")


@pytest.mark.parametrize("code", ["for (;;) {}", "await new Promise(() => {})"])
def test_node_stops_at_its_time(wing: Wing, node: Container, code: str) -> None:
    """A loop, or a promise that nobody keeps, ends at the time limit, and the variables stay."""
    wing.run("var kept = 1", container=node)
    ran = wing.run(code, container=node, timeout=0.3)
    assert (ran.outcome, ran.limit) == ("limit", "time")
    assert wing.run("kept", container=node).said == ["1"]


# --- walls ------------------------------------------------------------------------------------------

SHELL = "id -u; cat {secret} /etc/shadow; echo x > /usr/written; ls /proc | grep -c '^[0-9]'; env"
WAYS = {"r": "system({command!r})", "node": "require('child_process').execSync({command!r}, {{stdio: 'inherit'}})"}


@pytest.mark.parametrize("language", ["r", "node"])
def test_the_same_walls(wing: Wing, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that R or Node starts is nobody, reads nothing of the host and finds no key."""
    needed(str(LANGUAGES[language].program))
    secret = tmp_path / "secret"
    secret.write_text("planted")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "planted")
    container = wing.fresh(language)
    command = SHELL.format(secret=secret) + "; true"
    ran = wing.run(WAYS[language].format(command=command), container=container)
    wing.end(container)
    assert ran.stdout.startswith("65534\n") and "planted" not in ran.stdout + ran.stderr
    assert "Read-only file system" in ran.stderr and "/etc/shadow" in ran.stderr


@pytest.mark.parametrize("language", ["r", "node"])
def test_no_network_from_there(wing: Wing, language: str) -> None:
    """A listener on this machine is not reached from R or Node."""
    needed(str(LANGUAGES[language].program))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        port = listener.getsockname()[1]
        code = {
            "r": f'socketConnection("127.0.0.1", {port}, timeout = 1)',
            "node": f"await new Promise((_, no) => require('net').connect({port}, '127.0.0.1').on('error', no))",
        }[language]
        container = wing.fresh(language)
        assert wing.run(code, container=container).outcome == "error"
        wing.end(container)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_missing_language_says_how_to_get_it(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A language whose program is not there is refused with the command that installs it, and nothing is run."""
    monkeypatch.setattr("ipy_codeinterp.languages.SYSTEM_PATH", str(tmp_path))
    assert not LANGUAGES["r"].is_installed and LANGUAGES["python"].is_installed


def test_languages_on_the_whole_road(tmp_path: Path, cache_dir: Path) -> None:
    """A Session runs each language by its names, and keeps a container to its own."""
    needed("node")
    with Session(cache_dir=cache_dir, data_dir=tmp_path) as session:
        assert session.run("console.log(1)", language="js", container="n").stdout == "1\n"
        assert session.run("echo $0", language="sh").ok
        with pytest.raises(Rejected, match="runs node, not python"):
            session.run("print(1)", container="n")
