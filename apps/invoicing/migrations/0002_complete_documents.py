import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations

INVOICE_IS_FINAL = (
    "(SELECT i.status FROM invoicing_invoice i WHERE i.id = OLD.invoice_id) <> 'draft'"
)
CORRECTION_STATES = (
    ("waiting", "approved"),
    ("waiting", "rejected"),
    ("approved", "billed"),
    ("approved", "rejected"),
    ("billed", "approved"),
)

GUARDS = """
-- Lines, discounts, taxes and credit make the total, at the moment the invoice becomes final.
CREATE OR REPLACE FUNCTION invoicing_total_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found record;
BEGIN
  SELECT coalesce(sum(amount), 0) AS subtotal, coalesce(sum(discount), 0) AS discount,
    coalesce(sum(tax), 0) AS tax, coalesce(sum(tax_included), 0) AS tax_included INTO found
  FROM invoicing_invoiceline WHERE invoice_id = NEW.id;
  IF (found.subtotal, found.discount, found.tax_included)
     IS DISTINCT FROM (NEW.subtotal, NEW.discount, NEW.tax_included) THEN
    RAISE EXCEPTION 'invoicing_invoice: lines add up to %, not %', found.subtotal, NEW.subtotal
      USING ERRCODE = '23514';
  END IF;
  IF found.tax <> NEW.tax OR NEW.tax <> (
    SELECT coalesce(sum(amount), 0) FROM invoicing_invoicetax WHERE invoice_id = NEW.id
  ) THEN
    RAISE EXCEPTION 'invoicing_invoice: taxes do not add up to %', NEW.tax USING ERRCODE = '23514';
  END IF;
  IF NEW.discount <> (
    SELECT coalesce(sum(amount), 0) FROM invoicing_invoicediscount WHERE invoice_id = NEW.id
  ) THEN
    RAISE EXCEPTION 'invoicing_invoice: discounts do not add up to %', NEW.discount
      USING ERRCODE = '23514';
  END IF;
  IF NEW.credits > 0 AND NEW.credits <> (
    SELECT coalesce(-sum(amount), 0) FROM invoicing_creditmovement
    WHERE invoice_id = NEW.id AND kind = 'used'
  ) THEN
    RAISE EXCEPTION 'invoicing_invoice: credit used is not %', NEW.credits USING ERRCODE = '23514';
  END IF;
  IF NEW.total <> NEW.subtotal - NEW.discount + NEW.tax - NEW.tax_included - NEW.credits THEN
    RAISE EXCEPTION 'invoicing_invoice: the total is not %', NEW.total USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;

-- Numbers in blocks, for runs that issue many invoices in one transaction; a block begins where the
-- last one ended. SECURITY DEFINER: whoever bills takes numbers and does nothing else to a counter.
DROP FUNCTION invoicing_take_number(bigint, text);
CREATE FUNCTION invoicing_take_numbers(entity bigint, wanted_series text, how_many integer)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE first_taken bigint;
BEGIN
  IF how_many < 1 THEN
    RAISE EXCEPTION 'invoicing_take_numbers: % is no number of invoices', how_many
      USING ERRCODE = '22023';
  END IF;
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, 1) ON CONFLICT DO NOTHING;
  UPDATE invoicing_numberseries SET next = next + how_many
  WHERE billing_entity_id = entity AND series = wanted_series
  RETURNING next - how_many INTO first_taken;
  RETURN first_taken;
END $$;

-- A one-time price is billed once, and the progressive lines of a period are numbered.
CREATE UNIQUE INDEX a_one_time_price_is_billed_once ON invoicing_invoiceline (item_id)
  WHERE live AND kind = 'one_off' AND item_id IS NOT NULL;
CREATE UNIQUE INDEX billed_once_at_a_threshold ON invoicing_invoiceline
  (item_id, lower(during), revision) WHERE live AND kind = 'progressive';

-- A grant's remainder is the sum of its movements. The row lock of the update makes two who spend
-- at once wait for each other, and the CHECK refuses the one who comes too late.
CREATE FUNCTION invoicing_move_credit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE invoicing_creditgrant SET remaining = remaining + NEW.amount
  WHERE id = NEW.grant_id AND organization_id = NEW.organization_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'invoicing_creditmovement: there is no grant %', NEW.grant_id
      USING ERRCODE = '23503';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER move_credit AFTER INSERT ON invoicing_creditmovement
  FOR EACH ROW EXECUTE FUNCTION invoicing_move_credit();
CREATE FUNCTION invoicing_credit_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved bigint; left_over bigint;
BEGIN
  SELECT coalesce(sum(amount), 0) INTO moved FROM invoicing_creditmovement WHERE grant_id = NEW.id;
  SELECT remaining INTO left_over FROM invoicing_creditgrant WHERE id = NEW.id;
  IF left_over IS DISTINCT FROM moved THEN
    RAISE EXCEPTION 'invoicing_creditgrant: % remains of grant %, its movements leave %',
      left_over, NEW.id, moved USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER credit_balance AFTER INSERT OR UPDATE ON invoicing_creditgrant
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION invoicing_credit_balance();

-- Credit notes together never exceed what the invoice billed, and repay no more than was paid.
CREATE FUNCTION invoicing_note_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bill record; taken record;
BEGIN
  SELECT status, currency, amount_paid, subtotal - discount + tax - tax_included AS gross
  INTO bill FROM invoicing_invoice WHERE id = NEW.invoice_id FOR UPDATE;
  IF bill.status IN ('draft', 'void') OR bill.currency <> NEW.currency THEN
    RAISE EXCEPTION 'invoicing_creditnote: invoice % is % in %', NEW.invoice_id, bill.status,
      bill.currency USING ERRCODE = '23514';
  END IF;
  SELECT coalesce(sum(total), 0) AS total, coalesce(sum(refunded_amount), 0) AS refunded INTO taken
  FROM invoicing_creditnote WHERE invoice_id = NEW.invoice_id;
  IF taken.total > bill.gross OR taken.refunded > bill.amount_paid THEN
    RAISE EXCEPTION 'invoicing_creditnote: % is more than what is left of invoice %', NEW.total,
      NEW.invoice_id USING ERRCODE = '23514';
  END IF;
  UPDATE invoicing_invoice SET credited = credited + NEW.offset_amount WHERE id = NEW.invoice_id;
  RETURN NULL;
END $$;
CREATE TRIGGER note_guard AFTER INSERT ON invoicing_creditnote
  FOR EACH ROW EXECUTE FUNCTION invoicing_note_guard();
-- The CHECK of the line refuses what is more than is left of it.
CREATE FUNCTION invoicing_credit_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE invoicing_invoiceline SET credited = credited + NEW.amount WHERE id = NEW.line_id
    AND invoice_id = (SELECT invoice_id FROM invoicing_creditnote WHERE id = NEW.credit_note_id);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'invoicing_creditnoteline: line % is of another invoice', NEW.line_id
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER credit_line AFTER INSERT ON invoicing_creditnoteline
  FOR EACH ROW EXECUTE FUNCTION invoicing_credit_line();
CREATE FUNCTION invoicing_note_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found record;
BEGIN
  SELECT coalesce(sum(amount), 0) AS net, coalesce(sum(tax), 0) AS tax INTO found
  FROM invoicing_creditnoteline WHERE credit_note_id = NEW.id;
  IF found.net <> NEW.subtotal OR found.tax <> NEW.tax THEN
    RAISE EXCEPTION 'invoicing_creditnote: lines add up to % and %, not % and %', found.net,
      found.tax, NEW.subtotal, NEW.tax USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER note_balance AFTER INSERT ON invoicing_creditnote
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION invoicing_note_balance();
"""
NO_GUARDS = """
DROP TRIGGER note_balance ON invoicing_creditnote;
DROP FUNCTION invoicing_note_balance();
DROP TRIGGER credit_line ON invoicing_creditnoteline;
DROP FUNCTION invoicing_credit_line();
DROP TRIGGER note_guard ON invoicing_creditnote;
DROP FUNCTION invoicing_note_guard();
DROP TRIGGER credit_balance ON invoicing_creditgrant;
DROP FUNCTION invoicing_credit_balance();
DROP TRIGGER move_credit ON invoicing_creditmovement;
DROP FUNCTION invoicing_move_credit();
DROP FUNCTION invoicing_take_numbers(bigint, text, integer);
CREATE FUNCTION invoicing_take_number(entity bigint, wanted_series text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE taken bigint;
BEGIN
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, 1) ON CONFLICT DO NOTHING;
  UPDATE invoicing_numberseries SET next = next + 1
  WHERE billing_entity_id = entity AND series = wanted_series RETURNING next - 1 INTO taken;
  RETURN taken;
END $$;
DROP INDEX billed_once_at_a_threshold;
DROP INDEX a_one_time_price_is_billed_once;
CREATE OR REPLACE FUNCTION invoicing_total_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found bigint;
BEGIN
  SELECT coalesce(sum(amount), 0) INTO found FROM invoicing_invoiceline WHERE invoice_id = NEW.id;
  IF found <> NEW.subtotal OR found <> NEW.total THEN
    RAISE EXCEPTION 'invoicing_invoice: lines add up to %, not %', found, NEW.total
      USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
"""
PAID_LATER = ["status", "amount_paid", "paid_at", "voided_at", "void_reason"]


class Migration(migrations.Migration):
    dependencies = [
        ("invoicing", "0001_initial"),
        ("plans", "0001_initial"),
        ("subscriptions", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Charge",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="charge")),
                ("key", models.CharField(default="charge", max_length=50)),
                ("name", models.CharField(max_length=200)),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("quantity", apps.core.fields.QuantityField(default=1)),
                (
                    "unit_amount",
                    apps.core.fields.QuantityField(
                        help_text="major units, up to 12 decimal places"
                    ),
                ),
                (
                    "amount",
                    apps.core.fields.MoneyField(help_text="quantity × unit amount, rounded once"),
                ),
                ("during", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                (
                    "source",
                    models.CharField(
                        blank=True, default="", help_text="public id of the cause", max_length=60
                    ),
                ),
                ("recorded_at", models.DateTimeField()),
                ("recorded_by", models.CharField(max_length=60)),
                ("withdrawn_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Correction",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="cor")),
                ("revision", models.PositiveSmallIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Waits for review"),
                            ("approved", "Goes on the next invoice"),
                            ("rejected", "Not billed"),
                            ("billed", "Billed or credited"),
                        ],
                        max_length=10,
                    ),
                ),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("quantity_before", apps.core.fields.QuantityField()),
                ("quantity", apps.core.fields.QuantityField()),
                ("amount_before", apps.core.fields.MoneyField()),
                ("amount", apps.core.fields.MoneyField()),
                (
                    "explanation",
                    models.JSONField(help_text="the whole line as it would be billed now"),
                ),
                ("usage_epoch", models.IntegerField()),
                ("usage_snapshot", models.TextField()),
                ("found_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                ("decided_by", models.CharField(blank=True, default="", max_length=60)),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="CreditGrant",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="cg")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("promotional", "Promotional"),
                            ("purchased", "Purchased"),
                            ("refund", "Owed to the customer"),
                            ("commitment", "Prepaid commitment"),
                        ],
                        max_length=12,
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("amount", apps.core.fields.MoneyField(help_text="as granted, in minor units")),
                ("remaining", apps.core.fields.MoneyField(default=0)),
                (
                    "priority",
                    models.SmallIntegerField(
                        default=50, help_text="0 to 100; the lowest is used first"
                    ),
                ),
                ("granted_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "line_kinds",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="line kinds it pays; none means every kind",
                    ),
                ),
                (
                    "price_keys",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="line keys it pays; none means every line",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        blank=True, default="", help_text="public id of the cause", max_length=60
                    ),
                ),
                ("granted_by", models.CharField(max_length=60)),
                ("voided_at", models.DateTimeField(null=True)),
                ("void_reason", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "ordering": ["priority", "expires_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="CreditMovement",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="cm")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("granted", "Granted"),
                            ("used", "Used on an invoice"),
                            ("returned", "Given back by a void invoice"),
                            ("expired", "Expired"),
                            ("voided", "Withdrawn"),
                        ],
                        max_length=10,
                    ),
                ),
                ("amount", apps.core.fields.MoneyField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="CreditNote",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="cn")),
                ("series", models.CharField(default="credit_note", max_length=20)),
                ("sequence", models.BigIntegerField()),
                ("number", models.CharField(db_collation="C", max_length=40)),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("duplicate", "Billed twice"),
                            ("product_unsatisfactory", "Not as agreed"),
                            ("order_change", "Order changed"),
                            ("order_cancellation", "Order canceled"),
                            ("fraudulent", "Fraud"),
                            ("usage_corrected", "Usage corrected"),
                            ("other", "Other"),
                        ],
                        max_length=24,
                    ),
                ),
                ("memo", models.CharField(blank=True, default="", max_length=500)),
                (
                    "subtotal",
                    apps.core.fields.MoneyField(help_text="before tax, discounts taken off"),
                ),
                ("tax", apps.core.fields.MoneyField(default=0)),
                ("total", apps.core.fields.MoneyField()),
                ("offset_amount", apps.core.fields.MoneyField(default=0)),
                ("credited_amount", apps.core.fields.MoneyField(default=0)),
                ("refunded_amount", apps.core.fields.MoneyField(default=0)),
                ("taxes", models.JSONField(default=list, help_text="tax taken back, by rate")),
                ("parties", models.JSONField(default=dict)),
                ("timezone", models.CharField(max_length=64)),
                ("locale", models.CharField(default="en", max_length=20)),
                ("issued_at", models.DateTimeField()),
                ("issued_by", models.CharField(max_length=60)),
                ("content_hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["-issued_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="CreditNoteLine",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="cnl")),
                ("position", models.PositiveIntegerField()),
                ("name", models.CharField(max_length=200)),
                ("amount", apps.core.fields.MoneyField(help_text="net, after discounts")),
                ("tax", apps.core.fields.MoneyField(default=0)),
                ("explanation", models.JSONField(default=dict)),
            ],
            options={
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="InvoiceDiscount",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "discount",
                    models.CharField(
                        help_text="public id of the customer's discount", max_length=60
                    ),
                ),
                ("coupon", models.CharField(max_length=60)),
                ("name", models.CharField(max_length=200)),
                ("amount", apps.core.fields.MoneyField()),
                ("position", models.PositiveIntegerField()),
            ],
            options={
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="InvoiceTax",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "rate",
                    models.CharField(blank=True, default="", help_text="public id", max_length=60),
                ),
                ("name", models.CharField(max_length=100)),
                ("percent", models.DecimalField(decimal_places=6, max_digits=9)),
                ("kind", models.CharField(default="vat", max_length=10)),
                ("jurisdiction", models.CharField(blank=True, default="", max_length=20)),
                ("treatment", models.CharField(default="standard", max_length=20)),
                (
                    "ground",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="why it is not charged: a VATEX code",
                        max_length=200,
                    ),
                ),
                ("inclusive", models.BooleanField(default=False)),
                ("base", apps.core.fields.MoneyField()),
                ("amount", apps.core.fields.MoneyField()),
                ("position", models.PositiveIntegerField()),
            ],
            options={
                "verbose_name_plural": "invoice taxes",
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="RechargeRule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="rr")),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("threshold", apps.core.fields.MoneyField()),
                ("amount", apps.core.fields.MoneyField()),
                ("monthly_cap", apps.core.fields.MoneyField(default=0, help_text="0: none")),
                ("active", models.BooleanField(default=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="never_paid_too_much",
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="paid_means_all_of_it",
        ),
        migrations.AddField(
            model_name="invoice",
            name="approval_reason",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="invoice",
            name="approved_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="approved_by",
            field=models.CharField(blank=True, default="", max_length=60),
        ),
        migrations.AddField(
            model_name="invoice",
            name="credited",
            field=apps.core.fields.MoneyField(default=0, help_text="taken off by credit notes"),
        ),
        migrations.AddField(
            model_name="invoice",
            name="credits",
            field=apps.core.fields.MoneyField(
                default=0, help_text="credit used up; negative when a negative sum became credit"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="discount",
            field=apps.core.fields.MoneyField(default=0),
        ),
        migrations.AddField(
            model_name="invoice",
            name="grace_until",
            field=models.DateTimeField(help_text="the draft is not issued before", null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="hold_reason",
            field=models.CharField(blank=True, default="", max_length=500),
        ),
        migrations.AddField(
            model_name="invoice",
            name="kind",
            field=models.CharField(
                choices=[
                    ("recurring", "For a period"),
                    ("change", "For a change"),
                    ("progressive", "For usage so far"),
                    ("one_off", "Single"),
                ],
                default="recurring",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="memo",
            field=models.CharField(blank=True, default="", max_length=500),
        ),
        migrations.AddField(
            model_name="invoice",
            name="settlement",
            field=models.JSONField(
                default=dict, help_text="discounts, taxes and credits, with their arithmetic"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="tax",
            field=apps.core.fields.MoneyField(
                default=0, help_text="all of it, also what the lines include already"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="tax_included",
            field=apps.core.fields.MoneyField(
                default=0, help_text="the part of it that the lines include"
            ),
        ),
        migrations.AddField(
            model_name="invoice",
            name="uncollectible_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="uncollectible_reason",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="invoice",
            name="written_off",
            field=apps.core.fields.MoneyField(default=0),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="corrects",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="invoicing.invoiceline",
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="credited",
            field=apps.core.fields.MoneyField(
                default=0, help_text="net amount taken back by credit notes"
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="discount",
            field=apps.core.fields.MoneyField(default=0, help_text="taken off by discounts"),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="revision",
            field=models.PositiveSmallIntegerField(
                default=0,
                help_text="counts corrections of a line, and progressive lines of a period",
            ),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="tax",
            field=apps.core.fields.MoneyField(default=0),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="tax_included",
            field=apps.core.fields.MoneyField(default=0),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="account",
            field=models.CharField(
                choices=[
                    ("receivable", "Receivable"),
                    ("cash", "Cash"),
                    ("revenue", "Revenue"),
                    ("deferred_revenue", "Deferred revenue"),
                    ("tax_payable", "Tax payable"),
                    ("customer_credit", "Customer credit"),
                    ("promotion", "Promotional credit"),
                    ("write_off", "Written off"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="invoiceline",
            index=models.Index(
                condition=models.Q(("live", True)),
                fields=["organization", "item"],
                name="standing_lines_of_item",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_paid__gte", 0),
                    ("credited__gte", 0),
                    models.Q(
                        (
                            "amount_paid__lte",
                            django.db.models.expressions.CombinedExpression(
                                models.F("total"), "-", models.F("credited")
                            ),
                        ),
                        ("total__lt", 0),
                        _connector="OR",
                    ),
                ),
                name="never_paid_too_much",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "paid"), _negated=True),
                    (
                        "amount_paid",
                        django.db.models.expressions.CombinedExpression(
                            models.F("total"), "-", models.F("credited")
                        ),
                    ),
                    ("total__lt", 0),
                    _connector="OR",
                ),
                name="paid_means_all_of_it",
            ),
        ),
        migrations.AddField(
            model_name="charge",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="charge",
            name="subscription",
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
            model_name="invoiceline",
            name="charge",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="invoicing.charge",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(
                condition=models.Q(("charge__isnull", False), ("live", True)),
                fields=("organization", "charge"),
                name="a_charge_is_billed_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(
                condition=models.Q(("corrects__isnull", False), ("live", True)),
                fields=("organization", "corrects", "revision"),
                name="a_correction_is_billed_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("credited", 0),
                    models.Q(
                        ("credited__gt", 0),
                        (
                            "credited__lte",
                            django.db.models.expressions.CombinedExpression(
                                django.db.models.expressions.CombinedExpression(
                                    models.F("amount"), "-", models.F("discount")
                                ),
                                "-",
                                models.F("tax_included"),
                            ),
                        ),
                    ),
                    _connector="OR",
                ),
                name="never_credited_too_much",
            ),
        ),
        migrations.AddField(
            model_name="correction",
            name="line",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="corrections",
                to="invoicing.invoiceline",
            ),
        ),
        migrations.AddField(
            model_name="correction",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="creditgrant",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="creditmovement",
            name="grant",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="movements",
                to="invoicing.creditgrant",
            ),
        ),
        migrations.AddField(
            model_name="creditmovement",
            name="invoice",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="credit_movements",
                to="invoicing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="creditmovement",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="billing_entity",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.billingentity",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="invoice",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="credit_notes",
                to="invoicing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="creditnoteline",
            name="credit_note",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lines",
                to="invoicing.creditnote",
            ),
        ),
        migrations.AddField(
            model_name="creditnoteline",
            name="line",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="credit_lines",
                to="invoicing.invoiceline",
            ),
        ),
        migrations.AddField(
            model_name="creditnoteline",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="invoicediscount",
            name="invoice",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="discounts",
                to="invoicing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="invoicediscount",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="invoicetax",
            name="invoice",
            field=apps.core.fields.TenantForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="taxes",
                to="invoicing.invoice",
            ),
        ),
        migrations.AddField(
            model_name="invoicetax",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddField(
            model_name="rechargerule",
            name="organization",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.organization",
            ),
        ),
        migrations.AddIndex(
            model_name="charge",
            index=models.Index(fields=["organization", "currency"], name="charges_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="charge",
            constraint=models.UniqueConstraint(
                condition=models.Q(("source", ""), _negated=True),
                fields=("organization", "source"),
                name="one_charge_a_cause",
            ),
        ),
        migrations.AddIndex(
            model_name="correction",
            index=models.Index(fields=["organization", "status"], name="corrections_by_status"),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.UniqueConstraint(
                fields=("organization", "line", "revision"), name="one_correction_a_revision"
            ),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(("revision__gte", 1)), name="revisions_count_from_one"
            ),
        ),
        migrations.AddIndex(
            model_name="creditgrant",
            index=models.Index(fields=["organization", "currency"], name="grants_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="a_grant_is_worth_something"
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("remaining__gte", 0), ("remaining__lte", models.F("amount"))),
                name="credit_never_below_zero",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__gte", 0), ("priority__lte", 100)),
                name="grant_priority_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_at", None),
                    ("expires_at__gt", models.F("granted_at")),
                    _connector="OR",
                ),
                name="a_grant_expires_after_it_starts",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("source", ""), _negated=True),
                fields=("organization", "source"),
                name="one_grant_a_cause",
            ),
        ),
        migrations.AddIndex(
            model_name="creditmovement",
            index=models.Index(fields=["organization", "invoice"], name="credit_of_invoice"),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__gt", 0), ("kind__in", ["granted", "returned"])),
                    models.Q(("amount__lt", 0), ("kind__in", ["used", "expired", "voided"])),
                    _connector="OR",
                ),
                name="a_movement_has_its_sign",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("invoice__isnull", False), ("kind__in", ["used", "returned"])),
                    models.Q(("invoice", None), ("kind__in", ["granted", "expired", "voided"])),
                    _connector="OR",
                ),
                name="credit_is_used_on_an_invoice",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("invoice__isnull", False)),
                fields=("organization", "grant", "invoice", "kind"),
                name="a_grant_pays_an_invoice_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditmovement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("invoice", None)),
                fields=("organization", "grant", "kind"),
                name="a_grant_starts_and_ends_once",
            ),
        ),
        migrations.AddIndex(
            model_name="creditnote",
            index=models.Index(fields=["organization", "invoice"], name="notes_of_invoice"),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.UniqueConstraint(
                fields=("billing_entity", "series", "sequence"), name="one_credit_note_a_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("total__gt", 0),
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            models.F("subtotal"), "+", models.F("tax")
                        ),
                    ),
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("offset_amount"), "+", models.F("credited_amount")
                            ),
                            "+",
                            models.F("refunded_amount"),
                        ),
                    ),
                    ("credited_amount__gte", 0),
                    ("offset_amount__gte", 0),
                    ("refunded_amount__gte", 0),
                ),
                name="a_credit_note_adds_up",
            ),
        ),
        migrations.AddIndex(
            model_name="creditnoteline",
            index=models.Index(fields=["organization", "line"], name="notes_of_line"),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.UniqueConstraint(
                fields=("organization", "credit_note", "position"), name="one_note_line_a_position"
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0)), name="a_note_takes_back"
            ),
        ),
        migrations.AddIndex(
            model_name="invoicediscount",
            index=models.Index(fields=["organization", "discount"], name="uses_of_discount"),
        ),
        migrations.AddConstraint(
            model_name="invoicediscount",
            constraint=models.UniqueConstraint(
                fields=("organization", "invoice", "discount"), name="a_discount_once_an_invoice"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoicetax",
            constraint=models.UniqueConstraint(
                fields=("organization", "invoice", "position"), name="one_tax_a_position"
            ),
        ),
        migrations.AddConstraint(
            model_name="rechargerule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("active", True)),
                fields=("organization", "currency"),
                name="one_recharge_a_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="rechargerule",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0), ("threshold__gte", 0)),
                name="a_recharge_adds_credit",
            ),
        ),
        operations.AppendOnlyExcept(
            "Invoice",
            when="OLD.status <> 'draft'",
            before=PAID_LATER,
            after=[
                *PAID_LATER,
                "credited",
                "written_off",
                "uncollectible_at",
                "uncollectible_reason",
            ],
        ),
        operations.AppendOnlyExcept(
            "InvoiceLine", when=INVOICE_IS_FINAL, before=["live"], after=["live", "credited"]
        ),
        operations.TenantTable("InvoiceDiscount"),
        operations.AppendOnly("InvoiceDiscount", when=INVOICE_IS_FINAL),
        operations.TenantTable("InvoiceTax"),
        operations.AppendOnly("InvoiceTax", when=INVOICE_IS_FINAL),
        operations.TenantTable("CreditGrant"),
        operations.AppendOnly("CreditGrant", may_change=["remaining", "voided_at", "void_reason"]),
        operations.TenantTable("CreditMovement"),
        operations.AppendOnly("CreditMovement"),
        operations.TenantTable("RechargeRule"),
        operations.TenantTable("CreditNote"),
        operations.AppendOnly("CreditNote"),
        operations.TenantTable("CreditNoteLine"),
        operations.AppendOnly("CreditNoteLine"),
        operations.TenantTable("Charge"),
        operations.AppendOnly("Charge", may_change=["withdrawn_at"]),
        operations.TenantKeys("InvoiceLine", "charge", "corrects"),
        operations.TenantTable("Correction"),
        operations.AppendOnly(
            "Correction", may_change=["status", "decided_at", "decided_by", "reason"]
        ),
        operations.StateMachine("Correction", "status", CORRECTION_STATES),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
