from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from apps.core import nested
from apps.core.nested import Nested
from apps.tenants.models import Application


class Named(msgspec.Struct):
    name: str


class Said(msgspec.Struct):
    amount: Decimal
    at: datetime
    until: datetime | None
    others: tuple[Named, ...]


OTHERS = nested.rows("""
  SELECT name FROM unnest(ARRAY['b', 'a', 'c']) AS given (name)
  WHERE name <> tenants_application.slug ORDER BY name DESC""")
SAID = Nested(
    Said,
    "json_build_object('amount', 123456789012345678.000000000001::numeric(30, 12),"
    " 'at', timestamptz '2024-02-29 23:59:59.999999+01',"
    f" 'until', upper(tstzrange(now(), NULL)), 'others', {OTHERS})",
)


@pytest.mark.usefixtures("ops")
def test_a_document_comes_with_its_row_and_is_exact() -> None:
    Application.objects.create(slug="a", name="A")
    row = Application.objects.annotate(said=SAID.column).get(slug="a")
    said = SAID.read(row.said)
    assert str(said.amount) == "123456789012345678.000000000001"
    assert said.at == datetime(2024, 2, 29, 22, 59, 59, 999999, tzinfo=UTC)
    assert said.until is None
    assert said.others == (Named("c"), Named("b"))


def test_a_document_of_another_shape_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        SAID.read('{"amount": 1, "at": "2024-02-29T00:00:00Z", "until": null, "others": [1]}')
