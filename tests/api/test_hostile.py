"""Whatever is sent, the answer is a refusal in the documented form and never a 500."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from django.test import Client

from tests.api.calls import CALLS, things
from tests.api.client import Api, document, operations, validate
from tests.worlds import World

JSON = "application/json"
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**23,
    "",
    " ",
    "x" * 100_000,
    "' OR 1=1 --",
    "../../etc/passwd",
    "{{7*7}}${7*7}",
    "=cmd|' /C calc'!A0",
    "2023-02-30T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "infinity",
    "\u202egnp.exe",
    "\u0000",
    "\ud800",
    [],
    [None],
    [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]],
    {},
    {"$ne": 1},
    {"": ""},
    {"\u0000": "\ud800"},
]
BODIES: list[bytes] = [
    b"{",
    b"null",
    b"7",
    b'"text"',
    b"[]",
    b"[{}]",
    b"\x00",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"{'a': 1}",
    b'{"quantity": NaN}',
    b'{"quantity": 1e999999999}',
    b'{"quantity": ' + b"9" * 5000 + b"}",
    b'{"quantity": 1, "quantity": 2}',
    b'{"name": "\\ud800"}',
    b'{"name": "\\u0000"}',
    b"[" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b"a=1&b=2",
]
PATHS = ["%00", "%ff%fe", "%F0%9F%92%A9", "a%2Fb", "..%2f..", "x" * 5000, "%0d%0aX: y", "-1", "'"]
TEMPLATES = [
    "organizations/{}",
    "organizations/{}/upcoming-invoices",
    "plans/{}",
    "plans/{}/versions",
    "subscriptions/{}",
    "usage/{}",
    "invoices/{}",
    "invoices/{}/pdf",
    "{}",
]
QUERIES: dict[str, list[str]] = {
    "limit": ["0", "101", "-1", "1e3", "1.0", "", "x", str(10**23), "9" * 5000, "\x00", "०"],
    "starting_after": ["", "x", "\x00", "inv_", "inv_01m7vnd0x7fp4ve7xtr8wwavw8", "x" * 5000, "💩"],
    "ending_before": ["", "inv_01m7vnd0x7fp4ve7xtr8wwavw8\x00"],
    "status": ["", "OPEN", "\x00"],
    "organization": ["\x00", "x" * 5000, "ext:", "💩"],
    "created[gte]": ["", "now", "infinity", "9" * 400, "2023-13-01", "\x00"],
    "created[ne]": ["2023-01-01T00:00:00Z"],
    "no_such_parameter": ["1"],
}


# CloudEvents allow extensions, and products of before send what we do not know.
LENIENT = {"send_events", "former_verify_seat"}


def writing() -> list[str]:
    return [name for name, probe in CALLS.items() if probe.body is not None]


def target(name: str, world: World) -> tuple[str, str]:
    """Return the method and the path of an operation on the world's own things."""
    method, template = operations()[name]
    return method, template.format(**{**things(world), **CALLS[name].path})


def fields(name: str) -> list[str]:
    """Return the fields that an operation's body has, by the document."""
    method, path = operations()[name]
    taken = document()["paths"][path][method.lower()].get("requestBody")
    if taken is None:
        return ["surprise"]
    schema = taken["content"][JSON]["schema"]
    schema = schema.get("oneOf", [schema])[0]
    reference = schema.get("$ref", "").rpartition("/")[2]
    found = document()["components"]["schemas"][reference] if reference else schema
    return [*found.get("properties", {})]


@pytest.mark.parametrize("name", writing())
def test_every_field_refuses_or_takes_every_value(platform: Api, world: World, name: str) -> None:
    method, path = target(name, world)
    for field, value in itertools.product(fields(name), VALUES):
        body = json.dumps({**CALLS[name].body, field: value})
        reply = platform.call(method, path, body)
        assert reply.status_code < 500, (field, value)


def test_unknown_fields_are_refused_with_their_place(platform: Api, world: World) -> None:
    names = ("id", "status", "total", "number", "organization_id", "is_staff", "role", "a/~")
    for name, field in itertools.product(writing(), names):
        if name in LENIENT or field in fields(name):
            continue
        method, path = target(name, world)
        problem = platform.call(method, path, {**CALLS[name].body, field: 1}).json()
        assert (problem["status"], problem["code"]) == (400, "invalid_request"), (name, field)
        found = {fault["pointer"]: fault["code"] for fault in problem["errors"]}
        pointer = "/" + field.replace("~", "~0").replace("/", "~1")
        assert found[pointer] == "unknown_field"


def test_every_body_is_refused(platform: Api, world: World) -> None:
    for name, body in itertools.product(writing(), BODIES):
        method, path = target(name, world)
        assert platform.call(method, path, body).status_code == 400, (name, body[:40])


def test_bodies_of_other_types_are_refused(platform: Api, world: World) -> None:
    types = ("text/plain", "multipart/form-data", f"{JSON}; charset=bz2_codec", "%")
    for name, media_type in itertools.product(writing(), types):
        method, path = target(name, world)
        reply = platform.call(method, path, b"{}", content_type=media_type)
        assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type"), name


def test_every_path_is_found_or_not(platform: Api, world: World) -> None:
    for template, part in itertools.product(TEMPLATES, PATHS):
        reply = platform.get(f"/api/v1/{template.format(part)}")
        assert reply.status_code == 404, (template, part)


def test_every_query_is_refused_by_name(api: Api, world: World) -> None:
    for name, value in [(name, value) for name, values in QUERIES.items() for value in values]:
        reply = api.get("invoices", {name: value})
        assert reply.status_code in {400, 404}, (name, value)
        assert reply.json()["param"] == name
        assert reply.json()["errors"][0]["parameter"] == name


def test_an_idempotency_key_has_a_form(api: Api, world: World) -> None:
    for key in ("", " ", "a b", "x" * 256, "ключ", "a\tb"):
        reply = api.patch("organizations/acme", {"name": "New"}, **{"Idempotency-Key": key})
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_idempotency_key")
    assert api.get("organizations/acme").json()["name"] == "Acme"


@pytest.mark.parametrize("length", ["-1", "abc", "9" * 30, "٣"])
def test_a_false_content_length_does_no_harm(api: Api, world: World, length: str) -> None:
    reply = api.client.generic(
        "PATCH",
        "/api/v1/organizations/acme",
        b"{}",
        content_type="application/json",
        headers={"Authorization": f"Bearer {api.key}"},
        CONTENT_LENGTH=length,
    )
    assert reply.status_code in {400, 413}


def test_unknown_addresses_and_methods_are_problems_too(api: Api, world: World) -> None:
    for method, path, status, code in (
        ("GET", "/api/", 404, "unknown_path"),
        ("GET", "/api/v1/", 404, "unknown_path"),
        ("GET", "/api/v2/invoices", 404, "unknown_path"),
        ("GET", "/api/v1/invoices/", 404, "unknown_path"),
        ("DELETE", "/api/v1/unknown", 404, "unknown_path"),
        ("DELETE", "/api/v1/invoices", 405, "method_not_allowed"),
        ("PUT", "/api/v1/organizations/acme", 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/invoices", 405, "method_not_allowed"),
        ("TRACE", "/api/v1/invoices", 405, "method_not_allowed"),
    ):
        reply = api.call(method, path)
        assert (reply.status_code, reply.json()["code"]) == (status, code), (method, path)


def test_unknown_addresses_need_no_key() -> None:
    reply = Client().get("/api/v1/nowhere")
    assert reply.status_code == 404
    validate(reply.json(), "#/components/schemas/Problem")


def test_head_answers_like_get_without_a_body(api: Api, world: World) -> None:
    reply = api.client.head("/api/v1/invoices", headers={"Authorization": f"Bearer {api.key}"})
    assert (reply.status_code, reply.content) == (200, b"")


def test_accept_does_not_matter(api: Api, world: World) -> None:
    for accept in ("text/html", "application/xml", "*/*;q=0", "%%%", "application/json; indent=9"):
        assert api.get("me", Accept=accept).status_code == 200
