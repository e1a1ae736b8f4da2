"""Requests that schemathesis makes of OpenAI's document, good ones and bad ones, on the routes that are served."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .document import SERVED, needs_document, served_part
from .served import Served, served

pytestmark = [pytest.mark.conformance, pytest.mark.sandbox, pytest.mark.slow, needs_document]

EXAMPLES = 4  # requests of each kind, of each operation
OPERATIONS = [(method, path) for path, methods in SERVED.items() for method in methods]
# null where the document has a value, with the reasons that test_openai_document.py gives
OR_NULL = {
    "OpenAIFile": ("expires_at",),
    "ListFilesResponse": ("first_id", "last_id"),
    "ContainerListResource": ("first_id", "last_id"),
    "ContainerFileListResource": ("first_id", "last_id"),
    "ResponseItemList": ("first_id", "last_id"),
}
LISTS = ("/containers", "/containers/{container_id}/files", "/files", "/responses/{response_id}/input_items")
BINARY = "/content"  # what ends with it is answered with bytes, of any kind


@pytest.fixture(scope="module")
def gateway(cache_dir: Path, clean_environment: dict[str, str]) -> Iterator[Served]:
    with served(cache_dir, clean_environment) as running:
        yield running


@functools.cache
def schema() -> Any:
    pytest.importorskip("schemathesis", reason="schemathesis was NOT run: it is not installed")
    from schemathesis import openapi

    part = served_part()
    for name, fields in OR_NULL.items():
        about = part["components"]["schemas"][name]["properties"]
        about |= {field: {"anyOf": [about[field], {"type": "null"}]} for field in fields}
    # it may be uploaded for `evals`, by the document too, and a file says what it was uploaded for
    part["components"]["schemas"]["OpenAIFile"]["properties"]["purpose"]["enum"].append("evals")
    return openapi.from_dict(part)


def requests() -> Iterator[tuple[str, str, str]]:
    """What has neither a body nor a query cannot be asked wrongly: any word in a path may be an id."""
    for method, path in OPERATIONS:
        yield method, path, "positive"
        if (method == "post" and not path.endswith("/cancel")) or path in LISTS:
            yield method, path, "negative"


@pytest.mark.parametrize(("method", "path", "kind"), tuple(requests()))
def test_no_request_breaks_the_gateway(gateway: Served, method: str, path: str, kind: str) -> None:
    """No answer is a server error; each has a status and a body that the document has."""
    operation = schema()[path][method]
    from hypothesis import HealthCheck, Phase, given, settings  # here: only who has schemathesis needs them
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi import checks

    asked = checks.response_schema_conformance, checks.status_code_conformance

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=GenerationMode(kind)))
    def send(case: Any) -> None:
        headers = {"Authorization": f"Bearer {gateway.token}"}
        response = case.call(base_url=f"{gateway.base_url}/v1", headers=headers, timeout=30)
        assert response.status_code < 500, (case.as_curl_command(), response.text[:300])
        if not path.endswith(BINARY):
            case.validate_response(response, checks=list(asked))

    send()
