from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from apps.backoffice import demo
from apps.backoffice.demo import showcase
from apps.core import clock, rls
from apps.invoicing import books
from apps.invoicing import selectors as invoicing
from apps.licensing import selectors as licensing
from apps.seats import selectors as seats
from apps.seats.verifying import verify
from apps.tenants import selectors as tenants
from apps.tenants import services as tenant_services
from apps.usage import devices
from apps.usage import selectors as usage
from apps.watch import selectors as watch
from tests.commands.shell import run, run_json
from tests.conftest import STAFF

TODAY = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def build(at: datetime = TODAY) -> demo.Outcome:
    with clock.frozen(at):
        return demo.build(actor=STAFF, at=at)


def statuses(slug: str, at: datetime = TODAY) -> list[str]:
    """Return the states of the invoices, oldest first; an open one past its date is overdue."""
    rows = invoicing.of_organization(tenants.get_organization(slug).pk)
    late = [row.status == "open" and row.due_at < at for row in rows]
    found = ["overdue" if is_late else row.status for row, is_late in zip(rows, late, strict=True)]
    return found[::-1]


def test_the_world_is_alive_and_a_second_call_changes_nothing(committed_db: str) -> None:
    with clock.frozen(TODAY):
        first = run_json("demo_data")
        second = run_json("demo_data")
        _check_what_the_limits_do()
    made = first["made"]
    assert made["organizations"] == len(demo.CUSTOMERS)
    assert made["users"] == len(demo.LOGINS)
    assert [login["email"] for login in first["logins"]] == [one.email for one in demo.LOGINS]
    assert second == {**first, "made": {}}
    _check_that_it_looks_alive()
    _check_what_each_customer_shows()
    _check_that_plants_are_licensed()
    _check_the_month_of_the_real_trace()
    _check_what_is_watched()
    _check_who_may_sit()
    assert books.verify().hold
    assert set(build(TODAY + timedelta(days=2)).made) == {"events"}


def _check_who_may_sit() -> None:
    for person in ("user_123", "user_128"):
        found = verify(
            person, application="healos", organization="hospital_456", caller=None, at=TODAY
        )
        assert (found.has_access, found.subscription_status) == (True, "active")
    with rls.ops_scope("test: look at the seats"):
        mercy = tenants.get_organization("mercy").pk
        [pool] = seats.pools(mercy, at=TODAY)
        assert (pool.bought, pool.assigned, pool.used) == (8, 6, 4)
        assert len(seats.idle(mercy, at=TODAY)) == 2


def _check_that_it_looks_alive() -> None:
    with rls.ops_scope("test: look at the world"):
        assert set(statuses("acme")) == {"paid", "overdue", "open"}
        acme = tenants.get_organization("acme").pk
        half_paid = [r for r in invoicing.of_organization(acme) if 0 < r.amount_paid < r.total]
        assert len(half_paid) == 1
        assert len(tenants.open_invitations(acme, at=TODAY)) == 1
        latest = max(event.occurred_at for event in usage.latest_events(acme, limit=5000))
        assert timedelta(0) < TODAY - latest < timedelta(days=1)


def _check_what_each_customer_shows() -> None:
    with rls.ops_scope("test: look at the showcase"):
        shown = {
            customer.slug: [
                invoicing.document(row)
                for row in invoicing.of_organization(tenants.get_organization(customer.slug).pk)
            ]
            for customer in showcase.CUSTOMERS
        }
    assert {one.name for one in shown["wonka"][0].discounts} == {"Welcome"}
    assert "priority" in {line.key for line in shown["wonka"][0].lines}
    assert shown["moulin"][0].taxes[0].treatment == "reverse_charge"
    assert (shown["lindenhof"][0].status, shown["lindenhof"][0].tax) == ("draft", 22_23)
    assert shown["nakatomi"][0].currency == "JPY"
    assert sum(one.credits_total for one in shown["vandelay"]) == 150_00
    assert {one.status for one in shown["monarch"]} == {"open"}


def _check_that_plants_are_licensed() -> None:
    with rls.ops_scope("test: look at the licences"):
        initech = tenants.get_organization("initech").pk
        found = licensing.current_licenses(initech, at=TODAY)
    assert sorted((one.instance, one.plan) for one in found) == [
        ("osaka-1", "professional"),
        ("tokyo-1", "professional"),
    ]


def _check_the_month_of_the_real_trace() -> None:
    [first, second] = [run_json("show_invoice", "acme", "--number", f"CH-00000{n}") for n in (1, 2)]
    assert first["total"] == 50_00
    lines = {line["key"]: (line["quantity"], line["amount"]) for line in second["lines"]}
    assert lines["ai_requests"] == (5_500, 25_00)  # (5500 − 5000) × 0.05
    assert second["period"] == {"start": "2023-11-01T00:00:00Z", "end": "2023-12-01T00:00:00Z"}


def _check_what_the_limits_do() -> None:
    """The organizations show every behaviour of a limit, whatever the weekday."""
    assert _access("acme", "ai_requests") == (True, "ok", ["limit_passed"])
    assert _access("acme", "generated_tokens") == (True, "ok", [])
    assert _access("acme", "generated_tokens", amount=3_000_000) == (False, "limit_reached", [])
    assert _access("globex", "api_calls", amount=2_000) == (True, "ok", [])
    assert _access("globex", "data_exports") == (False, "limit_reached", [])
    assert set(_access("initech", "transfer_gb")[2]) == {"limit_passed", "spend_cap_passed"}


def _access(slug: str, feature: str, *, amount: int = 1) -> tuple[bool, str, list[str]]:
    told = json.loads(
        run("check_access", slug, feature, "--amount", str(amount), "--format", "json").out
    )
    return told["allowed"], told["reason"], told["warnings"]


def _check_what_is_watched() -> None:
    with rls.ops_scope("test: look at what is watched"):
        pks = {slug: tenants.get_organization(slug).pk for slug in ("acme", "initech", "vandelay")}
        unusual = {slug: {row.meter for row in watch.anomalies_of(pk)} for slug, pk in pks.items()}
        assert not watch.lasting(list(pks.values()))
        told = {slug: [row.kind for row in watch.alerts_of(pk)] for slug, pk in pks.items()}
        instances = [one.instance for one in devices.last_reports(pks["initech"])]
    assert unusual["acme"] == {"ai_requests", "context_tokens", "generated_tokens"}
    assert unusual["initech"] == {"requests"}
    used = ["percent_of_included"]
    assert told == {"acme": used, "initech": used, "vandelay": ["credits"]}
    assert instances == ["osaka-1", "tokyo-1"]


@pytest.mark.django_db
def test_an_organization_of_the_same_name_is_left_alone() -> None:
    with rls.ops_scope("test: somebody else's acme"):
        tenant_services.create_organization("acme", name="Not a demo", actor=STAFF, at=TODAY)
    done = build()
    assert done.left_alone == ["acme"]
    with rls.ops_scope("test: look at it"):
        acme = tenants.get_organization("acme")
        assert (acme.name, acme.email) == ("Not a demo", "")
        assert tenants.members(acme.pk) == []
        assert invoicing.of_organization(acme.pk) == []
