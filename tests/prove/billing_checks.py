"""What must hold after billing was killed, crashed and repeated: read as superuser, by plain SQL.

The figures are compared with the oracle's. Each fault is a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.invoicing import books
from tests.prove import billing_oracle as oracle
from tests.prove.ground import ask
from tests.prove.world import World

PAID_EVERY = 3  # the payers settle the invoices whose number this divides


@dataclass(frozen=True, slots=True)
class Told:
    """What workers said that they had done, after the commit."""

    invoices: Sequence[str]
    payments: Sequence[str]


RULES = {
    "movements out of balance": """
        SELECT transaction_id FROM invoicing_ledgerentry
        GROUP BY transaction_id HAVING sum(amount) <> 0 OR count(*) <> 2""",
    "invoices not booked at their total": """
        SELECT i.number FROM invoicing_invoice i WHERE i.total <> coalesce((
          SELECT sum(e.amount) FROM invoicing_ledgerentry e
          JOIN invoicing_ledgertransaction t ON t.id = e.transaction_id
          WHERE t.source = i.public_id AND t.kind = 'issued' AND e.account = 'receivable'), 0)""",
    "payments not booked at their amount": """
        SELECT p.public_id FROM payments_payment p WHERE p.amount <> coalesce((
          SELECT sum(e.amount) FROM invoicing_ledgerentry e
          JOIN invoicing_ledgertransaction t ON t.id = e.transaction_id
          WHERE t.source = p.public_id AND e.account = 'cash'), 0)""",
    "accounts that are not what invoices and payments add up to": """
        SELECT account, sum(amount) FROM invoicing_ledgerentry GROUP BY account
        EXCEPT VALUES
          ('revenue', (SELECT -sum(total) FROM invoicing_invoice)),
          ('receivable', (SELECT sum(total - amount_paid) FROM invoicing_invoice)),
          ('cash', (SELECT sum(amount) FROM payments_payment))""",
    "bank references that paid twice": """
        SELECT invoice_id, reference FROM payments_payment
        GROUP BY invoice_id, reference HAVING count(*) > 1""",
    "invoices that should be settled and are not": f"""
        SELECT number FROM invoicing_invoice
        WHERE (sequence % {PAID_EVERY} = 0) <> (status = 'paid' AND amount_paid = total)""",
    "drafts left behind": "SELECT public_id FROM invoicing_invoice WHERE status = 'draft'",
    "parked subscriptions": "SELECT reason FROM invoicing_parked",
    "invoices that were told of not exactly once": """
        SELECT i.number FROM invoicing_invoice i WHERE 1 <> (
          SELECT count(*) FROM core_outboxevent e WHERE e.name = 'invoicing.InvoiceFinalized'
            AND e.payload ->> 'invoice_id' = i.public_id)""",
    "settled invoices that were told of not exactly once": """
        SELECT i.number FROM invoicing_invoice i WHERE (i.status = 'paid')::int <> (
          SELECT count(*) FROM core_outboxevent e WHERE e.name = 'invoicing.InvoicePaid'
            AND e.payload ->> 'invoice_id' = i.public_id)""",
    "facts about invoices that are not there": """
        SELECT e.public_id FROM core_outboxevent e WHERE e.name LIKE 'invoicing.%' AND NOT EXISTS (
          SELECT FROM invoicing_invoice i WHERE i.public_id = e.payload ->> 'invoice_id')""",
    "invoices whose finalisation is not on record exactly once": """
        SELECT i.number FROM invoicing_invoice i WHERE 1 <> (
          SELECT count(*) FROM audit_auditentry a
          WHERE a.target = i.public_id AND a.action = 'invoice.finalized')""",
}


def faults(world: World, as_of: datetime, told: Told) -> list[str]:
    """Return everything that is wrong, at the end of a run up to `as_of`."""
    return [
        *_against_the_oracle(world, as_of),
        *_cursors(world, as_of),
        *_numbers(),
        *_rules(),
        *_forgotten(told),
        *(f"books: {finding.message}" for finding in books.verify().findings),
    ]


def _against_the_oracle(world: World, as_of: datetime) -> Iterator[str]:
    stored = _stored_invoices()
    for subscription, agreement in world.agreements.items():
        for index, at in enumerate(oracle.boundaries(agreement, as_of)):
            found = stored.pop((subscription, at), [])
            name = f"{subscription} ({agreement.plan}) at {at:%Y-%m-%d %H:%M}"
            if len(found) != 1:
                yield f"{name} is billed {len(found)} times"
                continue
            total, lines = found[0]
            wanted = oracle.expected(agreement, index)
            if lines != wanted or total != sum(wanted.values()):
                yield f"{name} bills {lines} = {total}, the oracle {wanted}"
    for subscription, at in stored:
        yield f"{subscription} has an invoice of {at} that nobody asked for"


def _stored_invoices() -> dict[tuple[str, datetime], list[tuple[int, oracle.Lines]]]:
    rows = ask("""
        SELECT s.public_id, i.boundary_at, i.total,
          (SELECT jsonb_object_agg(l.key, l.amount) FROM invoicing_invoiceline l
           WHERE l.invoice_id = i.id)
        FROM invoicing_invoice i JOIN subscriptions_subscription s ON s.id = i.subscription_id
        WHERE i.status <> 'void'""")
    found: dict[tuple[str, datetime], list[tuple[int, oracle.Lines]]] = {}
    for subscription, at, total, lines in rows:
        found.setdefault((subscription, at), []).append((total, lines))
    return found


def _cursors(world: World, as_of: datetime) -> Iterator[str]:
    rows = ask("SELECT public_id, next_boundary, next_boundary_at FROM subscriptions_subscription")
    for subscription, following, following_at in rows:
        agreement = world.agreements[subscription]
        passed = len(oracle.boundaries(agreement, as_of))
        if (following, following_at) != (passed, oracle.boundary(agreement.start, passed)):
            yield f"{subscription} waits for {following} at {following_at}, not {passed}"


def _numbers() -> Iterator[str]:
    rows = ask("SELECT sequence, number FROM invoicing_invoice ORDER BY sequence")
    wanted = [(n, f"CH-{n:06d}") for n in range(1, len(rows) + 1)]
    if rows != wanted:
        taken = [sequence for sequence, _ in rows]
        missing = sorted(set(range(1, len(rows) + 1)) - set(taken))
        doubles = len(taken) - len(set(taken))
        yield f"numbers: {len(missing)} missing ({missing[:3]}…), {doubles} double"
    counter = ask("SELECT next FROM invoicing_numberseries")
    if rows and counter != [(len(rows) + 1,)]:
        yield f"the counter stands at {counter} after {len(rows)} invoices"


def _rules() -> Iterator[str]:
    for sentence, query in RULES.items():
        if found := ask(query):
            yield f"{len(found)} {sentence}, such as {found[0]}"


def _forgotten(told: Told) -> Iterator[str]:
    """What a worker was told is committed must be there, as it was told, after any crash."""
    invoices = ask("SELECT public_id, number, total FROM invoicing_invoice")
    stored = {" ".join(map(str, row)) for row in invoices}
    yield from _missing("invoice", told.invoices, stored)
    payments = {public_id for (public_id,) in ask("SELECT public_id FROM payments_payment")}
    yield from _missing("payment", told.payments, payments)


def _missing(what: str, told: Iterable[str], stored: set[str]) -> Iterator[str]:
    if lost := set(told) - stored:
        yield f"{len(lost)} {what}s were acknowledged and lost, such as {min(lost)}"
