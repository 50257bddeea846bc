from typing import Any

import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.functions.datetime
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from psycopg.types.range import TimestamptzRange

import apps.core.fields
from apps.core import operations

PRORATION = [("", "As the price says"), ("none", "Not at all"), ("full", "In full")]

# A subscription is in one phase at any instant.
ONE_PHASE = """
ALTER TABLE subscriptions_phase ADD CONSTRAINT one_phase_at_an_instant
  EXCLUDE USING gist (
    int8range(subscription_id, subscription_id, '[]') WITH &&,
    during WITH &&
  );
ALTER TABLE subscriptions_phase ADD CONSTRAINT a_phase_lasts
  CHECK (NOT isempty(during) AND NOT lower_inf(during) AND lower(during) > '-infinity'
    AND (upper_inf(during) OR upper(during) < 'infinity')
    AND anchor > '-infinity' AND anchor < 'infinity' AND interval_count >= 1);
ALTER TABLE subscriptions_discount ADD CONSTRAINT a_discount_lasts
  CHECK (NOT isempty(during) AND NOT lower_inf(during) AND lower(during) > '-infinity'
    AND (upper_inf(during) OR upper(during) < 'infinity'));
REVOKE DELETE ON subscriptions_phase, subscriptions_change, subscriptions_discount
  FROM billing_app, billing_ops;
"""
MANY_PHASES = """
ALTER TABLE subscriptions_phase DROP CONSTRAINT a_phase_lasts;
ALTER TABLE subscriptions_phase DROP CONSTRAINT one_phase_at_an_instant;
ALTER TABLE subscriptions_discount DROP CONSTRAINT a_discount_lasts;
"""

# How an item's last part is charged is known only when its end is.
ITEM_FIXED = """
CREATE OR REPLACE FUNCTION subscriptions_item_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (to_jsonb(OLD){ends} - 'during') IS DISTINCT FROM (to_jsonb(NEW){ends} - 'during')
     OR lower(OLD.during) IS DISTINCT FROM lower(NEW.during) THEN
    RAISE EXCEPTION 'subscriptions_subscriptionitem: only the end of item % may move', OLD.id
      USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;
"""
BEFORE = (
    ("incomplete", "trialing"),
    ("incomplete", "active"),
    ("incomplete", "canceled"),
    ("trialing", "active"),
    ("trialing", "paused"),
    ("trialing", "canceled"),
    ("active", "past_due"),
    ("active", "paused"),
    ("active", "canceled"),
    ("past_due", "active"),
    ("past_due", "unpaid"),
    ("past_due", "canceled"),
    ("unpaid", "active"),
    ("unpaid", "canceled"),
    ("paused", "active"),
    ("paused", "canceled"),
)
AFTER = (*BEFORE, ("past_due", "paused"), ("unpaid", "paused"))


def machine(transitions: tuple[tuple[str, str], ...]) -> str:
    """Return the statement that gives the table of states anew."""
    allowed = ", ".join(f"('{a}', '{b}')" for a, b in transitions)
    return f"""
CREATE OR REPLACE FUNCTION "subscriptions_subscription_status_machine"() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.status, NEW.status) NOT IN ({allowed}) THEN
    RAISE EXCEPTION 'subscriptions_subscription: status cannot go from % to %',
      OLD.status, NEW.status USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
"""


def one_phase_each(registry: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Give every subscription the phase that it has been in until now.

    One that was taken up after a trial without a card began its cycle anew: its phase starts there.
    """
    subscription: Any = registry.get_model("subscriptions", "Subscription")
    phase: Any = registry.get_model("subscriptions", "Phase")
    batch: list[Any] = []
    columns = ("pk", "organization_id", "plan_version_id", "started_at", "trial_end", "anchor")
    interval = ("plan_version__interval_unit", "plan_version__interval_count")
    alias = editor.connection.alias
    rows = subscription.objects.using(alias).order_by("pk")
    for pk, owner, version, started_at, trial_end, anchor, unit, count in rows.values_list(
        *columns, *interval
    ).iterator():
        batch.append(
            phase(
                organization_id=owner,
                subscription_id=pk,
                plan_version_id=version,
                anchor=anchor,
                interval_unit=unit,
                interval_count=count,
                during=TimestamptzRange(
                    anchor if anchor > (trial_end or started_at) else started_at, None, "[)"
                ),
            )
        )
        if len(batch) == 1000:
            phase.objects.using(alias).bulk_create(batch)
            batch.clear()
    phase.objects.using(alias).bulk_create(batch)


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0001_initial"),
        ("subscriptions", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="quantitystep",
            name="proration",
            field=models.CharField(blank=True, choices=PRORATION, default="", max_length=10),
        ),
        migrations.AddField(
            model_name="subscription",
            name="follows",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="subscriptions.subscription",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="pause_at",
            field=models.DateTimeField(
                help_text="billing pauses when the boundary at this instant has been billed",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="subscriptionitem",
            name="ends",
            field=models.CharField(blank=True, choices=PRORATION, default="", max_length=10),
        ),
        migrations.AddField(
            model_name="subscriptionitem",
            name="starts",
            field=models.CharField(blank=True, choices=PRORATION, default="", max_length=10),
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="chg")),
                ("action", models.CharField(max_length=20)),
                (
                    "behaviour",
                    models.CharField(
                        choices=[
                            ("now", "Now, billed at once"),
                            ("next_invoice", "Now, billed with the next invoice"),
                            ("next_period", "With the next period"),
                            ("none", "Now, without proration"),
                            ("reset", "Now, with a new cycle at full price"),
                        ],
                        max_length=12,
                    ),
                ),
                ("arguments", models.JSONField(default=dict)),
                ("effective_at", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("scheduled", "Scheduled"),
                            ("applied", "Applied"),
                            ("canceled", "Canceled"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
                ("requested_by", models.CharField(max_length=200)),
                ("requested_at", models.DateTimeField()),
                ("quoted_amount", models.BigIntegerField(help_text="minor units", null=True)),
                ("quote_hash", models.CharField(blank=True, default="", max_length=64)),
                (
                    "settled_at",
                    models.DateTimeField(
                        help_text="when it was carried out or called off", null=True
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
                (
                    "subscription",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ["effective_at", "id"],
                "indexes": [
                    models.Index(fields=["organization", "subscription"], name="changes_by_owner"),
                    models.Index(
                        condition=models.Q(("status", "scheduled")),
                        fields=["effective_at"],
                        name="changes_due",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("settled_at", None), ("status", "scheduled")),
                            models.Q(
                                models.Q(("status", "scheduled"), _negated=True),
                                ("settled_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="a_settled_change_says_when",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Discount",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="disc")),
                (
                    "coupon",
                    models.CharField(
                        db_collation="C", help_text="the coupon's code", max_length=100
                    ),
                ),
                (
                    "promotion_code",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        default="",
                        help_text="as it was redeemed",
                        max_length=100,
                    ),
                ),
                ("terms", models.JSONField()),
                ("during", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                ("position", models.PositiveIntegerField(default=0)),
                ("spent_at", models.DateTimeField(null=True)),
                ("removed_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
                (
                    "subscription",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="discounts",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ["position", "id"],
                "indexes": [
                    models.Index(fields=["organization", "subscription"], name="discounts_by_owner")
                ],
            },
        ),
        migrations.CreateModel(
            name="Phase",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="ph")),
                ("anchor", models.DateTimeField()),
                ("interval_unit", models.CharField(max_length=10)),
                ("interval_count", models.PositiveSmallIntegerField(default=1)),
                ("during", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.organization",
                    ),
                ),
                (
                    "plan_version",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="plans.planversion",
                    ),
                ),
                (
                    "subscription",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="phases",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ["subscription_id", "during"],
                "indexes": [
                    models.Index(fields=["organization", "subscription"], name="phases_by_owner")
                ],
            },
        ),
        operations.TenantKeys("Subscription", "follows"),
        operations.TenantTable("Change"),
        operations.AppendOnly("Change", may_change=["status", "settled_at"]),
        operations.StateMachine(
            "Change", "status", [("scheduled", "applied"), ("scheduled", "canceled")]
        ),
        operations.TenantTable("Discount"),
        operations.AppendOnly("Discount", may_change=["spent_at", "removed_at"]),
        operations.TenantTable("Phase"),
        operations.AppendOnly("Phase", may_change=["during", "anchor"]),
        migrations.RunSQL(ONE_PHASE, MANY_PHASES),
        migrations.RunSQL(ITEM_FIXED.format(ends=" - 'ends'"), ITEM_FIXED.format(ends="")),
        migrations.RunSQL(machine(AFTER), machine(BEFORE)),
        migrations.RunPython(one_phase_each, migrations.RunPython.noop),
    ]
