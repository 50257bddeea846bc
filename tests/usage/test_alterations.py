"""What the database itself refuses, and what shows, when events are altered behind its triggers."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import CheckViolation, UniqueViolation

from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import selectors
from apps.usage.models import Event
from apps.usage.services.intake import Status
from tests.conftest import make_organization
from tests.usage.conftest import define, event, take

COLUMNS = "organization_id, source, key, type, occurred_at, received_at, data, digest, xid"


@pytest.fixture
def acme(committed_db: str) -> Organization:
    """An organization with one event stored."""
    with rls.ops_scope("test: meters"):
        define()
    acme = make_organization("acme")
    take(acme, event(key="k", source="app", tokens=5))
    return acme


def as_superuser(app_url: str, statement: str) -> None:
    """Alter rows by hand, with the triggers out of the way."""
    url = app_url.replace("//billing_app@", "//postgres@")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        assert connection.execute(statement).rowcount == 1, "the alteration altered nothing"


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE usage_event SET dedupe_key = gen_random_uuid()", CheckViolation),
        ("UPDATE usage_event SET key = 'other'", CheckViolation),
        ("UPDATE usage_event SET source = 'ap', key = 'pk'", CheckViolation),
        (
            f"INSERT INTO usage_event (dedupe_key, {COLUMNS}) "
            f"SELECT gen_random_uuid(), {COLUMNS} FROM usage_event",
            CheckViolation,
        ),
        (
            f"INSERT INTO usage_event (dedupe_key, {COLUMNS}) "
            f"SELECT dedupe_key, {COLUMNS} FROM usage_event",
            UniqueViolation,
        ),
    ],
)
def test_an_event_cannot_be_given_a_second_key(
    committed_db: str, acme: Organization, statement: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        as_superuser(committed_db, statement)
    assert take(acme, event(key="k", source="app", tokens=5)).results[0].status is Status.DUPLICATE


@pytest.mark.parametrize(("source", "key"), [("a", "bc"), ("ab", "c"), ("é😀", "k"), ("1:a", "b")])
def test_python_and_the_database_make_the_same_key(
    acme: Organization, source: str, key: str
) -> None:
    """And different pairs make different ones: all are accepted next to each other."""
    others = [event(key="c", source="ab"), event(key="bc", source="a"), event(key="1:ab")]
    assert take(acme, *others).accepted == 3
    take(acme, event(key=key, source=source))
    with rls.tenant_scope(acme.pk):
        assert Event.objects.filter(source=source, key=key).count() == 1


@pytest.mark.parametrize(
    "change",
    [
        "received_at = received_at - interval '1 microsecond'",
        "occurred_at = occurred_at + interval '1 microsecond'",
        "data = '{}'",
        "type = 'other'",
        "key = 'j', dedupe_key = usage_dedupe_key(source, 'j')",
    ],
)
def test_an_event_altered_by_hand_is_named(
    committed_db: str, acme: Organization, change: str
) -> None:
    with rls.ops_scope("test"):
        assert selectors.altered_events() == []
    as_superuser(committed_db, f"UPDATE usage_event SET {change}")
    with rls.ops_scope("test"):
        assert len(selectors.altered_events()) == 1
