"""The time machine: renewals, trials and changes of those who live by a test clock, and of nobody
else."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.backoffice.commands import inside, living_in, now
from apps.backoffice.time_machine import advance
from apps.core import rls
from apps.core.clock import frozen
from apps.core.models import OutboxDelivery
from apps.invoicing import services as billing
from apps.invoicing.models import CreditGrant
from apps.payments.models import Payment
from apps.subscriptions import selectors, services
from apps.subscriptions.changes import Behaviour, ChangeQuantity
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests.commands.shell import run, run_json
from tests.conftest import STAFF, make_organization
from tests.invoicing.world import NOW, bill, day, invoices, load, subscribe

pytestmark = pytest.mark.django_db
LEAP = datetime(2028, 2, 1, tzinfo=UTC)


@pytest.fixture
def acme() -> Organization:
    load()
    return make_organization("acme")


@pytest.fixture
def clock(acme: Organization) -> str:
    """A clock that shows 14 June 2026, and by which Acme lives."""
    with rls.ops_scope("test"):
        row = tenants.create_test_clock("spring", now=day(6, 14), actor=STAFF, at=NOW)
        tenants.attach_test_clock(acme.pk, clock=row.public_id, actor=STAFF, at=NOW)
    return row.public_id


def status(organization: Organization) -> str:
    with rls.tenant_scope(organization.pk):
        return selectors.of_organization(organization.pk)[0].status


def test_a_trial_and_its_renewals_pass_in_one_go(acme: Organization, clock: str) -> None:
    """Fourteen days of trial from 14 June; then 29.00 on the 28th of each month."""
    subscribe(acme, "trial", start=day(6, 14), at=day(6, 14))
    told = run_json("advance_clock", clock, "--to", "2026-08-30T00:00:00Z")
    assert told["now"] == "2026-08-30T00:00:00Z"
    billed = [one for one in told["stops"] if one["issued"]]
    assert [(one["at"], [i["total"] for i in one["issued"]]) for one in billed] == [
        ("2026-06-28T00:00:00Z", [29_00]),
        ("2026-07-28T00:00:00Z", [29_00]),
        ("2026-08-28T00:00:00Z", [29_00]),
    ]
    assert [one.finalized_at for one in invoices(acme)] == [day(6, 28), day(7, 28), day(8, 28)]
    # nobody has paid: the first one is due on 12 July, and 21 days later access ends
    asked = {one["at"]: one["dunning_steps"] for one in told["stops"] if one["dunning_steps"]}
    assert asked["2026-07-13T09:00:00Z"] == 2
    assert asked["2026-08-02T09:00:00Z"] == 2
    assert status(acme) == "unpaid"


def test_a_trial_with_nobody_to_charge_pauses(acme: Organization, clock: str) -> None:
    subscribe(acme, "trial", start=day(6, 14), at=day(6, 14), collection="stripe_invoice")
    shown = run("advance_clock", clock, "--by", "1 month")
    assert (shown.code, shown.out) == (0, "")
    assert "The clock shows 2026-07-14T00:00:00Z" in shown.err
    assert status(acme) == "paused"


def test_scheduled_changes_take_their_turn_and_credit_expires(
    acme: Organization, clock: str
) -> None:
    """Five seats in July, three from August; 10.00 of credit ends before it can be used."""
    facts = subscribe(acme, start=day(7, 1), at=day(6, 14), seats=5)
    with rls.tenant_scope(acme.pk):
        terms = billing.GrantTerms(expires_at=day(6, 20))
        billing.grant_credit(
            acme.pk, amount=Decimal("10.00"), terms=terms, actor=STAFF, at=day(6, 14)
        )
        services.schedule_changes(
            facts.public_id,
            planned=[services.Planned(seats(3), Behaviour.NONE, day(7, 20))],
            actor=STAFF,
            at=day(6, 14),
        )
    stops = [*advance(clock, to=day(9, 1), actor=STAFF, at=NOW)]
    found = {one.at: one for one in stops if one.issued or one.changes or one.expired}
    assert [*found] == [day(6, 20), day(7, 1), day(7, 20), day(8, 1), day(9, 1)]
    assert found[day(6, 20)].expired == 1
    assert found[day(7, 20)].changes == 1
    assert [one.total for stop in stops for one in stop.issued] == [74_00, 50_00, 50_00]


def seats(quantity: int) -> ChangeQuantity:
    return ChangeQuantity(Decimal(quantity))


def test_the_real_time_leaves_those_on_a_clock_alone_and_the_clock_leaves_others(
    acme: Organization, clock: str
) -> None:
    other = make_organization("other")
    subscribe(acme, start=day(6, 1), at=day(6, 1))
    subscribe(other, start=day(6, 1), at=day(6, 1))
    report = bill(day(6, 15), scheduled=True)
    assert [one.organization_id for one in report.issued] == [other.pk]
    assert bill(day(6, 15)).issued == []
    run_json("advance_clock", clock, "--to", "2026-07-20T00:00:00Z")
    assert [one.issued_at for one in invoices(acme)] == [day(6, 1), day(7, 1)]
    assert [one.issued_at for one in invoices(other)] == [day(6, 1)]


def test_an_interrupted_journey_is_taken_up_again(acme: Organization, clock: str) -> None:
    subscribe(acme, start=day(6, 14), at=day(6, 14))
    with rls.ops_scope("test"):  # the clock was set, and the machine went down before the run
        tenants.set_test_clock(clock, to=day(7, 14), actor=STAFF, at=NOW)
    run_json("advance_clock", clock, "--to", "2026-07-14T00:00:00Z")
    assert [one.total for one in invoices(acme)] == [50_00, 50_00]
    run_json("advance_clock", clock, "--to", "2026-07-14T00:00:00Z")
    assert len(invoices(acme)) == 2


def test_facts_of_a_time_to_come_are_delivered_at_once(acme: Organization, clock: str) -> None:
    subscribe(acme, start=day(6, 14), at=day(6, 14))
    run_json("advance_clock", clock, "--to", LEAP.isoformat())
    assert invoices(acme)[-1].issued_at == datetime(2028, 1, 14, tzinfo=UTC)
    with rls.ops_scope("test"):
        assert not OutboxDelivery.objects.filter(status="pending").exists()


def test_commands_act_in_the_time_of_whoever_lives_by_the_clock(
    acme: Organization, clock: str
) -> None:
    """On 14 June 2026 a month of 50.00 begins; paid at once, and ended half way by the clock."""
    facts = run_json("subscribe", "acme", "gateway")
    assert facts["start"] == "2026-06-14T00:00:00Z"
    run_json("advance_clock", clock, "--to", "2026-06-29T00:00:00Z")
    (invoice,) = invoices(acme)
    paid = run_json("record_payment", invoice.id, "--amount", "50.00", "--reference", "T-1")
    given = run_json("grant_credit", "acme", "10.00")
    ended = run_json("cancel_subscription", "acme", "--now")
    assert ended["cancel_at"] == "2026-06-29T00:00:00Z"
    with rls.tenant_scope(acme.pk):
        assert Payment.objects.get(public_id=paid["id"]).received_at == day(6, 29)
        assert CreditGrant.objects.get(public_id=given["id"]).granted_at == day(6, 29)


def test_commands_tell_everybody_else_the_real_time(acme: Organization, clock: str) -> None:
    other = make_organization("other")
    with frozen(NOW):
        with inside("acme", "test"):
            assert now() == day(6, 14)
            with living_in(other.pk):
                assert now() == NOW
            assert now() == day(6, 14)
        assert now() == NOW


def test_a_journey_back_or_to_nowhere_is_refused(acme: Organization, clock: str) -> None:
    for words, sentence in (
        ((clock, "--to", "2026-06-01"), "only goes forward"),
        (("clk_none", "--to", "2026-06-20"), "There is no test clock 'clk_none'"),
        ((clock,), "Say either --to or --by"),
        ((clock, "--by", "3 moons"), "is no span of time"),
    ):
        refused = run("advance_clock", *words)
        assert refused.code in {1, 2}
        assert sentence in refused.err
    assert invoices(acme) == []
