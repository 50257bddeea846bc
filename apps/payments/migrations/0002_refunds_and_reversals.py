import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

GUARDS = """
-- A reversal takes back exactly what its payment brought, on the same invoice.
CREATE FUNCTION payments_reversal_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE brought record;
BEGIN
  SELECT invoice_id, amount, excess, currency, reverses_id INTO brought
  FROM payments_payment WHERE id = NEW.reverses_id;
  IF brought.reverses_id IS NOT NULL
    OR (brought.invoice_id, -brought.amount, -brought.excess, brought.currency)
      IS DISTINCT FROM (NEW.invoice_id, NEW.amount, NEW.excess, NEW.currency) THEN
    RAISE EXCEPTION 'payments_payment: % is not what payment % brought', NEW.amount,
      NEW.reverses_id USING ERRCODE = '23514';
  END IF;
  IF EXISTS (SELECT FROM payments_refund WHERE payment_id = NEW.reverses_id) THEN
    RAISE EXCEPTION 'payments_payment: payment % was refunded', NEW.reverses_id
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER reversal_guard AFTER INSERT ON payments_payment FOR EACH ROW
  WHEN (NEW.reverses_id IS NOT NULL) EXECUTE FUNCTION payments_reversal_guard();

-- Refunds never exceed what their credit note promised, nor what their payment brought. The lock of
-- the invoice makes two at once wait for each other.
CREATE FUNCTION payments_refund_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE note record; brought record; refunded bigint;
BEGIN
  PERFORM FROM invoicing_invoice WHERE id = NEW.invoice_id FOR UPDATE;
  SELECT invoice_id, currency, refunded_amount INTO note
  FROM invoicing_creditnote WHERE id = NEW.credit_note_id;
  SELECT coalesce(sum(amount), 0) INTO refunded
  FROM payments_refund WHERE credit_note_id = NEW.credit_note_id;
  IF (note.invoice_id, note.currency) IS DISTINCT FROM (NEW.invoice_id, NEW.currency)
    OR refunded > note.refunded_amount THEN
    RAISE EXCEPTION 'payments_refund: % is more than credit note % pays back', refunded,
      NEW.credit_note_id USING ERRCODE = '23514';
  END IF;
  IF NEW.payment_id IS NOT NULL THEN
    SELECT invoice_id, amount - excess AS counted INTO brought
    FROM payments_payment WHERE id = NEW.payment_id;
    SELECT sum(amount) INTO refunded FROM payments_refund WHERE payment_id = NEW.payment_id;
    IF brought.invoice_id <> NEW.invoice_id OR refunded > brought.counted
      OR EXISTS (SELECT FROM payments_payment WHERE reverses_id = NEW.payment_id) THEN
      RAISE EXCEPTION 'payments_refund: payment % did not bring %', NEW.payment_id, refunded
        USING ERRCODE = '23514';
    END IF;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER refund_guard AFTER INSERT ON payments_refund
  FOR EACH ROW EXECUTE FUNCTION payments_refund_guard();
"""
NO_GUARDS = """
DROP TRIGGER refund_guard ON payments_refund;
DROP FUNCTION payments_refund_guard();
DROP TRIGGER reversal_guard ON payments_payment;
DROP FUNCTION payments_reversal_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("invoicing", "0003_credit_both_ways"),
        ("payments", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="payment", name="a_payment_brings_money"),
        migrations.AddField(
            model_name="payment",
            name="excess",
            field=apps.core.fields.MoneyField(default=0, help_text="kept as the customer's credit"),
        ),
        migrations.AddField(
            model_name="payment",
            name="reason",
            field=models.CharField(
                blank=True, default="", help_text="why it reverses", max_length=200
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="reverses",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reversals",
                to="payments.payment",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("reverses__isnull", False)),
                fields=("organization", "reverses"),
                name="a_payment_is_reversed_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("amount__gt", 0),
                        ("excess__gte", 0),
                        ("excess__lte", models.F("amount")),
                        ("reverses", None),
                    ),
                    models.Q(
                        ("amount__lt", 0),
                        ("excess__gte", models.F("amount")),
                        ("excess__lte", 0),
                        ("reverses__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="a_payment_brings_money",
            ),
        ),
        operations.TenantKeys("Payment", "reverses"),
        migrations.CreateModel(
            name="Refund",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="re")),
                ("amount", apps.core.fields.MoneyField()),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                (
                    "method",
                    models.CharField(
                        choices=[("manual", "Bank transfer")], default="manual", max_length=20
                    ),
                ),
                (
                    "reference",
                    models.CharField(help_text="unique per credit note", max_length=100),
                ),
                ("refunded_at", models.DateTimeField()),
                ("recorded_by", models.CharField(help_text="id of who recorded it", max_length=60)),
                (
                    "credit_note",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="invoicing.creditnote",
                    ),
                ),
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
                (
                    "payment",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refunds",
                        to="payments.payment",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "credit_note", "reference"),
                        name="one_refund_a_reference",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="a_refund_pays_back"
                    ),
                ],
            },
        ),
        operations.TenantTable("Refund"),
        operations.AppendOnly("Refund"),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
