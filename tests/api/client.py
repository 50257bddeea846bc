"""A client that holds every answer against the committed OpenAPI document."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import yaml
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = "application/problem+json"
Reply = Any


class Api:
    """Calls the API with a key (or none); `check=False` for what the document cannot know."""

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: Any) -> Reply:
        return self.call("GET", path, query=query, **headers)

    def post(self, path: str, body: Any = None, **headers: Any) -> Reply:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: Any) -> Reply:
        return self.call("PATCH", path, body, **headers)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Reply:
        """Call an operation; a body that is no text or bytes goes as JSON."""
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        sent = b"" if body is None else data
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        full = path if path.startswith("/") else f"/api/v1/{path}"
        reply = self.client.generic(
            method, full, sent, content_type=content_type, headers=headers, query_params=query
        )
        check(method, full, reply)
        return reply


@functools.cache
def document() -> dict[str, Any]:
    """Return the committed document."""
    found: dict[str, Any] = yaml.load((ROOT / "openapi.yaml").read_text(), Loader=yaml.CSafeLoader)
    return found


@functools.cache
def operations() -> dict[str, tuple[str, str]]:
    """Return every operation's method and path template, by its id."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


def template_of(path: str) -> str | None:
    """Return the documented template that a path matches, its own before one with variables."""
    if path in document()["paths"]:
        return path
    for template in document()["paths"]:
        pattern = re.sub(r"\{[a-z_]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path):
            return str(template)
    return None


def check(method: str, path: str, reply: Reply) -> None:
    """Fail when the answer's status, media type or body is not as documented."""
    assert reply.status_code < 500, reply.content
    media_type = reply["Content-Type"].split(";")[0]
    assert reply["X-Request-Id"]
    if reply.status_code >= 400:
        assert media_type == PROBLEM, (reply.status_code, reply.content[:300])
        validate(reply.json(), "#/components/schemas/Problem")
    template = template_of(path.split("?")[0])
    operation = document()["paths"].get(template, {}).get(method.lower())
    if operation is None:
        assert reply.status_code in {401, 404, 405}
        return
    content = operation["responses"][str(reply.status_code)]["content"]
    assert media_type in content, (media_type, list(content))
    if media_type.endswith("json"):
        _validate(reply.json(), content[media_type]["schema"])


def validate(body: Any, reference: str) -> None:
    """Hold a body against a component of the document."""
    _validate(body, {"$ref": reference})


def _validate(body: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": document()["components"]}
    errors = list(Draft202012Validator(whole).iter_errors(body))
    assert not errors, (errors[0].message, list(errors[0].absolute_path))
