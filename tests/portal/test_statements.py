from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core import clock, rls
from apps.tenants import services as tenants
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.world import Customer

# Session, user, organizations, organization and what is not paid are five of each page's
# statements.
MOST = {
    "": 12,
    "usage/": 13,
    "plan/": 8,
    "invoices/": 10,
    "invoices/CH-000002/": 13,
    "credit/": 9,
    "details/": 5,
    "team/": 7,
    "developers/": 6,
    "activity/": 8,
}


def statements(customer: Customer, path: str) -> int:
    client = signed_in(customer.owner)
    client.get(f"/portal/{path}")
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(f"/portal/{path}").status_code == 200
    return sum("SAVEPOINT" not in one["sql"] for one in captured.captured_queries)


@pytest.mark.parametrize("path", MOST)
def test_a_page_takes_few_statements_however_many_rows_there_are(acme: Customer, path: str) -> None:
    few = statements(acme, path)
    with rls.ops_scope("test: more rows"):
        for number in range(5):
            world.person(acme.organization, "MEMBER", f"member{number}")
            tenants.create_api_key(
                acme.organization.pk,
                name=f"key {number}",
                scopes=["usage:write"],
                actor=STAFF,
                at=world.NOW,
            )
    world.use(acme, datetime(2023, 12, 8, tzinfo=UTC), 40)
    world.bill(datetime(2024, 6, 1, tzinfo=UTC))
    with clock.frozen(datetime(2024, 6, 10, tzinfo=UTC)):
        assert statements(acme, path) == few
    assert few == MOST[path]
