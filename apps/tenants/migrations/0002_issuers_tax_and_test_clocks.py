from decimal import Decimal

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

CREDIT_NOTE_PREFIXES = """
UPDATE tenants_billingentity SET credit_note_prefix = invoice_prefix || '-CN';
"""

# The lock makes two changes take turns: each sees the other's, so together they close no ring.
PAYERS = """
CREATE FUNCTION tenants_check_payer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user = 'billing_app' THEN
    RAISE EXCEPTION 'tenants_organization: only staff choose who pays' USING ERRCODE = '42501';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('tenants_organization.parent'));
  IF EXISTS (
    WITH RECURSIVE above(id) AS (
      SELECT NEW.parent_id
      UNION
      SELECT o.parent_id FROM tenants_organization o JOIN above ON o.id = above.id
      WHERE o.parent_id IS NOT NULL
    ) SELECT FROM above WHERE id = NEW.id
  ) THEN
    RAISE EXCEPTION 'tenants_organization: % would pay for itself', NEW.id USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER no_ring_of_payers_at_first BEFORE INSERT ON tenants_organization FOR EACH ROW
  WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION tenants_check_payer();
CREATE TRIGGER no_ring_of_payers BEFORE UPDATE OF parent_id ON tenants_organization FOR EACH ROW
  WHEN (NEW.parent_id IS DISTINCT FROM OLD.parent_id) EXECUTE FUNCTION tenants_check_payer();
"""
NO_PAYERS = """
DROP TRIGGER no_ring_of_payers_at_first ON tenants_organization;
DROP TRIGGER no_ring_of_payers ON tenants_organization;
DROP FUNCTION tenants_check_payer();
"""

# An organization keeps its clock, and a clock never goes back: what was billed stays in the past.
CLOCKS = """
CREATE FUNCTION tenants_keep_clock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'tenants_organization: % keeps its test clock', OLD.id USING ERRCODE = '23514';
END $$;
CREATE TRIGGER keep_clock BEFORE UPDATE OF test_clock_id ON tenants_organization FOR EACH ROW
  WHEN (OLD.test_clock_id IS NOT NULL AND NEW.test_clock_id IS DISTINCT FROM OLD.test_clock_id)
  EXECUTE FUNCTION tenants_keep_clock();
CREATE FUNCTION tenants_clock_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'tenants_testclock: % never goes back', OLD.id USING ERRCODE = '23514';
END $$;
CREATE TRIGGER clock_forward BEFORE UPDATE OF now ON tenants_testclock FOR EACH ROW
  WHEN (NEW.now < OLD.now) EXECUTE FUNCTION tenants_clock_forward();
"""
NO_CLOCKS = """
DROP TRIGGER keep_clock ON tenants_organization;
DROP FUNCTION tenants_keep_clock();
DROP TRIGGER clock_forward ON tenants_testclock;
DROP FUNCTION tenants_clock_forward();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="TestClock",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="clk")),
                ("name", models.CharField(max_length=100)),
                ("now", models.DateTimeField(help_text="what time it is for its organizations")),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="billingentity",
            name="city",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="correction_limits",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="{currency: minor units} up to which corrections need no review",
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="credit_note_prefix",
            field=models.CharField(db_collation="C", default="", max_length=16),
            preserve_default=False,
        ),
        migrations.RunSQL(CREDIT_NOTE_PREFIXES, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="billingentity",
            name="credit_note_prefix",
            field=models.CharField(
                db_collation="C",
                help_text="starts every credit note's number",
                max_length=16,
                unique=True,
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="grace_days",
            field=models.PositiveSmallIntegerField(
                default=0, help_text="days that a draft waits for late usage before it is issued"
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="hold_factor",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                default=Decimal(10),
                help_text="holds a draft above so many times the customer's usual amount; empty: never",
                max_digits=8,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="inclusive_rounding",
            field=models.CharField(
                choices=[
                    ("net_first", "Net first, tax is the rest"),
                    ("tax_first", "Tax first, net is the rest"),
                ],
                default="net_first",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="late_usage",
            field=models.CharField(
                choices=[
                    ("correct", "Correct it on the next invoice"),
                    ("credit_note", "Correct it with a credit note"),
                    ("reject", "Leave the issued invoice as it is"),
                ],
                default="correct",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="max_items_per_day",
            field=models.PositiveIntegerField(
                default=100, help_text="one-off items that an organization may be billed in a day"
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="max_months_ahead",
            field=models.PositiveSmallIntegerField(
                default=13, help_text="how far ahead anything may be dated"
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="postcode",
            field=models.CharField(blank=True, default="", max_length=20),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="region",
            field=models.CharField(blank=True, default="", max_length=60),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="tax_registrations",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="{place: tax id}; a place is a country, country-region, or EU (One-Stop Shop)",
            ),
        ),
        migrations.AddField(
            model_name="billingentity",
            name="tax_rounding",
            field=models.CharField(
                choices=[
                    ("per_line", "Per line and rate"),
                    ("per_rate", "Per rate"),
                    ("once", "Once per invoice"),
                ],
                default="per_line",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="city",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        migrations.AddField(
            model_name="organization",
            name="invoice_grouping",
            field=models.CharField(
                choices=[
                    ("per_application", "One invoice per application"),
                    ("consolidated", "One invoice for all applications"),
                ],
                default="per_application",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="invoice_hold",
            field=models.BooleanField(default=False, help_text="every draft waits for a review"),
        ),
        migrations.AddField(
            model_name="organization",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                help_text="who pays its invoices; nobody: it does itself",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="postcode",
            field=models.CharField(blank=True, default="", max_length=20),
        ),
        migrations.AddField(
            model_name="organization",
            name="region",
            field=models.CharField(
                blank=True,
                default="",
                help_text="ISO 3166-2 without the country, or a name",
                max_length=60,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="tax_exemption",
            field=models.CharField(
                choices=[
                    ("none", "None: derived from who and where"),
                    ("exempt", "Exempt"),
                    ("reverse_charge", "Reverse charge, always"),
                ],
                default="none",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="tax_exemption_reason",
            field=models.CharField(
                blank=True,
                default="",
                help_text="a VATEX code, or words for the invoice",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="tax_id_checked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="organization",
            name="tax_id_status",
            field=models.CharField(
                choices=[
                    ("unchecked", "Not checked"),
                    ("invalid", "Invalid"),
                    ("valid_format", "Well-formed"),
                    ("verified", "Verified"),
                    ("unreachable", "Well-formed; the register did not answer"),
                ],
                default="unchecked",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="billingentity",
            constraint=models.CheckConstraint(
                condition=models.Q(("grace_days__lte", 90)), name="grace_is_bounded"
            ),
        ),
        migrations.AddConstraint(
            model_name="billingentity",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("hold_factor", None),
                    models.Q(("hold_factor__gte", 1), ("hold_factor__lt", 1000000)),
                    _connector="OR",
                ),
                name="hold_factor_is_a_factor",
            ),
        ),
        migrations.AddConstraint(
            model_name="billingentity",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("max_items_per_day__gte", 1), ("max_months_ahead__range", (1, 120))
                ),
                name="abuse_limits_are_limits",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="test_clock",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="organizations",
                to="tenants.testclock",
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("parent", None),
                    models.Q(("parent", models.F("id")), _negated=True),
                    _connector="OR",
                ),
                name="nobody_is_their_own_payer",
            ),
        ),
        operations.PlatformTable("TestClock"),
        migrations.RunSQL(PAYERS, NO_PAYERS),
        migrations.RunSQL(CLOCKS, NO_CLOCKS),
    ]
