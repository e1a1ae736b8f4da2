"""The tests that come with OpenAI's SDK, unchanged, against the gateway: which pass, and why each other one cannot.

They were written for a mock that takes any request. The gateway in `seeded.py` knows the ids that they name; what
fails here is what the live service would refuse too, or what is not served.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import openai
import pytest

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox, pytest.mark.slow, pytest.mark.timeout(400)]

FILES = (
    "test_containers.py",
    "containers/test_files.py",
    "containers/files/test_content.py",
    "test_files.py",
    "test_models.py",
    "test_responses.py",
    "responses/test_input_items.py",
    "responses/test_input_tokens.py",
)
NEEDED = ("pytest-asyncio", "rich")  # what their conftest and utilities import, beside the SDK
OURS = ("-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:schemathesis")  # plugins that they do not expect
SETTINGS = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = session\n"  # as in their pyproject
FEWEST = 400  # tests that pass: fewer, and they were not found
SKIPPED = "aiohttp client is not compatible with respx2_mock"  # by themselves


@dataclass(frozen=True)
class Cannot:
    """Tests that cannot pass: those whose name fits `pattern`, each of which fails with `error`, because of `why`."""

    pattern: str
    error: str
    why: str


KINDS = "Test*.test_[mrs]*_"  # method, raw_response, streaming_response; path_params send nothing
LIST = (
    Cannot(
        f"test_responses.{KINDS}create_overload_?[[]*",
        "400 - Missing required parameter: 'model'.",
        "no model is named, and there is no stored prompt that could name one",
    ),
    Cannot(
        f"test_responses.{KINDS}create_with_all_params_overload_?[[]*",
        "400 - Background responses are not served here.",
        "`background` is asked for: nothing runs here when nobody listens",
    ),
    Cannot(
        f"test_responses.{KINDS}retrieve*_overload_2[[]*",
        "400 - This response cannot be streamed because it was not created with background=true.",
        "only a response in the background can be streamed again",
    ),
    Cannot(
        f"test_responses.{KINDS}cancel[[]*",
        "400 - Cannot cancel a synchronous response.",
        "only a response in the background can be cancelled",
    ),
    Cannot(
        f"test_responses.{KINDS}compact*",
        "405 - Not allowed to POST on /v1/responses/compact.",
        "not served: to make a conversation shorter takes a model",
    ),
    Cannot(
        f"test_models.{KINDS}delete[[]*",
        "405 - Not allowed to DELETE on /v1/models/ft:gpt-4o-mini:acemeco:suffix:abc123.",
        "not served: the models are profiles of the sandbox",
    ),
    Cannot(
        f"containers.test_files.{KINDS}create[[]*",
        "400 - Missing required parameter: 'file_id'.",
        "neither a file nor the id of one is sent",
    ),
    Cannot(
        f"test_containers.{KINDS}create_with_all_params[[]*",
        "400 - Invalid type for 'expires_after.minutes': expected a number from 1 to 20.",
        "the container is to live for 0 minutes",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What became of one of their tests; `said` is the message of its failure or its skipping."""

    name: str
    kind: str
    said: str


def pip(*arguments: str, where: Path) -> None:
    """As the developer has it set up, index and all; without one the test is skipped."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=200, check=False)
    if done.returncode:
        pytest.skip(f"OpenAI's own tests were NOT run, pip cannot get them: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the SDK that is installed, unpacked, with what its tests need in `needed`."""
    where = tmp_path_factory.mktemp("openai")
    name = f"openai-{openai.__version__}"
    pip("download", "--no-deps", "--no-binary", ":all:", f"openai=={openai.__version__}", where=where)
    pip("install", "--quiet", "--target", str(where / "needed"), *NEEDED, where=where)
    with tarfile.open(where / f"{name}.tar.gz") as packed:
        packed.extractall(where, filter="data")
    (where / "pytest.ini").write_text(SETTINGS)
    return where / name


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[str]:
    """Its base URL."""
    command = [sys.executable, str(Path(__file__).with_name("seeded.py")), str(cache_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def outcomes(sources: Path, gateway: str, clean_environment: dict[str, str]) -> list[Outcome]:
    """Of all their tests, run in a process of their own."""
    report = sources.parent / "report.xml"
    environment = clean_environment | {
        "PYTHONPATH": str(sources.parent / "needed"),
        "TEST_API_BASE_URL": f"{gateway}/v1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    tests = [f"tests/api_resources/{file}" for file in FILES]
    settings = ["-c", str(sources.parent / "pytest.ini"), "--rootdir", str(sources), f"--junitxml={report}", *OURS]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", *settings, *tests]
    done = subprocess.run(
        command, cwd=sources, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 1), (done.stdout + done.stderr)[-2000:]
    return [outcome_of(case) for case in ElementTree.parse(report).iter("testcase")]


def outcome_of(case: ElementTree.Element) -> Outcome:
    name = f"{case.get('classname')}.{case.get('name')}".removeprefix("tests.api_resources.")
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            return Outcome(name, kind, found.get("message") or "")
    return Outcome(name, "passed", "")


def test_each_of_their_tests_passes_or_is_listed(outcomes: list[Outcome]) -> None:
    """What fails is in the list, with the error that is said there; what is in the list fails; all others pass."""
    wrong = []
    for outcome in outcomes:
        listed = next((each for each in LIST if fnmatchcase(outcome.name, each.pattern)), None)
        if outcome.kind == "skipped" and SKIPPED in outcome.said:
            continue
        if listed is None and outcome.kind != "passed":
            wrong.append(f"fails, and is not listed: {outcome.name}: {outcome.said[:200]}")
        elif listed and outcome.kind == "passed":
            wrong.append(f"passes, and is listed ({listed.why}): {outcome.name}")
        elif listed and f"Error code: {listed.error}" not in outcome.said:
            wrong.append(f"fails otherwise than listed: {outcome.name}: {outcome.said[:200]}")
    assert wrong == []
    assert sum(outcome.kind == "passed" for outcome in outcomes) >= FEWEST


def test_the_list_has_no_entry_too_many(outcomes: list[Outcome]) -> None:
    """Each entry is of a test that is there."""
    idle = [each.pattern for each in LIST if not any(fnmatchcase(o.name, each.pattern) for o in outcomes)]

    assert idle == []
