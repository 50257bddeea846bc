"""Many rows in one statement, whatever their columns.

Django's `bulk_create` writes a placeholder for every value as soon as one column is a range or
JSON, and half of a large insert goes into the text of the statement. Here the rows travel as one
JSON document, which the server takes apart by the columns' own types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from django.db import connection
from django.db.models import JSONField, Model
from django.db.models.fields import NOT_PROVIDED
from psycopg.types.range import Range

AnyModel = TypeVar("AnyModel", bound=Model)


def insert(rows: Iterable[AnyModel]) -> list[AnyModel]:
    """Store new rows of one model in their order, and give them their keys.

    Columns that the database fills in itself are left to it. Fields are not validated, as in
    `bulk_create`; constraints and triggers are the table's.
    """
    made = list(rows)
    if not made:
        return made
    meta = type(made[0])._meta
    fields = [f for f in meta.concrete_fields if not f.primary_key and f.db_default is NOT_PROVIDED]
    names = ", ".join(f'"{field.column}"' for field in fields)
    types = ", ".join(f'"{field.column}" {_type(field)}' for field in fields)
    columns = [(field.column, field.attname, _spelling(field)) for field in fields]
    document = [
        {column: spell(getattr(row, attribute)) for column, attribute, spell in columns}
        for row in made
    ]
    statement = (  # names and types are the model's own
        f'INSERT INTO "{meta.db_table}" ({names})'  # noqa: S608
        f" SELECT {names} FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS ({types}))"
        f" WITH ORDINALITY AS given ({names}, place) ORDER BY place RETURNING id"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [msgspec.json.encode(document).decode()])
        for row, (key,) in zip(made, cursor.fetchall(), strict=True):
            row.pk = key
            row._state.adding = False
            row._state.db = connection.alias
    return made


def _type(field: Any) -> str:
    # A collation is the column's and not the type's.
    return str(field.rel_db_type(connection) if field.is_relation else field.db_type(connection))


def _spelling(field: Any) -> Callable[[Any], Any]:
    return _as_it_is if isinstance(field, JSONField) else _plain


def _as_it_is(value: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, Range):
        return f"[{_instant(value.lower)},{_instant(value.upper)})"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
