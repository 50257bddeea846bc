"""Meters to count with, and short words for events."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from typing import Any

import pytest

from apps.core import rls
from apps.tenants.models import Organization
from apps.usage import services
from apps.usage.checking import NewEvent, Unread
from apps.usage.services import Outcome
from tests.conftest import AT, STAFF
from tests.usage import clickhouse

METERS = {
    "requests": ("ai.request", "count", ""),
    "tokens": ("ai.request", "sum", "tokens"),
    "peak": ("ai.request", "max", "tokens"),
    "level": ("ai.request", "latest", "gauge.level"),
    "users": ("ai.request", "unique_count", "user"),
}
# Made of the same values in other ways.
MORE_METERS = {
    "floor": ("ai.request", "min", "tokens"),
    "mean": ("ai.request", "avg", "tokens"),
    "held": ("ai.request", "weighted_sum", "tokens"),
}
_keys = count(1)


def define(*keys: str, **options: Any) -> None:
    """Define some of the meters; needs the ops scope."""
    for key in keys or METERS:
        event_type, aggregation, value = {**METERS, **MORE_METERS}[key]
        services.define_meter(
            key,
            event_type=event_type,
            aggregation=aggregation,
            value=value,
            actor=STAFF,
            at=AT,
            **options,
        )


def event(
    at: datetime = AT, *, key: str | None = None, source: str = "test", **data: object
) -> NewEvent:
    """Return an event of type ai.request."""
    return NewEvent(
        source=source, key=key or f"e{next(_keys)}", type="ai.request", occurred_at=at, data=data
    )


Take = Callable[..., Outcome]


def take(organization: Organization, *events: NewEvent | Unread, at: datetime = AT) -> Outcome:
    """Ingest a batch in a transaction of its own, in the organization's scope."""
    with rls.tenant_scope(organization.pk):
        outcome = services.ingest(organization.pk, events=events, actor=STAFF, at=at)
    if clickhouse.follows(eagerly=True):
        clickhouse.settle()
    return outcome


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of measuring on all stores, or on the one that EVENT_STORE names.

    `thinned` is ClickHouse, where PostgreSQL keeps nothing that it need not.
    """
    if "event_store" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("rows_of_postgresql")
        stores = ["postgresql"] if only else ["postgresql", "clickhouse", "thinned"]
        chosen = [one for one in stores if os.environ.get("EVENT_STORE", one) == one]
        metafunc.parametrize("event_store", chosen or stores, indirect=True)


@pytest.fixture
def event_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where raw events are read from."""
    if request.param == "postgresql":
        yield request.param
        return
    with clickhouse.store():
        clickhouse.follow(thinning=request.param == "thinned")
        yield request.param


@pytest.fixture
def db(request: pytest.FixtureRequest) -> None:
    """A transaction that is rolled back; in ClickHouse's tests, which ship, a database instead."""
    if getattr(request.node, "callspec", None) and (
        request.node.callspec.params.get("event_store") in {"clickhouse", "thinned"}
    ):
        request.getfixturevalue("event_store")
        request.getfixturevalue("committed_db")
        clickhouse.follow(eagerly=True)
    else:
        request.getfixturevalue("_django_db_helper")


@pytest.fixture
def meters(db: None) -> None:
    """All the meters."""
    with rls.ops_scope("test: meters"):
        define()
