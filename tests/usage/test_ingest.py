"""Each event counts once, and nothing that came is lost."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden
from apps.tenants.models import Organization
from apps.usage import selectors, services
from apps.usage.checking import NewEvent, Refusal, Unread
from apps.usage.models import Event, RejectedEvent
from apps.usage.services import Status
from tests.conftest import AT, STAFF
from tests.usage.conftest import event, take

pytestmark = pytest.mark.usefixtures("meters")


def statuses(outcome: services.Outcome) -> list[str]:
    return [str(result.status) for result in outcome.results]


def stored(organization: Organization) -> int:
    with rls.tenant_scope(organization.pk):
        return Event.objects.count()


def test_the_same_event_counts_once(organization: Organization) -> None:
    first = event(tokens=5)
    assert statuses(take(organization, first, first)) == ["accepted", "duplicate"]
    outcome = take(organization, event(), first)
    assert statuses(outcome) == ["accepted", "duplicate"]
    assert (outcome.accepted, outcome.duplicate, outcome.rejected) == (1, 1, 0)
    assert stored(organization) == 2


def test_a_duplicate_names_the_event_that_is_there(organization: Organization) -> None:
    first = event()
    (original,) = take(organization, first).results
    (again,) = take(organization, first).results
    assert original.event_id == again.event_id is not None


def test_other_content_under_the_same_id_is_a_conflict_and_kept(organization: Organization) -> None:
    take(organization, event(key="a", tokens=5))
    changed = [
        event(key="a", tokens=6),
        event(AT - timedelta(microseconds=1), key="a", tokens=5),
        event(key="b", tokens=1),
        event(key="b", tokens=2),
    ]
    outcome = take(organization, *changed)
    assert statuses(outcome) == ["conflict", "conflict", "accepted", "conflict"]
    assert outcome.rejected == 3
    assert stored(organization) == 2
    with rls.tenant_scope(organization.pk):
        assert list(RejectedEvent.objects.values_list("code", flat=True)) == ["conflict"] * 3
        assert Event.objects.get(key="a").data == {"tokens": 5}


def test_the_same_id_of_another_source_or_organization_is_another_event(
    organization: Organization, other_organization: Organization
) -> None:
    for owner, source in ((organization, "x"), (organization, "y"), (other_organization, "x")):
        assert take(owner, event(key="same", source=source)).accepted == 1


def test_results_come_in_the_order_of_the_events(organization: Organization) -> None:
    refused = Unread(Refusal("malformed", "This is not JSON."), "{", 4)
    known = event()
    take(organization, known)
    batch: list[NewEvent | Unread] = [event(tokens="x"), known, refused, event(), event(tokens=-1)]
    outcome = take(organization, *batch)
    assert [result.code or str(result.status) for result in outcome.results] == [
        "not_numeric", "duplicate", "malformed", "accepted", "negative",
    ]  # fmt: skip


def test_a_refused_event_is_kept_once_however_often_it_comes(organization: Organization) -> None:
    bad = event(tokens="many", key="bad")
    take(organization, bad, bad)
    take(organization, bad, at=AT + timedelta(hours=1))
    with rls.tenant_scope(organization.pk):
        row = RejectedEvent.objects.get()
    assert (row.code, row.pointer, row.times_seen) == ("not_numeric", "/data/tokens", 3)
    assert (row.first_seen_at, row.last_seen_at) == (AT, AT + timedelta(hours=1))
    assert '"tokens":"many"' in row.payload


def test_hostile_texts_are_stored_as_they_are(organization: Organization) -> None:
    texts = [
        '"',
        "\\",
        '\\"',
        "{",
        "},{",
        "NULL",
        "%s",
        "'; DROP TABLE x; --",
        "\x1f",
        "\u2028",
        "é€😀",
    ]
    batch = [event(text=text, source=f"s{n}'\"\\{{}}") for n, text in enumerate(texts)]
    assert take(organization, *batch, event(note="", key="NULL")).accepted == len(texts) + 1
    with rls.tenant_scope(organization.pk):
        rows = Event.objects.exclude(key="NULL").order_by("id")
        assert [row.data["text"] for row in rows] == texts
        assert [row.source for row in rows] == [one.source for one in batch]


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800"])
def test_a_refusal_about_a_hostile_text_can_be_stored(
    organization: Organization, text: str
) -> None:
    named = msgspec.structs.replace(event(), data={text: 0.5})
    outcome = take(organization, named, event(key=f"k{text}"))
    assert outcome.rejected == 2


def test_exact_numbers_stay_exact(organization: Organization) -> None:
    value = Decimal("0.123456789012")
    take(organization, event(tokens=value), event(tokens=10**18 - 1))
    window = selectors.Want("tokens", AT, AT + timedelta(seconds=1))
    with rls.tenant_scope(organization.pk):
        (measured,) = selectors.measure(organization.pk, [window])
    assert measured.quantity == Decimal("999999999999999999.123456789012")


def test_the_digest_can_be_made_anywhere(organization: Organization) -> None:
    take(organization, event(AT + timedelta(microseconds=7), key="k", source="é", b=1, a=[1, "x"]))
    with rls.tenant_scope(organization.pk):
        row = Event.objects.get()
    micros, received = (
        (time - AT.replace(year=1970, month=1)) // timedelta(microseconds=1)
        for time in (row.occurred_at, row.received_at)
    )
    data = '{"a": [1, "x"], "b": 1}'
    text = f"{organization.pk},2,é,1,k,10,ai.request,{micros},{received},{data}"
    assert bytes(row.digest) == hashlib.sha256(text.encode()).digest()
    known_by = hashlib.sha256("1:ék".encode()).digest()[:16]
    assert row.dedupe_key.bytes == known_by


def test_an_event_is_received_by_the_databases_clock(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        take(organization, event())
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT now() <= received_at, xid = pg_current_xact_id() FROM usage_event"
            )
            assert cursor.fetchall() == [(True, True)]


def test_somebody_elses_key_may_not_write(
    organization: Organization, other_organization: Organization
) -> None:
    stranger = Actor("api_key", "key_1", "a key", other_organization.pk, frozenset({"write_usage"}))
    reader = Actor("api_key", "key_2", "a key", organization.pk, frozenset({"view_usage"}))
    for actor in (stranger, reader):
        with rls.tenant_scope(organization.pk), pytest.raises(Forbidden):
            services.ingest(organization.pk, events=[event()], actor=actor, at=AT)
    assert stored(organization) == 0


def test_the_database_refuses_another_organizations_events(
    organization: Organization, other_organization: Organization
) -> None:
    with rls.tenant_scope(organization.pk), pytest.raises(ProgrammingError, match="row-level"):
        services.ingest(other_organization.pk, events=[event()], actor=STAFF, at=AT)
    assert stored(other_organization) == 0


def test_a_stranger_sees_no_event(
    organization: Organization, other_organization: Organization
) -> None:
    take(organization, event(), event(tokens="x"))
    with rls.tenant_scope(other_organization.pk):
        assert not Event.objects.exists()
        assert not RejectedEvent.objects.exists()
        assert selectors.latest_events(organization.pk) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_event SET data = '{}'",
        "UPDATE usage_event SET xid = '1'",
        "DELETE FROM usage_event",
        "TRUNCATE usage_event CASCADE",
        "LOCK TABLE usage_event IN SHARE MODE",
    ],
)
def test_an_event_cannot_be_changed(organization: Organization, statement: str) -> None:
    take(organization, event(tokens=5))
    for scope in (rls.tenant_scope(organization.pk), rls.ops_scope("test")):
        with pytest.raises(DatabaseError), scope, connection.cursor() as cursor:
            cursor.execute(statement)
    assert stored(organization) == 1


@pytest.mark.parametrize("column", ["occurred_at", "received_at"])
@pytest.mark.parametrize("time", ["infinity", "-infinity", "1969-12-31", "2200-01-01"])
def test_the_database_bounds_times(organization: Organization, column: str, time: str) -> None:
    times = {"occurred_at": "2026-01-01", "received_at": "2026-01-01", column: time}
    statement = """INSERT INTO usage_event
      (organization_id, dedupe_key, source, key, type, occurred_at, received_at, data, digest)
      VALUES (%s, usage_dedupe_key('s', 'k'), 's', 'k', 't', %s, %s, '{}', '')"""
    scope = rls.tenant_scope(organization.pk)
    with pytest.raises(DatabaseError, match="in_bounds"), scope, connection.cursor() as cursor:
        cursor.execute(statement, [organization.pk, *times.values()])


def test_events_list_the_last_received_first(organization: Organization) -> None:
    take(organization, *(event(key=f"k{n}") for n in range(5)))
    with rls.tenant_scope(organization.pk):
        page = selectors.latest_events(organization.pk, limit=2)
        rest = selectors.latest_events(organization.pk, before_id=page[-1].id)
        assert [one.key for one in [*page, *rest]] == ["k4", "k3", "k2", "k1", "k0"]
        assert selectors.latest_events(organization.pk, event_type="other") == []


def test_an_event_is_not_taken_when_its_transaction_is_not(organization: Organization) -> None:
    with pytest.raises(RuntimeError), rls.tenant_scope(organization.pk), transaction.atomic():
        outcome = services.ingest(organization.pk, events=[event()], actor=STAFF, at=AT)
        assert outcome.results[0].status is Status.ACCEPTED
        raise RuntimeError
    assert stored(organization) == 0
