"""Stories of who does not pay: what they are told, what they lose, and how it comes back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core import mail

from apps.core import rls
from apps.entitlements import selectors as entitlements
from apps.invoicing import books
from apps.licensing import selectors as licences
from apps.licensing import services as licensing
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.seats import selectors as seats
from apps.seats import services as seating
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.dunning import world
from tests.dunning.world import billed, history, pay, run, status, the_run
from tests.invoicing.world import day
from tests.scenarios import shop

NUMBER = "CH-000001"
PEOPLE = ("ann", "bob")


@pytest.fixture(autouse=True)
def _shop(committed_db: str) -> None:
    world.open_shop()


def team(slug: str = "acme", **options: str) -> tuple[Organization, SubscriptionFacts]:
    """A team of three seats, 30.00 a month, of which two are somebody's."""
    row, facts = billed(slug, plan="team", seats=3, **options)
    with rls.ops_scope("story: people"):
        for name in PEOPLE:
            address = f"{name}@{slug}.example"
            user = tenants.create_user(
                address, password="correct-horse-battery", actor=STAFF, at=day(1, 1)
            )
            tenants.add_member(row.pk, user_id=user.pk, role="MEMBER", actor=STAFF, at=day(1, 1))
    with rls.tenant_scope(row.pk):
        for name in PEOPLE:
            seating.assign_seat(
                facts.public_id, person=f"{name}@{slug}.example", actor=STAFF, at=day(1, 2)
            )
    world.deliver(day(1, 2))
    mail.outbox.clear()
    return row, facts


def sitting(row: Organization) -> int:
    with rls.tenant_scope(row.pk):
        return seats.seats(row.pk).count()


def subjects() -> list[str]:
    found = [str(one.subject).split(":")[0] for one in mail.outbox]
    mail.outbox.clear()
    return found


def test_a_whole_dunning_from_the_first_reminder_to_the_end() -> None:
    acme, _ = team()
    # 3 x 10.00 of January are due on the 15th; February's 30.00 on 15 February
    run(day(1, 16, 9))
    assert (status(acme), sitting(acme)) == ("past_due", 2)
    run(day(1, 22, 9))
    run(day(1, 29, 9))
    assert subjects() == [
        "Reminder", "Please pay $30.00 for invoice CH-000001", "Last reminder",
    ]  # fmt: skip
    shop.bill(day(2, 1))  # whoever is past due is billed
    run(day(2, 5, 9))
    assert (status(acme), sitting(acme)) == ("unpaid", 0)
    assert "Access has ended" in subjects()
    run(day(2, 16, 9))
    shop.bill(day(3, 1))
    run(day(3, 1, 9))
    shop.bill(day(3, 1, 10))
    assert (status(acme), the_run(acme).level) == ("canceled", "past_due")
    # January, February and March stay owed: 30.00 each, and nothing is given back
    assert [one.total for one in shop.invoices(acme)] == [30_00, 30_00, 30_00]
    assert [one.amount_due for one in shop.invoices(acme)] == [30_00, 30_00, 30_00]
    assert books.verify().hold


@pytest.mark.parametrize(
    ("last", "was"),
    [
        (day(1, 16, 9), "past_due"),
        (day(1, 22, 9), "past_due"),
        (day(1, 29, 9), "past_due"),
        (day(2, 5, 9), "unpaid"),
    ],
)
def test_a_payment_restores_at_every_step(last: datetime, was: str) -> None:
    acme, _ = team()
    steps = [day(1, 16, 9), day(1, 22, 9), day(1, 29, 9), day(2, 5, 9)]
    for moment in steps[: steps.index(last) + 1]:
        run(moment)
    assert status(acme) == was
    mail.outbox.clear()
    paid_at = last + timedelta(hours=3)
    pay(acme, NUMBER, "30.00", at=paid_at)
    # at once: the subscription, the two seats, and a receipt instead of a reminder
    assert (status(acme), sitting(acme), the_run(acme).outcome) == ("active", 2, "paid")
    run(day(3, 1, 9))
    assert [subject for subject in subjects() if "eminder" in subject] == []
    assert history(acme)[-1] == "ended"
    assert books.verify().hold


def test_a_lower_plan_keeps_whom_it_can() -> None:
    world.ask_by("1d remind final\n8d unpaid\n15d downgrade free")
    acme, _ = team()
    for moment in (day(1, 16, 9), day(1, 23, 9)):
        run(moment)
    assert (status(acme), sitting(acme)) == ("unpaid", 0)
    run(day(1, 30, 9))
    # three seats of `free` cost nothing: who sat before sits again, and 30.00 stay owed
    assert (status(acme), sitting(acme)) == ("active", 2)
    shop.bill(day(2, 1))
    assert [one.total for one in shop.invoices(acme)] == [30_00, 0]
    assert shop.invoices(acme)[0].amount_due == 30_00
    pay(acme, NUMBER, "30.00", at=day(2, 2))
    assert (status(acme), the_run(acme).outcome) == ("active", "paid")
    assert books.verify().hold


def test_a_week_without_a_scheduler_sends_one_mail_and_takes_nothing_unannounced() -> None:
    acme, _ = team()
    run(day(1, 16, 9))
    late, _ = billed("late")  # falls due while nobody looks
    mail.outbox.clear()
    run(day(1, 31, 20))  # the urgent mail of the 22nd and the final one of the 29th were missed
    assert history(acme)[-2:] == ["urgent superseded", "final"]
    assert subjects() == ["Last reminder"]
    # two days and eleven hours late, so three days: unpaid on the 8th, not on the 5th
    assert the_run(acme).next_at == day(2, 8, 9)
    # and who was never told of anything begins with the first reminder, the next morning
    assert (history(late), the_run(late).next_at) == (["begun"], day(2, 1, 9))
    run(day(2, 5, 9))
    assert (status(acme), status(late)) == ("past_due", "past_due")
    run(day(2, 8, 9))
    assert status(acme) == "unpaid"


def test_everybody_is_asked_at_nine_of_their_own_clock() -> None:
    zones = {
        "auckland": ("Pacific/Auckland", day(1, 15, 20)),  # due on the 15th at 13:00 there
        "berlin": ("Europe/Berlin", day(1, 16, 8)),
        "utc": ("UTC", day(1, 16, 9)),
        "newyork": ("America/New_York", day(1, 15, 14)),  # due on the 14th at 19:00 there
    }
    rows = {slug: billed(slug, timezone=zone)[0] for slug, (zone, _) in zones.items()}
    run(day(1, 15, 1))
    assert {slug: the_run(row).next_at for slug, row in rows.items()} == {
        slug: moment for slug, (_, moment) in zones.items()
    }


def test_nine_stays_nine_when_the_clocks_change() -> None:
    berlin, _ = billed("berlin", timezone="Europe/Berlin")
    pay(berlin, NUMBER, "20.00", at=day(1, 2))
    shop.bill(day(3, 10))  # February's and March's, the latter due on 15 March
    pay(berlin, str(shop.invoices(berlin)[1].number), "20.00", at=day(3, 10))
    assert shop.invoices(berlin)[-1].due_at == day(3, 15)
    run(day(3, 15, 1))
    for moment in (day(3, 16, 8), day(3, 22, 8)):  # winter time: 09:00 is 08:00 UTC
        run(moment)
    # summer time from 29 March on: 09:00 is 07:00 UTC
    assert the_run(berlin).next_at == day(3, 29, 7)


def test_two_currencies_are_each_asked_for_in_their_own() -> None:
    tokyo, _ = billed("tokyo", plan="world", seats=2, currency="JPY", timezone="Asia/Tokyo")
    kuwait, _ = billed("kuwait", plan="world", seats=2, currency="KWD", timezone="Asia/Kuwait")
    # 2,980 + 2 x 980 yen, and 6.125 + 2 x 3.050 dinars: three decimals
    assert [shop.invoices(row)[0].total for row in (tokyo, kuwait)] == [4_940, 12_225]
    run(day(1, 15, 1))
    mail.outbox.clear()
    run(day(1, 16, 9))
    assert sorted(str(one.subject) for one in mail.outbox) == [
        "Reminder: KWD12.225 for invoice CH-000002",
        "Reminder: ¥4,940 for invoice CH-000001",
    ]
    pay(tokyo, "CH-000001", "4940", at=day(1, 17))
    pay(kuwait, "CH-000002", "12.224", at=day(1, 17))  # a thousandth is left
    assert (status(tokyo), status(kuwait)) == ("active", "past_due")
    pay(kuwait, "CH-000002", "0.001", at=day(1, 18))
    assert status(kuwait) == "active"


def test_decisions_and_licences_follow() -> None:
    text = """\
currency: USD
applications: [{slug: plant, name: Plant}]
features: [{key: machines, kind: limit}]
plans:
  - {code: plant, application: plant, name: Plant, interval: month, prices: [
      {key: base, type: flat, amount: "40.00"}], entitlements: {machines: 5}}
"""
    with rls.ops_scope("story: a plant"):
        plans.load_catalog(parse_catalog(text, source="plant"), actor=STAFF, at=shop.OPENED)
    acme, _ = billed(plan="plant")
    with rls.tenant_scope(acme.pk):
        licensing.set_license_terms(
            acme.pk, lifetime_days=90, grace_days=5, bound=False, actor=STAFF, at=day(1, 2)
        )
        licensing.issue_license(acme.pk, actor=STAFF, at=day(1, 2))
    run(day(1, 16, 9))
    assert (allowed(acme, at=day(1, 17)), licensed(acme)) == (True, True)  # grace
    for moment in (day(1, 22, 9), day(1, 29, 9), day(2, 5, 9)):
        run(moment)
    assert (allowed(acme, at=day(2, 6)), licensed(acme)) == (False, False)
    pay(acme, NUMBER, "40.00", at=day(2, 7))
    assert allowed(acme, at=day(2, 7))
    with rls.tenant_scope(acme.pk):
        licensing.issue_license(acme.pk, actor=STAFF, at=day(2, 7))
    assert licensed(acme)


def allowed(row: Organization, *, at: datetime) -> bool:
    with rls.tenant_scope(row.pk):
        return entitlements.decide(row.pk, "machines", at=at).allowed


def licensed(row: Organization) -> bool:
    with rls.tenant_scope(row.pk):
        return any(one.revoked_at is None for one in licences.licenses_of(row.pk))
