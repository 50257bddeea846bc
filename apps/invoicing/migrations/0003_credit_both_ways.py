from django.db import migrations, models

from apps.core import operations

TRANSITIONS = (
    ("draft", "open"),
    ("open", "paid"),
    ("open", "void"),
    ("open", "uncollectible"),
    ("uncollectible", "paid"),
    ("uncollectible", "void"),
)
PAYMENT_TAKEN_BACK = ("paid", "open")

GUARDS = """
-- A payment that is taken back leaves at least what credit notes promised to pay back.
CREATE FUNCTION invoicing_paid_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE promised bigint;
BEGIN
  SELECT coalesce(sum(refunded_amount), 0) INTO promised
  FROM invoicing_creditnote WHERE invoice_id = NEW.id;
  IF NEW.amount_paid < promised THEN
    RAISE EXCEPTION 'invoicing_invoice: % is refunded of %', promised, NEW.amount_paid
      USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER paid_guard BEFORE UPDATE OF amount_paid ON invoicing_invoice FOR EACH ROW
  WHEN (NEW.amount_paid < OLD.amount_paid) EXECUTE FUNCTION invoicing_paid_guard();
"""
NO_GUARDS = """
DROP TRIGGER paid_guard ON invoicing_invoice;
DROP FUNCTION invoicing_paid_guard();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("invoicing", "0002_complete_documents"),
    ]

    operations = [
        migrations.AddField(
            model_name="charge",
            name="buys",
            field=models.JSONField(
                help_text="terms of the credit that it buys, if it does", null=True
            ),
        ),
        migrations.AlterField(
            model_name="invoiceline", name="kind", field=models.CharField(max_length=20)
        ),
        migrations.RemoveConstraint(
            model_name="creditmovement", name="a_grant_starts_and_ends_once"
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("invoice", None), models.Q(("kind", "expired"), _negated=True)),
                fields=("organization", "grant", "kind"),
                name="a_grant_starts_and_ends_once",
            ),
        ),
        operations.StateMachineExcept(
            "Invoice", "status", before=TRANSITIONS, after=[*TRANSITIONS, PAYMENT_TAKEN_BACK]
        ),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
