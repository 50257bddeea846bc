"""The table of who may call what: there is a row for every operation, and the document agrees."""

from __future__ import annotations

from typing import Any

from apps.tenants.roles import SCOPES
from tests.api.access import declared
from tests.api.calls import CALLS
from tests.api.client import document, operations

UNSCOPED = {"get_me"}  # says who calls, to whoever calls


def test_every_operation_is_in_the_table_with_its_address() -> None:
    served = {name: f"{method} {path}" for name, (method, path) in operations().items()}
    assert {row.name: row.address for row in declared().values()} == served


def test_every_operation_is_called() -> None:
    assert CALLS.keys() == declared().keys()


def test_the_document_names_the_scope_of_the_table_first() -> None:
    for name, row in declared().items():
        [needs] = described(name)["security"]
        assert tuple(needs.get("apiKey", ())) == row.scopes[:1], name
        assert set(row.scopes) <= set(SCOPES), name


def test_the_document_tells_of_what_is_the_platforms() -> None:
    for name, row in declared().items():
        told = "Only keys of the platform" in described(name)["description"]
        assert told <= row.for_platform, name


def test_what_needs_no_scope_is_known_by_name() -> None:
    needless = {name for name, row in declared().items() if not (row.scopes or row.is_open)}
    assert needless == UNSCOPED


def test_no_role_may_what_a_higher_one_may_not() -> None:
    held = ("MEMBER", "ADMIN", "BILLING_ADMIN", "OWNER")
    for name, row in declared().items():
        may = [role in row.roles for role in held]
        assert may == sorted(may), name


def described(name: str) -> dict[str, Any]:
    method, path = operations()[name]
    found: dict[str, Any] = document()["paths"][path][method.lower()]
    return found
