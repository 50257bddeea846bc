"""Usage by groups: every group is what a filter for it counts, and the parts make the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import selectors, services
from apps.usage.breakdown import Breakdown, Question, Rest, break_down
from apps.usage.errors import TooManyGroups, UnknownDimension
from apps.usage.filtering import Values
from apps.usage.selectors import Measured, Want
from tests.conftest import AT, STAFF, make_organization
from tests.usage.conftest import event, take
from tests.usage.test_dimensions import END, KINDS, LATER, define
from tests.usage.test_rollup import settle

HOUR = timedelta(hours=1)
REGION, MODEL = "place.region", "model"
PAST_AT = AT - timedelta(minutes=5)


def ask(
    organization: Organization,
    kind: str,
    *by: str,
    where: Values | None = None,
    grain: str = "",
    start: datetime = AT,
    end: datetime = END,
    timezone: str = "UTC",
    limit: int | None = 20,
) -> Breakdown:
    question = Question(f"m_{kind}", start, end, by, where or {}, grain, timezone)
    with rls.tenant_scope(organization.pk):
        return break_down(organization.pk, question, limit=limit)


def measure(organization: Organization, kind: str, **asked: Any) -> Measured:
    with rls.tenant_scope(organization.pk):
        [found] = selectors.measure(organization.pk, [Want(f"m_{kind}", PAST_AT, END, **asked)])
    return found


def told(found: Breakdown) -> list[tuple[Any, ...]]:
    return [(group.values, group.quantity) for group in found.groups]


@pytest.fixture
def acme(committed_db: str) -> Organization:
    for kind in KINDS:
        define(kind)
    acme = make_organization("acme")
    take(
        acme,
        event(AT, model="large", place={"region": "eu"}, tokens=10, user="a"),
        event(AT + HOUR, model="large", place={"region": "us"}, tokens=20, user="b"),
        event(AT + HOUR, key="wrong", model="small", place={"region": "eu"}, tokens=9, user="x"),
        event(AT + HOUR, model="small", place={"region": "eu"}, tokens=3, user="a"),
        event(AT + 2 * HOUR, model=7, tokens=1, user="c"),
        event(AT + 26 * HOUR, tokens=2),
        at=LATER,
    )
    return acme


def void(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        services.void_event(organization.pk, event="wrong", source="test", actor=STAFF, at=LATER)


@pytest.mark.committed
def test_groups_are_what_filters_count_whatever_is_rolled_up(acme: Organization) -> None:
    """Before the roll-up, after it, with a void in the tail, and with that rolled up too."""
    for step in (lambda: None, settle, lambda: void(acme), settle):
        step()
        for kind in KINDS:
            found = ask(acme, kind, REGION, start=PAST_AT)
            for group in found.groups:
                region = group.values[0]
                others = [one.values[0] for one in found.groups if one.values[0] is not None]
                asked = (
                    {"exclude": ({REGION: others},)}
                    if region is None
                    else {"include": {REGION: [region]}}
                )
                want = measure(acme, kind, **asked)
                assert (group.quantity, group.event_count) == (want.quantity, want.event_count)
            whole = measure(acme, kind)
            assert (found.total.quantity, found.total.hash) == (whole.quantity, whole.hash)


@pytest.mark.committed
def test_parts_add_up_and_a_missing_value_is_a_group(acme: Organization) -> None:
    void(acme)
    settle()
    assert told(ask(acme, "sum", REGION)) == [(("us",), 20), (("eu",), 13), ((None,), 3)]
    assert told(ask(acme, "sum", MODEL, REGION)) == [
        (("large", "us"), 20),
        (("large", "eu"), 10),
        (("small", "eu"), 3),
        ((None, None), 2),
        (("7", None), 1),
    ]
    assert told(ask(acme, "unique_count", MODEL)) == [
        (("large",), 2),
        (("7",), 1),
        (("small",), 1),
        ((None,), 0),
    ]
    assert ask(acme, "unique_count", MODEL).total.quantity == 3


@pytest.mark.committed
def test_what_is_not_shown_is_told_together(acme: Organization) -> None:
    void(acme)
    found = ask(acme, "sum", MODEL, limit=1)
    assert told(found) == [(("large",), 30)]
    assert found.rest == Rest(3, Decimal(6), 3)
    assert ask(acme, "unique_count", MODEL, limit=1).rest == Rest(3, None, 3)


@pytest.mark.committed
def test_a_series_tiles_every_group_on_the_local_clock(acme: Organization) -> None:
    settle()
    found = ask(
        acme, "count", REGION, grain="day", end=AT + timedelta(days=2), timezone="Europe/Berlin"
    )
    assert [point.quantity for point in found.points] == [5, 1, 0]
    days = {group.values[0]: [point.quantity for point in group.points] for group in found.groups}
    assert days == {"eu": [3, 0, 0], None: [1, 1, 0], "us": [1, 0, 0]}
    months = ask(acme, "count", grain="month", end=END + timedelta(days=40))
    assert [point.start for point in months.points] == [
        AT,
        datetime(2026, 4, 1, tzinfo=UTC),
        datetime(2026, 5, 1, tzinfo=UTC),
    ]
    assert [point.quantity for point in months.points] == [6, 0, 0]


@pytest.mark.committed
def test_a_filter_narrows_total_and_groups(acme: Organization) -> None:
    found = ask(acme, "sum", MODEL, where={REGION: ["eu"]})
    assert found.total.quantity == 22
    assert told(found) == [(("small",), 12), (("large",), 10)]


@pytest.mark.committed
def test_what_is_no_dimension_is_refused(acme: Organization) -> None:
    with pytest.raises(UnknownDimension, match="it has model"):
        ask(acme, "sum", "tokens")
    with pytest.raises(UnknownDimension):
        ask(acme, "sum", where={"user": ["a"]})
    with pytest.raises(UnknownDimension, match="different"):
        ask(acme, "sum", MODEL, MODEL)


@pytest.mark.committed
def test_more_groups_than_can_be_answered_are_refused(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.breakdown.MOST_ROWS", 3)
    with pytest.raises(TooManyGroups):
        ask(acme, "sum", MODEL)


@pytest.mark.committed
def test_nobody_sees_anothers_groups(acme: Organization) -> None:
    settle()
    globex = make_organization("globex")
    assert ask(globex, "count", REGION).groups == ()
    assert ask(globex, "count", REGION).total.quantity == 0
