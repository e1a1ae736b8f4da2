"""The languages code can be written in.

To add one, add a row: its name, the label of its fence, the names people also use, and the program that runs it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from ipy_codeinterp import registry

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"  # what the sandbox sees of programs


@dataclass(frozen=True, slots=True)
class Language:
    """`program` runs it; None is the interpreter of the user's own environment. `install` says how to get it."""

    name: str
    fence: str
    aliases: tuple[str, ...] = ()
    comment: str = "#"
    program: str | None = None
    install: str = ""
    has_values: bool = True  # whether variables can be filled with values, and read

    @property
    def is_installed(self) -> bool:
        return self.program is None or shutil.which(self.program, path=SYSTEM_PATH) is not None


LANGUAGES = {
    language.name: language
    for language in (
        Language("python", fence="python", aliases=("py", "python3")),
        Language(
            "r",
            fence="r",
            aliases=("R", "rscript"),
            program="Rscript",
            install="apt-get install r-base-core r-cran-evaluate r-cran-repr r-cran-jsonlite",
        ),
        Language(
            "node",
            fence="javascript",
            aliases=("javascript", "js", "nodejs"),
            comment="//",
            program="node",
            install="apt-get install nodejs",
        ),
        Language(
            "bash",
            fence="bash",
            aliases=("sh", "shell"),
            program="bash",
            install="apt-get install bash",
            has_values=False,
        ),
    )
}

SUFFIXES = {"r": "r", "js": "node", "mjs": "node", "cjs": "node", "sh": "bash", "bash": "bash"}
_BY_ANY_NAME = LANGUAGES | {alias: language for language in LANGUAGES.values() for alias in language.aliases}


def find(name: str) -> Language:
    """The language called so, or `UnknownName`."""
    return registry.find("language", name, _BY_ANY_NAME)


def of_file(name: str) -> Language:
    """The language that a file's name says, Python where it says none."""
    return _BY_ANY_NAME.get(SUFFIXES.get(name.rpartition(".")[2].lower(), ""), LANGUAGES["python"])


def of_fence(label: str) -> Language | None:
    """The language that a fence's label names, if it names one."""
    return _BY_ANY_NAME.get(label.strip().lower())


def names() -> list[str]:
    """Every name a language may be called by."""
    return sorted(_BY_ANY_NAME)
