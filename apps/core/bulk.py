"""Many rows in one statement, whatever their columns.

Django's `bulk_create` writes a placeholder for every value as soon as one column is a range or
JSON, and half of a large insert goes into the text of the statement. Here the rows travel by
columns, an array each, beside the statement; a value that all rows share travels once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, TypeVar

import msgspec
from django.db import connection
from django.db.models import JSONField, Model, QuerySet
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
    made.__dict__ = {"_state": ModelState(), **_filled(model, values)}
    return made


def _filled(model: type[Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the defaults of what they leave out."""
    constant, called = _defaults(model)
    found = {**constant, **values}
    for name, default in called:
        if name not in values:
            found[name] = default()
    return found


@cache
def _defaults(model: type[Model]) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]]]:
    """Return the defaults by attribute: what is the same each time, and what is made each time."""
    fields = model._meta.concrete_fields
    called = [(field.attname, field.default) for field in fields if _is_called(field)]
    constant = {field.attname: field.get_default() for field in fields if not _is_called(field)}
    return constant, called


def _is_called(field: Any) -> bool:
    return bool(field.has_default()) and callable(field.default)


def read(rows: QuerySet[AnyModel], *, beside: str) -> list[tuple[AnyModel, Any]]:
    """Return a query's rows as objects, each with a column `beside` it, such as `item__price_id`.

    For rows by the thousand that are looked at and not kept: through a model's own constructor and
    Django's JSON they cost three times as much.
    """
    fields = rows.model._meta.concrete_fields
    names = [field.attname for field in fields]
    statement, parameters = rows.values_list(*names, beside).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    readers = [(field.attname, reader) for field in fields if (reader := _reader(field))]
    return [(_found(rows.model, names, values, readers), values[-1]) for values in found]


def _found(
    model: type[AnyModel],
    names: Sequence[str],
    values: Sequence[Any],
    readers: Sequence[tuple[str, Callable[[Any], Any]]],
) -> AnyModel:
    made = model.__new__(model)
    said = dict(zip(names, values, strict=False))  # what stands beside the row is not the row's
    for name, reader in readers:
        if said[name] is not None:
            said[name] = reader(said[name])
    state = ModelState()
    state.adding, state.db = False, connection.alias
    made.__dict__ = {"_state": state, **said}
    return made


@cache
def _reader(field: Any) -> Callable[[Any], Any] | None:
    """Return what makes a value of what the driver read; None where that is the value."""
    if isinstance(field, JSONField):
        return msgspec.json.decode
    if hasattr(field, "from_db_value"):
        return partial(field.from_db_value, expression=None, connection=connection)
    return None


def promise_keys(rows: Sequence[Model]) -> None:
    """Give new rows of one model their keys before they are stored, for others to name them."""
    if not rows:
        return
    table = f'"{rows[0]._meta.db_table}"'
    taken = statements.rows(
        "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
        [table, len(rows)],
    )
    for row, (key,) in zip(rows, taken, strict=True):
        row.pk = key


def insert(rows: Iterable[AnyModel]) -> list[AnyModel]:
    """Store new rows of one model in their order, and give them their keys, unless they have them.

    Columns that the database fills in itself are left to it. Fields are not validated, as in
    `bulk_create`; constraints and triggers are the table's.
    """
    made = list(rows)
    if not made:
        return made
    model = type(made[0])
    keys = _store(model, [row.__dict__ for row in made])
    alias = connection.alias
    for row, key in zip(made, keys, strict=True):
        row.__dict__["id"] = key
        row._state.adding, row._state.db = False, alias
    return made


def add(model: type[Model], rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Store new rows that nobody needs as objects, as `insert` does, and return their keys.

    A row is given by its attributes, keys of other rows by name (`invoice_id`); what it leaves out
    has the field's default.
    """
    given = [_filled(model, row) for row in rows]
    return _store(model, given) if given else []


def array(values: Iterable[Any]) -> str:
    """Return values as the text of an array, whose type the statement names: `%s::bigint[]`.

    A list of some thousands that is adapted value by value costs five times as much.
    """
    given = list(values)
    spelled = map(str, given) if {*map(type, given)} == {int} else map(_element, given)
    return "{" + ",".join(spelled) + "}"


def _element(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if value is None:
        return "NULL"
    text = _moment(value) if isinstance(value, datetime) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _store(model: type[Model], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    fields = _written(model, keyed=rows[0]["id"] is not None)
    columns = {field.attname: [row[field.attname] for row in rows] for field in fields}
    alike = {field.attname for field in fields if _are_alike(field, columns[field.attname])}
    varied = [field for field in fields if field.attname not in alike]
    names = ", ".join(f'"{field.column}"' for field in fields)
    given = ", ".join(f'"{field.column}"' for field in varied)
    arrays = ", ".join(f"%s::{_carrier(field)}[]" for field in varied)
    values = ", ".join(
        f"%s::{_loose_type(field)}"
        if field.attname in alike
        else f'"{field.column}"::{_loose_type(field)}'
        for field in fields
    )
    statement = (  # names and types are the model's own
        f'INSERT INTO "{model._meta.db_table}" ({names})'  # noqa: S608
        f" SELECT {values} FROM unnest({arrays})"
        f" WITH ORDINALITY AS given ({given}, place) ORDER BY place RETURNING id"
    )
    constants = [_scalar(columns[f.attname][0]) for f in fields if f.attname in alike]
    arrays_of = [_array_of(field, columns[field.attname]) for field in varied]
    return [key for (key,) in statements.bound(statement, [*constants, *arrays_of])]


def _are_alike(field: Any, values: list[Any]) -> bool:
    """Tell whether a value need not travel with each of many rows: most columns are the same."""
    if len(values) < FEW or _type(field) == "jsonb":
        return False
    return values.count(values[0]) == len(values)


def _array_of(field: Any, values: list[Any]) -> str | Texts:
    """Return a column's values as an array: numbers and texts, which the statement casts."""
    if _carrier(field) != "text":
        return array(values)
    if _type(field) == "jsonb":
        return Texts(None if value is None else msgspec.json.encode(value) for value in values)
    if {*map(type, values)} == {str}:
        return Texts(map(str.encode, values))
    return Texts(None if value is None else _text(value).encode() for value in values)


@cache
def _written(model: type[Model], *, keyed: bool) -> list[Any]:
    fields = model._meta.concrete_fields
    return [f for f in fields if f.db_default is NOT_PROVIDED and (keyed or not f.primary_key)]


@cache
def _type(field: Any) -> str:
    # A collation is the column's and not the type's.
    return str(field.rel_db_type(connection) if field.is_relation else field.db_type(connection))


def _carrier(field: Any) -> str:
    """Return the type in which the column's values travel."""
    return kind if (kind := _type(field)) in WHOLE else "text"


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
