import django.db.models.deletion
from django.db import migrations, models

# One look at each invoice for all lines of a statement, by its key: row by row it was a tenth of
# what a line costs. In a subquery, because a join may be planned to read the whole table.
LINES_GUARD = """
CREATE FUNCTION invoicing_lines_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE closed bigint;
BEGIN
  SELECT given.invoice_id INTO closed FROM (SELECT DISTINCT invoice_id FROM new_lines) given
  WHERE (SELECT i.status FROM invoicing_invoice i WHERE i.id = given.invoice_id)
    IS DISTINCT FROM 'draft' LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invoicing_invoiceline: invoice % is final', closed USING ERRCODE = '42501';
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER line_guard ON invoicing_invoiceline;
CREATE TRIGGER line_guard BEFORE UPDATE ON invoicing_invoiceline
  FOR EACH ROW EXECUTE FUNCTION invoicing_line_guard();
CREATE TRIGGER lines_guard AFTER INSERT ON invoicing_invoiceline
  REFERENCING NEW TABLE AS new_lines
  FOR EACH STATEMENT EXECUTE FUNCTION invoicing_lines_guard();
"""
LINE_GUARD = """
DROP TRIGGER lines_guard ON invoicing_invoiceline;
DROP FUNCTION invoicing_lines_guard();
DROP TRIGGER line_guard ON invoicing_invoiceline;
CREATE TRIGGER line_guard BEFORE INSERT OR UPDATE ON invoicing_invoiceline
  FOR EACH ROW EXECUTE FUNCTION invoicing_line_guard();
"""

# `ledger_one_currency` says the same, and the currency.
ONE_KEY = """
ALTER TABLE invoicing_ledgerentry DROP CONSTRAINT invoicing_ledgerentry_transaction_id_tenant_fk
"""
TWO_KEYS = """
ALTER TABLE invoicing_ledgerentry ADD CONSTRAINT invoicing_ledgerentry_transaction_id_tenant_fk
  FOREIGN KEY (organization_id, transaction_id)
  REFERENCES invoicing_ledgertransaction (organization_id, id) DEFERRABLE INITIALLY DEFERRED
"""


def _organization() -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="tenants.organization",
    )


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0007_guards_by_organization")]

    operations = [
        migrations.AlterField("invoiceline", "organization", _organization()),
        migrations.AlterField("ledgerentry", "organization", _organization()),
        migrations.RunSQL(ONE_KEY, TWO_KEYS),
        migrations.RunSQL(LINES_GUARD, LINE_GUARD),
    ]
