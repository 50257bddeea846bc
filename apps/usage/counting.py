"""The SQL of counting: what an event says to a meter is written once, here.

Roll-up, measurement, recount and the check of the buckets are put together from these pieces, so
they cannot disagree. Aliases are fixed: `e` is an event, `m` the meter's rule (or the want or claim
that carries it), `v` an event that voids another.

A voided event is subtracted from what only adds up (`ADDS_UP`). A maximum cannot be taken back: the
bucket of such an hour is counted anew from its events, and read from them until that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

METERS = """meter AS MATERIALIZED (
  SELECT id, event_type, aggregation, allow_negative, string_to_array(value, '.') AS path,
    ARRAY(SELECT jsonb_array_elements_text(dimensions)) AS dimensions,
    nullif(filter, '{}') AS filter, usage_filter_paths(filter) AS filter_paths
  FROM usage_meter
)"""
ADDITIVE = ("count", "sum", "avg", "weighted_sum")
ADDS_UP = f"m.aggregation IN {ADDITIVE}"

# The epoch, if its transaction numbers are this cluster's: not after a restore from a dump.
EPOCH = """epoch AS MATERIALIZED (
  SELECT number, base_event_id, watermark FROM usage_epoch
  WHERE number = (SELECT max(number) FROM usage_epoch)
    AND system_identifier = (SELECT system_identifier FROM pg_control_system())
)"""

# What is counted of an event, whatever the meter. The lanes are 8 bytes each of its digest.
EVENT = """e.id, e.organization_id, e.type, e.occurred_at, e.data, e.xid,
    usage_lane(e.digest, 0) AS lane_a, usage_lane(e.digest, 8) AS lane_b"""
HOUR = "date_trunc('hour', e.occurred_at, 'UTC') AS hour"
VOIDED = """EXISTS (
    SELECT FROM usage_event v
    WHERE v.organization_id = e.organization_id AND v.voids_id = e.id)"""
ALL_EVENTS = f"(SELECT {EVENT} FROM usage_event e)"  # noqa: S608 - constants

# What the meter lets pass, and what a want asks for beyond that.
COUNTED = "(m.filter IS NULL OR usage_matches(usage_slice(e.data, m.filter_paths), m.filter))"
ASKED = "(m.asked IS NULL OR usage_matches(usage_slice(e.data, m.asked_paths), m.asked))"


def _reading(since: str) -> str:
    """Return what an event says to a meter; the moment is value x microseconds from `since`."""
    return f"""e.id, e.occurred_at, m.aggregation,
    CASE WHEN m.aggregation NOT IN ('count', 'unique_count')
      THEN usage_number(e.data #> m.path, m.allow_negative) END AS number,
    CASE WHEN m.aggregation = 'unique_count'
      THEN usage_distinct_value(e.data #> m.path) END AS distinct_value,
    CASE WHEN m.aggregation = 'weighted_sum' THEN 1000000 * extract(epoch FROM {since})
      END AS microseconds,
    e.lane_a, e.lane_b"""


READING = _reading("e.occurred_at")
READING_OF_HOUR = _reading("e.occurred_at - e.hour")
SLICE = "CASE WHEN m.dimensions = '{}' THEN '{}' ELSE usage_slice(e.data, m.dimensions) END"

# `latest` is (time, event, value): arrays compare element by element, so the largest is the last.
TOTALS = """count(*) AS event_count,
    count(number) + count(distinct_value) AS value_count,
    coalesce(sum(number), 0) AS total,
    max(number) FILTER (WHERE aggregation = 'max') AS maximum,
    min(number) FILTER (WHERE aggregation = 'min') AS minimum,
    coalesce(sum(number * microseconds), 0) AS moment,
    max(ARRAY[extract(epoch FROM occurred_at), id, number])
      FILTER (WHERE aggregation = 'latest' AND number IS NOT NULL) AS latest,
    max(occurred_at) FILTER (WHERE aggregation = 'latest' AND number IS NOT NULL) AS latest_at,
    coalesce(sum(lane_a), 0) AS lane_a,
    coalesce(sum(lane_b), 0) AS lane_b"""

BUCKET_COLUMNS = """organization_id, meter_id, hour, slice, event_count, value_count, total,
    maximum, minimum, moment, latest_at, latest_id, latest_value, lane_a, lane_b"""


def by_hour(events: str, where: str = "true") -> str:
    """Return a query for the buckets that `events`, a FROM item with an hour, make.

    OFFSET 0 has each reading computed once, not once for every total that uses it (a third of the
    time).
    """
    return f"""SELECT organization_id, meter_id, hour, slice, event_count, value_count, total,
    maximum, minimum, moment, latest_at, latest[2]::bigint AS latest_id, latest[3] AS latest_value,
    lane_a, lane_b
  FROM (
    SELECT organization_id, meter_id, hour, slice, {TOTALS}
    FROM (
      SELECT e.organization_id, m.id AS meter_id, e.hour, {SLICE}::jsonb AS slice,
        {READING_OF_HOUR}
      FROM {events} e JOIN meter m ON m.event_type = e.type
      WHERE {COUNTED} AND {where} OFFSET 0
    ) reading
    GROUP BY organization_id, meter_id, hour, slice
  ) hourly"""  # noqa: S608 - constants of this module only


def distinct_by_hour(events: str, where: str = "true") -> str:
    """Return a query for the distinct values that `events` show to unique_count meters."""
    return f"""SELECT DISTINCT e.organization_id, m.id AS meter_id, e.hour,
    usage_distinct_value(e.data #> m.path) AS value
  FROM {events} e JOIN meter m ON m.event_type = e.type AND m.aggregation = 'unique_count'
  WHERE usage_distinct_value(e.data #> m.path) IS NOT NULL AND {COUNTED} AND {where}"""  # noqa: S608 - constants


# A void may be rolled up before what it voids: its transaction may have begun, and got its number,
# before the other's did. So what is fresh is held against all voids that are rolled up by then.
CAME = f"""came AS MATERIALIZED (
  SELECT {EVENT}, {HOUR}, e.voids_id FROM usage_event e
  WHERE xid >= %(since)s::xid8 AND xid < %(until)s::xid8 AND id + 0 > %(base)s
)"""  # noqa: S608 - constants
FRESH = """(
  SELECT * FROM came e WHERE NOT EXISTS (
    SELECT FROM usage_event v
    WHERE v.organization_id = e.organization_id AND v.voids_id = e.id
      AND v.xid < %(until)s::xid8)
  OFFSET 0)"""


def _gone(since: str, base: str) -> str:
    """Return a CTE of the rolled-up events that an event which came since voids."""
    return f"""gone AS MATERIALIZED (
  SELECT {EVENT}, {HOUR} FROM usage_event e
  WHERE (e.organization_id, e.id) IN (SELECT organization_id, voids_id FROM came
      WHERE voids_id IS NOT NULL)
    AND (e.id <= {base} OR e.xid < {since})
)"""  # noqa: S608 - constants


GONE = _gone("%(since)s::xid8", "%(base)s")

# Counted by itself first, or the order of the insert would have every reading sorted.
ROLL_UP = f"""WITH {METERS}, {CAME}, counted AS MATERIALIZED (
  {by_hour(FRESH)}
), stored AS (
  INSERT INTO usage_bucket AS b ({BUCKET_COLUMNS})
  SELECT {BUCKET_COLUMNS} FROM counted
  ORDER BY organization_id, meter_id, hour, slice
  ON CONFLICT (organization_id, meter_id, hour, slice) DO UPDATE SET
    event_count = b.event_count + excluded.event_count,
    value_count = b.value_count + excluded.value_count,
    total = b.total + excluded.total,
    maximum = greatest(b.maximum, excluded.maximum),
    minimum = least(b.minimum, excluded.minimum),
    moment = b.moment + excluded.moment,
    latest_at = greatest(b.latest_at, excluded.latest_at),
    latest_id = CASE WHEN (b.latest_at, b.latest_id) > (excluded.latest_at, excluded.latest_id)
      OR excluded.latest_at IS NULL THEN b.latest_id ELSE excluded.latest_id END,
    latest_value = CASE WHEN (b.latest_at, b.latest_id) > (excluded.latest_at, excluded.latest_id)
      OR excluded.latest_at IS NULL THEN b.latest_value ELSE excluded.latest_value END,
    lane_a = b.lane_a + excluded.lane_a,
    lane_b = b.lane_b + excluded.lane_b
  RETURNING 1
)
SELECT (SELECT count(*) FROM came), (SELECT count(*) FROM stored),
  EXISTS (SELECT FROM came WHERE voids_id IS NOT NULL)"""  # noqa: S608 - constants

ROLL_UP_DISTINCT = f"""WITH {METERS}, {CAME}
INSERT INTO usage_distinct (organization_id, meter_id, hour, value)
{distinct_by_hour(FRESH)}
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING"""

TAKE_OUT = f"""WITH {METERS}, {CAME}, {GONE}, counted AS MATERIALIZED (
  {by_hour("gone", ADDS_UP)}
)
UPDATE usage_bucket b SET
  event_count = b.event_count - c.event_count,
  value_count = b.value_count - c.value_count,
  total = b.total - c.total,
  moment = b.moment - c.moment,
  lane_a = b.lane_a - c.lane_a,
  lane_b = b.lane_b - c.lane_b
FROM counted c
WHERE (b.organization_id, b.meter_id, b.hour, b.slice)
  = (c.organization_id, c.meter_id, c.hour, c.slice)"""  # noqa: S608 - constants

# The hours of what is gone, and what is to be done about them.
TOUCHED = f"""WITH {CAME}, {GONE}
SELECT DISTINCT organization_id, type, hour FROM gone ORDER BY 1, 2, 3"""  # noqa: S608 - constants
HOURS = f"""touched AS MATERIALIZED (
  SELECT organization_id, m.id AS meter_id, m.event_type, hour, {ADDS_UP} AS adds_up
  FROM unnest(%(organizations)s::bigint[], %(types)s::text[], %(hours)s::timestamptz[])
    AS t (organization_id, type, hour)
  JOIN usage_meter m ON m.event_type = t.type
)"""  # noqa: S608 - constants
DROP_BUCKETS = f"""WITH {HOURS}
DELETE FROM usage_bucket b USING touched t
WHERE b.organization_id = t.organization_id AND b.meter_id = t.meter_id AND b.hour = t.hour
  AND (b.event_count = 0 OR NOT t.adds_up)"""  # noqa: S608 - constants
DROP_DISTINCT = f"""WITH {HOURS}
DELETE FROM usage_distinct d USING touched t
WHERE d.organization_id = t.organization_id AND d.meter_id = t.meter_id AND d.hour = t.hour"""  # noqa: S608

# One organization, one meter, or (NULL) all of them.
CHOSEN_METER = "(%(meter)s::bigint IS NULL OR m.id = %(meter)s::bigint)"
CHOSEN = "(%(organization)s::bigint IS NULL OR e.organization_id = %(organization)s::bigint)"

# What is rolled up: by id where the transaction numbers are another cluster's, else by transaction.
# OFFSET 0 keeps the planner from computing hour and lanes again for every meter.
UP = "({0}.id <= x.base_event_id OR {0}.xid < x.watermark)"
STANDING = f"""{UP.format("e")} AND NOT EXISTS (
    SELECT FROM usage_event v
    WHERE v.organization_id = e.organization_id AND v.voids_id = e.id AND {UP.format("v")})"""
# Events of sealed hours may be gone: the buckets of those stand, and are proven from their seal.
SEALED = """LEFT JOIN (
    SELECT organization_id AS sealed_id, max(until) AS sealed_until
    FROM usage_seal GROUP BY organization_id
  ) sealed ON sealed.sealed_id = e.organization_id"""
UNSEALED = "(sealed.sealed_until IS NULL OR e.{0} >= sealed.sealed_until)"


def rolled_up(where: str = "true") -> str:
    """Return the FROM item of the rolled-up events that stand, of open hours."""
    return f"""(
  SELECT {EVENT}, {HOUR} FROM usage_event e CROSS JOIN epoch x {SEALED}
  WHERE {STANDING} AND {CHOSEN} AND {UNSEALED.format("occurred_at")} AND {where} OFFSET 0
)"""  # noqa: S608 - constants


def rolled_up_then(where: str = "true") -> str:
    """Return the FROM item of those in the touched hours."""
    return f"""(
  SELECT {EVENT}, {HOUR}
  FROM (SELECT DISTINCT organization_id, event_type, hour AS since FROM touched) t
  CROSS JOIN epoch x
  JOIN usage_event e ON e.organization_id = t.organization_id AND e.type = t.event_type
    AND e.occurred_at >= t.since AND e.occurred_at < t.since + interval '1 hour'
  WHERE {STANDING} AND {where} OFFSET 0
)"""  # noqa: S608 - constants


CLEAR = f"""DELETE FROM {{table}} e
WHERE {CHOSEN} AND NOT EXISTS (
  SELECT FROM usage_seal s WHERE s.organization_id = e.organization_id AND s.until > e.hour)"""  # noqa: S608

# What events that are kept elsewhere make: buckets and different values, as two documents.
ELSEWHERE = """bucket_elsewhere AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(buckets)s::jsonb) AS b (organization_id bigint,
    meter_id bigint, hour timestamptz, slice jsonb, event_count bigint, value_count bigint,
    total numeric, maximum numeric, minimum numeric, moment numeric, latest_at timestamptz,
    latest_id bigint, latest_value numeric, lane_a numeric, lane_b numeric)
), value_elsewhere AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(values)s::jsonb)
    AS v (organization_id bigint, meter_id bigint, hour timestamptz, value uuid)
), """

MORE_VALUES = "UNION SELECT * FROM value_elsewhere"


def _both(here: str) -> str:
    """Return a query for the buckets of here and of elsewhere, added up."""
    return f"""SELECT organization_id, meter_id, hour, slice, event_count, value_count, total,
    maximum, minimum, moment, latest_at, latest[2]::bigint AS latest_id, latest[3] AS latest_value,
    lane_a, lane_b
  FROM (
    SELECT organization_id, meter_id, hour, slice, sum(event_count)::bigint AS event_count,
      sum(value_count)::bigint AS value_count, sum(total) AS total, max(maximum) AS maximum,
      min(minimum) AS minimum, sum(moment) AS moment, max(latest_at) AS latest_at,
      max(ARRAY[extract(epoch FROM latest_at), latest_id, latest_value])
        FILTER (WHERE latest_at IS NOT NULL) AS latest,
      sum(lane_a) AS lane_a, sum(lane_b) AS lane_b
    FROM ({here} UNION ALL SELECT * FROM bucket_elsewhere) part
    GROUP BY organization_id, meter_id, hour, slice
  ) both_sides"""  # noqa: S608 - constants of this module only


class Making(NamedTuple):
    """The statements that make buckets and different values from events, and compare them."""

    buckets: str
    values: str
    differences: str
    value_differences: str
    touched_buckets: str
    touched_values: str


def making(where: str = "true", *, bucket: str = "true", elsewhere: bool = False) -> Making:
    """Return the statements for the events that fulfil `where`, in buckets that fulfil `bucket`.

    What is kept `elsewhere` comes as parameters, already counted, and is added.
    """
    ctes = f"WITH {METERS}, {EPOCH}, {ELSEWHERE if elsewhere else ''}"

    def buckets(events: str, which: str) -> str:
        here = by_hour(events, which)
        return _both(here) if elsewhere else here

    def values(events: str, which: str) -> str:
        here = distinct_by_hour(events, which)
        return f"{here} {MORE_VALUES}" if elsewhere else here

    return Making(
        _fill_buckets(ctes, buckets(rolled_up(where), CHOSEN_METER)),
        _fill_values(ctes, values(rolled_up(where), CHOSEN_METER)),
        _differences(ctes, buckets(rolled_up(where), CHOSEN_METER), bucket),
        _value_differences(ctes, values(rolled_up(where), CHOSEN_METER), bucket),
        _fill_buckets(f"{ctes}{HOURS}, ", buckets(rolled_up_then(where), f"NOT {ADDS_UP}")),
        _fill_values(f"{ctes}{HOURS}, ", values(rolled_up_then(where), "true")),
    )


def _fill_buckets(ctes: str, counted: str) -> str:
    return f"""{ctes}counted AS MATERIALIZED (
  {counted}
)
INSERT INTO usage_bucket ({BUCKET_COLUMNS})
SELECT {BUCKET_COLUMNS} FROM counted ORDER BY organization_id, meter_id, hour, slice"""  # noqa: S608


def _fill_values(ctes: str, counted: str) -> str:
    return f"""{ctes}counted AS (
  {counted}
)
INSERT INTO usage_distinct (organization_id, meter_id, hour, value)
SELECT organization_id, meter_id, hour, value FROM counted
ORDER BY 1, 2, 3, 4"""  # noqa: S608 - constants


def _differences(ctes: str, counted: str, bucket: str) -> str:
    """Return how buckets are held against the rolled-up events, in one snapshot with the mark."""
    return f"""{ctes}counted AS (
  {counted}
), stored AS (
  SELECT {BUCKET_COLUMNS} FROM usage_bucket e JOIN meter m ON m.id = e.meter_id {SEALED}
  WHERE {CHOSEN} AND {CHOSEN_METER} AND {UNSEALED.format("hour")} AND {bucket}
)
SELECT organization_id, meter_id, hour, slice::text,
  coalesce(s.event_count, 0), coalesce(c.event_count, 0),
  coalesce(s.total, 0), coalesce(c.total, 0),
  coalesce(s.lane_a, 0), coalesce(s.lane_b, 0), coalesce(c.lane_a, 0), coalesce(c.lane_b, 0)
FROM counted c FULL JOIN stored s USING (organization_id, meter_id, hour, slice)
WHERE (s.event_count, s.value_count, s.total, s.maximum, s.minimum, s.moment, s.latest_at,
       s.latest_id, s.latest_value,
       s.lane_a, s.lane_b)
  IS DISTINCT FROM
      (c.event_count, c.value_count, c.total, c.maximum, c.minimum, c.moment, c.latest_at,
       c.latest_id, c.latest_value,
       c.lane_a, c.lane_b)
ORDER BY organization_id, hour, meter_id, slice"""  # noqa: S608 - constants


def _value_differences(ctes: str, counted: str, bucket: str) -> str:
    return f"""{ctes}counted AS (
  {counted}
), stored AS (
  SELECT organization_id, meter_id, hour, e.value
  FROM usage_distinct e JOIN meter m ON m.id = e.meter_id {SEALED}
  WHERE {CHOSEN} AND {CHOSEN_METER} AND {UNSEALED.format("hour")} AND {bucket}
)
SELECT organization_id, meter_id, hour, count(s.value), count(c.value)
FROM counted c FULL JOIN stored s USING (organization_id, meter_id, hour, value)
GROUP BY organization_id, meter_id, hour
HAVING count(*) > count(s.value) OR count(*) > count(c.value)
ORDER BY organization_id, hour, meter_id"""  # noqa: S608 - constants


MAKING = making()

# Only where something is asked for: most ask for nothing, and the function is the dearest part.
ASKED_PATHS = (
    "CASE WHEN {0}.asked IS NOT NULL THEN usage_filter_paths({0}.asked) END AS asked_paths"
)
RULE = "m.event_type, m.aggregation, m.allow_negative, m.path, m.filter, m.filter_paths"
WANTS = f"""{METERS}, want AS MATERIALIZED (
  SELECT w.*, {ASKED_PATHS.format("w")}, {RULE}, {ADDS_UP} AS adds_up
  FROM unnest(%(organizations)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[],
      %(ends)s::timestamptz[], %(filters)s::jsonb[], %(whole_from)s::timestamptz[],
      %(whole_to)s::timestamptz[])
    WITH ORDINALITY
    AS w (organization_id, meter_id, starts, ends, asked, whole_from, whole_to, position)
  JOIN meter m ON m.id = w.meter_id
)"""  # noqa: S608 - constants


def tail(again: str) -> str:
    """Return the CTEs of what is not rolled up; `again` is the FROM item of the touched hours."""
    # The upper bound is always true. Two bounds make the planner expect few rows, which is the
    # truth: it cannot know the watermark, and with one bound it would read every event of a big
    # customer. `id + 0` keeps it from the key's index for the same reason. `again` are the events
    # of the hours whose buckets hold something that is gone.
    return f"""came AS MATERIALIZED (
  SELECT {EVENT}, {HOUR}, e.voids_id FROM usage_event e
  WHERE e.organization_id = ANY (%(organizations)s::bigint[])
    AND e.xid >= (SELECT watermark FROM epoch) AND e.xid < '18446744073709551615'::xid8
    AND e.id + 0 > (SELECT base_event_id FROM epoch)
), tail AS MATERIALIZED (
  SELECT * FROM came e WHERE NOT {VOIDED}
), {_gone("(SELECT watermark FROM epoch)", "(SELECT base_event_id FROM epoch)")},
again AS MATERIALIZED (
  SELECT e.* FROM (SELECT DISTINCT organization_id, type, hour AS since FROM gone) t
  JOIN {again} e ON e.organization_id = t.organization_id AND e.type = t.type
    AND e.occurred_at >= t.since AND e.occurred_at < t.since + interval '1 hour'
  WHERE NOT {VOIDED}
)"""  # noqa: S608 - constants


def _in_touched_hour(alias: str, hour: str) -> str:
    return f"""EXISTS (SELECT FROM gone g WHERE g.organization_id = {alias}.organization_id
        AND g.type = m.event_type AND g.hour = {hour})"""


# Which rows stand for the whole hours of a want, besides the buckets.
SOURCES = (
    ("tail", f"(m.adds_up OR NOT {_in_touched_hour('e', 'e.hour')})"),
    ("again", "NOT m.adds_up"),
)


def _events_of_want(events: str, since: str, until: str, where: str = "true") -> str:
    return f"""FROM {events} e
      WHERE e.organization_id = m.organization_id AND e.type = m.event_type
        AND e.occurred_at >= {since} AND e.occurred_at < {until}
        AND {COUNTED} AND {ASKED} AND {where}"""


def _totals_of_want(events: str, since: str, until: str, where: str = "true") -> str:
    return f"""SELECT m.position, t.* FROM want m CROSS JOIN LATERAL (
    SELECT {TOTALS}
    FROM (SELECT {READING} {_events_of_want(events, since, until, where)} OFFSET 0) reading
  ) t WHERE {since} < {until}"""  # noqa: S608 - constants


def _totals_by_want(events: str, since: str, until: str, where: str = "true") -> str:
    """Return the same of rows at hand, without those of wants that nothing is for.

    One join for all wants: looking through the rows once for each would cost their product.
    """
    return f"""SELECT position, {TOTALS}
  FROM (
    SELECT m.position, {READING} FROM want m
      JOIN {events} e ON e.organization_id = m.organization_id AND e.type = m.event_type
        AND e.occurred_at >= {since} AND e.occurred_at < {until}
    WHERE {COUNTED} AND {ASKED} AND {where} OFFSET 0
  ) reading
  GROUP BY position"""  # noqa: S608 - constants of this module only


def _values_of_want(events: str, since: str, until: str, where: str = "true") -> str:
    return f"""SELECT usage_distinct_value(e.data #> m.path)
      {_events_of_want(events, since, until, where)}"""


def _whole_hours(part: Callable[[str, str, str, str], str]) -> str:
    return " UNION ALL ".join(
        part(events, "m.whole_from", "m.whole_to", where) for events, where in SOURCES
    )


# What is gone and adds up, to be taken away again; the other totals are null then.
TAKEN_AWAY = f"""SELECT position, -event_count, -value_count, -total, NULL, NULL, -moment,
    NULL, NULL, -lane_a, -lane_b
  FROM ({_totals_by_want("gone", "m.whole_from", "m.whole_to", "m.adds_up")}) gone"""  # noqa: S608


def measure(
    events: str, *, ctes: str = "", values: str = "", latest: str = "t.latest[3]", stamp: str = ""
) -> str:
    """Return the statement that measures, with all of `events` (a FROM item) in PostgreSQL.

    Whole hours come from buckets; the edges, and what is not rolled up yet, from the events
    themselves. LATERAL with an aggregate is planned once per want, so it always walks an index.
    The rest is for events that are kept elsewhere, too: `ctes` in front, more `values` that unique
    counts saw, another column for `latest`, and a `stamp` of more columns.
    """
    standing = f"(SELECT * FROM {events} e WHERE NOT {VOIDED})"  # noqa: S608 - constants
    return f"""WITH {WANTS}, {EPOCH}, {ctes}{tail(events)}, part AS (
  SELECT m.position, t.* FROM want m CROSS JOIN LATERAL (
    SELECT coalesce(sum(event_count), 0), coalesce(sum(value_count), 0), coalesce(sum(total), 0),
      max(maximum), min(minimum),
      coalesce(sum(moment + CASE WHEN m.aggregation = 'weighted_sum'
        THEN total * 1000000 * extract(epoch FROM b.hour) ELSE 0 END), 0),
      max(ARRAY[extract(epoch FROM latest_at), latest_id, latest_value])
        FILTER (WHERE latest_at IS NOT NULL),
      max(latest_at), coalesce(sum(lane_a), 0), coalesce(sum(lane_b), 0)
    FROM usage_bucket b
    WHERE b.organization_id = m.organization_id AND b.meter_id = m.meter_id
      AND b.hour >= m.whole_from AND b.hour < m.whole_to
      AND (m.asked IS NULL OR usage_matches(b.slice, m.asked))
      AND (m.adds_up OR NOT {_in_touched_hour("b", "b.hour")})
  ) t (event_count, value_count, total, maximum, minimum, moment, latest, latest_at, lane_a, lane_b)
  UNION ALL
  {_totals_of_want(standing, "m.starts", "m.whole_from")}
  UNION ALL
  {_totals_of_want(standing, "m.whole_to", "m.ends")}
  UNION ALL
  {_whole_hours(_totals_by_want)}
  UNION ALL
  {TAKEN_AWAY}
), totals AS (
  SELECT position, sum(event_count) AS event_count, sum(value_count) AS value_count,
    sum(total) AS total, max(maximum) AS maximum, min(minimum) AS minimum,
    sum(moment) AS moment, max(latest) AS latest, sum(lane_a) AS lane_a, sum(lane_b) AS lane_b
  FROM part GROUP BY position
), variety AS (
  SELECT m.position, v.different FROM want m CROSS JOIN LATERAL (
    SELECT count(DISTINCT value) AS different FROM (
      SELECT d.value FROM usage_distinct d
      WHERE d.organization_id = m.organization_id AND d.meter_id = m.meter_id
        AND d.hour >= m.whole_from AND d.hour < m.whole_to
        AND NOT {_in_touched_hour("d", "d.hour")}
      UNION ALL {_values_of_want(standing, "m.starts", "m.whole_from")}
      UNION ALL {_values_of_want(standing, "m.whole_to", "m.ends")}
      UNION ALL {_whole_hours(_values_of_want)}{values}
    ) seen (value)
  ) v WHERE m.aggregation = 'unique_count'
)
SELECT x.number, pg_current_snapshot()::text, pg_current_xact_id_if_assigned()::text,
  m.aggregation, t.event_count, t.value_count, t.total, t.maximum, t.minimum, {latest},
  v.different, t.moment, t.lane_a, t.lane_b{stamp}
FROM epoch x CROSS JOIN want m JOIN totals t USING (position) LEFT JOIN variety v USING (position)
ORDER BY m.position"""  # noqa: S608 - constants


MEASURE = measure(ALL_EVENTS)

# The same by groups: what a want counts for every combination of values in %(dimensions)s, and for
# all of them together (a row without a group), so that the parts and the whole are of one moment.
GROUP = "usage_slice(e.data, %(dimensions)s::text[])"
GROUP_OF_BUCKET = """(SELECT coalesce(jsonb_object_agg(d, b.slice -> d), '{}')
      FROM unnest(%(dimensions)s::text[]) d)"""


def _groups_of_want(events: str, since: str, until: str, where: str = "true") -> str:
    return f"""SELECT m.position, t.* FROM want m CROSS JOIN LATERAL (
    SELECT said, {TOTALS}
    FROM (
      SELECT {READING}, {GROUP} AS said {_events_of_want(events, since, until, where)} OFFSET 0
    ) reading GROUP BY said
  ) t"""  # noqa: S608 - constants


GROUPS_TAKEN_AWAY = f"""SELECT position, said, -event_count, -value_count, -total, NULL, NULL,
    -moment, NULL, NULL, -lane_a, -lane_b
  FROM ({_groups_of_want("gone", "m.whole_from", "m.whole_to", "m.adds_up")}) gone"""  # noqa: S608


def groups(
    events: str,
    *,
    ctes: str = "",
    latest: str = "t.latest[3]",
    different: str = "count(DISTINCT value)",
    stamp: str = "",
) -> str:
    """Return the statement that measures by groups, with all of `events` in PostgreSQL.

    The rest is as in `measure`. Different values are kept for all groups together: `_Spans` has
    them counted from the events.
    """
    standing = f"(SELECT * FROM {events} e WHERE NOT {VOIDED})"  # noqa: S608 - constants
    return f"""WITH {WANTS}, {EPOCH}, {ctes}{tail(events)}, part AS (
  SELECT m.position, t.* FROM want m CROSS JOIN LATERAL (
    SELECT {GROUP_OF_BUCKET}, sum(event_count), sum(value_count), sum(total),
      max(maximum), min(minimum),
      sum(moment + CASE WHEN m.aggregation = 'weighted_sum'
        THEN total * 1000000 * extract(epoch FROM b.hour) ELSE 0 END),
      max(ARRAY[extract(epoch FROM latest_at), latest_id, latest_value])
        FILTER (WHERE latest_at IS NOT NULL),
      max(latest_at), sum(lane_a), sum(lane_b)
    FROM usage_bucket b
    WHERE b.organization_id = m.organization_id AND b.meter_id = m.meter_id
      AND b.hour >= m.whole_from AND b.hour < m.whole_to
      AND (m.asked IS NULL OR usage_matches(b.slice, m.asked))
      AND (m.adds_up OR NOT {_in_touched_hour("b", "b.hour")})
    GROUP BY 1
  ) t (said, event_count, value_count, total, maximum, minimum, moment, latest, latest_at,
       lane_a, lane_b)
  UNION ALL
  {_groups_of_want(standing, "m.starts", "m.whole_from")}
  UNION ALL
  {_groups_of_want(standing, "m.whole_to", "m.ends")}
  UNION ALL
  {_whole_hours(_groups_of_want)}
  UNION ALL
  {GROUPS_TAKEN_AWAY}
), totals AS (
  SELECT position, said, sum(event_count) AS event_count, sum(value_count) AS value_count,
    sum(total) AS total, max(maximum) AS maximum, min(minimum) AS minimum,
    sum(moment) AS moment, max(latest) AS latest, sum(lane_a) AS lane_a, sum(lane_b) AS lane_b
  FROM part GROUP BY GROUPING SETS ((position, said), (position))
), variety AS (
  SELECT m.position, v.said, v.different FROM want m CROSS JOIN LATERAL (
    SELECT said, {different} AS different FROM (
      SELECT {GROUP} AS said, usage_distinct_value(e.data #> m.path) AS value
      {_events_of_want(standing, "m.starts", "m.ends")}
    ) seen GROUP BY GROUPING SETS ((said), ())
  ) v WHERE m.aggregation = 'unique_count'
)
SELECT m.position::integer - 1, t.said::text, x.number, pg_current_snapshot()::text,
  pg_current_xact_id_if_assigned()::text, m.aggregation, coalesce(t.event_count, 0),
  coalesce(t.value_count, 0), coalesce(t.total, 0), t.maximum, t.minimum, {latest},
  v.different, coalesce(t.moment, 0), coalesce(t.lane_a, 0), coalesce(t.lane_b, 0){stamp}
FROM epoch x CROSS JOIN want m
LEFT JOIN totals t ON t.position = m.position
  AND (t.said IS NULL OR t.event_count <> 0
    AND (%(chosen)s::jsonb[] IS NULL OR t.said = ANY (%(chosen)s::jsonb[])))
LEFT JOIN variety v ON v.position = m.position AND v.said IS NOT DISTINCT FROM t.said
ORDER BY m.position, t.said NULLS FIRST LIMIT %(most)s"""  # noqa: S608 - constants


GROUPS = groups(ALL_EVENTS)

HOURS_SO_FAR = """SELECT w.position::integer - 1, b.hour,
  sum(CASE m.aggregation WHEN 'count' THEN b.event_count ELSE b.total END)
FROM unnest(%(organizations)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[],
    %(ends)s::timestamptz[], %(filters)s::jsonb[])
  WITH ORDINALITY AS w (organization_id, meter_id, starts, ends, asked, position)
JOIN usage_meter m ON m.id = w.meter_id AND m.aggregation IN ('count', 'sum')
JOIN usage_bucket b ON b.organization_id = w.organization_id AND b.meter_id = w.meter_id
  AND b.hour >= w.starts AND b.hour < w.ends
WHERE w.asked IS NULL OR usage_matches(b.slice, w.asked)
GROUP BY 1, 2"""

# From the events alone, as they were visible when the claim was made. Event ids tell the epochs
# apart: up to its base, everything was there when the epoch began; later ones carry transaction
# numbers of the cluster that took the snapshot, until the next epoch's base. An event is voided
# when the one that voids it was visible.
CLAIMS = f"""{METERS}, claim AS MATERIALIZED (
  SELECT c.position, c.organization_id, c.starts, c.ends, c.epoch, c.taken, x.base_event_id AS base,
    coalesce(y.base_event_id, 9223372036854775807) AS next_base,
    c.asked, {ASKED_PATHS.format("c")}, {RULE}
  FROM unnest(%(organizations)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[],
      %(ends)s::timestamptz[], %(filters)s::jsonb[], %(epochs)s::integer[],
      %(snapshots)s::pg_snapshot[])
    WITH ORDINALITY AS c (organization_id, meter_id, starts, ends, asked, epoch, taken, position)
  JOIN meter m ON m.id = c.meter_id
  JOIN usage_epoch x ON x.number = c.epoch
  LEFT JOIN usage_epoch y ON y.number = c.epoch + 1
)"""  # noqa: S608 - constants
SEEN = """({0}.id <= m.base
        OR ({0}.id <= m.next_base AND pg_visible_in_snapshot({0}.xid, m.taken)))"""
SEEN_STANDING = f"""{SEEN.format("e")} AND NOT EXISTS (
        SELECT FROM usage_event v
        WHERE v.organization_id = e.organization_id AND v.voids_id = e.id AND {SEEN.format("v")})"""


def seen_by_claim(events: str) -> str:
    """Return a query for what a claim saw of `events`, a FROM item, as readings."""
    return f"""SELECT {READING}, e.data
    {_events_of_want(events, "m.starts", "m.ends", SEEN_STANDING)}
    OFFSET 0"""


def recount(
    events: str,
    *,
    ctes: str = "",
    latest: str = "t.latest[3]",
    different: str = "count(DISTINCT distinct_value)",
) -> str:
    """Return the statement that counts claims again from `events`, a FROM item."""
    return f"""WITH {ctes}{CLAIMS}
SELECT m.epoch, m.taken::text, NULL, m.aggregation, t.event_count, t.value_count, t.total,
  t.maximum, t.minimum, {latest}, t.different, t.moment, t.lane_a, t.lane_b
FROM claim m CROSS JOIN LATERAL (
  SELECT {TOTALS}, {different} AS different
  FROM ({seen_by_claim(events)}) reading
) t
ORDER BY m.position"""  # noqa: S608 - constants


RECOUNT = recount(ALL_EVENTS)


def readings(events: str, *, ctes: str = "") -> str:
    """Return the statement for the events of one claim themselves, in their order."""
    return f"""WITH {ctes}{CLAIMS}
SELECT r.id, r.occurred_at, r.number, r.data::text
FROM claim m CROSS JOIN LATERAL ({seen_by_claim(events)}) r
ORDER BY r.occurred_at, r.id"""  # noqa: S608 - constants


READINGS = readings(ALL_EVENTS)


def events(where: str = "true") -> str:
    """Return the statement for a page of the events of one claim as they stand now.

    Those counted then, voided since, or come since.
    """
    return f"""WITH {CLAIMS}, found AS (
  SELECT e.id, e.occurred_at, e.received_at, e.source, e.key, e.type, e.dedupe_key, e.data,
    m.path, m.aggregation, m.allow_negative,
    {SEEN_STANDING} AS counted, NOT {VOIDED} AS stands
  FROM claim m JOIN usage_event e
    ON e.organization_id = m.organization_id AND e.type = m.event_type
    AND e.occurred_at >= m.starts AND e.occurred_at < m.ends
  WHERE {COUNTED} AND {ASKED} AND {where}
)
SELECT id, occurred_at, received_at, source, key, type, dedupe_key::text, data::text,
  CASE WHEN aggregation NOT IN ('count', 'unique_count')
    THEN usage_number(data #> path, allow_negative) END,
  counted, stands
FROM found
WHERE (counted OR stands)
  AND (%(after_id)s::bigint IS NULL
    OR (occurred_at, id) > (%(after_at)s::timestamptz, %(after_id)s::bigint))
ORDER BY occurred_at, id LIMIT %(limit)s"""  # noqa: S608 - constants


EVENTS = events()


def hours_of_events(events: str, *, ctes: str = "") -> str:
    """Return the statement for how a claim's events spread over the hours (UTC) of their time."""
    return f"""WITH {ctes}{CLAIMS}
SELECT date_trunc('hour', r.occurred_at, 'UTC') AS hour, count(*), coalesce(sum(r.number), 0)
FROM claim m CROSS JOIN LATERAL ({seen_by_claim(events)}) r
GROUP BY 1 ORDER BY 1"""  # noqa: S608 - constants


HOURS_OF_EVENTS = hours_of_events(ALL_EVENTS)

# The days (UTC) of the events that came, or were voided, in transactions that a snapshot could not
# see; for a level every later day is another one too.
CHANGED = """WITH came AS MATERIALIZED (
  SELECT organization_id, type, occurred_at, voids_id FROM usage_event e
  WHERE e.xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
    AND e.xid < '18446744073709551615'::xid8
    AND e.id + 0 > (SELECT base_event_id FROM usage_epoch WHERE number = %(epoch)s)
    AND NOT pg_visible_in_snapshot(e.xid, %(snapshot)s::pg_snapshot)
), gone AS (
  SELECT organization_id, type, occurred_at FROM usage_event
  WHERE (organization_id, id) IN (SELECT organization_id, voids_id FROM came
      WHERE voids_id IS NOT NULL)
)
SELECT DISTINCT x.organization_id, m.key, date_trunc('day', x.occurred_at, 'UTC'),
  m.aggregation = 'weighted_sum'
FROM (SELECT organization_id, type, occurred_at FROM came UNION ALL SELECT * FROM gone) x
JOIN usage_meter m ON m.event_type = x.type
ORDER BY 1, 2, 3"""
# Whether transactions that the snapshot could not see have left PostgreSQL by thinning.
THINNED_SINCE = """SELECT EXISTS (SELECT FROM usage_shipment s
  WHERE s.thinning_at IS NOT NULL AND s.epoch = %(epoch)s
    AND s.until > pg_snapshot_xmin(%(snapshot)s::pg_snapshot))"""
MARK = f"WITH {EPOCH} SELECT number, pg_current_snapshot()::text FROM epoch"  # noqa: S608

# Which of the organizations got events that their snapshots could not see, up to this moment. One
# probe of an index each, and one more for each transaction that was running then; without a number
# of the epoch's own cluster an event is not looked at. Where transactions have left by thinning
# that a snapshot could not see, its organization is one of them.
PULSE = """WITH epoch AS MATERIALIZED (
  SELECT number, base_event_id, started_at FROM usage_epoch
  WHERE number = (SELECT max(number) FROM usage_epoch)
    AND system_identifier = (SELECT system_identifier FROM pg_control_system())
), thin AS MATERIALIZED (
  SELECT max(s.until) AS until FROM usage_shipment s JOIN epoch x ON x.number = s.epoch
  WHERE s.thinning_at IS NOT NULL
)
SELECT x.number, x.started_at, pg_current_snapshot()::text, ARRAY(
  SELECT o.id
  FROM unnest(%(organizations)s::bigint[], %(snapshots)s::pg_snapshot[]) AS o (id, seen)
  WHERE EXISTS (SELECT FROM usage_event e WHERE e.organization_id = o.id
      AND e.xid >= pg_snapshot_xmax(o.seen) AND e.xid < pg_snapshot_xmax(pg_current_snapshot())
      AND e.id + 0 > x.base_event_id)
    OR EXISTS (SELECT FROM usage_event e WHERE e.organization_id = o.id
      AND e.xid = ANY (ARRAY(SELECT pg_snapshot_xip(o.seen)))
      AND e.id + 0 > x.base_event_id)
    OR (SELECT until FROM thin) > pg_snapshot_xmin(o.seen)
) FROM epoch x"""
