"""Seats by the file: every row is looked at first, and it is all of it or nothing."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.core.errors import Invalid
from apps.seats import bulk, services
from apps.seats.bulk import Outlooks
from apps.seats.errors import BulkRefused
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import User
from tests.conftest import STAFF
from tests.seats.clinic import NOW, assign, pool, standing


def preview(team: SubscriptionFacts, text: str) -> Outlooks:
    with rls.tenant_scope(team.organization_id):
        return services.preview_bulk(team.public_id, rows=bulk.read(text), actor=STAFF)


def apply(team: SubscriptionFacts, text: str) -> Outlooks:
    with rls.tenant_scope(team.organization_id):
        rows = bulk.read(text)
        return services.apply_bulk(team.public_id, rows=rows, actor=STAFF, at=NOW)


def test_a_file_gives_and_takes_in_one_go(team: SubscriptionFacts, nurses: list[User]) -> None:
    for nurse in nurses[:5]:
        assign(team, nurse)
    text = f"person,action\n{nurses[5].email},\nnew@clinic.example,assign\n" + "".join(
        f"{nurse.email},revoke\n" for nurse in nurses[:2]
    )
    seen = preview(team, text)
    assert [one.outcome for one in seen.rows] == ["assign", "invite", "revoke", "revoke"]
    assert (seen.bought, seen.before, seen.after, seen.wrong) == (5, 5, 5, [])
    assert pool(team).assigned == 5
    apply(team, text)
    assert [seat.email or seat.user_id for seat in standing(team)] == [
        nurses[2].pk, nurses[3].pk, nurses[4].pk, nurses[5].pk, "new@clinic.example",
    ]  # fmt: skip


def test_one_wrong_row_and_nothing_is_applied(team: SubscriptionFacts, nurses: list[User]) -> None:
    text = (
        "person,action\n"
        f"{nurses[0].email},assign\n"
        "usr_nobody,assign\n"
        f"{nurses[0].public_id},assign\n"
        f"{nurses[1].email},revoke\n"
        f"{nurses[2].email},dance\n"
    )
    seen = preview(team, text)
    assert [bool(one.problem) for one in seen.rows] == [False, True, True, True, True]
    with pytest.raises(BulkRefused) as refused:
        apply(team, text)
    assert [row["row"] for row in refused.value.extra["rows"]] == [3, 4, 5, 6]
    assert standing(team) == []


def test_rows_beyond_what_is_bought_are_named(team: SubscriptionFacts, nurses: list[User]) -> None:
    text = "person\n" + "".join(f"{nurse.email}\n" for nurse in nurses)
    wrong = [one.row.number for one in preview(team, text).wrong]
    assert wrong == [7, 8]
    with pytest.raises(BulkRefused):
        apply(team, text)
    assert pool(team).assigned == 0


@pytest.mark.parametrize(
    "text",
    [
        "", "name\nx\n", "person,person\nx,y\n", "person\n", "person,action\nx,assign,more\n",
        'person\n"x', "person\n" + "x@y.example\n" * 1001,
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        bulk.read(text)


def test_lines_are_numbered_as_people_count_them() -> None:
    rows = bulk.read("\ufeffPerson, Action\r\na@x.example,assign\r\n,\r\nb@x.example,\r\n")
    assert [(row.number, row.person, row.action) for row in rows] == [
        (2, "a@x.example", "assign"),
        (4, "b@x.example", "assign"),
    ]
