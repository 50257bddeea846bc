"""Rules and alerts as customers see them, and unusual usage on the usage page."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from apps.core import rls
from apps.tenants import services as tenants
from apps.watch import services
from apps.watch.models import AlertRule, Anomaly
from tests.conftest import STAFF
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import text
from tests.portal.world import NOW, Customer
from tests.watch.rows import spike, watched


@pytest.fixture
def owner(acme: Customer) -> Client:
    return signed_in(acme.owner)


def rules(customer: Customer) -> list[AlertRule]:
    with rls.tenant_scope(customer.organization.pk):
        return list(AlertRule.objects.filter(active=True).order_by("id"))


def anomaly(customer: Customer) -> Anomaly:
    with rls.tenant_scope(customer.organization.pk):
        return spike(customer.organization.pk, meter="ai_requests", at=NOW)


def test_a_percentage_is_watched_shown_and_ended(acme: Customer, owner: Client) -> None:
    said = {"kind": "percent_of_included", "meter": "ai_requests", "limit": "80"}
    assert owner.post("/portal/alerts/rules/", said).status_code == 302
    [rule] = rules(acme)
    assert (rule.percent, rule.meter, rule.amount) == (Decimal(80), "ai_requests", None)
    assert "Usage: percent of what is included" in text(owner, "alerts/")
    assert "80%" in text(owner, "alerts/")
    owner.post(f"/portal/alerts/rules/{rule.public_id}/end/")
    assert rules(acme) == []


def test_an_amount_is_watched_in_the_organizations_currency(acme: Customer, owner: Client) -> None:
    owner.post("/portal/alerts/rules/", {"kind": "credits", "meter": "", "limit": "12.50"})
    [rule] = rules(acme)
    assert (rule.amount, rule.currency, rule.percent) == (12_50, "USD", None)
    assert "Credit left – $12.50" in text(owner, "alerts/")


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "percent_of_included", "limit": "0"},
        {"kind": "percent_of_included", "limit": "much"},
        {"kind": "amount", "limit": "1.005"},
        {"kind": "weather", "limit": "5"},
        {"kind": "percent_of_included", "limit": "50", "meter": "nothing"},
    ],
)
def test_a_limit_that_is_none_is_refused(
    acme: Customer, owner: Client, said: dict[str, str]
) -> None:
    assert owner.post("/portal/alerts/rules/", said).status_code == 422
    assert rules(acme) == []


def test_what_was_told_is_listed(acme: Customer, owner: Client) -> None:
    with rls.tenant_scope(acme.organization.pk):
        watched(acme.organization.pk, meter="ai_requests", actor=STAFF, at=NOW)
    page = text(owner, "alerts/")
    assert "Requests: 81.5% of what is included is used. The limit is 80%." in page


def test_unusual_usage_is_shown_with_its_cause_and_acknowledged(
    acme: Customer, owner: Client
) -> None:
    row = anomaly(acme)
    page = text(owner, "usage/")
    assert "Far more AI requests than usual: 900 in the hour" in page
    assert "98.7% of the difference is of region us." in page
    assert owner.post(f"/portal/usage/unusual/{row.public_id}/seen/").status_code == 302
    with rls.tenant_scope(acme.organization.pk):
        row.refresh_from_db()
    assert row.status == "acknowledged"
    assert "I have seen it" not in text(owner, "usage/")


def test_a_member_sees_unusual_usage_and_says_nothing_to_it(acme: Customer) -> None:
    row = anomaly(acme)
    member = signed_in(acme.users["MEMBER"])
    page = text(member, "usage/")
    assert "Far more AI requests" in page
    assert "I have seen it" not in page
    assert member.post(f"/portal/usage/unusual/{row.public_id}/seen/").status_code == 403


def test_a_stranger_finds_neither_rules_nor_anomalies(acme: Customer, stranger: Customer) -> None:
    row = anomaly(acme)
    with rls.tenant_scope(acme.organization.pk):
        rule = services.set_rule(
            acme.organization.pk, kind="amount", amount=Decimal(5), actor=STAFF, at=NOW
        )
    client = signed_in(stranger.owner)
    for path in (
        f"alerts/rules/{rule.public_id}/end/",
        f"usage/unusual/{row.public_id}/seen/",
    ):
        assert client.post(f"/portal/{path}").status_code == 404, path
    assert len(rules(acme)) == 1
    assert "Far more" not in text(client, "usage/")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({"kind": "percent_of_included", "limit": "0"}, "Von 0,01 bis 10000 Prozent"),
        ({"kind": "amount", "limit": "1,005"}, "mehr Nachkommastellen als USD"),
    ],
)
def test_a_refused_limit_is_told_in_german(
    acme: Customer, said: dict[str, str], written: str
) -> None:
    with rls.tenant_scope(acme.organization.pk):
        tenants.update_organization(
            acme.organization.pk, changes={"locale": "de"}, actor=STAFF, at=NOW
        )
    answer = signed_in(acme.owner).post("/portal/alerts/rules/", said)
    assert answer.status_code == 422
    assert written in answer.content.decode()
    assert rules(acme) == []
