"""Billing as it would be with one guard missing; the harness must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from apps.invoicing import services as invoicing
from apps.payments import services as payments
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Seeded:
    """A fault planted in the code, in the database, or in both, and what brings it to light."""

    name: str
    change: Callable[[], None] = lambda: None
    spoils: tuple[str, ...] = ()
    kills: tuple[tuple[str, int], ...] = ()
    storm: int = 0
    crashes: int = 0


def _unlocked() -> None:
    for room in (tenants, subscriptions):
        mutate(room, "lock", (".select_for_update()", ""))


BILL_ONCE = """        invoice = _draft(facts, facts.next_boundary)
        point("billing.drafted")
        subscriptions.pass_boundary(row, actor=actor, at=at)
        point("billing.passed")
"""
CURSOR_FIRST = """        subscriptions.pass_boundary(row, actor=actor, at=at)
        point("billing.passed")
    point("billing.drafted")
    with rls.tenant_scope(due.organization_id):
        invoice = _draft(facts, facts.next_boundary)
"""

NO_LOCK_ON_NUMBERS = """
CREATE OR REPLACE FUNCTION invoicing_take_number(entity bigint, wanted_series text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE taken bigint;
BEGIN
  SELECT coalesce(max(sequence), 0) + 1 INTO taken FROM invoicing_invoice;
  PERFORM pg_sleep(0.003);
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, taken + 1)
  ON CONFLICT (billing_entity_id, series) DO UPDATE SET next = taken + 1;
  RETURN taken;
END $$
"""
FROM_A_SEQUENCE = """
CREATE OR REPLACE FUNCTION invoicing_take_number(entity bigint, wanted_series text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE taken bigint := nextval('numbers');
BEGIN
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, taken + 1)
  ON CONFLICT (billing_entity_id, series) DO UPDATE SET next = taken + 1;
  RETURN taken;
END $$
"""

MUTANTS = (
    Seeded(
        "nobody locks, and nothing forbids a second invoice",
        _unlocked,
        spoils=(
            "DROP INDEX one_invoice_a_boundary",
            "ALTER TABLE invoicing_invoiceline DROP CONSTRAINT billed_once_in_advance",
            "ALTER TABLE invoicing_invoiceline DROP CONSTRAINT billed_once_in_arrears",
        ),
        storm=12,
    ),
    Seeded(
        "the cursor moves in a transaction of its own, before the invoice",
        partial(mutate, invoicing, "bill_boundary", (BILL_ONCE, CURSOR_FIRST)),
        kills=(("billing.drafted", 1),),
    ),
    Seeded(
        "the next number is the largest plus one, without a lock",
        spoils=(
            "ALTER TABLE invoicing_invoice DROP CONSTRAINT one_invoice_a_number",
            NO_LOCK_ON_NUMBERS,
        ),
        storm=12,
    ),
    Seeded(
        "numbers come from a sequence, which no rollback gives back",
        spoils=(
            "CREATE SEQUENCE numbers",
            "ALTER SEQUENCE numbers OWNER TO billing_owner",
            FROM_A_SEQUENCE,
        ),
        kills=(("billing.numbered", 2),),
    ),
    Seeded(
        "the ledger is booked after the commit",
        partial(
            mutate,
            invoicing,
            "_finalize",
            (
                '_book(row, "issued", {RECEIVABLE: row.total, REVENUE: -row.total}, '
                "source=row.public_id, at=at)",
                'transaction.on_commit(lambda: point("billing.committed")); '
                'transaction.on_commit(transaction.atomic(lambda: _book(row, "issued", '
                "{RECEIVABLE: row.total, REVENUE: -row.total}, source=row.public_id, at=at)))",
            ),
        ),
        kills=(("billing.committed", 3),),
    ),
    Seeded(
        "the fact is told after the commit",
        partial(
            mutate,
            invoicing,
            "_finalize",
            (
                "outbox.emit(fact, at=at, organization_id=row.organization_id)",
                'transaction.on_commit(lambda: point("billing.committed")); '
                "transaction.on_commit(transaction.atomic(lambda: outbox.emit("
                "fact, at=at, organization_id=row.organization_id)))",
            ),
        ),
        kills=(("billing.committed", 3),),
    ),
    Seeded(
        "a bank reference may be entered twice",
        partial(
            mutate,
            payments,
            "record_payment",
            ("if reference and taken.filter(reference=reference).exists():", "if False:"),
        ),
        spoils=("ALTER TABLE payments_payment DROP CONSTRAINT one_payment_a_reference",),
        storm=12,
    ),
    Seeded(
        "commits do not wait for the disk",
        spoils=("ALTER DATABASE {} SET synchronous_commit = off",),
        storm=4,
        crashes=2,
    ),
)
