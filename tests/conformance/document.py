"""OpenAI's OpenAPI document, where it is at hand: what it says against a body, and the part of it that is served."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

SPEC = Path(__file__).parents[3] / "shared" / "spec" / "openai-openapi.json"
needs_document = pytest.mark.skipif(not SPEC.is_file(), reason=f"OpenAI's OpenAPI document is not at {SPEC}")
SERVED = {
    "/chat/completions": ("post",),
    "/containers": ("get", "post"),
    "/containers/{container_id}": ("get", "delete"),
    "/containers/{container_id}/files": ("get", "post"),
    "/containers/{container_id}/files/{file_id}": ("get", "delete"),
    "/containers/{container_id}/files/{file_id}/content": ("get",),
    "/files": ("get", "post"),
    "/files/{file_id}": ("get", "delete"),
    "/files/{file_id}/content": ("get",),
    "/models": ("get",),
    "/models/{model}": ("get",),
    "/responses": ("post",),
    "/responses/input_tokens": ("post",),
    "/responses/{response_id}": ("get", "delete"),
    "/responses/{response_id}/cancel": ("post",),
    "/responses/{response_id}/input_items": ("get",),
}


@functools.cache
def document() -> dict[str, Any]:
    """The whole of it; not to be changed."""
    said: dict[str, Any] = json.loads(SPEC.read_text())
    return said


@functools.cache
def validator(name: str) -> Any:
    """Of the schema called `name`."""
    jsonschema, referencing = pytest.importorskip("jsonschema"), pytest.importorskip("referencing")
    resource = referencing.Resource.from_contents(document(), referencing.jsonschema.DRAFT202012)
    registry = referencing.Registry().with_resource("urn:openai", resource)
    schema = {"$ref": f"urn:openai#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=registry)


def faults(name: str, body: object) -> list[str]:
    """What the document says against `body`."""
    return [f"{error.json_path}: {error.message[:300]}" for error in validator(name).iter_errors(body)]


def served_part() -> dict[str, Any]:
    """The document with the routes that are served, each with the error that it may answer, and what they refer to."""
    whole = document()
    paths: dict[str, Any] = {}
    for path, methods in SERVED.items():
        about = whole["paths"][path]
        paths[path] = {method: _with_errors(about[method]) for method in methods}
    part = {"openapi": whole["openapi"], "info": whole["info"], "paths": paths, "components": {}}
    part["components"] = _referred(part, whole)
    return _once(part)


def _with_errors(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Errors are in the document by their schema alone; where it has a 404 it forgets that `error` is around it."""
    refused = {
        "description": "refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}},
    }
    responses = {status: said for status, said in operation["responses"].items() if status != "404"}
    dropped = ("x-oaiMeta", "security")
    return {name: said for name, said in operation.items() if name not in dropped} | {
        "responses": responses | {"4XX": refused}
    }


def _referred(part: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The components that `part` refers to, and those that these refer to."""
    found: dict[str, Any] = {}
    waiting = [part["paths"]]
    while waiting:
        for said in _refs(waiting.pop()):
            _, _, kind, name = said.split("/")
            if name not in found.setdefault(kind, {}):
                found[kind][name] = whole["components"][kind][name]
                waiting.append(found[kind][name])
    return found


def _refs(said: Any) -> list[str]:
    """Of any JSON."""
    if isinstance(said, dict):
        own = [said["$ref"]] if isinstance(said.get("$ref"), str) else []
        return own + [ref for each in said.values() for ref in _refs(each)]
    return [ref for each in said for ref in _refs(each)] if isinstance(said, list) else []


def _once(said: Any) -> Any:
    """The same JSON without what is said twice in a `required`: readers that follow the letter refuse that."""
    if isinstance(said, list):
        return [_once(each) for each in said]
    if not isinstance(said, dict):
        return said
    return {
        name: list(dict.fromkeys(each)) if name == "required" and isinstance(each, list) else _once(each)
        for name, each in said.items()
    }
