"""Many rows in one statement, whatever their columns.

Django's `bulk_create` writes a placeholder for every value as soon as one column is a range or
JSON, and half of a large insert goes into the text of the statement. Here the rows travel by
columns, an array each, beside the statement; a value that all rows share travels once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import msgspec
from django.db import connection
from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields import NOT_PROVIDED
from psycopg.types.range import Range

from apps.core import statements
from apps.core.postgres.arrays import Texts
from apps.engine.period import iso

AnyModel = TypeVar("AnyModel", bound=Model)


# Up to so many rows all columns travel with each: the statement is the same whatever they hold.
FEW = 20

WHOLE = frozenset({"bigint", "integer", "smallint"})


def row(model: type[AnyModel], values: Mapping[str, Any]) -> AnyModel:
    """Return a new row with these attributes, keys of other rows by name (`invoice_id`); what is
    left out has the field's default.

    For rows by the thousand: a model's own constructor sets each attribute through its descriptor,
    which has nothing to do for a row that is new.
    """
    made = model.__new__(model)
    state = made.__dict__
    state["_state"] = ModelState()
    for name, default in _attributes(model):
        state[name] = values[name] if name in values else default()
    return made


@cache
def _attributes(model: type[Model]) -> list[tuple[str, Callable[[], Any]]]:
    return [(field.attname, _default(field)) for field in model._meta.concrete_fields]


def _default(field: Any) -> Callable[[], Any]:
    """Return what gives the field its default, as directly as may be."""
    made: Callable[[], Any] = field.default if field.has_default() else field.get_default
    return made if callable(made) else field.get_default


def insert(rows: Iterable[AnyModel]) -> list[AnyModel]:
    """Store new rows of one model in their order, and give them their keys.

    Columns that the database fills in itself are left to it. Fields are not validated, as in
    `bulk_create`; constraints and triggers are the table's.
    """
    made = list(rows)
    if not made:
        return made
    keys = _store(type(made[0]), [row.__dict__ for row in made])
    for row, key in zip(made, keys, strict=True):
        row.pk = key
        row._state.adding = False
        row._state.db = connection.alias
    return made


def add(model: type[Model], rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Store new rows that nobody needs as objects, as `insert` does, and return their keys.

    A row is given by its attributes, keys of other rows by name (`invoice_id`); what it leaves out
    has the field's default.
    """
    defaults = [(field.attname, _default(field)) for field in _written(model)]
    given = [
        {name: row[name] if name in row else default() for name, default in defaults}
        for row in rows
    ]
    return _store(model, given) if given else []


def array(values: Iterable[Any]) -> str:
    """Return values as the text of an array, whose type the statement names: `%s::bigint[]`.

    A list of some thousands that is adapted value by value costs five times as much.
    """
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    text = _moment(value) if isinstance(value, datetime) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _store(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    fields = _written(model)
    alike = {field.attname: rows[0][field.attname] for field in fields if _are_alike(rows, field)}
    varied = [field for field in fields if field.attname not in alike]
    names = ", ".join(f'"{field.column}"' for field in fields)
    given = ", ".join(f'"{field.column}"' for field in varied)
    arrays = ", ".join(f"%s::{_carrier(field)}[]" for field in varied)
    values = ", ".join(
        f"{'%s' if field.attname in alike else _quoted(field)}::{_loose_type(field)}"
        for field in fields
    )
    statement = (  # names and types are the model's own
        f'INSERT INTO "{model._meta.db_table}" ({names})'  # noqa: S608
        f" SELECT {values} FROM unnest({arrays})"
        f" WITH ORDINALITY AS given ({given}, place) ORDER BY place RETURNING id"
    )
    constants = [_scalar(value) for value in alike.values()]
    columns = [_column(field, [row[field.attname] for row in rows]) for field in varied]
    # Constants and columns stand in the statement in this order only: first what is selected.
    return [key for (key,) in statements.bound(statement, [*constants, *columns])]


def _are_alike(rows: Sequence[Mapping[str, Any]], field: Any) -> bool:
    """Tell whether a value need not travel with each of many rows: most columns are the same."""
    name = field.attname
    first = rows[0][name]
    if len(rows) < FEW or isinstance(first, dict | list) or _type(field) == "jsonb":
        return False
    return all(row[name] == first for row in rows)


def _column(field: Any, values: Sequence[Any]) -> str | Texts:
    """Return a column's values as an array: numbers and texts, which the statement casts."""
    if _carrier(field) != "text":
        return array(values)
    if _type(field) == "jsonb":
        return Texts(None if value is None else msgspec.json.encode(value) for value in values)
    return Texts(None if value is None else _text(value).encode() for value in values)


@cache
def _written(model: type[Model]) -> list[Any]:
    fields = model._meta.concrete_fields
    return [f for f in fields if not f.primary_key and f.db_default is NOT_PROVIDED]


def _type(field: Any) -> str:
    # A collation is the column's and not the type's.
    return str(field.rel_db_type(connection) if field.is_relation else field.db_type(connection))


def _carrier(field: Any) -> str:
    """Return the type in which the column's values travel."""
    return kind if (kind := _type(field)) in WHOLE else "text"


def _quoted(field: Any) -> str:
    return f'"{field.column}"'


def _loose_type(field: Any) -> str:
    # A cast to varchar(n) cuts what is too long; the column refuses it.
    return "text" if _type(field).startswith("varchar") else _type(field)


def _scalar(value: Any) -> Any:
    alone = value is None or isinstance(value, bool | int | bytes)
    return value if alone else _text(value)


def _text(value: Any) -> str:
    """Return a value as PostgreSQL reads it."""
    if type(value) is str:
        return value
    if isinstance(value, Range):
        return f"[{_instant(value.lower)},{_instant(value.upper)})"
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else _moment(moment)


def _moment(moment: datetime) -> str:
    return moment.isoformat() if moment.tzinfo is None else iso(moment)
