import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

# An event goes when it is sealed and its key is kept, and never otherwise: the table's own trigger
# says so to whoever deletes, this function's owner included.
FUNCTIONS = """
CREATE FUNCTION usage_event_content(
  organization_id bigint, source text, key text, type text, occurred_at timestamptz, data jsonb,
  voids bigint
) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT usage_lane(usage_event_digest(organization_id, source, key, type, occurred_at,
    timestamptz '1970-01-01 00:00:00+00', data, voids), 0)
$$;

CREATE FUNCTION usage_drop_events(organization bigint, events bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  dropped bigint;
BEGIN
  DELETE FROM usage_event WHERE organization_id = organization AND id = ANY (events);
  GET DIAGNOSTICS dropped = ROW_COUNT;
  RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION usage_drop_events(bigint, bigint[]) FROM PUBLIC, billing_app;
GRANT EXECUTE ON FUNCTION usage_drop_events(bigint, bigint[]) TO billing_ops;
"""
NO_FUNCTIONS = """
DROP FUNCTION usage_drop_events(bigint, bigint[]);
DROP FUNCTION usage_event_content(bigint, text, text, text, timestamptz, jsonb, bigint);
"""
MAY_LEAVE = """EXISTS (
      SELECT FROM usage_pruned_event p
      WHERE p.organization_id = OLD.organization_id AND p.id = OLD.id)
    AND EXISTS (
      SELECT FROM usage_seal s
      WHERE s.organization_id = OLD.organization_id AND s.until > OLD.occurred_at)"""


def organization() -> models.ForeignKey:
    return models.ForeignKey(
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="tenants.organization",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0001_initial"),
        ("usage", "0004_device_reports"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageSeal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="seal")),
                ("since", models.DateTimeField(help_text="where the seal before it ends")),
                (
                    "until",
                    models.DateTimeField(help_text="the start of an hour: events before it may go"),
                ),
                (
                    "closed_until",
                    models.DateTimeField(help_text="nothing of before is taken or voided any more"),
                ),
                (
                    "events",
                    models.BigIntegerField(help_text="how many there were from since to until"),
                ),
                (
                    "buckets",
                    models.CharField(
                        help_text="SHA-256 over the buckets of its hours", max_length=64
                    ),
                ),
                (
                    "proof",
                    models.CharField(
                        help_text="SHA-256 over what was billed of them", max_length=64
                    ),
                ),
                ("sealed_at", models.DateTimeField()),
                ("organization", organization()),
            ],
            options={
                "db_table": "usage_seal",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "until"), name="sealed_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("closed_until__gte", models.F("until")),
                            ("since__lt", models.F("until")),
                        ),
                        name="seal_goes_forward",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PrunedEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("dedupe_key", models.UUIDField()),
                ("content", models.BigIntegerField()),
                ("organization", organization()),
            ],
            options={
                "db_table": "usage_pruned_event",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "dedupe_key"), name="pruned_once"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="rejectedevent",
            index=models.Index(
                condition=models.Q(("event__isnull", False)),
                fields=["organization", "event"],
                name="rejected_by_event",
            ),
        ),
        operations.TenantTable("UsageSeal"),
        operations.AppendOnly("UsageSeal"),
        operations.TenantTable("PrunedEvent", referenced=False),
        operations.AppendOnly("PrunedEvent"),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        operations.MayLeave("Event", leaves=MAY_LEAVE),
    ]
