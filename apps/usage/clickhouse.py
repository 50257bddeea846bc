"""ClickHouse as the place of raw events: its tables, and counting in its SQL.

What an event says to a meter is decided by PostgreSQL when the event is shipped: `texts` holds the
plain values of its data by path, `numbers` those that a meter can read. So a filter, a dimension
and a reading mean here what they mean there, for meters and prices that come later, too.

A row counts once however often it was inserted: questions read with FINAL. They name the last
block that counts; rows of later blocks are leftovers of a run that died.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

from apps.engine.aggregation import Aggregation
from apps.usage import filtering
from apps.usage.errors import EventStoreUnavailable
from apps.usage.models import EARLIEST, LATEST

MICROSECOND = timedelta(microseconds=1)
AT_ONCE = 20  # questions in one statement: each carries its own parameters
TABLES = (
    """CREATE TABLE IF NOT EXISTS usage_event (
  organization_id Int64, type LowCardinality(String), occurred_at DateTime64(6, 'UTC'), id Int64,
  received_at DateTime64(6, 'UTC'), source String, key String, dedupe_key UUID,
  data String CODEC(ZSTD(1)), texts Map(LowCardinality(String), String),
  numbers Map(LowCardinality(String), Decimal(38, 12)), lane_a Int64, lane_b Int64,
  xid UInt64, block UInt64, INDEX by_block block TYPE minmax
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(occurred_at)
ORDER BY (organization_id, type, occurred_at, id)""",
    """CREATE TABLE IF NOT EXISTS usage_void (
  organization_id Int64, voids_id Int64, id Int64, xid UInt64, block UInt64
) ENGINE = ReplacingMergeTree ORDER BY (organization_id, voids_id, id)""",
)
SETTINGS = {
    # An event's time is part of its key, so all copies of a row are in one partition.
    "do_not_merge_across_partitions_select_final": 1,
    # Old imports bring events of many months in one block.
    "max_partitions_per_insert_block": 0,
    # A block that is written again after its leftovers were deleted is no repetition to drop, and
    # it is read back at once.
    "insert_deduplicate": 0,
    "async_insert": 0,
    "lightweight_deletes_sync": 2,
}


class Rule(NamedTuple):
    """What a meter reads."""

    event_type: str
    aggregation: str
    path: str
    allow_negative: bool
    filter: filtering.Document


class Sight(NamedTuple):
    """What a claim could see: events up to `base`, and later ones by their transaction."""

    base: int
    next_base: int
    xmax: int
    running: tuple[int, ...]

    def sees(self, event_id: int, xid: int) -> bool:
        """Tell whether the claim saw an event."""
        visible = xid < self.xmax and xid not in self.running
        return event_id <= self.base or (event_id <= self.next_base and visible)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about one organization's events of one meter in some windows.

    `voided` are the ids of events that others void which are not shipped; `sight` (None: all) says
    which of the shipped ones count. Of the values that a unique count saw, those in `known` are
    returned; None returns all.
    """

    organization_id: int
    rule: Rule
    windows: Sequence[tuple[datetime, datetime]]
    filter: filtering.Document
    block: int
    voided: Sequence[int]
    sight: Sight | None = None
    known: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """What the shipped events of a question add up to; `latest` is (time, event, value)."""

    events: int = 0
    values: int = 0
    total: Decimal = Decimal(0)
    maximum: Decimal | None = None
    minimum: Decimal | None = None
    moment: Decimal = Decimal(0)
    latest: tuple[Decimal, Decimal, Decimal] | None = None
    different: int = 0
    seen: Sequence[str] = ()
    lane_a: int = 0
    lane_b: int = 0


# --- the server ---------------------------------------------------------------------------------
_open = threading.local()


def _driver() -> Any:
    # Not at the top: the driver is an extra, needed where CLICKHOUSE_URL is set only.
    return importlib.import_module("clickhouse_connect")


def _client() -> Any:
    """Return this thread's client for CLICKHOUSE_URL."""
    url = settings.CLICKHOUSE_URL
    if not url:
        raise EventStoreUnavailable("CLICKHOUSE_URL is not set.")
    if getattr(_open, "url", None) != url:
        scheme = urlsplit(url).scheme
        options: dict[str, Any] = {}
        if scheme != "chdb":
            # In the body: a list of ids may be longer than an address may be.
            options = {"form_encode_query_params": True, "autogenerate_session_id": False}
            if scheme in {"http", "https"}:
                options["interface"] = scheme
        _open.client = _driver().get_client(dsn=url, settings=SETTINGS, **options)
        _open.url = url
    return _open.client


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except _driver().driver.exceptions.ClickHouseError as error:
        first = str(error).strip().split("\n", 1)[0]
        raise EventStoreUnavailable(f"The store of events does not answer: {first}") from error


def rows(sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Return what a query finds; parameters are {name:Type}. Raises EventStoreUnavailable."""
    with _refusals():
        return list(_client().query(sql, parameters=dict(parameters or {})).result_rows)


def command(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Run a statement. Raises EventStoreUnavailable."""
    with _refusals():
        _client().command(sql, parameters=dict(parameters or {}))


def insert(table: str, columns: Sequence[str], found: Sequence[Sequence[Any]]) -> None:
    """Insert rows. Raises EventStoreUnavailable."""
    with _refusals():
        _client().insert(table, found, column_names=columns)


def prepare() -> None:
    """Make the tables where they are missing."""
    for statement in TABLES:
        command(statement)


# --- questions ----------------------------------------------------------------------------------
def totals(asked: Sequence[Asked]) -> list[Totals]:
    """Return what the events of each question add up to, in their order."""
    found: dict[int, Totals] = {}
    for first in range(0, len(asked), AT_ONCE):
        statement = _Statement()
        parts = [
            _TOTALS.format(
                position=position, known=statement.known(one), events=statement.read(one)
            )
            for position, one in enumerate(asked[first : first + AT_ONCE], start=first)
        ]
        for position, *row in rows(" UNION ALL ".join(parts), statement.parameters):
            found[position] = _totals(row)
    return [found[position] for position in range(len(asked))]


def readings(asked: Asked) -> list[tuple[int, datetime, Decimal | None, str]]:
    """Return the events of a question: id, time, value, data as text."""
    statement = _Statement()
    sql = f"""SELECT id, toUnixTimestamp64Micro(occurred_at),
  if(readable AND numeric, figure, NULL), data
FROM ({statement.read(asked)})"""  # noqa: S608 - values are bound
    return [
        (event_id, _moment(at), number, data)
        for event_id, at, number, data in rows(sql, statement.parameters)
    ]


def hours(asked: Asked) -> list[tuple[datetime, int, Decimal]]:
    """Return the hours (UTC) of the events of a question: how many, and the sum of their values."""
    statement = _Statement()
    sql = f"""SELECT toUnixTimestamp64Micro(toDateTime64(toStartOfHour(occurred_at), 6, 'UTC')),
  count(), sumIf(toDecimal256(figure, 12), readable AND numeric)
FROM ({statement.read(asked)}) GROUP BY 1"""  # noqa: S608 - values are bound
    return [(_moment(hour), n, total) for hour, n, total in rows(sql, statement.parameters)]


def events(
    asked: Asked, *, voided_now: Sequence[int], after: tuple[datetime, int] | None, limit: int
) -> list[tuple[Any, ...]]:
    """Return a page of the events that a question counted or would count now, as EVENTS does."""
    statement = _Statement()
    sql = f"""SELECT id, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Micro(received_at),
  source, key, type, toString(dedupe_key), data, if(readable AND numeric, figure, NULL),
  counted, stands
FROM ({statement.read_both(asked, voided_now)})
WHERE (counted OR stands) {statement.behind(after)}
ORDER BY occurred_at, id LIMIT {statement.bind(limit, "UInt64")}"""  # noqa: S608 - values are bound
    return [
        (event_id, _moment(occurred), _moment(received), *names, bool(counted), bool(stands))
        for event_id, occurred, received, *names, counted, stands in rows(sql, statement.parameters)
    ]


def time_of(organization_id: int, event_id: int, *, block: int) -> datetime | None:
    """Return when an organization's event occurred; None when there is no such event."""
    found = rows(
        "SELECT toUnixTimestamp64Micro(occurred_at) FROM usage_event FINAL"
        " WHERE organization_id = {organization:Int64} AND id = {event:Int64}"
        " AND block <= {block:UInt64}",
        {"organization": organization_id, "event": event_id, "block": block},
    )
    return _moment(found[0][0]) if found else None


# Decimals of 256 bits hold what PostgreSQL's unbounded numeric may reach; lanes are summed in 128.
_TOTALS = """SELECT {position}, count(), countIf(readable),
  sumIf(toDecimal256(figure, 12), readable), maxOrNullIf(figure, readable),
  minOrNullIf(figure, readable),
  sumIf(toDecimal256(figure, 12) * toUnixTimestamp64Micro(occurred_at), readable),
  maxIf((toUnixTimestamp64Micro(occurred_at), id, figure), readable),
  uniqExactIf(value, readable), groupUniqArrayIf(value, readable AND value != '' AND {known}),
  sum(toInt128(lane_a)), sum(toInt128(lane_b))
FROM ({events})"""


def _totals(row: Sequence[Any]) -> Totals:
    count, values, total, maximum, minimum, moment, latest, *rest = row
    at, event_id, value = latest
    last = (Decimal(at) / 1_000_000, Decimal(event_id), value) if values else None
    return Totals(count, values, total, maximum, minimum, moment, last, *rest)


class _Statement:
    """Puts a statement together; every value is a parameter of the server."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def bind(self, value: Any, kind: str) -> str:
        """Return the place of a value of this ClickHouse type."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"

    def read(self, asked: Asked) -> str:
        """Return the query for the events of a question, with what they say to the meter."""
        return f"{self._events(asked)} AND {self._counted(asked)}"

    def read_both(self, asked: Asked, voided_now: Sequence[int]) -> str:
        """Return it with the events that only count now, too, and which is which."""
        flags = (
            f", {self._counted(asked)} AS counted, {self._standing(asked, voided_now)} AS stands"
        )
        return self._events(asked, flags)

    def known(self, asked: Asked) -> str:
        """Return which values of a unique count are asked for."""
        if asked.known is None:
            return "true"
        return f"value IN {self.bind([one.hex for one in asked.known], 'Array(String)')}"

    def behind(self, after: tuple[datetime, int] | None) -> str:
        """Return the condition for what follows an event in the order of lists."""
        if after is None:
            return ""
        return f"AND (occurred_at, id) > ({self._time(after[0])}, {self.bind(after[1], 'Int64')})"

    def _events(self, asked: Asked, flags: str = "") -> str:
        rule = asked.rule
        windows = [
            f"(occurred_at >= {self._time(start)} AND occurred_at < {self._time(end)})"
            for start, end in asked.windows
        ]
        return f"""SELECT *, {self._reading(rule)}{flags} FROM usage_event FINAL
  WHERE organization_id = {self.bind(asked.organization_id, "Int64")}
    AND type = {self.bind(rule.event_type, "String")} AND ({" OR ".join(["false", *windows])})
    AND block <= {self.bind(asked.block, "UInt64")}
    AND {self._matches(rule.filter)} AND {self._matches(asked.filter)}"""  # noqa: S608 - bound

    def _reading(self, rule: Rule) -> str:
        path = self.bind(rule.path, "String")
        numeric = rule.aggregation not in {Aggregation.COUNT, Aggregation.UNIQUE_COUNT}
        readable = {
            Aggregation.COUNT: "false",
            Aggregation.UNIQUE_COUNT: f"mapContains(texts, {path})",
        }.get(Aggregation(rule.aggregation), f"mapContains(numbers, {path})")
        if numeric and not rule.allow_negative:
            readable += f" AND numbers[{path}] >= 0"
        value = f"lower(hex(substring(SHA256(texts[{path}]), 1, 16)))"
        return f"""({readable}) AS readable, {str(numeric).lower()} AS numeric,
    numbers[{path}] AS figure, {"''" if numeric else value} AS value"""

    def _counted(self, asked: Asked) -> str:
        """Return the condition of being seen and not voided by an event that was seen."""
        return f"({self._seen(asked.sight)} AND {self._standing(asked, asked.voided, asked.sight)})"

    def _standing(self, asked: Asked, voided: Sequence[int], sight: Sight | None = None) -> str:
        return f"""(id NOT IN (SELECT voids_id FROM usage_void
      WHERE organization_id = {self.bind(asked.organization_id, "Int64")}
        AND block <= {self.bind(asked.block, "UInt64")} AND {self._seen(sight)})
      AND id NOT IN {self.bind(list(voided), "Array(Int64)")})"""  # noqa: S608 - bound

    def _seen(self, sight: Sight | None) -> str:
        if sight is None:
            return "true"
        running = self.bind(list(sight.running), "Array(UInt64)")
        return f"""(id <= {self.bind(sight.base, "Int64")}
      OR (id <= {self.bind(sight.next_base, "Int64")}
        AND xid < {self.bind(sight.xmax, "UInt64")} AND xid NOT IN {running}))"""

    def _matches(self, document: filtering.Document) -> str:
        """Return what `usage_matches` decides."""
        included = [self._one_of(*item) for item in document.get("include", {}).items()]
        excluded = [
            "NOT (" + " AND ".join(["true", *(self._one_of(*item) for item in one.items())]) + ")"
            for one in document.get("exclude", ())
        ]
        return " AND ".join(["true", *included, *excluded])

    def _one_of(self, path: str, allowed: Sequence[str]) -> str:
        """Return whether the dimension, as `usage_dimension` makes it, has one of the values."""
        name = self.bind(path, "String")
        return f"""(mapContains(texts, {name}) AND if(
      length(texts[{name}]) <= {filtering.LONGEST_VALUE}, texts[{name}],
      concat('sha256:', lower(hex(SHA256(texts[{name}]))))) IN
      {self.bind(list(allowed), "Array(String)")})"""

    def _time(self, moment: datetime) -> str:
        # No event lies outside; beyond 2299 the type has no place for a bound.
        bounded = min(max(moment, EARLIEST), LATEST)
        since = self.bind((bounded - EARLIEST) // MICROSECOND, "Int64")
        return f"fromUnixTimestamp64Micro({since}, 'UTC')"


def _moment(microseconds: int) -> datetime:
    return EARLIEST + microseconds * MICROSECOND
