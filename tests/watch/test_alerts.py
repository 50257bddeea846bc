"""Limits that are crossed: once each, with the figures that crossed them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import DomainError, Forbidden, Invalid, NotFound
from apps.core.models import OutboxEvent
from apps.invoicing import services as invoicing
from apps.tenants.models import Organization
from apps.tenants.roles import capabilities_of
from apps.watch import services
from apps.watch.models import AlertRule
from tests.conftest import STAFF
from tests.races import at_once
from tests.watch import world
from tests.watch.world import NOW

PERIOD = datetime(2026, 4, 1, tzinfo=UTC)
NEXT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def acme(db: None) -> Organization:
    """Watched from 1 April on, 100 calls a month included; it is the 15th, noon."""
    return ready()


def ready() -> Organization:
    world.open_shop()
    row = world.customer()
    world.subscribe(row, start=PERIOD)
    return row


def raised(at: datetime = NOW) -> list[tuple[str, Decimal, Decimal]]:
    return [(one.kind, one.figure, one.limit) for one in world.evaluate(at).raised]


# --- usage against what is included ---------------------------------------------------------------
def test_each_share_of_what_is_included_is_told_once_a_period(acme: Organization) -> None:
    for percent in (50, 80, 100):
        world.rule(acme, "percent_of_included", meter="calls", percent=Decimal(percent))
    world.call(acme, 49)
    assert raised() == []
    world.call(acme, 1)
    assert raised() == [("percent_of_included", Decimal(50), Decimal(50))]
    world.call(acme, 60)
    assert {limit for _, figure, limit in raised() if figure == 110} == {80, 100}
    world.call(acme, 60)
    assert raised() == []
    assert len(world.alerts()) == 3


def test_the_next_period_is_told_of_anew(acme: Organization) -> None:
    world.rule(acme, "percent_of_included", percent=Decimal(50))
    world.call(acme, 60)
    assert len(raised()) == 1
    invoicing.bill_due(as_of=NEXT, actor=STAFF, at=NEXT)
    later = datetime(2026, 5, 3, tzinfo=UTC)
    assert raised(later) == []
    world.call(acme, 60, at=NEXT)
    assert raised(later) == [("percent_of_included", Decimal(60), Decimal(50))]


def test_an_alert_keeps_the_figures_that_raised_it(acme: Organization) -> None:
    rule = world.rule(acme, "percent_of_included", percent=Decimal("33.33"))
    world.call(acme, 34)
    [alert] = world.evaluate().raised
    assert (alert.rule, alert.meter, alert.quantity, alert.included) == (rule, "calls", 34, 100)
    assert (alert.window_start, alert.window_end) == (PERIOD, NEXT)
    assert (alert.figure, alert.limit) == (Decimal(34), Decimal("33.33"))


def test_a_share_is_never_rounded_up_to_its_limit(acme: Organization) -> None:
    world.rule(acme, "percent_of_included", percent=Decimal("50.01"))
    world.call(acme, 50)
    assert raised() == []


def test_what_is_unlimited_or_free_of_charge_has_no_share(acme: Organization) -> None:
    world.rule(acme, "percent_of_included", meter="tokens", percent=Decimal(1))
    world.answer(acme, [(NOW - world.HOUR, 1000)])
    assert raised() == []


# --- amounts --------------------------------------------------------------------------------------
def test_the_amount_of_the_period_under_way_is_told_in_its_currency(acme: Organization) -> None:
    world.rule(acme, "amount", amount=Decimal(55), currency="USD")
    world.rule(acme, "amount", amount=Decimal(1), currency="EUR")
    world.call(acme, 149)  # 50.00 of May, 49 calls at 0.10
    assert raised() == []
    world.call(acme, 1)
    assert raised() == [("amount", Decimal(55_00), Decimal(55_00))]


def test_a_forecast_goes_on_as_the_period_began(acme: Organization) -> None:
    world.rule(acme, "forecast_percent", percent=Decimal(100))
    world.rule(acme, "forecast_amount", amount=Decimal("50.40"), currency="USD")
    # 15 days and a half of 30 have passed: 51 calls lead to 99 of the 100, 53 to 103.
    at = datetime(2026, 4, 16, 12, tzinfo=UTC)
    world.call(acme, 51)
    assert raised(at) == []
    world.call(acme, 2)
    [(kind, figure, _)] = raised(at)
    assert (kind, figure) == ("forecast_percent", Decimal(103))
    world.call(acme, 1)  # 105: 50 cents above what is included
    assert raised(at) == [("forecast_amount", Decimal(50_50), Decimal(50_40))]


def test_a_period_that_has_hardly_begun_forecasts_nothing(acme: Organization) -> None:
    world.rule(acme, "forecast_percent", percent=Decimal(100))
    world.call(acme, 20, at=PERIOD)
    assert raised(datetime(2026, 4, 2, tzinfo=UTC)) == []


# --- credit ---------------------------------------------------------------------------------------
def give(row: Organization, amount: int) -> str:
    with rls.ops_scope("test: credit"):
        made = invoicing.grant_credit(row.pk, amount=Decimal(amount), actor=STAFF, at=NOW)
    return made.public_id


def test_low_credit_is_told_again_after_there_was_more(acme: Organization) -> None:
    world.rule(acme, "credits", amount=Decimal(10), currency="USD")
    first = give(acme, 10)
    assert raised() == [("credits", Decimal(10_00), Decimal(10_00))]
    assert raised() == []
    give(acme, 5)
    assert world.evaluate().cleared == 1
    with rls.ops_scope("test: withdraw"):
        invoicing.void_grant(first, reason="test", actor=STAFF, at=NOW)
    assert raised() == [("credits", Decimal(5_00), Decimal(10_00))]
    assert [one.cleared_at is None for one in world.alerts()] == [False, True]


def test_a_rule_for_all_is_only_for_those_who_ever_had_credit(acme: Organization) -> None:
    stranger = world.customer("stranger")
    world.rule(None, "credits", amount=Decimal(10), currency="USD")
    assert raised() == []
    give(stranger, 3)
    world.evaluate()
    assert [one.organization_id for one in world.alerts()] == [stranger.pk]


def test_credit_that_never_was_is_not_used_up(acme: Organization) -> None:
    world.rule(acme, "credits", amount=Decimal(0), currency="USD")
    assert raised() == []
    granted = give(acme, 10)
    assert raised() == []
    with rls.ops_scope("test: withdraw"):
        invoicing.void_grant(granted, reason="test", actor=STAFF, at=NOW)
    assert raised() == [("credits", Decimal(0), Decimal(0))]


# --- whom a run looks at --------------------------------------------------------------------------
def test_only_those_whose_usage_or_rules_changed_are_looked_at(committed_db: str) -> None:
    ready()
    other = world.customer("other")
    world.subscribe(other, start=PERIOD)
    world.rule(None, "percent_of_included", percent=Decimal(50))
    assert world.evaluate(everything=False).organizations == 2
    with rls.ops_scope("test: the rule is old"):
        AlertRule.objects.update(set_at=PERIOD)
    assert world.evaluate(everything=False).organizations == 0
    world.call(other, 60)
    done = world.evaluate(everything=False)
    assert (done.organizations, [one.organization_id for one in done.raised]) == (1, [other.pk])
    assert world.evaluate().organizations == 2
    assert world.evaluate(NOW + world.DAY, everything=False).organizations == 2


def test_a_rule_for_all_tells_each_of_its_own(acme: Organization) -> None:
    other = world.customer("other")
    world.subscribe(other, start=PERIOD)
    world.rule(None, "percent_of_included", percent=Decimal(50))
    for row in (acme, other):
        world.call(row, 70)
    found = world.evaluate().raised
    assert {one.organization_id for one in found} == {acme.pk, other.pk}


def test_two_who_look_at_once_raise_one_alert(committed_db: str) -> None:
    row = ready()
    world.rule(row, "percent_of_included", percent=Decimal(50))
    world.call(row, 60)
    found = at_once(2, lambda: len(world.evaluate().raised))
    assert sorted(found) == [0, 1]
    assert len(world.alerts()) == 1
    with rls.ops_scope("test"):
        assert OutboxEvent.objects.filter(name="watch.AlertRaised").count() == 1


# --- rules ----------------------------------------------------------------------------------------
def test_the_same_rule_again_is_the_same(acme: Organization) -> None:
    first = world.rule(acme, "percent_of_included", percent=Decimal(50))
    assert world.rule(acme, "percent_of_included", percent=Decimal("50.00")) == first
    with rls.ops_scope("test"):
        assert AuditEntry.objects.filter(action="alert_rule.set").count() == 1
        services.end_rule(first, actor=STAFF, at=NOW)
        services.end_rule(first, actor=STAFF, at=NOW)
        assert AuditEntry.objects.filter(action="alert_rule.ended").count() == 1
    assert world.rule(acme, "percent_of_included", percent=Decimal(50)) != first


def test_an_ended_rule_raises_nothing(acme: Organization) -> None:
    rule = world.rule(acme, "percent_of_included", percent=Decimal(50))
    with rls.ops_scope("test"):
        services.end_rule(rule, actor=STAFF, at=NOW)
    world.call(acme, 60)
    assert raised() == []


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "weather", "percent": Decimal(50)},
        {"kind": "percent_of_included"},
        {"kind": "percent_of_included", "percent": Decimal(0)},
        {"kind": "percent_of_included", "percent": Decimal("0.001")},
        {"kind": "percent_of_included", "percent": Decimal("NaN")},
        {"kind": "percent_of_included", "percent": Decimal(50), "amount": Decimal(1)},
        {"kind": "percent_of_included", "percent": Decimal(50), "meter": "nothing"},
        {"kind": "amount", "percent": Decimal(50)},
        {"kind": "amount", "amount": Decimal(-1)},
        {"kind": "amount", "amount": Decimal(0)},
        {"kind": "forecast_amount", "amount": Decimal(0)},
        {"kind": "credits", "amount": Decimal("0.001")},
        {"kind": "credits", "amount": Decimal(1), "meter": "calls"},
        {"kind": "credits", "amount": Decimal(1), "currency": "XXX"},
    ],
)
def test_a_rule_that_means_nothing_is_refused(acme: Organization, said: dict[str, object]) -> None:
    with pytest.raises((Invalid, NotFound)):
        world.rule(acme, **said)  # type: ignore[arg-type]
    with rls.ops_scope("test"):
        assert not AlertRule.objects.exists()


def member(row: Organization, role: str) -> Actor:
    return Actor("user", f"usr_{role}", role, row.pk, capabilities_of(role))


@pytest.mark.parametrize("role", ["ADMIN", "MEMBER"])
def test_who_does_not_manage_billing_sets_no_rule(acme: Organization, role: str) -> None:
    with pytest.raises(Forbidden), rls.tenant_scope(acme.pk):
        services.set_rule(
            acme.pk, kind="amount", amount=Decimal(1), actor=member(acme, role), at=NOW
        )


def test_an_owner_sets_rules_for_nobody_else(acme: Organization) -> None:
    owner, stranger = member(acme, "OWNER"), world.customer("stranger")
    theirs = world.rule(stranger, "amount", amount=Decimal(1))
    for_all = world.rule(None, "amount", amount=Decimal(1), currency="USD")
    with rls.tenant_scope(acme.pk):
        for whose in (stranger.pk, None):
            with pytest.raises(DomainError):
                services.set_rule(whose, kind="amount", amount=Decimal(1), actor=owner, at=NOW)
        for rule in (theirs, for_all):
            with pytest.raises(NotFound):
                services.end_rule(rule, actor=owner, at=NOW)


def test_nobody_has_more_rules_than_allowed(acme: Organization) -> None:
    for number in range(services.MOST_RULES):
        world.rule(acme, "amount", amount=Decimal(number + 1))
    with pytest.raises(DomainError, match="the most"):
        world.rule(acme, "amount", amount=Decimal(1000))
