"""What the sandbox needs on disk: stub files, and caches that a read-only mount could never fill itself.

One folder a Python environment, below the user's cache folder. The caches are written once, by trusted code only
(imports and an empty figure), inside a sandbox of their own; afterwards they are mounted read-only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ipy_codeinterp.sandbox.environment import Environment
from ipy_codeinterp.sandbox.way import RESOLVER

STUBS = {
    "empty": "",
    "passwd": "root:x:0:0::/:/usr/sbin/nologin\nnobody:x:65534:65534::/tmp:/usr/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n",
    "resolv.conf": f"nameserver {socket.inet_ntoa(RESOLVER)}\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
WARM_UP = """
import contextlib
for name in ("IPython", "matplotlib_inline.backend_inline", "numpy", "pandas", "matplotlib.pyplot"):
    with contextlib.suppress(Exception):
        __import__(name)
with contextlib.suppress(Exception):
    import matplotlib.pyplot as plt
    plt.figure().savefig("/tmp/warm.png")
"""


class Scratch:
    """The folder `root` and what lies in it. `new_folder()` gives throw-away ones, removed by `close()`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: list[Path] = []
        stubs = root / "stubs"
        stubs.mkdir(parents=True, exist_ok=True)
        for name, text in STUBS.items():
            _write_once(stubs / name, text)

    def stub(self, name: str) -> Path:
        return self.root / "stubs" / name

    def caches(self, environment: Environment) -> Path:
        """Where the caches of `environment` are, filled or not."""
        return self.root / f"environment-{environment.key}"

    def is_filled(self, environment: Environment) -> bool:
        return self.caches(environment).is_dir()

    @contextlib.contextmanager
    def filling(self, environment: Environment) -> Iterator[Path]:
        """A folder to write the caches into; it becomes theirs at the end, unless another session was first."""
        folder = Path(tempfile.mkdtemp(prefix=".filling-", dir=self.root))
        try:
            folder.chmod(0o755)
            yield folder
            with contextlib.suppress(OSError):
                folder.rename(self.caches(environment))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def fonts(self, environment: Environment) -> list[Path]:
        """matplotlib's lists of fonts."""
        return sorted(self.caches(environment).glob("fonts/fontlist-*.json"))

    def bytecode(self, environment: Environment) -> Path | None:
        """Compiled modules, for an environment whose installer left none."""
        folder = self.caches(environment) / "bytecode"
        return folder if not environment.has_bytecode and folder.is_dir() else None

    def new_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="ipy-codeinterp-"))
        self._folders.append(folder)
        return folder

    def close(self) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()


def _write_once(path: Path, text: str) -> None:
    """Other sessions may be at it too: write aside, then rename."""
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text)
    aside.chmod(0o644)
    aside.replace(path)
