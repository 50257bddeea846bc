"""Late, voided and corrected usage under final invoices heals itself, to the cent."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from apps.core import rls
from apps.core.errors import Invalid
from apps.invoicing import books, healing, services
from apps.invoicing.errors import CorrectionDecided, NotVoidable, UnknownCorrection
from apps.invoicing.models import Correction, CreditNote, HealingMark
from apps.invoicing.services import HealingReport
from apps.plans import services as plans
from apps.plans.offers import CouponRules
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from apps.tenants.models import BillingEntity, Organization
from apps.usage import services as usage
from tests import worlds
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import NOW, day
from tests.races import at_once


@pytest.fixture(autouse=True)
def _catalog(committed_db: str) -> None:
    # What a transaction sees of itself has no place in the order of snapshots.
    world.load()


@pytest.fixture
def organization() -> Organization:
    """An organization in USD and UTC."""
    return make_organization("acme")


@pytest.fixture
def january(organization: Organization) -> Organization:
    """30 requests and 3,000 tokens in January; January and February ahead are billed."""
    return _january(organization)


def _january(organization: Organization) -> Organization:
    world.subscribe(organization, start=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.bill(day(2, 1))
    return organization


def heal() -> HealingReport:
    return services.heal_usage(actor=STAFF, at=NOW)


def corrections(organization: Organization) -> list[Correction]:
    with rls.tenant_scope(organization.pk):
        return list(Correction.objects.select_related("line").order_by("line__key", "revision"))


def billed_long_ago() -> None:
    """Let the mark say that all lines were there for more than a quarter of an hour."""
    with rls.ops_scope("test"):
        HealingMark.objects.update(line=10**6)


def set_terms(**changes: object) -> None:
    with rls.ops_scope("test"):
        issuer = BillingEntity.objects.get()
        tenants.change_billing_entity(issuer.public_id, changes=changes, actor=STAFF, at=NOW)


def test_nothing_is_found_while_nothing_changed(january: Organization) -> None:
    report = heal()
    assert (report.lines, report.found, report.failed) == (2, [], [])


def test_late_usage_goes_on_the_next_invoice(january: Organization) -> None:
    # 30 requests: 20 beyond the 10 included, 20 × 0.05 = 1.00; 3,000 tokens: 3 × 0.60 = 1.80
    # late: 4 requests = 0.20 more, 4 × 500 tokens = 5,000 in all = 5 × 0.60: 1.20 more
    world.use(january, *world.hourly(day(1, 20), 4), tokens=500)
    before = world.invoices(january)
    heal()
    assert [(row.net_difference, row.status) for row in corrections(january)] == [
        (20, "approved"),
        (1_20, "approved"),
    ]
    assert world.invoices(january) == before
    world.bill(day(3, 1))
    (last,) = world.invoices(january)[2:]
    billed = {(line.key, line.kind): line.amount for line in last.lines}
    assert billed["requests", "correction"] == 20
    assert billed["tokens", "correction"] == 1_20
    assert last.total == 50_00 + 1_40
    assert [row.status for row in corrections(january)] == ["billed", "billed"]
    assert books.verify().findings == ()


def test_what_is_found_is_dated_by_the_organizations_clock(january: Organization) -> None:
    worlds.put_on_clock(january, day(2, 9))
    world.use(january, day(1, 20), tokens=1)
    heal()
    found = corrections(january)
    assert {row.found_at for row in found} == {day(2, 9)}


def test_a_voided_event_is_given_back(january: Organization) -> None:
    with rls.tenant_scope(january.pk):
        usage.void_event(
            january.pk, event="2026-01-05T03:00:00Z-3", source="test", actor=STAFF, at=NOW
        )
    heal()
    # 19 × 0.05 = 0.95 instead of 1.00; 2,900 tokens are 3 packages as before
    assert [(row.net_difference, row.status) for row in corrections(january)] == [
        (-5, "approved"),
        (0, "billed"),
    ]
    world.bill(day(3, 1))
    assert world.invoices(january)[2].total == 50_00 - 5
    assert books.verify().findings == ()


def test_a_second_look_finds_nothing_and_a_second_change_is_a_second_revision(
    january: Organization,
) -> None:
    world.use(january, day(1, 20), tokens=1)
    heal()
    assert heal().found == []
    world.use(january, day(1, 21), tokens=1)
    heal()
    requests = [row for row in corrections(january) if row.line.key == "requests"]
    assert [(row.revision, row.amount_before, row.amount) for row in requests] == [
        (1, 1_00, 1_05),
        (2, 1_05, 1_10),
    ]
    world.bill(day(3, 1))
    assert world.invoices(january)[2].total == 50_00 + 10 + 60
    assert books.verify().findings == ()


def test_a_large_correction_waits_for_a_decision(january: Organization) -> None:
    set_terms(correction_limits={"USD": 60})
    world.use(january, *world.hourly(day(1, 20), 20), tokens=1)
    heal()
    waiting = next(row for row in corrections(january) if row.status == "waiting")
    assert (waiting.line.key, waiting.net_difference) == ("requests", 1_00)
    world.bill(day(3, 1))
    assert world.invoices(january)[2].total == 50_00 + 60
    with rls.tenant_scope(january.pk):
        with pytest.raises(Invalid):
            services.approve_correction(waiting.public_id, reason=" ", actor=STAFF, at=NOW)
        services.approve_correction(waiting.public_id, reason="seen", actor=STAFF, at=NOW)
        with pytest.raises(CorrectionDecided):
            services.reject_correction(waiting.public_id, reason="no", actor=STAFF, at=NOW)
    world.bill(day(4, 1))
    assert world.invoices(january)[3].total == 50_00 + 1_00
    assert books.verify().findings == ()


def test_what_was_rejected_is_asked_again_when_more_changes(january: Organization) -> None:
    set_terms(correction_limits={"USD": 50})
    world.use(january, *world.hourly(day(1, 20), 20), tokens=0)
    heal()
    (first,) = [row for row in corrections(january) if row.line.key == "requests"]
    with rls.tenant_scope(january.pk):
        services.reject_correction(first.public_id, reason="our fault", actor=STAFF, at=NOW)
    assert heal().found == []
    world.use(january, day(1, 22), tokens=0)
    heal()
    second = [row for row in corrections(january) if row.line.key == "requests"][1]
    assert (second.status, second.amount_before, second.amount) == ("waiting", 1_00, 2_05)
    assert books.verify().findings == ()


def test_more_usage_supersedes_what_waits(january: Organization) -> None:
    set_terms(correction_limits={"USD": 0})
    world.use(january, day(1, 20), tokens=0)
    heal()
    world.use(january, day(1, 21), tokens=0)
    heal()
    requests = [row for row in corrections(january) if row.line.key == "requests"]
    assert [(row.status, row.net_difference) for row in requests] == [
        ("rejected", 5),
        ("waiting", 10),
    ]


def test_an_issuer_may_leave_invoices_as_they_are(january: Organization) -> None:
    set_terms(late_usage="reject")
    world.use(january, day(1, 20))
    assert heal().found == []
    assert corrections(january) == []


def test_an_issuer_may_give_back_by_credit_note(january: Organization) -> None:
    set_terms(late_usage="credit_note")
    with rls.tenant_scope(january.pk):
        usage.void_event(
            january.pk, event="2026-01-05T03:00:00Z-3", source="test", actor=STAFF, at=NOW
        )
    heal()
    (requests,) = [row for row in corrections(january) if row.net_difference]
    assert (requests.net_difference, requests.status) == (-5, "billed")
    with rls.tenant_scope(january.pk):
        (note,) = CreditNote.objects.all()
        assert (note.total, note.reason, note.memo) == (5, "usage_corrected", requests.public_id)
        assert note.invoice.number == "CH-000002"
    world.bill(day(3, 1))
    assert world.invoices(january)[2].total == 50_00
    assert books.verify().findings == ()


def test_a_void_invoice_lets_its_corrections_wait_again(january: Organization) -> None:
    world.use(january, day(1, 20), tokens=0)
    heal()
    world.bill(day(3, 1))
    with rls.tenant_scope(january.pk):
        with pytest.raises(NotVoidable, match="corrects invoice CH-000002"):
            services.void_invoice("CH-000002", reason="late", actor=STAFF, at=NOW)
        services.void_invoice("CH-000003", reason="late", actor=STAFF, at=NOW)
        statuses = [row.status for row in corrections(january) if row.net_difference]
        assert statuses == ["approved"]
        services.void_invoice("CH-000002", reason="late", actor=STAFF, at=NOW)
        again = services.rebill_invoice("CH-000002", actor=STAFF, at=NOW)
        assert again.subtotal == 50_00 + 1_05 + 1_80
    statuses = [row.status for row in corrections(january) if row.net_difference]
    assert statuses == ["rejected"]
    assert heal().found == []
    assert books.verify().findings == ()


def test_an_ended_subscription_gets_an_invoice_of_its_own(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 30))
    with rls.tenant_scope(organization.pk):
        subscriptions.cancel(facts.public_id, actor=STAFF, at=day(1, 10))
    world.bill(day(2, 1), at=day(2, 1))
    world.use(organization, day(1, 20), tokens=0)
    heal()
    last = world.invoices(organization)[-1]
    assert [(line.key, line.kind, line.amount) for line in last.lines] == [
        ("requests", "correction", 5)
    ]
    assert (last.number, last.total) == ("CH-000003", 5)
    assert books.verify().findings == ()


def test_a_correction_counts_what_the_discount_left(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    half = CouponRules(code="half", name="Half", percent=Decimal(50), duration="forever")
    with rls.ops_scope("test"):
        plans.define_coupon(half, actor=STAFF, at=day(1, 1))
    with rls.tenant_scope(organization.pk):
        subscriptions.apply_discount(
            organization.pk, code="half", subscription_id=facts.public_id, actor=STAFF, at=day(1, 1)
        )
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.bill(day(2, 1))
    world.use(organization, *world.hourly(day(1, 20), 3), tokens=0)
    heal()
    # 23 × 0.05 = 1.15, half of it 0.58; 0.50 was billed
    (row,) = [row for row in corrections(organization) if row.line.key == "requests"]
    assert (row.difference, row.net_difference) == (15, 8)
    world.bill(day(3, 1))
    assert world.invoices(organization)[2].total == 25_00 + 8
    assert books.verify().findings == ()


def test_a_stranger_decides_nothing(
    january: Organization, other_organization: Organization
) -> None:
    set_terms(correction_limits={"USD": 0})
    world.use(january, day(1, 20), tokens=0)
    heal()
    row = next(row for row in corrections(january) if row.status == "waiting")
    stranger = make_organization("somebody-else")
    with rls.tenant_scope(stranger.pk), pytest.raises(UnknownCorrection):
        services.approve_correction(row.public_id, reason="mine", actor=STAFF, at=NOW)
    assert row.status == "waiting"


def test_the_second_look_measures_only_what_changed() -> None:
    acme, other = make_organization("acme"), make_organization("other")
    for organization in (acme, other):
        _january(organization)
    assert heal().lines == 4
    billed_long_ago()
    assert heal().lines == 0
    billed_long_ago()
    world.use(acme, day(1, 20))
    world.use(acme, day(6, 10))
    assert heal().lines == 2
    assert len(corrections(acme)) == 2
    assert corrections(other) == []


def test_the_mark_passes_lines_that_are_a_quarter_of_an_hour_old(committed_db: str) -> None:
    _january(make_organization("acme"))
    assert [heal().lines, heal().lines] == [2, 2]
    with psycopg.connect(committed_db.replace("//billing_app@", "//postgres@")) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE invoicing_invoiceline SET created_at = created_at - interval '16 minutes'"
        )
    assert [heal().lines, heal().lines] == [2, 0]


def test_a_look_at_one_organization_leaves_the_others_alone() -> None:
    acme, other = make_organization("acme"), make_organization("other")
    for organization in (acme, other):
        _january(organization)
    heal()
    for organization in (acme, other):
        world.use(organization, day(1, 20), tokens=0)
    report = services.heal_usage(actor=STAFF, at=NOW, organization_id=acme.pk)
    assert (report.lines, {row.organization_id for row in report.found}) == (2, {acme.pk})
    assert corrections(other) == []
    assert {row.organization_id for row in heal().found} == {other.pk}


def test_two_runs_at_once_correct_a_line_once() -> None:
    organization = _january(make_organization("acme"))
    world.use(organization, *world.hourly(day(1, 20), 4), tokens=0)
    at_once(2, heal)
    assert [row.revision for row in corrections(organization) if row.net_difference] == [1]
    with rls.ops_scope("test"):
        assert healing.late_usage() == []
