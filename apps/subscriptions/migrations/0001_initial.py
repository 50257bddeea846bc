import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations
from apps.subscriptions import states

# One value of an item's key at any instant. A range of one text stands in for equality, which a
# GiST index cannot do on its own: no extension is needed. A subscription never comes back to life.
ONE_VALUE = """
CREATE TYPE app_text_range AS RANGE (subtype = text, collation = "C");
ALTER TABLE subscriptions_subscriptionitem ADD CONSTRAINT one_value_at_an_instant
  EXCLUDE USING gist (
    int8range(subscription_id, subscription_id, '[]') WITH &&,
    app_text_range(key, key, '[]') WITH &&,
    during WITH &&
  );
ALTER TABLE subscriptions_subscriptionitem ADD CONSTRAINT an_item_lasts
  CHECK (NOT isempty(during) AND NOT lower_inf(during) AND lower(during) > '-infinity'
    AND (upper_inf(during) OR upper(during) < 'infinity'));
CREATE FUNCTION subscriptions_item_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (to_jsonb(OLD) - 'during') IS DISTINCT FROM (to_jsonb(NEW) - 'during')
     OR lower(OLD.during) IS DISTINCT FROM lower(NEW.during) THEN
    RAISE EXCEPTION 'subscriptions_subscriptionitem: only the end of item % may move', OLD.id
      USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER item_fixed BEFORE UPDATE ON subscriptions_subscriptionitem
  FOR EACH ROW EXECUTE FUNCTION subscriptions_item_fixed();
REVOKE DELETE, TRUNCATE ON subscriptions_subscriptionitem, subscriptions_subscription
  FROM billing_app, billing_ops;
"""
MANY_VALUES = """
DROP TRIGGER item_fixed ON subscriptions_subscriptionitem;
DROP FUNCTION subscriptions_item_fixed();
ALTER TABLE subscriptions_subscriptionitem DROP CONSTRAINT an_item_lasts;
ALTER TABLE subscriptions_subscriptionitem DROP CONSTRAINT one_value_at_an_instant;
DROP TYPE app_text_range;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("core", "0001_initial"),
        ("plans", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="sub")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("incomplete", "Incomplete"),
                            ("trialing", "Trialing"),
                            ("active", "Active"),
                            ("past_due", "Past due"),
                            ("unpaid", "Unpaid"),
                            ("paused", "Paused"),
                            ("canceled", "Canceled"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "collection",
                    models.CharField(
                        choices=[
                            ("manual", "Bank transfer, recorded by finance"),
                            ("stripe_invoice", "Card, through Stripe"),
                        ],
                        default="manual",
                        max_length=16,
                    ),
                ),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("timezone", models.CharField(max_length=64)),
                ("started_at", models.DateTimeField()),
                ("trial_end", models.DateTimeField(null=True)),
                ("anchor", models.DateTimeField()),
                ("next_boundary", models.PositiveIntegerField(default=0)),
                ("next_boundary_at", models.DateTimeField()),
                (
                    "recorded_at",
                    models.DateTimeField(
                        help_text="when it was entered: the scheduler bills no boundary before this"
                    ),
                ),
                ("cancel_at", models.DateTimeField(null=True)),
                ("cancel_reason", models.CharField(blank=True, default="", max_length=200)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "application",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.application",
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
                    "plan_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="plans.planversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="SubscriptionItem",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="si")),
                ("key", models.CharField(db_collation="C", max_length=50)),
                ("terms", models.JSONField(null=True)),
                ("included", apps.core.fields.QuantityField(null=True)),
                ("during", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                ("position", models.PositiveSmallIntegerField(default=0)),
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
                    "price",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="plans.price",
                    ),
                ),
                (
                    "subscription",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="items",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="QuantityStep",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="qs")),
                ("effective_at", models.DateTimeField()),
                ("quantity", apps.core.fields.QuantityField()),
                ("recorded_at", models.DateTimeField()),
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
                    "item",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="steps",
                        to="subscriptions.subscriptionitem",
                    ),
                ),
            ],
            options={
                "ordering": ["effective_at", "id"],
            },
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(("status__in", ("trialing", "active", "past_due", "unpaid"))),
                fields=["next_boundary_at"],
                name="subscription_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        ("incomplete", "trialing", "active", "past_due", "unpaid", "paused"),
                    )
                ),
                fields=("organization", "application"),
                name="one_live_subscription",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("trial_end", None), ("trial_end__gt", models.F("started_at")), _connector="OR"
                ),
                name="a_trial_ends_after_it_starts",
            ),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", False), ("status", "canceled")),
                    models.Q(models.Q(("status", "canceled"), _negated=True), ("ended_at", None)),
                    _connector="OR",
                ),
                name="canceled_says_when",
            ),
        ),
        migrations.AddIndex(
            model_name="subscriptionitem",
            index=models.Index(fields=["organization", "subscription"], name="items_by_owner"),
        ),
        migrations.AddConstraint(
            model_name="quantitystep",
            constraint=models.UniqueConstraint(
                fields=("organization", "item", "effective_at"), name="one_quantity_at_an_instant"
            ),
        ),
        migrations.AddConstraint(
            model_name="quantitystep",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 0), ("quantity__lt", 1000000000)),
                name="a_sane_quantity",
            ),
        ),
        operations.TenantTable("Subscription"),
        operations.StateMachine("Subscription", "status", states.TRANSITIONS),
        operations.TenantTable("SubscriptionItem"),
        operations.TenantTable("QuantityStep"),
        operations.AppendOnly("QuantityStep"),
        migrations.RunSQL(ONE_VALUE, MANY_VALUES),
    ]
