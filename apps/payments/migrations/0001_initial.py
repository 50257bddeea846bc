import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

# The mirror of Stripe's objects has no organization column: tenants never see it, only their own
# rows that are projected from it.
STRIPE_IS_STAFF_ONLY = """
DO $$ DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'djstripe\\_%'
  LOOP EXECUTE format('REVOKE ALL ON %I FROM billing_app', name); END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("djstripe", "0003_2_11"),
        ("core", "0001_initial"),
        ("invoicing", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="pay")),
                ("amount", apps.core.fields.MoneyField()),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                (
                    "method",
                    models.CharField(
                        choices=[("manual", "Bank transfer")], default="manual", max_length=20
                    ),
                ),
                ("reference", models.CharField(help_text="unique per invoice", max_length=100)),
                ("received_at", models.DateTimeField()),
                ("recorded_by", models.CharField(help_text="id of who recorded it", max_length=60)),
                (
                    "invoice",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="invoicing.invoice",
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
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "invoice", "reference"),
                        name="one_payment_a_reference",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="a_payment_brings_money"
                    ),
                ],
            },
        ),
        operations.TenantTable("Payment"),
        operations.AppendOnly("Payment"),
        migrations.RunSQL(STRIPE_IS_STAFF_ONLY, migrations.RunSQL.noop),
    ]
