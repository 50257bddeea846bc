"""The database itself keeps what was published, whoever asks."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from apps.core import rls
from apps.plans import selectors, services
from apps.plans.models import Entitlement, Feature, Plan, PlanVersion, Price
from apps.tenants.models import Organization
from tests.conftest import AT, STAFF
from tests.plans.samples import gateway

TABLES = ("feature", "plan", "planversion", "price", "entitlement")


def load(amount: str = "50.00") -> None:
    document = gateway(('amount: "50.00"', f"amount: {amount}"))
    with rls.ops_scope("test"):
        services.load_catalog(document, actor=STAFF, at=AT)


def refused(sql: str, saying: str) -> None:
    with (
        pytest.raises(DatabaseError, match=saying),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        'UPDATE plans_price SET terms = \'{"model": "flat", "amount": "1"}\'',
        "UPDATE plans_price SET included = 1 WHERE type <> 'flat'",
        "UPDATE plans_price SET key = 'other' WHERE key = 'base'",
        "UPDATE plans_price SET meter_id = NULL, type = 'licensed' WHERE type = 'metered'",
        "DELETE FROM plans_price",
        "UPDATE plans_entitlement SET value = '1000'",
        "DELETE FROM plans_entitlement",
        "UPDATE plans_planversion SET trial_days = 90",
        "UPDATE plans_planversion SET interval_unit = 'year'",
        "UPDATE plans_planversion SET published_at = now()",
        "DELETE FROM plans_planversion",
        "UPDATE plans_plan SET code = 'x'",
        "UPDATE plans_plan SET kind = 'add_on'",
        "UPDATE plans_feature SET kind = 'config'",
    ],
)
def test_what_is_published_never_changes(ops: None, sql: str) -> None:
    load()
    before = selectors.current_version("gateway")
    refused(sql, "never changes|stays|permission denied")
    assert selectors.current_version("gateway") == before


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_the_catalogue_are_not_emptied(ops: None, table: str) -> None:
    load()
    refused(f"TRUNCATE plans_{table} CASCADE", "stay|permission denied")


def test_a_retired_version_is_as_fixed_as_a_published_one(ops: None) -> None:
    load()
    load("60")
    refused("UPDATE plans_price SET included = 7 WHERE type = 'licensed'", "never changes")
    refused("UPDATE plans_planversion SET currency = 'EUR' WHERE number = 1", "never changes")


def test_a_published_version_takes_nothing_more(ops: None) -> None:
    load()
    version = PlanVersion.objects.get()
    refused(
        "INSERT INTO plans_price (public_id, version_id, key, type, terms, included, timing, name,"
        f" description, position) VALUES ('price_x', {version.pk}, 'x', 'flat', '{{}}', 0,"
        " 'advance', 'X', '', 9)",
        "takes nothing more",
    )
    feature = Feature.objects.create(key="new", name="New", kind="switch")
    with pytest.raises(DatabaseError, match="takes nothing more"), transaction.atomic():
        Entitlement.objects.create(version=version, feature=feature, value=True)


def test_nothing_of_a_draft_moves_into_a_published_version(ops: None) -> None:
    load()
    published = PlanVersion.objects.get()
    draft = PlanVersion.objects.create(
        plan=published.plan, number=2, interval_unit="month", currency="USD", content_hash="x"
    )
    price = Price.objects.create(
        version=draft, key="x", type="flat", terms={}, timing="advance", name="X"
    )
    price.included = 0
    price.terms = {"model": "flat", "amount": "1"}
    price.save()
    with pytest.raises(DatabaseError, match="takes nothing more"), transaction.atomic():
        Price.objects.filter(pk=price.pk).update(version=published)
    price.delete()
    draft.delete()


def test_a_retired_version_is_not_published_again(ops: None) -> None:
    load()
    load("60")
    refused("UPDATE plans_planversion SET status = 'published' WHERE number = 1", "cannot go")
    refused("UPDATE plans_planversion SET status = 'draft' WHERE number = 2", "cannot go")


def test_a_plan_has_one_published_version(ops: None) -> None:
    load()
    version = PlanVersion.objects.get()
    with pytest.raises(DatabaseError, match="one_published_version"), transaction.atomic():
        PlanVersion.objects.create(
            plan=version.plan,
            number=2,
            interval_unit="month",
            currency="USD",
            content_hash="x",
            status="published",
            published_at=AT,
        )


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"type": "metered", "timing": "arrears"}, "metered_price_has_its_meter"),
        ({"type": "flat", "included": 1}, "included_units_are_sane"),
        ({"type": "licensed", "included": -1}, "included_units_are_sane"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(
    ops: None, columns: dict[str, object], constraint: str
) -> None:
    load()
    plan = Plan.objects.get()
    draft = PlanVersion.objects.create(
        plan=plan, number=2, interval_unit="month", currency="USD", content_hash="x"
    )
    row = {"version": draft, "key": "x", "terms": {}, "timing": "advance", "name": "X"} | columns
    with pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        Price.objects.create(**row)


def test_an_included_quantity_that_is_no_number_is_refused(ops: None) -> None:
    load()
    draft = PlanVersion.objects.create(
        plan=Plan.objects.get(), number=2, interval_unit="month", currency="USD", content_hash="x"
    )
    Price.objects.create(
        version=draft, key="x", type="licensed", terms={}, timing="advance", name="X"
    )
    refused("UPDATE plans_price SET included = 'NaN' WHERE key = 'x'", "included_units_are_sane")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO plans_feature (key, name, kind, description) VALUES ('x', 'X', 'switch', '')",
        "UPDATE plans_plan SET name = 'Mine'",
        "UPDATE plans_price SET name = 'Mine'",
        "UPDATE plans_planversion SET status = 'retired'",
        "DELETE FROM plans_entitlement",
    ],
)
def test_a_tenant_reads_the_catalogue_and_cannot_write_it(
    organization: Organization, sql: str
) -> None:
    load()
    with rls.tenant_scope(organization.pk):
        assert selectors.current_version("gateway").number == 1
        refused(sql, "permission denied")


def test_a_tenant_cannot_load_a_catalogue(organization: Organization) -> None:
    with pytest.raises(DatabaseError), rls.tenant_scope(organization.pk):
        services.load_catalog(gateway(), actor=STAFF, at=AT)
    assert not Plan.objects.exists()
