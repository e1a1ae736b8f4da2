"""The process inside the sandbox: runs Python cells as IPython would and tells of it in frames.

The host never imports this file and this file imports nothing of the package: it is mounted alone into the sandbox
and started as `python runner.py CHANNEL_FD [UID]`. Everything it says is taken by the host as the word of a
stranger, because the code it runs can say anything in its place.

A frame is two big-endian uint32 (lengths of the head and of the body), the head as JSON, and the body as raw bytes.

    host -> runner   file {name, more} + bytes · run {run, parse, memory} + code
    runner -> host   ready · begin {run} · refused {run} · stream {run, name} + text
                     display {run, kind, parts, metadata, display_id} + bundle · update · clear {run, wait}
                     error {run, ename, evalue, traceback} · file {run, name, more} + bytes
                     done {run, status, exit_status}

A bundle is the values of its MIME types one after the other; `parts` has a row [type, is JSON, bytes] for each. No
head is long: the host parses it while others wait.
"""

from __future__ import annotations

import ast
import base64
import codecs
import contextlib
import fcntl
import functools
import io
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

HEAD = struct.Struct("!II")
PIECE = 1 << 20  # files travel in pieces of this size
FLUSH_EVERY = 0.010  # seconds: the most a printed line waits
FLUSH_AT = 1 << 16  # characters: more than this does not wait
WAIT_FOR_PIPES = 0.5  # seconds: the most a frame waits for the host to read what was written past the frames
NOTHING = bytes(4)  # zero, as ioctl writes it
MOST_FILES = 100
MOST_FILE = 100 << 20  # bytes of one: also of one that is mostly holes
MOST_DEPTH = 90
MOST_HEAD, MOST_BODY, MOST_JSON = 1 << 20, 64 << 20, 4 << 20  # bytes; the host takes no more
MOST_ERROR = 1 << 15  # characters of an exception's text, and of one line of its traceback
PRELOAD = ("numpy", "pandas", "matplotlib.pyplot")


class Interrupts:
    """SIGINT becomes KeyboardInterrupt only while user code runs, and never in the middle of a frame."""

    def __init__(self) -> None:
        self.running = False
        self._held = 0
        self._pending = False
        self._main = threading.main_thread()

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _signum: int, _frame: object) -> None:
        if self._held:
            self._pending = True
        elif self.running:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        if threading.current_thread() is not self._main:
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held and self._pending:
            self._pending = False
            if self.running:
                raise KeyboardInterrupt


class Channel:
    """Frames over a socket; `run` is the number of the run whose outputs may be sent, None between runs."""

    def __init__(self, sock: socket.socket, interrupts: Interrupts) -> None:
        self.run: int | None = None
        self.forked = False
        self._sock = sock
        self._interrupts = interrupts
        self._lock = threading.RLock()
        self._pipes = (os.dup(1), os.dup(2))  # the code may close or redirect its own

    def send(self, type_: str, body: bytes = b"", **head: Any) -> None:
        text = json.dumps({"type": type_, **head}, default=str).encode()
        if len(text) > MOST_HEAD or len(body) > MOST_BODY:
            self._send_note(f"[{type_} not shown: {(len(text) + len(body)) >> 20} MB are too large]\n")
            return
        with self._interrupts.held(), self._lock:
            self._sock.sendall(HEAD.pack(len(text), len(body)) + text)
            if body:
                self._sock.sendall(body)

    def _send_note(self, text: str) -> None:
        self.send("stream", text.encode(), run=self.run, name="stderr")

    def output(self, type_: str, body: bytes = b"", **head: Any) -> None:
        """Send what user code produced; what comes between runs belongs to nobody and is dropped."""
        if self.run is not None:
            self._wait_for_pipes()
            self.send(type_, body, run=self.run, **head)

    def show(self, type_: str, data: dict[str, Any], metadata: dict[str, Any] | None, **head: Any) -> None:
        """Send what `_repr_*_` methods gave."""
        bundle = [(mime, *_encoded(value)) for mime, value in data.items() if not _is_deep(value)]
        bundle = [(mime, is_json, raw) for mime, is_json, raw in bundle if not is_json or len(raw) <= MOST_JSON]
        metadata = {} if _is_deep(metadata) else metadata
        parts = [(mime, is_json, len(raw)) for mime, is_json, raw in bundle]
        self.output(type_, b"".join(raw for _, _, raw in bundle), parts=parts, metadata=metadata or {}, **head)

    def after_fork_in_child(self) -> None:
        """A process that user code forked does not speak to the host: two would talk at once."""
        self.forked, self.run = True, None
        self._sock.close()

    def _wait_for_pipes(self) -> None:
        """What the code wrote to descriptors 1 and 2 comes first: the host must have read it before this goes out."""
        end = time.monotonic() + WAIT_FOR_PIPES
        while any(map(_unread, self._pipes)) and time.monotonic() < end:
            time.sleep(0.0002)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        head_size, body_size = HEAD.unpack(self._exactly(HEAD.size))
        head = json.loads(self._exactly(head_size))
        return head, self._exactly(body_size)

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            piece = self._sock.recv(min(size - len(parts), PIECE))
            if not piece:
                raise EOFError
            parts += piece
        return bytes(parts)


def _unread(pipe: int) -> bool:
    """Whether there are bytes in `pipe` that nobody has read yet."""
    try:
        return fcntl.ioctl(pipe, termios.FIONREAD, NOTHING) != NOTHING
    except OSError:
        return False


def _encoded(value: object) -> tuple[bool, bytes]:
    """What a `_repr_*_` may have returned, and whether it is JSON: text as it is, bytes as base64."""
    if isinstance(value, bytes):
        return False, base64.b64encode(value)
    if isinstance(value, str):
        return False, value.encode("utf-8", "replace")
    return True, json.dumps(value, default=str).encode()


def _is_deep(value: object) -> bool:
    """Whether the host would refuse it: JSON nested deeper than anybody needs, or for ever."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            x for v in level for x in (v.values() if isinstance(v, dict) else v if isinstance(v, (list, tuple)) else ())
        ]
        if not level:
            return False
        if len(level) > MOST_JSON:
            break
    return True


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


class Screen:
    """Where stdout and stderr are gathered, in order, until they are worth a frame."""

    def __init__(self, channel: Channel, interrupts: Interrupts) -> None:
        self._channel = channel
        self._interrupts = interrupts
        self._pieces: list[tuple[str, str]] = []
        self._size = 0
        self._flushed = 0.0
        self._lock = threading.RLock()
        self._waiting = threading.Event()
        self._flusher: threading.Thread | None = None
        self._forked = False

    def write(self, name: str, text: str) -> None:
        with self._interrupts.held(), self._lock:
            self._pieces.append((name, text))
            self._size += len(text)
        wait = 0 if self._forked else FLUSH_EVERY
        if self._size >= FLUSH_AT or ("\n" in text and time.monotonic() - self._flushed >= wait):
            self.flush()
        elif not self._forked and not self._waiting.is_set():
            self._wake_flusher()

    def flush(self) -> None:
        with self._interrupts.held(), self._lock:
            pieces, self._pieces, self._size = self._pieces, [], 0
            self._flushed = time.monotonic()
            for name, text in _joined(pieces):
                for start in range(0, len(text), PIECE):
                    self._put(name, text[start : start + PIECE].encode("utf-8", "replace"))

    def _put(self, name: str, text: bytes) -> None:
        if self._forked:
            _write_all(1 if name == "stdout" else 2, text)
        else:
            self._channel.output("stream", text, name=name)

    def flushed_before(self, start: Any) -> Any:
        """`start` starts a program: what was printed before comes before what that one prints."""

        @functools.wraps(start)
        def started(*args: Any, **kwargs: Any) -> Any:
            self.flush()
            return start(*args, **kwargs)

        return started

    def _wake_flusher(self) -> None:
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_for_ever, name="flusher", daemon=True)
            self._flusher.start()
        self._waiting.set()

    def _flush_for_ever(self) -> None:
        while True:
            self._waiting.wait()
            time.sleep(FLUSH_EVERY)
            self._waiting.clear()
            with contextlib.suppress(OSError):
                self.flush()

    def after_fork_in_child(self) -> None:
        self._forked = True
        self._lock = threading.RLock()  # the parent's may be held by a thread that does not exist here
        self._pieces = []


def _joined(pieces: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    texts: list[str] = []
    for i, (name, text) in enumerate(pieces):
        texts.append(text)
        if i + 1 == len(pieces) or pieces[i + 1][0] != name:
            if joined := "".join(texts):
                yield name, joined
            texts = []


class ScreenFile(io.TextIOBase):
    """sys.stdout or sys.stderr of the code."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, screen: Screen, name: str) -> None:
        self.name = f"<{name}>"
        self._screen = screen
        self._stream = name
        self.buffer = ScreenBytes(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._screen.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._screen.flush()

    def fileno(self) -> int:
        return 1 if self._stream == "stdout" else 2

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


class ScreenBytes(io.RawIOBase):
    """The `buffer` of a ScreenFile."""

    def __init__(self, file: ScreenFile) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._file.write(self._decoder.decode(raw))
        return len(raw)

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True


class Outbox:
    """The folder whose regular files go back to the host at the end of a run, if the run changed them."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[int, int, int]] = {}

    def changed(self) -> list[str]:
        """Names that are new or different since the last call."""
        before, self._seen = self._seen, self._scan()
        return [name for name, mark in self._seen.items() if before.get(name) != mark]

    def _scan(self) -> dict[str, tuple[int, int, int]]:
        if not self._folder:
            return {}
        try:
            with os.scandir(self._folder) as entries:
                found = {e.name: e.stat(follow_symlinks=False) for e in entries}
        except OSError:
            return {}
        marks = {n: (s.st_mtime_ns, s.st_size, s.st_ino) for n, s in found.items() if stat.S_ISREG(s.st_mode)}
        return dict(sorted(marks.items()))

    def send(self, channel: Channel) -> None:
        names = self.changed()
        fitting = [name for name in names if self._seen[name][1] <= MOST_FILE][:MOST_FILES]
        if dropped := len(names) - len(fitting):
            note = f"[{dropped} files in $OUTPUT_DIR not kept: more than {MOST_FILES}, or over {MOST_FILE >> 20} MB]\n"
            channel.output("stream", note.encode(), name="stderr")
        for name in fitting:
            with contextlib.suppress(OSError), open(os.path.join(str(self._folder), name), "rb") as file:
                piece = file.read(PIECE)
                while True:
                    following = file.read(PIECE)
                    channel.output("file", piece, name=name, more=bool(following))
                    if not following:
                        break
                    piece = following


# --- IPython --------------------------------------------------------------------------------------


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


# --- life -----------------------------------------------------------------------------------------


def preload(shell: Any) -> None:
    """Import the scientific stack where it is installed, and run one of everything so that the first cell is fast."""
    for name in PRELOAD:
        with contextlib.suppress(Exception):
            __import__(name)
    if "matplotlib" in sys.modules:
        shell.enable_matplotlib("inline")
        shell.run_cell("import matplotlib.pyplot as plt; plt.plot([0, 1]); plt.show()", store_history=False)
    shell.run_cell("print(1)\n1/0", store_history=False)
    shell.reset(new_session=True)


class Runner:
    """One cell after another, until the channel closes."""

    def __init__(self, channel: Channel, screen: Screen, interrupts: Interrupts, shell: Any) -> None:
        self._channel = channel
        self._screen = screen
        self._interrupts = interrupts
        self._shell = shell
        self._outbox = Outbox(os.environ.get("OUTPUT_DIR"))
        self._unwritten: OSError | None = None

    def serve(self) -> None:
        self._channel.send("ready")
        while True:
            head, body = self._channel.receive()
            if head["type"] == "file":
                self._write_input(head, body)
            else:
                self._run(head, body.decode("utf-8", "surrogatepass"))

    def _write_input(self, head: dict[str, Any], body: bytes) -> None:
        try:
            with open(head["name"], "ab" if head["append"] else "wb") as file:
                file.write(body)
        except OSError as error:
            error.filename = head["name"]
            self._unwritten = error

    def _run(self, head: dict[str, Any], code: str) -> None:
        if head.get("parse") and not self._parses(code):
            self._channel.send("refused", run=head["run"])
            return
        _limit_memory(head.get("memory"))
        self._outbox.changed()  # whatever lies there now is not this run's
        self._channel.run = head["run"]
        self._shell.errors_sent, self._shell.exit_status = 0, None
        status = self._execute(code)
        self._screen.flush()
        if self._channel.forked:  # the code forked, and this is its child at the end of the cell
            os._exit(self._exit_status(status))
        self._outbox.send(self._channel)
        self._channel.run = None
        self._channel.send("done", run=head["run"], status=status, exit_status=self._exit_status(status))

    def _execute(self, code: str) -> str:
        success = False
        try:
            self._interrupts.running = True
            self._channel.send("begin", run=self._channel.run)
            if unwritten := self._unwritten:  # half a file is worse than none
                self._unwritten = None
                self._shell._showtraceback(OSError, unwritten, [f"attached file not written: {unwritten}"])
                return "error"
            success = bool(self._shell.run_cell(code, store_history=True).success)
            self._screen.flush()
        except KeyboardInterrupt as error:  # between IPython's own nets
            self._shell._showtraceback(KeyboardInterrupt, error, ["KeyboardInterrupt: "])
        finally:
            self._interrupts.running = False
        if self._shell.exit_status == 0 and not self._shell.errors_sent:
            return "ok"  # sys.exit(0) is a normal end
        return "ok" if success and not self._shell.errors_sent else "error"

    def _exit_status(self, status: str) -> int:
        return self._shell.exit_status or int(status != "ok")

    def _parses(self, code: str) -> bool:
        try:
            ast.parse(self._shell.transform_cell(code))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True


def _limit_memory(size: int | None) -> None:
    if size:
        with contextlib.suppress(ValueError, OSError):  # a lower one stays
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def become(uid: int) -> None:
    """Leave root and its capabilities for good; being dumpable lets the code see its own /proc/self."""
    import ctypes

    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None)
    libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24))  # those that a program started from here would inherit
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


def main(channel_fd: str, uid: str = "") -> None:
    if uid:
        become(int(uid))
    os.umask(0o022)
    interrupts = Interrupts()
    interrupts.install()
    channel = Channel(socket.socket(fileno=int(channel_fd)), interrupts)
    os.set_inheritable(int(channel_fd), False)
    screen = Screen(channel, interrupts)
    sys.stdout, sys.stderr = ScreenFile(screen, "stdout"), ScreenFile(screen, "stderr")
    os.register_at_fork(before=screen.flush, after_in_child=screen.after_fork_in_child)
    os.register_at_fork(after_in_child=channel.after_fork_in_child)
    subprocess.Popen.__init__ = screen.flushed_before(subprocess.Popen.__init__)  # type: ignore[method-assign]
    os.system = screen.flushed_before(os.system)
    sys.path[0] = ""  # modules attached beside the code are importable, this folder is not
    sys.argv = [""]
    shell = make_shell(channel, screen)
    shell.colors = "neutral"  # readable on light and on dark
    preload(shell)
    shell.user_module.__spec__ = None  # multiprocessing looks for it
    shell.user_ns["exit"] = shell.user_ns["quit"] = sys.exit
    with contextlib.suppress(EOFError, OSError):
        Runner(channel, screen, interrupts, shell).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
