"""Billing as it would be with one guard missing; the harness must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from apps.core.postgres import base
from apps.invoicing.services import issuing, run
from apps.payments.services import recording as payments
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from tests.prove.mutation import mutate, mutate_text


@dataclass(frozen=True, slots=True)
class Seeded:
    """A fault planted in the code, in the database, or in both, and what brings it to light."""

    name: str
    change: Callable[[], None] = lambda: None
    spoils: tuple[str, ...] = ()
    kills: tuple[tuple[str, int], ...] = ()
    meets: tuple[str, ...] = ()
    crashes: int = 0


def _unlocked() -> None:
    for room in (tenants, subscriptions):
        mutate(room, "lock", (".select_for_update()", ""))
    mutate(tenants, "lock_free", (".select_for_update(skip_locked=True, no_key=True)", ".all()"))
    mutate(subscriptions, "lock_many", (".select_for_update(no_key=True)", ".all()"))


BILL_TOGETHER = """    found = draft_boundaries(due, actor=run.actor, at=run.at)
    drafted = [draft for draft in found if draft is not None]
    point("billing.drafted")
    subscriptions.pass_boundaries(rows, facts=facts, actor=run.actor, at=run.at)
    point("billing.passed")
    if run.keep_drafts:
        keep(drafted)
    else:
        issue(drafts.keep_back(drafted, at=run.at), actor=run.actor, at=run.at)
    return [issued(draft.row) for draft in drafted]
"""
CURSOR_FIRST = """    subscriptions.pass_boundaries(rows, facts=facts, actor=run.actor, at=run.at)
    point("billing.passed")
    def bill_later() -> None:
        point("billing.drafted")
        with rls.ops_scope("a mutant"):
            found = draft_boundaries(due, actor=run.actor, at=run.at)
            issue([one for one in found if one is not None], actor=run.actor, at=run.at)
    transaction.on_commit(bill_later)
    return []
"""
BOOKED = "book_all([_issued(draft, at) for draft in drafted])"
TOLD = "_tell(drafted, actor=actor, at=at)"
AFTER_THE_COMMIT = (
    "from django.db import transaction; from apps.core import rls; "
    'transaction.on_commit(lambda: point("billing.committed")); '
    'transaction.on_commit(rls.ops_scope("a mutant")(lambda: {}))'
)

NO_LOCK_ON_NUMBERS = """
CREATE OR REPLACE FUNCTION invoicing_take_numbers(
  entity bigint, wanted_series text, how_many integer)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE taken bigint;
BEGIN
  SELECT coalesce(max(sequence), 0) + 1 INTO taken FROM invoicing_invoice;
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, taken + how_many)
  ON CONFLICT (billing_entity_id, series) DO UPDATE SET next = taken + how_many;
  RETURN taken;
END $$
"""
FROM_A_SEQUENCE = """
CREATE OR REPLACE FUNCTION invoicing_take_numbers(
  entity bigint, wanted_series text, how_many integer)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE taken bigint := nextval('numbers');
BEGIN
  PERFORM nextval('numbers') FROM generate_series(2, how_many);
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, taken + how_many)
  ON CONFLICT (billing_entity_id, series) DO UPDATE SET next = taken + how_many;
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
        meets=("billing.drafted",),
    ),
    Seeded(
        "the cursor moves in a transaction of its own, before the invoice",
        partial(mutate, run, "_bill", (BILL_TOGETHER, CURSOR_FIRST)),
        kills=(("billing.drafted", 1),),
    ),
    Seeded(
        "the next number is the largest plus one, without a lock",
        spoils=(
            "ALTER TABLE invoicing_invoice DROP CONSTRAINT one_invoice_a_number",
            NO_LOCK_ON_NUMBERS,
        ),
        meets=("billing.numbered",),
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
            issuing,
            "issue",
            (BOOKED, AFTER_THE_COMMIT.format(BOOKED)),
        ),
        kills=(("billing.committed", 3),),
    ),
    Seeded(
        "the fact is told after the commit",
        partial(
            mutate,
            issuing,
            "issue",
            (TOLD, AFTER_THE_COMMIT.format(TOLD)),
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
        meets=("payment.recorded",),
    ),
    Seeded(
        "commits do not wait for the disk",
        partial(mutate_text, base, "DURABLE", ("= on", "= off")),
        crashes=3,
    ),
)
