"""Bash cells: a real bash behind the same walls, which keeps its variables, functions and folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipy_codeinterp.sandbox.container import Container

from .wing import Wing

pytestmark = pytest.mark.sandbox


@pytest.fixture
def bash(wing: Wing) -> Iterator[Container]:
    container = wing.fresh("bash")
    yield container
    wing.end(container)


def test_output_and_status(wing: Wing, bash: Container) -> None:
    """Both streams arrive, and the status of the last command is the run's."""
    ran = wing.run("echo out; echo err >&2; ls /etc | wc -l", container=bash)
    assert (ran.outcome, ran.verdict.exit_status, ran.stderr) == ("ok", 0, "err\n")
    assert ran.stdout.startswith("out\n")
    ran = wing.run("echo before; false", container=bash)
    assert (ran.outcome, ran.verdict.exit_status, ran.stdout) == ("error", 1, "before\n")
    assert ran.error and (ran.error.ename, ran.error.evalue) == ("ExitStatus", "1")


def test_state_is_kept(wing: Wing, bash: Container) -> None:
    """Variables, functions, options and the folder are there in the next cell."""
    wing.run("x=1; f() { echo f$x; }; mkdir -p /tmp/d; cd /tmp/d", container=bash)
    assert wing.run("f; pwd", container=bash).stdout == "f1\n/tmp/d\n"


def test_exit_ends_the_cell(wing: Wing, bash: Container) -> None:
    """`exit 3` ends the cell with that status; the next one works in a new shell."""
    ran = wing.run("echo a; exit 3; echo b", container=bash)
    assert (ran.outcome, ran.verdict.exit_status, ran.stdout) == ("error", 3, "a\n")
    assert wing.run("echo next", container=bash).stdout == "next\n"


def test_a_mistake_in_the_script(wing: Wing, bash: Container) -> None:
    """A script that bash cannot read is an error that says so; the next cell works."""
    ran = wing.run("if then", container=bash)
    assert ran.outcome == "error" and "syntax error" in ran.stderr
    assert wing.run("echo next", container=bash).stdout == "next\n"
    assert wing.run("a sentence (in words)", container=bash, must_parse=True).verdict.refused


FUNCTION = "f() { while true; do sleep 0.01; done; }; f"


@pytest.mark.parametrize("script", ["sleep 60", "while true; do :; done", FUNCTION])
def test_the_time_limit_keeps_the_shell(wing: Wing, bash: Container, script: str) -> None:
    """A command or a loop ends at the time limit, and what was set before stays."""
    wing.run("kept=1", container=bash)
    ran = wing.run(f"{script}; echo after", container=bash, timeout=0.3)
    assert (ran.outcome, ran.limit, ran.stdout) == ("limit", "time", "")
    assert wing.run("echo $kept", container=bash).stdout == "1\n"


def test_memory_of_a_command(wing: Wing, bash: Container) -> None:
    """A program that bash starts is under the memory limit too."""
    hog = "python -c 'b = bytearray(1 << 30)'"
    ran = wing.run(hog, container=bash, memory=256 << 20)
    assert ran.outcome != "ok" and "MemoryError" in ran.stderr


def test_files(wing: Wing, bash: Container) -> None:
    """A file that the script leaves in $OUTPUT_DIR comes back; standard input is empty."""
    ran = wing.run("cat; echo made > $OUTPUT_DIR/f.txt", container=bash)
    assert (ran.outcome, ran.files) == ("ok", {"f.txt": b"made\n"})


def test_a_job_in_the_background_is_not_waited_for(wing: Wing, bash: Container) -> None:
    """A cell ends with its script, also by `exit`, though a command that it started goes on."""
    ran = wing.run("sleep 60 & echo 1; exit 3", container=bash, timeout=20)
    assert (ran.outcome, ran.verdict.exit_status, ran.stdout) == ("error", 3, "1\n")
    ran = wing.run("sleep 60 & echo 2", container=bash, timeout=20)
    assert (ran.outcome, ran.stdout) == ("ok", "2\n")
