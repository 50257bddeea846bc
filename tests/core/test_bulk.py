from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection

from apps.core import bulk

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
