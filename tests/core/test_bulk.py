from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DataError, connection

from apps.core import bulk, rls
from apps.core.models import OutboxEvent

pytestmark = pytest.mark.django_db

AT = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=45)))
TEXTS = ["", " ", "NULL", '"quoted"', "back\\slash\\", "{a,b}", "%s %", "漢字 \n\t", None]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", TEXTS),
        ("bigint", [0, -1, 2**63 - 1, None]),
        ("timestamptz", [AT, datetime(1, 1, 1, tzinfo=UTC), None]),
        ("jsonb", ['{"a": ["\\"", "\\\\"]}', None]),
        ("text", []),
    ],
)
def test_an_array_arrives_as_it_was_sent(kind: str, values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT %s::{kind}[] IS NOT DISTINCT FROM %s::{kind}[]",
            [bulk.array(values), values],
        )
        assert cursor.fetchone() == (True,)


def _events(count: int, **facts: Any) -> list[dict[str, Any]]:
    return [{"name": "test.Told", "payload": {"n": [1]}, "occurred_at": AT, **facts}] * count


@pytest.mark.parametrize("count", [1, bulk.FEW - 1, bulk.FEW, 3 * bulk.FEW])
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"name": 'a "quoted" %s, {a}, \\ and 漢字'},
        {"organization_id": 2**62},
        {"payload": "a text"},
        {"payload": 7},
        {"payload": []},
    ],
)
def test_many_rows_arrive_as_one_would(count: int, facts: dict[str, Any]) -> None:
    given = _events(count, **facts)
    with rls.ops_scope("test: many rows"):
        keys = bulk.add(OutboxEvent, given)
        rows = list(OutboxEvent.objects.filter(pk__in=keys).order_by("pk"))
    assert [row.pk for row in rows] == keys
    for row, said in zip(rows, given, strict=True):
        assert {name: getattr(row, name) for name in said} == said
    assert len({row.public_id for row in rows}) == count


@pytest.mark.parametrize("count", [1, 3 * bulk.FEW])
def test_rows_are_stored_under_the_keys_that_they_were_promised(count: int) -> None:
    rows = [bulk.row(OutboxEvent, said) for said in _events(count)]
    with rls.ops_scope("test: promised keys"):
        bulk.promise_keys(rows)
        promised = [row.pk for row in rows]
        bulk.insert(rows)
        later = bulk.add(OutboxEvent, _events(1))
        found = OutboxEvent.objects.filter(pk__in=promised).order_by("pk")
        assert [(row.pk, row.public_id) for row in found] == [
            (row.pk, row.public_id) for row in rows
        ]
    assert len({*promised, *later}) == count + 1


@pytest.mark.parametrize("count", [1, 3 * bulk.FEW])
def test_what_is_too_long_for_its_column_is_refused(count: int) -> None:
    with pytest.raises(DataError), rls.ops_scope("test: too long"):
        bulk.add(OutboxEvent, _events(count, name="x" * 101))
