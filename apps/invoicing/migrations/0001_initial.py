import django.contrib.postgres.fields.ranges
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import apps.core.fields
from apps.core import operations
from apps.invoicing.models import TRANSITIONS

INVOICE_IS_FINAL = (
    "(SELECT i.status FROM invoicing_invoice i WHERE i.id = OLD.invoice_id) <> 'draft'"
)

GUARDS = """
-- No period of an item is billed twice on standing invoices: in advance, in arrears, or as the
-- first charge of an item that started or ended inside a period.
ALTER TABLE invoicing_invoiceline ADD CONSTRAINT billed_once_in_advance
  EXCLUDE USING gist (int8range(item_id, item_id, '[]') WITH &&, during WITH &&)
  WHERE (live AND kind = 'advance' AND item_id IS NOT NULL);
ALTER TABLE invoicing_invoiceline ADD CONSTRAINT billed_once_in_arrears
  EXCLUDE USING gist (int8range(item_id, item_id, '[]') WITH &&, during WITH &&)
  WHERE (live AND kind = 'arrears' AND item_id IS NOT NULL);
CREATE UNIQUE INDEX billed_once_at_a_turn ON invoicing_invoiceline (item_id, reason, lower(during))
  WHERE live AND kind = 'proration' AND step_id IS NULL;

-- A final invoice takes no more lines, and a line dies only with its invoice.
CREATE FUNCTION invoicing_line_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE now_is text;
BEGIN
  SELECT status INTO now_is FROM invoicing_invoice WHERE id = NEW.invoice_id;
  IF TG_OP = 'INSERT' AND now_is IS DISTINCT FROM 'draft' THEN
    RAISE EXCEPTION 'invoicing_invoiceline: invoice % is final', NEW.invoice_id
      USING ERRCODE = '42501';
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.live IS DISTINCT FROM NEW.live
     AND (NEW.live OR now_is IS DISTINCT FROM 'void') THEN
    RAISE EXCEPTION 'invoicing_invoiceline: line % lives as long as its invoice', OLD.id
      USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER line_guard BEFORE INSERT OR UPDATE ON invoicing_invoiceline
  FOR EACH ROW EXECUTE FUNCTION invoicing_line_guard();

-- The sum of the lines is the total, at the moment the invoice becomes final.
CREATE FUNCTION invoicing_total_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found bigint;
BEGIN
  SELECT coalesce(sum(amount), 0) INTO found FROM invoicing_invoiceline WHERE invoice_id = NEW.id;
  IF found <> NEW.subtotal OR found <> NEW.total THEN
    RAISE EXCEPTION 'invoicing_invoice: lines add up to %, not %', found, NEW.total
      USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER total_guard BEFORE UPDATE OF status ON invoicing_invoice FOR EACH ROW
  WHEN (OLD.status = 'draft' AND NEW.status <> 'draft')
  EXECUTE FUNCTION invoicing_total_guard();

-- Invoices are born as drafts.
CREATE FUNCTION invoicing_born_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.status <> 'draft' THEN
    RAISE EXCEPTION 'invoicing_invoice: an invoice starts as a draft' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER born_draft BEFORE INSERT ON invoicing_invoice
  FOR EACH ROW EXECUTE FUNCTION invoicing_born_draft();

-- Numbers without gaps: the counter row is locked from here to the commit, so take it last.
-- SECURITY DEFINER: whoever bills may take the next number and do nothing else to the counter.
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

-- A ledger transaction sums to zero in one currency.
ALTER TABLE invoicing_ledgerentry ADD CONSTRAINT ledger_one_currency
  FOREIGN KEY (organization_id, transaction_id, currency)
  REFERENCES invoicing_ledgertransaction (organization_id, id, currency);
CREATE FUNCTION invoicing_ledger_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total numeric;
BEGIN
  SELECT sum(amount) INTO total FROM invoicing_ledgerentry WHERE transaction_id = NEW.transaction_id;
  IF total <> 0 THEN
    RAISE EXCEPTION 'invoicing_ledgerentry: movement % is off by %', NEW.transaction_id, total
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_balance AFTER INSERT ON invoicing_ledgerentry
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION invoicing_ledger_balance();
"""
NO_GUARDS = """
DROP TRIGGER ledger_balance ON invoicing_ledgerentry;
DROP FUNCTION invoicing_ledger_balance();
DROP FUNCTION invoicing_take_number(bigint, text);
DROP TRIGGER born_draft ON invoicing_invoice;
DROP FUNCTION invoicing_born_draft();
DROP TRIGGER total_guard ON invoicing_invoice;
DROP FUNCTION invoicing_total_guard();
DROP TRIGGER line_guard ON invoicing_invoiceline;
DROP FUNCTION invoicing_line_guard();
DROP INDEX billed_once_at_a_turn;
ALTER TABLE invoicing_invoiceline DROP CONSTRAINT billed_once_in_advance;
ALTER TABLE invoicing_invoiceline DROP CONSTRAINT billed_once_in_arrears;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("core", "0001_initial"),
        ("plans", "0001_initial"),
        ("subscriptions", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Invoice",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="inv")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("open", "Open"),
                            ("paid", "Paid"),
                            ("void", "Void"),
                            ("uncollectible", "Uncollectible"),
                        ],
                        default="draft",
                        max_length=14,
                    ),
                ),
                ("series", models.CharField(default="invoice", max_length=20)),
                ("sequence", models.BigIntegerField(null=True)),
                ("number", models.CharField(db_collation="C", max_length=40, null=True)),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("collection", models.CharField(default="manual", max_length=16)),
                ("timezone", models.CharField(max_length=64)),
                ("locale", models.CharField(default="en", max_length=20)),
                ("boundary_at", models.DateTimeField(null=True)),
                ("boundary_index", models.PositiveIntegerField(null=True)),
                ("revision", models.PositiveSmallIntegerField(default=0)),
                ("period", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                ("issued_at", models.DateTimeField(help_text="the date on the document")),
                ("due_at", models.DateTimeField()),
                ("subtotal", apps.core.fields.MoneyField(default=0)),
                ("total", apps.core.fields.MoneyField(default=0)),
                ("amount_paid", apps.core.fields.MoneyField(default=0)),
                (
                    "parties",
                    models.JSONField(default=dict, help_text="issuer and customer as they were"),
                ),
                ("finalized_at", models.DateTimeField(null=True)),
                ("paid_at", models.DateTimeField(null=True)),
                ("voided_at", models.DateTimeField(null=True)),
                ("void_reason", models.CharField(blank=True, default="", max_length=200)),
                ("content_hash", models.CharField(blank=True, default="", max_length=64)),
                (
                    "billing_entity",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.billingentity",
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
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "ordering": ["-issued_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="InvoiceLine",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="il")),
                ("position", models.PositiveIntegerField()),
                ("key", models.CharField(max_length=50)),
                ("kind", models.CharField(max_length=12)),
                ("reason", models.CharField(max_length=20)),
                ("name", models.CharField(max_length=200)),
                ("during", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                ("quantity", apps.core.fields.QuantityField()),
                ("amount", apps.core.fields.MoneyField()),
                ("explanation", models.JSONField()),
                ("usage_epoch", models.IntegerField(null=True)),
                ("usage_snapshot", models.TextField(blank=True, default="")),
                ("live", models.BooleanField(default=True)),
                (
                    "invoice",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="invoicing.invoice",
                    ),
                ),
                (
                    "item",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="subscriptions.subscriptionitem",
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
                    "price",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="plans.price",
                    ),
                ),
                (
                    "step",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="subscriptions.quantitystep",
                    ),
                ),
            ],
            options={
                "ordering": ["position", "id"],
            },
        ),
        migrations.CreateModel(
            name="LedgerTransaction",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="ltx")),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                ("source", models.CharField(help_text="public id of the cause", max_length=60)),
                ("kind", models.CharField(max_length=20)),
                ("at", models.DateTimeField()),
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
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("currency", apps.core.fields.CurrencyField(max_length=3)),
                (
                    "account",
                    models.CharField(
                        choices=[
                            ("receivable", "Receivable"),
                            ("cash", "Cash"),
                            ("revenue", "Revenue"),
                        ],
                        max_length=20,
                    ),
                ),
                ("amount", apps.core.fields.MoneyField()),
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
                    "transaction",
                    apps.core.fields.TenantForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="invoicing.ledgertransaction",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "ledger entries",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="NumberSeries",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("series", models.CharField(default="invoice", max_length=20)),
                ("next", models.BigIntegerField(default=1)),
                (
                    "billing_entity",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.billingentity",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "number series",
            },
        ),
        migrations.CreateModel(
            name="Parked",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("public_id", apps.core.fields.PublicIdField(prefix="park")),
                ("boundary_at", models.DateTimeField()),
                ("reason", models.TextField()),
                ("parked_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(null=True)),
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
                        related_name="+",
                        to="subscriptions.subscription",
                    ),
                ),
            ],
            options={
                "verbose_name": "parked subscription",
            },
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                fields=["organization", "-issued_at"], name="invoices_of_organization"
            ),
        ),
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(fields=["status", "due_at"], name="invoices_by_status"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("status", "void"), _negated=True), ("boundary_at__isnull", False)
                ),
                fields=("organization", "subscription", "boundary_at"),
                name="one_invoice_a_boundary",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                fields=("billing_entity", "series", "sequence"), name="one_invoice_a_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finalized_at", None),
                        ("number", None),
                        ("sequence", None),
                        ("status", "draft"),
                    ),
                    models.Q(
                        models.Q(("status", "draft"), _negated=True),
                        ("finalized_at__isnull", False),
                        ("number__isnull", False),
                        ("sequence__isnull", False),
                        models.Q(("content_hash", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="a_number_when_final_and_only_then",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount_paid__gte", 0), ("amount_paid__lte", models.F("total"))),
                    ("total__lt", 0),
                    _connector="OR",
                ),
                name="never_paid_too_much",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "paid"), _negated=True),
                    ("amount_paid", models.F("total")),
                    ("total__lt", 0),
                    _connector="OR",
                ),
                name="paid_means_all_of_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(
                fields=("organization", "invoice", "position"), name="one_line_a_position"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.UniqueConstraint(
                condition=models.Q(("live", True), ("step__isnull", False)),
                fields=("organization", "step"),
                name="a_step_is_billed_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransaction",
            constraint=models.UniqueConstraint(
                fields=("organization", "source", "kind"), name="a_cause_is_booked_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgertransaction",
            constraint=models.UniqueConstraint(
                fields=("organization", "id", "currency"), name="ledger_currency_key"
            ),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["organization", "transaction"], name="entries_of_movement"),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount", 0), _negated=True), name="an_entry_moves_money"
            ),
        ),
        migrations.AddConstraint(
            model_name="numberseries",
            constraint=models.UniqueConstraint(
                fields=("billing_entity", "series"), name="one_counter_a_series"
            ),
        ),
        migrations.AddConstraint(
            model_name="parked",
            constraint=models.UniqueConstraint(
                condition=models.Q(("released_at", None)),
                fields=("organization", "subscription"),
                name="parked_once",
            ),
        ),
        operations.PlatformTable("NumberSeries"),
        operations.TenantTable("Invoice"),
        operations.AppendOnly(
            "Invoice",
            when="OLD.status <> 'draft'",
            may_change=["status", "amount_paid", "paid_at", "voided_at", "void_reason"],
        ),
        operations.StateMachine("Invoice", "status", TRANSITIONS),
        operations.TenantTable("InvoiceLine"),
        operations.AppendOnly("InvoiceLine", when=INVOICE_IS_FINAL, may_change=["live"]),
        operations.TenantTable("LedgerTransaction"),
        operations.AppendOnly("LedgerTransaction"),
        operations.TenantTable("LedgerEntry"),
        operations.AppendOnly("LedgerEntry"),
        operations.TenantTable("Parked"),
        migrations.RunSQL(GUARDS, NO_GUARDS),
    ]
