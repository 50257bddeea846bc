"""Usage in doubt: which hours it touches, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden
from apps.tenants.models import Organization
from apps.tenants.roles import capabilities_of
from apps.usage import doubts, services
from apps.usage.doubts import Doubt
from tests.conftest import STAFF, make_organization

NOON = datetime(2026, 4, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPIKE = Doubt("tokens", NOON, NOON + HOUR, "a spike")


@pytest.fixture
def acme(db: None) -> Organization:
    return make_organization("acme")


def standing(row: Organization) -> list[Doubt]:
    with rls.ops_scope("test"):
        return list(doubts.standing([row.pk]).get(row.pk, ()))


def doubt(row: Organization, said: Doubt = SPIKE, *, source: str = "an_1") -> None:
    with rls.tenant_scope(row.pk):
        services.doubt_usage(row.pk, source=source, doubt=said, actor=STAFF)


@pytest.mark.parametrize(
    ("meter", "start", "end", "touched"),
    [
        ("tokens", -2, 0, False),
        ("tokens", -2, 1, True),
        ("tokens", 0, 5, True),
        ("tokens", 1, 5, False),
        ("calls", -2, 5, False),
    ],
)
def test_a_doubt_touches_its_own_hours_and_meter(
    meter: str, start: int, end: int, touched: bool
) -> None:
    assert SPIKE.touches(meter, NOON + start * HOUR, NOON + end * HOUR) is touched


def test_the_same_source_says_what_it_says_by_now(acme: Organization) -> None:
    doubt(acme)
    longer = Doubt("tokens", NOON, NOON + 3 * HOUR, "a longer spike")
    doubt(acme, longer)
    assert standing(acme) == [longer]


def test_what_is_settled_stays_settled(acme: Organization) -> None:
    doubt(acme)
    doubt(acme, source="an_2")
    with rls.tenant_scope(acme.pk):
        services.settle_doubt(acme.pk, source="an_1", actor=STAFF, at=NOON)
    doubt(acme)
    assert standing(acme) == [SPIKE]


def test_customers_neither_doubt_nor_settle(acme: Organization) -> None:
    owner = Actor("user", "usr_1", "Olivia", acme.pk, capabilities_of("OWNER"))
    doubt(acme)
    with rls.tenant_scope(acme.pk):
        with pytest.raises(Forbidden):
            services.doubt_usage(acme.pk, source="an_2", doubt=SPIKE, actor=owner)
        with pytest.raises(Forbidden):
            services.settle_doubt(acme.pk, source="an_1", actor=owner, at=NOON)
    assert standing(acme) == [SPIKE]
