"""Two versions on the same real usage: who would pay more, who less, to the cent."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine

from apps.analytics import backtest
from apps.backoffice.versions import find, find_or_read
from apps.core import rls
from apps.engine.period import Period
from apps.engine.prices import Flat
from apps.invoicing.models import Invoice
from apps.plans import catalog
from apps.plans import services as plans
from apps.subscriptions import selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour
from apps.tenants.models import Organization
from tests.commands.shell import run, run_json
from tests.conftest import STAFF, make_organization
from tests.invoicing.world import CATALOG, NOW, bill, day, hourly, invoices, load, subscribe, use

pytestmark = pytest.mark.django_db

FLAT_40 = Flat(Decimal("40.00"))
# Ten more for the base, two less for a seat, and requests are dearer.
DEARER = (
    CATALOG.replace('"50.00"', '"60.00"').replace('"12.00"', '"10.00"').replace('"0.05"', '"0.10"')
)


@pytest.fixture(autouse=True)
def june(db: None) -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        load()
        yield


@pytest.fixture
def dearer(tmp_path: Path) -> str:
    path = tmp_path / "new.yaml"
    path.write_text(DEARER, encoding="utf-8")
    return str(path)


def publish() -> None:
    with rls.ops_scope("test"):
        document = catalog.parse_catalog(DEARER, source="new")
        plans.load_catalog(document, actor=STAFF, at=NOW)


def customer(slug: str, *, seats: int = 3, start: datetime | None = None) -> Organization:
    organization = make_organization(slug)
    subscribe(organization, start=start or day(4, 1), seats=seats)
    return organization


def by_name(told: Any) -> dict[str, Any]:
    return {one["customer"]: one for one in told["customers"]}


def test_every_customer_is_compared_on_their_own_usage(dearer: str) -> None:
    """April and May of three: few seats lose 10.00 a month, fifteen win 14.00, five and one are
    level but for the requests beyond ten."""
    customer("small")
    customer("large", seats=15)
    busy = customer("busy", seats=8)
    use(busy, *hourly(day(4, 2), 30), tokens=0)
    told = run_json("plan_diff", "gateway", dearer, "--since", "90d")
    found = by_name(told)
    assert [(one["old"], one["new"]) for one in found["small"]["periods"]] == [(50_00, 60_00)] * 2
    assert (found["large"]["old"], found["large"]["new"]) == (388_00, 360_00)
    # 50.00 + 5 × 12.00 = 110.00 = 60.00 + 5 × 10.00; twenty requests at 0.05, or at 0.10.
    assert [(one["old"], one["new"]) for one in found["busy"]["periods"]] == [
        (111_00, 112_00),
        (110_00, 110_00),
    ]
    assert (told["winners"], told["losers"], told["unchanged"]) == (1, 2, 0)
    assert (told["old"], told["new"]) == ({"USD": 709_00}, {"USD": 702_00})
    # +10.00, −14.00 and half of 1.00 a month.
    assert told["mrr_change"] == {"USD": 10_00 - 14_00 + 50}
    assert (found["small"]["percent"], found["busy"]["percent"]) == ("+20.0", "+0.5")


def test_what_it_says_of_today_is_what_was_billed(dearer: str) -> None:
    """Seats that change within the month, and an add-on of nothing: the old side is the bill."""
    acme = customer("acme", seats=5)
    with rls.tenant_scope(acme.pk):
        facts = subscriptions.change_quantity(
            subscriptions_of(acme), quantity=9, actor=STAFF, at=day(4, 16)
        )
    use(acme, *hourly(day(5, 3), 25))
    bill(day(6, 1))
    told = by_name(run_json("plan_diff", "gateway", dearer))["acme"]
    billed = sum(
        line.amount
        for document in invoices(acme)
        for line in document.lines
        if line.period.start < day(6, 1)
    )
    assert told["old"] == billed
    # April: 50.00 + 24.00 and half a month of four seats; May: 50.00 + 72.00 and the usage.
    assert [one["old"] for one in told["periods"]] == [98_00, 122_00 + 75 + 1_80]
    assert [one["new"] for one in told["periods"]] == [100_00, 120_00 + 1_50 + 1_80]
    assert facts.version.number == 1


def subscriptions_of(organization: Organization) -> str:
    return selectors.of_organization(organization.pk)[0].public_id


def test_published_versions_are_compared_by_their_numbers() -> None:
    customer("old")
    publish()
    customer("fresh", start=day(5, 1))
    told = run_json("plan_diff", "gateway@1", "gateway@2")
    assert [*by_name(told)] == ["old"]
    everybody = by_name(run_json("plan_diff", "gateway", "gateway"))
    assert (everybody["old"]["change"], everybody["fresh"]["change"]) == (20_00, 0)


def test_an_increase_above_the_limit_fails_the_pipeline(dearer: str) -> None:
    customer("small")
    words = ("plan_diff", "gateway", dearer, "--max-increase")
    assert run(*words, "20%").code == 0
    refused = run(*words, "19.9%")
    assert refused.code == 1
    assert "1 would pay more than the increase allowed." in refused.err
    assert "100.00 USD becomes 120.00 USD, +20.00 USD; MRR +10.00 USD." in refused.err


def test_a_price_agreed_with_the_customer_stays_agreed(dearer: str) -> None:
    acme = customer("acme")
    with rls.tenant_scope(acme.pk):
        subscriptions.override_price(
            subscriptions_of(acme), key="base", terms=FLAT_40, behaviour=Behaviour.NONE,
            actor=STAFF, at=day(4, 1, 1),
        )  # fmt: skip
    told = by_name(run_json("plan_diff", "gateway", dearer))["acme"]
    assert [(one["old"], one["new"]) for one in told["periods"]][1] == (40_00, 40_00)


def test_who_cannot_be_compared_is_named_with_the_reason(tmp_path: Path, dearer: str) -> None:
    customer("recent", start=day(6, 10))
    shown = run("plan_diff", "gateway", dearer, "--csv")
    (row,) = csv.DictReader(shown.out.splitlines())
    assert (shown.code, row["customer"], row["note"]) == (
        0, "recent", "No complete period lies in the window.",
    )  # fmt: skip
    yearly = tmp_path / "yearly.yaml"
    yearly.write_text(DEARER.replace("interval: month\n    prices:\n      - {key: base, type: flat,"
                                     ' amount: "60.00"}', "interval: year\n    prices:\n      - "
                                     '{key: base, type: flat, amount: "600.00"}'))  # fmt: skip
    refused = run("plan_diff", "gateway", str(yearly), "--json")
    assert (refused.code, json.loads(refused.out)["refused"]) == (1, 1)
    assert "billed by another interval" in json.loads(refused.out)["customers"][0]["reason"]


def test_a_meter_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    customer("acme")
    path = tmp_path / "new.yaml"
    path.write_text(DEARER.replace("key: tokens, event_type", "key: other, event_type").replace(
        "meter: tokens", "meter: other"))  # fmt: skip
    refused = run("plan_diff", "gateway", str(path))
    assert (refused.code, refused.out) == (1, "")
    assert "There is no meter 'other' yet" in refused.err
    assert run("plan_diff", "nothing", "gateway").code == 1
    assert "no version 7" in run("plan_diff", "gateway@7", "gateway").err


def test_a_comparison_writes_nothing_and_goes_in_chunks(dearer: str) -> None:
    for n in range(5):
        customer(f"c{n}")
    with rls.ops_scope("test"):
        old, new = find("gateway"), find_or_read(dearer, code="gateway")
        asked = backtest.Comparison(
            old.plan_id, None, new, Period(datetime(2026, 3, 1, tzinfo=UTC), NOW)
        )
    steps: list[int] = []
    rows = [*backtest.compare_customers(asked, chunk=2, step=steps.append)]
    assert steps == [2, 2, 1]
    assert [row.change for row in rows if isinstance(row, backtest.Compared)] == [20_00] * 5
    with rls.ops_scope("test"):
        assert not Invoice.objects.exists()
