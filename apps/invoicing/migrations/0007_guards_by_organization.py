from django.db import migrations

# Every index on the parts of a document begins with the organization. Without it a guard reads the
# index from end to end: the month's end took longer the more customers there were.
TOTAL_GUARD = """
CREATE OR REPLACE FUNCTION invoicing_total_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found record;
BEGIN
  SELECT coalesce(sum(amount), 0) AS subtotal, coalesce(sum(discount), 0) AS discount,
    coalesce(sum(tax), 0) AS tax, coalesce(sum(tax_included), 0) AS tax_included INTO found
  FROM invoicing_invoiceline WHERE {mine};
  IF (found.subtotal, found.discount, found.tax_included)
     IS DISTINCT FROM (NEW.subtotal, NEW.discount, NEW.tax_included) THEN
    RAISE EXCEPTION 'invoicing_invoice: lines add up to %, not %', found.subtotal, NEW.subtotal
      USING ERRCODE = '23514';
  END IF;
  IF found.tax <> NEW.tax OR NEW.tax <> (
    SELECT coalesce(sum(amount), 0) FROM invoicing_invoicetax WHERE {mine}
  ) THEN
    RAISE EXCEPTION 'invoicing_invoice: taxes do not add up to %', NEW.tax USING ERRCODE = '23514';
  END IF;
  IF NEW.discount <> (
    SELECT coalesce(sum(amount), 0) FROM invoicing_invoicediscount WHERE {mine}
  ) THEN
    RAISE EXCEPTION 'invoicing_invoice: discounts do not add up to %', NEW.discount
      USING ERRCODE = '23514';
  END IF;
  IF NEW.credits > 0 AND NEW.credits <> (
    SELECT coalesce(-sum(amount), 0) FROM invoicing_creditmovement WHERE {mine} AND kind = 'used'
  ) THEN
    RAISE EXCEPTION 'invoicing_invoice: credit used is not %', NEW.credits USING ERRCODE = '23514';
  END IF;
  IF NEW.total <> NEW.subtotal - NEW.discount + NEW.tax - NEW.tax_included - NEW.credits THEN
    RAISE EXCEPTION 'invoicing_invoice: the total is not %', NEW.total USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
"""
LEDGER_BALANCE = """
CREATE OR REPLACE FUNCTION invoicing_ledger_balance() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE total numeric;
BEGIN
  SELECT sum(amount) INTO total FROM invoicing_ledgerentry WHERE {mine};
  IF total <> 0 THEN
    RAISE EXCEPTION 'invoicing_ledgerentry: movement % is off by %', NEW.transaction_id, total
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
"""
CREDIT_BALANCE = """
CREATE OR REPLACE FUNCTION invoicing_credit_balance() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE moved bigint; left_over bigint;
BEGIN
  SELECT coalesce(sum(amount), 0) INTO moved FROM invoicing_creditmovement WHERE {mine};
  SELECT remaining INTO left_over FROM invoicing_creditgrant WHERE id = NEW.id;
  IF left_over IS DISTINCT FROM moved THEN
    RAISE EXCEPTION 'invoicing_creditgrant: % remains of grant %, its movements leave %',
      left_over, NEW.id, moved USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
"""
NOTE_BALANCE = """
CREATE OR REPLACE FUNCTION invoicing_note_balance() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE found record;
BEGIN
  SELECT coalesce(sum(amount), 0) AS net, coalesce(sum(tax), 0) AS tax INTO found
  FROM invoicing_creditnoteline WHERE {mine};
  IF found.net <> NEW.subtotal OR found.tax <> NEW.tax THEN
    RAISE EXCEPTION 'invoicing_creditnote: lines add up to % and %, not % and %', found.net,
      found.tax, NEW.subtotal, NEW.tax USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
"""
PARTS = {
    TOTAL_GUARD: "invoice_id = NEW.id",
    LEDGER_BALANCE: "transaction_id = NEW.transaction_id",
    CREDIT_BALANCE: "grant_id = NEW.id",
    NOTE_BALANCE: "credit_note_id = NEW.id",
}


def _guard(function: str, part: str) -> migrations.RunSQL:
    mine = f"organization_id = NEW.organization_id AND {part}"
    return migrations.RunSQL(function.replace("{mine}", mine), function.replace("{mine}", part))


class Migration(migrations.Migration):
    dependencies = [("invoicing", "0006_line_seals")]

    operations = [_guard(function, part) for function, part in PARTS.items()]
