"""`portal_overview`: the customer's first page, against its own queries alone."""

from __future__ import annotations

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core import clock, rls
from apps.tenants.models import User
from tests.bench.timing import Result, rate, result
from tests.prove import tenancy

PAGES, ROUNDS = 20, 7


def measure() -> list[Result]:
    """Ask for the page and for its queries in turns."""
    _, people = tenancy.build(3, 1)
    organization_id, person = next(iter(people.items()))
    client = Client()
    client.force_login(User.objects.get(pk=person.user_id))
    with clock.frozen(tenancy.BILLED_UNTIL):
        _pages(client)
        queries = _queries(client)
        ours, limits = [], []
        for _ in range(ROUNDS):
            ours.append(rate(PAGES, lambda: _pages(client)))
            limits.append(rate(PAGES, lambda: _ask(organization_id, queries)))
    return [result("portal_overview", "pages/s", ours, limits)]


def _pages(client: Client) -> None:
    for _ in range(PAGES):
        assert client.get("/portal/").status_code == 200


def _queries(client: Client) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        client.get("/portal/")
    return [query["sql"] for query in captured if query["sql"].startswith(("SELECT", "WITH"))]


def _ask(organization_id: int, queries: list[str]) -> None:
    for _ in range(PAGES):
        with rls.tenant_scope(organization_id), connection.cursor() as cursor:
            for query in queries:
                cursor.execute(query)
                cursor.fetchall()
