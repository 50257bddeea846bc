"""Reserve, commit, release: what is set aside is nobody else's, and counts once when it is used."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import DomainError, Forbidden, Invalid
from apps.entitlements import selectors, services
from apps.entitlements.errors import (
    ExceedsReservation,
    NotAllowed,
    NotReservable,
    ReservationExpired,
    ReservationKeyReused,
    ReservationSettled,
    UnknownReservation,
)
from apps.entitlements.models import Reservation
from apps.tenants.models import Organization
from apps.usage.models import Event
from tests.conftest import STAFF
from tests.entitlements.maps import (
    NOW,
    check,
    commit,
    export,
    release,
    reserve,
    seen,
    subscribe,
    use,
)

LATER = NOW + timedelta(minutes=6)


def run(statement: str) -> None:
    """Write past the services, as a mistake in a console would."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def stored() -> tuple[int, int, list[str]]:
    with rls.ops_scope("test: count"):
        rows = Reservation.objects.order_by("id")
        return Event.objects.count(), rows.count(), [row.status for row in rows]


def refused(error: type[DomainError], act: object, *args: object, **options: object) -> DomainError:
    """Do it; it must be refused, and nothing may have changed."""
    before = stored()
    with pytest.raises(error) as caught, transaction.atomic():
        act(*args, **options)  # type: ignore[operator]
    assert stored() == before
    return caught.value


def test_what_is_set_aside_is_nobody_else_s(drawer: Organization) -> None:
    use(drawer, 90)
    reserve(drawer, 8)
    found = check(drawer, "tiles", 3)
    assert seen(found.allowed, found.used, found.reserved, found.remaining) == (False, 90, 8, 2)
    error = refused(NotAllowed, reserve, drawer, 3)
    assert error.extra == {"reason": "limit_reached", "remaining": "2"}
    reserve(drawer, 2)


def test_a_commit_counts_what_was_used_and_frees_the_rest(drawer: Organization) -> None:
    reserved = reserve(drawer, 60)
    done = commit(drawer, reserved, 20)
    assert seen(done.status, done.committed) == ("committed", 20)
    found = check(drawer, "tiles")
    assert seen(found.used, found.reserved, found.remaining) == (20, 0, 80)


def test_a_commit_repeated_counts_once(drawer: Organization) -> None:
    reserved = reserve(drawer, 5)
    assert commit(drawer, reserved) == commit(drawer, reserved, 5, at=LATER)
    assert check(drawer, "tiles").used == 5
    refused(ReservationSettled, commit, drawer, reserved, 4)


def test_the_value_of_a_sum_is_written_where_its_meter_reads_it(drawer: Organization) -> None:
    reserved = reserve(drawer, "12.5", feature="exports")
    commit(drawer, reserved, "12.25", data={"file": {"name": "a.pdf"}, "format": "pdf"})
    with rls.tenant_scope(drawer.pk):
        [event] = Event.objects.filter(type="export")
    assert event.data == {"file": {"name": "a.pdf", "megabytes": 12.25}, "format": "pdf"}
    assert check(drawer, "exports").used == Decimal("12.25")


def test_using_nothing_writes_no_event(drawer: Organization) -> None:
    assert commit(drawer, reserve(drawer, 5), 0).committed == 0
    assert check(drawer, "tiles").used == 0


def test_more_than_was_reserved_is_used_only_where_the_limit_lets_pass(
    drawer: Organization,
) -> None:
    refused(ExceedsReservation, commit, drawer, reserve(drawer, 5), 6)
    soft = reserve(drawer, 5, feature="exports")
    assert commit(drawer, soft, 60).committed == 60


def test_a_release_gives_it_back_and_may_be_repeated(drawer: Organization) -> None:
    reserved = reserve(drawer, 100)
    refused(NotAllowed, reserve, drawer, 1)
    assert release(drawer, reserved).status == "released"
    assert release(drawer, reserved).status == "released"
    reserve(drawer, 100)
    refused(ReservationSettled, commit, drawer, reserved)


def test_what_was_committed_is_not_released(drawer: Organization) -> None:
    reserved = reserve(drawer, 5)
    commit(drawer, reserved)
    refused(ReservationSettled, release, drawer, reserved)


def test_an_expired_reservation_frees_its_amount_by_itself(drawer: Organization) -> None:
    reserved = reserve(drawer, 100)
    assert not check(drawer, "tiles", at=NOW + timedelta(minutes=4)).allowed
    assert check(drawer, "tiles", 100, at=LATER).allowed
    refused(ReservationExpired, commit, drawer, reserved, at=LATER)
    reserve(drawer, 100, at=LATER)
    assert release(drawer, reserved, at=LATER).status == "expired"


def test_expiry_is_settled_for_everybody_and_once(
    drawer: Organization, other_organization: Organization
) -> None:
    subscribe(other_organization)
    reserve(drawer, 1), reserve(other_organization, 1), reserve(drawer, 1, minutes=30)
    assert services.expire_reservations(actor=STAFF, at=LATER) == 2
    assert services.expire_reservations(actor=STAFF, at=LATER) == 0
    assert sorted(stored()[2]) == ["expired", "expired", "open"]


def test_a_key_makes_one_reservation(drawer: Organization) -> None:
    first = reserve(drawer, 60, key="job 7")
    assert reserve(drawer, 60, key="job 7") == first
    assert check(drawer, "tiles").reserved == 60
    refused(ReservationKeyReused, reserve, drawer, 61, key="job 7")
    refused(ReservationKeyReused, reserve, drawer, 60, feature="exports", key="job 7")


@pytest.mark.parametrize("amount", ["0", "-1", "1e18", "0.0000000000001", "NaN", "Infinity", "1.5"])
def test_amounts_that_make_no_sense_are_refused(drawer: Organization, amount: str) -> None:
    refused(Invalid, reserve, drawer, amount)


def test_an_hour_is_the_longest(drawer: Organization) -> None:
    refused(Invalid, reserve, drawer, 1, minutes=61)
    refused(Invalid, reserve, drawer, 1, minutes=0)


@pytest.mark.parametrize("feature", ["viewers", "styles", "offline"])
def test_what_no_meter_adds_up_is_not_reserved(drawer: Organization, feature: str) -> None:
    refused(NotReservable, reserve, drawer, 1, feature=feature)


def test_reserving_needs_the_right_to_write_usage(drawer: Organization) -> None:
    reader = Actor("api_key", "key_1", "reader", drawer.pk, frozenset({"view_usage"}))
    with rls.tenant_scope(drawer.pk), pytest.raises(Forbidden):
        services.reserve(drawer.pk, feature="tiles", amount=Decimal(1), actor=reader, at=NOW)
    assert stored() == (0, 0, [])


def test_a_stranger_finds_no_reservation(
    drawer: Organization, other_organization: Organization
) -> None:
    reserved = reserve(drawer, 5)
    stranger = Actor("api_key", "k", "stranger", other_organization.pk, frozenset({"*"}))
    for act in (services.commit, services.release):
        with rls.tenant_scope(other_organization.pk), pytest.raises(UnknownReservation):
            act(reserved.public_id, actor=stranger, at=NOW)
        with rls.tenant_scope(drawer.pk), pytest.raises(UnknownReservation):
            act(reserved.public_id, actor=stranger, at=NOW)
    with rls.tenant_scope(other_organization.pk), pytest.raises(UnknownReservation):
        selectors.reservation(reserved.public_id)
    assert stored()[2] == ["open"]


@pytest.mark.parametrize(
    "change",
    [
        "amount = 6",
        "expires_at = expires_at + interval '1 day'",
        "status = 'open', settled_at = NULL, committed = NULL",
        "committed = 4",
    ],
)
def test_a_settled_reservation_never_changes(drawer: Organization, change: str) -> None:
    commit(drawer, reserve(drawer, 5))
    with rls.ops_scope("test"), pytest.raises(DatabaseError):
        run(f"UPDATE entitlements_reservation SET {change}")


def test_the_database_holds_a_hard_limit_to_what_was_reserved(drawer: Organization) -> None:
    reserve(drawer, 5)
    said = "status = 'committed', settled_at = now(), committed = 6"
    with rls.ops_scope("test"), pytest.raises(DatabaseError, match="hard_limit"):
        run(f"UPDATE entitlements_reservation SET {said}")


def test_reserving_takes_as_many_statements_whatever_was_used_and_reserved(
    drawer: Organization, django_assert_max_num_queries: object
) -> None:
    def counted() -> int:
        with connection.execute_wrapper(counter):
            seen.clear()
            reserve(drawer, 1)
        return len(seen)

    seen: list[str] = []

    def counter(execute: object, sql: str, *args: object) -> object:
        seen.append(sql)
        return execute(sql, *args)  # type: ignore[operator]

    reserve(drawer, 1)
    few = counted()
    use(drawer, 40)
    export(drawer, "3")
    for _ in range(10):
        reserve(drawer, 1)
    assert counted() == few
    assert few < 40
