"""Events answer the same from ClickHouse as from PostgreSQL, and get there exactly once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.backoffice.demo.usage import trace
from apps.backoffice.management.commands import doctor
from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import clickhouse, selectors, services
from apps.usage.checking import NewEvent
from apps.usage.errors import EventStoreUnavailable
from apps.usage.models import UsageShipment
from apps.usage.selectors import Claim, Want
from apps.usage.services import shipping
from tests.conftest import AT, STAFF, make_organization
from tests.usage.clickhouse import ship, ship_once, store
from tests.usage.conftest import METERS, MORE_METERS, define, event, take
from tests.usage.test_rollup import LATER, as_owner, settle

pytestmark = pytest.mark.committed
KEYS = [*METERS, *MORE_METERS]
HOUR = timedelta(hours=1)
WINDOWS = (
    (AT, AT + 30 * HOUR),
    (AT + 17 * timedelta(minutes=1), AT + 20 * HOUR + timedelta(microseconds=1)),
    (AT + 40 * HOUR, AT + 50 * HOUR),
)
EDGES = (
    datetime(2023, 11, 16, 18, 17, 30, 123456, UTC),
    datetime(2023, 11, 16, 18, 44, 59, 1, UTC),
)
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"include": {"model": ["large", "1", "true", ""]}},
    {"exclude": [{"model": ["large"], "place.region": ["eu"]}, {"user": ["u1"]}]},
    {"include": {"place.region": ["eu", "us"]}, "exclude": [{"missing": ["x"]}]},
    {"include": {"model": ["x" * 150]}},
)


@pytest.fixture
def acme(committed_db: str) -> Iterator[Organization]:
    """An organization whose events only one meter counts so far: it takes any values."""
    with store():
        with rls.ops_scope("test"):
            define("requests")
        yield make_organization("acme")


def define_the_rest() -> None:
    with rls.ops_scope("test"):
        define()
        define(*MORE_METERS, dimensions=["model"])


def wants() -> list[Want]:
    return [
        Want(key, *window, **chosen) for key in KEYS for window in WINDOWS for chosen in FILTERS
    ]


def some_events(seed: int, n: int = 100) -> list[Any]:
    choose = random.Random(seed)
    models = [
        "large",
        "small",
        1,
        True,
        None,
        ["large"],
        "",
        "x" * 150,
        "sha256:0",
        Decimal("1.50"),
    ]
    return [
        event(
            AT + timedelta(microseconds=choose.randrange(30 * 3600 * 10**6)),
            tokens=choose.choice(
                [k, f"{k}.000000000001", 10**17, "1e3", None, Decimal(k) / 8, "x"]
            ),
            user=choose.choice([f"u{k % 7}", k % 5, str(k % 5), False, "y" * 200, {}]),
            gauge={"level": k, "other": [k]},
            model=choose.choice(models),
            place={"region": choose.choice(["eu", "us", "at", 7])},
        )
        for k in range(n)
    ]


def answers(organization: Organization, claims: list[selectors.Measured]) -> dict[str, Any]:
    """Everything that raw events answer, with the evidence of measurements made before."""
    asked = wants()
    made = [Claim(want, one.epoch, one.snapshot) for want, one in zip(asked, claims, strict=True)]
    with rls.tenant_scope(organization.pk):
        now = selectors.measure(organization.pk, asked)
        then = selectors.recount_all([(organization.pk, claim) for claim in made])
        found: dict[str, Any] = {
            f"{n} {want.meter_key} {want.start} {want.end} {want.filter}": (
                (one.quantity, one.event_count, one.value_count, one.hash),
                (two.quantity, two.event_count, two.value_count, two.hash),
            )
            for n, (want, one, two) in enumerate(zip(asked, now, then, strict=True))
        }
        for n, claim in list(enumerate(made))[::11]:
            found[f"readings {n}"] = selectors.readings(organization.pk, claim)
            found[f"hours {n}"] = selectors.hours_of(organization.pk, claim)
            found[f"events {n}"] = pages(organization, claim)
    return found


def differences(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    return {name: (one[name], two[name]) for name in one if one[name] != two[name]}


def pages(organization: Organization, claim: Claim) -> list[selectors.EvidenceEvent]:
    found: list[selectors.EvidenceEvent] = []
    while page := selectors.evidence_events(
        organization.pk, claim, after=found[-1].id if found else None, limit=40
    ):
        found += page
    return found


def forget_shipped_rows() -> None:
    """Remove from PostgreSQL what ClickHouse has, so that only that can answer."""
    with as_owner() as owner:
        owner.execute(
            """DELETE FROM usage_event e WHERE xid < (SELECT max(until) FROM usage_shipment)
            AND voids_id IS NULL AND NOT EXISTS (
              SELECT FROM usage_event v WHERE v.voids_id = e.id)"""
        )


@pytest.mark.parametrize("all_of_it", [False, True])
def test_every_answer_is_the_same_from_clickhouse(
    acme: Organization, settings: Any, all_of_it: bool
) -> None:
    first = some_events(1)
    assert take(acme, *first, at=LATER).accepted == len(first)
    settle()
    define_the_rest()
    with rls.tenant_scope(acme.pk):
        claims = selectors.measure(acme.pk, wants())
    take_back(acme, *first[:5])
    settle()
    assert ship() == len(first) + 5
    take_back(acme, *first[5:10])
    take(acme, *readable_events(), at=LATER)
    if all_of_it:
        settle()
        ship()
    expected = switched_off(settings, answers, acme, claims)
    forget_shipped_rows()
    assert differences(answers(acme, claims), expected) == {}
    assert differences(switched_off(settings, answers, acme, claims), expected)


def readable_events() -> list[Any]:
    return [
        event(one.occurred_at + HOUR, **{**one.data, "tokens": n, "user": f"u{n % 9}"})
        for n, one in enumerate(some_events(2, 60))
    ]


def test_the_totals_of_a_real_trace_are_those_of_a_recount(acme: Organization) -> None:
    with rls.ops_scope("test"):
        services.define_meter(
            "context",
            event_type="ai.request",
            aggregation="sum",
            value="context_tokens",
            actor=STAFF,
            at=AT,
        )
    events = [one for one in trace() if isinstance(one, NewEvent) and one.occurred_at]
    for first in range(0, len(events), 1000):
        take(acme, *events[first : first + 1000])
    settle()
    assert ship() == len(events) == 5_500
    forget_shipped_rows()
    start, end = EDGES
    inside = [one for one in events if one.occurred_at and start <= one.occurred_at < end]
    expected = sum(int(str(one.data["context_tokens"])) for one in inside)
    with rls.tenant_scope(acme.pk):
        [measured] = selectors.measure(acme.pk, [Want("context", start, end)])
        again = selectors.recount(
            acme.pk, Want("context", start, end), measured.epoch, measured.snapshot
        )
    assert (measured.event_count, int(measured.quantity)) == (len(inside), expected)
    assert (again.quantity, again.hash) == (measured.quantity, measured.hash)


def test_a_stranger_gets_nothing_from_clickhouse(acme: Organization) -> None:
    take(acme, event(), event(), at=LATER)
    settle()
    ship()
    want = Want("requests", AT - HOUR / 2, AT + HOUR / 2)
    with rls.tenant_scope(acme.pk):
        [mine] = selectors.measure(acme.pk, [want])
    assert mine.quantity == 2
    claim = Claim(want, mine.epoch, mine.snapshot)
    with rls.tenant_scope(make_organization("stranger").pk):
        assert selectors.measure(acme.pk, [want])[0].quantity == 0
        assert selectors.recount(acme.pk, want, mine.epoch, mine.snapshot).quantity == 0
        assert selectors.readings(acme.pk, claim) == []
        assert selectors.hours_of(acme.pk, claim) == []
        assert selectors.evidence_events(acme.pk, claim) == []


def test_a_block_of_a_run_that_died_is_written_again(acme: Organization) -> None:
    take(acme, *some_events(1, 20), at=LATER)
    settle()
    with pytest.raises(RuntimeError), rls.ops_scope("test"):
        services.ship_events(AT)
        raise RuntimeError  # after ClickHouse has the block, before PostgreSQL says so
    assert not UsageShipment.objects.exists()
    take(acme, *some_events(2, 20), at=LATER)
    settle()
    assert ship() == 40
    assert ship() == 0
    assert verified() == []
    assert requests(acme) == 40


def test_rows_of_a_future_that_was_lost_are_not_read_and_go(acme: Organization) -> None:
    take(acme, *some_events(1, 20), at=LATER)
    settle()
    ship()
    with rls.ops_scope("test"):
        UsageShipment.objects.all().delete()  # PostgreSQL was restored to a moment before
    take(acme, *some_events(2, 5), at=LATER)
    assert requests(acme) == 25
    settle()
    assert ship() == 25
    assert verified() == []
    assert requests(acme) == 25


def test_a_block_ends_with_a_transaction(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "BLOCK", 10)
    for seed in range(3):
        take(acme, *some_events(seed, 7), at=LATER)
    take(acme, *some_events(4, 25), at=LATER)
    settle()
    assert [ship_once().events for _ in range(5)] == [7, 7, 7, 25, 0]
    assert requests(acme) == 46


def test_what_clickhouse_lost_is_named(acme: Organization) -> None:
    take(acme, *some_events(1, 20), at=LATER)
    settle()
    ship()
    assert verified() == []
    clickhouse.command("DELETE FROM usage_event WHERE id = 1")
    [found] = verified()
    assert str(found) == "block 1: 20 events and 0 voids shipped, 19 and 0 found"


def test_nothing_is_answered_while_clickhouse_is_away(acme: Organization, settings: Any) -> None:
    take(acme, event(), at=LATER)
    settle()
    ship()
    settings.CLICKHOUSE_URL = "http://127.0.0.1:9/nowhere"
    with rls.tenant_scope(acme.pk):
        want = Want("requests", AT, AT + HOUR)
        assert selectors.measure(acme.pk, [want])[0].quantity == 1  # from the bucket
        with pytest.raises(EventStoreUnavailable):
            selectors.measure(acme.pk, [Want("requests", AT, AT + HOUR / 2)])


def test_the_commands_fill_and_check_clickhouse(
    acme: Organization, capsys: pytest.CaptureFixture[str]
) -> None:
    take(acme, *some_events(1, 20), at=LATER)
    settle()
    call_command("ship_events", "--format", "json")
    assert json.loads(capsys.readouterr().out) == {
        "events": 20, "complete": True, "skipped": False,
    }  # fmt: skip
    take(acme, *some_events(2, 5), at=LATER)
    settle()
    call_command("backfill_clickhouse")
    assert capsys.readouterr().out == "5 events shipped; ClickHouse has all that is rolled up.\n"
    call_command("ship_events", "--verify")
    assert capsys.readouterr().out == "Every block is whole.\n"
    assert [one.seen for one in doctor.CHECKS["event store"]()] == [
        "ClickHouse, 25 events in 2 blocks"
    ]
    clickhouse.command("DELETE FROM usage_event WHERE id = 1")
    with pytest.raises(SystemExit):
        call_command("ship_events", "--verify")
    assert "block 1: 20 events" in capsys.readouterr().out
    assert [one.state for one in doctor.CHECKS["event store"]()] == ["fail"]


def test_without_clickhouse_nothing_is_shipped(acme: Organization, settings: Any) -> None:
    settings.CLICKHOUSE_URL = ""
    take(acme, event(), at=LATER)
    settle()
    with pytest.raises(CommandError, match="CLICKHOUSE_URL is not set"):
        call_command("ship_events")


def requests(organization: Organization) -> int:
    """Count from the events themselves: no window of whole hours."""
    with rls.tenant_scope(organization.pk):
        want = Want("requests", AT, AT + 60 * HOUR, exclude=[{"missing": ["x"]}])
        return int(selectors.measure(organization.pk, [want])[0].quantity)


def verified() -> list[Any]:
    with rls.ops_scope("test"):
        return services.verify_shipments()


def switched_off(settings: Any, ask: Any, *arguments: Any) -> Any:
    url, settings.CLICKHOUSE_URL = settings.CLICKHOUSE_URL, ""
    try:
        return ask(*arguments)
    finally:
        settings.CLICKHOUSE_URL = url


def take_back(organization: Organization, *events: Any) -> None:
    with rls.tenant_scope(organization.pk):
        for one in events:
            services.void_event(
                organization.pk, event=one.key, source="test", actor=STAFF, at=LATER
            )
