from __future__ import annotations

import pytest
from django.db import connection

from apps.core.snapshots import Snapshot

TEXTS = ["10:10:", "10:20:10", "10:20:10,14,19", "5:5:", "12:30:12,13"]


@pytest.mark.parametrize("text", TEXTS)
def test_it_sees_what_postgresql_says_it_sees(db: None, text: str) -> None:
    found = Snapshot.parse(text)
    assert str(found) == text
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_visible_in_snapshot(x::text::xid8, %s::pg_snapshot)"
            " FROM generate_series(1, 40) x",
            [text],
        )
        assert [found.sees(x) for x in range(1, 41)] == [seen for (seen,) in cursor.fetchall()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:2",
        "2:1:",
        "1:2:3",
        "1:9:5,4",
        "1:9:5,5",
        "0:0:",
        "1:9:,",
        "x",
        "1:2:\n",
        f"1:{2**64}:",
    ],
)
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        Snapshot.parse(text)


@pytest.mark.parametrize("one", TEXTS)
@pytest.mark.parametrize("other", TEXTS)
def test_a_union_sees_what_either_sees(one: str, other: str) -> None:
    a, b = Snapshot.parse(one), Snapshot.parse(other)
    union = a.union(b)
    assert [union.sees(x) for x in range(50)] == [a.sees(x) or b.sees(x) for x in range(50)]
    assert Snapshot.parse(str(union)) == union
