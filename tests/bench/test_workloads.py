"""The workloads: what there is, how it is chosen, and what a package of one's own adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipy_codeinterp.bench import workloads
from ipy_codeinterp.bench.workload import Workload
from ipy_codeinterp.bench.workloads import ALL, CATEGORIES, choose
from ipy_codeinterp.bench.workloads.given import FIRST_LINES, SUFFIXES
from ipy_codeinterp.errors import InvalidInput, UnknownName

PROGRAMS = Path(workloads.__file__).parent / "programs"
OWN = """
from ipy_codeinterp.bench.workload import Workload
rest = ((1,), {"python": lambda n, seed: f"print({n})"}, lambda n, seed: "", "", lambda n, seed: {})
mine = Workload("mine", "own", "mine", *rest)
both = [mine, Workload("other", "statistics", "other", *rest)]
taken = Workload("sieve", "own", "mine", *rest)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """A package that names `said` as its entry point."""
    (folder / "my_own_work.py").write_text(OWN, "utf-8")
    info = folder / "my_own_work-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-own-work\nVersion: 1\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[{workloads.GROUP}]\nmine = {said}\n", "utf-8")
    monkeypatch.syspath_prepend(str(folder))


def test_categories() -> None:
    """The article's five categories, each with several workloads."""
    assert CATEGORIES == ("transformation", "statistics", "visualization", "algorithms", "numerics")
    assert all(len(choose([category])) >= 3 for category in CATEGORIES)
    assert len(ALL) == sum(len(choose([category])) for category in CATEGORIES)


@pytest.mark.parametrize("workload", ALL.values(), ids=lambda workload: workload.name)
def test_complete(workload: Workload) -> None:
    """Each has sizes that grow, Python, words that hold the size, and an expectation with every name of its answer."""
    case = workload.case(workload.sizes[0], 3, kind="task")

    assert list(workload.sizes) == sorted(set(workload.sizes)) and "python" in workload.code
    assert case.expect == workload.expect and case.needs == workload.needs
    assert case.answer is not None
    if workload.needs:
        assert workload.needs in case.body
    else:
        assert all(f'"{name}"' in workload.expect for name in case.answer)
        assert workload.name == "sieve" or all(f"`{name}`" in case.body or name in case.body for name in case.answer)


@pytest.mark.parametrize("workload", ALL.values(), ids=lambda workload: workload.name)
def test_seeds(workload: Workload) -> None:
    """Another seed is another question: other code, other words, another answer; the same one is the same."""
    size = workload.sizes[0]
    one, same, other = (workload.case(size, seed) for seed in (1, 1, 2))

    assert one == same
    assert one.body != other.body and one.answer != other.answer
    assert workload.words(size, 1) != workload.words(size, 2)


@pytest.mark.parametrize("path", [path for path in PROGRAMS.iterdir() if path.suffix], ids=lambda path: path.name)
def test_programs(path: Path) -> None:
    """Each program runs by itself: its first line is of the form that is written for a case, with the quick size."""
    if path.stem == "probe":
        return
    language = {suffix: language for language, suffix in SUFFIXES.items()}[path.suffix[1:]]
    size = str(ALL[path.stem].sizes[0])
    first = path.read_text("utf-8").partition("\n")[0].replace("_", "")

    assert first == FIRST_LINES[language].replace("{size}", size).replace("{seed}", "0")


def test_choose() -> None:
    """Names and categories in any order, each workload once; none is all."""
    assert [each.name for each in choose(["sieve", "numerics", "matrix"])] == ["sieve", "matrix", "fourier", "springs"]
    assert choose([]) == list(ALL.values())


@pytest.mark.parametrize(("said", "near"), [("seive", "sieve"), ("statistic", "statistics")])
def test_near(said: str, near: str) -> None:
    """An unknown name is answered with the nearest."""
    with pytest.raises(UnknownName, match=f"unknown workload '{said}'") as caught:
        choose([said])
    assert caught.value.hint == f"did you mean {near}?"


@pytest.mark.parametrize(("said", "names"), [("mine", ["mine"]), ("both", ["mine", "other"])])
def test_entry_points(said: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package's workloads come after ours, and its category can be chosen."""
    install(tmp_path, monkeypatch, f"my_own_work:{said}")

    assert [each.name for each in choose([])] == [*ALL, *names]
    assert choose(["own"])[0].name == "mine"
    assert [each.name for each in choose(["statistics"])][3:] == names[1:]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("my_own_work:missing", "cannot be loaded: AttributeError"),
        ("no_such_module:x", "cannot be loaded: ModuleNotFoundError"),
        ("my_own_work:OWN_NAME", "cannot be loaded"),
        ("os:sep", "is no Workload"),
        ("my_own_work:taken", "there is a workload 'sieve' already"),
    ],
)
def test_broken_entry_point(said: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is broken, or takes a name of ours, is told by name."""
    install(tmp_path, monkeypatch, said)

    with pytest.raises(InvalidInput, match="entry point mine") as caught:
        choose(["sieve"])
    assert why in str(caught.value)
