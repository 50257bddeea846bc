from django.db import migrations

# An invoice may be issued in the statement that stores it: its lines are there by then, under the
# key that it was promised, and add up as those of a draft must. As a draft it would be written
# twice, with all of its indexes.
BORN = """
CREATE FUNCTION invoicing_born() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.status NOT IN ('draft', 'open') THEN
    RAISE EXCEPTION 'invoicing_invoice: an invoice starts as a draft or open'
      USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;
DROP TRIGGER born_draft ON invoicing_invoice;
DROP FUNCTION invoicing_born_draft();
CREATE TRIGGER born BEFORE INSERT ON invoicing_invoice
  FOR EACH ROW WHEN (NEW.status <> 'draft') EXECUTE FUNCTION invoicing_born();
CREATE TRIGGER total_guard_at_birth BEFORE INSERT ON invoicing_invoice
  FOR EACH ROW WHEN (NEW.status <> 'draft') EXECUTE FUNCTION invoicing_total_guard();
"""
BORN_DRAFT = """
CREATE FUNCTION invoicing_born_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.status <> 'draft' THEN
    RAISE EXCEPTION 'invoicing_invoice: an invoice starts as a draft' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END $$;
DROP TRIGGER total_guard_at_birth ON invoicing_invoice;
DROP TRIGGER born ON invoicing_invoice;
DROP FUNCTION invoicing_born();
CREATE TRIGGER born_draft BEFORE INSERT ON invoicing_invoice
  FOR EACH ROW EXECUTE FUNCTION invoicing_born_draft();
"""

# A line may come before its invoice, never after one that is final. The key to it, which is checked
# at commit, refuses a line whose invoice did not come.
LINES_GUARD = """
CREATE OR REPLACE FUNCTION invoicing_lines_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE closed bigint;
BEGIN
  SELECT given.invoice_id INTO closed FROM (SELECT DISTINCT invoice_id FROM new_lines) given
  WHERE (SELECT i.status FROM invoicing_invoice i WHERE i.id = given.invoice_id)
    {is_closed} 'draft' LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invoicing_invoiceline: invoice % is final', closed USING ERRCODE = '42501';
  END IF;
  RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0008_lighter_month_end")]

    operations = [
        migrations.RunSQL(BORN, BORN_DRAFT),
        migrations.RunSQL(
            LINES_GUARD.replace("{is_closed}", "<>"),
            LINES_GUARD.replace("{is_closed}", "IS DISTINCT FROM"),
        ),
    ]
