import datetime

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
import apps.usage.columns
from apps.core import operations

# What an event is, as one text: numbers and length-prefixed texts joined by commas, times in
# microseconds since 1970, the data as PostgreSQL prints jsonb. The same in every session and zone.
# What an event is known by, as one uuid: the length keeps ('ab', 'c') and ('a', 'bc') apart.
# STABLE because convert_to() is declared so; that lets the planner inline it (a third of the cost).
# A number at a meter's path: what the door accepts and nothing else (checking.number_of is its twin).
FUNCTIONS = r"""
CREATE FUNCTION usage_event_digest(
  organization_id bigint, source text, key text, type text, occurred_at timestamptz,
  received_at timestamptz, data jsonb
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT sha256(convert_to(
    organization_id::text
    || ',' || octet_length(source)::text || ',' || source
    || ',' || octet_length(key)::text || ',' || key
    || ',' || octet_length(type)::text || ',' || type
    || ',' || (extract(epoch FROM occurred_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint::text
    || ',' || (extract(epoch FROM received_at - timestamptz '1970-01-01 00:00:00+00') * 1000000)::bigint::text
    || ',' || data::text, 'UTF8'))
$$;

CREATE FUNCTION usage_dedupe_key(source text, key text) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT encode(substring(sha256(convert_to(
    length(source)::text || ':' || source || key, 'UTF8')) FOR 16), 'hex')::uuid
$$;

CREATE FUNCTION usage_lane(digest bytea, start integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (get_byte(digest, start)::bigint << 56) | (get_byte(digest, start + 1)::bigint << 48)
    | (get_byte(digest, start + 2)::bigint << 40) | (get_byte(digest, start + 3)::bigint << 32)
    | (get_byte(digest, start + 4)::bigint << 24) | (get_byte(digest, start + 5)::bigint << 16)
    | (get_byte(digest, start + 6)::bigint << 8) | get_byte(digest, start + 7)::bigint
$$;

CREATE FUNCTION usage_number(value jsonb, negative boolean) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE jsonb_typeof(value)
    WHEN 'number' THEN
      CASE WHEN value::numeric < 1e18
            AND value::numeric > -1e18
            AND (negative OR value::numeric >= 0)
            AND min_scale(value::numeric) <= 12
      THEN value::numeric END
    WHEN 'string' THEN
      CASE WHEN (value #>> '{}') ~ '^-?[0-9]{1,18}(\.[0-9]{1,12})?$'
            AND (negative OR (value #>> '{}')::numeric >= 0)
      THEN (value #>> '{}')::numeric END
  END
$$;

CREATE FUNCTION usage_distinct_value(value jsonb) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(value) IN ('string', 'number', 'boolean') THEN
    encode(substring(sha256(convert_to(value #>> '{}', 'UTF8')) FOR 16), 'hex')::uuid
  END
$$;
"""
NO_FUNCTIONS = """
DROP FUNCTION usage_distinct_value(jsonb);
DROP FUNCTION usage_number(jsonb, boolean);
DROP FUNCTION usage_lane(bytea, integer);
DROP FUNCTION usage_dedupe_key(text, text);
DROP FUNCTION usage_event_digest(bigint, text, text, text, timestamptz, timestamptz, jsonb);
"""

# The staff's role may not lock the table itself: SHARE needs a right to change rows, which no role has.
HOLD = """
CREATE FUNCTION usage_hold_events() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  LOCK TABLE usage_event IN SHARE MODE;
END $$;
REVOKE ALL ON FUNCTION usage_hold_events() FROM PUBLIC, billing_app;
GRANT EXECUTE ON FUNCTION usage_hold_events() TO billing_ops;
"""
FIRST_EPOCH = """
INSERT INTO usage_epoch (number, system_identifier, base_event_id, watermark, started_at)
SELECT 1, system_identifier, 0, '0', statement_timestamp() FROM pg_control_system()
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("core", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.CreateModel(
            name="UsageEpoch",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("number", models.PositiveIntegerField(unique=True)),
                (
                    "system_identifier",
                    models.BigIntegerField(help_text="the cluster whose numbers count here"),
                ),
                ("base_event_id", models.BigIntegerField()),
                ("watermark", apps.usage.columns.TransactionIdField()),
                ("started_at", models.DateTimeField()),
            ],
            options={
                "db_table": "usage_epoch",
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("dedupe_key", models.UUIDField(help_text="made of source and key")),
                ("source", models.TextField()),
                ("key", models.TextField(help_text="the event's id, unique within its source")),
                ("type", models.TextField(db_collation="C")),
                ("occurred_at", models.DateTimeField()),
                (
                    "received_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("data", models.JSONField()),
                (
                    "digest",
                    models.BinaryField(help_text="SHA-256 of the content and when it came"),
                ),
                (
                    "xid",
                    apps.usage.columns.TransactionIdField(
                        db_default=apps.usage.columns.CurrentTransaction()
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "db_table": "usage_event",
            },
        ),
        migrations.CreateModel(
            name="Meter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="meter")),
                ("key", models.CharField(db_collation="C", max_length=64, unique=True)),
                ("event_type", models.CharField(db_collation="C", max_length=200)),
                (
                    "aggregation",
                    models.CharField(
                        choices=[
                            ("count", "Number of events"),
                            ("sum", "Sum of the values"),
                            ("max", "Largest value"),
                            ("unique_count", "Number of different values"),
                            ("latest", "Last value"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "value",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="key of the event's data, dots go deeper",
                        max_length=200,
                    ),
                ),
                ("unit", models.CharField(blank=True, default="", max_length=40)),
                ("description", models.TextField(blank=True, default="")),
                ("allow_negative", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["key"],
                "indexes": [models.Index(fields=["event_type"], name="meter_by_event_type")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("aggregation", "count"), ("value", "")),
                            models.Q(
                                models.Q(("aggregation", "count"), _negated=True),
                                models.Q(("value", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="meter_reads_what_it_needs",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RejectedEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="rej")),
                ("code", models.CharField(max_length=40)),
                ("detail", models.TextField()),
                ("pointer", models.CharField(blank=True, default="", max_length=300)),
                ("payload", models.TextField(help_text="what came, as it came")),
                ("fingerprint", models.BinaryField(help_text="SHA-256 of the payload")),
                (
                    "origin",
                    models.CharField(
                        blank=True, default="", help_text="file or door", max_length=300
                    ),
                ),
                (
                    "line",
                    models.BigIntegerField(help_text="line or row in the file, from 1", null=True),
                ),
                ("application", models.CharField(blank=True, default="", max_length=50)),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("times_seen", models.PositiveIntegerField(default=1)),
                ("replayed_at", models.DateTimeField(null=True)),
                (
                    "event",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="usage.event",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "db_table": "usage_rejected_event",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="UsageBucket",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("hour", models.DateTimeField(help_text="its start")),
                ("event_count", models.BigIntegerField()),
                ("value_count", models.BigIntegerField()),
                ("total", apps.usage.columns.TotalField()),
                ("maximum", apps.core.fields.QuantityField(null=True)),
                ("latest_at", models.DateTimeField(null=True)),
                (
                    "latest_id",
                    models.BigIntegerField(help_text="the event, which breaks ties", null=True),
                ),
                ("latest_value", apps.core.fields.QuantityField(null=True)),
                ("lane_a", apps.usage.columns.LaneField()),
                ("lane_b", apps.usage.columns.LaneField()),
                (
                    "meter",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="usage.meter",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "db_table": "usage_bucket",
            },
        ),
        migrations.CreateModel(
            name="UsageDistinct",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("hour", models.DateTimeField()),
                ("value", models.UUIDField(help_text="the first half of its SHA-256")),
                (
                    "meter",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="usage.meter",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
            ],
            options={
                "db_table": "usage_distinct",
            },
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                fields=["organization", "type", "occurred_at"], name="event_by_time"
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["organization", "xid"], name="event_tail"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["xid"], name="event_to_roll_up"),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(
                fields=("organization", "dedupe_key"), name="event_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(("dedupe_key", apps.usage.columns.DedupeKey("source", "key"))),
                name="event_key_is_made_of_source_and_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("occurred_at__gte", datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                    ("occurred_at__lt", datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                ),
                name="event_occurred_in_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("received_at__gte", datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                    ("received_at__lt", datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                ),
                name="event_received_in_bounds",
            ),
        ),
        migrations.AddIndex(
            model_name="rejectedevent",
            index=models.Index(
                condition=models.Q(("replayed_at", None)), fields=["id"], name="rejected_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="rejectedevent",
            constraint=models.UniqueConstraint(
                fields=("organization", "fingerprint"), name="rejected_once", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="usagebucket",
            constraint=models.UniqueConstraint(
                fields=("organization", "meter", "hour"), name="bucket_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="usagebucket",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("event_count__gte", models.F("value_count")), ("value_count__gte", 0)
                ),
                name="bucket_counts_add_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagedistinct",
            constraint=models.UniqueConstraint(
                fields=("organization", "meter", "hour", "value"), name="distinct_once"
            ),
        ),
        operations.PlatformTable("Meter"),
        operations.TenantTable("Event"),
        operations.AppendOnly("Event"),
        operations.TenantTable("RejectedEvent"),
        operations.TenantTable("UsageBucket"),
        operations.TenantTable("UsageDistinct"),
        operations.PlatformTable("UsageEpoch"),
        migrations.RunSQL(HOLD, "DROP FUNCTION usage_hold_events()"),
        migrations.RunSQL(FIRST_EPOCH, migrations.RunSQL.noop),
    ]
