"""The OpenAPI document, the pages for developers, and the catalogue of errors."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client

import apps
from apps.api.errors import kinds, title_of
from apps.core.errors import DomainError
from tests.api.client import ROOT, Api, document, operations
from tests.worlds import World

GUIDE = ROOT / "docs" / "api.md"


def test_the_committed_document_is_what_the_code_says(tmp_path: Path) -> None:
    made = tmp_path / "openapi.yaml"
    subprocess.run(
        [
            sys.executable,
            "manage.py",
            "spectacular",
            "--validate",
            "--fail-on-warn",
            "--file",
            str(made),
        ],
        cwd=ROOT,
        check=True,
    )
    assert made.read_text() == (ROOT / "openapi.yaml").read_text(), (
        "run: manage.py spectacular --validate --fail-on-warn --file openapi.yaml"
    )


def test_every_operation_is_described(world: World) -> None:
    assert document()["openapi"].startswith("3.1")
    for name, (method, path) in operations().items():
        found = document()["paths"][path][method.lower()]
        assert found["summary"], name
        assert found["description"], name
        assert len(found["tags"]) == 1
        [needs] = found["security"]
        is_open = path.startswith(("/api/v1/auth/", "/api/auth/"))
        assert (needs == {}) == is_open
        assert bool(needs.get("apiKey")) == (name != "get_me" and not is_open)
        problem = {"$ref": "#/components/schemas/Problem"}
        for status, answer in found["responses"].items():
            if status.startswith(("4", "5")) and name != "send_events":
                assert answer["content"]["application/problem+json"]["schema"] == problem


def test_writing_operations_take_an_idempotency_key() -> None:
    for name, (method, path) in operations().items():
        parameters = document()["paths"][path][method.lower()].get("parameters", [])
        names = {parameter["name"] for parameter in parameters}
        without = {
            "send_events",
            "verify_seat",
            "former_verify_seat",
            "create_api_key",  # its answer is not kept
            "rotate_api_key",
            "create_checkout_session",  # asks the provider outside of any transaction, and is
            "pay_invoice",  # safe to repeat by itself
        }
        writes = method != "GET" and name not in without and "/auth/" not in path
        assert ("Idempotency-Key" in names) == writes, name


def test_the_document_names_no_host() -> None:
    text = (ROOT / "openapi.yaml").read_text()
    assert "servers" not in document()
    assert not re.search(r"localhost|127\.0\.0\.1|/root/|/home/", text)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/vnd.oai.openapi", "application/vnd.oai.openapi"),
        ("application/json", "application/json"),
    ],
)
def test_the_document_is_served(db: None, accept: str, media_type: str) -> None:
    reply = Client().get("/api/schema", headers={"Accept": accept})
    assert reply.status_code == 200
    assert reply["Content-Type"].startswith(media_type)
    assert b"list_invoices" in reply.content


def test_the_example_of_an_event_is_not_too_old_to_be_sent(world: World, api: Api) -> None:
    cache.clear()  # the document is kept for five minutes, and it is another time in this world
    served = Client().get("/api/schema", headers={"Accept": "application/json"}).json()
    operation = served["paths"]["/api/v1/events"]["post"]
    [example] = operation["requestBody"]["content"]["application/json"]["examples"].values()
    assert api.post("events", example["value"]).status_code == 200


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc", "/api/errors"])
def test_the_pages_load_nothing_from_elsewhere(db: None, path: str) -> None:
    reply = Client().get(path)
    assert reply.status_code == 200
    text = reply.content.decode()
    assert "//" not in re.sub(r"<!--.*?-->", "", text.replace("</", "")), text
    assert '<link rel="icon"' in text
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    directives = dict(
        part.strip().split(" ", 1) for part in reply["Content-Security-Policy"].split(";")
    )
    scripts = directives.get("script-src", directives["default-src"])
    assert scripts == "'self'"
    relaxed = "'unsafe-inline'" in directives.get("style-src", "")
    assert relaxed == (path != "/api/errors")


def test_every_kind_of_refusal_is_on_the_page_of_errors(db: None) -> None:
    text = Client().get("/api/errors").content.decode()
    for kind in kinds():
        assert f'id="{kind.code}"' in text


def test_a_code_means_one_thing_and_one_status() -> None:
    load_everything()
    by_code: dict[str, type[DomainError]] = {}
    for kind in all_kinds(DomainError):
        if "code" in vars(kind):
            assert by_code.setdefault(kind.code, kind) is kind, kind.code
            assert 400 <= kind.status < 600
            assert re.fullmatch(r"[a-z][a-z_]+", kind.code)
            assert title_of(kind).endswith("."), kind


def test_the_guide_lists_every_code() -> None:
    load_everything()
    rows = [f"| `{kind.code}` | {kind.status} | {title_of(kind)} |" for kind in kinds()]
    table = GUIDE.read_text().split("<!-- codes -->")[1].strip().splitlines()[2:]
    assert table == rows, "\n".join(rows)


def all_kinds(kind: type[DomainError]) -> list[type[DomainError]]:
    children = [one for one in kind.__subclasses__() if one.__module__.startswith("apps.")]
    return children + [deeper for child in children for deeper in all_kinds(child)]


def load_everything() -> None:
    """Import every module of the rooms and doors, so that no kind of refusal is missing."""
    for module in pkgutil.walk_packages(apps.__path__, "apps."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)
