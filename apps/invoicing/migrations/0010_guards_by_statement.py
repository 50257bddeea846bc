from django.db import migrations

# A movement's entries come in one statement, and every statement's add up to nothing: so do all of
# a movement's. One look at what was inserted; entry by entry, at the commit, the movement was read
# again for each.
LEDGER_BALANCE = """
DROP TRIGGER ledger_balance ON invoicing_ledgerentry;
DROP FUNCTION invoicing_ledger_balance();
CREATE FUNCTION invoicing_ledger_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong record;
BEGIN
  SELECT transaction_id, sum(amount) AS total INTO wrong FROM new_entries
  GROUP BY organization_id, transaction_id HAVING sum(amount) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invoicing_ledgerentry: movement % is off by %', wrong.transaction_id,
      wrong.total USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER ledger_balance AFTER INSERT ON invoicing_ledgerentry
  REFERENCING NEW TABLE AS new_entries
  FOR EACH STATEMENT EXECUTE FUNCTION invoicing_ledger_balance();
"""
LEDGER_BALANCE_BY_ROW = """
DROP TRIGGER ledger_balance ON invoicing_ledgerentry;
DROP FUNCTION invoicing_ledger_balance();
CREATE FUNCTION invoicing_ledger_balance() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE total numeric;
BEGIN
  SELECT sum(amount) INTO total FROM invoicing_ledgerentry
  WHERE organization_id = NEW.organization_id AND transaction_id = NEW.transaction_id;
  IF total <> 0 THEN
    RAISE EXCEPTION 'invoicing_ledgerentry: movement % is off by %', NEW.transaction_id, total
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_balance AFTER INSERT ON invoicing_ledgerentry
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION invoicing_ledger_balance();
"""

# What `invoicing_total_guard` asks of a draft that becomes final, asked of all that are stored
# final by one statement. The parts are looked up by invoice: a join may be planned to read the
# whole table. OFFSET 0 has each looked up once.
BIRTH_GUARD = """
CREATE FUNCTION invoicing_birth_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong record;
BEGIN
  SELECT * INTO wrong FROM (
    SELECT i.subtotal, i.discount, i.tax, i.tax_included, i.credits, i.total,
      l.amount AS lines, l.discount AS off, l.tax AS taxed, l.tax_included AS inside,
      (SELECT coalesce(sum(amount), 0) FROM invoicing_invoicetax
       WHERE organization_id = i.organization_id AND invoice_id = i.id) AS taxes,
      (SELECT coalesce(sum(amount), 0) FROM invoicing_invoicediscount
       WHERE organization_id = i.organization_id AND invoice_id = i.id) AS discounts,
      CASE WHEN i.credits > 0 THEN
        (SELECT coalesce(-sum(amount), 0) FROM invoicing_creditmovement
         WHERE organization_id = i.organization_id AND invoice_id = i.id AND kind = 'used')
        ELSE i.credits END AS used
    FROM new_invoices i CROSS JOIN LATERAL (
      SELECT coalesce(sum(amount), 0) AS amount, coalesce(sum(discount), 0) AS discount,
        coalesce(sum(tax), 0) AS tax, coalesce(sum(tax_included), 0) AS tax_included
      FROM invoicing_invoiceline WHERE organization_id = i.organization_id AND invoice_id = i.id
    ) l
    WHERE i.status <> 'draft' OFFSET 0
  ) born
  WHERE (lines, off, inside, taxed, taxes, discounts, used, total) IS DISTINCT FROM
    (subtotal, discount, tax_included, tax, tax, discount, credits,
     subtotal - discount + tax - tax_included - credits)
  LIMIT 1;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'invoicing_invoice: %', CASE
      WHEN (wrong.lines, wrong.off, wrong.inside)
        IS DISTINCT FROM (wrong.subtotal, wrong.discount, wrong.tax_included)
        THEN format('lines add up to %s, not %s', wrong.lines, wrong.subtotal)
      WHEN wrong.taxed <> wrong.tax OR wrong.taxes <> wrong.tax
        THEN format('taxes do not add up to %s', wrong.tax)
      WHEN wrong.discounts <> wrong.discount
        THEN format('discounts do not add up to %s', wrong.discount)
      WHEN wrong.used <> wrong.credits THEN format('credit used is not %s', wrong.credits)
      ELSE format('the total is not %s', wrong.total)
    END USING ERRCODE = '23514';
END $$;
DROP TRIGGER total_guard_at_birth ON invoicing_invoice;
CREATE TRIGGER birth_guard AFTER INSERT ON invoicing_invoice
  REFERENCING NEW TABLE AS new_invoices
  FOR EACH STATEMENT EXECUTE FUNCTION invoicing_birth_guard();
"""
TOTAL_GUARD_AT_BIRTH = """
DROP TRIGGER birth_guard ON invoicing_invoice;
DROP FUNCTION invoicing_birth_guard();
CREATE TRIGGER total_guard_at_birth BEFORE INSERT ON invoicing_invoice
  FOR EACH ROW WHEN (NEW.status <> 'draft') EXECUTE FUNCTION invoicing_total_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0009_born_final")]

    operations = [
        migrations.RunSQL(LEDGER_BALANCE, LEDGER_BALANCE_BY_ROW),
        migrations.RunSQL(BIRTH_GUARD, TOTAL_GUARD_AT_BIRTH),
    ]
