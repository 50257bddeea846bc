"""ClickHouse as the place of raw events: its tables, and counting in its SQL.

What an event says to a meter is decided by PostgreSQL when the event is shipped: `texts` holds the
plain values of its data by path, `numbers` those that a meter can read. So a filter, a dimension
and a reading mean here what they mean there, for meters and prices that come later, too.

A row counts once however often it was inserted: questions read with FINAL. They name the last
block that counts; rows of later blocks are leftovers of a run that died. An event that is asked for
by its number is found by an index of the numbers in each part of the table: they follow the order
in which events came.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
PAGE = 10_000  # events that are read at once, whole
TABLES = (
    """CREATE TABLE IF NOT EXISTS usage_event (
  organization_id Int64, type LowCardinality(String), occurred_at DateTime64(6, 'UTC'), id Int64,
  received_at DateTime64(6, 'UTC'), source String, key String, dedupe_key UUID,
  data String CODEC(ZSTD(1)), texts Map(LowCardinality(String), String),
  numbers Map(LowCardinality(String), Decimal(38, 12)), lane_a Int64, lane_b Int64,
  xid UInt64, block UInt64, INDEX by_block block TYPE minmax, INDEX by_id id TYPE minmax
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(occurred_at)
ORDER BY (organization_id, type, occurred_at, id)""",
    # Where the table was made before it had the index: parts get it as they are merged.
    "ALTER TABLE usage_event ADD INDEX IF NOT EXISTS by_id id TYPE minmax",
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
    # Decimals in JSON are numbers, whatever the user's profile says.
    "output_format_json_quote_decimals": 0,
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


Group = tuple[str | None, ...]  # a value of each dimension, None where events have none


@dataclass(frozen=True, slots=True)
class Hourly:
    """What the shipped events of a question make of one hour (UTC) and one group."""

    hour: datetime
    group: Group
    totals: Totals


@dataclass(frozen=True, slots=True)
class Stored:
    """A shipped event, whole; `texts` and `numbers` are what a meter reads of it, as JSON."""

    organization_id: int
    type: str
    occurred_at: datetime
    id: int
    received_at: datetime
    source: str
    key: str
    dedupe_key: UUID
    data: str
    texts: str
    numbers: str
    lane_a: int
    lane_b: int
    xid: int
    voids_id: int | None


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
                position=position,
                sums=_SUMS.format(known=statement.known(one), since=_EPOCH),
                events=statement.read(one),
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


def groups(
    asked: Mapping[int, Asked], by: Sequence[str], *, chosen: Sequence[Group] | None
) -> dict[tuple[int, Group | None], Totals]:
    """Return what the events of each question add up to by the values of dimensions.

    By the question's place and the group; None is all groups together, also those not `chosen`.
    """
    found: dict[tuple[int, Group | None], Totals] = {}
    places = sorted(asked)
    for first in range(0, len(places), AT_ONCE):
        statement = _Statement()
        parts = [
            statement.groups(place, asked[place], by, chosen)
            for place in places[first : first + AT_ONCE]
        ]
        for place, whole, said, *row in rows(" UNION ALL ".join(parts), statement.parameters):
            found[place, None if whole else _group(said)] = _totals(row)
    return found


def buckets(asked: Asked, by: Sequence[str]) -> list[Hourly]:
    """Return what the events of a question make by the hour (UTC) and the group.

    The moments are counted from the hour's start, as those of buckets are.
    """
    statement = _Statement()
    hour = "toDateTime64(toStartOfHour(occurred_at), 6, 'UTC')"
    sql = f"""SELECT toUnixTimestamp64Micro(began), said,
  {_SUMS.format(known="false", since="began")}
FROM (SELECT *, {hour} AS began, {statement.said(by)} AS said FROM ({statement.read(asked)}))
GROUP BY began, said"""  # noqa: S608 - values are bound
    return [
        Hourly(_moment(hour), _group(said), _totals(row))
        for hour, said, *row in rows(sql, statement.parameters)
    ]


def values(asked: Asked) -> list[tuple[datetime, str]]:
    """Return the different values of a question's events in each hour (UTC): (hour, hash)."""
    statement = _Statement()
    sql = f"""SELECT DISTINCT
  toUnixTimestamp64Micro(toDateTime64(toStartOfHour(occurred_at), 6, 'UTC')), value
FROM ({statement.read(asked)}) WHERE readable"""  # noqa: S608 - values are bound
    return [(_moment(hour), value) for hour, value in rows(sql, statement.parameters)]


def organizations(*, block: int) -> list[int]:
    """Return whose events are shipped."""
    sql = "SELECT DISTINCT organization_id FROM usage_event WHERE block <= {block:UInt64}"
    return sorted(found for (found,) in rows(sql, {"block": block}))


def months(organization_id: int, *, block: int) -> list[tuple[datetime, int]]:
    """Return the months (UTC) of an organization's events, in their order, and how many rows."""
    found = rows(
        "SELECT toYYYYMM(occurred_at), count() FROM usage_event"
        " WHERE organization_id = {organization:Int64} AND block <= {block:UInt64}"
        " GROUP BY 1 ORDER BY 1",
        {"organization": organization_id, "block": block},
    )
    return [(datetime(number // 100, number % 100, 1, tzinfo=UTC), n) for number, n in found]


def count(organization_id: int, since: datetime, until: datetime, *, block: int) -> int:
    """Return how many of an organization's events occurred from `since` to before `until`."""
    statement = _Statement()
    [(found,)] = rows(
        f"""SELECT count() FROM usage_event FINAL
  WHERE organization_id = {statement.bind(organization_id, "Int64")}
    AND occurred_at >= {statement.time(since)} AND occurred_at < {statement.time(until)}
    AND block <= {statement.bind(block, "UInt64")}""",  # noqa: S608 - values are bound
        statement.parameters,
    )
    return int(found)


def has_type(event_type: str, *, block: int) -> bool:
    """Tell whether an event of this type is shipped."""
    return bool(
        rows(
            "SELECT 1 FROM usage_event"
            " WHERE type = {type:String} AND block <= {block:UInt64} LIMIT 1",
            {"type": event_type, "block": block},
        )
    )


def latest(
    organization_id: int, *, before_id: int, event_type: str, limit: int, block: int
) -> list[Stored]:
    """Return an organization's events below a number, the largest first; '' is any type."""
    asked = {
        "organization": organization_id,
        "before": before_id,
        "type": event_type,
        "limit": limit,
        "block": block,
    }
    numbers = rows(
        "SELECT DISTINCT id FROM usage_event WHERE organization_id = {organization:Int64}"
        " AND ({type:String} = '' OR type = {type:String}) AND id < {before:Int64}"
        " AND block <= {block:UInt64} ORDER BY id DESC LIMIT {limit:UInt64}",
        asked,
    )
    found = by_number(organization_id, [number for (number,) in numbers], block=block)
    return sorted(found, key=lambda one: -one.id)


def by_number(organization_id: int, numbers: Sequence[int], *, block: int) -> list[Stored]:
    """Return those of an organization's events that are shipped, in no order."""
    if not numbers:
        return []
    where = "organization_id = {organization:Int64} AND id IN {numbers:Array(Int64)}"
    asked = {"organization": organization_id, "numbers": list(numbers)}
    return _whole(where, asked, block=block)


def of_block(number: int) -> Iterator[list[Stored]]:
    """Return the events of a block, a page at a time."""
    return _pages("block = {only:UInt64}", {"only": number}, block=number)


def of_organization(organization_id: int, *, block: int) -> Iterator[list[Stored]]:
    """Return an organization's events, a page at a time."""
    where = "organization_id = {organization:Int64}"
    return _pages(where, {"organization": organization_id}, block=block)


def of_numbers(first: int, last: int, *, block: int) -> list[Stored]:
    """Return everybody's events from one number to before another, in their order."""
    where = "id >= {first:Int64} AND id < {last:Int64}"
    found = _whole(where, {"first": first, "last": last}, block=block)
    return sorted(found, key=lambda one: one.id)


def last_number(*, block: int) -> int:
    """Return the largest number of a shipped event."""
    sql = "SELECT max(id) FROM usage_event WHERE block <= {block:UInt64}"
    return int(rows(sql, {"block": block})[0][0])


def family(organization_id: int, event_id: int, *, block: int) -> list[int]:
    """Return the numbers of an event, of what it takes back, and of all that takes those back."""
    known: list[int] = []
    found = [event_id]
    while len(found) > len(known):
        known = found
        pairs = rows(
            "SELECT voids_id, id FROM usage_void FINAL WHERE organization_id = {organization:Int64}"
            " AND (voids_id IN {known:Array(Int64)} OR id IN {known:Array(Int64)})"
            " AND block <= {block:UInt64}",
            {"organization": organization_id, "known": known, "block": block},
        )
        found = sorted({*known, *(number for pair in pairs for number in pair)})
    return found


def voided(organization_id: int, numbers: Sequence[int], *, block: int) -> set[int]:
    """Return those of an organization's events that shipped ones void."""
    found = rows(
        "SELECT voids_id FROM usage_void WHERE organization_id = {organization:Int64}"
        " AND voids_id IN {numbers:Array(Int64)} AND block <= {block:UInt64}",
        {"organization": organization_id, "numbers": list(numbers), "block": block},
    )
    return {number for (number,) in found}


def _pages(where: str, asked: Mapping[str, Any], *, block: int) -> Iterator[list[Stored]]:
    after: tuple[Any, ...] = ()
    while True:
        statement = _Statement()
        behind = statement.after(after) if after else ""
        page = _whole(
            f"{where} {behind}",
            {**asked, **statement.parameters},
            block=block,
            then=f"ORDER BY organization_id, type, occurred_at, id LIMIT {PAGE}",
        )
        if page:
            last = page[-1]
            after = (last.organization_id, last.type, last.occurred_at, last.id)
            yield page
        if len(page) < PAGE:
            return


def _whole(where: str, asked: Mapping[str, Any], *, block: int, then: str = "") -> list[Stored]:
    """Return events with what each takes back."""
    found = rows(
        f"""SELECT organization_id, type, toUnixTimestamp64Micro(occurred_at), id,
  toUnixTimestamp64Micro(received_at), source, key, dedupe_key, data,
  toJSONString(texts), toJSONString(numbers), lane_a, lane_b, xid
FROM usage_event FINAL WHERE {where} AND block <= {{block:UInt64}} {then}""",  # noqa: S608
        {**asked, "block": block},
    )
    numbers = [row[3] for row in found]
    pairs = rows(
        "SELECT id, voids_id FROM usage_void"
        " WHERE id IN {numbers:Array(Int64)} AND block <= {block:UInt64}",
        {"numbers": numbers, "block": block},
    )
    voids = dict(pairs)
    whole: list[list[Any]] = [
        [owner, kind, _moment(at), number, _moment(came), *rest, voids.get(number)]
        for owner, kind, at, number, came, *rest in found
    ]
    return [Stored(*fields) for fields in whole]


# Decimals of 256 bits hold what PostgreSQL's unbounded numeric may reach; lanes are summed in 128.
_SUMS = """count(), countIf(readable),
  sumIf(toDecimal256(figure, 12), readable AND numeric), maxOrNullIf(figure, readable),
  minOrNullIf(figure, readable),
  sumIf(toDecimal256(figure, 12)
    * (toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro({since})),
    readable AND numeric),
  maxIf((toUnixTimestamp64Micro(occurred_at), id, figure), readable),
  uniqExactIf(value, readable), groupUniqArrayIf(value, readable AND value != '' AND {known}),
  sum(toInt128(lane_a)), sum(toInt128(lane_b))"""
# What `usage_dimension` makes of a text.
_DIMENSION = f"""if(length(texts[{{name}}]) <= {filtering.LONGEST_VALUE}, texts[{{name}}],
      concat('sha256:', lower(hex(SHA256(texts[{{name}}])))))"""
_EPOCH = "toDateTime64(0, 6, 'UTC')"
_TOTALS = """SELECT {position}, {sums}
FROM ({events})"""


def _totals(row: Sequence[Any]) -> Totals:
    count, values, total, maximum, minimum, moment, latest, *rest = row
    at, event_id, value = latest
    last = (Decimal(at) / 1_000_000, Decimal(event_id), value) if values else None
    return Totals(count, values, total, maximum, minimum, moment, last, *rest)


def _said(group: Group) -> str:
    """Return a group as the statements spell it: plain letters, whatever the values hold."""
    return ",".join("-" if value is None else f"+{value.encode().hex()}" for value in group)


def _group(said: str) -> Group:
    found = (None if one == "-" else bytes.fromhex(one[1:]).decode() for one in said.split(","))
    return tuple(found) if said else ()


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
        return f"AND (occurred_at, id) > ({self.time(after[0])}, {self.bind(after[1], 'Int64')})"

    def after(self, last: tuple[Any, ...]) -> str:
        """Return the condition for what follows an event in the order of the table."""
        owner, kind, at, number = last
        return f"""AND (organization_id, type, occurred_at, id) > ({self.bind(owner, "Int64")},
  {self.bind(kind, "String")}, {self.time(at)}, {self.bind(number, "Int64")})"""

    def groups(
        self, place: int, asked: Asked, by: Sequence[str], chosen: Sequence[Group] | None
    ) -> str:
        """Return the query for a question's events by groups: place, whether all, group, sums."""
        which = "true"
        if chosen is not None:
            which = f"said IN {self.bind([_said(one) for one in chosen], 'Array(String)')}"
        return f"""SELECT {place}, grouping(said), said,
  {_SUMS.format(known=self.known(asked), since=_EPOCH)}
FROM (SELECT *, {self.said(by)} AS said FROM ({self.read(asked)}))
GROUP BY GROUPING SETS ((said), ()) HAVING grouping(said) = 1 OR {which}"""  # noqa: S608 - bound

    def said(self, by: Sequence[str]) -> str:
        """Return the group of an event, as `_said` spells it."""
        values = []
        for path in by:
            name = self.bind(path, "String")
            known = f"mapContains(texts, {name})"
            values.append(
                f"if({known}, concat('+', lower(hex({_DIMENSION.format(name=name)}))), '-')"
            )
        return f"arrayStringConcat([{', '.join(values)}]::Array(String), ',')"

    def _events(self, asked: Asked, flags: str = "") -> str:
        rule = asked.rule
        windows = [
            f"(occurred_at >= {self.time(start)} AND occurred_at < {self.time(end)})"
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
        """Return whether the dimension has one of the values."""
        name = self.bind(path, "String")
        return f"""(mapContains(texts, {name}) AND {_DIMENSION.format(name=name)} IN
      {self.bind(list(allowed), "Array(String)")})"""

    def time(self, moment: datetime) -> str:
        """Return the place of an instant."""
        # No event lies outside; beyond 2299 the type has no place for a bound.
        bounded = min(max(moment, EARLIEST), LATEST)
        since = self.bind((bounded - EARLIEST) // MICROSECOND, "Int64")
        return f"fromUnixTimestamp64Micro({since}, 'UTC')"


def _moment(microseconds: int) -> datetime:
    return EARLIEST + microseconds * MICROSECOND
