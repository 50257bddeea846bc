import django.db.models.functions.datetime
from django.db import migrations, models

import apps.usage.columns
from apps.core import operations

# The plain values of an event's data by the path that leads to each, as `#>` follows it: that is
# all that a meter, a dimension or a filter can read. A name with a dot in it is out of their reach.
LEAVES = r"""
CREATE FUNCTION usage_leaves(data jsonb) RETURNS TABLE (path text, value jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  WITH RECURSIVE found (path, value) AS (
    SELECT e.key, e.value FROM jsonb_each(data) e WHERE strpos(e.key, '.') = 0
    UNION ALL
    SELECT f.path || '.' || e.key, e.value
    FROM found f CROSS JOIN LATERAL jsonb_each(
      CASE WHEN jsonb_typeof(f.value) = 'object' THEN f.value ELSE '{}' END) e
    WHERE strpos(e.key, '.') = 0
  )
  SELECT path, value FROM found WHERE jsonb_typeof(value) IN ('string', 'number', 'boolean')
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_voids_and_dimensions")]

    operations = [
        migrations.RunSQL(LEAVES, "DROP FUNCTION usage_leaves(jsonb)"),
        migrations.CreateModel(
            name="UsageShipment",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "number",
                    models.BigIntegerField(help_text="counts from 1, without a gap", unique=True),
                ),
                ("epoch", models.PositiveIntegerField()),
                ("since", apps.usage.columns.TransactionIdField()),
                ("until", apps.usage.columns.TransactionIdField()),
                ("events", models.BigIntegerField()),
                (
                    "voids",
                    models.BigIntegerField(help_text="how many of them take another one back"),
                ),
                ("lane_a", apps.usage.columns.LaneField()),
                ("lane_b", apps.usage.columns.LaneField()),
                (
                    "complete",
                    models.BooleanField(help_text="nothing that was rolled up was left behind it"),
                ),
                ("shipped_at", models.DateTimeField()),
            ],
            options={
                "db_table": "usage_shipment",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("events__gte", models.F("voids")), ("voids__gte", 0)),
                        name="shipment_counts_add_up",
                    )
                ],
            },
        ),
        operations.PlatformTable("UsageShipment"),
    ]
