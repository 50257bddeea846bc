"""The SQL of counting: what an event says to a meter is written once, here.

Roll-up, measurement, recount and the check of the buckets are put together from these pieces, so
they cannot disagree. Aliases are fixed: `e` is an event, `m` the meter's rule (or the want or claim
that carries it).
"""

from __future__ import annotations

METERS = """meter AS MATERIALIZED (
  SELECT id, event_type, aggregation, allow_negative, string_to_array(value, '.') AS path
  FROM usage_meter
)"""

# The epoch, if its transaction numbers are this cluster's: not after a restore from a dump.
EPOCH = """epoch AS MATERIALIZED (
  SELECT number, base_event_id, watermark FROM usage_epoch
  WHERE number = (SELECT max(number) FROM usage_epoch)
    AND system_identifier = (SELECT system_identifier FROM pg_control_system())
)"""

# What is counted of an event, whatever the meter. The lanes are 8 bytes each of its digest.
EVENT = """id, organization_id, type, occurred_at, data, xid,
    usage_lane(digest, 0) AS lane_a, usage_lane(digest, 8) AS lane_b"""
HOUR = "date_trunc('hour', occurred_at, 'UTC') AS hour"
EVENTS = f"(SELECT {EVENT} FROM usage_event)"  # noqa: S608 - constants

READING = """e.id, e.occurred_at, m.aggregation,
    CASE WHEN m.aggregation IN ('sum', 'max', 'latest')
      THEN usage_number(e.data #> m.path, m.allow_negative) END AS number,
    CASE WHEN m.aggregation = 'unique_count'
      THEN usage_distinct_value(e.data #> m.path) END AS distinct_value,
    e.lane_a, e.lane_b"""

# `latest` is (time, event, value): arrays compare element by element, so the largest is the last.
TOTALS = """count(*) AS event_count,
    count(number) + count(distinct_value) AS value_count,
    coalesce(sum(number), 0) AS total,
    max(number) AS maximum,
    max(ARRAY[extract(epoch FROM occurred_at), id, number])
      FILTER (WHERE aggregation = 'latest' AND number IS NOT NULL) AS latest,
    max(occurred_at) FILTER (WHERE aggregation = 'latest' AND number IS NOT NULL) AS latest_at,
    coalesce(sum(lane_a), 0) AS lane_a,
    coalesce(sum(lane_b), 0) AS lane_b"""

BUCKET_COLUMNS = """organization_id, meter_id, hour, event_count, value_count, total, maximum,
    latest_at, latest_id, latest_value, lane_a, lane_b"""


def by_hour(events: str, where: str = "true") -> str:
    """Return a query for the buckets that `events`, a FROM item with an hour, make.

    OFFSET 0 has each reading computed once, not once for every total that uses it (a third of the
    time).
    """
    return f"""SELECT organization_id, meter_id, hour, event_count, value_count, total, maximum,
    latest_at, latest[2]::bigint AS latest_id, latest[3] AS latest_value, lane_a, lane_b
  FROM (
    SELECT organization_id, meter_id, hour, {TOTALS}
    FROM (
      SELECT e.organization_id, m.id AS meter_id, e.hour, {READING}
      FROM {events} e JOIN meter m ON m.event_type = e.type
      WHERE {where} OFFSET 0
    ) reading
    GROUP BY organization_id, meter_id, hour
  ) hourly"""  # noqa: S608 - constants of this module only


def distinct_by_hour(events: str, where: str = "true") -> str:
    """Return a query for the distinct values that `events` show to unique_count meters."""
    return f"""SELECT DISTINCT e.organization_id, m.id AS meter_id, e.hour,
    usage_distinct_value(e.data #> m.path) AS value
  FROM {events} e JOIN meter m ON m.event_type = e.type AND m.aggregation = 'unique_count'
  WHERE usage_distinct_value(e.data #> m.path) IS NOT NULL AND {where}"""  # noqa: S608 - constants


FRESH = f"""fresh AS MATERIALIZED (
  SELECT {EVENT}, {HOUR} FROM usage_event
  WHERE xid >= %(since)s::xid8 AND xid < %(until)s::xid8 AND id + 0 > %(base)s
)"""  # noqa: S608 - constants

# Counted by itself first, or the order of the insert would have every reading sorted.
ROLL_UP = f"""WITH {METERS}, {FRESH}, counted AS MATERIALIZED (
  {by_hour("fresh")}
), stored AS (
  INSERT INTO usage_bucket AS b ({BUCKET_COLUMNS})
  SELECT {BUCKET_COLUMNS} FROM counted
  ORDER BY organization_id, meter_id, hour
  ON CONFLICT (organization_id, meter_id, hour) DO UPDATE SET
    event_count = b.event_count + excluded.event_count,
    value_count = b.value_count + excluded.value_count,
    total = b.total + excluded.total,
    maximum = greatest(b.maximum, excluded.maximum),
    latest_at = greatest(b.latest_at, excluded.latest_at),
    latest_id = CASE WHEN (b.latest_at, b.latest_id) > (excluded.latest_at, excluded.latest_id)
      OR excluded.latest_at IS NULL THEN b.latest_id ELSE excluded.latest_id END,
    latest_value = CASE WHEN (b.latest_at, b.latest_id) > (excluded.latest_at, excluded.latest_id)
      OR excluded.latest_at IS NULL THEN b.latest_value ELSE excluded.latest_value END,
    lane_a = b.lane_a + excluded.lane_a,
    lane_b = b.lane_b + excluded.lane_b
  RETURNING 1
)
SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM stored)"""  # noqa: S608 - constants

ROLL_UP_DISTINCT = f"""WITH {METERS}, {FRESH}
INSERT INTO usage_distinct (organization_id, meter_id, hour, value)
{distinct_by_hour("fresh")}
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING"""

# One organization, one meter, or (NULL) all of them.
CHOSEN_METER = "(%(meter)s::bigint IS NULL OR m.id = %(meter)s::bigint)"
CHOSEN = "(%(organization)s::bigint IS NULL OR e.organization_id = %(organization)s::bigint)"

# What is rolled up: by id where the transaction numbers are another cluster's, else by transaction.
# OFFSET 0 keeps the planner from computing hour and lanes again for every meter.
ROLLED_UP = f"""(
  SELECT {EVENT}, {HOUR} FROM usage_event e CROSS JOIN epoch x
  WHERE (e.id <= x.base_event_id OR e.xid < x.watermark) AND {CHOSEN} OFFSET 0
)"""  # noqa: S608 - constants

FILL = f"""WITH {METERS}, {EPOCH}, counted AS MATERIALIZED (
  {by_hour(ROLLED_UP, CHOSEN_METER)}
)
INSERT INTO usage_bucket ({BUCKET_COLUMNS})
SELECT {BUCKET_COLUMNS} FROM counted ORDER BY organization_id, meter_id, hour"""  # noqa: S608

FILL_DISTINCT = f"""WITH {METERS}, {EPOCH}
INSERT INTO usage_distinct (organization_id, meter_id, hour, value)
{distinct_by_hour(ROLLED_UP, CHOSEN_METER)}
ORDER BY 1, 2, 3, 4"""

# Buckets against the rolled-up events themselves, in one snapshot with the watermark.
DIFFERENCES = f"""WITH {METERS}, {EPOCH}, counted AS (
  {by_hour(ROLLED_UP, CHOSEN_METER)}
), stored AS (
  SELECT {BUCKET_COLUMNS} FROM usage_bucket e JOIN meter m ON m.id = e.meter_id
  WHERE {CHOSEN} AND {CHOSEN_METER}
)
SELECT organization_id, meter_id, hour,
  coalesce(s.event_count, 0), coalesce(c.event_count, 0),
  coalesce(s.total, 0), coalesce(c.total, 0),
  coalesce(s.lane_a, 0), coalesce(s.lane_b, 0), coalesce(c.lane_a, 0), coalesce(c.lane_b, 0)
FROM counted c FULL JOIN stored s USING (organization_id, meter_id, hour)
WHERE (s.event_count, s.value_count, s.total, s.maximum, s.latest_at, s.latest_id, s.latest_value,
       s.lane_a, s.lane_b)
  IS DISTINCT FROM
      (c.event_count, c.value_count, c.total, c.maximum, c.latest_at, c.latest_id, c.latest_value,
       c.lane_a, c.lane_b)
ORDER BY organization_id, hour, meter_id"""  # noqa: S608 - constants

DISTINCT_DIFFERENCES = f"""WITH {METERS}, {EPOCH}, counted AS (
  {distinct_by_hour(ROLLED_UP, CHOSEN_METER)}
), stored AS (
  SELECT organization_id, meter_id, hour, e.value
  FROM usage_distinct e JOIN meter m ON m.id = e.meter_id
  WHERE {CHOSEN} AND {CHOSEN_METER}
)
SELECT organization_id, meter_id, hour, count(s.value), count(c.value)
FROM counted c FULL JOIN stored s USING (organization_id, meter_id, hour, value)
GROUP BY organization_id, meter_id, hour
HAVING count(*) > count(s.value) OR count(*) > count(c.value)
ORDER BY organization_id, hour, meter_id"""  # noqa: S608 - constants

WANTS = f"""{METERS}, want AS MATERIALIZED (
  SELECT w.*, m.event_type, m.aggregation, m.allow_negative, m.path
  FROM unnest(%(organizations)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[],
      %(ends)s::timestamptz[], %(whole_from)s::timestamptz[], %(whole_to)s::timestamptz[])
    WITH ORDINALITY
    AS w (organization_id, meter_id, starts, ends, whole_from, whole_to, position)
  JOIN meter m ON m.id = w.meter_id
)"""  # noqa: S608 - constants

# The upper bound is always true. Two bounds make the planner expect few rows, which is the truth:
# it cannot know the watermark, and with one bound it would read every event of a big customer.
# `id + 0` keeps it from the key's index for the same reason.
TAIL = f"""tail AS MATERIALIZED (
  SELECT {EVENT} FROM usage_event
  WHERE organization_id = ANY (%(organizations)s::bigint[])
    AND xid >= (SELECT watermark FROM epoch) AND xid < '18446744073709551615'::xid8
    AND id + 0 > (SELECT base_event_id FROM epoch)
)"""  # noqa: S608 - constants


def _events_of_want(events: str, since: str, until: str) -> str:
    return f"""FROM {events} e
      WHERE e.organization_id = m.organization_id AND e.type = m.event_type
        AND e.occurred_at >= {since} AND e.occurred_at < {until}"""


def _totals_of_want(events: str, since: str, until: str) -> str:
    return f"""SELECT m.position, t.* FROM want m CROSS JOIN LATERAL (
    SELECT {TOTALS} FROM (SELECT {READING} {_events_of_want(events, since, until)} OFFSET 0) reading
  ) t"""  # noqa: S608 - constants


def _values_of_want(events: str, since: str, until: str) -> str:
    return f"""SELECT usage_distinct_value(e.data #> m.path)
      {_events_of_want(events, since, until)}"""


# Whole hours from buckets; the edges, and what is not rolled up yet, from the events themselves.
# LATERAL with an aggregate is planned once per want, so it always walks an index.
MEASURE = f"""WITH {WANTS}, {EPOCH}, {TAIL}, part AS (
  SELECT m.position, t.* FROM want m CROSS JOIN LATERAL (
    SELECT coalesce(sum(event_count), 0), coalesce(sum(value_count), 0), coalesce(sum(total), 0),
      max(maximum),
      max(ARRAY[extract(epoch FROM latest_at), latest_id, latest_value])
        FILTER (WHERE latest_at IS NOT NULL),
      max(latest_at), coalesce(sum(lane_a), 0), coalesce(sum(lane_b), 0)
    FROM usage_bucket b
    WHERE b.organization_id = m.organization_id AND b.meter_id = m.meter_id
      AND b.hour >= m.whole_from AND b.hour < m.whole_to
  ) t (event_count, value_count, total, maximum, latest, latest_at, lane_a, lane_b)
  UNION ALL
  {_totals_of_want(EVENTS, "m.starts", "m.whole_from")}
  UNION ALL
  {_totals_of_want(EVENTS, "m.whole_to", "m.ends")}
  UNION ALL
  {_totals_of_want("tail", "m.whole_from", "m.whole_to")}
), totals AS (
  SELECT position, sum(event_count) AS event_count, sum(value_count) AS value_count,
    sum(total) AS total, max(maximum) AS maximum, max(latest) AS latest,
    sum(lane_a) AS lane_a, sum(lane_b) AS lane_b
  FROM part GROUP BY position
), variety AS (
  SELECT m.position, v.different FROM want m CROSS JOIN LATERAL (
    SELECT count(DISTINCT value) AS different FROM (
      SELECT d.value FROM usage_distinct d
      WHERE d.organization_id = m.organization_id AND d.meter_id = m.meter_id
        AND d.hour >= m.whole_from AND d.hour < m.whole_to
      UNION ALL {_values_of_want(EVENTS, "m.starts", "m.whole_from")}
      UNION ALL {_values_of_want(EVENTS, "m.whole_to", "m.ends")}
      UNION ALL {_values_of_want("tail", "m.whole_from", "m.whole_to")}
    ) seen (value)
  ) v WHERE m.aggregation = 'unique_count'
)
SELECT x.number, pg_current_snapshot()::text, pg_current_xact_id_if_assigned()::text,
  m.aggregation, t.event_count, t.value_count, t.total, t.maximum, t.latest[3], v.different,
  t.lane_a, t.lane_b
FROM epoch x CROSS JOIN want m JOIN totals t USING (position) LEFT JOIN variety v USING (position)
ORDER BY m.position"""  # noqa: S608 - constants

# From the events alone, as they were visible when the claim was made. Event ids tell the epochs
# apart: up to its base, everything was there when the epoch began; later ones carry transaction
# numbers of the cluster that took the snapshot, until the next epoch's base.
RECOUNT = f"""WITH {METERS}, claim AS MATERIALIZED (
  SELECT c.position, c.organization_id, c.starts, c.ends, c.epoch, c.taken, x.base_event_id AS base,
    coalesce(y.base_event_id, 9223372036854775807) AS next_base,
    m.event_type, m.aggregation, m.allow_negative, m.path
  FROM unnest(%(organizations)s::bigint[], %(meters)s::bigint[], %(starts)s::timestamptz[],
      %(ends)s::timestamptz[], %(epochs)s::integer[], %(snapshots)s::pg_snapshot[])
    WITH ORDINALITY AS c (organization_id, meter_id, starts, ends, epoch, taken, position)
  JOIN meter m ON m.id = c.meter_id
  JOIN usage_epoch x ON x.number = c.epoch
  LEFT JOIN usage_epoch y ON y.number = c.epoch + 1
)
SELECT m.epoch, m.taken::text, NULL, m.aggregation, t.event_count, t.value_count, t.total,
  t.maximum, t.latest[3], t.different, t.lane_a, t.lane_b
FROM claim m CROSS JOIN LATERAL (
  SELECT {TOTALS}, count(DISTINCT distinct_value) AS different
  FROM (
    SELECT {READING} {_events_of_want(EVENTS, "m.starts", "m.ends")}
      AND (e.id <= m.base
        OR (e.id <= m.next_base AND pg_visible_in_snapshot(e.xid, m.taken)))
    OFFSET 0
  ) reading
) t
ORDER BY m.position"""  # noqa: S608 - constants
