"""Stories in time, each told through the services, with the sum in words."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.engine.money import Money
from apps.invoicing import books, selectors, services
from apps.payments import services as payments
from apps.subscriptions import services as subscriptions
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import day


@pytest.fixture(autouse=True)
def _catalog(request: pytest.FixtureRequest) -> None:
    commits = "committed_db" in request.fixturenames
    request.getfixturevalue("committed_db" if commits else "db")
    world.load()


def test_a_customer_from_trial_to_paid_to_gone() -> None:
    acme = make_organization("acme")
    facts = world.subscribe(acme, "trial", start=day(3, 1), at=day(3, 1))
    world.use(acme, *world.hourly(day(3, 2), 5))  # in the trial: never billed
    world.bill(day(3, 15), at=day(3, 15))
    world.use(acme, *world.hourly(day(3, 20), 3))  # 3 × 1.00
    world.bill(day(4, 15), at=day(4, 15))
    with rls.tenant_scope(acme.pk):
        payments.record_payment(
            "CH-000001", amount=Money(29_00, "USD").major, actor=STAFF, at=day(4, 16)
        )
        subscriptions.cancel(facts.public_id, actor=STAFF, at=day(4, 20))
    world.use(acme, *world.hourly(day(4, 21), 2))  # 2 × 1.00, billed when it ends
    world.bill(day(5, 15), at=day(5, 15))
    assert [(d.status, world.amounts(d)) for d in world.invoices(acme)] == [
        ("paid", {"base": 29_00}),
        ("open", {"base": 29_00, "requests": 3_00}),
        ("open", {"requests": 2_00}),
    ]
    assert books.verify().hold


def test_seats_go_up_and_down_within_a_month() -> None:
    acme = make_organization("acme")
    facts = world.subscribe(acme, start=day(6, 1), at=day(6, 1), seats=3)
    world.bill(day(6, 1), at=day(6, 1))
    with rls.tenant_scope(acme.pk):
        # 5 beyond the included for 20 of 30 days: 5 × 12.00 × 20/30 = 40.00
        subscriptions.change_quantity(facts.public_id, quantity=8, actor=STAFF, at=day(6, 11))
        # 4 of them given back for 10 of 30 days: 4 × 12.00 × 10/30 = 16.00
        subscriptions.change_quantity(facts.public_id, quantity=4, actor=STAFF, at=day(6, 21))
    world.bill(day(7, 1), at=day(7, 1))
    lines = world.invoices(acme)[1].lines
    assert [(line.key, line.kind, line.amount) for line in lines] == [
        ("base", "advance", 50_00),
        ("seats", "advance", 12_00),
        ("seats", "proration", 40_00),
        ("seats", "proration", -16_00),
        ("requests", "arrears", 0),
        ("tokens", "arrears", 0),
    ]
    assert books.verify().hold


def test_the_31st_comes_back_after_february() -> None:
    acme = make_organization("acme")
    world.subscribe(acme, start=day(1, 31))
    world.bill(day(4, 30))
    assert [d.issued_at for d in world.invoices(acme)] == [
        day(1, 31),
        day(2, 28),
        day(3, 31),
        day(4, 30),
    ]


def test_a_month_in_tokyo_is_a_month_in_tokyo() -> None:
    initech = make_organization("initech", timezone="Asia/Tokyo")
    world.subscribe(initech, start=day(4, 30, 15))  # midnight of 1 May in Tokyo
    world.use(initech, day(5, 31, 14), day(5, 31, 15))  # the last hour of May, the first of June
    world.bill(day(6, 1))
    second = world.invoices(initech)[1]
    assert second.issued_at == day(5, 31, 15)
    tokens = next(line for line in second.lines if line.key == "tokens")
    assert tokens.quantity == 100
    assert tokens.explanation["usage"]["event_count"] == 1


def test_fourteen_months_are_caught_up_in_order() -> None:
    acme = make_organization("acme")
    world.subscribe(acme, start=day(4, 15, year=2025))
    report = world.bill(day(6, 15))
    assert [issued.number for issued in report.issued] == [f"CH-{n:06d}" for n in range(1, 16)]
    dates = [d.issued_at for d in world.invoices(acme)]
    assert dates == sorted(dates)


def test_late_usage_waits_and_the_invoice_stays(committed_db: str) -> None:
    acme = make_organization("acme")
    world.subscribe(acme, start=day(4, 1))
    world.bill(day(5, 1))
    before = world.invoices(acme)
    world.use(acme, *world.hourly(day(4, 10), 40))
    assert world.invoices(acme) == before
    assert books.verify().hold


def test_a_void_month_is_billed_anew_with_its_late_usage(committed_db: str) -> None:
    acme = make_organization("acme")
    world.subscribe(acme, start=day(4, 1))
    world.bill(day(5, 1))
    world.use(acme, *world.hourly(day(4, 10), 40))  # 30 × 0.05; 4,000 tokens: 4 × 0.60
    with rls.tenant_scope(acme.pk):
        services.void_invoice("CH-000002", reason="usage came late", actor=STAFF, at=day(5, 3))
        again = services.rebill_invoice("CH-000002", actor=STAFF, at=day(5, 3))
        document = selectors.document(selectors.get(str(again.number)))
    assert world.amounts(document) == {"base": 50_00, "requests": 1_50, "tokens": 2_40}
    assert books.verify().hold
