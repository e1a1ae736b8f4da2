"""Given code in the real sandbox: every program, in every language that it is written in, is graded right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipy_codeinterp.bench.grading import Grade, grade
from ipy_codeinterp.bench.workloads import ALL, choose
from ipy_codeinterp.languages import LANGUAGES
from ipy_codeinterp.session import Session

pytestmark = pytest.mark.sandbox
PAIRS = [(name, language) for name, workload in ALL.items() for language in workload.code]


@pytest.fixture(scope="module")
def session(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(cache_dir=cache_dir, data_dir=tmp_path_factory.mktemp("data")) as opened:
        yield opened


def graded(session: Session, name: str, size: int, language: str, *, model: str = "local") -> Grade:
    if not LANGUAGES[language].is_installed:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{language} is not installed")
    case = ALL[name].case(size, 3, language)
    container = "r" if language == "r" else None  # to start R takes longer than any of the programs
    ran = session.run(case.body, language=language, model=model, container=container, cache=False)
    return grade(case, ran)


@pytest.mark.parametrize(("name", "language"), PAIRS, ids=[f"{name}-{language}" for name, language in PAIRS])
def test_right(session: Session, name: str, language: str) -> None:
    """At its quick size."""
    assert graded(session, name, ALL[name].sizes[0], language) == Grade(True)


@pytest.mark.parametrize("workload", choose(["visualization"]), ids=lambda workload: workload.name)
def test_large_figures(session: Session, workload: object) -> None:
    """Figures of data that repeat hold what the oracle counts by periods."""
    assert graded(session, workload.name, 230_001, "python") == Grade(True)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_million_rows(session: Session) -> None:
    """A file of a million rows is read under the tightest profile, that of gpt."""
    assert graded(session, "orders", 1_000_000, "python", model="gpt") == Grade(True)
