"""Hours that are not as usual: found, extended, ended, explained, held for, decided on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.core.models import OutboxEvent
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice
from apps.tenants import services as tenants
from apps.tenants.models import BillingEntity, Organization
from apps.tenants.roles import capabilities_of
from apps.watch import services
from apps.watch.errors import AnomalyDecided
from apps.watch.models import Anomaly
from apps.watch.sightings import picture
from tests.conftest import STAFF
from tests.races import at_once
from tests.watch import world
from tests.watch.world import DAY, HOUR, NOW, USUAL


@pytest.fixture
def acme(db: None) -> Organization:
    """30 days of about 100 tokens an hour, up to noon."""
    return ready()


def ready(days: int = 30, *, timezone: str = "UTC") -> Organization:
    world.open_shop()
    row = world.customer(timezone=timezone)
    world.steadily(row, NOW - days * DAY, NOW)
    world.detect()
    assert world.anomalies() == []
    return row


def hours(row: Organization, *tokens: int, start: datetime = NOW, region: str = "eu") -> None:
    """Use so much in each of the hours from `start` on, and look after each."""
    for number, count in enumerate(tokens):
        at = start + number * HOUR
        if count:
            world.answer(row, [(at, count)], region=region)
        world.detect(at + HOUR)


def test_usual_hours_are_nothing_to_speak_of(acme: Organization) -> None:
    hours(acme, 97, 104, 96, 110, 90)
    assert world.anomalies() == []


def test_a_spike_is_found_with_what_was_expected(acme: Organization) -> None:
    hours(acme, 1000)
    [found] = world.anomalies()
    assert (found.meter, found.direction, found.severity) == ("tokens", "spike", "critical")
    assert (found.seen, found.basis, found.samples) == (1000, "hour_of_week", 4)
    assert found.low < USUAL < found.high < 200
    assert (found.first_hour, found.last_hour, found.hours) == (NOW, NOW, 1)
    with rls.ops_scope("test"):
        [told] = OutboxEvent.objects.filter(name="watch.AnomalyFound")
    assert told.payload["anomaly_id"] == found.public_id


def test_silence_is_a_drop_found_in_its_second_hour(acme: Organization) -> None:
    hours(acme, 0)
    assert world.anomalies() == []
    hours(acme, 0, start=NOW + HOUR)
    [found] = world.anomalies()
    assert (found.direction, found.severity, found.seen) == ("drop", "critical", 0)


def test_an_anomaly_is_extended_while_it_lasts_and_ends_after_two_usual_hours(
    acme: Organization,
) -> None:
    hours(acme, 500, 900, 700, 100)
    [found] = world.anomalies()
    assert (found.hours, found.worst_hour, found.seen) == (3, NOW + HOUR, 900)
    assert (found.quiet_hours, found.ended_at) == (1, None)
    hours(acme, 100, start=NOW + 4 * HOUR)
    [found] = world.anomalies()
    assert (found.last_hour, found.lasts) == (NOW + 2 * HOUR, False)
    hours(acme, 900, start=NOW + 5 * HOUR)
    assert len(world.anomalies()) == 2


def test_one_usual_hour_in_between_makes_no_second_anomaly(acme: Organization) -> None:
    hours(acme, 900, 100, 900, 100, 900)
    [found] = world.anomalies()
    assert (found.hours, found.lasts) == (3, True)


def test_looking_again_changes_nothing(acme: Organization) -> None:
    hours(acme, 900)
    [before] = world.anomalies()
    world.detect(NOW + HOUR)
    world.detect(NOW + HOUR, acme)
    [after] = world.anomalies()
    assert (before.hours, before.score) == (after.hours, after.score)


def test_two_who_look_at_once_find_one_anomaly(committed_db: str) -> None:
    row = ready()
    world.answer(row, [(NOW, 900)])
    world.roll_up()
    at = NOW + HOUR + timedelta(minutes=6)
    found = at_once(
        2,
        lambda: len(services.detect_anomalies(actor=STAFF, at=at, organization_ids=[row.pk]).found),
    )
    assert sorted(found) == [0, 1]
    assert [one.hours for one in world.anomalies()] == [1]


def test_a_run_after_a_standstill_makes_up_for_every_hour(acme: Organization) -> None:
    world.answer(acme, [(NOW, 900), (NOW + HOUR, 900), (NOW + 2 * HOUR, 100)])
    done = world.detect(NOW + 3 * HOUR)
    assert done.hours == (NOW, NOW + HOUR, NOW + 2 * HOUR)
    [found] = world.anomalies()
    assert (found.hours, found.quiet_hours) == (2, 1)


def test_an_hour_is_left_alone_until_its_events_have_settled(acme: Organization) -> None:
    world.answer(acme, [(NOW, 900)])
    world.roll_up()
    too_early = NOW + HOUR + timedelta(minutes=4)
    assert services.detect_anomalies(actor=STAFF, at=too_early).hours == ()
    assert world.anomalies() == []


@pytest.mark.parametrize(("days", "basis"), [(10, "hour_of_day"), (4, "overall")])
def test_a_new_customer_is_compared_more_coarsely(db: None, days: int, basis: str) -> None:
    row = ready(days)
    hours(row, 900)
    assert [one.basis for one in world.anomalies()] == [basis]


def test_a_customer_of_a_day_is_not_judged(db: None) -> None:
    row = ready(1)
    hours(row, 9000)
    assert world.anomalies() == []


def test_a_working_day_keeps_its_hours_when_the_clocks_change(db: None) -> None:
    """Berlin works from 9 to 17 by the wall, and 29 March 2026 has 23 hours."""
    world.open_shop()
    row = world.customer(timezone="Europe/Berlin")
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    start = change - 40 * DAY
    world.answer(row, [(at, 500 if 8 <= at.hour < 16 else 10) for at in _each(start, change)])
    after = [(at, 500 if 7 <= at.hour < 15 else 10) for at in _each(change, change + DAY)]
    world.detect(change)
    for at, tokens in after:
        world.answer(row, [(at, tokens)])
        world.detect(at + HOUR)
    assert world.anomalies() == []


def _each(start: datetime, end: datetime) -> list[datetime]:
    return [start + n * HOUR for n in range(int((end - start) / HOUR))]


def test_what_causes_a_spike_is_named(acme: Organization) -> None:
    world.answer(acme, [(NOW, 100)], region="eu")
    world.answer(acme, [(NOW, 800)], region="us")
    world.detect(NOW + HOUR)
    [found] = world.anomalies()
    assert (found.dimension, found.dimension_value) == ("region", "us")
    assert found.dimension_share is not None
    assert Decimal(95) < found.dimension_share <= 100


def test_an_hour_of_too_few_events_is_not_judged(acme: Organization) -> None:
    with rls.ops_scope("test: fewer events are too few"):
        services.set_terms(None, least_events=2, actor=STAFF, at=NOW)
    hours(acme, 5000)
    assert world.anomalies() == []


def test_whoever_is_not_watched_is_left_alone(acme: Organization) -> None:
    with rls.ops_scope("test"):
        services.set_terms(acme.pk, watched=False, actor=STAFF, at=NOW)
    hours(acme, 5000)
    assert world.anomalies() == []


def test_a_picture_shows_the_band_of_every_hour(acme: Organization) -> None:
    hours(acme, 900, 100)
    with rls.ops_scope("test"):
        shown = picture(world.anomalies()[0], timezone="UTC", at=NOW + 2 * DAY)
    by_hour = {one.hour: one for one in shown}
    assert len(shown) == 36 + 1 + 6
    assert by_hour[NOW].seen == 900
    low, high = by_hour[NOW].low, by_hour[NOW].high
    assert low is not None
    assert high is not None
    assert low < USUAL < high < 900


def test_a_picture_ends_with_the_last_hour_that_is_over(acme: Organization) -> None:
    hours(acme, 900, 100)
    with rls.ops_scope("test"):
        shown = picture(world.anomalies()[0], timezone="UTC", at=NOW + timedelta(minutes=90))
    assert (len(shown), shown[-1].hour) == (36 + 1, NOW)


# --- drafts ---------------------------------------------------------------------------------------
def draft(row: Organization) -> str:
    """Leave the customer a draft that waits for its grace to end."""
    with rls.ops_scope("test: grace"):
        issuer = BillingEntity.objects.get().public_id
        tenants.change_billing_entity(issuer, changes={"grace_days": 3}, actor=STAFF, at=NOW)
    world.subscribe(row, start=NOW - DAY)
    invoicing.bill_due(as_of=NOW, actor=STAFF, at=NOW)
    return drafts(row)[0].public_id


def drafts(row: Organization) -> list[Invoice]:
    with rls.tenant_scope(row.pk):
        return list(Invoice.objects.filter(status="draft"))


def hold_from(severity: str, row: Organization | None = None) -> None:
    with rls.ops_scope("test"):
        services.set_terms(
            None if row is None else row.pk,
            hold_from=severity,
            least_events=1,
            actor=STAFF,
            at=NOW,
        )


def test_an_anomaly_holds_the_draft_with_what_was_seen(acme: Organization) -> None:
    draft(acme)
    hold_from("serious")
    hours(acme, 1000)
    [held] = drafts(acme)
    [found] = world.anomalies()
    assert held.is_held
    assert "Spike of tokens" in held.hold_reason
    assert "1000 seen" in held.hold_reason
    assert found.public_id in held.hold_reason
    later = NOW + 10 * DAY
    invoicing.bill_due(as_of=later, actor=STAFF, at=later)
    assert [one.pk for one in drafts(acme) if one.is_held] == [held.pk]


def test_a_draft_that_comes_while_it_lasts_is_held_too(acme: Organization) -> None:
    hold_from("serious", acme)
    hours(acme, 1000)
    draft(acme)
    assert not drafts(acme)[0].is_held
    hours(acme, 1000, start=NOW + HOUR)
    assert drafts(acme)[0].is_held


@pytest.mark.parametrize("severity", ["", "critical"])
def test_less_than_what_holds_holds_nothing(acme: Organization, severity: str) -> None:
    draft(acme)
    hold_from(severity)
    hours(acme, 240)
    assert [one.severity for one in world.anomalies()] == ["serious"]
    assert not drafts(acme)[0].is_held


def test_an_ignored_anomaly_holds_nothing_more(acme: Organization) -> None:
    hold_from("warning")
    hours(acme, 1000)
    with rls.ops_scope("test"):
        services.ignore_anomaly(
            world.anomalies()[0].public_id, reason="launch", actor=STAFF, at=NOW
        )
    draft(acme)
    hours(acme, 1000, start=NOW + HOUR)
    assert not drafts(acme)[0].is_held


def month_later(row: Organization, start: datetime = NOW - DAY) -> list[str]:
    """Bill the customer's first month of usage without any grace; return why drafts are held."""
    world.subscribe(row, start=start)
    later = NOW + 40 * DAY
    invoicing.bill_due(as_of=later, actor=STAFF, at=later)
    return [one.hold_reason for one in drafts(row)]


def test_what_bills_the_hours_is_held_without_any_grace(acme: Organization) -> None:
    hold_from("serious")
    hours(acme, 1000, 100, 100)
    [found] = world.anomalies()
    assert not found.lasts
    [reason] = month_later(acme)
    assert "1000 seen" in reason
    assert found.public_id in reason


def test_an_anomaly_that_is_decided_on_holds_no_bill(acme: Organization) -> None:
    hold_from("serious")
    hours(acme, 1000)
    with rls.ops_scope("test"):
        [found] = world.anomalies()
        services.resolve_anomaly(found.public_id, reason="a launch", actor=STAFF, at=NOW)
    assert month_later(acme) == []


def test_usage_of_later_hours_is_billed(acme: Organization) -> None:
    hold_from("serious")
    hours(acme, 1000)
    world.answer(acme, [(NOW + 3 * DAY, 50)])
    assert month_later(acme, start=NOW + 2 * DAY) == []


# --- decisions ------------------------------------------------------------------------------------
@pytest.fixture
def spike(acme: Organization) -> Anomaly:
    hours(acme, 1000)
    return world.anomalies()[0]


def acts() -> list[str]:
    with rls.ops_scope("test"):
        rows = AuditEntry.objects.filter(action__startswith="anomaly.").order_by("id")
        return list(rows.values_list("action", flat=True))


def test_decisions_are_recorded_and_final(spike: Anomaly) -> None:
    with rls.ops_scope("test"):
        services.acknowledge_anomaly(spike.public_id, actor=STAFF, at=NOW)
        services.acknowledge_anomaly(spike.public_id, actor=STAFF, at=NOW)
        done = services.resolve_anomaly(spike.public_id, reason="a loop", actor=STAFF, at=NOW)
        assert (done.status, done.reason, done.lasts) == ("resolved", "a loop", False)
        with pytest.raises(AnomalyDecided):
            services.ignore_anomaly(spike.public_id, reason="no", actor=STAFF, at=NOW)
        with pytest.raises(AnomalyDecided):
            services.hold_for_anomaly(spike.public_id, actor=STAFF, at=NOW)
    assert acts() == ["anomaly.acknowledged", "anomaly.resolved"]


def test_a_decision_needs_a_reason(spike: Anomaly) -> None:
    with rls.ops_scope("test"), pytest.raises(Invalid):
        services.ignore_anomaly(spike.public_id, reason=" ", actor=STAFF, at=NOW)
    assert (world.anomalies()[0].status, acts()) == ("open", [])


def test_an_owner_acknowledges_and_decides_nothing(spike: Anomaly) -> None:
    owner = Actor("user", "usr_o", "Owner", spike.organization_id, capabilities_of("OWNER"))
    with rls.tenant_scope(spike.organization_id):
        for decide in (services.ignore_anomaly, services.resolve_anomaly):
            with pytest.raises(Forbidden):
                decide(spike.public_id, reason="mine", actor=owner, at=NOW)
        with pytest.raises(Forbidden):
            services.hold_for_anomaly(spike.public_id, actor=owner, at=NOW)
        services.acknowledge_anomaly(spike.public_id, actor=owner, at=NOW)
    assert acts() == ["anomaly.acknowledged"]


def test_a_stranger_finds_no_anomaly(spike: Anomaly) -> None:
    other = world.customer("stranger")
    owner = Actor("user", "usr_s", "Stranger", other.pk, capabilities_of("OWNER"))
    with rls.tenant_scope(other.pk), pytest.raises(NotFound):
        services.acknowledge_anomaly(spike.public_id, actor=owner, at=NOW)
    assert world.anomalies()[0].status == "open"


def test_staff_hold_drafts_for_it(spike: Anomaly, acme: Organization) -> None:
    reference = draft(acme)
    with rls.ops_scope("test"):
        held = services.hold_for_anomaly(spike.public_id, actor=STAFF, at=NOW)
    assert held == [reference]
    assert drafts(acme)[0].is_held
    assert acts() == ["anomaly.held"]


def test_terms_that_mean_nothing_are_refused(db: None) -> None:
    with rls.ops_scope("test"):
        for said in ({"hold_from": "sometimes"}, {"least_events": 0}):
            with pytest.raises(Invalid):
                services.set_terms(None, actor=STAFF, at=NOW, **said)
