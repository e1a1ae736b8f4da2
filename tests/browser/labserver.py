"""A private Jupyter server for the browser tests: JupyterLab, and where it is installed Notebook 7 beside it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Face = Literal["lab", "notebook"]
PATIENCE = 60.0
WHERE: dict[Face, str] = {"lab": "doc/tree", "notebook": "notebooks"}  # each shows one notebook and nothing else
# every cell is in the page, nothing pops up or asks for a kernel, and only `save` writes the file
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/notebook-extension/tracker": {
        "windowingMode": "none",
        "scrollPastEnd": False,
        "autoStartDefaultKernel": True,
    },
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
# a kernel behaves otherwise under pytest, and the settings of the developer do not count
NOT_INHERITED = ("JUPYTER", "JPY_", "IPYTHON", "PYTEST_", "MPLBACKEND", "IPY_CODEINTERP_")


class LabServer:
    """A JupyterLab of its own: private settings, a free loopback port, this interpreter as its only kernel."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.notebooks = folder / "notebooks"  # what the Lab serves
        self.log = folder / "server.log"
        self._private = folder / "private"
        self._extra_env = env or {}
        self._token = secrets.token_hex(16)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LabServer:
        self._furnish()
        for _attempt in range(3):  # another program may take the port between the look and the start
            self._launch()
            if self._answers():
                return self
        raise RuntimeError(f"JupyterLab does not start:\n{self.log.read_text()[-3000:]}")

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            for kernel in self.api("/api/kernels"):
                self.api(f"/api/kernels/{kernel['id']}", "DELETE")
        self._stop()

    def add(self, cells: Sequence[str] | Path, name: str = "notebook") -> str:
        """Put a notebook of these sources, or a copy of that file, into a folder of its own; its path for the Lab."""
        place = self.notebooks / f"{re.sub(r'[^a-zA-Z0-9]+', '-', name)}-{secrets.token_hex(3)}"
        place.mkdir()
        if isinstance(cells, Path):
            return Path(shutil.copy(cells, place)).relative_to(self.notebooks).as_posix()
        from nbformat import v4, write

        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        code = [v4.new_code_cell(source) for source in cells]
        notebook = v4.new_notebook(cells=code, metadata={"kernelspec": kernel})
        write(notebook, place / "notebook.ipynb")
        return f"{place.name}/notebook.ipynb"

    def url(self, notebook: str, face: Face = "lab") -> str:
        return f"http://127.0.0.1:{self._port}/{WHERE[face]}/{urllib.parse.quote(notebook)}?token={self._token}"

    def api(self, path: str, method: str = "GET") -> Any:
        """Ask the server; an OSError when it does not answer or answers no."""
        headers = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", method=method, headers=headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=30) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                raise OSError(f"{method} {path}: {error}") from None

    def end_kernel_of(self, notebook: str) -> None:
        for session in self.api("/api/sessions"):
            if session["path"] == notebook:
                self.api(f"/api/sessions/{session['id']}", "DELETE")

    def _furnish(self) -> None:
        self.notebooks.mkdir(parents=True)
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python 3",
            "language": "python",
        }
        files = {f"settings/{plugin}.jupyterlab-settings": values for plugin, values in SETTINGS.items()}
        for name, content in {**files, "share/kernels/python3/kernel.json": spec}.items():
            path = self._private / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))

    def _env(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        private = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTER_PATH": "share",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        return inherited | {name: str(self._private / folder) for name, folder in private.items()} | self._extra_env

    def _launch(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self._port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.notebooks,
            "ServerApp.terminals_enabled": False,
            "IdentityProvider.token": self._token,
            "LabApp.extension_manager": "readonly",
            "JupyterNotebookApp.expose_app_in_browser": True,
        }
        command += [f"--{name}={value}" for name, value in options.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env(), start_new_session=True
            )

    def _answers(self) -> bool:
        """Wait for the first answer; False when the server ended instead."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        try:
            while self._process.poll() is None:
                with contextlib.suppress(OSError):
                    self.api("/api/status")
                    return True
                if time.monotonic() > deadline:
                    raise TimeoutError(f"JupyterLab does not answer:\n{self.log.read_text()[-3000:]}")
                time.sleep(0.05)
        except BaseException:
            self._stop()
            raise
        return False

    def _stop(self) -> None:
        """End the whole process group, gently first. Kernels whose server is gone end themselves."""
        if self._process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._process = None
