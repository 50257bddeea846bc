"""Instants come back as the moments that were stored, whatever they look like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DataError, connection
from psycopg.types.range import Range

pytestmark = pytest.mark.django_db

MOMENTS = (
    datetime(2023, 1, 31, 23, 59, 59, 999_999, UTC),
    datetime(2023, 1, 31, 5, 0, 0, 120_000, UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=5, minutes=30))),
)


def _read(sql: str, *parameters: Any) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", parameters)
        return cursor.fetchone()[0]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_comes_back_in_utc(moment: datetime) -> None:
    found = _read("%s::timestamptz", moment)
    assert isinstance(found, datetime)
    assert (found, found.tzinfo) == (moment, UTC)


def test_another_zone_of_the_session_changes_no_moment() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Asia/Kolkata'")
    found = _read("%s::timestamptz", MOMENTS[0])
    assert isinstance(found, datetime)
    assert (found, found.tzinfo) == (MOMENTS[0], UTC)


@pytest.mark.parametrize(
    "stored",
    [
        Range(MOMENTS[1], MOMENTS[0], "[)"),
        Range(MOMENTS[1], None, "[)"),
        Range(None, MOMENTS[0], "()"),
        Range(None, None, "()"),
        Range(empty=True),
    ],
)
def test_a_range_of_moments_comes_back_as_it_was(stored: Range[datetime]) -> None:
    assert _read("%s::tstzrange", stored) == stored


@pytest.mark.parametrize("never", ["'infinity'::timestamptz", "'[,infinity)'::tstzrange"])
def test_a_moment_that_no_datetime_holds_is_refused(never: str) -> None:
    with pytest.raises(DataError):
        _read(never)
