"""The shell that runs Python cells: IPython's own, with frames for a screen."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from .channel import PIECE, Channel
from .screen import Screen

MOST_ERROR = 1 << 15  # characters of an exception's text, and of one line of its traceback


def make_shell(channel: Channel, screen: Screen) -> Any:
    """An InteractiveShell whose outputs are frames. Imported here so that the classes above stay light."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(
            self,
            data: Any,
            metadata: Any = None,
            source: Any = None,
            *,
            transient: Any = None,
            update: Any = False,
            **_: Any,
        ) -> None:
            screen.flush()
            type_, display_id = "update" if update else "display", (transient or {}).get("display_id")
            channel.show(type_, data, metadata, kind="display_data", display_id=display_id)

        def clear_output(self, wait: bool = False) -> None:
            screen.flush()
            channel.output("clear", wait=bool(wait))

    class Hook(DisplayHook):
        def start_displayhook(self) -> None:
            screen.flush()

        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
            channel.show("display", format_dict, md_dict, kind="execute_result", display_id=None)

        def finish_displayhook(self) -> None:
            self._is_active = False

    class Shell(InteractiveShell):
        errors_sent = 0
        exit_status: int | None = None

        def enable_gui(self, gui: str | None = None) -> None:
            """Figures are inline: there is no window to integrate with."""

        def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
            etype, value, tb = self._get_exc_info(exc_tuple)
            if issubclass(etype, SystemExit):
                self._note_exit(value)
            elif issubclass(etype, (RecursionError, KeyboardInterrupt, BaseExceptionGroup)):
                # IPython needs seconds for the first, more than there are left for the second, and prints the third
                # past `_showtraceback`.
                lines = traceback.format_exception(etype, value, tb, limit=-12)
                self._showtraceback(etype, value, "".join(lines).splitlines())
            else:
                super().showtraceback(exc_tuple, *args, **kwargs)

        def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
            """IPython would format each traceback a second time, for a history that nobody keeps here."""
            return {}

        @contextlib.contextmanager
        def _tee(self, channel: str) -> Iterator[None]:
            """IPython would note what is printed a second time, for `%notebook`."""
            yield

        def show_usage_error(self, exc: BaseException) -> None:
            self._showtraceback(type(exc), exc, [f"{type(exc).__name__}: {exc}"])

        def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
            self.errors_sent += 1
            screen.flush()
            lines = [str(line)[:MOST_ERROR] for line in stb]
            channel.output("error", ename=str(etype.__name__), evalue=_text_of(evalue)[:MOST_ERROR], traceback=lines)

        def _note_exit(self, value: SystemExit) -> None:
            code = value.code
            self.exit_status = code if isinstance(code, int) else int(code is not None)
            if self.exit_status:
                self._showtraceback(SystemExit, value, [f"SystemExit: {value}"])

        def system(self, cmd: str) -> None:
            """`!cmd`, through pipes: no terminal, stdout and stderr apart and in order."""
            command = self.var_expand(cmd, depth=1)
            _refuse_pip(command.split())
            screen.flush()
            self.user_ns["_exit_code"] = _run_command(command)

    warnings.filterwarnings("ignore", "To exit: use")  # IPython's advice after SystemExit
    warnings.filterwarnings("ignore", "Output cache limit")  # of the setting below, with a path of the host
    config = Config()
    config.HistoryManager.enabled = False  # it would start a thread and a database
    config.InteractiveShell.cache_size = 100  # `Out` keeps big objects alive
    config.InteractiveShell.banner1 = ""
    shell = Shell.instance(config=config, displayhook_class=Hook, display_pub_class=Publisher)
    for name in ("pip", "conda", "mamba", "micromamba", "uv"):
        shell.register_magic_function(_package_magic(name), "line", name)
    if shell.history_manager:
        shell.history_manager.outputs = Forgotten()
    no_op: Any = _no_op
    shell.register_magic_function(no_op, "line", "matplotlib")
    return shell


class Forgotten(dict[int, list[Any]]):
    """IPython would keep a second copy of all that is shown, for `%notebook`."""

    def __missing__(self, _: int) -> list[Any]:
        return []


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "<unprintable>"


def _no_op(_line: str) -> None:
    """Figures are inline already."""


def _package_magic(name: str) -> Any:
    def magic(line: str) -> None:
        _refuse_pip([name, *line.split()])
        sys.stdout.flush()
        _run_command(f"{name} {line}" if name != "pip" else f"{sys.executable} -m pip {line}")

    return magic


class PackagesAreReadOnly(RuntimeError):
    """Somebody tried to install a package."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def _refuse_pip(words: list[str]) -> None:
    """pip would retry for eight seconds: there is no network, and the environment is mounted read-only."""
    installers = {"pip", "pip3", "conda", "mamba", "micromamba", "uv"}
    named = {os.path.basename(word) for word in words[:4]}
    if named & installers and {"install", "uninstall", "download", "add", "remove", "update"} & set(words[:5]):
        raise PackagesAreReadOnly(f"{words[0]} cannot install packages inside the sandbox")


def _run_command(command: str) -> int:
    process = subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    readers = [
        threading.Thread(target=_copy, args=(pipe, file.buffer), daemon=True)
        for pipe, file in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
    ]
    try:
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        return process.wait()
    except BaseException:
        process.kill()
        raise


def _copy(pipe: Any, target: Any) -> None:
    with pipe:
        while piece := pipe.read1(PIECE):
            target.write(piece)
