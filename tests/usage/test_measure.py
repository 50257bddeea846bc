"""A measurement is exact for any window, and leaves the evidence to count it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import selectors
from apps.usage.errors import UnknownEpoch, UnknownMeter
from apps.usage.selectors import Want
from tests.conftest import AT
from tests.usage.conftest import METERS, event, take

pytestmark = pytest.mark.usefixtures("event_store", "meters")
DAY = timedelta(days=1)
MICRO = timedelta(microseconds=1)


def measure(organization: Organization, *keys: str, start: datetime = AT, end: datetime = AT + DAY):  # type: ignore[no-untyped-def]
    with rls.tenant_scope(organization.pk):
        return selectors.measure(organization.pk, [Want(key, start, end) for key in keys])


def quantities(organization: Organization, **window: datetime) -> dict[str, Decimal]:
    return dict(
        zip(METERS, [one.quantity for one in measure(organization, *METERS, **window)], strict=True)
    )


def test_an_empty_window_is_zero(organization: Organization) -> None:
    for one in measure(organization, *METERS):
        assert one.quantity == 0
        assert (one.event_count, one.value_count, one.hash) == (0, 0, "0" * 32)


def test_every_aggregation_counts_what_its_word_says(organization: Organization) -> None:
    take(
        organization,
        event(AT + 2 * MICRO, tokens=5, user="a", gauge={"level": 7}),
        event(AT + MICRO, tokens="0.5", user="b", gauge={"level": 9}),
        event(AT, user="a"),
    )
    assert quantities(organization) == {
        "requests": 3, "tokens": Decimal("5.5"), "peak": 5, "level": 7, "users": 2,
    }  # fmt: skip


def test_of_two_readings_at_one_instant_the_one_that_came_later_holds(
    organization: Organization,
) -> None:
    take(organization, *(event(gauge={"level": n}) for n in range(50)))
    assert quantities(organization)["level"] == 49


def test_a_window_is_half_open(organization: Organization) -> None:
    take(
        organization,
        event(AT - MICRO),
        event(AT),
        event(AT + DAY - MICRO),
        event(AT + DAY),
        at=AT + 2 * DAY,
    )
    assert quantities(organization)["requests"] == 2
    assert quantities(organization, start=AT, end=AT)["requests"] == 0


def test_a_value_that_is_missing_counts_only_as_an_event(organization: Organization) -> None:
    take(organization, event(tokens=5), event())
    requests, tokens = measure(organization, "requests", "tokens")
    assert (requests.event_count, requests.value_count) == (2, 0)
    assert (tokens.event_count, tokens.value_count) == (2, 1)
    assert requests.hash == tokens.hash


def test_the_hash_does_not_depend_on_the_order(
    organization: Organization, other_organization: Organization
) -> None:
    batch = [event(tokens=n) for n in range(9)]
    take(organization, *batch)
    (before,) = measure(organization, "requests")
    take(organization, event())
    (after,) = measure(organization, "requests")
    assert before.hash != after.hash
    take(other_organization, *batch)
    (foreign,) = measure(other_organization, "requests")
    assert foreign.hash != before.hash  # whose event it is belongs to its content


def test_own_rows_count_and_can_be_counted_again(organization: Organization) -> None:
    want = Want("tokens", AT, AT + DAY)
    with rls.tenant_scope(organization.pk):
        take(organization, event(tokens=5))
        (first,) = selectors.measure(organization.pk, [want])
        take(organization, event(tokens=6))
        (second,) = selectors.measure(organization.pk, [want])
        assert [first.quantity, second.quantity] == [5, 11]
        again = selectors.recount(organization.pk, want, second.epoch, second.snapshot)
        assert again.quantity == 11


def test_a_day_series_follows_the_zone(organization: Organization) -> None:
    zone = "Europe/Berlin"  # clocks go forward on 29 March 2026
    start, end = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 30, 22, tzinfo=UTC)
    take(organization, *(event(start + timedelta(hours=h)) for h in range(47)), at=end)
    with rls.tenant_scope(organization.pk):
        points = selectors.usage_series(
            organization.pk, "requests", start, end, grain="day", timezone=zone
        )
    assert [(point.start, point.event_count) for point in points] == [
        (start, 23), (datetime(2026, 3, 29, 22, tzinfo=UTC), 24),
    ]  # fmt: skip


def test_an_hour_series_follows_the_zone(organization: Organization) -> None:
    start, end = AT + timedelta(minutes=10), AT + timedelta(hours=2)
    take(organization, event(AT + timedelta(minutes=29)), event(AT + timedelta(minutes=31)), at=end)
    with rls.tenant_scope(organization.pk):
        points = selectors.usage_series(
            organization.pk, "requests", start, end, grain="hour", timezone="Asia/Kolkata"
        )
    assert [(point.start.minute, point.event_count) for point in points] == [
        (10, 1),
        (30, 1),
        (30, 0),
    ]
    assert [point.end for point in points[:-1]] == [point.start for point in points[1:]]


def test_an_unknown_meter_is_refused(organization: Organization) -> None:
    with pytest.raises(UnknownMeter):
        measure(organization, "nothing")


@pytest.mark.parametrize(("epoch", "snapshot"), [(7, "1:1:"), (1, "1:1"), (1, "x"), (1, "")])
def test_foreign_evidence_is_refused(organization: Organization, epoch: int, snapshot: str) -> None:
    with rls.tenant_scope(organization.pk), pytest.raises(UnknownEpoch):
        selectors.recount(organization.pk, Want("tokens", AT, AT + DAY), epoch, snapshot)


@pytest.mark.parametrize(
    ("snapshot", "own", "made"),
    [
        ("10:10:", None, "10:10:"),
        ("10:10:", 10, "10:11:"),
        ("10:12:11", 10, "10:12:11"),
        ("9:10:9", 12, "9:13:9,10,11"),
    ],
)
def test_an_own_transaction_is_made_visible(snapshot: str, own: int | None, made: str) -> None:
    assert selectors.with_own(snapshot, own) == made
