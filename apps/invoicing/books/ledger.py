"""The ledger against what it is said to book: one query for each sentence, of what contradicts it.

Debits are positive. Each query returns the names of what does not agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection

from apps.invoicing.books.findings import Finding

STANDS = "status IN ('open', 'paid', 'uncollectible')"
FUNDED = "kind <> 'promotional'"


def _balance(accounts: str, expected: str) -> str:
    """Compare the accounts of each organization and currency with `expected`: (organization_id,
    currency, amount), a debit above zero, several rows added up.
    """
    return f"""
        SELECT o.slug FROM (
          SELECT organization_id, currency, sum(expected) AS expected, sum(booked) AS booked FROM (
            SELECT organization_id, currency, amount AS expected, 0 AS booked
            FROM ({expected}) facts (organization_id, currency, amount)
            UNION ALL
            SELECT organization_id, currency, 0, amount
            FROM invoicing_ledgerentry WHERE account IN ({accounts})
          ) movements GROUP BY organization_id, currency
        ) sums JOIN tenants_organization o ON o.id = sums.organization_id
        WHERE expected <> booked"""  # noqa: S608 - constants of this module only


RECEIVABLE = f"""SELECT organization_id, currency, total - amount_paid - credited - written_off
  FROM invoicing_invoice WHERE {STANDS}"""  # noqa: S608
WRITTEN_OFF = f"""SELECT organization_id, currency, written_off
  FROM invoicing_invoice WHERE {STANDS}"""  # noqa: S608
CASH = """SELECT organization_id, currency, amount FROM payments_payment
  UNION ALL SELECT organization_id, currency, -amount FROM payments_refund"""
TAX = f"""SELECT organization_id, currency, -tax FROM invoicing_invoice WHERE {STANDS}
  UNION ALL SELECT organization_id, currency, tax FROM invoicing_creditnote"""  # noqa: S608
PROMOTION = """SELECT m.organization_id, g.currency, -m.amount
  FROM invoicing_creditmovement m JOIN invoicing_creditgrant g ON g.id = m.grant_id
  WHERE g.kind = 'promotional' AND m.kind IN ('used', 'returned')"""
# Credit is owed from the issue of the invoice that sells it, and is there when that is paid; what a
# credit note promises to pay back is owed until it is.
CUSTOMER_CREDIT = f"""SELECT organization_id, currency, -remaining
  FROM invoicing_creditgrant WHERE {FUNDED}
  UNION ALL SELECT i.organization_id, i.currency, l.credited - l.amount
  FROM invoicing_invoiceline l JOIN invoicing_invoice i ON i.id = l.invoice_id
  WHERE l.kind = 'credit_purchase' AND i.status IN ('open', 'uncollectible')
  UNION ALL SELECT organization_id, currency, -refunded_amount FROM invoicing_creditnote
  UNION ALL SELECT organization_id, currency, amount FROM payments_refund"""  # noqa: S608

# Bought credit is no revenue until it is used. A refund that staff grant lowers it, and credit that
# nobody will use any more raises it; credit of a payment that was taken back does neither.
REVENUE = f"""SELECT organization_id, currency, -(subtotal - discount - tax_included)
  FROM invoicing_invoice WHERE {STANDS}
  UNION ALL SELECT i.organization_id, i.currency, l.amount
  FROM invoicing_invoiceline l JOIN invoicing_invoice i ON i.id = l.invoice_id
  WHERE l.kind = 'credit_purchase' AND i.{STANDS}
  UNION ALL SELECT organization_id, currency, subtotal FROM invoicing_creditnote
  UNION ALL SELECT i.organization_id, i.currency, -l.credited
  FROM invoicing_invoiceline l JOIN invoicing_invoice i ON i.id = l.invoice_id
  WHERE l.kind = 'credit_purchase' AND i.{STANDS}
  UNION ALL SELECT organization_id, currency, amount FROM invoicing_creditgrant g
  WHERE kind = 'refund'
    AND NOT EXISTS (SELECT FROM invoicing_invoice i WHERE i.public_id = g.source)
    AND NOT EXISTS (SELECT FROM payments_payment p WHERE p.public_id = g.source)
    AND NOT EXISTS (SELECT FROM invoicing_creditnote n WHERE n.public_id = g.source)
  UNION ALL SELECT m.organization_id, g.currency, m.amount
  FROM invoicing_creditmovement m JOIN invoicing_creditgrant g ON g.id = m.grant_id
  WHERE g.{FUNDED} AND m.kind IN ('expired', 'voided') AND EXISTS (
    SELECT FROM invoicing_ledgertransaction t
    WHERE t.organization_id = m.organization_id AND t.source = m.public_id)"""  # noqa: S608

LEDGER_CHECKS = {
    "movement {} does not balance": """
        SELECT t.public_id FROM invoicing_ledgertransaction t
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id
        GROUP BY t.id HAVING coalesce(sum(e.amount), 1) <> 0 OR count(DISTINCT e.currency) <> 1""",
    "invoice {} is not booked at its total": """
        SELECT i.number FROM invoicing_invoice i
        LEFT JOIN invoicing_ledgertransaction t ON t.source = i.public_id AND t.kind = 'issued'
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id AND e.account = 'receivable'
        WHERE i.status <> 'draft' AND coalesce(e.amount, 0) <> i.total""",
    "void invoice {} is not reversed": """
        SELECT i.number FROM invoicing_invoice i WHERE i.status = 'void' AND EXISTS (
          SELECT FROM invoicing_ledgertransaction t
          JOIN invoicing_ledgerentry e ON e.transaction_id = t.id
          WHERE t.organization_id = i.organization_id AND t.source = i.public_id
          GROUP BY e.account HAVING sum(e.amount) <> 0)
        UNION SELECT i.number FROM invoicing_invoice i
        JOIN invoicing_ledgertransaction t ON t.organization_id = i.organization_id
          AND t.source = i.public_id AND t.kind = 'voided'
        WHERE i.status <> 'void'""",
    "invoice {}: what was paid is not what the payments add up to": """
        SELECT i.number FROM invoicing_invoice i
        WHERE i.status <> 'draft' AND i.amount_paid <> (
          SELECT coalesce(sum(p.amount - p.excess), 0) FROM payments_payment p
          WHERE p.invoice_id = i.id)""",
    "invoice {}: what was credited is not what its credit notes add up to": """
        SELECT i.number FROM invoicing_invoice i
        WHERE i.status <> 'draft' AND i.credited <> (
          SELECT coalesce(sum(n.offset_amount), 0) FROM invoicing_creditnote n
          WHERE n.invoice_id = i.id)""",
    "line {}: what was credited is not what credit notes took back": """
        SELECT l.public_id FROM invoicing_invoiceline l
        WHERE l.credited > l.amount - l.discount - l.tax_included AND l.credited > 0
          OR l.credited <> (
            SELECT coalesce(sum(n.amount), 0) FROM invoicing_creditnoteline n
            WHERE n.line_id = l.id)""",
    "{} is on no invoice of its organization": """
        SELECT p.what FROM (
          SELECT organization_id, invoice_id, 'line ' || public_id FROM invoicing_invoiceline
          UNION ALL SELECT organization_id, invoice_id, 'tax ' || id FROM invoicing_invoicetax
          UNION ALL
          SELECT organization_id, invoice_id, 'discount ' || id FROM invoicing_invoicediscount
        ) p (organization_id, invoice_id, what)
        WHERE NOT EXISTS (SELECT FROM invoicing_invoice i
          WHERE i.organization_id = p.organization_id AND i.id = p.invoice_id)""",
    "credit note {} does not add up": """
        SELECT n.number FROM invoicing_creditnote n
        LEFT JOIN invoicing_creditnoteline l ON l.credit_note_id = n.id
        GROUP BY n.id HAVING coalesce(sum(l.amount), 0) <> n.subtotal
          OR coalesce(sum(l.tax), 0) <> n.tax OR n.subtotal + n.tax <> n.total
          OR n.offset_amount + n.credited_amount + n.refunded_amount <> n.total""",
    "credit notes take back more than invoice {} billed, or repay more than was paid": """
        SELECT i.number FROM invoicing_invoice i
        JOIN invoicing_creditnote n ON n.invoice_id = i.id
        GROUP BY i.id
        HAVING sum(n.total) > i.subtotal - i.discount + i.tax - i.tax_included
          OR sum(n.refunded_amount) > i.amount_paid""",
    "more was paid back than credit note {} promises": """
        SELECT n.number FROM invoicing_creditnote n
        JOIN payments_refund r ON r.credit_note_id = n.id
        GROUP BY n.id HAVING sum(r.amount) > n.refunded_amount""",
    "credit {}: what remains is not what its movements leave": """
        SELECT g.public_id FROM invoicing_creditgrant g
        LEFT JOIN invoicing_creditmovement m ON m.grant_id = g.id
        GROUP BY g.id HAVING coalesce(sum(m.amount), 0) <> g.remaining
          OR coalesce(sum(m.amount) FILTER (WHERE m.kind = 'granted'), 0) <> g.amount""",
    "invoice {}: the credit it used is not what was moved": """
        SELECT i.number FROM invoicing_invoice i
        LEFT JOIN invoicing_creditmovement m ON m.invoice_id = i.id
        WHERE i.status <> 'draft' GROUP BY i.id
        HAVING coalesce(-sum(m.amount) FILTER (WHERE m.kind = 'used'), 0) <> greatest(i.credits, 0)
          OR coalesce(sum(m.amount) FILTER (WHERE m.kind = 'returned'), 0)
            <> CASE WHEN i.status = 'void' THEN greatest(i.credits, 0) ELSE 0 END""",
    "organization {}: the ledger's receivable is not what its invoices have due": _balance(
        "'receivable'", RECEIVABLE
    ),
    "organization {}: the ledger's cash is not what was paid": _balance("'cash'", CASH),
    "organization {}: the ledger's tax is not what its invoices and credit notes have": _balance(
        "'tax_payable'", TAX
    ),
    "organization {}: the ledger's customer credit is not what its grants have left": _balance(
        "'customer_credit'", CUSTOMER_CREDIT
    ),
    "organization {}: the ledger's revenue, earned and deferred, is not what was billed": _balance(
        "'revenue', 'deferred_revenue'", REVENUE
    ),
    "organization {}: the ledger's promotions are not the promotional credit used": _balance(
        "'promotion'", PROMOTION
    ),
    "organization {}: the ledger's losses are not what was written off": _balance(
        "'write_off'", WRITTEN_OFF
    ),
    "payment {} is not booked at its amount": """
        SELECT p.public_id FROM payments_payment p
        LEFT JOIN invoicing_ledgertransaction t ON t.source = p.public_id
        LEFT JOIN invoicing_ledgerentry e ON e.transaction_id = t.id AND e.account = 'cash'
        GROUP BY p.id HAVING coalesce(sum(e.amount), 0) <> p.amount""",
    "movement {} has no cause": """
        SELECT t.public_id FROM invoicing_ledgertransaction t
        WHERE NOT EXISTS (SELECT FROM invoicing_invoice i WHERE i.public_id = t.source)
          AND NOT EXISTS (SELECT FROM payments_payment p WHERE p.public_id = t.source)
          AND NOT EXISTS (SELECT FROM payments_refund r WHERE r.public_id = t.source)
          AND NOT EXISTS (SELECT FROM invoicing_creditnote n WHERE n.public_id = t.source)
          AND NOT EXISTS (SELECT FROM invoicing_creditgrant g WHERE g.public_id = t.source)
          AND NOT EXISTS (SELECT FROM invoicing_creditmovement m WHERE m.public_id = t.source)""",
    "number series {} has a gap or a number twice": """
        SELECT e.slug || '/' || s.series FROM invoicing_numberseries s
        JOIN tenants_billingentity e ON e.id = s.billing_entity_id
        LEFT JOIN (
          SELECT billing_entity_id, series, sequence FROM invoicing_invoice
          WHERE sequence IS NOT NULL
          UNION ALL SELECT billing_entity_id, series, sequence FROM invoicing_creditnote
        ) d ON d.billing_entity_id = s.billing_entity_id AND d.series = s.series
        GROUP BY e.id, s.id
        HAVING count(DISTINCT d.sequence) <> s.next - 1 OR count(d.sequence) <> s.next - 1
          OR coalesce(max(d.sequence), 0) <> s.next - 1""",
    "document {} has a number outside every series": """
        SELECT d.number FROM (
          SELECT billing_entity_id, series, number FROM invoicing_invoice
          WHERE sequence IS NOT NULL
          UNION ALL SELECT billing_entity_id, series, number FROM invoicing_creditnote
        ) d WHERE NOT EXISTS (
          SELECT FROM invoicing_numberseries s
          WHERE s.billing_entity_id = d.billing_entity_id AND s.series = d.series)""",
}


def findings() -> Iterator[Finding]:
    """Ask every query; needs the ops scope."""
    for sentence, query in LEDGER_CHECKS.items():
        with connection.cursor() as cursor:
            cursor.execute(query)
            for (target,) in cursor.fetchall():
                yield Finding("ledger", str(target), sentence.format(target))
