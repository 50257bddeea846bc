"""Writers that race, repeat each other and roll back; readers and roll-ups in between."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import connections

from apps.core import rls
from apps.engine.aggregation import Aggregation, Reading, aggregate
from apps.engine.period import Period
from apps.tenants.models import Organization
from apps.usage import selectors, services
from apps.usage.checking import VOID, NewEvent
from apps.usage.models import Event
from apps.usage.selectors import Claim, Measured, Want
from tests.conftest import AT, STAFF, make_organization
from tests.usage.conftest import METERS, MORE_METERS, define

ALL_METERS = {**METERS, **MORE_METERS}
pytestmark = pytest.mark.committed
SPAN = timedelta(hours=30)
LATER = AT + 2 * SPAN
WRITERS, BATCHES = 4, 25
ZONES = [timedelta(0), timedelta(minutes=30), timedelta(minutes=345)]


class GivenUp(Exception):
    """A writer changed its mind: its transaction is rolled back."""


def pool(rng: random.Random) -> list[NewEvent]:
    """Events that several writers will try to store, so that many are duplicates."""
    return [
        NewEvent(
            source="race",
            key=f"k{n}",
            type="ai.request",
            occurred_at=AT + SPAN * rng.randrange(10**6) / 10**6,
            data={
                name: value
                for name, value in {
                    "tokens": Decimal(rng.randrange(10**6)) / 1000,
                    "user": f"u{rng.randrange(40)}",
                    "gauge": {"level": rng.randrange(100)},
                }.items()
                if rng.random() < 0.8
            },
        )
        for n in range(1500)
    ]


def voiding(wrong: NewEvent, rng: random.Random) -> NewEvent:
    """An event that takes another one back, or corrects it; several writers may try to."""
    kind = wrong.type if rng.random() < 0.5 else VOID
    data = {"tokens": rng.randrange(100), "user": "u0"} if kind == wrong.type else {}
    return NewEvent(
        source=wrong.source,
        key=f"v{rng.randrange(10**9)}",
        type=kind,
        occurred_at=AT + SPAN * rng.randrange(10**6) / 10**6,
        data=data,
        voids=wrong.key,
    )


def write(organization: Organization, events: list[NewEvent], rng: random.Random) -> None:
    for _ in range(BATCHES):
        batch = rng.sample(events, rng.randrange(1, 60))
        batch += [voiding(one, rng) for one in rng.sample(events, rng.randrange(4))]
        with suppress(GivenUp), rls.tenant_scope(organization.pk):
            services.ingest(organization.pk, events=batch, actor=STAFF, at=LATER)
            time.sleep(rng.random() / 100)
            if rng.random() < 0.2:
                raise GivenUp


def wants(rng: random.Random) -> list[Want]:
    found = []
    for key in ALL_METERS:
        first, last = sorted(rng.randrange(10**6) for _ in range(2))
        start, end = AT + SPAN * first / 10**6, AT + SPAN * last / 10**6
        if rng.random() < 0.3:  # local midnights and hours
            start = AT + rng.choice(ZONES) + timedelta(hours=rng.randrange(10))
            end = start + timedelta(hours=rng.randrange(12))
        users = [f"u{n}" for n in rng.sample(range(40), 20)]
        asked: dict[str, Any] = rng.choice(
            [{}, {"include": {"user": users}}, {"exclude": [{"user": users}]}]
        )
        found.append(Want(key, start, end, **asked))
    return found


def run_together(*works: Callable[[], None]) -> None:
    """Run each in a thread with a connection of its own; raise what any of them raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guarded, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def reading(event: Event, key: str) -> Reading:
    data = event.data
    value: object = {"users": data.get("user"), "level": data.get("gauge", {}).get("level")}.get(
        key, data.get("tokens")
    )
    number = None if key in {"users", "requests"} or value is None else Decimal(str(value))
    text = None if key != "users" or value is None else str(value)
    return Reading(at=event.occurred_at, value=number, text=text, tie=event.pk)


def passes(event: Event, want: Want) -> bool:
    user = event.data.get("user")
    return all(user in users for users in want.include.values()) and not any(
        user in one["user"] for one in want.exclude
    )


def oracle(events: list[Event], want: Want) -> tuple[Decimal, int]:
    voided = {one.voids_id for one in events}
    kind = Aggregation(ALL_METERS[want.meter_key][1])
    counted = [
        one
        for one in events
        if one.occurred_at < want.end
        and (one.occurred_at >= want.start or kind is Aggregation.WEIGHTED_SUM)
        and one.type != VOID
        and one.pk not in voided
        and passes(one, want)
    ]
    readings = [reading(one, want.meter_key) for one in counted]
    if kind is not Aggregation.WEIGHTED_SUM:
        return rounded(aggregate(kind, readings)), len(counted)
    if want.start == want.end:
        return Decimal(0), len(counted)
    before = [one.value for one in readings if one.at < want.start and one.value is not None]
    inside = [one for one in readings if one.at >= want.start]
    window = Period(want.start, want.end)
    mean = aggregate(kind, inside, during=window, level=sum(before, Decimal(0)))
    return rounded(mean), len(counted)


def rounded(quantity: Fraction) -> Decimal:
    """To 12 places, half up: nothing is negative here."""
    return Decimal(int(quantity * 10**12 + Fraction(1, 2))).scaleb(-12)


@pytest.mark.parametrize("seed", [1, 20260301, 777])
def test_what_is_measured_under_fire_is_exact_and_can_be_counted_again(
    committed_db: str, seed: int
) -> None:
    rng = random.Random(seed)  # the seed is in the test's name
    with rls.ops_scope("test"):
        define()
        define("tokens", "peak", *MORE_METERS, dimensions=["user"])
    acme = make_organization("acme")
    events, claims, over = pool(rng), list[tuple[Claim, Measured]](), threading.Event()

    def observe() -> None:
        eyes = random.Random(seed + 1)
        while not over.is_set():
            asked = wants(eyes)
            with rls.tenant_scope(acme.pk):
                seen = selectors.measure(acme.pk, asked)
                again = selectors.measure(acme.pk, asked[:1])
            claims.extend(
                (Claim(want, one.epoch, one.snapshot), one)
                for want, one in zip([*asked, asked[0]], [*seen, *again], strict=True)
            )
            time.sleep(0.01)

    def roll_up() -> None:
        while not over.is_set():
            with rls.ops_scope("test"):
                services.roll_up(LATER)
            time.sleep(0.005)

    def write_all() -> None:
        try:
            run_together(
                *(
                    lambda n=n: write(acme, events, random.Random(seed * 10 + n))
                    for n in range(WRITERS)
                )
            )
        finally:
            over.set()

    run_together(write_all, observe, roll_up)
    check_all(acme, claims, rng)


def check_all(acme: Organization, claims: list[tuple[Claim, Measured]], rng: random.Random) -> None:
    with rls.ops_scope("test"):
        again = selectors.recount_all([(acme.pk, claim) for claim, _ in claims])
        assert again == [measured for _, measured in claims]
        assert selectors.bucket_differences() == []
        assert selectors.altered_events() == []
        events = list(Event.objects.all())
        assert len({one.key for one in events}) == len(events) > 500
    for _ in range(3):
        with rls.tenant_scope(acme.pk):
            asked = [want for _ in range(20) for want in wants(rng)]
            measured = selectors.measure(acme.pk, asked)
        expected = [oracle(events, want) for want in asked]
        assert [(one.quantity, one.event_count) for one in measured] == expected
        with rls.ops_scope("test"):
            services.roll_up(LATER)


def test_two_batches_with_the_same_events_do_not_deadlock(committed_db: str) -> None:
    with rls.ops_scope("test"):
        define()
    acme = make_organization("acme")
    batch = [
        NewEvent(source="s", key=f"k{n}", type="ai.request", occurred_at=AT, data={})
        for n in range(400)
    ]
    outcomes: list[services.Outcome] = []

    def ingest(events: list[NewEvent]) -> None:
        with rls.tenant_scope(acme.pk):
            outcomes.append(services.ingest(acme.pk, events=events, actor=STAFF, at=LATER))

    for _ in range(5):
        run_together(lambda: ingest(batch), lambda: ingest(batch[::-1]))
    assert sum(outcome.accepted for outcome in outcomes) == 400
    assert sum(outcome.duplicate for outcome in outcomes) == 9 * 400
