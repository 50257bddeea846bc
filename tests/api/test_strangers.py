"""Every operation against everybody who may not: no key, another customer, a made-up id, no scope.

A foreign id and one that does not exist get the same status and the same body, so nobody learns
what others have; and whatever is refused has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.db.models import Model

from apps.api.urls import former, rooted, v1
from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.ids import new_id
from apps.invoicing.models import Invoice, RechargeRule
from apps.subscriptions.models import QuantityStep, Subscription
from apps.tenants.models import Organization
from apps.tenants.roles import SCOPES
from apps.usage.models import Event
from tests import worlds
from tests.api.access import declared
from tests.api.calls import (
    CALLS,
    CHANGE,
    DISCOUNT,
    INVOICE,
    OTHERS,
    PREFIXES,
    fill,
    made_up,
    things,
)
from tests.api.client import Api, document, operations
from tests.worlds import World

# Filters that answer an empty list for whatever is not there.
EMPTY = {("list_invoices", "?subscription")}
# What nobody needs a key for: tests/api/test_auth.py asks who gets what there.
OPEN = {
    "register", "login", "refresh_tokens", "logout", "former_register", "former_login",
}  # fmt: skip
SCOPED = [name for name in CALLS if name not in {"get_me", *OPEN}]
NAMED = [(name, place) for name, how in CALLS.items() for place in how.names]


def scope_of(name: str) -> str:
    """Return the scope that the document says an operation needs."""
    method, path = operations()[name]
    [needs] = document()["paths"][path][method.lower()]["security"]
    [scope] = needs["apiKey"]
    return str(scope)


def is_the_platforms(name: str) -> bool:
    """Tell whether the document says that only keys of the platform may call an operation."""
    method, path = operations()[name]
    return "Only keys of the platform" in document()["paths"][path][method.lower()]["description"]


def may(name: str) -> bool:
    """Tell whether a customer's key may call an operation at all."""
    return declared()[name].is_open or not declared()[name].for_platform


def call(api: Api, name: str, ids: Mapping[str, str], only: str = "") -> Any:
    """Call an operation; in `only` (or in its path) it names the thing of `ids`."""
    values = {place: ids[thing] for place, thing in CALLS[name].names.items() if thing in ids}
    asked = fill(name, values, [only] if only else [])
    return api.call(asked.method, asked.path, asked.body, query=dict(asked.query))


def seen(reply: Any) -> tuple[int, dict[str, Any]]:
    """Return status and body without what tells one request from another."""
    return reply.status_code, {**reply.json(), "instance": "", "request_id": ""}


def everything(world: World) -> list[list[Any]]:
    """Return all that a refused request might have touched; that a key was used is noted."""
    models: tuple[type[Model], ...] = (
        Organization, Subscription, QuantityStep, Invoice, Event, AuditEntry, RechargeRule,
        *OTHERS.values(),
    )  # fmt: skip
    with rls.tenant_scope(world.id):
        return [
            [_lasting(row) for row in model._default_manager.order_by("pk").values()]
            for model in models
        ]


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "last_used_at"}


def test_every_operation_has_a_row_here() -> None:
    served = {
        getattr(view, method).operation.id
        for entry in [*v1, *former, *rooted]
        for view in [getattr(entry.callback, "cls", None)]  # Stripe's webhooks are no operation
        for method in ("get", "post", "patch", "put", "delete")
        if hasattr(getattr(view, method, None), "operation")
    }
    assert set(CALLS) == served == set(operations())


def test_every_path_variable_of_a_tenants_thing_is_probed() -> None:
    for name, (_, template) in operations().items():
        for thing in PREFIXES:
            assert (f"{{{thing}}}" in template) == (thing in CALLS[name].names), name


def test_nobody_gets_anything_without_a_key(world: World) -> None:
    mine, before = things(world), everything(world)
    for name in CALLS:
        status = 400 if name in OPEN else 401  # they are asked for more than nothing
        assert call(Api(None), name, mine).status_code == status, name
    assert everything(world) == before


def test_a_foreign_id_is_as_unknown_as_a_made_up_one(api: Api, stranger: World) -> None:
    theirs, before = things(stranger), everything(stranger)
    for name, place in NAMED:
        status, body = seen(call(api, name, theirs, place))
        assert (status, body) == seen(call(api, name, made_up(), place)), (name, place)
        if (name, place) in EMPTY:
            assert (status, body["data"]) == (200, []), (name, place)
        elif name == "check_access":
            assert (status, body["reason"]) == (200, "unknown_organization")  # never an error
        elif name == "verify_seat":
            assert (status, body["reason"]) == (200, "unknown_organization")
        elif name == "former_verify_seat":
            assert (status, body["hasAccess"]) == (200, False)
        elif is_the_platforms(name):
            assert (status, body["code"]) == (403, "platform_key_needed"), (name, place)
        elif "{" in operations()[name][1]:
            assert status == 404, (name, place)  # whose it is counts first
        elif place.endswith(("starting_after", "ending_before")) or name == "send_events":
            assert status == 400, (name, place)
        else:
            assert status == 404, (name, place)
    assert everything(stranger) == before


@pytest.mark.parametrize("name", ["get_invoice", "get_invoice_pdf"])
def test_a_foreign_number_is_as_unknown_as_a_made_up_one(
    api: Api, stranger: World, name: str
) -> None:
    number = worlds.number_of(stranger.second_invoice, stranger.organization)
    foreign = call(api, name, {INVOICE: number})
    assert foreign.status_code == 404
    assert seen(foreign) == seen(call(api, name, {INVOICE: "CH-999999"}))


def test_a_key_without_the_scope_is_told_which(world: World) -> None:
    keys = {
        scope: worlds.make_key(world.organization, [one for one in SCOPES if one != scope])
        for scope in SCOPES
    }
    mine, before = things(world), everything(world)
    for name in SCOPED:
        scope = scope_of(name)
        reply = call(Api(keys[scope]), name, mine)
        assert (reply.status_code, reply.json()["code"]) == (403, "missing_scope"), name
        assert reply.json()["extra"] == {"scope": scope}
    assert everything(world) == before


@pytest.mark.parametrize("name", SCOPED)
def test_the_one_scope_is_enough(world: World, name: str) -> None:
    api = Api(worlds.make_key(world.organization, [scope_of(name)]))
    expected = CALLS[name].ok if may(name) else 403
    assert call(api, name, things(world)).status_code == expected


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cancel_change", CHANGE),
        ("remove_discount", DISCOUNT),
        ("redeem_code", "/subscription"),
        ("validate_promotion_code", "/subscription"),
        ("list_discounts", "?subscription"),
        ("list_changes", "?starting_after"),
        ("list_charges", "?starting_after"),
        ("list_credit_grants", "?starting_after"),
        ("list_credit_movements", "?grant"),
        ("list_payments", "?starting_after"),
    ],
)
def test_a_foreign_part_of_ones_own_is_as_unknown_as_a_made_up_one(
    api: Api, world: World, stranger: World, name: str, place: str
) -> None:
    mine, part = things(world), CALLS[name].names[place]
    foreign = seen(call(api, name, {**mine, part: things(stranger)[part]}, place))
    assert foreign[0] in {400, 404}
    assert foreign == seen(call(api, name, {**mine, part: new_id(PREFIXES[part])}, place))


def test_what_is_made_up_is_unknown_to_the_platform(platform: Api, world: World) -> None:
    for name, place in NAMED:
        if is_the_platforms(name):
            status = 400 if place.startswith("?starting") else 404
            assert call(platform, name, made_up(), place).status_code == status, (name, place)


def test_the_platform_reads_what_is_anybodys(platform: Api, world: World, stranger: World) -> None:
    for one in (world, stranger):
        for name in ("get_organization", "get_subscription", "get_invoice"):
            assert call(platform, name, things(one)).status_code == 200
